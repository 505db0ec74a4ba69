# SPDX-License-Identifier: Apache-2.0
"""Between the front and the batches: how many may wait, and until when."""

from __future__ import annotations

import time

from endcap_runtime.asgi import Headers
from endcap_runtime.bento import Overloaded, Submit, TooLate
from endcap_runtime.model.counters import Counters
from endcap_runtime.model.failures import Expired
from endcap_runtime.model.job import Job
from endcap_runtime.problems import RETRY_SOON, Problem
from endcap_runtime.wire.cells import Columns

LONGEST_MS = 3_600_000
_MOST_DIGITS = 12
_LATE = "The deadline passed before there was an answer."
_BUSY = "The server has as many requests as it may: try again in a second."


def deadline_of(headers: Headers) -> float | None:
    """In seconds of time.monotonic; raises Problem 400 for what is no number and 504 for what has passed."""
    left = headers.get(b"endcap-timeout-ms")
    if left is None:
        return None
    if not left.removeprefix(b"-").isdigit() or len(left) > _MOST_DIGITS:
        raise Problem(400, "The header endcap-timeout-ms must be whole milliseconds.")
    if int(left) <= 0:
        raise Problem(504, _LATE)
    return time.monotonic() + min(int(left), LONGEST_MS) / 1000


class Queue:
    """Hands jobs to the dispatcher, at most `most` at a time: a queue without bound answers nobody in time."""

    def __init__(self, submit: Submit, most: int, counters: Counters) -> None:
        self._submit = submit
        self._most = most
        self._waiting = 0
        counters.in_flight.set_function(lambda: self._waiting)

    async def outputs(self, job: Job) -> Columns:
        """Raises ModelFailed, Problem 504 at the job's deadline, and Problem 503 when there is too much."""
        if self._waiting >= self._most:
            raise Problem(503, _BUSY, (), RETRY_SOON)
        self._waiting += 1
        try:
            outputs: Columns = await self._submit(job, job.deadline)
        except (TooLate, Expired) as error:
            raise Problem(504, _LATE) from error
        except Overloaded as error:
            raise Problem(503, _BUSY, (), RETRY_SOON) from error
        finally:
            self._waiting -= 1
        return outputs
