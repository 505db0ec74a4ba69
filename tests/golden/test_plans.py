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
from builders import (
    activity,
    bundle,
    changed,
    feature_store,
    last_intent,
    segment,
    with_features,
    writing_back,
)
from situations import (
    PLATFORM,
    asking_model,
    failing,
    features,
    graph_resource,
    known,
    model_resource,
    models,
    report,
    serving,
    settled_graph,
    settled_model,
    settled_store,
    stored,
)

from endcap_api.features_config import FeaturesConfig
from endcap_api.runtime_config import GraphConfig
from endcap_operator.keys import Key
from endcap_operator.plan.entry import plan_for, resource_of
from endcap_operator.plan.facts import Observed, Plan
from endcap_operator.plan.rollout import template_of

GOLDEN = Path(__file__).parent / "plans"
IN_FULL = (
    "model-new",
    "model-with-secret-and-range",
    "model-from-a-claim",
    "graph-new",
    "graph-with-features",
    "model-with-features",
    "store-new",
    "store-with-storage-and-range",
    "store-of-ones-own",
)
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


@case("graph-with-features")
def graph_with_features() -> Plan:
    """The sidecar, what it is told, and the Secret that it alone sees."""
    return planned(with_features(graph_resource()), Observed(resources={**models(), **features()}))


@case("graph-that-writes-back")
def graph_that_writes_back() -> Plan:
    known = {**models(), **features()}
    return planned(writing_back(graph_resource()), Observed(resources=known))


@case("graph-whose-bundle-went")
def graph_whose_bundle_went() -> Plan:
    """What was served before is, and the sidecar stays."""
    observed = settled_graph(with_features(graph_resource()), others=features())
    known = {key: other for key, other in observed.resources.items() if key.kind != "FeatureBundle"}
    return planned(with_features(graph_resource()), replace(observed, resources=known))


@case("graph-that-asks-no-more")
def graph_that_asks_no_more() -> Plan:
    observed = settled_graph(with_features(graph_resource()), others=features())
    return planned(graph_resource(), observed)


@case("model-with-features")
def model_with_features() -> Plan:
    return planned(asking_model(), Observed(resources=features()))


@case("model-whose-view-is-missing")
def model_whose_view_is_missing() -> Plan:
    known = {key: other for key, other in features().items() if key.name != "customer-segment"}
    return planned(asking_model(), Observed(resources=known))


@case("store-new")
def store_new() -> Plan:
    return planned(stored(feature_store()), Observed(resources=features()))


@case("store-with-storage-and-range")
def store_with_storage_and_range() -> Plan:
    embedded = {"fsync": "always", "storage": {"size": "2Gi", "className": "fast"}}
    ingest = {"replicas": {"min": 2, "max": 4}}
    return planned(stored(feature_store(embedded=embedded, ingest=ingest)))


@case("store-of-ones-own")
def store_of_ones_own() -> Plan:
    redis = {"url": "rediss://cache.shop:6380/1", "secretRef": {"name": "cache"}}
    return planned(stored(feature_store(redis=redis)), Observed(resources=features()))


@case("store-on-a-cluster")
def store_on_a_cluster() -> Plan:
    redis = {"url": "redis://cluster.shop:6379", "cluster": True}
    return planned(stored(feature_store(redis=redis, servingLog={"maxEntries": 500})))


@case("store-serving")
def store_serving() -> Plan:
    return planned(stored(feature_store()), settled_store())


@case("store-that-became-ones-own")
def store_that_became_ones_own() -> Plan:
    """The Redis goes; its volume and its Secret stay until the store itself is deleted."""
    embedded = {"storage": {"size": "2Gi"}}
    observed = settled_store(stored(feature_store(embedded=embedded)))
    return planned(stored(feature_store(redis={"url": "redis://cache.shop:6379"})), observed)


@case("store-with-an-unsound-view")
def store_with_an_unsound_view() -> Plan:
    """What is fed of it stays what it was."""
    broken = changed(segment(), "spec.features[0].default", "x" * 64)
    observed = settled_store()
    return planned(
        stored(feature_store()),
        replace(observed, resources={**observed.resources, **known(broken)}),
    )


@case("view-filling")
def view_filling() -> Plan:
    return planned(stored(activity()), replace(Observed(resources=features()), report=report()))


@case("view-without-its-store")
def view_without_its_store() -> Plan:
    return planned(stored(activity(store="other")), Observed(resources=features()))


@case("view-derived-and-never-written")
def view_derived_and_never_written() -> Plan:
    return planned(stored(last_intent()), Observed(resources=features(), report=report()))


@case("bundle-used")
def bundle_used() -> Plan:
    callers = (Key("InferenceGraph", "shop", "basket"), Key("ModelDeployment", "shop", "ranker"))
    return planned(stored(bundle()), Observed(resources=features(), callers=callers))


@case("bundle-with-an-unknown-window")
def bundle_with_an_unknown_window() -> Plan:
    manifest = changed(bundle(), "spec.features[0].window", "5m")
    return planned(stored(manifest), Observed(resources=features()))


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
        "secrets": [{"made": secret.key, **secret.manifest} for secret in plan.secrets],
        "patch": plan.patch and {"of": str(plan.patch.key), "operations": list(plan.patch.operations)},
        "due": plan.due,
        "events": [f"{'Warning' if e.warning else 'Normal'} {e.reason}: {e.note}" for e in plan.events],
        "prune": [f"{m['kind']} {m['metadata']['name']}" for m in plan.prune],
        "nudge": [{"pod": n.pod.name, "value": n.value} for n in plan.nudge],
        "manifests": [_brief(m) if name not in IN_FULL else m for m in plan.manifests],
    }
    return {name: value for name, value in shown.items() if value not in (None, [])}


def _brief(manifest: dict[str, Any]) -> dict[str, Any]:
    """Which child, and which configuration or template it has: what the manifests are made of is shown elsewhere."""
    if manifest["kind"] == "ConfigMap":
        data = manifest["data"].items()
        return {"ConfigMap": {name: f"revision {_revision(name, text)}" for name, text in data}}
    if manifest["kind"] == "Deployment":
        return {"Deployment": f"template {template_of(manifest)}"}
    return {manifest["kind"]: manifest["metadata"]["name"]}


def _revision(name: str, text: str) -> str:
    of = FeaturesConfig if name.endswith("features.json") else GraphConfig
    return of.model_validate_json(text).revision


def test_every_golden_file_has_its_case() -> None:
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == set(CASES)
