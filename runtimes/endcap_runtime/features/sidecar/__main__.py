# SPDX-License-Identifier: Apache-2.0
"""`python -m endcap_runtime.features.sidecar`: answers lookups on a UNIX socket until SIGTERM.

Environment: docs/contract-features.md.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

# A pod has a share of the node's cores, and numeric libraries would start a thread for each of them.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import uvloop  # noqa: E402 (after the environment that numpy reads)

from endcap_runtime.features.sidecar.serving import Settings, serve  # noqa: E402
from endcap_runtime.observability import logs  # noqa: E402

log = logging.getLogger("endcap.features")


def main(environ: Mapping[str, str]) -> int:
    """Serves until SIGTERM, and then until nobody is connected any more."""
    logs.configure()
    settings = Settings.of(environ)
    log.info("Starting", extra={"directory": str(settings.directory)})
    uvloop.run(serve(settings))
    log.info("Stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
