# SPDX-License-Identifier: Apache-2.0
"""Who gets which variant in the compiled graph: every row of the order, the unit as text, and several on one step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from math import sqrt
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from graphs import Graph, write_catalogue
from model_servers import ROOT
from prometheus_client import CollectorRegistry
from shop_exposures import Tried, experiment

from endcap_runtime.graph.building import Surroundings
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.compile import compile_graph
from endcap_runtime.graph.experiments.assigned import Assigned
from endcap_runtime.graph.experiments.experiment import Experiments
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.request import RequestSchema
from endcap_runtime.graph.sidecar import Sidecar
from endcap_runtime.graph.upstream import Models

BY_PRICE = {"by": "0.0 - candidate.price"}
HALVES = [
    {"name": "control", "baseline": True, "buckets": ["0-5000"], "weight": 5000},
    {"name": "treatment", **BY_PRICE, "buckets": ["5000-10000"], "weight": 5000},
]


def tried(**changes: Any) -> dict[str, Any]:
    return experiment(**{"variants": HALVES, **changes})


class Compiled:
    """A graph with experiments, asked who gets what."""

    def __init__(self, folder: Path, **experiments: dict[str, Any]) -> None:
        graph = Graph().model("item-cooccurrence", "http://127.0.0.1:9")
        graph = graph.recall("together", "item-cooccurrence").rank(by="candidate.price").select()
        graph = graph.field("channel", type="string", default="web").field("age", type="integer")
        graph = graph.field("guest", type="string", default="somebody")
        file = folder / "1.parquet"
        if not file.exists():
            write_catalogue(file)
        named = {name.replace("_", "-"): value for name, value in experiments.items()}
        config = Tried.of(graph, named).config()
        catalogue = Catalogue.load(file, config.spec.catalogue)
        around = Surroundings(catalogue, Models(), GraphMetrics(CollectorRegistry()), Sidecar())
        pipeline = compile_graph(config, around)
        assert pipeline.experiments is not None
        self.experiments: Experiments = pipeline.experiments
        self.request: RequestSchema = pipeline.request

    def __call__(self, forced: dict[str, str] | None = None, **body: Any) -> dict[str, Assigned]:
        checked = self.request.read(json.dumps(body).encode())
        return self.experiments.assign(checked.values, checked.given, forced or {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("catalogue")


def said(assigned: Assigned) -> tuple[str, str, bool]:
    return assigned.variant, assigned.reason, assigned.does


# Its buckets: 6954 of the salt of `experiment`, 3706 in layer home, 3999 in holdout 2026q3.
SEVEN = {"customer": "7"}


def test_what_is_remembered_of_an_assignment(folder: Path) -> None:
    (one,) = Compiled(folder, x=tried())(**SEVEN).values()
    assert (one.name, one.unit, one.unit_type, one.bucket, one.propensity) == (
        "x",
        "7",
        "customer",
        6954,
        0.5,
    )
    assert (one.config.revision, one.served, one.failure) == (3, None, None)


def test_propensity_is_what_chance_gave_and_one_where_it_did_not_decide(folder: Path) -> None:
    third = [{**HALVES[0], "buckets": ["0-1000"]}, {**HALVES[1], "buckets": ["5000-8000"]}]
    compiled = Compiled(folder, x=tried(variants=third))
    assert compiled(**SEVEN)["x"].propensity == 0.75
    assert compiled({"x": "treatment"}, **SEVEN)["x"].propensity == 1.0


@pytest.mark.parametrize(
    ("changes", "forced", "body", "expected"),
    [
        ({}, {}, SEVEN, ("treatment", "assigned", True)),
        ({"enabled": False}, {"x": "treatment"}, SEVEN, ("control", "disabled", False)),
        ({"overrides": {"7": "control"}}, {"x": "treatment"}, SEVEN, ("treatment", "forced", True)),
        ({"overrides": {"7": "control"}, "everyone": "treatment"}, {}, SEVEN, ("control", "listed", True)),
        ({"everyone": "treatment"}, {}, {}, ("treatment", "promoted", True)),
        ({}, {}, {}, ("control", "no_unit", False)),
        ({}, {}, {"customer": ""}, ("control", "no_unit", False)),
        (
            {"holdout": {"name": "2026q3", "percent": 40}, "targeting": "false"},
            {},
            SEVEN,
            ("control", "held_out", False),
        ),
        (
            {"holdout": {"name": "2026q3", "percent": 39}, "targeting": "true"},
            {},
            SEVEN,
            ("treatment", "assigned", True),
        ),
        ({"targeting": 'request.channel == "app"'}, {}, SEVEN, ("control", "not_targeted", False)),
        ({"targeting": "1 / request.age > 0"}, {}, SEVEN, ("control", "not_targeted", False)),
        (
            {"targeting": "1 / request.age > 0"},
            {},
            {"customer": "7", "age": 1},
            ("treatment", "assigned", True),
        ),
        (
            {"layer": {"name": "home", "buckets": ["0-1"]}, "variants": [{**HALVES[0], "buckets": []}, HALVES[1]]},
            {},
            SEVEN,
            ("control", "other_layer", False),
        ),
        (
            {"variants": [{**HALVES[0], "buckets": ["0-50"]}, {**HALVES[1], "buckets": ["5000-5050"]}]},
            {},
            SEVEN,
            ("control", "not_covered", False),
        ),
        ({"mode": "shadow"}, {}, SEVEN, ("control", "shadowed", False)),
    ],
)  # fmt: skip
def test_every_row_of_the_order(
    folder: Path, changes: dict[str, Any], forced: dict[str, str], body: dict[str, Any], expected: Any
) -> None:
    assert said(Compiled(folder, x=tried(**changes))(forced, **body)["x"]) == expected


def test_a_force_for_another_experiment_forces_nothing(folder: Path) -> None:
    assert said(Compiled(folder, x=tried())({"y": "control"}, **SEVEN)["x"])[1] == "assigned"


@pytest.mark.parametrize(
    ("fields", "body", "unit"),
    [
        (["customer"], {"customer": "Ünïcode-éè"}, "Ünïcode-éè"),
        (["age"], {"age": 1467}, "1467"),
        (["age"], {"age": 1467.0}, "1467"),
        (["age"], {"age": -3}, "-3"),
        (["age"], {"age": 0}, "0"),
        (["age"], {}, None),
        (["guest"], {}, None),
        (["customer", "store"], {"customer": "", "store": "330"}, "330"),
        (["customer", "store"], {"customer": "7", "store": "330"}, "7"),
        (["customer", "store"], {"store": "330"}, "330"),
        (["customer"], {"customer": " 7"}, " 7"),
    ],
)
def test_a_unit_is_the_text_of_the_first_field_that_is_given(
    folder: Path, fields: list[str], body: dict[str, Any], unit: str | None
) -> None:
    unit_fields = [f"request.{name}" for name in fields]
    (one,) = Compiled(folder, x=tried(unit=unit_fields))(**body).values()
    assert one.unit == unit
    assert one.unit_type == (None if unit is None else next(n for n in fields if body.get(n, "") != ""))


def on_one_step(folder: Path, left: dict[str, Any], right: dict[str, Any]) -> Compiled:
    """Two experiments, each in a half of one layer, with salts of their own."""
    return Compiled(
        folder,
        left=tried(salt="left", layer={"name": "rank", "buckets": ["0-5000"]}, **left),
        right=tried(salt="right", id="0ddba11", layer={"name": "rank", "buckets": ["5000-10000"]}, **right),
    )


def test_of_two_on_one_step_each_unit_is_in_one(folder: Path) -> None:
    compiled = on_one_step(folder, {}, {})
    reasons = [tuple(each.reason for each in compiled(customer=str(unit)).values()) for unit in range(2_000)]
    assert set(reasons) == {("assigned", "other_layer"), ("other_layer", "assigned")}
    assert 850 < reasons.count(("assigned", "other_layer")) < 1150


@pytest.mark.parametrize(
    ("left", "right", "forced", "expected"),
    [
        ({}, {"overrides": {"7": "treatment"}}, {"left": "treatment"}, ("forced", "other_layer")),
        ({"overrides": {"7": "treatment"}}, {"everyone": "treatment"}, {}, ("listed", "other_layer")),
        ({"overrides": {"7": "treatment"}}, {}, {"right": "treatment"}, ("other_layer", "forced")),
        ({"everyone": "treatment"}, {"everyone": "treatment"}, {}, ("promoted", "other_layer")),
        ({"enabled": False}, {"everyone": "treatment"}, {}, ("disabled", "promoted")),
    ],
)
def test_a_step_is_done_by_one_experiment_alone(
    folder: Path, left: Any, right: Any, forced: dict[str, str], expected: tuple[str, str]
) -> None:
    found = on_one_step(folder, left, right)(forced, **SEVEN)
    assert tuple(each.reason for each in found.values()) == expected
    assert sum(each.does for each in found.values()) == 1
    loser = next(each for each in found.values() if not each.does)
    assert (loser.variant, loser.propensity) == ("control", 1.0)


def test_what_was_promoted_gives_way_to_what_is_still_tried(folder: Path) -> None:
    compiled = on_one_step(folder, {"everyone": "treatment"}, {})
    reasons = {tuple(each.reason for each in compiled(customer=str(unit)).values()) for unit in range(200)}
    assert reasons == {("other_layer", "assigned"), ("promoted", "other_layer")}


def test_shares_are_within_chance_of_their_weights(folder: Path) -> None:
    """100,000 units through the compiled experiment: 3.3 standard deviations about each weight."""
    weights = {"control": 5000, "treatment": 3333, "third": 1667}
    starts = [0, 5000, 8333, 10_000]
    variants = [
        {"name": name, "weight": weight, "buckets": [f"{starts[place]}-{starts[place + 1]}"]}
        for place, (name, weight) in enumerate(weights.items())
    ]
    variants[0]["baseline"] = True
    for variant in variants[1:]:
        variant.update(BY_PRICE)
    experiments = Compiled(folder, x=tried(variants=variants)).experiments
    counts = dict.fromkeys(weights, 0)
    for unit in range(100_000):
        values = {"request.customer": f"shopper-{unit}"}
        counts[experiments.assign(values, {"customer"}, {})["x"].variant] += 1
    for name, weight in weights.items():
        share = weight / 10_000
        assert abs(counts[name] - 100_000 * share) < 3.3 * sqrt(100_000 * share * (1 - share))


ELSEWHERE = """
    import sys
    from pathlib import Path
    from test_graph_experiment_assignment import Compiled, tried
    compiled = Compiled(Path(sys.argv[1]), x=tried(), y=tried(salt="y", id="2", step="rank", everyone="treatment"))
    for unit in range(1000):
        found = compiled(customer=f"shopper-{unit}")["x"]
        print(found.variant, found.bucket)
"""


def test_processes_agree_whatever_seeds_their_hashes(folder: Path) -> None:
    answers = set()
    for seed in ("0", "1", "random"):
        environ = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(
                str(ROOT / part) for part in ("api", "runtimes", "tests", "tests/unit")
            ),
        }
        command = [sys.executable, "-c", dedent(ELSEWHERE), str(folder)]
        done = subprocess.run(command, env=environ, capture_output=True, check=True)
        answers.add(done.stdout)
    assert len(answers) == 1
    assert next(iter(answers)).count(b"treatment") > 400
