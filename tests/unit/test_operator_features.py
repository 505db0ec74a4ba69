# SPDX-License-Identifier: Apache-2.0
"""What planning makes of features: who gets a sidecar, what it is told, what waits, and what a bad edit leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from builders import (
    activity,
    bundle,
    changed,
    feature_store,
    intent,
    last_intent,
    ranker,
    recaller,
    segment,
    with_features,
    writing_back,
)
from hypothesis import given
from hypothesis import strategies as st
from situations import (
    NOW,
    PLATFORM,
    asking_model,
    features,
    graph_resource,
    known,
    models,
    pod,
    report,
    settled_graph,
    settled_store,
    stored,
)

from endcap_api.features_config import FeaturesConfig
from endcap_api.runtime_config import GraphConfig
from endcap_operator.keys import Key
from endcap_operator.plan.entry import plan_for, resource_of
from endcap_operator.plan.facts import Away, Fed, Observed, Plan, Referenced
from endcap_operator.plan.freshness import shown_span
from endcap_operator.plan.pods import Rejection, Serving
from endcap_operator.plan.references import named_by, reached

EVERYTHING = {**models(), **features()}


def planned(manifest: dict[str, Any], observed: Observed) -> Plan:
    return plan_for(resource_of(manifest), observed, PLATFORM)


def conditions(plan: Plan) -> dict[str, dict[str, Any]]:
    return {c["type"]: c for c in plan.status["conditions"]}


def child(plan: Plan, kind: str, name: str = "") -> dict[str, Any]:
    return next(m for m in plan.manifests if m["kind"] == kind and name in m["metadata"]["name"])


def pod_spec(plan: Plan) -> dict[str, Any]:
    return dict(child(plan, "Deployment")["spec"]["template"]["spec"])


def sidecars(plan: Plan) -> list[str]:
    return [c["name"] for c in pod_spec(plan).get("initContainers", ()) if c.get("restartPolicy") == "Always"]


def told(plan: Plan) -> FeaturesConfig:
    return FeaturesConfig.model_validate_json(child(plan, "ConfigMap")["data"]["features.json"])


def without(name: str) -> dict[Key, Referenced]:
    return {key: other for key, other in EVERYTHING.items() if key.name != name}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (graph_resource(), []),
        (with_features(graph_resource()), ["features"]),
        (writing_back(graph_resource()), ["features"]),
        (stored(ranker()), []),
        (asking_model(), ["features"]),
    ],
)
def test_a_sidecar_is_in_exactly_the_pods_that_need_one(
    manifest: dict[str, Any], expected: list[str]
) -> None:
    assert sidecars(planned(manifest, Observed(resources=EVERYTHING))) == expected


@pytest.mark.parametrize("manifest", [with_features(graph_resource()), asking_model()])
def test_the_stores_secret_is_mounted_for_the_sidecar_alone(manifest: dict[str, Any]) -> None:
    spec = pod_spec(planned(manifest, Observed(resources=EVERYTHING)))
    assert seeing(spec, "default-store") == {"features"}


def seeing(spec: dict[str, Any], secret: str) -> set[str]:
    """The containers of a pod that can read a Secret."""
    volume = next(v["name"] for v in spec["volumes"] if v.get("secret", {}).get("secretName") == secret)
    containers = (*spec["containers"], *spec.get("initContainers", ()))
    return {c["name"] for c in containers if volume in {m["name"] for m in c["volumeMounts"]}}


def test_the_key_that_forces_a_variant_is_seen_by_the_graph_alone_and_is_not_waited_for() -> None:
    spec = pod_spec(planned(with_features(graph_resource()), Observed(resources=EVERYTHING)))
    assert seeing(spec, "basket-graph") == {"graph"}
    assert next(v for v in spec["volumes"] if v["name"] == "force")["secret"]["optional"] is True


def test_both_sides_of_a_lookup_know_a_bundle_by_the_same_digest() -> None:
    plan = planned(with_features(graph_resource()), Observed(resources=EVERYTHING))
    config = GraphConfig.model_validate_json(child(plan, "ConfigMap")["data"]["graph.json"])
    sidecar, name = told(plan), "customer-preference"
    assert config.bundles is not None
    assert config.bundles[name] == sidecar.contract(name)


def test_a_bundles_edit_is_another_revision_and_the_same_template() -> None:
    """So it reaches pods through the ConfigMap and a nudge."""
    edited = changed(bundle(), "spec.features[0].window", "24h")
    before = planned(with_features(graph_resource()), Observed(resources=EVERYTHING))
    after = planned(with_features(graph_resource()), Observed(resources={**EVERYTHING, **known(edited)}))
    assert before.status["revision"] != after.status["revision"]
    assert pod_spec(before) == pod_spec(after)


@pytest.mark.parametrize(("overdue", "degraded"), [(False, "False"), (True, "True")])
def test_a_sidecar_that_is_a_moment_late_is_no_trouble_and_one_that_stays_away_is(
    *, overdue: bool, degraded: str
) -> None:
    asking = with_features(graph_resource())
    observed = settled_graph(asking, others={**features(), **models()})
    revision = planned(asking, observed).status["revision"]
    late = Serving(None, Rejection(revision, "FeaturesUnavailable", "the bundle is not known yet"))
    pods = tuple(replace(p, serving=late, nudged=revision, overdue=overdue) for p in observed.pods)
    plan = planned(asking, replace(observed, pods=pods))
    assert conditions(plan)["Degraded"]["status"] == degraded
    assert conditions(plan)["Progressing"]["status"] == ("False" if overdue else "True")


def test_a_pod_without_a_sidecar_that_is_being_replaced_by_one_with_it_is_no_trouble() -> None:
    """It cannot serve the revision, and says so, until the pod that can has taken its place."""
    asking, before = with_features(graph_resource()), settled_graph(graph_resource())
    observed = replace(before, resources={**before.resources, **EVERYTHING})
    revision = planned(asking, observed).status["revision"]
    refusing = Serving("before", Rejection(revision, "FeaturesUnavailable", "no sidecar answers"))
    pods = tuple(replace(p, serving=refusing, nudged=revision, overdue=True) for p in observed.pods)
    found = conditions(planned(asking, replace(observed, pods=pods)))
    assert (found["Progressing"]["status"], found["Progressing"]["reason"]) == ("True", "RollingOut")
    assert found["Degraded"]["status"] == "False"


def test_a_change_of_the_store_alone_is_told_to_the_pods_once() -> None:
    """It changes no revision, and the kubelet would take a minute."""
    asking = with_features(graph_resource())
    observed = settled_graph(asking, others=features())
    moved = {**observed.resources, **known(feature_store(maxLag="30s"))}
    plan = planned(asking, replace(observed, resources=moved))
    assert [n.value for n in plan.nudge] == [told(plan).revision] * 2
    config_map = child(plan, "ConfigMap")
    written = {**observed.children, Key("ConfigMap", "shop", "basket-graph"): config_map}
    assert planned(asking, replace(observed, resources=moved, children=written)).nudge == ()


def test_the_last_good_revision_keeps_the_features_that_it_reads() -> None:
    """A pod that starts between a bad edit and its repair has both files."""
    asking = with_features(graph_resource())
    observed = settled_graph(asking, others={**features(), **models()})
    before = child(planned(asking, observed), "ConfigMap")["data"]
    edited = changed(bundle(), "spec.features[0].window", "24h")
    resources = {**observed.resources, **known(edited)}
    once = planned(asking, replace(observed, resources=resources))
    after = child(once, "ConfigMap")["data"]
    assert after["last-good.json"] == before["graph.json"]
    assert after["last-good-features.json"] == before["features.json"] != after["features.json"]
    again = {**resources, **known(changed(bundle(), "spec.features[0].window", "5m"))}
    written = {**observed.children, Key("ConfigMap", "shop", "basket-graph"): child(once, "ConfigMap")}
    kept = child(planned(asking, replace(observed, resources=again, children=written)), "ConfigMap")["data"]
    assert kept["last-good-features.json"] == before["features.json"], "nobody confirmed the one between"


def test_a_models_columns_live_in_its_template() -> None:
    edited = changed(bundle(), "spec.features[0].window", "24h")
    before = planned(asking_model(), Observed(resources=EVERYTHING))
    after = planned(asking_model(), Observed(resources={**EVERYTHING, **known(edited)}))
    assert pod_spec(before) != pod_spec(after)


def test_a_view_that_lives_on_changes_no_template_of_a_model() -> None:
    edited = changed(segment(), "spec.ttl", "72h")
    before = planned(asking_model(), Observed(resources=EVERYTHING))
    after = planned(asking_model(), Observed(resources={**EVERYTHING, **known(edited)}))
    assert pod_spec(before) == pod_spec(after)
    assert told(before).revision != told(after).revision


def test_a_models_pods_are_nudged_once_for_each_configuration() -> None:
    plan = planned(asking_model(), Observed(resources=EVERYTHING))
    fresh, revision = pod(plan), told(plan).revision
    nudged = planned(asking_model(), Observed(resources=EVERYTHING, pods=(fresh,))).nudge
    assert [n.value for n in nudged] == [revision]
    aware = replace(fresh, nudged=revision)
    assert planned(asking_model(), Observed(resources=EVERYTHING, pods=(aware,))).nudge == ()


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("customer-preference", "FeatureBundleNotFound"),
        ("customer-segment", "FeatureViewNotFound"),
        ("default", "FeatureStoreNotFound"),
    ],
)
@pytest.mark.parametrize("manifest", [with_features(graph_resource()), asking_model()])
def test_what_is_missing_is_named_and_nothing_is_made(
    manifest: dict[str, Any], missing: str, reason: str
) -> None:
    plan = planned(manifest, Observed(resources=without(missing)))
    ready = conditions(plan)["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert missing in ready["message"]
    assert conditions(plan)["Accepted"]["status"] == "True"
    assert plan.manifests == ()


def test_a_view_of_a_model_that_is_gone_holds_up_whoever_reads_it() -> None:
    """Nothing counts of what no deployed version made."""
    reading = changed(bundle(), "spec.features", [{"view": "last-intent", "feature": "intent"}])
    gone = {**without("micro-intent"), **known(reading)}
    plan = planned(asking_model(), Observed(resources=gone))
    assert conditions(plan)["Ready"]["reason"] == "ModelNotFound"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (changed(bundle(), "spec.features[1].feature", "segmant"), "FeatureBundleInvalid"),
        (changed(segment(), "spec.features[0].default", "x" * 64), "FeatureViewInvalid"),
    ],
)
def test_an_unsound_edit_never_replaces_what_serves(broken: dict[str, Any], reason: str) -> None:
    asking = with_features(graph_resource())
    observed = settled_graph(asking, others=features())
    plan = planned(asking, replace(observed, resources={**observed.resources, **known(broken)}))
    found = conditions(plan)
    assert found["Ready"]["status"] == "True"
    assert (found["Degraded"]["status"], found["Degraded"]["reason"]) == ("True", reason)
    assert plan.status["serving"] == "2/2"
    before = observed.children[Key("ConfigMap", "shop", "basket-graph")]["data"]
    assert child(plan, "ConfigMap")["data"] == before


def test_a_store_that_is_down_degrades_the_graph_and_does_not_take_it_away() -> None:
    asking = with_features(graph_resource())
    observed = settled_graph(asking, replicas=1, others={**models(), **features(ready=False), **models()})
    found = conditions(planned(asking, observed))
    assert found["Ready"]["status"] == "True"
    assert found["Degraded"]["reason"] == "FeatureStoreNotReady"


def test_a_store_whose_pods_are_ready_and_cannot_ask_it_is_not_ready() -> None:
    """A wrong password, say: the pods run, and what is wrong is told where one looks."""
    away = replace(settled_store(), report=None, away=Away("The store does not accept the password"))
    found = conditions(planned(stored(feature_store()), away))["Ready"]
    assert (found["status"], found["reason"]) == ("False", "StoreUnreachable")
    assert found["message"].startswith("The store does not accept the password. Check spec.redis")
    assert conditions(planned(stored(feature_store()), settled_store()))["Ready"]["status"] == "True"


def version(model: Referenced) -> str | None:
    key = Key("ModelDeployment", "shop", "micro-intent")
    plan = planned(writing_back(graph_resource()), Observed(resources={**EVERYTHING, key: model}))
    return told(plan).views["last-intent"].version


def test_a_derived_view_counts_what_the_version_that_is_served_made() -> None:
    spec = EVERYTHING[Key("ModelDeployment", "shop", "micro-intent")].spec
    assert version(Referenced(spec, ready=True, version="3")) == "micro-intent@3"
    assert version(Referenced(spec, ready=False)) == "micro-intent@2", "what is to be served, before any is"


def test_a_secret_is_asked_for_when_it_may_not_be_there_and_never_with_a_password() -> None:
    store = stored(feature_store())
    redis, ingest = planned(store, Observed()).secrets
    assert (redis.manifest["stringData"], redis.key) == ({"username": "endcap"}, "password")
    assert (ingest.manifest["stringData"], ingest.key) == ({}, "unitKey")
    settled = settled_store()
    assert planned(store, settled).secrets == ()
    for component in ("store", "ingest"):
        waiting = tuple(
            replace(p, ready=False, running=False) if p.component == component else p for p in settled.pods
        )
        assert len(planned(store, replace(settled, pods=waiting)).secrets) == 2, component
    own = stored(feature_store(redis={"url": "redis://cache:6379"}))
    assert [secret.key for secret in planned(own, Observed()).secrets] == ["unitKey"]


def test_no_plan_prunes_data() -> None:
    kept = stored(feature_store(embedded={"storage": {"size": "1Gi"}}))
    pruned = planned(stored(feature_store()), settled_store(kept)).prune
    assert [m["kind"] for m in pruned] == []


def test_an_unsound_view_is_fed_as_before_and_a_new_one_not_at_all() -> None:
    observed = settled_store()
    broken = changed(segment(), "spec.features[0].default", "x" * 64)
    new = changed(broken, "metadata.name", "brand-new")
    resources = {**observed.resources, **known(broken), **known(new)}
    views = told(planned(stored(feature_store()), replace(observed, resources=resources))).views
    assert "brand-new" not in views
    assert views["customer-segment"].spec.features[0].default == "new"


def test_ingest_is_told_of_its_own_store_alone() -> None:
    other = activity("elsewhere", store="other")
    both = bundle(
        "both",
        features=[
            {"view": "elsewhere", "feature": "clicks", "window": "1h"},
            {"view": "customer-segment", "feature": "segment"},
        ],
    )
    config = told(planned(stored(feature_store()), Observed(resources={**EVERYTHING, **known(other, both)})))
    assert set(config.views) == {"customer-activity", "customer-segment", "last-intent"}
    assert set(config.bundles) == {"customer-preference"}
    assert set(config.stores) == {"default"}


@pytest.mark.parametrize(
    ("ms", "shown"), [(0, "<1s"), (999, "<1s"), (1000, "1s"), (4999, "3s"), (61_000, "1m"), (10**9, "24h")]
)
def test_a_lag_is_shown_in_steps(ms: int, shown: str) -> None:
    assert shown_span(ms) == shown


def view_conditions(manifest: dict[str, Any], **fed: Any) -> dict[str, tuple[str, str]]:
    observed = Observed(resources=EVERYTHING, report=report(**fed))
    found = conditions(planned(stored(manifest), observed))
    return {name: (c["status"], c["reason"]) for name, c in found.items()}


HOUR = 3_600_000


@pytest.mark.parametrize(
    ("manifest", "fed", "expected"),
    [
        (activity(), {}, {"Warm": ("False", "Filling"), "Fresh": ("True", "OnTime")}),
        (activity(), {"customer-activity": Fed(NOW - 24 * HOUR)}, {"Warm": ("True", "Full")}),
        (activity(), {"customer-activity": Fed()}, {"Warm": ("False", "Filling")}),
        (activity(), {"lag_ms": 10_000}, {"Fresh": ("True", "OnTime")}),
        (activity(), {"lag_ms": 10_001}, {"Fresh": ("False", "EventsLate")}),
        (segment(), {}, {"Warm": ("True", "Written"), "Fresh": ("True", "Young")}),
        (segment(), {"customer-segment": Fed(None, NOW - 48 * HOUR)}, {"Fresh": ("False", "Outdated")}),
        (segment(), {"customer-segment": Fed()}, {"Warm": ("False", "NeverWritten")}),
    ],
)
def test_a_view_says_whether_it_is_warm_and_fresh(
    manifest: dict[str, Any], fed: dict[str, Any], expected: dict[str, tuple[str, str]]
) -> None:
    found = view_conditions(manifest, **fed)
    assert {**found, **expected} == found


def test_a_view_of_which_nobody_speaks_is_unknown() -> None:
    found = conditions(planned(stored(activity()), Observed(resources=EVERYTHING)))
    assert {name: c["status"] for name, c in found.items()} == {
        "Valid": "True",
        "Warm": "Unknown",
        "Fresh": "Unknown",
    }


@given(st.integers(0, 60_000))
def test_the_status_of_an_idle_view_stands_still(later: int) -> None:
    """A minute goes by, and nothing of it is worth a write."""
    first, second = report(), replace(report(), at_ms=NOW + later)
    plans = [planned(stored(activity()), Observed(resources=EVERYTHING, report=r)) for r in (first, second)]
    assert plans[0].status == plans[1].status


def test_a_resource_names_what_it_names() -> None:
    named = {str(key) for key in named_by(resource_of(writing_back(with_features(graph_resource()))))}
    assert named == {
        "FeatureBundle shop/customer-preference",
        "FeatureView shop/last-intent",
        "ModelDeployment shop/basket-ranker",
        "ModelDeployment shop/item-cooccurrence",
        "ModelDeployment shop/micro-intent",
    }
    assert [str(k) for k in named_by(resource_of(stored(last_intent())))] == [
        "FeatureStore shop/default",
        "ModelDeployment shop/micro-intent",
    ]
    assert named_by(resource_of(stored(intent()))) == []
    assert named_by(resource_of(stored(recaller()))) == []


@given(st.dictionaries(st.integers(0, 8), st.lists(st.integers(0, 8), max_size=4)))
def test_a_closure_ends_and_holds_what_each_step_leads_to(edges: dict[int, list[int]]) -> None:
    def step(key: Key) -> list[Key]:
        return [Key("FeatureView", "shop", str(n)) for n in edges.get(int(key.name), ())]

    start = Key("FeatureView", "shop", "0")
    found = reached([start], step)
    assert all(set(step(key)) <= found for key in (start, *found))


def test_what_is_told_is_json_that_does_not_change_by_itself() -> None:
    plans = [planned(with_features(graph_resource()), Observed(resources=EVERYTHING)) for _ in range(2)]
    texts = [child(plan, "ConfigMap")["data"] for plan in plans]
    assert texts[0] == texts[1]
    assert all(json.loads(text) for text in texts[0].values())
