# SPDX-License-Identifier: Apache-2.0
"""Pure builders, one module a kind of child: what a resource is made into."""
