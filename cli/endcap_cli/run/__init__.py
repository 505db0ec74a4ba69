# SPDX-License-Identifier: Apache-2.0
"""`endcap run`: the same resources, served on this machine without a cluster."""
