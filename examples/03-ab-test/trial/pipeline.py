# SPDX-License-Identifier: Apache-2.0
"""The whole run: read, train both rankers on the same carts, then measure them or write what the experiment needs.

Weeks are split as in examples/01-basket: the visits that are replayed are of weeks that neither ranker has seen.
"""

from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
from basket import package, recall
from basket import ranker as basket
from basket.journey import LAST_TRAINING_WEEK
from basket.package import Artefact
from basket.pipeline import LAST_RECALL_WEEK, LAST_WEEK, LEARN_SEED, Phases
from basket.ranker import Candidates, Hidden
from basket.recall import Recall
from live import history
from live.history import History

from endcap_cli.stores import LocalStore
from trial import cart_ranker, evaluate, past, visits
from trial.past import Past
from trial.visits import Visits

EXAMPLE = Path(__file__).resolve().parents[1]
CONTROL, TREATMENT = "cart-ranker", "basket-ranker"
PAST, VISITS = "household-past.parquet", "visits.jsonl"


@dataclass(frozen=True)
class Trained:
    """What serves: the recall models, the ranker that knows the cart alone, and the one that knows the household."""

    recall: Recall
    cart: lightgbm.Booster
    household: lightgbm.Booster


def train(data: History) -> Trained:
    """Fit everything on the training weeks, both rankers on the same carts."""
    items, baskets = data.journey.items, data.journey.baskets
    learning = baskets.weeks(LAST_RECALL_WEEK + 1, LAST_TRAINING_WEEK)
    hidden = basket.hide_one(learning, len(learning), LEARN_SEED)
    found = basket.candidates(recall.fit(items, baskets.weeks(1, LAST_RECALL_WEEK)), hidden)
    served = recall.fit(items, baskets.weeks(1, LAST_TRAINING_WEEK))
    return Trained(served, cart_ranker.train(found, hidden), basket.train(found, hidden))


def measure(data: History, trained: Trained) -> evaluate.Quality:
    """Ask both rankers for every visit."""
    drawn = unseen(data)
    hidden, found = candidates(data, trained, drawn)
    methods = {
        CONTROL: evaluate.added(found, cart_ranker.score(trained.cart, found), drawn.bought),
        TREATMENT: evaluate.added(found, basket.score(trained.household, found), drawn.bought),
    }
    return evaluate.measure(methods, hidden.household, known(data).of(hidden.household))


def known(data: History) -> Past:
    """The covariate, from the training weeks alone."""
    return past.count(data.journey.baskets.weeks(1, LAST_TRAINING_WEEK))


def unseen(data: History) -> Visits:
    return visits.draw(data, LAST_TRAINING_WEEK + 1, LAST_WEEK)


def candidates(data: History, trained: Trained, drawn: Visits) -> tuple[Hidden, Candidates]:
    """Of the carts of the visits; one product of what followed stands for what is hidden."""
    baskets = data.journey.baskets
    first = np.asarray([bought[0] for bought in drawn.bought])
    hidden = Hidden(drawn.row, baskets.household[drawn.row], baskets.store[drawn.row], drawn.cart, first)
    return hidden, basket.candidates(trained.recall, hidden)


def publish(data: History, trained: Trained, resources: Path) -> list[package.Published]:
    """Put the artefacts into `store/` beside the YAML, pin them there, and write the covariate and the visits."""
    store = LocalStore(resources / "store")
    store.folder.mkdir(exist_ok=True)
    before = data.journey.baskets.weeks(1, LAST_TRAINING_WEEK)
    past.write(known(data), store.folder / PAST)
    visits.write(data, unseen(data), store.folder / VISITS)
    made = package.artefacts(data.journey, before, trained.recall, trained.household)
    made.append(Artefact(CONTROL, "models.yaml", package.booster(trained.cart)))
    return [package.publish(artefact, store, resources) for artefact in made]


def run(*, evaluating: bool) -> None:
    """Train, then either measure or store and pin; say what came out."""
    told = Phases(
        history.read,
        train,
        lambda data, trained: evaluate.table(measure(data, trained)),
        lambda data, trained: publish(data, trained, EXAMPLE),
    )
    told.run(evaluating=evaluating)
