# SPDX-License-Identifier: Apache-2.0
"""`python -m endcap_runtime.graph`: serves one graph and follows its configuration.

Environment: docs/contracts.md.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

# A pod has a share of the node's cores, and numeric libraries would start a thread for each of them.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from endcap_runtime.graph.service import build  # noqa: E402 (after the environment that numpy reads)
from endcap_runtime.observability import logs  # noqa: E402
from endcap_runtime.server import Binding, serve, writable_home  # noqa: E402

log = logging.getLogger("endcap.graph")


def main(environ: Mapping[str, str]) -> int:
    """Serves until SIGTERM."""
    logs.configure()
    writable_home()
    built = build(environ)
    log.info("Starting", extra={"directory": environ.get("ENDCAP_GRAPH_DIR", "")})
    serve(built.app, Binding.of(environ), built.lifecycle)
    log.info("Stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
