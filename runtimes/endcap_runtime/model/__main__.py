# SPDX-License-Identifier: Apache-2.0
"""`python -m endcap_runtime.model`: loads one model and serves it; says why when it cannot.

Environment: docs/contracts.md.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from endcap_api.runtime_config import ModelConfig
from endcap_runtime.graph.sidecar import SOCKET
from endcap_runtime.model.front import Limits
from endcap_runtime.model.service import build
from endcap_runtime.observability import logs
from endcap_runtime.server import Binding, serve, writable_home
from endcap_runtime.termination import StartFailed, report

log = logging.getLogger("endcap.model")


def main(environ: Mapping[str, str]) -> int:
    """Serves until SIGTERM; 1 when the model cannot be loaded."""
    logs.configure()
    writable_home()
    try:
        built = build(
            _config(environ),
            Path(environ.get("ENDCAP_ARTEFACT_DIR", "/artefact")),
            _limits(environ),
            environ.get("ENDCAP_FEATURES_SOCKET", SOCKET),
        )
    except StartFailed as failed:
        log.exception("The model cannot be served", extra={"reason": failed.reason})
        report(failed.reason, failed.message, environ)
        return 1
    log.info("Serving", extra={"model": built.label, "revision": built.revision})
    serve(built.app, Binding.of(environ), built.lifecycle)
    log.info("Stopped")
    return 0


def _config(environ: Mapping[str, str]) -> ModelConfig:
    try:
        return ModelConfig.model_validate_json(environ["ENDCAP_MODEL_CONFIG"])
    except KeyError as error:
        raise StartFailed("ModelLoadFailed", "ENDCAP_MODEL_CONFIG is not set") from error
    except ValidationError as error:
        raise StartFailed("ModelLoadFailed", f"ENDCAP_MODEL_CONFIG is not valid: {error}") from error


def _limits(environ: Mapping[str, str]) -> Limits:
    default = Limits()
    return Limits(
        body=int(environ.get("ENDCAP_MAX_BODY_BYTES", default.body)),
        in_flight=int(environ.get("ENDCAP_MAX_IN_FLIGHT", default.in_flight)),
    )


if __name__ == "__main__":
    sys.exit(main(os.environ))
