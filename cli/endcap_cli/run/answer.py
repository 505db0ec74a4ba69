# SPDX-License-Identifier: Apache-2.0
"""The example request of a folder: sent, or shown as a command that sends it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import httpx

from endcap_cli.terminal import CommandError, say_lines

REQUEST = "request.json"
JSON = "application/json"
TIMEOUT_SECONDS = 30.0


def curl(url: str, request: Path) -> str:
    header = shlex.quote(f"content-type: {JSON}")
    return f"curl -s {url} -H {header} -d @{shlex.quote(str(request))}"


def ask(url: str, request: Path) -> None:
    """Print the answer to the request; raises CommandError unless it is 200."""
    content = request.read_bytes()
    try:
        answer = httpx.post(
            url, content=content, headers={"content-type": JSON}, timeout=TIMEOUT_SECONDS, trust_env=False
        )
        shown = json.dumps(answer.json(), indent=2, ensure_ascii=False)
    except (httpx.HTTPError, ValueError) as error:
        raise CommandError(f"{url} did not answer: {error}") from None
    say_lines(shown)
    if answer.status_code != httpx.codes.OK:
        raise CommandError(f"{url} answered with status {answer.status_code}")
