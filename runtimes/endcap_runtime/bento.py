# SPDX-License-Identifier: Apache-2.0
"""BentoML's only home: a genuine BentoML service with a small ASGI app, the front, before it.

The front answers the paths that carry the traffic and hands every other request to BentoML's own app, whose
middleware costs more than a small model does. Requests reach the model through BentoML's adaptive batching
all the same. The names used here are private to BentoML, so its version is pinned exactly and
`tests/contract/test_bentoml.py` holds each of them.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol

# BentoML reads these while it is imported: `1` would not opt out, and its home must be writable under a
# read-only root.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")
os.environ.setdefault("BENTOML_HOME", str(Path(tempfile.gettempdir()) / "bentoml"))

import bentoml
from _bentoml_impl.server.app import ServiceAppFactory
from _bentoml_sdk import Service
from bentoml._internal.context import server_context
from bentoml._internal.marshal.dispatcher import CorkDispatcher, Job, Optimizer

from endcap_runtime.asgi import App

Predict = Callable[[Sequence[Any]], Coroutine[None, None, Sequence[Any]]]


class Submit(Protocol):
    """Hands a job to the batching and waits for its result, until a time of time.monotonic at the latest."""

    def __call__(self, job: Any, until: float | None = None) -> Awaitable[Any]: ...


SHED_AFTER_MS = 30_000
_FIRST_GUESS_SECONDS = 1e-4

# What stock BentoML spends beside the model, measured: a timer a request that lives for the whole timeout,
# spans that nobody collects, an access log line, and metrics labelled with raw paths.
_TUNED: dict[str, Any] = {
    "workers": 1,
    "traffic": {"timeout": 10},
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
    "tracing": {"excluded_urls": ".*"},
    "monitoring": {"enabled": False},
    "runner_probe": {"enabled": False},
}


class Overloaded(Exception):
    """The request waited in the batch queue for longer than anyone would."""


class TooLate(Exception):
    """The time until which a job's result was wanted has come."""


class Batching(NamedTuple):
    """How jobs of concurrent requests are put together.

    `predict` takes jobs and returns as many results; a result that is an exception is raised to its own
    request alone. `rows` says how many rows a job has; jobs are joined up to `max_rows`, and a larger job
    goes alone and whole. `max_wait_ms` bounds how long a job waits for others; a lone job never waits.
    """

    predict: Predict
    rows: Callable[[Any], int]
    max_rows: int
    max_wait_ms: int


Front = Callable[[App, Submit | None], App]


def service(
    name: str, front: Front, is_ready: Callable[[], bool], batching: Batching | None = None
) -> FrontedService:
    """A BentoML service whose ASGI app is `front(bentoml_app, submit)`; `submit` is None without batching."""
    make = bentoml.service(name=name, service_class=FrontedService, **_TUNED)
    made: FrontedService = make(_inner(is_ready, batching))
    made.front, made.batching = front, batching
    return made


class FrontedService(Service[Any]):  # type: ignore[misc]
    """BentoML's service class with the front in place of its bare ASGI app."""

    front: Front
    batching: Batching | None

    def to_asgi(self, is_main: bool = True) -> App:  # noqa: FBT001, FBT002 the signature is BentoML's
        self.inject_config()
        server_context.service_type, server_context.service_name = "entry_service", self.name
        factory = ServiceAppFactory(self, is_main=is_main)
        native = factory()
        native.router.redirect_slashes = False  # a redirect would repeat the Host header, whatever it says
        return self.front(native, self._submit(factory))

    def _submit(self, factory: ServiceAppFactory) -> Submit | None:
        if self.batching is None:
            return None
        factory.dispatchers["predict"] = dispatcher = EagerDispatcher(self.batching)
        return dispatcher.submit


def _inner(is_ready: Callable[[], bool], batching: Batching | None) -> type:
    """The class that BentoML serves; its signature is what BentoML's own clients and docs read."""

    class Ready:
        def __is_ready__(self) -> bool:
            return is_ready()

    if batching is None:
        return Ready

    class Model(Ready):
        @bentoml.api(batchable=True, max_latency_ms=SHED_AFTER_MS)  # type: ignore[untyped-decorator]
        async def predict(self, columns: dict[str, list[Any]]) -> dict[str, Any]:
            raise NotImplementedError("the front answers this path")

    return Model


def _shed() -> NoReturn:
    raise Overloaded


def _end(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(TooLate())


class EagerOptimizer(Optimizer):
    """BentoML's estimate of the time worth waiting for company, held to what was asked for.

    BentoML waits by what it learnt, even for a request that is alone. Here nobody waits when nothing else
    is queued, and nobody for longer than `max_wait` seconds.
    """

    def __init__(self, queue: Sequence[Job[Any, Any]], max_wait: float) -> None:
        self._queue, self._max_wait, self._learnt = queue, max_wait, 0.0
        super().__init__(SHED_AFTER_MS / 1000)
        self.o_a = self.o_b = _FIRST_GUESS_SECONDS

    @property  # type: ignore[override]
    def wait(self) -> float:
        if len(self._queue) <= 1:
            return 0.0
        waited = time.time() - self._queue[0].enqueue_time
        return max(0.0, min(self._learnt, self._max_wait - waited))

    @wait.setter
    def wait(self, seconds: float) -> None:
        self._learnt = seconds


class EagerDispatcher(CorkDispatcher[Any, Any]):
    """BentoML's adaptive batching, without the training that delays the first requests, and with whole jobs."""

    def __init__(self, batching: Batching) -> None:
        super().__init__(
            max_latency_in_ms=SHED_AFTER_MS,
            max_batch_size=batching.max_rows,
            fallback=_shed,
            get_batch_size=batching.rows,
        )
        self.callback = batching.predict
        self.optimizer = EagerOptimizer(self._queue, batching.max_wait_ms / 1000)

    async def submit(self, job: Any, until: float | None = None) -> Any:
        """The job's result; raises what was its own, Overloaded, or TooLate.

        BentoML's own way in would need a cancelled task for a deadline; here the time ends the job's future, and
        a result that comes later finds it done.
        """
        if self._controller is None:
            self._controller = self._loop.create_task(self.controller())  # type: ignore[assignment]
        future = self._loop.create_future()
        self._queue.append(Job(time.time(), job, future))
        async with self._wake_event:
            self._wake_event.notify_all()
        try:
            result = await (future if until is None else self._until(future, until))
        except asyncio.CancelledError:
            self._reraise_own_cancellation()
            raise Overloaded from None
        if isinstance(result, Exception):
            raise result
        return result

    def _reraise_own_cancellation(self) -> None:
        """The dispatcher sheds a job by cancelling its future; a task that is cancelled itself has to end."""
        task = asyncio.current_task(self._loop)
        if task is not None and task.cancelling():
            raise asyncio.CancelledError

    async def _until(self, future: asyncio.Future[Any], until: float) -> Any:
        timer = self._loop.call_later(until - time.monotonic(), _end, future)
        try:
            return await future
        finally:
            timer.cancel()

    async def train_optimizer(self, *_: int) -> None:
        return

    def _get_inputs(self, num_batches: int | None = None) -> Iterator[Job[Any, Any]]:
        room = num_batches or self.max_batch_size
        taken = 0
        while self._queue and (taken == 0 or taken + self.get_batch_size(self._queue[0].data) <= room):
            job = self._queue.popleft()
            taken += self.get_batch_size(job.data)
            yield job
