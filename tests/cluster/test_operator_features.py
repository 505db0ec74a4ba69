# SPDX-License-Identifier: Apache-2.0
"""Feature resources on a real API server: children, references that heal, what pods say, and a Secret kept shut."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from builders import (
    REMOVED,
    activity,
    bundle,
    changed,
    feature_store,
    graph,
    intent,
    last_intent,
    ranker,
    recaller,
    segment,
    with_features,
)
from endcap_cluster import audit
from kube import condition, eventually
from operated import ACCOUNT, Operated
from pods import Pods, Replica

from endcap_api.features_config import FeaturesConfig
from endcap_api.runtime_config import GraphConfig

SECONDS = 20  # ten times the goal
STORE = "default-store"
INGEST = "default-ingest"
CHILDREN = [
    *((kind, STORE) for kind in ("PersistentVolumeClaim", "Service", "PodDisruptionBudget", "Deployment")),
    *((kind, INGEST) for kind in ("ConfigMap", "Service", "PodDisruptionBudget", "Deployment")),
    ("HorizontalPodAutoscaler", INGEST),
]
EMBEDDED = {"embedded": {"storage": {"size": "1Gi"}}, "ingest": {"replicas": {"min": 2, "max": 3}}}


@pytest.fixture
def shop(world: Operated) -> str:
    """A namespace with a store, views of it, a bundle, and a graph that asks for it."""
    namespace = world.namespace()
    for manifest in (feature_store(**EMBEDDED), activity(), segment(), last_intent(), bundle()):
        world.client.apply(manifest, namespace)
    for manifest in (ranker(), recaller(), intent(), with_features(graph())):
        world.client.apply(manifest, namespace)
    world.says("InferenceGraph", namespace, "basket", "Ready", "Starting")
    world.says("FeatureStore", namespace, "default", "Ready", "Starting")
    world.quiet()
    return namespace


def features_told(world: Operated, namespace: str, config_map: str) -> FeaturesConfig:
    data = (world.get("ConfigMap", namespace, config_map) or {})["data"]
    return FeaturesConfig.model_validate_json(data["features.json"])


def revision(world: Operated, namespace: str) -> str:
    data = (world.get("ConfigMap", namespace, "basket-graph") or {})["data"]
    return GraphConfig.model_validate_json(data["graph.json"]).revision


def status(world: Operated, namespace: str, kind: str, name: str) -> dict[str, Any]:
    return (world.get(kind, namespace, name) or {}).get("status") or {}


def test_a_store_gets_its_children_each_with_its_owner(world: Operated, shop: str) -> None:
    """So nothing is left when the store is deleted, not even while the operator is away."""
    uid = (world.get("FeatureStore", shop, "default") or {})["metadata"]["uid"]
    for kind, name in (*CHILDREN, ("Secret", STORE)):
        child = world.get(kind, shop, name)
        assert child is not None, (kind, name)
        owner = child["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("FeatureStore", uid, True)
    assert set(features_told(world, shop, INGEST).views) == {
        "customer-activity",
        "customer-segment",
        "last-intent",
    }


def test_the_password_is_made_once_and_never_seen_again(world: Operated, shop: str) -> None:
    before = world.get("Secret", shop, STORE)
    assert before is not None
    password = base64.b64decode(before["data"]["password"]).decode()
    assert len(password) >= 32
    assert base64.b64decode(before["data"]["username"]).decode() == "endcap"
    world.client.patch("Secret", shop, STORE, {"metadata": {"labels": {"touched": "yes"}}})
    world.client.apply(feature_store(**EMBEDDED, description="edited"), shop)
    world.quiet()
    after = world.get("Secret", shop, STORE)
    assert after is not None
    assert after["data"] == before["data"], "kept"
    assert after["metadata"]["labels"]["touched"] == "yes", "not even looked at"
    asked = [r for r in audit.requests(world.server.audit_log) if r.user.startswith(ACCOUNT)]
    assert {r.verb for r in asked if r.resource == "secrets"} == {"create"}
    assert password not in world.log.read_text()


def test_stores_have_passwords_of_their_own(world: Operated, shop: str) -> None:
    world.client.apply(feature_store("second"), shop)
    eventually(lambda: world.get("Secret", shop, "second-store"), "made")
    one, other = (world.get("Secret", shop, name) or {} for name in (STORE, "second-store"))
    assert one["data"]["password"] != other["data"]["password"]


def test_a_secret_that_went_is_made_again_for_the_pod_that_waits_for_it(
    world: Operated, shop: str, pods: Pods
) -> None:
    world.client.delete("Secret", shop, STORE)
    world.quiet()
    assert world.get("Secret", shop, STORE) is None, "nobody waits for it"
    pods.add(shop, STORE, ready=False)
    eventually(lambda: world.get("Secret", shop, STORE), "made again", SECONDS)


EDITS: dict[str, dict[str, Any]] = {
    "PersistentVolumeClaim": {"metadata": {"annotations": {"endcap.dev/applied": "someone"}}},
    "ConfigMap": {"data": {"features.json": "{}"}},
    "Service": {"spec": {"selector": {"track": "canary"}}},
    "PodDisruptionBudget": {"spec": {"maxUnavailable": 2}},
    "Deployment": {"spec": {"revisionHistoryLimit": 7}},
    "HorizontalPodAutoscaler": {"spec": {"maxReplicas": 50}},
}


@pytest.mark.parametrize(("kind", "name"), CHILDREN)
def test_a_child_of_a_store_that_someone_edited_is_restored(
    world: Operated, shop: str, kind: str, name: str
) -> None:
    before = world.get(kind, shop, name)
    world.client.patch(kind, shop, name, EDITS[kind])
    eventually(lambda: shape(world.get(kind, shop, name)) == shape(before), f"{kind} restored", SECONDS)


@pytest.mark.parametrize(
    ("kind", "name"), [child for child in CHILDREN if child[0] != "PersistentVolumeClaim"]
)
def test_a_child_of_a_store_that_someone_deleted_is_made_again(
    world: Operated, shop: str, kind: str, name: str
) -> None:
    uid = (world.get(kind, shop, name) or {})["metadata"]["uid"]
    world.client.delete(kind, shop, name)

    def again() -> bool:
        found = world.get(kind, shop, name)
        return found is not None and found["metadata"]["uid"] != uid

    eventually(again, f"{kind} made again", SECONDS)


def shape(manifest: dict[str, Any] | None) -> dict[str, Any]:
    assert manifest is not None
    return {
        "spec": manifest.get("spec"),
        "data": manifest.get("data"),
        "annotations": manifest["metadata"].get("annotations"),
    }


@pytest.mark.parametrize(("kind", "name"), [("Deployment", STORE), ("Service", STORE), ("ConfigMap", INGEST)])
def test_an_object_of_someone_else_is_left_alone(world: Operated, kind: str, name: str) -> None:
    namespace = world.namespace()
    bodies: dict[str, dict[str, Any]] = {
        "Service": {"spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}},
        "ConfigMap": {"data": {"mode": "live"}},
        "Deployment": {
            "spec": {
                "selector": {"matchLabels": {"app": "theirs"}},
                "template": {
                    "metadata": {"labels": {"app": "theirs"}},
                    "spec": {"containers": [{"name": "c", "image": "theirs:1"}]},
                },
            }
        },
    }
    theirs = world.client.create({"kind": kind, "metadata": {"name": name}, **bodies[kind]}, namespace)
    world.client.apply(feature_store(), namespace)
    found = world.says("FeatureStore", namespace, "default", "Ready", "NameTaken")
    assert f"{kind} {name}" in found["message"]
    world.quiet()
    assert world.get(kind, namespace, name) == theirs
    assert world.get("Secret", namespace, STORE) is None, "nothing is made by halves"
    world.client.delete(kind, namespace, name)
    world.says("FeatureStore", namespace, "default", "Ready", "Starting", 30)


def test_a_graph_whose_features_come_last_heals_by_itself(world: Operated) -> None:
    """Whatever comes in whatever order: each thing that is missing is named, and nothing is asked of anyone."""
    namespace = world.namespace()
    for manifest in (ranker(), recaller(), intent(), with_features(graph())):
        world.client.apply(manifest, namespace)
    world.says("InferenceGraph", namespace, "basket", "Ready", "FeatureBundleNotFound")
    world.client.apply(bundle(), namespace)
    world.says("InferenceGraph", namespace, "basket", "Ready", "FeatureViewNotFound")
    world.says("FeatureBundle", namespace, "customer-preference", "Ready", "FeatureViewNotFound")
    for manifest in (activity(), segment()):
        world.client.apply(manifest, namespace)
    world.says("InferenceGraph", namespace, "basket", "Ready", "FeatureStoreNotFound")
    world.says("FeatureView", namespace, "customer-segment", "Valid", "FeatureStoreNotFound")
    world.client.apply(feature_store(), namespace)
    world.says("InferenceGraph", namespace, "basket", "Ready", "Starting")
    world.says("FeatureView", namespace, "customer-segment", "Valid", "Valid")
    assert set(features_told(world, namespace, "basket-graph").views) == {
        "customer-activity",
        "customer-segment",
    }


def test_a_model_whose_bundle_comes_later_heals_by_itself(world: Operated) -> None:
    namespace = world.namespace()
    asking = ranker(features={"bundle": "customer-preference", "keys": {"customer_id": "household"}})
    asking = changed(asking, "spec.framework", "python")
    asking = changed(asking, "spec.model.entryPoint", "served:load")
    asking = changed(asking, "spec.inputs[2]", {"name": "household", "type": "string"})
    world.client.apply(asking, namespace)
    world.says("ModelDeployment", namespace, "basket-ranker", "Ready", "FeatureBundleNotFound")
    assert world.get("Deployment", namespace, "basket-ranker-model") is None
    for manifest in (feature_store(), activity(), segment(), bundle()):
        world.client.apply(manifest, namespace)
    world.says("ModelDeployment", namespace, "basket-ranker", "Ready", "Starting")
    assert "customer-preference" in features_told(world, namespace, "basket-ranker-model").bundles
    world.client.apply(changed(asking, "spec.features", REMOVED), namespace)
    eventually(
        lambda: world.get("ConfigMap", namespace, "basket-ranker-model") is None, "what is not read goes"
    )


@pytest.fixture
def serving(world: Operated, shop: str, pods: Pods) -> list[Replica]:
    replicas = [pods.add(shop, "basket-graph") for _ in range(2)]
    for replica in replicas:
        replica.serve(revision(world, shop))
    eventually(
        lambda: status(world, shop, "InferenceGraph", "basket").get("serving") == "2/2", "confirmed", SECONDS
    )
    return replicas


BUNDLE_EDITS: dict[str, Callable[[], dict[str, Any]]] = {
    "the bundle": lambda: changed(bundle(), "spec.features[0].window", "24h"),
    "a view behind it": lambda: segment(ttl="72h"),
}


@pytest.mark.parametrize("what", BUNDLE_EDITS)
def test_an_edit_of_features_reaches_the_pods_by_a_nudge_and_without_a_restart(
    world: Operated, shop: str, serving: list[Replica], what: str
) -> None:
    before = revision(world, shop)
    generation = (world.get("Deployment", shop, "basket-graph") or {})["metadata"]["generation"]
    world.client.apply(BUNDLE_EDITS[what](), shop)
    eventually(lambda: revision(world, shop) != before, "another revision is wanted", SECONDS)
    wanted = revision(world, shop)
    for replica in serving:
        eventually(lambda r=replica: r.annotations.get("endcap.dev/revision") == wanted, "nudged", SECONDS)
    assert (world.get("Deployment", shop, "basket-graph") or {})["metadata"]["generation"] == generation


def test_an_unsound_bundle_leaves_what_is_served(world: Operated, shop: str, serving: list[Replica]) -> None:
    before = (world.get("ConfigMap", shop, "basket-graph") or {})["data"]
    world.client.apply(changed(bundle(), "spec.features[1].feature", "segmant"), shop)
    world.says("FeatureBundle", shop, "customer-preference", "Accepted", "InvalidSpec")
    world.says("InferenceGraph", shop, "basket", "Degraded", "FeatureBundleInvalid")
    assert (world.get("ConfigMap", shop, "basket-graph") or {})["data"] == before
    assert condition(world.get("InferenceGraph", shop, "basket") or {}, "Ready")["status"] == "True"
    world.client.apply(bundle(), shop)
    world.says("InferenceGraph", shop, "basket", "Degraded", "ModelNotReady")


def test_a_new_version_of_the_model_behind_a_view_is_told(world: Operated, shop: str, pods: Pods) -> None:
    pods.add(shop, "micro-intent-model")
    eventually(lambda: version_told(world, shop) == "micro-intent@2", "the version that is served")
    newer = changed(intent(), "spec.model.uri", "s3://models/micro-intent/3.tar.gz")
    world.client.apply(newer, shop)
    world.quiet()
    assert version_told(world, shop) == "micro-intent@2", "nothing serves the new one yet"
    old = next(pod for pod in world.client.items("Pod", shop) if "micro-intent" in pod["metadata"]["name"])
    pods.add(shop, "micro-intent-model")
    world.client.delete("Pod", shop, old["metadata"]["name"])
    eventually(lambda: version_told(world, shop) == "micro-intent@3", "the version that is served", SECONDS)


def version_told(world: Operated, namespace: str) -> str | None:
    return features_told(world, namespace, INGEST).views["last-intent"].version


@pytest.fixture
def fed(world: Operated, shop: str, pods: Pods) -> Replica:
    """The Redis and an ingest pod of the store are ready, and the pod tells of its views."""
    pods.add(shop, STORE)
    ingest = pods.add(shop, INGEST, ready=False)
    now = time.time_ns() // 1_000_000
    views = {
        "customer-activity": {"since_ms": now - 8 * 3_600_000, "updated_ms": now},
        "customer-segment": {"since_ms": None, "updated_ms": now - 60_000},
    }
    ingest.views = {"lag_ms": 12, "backlog": 0, "dead_letters": 3, "views": views}
    ingest.serve(features_told(world, shop, INGEST).revision)
    ingest.ready()
    world.says("FeatureStore", shop, "default", "Ready", "Serving")
    return ingest


def test_views_say_what_the_ingest_pods_know(world: Operated, shop: str, fed: Replica) -> None:
    world.says("FeatureView", shop, "customer-activity", "Fresh", "OnTime")
    found = status(world, shop, "FeatureView", "customer-activity")
    assert (found["lag"], found["warmth"], found["layout"]) == ("<1s", "30% of 24h", "events")
    assert found["bytesPerEntity"] > 0
    assert found["windowError"] == {"1h": "0s", "24h": "0s"}
    assert found["carriedBy"] == {"clicks": ["customer-preference"]}
    world.says("FeatureView", shop, "customer-activity", "Warm", "Filling")
    world.says("FeatureView", shop, "customer-segment", "Warm", "Written")
    world.says("FeatureView", shop, "last-intent", "Warm", "NeverWritten")
    eventually(lambda: status(world, shop, "FeatureStore", "default").get("lag") == "<1s", "lag", SECONDS)
    store = status(world, shop, "FeatureStore", "default")
    assert (store["backend"], store["views"], store["deadLetters"]) == ("embedded", 3, 3)


def test_a_store_that_falls_behind_says_so_and_that_it_caught_up(
    world: Operated, shop: str, fed: Replica
) -> None:
    world.says("FeatureView", shop, "customer-activity", "Fresh", "OnTime")
    assert fed.views is not None
    fed.views = {**fed.views, "lag_ms": 65_000}
    world.client.apply(activity(description="look again"), shop)
    found = world.says("FeatureView", shop, "customer-activity", "Fresh", "EventsLate", 60)
    assert "1m" in found["message"]
    fed.views = {**fed.views, "lag_ms": 0}
    world.says("FeatureView", shop, "customer-activity", "Fresh", "OnTime", 60)


def test_a_store_that_its_pods_cannot_ask_says_why_and_that_it_is_back(
    world: Operated, shop: str, fed: Replica
) -> None:
    told = fed.views
    fed.views = {"status": 503, "detail": "The store does not accept the password. Send it again later."}
    world.client.apply(feature_store(**EMBEDDED, description="look again"), shop)
    found = world.says("FeatureStore", shop, "default", "Ready", "StoreUnreachable", 60)
    assert found["status"] == "False"
    assert found["message"].startswith("The store does not accept the password. Check spec.redis")
    world.says("FeatureBundle", shop, "customer-preference", "Ready", "FeatureStoreNotReady")
    fed.views = told
    world.says("FeatureStore", shop, "default", "Ready", "Serving", 60)


def test_a_bundle_knows_who_asks_for_it(world: Operated, shop: str) -> None:
    users = lambda: status(world, shop, "FeatureBundle", "customer-preference").get("usedBy")  # noqa: E731
    eventually(lambda: users() == ["InferenceGraph/basket"], "used")
    world.client.apply(graph(), shop)
    eventually(lambda: users() is None, "no longer used", SECONDS)
    world.client.delete("FeatureBundle", shop, "customer-preference")
    carried = lambda: status(world, shop, "FeatureView", "customer-activity").get("carriedBy")  # noqa: E731
    eventually(lambda: carried() is None, "no longer carried", SECONDS)


def test_a_settled_shop_is_not_written_to_nor_after_a_restart(
    world: Operated, shop: str, fed: Replica, serving: list[Replica]
) -> None:
    world.says("InferenceGraph", shop, "basket", "Ready", "Serving")
    world.says("FeatureView", shop, "customer-activity", "Fresh", "OnTime")
    world.quiet(2.0)
    since = world.server.now()
    time.sleep(8)  # longer than the pause between two looks at what pods say
    world.restart()
    time.sleep(8)
    assert [r for r in world.writes(since) if r.namespace == shop] == []


def test_a_store_that_becomes_ones_own_keeps_its_data(world: Operated, shop: str) -> None:
    redis = {"url": "redis://cache.shop:6379"}
    world.client.apply(feature_store(redis=redis), shop)
    for kind in ("Deployment", "Service", "PodDisruptionBudget"):
        eventually(lambda kind=kind: world.get(kind, shop, STORE) is None, f"{kind} goes", SECONDS)
    for kind in ("PersistentVolumeClaim", "Secret"):
        kept = world.get(kind, shop, STORE)
        assert kept is not None
        assert "deletionTimestamp" not in kept["metadata"]
    assert features_told(world, shop, "basket-graph").stores["default"].url == redis["url"]


def test_what_the_user_wrote_is_never_written_to(world: Operated, shop: str) -> None:
    for kind in ("FeatureStore", "FeatureView", "FeatureBundle"):
        for item in world.client.items(kind, shop):
            assert not {"finalizers", "annotations"} & set(item["metadata"]), kind
            assert item["metadata"]["generation"] == 1
    ours = {"featurestores", "featureviews", "featurebundles"}
    assert {r.subresource for r in world.writes() if r.resource in ours} == {"status"}


def test_no_configuration_holds_a_password(world: Operated, shop: str) -> None:
    secret = world.get("Secret", shop, STORE) or {}
    password = base64.b64decode(secret["data"]["password"]).decode()
    for kind in ("ConfigMap", "Deployment", "Event", "FeatureStore"):
        assert password not in json.dumps(world.client.items(kind, shop)), kind
