# SPDX-License-Identifier: Apache-2.0
"""Runs a batch of jobs: expired ones are dropped, and a batch that fails is retried job by job.

So one bad row costs its own request alone, and a request that nobody waits for any more costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from endcap_runtime.model.failures import Expired, ModelFailed
from endcap_runtime.model.features import Features
from endcap_runtime.model.job import Job, join, part
from endcap_runtime.model.predictor import Predictor
from endcap_runtime.problems import Problem
from endcap_runtime.wire.cells import Columns

log = logging.getLogger("endcap.model")

Result = Columns | Exception
QUICK_SECONDS = 0.002
SLOW_SECONDS = 0.010
_WEIGHT = 0.2


class Place:
    """Where batches run: in a thread of their own, or in the event loop while they are quick.

    Python of an artefact (a model or a hook) may wait for anything, so it always has the thread. The frameworks'
    own models only calculate: they come into the loop, where the tail is shorter, when a running mean of their
    batches is below `QUICK_SECONDS`, and leave it when the mean is above `SLOW_SECONDS`, since a slow one would
    hold up probes, deadlines and other requests.
    """

    def __init__(self, *, only_calculates: bool) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._only_calculates = only_calculates
        self._mean = QUICK_SECONDS
        self.inline = False

    def observe(self, seconds: float) -> None:
        self._mean += _WEIGHT * (seconds - self._mean)
        self.inline = self._only_calculates and self._mean < (SLOW_SECONDS if self.inline else QUICK_SECONDS)

    async def run(self, work: Callable[[Sequence[Job]], list[Result]], jobs: Sequence[Job]) -> list[Result]:
        started = time.perf_counter()
        try:
            if self.inline:
                return work(jobs)
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, jobs)
        finally:
            self.observe(time.perf_counter() - started)


class Batches:
    """The callable that BentoML's dispatcher calls with the jobs that it has put together."""

    def __init__(
        self,
        predictor: Predictor,
        place: Place,
        observe_rows: Callable[[int], None],
        features: Features | None = None,
    ) -> None:
        self._predictor = predictor
        self._place = place
        self._observe_rows = observe_rows
        self._features = features

    async def __call__(self, jobs: Sequence[Job]) -> list[Result]:
        """One result a job, in order: its outputs, or the exception that is its own."""
        live = [job for job in jobs if not job.expired]
        results = await self._results(live) if live else []
        if len(live) == len(jobs):
            return results
        remaining = iter(results)
        alive = set(map(id, live))
        return [next(remaining) if id(job) in alive else Expired() for job in jobs]

    async def _results(self, jobs: Sequence[Job]) -> list[Result]:
        if self._features is None:
            return await self._place.run(self.work, jobs)
        try:
            jobs = await self._features.joined(jobs)
        except Problem as problem:
            return [problem] * len(jobs)
        return await self._place.run(self.work, jobs)

    def work(self, jobs: Sequence[Job]) -> list[Result]:
        self._observe_rows(sum(job.rows for job in jobs))
        try:
            return list(self._together(jobs))
        except ModelFailed as failed:
            if len(jobs) == 1:
                return [_logged(failed, jobs[0])]
            return [self._alone(job) for job in jobs]

    def _together(self, jobs: Sequence[Job]) -> list[Columns]:
        rows = sum(job.rows for job in jobs)
        return part(self._predictor(join(jobs), rows), jobs)

    def _alone(self, job: Job) -> Result:
        if job.expired:
            return Expired()
        try:
            return self._predictor(job.inputs, job.rows)
        except ModelFailed as failed:
            return _logged(failed, job)


def _logged(failed: ModelFailed, job: Job) -> ModelFailed:
    log.error("%s", failed, exc_info=failed.__cause__, extra={"phase": failed.phase, **job.context})
    return failed
