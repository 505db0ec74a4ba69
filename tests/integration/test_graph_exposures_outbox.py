# SPDX-License-Identifier: Apache-2.0
"""Exposures on their way to a store: what a store that is away, slow or that refuses costs, and what it does not."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from exposure_doors import TAKEN, ExposureDoor, Reply, refusing
from prometheus_client import CollectorRegistry, Counter

from endcap_runtime.graph.exposures.ingest import Ingest
from endcap_runtime.graph.exposures.outbox import Exposure, Outbox
from endcap_runtime.graph.exposures.told import Told

DAY = 20_000


class Sender:
    """An outbox, what it counts, and what it remembers."""

    def __init__(self, url: str, most: int = 10_000) -> None:
        self.counted = Counter("exposures", "…", ["outcome"], registry=CollectorRegistry())
        self.told = Told()
        self.outbox = Outbox(Ingest(url), self.told, most, gather=0.01)

    def put(self, *units: str, size: int = 0) -> None:
        """As a request of each unit does it."""
        for unit in units:
            key = hash(unit)
            if self.told.first(key, DAY):
                body = orjson.dumps({"unit": unit, "padding": "x" * size})
                counters = (self.counted.labels("sent"), self.counted.labels("dropped"))
                self.outbox.put(Exposure(key, body, *counters))

    @property
    def sent(self) -> float:
        return self.counted.labels("sent")._value.get()

    @property
    def dropped(self) -> float:
        return self.counted.labels("dropped")._value.get()


@pytest.fixture
async def door() -> AsyncIterator[ExposureDoor]:
    async with ExposureDoor() as door:
        yield door


@pytest.fixture
async def sender(door: ExposureDoor) -> AsyncIterator[Sender]:
    sender = Sender(door.url)
    yield sender
    await sender.outbox.aclose(0.1)


async def until(holds: Callable[[], Any], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_what_comes_together_goes_together_in_order_and_on_one_connection(
    door: ExposureDoor, sender: Sender
) -> None:
    units = [f"u{number}" for number in range(1200)]
    sender.put(*units)
    await until(lambda: sender.sent == 1200)
    assert door.units == units
    assert door.batches == [500, 500, 200]
    assert door.opened == 1
    assert (len(sender.outbox), sender.dropped) == (0, 0)


async def test_a_batch_is_bounded_in_bytes_too(door: ExposureDoor, sender: Sender) -> None:
    sender.put(*(f"u{number}" for number in range(50)), size=100_000)
    await until(lambda: sender.sent == 50)
    assert max(door.batches) == 5, "a store takes a megabyte at most"


async def test_nothing_is_lost_while_ingest_is_away(door: ExposureDoor, sender: Sender) -> None:
    sender.put("before")
    await until(lambda: sender.sent == 1)
    await door.leave()
    units = [f"u{number}" for number in range(2000)]
    for unit in units:
        sender.put(unit)
        if unit.endswith("00"):
            await asyncio.sleep(0.05)
    await door.listen()
    await until(lambda: sender.sent == 2001)
    assert sorted(door.units) == sorted(["before", *units])
    assert sender.dropped == 0


@pytest.mark.parametrize("status", [404, 429, 500, 503])
async def test_what_was_not_taken_now_is_sent_again(status: int, door: ExposureDoor, sender: Sender) -> None:
    replies = [Reply(status), Reply(status), TAKEN]
    door.answers = lambda _: replies.pop(0) if len(replies) > 1 else TAKEN
    sender.put("a", "b")
    await until(lambda: sender.sent == 2)
    assert door.units == ["a", "b"]
    assert len(door.batches) == 3


async def test_retry_after_is_obeyed(door: ExposureDoor, sender: Sender) -> None:
    replies = [Reply(429, retry_after="1"), TAKEN]
    door.answers = lambda _: replies.pop(0)
    start = time.monotonic()
    sender.put("a")
    await until(lambda: sender.sent == 1)
    assert time.monotonic() - start >= 1.0
    assert len(door.batches) == 2


async def test_pauses_grow_and_are_not_those_of_all_pods_at_once(door: ExposureDoor, sender: Sender) -> None:
    """A store that comes back must not meet all that waited at the same moment."""
    at: list[float] = []

    def answer(_: object) -> Reply:
        at.append(time.monotonic())
        return Reply(503)

    door.answers = answer
    sender.put("a")
    await until(lambda: len(at) == 4)
    gaps = [after - before for before, after in pairwise(at)]
    assert gaps[0] >= 0.2
    assert gaps[1] >= 0.4
    assert gaps[2] >= 0.8
    drawn = {round(sender.outbox._pause_after(1.0), 6) for _ in range(8)}
    assert len(drawn) == 8


async def test_one_that_does_not_fit_costs_no_other(door: ExposureDoor, sender: Sender) -> None:
    door.answers = _naming({"bad-1", "bad-2"})
    sender.put("good-1", "bad-1", "good-2", "bad-2", "good-3")
    await until(lambda: sender.sent == 3)
    assert door.units == ["good-1", "good-2", "good-3"]
    assert sender.dropped == 2


def _naming(bad: set[str]) -> Callable[[list[dict[str, Any]]], Reply]:
    def answer(exposures: list[dict[str, Any]]) -> Reply:
        places = [place for place, each in enumerate(exposures) if each["unit"] in bad]
        return refusing(*(f"exposures[{place}].unit" for place in places)) if places else TAKEN

    return answer


@pytest.mark.parametrize(
    "refusal", [Reply(422, {"detail": "no"}), Reply(413), refusing("exposures[700].unit")]
)
async def test_one_that_is_refused_and_not_named_is_found(
    refusal: Reply, door: ExposureDoor, sender: Sender
) -> None:
    door.answers = lambda exposures: refusal if any(each["unit"] == "u77" for each in exposures) else TAKEN
    sender.put(*(f"u{number}" for number in range(400)))
    await until(lambda: sender.sent + sender.dropped == 400)
    assert sender.dropped == 1
    assert "u77" not in door.units
    assert len(door.batches) < 30


async def test_a_store_that_refuses_all_is_not_asked_without_end(door: ExposureDoor, sender: Sender) -> None:
    """As one of another version may: what it names is a few at a time, and all is told again."""
    door.answers = lambda _: refusing("exposures[0].schema")
    sender.put(*(f"u{number}" for number in range(400)))
    await until(lambda: sender.dropped > 12)
    await asyncio.sleep(1.0)
    assert len(door.batches) < 20
    door.answers = lambda _: TAKEN
    await until(lambda: sender.sent + sender.dropped == 400)


async def test_of_too_many_the_oldest_go_and_are_told_again_when_they_come_again(door: ExposureDoor) -> None:
    await door.leave()
    sender = Sender(door.url, most=1000)
    sender.put(*(f"u{number}" for number in range(1500)))
    await asyncio.sleep(0.3)  # a batch is under way, or has been
    assert len(sender.outbox) == 1000
    assert sender.dropped == 500
    await door.listen()
    await until(lambda: sender.sent == 1000)
    assert "u0" not in door.units
    sender.put("u0", "u1400")
    await until(lambda: sender.sent == 1001)
    assert door.units[-1] == "u0", "u1400 has been told"
    await sender.outbox.aclose(1)


async def test_what_waits_is_bounded_in_bytes(door: ExposureDoor) -> None:
    await door.leave()
    sender = Sender(door.url)
    sender.put(*(f"u{number}" for number in range(400)), size=200_000)
    assert len(sender.outbox) * 200_000 <= 32 << 20
    assert sender.dropped == 400 - len(sender.outbox)
    await sender.outbox.aclose(0.05)


async def test_what_was_taken_waits_no_more(door: ExposureDoor, sender: Sender) -> None:
    """Bytes, too: else an outbox would end up with room for nothing."""
    for first in range(0, 400, 100):
        sender.put(*(f"u{number}" for number in range(first, first + 100)), size=200_000)
        await until(lambda sent=first + 100: sender.sent == sent)
    assert sender.dropped == 0


async def test_a_pod_that_leaves_sends_what_waits(door: ExposureDoor) -> None:
    sender = Sender(door.url)
    sender.outbox._gather = 30.0
    sender.put("a", "b")
    await asyncio.sleep(0.05)
    assert door.units == []
    await sender.outbox.aclose(5)
    assert door.units == ["a", "b"]


async def test_a_pod_that_leaves_does_not_sit_out_a_pause(door: ExposureDoor, sender: Sender) -> None:
    replies = [Reply(503, retry_after="30"), Reply(503, retry_after="30")]
    door.answers = lambda _: replies.pop() if replies else TAKEN
    sender.put("a")
    await until(lambda: len(door.batches) == 1)
    await sender.outbox.aclose(5)
    assert door.units == ["a"]


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_a_pod_that_leaves_waits_no_longer_than_it_may_and_counts_what_is_lost(
    how: str, door: ExposureDoor, caplog: pytest.LogCaptureFixture
) -> None:
    sender = Sender(door.url)
    if how == "away":
        await door.leave()
    door.hangs = True
    sender.put("4711-secret", "b", "c")
    await asyncio.sleep(0.1)
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "endcap.graph"):
        await sender.outbox.aclose(0.5)
    assert time.monotonic() - start < 5
    assert (sender.sent, sender.dropped, len(sender.outbox)) == (0, 3, 0)
    assert "4711" not in caplog.text


async def test_the_log_says_why_and_names_no_unit(
    door: ExposureDoor, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    message = "exposures[0].unit 4711-secret is no unit"
    errors = [{"field": "exposures[0].covariates.4711-secret", "message": message}]
    door.answers = lambda _: Reply(422, {"detail": message, "errors": errors})
    with caplog.at_level(logging.WARNING, "endcap.graph"):
        sender.put("4711-secret")
        await until(lambda: sender.dropped == 1)
    (record,) = caplog.records
    assert record.__dict__["detail"] == "answered 422: exposures[0].covariates does not fit"


async def test_a_store_that_stands_still_holds_up_no_other(door: ExposureDoor) -> None:
    from endcap_runtime.graph.exposures.telling import Exposures

    door.hangs = True
    async with ExposureDoor() as other:
        exposures = Exposures()
        sender = Sender(other.url)
        for url in (door.url, other.url):
            exposures._outbox(url).put(
                Exposure(1, b'{"unit":"a"}', sender.counted.labels("sent"), sender.counted.labels("dropped"))
            )
        await until(lambda: other.units == ["a"])
        assert exposures.waiting == 1
        await exposures.aclose(0.2)
