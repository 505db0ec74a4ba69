# SPDX-License-Identifier: Apache-2.0
"""Which Kubernetes: kind where Docker runs, the embedded one where it does not, or the one you have.

The choice is made by `up` and written down, so that the other commands act on the same cluster.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from endcap_cluster import embedded, images, kind, kubectl, processes, teardown, tools
from endcap_cluster.errors import ClusterError
from endcap_cluster.exclusive import exclusive
from endcap_cluster.layout import FULL, KEPT

FLAVOURS = ("kind", "embedded", "current")
CHOICE = FULL.state / "flavour"
TAKES_NO_FILES = "push the images to a registry that your cluster pulls from: it takes no files"
LOCK = KEPT / ".cluster.lock"


@dataclass(frozen=True)
class Running:
    """A cluster that is up; its kubeconfig is the same path for every flavour."""

    flavour: str
    kubeconfig: Path
    images: tuple[str, ...] = ()


def up(wanted: str, wanted_images: Sequence[images.Image] = ()) -> Running:
    """Bring a cluster up with the given images in it.

    `auto` takes kind where a Docker engine answers, else the embedded cluster.
    """
    with exclusive(LOCK):
        flavour = _choose(wanted)
        previous = chosen()
        if previous not in (None, flavour):
            raise ClusterError(f"this checkout's cluster is {previous}: end it with `down` before {flavour}")
        _require(flavour)
        _remember(flavour)  # before, so that `down` knows what an `up` that fails has begun
        start = {"kind": kind.up, "embedded": embedded.up, "current": _adopt_current}[flavour]
        loaded = start(wanted_images)
        _remember(flavour)  # after, since the embedded cluster starts from an empty state
    return Running(flavour, FULL.kubeconfig, tuple(loaded))


def down(wanted: str = "auto") -> None:
    """End the cluster; one that is not ours (`current`) is forgotten, and goes on.

    Any `wanted` but `auto` must be what runs: ending something else would be a surprise.
    """
    with exclusive(LOCK):
        flavour = chosen() or ("embedded" if wanted == "auto" else wanted)
        if wanted not in ("auto", flavour):
            raise ClusterError(
                f"this checkout's cluster is {flavour}, not {wanted}: leave out --cluster to end it"
            )
        {"kind": kind.down, "embedded": teardown.clean, "current": _leave_current}[flavour]()


def chosen() -> str | None:
    return CHOICE.read_text() if CHOICE.exists() else None


def _require(flavour: str) -> None:
    checks = {"kind": kind.require_engine, "embedded": embedded.require_root, "current": _require_kubeconfig}
    checks[flavour]()


def _remember(flavour: str) -> None:
    CHOICE.parent.mkdir(parents=True, exist_ok=True)
    CHOICE.write_text(flavour)


def build(image: images.Image) -> str:
    """Build an image for the present flavour; where it lies or what it is called."""
    return kind.build(image) if _flavour() == "kind" else str(images.build(image))


def load(image: images.Image) -> None:
    """Put an image into the cluster."""
    flavour = _flavour()
    if flavour == "current":
        raise ClusterError(TAKES_NO_FILES)
    if chosen() is None:
        raise ClusterError("there is no cluster to load images into: `up` first")
    (kind if flavour == "kind" else embedded).load(image)


def status() -> tuple[list[str], bool]:
    """What runs, a line each, and whether it is whole."""
    if chosen() != "embedded":
        return [f"flavour: {chosen() or 'none, `up` makes one'}"], chosen() is not None
    records = processes.recorded(FULL.pids)
    lines = [
        f"{'up' if processes.alive(record) else 'DEAD':4}  {record.name} ({record.pid})" for record in records
    ]
    return [*lines, f"kubeconfig  {FULL.kubeconfig}", f"audit log   {FULL.audit_log}"], embedded.running()


def _choose(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    return chosen() or ("kind" if kind.available() else "embedded")


def _flavour() -> str:
    return _choose("auto")


def _require_kubeconfig() -> None:
    if not _own_kubeconfig().exists():
        raise ClusterError(
            f"--cluster=current: there is no kubeconfig at {_own_kubeconfig()}; set KUBECONFIG"
        )


def _own_kubeconfig() -> Path:
    return Path(os.environ.get("KUBECONFIG", "~/.kube/config").split(":")[0]).expanduser()


def _adopt_current(wanted: Sequence[images.Image]) -> list[str]:
    if wanted:
        raise ClusterError(TAKES_NO_FILES)
    tools.install()
    FULL.kubeconfig.touch(mode=0o600)
    if _own_kubeconfig().resolve() != FULL.kubeconfig:
        FULL.kubeconfig.write_text(_own_kubeconfig().read_text())
    kubectl.run(FULL.kubeconfig, "version")
    return []


def _leave_current() -> None:
    shutil.rmtree(FULL.state, ignore_errors=True)
