# SPDX-License-Identifier: Apache-2.0
"""Calls that arrive together go as one, and no caller notices but by the time it saves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upstreams import Upstream

from endcap_api.v1alpha1.values import Column
from endcap_runtime.graph.upstream import Call, Models, Prediction, UpstreamFailed

INPUTS = [Column(name="x", type="number")]
OUTPUTS = [Column(name="score", type="number")]


def doubled(given: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"score": [2 * x for x in given["x"]]}


def nan_for_thirteen(given: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"score": [float("nan") if x == 13 else 2 * x for x in given["x"]]}


@pytest.fixture
async def models() -> AsyncIterator[Models]:
    models = Models()
    yield models
    await models.aclose()


def call(seconds: float = 5.0) -> Call:
    return Call(asyncio.get_running_loop().time() + seconds, "r-1")


async def together(
    models: Models, upstream: Upstream, *parts: list[float], seconds: float = 5.0
) -> list[Any]:
    """All parts asked in one turn of the event loop."""
    model = models.model("m", upstream.contract)
    asked = [model.predict({"x": part}, len(part), call(seconds)) for part in parts]
    return await asyncio.gather(*asked, return_exceptions=True)


def scores(results: list[Any]) -> list[list[float]]:
    return [result.columns["score"].tolist() for result in results]


async def test_the_first_goes_at_once_and_the_others_of_the_turn_as_one(models: Models) -> None:
    async with Upstream(INPUTS, OUTPUTS, doubled) as upstream:
        results = await together(models, upstream, [1.0], [2.0, 3.0], [4.0], [5.0])
        assert scores(results) == [[2.0], [4.0, 6.0], [8.0], [10.0]]
        assert [received.columns["x"] for received in upstream.calls] == [[1.0], [2.0, 3.0, 4.0, 5.0]]


async def test_a_bad_row_fails_its_own_caller_alone(models: Models) -> None:
    async with Upstream(INPUTS, OUTPUTS, nan_for_thirteen) as upstream:
        results = await together(models, upstream, *[[float(n)] for n in range(10, 16)])
        failed = [isinstance(result, UpstreamFailed) for result in results]
        assert failed == [False, False, False, True, False, False]
        assert scores([results[2], results[4]]) == [[24.0], [28.0]]


@pytest.mark.parametrize("behaviour", ["status_500", "status_422"])
async def test_when_the_shared_call_is_refused_each_goes_alone(models: Models, behaviour: Any) -> None:
    async with Upstream(INPUTS, OUTPUTS, doubled, behaviour=behaviour) as upstream:
        results = await together(models, upstream, [1.0], [2.0], [3.0])
        assert [result.kind for result in results] == ["status"] * 3
        assert [received.columns["x"] for received in upstream.calls[:2]] == [[1.0], [2.0, 3.0]]
        assert sorted(received.columns["x"] for received in upstream.calls[2:]) == [[2.0], [3.0]]


async def test_each_caller_keeps_its_own_deadline_and_the_upstream_hears_the_latest(models: Models) -> None:
    async with Upstream(INPUTS, OUTPUTS, doubled, behaviour="slow", delay=0.3) as upstream:
        model = models.model("m", upstream.contract)
        asked = [
            model.predict({"x": [float(n)]}, 1, call(seconds)) for n, seconds in enumerate([5.0, 0.1, 5.0])
        ]
        first, second, third = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(first, Prediction)
        assert isinstance(second, UpstreamFailed)
        assert second.kind == "timeout"
        assert third.columns["score"].tolist() == [4.0]
        assert int(upstream.calls[1].headers["endcap-timeout-ms"]) > 4000


async def test_a_caller_that_leaves_does_not_take_the_others_along(models: Models) -> None:
    async with Upstream(INPUTS, OUTPUTS, doubled, behaviour="slow", delay=0.1) as upstream:
        model = models.model("m", upstream.contract)
        asked = [asyncio.create_task(model.predict({"x": [float(n)]}, 1, call())) for n in range(3)]
        await asyncio.sleep(0.05)
        asked[1].cancel()
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(results[1], asyncio.CancelledError)
        assert scores([results[0], results[2]]) == [[0.0], [4.0]]
        assert upstream.hung_up == 0


async def test_when_all_have_left_the_shared_call_ends(models: Models) -> None:
    async with Upstream(INPUTS, OUTPUTS, doubled, behaviour="hangs") as upstream:
        model = models.model("m", upstream.contract)
        asked = [asyncio.create_task(model.predict({"x": [float(n)]}, 1, call())) for n in range(5)]
        await asyncio.sleep(0.05)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        async with asyncio.timeout(5):
            while upstream.hung_up < 2 or models.connections:  # noqa: ASYNC110 (it is the other end of a socket)
                await asyncio.sleep(0.005)


async def test_a_shared_call_is_bounded(models: Models) -> None:
    async with Upstream(INPUTS, OUTPUTS, doubled) as upstream:
        results = await together(models, upstream, *[[float(n)] * 500 for n in range(20)])
        assert scores(results) == [[2.0 * n] * 500 for n in range(20)]
        assert max(len(received.columns["x"]) for received in upstream.calls) <= 4096


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5), min_size=1, max_size=12))
def test_everybody_gets_exactly_the_answer_to_its_own_rows(parts: list[list[float]]) -> None:
    async def run() -> list[Any]:
        models = Models()
        async with Upstream(INPUTS, OUTPUTS, doubled) as upstream:
            results = await together(models, upstream, *parts)
            await models.aclose()
            return results

    assert scores(asyncio.run(run())) == [[2 * x for x in part] for part in parts]
