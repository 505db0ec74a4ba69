# SPDX-License-Identifier: Apache-2.0
"""The whole run: read, recall, rank, measure, package. Weeks are split as in examples/01-basket."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import lightgbm
import numpy as np
from basket import evaluate as quality
from basket import package, recall
from basket import ranker as basket
from basket.journey import LAST_TRAINING_WEEK
from basket.pipeline import LAST_RECALL_WEEK, LAST_WEEK, LEARN_SEED, TEST_SEED, Phases
from basket.ranker import Candidates, Hidden
from basket.recall import Recall

from endcap_cli.stores import LocalStore
from live import evaluate, events, facts, history, ranker
from live.events import Replay
from live.facts import Facts
from live.history import History
from live.ranker import LiveFeatures
from live.resources import EXAMPLE

RANKER = "live-ranker"


class Weeks(NamedTuple):
    """Weeks first..last, and the seed that draws what is hidden."""

    first: int
    last: int
    seed: int


LEARNING = Weeks(LAST_RECALL_WEEK + 1, LAST_TRAINING_WEEK, LEARN_SEED)
UNSEEN = Weeks(LAST_TRAINING_WEEK + 1, LAST_WEEK, TEST_SEED)


@dataclass(frozen=True)
class Trained:
    """What serves."""

    recall: Recall
    facts: Facts
    ranker: lightgbm.Booster


def train(data: History) -> Trained:
    """Fit everything on the training weeks."""
    hidden, found = learning(data, LiveFeatures(data))
    past = data.journey.baskets.weeks(1, LAST_TRAINING_WEEK)
    return Trained(
        recall.fit(data.journey.items, past),
        facts.count(data, LAST_TRAINING_WEEK),
        ranker.train(found, hidden),
    )


def learning(data: History, live: LiveFeatures) -> tuple[Hidden, Candidates]:
    """Carts of weeks 45-48 as recall tables and facts of weeks 1-44 see them."""
    journey = data.journey
    before = recall.fit(journey.items, journey.baskets.weeks(1, LAST_RECALL_WEEK))
    known = facts.count(data, LAST_RECALL_WEEK)
    return _carts(data, live, before, known, LEARNING)


def unseen(data: History, live: LiveFeatures, trained: Trained) -> tuple[Hidden, Candidates]:
    """Carts of weeks 49-53 as what serves sees them."""
    return _carts(data, live, trained.recall, trained.facts, UNSEEN)


def _carts(
    data: History, live: LiveFeatures, tables: Recall, known: Facts, weeks: Weeks
) -> tuple[Hidden, Candidates]:
    baskets = data.journey.baskets
    drawn = baskets.weeks(weeks.first, weeks.last)
    hidden = basket.hide_one(drawn, len(drawn), weeks.seed)
    at_ms = data.at_ms[int(np.searchsorted(baskets.week, weeks.first)) + hidden.row]
    found = basket.candidates(tables, hidden)
    return hidden, ranker.enriched(found, hidden, at_ms, live, known)


def measure(data: History, trained: Trained) -> quality.Quality:
    """Hide one item of every test basket of at least four items and look for it, with live features and without."""
    live = LiveFeatures(data)
    hidden, found = learning(data, live)
    plain = basket.train(found, hidden)
    hidden, found = unseen(data, live, trained)
    return evaluate.measure(plain, trained.ranker, found, hidden)


def publish(data: History, trained: Trained, resources: Path) -> list[package.Published]:
    """Put the artefacts into `store/` beside the YAML, pin them there, and write the facts and events."""
    store = LocalStore(resources / "store")
    store.folder.mkdir(exist_ok=True)
    facts.write(trained.facts, data.journey.items.key, store.folder / "product-facts.parquet")
    events.write(data, Replay(), store.folder / "purchases.jsonl")
    past = data.journey.baskets.weeks(1, LAST_TRAINING_WEEK)
    made = package.artefacts(data.journey, past, trained.recall, trained.ranker, RANKER)
    made += [replace(each, file="remind.yaml") for each in made if each.name == "catalogue"]
    return [package.publish(artefact, store, resources) for artefact in made]


def run(*, evaluating: bool) -> None:
    """Train, then either measure or store and pin; say what came out."""
    told = Phases(
        history.read,
        train,
        lambda data, trained: quality.table(measure(data, trained)),
        lambda data, trained: publish(data, trained, EXAMPLE),
    )
    told.run(evaluating=evaluating)
