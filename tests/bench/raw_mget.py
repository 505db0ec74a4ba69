# SPDX-License-Identifier: Apache-2.0
"""The floor of a lookup: MGET of the same keys by redis-py's own client, on uvloop with hiredis, and nothing else.

A closed loop of so many callers in a process of its own; prints one JSON object, as load.py does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop
from redis.asyncio import Redis


async def call(client: Redis, keys: list[bytes], until: float, latencies: list[float]) -> None:
    while (began := time.perf_counter()) < until:
        await client.mget(keys)
        latencies.append(time.perf_counter() - began)


async def measure(port: int, keys: list[bytes], callers: int, seconds: float) -> dict[str, float]:
    latencies: list[float] = []
    async with Redis(port=port) as client:
        await asyncio.gather(*(client.mget(keys) for _ in range(callers)))
        spent = time.process_time()
        until = time.perf_counter() + seconds
        await asyncio.gather(*(call(client, keys, until, latencies) for _ in range(callers)))
        spent = time.process_time() - spent
    latencies.sort()
    count = len(latencies)
    return {
        "requests": count,
        "rate": count / seconds,
        "p50": latencies[count // 2] * 1000,
        "p99": latencies[int(count * 0.99)] * 1000,
        "cpu": spent / count * 1e6,
        "failures": 0,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("keys", type=Path, help="JSON list of the keys")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    wanted = [key.encode() for key in json.loads(given.keys.read_text())]
    json.dump(uvloop.run(measure(given.port, wanted, given.connections, given.seconds)), sys.stdout)
