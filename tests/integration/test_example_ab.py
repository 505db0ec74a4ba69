# SPDX-License-Identifier: Apache-2.0
"""The example on its real data, served by `endcap run`: what is counted is what was shown and bought, all of it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from example_runs import running
from kube import eventually
from live import history
from live.history import History
from trial import outcomes, pipeline
from trial.pipeline import EXAMPLE, VISITS, Trained
from trial.replaying import Places, Replay
from trial.tally import Tally

from endcap_api.assigner import Assigner, Unit
from endcap_api.assignment import allocate, quotas
from endcap_api.experiment_config import Assigned, experiment_config
from endcap_api.v1alpha1.experiment import ExperimentSpec

FILES = ("models.yaml", "features.yaml", "graph.yaml", "experiment.yaml")
COUNT = 600


@dataclass(frozen=True)
class Shop:
    """What `endcap run` serves."""

    folder: Path
    places: Places

    def sums(self) -> dict[str, Any]:
        """What ingest has counted of the experiment in its only epoch, by variant."""
        found = httpx.get(f"{self.places.store}/v1/experiments", timeout=10).json()["experiments"]
        page = httpx.get(f"{self.places.store}/v1/experiments/{found['ranker-v2']}", timeout=10).json()
        (epoch,) = page["epochs"].values()
        return dict(epoch)


@pytest.fixture(scope="module")
def data() -> History:
    return history.read()


@pytest.fixture(scope="module")
def trained(data: History) -> Trained:
    return pipeline.train(data)


@pytest.fixture(scope="module")
def shop(data: History, trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("trial")
    for name in FILES:
        shutil.copy(EXAMPLE / name, folder)
    pipeline.publish(data, trained, folder)
    with running(folder, ["last-call"]) as places:
        yield Shop(folder, Places(places.graphs["last-call"], places.ingest))


@pytest.fixture(scope="module")
def tally(shop: Shop) -> Tally:
    """The covariate loaded, then the first visits replayed."""
    load = ["features", "load", "household-past", "store/household-past.parquet", "--url", shop.places.store]
    subprocess.run([sys.executable, "-m", "endcap_cli", *load], check=True, cwd=shop.folder, timeout=60)
    visits = outcomes.read(shop.folder / "store" / VISITS, COUNT)
    tally = Tally("ranker-v2")
    asyncio.run(Replay(shop.places, outcomes.Told("test"), tally, lambda _: None).run(visits))
    return tally


def test_every_visit_has_an_answer_and_every_household_the_variant_that_the_library_says(
    tally: Tally,
) -> None:
    manifest = yaml.safe_load((EXAMPLE / "experiment.yaml").read_text())
    spec = ExperimentSpec.model_validate(manifest["spec"])
    owned = allocate(quotas({variant.name: variant.weight or 0 for variant in spec.variants}))
    config = experiment_config("ranker-v2", spec, Assigned("id", 1, 1, "Running", owned, 100))
    assigner = Assigner(config)
    assert (tally.answers, tally.failed, tally.outside, tally.switched) == (COUNT, [], 0, set())
    for name, variant in tally.variants.items():
        said = {assigner.decide(Unit(household, "customer")).variant for household in variant.households}
        assert said == {name}


def test_what_is_counted_is_what_the_replay_saw(shop: Shop, tally: Tally) -> None:
    """Each household once, each product that it added and each time that it was shown any, for its own variant."""

    def counted() -> dict[str, tuple[int, float, float, int]]:
        return {
            name: (
                one["units"],
                one["metrics"]["added"]["y"],
                one["metrics"]["added-per-visit"]["d"],
                one["crossed"],
            )
            for name, one in shop.sums().items()
        }

    seen = {name: (len(one.households), one.added, one.visits, 0) for name, one in tally.variants.items()}
    eventually(lambda: counted() == seen, f"all of it is counted: {seen}", 30)


def test_the_covariate_is_what_the_household_bought_before(shop: Shop, tally: Tally, data: History) -> None:
    before = pipeline.known(data)
    eventually(lambda: len(shop.sums()) == 2, "both variants are counted", 30)
    for name, variant in tally.variants.items():
        bought = before.of(np.asarray(sorted(map(int, variant.households)), dtype=np.int32))
        assert shop.sums()[name]["metrics"]["added"]["x"] == pytest.approx(bought.sum())


def test_the_ranker_that_knows_the_household_puts_more_into_the_cart(tally: Tally) -> None:
    rate = {name: one.added / one.visits for name, one in tally.variants.items()}
    assert rate["treatment"] > 1.15 * rate["control"]
