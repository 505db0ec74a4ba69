# SPDX-License-Identifier: Apache-2.0
"""Calls to a real model server that answers, fails, hangs and dies: one exception, one deadline, nothing left."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import uvloop
from upstreams import FAILURES, Behaviour, Upstream

from endcap_api.v1alpha1.values import Column
from endcap_runtime.graph.upstream import Call, Models, Prediction, UpstreamFailed

# The hook that replaces the fixture is for a whole run, and would put every other test on both loops as well.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Overriding the .event_loop_policy. fixture:DeprecationWarning"
)


def column(name: str, kind: str, items: str | None = None) -> Column:
    return Column.model_validate(
        {"name": name, "type": kind, **({"items": {"type": items}} if items else {})}
    )


def ranker() -> Upstream:
    """Scalars in, scalars out: binary tensors."""
    inputs = [column("share", "number"), column("days", "integer"), column("key", "product")]
    outputs = [column("why", "string"), column("score", "number")]
    return Upstream(
        inputs, outputs, lambda given: {"why": list(given["key"]), "score": [2 * x for x in given["share"]]}
    )


def recaller() -> Upstream:
    """Arrays in, arrays out: JSON."""
    inputs = [column("cart", "array", "product"), column("household", "string")]
    outputs = [column("item", "array", "product"), column("score", "array", "number")]

    def answer(given: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {
            "item": given["cart"],
            "score": [[1.0 / (n + 1) for n in range(len(cart))] for cart in given["cart"]],
        }

    return Upstream(inputs, outputs, answer, label="cooccurrence@7")


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Pods run on uvloop; asyncio's own loop keeps us honest about what is the contract of a transport."""
    return request.param()


@pytest.fixture
async def models() -> AsyncIterator[Models]:
    models = Models()
    yield models
    await models.aclose()
    await settled(lambda: models.connections == 0)


async def settled(condition: Any) -> None:
    """Wait until what the other end must first notice has happened."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (the other end of a socket sets no event of ours)
            await asyncio.sleep(0.005)


def call(seconds: float = 5.0, request_id: str = "r-1", traceparent: str | None = None) -> Call:
    return Call(asyncio.get_running_loop().time() + seconds, request_id, traceparent)


def rows_of(size: int, start: float = 0.0) -> dict[str, Any]:
    return {
        "share": np.arange(size) + start,
        "days": np.arange(size),
        "key": np.array([f"k{n}" for n in range(size)], dtype=object),
    }


async def ask(models: Models, upstream: Upstream, seconds: float = 5.0) -> Prediction:
    """One call of the upstream's own kind."""
    model = models.model("m", upstream.contract)
    if upstream.inputs[0].items:
        return await model.predict({"cart": [["1", "2"]], "household": ["7"]}, 1, call(seconds))
    return await model.predict(rows_of(3), 3, call(seconds))


async def test_scalars_go_and_come_as_typed_columns(models: Models) -> None:
    async with ranker() as upstream:
        prediction = await models.model("basket-ranker", upstream.contract).predict(
            rows_of(3, 0.5), 3, call()
        )
        assert prediction.columns["score"].tolist() == [1.0, 3.0, 5.0]
        assert prediction.columns["score"].dtype == np.float64
        assert prediction.columns["why"].tolist() == ["k0", "k1", "k2"]
        assert prediction.model == "upstream@1"
        assert upstream.calls[0].path == "/v2/models/basket-ranker/infer"
        assert [type(value) for value in upstream.calls[0].columns["days"]] == [np.int64] * 3


async def test_columns_of_numbers_alone_go_as_one_matrix_in_declared_order(models: Models) -> None:
    inputs = [column("a", "number"), column("b", "number")]
    answer = {"score": [10.0, 20.0]}
    async with Upstream(inputs, [column("score", "number")], lambda _: answer) as upstream:
        prediction = await models.model("m", upstream.contract).predict(
            {"b": [3.0, 4.0], "a": [1.0, 2.0]}, 2, call()
        )
        assert prediction.columns["score"].tolist() == [10.0, 20.0]
        assert upstream.calls[0].columns == {"a": [1.0, 2.0], "b": [3.0, 4.0]}
        assert upstream.calls[0].tensors == ["columns"]


async def test_arrays_go_and_come_as_lists(models: Models) -> None:
    async with recaller() as upstream:
        prediction = await ask(models, upstream)
        assert prediction.columns == {"item": [["1", "2"]], "score": [[1.0, 0.5]]}
        assert prediction.model == "cooccurrence@7"
        assert upstream.calls[0].path == "/predict"


async def test_who_asks_and_what_is_left_of_the_deadline_go_along(models: Models) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with recaller() as upstream:
        model = models.model("m", upstream.contract)
        await model.predict({"cart": [["1"]], "household": ["7"]}, 1, call(2.0, "abc", trace))
        headers = upstream.calls[0].headers
        assert headers["x-request-id"] == "abc"
        assert headers["traceparent"] == trace
        assert 1000 < int(headers["endcap-timeout-ms"]) <= 2000


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a b", "", "ä", "a" * 257])
def test_a_request_id_that_is_no_header_value_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        Call(0.0, value)


async def test_sequential_calls_share_one_connection(models: Models) -> None:
    async with ranker() as upstream:
        for _ in range(20):
            await ask(models, upstream)
        assert upstream.opened == 1
        assert models.connections == 1


@pytest.mark.parametrize("make", [ranker, recaller])
@pytest.mark.parametrize(("behaviour", "kind"), FAILURES.items())
async def test_every_failure_is_one_exception_within_the_deadline(
    models: Models, make: Any, behaviour: Behaviour, kind: str
) -> None:
    async with make() as upstream:
        await ask(models, upstream)
        upstream.behaviour = behaviour
        if behaviour == "refuses":
            await upstream.refuse()
        loop = asyncio.get_running_loop()
        start = loop.time()
        with pytest.raises(UpstreamFailed) as failed:
            await ask(models, upstream, 0.3)
        assert failed.value.kind == kind
        assert "127.0.0.1" not in failed.value.message
        assert loop.time() - start < 0.3 + 0.1


@pytest.mark.parametrize("behaviour", ["interim", "says_close", "stale", "answers_twice", "trails"])
async def test_what_is_odd_but_allowed_is_no_failure(models: Models, behaviour: Behaviour) -> None:
    async with ranker() as upstream:
        upstream.behaviour = behaviour
        for _ in range(10):
            assert (await ask(models, upstream)).columns["score"].tolist() == [0.0, 2.0, 4.0]
            await asyncio.sleep(0.001)


async def test_arrays_of_one_row_that_differ_in_length_are_malformed(models: Models) -> None:
    async with recaller() as upstream:
        upstream.behaviour = "ragged"
        with pytest.raises(UpstreamFailed, match=r"Row 0 has arrays of different lengths: item, score"):
            await ask(models, upstream)


async def test_it_answers_again_as_soon_as_the_upstream_does(models: Models) -> None:
    async with ranker() as upstream:
        await ask(models, upstream)
        await upstream.refuse()
        for _ in range(5):
            with pytest.raises(UpstreamFailed):
                await ask(models, upstream, 0.2)
        await upstream.listen()
        assert (await ask(models, upstream)).model == "upstream@1"
        await upstream.refuse()
        asked = asyncio.create_task(ask(models, upstream))
        await asyncio.sleep(0.02)
        await upstream.listen()
        assert (await asked).model == "upstream@1"


async def test_when_nobody_has_been_there_for_long_a_call_finds_out_at_once(models: Models) -> None:
    async with ranker() as upstream:
        await upstream.refuse()
        with pytest.raises(UpstreamFailed):
            await ask(models, upstream, 2.0)
        start = asyncio.get_running_loop().time()
        with pytest.raises(UpstreamFailed, match="refused"):
            await ask(models, upstream, 5.0)
        assert asyncio.get_running_loop().time() - start < 0.5


async def test_a_server_that_comes_back_within_the_deadline_costs_no_request(models: Models) -> None:
    async with ranker() as upstream:
        await upstream.refuse()
        asked = asyncio.create_task(ask(models, upstream))
        await asyncio.sleep(0.05)
        await upstream.listen()
        assert (await asked).model == "upstream@1"


async def test_of_two_replicas_one_may_die_under_load_without_a_failed_call(models: Models) -> None:
    async with ranker() as first, ranker() as second:
        await second.share_port_of(first)
        for upstream in (first, second):
            upstream.behaviour, upstream.delay = "slow", 0.002
        model, contract = models.model("m", first.contract), first.contract
        await asyncio.gather(
            *(models.model(f"m{n}", contract).predict(rows_of(1), 1, call()) for n in range(24))
        )
        assert first.open
        assert second.open

        async def client(number: int) -> None:
            for turn in range(40):
                prediction = await model.predict(rows_of(1, number), 1, call())
                assert prediction.columns["score"].tolist() == [2.0 * number]
                if number == 0 and turn == 20:
                    await second.refuse()

        await asyncio.gather(*(client(number) for number in range(8)))
        assert second.open == 0


async def test_a_dial_that_nobody_takes_is_a_timeout_within_the_deadline(models: Models) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        held = [socket.socket() for _ in range(4)]
        for each in held:
            each.settimeout(0)
            with suppress(BlockingIOError):
                each.connect(("127.0.0.1", port))
        contract = ranker().contract.model_copy(update={"url": f"http://127.0.0.1:{port}"})
        start = asyncio.get_running_loop().time()
        with pytest.raises(UpstreamFailed, match="in time") as failed:
            await models.model("m", contract).predict(rows_of(1), 1, call(0.25))
        assert failed.value.kind == "timeout"
        assert asyncio.get_running_loop().time() - start < 0.35
        for each in held:
            each.close()


async def test_a_deadline_that_has_passed_asks_nobody(models: Models) -> None:
    async with ranker() as upstream:
        with pytest.raises(UpstreamFailed) as failed:
            await ask(models, upstream, -0.001)
        assert failed.value.kind == "timeout"
        assert upstream.calls == []


async def test_when_a_server_falls_silent_its_idle_connections_are_given_up(models: Models) -> None:
    async with ranker() as upstream:
        upstream.behaviour, upstream.delay = "slow", 0.02
        contract = upstream.contract
        await asyncio.gather(
            *(models.model(f"m{n}", contract).predict(rows_of(1), 1, call()) for n in range(4))
        )
        assert models.connections == 4
        await asyncio.sleep(0.01)
        upstream.behaviour = "hangs"
        with pytest.raises(UpstreamFailed, match="in time"):
            await ask(models, upstream, 0.05)
        await settled(lambda: models.connections == 0)


async def test_connections_that_died_while_idle_cost_no_request(models: Models) -> None:
    async with ranker() as upstream:
        upstream.behaviour, upstream.delay = "slow", 0.05
        contract = upstream.contract
        await asyncio.gather(
            *(models.model(f"m{n}", contract).predict(rows_of(1), 1, call()) for n in range(8))
        )
        upstream.behaviour = "stale"
        await asyncio.gather(
            *(models.model(f"m{n}", contract).predict(rows_of(1), 1, call()) for n in range(8))
        )
        assert models.connections == 8
        assert (await ask(models, upstream)).model == "upstream@1"
        assert upstream.opened == 9


async def test_a_caller_that_leaves_closes_the_connection_so_that_the_upstream_stops(models: Models) -> None:
    async with ranker() as upstream:
        upstream.behaviour = "hangs"
        asked = asyncio.create_task(ask(models, upstream))
        await settled(lambda: upstream.calls)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await settled(lambda: upstream.hung_up == 1 and upstream.open == 0)
        assert models.connections == 0


async def test_ten_thousand_callers_that_leave_leave_nothing_behind(models: Models) -> None:
    async with ranker() as upstream:
        model = models.model("m", upstream.contract)
        upstream.behaviour, upstream.delay = "slow", 0.01
        before = len(asyncio.all_tasks())
        for turn in range(100):
            asked = [asyncio.create_task(model.predict(rows_of(1), 1, call())) for _ in range(100)]
            await asyncio.sleep(0.0002 * (turn % 20))
            for task in asked:
                task.cancel()
            results = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError | Prediction) for result in results)
        upstream.behaviour = "well"
        await ask(models, upstream)
        await settled(lambda: upstream.open == models.connections <= 5)
        await settled(lambda: len(asyncio.all_tasks()) <= before + 5 * upstream.open)
        gc.collect()


async def test_a_connection_is_replaced_at_its_age() -> None:
    models = Models(max_age=0.05)
    async with ranker() as upstream:
        for _ in range(10):
            await ask(models, upstream)
            await asyncio.sleep(0.01)
        assert upstream.opened >= 2
        await settled(lambda: upstream.open == 0)
        assert models.connections == 0
    await models.aclose()


async def test_a_connection_that_reaches_its_age_in_an_exchange_serves_no_other() -> None:
    models = Models(max_age=0.05)
    async with ranker() as upstream:
        upstream.behaviour, upstream.delay = "slow", 0.08
        for _ in range(3):
            await ask(models, upstream)
        assert upstream.opened == 3
    await models.aclose()


async def test_calls_are_spread_over_the_connections_so_that_each_replica_gets_its_part(
    models: Models,
) -> None:
    async with ranker() as upstream:
        upstream.behaviour, upstream.delay = "slow", 0.02
        contract = upstream.contract
        await asyncio.gather(
            *(models.model(f"m{n}", contract).predict(rows_of(1), 1, call()) for n in range(4))
        )
        assert models.connections == 4
        served_before = len(upstream.calls)
        for _ in range(8):
            await ask(models, upstream)
        assert len({received.connection for received in upstream.calls[served_before:]}) == 4
        assert upstream.opened == 4


async def test_closing_fails_what_is_under_way_and_asks_nobody_again() -> None:
    models = Models()
    async with ranker() as upstream:
        upstream.behaviour = "hangs"
        asked = asyncio.create_task(ask(models, upstream))
        await settled(lambda: upstream.calls)
        await models.aclose()
        with pytest.raises(UpstreamFailed):
            await asked
        assert models.connections == 0
        with pytest.raises(UpstreamFailed, match="shutting down"):
            await ask(models, upstream)


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        ({"share": [1.0], "days": [1]}, 1, "input key is missing"),
        ({"share": [1.0, 2.0], "days": [1], "key": ["k"]}, 1, "input share has 2 values for 1 rows"),
        ({"share": ["x"], "days": [1], "key": ["k"]}, 1, "could not convert"),
    ],
)
async def test_inputs_that_are_not_the_contract_s_are_a_fault_of_the_caller(
    models: Models, columns: Any, rows: int, message: str
) -> None:
    async with ranker() as upstream:
        with pytest.raises(ValueError, match=message):
            await models.model("m", upstream.contract).predict(columns, rows, call())
        assert upstream.calls == []


@pytest.mark.parametrize("url", ["https://x", "ftp://x", "http://", "x"])
def test_only_http_is_spoken(url: str) -> None:
    contract = ranker().contract.model_copy(update={"url": url})
    with pytest.raises(ValueError, match="http://host"):
        Models().model("m", contract)
