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
from pathlib import Path

from pydantic import ValidationError

from endcap_api.runtime_config import ArtefactConfig
from endcap_runtime.artefacts.errors import ArtefactError, invalid
from endcap_runtime.artefacts.fetching import Fetched, fetch
from endcap_runtime.artefacts.policy import Policy, Source
from endcap_runtime.observability import logs
from endcap_runtime.termination import report

log = logging.getLogger("endcap.artefacts")


def source_from(environ: Mapping[str, str]) -> Source:
    """The artefact that ENDCAP_MODEL_CONFIG names."""
    try:
        config = ArtefactConfig.model_validate(json.loads(environ["ENDCAP_MODEL_CONFIG"])["artefact"])
    except KeyError as error:
        raise invalid(f"ENDCAP_MODEL_CONFIG is not set or names no artefact: {error} is missing") from error
    except (TypeError, ValueError, ValidationError) as error:
        raise invalid(f"ENDCAP_MODEL_CONFIG is not valid: {error}") from error
    return Source(config.uri, config.sha256, config.secret, config.allow_pickle)


def run(environ: Mapping[str, str]) -> Fetched:
    """Fetch what the environment describes to where it says."""
    into = Path(environ.get("ENDCAP_ARTEFACT_DIR", "/artefact"))
    return fetch(source_from(environ), into, Policy.from_environment(environ))


def main(environ: Mapping[str, str]) -> int:
    """Exit status 0 with the artefact in place, or 1 with a termination message."""
    logs.configure()
    try:
        fetched = run(environ)
    except ArtefactError as error:
        log.exception("The artefact is not in place", extra={"reason": error.reason.value})
        report(error.reason.value, error.message, environ)
        return 1
    log.info("The artefact is in place", extra={"sha256": fetched.sha256, "bytes": fetched.bytes})
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
