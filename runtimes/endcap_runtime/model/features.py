# SPDX-License-Identifier: Apache-2.0
"""Features of the rows of a batch, joined behind their inputs: one lookup a batch, however many requests are in it.

A model that waits for features answers nobody, so a sidecar that does not answer costs defaults, which the answer says.
What the model was not deployed for is another matter: a column that is missing or of another type is a refusal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from endcap_api.feature_columns import FeatureColumn
from endcap_api.runtime_config import ModelFeaturesConfig
from endcap_runtime.features.statuses import Status
from endcap_runtime.graph.looked_up import LookedUp
from endcap_runtime.graph.sidecar import Found, Keys, Question, Sidecar, askable
from endcap_runtime.graph.upstream import Call, UpstreamFailed
from endcap_runtime.model.counters import Counters
from endcap_runtime.model.job import Job
from endcap_runtime.problems import RETRY_SOON, Problem
from endcap_runtime.wire.cells import Columns, Values

log = logging.getLogger("endcap.model")

LOOKUP_SECONDS = 0.1
FEATURES = "features"
_UNAVAILABLE = 503
_SILENCE_SECONDS = 10.0


class Features:
    """What a model joins to its inputs."""

    def __init__(self, config: ModelFeaturesConfig, sidecar: Sidecar, counters: Counters) -> None:
        self._config, self._sidecar, self._counters = config, sidecar, counters
        self._silent_until = 0.0

    async def joined(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs with features behind their inputs. Raises Problem 503 for a bundle that does not fit the model."""
        keys = {key: _column(jobs, name) for key, name in self._config.keys.items()}
        rows = sum(job.rows for job in jobs)
        looked_up = await self._looked_up(keys, rows, jobs)
        if looked_up.lacking is Status.STALE or (looked_up.found and _doubtful(looked_up.found)):
            for job in jobs:
                job.lacks(FEATURES)
        features = {column.name: _values(column, looked_up) for column in self._config.columns}
        return _apart(jobs, features)

    async def _looked_up(self, keys: Keys, rows: int, jobs: Sequence[Job]) -> LookedUp:
        asked = askable(keys, rows)
        if asked is not None and not asked.any():
            return LookedUp(rows, keys, None, None, asked, Status.DEFAULTED)
        wanted = keys if asked is None else {name: _only(values, asked) for name, values in keys.items()}
        try:
            found = await self._found(Question(self._config.bundle, wanted), jobs)
        except UpstreamFailed as failed:
            self._take_defaults(failed)
            return LookedUp(rows, keys, None, None, asked, Status.STALE)
        self._counters.lookup("ok")
        return LookedUp(rows, keys, None, found, asked, Status.DEFAULTED)

    async def _found(self, question: Question, jobs: Sequence[Job]) -> Found:
        """Raises UpstreamFailed where defaults will do, and Problem where they will not."""
        trace = jobs[0].traceparent
        call = Call(_deadline(jobs), jobs[0].request_id, trace.decode() if trace else None)
        try:
            (found,) = await self._sidecar.lookup([question], call)
            found.check(self._config.columns)
            for column in self._config.columns:
                found.values(column)
        except UpstreamFailed as failed:
            if failed.status is None:
                raise
            raise self._refused(failed.message, failed.status) from failed
        except ValueError as error:
            raise self._refused(f"gives other columns than the model was deployed for: {error}") from error
        return found

    def _refused(self, why: str, status: int | None = None) -> Problem:
        self._counters.lookup("refused")
        bundle = self._config.bundle
        if status == _UNAVAILABLE:
            away = f"The features of bundle {bundle} are required, and their store cannot be asked."
            return Problem(503, away, (), RETRY_SOON)
        said = f"The bundle {bundle} {why}" if status is None else f"The bundle {bundle}: the sidecar {why}"
        return Problem(503, f"{said}. Deploy the model for it again.", (), RETRY_SOON)

    def _take_defaults(self, failed: UpstreamFailed) -> None:
        """Counted each time, and told seldom: a sidecar that is away is away for every batch."""
        self._counters.lookup("defaults")
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + _SILENCE_SECONDS
            told = {"bundle": self._config.bundle, "detail": failed.message}
            log.warning("The feature sidecar did not answer: defaults", extra=told)


def _doubtful(found: Found) -> bool:
    return found.holds(Status.STALE) or found.holds(Status.ERROR)


def _deadline(jobs: Sequence[Job]) -> float:
    """Of the lookup: nobody's answer needs it longer than the last of the callers waits."""
    longest = time.monotonic() + LOOKUP_SECONDS
    return min(longest, max(job.deadline or longest for job in jobs))


def _column(jobs: Sequence[Job], name: str) -> list[Any]:
    return [value for job in jobs for value in _listed(_inputs(job)[name])]


def _inputs(job: Job) -> Columns:
    return dict(job.inputs)


def _listed(values: Values) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _only(values: Sequence[Any], asked: np.ndarray[Any, Any]) -> list[Any]:
    return [value for value, possible in zip(values, asked.tolist(), strict=True) if possible]


def _values(column: FeatureColumn, looked_up: LookedUp) -> Values:
    values = looked_up.values(column)
    return values if column.items is None else values.tolist()


def _apart(jobs: Sequence[Job], features: Mapping[str, Values]) -> list[Job]:
    """Each job with its own rows of the features."""
    start, joined = 0, []
    for job in jobs:
        end = start + job.rows
        own = {name: values[start:end] for name, values in features.items()}
        joined.append(job._replace(inputs=_inputs(job) | own))
        start = end
    return joined
