# SPDX-License-Identifier: Apache-2.0
"""Whatever bytes a server sends: an answer within its contract or one exception, in time, and nothing left open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from upstreams import Upstream

from endcap_api.v1alpha1.values import Column
from endcap_runtime.graph.upstream import Call, Models, Prediction, UpstreamFailed

SECONDS = 0.15
SCALARS = [Column(name="score", type="number")], [Column(name="score", type="number")]
ARRAYS = (
    [Column.model_validate({"name": "item", "type": "array", "items": {"type": "string"}})],
    [Column.model_validate({"name": "item", "type": "array", "items": {"type": "string"}})],
)


async def asked(kind: Any, spoil: Any) -> Prediction | UpstreamFailed:
    models, columns = Models(), {"score": [1.0, 2.0]} if kind is SCALARS else {"item": [["a"], ["b", "c"]]}
    async with Upstream(*kind, lambda given: given, behaviour="spoils", spoil=spoil) as upstream:
        model = models.model("m", upstream.contract)
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            return await model.predict(columns, 2, Call(start + SECONDS, "r-1"))
        except UpstreamFailed as failed:
            return failed
        finally:
            assert loop.time() - start < SECONDS * 2
            await models.aclose()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert models.connections == 0
            assert asyncio.all_tasks() - upstream.tasks == {asyncio.current_task()}


@st.composite
def spoilers(draw: st.DrawFn) -> Any:
    """What a broken server, proxy or wire makes of an answer."""
    place, length = draw(st.integers(0, 400)), draw(st.integers(0, 40))
    noise = draw(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from(
                [
                    b"\r\n",
                    b"\r\n\r\n",
                    b"content-length: 5\r\n",
                    b"transfer-encoding: chunked\r\n",
                    b"\x00",
                    b"-1",
                    b"HTTP/1.1 200 OK\r\n",
                ]
            ),
        )
    )
    how = draw(st.sampled_from(["cut", "insert", "replace", "only noise", "repeat"]))
    spoils = {
        "cut": lambda whole: whole[:place] + whole[place + length :],
        "insert": lambda whole: whole[:place] + noise + whole[place:],
        "replace": lambda whole: whole[:place] + noise + whole[place + len(noise) :],
        "only noise": lambda _: noise,
        "repeat": lambda whole: whole[:place] + whole[place : place + length] * 3 + whole[place + length :],
    }
    return spoils[how]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", [SCALARS, ARRAYS], ids=["tensors", "json"])
@settings(max_examples=60, deadline=None)
@given(spoil=spoilers())
def test_spoiled_bytes_are_an_answer_within_the_contract_or_one_exception(
    run: Any, kind: Any, spoil: Any
) -> None:
    result = run(asked(kind, spoil))
    if isinstance(result, Prediction):
        (values,) = result.columns.values()
        assert len(values) == 2
    else:
        assert result.kind in ("timeout", "reset", "malformed", "status", "too_large")
