# SPDX-License-Identifier: Apache-2.0
"""A graph and its pods: what is wanted, what is served, and what is kept when the two differ."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import changed, graph, intent, ranker, recaller
from kube import condition, eventually
from operated import Operated
from pods import Pods, Replica
from refusals import MEANING, Refusal

from endcap_api.runtime_config import GraphConfig

SECONDS = 20  # ten times the goal


@pytest.fixture
def shop(world: Operated) -> str:
    namespace = world.namespace()
    for manifest in (ranker(), recaller(), intent(), graph()):
        world.client.apply(manifest, namespace)
    eventually(lambda: world.get("Deployment", namespace, "basket-graph"), "the graph is deployed")
    return namespace


@pytest.fixture
def serving(world: Operated, shop: str, pods: Pods) -> list[Replica]:
    """Two replicas that serve what is wanted."""
    replicas = [pods.add(shop, "basket-graph") for _ in range(2)]
    for replica in replicas:
        replica.serve(wanted(world, shop))
    eventually(lambda: status(world, shop).get("serving") == "2/2", "both replicas confirm", SECONDS)
    return replicas


def status(world: Operated, namespace: str) -> dict[str, Any]:
    return (world.get("InferenceGraph", namespace, "basket") or {}).get("status") or {}


def data(world: Operated, namespace: str) -> dict[str, str]:
    return dict((world.get("ConfigMap", namespace, "basket-graph") or {})["data"])


def revision(text: str) -> str:
    return GraphConfig.model_validate_json(text).revision


def wanted(world: Operated, namespace: str) -> str:
    return revision(data(world, namespace)["graph.json"])


def edited(world: Operated, namespace: str, **change: Any) -> str:
    """Edit a step; the revision that this makes wanted."""
    before = wanted(world, namespace)
    world.client.apply(changed(graph(), "spec.steps[1].recall.top", change.get("top", 50)), namespace)
    eventually(lambda: wanted(world, namespace) != before, "another revision is wanted", SECONDS)
    return wanted(world, namespace)


def test_status_counts_the_replicas_that_confirm_and_ready_follows(
    world: Operated, shop: str, serving: list[Replica]
) -> None:
    found = world.says("InferenceGraph", shop, "basket", "Ready", "Serving")
    assert found["status"] == "True"
    assert f"2 of 2 pods serve revision {wanted(world, shop)}" in found["message"]
    assert status(world, shop)["url"] == f"http://basket-graph.{shop}.svc:8080/basket"


def test_an_edit_nudges_each_pod_once_and_is_confirmed(
    world: Operated, shop: str, serving: list[Replica]
) -> None:
    new = edited(world, shop)
    for replica in serving:
        eventually(lambda r=replica: r.annotations.get("endcap.dev/revision") == new, "nudged", SECONDS)
    assert status(world, shop)["serving"] in ("0/2", "2/2")
    serving[0].serve(new)
    eventually(lambda: status(world, shop)["serving"] == "1/2", "one confirms", SECONDS)
    assert condition({"status": status(world, shop)}, "Progressing")["status"] == "True"
    serving[1].serve(new)
    eventually(lambda: status(world, shop)["serving"] == "2/2", "both confirm", SECONDS)
    assert condition({"status": status(world, shop)}, "Progressing")["status"] == "False"


def test_an_edit_does_not_touch_the_deployment(world: Operated, shop: str, serving: list[Replica]) -> None:
    before = (world.get("Deployment", shop, "basket-graph") or {})["metadata"]["generation"]
    new = edited(world, shop)
    for replica in serving:
        replica.serve(new)
    eventually(lambda: status(world, shop)["serving"] == "2/2", "both confirm", SECONDS)
    assert (world.get("Deployment", shop, "basket-graph") or {})["metadata"]["generation"] == before


def test_what_all_confirmed_is_kept_as_the_last_good_one_in_the_same_write(
    world: Operated, shop: str, serving: list[Replica]
) -> None:
    old, since = wanted(world, shop), world.server.now()
    new = edited(world, shop)
    assert revision(data(world, shop)["last-good.json"]) == old
    written = [r for r in world.writes(since) if r.resource == "configmaps" and r.namespace == shop]
    assert len(written) == 1
    newer = edited(world, shop, top=60)
    assert newer != new
    assert revision(data(world, shop)["last-good.json"]) == old, "nobody confirmed the one between"


def test_a_rejected_revision_is_said_with_its_reason_and_the_old_serves_on(
    world: Operated, shop: str, serving: list[Replica]
) -> None:
    """Row 27."""
    old = wanted(world, shop)
    new = edited(world, shop)
    for replica in serving:
        replica.reject(new, "CatalogueInvalid", "column price is missing")
    world.says("InferenceGraph", shop, "basket", "Degraded", "ConfigRejected")
    eventually(
        lambda: "2 of 2" in condition({"status": status(world, shop)}, "Degraded")["message"], "both reject"
    )
    found = condition({"status": status(world, shop)}, "Degraded")
    for words in (
        "2 of 2 pods reject",
        new,
        "CatalogueInvalid: column price is missing",
        f"{old} is still served",
    ):
        assert words in found["message"]
    assert "Correct the catalogue" in found["message"]
    ready = condition({"status": status(world, shop)}, "Ready")
    assert ready["status"] == "True"
    assert condition({"status": status(world, shop)}, "Progressing")["status"] == "False"
    back = changed(graph(), "spec.steps[1].recall.top", 100)
    world.client.apply(back, shop)
    world.says("InferenceGraph", shop, "basket", "Progressing", "Complete")


def test_a_pod_that_never_served_says_why(world: Operated, shop: str, pods: Pods) -> None:
    replica = pods.add(shop, "basket-graph", ready=False)
    replica.reject(wanted(world, shop), "ArtefactNotFound", "s3 host has no such key")
    replica.ready(ready=False)
    found = world.says("InferenceGraph", shop, "basket", "Ready", "ConfigRejected")
    assert found["status"] == "False"
    assert "ArtefactNotFound: s3 host has no such key" in found["message"]


def test_a_pod_that_only_looks_like_ours_is_not_counted_asked_or_nudged(
    world: Operated, shop: str, serving: list[Replica], pods: Pods
) -> None:
    """S9: labels can be had by anyone."""
    forged = pods.add(shop, "basket-graph", owned=False)
    new = edited(world, shop)
    for replica in serving:
        replica.serve(new)
    eventually(lambda: status(world, shop)["serving"] == "2/2", "both confirm", SECONDS)
    assert status(world, shop)["replicas"] == 2
    assert "endcap.dev/revision" not in forged.annotations
    assert forged.asked == 0


def test_a_nudge_that_did_not_help_is_given_again(world: Operated, shop: str, serving: list[Replica]) -> None:
    new = edited(world, shop)
    nudged = eventually(lambda: serving[0].annotations.get("endcap.dev/revision"), "nudged", SECONDS)
    assert nudged == new
    again = eventually(
        lambda: (now := serving[0].annotations["endcap.dev/revision"]) != nudged and now, "nudged again", 40
    )
    assert str(again).startswith(new)


def test_a_missing_model_is_named_and_its_coming_heals_the_graph(world: Operated) -> None:
    namespace = world.namespace()
    for manifest in (ranker(), recaller(), graph()):
        world.client.apply(manifest, namespace)
    found = world.says("InferenceGraph", namespace, "basket", "Ready", "ModelNotFound")
    assert f"Namespace {namespace} has no ModelDeployment micro-intent" in found["message"]
    assert "Apply a ModelDeployment of that name" in found["message"]
    before = world.get("InferenceGraph", namespace, "basket") or {}
    world.client.apply(intent(), namespace)
    world.says("InferenceGraph", namespace, "basket", "Ready", "Starting")
    after = world.get("InferenceGraph", namespace, "basket") or {}
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["spec"] == before["spec"]


def test_a_model_of_another_namespace_does_not_count(world: Operated) -> None:
    elsewhere, namespace = world.namespace(), world.namespace()
    world.client.apply(intent(), elsewhere)
    for manifest in (ranker(), recaller(), graph()):
        world.client.apply(manifest, namespace)
    world.says("InferenceGraph", namespace, "basket", "Ready", "ModelNotFound")


def test_a_serving_graph_keeps_its_configuration_when_a_model_goes(
    world: Operated, shop: str, serving: list[Replica]
) -> None:
    before = data(world, shop)
    world.client.delete("ModelDeployment", shop, "micro-intent")
    found = world.says("InferenceGraph", shop, "basket", "Ready", "ModelNotFound")
    assert "The configuration before is still served" in found["message"]
    assert data(world, shop) == before
    world.client.delete("Service", shop, "basket-graph")
    eventually(lambda: world.get("Service", shop, "basket-graph"), "drift is repaired all the same", SECONDS)


def test_a_changed_contract_of_a_model_reaches_the_graph(world: Operated, shop: str) -> None:
    before = wanted(world, shop)
    described = changed(intent(), "spec.outputs[0].description", "What the cart is for")
    world.client.apply(described, shop)
    eventually(lambda: wanted(world, shop) != before, "the graph has the new contract", SECONDS)
    broken = changed(intent(), "spec.outputs[0].name", "purpose")
    world.client.apply(broken, shop)
    world.client.apply(changed(graph(), "spec.steps[3].filter.drop", "intent.label == 'party'"), shop)
    found = world.says("InferenceGraph", shop, "basket", "Accepted", "InvalidSpec")
    assert "intent.label" in found["message"]


@pytest.fixture(scope="module")
def judged(world: Operated) -> dict[str, dict[str, Any]]:
    """Every graph that is sound in shape and wrong in meaning, side by side with what the operator says of it."""
    namespace = world.namespace()
    for manifest in (ranker(), recaller(), intent()):
        world.client.apply(manifest, namespace)
    names = {bad.name: f"g{number}" for number, bad in enumerate(MEANING)}
    for bad in MEANING:
        world.client.apply({**bad.manifest, "metadata": {"name": names[bad.name]}}, namespace)
    return {
        name: world.says("InferenceGraph", namespace, resource, "Accepted", "InvalidSpec")
        for name, resource in names.items()
    }


@pytest.mark.parametrize("bad", MEANING, ids=lambda bad: bad.name)
def test_a_graph_that_is_wrong_in_meaning_is_not_accepted_by_field_and_remedy(
    judged: dict[str, dict[str, Any]], bad: Refusal
) -> None:
    found = judged[bad.name]
    assert found["status"] == "False"
    assert bad.field in found["message"]
    assert bad.words in found["message"]


def test_a_bad_edit_leaves_what_was_accepted_in_place(
    world: Operated, shop: str, serving: list[Replica]
) -> None:
    before = data(world, shop)
    world.client.apply(changed(graph(), "spec.steps[3].filter.drop", "candidate.nam == 'x'"), shop)
    found = world.says("InferenceGraph", shop, "basket", "Accepted", "InvalidSpec")
    assert "spec.steps[3].filter.drop" in found["message"]
    assert data(world, shop) == before
    now = {"status": status(world, shop)}
    assert condition(now, "Ready")["status"] == "True"
    assert condition(now, "Degraded")["status"] == "True"


def test_an_artefact_only_for_a_laptop_is_refused_in_a_cluster(world: Operated) -> None:
    namespace = world.namespace()
    world.client.apply(changed(ranker(), "spec.model.uri", "file://4.txt"), namespace)
    found = world.says("ModelDeployment", namespace, "basket-ranker", "Accepted", "InvalidSpec")
    assert "spec.model.uri" in found["message"]
    assert "s3://" in found["message"]
    assert world.get("Deployment", namespace, "basket-ranker-model") is None


def test_a_failing_version_of_a_model_is_said_while_the_old_one_serves(
    world: Operated, shop: str, pods: Pods
) -> None:
    pods.add(shop, "basket-ranker-model")
    world.says("ModelDeployment", shop, "basket-ranker", "Ready", "Serving")
    world.client.apply(changed(ranker(), "spec.model.uri", "s3://models/basket-ranker/5.txt"), shop)
    eventually(
        lambda: "5.txt" in json.dumps(world.get("Deployment", shop, "basket-ranker-model")), "a new template"
    )
    failing = pods.add(shop, "basket-ranker-model", ready=False)
    failing.failed("DigestMismatch", "the artefact has SHA-256 ffff, the spec says 0123")
    found = world.says("ModelDeployment", shop, "basket-ranker", "Degraded", "DigestMismatch")
    assert "the artefact has SHA-256 ffff" in found["message"]
    assert "Set sha256 to the digest" in found["message"]
    now = (world.get("ModelDeployment", shop, "basket-ranker") or {})["status"]
    assert now["version"] == "4"
    assert condition({"status": now}, "Ready")["status"] == "True"
    eventually(lambda: "DigestMismatch" in warnings(world, shop, "basket-ranker"), "an event says it too")
    world.quiet()
    assert warnings(world, shop, "basket-ranker") == ["DigestMismatch"]


def warnings(world: Operated, namespace: str, name: str) -> list[str]:
    events = [e for e in world.client.items("Event", namespace) if e["type"] == "Warning"]
    return [e["reason"] for e in events if e["regarding"]["name"] == name]


def test_a_graph_says_which_of_its_models_is_down(
    world: Operated, shop: str, serving: list[Replica], pods: Pods
) -> None:
    found = world.says("InferenceGraph", shop, "basket", "Degraded", "ModelNotReady")
    for name in ("basket-ranker", "item-cooccurrence", "micro-intent"):
        assert name in found["message"]
        pods.add(shop, f"{name}-model")
    found = world.says("InferenceGraph", shop, "basket", "Degraded", "Sound")
    assert condition({"status": status(world, shop)}, "Ready")["status"] == "True"
