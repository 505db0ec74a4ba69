# SPDX-License-Identifier: Apache-2.0
"""Packed states of many entities and a time, into values, statuses and effective windows: pure, and numpy only.

This is what a lookup spends its time on, so all that can be known before is compiled into `EventLog`, `Ring` and `Row`.
"""

from endcap_runtime.features.windows.evaluated import Cell, Evaluated
from endcap_runtime.features.windows.logs import EventLog, LogColumn
from endcap_runtime.features.windows.rings import Place, Ring, RingColumn, Tier
from endcap_runtime.features.windows.rows import Row, RowColumn

__all__ = [
    "Cell",
    "Evaluated",
    "EventLog",
    "LogColumn",
    "Place",
    "Ring",
    "RingColumn",
    "Row",
    "RowColumn",
    "Tier",
]
