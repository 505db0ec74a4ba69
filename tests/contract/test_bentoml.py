# SPDX-License-Identifier: Apache-2.0
"""What `endcap_runtime.bento` relies on in BentoML, most of it private.

A failure here after an upgrade of BentoML means: read its changes, adapt `runtimes/endcap_runtime/bento.py`.
"""

import asyncio
import inspect
import time
from importlib.metadata import version

import httpx
import pytest

# BentoML's own: it calls what newer versions of pydantic and pathspec have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CHANGED = "BentoML changed {what}: adapt runtimes/endcap_runtime/bento.py before moving the pin"


def holds(condition, what):
    assert condition, CHANGED.format(what=what)


@pytest.fixture(scope="module")
def bento():
    from endcap_runtime import bento

    return bento


def test_the_version_is_the_one_that_these_tests_were_written_for():
    holds(version("bentoml") == "1.4.39", "its version")


def test_the_names_are_where_they_were():
    from _bentoml_impl.server.app import ServiceAppFactory
    from _bentoml_sdk import Service
    from bentoml._internal.context import server_context
    from bentoml._internal.marshal.dispatcher import CorkDispatcher, Optimizer

    holds(list(inspect.signature(ServiceAppFactory.__init__).parameters)[:3] == ["self", "service", "is_main"],
          "the factory of its app")  # fmt: skip
    holds(list(inspect.signature(Service.to_asgi).parameters) == ["self", "is_main"], "Service.to_asgi")
    holds(callable(Service.inject_config), "Service.inject_config")
    holds(hasattr(server_context, "service_type"), "server_context")
    dispatcher = CorkDispatcher(1000, 8, fallback=lambda: None)
    for name in (
        "_queue",
        "_sema",
        "optimizer",
        "max_latency",
        "max_batch_size",
        "get_batch_size",
        "fallback",
    ):
        holds(hasattr(dispatcher, name), f"the dispatcher's {name}")
    for name in ("controller", "train_optimizer", "inbound_call", "outbound_call"):
        holds(inspect.iscoroutinefunction(getattr(CorkDispatcher, name)), f"the dispatcher's {name}")
    holds("_get_inputs" in vars(CorkDispatcher), "the dispatcher's _get_inputs")
    for name in ("wait", "o_a", "o_b", "o_stat"):
        holds(hasattr(Optimizer(1.0), name), f"the optimizer's {name}")


def test_usage_is_not_reported(bento):
    from bentoml._internal.utils.analytics.usage_stats import do_not_track

    holds(do_not_track(), "how BENTOML_DO_NOT_TRACK is read")


class Recorder:
    """Batches as they were called, each after `seconds`."""

    def __init__(self, seconds=0.0):
        self.batches = []
        self.seconds = seconds

    async def __call__(self, jobs):
        self.batches.append(list(jobs))
        if self.seconds:
            await asyncio.sleep(self.seconds)
        return [ValueError(job) if job < 0 else job * 10 for job in jobs]


def dispatcher(bento, predict, **changes):
    defaults = {"predict": predict, "rows": lambda _: 1, "max_rows": 4, "max_wait_ms": 2}
    made = bento.EagerDispatcher(bento.Batching(**{**defaults, **changes}))
    return made, made.submit


async def test_concurrent_jobs_share_batches_up_to_the_most_rows(bento):
    predict = Recorder(0.01)
    _, submit = dispatcher(bento, predict)
    answers = await asyncio.gather(*(submit(job) for job in range(13)))
    holds(answers == [job * 10 for job in range(13)], "the order of results")
    holds(max(map(len, predict.batches)) == 4, "how a batch is cut")
    holds(sum(map(len, predict.batches)) == 13, "how jobs are queued")


async def test_a_job_larger_than_a_batch_goes_alone_and_whole(bento):
    predict = Recorder(0.01)
    _, submit = dispatcher(bento, predict, rows=lambda job: job)
    await asyncio.gather(*(submit(job) for job in (1, 100, 1, 2)))
    holds([100] in predict.batches, "the splitting of jobs")
    holds(all(sum(batch) <= 4 or len(batch) == 1 for batch in predict.batches), "how a batch is cut")


async def test_an_exception_in_the_results_is_raised_to_its_own_job(bento):
    _, submit = dispatcher(bento, Recorder())
    answers = await asyncio.gather(*(submit(job) for job in (1, -1, 2)), return_exceptions=True)
    holds([type(answer) for answer in answers] == [int, ValueError, int], "how results are handed back")


async def test_a_lone_job_never_waits_whatever_was_learnt(bento):
    made, submit = dispatcher(bento, Recorder(), max_wait_ms=60_000)
    await submit(1)
    made.optimizer.wait = 60.0
    started = time.monotonic()
    await submit(2)
    holds(time.monotonic() - started < 1, "when a job waits for others")


async def test_the_first_jobs_are_not_held_back_to_train_the_optimizer(bento):
    made, submit = dispatcher(bento, Recorder())
    holds(await asyncio.wait_for(made.train_optimizer(2, 8, 1), 5) is None, "its training")
    holds("self.train_optimizer(" in inspect.getsource(type(made).controller), "where it trains")
    holds(await submit(1) == 10, "its training")


async def test_nobody_waits_longer_than_the_limit(bento):
    made, submit = dispatcher(bento, Recorder(), max_wait_ms=50, max_rows=1000)
    await submit(0)
    made.optimizer.wait = 60.0
    started = time.monotonic()
    await asyncio.gather(*(submit(job) for job in range(50)))
    holds(time.monotonic() - started < 5, "how long jobs wait for others")


async def test_a_job_ends_at_its_time_and_its_late_result_harms_nobody(bento):
    _, submit = dispatcher(bento, Recorder(0.3))
    started = time.monotonic()
    with pytest.raises(bento.TooLate):
        await submit(1, started + 0.05)
    assert time.monotonic() - started < 0.29
    holds(await submit(2, time.monotonic() + 60) == 20, "what it does with a result that comes too late")


async def test_a_job_that_is_shed_is_told(bento):
    made, submit = dispatcher(bento, Recorder(0.1))
    first, second = asyncio.create_task(submit(1)), asyncio.create_task(submit(2))
    await asyncio.sleep(0)
    made._queue[-1].future.cancel()
    with pytest.raises(bento.Overloaded):
        await second
    holds(await first == 10, "how it sheds jobs")


async def test_a_task_that_is_cancelled_ends(bento):
    _, submit = dispatcher(bento, Recorder(10))
    task = asyncio.create_task(submit(1))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
def served(bento):
    """A service with a front that answers one path, and a switch for its readiness."""
    ready = []

    def front(native, submit):
        async def app(scope, receive, send):
            if scope["type"] == "http" and scope["path"] == "/predict":
                answer = await submit(int((await receive())["body"]))
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": str(answer).encode()})
            else:
                await native(scope, receive, send)

        return app

    batching = bento.Batching(Recorder(), lambda _: 1, 4, 2)
    return bento.service("shop", front, lambda: bool(ready), batching).to_asgi(), ready


running = []


async def get(app, path, method="GET", content=None):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://pod") as client:
        return await client.request(method, path, content=content)


async def test_the_front_comes_first_and_bentoml_answers_the_rest(served):
    app, ready = served
    await started(app)
    ready.append(True)
    holds((await get(app, "/predict", "POST", "7")).text == "70", "what stands in front of its app")
    holds((await get(app, "/livez")).status_code == 200, "its health endpoints")
    holds((await get(app, "/readyz")).status_code == 200, "its health endpoints")
    docs = (await get(app, "/docs.json")).json()
    holds("/predict" in docs["paths"], "its OpenAPI document")


async def test_readiness_asks_the_service(served):
    app, _ = served
    await started(app)
    holds((await get(app, "/readyz")).status_code == 503, "the hook __is_ready__")


async def test_what_costs_more_than_a_model_is_off(served):
    app, _ = served
    await started(app)
    holds((await get(app, "/metrics")).status_code == 404, "how its metrics are turned off")
    native = inspect.getclosurevars(app).nonlocals["native"]
    names = {middleware.cls.__name__ for middleware in native.user_middleware}
    holds(names <= {"TimeoutMiddleware", "OpenTelemetryMiddleware", "ContextMiddleware"}, "its middleware")
    telemetry = next(m for m in native.user_middleware if m.cls.__name__ == "OpenTelemetryMiddleware")
    holds(telemetry.kwargs["excluded_urls"].url_disabled("http://pod/any"), "how tracing is turned off")


async def started(app):
    """Runs the lifespan of BentoML's app up to its start."""
    complete = asyncio.Event()

    async def receive():
        if complete.is_set():
            await asyncio.Event().wait()
        return {"type": "lifespan.startup"}

    async def send(message):
        assert message["type"] == "lifespan.startup.complete", message
        complete.set()

    running.append(asyncio.create_task(app({"type": "lifespan", "state": {}}, receive, send)))
    await asyncio.wait_for(complete.wait(), 20)


async def test_a_service_without_batching_has_no_submit(bento):
    seen = []
    bento.service("graph", lambda native, submit: seen.append(submit) or native, lambda: True).to_asgi()
    holds(seen == [None], "services without an API")
