# SPDX-License-Identifier: Apache-2.0
"""The Redis of an embedded store, started by the very command of its pod: who may do what, and what nobody sees."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from endcap_cluster import ports
from redis.backoff import NoBackoff
from redis.retry import Retry
from situations import PLATFORM

from endcap_api.v1alpha1.featurestore import Embedded
from endcap_operator.manifests.identity import Identity
from endcap_operator.manifests.redis import redis_children

PASSWORD = "s3cret pass'word\""  # noqa: S105 - of a server of this test
GUESS = {"username": "endcap", "password": "wrong"}
MOUNT = "/etc/endcap/secrets/default-store"


def container() -> dict[str, Any]:
    children = redis_children(Identity("FeatureStore", "shop", "default", "u", "store"), Embedded(), PLATFORM)
    deployment = next(m for m in children if m["kind"] == "Deployment")
    return dict(deployment["spec"]["template"]["spec"]["containers"][0])


@dataclass(frozen=True)
class Pod:
    """The container's process, with directories of this machine in place of the mounts."""

    directory: Path
    port: int

    def here(self, text: str) -> str:
        places = {MOUNT: "secret", "/data": "data", "/tmp/users.acl": "users.acl"}  # noqa: S108 - as in the pod
        for place, name in places.items():
            text = text.replace(place, str(self.directory / name))
        return text.replace("6379", str(self.port))

    def start(self) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("ab") as log:
            command = [self.here(word) for word in container()["command"]]
            return subprocess.Popen(command, stdout=log, stderr=log)

    def probe(self) -> int:
        command = [self.here(word) for word in container()["readinessProbe"]["exec"]["command"]]
        command[-1] = command[-1].replace("redis-cli", f"redis-cli -p {self.port}")
        return subprocess.run(command, check=False, capture_output=True).returncode

    def client(self, **credentials: str) -> redis.Redis:
        once = Retry(NoBackoff(), 0)
        return redis.Redis(port=self.port, decode_responses=True, retry=once, **credentials)

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()


def pod_in(directory: Path) -> Pod:
    for name in ("secret", "data"):
        (directory / name).mkdir()
    (directory / "secret" / "username").write_text("endcap")
    (directory / "secret" / "password").write_text(PASSWORD)
    return Pod(directory, ports.free(1)[0])


@contextmanager
def started(pod: Pod) -> Iterator[subprocess.Popen[bytes]]:
    with pod.start() as process:
        try:
            end = time.monotonic() + 20
            while pod.probe():
                assert process.poll() is None, pod.log
                assert time.monotonic() < end, pod.log
                time.sleep(0.05)
            yield process
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pod, subprocess.Popen[bytes]]]:
    made = pod_in(tmp_path_factory.mktemp("pod"))
    with started(made) as process:
        yield made, process


@pytest.fixture(scope="module")
def client(pod: tuple[Pod, subprocess.Popen[bytes]]) -> Iterator[redis.Redis]:
    with pod[0].client(username="endcap", password=PASSWORD) as opened:
        yield opened


def test_nobody_gets_in_without_the_password(pod: tuple[Pod, subprocess.Popen[bytes]]) -> None:
    with pod[0].client() as nobody, pytest.raises(redis.AuthenticationError):
        nobody.get("x")
    with pod[0].client(**GUESS) as guesser, pytest.raises(redis.RedisError):
        guesser.get("x")


def test_the_user_may_do_what_a_store_needs(client: redis.Redis) -> None:
    client.set("a", "1", ex=60)
    client.xadd("s", {"e": "1"})
    client.xgroup_create("s", "g", "0")
    client.xautoclaim("s", "g", "c", 0)
    client.function_load("#!lua name=probe\nredis.register_function('one', function() return 1 end)")
    assert client.fcall("one", 0) == 1
    assert client.info("server")["redis_version"]
    assert client.client_id()
    with client.pubsub() as listener:
        listener.subscribe("__redis__:invalidate")


@pytest.mark.parametrize(
    "command",
    [
        "CONFIG GET maxmemory",
        "CONFIG SET maxmemory 1",
        "FLUSHALL",
        "FLUSHDB",
        "SHUTDOWN NOSAVE",
        "ACL LIST",
        "KEYS *",
        "REPLICAOF NO ONE",
        "MONITOR",
    ],
)
def test_the_user_may_not_administer(client: redis.Redis, command: str) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())


def test_the_password_is_seen_nowhere(pod: tuple[Pod, subprocess.Popen[bytes]]) -> None:
    made, process = pod
    running = psutil.Process(process.pid)
    assert running.name() == "redis-server", "is the process that gets SIGTERM"
    assert PASSWORD not in " ".join(running.cmdline())
    assert PASSWORD not in str(running.environ())
    assert PASSWORD not in made.log
    users = made.directory / "users.acl"
    assert PASSWORD not in users.read_text()
    assert users.stat().st_mode & 0o077 == 0
    assert PASSWORD not in str(container())


def test_it_keeps_a_file_and_evicts_nothing(client: redis.Redis) -> None:
    assert client.info("persistence")["aof_enabled"] == 1
    memory = client.info("memory")
    assert memory["maxmemory_policy"] == "noeviction"
    assert memory["maxmemory"] == int(512 * 2**20 * 0.7), "room for the file's rewriting is left"


WRITES = """#!lua name=probe
redis.register_function('both', function(keys)
  redis.call('SET', keys[1], 'yes')
  return redis.call('SET', keys[2], 'yes')
end)"""


def handed_over(client: redis.Redis) -> None:
    """Waits until no write is in the process alone: with a busy disk, `everysec` answers before it hands over."""
    end = time.monotonic() + 20
    while client.info("persistence")["aof_buffer_length"]:
        assert time.monotonic() < end, "the file takes nothing"
        time.sleep(0.05)


def test_a_killed_redis_comes_back_with_what_a_function_wrote(tmp_path: Path) -> None:
    """Which is a transaction in its file, and read again as the default user, who is nobody otherwise."""
    pod = pod_in(tmp_path)
    with started(pod) as first, pod.client(username="endcap", password=PASSWORD) as client:
        client.function_load(WRITES)
        client.fcall("both", 2, "a", "b")
        handed_over(client)
        first.kill()
    with started(pod), pod.client(username="endcap", password=PASSWORD) as client:
        assert client.mget("a", "b") == ["yes", "yes"]
    assert "CRITICAL" not in pod.log


def test_a_killed_redis_comes_back_with_what_was_written(tmp_path: Path) -> None:
    pod = pod_in(tmp_path)
    with started(pod) as first, pod.client(username="endcap", password=PASSWORD) as client:
        client.set("kept", "yes")
        handed_over(client)
        first.kill()
    with started(pod), pod.client(username="endcap", password=PASSWORD) as client:
        assert client.get("kept") == "yes"
