# SPDX-License-Identifier: Apache-2.0
"""What the pods say about themselves: JSON logs and Prometheus metrics, the same in both servers."""
