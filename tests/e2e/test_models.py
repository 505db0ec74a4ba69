# SPDX-License-Identifier: Apache-2.0
"""A model's life on real pods: it comes, it is replaced by a good or a bad version, pods die, it goes."""

from __future__ import annotations

import time
from typing import Any

import pytest
from basket_shop import LONG, Shop, example, pushed, request
from builders import changed
from kube import condition, eventually
from shoppers import Load, ask

pytestmark = pytest.mark.e2e

RATE = 20.0


def test_a_model_gets_ready_and_leaves_nothing_behind(shop: Shop) -> None:
    manifest = changed(example()["popularity"], "metadata.name", "visitor")
    shop.apply(manifest)
    shop.says("ModelDeployment", "visitor", "Ready", status="True")
    status = shop.status("ModelDeployment", "visitor")
    assert status["version"] == "1"
    assert status["sha256"] == manifest["spec"]["model"]["sha256"]
    shop.client.delete("ModelDeployment", shop.namespace, "visitor")
    eventually(lambda: shop.left_of("visitor") == [], "nothing is left", LONG)


def test_a_model_that_is_deleted_and_made_again_at_once_comes_back_without_a_complaint(shop: Shop) -> None:
    manifest = changed(example()["popularity"], "metadata.name", "returner")
    shop.apply(manifest)
    shop.says("ModelDeployment", "returner", "Ready", status="True")
    before = shop.get("Deployment", "returner-model")["metadata"]["uid"]
    shop.client.delete("ModelDeployment", shop.namespace, "returner")
    shop.apply(manifest)
    shop.says("ModelDeployment", "returner", "Ready", status="True")
    assert shop.get("Deployment", "returner-model")["metadata"]["uid"] != before
    events = [e for e in shop.client.items("Event", shop.namespace) if e["regarding"]["name"] == "returner"]
    assert [e["reason"] for e in events if e["type"] == "Warning"] == []
    shop.client.delete("ModelDeployment", shop.namespace, "returner")


def test_a_missing_model_is_named_and_its_coming_heals_the_graph(shop: Shop) -> None:
    visitor = changed(example()["popularity"], "metadata.name", "latecomer")
    graph = changed(example()["basket"], "metadata.name", "early")
    graph = changed(graph, "spec.fallback[0].model", "latecomer")
    shop.apply(changed(graph, "spec.replicas", {"min": 1}))
    found = shop.says("InferenceGraph", "early", "Ready", reason="ModelNotFound")
    assert found["status"] == "False"
    assert "latecomer" in found["message"]
    shop.apply(visitor)
    shop.says("InferenceGraph", "early", "Ready", status="True")
    assert shop.get("InferenceGraph", "early")["metadata"]["generation"] == 1
    for kind, name in (("InferenceGraph", "early"), ("ModelDeployment", "latecomer")):
        shop.client.delete(kind, shop.namespace, name)


def test_a_version_with_another_digest_is_said_and_the_old_one_serves_on(whole: Shop) -> None:
    ranker = example()["basket-ranker"]
    with Load(whole.url, request(), RATE) as load:
        whole.apply(changed(ranker, "spec.model.sha256", "0" * 64))
        found = whole.says("ModelDeployment", "basket-ranker", "Degraded", reason="DigestMismatch")
        assert "Set sha256 to the digest of the artefact that is meant" in found["message"]
        _still_serves(whole, ranker)
        time.sleep(2)
        whole.apply(ranker)
        whole.says("ModelDeployment", "basket-ranker", "Degraded", status="False")
    assert load.failed == []
    assert len(load.answers) > 2 * RATE


def test_a_broken_artefact_is_said_and_the_old_one_serves_on(whole: Shop) -> None:
    ranker = example()["basket-ranker"]
    broken = pushed("basket-ranker/broken.txt", b"tree\nthis is no model\n")
    with Load(whole.url, request(), RATE) as load:
        whole.apply({**ranker, "spec": {**ranker["spec"], "model": {**ranker["spec"]["model"], **broken}}})
        found = whole.says("ModelDeployment", "basket-ranker", "Degraded", status="True")
        assert found["reason"] in ("ModelLoadFailed", "ArtefactInvalid")
        _still_serves(whole, ranker)
        whole.apply(ranker)
        whole.says("ModelDeployment", "basket-ranker", "Degraded", status="False")
    assert load.failed == []


def _still_serves(shop: Shop, ranker: dict[str, Any]) -> None:
    status = shop.status("ModelDeployment", "basket-ranker")
    assert condition({"status": status}, "Ready")["status"] == "True"
    assert condition({"status": status}, "Progressing")["status"] == "False"
    assert status["sha256"] == ranker["spec"]["model"]["sha256"]
    assert status["readyReplicas"] == 2


def test_a_killed_replica_costs_no_request(whole: Shop) -> None:
    with Load(whole.url, request(), RATE) as load:
        time.sleep(2)
        whole.kill(whole.ready_pods("basket-ranker-model")[0])
        eventually(lambda: len(whole.ready_pods("basket-ranker-model")) == 2, "two replicas again", LONG)
        time.sleep(2)
    assert load.failed == []
    assert [a for a in load.answers if "rank" in degraded(a.body)] == []


def test_without_its_ranker_a_graph_answers_degraded_and_heals_by_itself(whole: Shop) -> None:
    with Load(whole.url, request(), RATE) as load:
        for pod in whole.ready_pods("basket-ranker-model"):
            whole.kill(pod)
        begun = time.monotonic()
        eventually(lambda: any("rank" in degraded(a.body) for a in load.since(begun)), "degraded, named", 60)
        whole.says("ModelDeployment", "basket-ranker", "Ready", status="True")
        eventually(
            lambda: (last := load.since(time.monotonic() - 1)) and not any(degraded(a.body) for a in last),
            "answers are whole again",
            LONG,
        )
    assert load.failed == []


def degraded(body: dict[str, Any]) -> list[str]:
    """The steps that an answer says it did without."""
    return [entry if isinstance(entry, str) else entry["step"] for entry in body.get("degraded", [])]


def test_two_households_with_one_cart_see_another_order_and_why(shop: Shop) -> None:
    one, other = (ask(shop.url, request(name)) for name in ("request.json", "request-other-household.json"))
    products = [[r["product"] for r in answer.body["recommendations"]] for answer in (one, other)]
    assert products[0] != products[1]
    reasons = [r["reason"] for answer in (one, other) for r in answer.body["recommendations"]]
    assert all(reasons)
    assert any(reason.startswith("You bought it") for reason in reasons)


def test_pods_have_no_token_and_nothing_writable_but_scratch(shop: Shop) -> None:
    for child in ("basket-graph", "basket-ranker-model"):
        spec = shop.ready_pods(child)[0]["spec"]
        mounts = {
            m["mountPath"]: m.get("readOnly", False) for c in spec["containers"] for m in c["volumeMounts"]
        }
        assert "/var/run/secrets/kubernetes.io/serviceaccount" not in mounts
        assert {path for path, read_only in mounts.items() if not read_only} == {"/tmp", "/artefact"}  # noqa: S108
