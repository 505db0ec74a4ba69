# SPDX-License-Identifier: Apache-2.0
"""The light cluster: what integration tests rely on, and that it leaves nothing behind."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from api_server import ApiServer
from endcap_cluster import abandoned, audit, kubectl, light, processes, tools
from endcap_cluster.errors import ClusterError
from endcap_cluster.layout import SOURCES
from endcap_cluster.layout import light as layout_of


@pytest.fixture(scope="module", autouse=True)
def _kubectl() -> None:
    tools.install()


def config_map(name: str, owner: dict[str, str] | None = None) -> str:
    references = [{"apiVersion": "v1", "kind": "ConfigMap", **owner}] if owner else []
    metadata = {"name": name, "namespace": "default", "ownerReferences": references}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


def test_the_audit_log_has_every_write_of_a_client_when_its_call_returns(api_server: ApiServer) -> None:
    begun = api_server.now()
    kubectl.run(api_server.kubeconfig, "create", "configmap", "written")
    kubectl.run(api_server.kubeconfig, "get", "configmap", "written")
    kubectl.run(api_server.kubeconfig, "delete", "configmap", "written")
    written = api_server.writes(user_agent="kubectl/", since=begun)
    assert [(request.verb, request.name, request.code) for request in written] == [
        ("create", "written", 201),
        ("delete", "written", 200),
    ]


def test_writes_are_told_apart_by_client_and_time(api_server: ApiServer) -> None:
    kubectl.run(api_server.kubeconfig, "create", "configmap", "earlier")
    later = api_server.now()
    assert api_server.writes(user_agent="kubectl/")
    assert api_server.writes(user="endcap-admin")
    assert not api_server.writes(user="endcap-admin", since=later)
    assert not api_server.writes(user_agent="no-such-client/")


def test_an_impersonated_user_is_the_one_who_writes(api_server: ApiServer) -> None:
    with pytest.raises(ClusterError, match="forbidden"):
        kubectl.run(api_server.kubeconfig, "create", "configmap", "refused", "--as=shopper")
    (refused,) = api_server.writes(user="shopper")
    assert refused.code == 403


def test_dry_runs_are_writes_that_a_client_made(api_server: ApiServer) -> None:
    begun = api_server.now()
    kubectl.run(api_server.kubeconfig, "create", "configmap", "dry", "--dry-run=server")
    assert audit.count_by_client(api_server.writes(user="endcap-admin", since=begun)) != {}


def test_pods_can_be_created_without_any_controller(api_server: ApiServer) -> None:
    kubectl.run(api_server.kubeconfig, "run", "pod", "--image=none")
    assert "Pending" in kubectl.run(api_server.kubeconfig, "get", "pod", "pod")


def test_owned_objects_are_collected_where_the_collector_runs(collecting_api_server: ApiServer) -> None:
    config = collecting_api_server.kubeconfig
    kubectl.apply(config, config_map("owner"))
    uid = kubectl.run(config, "get", "configmap", "owner", "--output=jsonpath={.metadata.uid}")
    kubectl.apply(config, config_map("owned", {"name": "owner", "uid": uid}))
    kubectl.run(config, "delete", "configmap", "owner")
    kubectl.run(config, "wait", "--for=delete", "configmap/owned", "--timeout=30s")


def test_a_namespace_can_be_deleted_where_the_collector_runs(collecting_api_server: ApiServer) -> None:
    config = collecting_api_server.kubeconfig
    kubectl.run(config, "create", "namespace", "short-lived")
    kubectl.run(config, "delete", "namespace", "short-lived", "--timeout=30s")


def test_several_start_at_the_same_time_and_leave_nothing(tmp_path: Path) -> None:
    directories = [tmp_path / name for name in ("one", "two")]
    with ThreadPoolExecutor() as pool:
        clusters = list(pool.map(light.up, directories))
    records = [record for each in directories for record in processes.recorded(layout_of(each).pids)]
    assert clusters[0].url != clusters[1].url
    assert len(records) == 4
    assert all(map(processes.alive, records))
    for directory in directories:
        light.down(directory)
    assert not any(map(processes.alive, records))
    assert not any(directory.exists() for directory in directories)


def test_up_replaces_what_a_crash_left(tmp_path: Path) -> None:
    directory = tmp_path / "cluster"
    first = light.up(directory)
    record = processes.find(layout_of(directory).pids, "etcd")
    assert record is not None
    kubectl.run(first.kubeconfig, "create", "configmap", "lost")
    processes.stop(tmp_path, record, grace=0)
    second = light.up(directory)
    try:
        assert "lost" not in kubectl.run(second.kubeconfig, "get", "configmaps")
    finally:
        light.down(directory)


def test_stopping_does_not_wait_for_open_watches(tmp_path: Path) -> None:
    """An API server drains open watches for up to a minute when it is asked to end."""
    cluster = light.up(tmp_path / "cluster")
    watch = [str(tools.KUBECTL.path), f"--kubeconfig={cluster.kubeconfig}", "get", "configmaps", "--watch"]
    processes.start(tmp_path, "watch", watch, tmp_path / "watch.log")
    time.sleep(0.5)
    begun = time.monotonic()
    light.down(cluster.directory)
    assert time.monotonic() - begun < 20
    record = processes.find(tmp_path, "watch")
    assert record is not None
    processes.stop(tmp_path, record, grace=5)


def test_a_directory_of_someone_else_is_refused(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for action in (light.up, light.down):
        with pytest.raises(ClusterError, match="no light cluster's"):
            action(tmp_path)
    assert precious.read_text() == "mine"


def test_the_cluster_of_a_killed_test_run_is_ended_by_the_next(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    code = (
        "from pathlib import Path; import os, signal; from endcap_cluster import abandoned, light\n"
        f"at = Path({str(tmp_path / 'cluster')!r})\n"
        f"abandoned.note(at, Path({str(registry)!r})); light.up(at); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    mine = tmp_path / "mine"
    abandoned.note(mine, registry)
    records = processes.recorded(layout_of(tmp_path / "cluster").pids)
    assert len(records) == 2
    abandoned.end_all(registry)
    assert not any(map(processes.alive, records))
    assert len(list(registry.iterdir())) == 1
