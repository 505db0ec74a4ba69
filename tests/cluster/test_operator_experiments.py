# SPDX-License-Identifier: Apache-2.0
"""Experiments on a real API server: what is written, in which order, with which rights, and what is not written."""

from __future__ import annotations

import base64
import json
import random
import signal
import time
from typing import Any

import pytest
from builders import changed, feature_store, graph, intent, ranker, recaller
from endcap_cluster import audit, kubectl
from experiment_builders import CONTROL, TREATMENT, experiment, models_of_variants
from experiment_refusals import OVERLAYS
from kube import condition, eventually
from kubernetes.aio import client, config
from operated import ACCOUNT, Operated
from pods import Pods, Replica
from refusal import Refusal

from endcap_api.assignment import Ranges, allocate, parse_ranges, quotas
from endcap_api.runtime_config import GraphConfig
from endcap_operator.apply import Writer
from endcap_operator.cluster import Cluster, ClusterError
from endcap_operator.keys import key_of
from endcap_operator.metrics import Metrics
from endcap_operator.plan.facts import Observed, Plan
from endcap_operator.store import Store

SECONDS = 20  # ten times the goal
NAME = "ranker-v2"


def weighted(control: int, treatment: int, **spec: Any) -> dict[str, Any]:
    variants = [{**CONTROL, "weight": control}, {**TREATMENT, "weight": treatment}]
    return experiment(**{"variants": variants, **spec})


@pytest.fixture
def shop(world: Operated, pods: Pods) -> str:
    """A graph whose three replicas serve what they are told, and models whose pods are ready."""
    namespace = world.namespace()
    for manifest in (ranker(), ranker("ranker-v2"), recaller(), intent(), graph()):
        world.client.apply(manifest, namespace)
    eventually(lambda: world.get("Deployment", namespace, "basket-graph"), "the graph is deployed")
    for name in ("basket-ranker", "ranker-v2"):
        eventually(lambda name=name: world.get("Deployment", namespace, f"{name}-model"), "deployed")
        pods.add(namespace, f"{name}-model")
    for _ in range(3):
        following(pods, namespace)
    world.says("InferenceGraph", namespace, "basket", "Ready", "Serving")
    return namespace


def following(pods: Pods, namespace: str) -> Replica:
    replica = pods.add(namespace, "basket-graph")
    replica.follows = "basket-graph"
    return replica


@pytest.fixture
def running(world: Operated, shop: str) -> str:
    world.client.apply(experiment(), shop)
    world.says("Experiment", shop, NAME, "RouterSynced", "Synced")
    return shop


def status(world: Operated, namespace: str, name: str = NAME) -> dict[str, Any]:
    return (world.get("Experiment", namespace, name) or {}).get("status") or {}


def told(world: Operated, namespace: str) -> GraphConfig:
    data = (world.get("ConfigMap", namespace, "basket-graph") or {})["data"]
    return GraphConfig.model_validate_json(data["graph.json"])


def ranges(world: Operated, namespace: str) -> dict[str, Ranges]:
    data = (world.get("ConfigMap", namespace, f"{NAME}-experiment") or {})["data"]
    return {name: parse_ranges(texts) for name, texts in json.loads(data["record.json"])["ranges"].items()}


def synced(world: Operated, namespace: str, revision: int) -> None:
    eventually(
        lambda: (
            status(world, namespace).get("revision") == revision
            and status(world, namespace).get("serving") == "3/3"
        ),
        f"every replica serves revision {revision}: {status(world, namespace)}",
        SECONDS,
    )


def run(world: Operated, *arguments: str) -> str:
    return kubectl.run(world.server.kubeconfig, *arguments)


def events(world: Operated, namespace: str) -> dict[str, str]:
    """What was told by reason; a phase and the condition that names it have one reason, and a note each."""
    notes: dict[str, list[str]] = {}
    for event in world.client.items("Event", namespace):
        if event["regarding"]["kind"] == "Experiment":
            notes.setdefault(event["reason"], []).append(event["note"])
    return {reason: "\n".join(sorted(each)) for reason, each in notes.items()}


def test_kubectl_shows_what_it_is_on_how_far_it_is_and_who_gets_what(world: Operated, running: str) -> None:
    head, row = run(world, "get", "exp", "-n", running).splitlines()
    columns = (
        "NAME",
        "READY",
        "GRAPH",
        "STEP",
        "PHASE",
        "TRAFFIC",
        "SPLIT",
        "UNITS",
        "SRM",
        "PRIMARY",
        "GUARDRAILS",
    )
    for column in (*columns, "VERDICT", "AGE"):
        assert column in head
    assert row.split()[:7] == [NAME, "True", "basket", "rank", "Running", "100%", "50/50"]
    assert "100% take part: control 50, treatment 50" in events(world, running)["Running"]


def test_kubectl_can_wait_for_the_end(world: Operated, running: str) -> None:
    world.client.apply(experiment(decision={"abort": "seen enough"}), running)
    run(world, "wait", "--for=condition=Completed", f"exp/{NAME}", "-n", running, "--timeout=20s")
    assert status(world, running)["phase"] == "Aborted"
    eventually(lambda: told(world, running).experiments is None, "the graph is as it is written", SECONDS)
    assert "seen enough" in events(world, running)["Aborted"]


def test_a_change_of_weights_is_served_by_every_replica_and_moves_the_fewest(
    world: Operated, running: str
) -> None:
    before = ranges(world, running)
    deployment = (world.get("Deployment", running, "basket-graph") or {})["metadata"]["generation"]
    world.client.apply(weighted(66, 34), running)
    synced(world, running, 2)
    assert ranges(world, running) == allocate(quotas({"control": 66, "treatment": 34}), before)
    assert (world.get("Deployment", running, "basket-graph") or {})["metadata"]["generation"] == deployment
    assert told(world, running).activate_at_ms is not None


def test_a_replica_that_lags_is_not_passed_over(world: Operated, running: str, pods: Pods) -> None:
    late = pods.add(running, "basket-graph")
    late.serve("another")
    world.client.apply(weighted(66, 34), running)
    eventually(lambda: status(world, running).get("serving") == "3/4", "three of four", SECONDS)
    found = condition({"status": status(world, running)}, "RouterSynced")
    assert (found["status"], found["reason"]) == ("False", "Configuring")
    late.follows = "basket-graph"
    world.says("Experiment", running, NAME, "RouterSynced", "Synced")


def test_an_experiment_at_rest_is_not_written_to_not_even_by_a_new_operator(
    world: Operated, running: str
) -> None:
    world.quiet(1.0)
    since = world.server.now()
    time.sleep(2)
    world.stop(signal.SIGKILL)
    world.log.write_text("")
    world.start()
    time.sleep(3)
    assert [r.uri for r in world.writes(since) if r.namespace == running] == []


def test_an_operator_that_is_killed_at_any_time_reassigns_nobody(world: Operated, running: str) -> None:
    """Row 45: each change is killed at another of its writes; what comes out is what would have come out."""
    chance, expected = random.Random(4), ranges(world, running)  # noqa: S311 - which weights, not who knows them
    for number in range(5):
        weights = (chance.randint(1, 99), chance.randint(1, 99))
        since = world.server.now()
        world.client.apply(weighted(*weights), running)
        writes = number % 4
        eventually(lambda since=since, n=writes: len(world.writes(since)) >= n, "written so far", SECONDS)
        world.stop(signal.SIGKILL)
        world.log.write_text("")
        world.start()
        synced(world, running, number + 2)
        expected = allocate(quotas(dict(zip(expected, weights, strict=True))), expected)
        assert ranges(world, running) == expected
    told_now = (told(world, running).experiments or {})[NAME]
    assert [v.buckets for v in told_now.variants] == [[str(r) for r in owned] for owned in expected.values()]


def test_a_status_that_is_edited_is_written_again_and_decides_nothing(world: Operated, running: str) -> None:
    """S26."""
    before, text = status(world, running), told(world, running)
    forged = {"salt": "mine", "revision": 7, "phase": "Promoted", "variants": []}
    world.client.patch("Experiment", running, NAME, {"status": forged}, "status")
    eventually(lambda: status(world, running) == before, "as it was", SECONDS)
    assert told(world, running) == text
    eventually(lambda: "StatusRestored" in events(world, running), "told")


@pytest.mark.parametrize("how", ["deleted", "emptied", "spoilt"])
def test_a_record_that_is_lost_is_made_again_and_reassigns_nobody(
    world: Operated, running: str, how: str
) -> None:
    world.client.apply(weighted(66, 34), running)
    synced(world, running, 2)
    before, since = ranges(world, running), world.server.now()
    if how == "deleted":
        world.client.delete("ConfigMap", running, f"{NAME}-experiment")
    else:
        text = None if how == "emptied" else '{"revision": 1'
        world.client.patch("ConfigMap", running, f"{NAME}-experiment", {"data": {"record.json": text}})
    synced(world, running, 3)
    assert ranges(world, running) == before
    assert status(world, running)["phase"] == "Running"
    carried = [r for r in world.writes(since) if r.resource == "configmaps" and "basket-graph" in r.uri]
    assert len(carried) == 1, "the graph never lost it"


async def test_a_decision_from_an_older_record_is_not_written_over_a_newer_one(
    world: Operated, running: str
) -> None:
    """Two operators at once: one decides, is stopped for a while, and writes when the other has decided already."""
    older = world.get("ConfigMap", running, f"{NAME}-experiment") or {}
    kept = {name: older[name] for name in ("apiVersion", "kind")}
    said = {name: older["metadata"][name] for name in ("name", "namespace", "labels", "ownerReferences")}
    late = {**kept, "metadata": said, "data": {**older["data"], "record.json": "late"}}
    world.client.apply(weighted(66, 34), running)
    synced(world, running, 2)
    before = ranges(world, running)
    configuration = client.Configuration()
    await config.load_kube_config(str(world.kubeconfig), client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        writer = Writer(Store(lambda _: ()), Cluster(api, Metrics()))
        with pytest.raises(ClusterError, match="modified"):
            await writer.apply(Plan({}, (late,)), Observed({key_of(older): older}), settled=True)
    assert ranges(world, running) == before


def test_two_on_one_step_are_told_apart_by_age(world: Operated, running: str) -> None:
    world.client.apply(experiment("second", salt="another"), running)
    found = world.says("Experiment", running, "second", "Accepted", "Conflict")
    assert f"experiment {NAME} is on step rank" in found["message"]
    assert set(told(world, running).experiments or ()) == {NAME}
    world.client.delete("Experiment", running, NAME)
    world.says("Experiment", running, "second", "RouterSynced", "Synced")
    assert set(told(world, running).experiments or ()) == {"second"}


def test_a_deleted_experiment_leaves_the_graph_as_it_is_written(world: Operated, shop: str) -> None:
    before = told(world, shop)
    world.client.apply(experiment(), shop)
    world.says("Experiment", shop, NAME, "RouterSynced", "Synced")
    world.client.delete("Experiment", shop, NAME)
    eventually(lambda: told(world, shop).experiments is None, "restored", SECONDS)
    assert told(world, shop).revision == before.revision


def test_a_promotion_by_patch_names_the_winner_in_the_graph_and_nothing_else(
    world: Operated, running: str
) -> None:
    before = world.get("InferenceGraph", running, "basket") or {}
    world.client.apply(experiment(promotion="patch", decision={"promote": "treatment"}), running)
    eventually(lambda: status(world, running).get("phase") == "Promoted", "promoted", SECONDS)
    after = world.get("InferenceGraph", running, "basket") or {}
    assert after["spec"] == changed(before, "spec.steps[2].rank.model", "ranker-v2")["spec"]
    manager = next(m for m in after["metadata"]["managedFields"] if m["manager"] == "endcap-promotion")
    assert manager["operation"] == "Update"
    eventually(lambda: told(world, running).experiments is None, "the overlay is gone", SECONDS)
    assert told(world, running).spec.steps[2].model_name == "ranker-v2"
    patches = [r for r in world.writes() if r.resource == "inferencegraphs" and not r.subresource]
    assert len([r for r in patches if r.namespace == running and r.code == 200]) == 1


def test_a_promotion_that_is_recommended_is_a_command_that_works(world: Operated, running: str) -> None:
    world.client.apply(experiment(decision={"promote": "treatment"}), running)
    eventually(lambda: status(world, running).get("phase") == "Promoting", "promoting", SECONDS)
    said = status(world, running)["recommendation"]
    head, _, patch = said.partition(" -p ")
    run(world, *head.split()[1:], "-p", patch.strip("'"))
    eventually(lambda: status(world, running).get("phase") == "Promoted", "promoted", SECONDS)


def test_a_model_is_held_at_the_artefact_that_is_measured(world: Operated, running: str) -> None:
    newer = changed(ranker("ranker-v2"), "spec.model.uri", "s3://models/ranker-v2/5.txt")
    world.client.apply(changed(newer, "spec.model.sha256", "f" * 64), running)
    found = world.says("ModelDeployment", running, "ranker-v2", "Progressing", "PinnedByExperiment")
    assert found["status"] == "False"
    drift = world.says("Experiment", running, NAME, "VariantDrift", "Pinned")
    assert "ranker-v2@5" in drift["message"]
    assert "5.txt" not in json.dumps(world.get("Deployment", running, "ranker-v2-model"))
    world.client.delete("Experiment", running, NAME)
    eventually(
        lambda: "5.txt" in json.dumps(world.get("Deployment", running, "ranker-v2-model")),
        "it is let go",
        SECONDS,
    )


def test_a_store_counts_it_before_it_begins(world: Operated, shop: str, pods: Pods) -> None:
    metric = {"name": "bought", "unit": "customer_id", "event": "purchase", "conversion": True}
    world.client.apply(feature_store(), shop)
    eventually(lambda: world.get("Deployment", shop, "default-ingest"), "deployed")
    ingest = pods.add(shop, "default-ingest")
    world.client.apply(experiment(store="default", metrics=[metric], primary="bought"), shop)
    found = world.says("Experiment", shop, NAME, "VariantsReady", "FeatureStoreNotReady")
    assert "do not count it yet" in found["message"]
    assert status(world, shop)["phase"] == "Pending"

    def counted() -> str | None:
        data = (world.get("ConfigMap", shop, "default-ingest") or {})["data"]
        experiments = json.loads(data["features.json"]).get("experiments") or {}
        return (experiments.get(NAME) or {}).get("id")

    identity = eventually(counted, "the store is told of it", SECONDS)
    ingest.pages["/v1/experiments"] = {"experiments": {NAME: identity}}
    world.says("Experiment", shop, NAME, "RouterSynced", "Synced")
    carried = (told(world, shop).experiments or {})[NAME]
    assert carried.exposures == f"http://default-ingest.{shop}.svc:8080"


def test_the_keys_are_made_once_and_read_by_nobody(world: Operated, running: str) -> None:
    """S19, S20."""
    secret = world.get("Secret", running, "basket-graph")
    assert secret is not None
    key = base64.b64decode(secret["data"]["forceKey"]).decode()
    assert len(key) >= 32
    asked = [r for r in audit.requests(world.server.audit_log) if r.user.startswith(ACCOUNT)]
    assert {r.verb for r in asked if r.resource == "secrets"} == {"create"}
    seen = [world.log.read_text(), json.dumps(status(world, running)), told(world, running).model_dump_json()]
    assert not any(key in text for text in seen)


def test_what_cannot_be_written_down_is_not_decided(world: Operated, running: str) -> None:
    """Row 18: a quota keeps the record from being made again, and nothing is told that is not in it."""
    before, text = status(world, running), told(world, running)
    limits = {"hard": {"count/configmaps": "1"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": limits}
    world.client.create(quota, running)
    counted = {**limits, "used": {"count/configmaps": "1"}}
    world.client.patch("ResourceQuota", running, "none", {"status": counted}, "status")
    world.client.delete("ConfigMap", running, f"{NAME}-experiment")
    found = world.says("Experiment", running, NAME, "Degraded", "ChildRefused")
    assert "exceeded quota" in found["message"]
    now = status(world, running)
    assert {n: now[n] for n in ("phase", "revision", "variants")} == {
        n: before[n] for n in ("phase", "revision", "variants")
    }
    assert told(world, running) == text, "the graph goes on as it was"
    world.client.delete("ResourceQuota", running, "none")
    synced(world, running, 2)
    assert condition({"status": status(world, running)}, "Degraded") == {}


@pytest.fixture(scope="module")
def judged(world: Operated) -> dict[str, dict[str, Any]]:
    """Every experiment that is sound in shape and wrong on its graph, side by side with what the operator says."""
    namespace = world.namespace()
    for manifest in (*models_of_variants(), graph()):
        world.client.apply(manifest, namespace)
    names = {bad.name: f"e{number}" for number, bad in enumerate(OVERLAYS)}
    for bad in OVERLAYS:
        world.client.apply({**bad.manifest, "metadata": {"name": names[bad.name]}}, namespace)
    return {
        name: world.says("Experiment", namespace, resource, "Accepted", "InvalidSpec")
        for name, resource in names.items()
    }


@pytest.mark.parametrize("bad", OVERLAYS, ids=lambda bad: bad.name)
def test_an_experiment_that_does_not_fit_is_not_accepted_by_field_and_remedy(
    judged: dict[str, dict[str, Any]], bad: Refusal
) -> None:
    found = judged[bad.name]
    assert found["status"] == "False"
    assert bad.field in found["message"]
    assert bad.words in found["message"]
