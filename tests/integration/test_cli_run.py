# SPDX-License-Identifier: Apache-2.0
"""`endcap run`: real servers of real resources on loopback, brought up, edited, broken and ended."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from builders import changed, column, resource

from endcap_cli.packing import pack

PATIENCE = 60.0
SERVED = """
def load(directory):
    best = (directory / "best.txt").read_text().split()

    def predict(columns):
        rows = len(columns["cart"])
        return {"item": [best] * rows, "score": [[1.0 / (n + 1) for n in range(len(best))]] * rows}

    return predict
"""
BROKEN = """
def load(directory):
    raise RuntimeError("no such table")
"""


def stored(store: Path, key: str, write: Callable[[Path], object]) -> dict[str, str]:
    """The URI and the digest of a file that `write` puts into the store."""
    path = store / "models" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    return {"uri": f"s3://models/{key}", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def packed(source: Path, best: str, module: str = SERVED) -> Callable[[Path], object]:
    source.mkdir(exist_ok=True)
    (source / "served.py").write_text(module)
    (source / "best.txt").write_text(best)
    return lambda path: pack(source, path)


def catalogue(path: Path) -> None:
    names = {"1": "Paper plates", "2": "Plastic cups", "3": "Candles"}
    table = {"id": list(names), "name": list(names.values()), "popularity": [0.1, 0.3, 0.2]}
    pq.write_table(pa.table(table), path)


def model(name: str, artefact: dict[str, str]) -> dict[str, Any]:
    spec = {
        "framework": "python",
        "model": {**artefact, "entryPoint": "served:load"},
        "inputs": [column("cart", "array", "product")],
        "outputs": [column("item", "array", "product"), column("score", "array", "number")],
    }
    return resource("ModelDeployment", name, spec)


class Folder:
    """A folder as a person writes it: two recall models, a catalogue, one graph, a request."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = path / "store"
        self.artefacts = 0
        self.models = {
            "together": model("together", self.artefact("3 2")),
            "popular": model("popular", self.artefact("2 1")),
        }
        self.graph = resource(
            "InferenceGraph", "basket", self._graph(stored(self.store, "items/1.parquet", catalogue))
        )
        (path / "request.json").write_text('{"cart": ["Paper plates"], "limit": 2}')
        self.write()

    def artefact(self, best: str, module: str = SERVED) -> dict[str, str]:
        self.artefacts += 1
        source = self.path / "source"
        return stored(self.store, f"recall/{self.artefacts}.tar.gz", packed(source, best, module))

    def _graph(self, items: dict[str, str]) -> dict[str, Any]:
        return {
            "api": {
                "path": "/basket",
                "request": {
                    "cart": {"type": "array", "items": {"type": "product"}},
                    "limit": {"type": "integer", "default": 2},
                },
            },
            "catalogue": {
                **items,
                "columns": [column("id", "string"), column("name", "string"), column("popularity")],
            },
            "deadline": "2s",
            "steps": [
                {"name": "together", "recall": {"model": "together"}},
                {"name": "popular", "recall": {"model": "popular"}},
                {"name": "rank", "rank": {"by": "candidate.together.score"}},
                {"name": "not-in-cart", "filter": {"drop": "candidate.name in request.cart"}},
                {"name": "top", "select": {"count": "request.limit"}},
            ],
            "fallback": [{"empty": {}}],
        }

    def write(self) -> None:
        (self.path / "models.yaml").write_text(yaml.safe_dump_all(self.models.values()))
        (self.path / "graph.yaml").write_text(yaml.safe_dump(self.graph))

    def change_graph(self, field: str, value: Any) -> None:
        self.graph = changed(self.graph, field, value)
        self.write()

    def change_model(self, name: str, field: str, value: Any) -> None:
        self.models[name] = changed(self.models[name], field, value)
        self.write()


class Run:
    """An `endcap run` in a process of its own."""

    def __init__(self, folder: Folder, scratch: Path, *arguments: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.said, self.printed = scratch / "said.txt", scratch / "printed.txt"
        environment = {**os.environ, "XDG_CACHE_HOME": str(scratch / "cache"), "TMPDIR": str(scratch)}
        environment = {k: v for k, v in environment.items() if not k.startswith("ENDCAP_")}
        command = [
            sys.executable,
            "-m",
            "endcap_cli",
            "run",
            str(folder.path),
            "--port",
            str(self.port),
            *arguments,
        ]
        with self.said.open("w") as said, self.printed.open("w") as printed:
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdout=printed,
                stderr=said,
                start_new_session=True,
            )

    def until_said(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = re.search(pattern, self.said.read_text())
            if found:
                return found
            assert self.process.poll() is None, self.said.read_text()
            time.sleep(0.05)
        raise AssertionError(f"{pattern!r} was not said:\n{self.said.read_text()}")

    def until_served(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        answer: dict[str, Any] = {}
        while time.monotonic() < deadline:
            answer = self.ask()
            if wanted(answer):
                return answer
            time.sleep(0.05)
        raise AssertionError(f"last answer {answer}:\n{self.said.read_text()}")

    def ask(self) -> dict[str, Any]:
        request = {"cart": ["Paper plates"]}
        answer = httpx.post(f"http://127.0.0.1:{self.port}/basket", json=request, timeout=10, trust_env=False)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def children(self) -> list[int]:
        return [pid for pid, parent in parents().items() if parent == self.process.pid]

    def until_children(self, number: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(self.children()) != number:
            assert time.monotonic() < deadline, self.said.read_text()
            time.sleep(0.05)

    def end(self, number: int = signal.SIGTERM) -> str:
        """What it printed on standard output."""
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        return self.printed.read_text()


def parents() -> dict[int, int]:
    """The parent of every process that is not a zombie."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(") ")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            found[int(stat.parent.name)] = int(parent)
    return found


def products(answer: dict[str, Any]) -> list[str]:
    return [one["product"] for one in answer["recommendations"]]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "basket"
    path.mkdir()
    return Folder(path)


@pytest.fixture
def start(folder: Folder, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def begin(*arguments: str) -> Run:
        runs.append(Run(folder, tmp_path, *arguments))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.end()


def test_once_sends_the_request_prints_the_answer_and_leaves_nothing(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    run = start("--once")
    assert run.process.wait(PATIENCE) == 0, run.said.read_text()
    assert products(yaml.safe_load(run.printed.read_text())) == ["Candles", "Plastic cups"]
    assert re.search(r"model together@1 +ready +artefact [\d.]+ s, server [\d.]+ s", run.said.read_text())
    assert re.search(r"graph basket +ready +[\d.]+ s", run.said.read_text())
    assert run.children() == []
    assert not list(tmp_path.glob("endcap-run-*"))


def test_edits_are_served_without_a_restart_and_bad_ones_change_nothing(
    start: Callable[..., Run], folder: Folder
) -> None:
    run = start()
    run.until_said("edits of the YAML files are followed")
    assert products(run.ask()) == ["Candles", "Plastic cups"]
    before = set(run.children())

    folder.change_graph("spec.steps[4].select.count", "1")
    run.until_served(lambda answer: products(answer) == ["Candles"])
    assert set(run.children()) == before

    folder.change_graph("spec.steps[4].select.count", "request.lim")
    run.until_said(r"graph.yaml:\d+: InferenceGraph/basket: spec.steps\[4\].select.count: .*request.limit")
    run.until_said("not followed: what was served before is served on")
    assert products(run.ask()) == ["Candles"]
    folder.change_graph("spec.steps[4].select.count", "request.limit")

    folder.change_model("together", "spec.model.uri", (new := folder.artefact("2 3"))["uri"])
    run.until_said("model together: DigestMismatch: .*; the version before it serves on")
    assert run.ask()["served_by"]["together"] == "together@1"

    folder.change_model("together", "spec.model.sha256", new["sha256"])
    answer = run.until_served(lambda one: one["served_by"]["together"] == "together@3")
    assert products(answer) == ["Plastic cups", "Candles"]
    run.until_children(len(before))

    folder.change_model(
        "together", "spec.model", {**folder.artefact("1", BROKEN), "entryPoint": "served:load"}
    )
    run.until_said("model together: ModelLoadFailed: .*no such table.*; the version before it serves on")
    assert run.ask()["served_by"]["together"] == "together@3"
    run.until_children(len(before))

    children = run.children()
    out = run.end(signal.SIGINT)
    assert run.process.returncode == 0
    assert f"basket on http://127.0.0.1:{run.port}/basket" in out
    assert f"curl -s http://127.0.0.1:{run.port}/basket -H 'content-type: application/json' -d @" in out
    assert not set(children) & set(parents())


def test_a_model_that_dies_degrades_and_is_started_again(start: Callable[..., Run]) -> None:
    run = start()
    run.until_said("edits of the YAML files are followed")
    assert run.ask()["degraded"] == []
    victim = next(pid for pid in run.children() if b"together" in Path(f"/proc/{pid}/environ").read_bytes())
    os.kill(victim, signal.SIGKILL)
    run.until_served(lambda answer: answer["degraded"] != [])
    run.until_said("model together: ended with status -9: .*; starting it again")
    answer = run.until_served(lambda one: one["degraded"] == [])
    assert products(answer) == ["Candles", "Plastic cups"]


def test_a_model_that_cannot_start_ends_the_run_with_its_reason(
    start: Callable[..., Run], folder: Folder, tmp_path: Path
) -> None:
    folder.change_model("popular", "spec.model.sha256", "0" * 64)
    run = start()
    run.process.wait(PATIENCE)
    said = run.said.read_text()
    assert run.process.returncode == 1
    assert said.splitlines()[-1].startswith("endcap: model popular: DigestMismatch: ")
    assert "Traceback" not in said
    assert run.children() == []
    assert f"logs are in {tmp_path}/endcap-run-" in said


def test_problems_are_told_before_anything_starts(start: Callable[..., Run], folder: Folder) -> None:
    del folder.models["popular"]
    folder.change_graph("spec.steps[0].recall.inputs", {"basket": "request.cart"})
    run = start()
    run.process.wait(PATIENCE)
    said = run.said.read_text()
    assert run.process.returncode == 1
    assert "no ModelDeployment popular in these files: add it" in said
    assert "spec.steps[0].recall.inputs.basket: together has no such input: use one of cart" in said
    assert said.endswith("endcap: 2 problems: nothing was done\n")
    assert "starting" not in said


def test_a_port_in_use_is_said_with_the_remedy(start: Callable[..., Run], folder: Folder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = start("--port", str(taken.getsockname()[1]))
        run.process.wait(PATIENCE)
    assert run.process.returncode == 1
    assert "is in use: give another with --port" in run.said.read_text()


def test_an_end_while_things_start_leaves_nothing(start: Callable[..., Run]) -> None:
    run = start()
    run.until_said("starting 2 models and 1 graph")
    run.end()
    assert run.process.returncode == 0
    assert run.children() == []
