# SPDX-License-Identifier: Apache-2.0
"""Asks the variants of a shadow after the answer has been sent, as the step was asked before it.

Whatever they say or do stays here: they get a copy of the request, and what comes of it is figures alone. So many may
be asked at once and no more, so that a shadow that hangs costs a count and not a queue.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic

from endcap_runtime.graph.failures import StepFailed
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.query import Note, Query
from endcap_runtime.graph.shadow.form import Shadowed, ShadowForm
from endcap_runtime.graph.shadow.tally import Tally
from endcap_runtime.graph.upstream import Call

log = logging.getLogger("endcap.graph")

MOST = 8


class Shadows:
    """All shadows of a process; `most` are asked at a time."""

    def __init__(self, metrics: GraphMetrics, most: int = MOST) -> None:
        self._metrics, self._most = metrics, most
        self._asking: set[asyncio.Task[None]] = set()

    def ask(self, form: ShadowForm, query: Query) -> None:
        """Returns at once; `query` is one that has been answered."""
        for name, shadowed in form.asked(query):
            for variant in shadowed.variants:
                tally = Tally(self._metrics, form.graph, name, shadowed.identity, variant)
                if len(self._asking) >= self._most:
                    tally.dropped()
                else:
                    self._start(shadowed, query, tally)

    def _start(self, shadowed: Shadowed, query: Query, tally: Tally) -> None:
        task = asyncio.create_task(_asked(shadowed, query, tally))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def aclose(self) -> None:
        """Ends what is under way: nobody waits for it."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)


async def _asked(shadowed: Shadowed, query: Query, tally: Tally) -> None:
    try:
        await _compared(shadowed, query, tally)
    except StepFailed:
        tally.failed()
    except Exception:
        tally.failed()
        log.exception("A shadow could not be compared")


async def _compared(shadowed: Shadowed, query: Query, tally: Tally) -> None:
    overlaid = query.notes[shadowed.step].overlaid
    if overlaid is None:
        return
    before, after = overlaid
    start = monotonic()
    aside = before.apart(Call(start + shadowed.seconds, before.call.request_id, before.call.traceparent))
    aside.notes[shadowed.step] = Note()
    done = await shadowed.variants[tally.variant](aside)
    tally.compared(shadowed.compare(after, done), monotonic() - start)
