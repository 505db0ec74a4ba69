# SPDX-License-Identifier: Apache-2.0
"""The feature store: how features are packed, read, written and served (docs/contract-features.md)."""
