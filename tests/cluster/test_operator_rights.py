# SPDX-License-Identifier: Apache-2.0
"""What the operator may do: little, and all of it needed."""

from __future__ import annotations

from typing import Any

import pytest
from builders import activity, bundle, column, feature_store, graph, intent, ranker, recaller, segment
from endcap_cluster import audit
from experiment_builders import experiment
from kube import eventually
from operated import ACCOUNT, Operated, rendered
from pods import Pods

from endcap_api.structural import structural_schema
from endcap_api.v1alpha1.kinds import KINDS


def test_every_granted_verb_is_used(world: Operated, pods: Pods) -> None:
    """S25: a right that is never used is one too many."""
    namespace = world.namespace()
    for manifest in (ranker(), recaller(), intent(), graph(replicas={"min": 1, "max": 2})):
        world.client.apply(manifest, namespace)
    eventually(lambda: world.get("HorizontalPodAutoscaler", namespace, "basket-graph"), "made")
    world.client.apply(graph(replicas={"min": 1}), namespace)
    eventually(lambda: world.get("HorizontalPodAutoscaler", namespace, "basket-graph") is None, "pruned")
    _nudged(world, namespace, pods)
    _features(world, namespace)
    _promoted(world, namespace, pods)
    for _ in range(2):
        world.client.delete("Service", namespace, "basket-graph")
        eventually(
            lambda: world.get("Service", namespace, "basket-graph"), "restored, and the event counted up"
        )
        world.quiet()
    world.restart()  # a watch is in the audit log when it ends
    assert _granted() - _used(world) == set()


def _nudged(world: Operated, namespace: str, pods: Pods) -> None:
    replica = pods.add(namespace, "basket-graph")
    replica.serve("another")
    eventually(lambda: replica.annotations.get("endcap.dev/revision"), "a pod is nudged")


def _promoted(world: Operated, namespace: str, pods: Pods) -> None:
    """An experiment whose winner the operator writes into the graph."""
    world.client.apply(ranker("ranker-v2"), namespace)
    for name in ("basket-ranker", "ranker-v2"):
        eventually(lambda name=name: world.get("Deployment", namespace, f"{name}-model"), "deployed")
        pods.add(namespace, f"{name}-model")
    decided = experiment(promotion="patch", decision={"promote": "treatment"})
    world.client.apply(decided, namespace)
    world.says("Experiment", namespace, "ranker-v2", "Completed", "Promoted")


def _features(world: Operated, namespace: str) -> None:
    """A store with a volume that becomes one's own, and a model that asks for features and no longer does."""
    embedded, redis = {"storage": {"size": "1Gi"}}, {"url": "redis://cache:6379"}
    asked = {"bundle": "customer-preference", "keys": {"customer_id": "household"}}
    inputs = [column("cart", "array", "product"), column("household", "string")]
    for manifest in (feature_store(embedded=embedded), activity(), segment(), bundle()):
        world.client.apply(manifest, namespace)
    world.client.apply(recaller(inputs=inputs, features=asked), namespace)
    eventually(lambda: world.get("ConfigMap", namespace, "item-cooccurrence-model"), "asks")
    eventually(lambda: world.get("Deployment", namespace, "default-store"), "embedded")
    world.client.apply(feature_store(redis=redis), namespace)
    world.client.apply(recaller(), namespace)
    eventually(lambda: world.get("ConfigMap", namespace, "item-cooccurrence-model") is None, "asks no more")
    eventually(lambda: world.get("Deployment", namespace, "default-store") is None, "one's own")


def _used(world: Operated) -> set[tuple[str, str]]:
    used = {
        (r.verb, f"{r.resource}/{r.subresource}" if r.subresource else r.resource)
        for r in audit.requests(world.server.audit_log)
        if r.user.startswith(ACCOUNT)
    }
    # A server-side apply that creates needs both rights and is audited as a patch.
    return used | {("create", resource) for verb, resource in used if verb == "patch"}


def _granted() -> set[tuple[str, str]]:
    rules = [rule for m in rendered() if m["kind"] == "ClusterRole" for rule in m["rules"]]
    return {(verb, resource) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def test_no_reference_can_name_another_namespace() -> None:
    """S7, S10: what must not be said cannot be said."""
    forbidden = {
        "namespace",
        "serviceAccountName",
        "hostPath",
        "privileged",
        "image",
        "nodeName",
        "hostNetwork",
    }
    for kind in KINDS.values():
        names = set(_names(structural_schema(kind.spec)))
        assert "name" in names, "the whole schema is seen"
        assert not forbidden & names


def _names(schema: dict[str, Any]) -> list[str]:
    found = list(schema.get("properties", {}))
    parts = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return found + [name for part in parts if isinstance(part, dict) for name in _names(part)]


@pytest.mark.parametrize("arguments", [(), ("--set", "namespaces={a,b}")], ids=["cluster-wide", "namespaced"])
def test_the_rights_are_few(arguments: tuple[str, ...]) -> None:
    """S7, S25."""
    rules = [rule for manifest in rendered(*arguments) for rule in manifest.get("rules", ())]
    assert rules
    for rule in rules:
        for words in rule.values():
            assert "*" not in words
        assert not {"pods/exec", "serviceaccounts", "roles", "clusterroles"} & set(rule["resources"])
        assert "secrets" not in rule["resources"] or rule["verbs"] == ["create"]
        assert not {"escalate", "bind", "impersonate", "deletecollection", "update"} & set(rule["verbs"])
    assert all(
        rule["apiGroups"] != ["endcap.dev"] or set(rule["verbs"]) <= {"list", "watch", "patch"}
        for rule in rules
    )


def test_a_namespaced_installation_has_nothing_cluster_wide() -> None:
    kinds = {m["kind"] for m in rendered("--set", "namespaces={shop}", "--set", "crds.install=false")}
    assert kinds == {"ServiceAccount", "Role", "RoleBinding", "Deployment"}
