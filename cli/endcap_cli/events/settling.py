# SPDX-License-Identifier: Apache-2.0
"""Events that were accepted wait in the store until its ingest has applied them, and count only then."""

from __future__ import annotations

import time

from endcap_cli.ingest import RETRIED, Ingest, Refused

POLL_SECONDS = 0.1
BACKLOG = "/v1/views"


def still_waiting(ingest: Ingest, seconds: float) -> int:
    """0 as soon as no event of anybody waits; else how many do after so many seconds.

    Raises Refused where the store cannot be asked in all that time, or at all.
    """
    deadline = time.monotonic() + seconds
    while True:
        last = time.monotonic() >= deadline
        try:
            waiting = int(ingest.get(BACKLOG)["backlog"])
        except Refused as refused:
            if last or refused.answer.status not in RETRIED:
                raise
        else:
            if last or not waiting:
                return waiting
        time.sleep(POLL_SECONDS)
