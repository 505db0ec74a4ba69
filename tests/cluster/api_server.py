# SPDX-License-Identifier: Apache-2.0
"""A real API server for the tests of one session, and another with owner references collected.

Each fixture starts a light cluster of its own in a temporary directory and leaves nothing behind. Tests
share it: give every test a namespace of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from endcap_cluster import abandoned, audit, light


@dataclass(frozen=True)
class ApiServer:
    """A running API server; `kubeconfig` is that of an administrator."""

    directory: Path
    url: str
    kubeconfig: Path
    audit_log: Path

    def writes(
        self, *, user_agent: str = "", user: str = "", since: datetime | None = None
    ) -> list[audit.Request]:
        """The writes of clients whose user agent and user start with the given texts."""
        return audit.writes(self.audit_log, user_agent=user_agent, user=user, since=since)

    def now(self) -> datetime:
        """The time to give as `since`: the server runs on this machine's clock."""
        return datetime.now(UTC)

    def stop(self) -> None:
        """End the server and remove its data; a second call does nothing."""
        light.down(self.directory)


def start(directory: Path, controllers: tuple[str, ...] = ()) -> ApiServer:
    """Start an API server in `directory`, with the named controllers (see `endcap_cluster.light`)."""
    abandoned.end_all()
    abandoned.note(directory)
    running = light.up(directory, controllers)
    return ApiServer(running.directory, running.url, running.kubeconfig, running.audit_log)


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """etcd and an API server: nothing writes but the test. Deleting an owner deletes nothing else."""
    server = start(tmp_path_factory.mktemp("api") / "cluster")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def collecting_api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """With the garbage collector, and namespaces that can be deleted.

    The collector notices a new kind of resource up to 30 s after its CRD.
    """
    server = start(tmp_path_factory.mktemp("collecting") / "cluster", light.GARBAGE_COLLECTION)
    yield server
    server.stop()
