# SPDX-License-Identifier: Apache-2.0
"""Bundles of features by entity: compiled once, read with one MGET a request, whatever becomes of the store."""

from endcap_runtime.features.layout import Status
from endcap_runtime.features.lookup.bundles import Bundle
from endcap_runtime.features.lookup.compiled import Compiled, InvalidFeatures, compile_features
from endcap_runtime.features.lookup.entities import InvalidKeys
from endcap_runtime.features.lookup.found import Found
from endcap_runtime.features.lookup.lookups import Lookups, StoreRequired, Wanted

__all__ = [
    "Bundle",
    "Compiled",
    "Found",
    "InvalidFeatures",
    "InvalidKeys",
    "Lookups",
    "Status",
    "StoreRequired",
    "Wanted",
    "compile_features",
]
