# SPDX-License-Identifier: Apache-2.0
"""The control plane: resources in, children and status out."""
