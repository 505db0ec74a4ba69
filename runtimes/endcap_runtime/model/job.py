# SPDX-License-Identifier: Apache-2.0
"""A request's rows on their way to the model, joined with those of other requests and taken apart again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from endcap_runtime.wire.cells import Columns, Values

Matrix = NDArray[np.float64]
Inputs = Columns | Matrix


class Job(NamedTuple):
    """Checked inputs of one request: columns, or a matrix [rows, K].

    deadline: in seconds of time.monotonic. degraded: what the answer had to do without, added on the way.
    """

    inputs: Inputs
    rows: int
    deadline: float | None
    request_id: str
    traceparent: bytes | None = None
    degraded: set[str] | None = None

    @property
    def context(self) -> dict[str, str]:
        """What a log line tells of the request."""
        trace = (
            {} if self.traceparent is None else {"traceparent": self.traceparent.decode("ascii", "replace")}
        )
        return {"request_id": self.request_id, **trace}

    def lacks(self, what: str) -> None:
        """The answer will say so."""
        if self.degraded is not None:
            self.degraded.add(what)

    @property
    def expired(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline


def rows_of(job: Job) -> int:
    return job.rows


def join(jobs: Sequence[Job]) -> Inputs:
    """The rows of all jobs, one below the other."""
    first = jobs[0].inputs
    if len(jobs) == 1:
        return first
    if isinstance(first, np.ndarray):
        return np.concatenate([job.inputs for job in jobs])
    return {name: _concatenate([job.inputs[name] for job in jobs]) for name in first}  # type: ignore[call-overload]


def _concatenate(parts: Sequence[Values]) -> Values:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return list(chain.from_iterable(parts))


def part(outputs: Mapping[str, Values], jobs: Sequence[Job]) -> list[Columns]:
    """The outputs of each job, in the order of the jobs."""
    if len(jobs) == 1:
        return [dict(outputs)]
    spans = pairwise(accumulate((job.rows for job in jobs), initial=0))
    return [{name: values[start:end] for name, values in outputs.items()} for start, end in spans]
