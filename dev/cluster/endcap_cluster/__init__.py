# SPDX-License-Identifier: Apache-2.0
"""A real one-node Kubernetes for developers and CI, where Docker runs and where it does not.

A developer's tool: it is not part of the wheel, and needs nothing but the standard library and PyYAML.
"""
