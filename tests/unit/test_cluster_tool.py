# SPDX-License-Identifier: Apache-2.0
"""The parts of the cluster tool that must not err: whom it ends, which rules it removes, what it rebuilds."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from endcap_cluster import (
    audit,
    base,
    cli,
    containerd,
    embedded,
    firewall,
    images,
    mounts,
    network,
    node,
    ports,
    processes,
    wait,
)
from endcap_cluster.errors import ClusterError
from endcap_cluster.images import Image
from endcap_cluster.pki import Pair

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
]


def test_a_daemon_is_found_again_by_its_record_and_ended(tmp_path: Path) -> None:
    started = processes.start(tmp_path, "daemon", SLEEP, tmp_path / "log")
    found = processes.find(tmp_path, "daemon")
    assert found == started
    assert processes.alive(started)
    processes.stop(tmp_path, started, grace=10)
    assert not processes.alive(started)
    assert processes.recorded(tmp_path) == []


def test_a_daemon_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    started = processes.start(tmp_path, "deaf", STUBBORN, log)
    wait.until("the handler", lambda: "deaf" in log.read_text(), seconds=20)
    processes.stop(tmp_path, started, grace=0.1)
    assert not processes.alive(started)


def test_a_stranger_with_a_recycled_pid_is_not_ended(tmp_path: Path) -> None:
    stranger = subprocess.Popen(SLEEP)
    record = processes.Record("daemon", stranger.pid, "another boot:1")
    processes.stop(tmp_path, record, grace=0.1)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_zombie_counts_as_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    wait.until("the child's end", lambda: processes.start_time(child.pid) is None, seconds=20)
    assert Path(f"/proc/{child.pid}").exists()
    child.wait()


def test_waiting_for_a_daemon_that_dies_ends_at_once_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    dying = [sys.executable, "-c", "raise SystemExit('no such flag')"]
    record = processes.start(tmp_path, "dying", dying, log)
    with pytest.raises(ClusterError, match="no such flag"):
        wait.until_serving(record, log, lambda: False, seconds=60)


RULES = [
    "*nat",
    ":PREROUTING ACCEPT [0:0]",
    ":KUBE-SERVICES - [0:0]",
    ":DOCKER - [0:0]",
    ":CNI-0123 - [0:0]",
    '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    "-A PREROUTING -j DOCKER",
    "-A KUBE-SERVICES -d 10.96.0.1/32 -j DNAT",
    "-A POSTROUTING -s 10.244.0.0/16 -m comment --comment endcap-cluster -j MASQUERADE",
    "-A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE",
    "COMMIT",
]


def test_only_the_clusters_rules_and_chains_are_removed() -> None:
    assert firewall.without_cluster(RULES) == [
        "*nat",
        ":PREROUTING ACCEPT [0:0]",
        ":DOCKER - [0:0]",
        "-A PREROUTING -j DOCKER",
        "-A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE",
        "COMMIT",
    ]


def test_free_ports_are_distinct() -> None:
    assert len(set(ports.free(20))) == 20


def test_a_port_that_something_listens_on_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "LOWEST", port)
        monkeypatch.setattr(ports, "HIGHEST", port + 20)
        assert ports.listening("127.0.0.1", port)
        assert all(ports.free(1) != [port] for _ in range(200))


def test_mounts_are_listed_deepest_first_and_only_below(monkeypatch: pytest.MonkeyPatch) -> None:
    top = Path("/proc")
    found = mounts.below(top)
    assert top in found
    assert all(point.is_relative_to(top) for point in found)
    assert found == sorted(found, key=lambda point: -len(point.parts))
    assert mounts.below(Path("/proc-of-another")) == []


def test_an_image_is_rebuilt_exactly_when_an_input_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(images, "CHECKOUT", tmp_path)
    (tmp_path / "source").mkdir()
    source = tmp_path / "source" / "a.py"
    source.write_text("1")
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    (tmp_path / "unrelated").write_text("1")
    image = Image("endcap/x:dev", "Dockerfile", inputs=("source",))
    first = images.archive(image)
    (tmp_path / "unrelated").write_text("2")
    (tmp_path / "source" / "__pycache__").mkdir()
    (tmp_path / "source" / "__pycache__" / "a.pyc").write_text("compiled")
    os.utime(source, (1, 1))
    assert images.archive(image) == first
    variants = {images.archive(Image("endcap/x:dev", "Dockerfile", ("source",), arguments={"A": "1"}))}
    source.chmod(0o755)
    variants.add(images.archive(image))
    source.write_text("2")
    variants.add(images.archive(image))
    (tmp_path / "source" / "b.py").write_text("")
    variants.add(images.archive(image))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nUSER 1")
    variants.add(images.archive(image))
    assert len({first, *variants}) == 6


def test_a_build_sees_its_declared_inputs_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(images, "CHECKOUT", tmp_path)
    for name in ("in/deep/a.py", "in/.hidden", "out/secret"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    context = images.stage(Image("endcap/x:dev", "Dockerfile", inputs=("in",)), tmp_path / "context")
    files = [str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()]
    assert files == ["in/deep/a.py"]


def test_a_missing_input_is_named_with_the_table_that_wants_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(images, "CHECKOUT", tmp_path)
    (tmp_path / "Dockerfile").touch()
    with pytest.raises(ClusterError, match=r"endcap/x:dev needs absent, .*images\.yaml"):
        images.archive(Image("endcap/x:dev", "Dockerfile", inputs=("absent",)))


def test_an_unknown_image_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ClusterError, match=r"no image endcap/nothing:dev .* endcap/pause:dev"):
        images.find(["endcap/nothing"])


def test_every_dockerfile_on_python_takes_its_base_as_an_argument() -> None:
    for image in images.table().values():
        dockerfile = images.CHECKOUT / image.dockerfile
        if image.base and dockerfile.exists():
            assert re.search(r"^ARG BASE=\S+$", dockerfile.read_text(), re.MULTILINE), image.dockerfile


def test_the_base_image_is_made_anew_when_its_recipe_changes() -> None:
    assert base.TAG.endswith(base.RECIPE)


def test_an_embedded_cluster_without_root_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match=r"needs root .* sudo, or choose --cluster=kind"):
        embedded.require_root()


def test_network_settings_agree_with_each_other(tmp_path: Path) -> None:
    cni = json.loads(network.cni_settings())
    pair = Pair(tmp_path, tmp_path)
    plan = node.Node(tmp_path, tmp_path, "unix:///run/x", tmp_path, pair, tmp_path, tmp_path)
    assert cni["plugins"][0]["ipam"]["ranges"] == [[{"subnet": network.PODS, "gateway": network.GATEWAY}]]
    assert f"clusterDNS: [{network.GATEWAY}]" in node.kubelet_settings(plan)
    assert f"bind {network.GATEWAY}" in node.dns_settings(tmp_path)


def test_sockets_stay_within_the_length_that_the_kernel_allows() -> None:
    plan = embedded.components.runtime(embedded.FULL)
    assert len(str(plan.address)) < 100
    assert f'sandbox_image = "{containerd.PAUSE_IMAGE}"' in containerd.settings(plan)
    assert images.find(["endcap/pause"])[0].full_name == containerd.PAUSE_IMAGE


def event(verb: str, **changed: object) -> str:
    made = {
        "stage": "ResponseComplete",
        "requestReceivedTimestamp": "2026-01-31T12:00:00.000001Z",
        "verb": verb,
        "requestURI": "/",
        "user": {"username": "writer"},
        "userAgent": "tool/1 (linux)",
        "objectRef": {"resource": "pods", "name": "p", "namespace": "n"},
        **changed,
    }
    return json.dumps(made, separators=(",", ":"))


def test_reads_reviews_and_half_written_lines_are_no_writes(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    review = event("create", objectRef={"resource": "subjectaccessreviews"})
    started = event("create", stage="ResponseStarted")
    lines = [event("patch"), event("get"), event("watch"), review, started, event("delete")]
    log.write_text("\n".join(lines) + "\n" + event("create")[:40])
    assert [request.verb for request in audit.writes(log)] == ["patch", "delete"]


def test_rotated_audit_logs_are_read_first(tmp_path: Path) -> None:
    (tmp_path / "audit-2026-01-31T00-00-00.000.log").write_text(event("create") + "\n")
    (tmp_path / "audit.log").write_text(event("delete") + "\n")
    assert [request.verb for request in audit.writes(tmp_path / "audit.log")] == ["create", "delete"]


def test_the_command_line_counts_writes_by_client(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "audit.log"
    log.write_text(f"{event('create')}\n{event('patch')}\n{event('patch', userAgent='other/2')}\n")
    assert cli.main(["audit", f"--log={log}", "--user-agent=tool/", "--since=2026-01-31T12:00:00Z"]) == 0
    assert capsys.readouterr().out.split() == ["2", "writer", "tool/1", "2", "in", "all"]


def test_a_time_without_its_zone_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["audit", "--since=2026-01-31T12:00:00"])
    assert "append Z for UTC" in capsys.readouterr().err


def test_an_error_that_a_person_can_remedy_has_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["audit", f"--log={tmp_path / 'none'}"]) == 1
    assert capsys.readouterr().err.startswith("error: there is no audit log at")
