# SPDX-License-Identifier: Apache-2.0
"""Takes exposures in batches, makes the states of their units, and marks them as applied.

As with events, whoever dies in between leaves a batch to be applied again: a unit that has its state keeps it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from endcap_runtime.features.experiments.exposures import Exposed, exposed
from endcap_runtime.features.ingest.applying import each_or_all
from endcap_runtime.features.ingest.compiled import Compiled
from endcap_runtime.features.ingest.group import Entry, Group
from endcap_runtime.features.ingest.serving import Serving
from endcap_runtime.features.ingest.worker import Consumer
from endcap_runtime.wire.json_columns import loads

log = logging.getLogger("endcap.ingest")

_UNKNOWN = "other"  # the label of experiments that the configuration does not name


class ExposureWorker(Consumer):
    """Rests while nothing is measured; what comes meanwhile waits."""

    def _group(self, serving: Serving) -> Group | None:
        return serving.exposures if serving.compiled.experiments else None

    async def _apply(self, serving: Serving, entries: list[Entry]) -> None:
        planned = plan_exposures(entries, serving.compiled.store.prefix)
        answers, broken = await each_or_all(
            planned.exposed,
            lambda some: serving.redis.run([each.call for each in some]),
            lambda each: each.call.keys[0],
        )
        await serving.exposures.settle(entries)
        words = Counter({"uncounted": planned.uncounted, "failed": planned.unreadable + len(broken)})
        words.update(answer[0].decode().lower() for _, answer in answers)
        for word, count in words.items():
            self._metrics.exposures.labels(word).inc(count)
        self._measure_joined(serving.compiled, answers)

    def _measure_joined(self, compiled: Compiled, answers: Iterable[tuple[Exposed, Sequence[bytes]]]) -> None:
        for each, (_, *told) in answers:
            known = compiled.experiments.get(each.experiment_id)
            name = known.experiment if known else _UNKNOWN
            for metric, word in zip(told[::2], told[1::2], strict=True):
                self._metrics.outcomes.labels(name, metric.decode(), word.decode().lower()).inc()


class Planned(NamedTuple):
    """What a batch of exposures asks for."""

    exposed: list[Exposed]
    uncounted: int
    unreadable: int


def plan_exposures(entries: Iterable[Entry], prefix: str) -> Planned:
    """Never fails for what an entry holds: one that cannot be read stays in the log and counts for nobody."""
    asked: list[Exposed] = []
    uncounted = unreadable = 0
    for entry in entries:
        try:
            found = exposed(loads(entry.event), entry.arrival_ms, prefix)
        except Exception:
            log.exception("An exposure could not be read", extra={"entry": entry.id.decode()})
            unreadable += 1
            continue
        if found is None:
            uncounted += 1
        else:
            asked.append(found)
    return Planned(asked, uncounted, unreadable)
