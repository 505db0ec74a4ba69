# SPDX-License-Identifier: Apache-2.0
"""Histories put into the streams of a store as if they had arrived when they say."""

from __future__ import annotations

import json
from typing import Any

from experiment_histories import History
from experiment_shop import UNIT_KEY
from ingest_servers import PREFIX

from endcap_runtime.features.experiments.exposures import kept

EVENTS, EXPOSURES = f"{PREFIX}:events", f"{PREFIX}:exposures"


def enqueue(client: Any, drawn: History, parts: int = 1) -> None:
    """Of several parts, events and exposures by turns."""
    for part in range(parts):
        for stream, all_that_came in ((EVENTS, drawn.events), (EXPOSURES, drawn.exposures)):
            size = -(-len(all_that_came) // parts)
            for number, came in enumerate(all_that_came[part * size : (part + 1) * size]):
                value = came.value if stream == EVENTS else kept(came.value, UNIT_KEY.encode())
                client.xadd(stream, {"e": json.dumps(value)}, id=f"{came.arrival}-{part * size + number + 1}")


def begin_anew(client: Any) -> None:
    """Nothing is counted, and the streams stand at their beginning: the next history may begin at the same time."""
    if keys := list(client.scan_iter(f"{PREFIX}:exp:*", count=10_000)):
        client.delete(*keys)
    with client.pipeline() as transaction:
        for stream in (EVENTS, EXPOSURES):
            transaction.xtrim(stream, maxlen=0, approximate=False)
            transaction.execute_command("XSETID", stream, "0-1", "ENTRIESADDED", 0, "MAXDELETEDID", "0-0")
            transaction.xgroup_setid(stream, "endcap", 0)
        transaction.execute()
