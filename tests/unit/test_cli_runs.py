# SPDX-License-Identifier: Apache-2.0
"""What runs tell other commands: found by name, apart by port, and gone with their process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import graph
from experiments import condition, experiment, running

from endcap_cli import runs
from endcap_cli.__main__ import main
from endcap_cli.terminal import CommandError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "endcap" / "runs"


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of ours that lives until it is told to end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def told(name: str = "ranker-v2") -> dict[str, Any]:
    return {
        "namespace": "default",
        "name": name,
        "uid": "u",
        "spec": experiment(name)["spec"],
        "status": running(recommendation="kubectl patch …"),
        "data": {},
        "graph": graph()["spec"],
        "served": None,
    }


def test_an_experiment_is_found_by_its_name_until_the_run_ends() -> None:
    runs.publish(8080, [told()])
    assert runs.published("ranker-v2", None)["uid"] == "u"
    assert runs.published("ranker-v2", 8080)["uid"] == "u"
    runs.withdraw()
    with pytest.raises(CommandError, match="no endcap run with experiments: start one"):
        runs.published("ranker-v2", None)


def test_another_name_or_port_says_what_there_is() -> None:
    runs.publish(8080, [told(), told("recall-v2")])
    with pytest.raises(
        CommandError, match="no endcap run has an experiment ranker: there is ranker-v2, recall-v2"
    ):
        runs.published("ranker", None)
    with pytest.raises(CommandError, match="no endcap run on port 8081 with experiments"):
        runs.published("ranker-v2", 8081)


def test_of_two_runs_one_is_chosen_by_its_port(cache: Path, other: subprocess.Popen[bytes]) -> None:
    runs.publish(8080, [told()])
    theirs = {"port": 9090, "experiments": [{**told(), "uid": "theirs"}]}
    (cache / f"{other.pid}.json").write_text(json.dumps(theirs))
    with pytest.raises(
        CommandError, match="several runs have an experiment ranker-v2: choose with --port"
    ) as both:
        runs.published("ranker-v2", None)
    assert both.value.status == 2
    assert runs.published("ranker-v2", 9090)["uid"] == "theirs"


def test_what_a_killed_run_left_is_no_run(cache: Path, other: subprocess.Popen[bytes]) -> None:
    cache.mkdir(parents=True)
    left = cache / f"{other.pid}.json"
    left.write_text(json.dumps({"port": 8080, "experiments": [told()]}))
    other.kill()
    other.wait()
    with pytest.raises(CommandError, match="no endcap run with experiments"):
        runs.published("ranker-v2", None)
    assert not left.exists()


def test_commands_read_of_a_run_what_they_read_of_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.publish(8080, [told()])
    assert main(["experiment", "status", "ranker-v2", "--local"]) == 0
    shown = capsys.readouterr().out
    assert "ranker-v2: Running" in shown
    assert "in a run, make the same edit in the YAML" in shown
    page = tmp_path / "report.html"
    assert main(["experiment", "report", "ranker-v2", "--local", "-o", str(page)]) == 0
    assert "24,081" in page.read_text()
    assert main(["experiment", "assign", "ranker-v2", "--local", "1", "--port", "8080", "2"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-2:]] == ["1", "2"]
    assert main(["experiment", "export", "ranker-v2", "--local"]) == 0
    assert "7000-10000" in capsys.readouterr().out


def test_a_report_of_a_file_has_no_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "e.yaml").write_text(json.dumps(experiment()))
    words = ["experiment", "report", str(tmp_path / "e.yaml"), "-o", str(tmp_path / "report.html")]
    assert main(words) == 2
    assert "a file has no figures" in capsys.readouterr().err


def test_a_watch_shows_each_change_and_ends_with_the_experiment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    phases = iter(["Running", "Running", "AwaitingApproval", "Promoted"])

    def pass_time(_: float = 0) -> None:
        runs.publish(8080, [{**told(), "status": running(phase=next(phases))}])

    monkeypatch.setattr("endcap_cli.experiment.status.time.sleep", pass_time)
    pass_time()
    assert main(["experiment", "status", "ranker-v2", "--local", "--watch"]) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if "Test of step" in line]
    assert [line.split(": ")[1].split(".")[0] for line in shown] == [
        "Running",
        "AwaitingApproval",
        "Promoted",
    ]


def test_a_wait_ends_where_there_will_be_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    amiss = running(conditions=[condition("SampleRatioHealthy", "False", "12,031 and 9,050 units")])
    runs.publish(8080, [{**told(), "status": amiss}])
    assert main(["experiment", "status", "ranker-v2", "--local", "--wait"]) == 1
    assert "No verdict, now or later" in capsys.readouterr().out


def test_a_timeout_without_anything_to_wait_for_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "status", "ranker-v2", "--local", "--timeout", "5"]) == 2
    assert "--timeout goes with --wait and --watch" in capsys.readouterr().err
