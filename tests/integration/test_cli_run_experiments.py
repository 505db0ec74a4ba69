# SPDX-License-Identifier: Apache-2.0
"""`endcap run` on an experiment: shoppers, outcomes and edits on a laptop, by the operator's own course."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from builders import changed, resource
from local_feature_runs import FeatureRun, until, written
from local_runs import Folder, model, products

from endcap_api.assignment import bucket
from endcap_cli.__main__ import main

READY = "edits of the YAML files are followed"
SALT = "basket.together.together-v2"
SHOPPERS = range(400)


def tried() -> dict[str, Any]:
    """A second recall against the first; the error rate is watched, and a person decides."""
    spec = {
        "graph": "basket",
        "step": "together",
        "unit": ["request.customer"],
        "variants": [
            {"name": "control", "baseline": True, "weight": 1},
            {"name": "treatment", "weight": 1, "model": "better"},
        ],
        "store": "default",
        "metrics": [{"name": "add-to-cart", "event": "add_to_cart", "unit": "customer", "conversion": True}],
        "primary": "add-to-cart",
        "analysis": {"interval": "1s", "minimumUnits": 200},
    }
    return resource("Experiment", "together-v2", spec)


class ExperimentFolder(Folder):
    """The folder of local_runs, with another recall model and an experiment between the two."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.experiment: dict[str, Any] | None = tried()
        super().__init__(path)
        self.models["better"] = model("better", self.artefact("1 2"))
        self.graph["spec"]["api"]["request"]["customer"] = {"type": "string"}
        self.write()

    def write(self) -> None:
        super().write()
        kept = [resource("FeatureStore", "default", {}), *([self.experiment] if self.experiment else [])]
        (self.path / "experiment.yaml").write_text(yaml.safe_dump_all(kept))

    def change(self, field: str, value: Any) -> None:
        assert self.experiment
        self.experiment = changed(self.experiment, field, value)
        self.write()


class Shop:
    """A run, and shoppers who ask it."""

    def __init__(self, folder: ExperimentFolder, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        self.run = FeatureRun(folder, scratch)
        self.run.until_said(READY)

    def ask(self, customer: int, **headers: str) -> dict[str, Any]:
        request = {"cart": ["Paper plates"], "customer": str(customer)}
        url = f"http://127.0.0.1:{self.run.port}/basket"
        answer = httpx.post(url, json=request, headers=headers, timeout=10, trust_env=False)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def variants(self) -> dict[int, str]:
        return {n: self.ask(n)["experiments"]["together-v2"]["variant"] for n in SHOPPERS}

    def experiment(self, *arguments: str) -> str:
        """`endcap experiment … --local`, of this run among all that there may be."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            assert main(["experiment", *arguments, "--local"]) == 0, self.run.logs()
        return printed.getvalue()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.experiment("status", "together-v2", "-o", "json"))["status"]
        return found

    def add_to_cart(self, customers: list[int]) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        events = (
            {
                "specversion": "1.0",
                "id": f"a{n}",
                "source": "/shop",
                "type": "add_to_cart",
                "time": now,
                "data": {"customer": str(n)},
            }
            for n in customers
        )
        self.run.command("events", "send", str(written(self.scratch / "outcomes.jsonl", *events)), "--wait")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One run for all tests: it takes longer to start than all that they do."""
    scratch = tmp_path_factory.mktemp("run")
    found = Shop(ExperimentFolder(scratch / "shop"), scratch)
    yield found
    if found.run.process.poll() is None:
        found.run.end()


@pytest.fixture
def shop(run: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The run with an experiment that has just begun."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(run.scratch / "cache"))
    run.folder.experiment = None
    run.folder.write()
    until(lambda: run.ask(1), lambda answer: "experiments" not in answer)
    run.folder.experiment = tried()
    run.folder.write()
    until(lambda: run.ask(1).get("experiments"), bool)
    return run


def expected(customer: int, treatment_from: int = 5000) -> str:
    return "treatment" if bucket(SALT, str(customer)) >= treatment_from else "control"


def test_edits_move_no_more_units_than_they_must_and_the_end_of_the_file_ends_it(shop: Shop) -> None:
    before = shop.variants()
    shop.folder.change("spec.variants[1].weight", 3)
    shop.run.until_said("weights control 1, treatment 3: 2500 of 10000 buckets move")
    mover = next(n for n in SHOPPERS if 2500 <= bucket(SALT, str(n)) < 5000)
    until(lambda: shop.ask(mover)["experiments"]["together-v2"]["variant"], lambda got: got == "treatment")
    after = shop.variants()
    moved = {n for n in SHOPPERS if before[n] != after[n]}
    assert moved == {n for n in SHOPPERS if 2500 <= bucket(SALT, str(n)) < 5000}
    lines = shop.experiment("assign", "together-v2", *map(str, SHOPPERS), "-o", "json").splitlines()
    assert {int(one["unit"]): one["variant"] for one in map(json.loads, lines)} == after
    exported = yaml.safe_load(shop.experiment("export", "together-v2"))
    assert exported["spec"]["variants"][1]["buckets"] == ["5000-10000", "2500-5000"]

    shop.folder.change("spec.enabled", value=False)
    until(lambda: shop.ask(mover)["experiments"]["together-v2"]["reason"], lambda got: got == "disabled")
    assert set(shop.variants().values()) == {"control"}
    shop.folder.change("spec.enabled", value=True)
    until(lambda: shop.ask(mover)["experiments"]["together-v2"]["reason"], lambda got: got == "assigned")
    assert shop.variants() == after

    shop.folder.experiment = None
    shop.folder.write()
    until(lambda: shop.ask(3), lambda answer: "experiments" not in answer)
    shop.run.until_said("experiment together-v2: no longer in the files")


def test_a_variant_is_forced_by_who_has_the_key_of_the_run(shop: Shop) -> None:
    (key,) = shop.scratch.glob("endcap-run-*/secret-forceKey/forceKey")
    assert key.parent.stat().st_mode & 0o077 == 0
    forced = {"endcap-force": "together-v2=treatment", "endcap-force-key": key.read_text()}
    wrong = {**forced, "endcap-force-key": "guessed"}
    control = next(n for n in SHOPPERS if expected(n) == "control")
    assert shop.ask(control, **forced)["experiments"]["together-v2"] == {
        "variant": "treatment",
        "reason": "forced",
    }
    assert shop.ask(control, **wrong)["experiments"]["together-v2"]["reason"] == "assigned"


def test_an_experiment_that_does_not_fit_ends_nothing_that_is_served(shop: Shop) -> None:
    before = shop.variants()
    shop.folder.change("spec.step", "togethr")
    shop.run.until_said("spec.step: togethr is no step of the graph: did you mean together")
    shop.run.until_said("not followed: what was served before is served on")
    assert shop.variants() == before


def test_what_cannot_change_once_it_has_begun_is_refused_and_said(shop: Shop) -> None:
    before = shop.variants()
    shop.folder.change("spec.salt", "other")
    shop.run.until_said("experiment together-v2: spec.salt: is not what it began with: put it back")
    assert shop.variants() == before


def test_an_experiment_goes_its_whole_course_on_this_machine(shop: Shop) -> None:
    assert shop.variants() == {n: expected(n) for n in SHOPPERS}
    assert products(shop.ask(1)) != products(shop.ask(3)), "control and treatment recall other products"
    until(lambda: shop.status().get("units"), lambda units: units == len(SHOPPERS))
    happy = [n for n in SHOPPERS if n % 10 < (8 if expected(n) == "treatment" else 2)]
    shop.add_to_cart(happy)
    status = until(shop.status, lambda found: found["phase"] == "AwaitingApproval")
    assert status["verdict"] == "Better treatment"
    screen = shop.experiment("status", "together-v2")
    assert "It waits for a person" in screen
    assert "treatment is better: add-to-cart +" in screen
    shop.experiment("report", "together-v2", "--output", str(shop.scratch / "report.html"))
    assert "treatment is better" in (shop.scratch / "report.html").read_text()

    shop.folder.change("spec.decision", {"promote": "treatment"})
    until(lambda: shop.ask(1)["experiments"], lambda found: found["together-v2"]["reason"] == "promoted")
    assert set(shop.variants().values()) == {"treatment"}
    shop.folder.change_graph("spec.steps[0].recall.model", "better")
    until(shop.status, lambda found: found["phase"] == "Promoted")
    assert "experiments" not in until(lambda: shop.ask(1), lambda answer: "experiments" not in answer)
    assert shop.ask(1)["served_by"]["together"].startswith("better@")
