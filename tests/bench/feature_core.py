# SPDX-License-Identifier: Apache-2.0
"""What the core of the feature store costs: evaluating states, and Redis' time an event and a read.

    python tests/bench/feature_core.py

One customer and 200 items in three views of four features, as a ranking graph asks for them. Redis' time is what it
says of itself (INFO commandstats and used_cpu), so what the client costs is not in it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from feature_views import CLICKS, SPEND, a_view, store_config, stream, windowed
from redis_servers import redis_server

from endcap_runtime.features.layout import Event, Update, View
from endcap_runtime.features.store import FeatureRedis

ITEMS = 200
EVENTS = 60_000
BATCH = 500
GOAL = 20_000  # events a second of one core of Redis, with de-duplication
PRODUCT = [{"name": "product_id"}]
VIEWED = {"name": "views", "type": "integer", "event": "view", "aggregation": "count"}


def views() -> tuple[View, View, View]:
    """Of the customer, events; of the items, tiles and a row."""
    mean = {**SPEND, "name": "basket", "aggregation": "mean"}
    customer = a_view(stream(), windowed(CLICKS, "5m", "1h"), windowed(SPEND, "24h"), windowed(mean, "24h"))
    activity = a_view(
        stream("tiles", tiles={"1h": "1m", "24h": "15m"}), windowed(CLICKS, "1h", "24h"), windowed(VIEWED, "1h", "24h"),
        keys=PRODUCT,
    )  # fmt: skip
    row = a_view(
        {"precomputed": {}}, {"name": "price", "type": "number"}, {"name": "stock", "type": "integer"},
        {"name": "brand", "type": "string"}, {"name": "margin", "type": "number"}, keys=PRODUCT,
    )  # fmt: skip
    return customer, activity, row


def median_us(call: Callable[[], Any], times: int = 2000) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - start)
    return statistics.median(taken) / 1000


def sent(random: Random, view: View, now: int, number: int) -> Update:
    data = {
        "customer_id": str(random.randrange(ITEMS)),
        "product_id": str(random.randrange(ITEMS)),
        "amount": 12.5,
    }
    kind = random.choice(("click", "view", "purchase") if view.kind == "tiles" else ("click", "purchase"))
    event = Event(f"{view.name}-{number}", "shop", kind, now - random.randrange(3_000_000), data)
    update = view.updates(event, now)
    return update or sent(random, view, now, number)


async def filled(redis: FeatureRedis, view: View, events: int) -> tuple[float, float]:
    """Redis' microseconds an event: in its functions, and of the whole process."""
    random, now = Random(7), await redis.now_ms()  # noqa: S311 - no secret
    await redis.apply([sent(random, view, now, -1)])
    updates = [sent(random, view, now, number) for number in range(events)]
    await redis.client.config_resetstat()
    before = await cpu(redis)
    for start in range(0, events, BATCH):
        await redis.apply(updates[start : start + BATCH])
    called = (await redis.client.info("commandstats"))["cmdstat_fcall"]
    return called["usec_per_call"], (await cpu(redis) - before) / events


async def cpu(redis: FeatureRedis) -> float:
    told = await redis.client.info("cpu")
    return (told["used_cpu_user"] + told["used_cpu_sys"]) * 1e6


async def reads(redis: FeatureRedis, keys: Sequence[bytes], times: int = 2000) -> tuple[float, float, float]:
    """Microseconds a read: the client's median, Redis' command, Redis' process."""
    taken = []
    await redis.client.config_resetstat()
    before = await cpu(redis)
    for _ in range(times):
        start = time.perf_counter_ns()
        await redis.read(keys)
        taken.append((time.perf_counter_ns() - start) / 1000)
    after = await cpu(redis)
    told = (await redis.client.info("commandstats"))["cmdstat_mget"]["usec_per_call"]
    return statistics.median(taken), told, (after - before) / times


def told(rate: float) -> str:
    return f"{rate:,.0f}/s a core, goal {GOAL:,}: {'ok' if rate >= GOAL else 'short'}"


async def measure(url: str) -> None:
    redis = await FeatureRedis.open(store_config(url), Path())
    customer, activity, row = views()
    now = await redis.now_ms()
    print(f"{'':44}{'us':>10}")
    for view in (customer, activity):
        inside, whole = await filled(redis, view, EVENTS)
        print(f"{'Redis an event, ' + view.kind + ' (function)':44}{inside:10.1f}")
        print(
            f"{'Redis an event, ' + view.kind + ' (process)':44}{whole:10.1f}   {1e6 / whole:10,.0f}/s a core"
        )
    items = [str(item) for item in range(ITEMS)]
    packed = row.row({"price": 2.5, "stock": 3, "brand": "acme", "margin": 0.25}, now)
    await redis.put([(row.key([item]), packed, now, row.ttl_ms) for item in items])
    asked = [(customer, ["7"]), (activity, items), (row, items)]
    keys = [view.key([entity]) for view, entities in asked for entity in entities]
    states = await redis.read(keys)
    size = sum(len(state or b"") for state in states)
    client, command, process = await reads(redis, keys)
    print(f"{f'read of {len(keys)} states, {size:,} bytes (client)':44}{client:10.1f}")
    print(f"{'read, Redis (command)':44}{command:10.1f}")
    print(f"{'read, Redis (process)':44}{process:10.1f}")
    total, start = 0.0, 0
    for view, entities in asked:
        mine = states[start : start + len(entities)]
        start += len(entities)
        cost = median_us(lambda view=view, mine=mine: view.evaluate(mine, now + 1000))
        total += cost
        print(f"{f'evaluate {view.kind}, {len(mine)} entities':44}{cost:10.1f}")
    print(f"{'evaluate all':44}{total:10.1f}")
    print(f"{'keys of all':44}{median_us(lambda: [v.key([e]) for v, es in asked for e in es]):10.1f}")
    for view in (customer, activity):
        event = Event("1", "shop", "purchase" if view is customer else "click", now, {
            "customer_id": "7", "product_id": "7", "amount": 12.5,
        })  # fmt: skip
        print(
            f"{f'updates of an event, {view.kind}':44}{median_us(lambda e=event, v=view: v.updates(e, now)):10.1f}"
        )
    await redis.aclose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as server:
        uvloop.run(measure(server.url))
