# SPDX-License-Identifier: Apache-2.0
"""The plans of an experiment, its graph, its models and its store at each turn of its course, as golden files.

`ENDCAP_GOLDEN=write pytest tests/golden` writes them anew; read the diff before you commit it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import changed, graph, ranker
from experiment_builders import CONTROL, TREATMENT, experiment, measured, shadow
from experiment_stage import GRAPH, Stage, converted, counted, pods_fail, staged

from endcap_operator.keys import Key
from endcap_operator.plan.facts import Plan
from endcap_operator.plan.rollout import template_of

GOLDEN = Path(__file__).parent / "experiment-plans"
METRIC = {"name": "bought", "unit": "customer_id", "event": "purchase", "conversion": True}
DECIDED = {"store": "default", "metrics": [METRIC], "primary": "bought", "onWin": "promote"}
GUARDED = {"guardrails": [{"serving": "errorRate", "limit": 1}]}
WEIGHED = [{**CONTROL, "weight": 66}, {**TREATMENT, "weight": 34}]
Planned = list[tuple[str, Plan]]
CASES: dict[str, Callable[[], Planned]] = {}


def case(make: Callable[[], Planned]) -> Callable[[], Planned]:
    CASES[make.__name__.replace("_", "-")] = make
    return make


def settled(*experiments: dict[str, Any]) -> Stage:
    stage = staged(*experiments)
    stage.settle()
    return stage


def turned(stage: Stage, *keys: Key) -> Planned:
    """The next plan of each, one after the other."""
    plans = []
    for key in keys:
        plan = stage.plan(key)
        plans.append((str(key), plan))
        stage.write(key, plan)
    return plans


@case
def seen_first() -> Planned:
    """It begins at once, since all is ready, and then the graph has it."""
    stage = staged()
    return turned(stage, stage.key(), GRAPH)


@case
def everything_at_once() -> Planned:
    """A ramp, a layer, a holdout, overrides, metrics of each kind: what the graph and the store are told."""
    stage = staged(measured())
    return turned(stage, stage.key(), GRAPH, Key("FeatureStore", "shop", "default"))


@case
def a_shadow() -> Planned:
    stage = staged(shadow())
    return turned(stage, stage.key("ranker-v3"), GRAPH)


@case
def kept_out_by_an_older_one() -> Planned:
    stage = settled(experiment(), experiment("second", salt="another"))
    return turned(stage, stage.key("second"), GRAPH)


@case
def weights_changed() -> Planned:
    stage = settled()
    stage.apply(experiment(variants=WEIGHED))
    return turned(stage, stage.key(), GRAPH)


@case
def up_a_step_of_the_ramp() -> Planned:
    stage = settled(experiment(ramp={"steps": [{"coverage": 5, "hold": "10m"}, {"coverage": 100}]}))
    stage.passes(600)
    stage.reading = pods_fail(stage, errors=0)
    return turned(stage, stage.key(), GRAPH)


@case
def rolled_back() -> Planned:
    stage = settled(experiment(**GUARDED))
    stage.reading = pods_fail(stage, errors=100)
    return turned(stage, stage.key(), GRAPH)


@case
def won_and_recommended() -> Planned:
    stage = settled(experiment(**DECIDED))
    stage.reading = _clear_win(stage)
    return turned(stage, stage.key(), GRAPH)


@case
def won_and_patched() -> Planned:
    stage = settled(experiment(**DECIDED, promotion="patch"))
    stage.reading = _clear_win(stage)
    return turned(stage, stage.key())


@case
def named_by_the_graph_itself() -> Planned:
    stage = settled(experiment(decision={"promote": "treatment"}))
    stage.apply(changed(graph(), "spec.steps[2].rank.model", "ranker-v2"))
    return turned(stage, stage.key(), GRAPH)


@case
def deleted() -> Planned:
    stage = settled()
    stage.delete(stage.key())
    return turned(stage, GRAPH)


@case
def a_model_that_is_pinned() -> Planned:
    stage = settled()
    newer = changed(ranker("ranker-v2"), "spec.model.sha256", "f" * 64)
    stage.apply(changed(newer, "spec.model.uri", "s3://models/ranker-v2/5.txt"))
    return turned(stage, Key("ModelDeployment", "shop", "ranker-v2"), stage.key())


@case
def a_record_that_was_lost() -> Planned:
    stage = settled(experiment(variants=WEIGHED))
    stage.apply(experiment())
    stage.settle()
    stage.children[stage.key()] = {}
    return turned(stage, GRAPH, stage.key(), GRAPH)


def _clear_win(stage: Stage) -> Any:
    treated = {"control": converted(8000, 800), "treatment": converted(8000, 1600)}
    return counted(stage, 8000, 8000, bought=treated)


@pytest.mark.parametrize("name", CASES)
def test_plans_are_the_golden_ones(name: str) -> None:
    shown = [{key: _shown(plan)} for key, plan in CASES[name]()]
    text = yaml.dump(shown, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)
    golden = GOLDEN / f"{name}.yaml"
    if os.environ.get("ENDCAP_GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(f"# SPDX-License-Identifier: Apache-2.0\n{text}", encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == f"# SPDX-License-Identifier: Apache-2.0\n{text}"


class _Plain(yaml.SafeDumper):
    """Without anchors: what is there twice is read twice."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def _shown(plan: Plan) -> dict[str, Any]:
    shown = {
        "events": [f"{'Warning' if e.warning else 'Normal'} {e.reason}: {e.note}" for e in plan.events],
        "patch": plan.patch and {"of": str(plan.patch.key), "operations": list(plan.patch.operations)},
        "recheck": plan.recheck,
        "due": plan.due,
        "manifests": [_brief(manifest) for manifest in plan.manifests],
        "status": {**plan.status, "conditions": [_said(each) for each in plan.status["conditions"]]},
    }
    return {name: value for name, value in shown.items() if value not in (None, [])}


def _said(condition: dict[str, Any]) -> str:
    return f"{condition['type']}={condition['status']} {condition['reason']}: {condition['message']}"


def _brief(manifest: dict[str, Any]) -> dict[str, Any]:
    """Of a configuration what it says of experiments; of a record all but the digests of what it began with."""
    if manifest["kind"] == "ConfigMap":
        return {"ConfigMap": {name: _told(json.loads(text)) for name, text in manifest["data"].items()}}
    if manifest["kind"] == "Deployment":
        return {"Deployment": f"template {template_of(manifest)}"}
    return {manifest["kind"]: manifest["metadata"]["name"]}


def _told(data: dict[str, Any]) -> dict[str, Any]:
    if "spec" not in data and "views" not in data:
        return {name: value for name, value in data.items() if name != "began"}
    kept = {name: data[name] for name in ("activateAtMs", "experiments") if name in data}
    return {**kept, "models": sorted(data["models"])} if "models" in data else kept


def test_every_golden_file_has_its_case() -> None:
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == set(CASES)
