# SPDX-License-Identifier: Apache-2.0
"""A hundred thousand requests of as many units: every one is told, and nothing is kept of them."""

from __future__ import annotations

import asyncio
import gc
import resource
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from exposure_doors import TAKEN, ExposureDoor, Reply
from shop_exposures import TryingEngine, TryingShop, experiment

from endcap_runtime.graph.exposures import Passed
from endcap_runtime.graph.exposures.told import Told
from endcap_runtime.graph.query import Query

REQUESTS, WARM = 100_000, 20_000
REMEMBERED = 2_000


async def _query_of(shop: TryingShop, engine: TryingEngine) -> Query:
    """A request as it is when its answer has been sent."""
    seen: list[Query] = []
    engine.app._after = (*engine.app._after, lambda _p, query, _s, _t: seen.append(query))
    await engine.ask(customer="u0", cart=["Paper plates"], store="330")
    return seen[0]


async def test_memory_is_flat(tmp_path: Path) -> None:
    counted = 0

    def count(exposures: list[Mapping[str, Any]]) -> Reply:
        nonlocal counted
        counted += len(exposures)
        door.taken.clear()
        return TAKEN

    async with ExposureDoor(answers=count) as door, TryingShop(tmp_path) as shop:
        engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url))
        query = await _query_of(shop, engine)
        engine.exposures._told = Told(REMEMBERED)
        kept = []
        for number in range(REQUESTS):
            _tell(engine, query, f"u{number}")
            if number % 1_000 == 0:
                await _until_fewer_wait(engine, 4_000)
            if number in (WARM, REQUESTS - 1):
                await _until_fewer_wait(engine, 1)
                kept.append(_resident())
        assert counted >= REQUESTS
        assert engine.counted("experiment_exposures_total", graph="basket", outcome="dropped") == 0
    grown = kept[1] - kept[0]
    assert grown < 12_000_000, f"{grown / (REQUESTS - WARM):.0f} bytes a request"


def _tell(engine: TryingEngine, query: Query, unit: str) -> None:
    served = engine.serving.served
    assert served is not None
    given = query.assignments["ranker-v2"]
    query.assignments = {"ranker-v2": replace(given, unit=unit)}
    engine.exposures.tell(served.pipeline.exposures, query, Passed(monotonic(), 0.01))


async def _until_fewer_wait(engine: TryingEngine, most: int) -> None:
    while engine.exposures.waiting >= most:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def _resident() -> int:
    """Bytes of this process, once what is garbage is gone."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
