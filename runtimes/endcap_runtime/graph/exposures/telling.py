# SPDX-License-Identifier: Apache-2.0
"""Tells the stores who met what, once a unit, experiment, phase and day; a store that is away holds up no other."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from endcap_runtime.features.experiments.units import fault_of
from endcap_runtime.graph.exposures.form import ExposureForm, Moment
from endcap_runtime.graph.exposures.ingest import Ingest
from endcap_runtime.graph.exposures.outbox import MOST, Exposure, Outbox
from endcap_runtime.graph.exposures.told import Told
from endcap_runtime.graph.query import Query

DAY_MS = 86_400_000
CLOSE_SECONDS = 3.0


class Passed(NamedTuple):
    """When a request came, in seconds of the monotonic clock, and how long it took."""

    arrived: float
    seconds: float

    @property
    def moment(self) -> Moment:
        """An exposure begins when its request came: a shopper may act on the answer before it is told here."""
        came = time.time() - (time.monotonic() - self.arrived)
        return Moment(int(came * 1000), self.seconds * 1000)


class Exposures:
    """All that a process tells; it outlives revisions of the graph. `most` is how many wait for a store."""

    def __init__(self, most: int = MOST) -> None:
        self._told = Told()
        self._most = most
        self._outboxes: dict[str, Outbox] = {}

    @property
    def waiting(self) -> int:
        """How many have not been taken."""
        return sum(map(len, self._outboxes.values()))

    def tell(self, form: ExposureForm, query: Query, passed: Passed) -> None:
        """Returns at once: it is called behind the answer, or where there was none."""
        if not form.experiments:
            return
        moment = passed.moment
        for experiment, met in form.met(query.assignments):
            key = experiment.key(met)
            if fault_of(met.unit):
                form.dropped.inc()  # no store takes such a unit, and others would wait behind it
            elif self._told.first(key, moment.time_ms // DAY_MS):
                body = form.body(experiment, met, query, moment)
                self._outbox(experiment.store).put(Exposure(key, body, form.sent, form.dropped))

    def _outbox(self, store: str) -> Outbox:
        if store not in self._outboxes:
            self._outboxes[store] = Outbox(Ingest(store), self._told, self._most)
        return self._outboxes[store]

    async def aclose(self, seconds: float = CLOSE_SECONDS) -> None:
        """Sends what waits, for so long."""
        await asyncio.gather(*(outbox.aclose(seconds) for outbox in self._outboxes.values()))
