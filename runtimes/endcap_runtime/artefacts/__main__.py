# SPDX-License-Identifier: Apache-2.0
"""The init container of a model pod: the artefact is in place and checked before the server starts.

What keeps it from its work is said twice: to people in the log, and in the container's termination message
for the operator, which turns it into the resource's condition.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from endcap_runtime.artefacts.errors import ArtefactError, invalid
from endcap_runtime.artefacts.fetching import Fetched, fetch
from endcap_runtime.artefacts.policy import Policy, Source

_log = logging.getLogger("endcap.artefacts")
_LONGEST_MESSAGE = 1000


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {"time": time, "level": record.levelname.lower(), "message": record.getMessage()}
        return json.dumps({**fields, **getattr(record, "fields", {})})


def source_from(environment: Mapping[str, str]) -> Source:
    """The artefact that ENDCAP_MODEL_CONFIG names."""
    try:
        artefact = json.loads(environment["ENDCAP_MODEL_CONFIG"])["artefact"]
        return Source(
            uri=artefact["uri"],
            sha256=artefact["sha256"],
            secret=artefact.get("secret"),
            allow_pickle=artefact.get("allowPickle", False) is True,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise invalid(f"ENDCAP_MODEL_CONFIG does not name an artefact: {error}") from error


def run(environment: Mapping[str, str]) -> Fetched:
    """Fetch what the environment describes to where it says."""
    into = Path(environment.get("ENDCAP_ARTEFACT_DIR", "/artefact"))
    return fetch(source_from(environment), into, Policy.from_environment(environment))


def main() -> int:
    """Exit status 0 with the artefact in place, or 1 with a termination message."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        fetched = run(os.environ)
    except ArtefactError as error:
        return _give_up(error.reason, error.message)
    _log.info("artefact in place", extra={"fields": {"sha256": fetched.sha256, "bytes": fetched.bytes}})
    return 0


def _give_up(reason: str, message: str) -> int:
    _log.error("no artefact", extra={"fields": {"reason": reason, "detail": message}})
    log = Path(os.environ.get("ENDCAP_TERMINATION_LOG", "/dev/termination-log"))
    log.write_text(json.dumps({"reason": reason, "message": message[:_LONGEST_MESSAGE]}), encoding="utf-8")
    return 1


if __name__ == "__main__":
    sys.exit(main())
