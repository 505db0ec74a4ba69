# SPDX-License-Identifier: Apache-2.0
"""`python -m endcap_runtime.features.ingest`: takes events and rows, and works on the stream of one store.

Environment: docs/contract-features.md.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

from endcap_runtime.features.ingest.build import build
from endcap_runtime.observability import logs
from endcap_runtime.server import Binding, serve, writable_home

log = logging.getLogger("endcap.ingest")


def main(environ: Mapping[str, str]) -> int:
    """Serves until SIGTERM."""
    logs.configure()
    writable_home()
    built = build(environ)
    log.info("Starting", extra={"directory": environ.get("ENDCAP_FEATURES_DIR", "")})
    serve(built.app, Binding.of(environ), built.lifecycle)
    log.info("Stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
