# SPDX-License-Identifier: Apache-2.0
"""The data plane: what runs in the pods. It meets the control plane only in `endcap_api`."""

import os

# A pod has a share of the node's cores, but numeric libraries start a thread for each core that they see; they
# read this when they are first imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
