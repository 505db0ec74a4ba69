# SPDX-License-Identifier: Apache-2.0
"""`endcap run`: real servers of real resources on loopback, brought up, edited, broken and ended."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from local_runs import BROKEN, PATIENCE, Folder, Run, parents, products


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
    run.until_said("the files are sound again, and followed")
    (folder.path / "graph.yaml").unlink()
    run.until_said("no sound InferenceGraph is left in its files\nnot followed")
    folder.write()
    run.until_said(r"(?s)(the files are sound again.*){2}")

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
    died = r"model together: killed by signal 9 \(out of memory\?\); its log is (\S+); starting it again\n"
    assert Path(run.until_said(died)[1]).is_file()
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
    said = run.said.read_text()
    assert "is in use: give another with --port" in said
    assert "ready" not in said  # nothing was started for nothing


def test_an_end_while_things_start_leaves_nothing(start: Callable[..., Run]) -> None:
    run = start()
    run.until_said("starting 2 models and 1 graph")
    run.end()
    assert run.process.returncode == 0
    assert run.children() == []


def test_a_terminal_that_goes_ends_everything(start: Callable[..., Run]) -> None:
    run = start()
    run.until_said("edits of the YAML files are followed")
    children = run.children()
    run.end(signal.SIGHUP)
    assert run.process.returncode == 0
    assert not set(children) & set(parents())


def test_servers_do_not_outlive_a_run_that_is_killed(start: Callable[..., Run]) -> None:
    run = start()
    run.until_said("edits of the YAML files are followed")
    children = set(run.children())
    assert len(children) == 3
    run.end(signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while children & set(parents()):
        assert time.monotonic() < deadline, "servers were left behind"
        time.sleep(0.05)
