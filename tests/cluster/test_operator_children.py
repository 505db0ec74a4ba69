# SPDX-License-Identifier: Apache-2.0
"""From resource to children on a real API server: made, kept as they should be, and nobody else's touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from builders import changed, graph, intent, ranker, recaller
from kube import condition, eventually
from operated import Operated

KINDS = ("Service", "PodDisruptionBudget", "Deployment")
REPAIR_SECONDS = 20  # ten times the goal


@pytest.fixture
def shop(world: Operated) -> str:
    """A namespace with the graph and its models."""
    namespace = world.namespace()
    for manifest in (ranker(), recaller(), intent(), graph(replicas={"min": 2, "max": 4})):
        world.client.apply(manifest, namespace)
    world.says("InferenceGraph", namespace, "basket", "Ready", "Starting")
    world.quiet()
    return namespace


def test_a_model_gets_its_children_and_a_status(world: Operated, shop: str) -> None:
    for kind in KINDS:
        child = world.get(kind, shop, "basket-ranker-model")
        assert child is not None, kind
        owner = child["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["name"], owner["controller"]) == (
            "ModelDeployment",
            "basket-ranker",
            True,
        )
    assert world.get("HorizontalPodAutoscaler", shop, "basket-ranker-model") is None
    status = (world.get("ModelDeployment", shop, "basket-ranker") or {})["status"]
    assert status["url"] == f"http://basket-ranker-model.{shop}.svc:8080"
    assert [c["type"] for c in status["conditions"]] == ["Accepted", "Ready", "Progressing", "Degraded"]


def test_a_range_of_replicas_gets_an_autoscaler_that_alone_sets_their_number(
    world: Operated, shop: str
) -> None:
    scaler = world.get("HorizontalPodAutoscaler", shop, "basket-graph")
    assert scaler is not None
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 4)
    assert replicas(world, shop) == 2, "starts with min, not with the API server's default"
    scaled_by_the_autoscaler(world, shop, 3)
    world.client.apply(graph(replicas={"min": 2, "max": 4}, resources={"memory": "1Gi"}), shop)
    eventually(lambda: memory(world, shop) == "1Gi", "the template is changed")
    assert replicas(world, shop) == 3, "what the autoscaler set is kept"


def test_handing_over_to_an_autoscaler_and_back_never_drops_replicas(world: Operated) -> None:
    namespace = world.namespace()
    world.client.apply(ranker(replicas={"min": 5}), namespace)
    eventually(lambda: world.get("Deployment", namespace, "basket-ranker-model"), "made")
    seen = []
    world.client.apply(ranker(replicas={"min": 2, "max": 9}), namespace)
    eventually(lambda: world.get("HorizontalPodAutoscaler", namespace, "basket-ranker-model"), "handed over")
    world.quiet()
    seen.append(replicas(world, namespace, "basket-ranker-model"))
    world.client.apply(ranker(replicas={"min": 4}), namespace)
    eventually(
        lambda: world.get("HorizontalPodAutoscaler", namespace, "basket-ranker-model") is None, "handed back"
    )
    eventually(lambda: replicas(world, namespace, "basket-ranker-model") == 4, "4 replicas")
    assert seen == [5]


def scaled_by_the_autoscaler(world: Operated, namespace: str, number: int) -> None:
    world.client.patch("Deployment", namespace, "basket-graph", {"spec": {"replicas": number}}, "scale")


def replicas(world: Operated, namespace: str, name: str = "basket-graph") -> int:
    return int((world.get("Deployment", namespace, name) or {})["spec"]["replicas"])


def memory(world: Operated, namespace: str) -> str:
    container = (world.get("Deployment", namespace, "basket-graph") or {})["spec"]["template"]["spec"][
        "containers"
    ][0]
    return str(container["resources"]["limits"]["memory"])


EDITS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "ConfigMap": lambda _: {"data": {"graph.json": "{}"}},
    "Service": lambda m: {"spec": {"ports": [{**m["spec"]["ports"][0], "port": 9999}]}},
    "PodDisruptionBudget": lambda _: {"spec": {"maxUnavailable": 2}},
    "Deployment": lambda _: {"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 1}}}},
    "HorizontalPodAutoscaler": lambda _: {"spec": {"maxReplicas": 50}},
}
LABEL = "app.kubernetes.io/managed-by"


@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.parametrize("how", ["deleted", "edited", "relabelled"])
def test_a_child_that_someone_changed_is_restored_with_one_event(
    world: Operated, shop: str, kind: str, how: str
) -> None:
    before = world.get(kind, shop, "basket-graph")
    assert before is not None
    if how == "deleted":
        world.client.delete(kind, shop, "basket-graph")
    elif how == "edited":
        world.client.patch(kind, shop, "basket-graph", EDITS[kind](before))
    else:
        world.client.patch(kind, shop, "basket-graph", {"metadata": {"labels": {LABEL: None}}})

    def restored() -> bool:
        now = world.get(kind, shop, "basket-graph")
        return now is not None and shape(now) == shape(before)

    eventually(restored, f"{kind} restored", REPAIR_SECONDS)
    world.quiet()
    events = [e for e in world.client.items("Event", shop) if e["reason"] == "ChildRestored"]
    assert [e["note"].split()[0] for e in events] == [kind]


def shape(manifest: dict[str, Any]) -> dict[str, Any]:
    """What is wanted of a child; addresses are given anew when it is made anew."""
    spec = {k: v for k, v in manifest.get("spec", {}).items() if k not in ("clusterIP", "clusterIPs")}
    return {"spec": spec, "data": manifest.get("data"), "labels": manifest["metadata"]["labels"]}


def test_a_selector_with_one_more_label_is_restored(world: Operated, shop: str) -> None:
    world.client.patch("Service", shop, "basket-graph", {"spec": {"selector": {"track": "canary"}}})
    eventually(
        lambda: "track" not in (world.get("Service", shop, "basket-graph") or {})["spec"]["selector"],
        "the selector is ours again",
        REPAIR_SECONDS,
    )


@pytest.mark.parametrize("kind", ["Deployment", "Service", "ConfigMap", "PodDisruptionBudget"])
@pytest.mark.parametrize("forged", ["nothing", "labels", "another owner"])
def test_an_object_of_someone_else_is_neither_adopted_nor_changed(
    world: Operated, kind: str, forged: str
) -> None:
    """S8, S9."""
    namespace = world.namespace()
    theirs = world.client.create(_foreign(kind, "payments-graph", forged), namespace)
    for manifest in (ranker(), recaller(), intent(), graph("payments")):
        world.client.apply(manifest, namespace)
    found = world.says("InferenceGraph", namespace, "payments", "Ready", "NameTaken")
    assert f"{kind} payments-graph" in found["message"]
    assert "Rename this resource, or delete the object" in found["message"]
    world.quiet()
    assert world.get(kind, namespace, "payments-graph") == theirs
    assert [r for r in world.writes() if r.namespace == namespace and r.name == "payments-graph"] == []
    world.client.delete(kind, namespace, "payments-graph")
    world.says("InferenceGraph", namespace, "payments", "Ready", "Starting", 30)


def _foreign(kind: str, name: str, forged: str) -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/managed-by": "endcap",
        "app.kubernetes.io/name": "graph",
        "app.kubernetes.io/instance": "payments",
    }
    owner = {
        "apiVersion": "endcap.dev/v1alpha1",
        "kind": "InferenceGraph",
        "name": "another" if forged == "another owner" else name.rpartition("-")[0],
        "uid": "11111111-2222-3333-4444-555555555555",
        "controller": True,
    }
    metadata = {
        "name": name,
        **({"labels": labels} if forged != "nothing" else {}),
        **({"ownerReferences": [owner]} if "owner" in forged else {}),
    }
    pod = {
        "metadata": {"labels": {"app": "payments"}},
        "spec": {"containers": [{"name": "c", "image": "payments:1"}]},
    }
    bodies: dict[str, dict[str, Any]] = {
        "Deployment": {"spec": {"selector": {"matchLabels": {"app": "payments"}}, "template": pod}},
        "Service": {"spec": {"selector": {"app": "payments"}, "ports": [{"port": 80}]}},
        "ConfigMap": {"data": {"mode": "live"}},
        "PodDisruptionBudget": {
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "payments"}}}
        },
    }
    return {"kind": kind, "metadata": metadata, **bodies[kind]}


def test_what_an_earlier_resource_of_the_name_left_is_waited_for_and_is_no_trouble(world: Operated) -> None:
    """Deleted and made again at once: the garbage collector takes a moment, and only what is new is ours."""
    namespace = world.namespace()
    left = world.client.create(_foreign("ConfigMap", "payments-graph", "an owner of the name"), namespace)
    for manifest in (ranker(), recaller(), intent(), graph("payments")):
        world.client.apply(manifest, namespace)
    found = world.says("InferenceGraph", namespace, "payments", "Progressing", "Replacing")
    assert found["status"] == "True"
    world.quiet()
    assert world.get("ConfigMap", namespace, "payments-graph") == left
    assert [e for e in world.client.items("Event", namespace) if e["type"] == "Warning"] == []
    world.client.delete("ConfigMap", namespace, "payments-graph")
    world.says("InferenceGraph", namespace, "payments", "Progressing", "RollingOut")


def test_a_forged_child_is_not_pruned(world: Operated) -> None:
    """S9: it says that it is ours in every label, and its owner's UID is another's."""
    namespace = world.namespace()
    world.client.apply(ranker("prices"), namespace)
    eventually(lambda: world.get("Deployment", namespace, "prices-model"), "made")
    scaler = _foreign("ConfigMap", "prices-model", "another owner")
    scaler["metadata"]["labels"] |= {
        "app.kubernetes.io/name": "model",
        "app.kubernetes.io/instance": "prices",
    }
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "theirs"},
        "maxReplicas": 3,
    }
    forged = world.client.create(
        {"kind": "HorizontalPodAutoscaler", "metadata": scaler["metadata"], "spec": spec}, namespace
    )
    world.client.apply(ranker("prices", replicas={"min": 2}), namespace)
    eventually(lambda: replicas(world, namespace, "prices-model") == 2, "acted on")
    world.quiet()
    assert world.get("HorizontalPodAutoscaler", namespace, "prices-model") == forged


def test_a_foreign_child_of_that_name_later_is_left_alone_too(world: Operated, shop: str) -> None:
    """Ours is deleted and theirs is put in its place before the operator looks."""
    client = world.client
    ours = client.get("ConfigMap", shop, "basket-graph")
    client.delete("ConfigMap", shop, "basket-graph")
    answer = client.send(
        "POST", client.path("ConfigMap", shop), json=_foreign("ConfigMap", "basket-graph", "nothing")
    )
    if answer.is_success:
        world.says("InferenceGraph", shop, "basket", "Ready", "NameTaken")
        assert (client.get("ConfigMap", shop, "basket-graph") or {})["data"] == {"mode": "live"}
    else:  # the operator was faster
        assert ours is not None
        assert (client.get("ConfigMap", shop, "basket-graph") or {})["data"] == ours["data"]


def test_what_the_user_wrote_is_never_written_to(world: Operated, shop: str) -> None:
    """Only /status: no finalizer, no annotation, no default."""
    before = {kind: world.client.items(kind, shop) for kind in ("ModelDeployment", "InferenceGraph")}
    for kind, items in before.items():
        for item in items:
            assert "finalizers" not in item["metadata"], kind
            assert "annotations" not in item["metadata"], kind
            assert item["metadata"]["generation"] == 1
    ours = {"modeldeployments", "inferencegraphs"}
    assert {r.subresource for r in world.writes() if r.resource in ours} == {"status"}


def test_a_status_that_someone_forged_is_corrected(world: Operated, shop: str) -> None:
    """S26."""
    forged = {"status": {"revision": "evil", "conditions": [], "serving": "9/9", "readyReplicas": 7}}
    before = (world.get("InferenceGraph", shop, "basket") or {})["status"]
    world.client.patch("InferenceGraph", shop, "basket", forged, "status")

    def corrected() -> bool:
        now = (world.get("InferenceGraph", shop, "basket") or {})["status"]
        return without_times(now) == without_times(before)

    eventually(corrected, "the status is true again")


def without_times(status: dict[str, Any]) -> dict[str, Any]:
    conditions = [{k: v for k, v in c.items() if k != "lastTransitionTime"} for c in status["conditions"]]
    return {**status, "conditions": conditions}


def test_a_child_that_a_quota_refuses_is_named_and_made_when_there_is_room(world: Operated) -> None:
    """Row 18; quotas on the number of objects are enforced by the API server itself."""
    namespace = world.namespace()
    quota = {
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"count/deployments.apps": "0"}},
    }
    world.client.create(quota, namespace)
    counted = {"hard": {"count/deployments.apps": "0"}, "used": {"count/deployments.apps": "0"}}
    world.client.patch("ResourceQuota", namespace, "none", {"status": counted}, "status")
    world.client.apply(ranker(), namespace)
    found = world.says("ModelDeployment", namespace, "basket-ranker", "Ready", "ChildRefused")
    assert "exceeded quota: none" in found["message"]
    world.client.delete("ResourceQuota", namespace, "none")
    world.says("ModelDeployment", namespace, "basket-ranker", "Ready", "Starting", 100)
    assert (
        condition(world.get("ModelDeployment", namespace, "basket-ranker") or {}, "Degraded")["status"]
        == "False"
    )


def test_changing_the_template_changes_the_deployment_and_only_it(world: Operated, shop: str) -> None:
    since = world.server.now()
    world.client.apply(changed(ranker(), "spec.model.uri", "s3://models/basket-ranker/5.txt"), shop)
    eventually(lambda: "5.txt" in str(world.get("Deployment", shop, "basket-ranker-model")), "a new template")
    world.quiet()
    written = [r for r in world.writes(since) if r.namespace == shop]
    assert {(r.resource, r.subresource) for r in written} == {
        ("deployments", ""),
        ("modeldeployments", "status"),
    }


def test_a_namespace_on_its_way_out_is_left_to_go(world: Operated, shop: str) -> None:
    """What it takes down is not drift, and not worth a fight."""
    world.client.send("DELETE", f"api/v1/namespaces/{shop}")
    eventually(
        lambda: (world.client.get("Namespace", "", shop) or {})["status"]["phase"] == "Terminating", "going"
    )
    since = world.server.now()
    for kind in ("Service", "Deployment"):
        world.client.delete(kind, shop, "basket-graph")
    world.quiet(2.0)
    tries = [r for r in world.writes(since) if r.namespace == shop and r.resource != "inferencegraphs"]
    assert len(tries) <= 8
    assert world.get("Service", shop, "basket-graph") is None
