# SPDX-License-Identifier: Apache-2.0
"""The command: arguments, the places on this machine, signals, and the loop that follows the files."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from endcap_cli import runs
from endcap_cli.examination import examine
from endcap_cli.manifests import SUFFIXES, load
from endcap_cli.run import answer
from endcap_cli.run.children import Children
from endcap_cli.run.environment import Places
from endcap_cli.run.local import Local
from endcap_cli.run.process import Stopped
from endcap_cli.run.stores import Stores
from endcap_cli.terminal import CommandError, complain, counted, say
from endcap_cli.validate import sound
from endcap_cli.workspace import Workspace

TICK_SECONDS = 0.25
INTERRUPTED = 130
NOT_FOLLOWED = "not followed: what was served before is served on"


def run(arguments: argparse.Namespace) -> int:
    directory: Path = arguments.directory
    if not directory.is_dir():
        raise CommandError(f"{directory} is no folder: give the one with the YAML files", status=2)
    if arguments.once:
        _request(directory)
    workspace = sound([str(directory)], local=True)
    if not workspace.graphs and not workspace.stores:
        raise CommandError(f"{directory} has no InferenceGraph and no FeatureStore to serve: add one")
    if arguments.once and len(workspace.graphs) != 1:
        raise CommandError(
            f"--once asks one graph, and here are {len(workspace.graphs)}: give a folder with one"
        )
    with _signals() as stopping, _scratch() as scratch, _sockets() as sockets:
        children = Children(
            Places(_store(arguments), runs.cache_home() / "artefacts", scratch, sockets), stopping
        )
        local = Local(children, Stores(children, arguments.events_port), arguments.port)
        try:
            return _serve(local, workspace, arguments)
        except Stopped:
            return INTERRUPTED if arguments.once else 0
        finally:
            runs.withdraw()
            children.take_down()


def _serve(local: Local, workspace: Workspace, arguments: argparse.Namespace) -> int:
    begun = time.monotonic()
    complain(f"starting {_told(workspace)}; logs are in {local.children.places.scratch} while it runs")
    local.bring_up(workspace)
    complain(f"up in {time.monotonic() - begun:.1f} s")
    if arguments.once:
        answer.ask(next(iter(local.graphs.values())).url, _request(arguments.directory))
        return 0
    _announce(local, arguments.directory)
    _follow(local, arguments.directory)
    complain("ending what was started")
    return 0


def _told(workspace: Workspace) -> str:
    stores = f"{counted(len(workspace.stores), 'store')}, " if workspace.stores else ""
    models = f"{counted(len(workspace.models), 'model')} and {counted(len(workspace.graphs), 'graph')}"
    tried = f", {counted(len(workspace.experiments), 'experiment')}" if workspace.experiments else ""
    return f"{stores}{models}{tried}"


def _request(directory: Path) -> Path:
    request = directory / answer.REQUEST
    if not request.is_file():
        raise CommandError(f"{request} does not exist: write the request that --once sends", status=2)
    return request


def _announce(local: Local, directory: Path) -> None:
    for graph in local.graphs.values():
        say(f"{graph.config.name} on {graph.url}   documentation {graph.child.url}/docs")
    for name in local.workspace.stores:
        say(f"{name.name} takes events on {local.stores.url(name)}/v1/events")
    request = directory / answer.REQUEST
    if request.is_file() and local.graphs:
        say(answer.curl(next(iter(local.graphs.values())).url, request))
    complain("edits of the YAML files are followed; Ctrl-C ends")


def _follow(local: Local, directory: Path) -> None:
    """Until somebody ends it."""
    seen, followed = _signature(directory), True
    while not local.children.stopping.wait(TICK_SECONDS):
        local.tend()
        now = _signature(directory)
        if now != seen:
            seen, before = now, followed
            followed = _reload(local, directory)
            if followed and not before:
                complain("the files are sound again, and followed")


def _signature(directory: Path) -> dict[str, tuple[int, int]] | None:
    """What changes when a YAML file is written, added or removed; None when it went while we looked."""
    found = {}
    try:
        for entry in os.scandir(directory):
            if entry.name.endswith(SUFFIXES) and entry.is_file():
                status = entry.stat()
                found[entry.name] = (status.st_mtime_ns, status.st_size)
    except OSError:
        return None
    return found


def _reload(local: Local, directory: Path) -> bool:
    """Whether the files say something that can be served."""
    try:
        workspace = examine(load([str(directory)]), local=True)
    except (CommandError, OSError) as error:
        complain(f"{error}; {NOT_FOLLOWED}")
        return False
    for finding in workspace.findings:
        complain(str(finding))
    if not workspace.findings and (workspace.graphs or workspace.stores):
        local.follow(workspace)
        return True
    if not workspace.graphs:
        complain(f"{directory}: no sound InferenceGraph is left in its files")
    complain(NOT_FOLLOWED)
    return False


def _store(arguments: argparse.Namespace) -> Path | None:
    """A folder that was asked for must exist; the default gives way to an S3 server."""
    if arguments.store and not arguments.store.is_dir():
        raise CommandError(f"{arguments.store} is no folder: push the artefacts there first", status=2)
    store: Path = arguments.store or arguments.directory / "store"
    if not store.is_dir() and os.environ.get("ENDCAP_S3_ENDPOINT"):
        return None
    return store.resolve()


@contextmanager
def _scratch() -> Iterator[Path]:
    """Logs and configurations; kept when something went wrong, because they tell what."""
    scratch = Path(tempfile.mkdtemp(prefix="endcap-run-"))
    try:
        yield scratch
    except CommandError:
        complain(f"logs are in {scratch}")
        raise
    shutil.rmtree(scratch)


@contextmanager
def _sockets() -> Iterator[Path]:
    """A folder with a short path whatever TMPDIR is, and for this user alone."""
    with tempfile.TemporaryDirectory(prefix="endcap-", dir="/tmp") as folder:
        yield Path(folder)


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """SIGINT, SIGTERM and SIGHUP (the terminal went) end the run in order; a second one changes nothing, since the
    end is near. A hang-up that nohup has told us to ignore stays ignored.
    """
    stopping = threading.Event()
    terminals = [number for number in (1, 2) if os.isatty(number)]

    def end(number: int, _: object) -> None:
        stopping.set()
        if number == signal.SIGHUP:
            _leave(terminals)

    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    handled = (signal.SIGINT, signal.SIGTERM, *(() if ignored else (signal.SIGHUP,)))
    before = [signal.signal(number, end) for number in handled]
    try:
        yield stopping
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)


def _leave(terminals: Iterable[int]) -> None:
    """Writing to a terminal that went would fail, and end the end."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for number in terminals:
        os.dup2(nothing, number)
    os.close(nothing)
