# SPDX-License-Identifier: Apache-2.0
"""The data plane: what runs in the pods. It meets the control plane only in `endcap_api`."""
