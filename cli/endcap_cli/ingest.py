# SPDX-License-Identifier: Apache-2.0
"""The ingest pods of a feature store, as a command reaches them."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from endcap_cli.feature_arguments import LOCAL_URL
from endcap_cli.terminal import CommandError

TIMEOUT_SECONDS = 60.0
PATIENCE_SECONDS = 120.0
SHORTEST_WAIT, LONGEST_WAIT = 0.1, 30.0
URL = "ENDCAP_INGEST_URL"
JSON = "application/json"
FAILURES = 400
RETRIED = (429, 503)


@dataclass(frozen=True)
class Answer:
    """`headers` have names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """What it says, or nothing where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}


Send = Callable[[str, str, Mapping[str, str], bytes | None], Answer]


class Refused(CommandError):
    """The server's own words, and what it said of single rows or events."""

    def __init__(self, answer: Answer, place: str) -> None:
        super().__init__(f"{place}: {_words(answer)}")
        self.answer = answer

    @property
    def errors(self) -> list[dict[str, Any]]:
        found = self.answer.json
        errors = found.get("errors") if isinstance(found, dict) else None
        return errors if isinstance(errors, list) else []


@dataclass(frozen=True)
class Ingest:
    """`place` is where they are, for a person; every call raises Refused, or CommandError where nothing answers."""

    place: str
    send: Send

    def get(self, path: str, **parameters: Any) -> Any:
        query = urlencode({name: value for name, value in parameters.items() if value is not None})
        return self._checked(self.send("GET", f"{path}?{query}" if query else path, {}, None)).json

    def post(self, path: str, value: Any) -> Any:
        return self._checked(self.post_bytes(path, JSON, json.dumps(value).encode())).json

    def post_bytes(self, path: str, content_type: str, body: bytes) -> Answer:
        """As it was answered, whatever the status."""
        return self.send("POST", path, {"content-type": content_type, "accept": JSON}, body)

    def insist(self, path: str, content_type: str, body: bytes) -> Answer:
        """As `post_bytes`, but when the store asks to wait, or is away, we wait and ask again for a while."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = self.post_bytes(path, content_type, body)
            if answer.status not in RETRIED or time.monotonic() > deadline:
                return answer
            time.sleep(_retry_after(answer))

    def _checked(self, answer: Answer) -> Answer:
        if answer.status >= FAILURES:
            raise Refused(answer, self.place)
        return answer


def _retry_after(answer: Answer) -> float:
    """Seconds, within reason."""
    try:
        return min(LONGEST_WAIT, max(SHORTEST_WAIT, float(answer.headers.get("retry-after", 1))))
    except ValueError:
        return 1.0


@contextmanager
def ingest_of(arguments: argparse.Namespace) -> Iterator[Ingest]:
    """Those that the options, ENDCAP_INGEST_URL or the kubeconfig name; see feature_arguments."""
    url = url_of(arguments)
    if url:
        with httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            yield Ingest(url, _direct(client, url))
        return
    # The client of Kubernetes takes as long to load as everything else together.
    from endcap_cli.cluster_ingest import ingest_in_cluster  # noqa: PLC0415

    with ingest_in_cluster(arguments) as ingest:
        yield ingest


def url_of(arguments: argparse.Namespace) -> str | None:
    """Where the store is said to be; None where it is that of a cluster."""
    if arguments.local:
        return LOCAL_URL
    url = arguments.url or (None if arguments.kubeconfig or arguments.context else os.environ.get(URL))
    if url and not url.startswith(("http://", "https://")):
        raise CommandError(f"{url!r} is no URL: write http://host:port, as endcap run prints it", status=2)
    return url.rstrip("/") if url else None


def _direct(client: httpx.Client, url: str) -> Send:
    def send(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        try:
            answer = client.request(method, path, headers=dict(headers), content=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            remedy = "start endcap run on a folder with a FeatureStore, or give another address with --url"
            raise CommandError(f"{url} does not answer ({error}): {remedy}") from None
        return Answer(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content)

    return send


def _words(answer: Answer) -> str:
    """A problem's detail with what it says of single fields; else the body, which is not ours."""
    found = answer.json
    if not isinstance(found, dict) or not (found.get("detail") or found.get("title")):
        return f"answered {answer.status}: {answer.body[:200].decode(errors='replace')}"
    errors = [f"{one.get('field', '')}: {one.get('message', '')}" for one in found.get("errors") or ()]
    detail = str(found.get("detail") or found["title"])
    return f"{detail.removesuffix('.')}: {'; '.join(errors[:5])}" if errors else detail
