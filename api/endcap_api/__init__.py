# SPDX-License-Identifier: Apache-2.0
"""The contract that the control plane and the data plane share, and the only place where they meet."""
