# SPDX-License-Identifier: Apache-2.0
"""`python -m endcap_cluster` (with dev/cluster on PYTHONPATH)."""

import sys

from endcap_cluster.cli import main

sys.exit(main(sys.argv[1:]))
