# SPDX-License-Identifier: Apache-2.0
"""Plans against golden files: what a change of the planner changes in the cluster is seen in a diff.

`ENDCAP_GOLDEN=write pytest tests/golden` writes them anew; read the diff before you commit it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import changed
from situations import (
    PLATFORM,
    failing,
    graph_resource,
    model_resource,
    models,
    serving,
    settled_graph,
    settled_model,
)

from endcap_api.runtime_config import GraphConfig
from endcap_operator.keys import Key
from endcap_operator.plan.entry import plan_for, resource_of
from endcap_operator.plan.facts import Observed, Plan
from endcap_operator.plan.rollout import template_of

GOLDEN = Path(__file__).parent / "plans"
IN_FULL = ("model-new", "model-with-secret-and-range", "model-from-a-claim", "graph-new")
CASES: dict[str, Callable[[], Plan]] = {}


def case(name: str) -> Callable[[Callable[[], Plan]], Callable[[], Plan]]:
    def register(make: Callable[[], Plan]) -> Callable[[], Plan]:
        CASES[name] = make
        return make

    return register


def planned(manifest: dict[str, Any], observed: Observed | None = None) -> Plan:
    return plan_for(resource_of(manifest), observed or Observed(), PLATFORM)


@case("model-new")
def model_new() -> Plan:
    return planned(model_resource())


@case("model-with-secret-and-range")
def model_with_secret_and_range() -> Plan:
    manifest = changed(model_resource(), "spec.model.secretRef", {"name": "s3"})
    return planned(changed(manifest, "spec.replicas", {"min": 2, "max": 6}))


@case("model-from-a-claim")
def model_from_a_claim() -> Plan:
    return planned(changed(model_resource(), "spec.model.uri", "pvc://models/ranker/4.txt"))


@case("model-serving")
def model_serving() -> Plan:
    return planned(model_resource(), settled_model())


@case("model-whose-new-version-fails")
def model_whose_new_version_fails() -> Plan:
    manifest = changed(model_resource(), "spec.model.uri", "s3://models/basket-ranker/5.txt")
    observed = settled_model()
    return planned(manifest, replace(observed, pods=(*observed.pods, failing(manifest))))


@case("model-whose-name-is-taken")
def model_whose_name_is_taken() -> Plan:
    return planned(model_resource(), Observed(taken=(Key("Deployment", "shop", "basket-ranker-model"),)))


@case("model-made-again")
def model_made_again() -> Plan:
    """Its namesake's children are not gone yet."""
    return planned(model_resource(), Observed(left=(Key("Deployment", "shop", "basket-ranker-model"),)))


@case("model-only-for-a-laptop")
def model_only_for_a_laptop() -> Plan:
    return planned(changed(model_resource(), "spec.model.uri", "file://4.txt"), settled_model())


@case("graph-new")
def graph_new() -> Plan:
    return planned(graph_resource(), Observed(resources=models()))


@case("graph-without-its-model")
def graph_without_its_model() -> Plan:
    known = {key: model for key, model in models().items() if key.name != "micro-intent"}
    return planned(graph_resource(), Observed(resources=known))


@case("graph-serving")
def graph_serving() -> Plan:
    return planned(graph_resource(), settled_graph())


@case("graph-edited")
def graph_edited() -> Plan:
    """What every replica confirmed becomes the last good one in the same write."""
    return planned(changed(graph_resource(), "spec.steps[1].recall.top", 50), settled_graph())


@case("graph-whose-edit-is-rejected")
def graph_whose_edit_is_rejected() -> Plan:
    edited = changed(graph_resource(), "spec.catalogue.sha256", "f" * 64)
    return planned(edited, serving(edited, settled_graph(), rejected="DigestMismatch"))


@case("graph-with-a-bad-edit")
def graph_with_a_bad_edit() -> Plan:
    return planned(
        changed(graph_resource(), "spec.steps[3].filter.drop", "candidate.nam == ''"), settled_graph()
    )


@case("graph-whose-model-went")
def graph_whose_model_went() -> Plan:
    observed = settled_graph()
    known = {key: model for key, model in observed.resources.items() if key.name != "micro-intent"}
    return planned(graph_resource(), replace(observed, resources=known))


@pytest.mark.parametrize("name", CASES)
def test_plan_is_the_golden_one(name: str) -> None:
    plan = yaml.dump(
        _shown(name, CASES[name]()), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110
    )
    golden = GOLDEN / f"{name}.yaml"
    if os.environ.get("ENDCAP_GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(f"# SPDX-License-Identifier: Apache-2.0\n{plan}", encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == f"# SPDX-License-Identifier: Apache-2.0\n{plan}"


class _Plain(yaml.SafeDumper):
    """Without anchors: what is there twice is read twice."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def _shown(name: str, plan: Plan) -> dict[str, Any]:
    shown = {
        "status": plan.status,
        "recheck": plan.recheck,
        "seed": plan.seed,
        "prune": [m["kind"] for m in plan.prune],
        "nudge": [{"pod": n.pod.name, "value": n.value} for n in plan.nudge],
        "manifests": [_brief(m) if name not in IN_FULL else m for m in plan.manifests],
    }
    return {name: value for name, value in shown.items() if value not in (None, [])}


def _brief(manifest: dict[str, Any]) -> dict[str, Any]:
    """Which child, and which configuration or template it has: what the manifests are made of is shown elsewhere."""
    if manifest["kind"] == "ConfigMap":
        return {"ConfigMap": {name: f"revision {_revision(text)}" for name, text in manifest["data"].items()}}
    if manifest["kind"] == "Deployment":
        return {"Deployment": f"template {template_of(manifest)}"}
    return {manifest["kind"]: manifest["metadata"]["name"]}


def _revision(text: str) -> str:
    return GraphConfig.model_validate_json(text).revision


def test_every_golden_file_has_its_case() -> None:
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == set(CASES)
