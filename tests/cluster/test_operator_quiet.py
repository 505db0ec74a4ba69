# SPDX-License-Identifier: Apache-2.0
"""What the operator does not do: write where nothing changed, use rights it need not have, give up."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest
from builders import changed, graph, intent, ranker, recaller
from endcap_cluster import audit
from kube import eventually
from operated import ACCOUNT, Operated, end, install_crds, install_rights, operated_in

RESOURCES = 200


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """200 resources that are as they should be."""
    world = operated_in(tmp_path_factory.mktemp("quiet"))
    world.start()
    namespace = world.namespace()
    for manifest in (ranker(), recaller(), intent()):
        world.client.apply(manifest, namespace)
    for number in range(RESOURCES - 3):
        manifest = ranker(f"m{number}") if number % 2 else graph(f"g{number}", replicas={"min": 2, "max": 3})
        world.client.apply(manifest, namespace)
    eventually(lambda: len(world.client.items("Deployment")) == RESOURCES, "all are deployed", 120)
    world.quiet(1.0)
    yield world
    end(world)


def test_a_restart_on_an_unchanged_cluster_writes_nothing(settled: Operated) -> None:
    since = settled.server.now()
    settled.restart()
    eventually(lambda: reconciled(settled) >= RESOURCES, "every resource is looked at", 60)
    time.sleep(2)
    assert settled.writes(since) == []


def test_a_killed_operator_that_comes_back_writes_nothing_either(settled: Operated) -> None:
    since = settled.server.now()
    settled.stop(signal.SIGKILL)
    settled.log.write_text("")
    settled.start()
    eventually(lambda: reconciled(settled) >= RESOURCES, "every resource is looked at", 60)
    time.sleep(1)
    assert settled.writes(since) == []


def test_resyncs_of_200_resources_write_nothing(settled: Operated) -> None:
    since = settled.server.now()
    settled.restart(ENDCAP_RESYNC_SECONDS="1")
    eventually(lambda: reconciled(settled) >= 4 * RESOURCES, "every resource is looked at often", 90)
    assert settled.writes(since) == []


def test_what_was_deleted_while_the_operator_was_away_is_restored_at_its_return(settled: Operated) -> None:
    settled.stop()
    namespace = settled.client.items("Deployment")[0]["metadata"]["namespace"]
    settled.client.delete("Service", namespace, "basket-ranker-model")
    settled.client.patch("ConfigMap", namespace, "g0-graph", {"data": {"graph.json": "{}"}})
    settled.log.write_text("")
    settled.start()
    eventually(lambda: settled.get("Service", namespace, "basket-ranker-model"), "the Service is back")
    eventually(
        lambda: (settled.get("ConfigMap", namespace, "g0-graph") or {})["data"]["graph.json"] != "{}",
        "the configuration is back",
    )


def reconciled(world: Operated) -> int:
    """Reconciliations since the start, as /metrics tells."""
    lines = httpx.get(f"{world.health}/metrics").text.splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith("endcap_reconcile_total{")))


def test_health_and_metrics_are_served_and_nothing_else(settled: Operated) -> None:
    assert httpx.get(f"{settled.health}/healthz").status_code == 200
    text = httpx.get(f"{settled.health}/metrics").text
    for name in ("workqueue_depth", "rest_client_requests_total", "endcap_reconcile_time_seconds_bucket"):
        assert name in text
    assert f'endcap_objects{{kind="InferenceGraph",ready="false"}} {(RESOURCES - 3 + 1) // 2}.0' in text
    for path in ("/", "/metrics/", "/healthz/x", "//metrics", "/debug"):
        assert httpx.get(f"{settled.health}{path}").status_code == 404


def test_no_request_is_forbidden_and_nothing_outside_its_rights_is_asked_for(settled: Operated) -> None:
    """S25: what is granted suffices."""
    asked = [r for r in audit.requests(settled.server.audit_log) if r.user.startswith(ACCOUNT)]
    assert [f"{r.verb} {r.uri}" for r in asked if r.code == 403] == []
    assert {r.verb for r in asked if r.resource == "secrets"} == {"create"}


def test_a_namespaced_operator_serves_its_namespaces_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = operated_in(tmp_path_factory.mktemp("namespaced"))
    try:
        served, other = world.namespace(), world.namespace()
        world.client.send("DELETE", "apis/rbac.authorization.k8s.io/v1/clusterrolebindings/endcap-operator")
        install_rights(world.client, "--set", f"namespaces={{{served}}}")
        world.start(ENDCAP_NAMESPACES=served)
        for namespace in (other, served):
            world.client.apply(ranker(), namespace)
        eventually(lambda: world.get("Deployment", served, "basket-ranker-model"), "served")
        world.client.delete("Service", served, "basket-ranker-model")
        eventually(lambda: world.get("Service", served, "basket-ranker-model"), "watched, too")
        assert world.get("Deployment", other, "basket-ranker-model") is None
        asked = [r for r in audit.requests(world.server.audit_log) if r.user.startswith(ACCOUNT)]
        assert [f"{r.verb} {r.uri}" for r in asked if r.code == 403] == []
    finally:
        end(world)


def test_an_operator_without_crds_waits_says_so_and_starts_by_itself(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Row 12."""
    world = operated_in(tmp_path_factory.mktemp("bare"), crds=False)
    try:
        with pytest.raises(AssertionError, match="the operator knows the cluster"):
            world.start(patience=4)
        assert world.process is not None
        eventually(lambda: "apply the CRDs" in world.log.read_text(), "it says so")
        assert world.process.poll() is None
        install_crds(world.client)
        namespace = world.namespace()
        world.client.apply(ranker(), namespace)
        eventually(lambda: world.get("Deployment", namespace, "basket-ranker-model"), "it serves", 30)
    finally:
        end(world)


def test_an_operator_that_was_frozen_catches_up(settled: Operated) -> None:
    namespace = settled.client.items("Deployment")[0]["metadata"]["namespace"]
    assert settled.process is not None
    settled.process.send_signal(signal.SIGSTOP)
    time.sleep(2)
    settled.client.apply(changed(ranker("m1"), "spec.replicas", {"min": 3}), namespace)
    settled.process.send_signal(signal.SIGCONT)
    eventually(lambda: replicas(settled, namespace) == 3, "the edit made meanwhile is acted on")


def replicas(world: Operated, namespace: str) -> int:
    return int((world.get("Deployment", namespace, "m1-model") or {})["spec"]["replicas"])


def test_an_api_server_that_does_not_answer_for_a_while_ends_nothing(settled: Operated) -> None:
    """Rows 6 and 8, in small: what hangs is given up, and taken up again when there are answers."""
    namespace = settled.client.items("Deployment")[0]["metadata"]["namespace"]
    assert settled.process is not None
    server = api_server_of(settled)
    server.suspend()
    time.sleep(20)
    server.resume()
    settled.client.apply(changed(ranker("m1"), "spec.replicas", {"min": 4}), namespace)
    eventually(lambda: replicas(settled, namespace) == 4, "the edit made afterwards is acted on", 100)
    assert settled.process.poll() is None
    assert settled.stop() == 0, "ends cleanly when it is told to"


def api_server_of(world: Operated) -> psutil.Process:
    port = f"--secure-port={world.server.url.rpartition(':')[2]}"
    return next(p for p in psutil.process_iter(["cmdline"]) if port in (p.info["cmdline"] or ()))
