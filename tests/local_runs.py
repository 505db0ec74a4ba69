# SPDX-License-Identifier: Apache-2.0
"""A small folder of resources as a person writes it, and `endcap run` on it in a process of its own."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
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
            "/usr/bin/env",  # also for a test that takes PATH away
            "--default-signal=HUP",  # who runs the tests under nohup hands down that it is ignored
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
