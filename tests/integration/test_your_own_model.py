# SPDX-License-Identifier: Apache-2.0
"""The page for a first model of one's own, typed off: its files, its commands, its answer."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs/your-own-model.md").read_text(encoding="utf-8")
PATIENCE = 120.0
FILES = re.findall(r"^`([\w./]+)`\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PREPARE, RUN, ASK = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(ANSWER,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def environment(folder: Path) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("ENDCAP_")}
    found = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    return own | {"PATH": found, "XDG_CACHE_HOME": str(folder / ".cache"), "TMPDIR": str(folder.parent)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the page, and what its first commands do."""
    folder = tmp_path / "coffee"
    for name, text in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    prepared = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", PREPARE],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert prepared.returncode == 0, prepared.stdout + prepared.stderr
    return folder


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    """Where `endcap run` of the page answers; the port is another than 8080, which may be taken."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free: int = probe.getsockname()[1]
    log = folder.parent / "run.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*RUN.split(), "--port", str(free)],
            cwd=folder,
            env=environment(folder),
            stdout=said,
            stderr=said,
        )
        try:
            until_up(process, log)
            yield free
        finally:
            process.terminate()
            process.wait(PATIENCE)


def until_up(process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while "edits of the YAML files are followed" not in log.read_text(encoding="utf-8"):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < end, log.read_text(encoding="utf-8")
        time.sleep(0.1)


def asked(port: int) -> dict[str, Any]:
    """The answer to the page's curl; asked anew while a busy machine makes a step too late."""
    command = ASK.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("curl ", "curl --noproxy '*' ")
    answer: dict[str, Any] = {}
    for _ in range(20):
        said = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, check=True, timeout=PATIENCE
        )
        answer = json.loads(said.stdout)
        if answer.get("degraded") == []:
            break
    return answer


def test_the_page_leads_to_the_answer_that_it_shows(port: int) -> None:
    answer = asked(port)
    assert {name for name in answer if name in ("request_id", "took_ms")} == {"request_id", "took_ms"}
    shown = {name: value for name, value in answer.items() if name not in ("request_id", "took_ms")}
    assert shown == json.loads(ANSWER), json.dumps(shown, indent=1)
