# SPDX-License-Identifier: Apache-2.0
"""Requests at a steady rate, each of another unit: what one waits does not depend on how fast others are served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from load import request_bytes

PATH = "/basket"
Body = Callable[[int], Mapping[str, Any]]


class Waited(NamedTuple):
    """In ms; failures are answers other than 200."""

    p50: float
    p99: float
    failures: int


async def paced(port: int, body: Body, count: int, rate: float, connections: int = 2) -> Waited:
    """`count` requests at `rate` a second over all connections; inf sends each when the last is answered."""
    pause = connections / rate
    shares = [range(first, count, connections) for first in range(connections)]
    due = perf_counter()
    starts = [due + place * (1 / rate) for place in range(connections)]
    took = await asyncio.gather(
        *(_share(port, body, *each, pause) for each in zip(shares, starts, strict=True))
    )
    whole = np.concatenate([times for times, _ in took])
    p50, p99 = np.percentile(whole, [50, 99]) * 1000
    return Waited(float(p50), float(p99), sum(failures for _, failures in took))


async def _share(port: int, body: Body, numbers: range, due: float, pause: float) -> tuple[list[float], int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took, failures = [], 0
    for number in numbers:
        await asyncio.sleep(max(0.0, due - perf_counter()))
        due += pause
        began = perf_counter()
        writer.write(request_bytes(PATH, json.dumps(body(number)).encode()))
        failures += await _status(reader) != b"200"
        took.append(perf_counter() - began)
    writer.close()
    return took, failures


async def _status(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0]
    await reader.readexactly(int(length))
    return head.split(b" ", 2)[1]
