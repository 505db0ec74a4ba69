# SPDX-License-Identifier: Apache-2.0
"""A view compiled: its keys, how a state is packed, and what an event or a row does to one. Pure."""

from endcap_runtime.features.layout.faults import InvalidEntity, InvalidEvent, InvalidRow, InvalidView
from endcap_runtime.features.layout.updates import Event, Update
from endcap_runtime.features.layout.view import View, compile_view
from endcap_runtime.features.statuses import Status
from endcap_runtime.features.windows import Evaluated

__all__ = [
    "Evaluated",
    "Event",
    "InvalidEntity",
    "InvalidEvent",
    "InvalidRow",
    "InvalidView",
    "Status",
    "Update",
    "View",
    "compile_view",
]
