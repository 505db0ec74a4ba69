# SPDX-License-Identifier: Apache-2.0
"""A feature store that is away, stands still or starts again costs values and never an answer, and says so."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any, Self

import httpx
import pytest
from kube import eventually
from live_shop import LiveShop, frozen, live, processes_of, purchase, request, since
from shoppers import Answer, Load

__all__ = ["live"]
pytestmark = pytest.mark.e2e

RATE = 20.0
RECOVERY_SECONDS = 50.0  # ten times the goal
LOOK_UPS = {"household", "habit", "product"}


def degraded(answer: Answer) -> set[str]:
    return {one["step"] for one in answer.body.get("degraded", ())}


def redis_pod(live: LiveShop) -> dict[str, Any]:
    (pod,) = live.ready_pods("default-store")
    return pod


def whole_again(live: LiveShop, load: Load) -> float:
    """Seconds until answers come from every step again, three in a row."""
    begun = time.monotonic()
    eventually(
        lambda: len(last := load.answers[-3:]) == 3 and all(a.at > begun and not degraded(a) for a in last),
        "every step contributes again",
        RECOVERY_SECONDS,
    )
    return time.monotonic() - begun


def told(load: Load, begun: float) -> int:
    """How many answers after a moment named a lookup."""
    return sum(bool(degraded(answer) & LOOK_UPS) for answer in load.since(begun))


def test_a_redis_that_stands_still_costs_no_request_and_is_named(live: LiveShop) -> None:
    with Load(live.at("live-basket"), request(), RATE) as load:
        time.sleep(1)
        begun = time.monotonic()
        with frozen(redis_pod(live), "redis-server"):
            time.sleep(2)
        recovered = whole_again(live, load)
    print(f"\nRedis stood still for 2 s: {told(load, begun)} answers named it, whole {recovered:.1f} s after")
    assert load.failed == []
    assert told(load, begun) > 0


def test_a_redis_that_is_killed_costs_no_request_and_comes_back_by_itself(live: LiveShop) -> None:
    with Load(live.at("live-basket"), request(), RATE) as load:
        time.sleep(1)
        begun = time.monotonic()
        for process in processes_of(redis_pod(live), "redis-server"):
            os.kill(process, signal.SIGKILL)
        eventually(lambda: told(load, begun), "an answer names the lookup", 20)
        recovered = whole_again(live, load)
    print(f"\nRedis killed: {told(load, begun)} answers named it, whole {recovered:.1f} s after the first")
    assert load.failed == []


def test_values_that_cannot_be_asked_for_are_never_passed_off_as_known(live: LiveShop) -> None:
    """Each value is what was read last or the default, and STALE either way."""
    with frozen(redis_pod(live), "redis-server"):
        time.sleep(0.5)
        answer = live.ask("live-basket", request(customer="never seen before"))
    household = next(step for step in answer["explain"] if step["step"] == "household")
    assert {feature["status"] for feature in household["features"]} == {"STALE"}
    assert {one["step"] for one in answer["degraded"]} >= LOOK_UPS
    eventually(live.contributes, "every step contributes again", RECOVERY_SECONDS)


class Sender:
    """Sends purchases of one product one after the other, and keeps when each was taken."""

    def __init__(self, live: LiveShop, product: str) -> None:
        self._url, self._product = f"{live.ingest}/v1/events", product
        self.taken: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(30)

    def _run(self) -> None:
        kind = {"content-type": "application/cloudevents+json"}
        with httpx.Client(timeout=10) as client:
            number = 0
            while not self._end.is_set():
                event = purchase(number, self._product, household=self._product)
                answer = client.post(self._url, json=event, headers=kind)
                if answer.status_code == 202:
                    self.taken.append(time.monotonic())
                    number += 1
                else:
                    assert answer.status_code == 503, answer.text
                    time.sleep(0.2)  # not taken, so it is sent again


def test_a_redis_that_starts_again_has_lost_at_most_what_its_fsync_says(live: LiveShop) -> None:
    """fsync everysec: what was taken more than a second (two, where the disk is slow) before the crash is there."""
    product = str(time.time_ns())[-8:]  # as long as the views take
    with Sender(live, product) as sender:
        eventually(lambda: len(sender.taken) > 60, "events are taken", 60)
        time.sleep(3)
        crashed = time.monotonic()
        for process in processes_of(redis_pod(live), "redis-server"):
            os.kill(process, signal.SIGKILL)
        eventually(lambda: sender.taken[-1] > crashed + 1, "events are taken again", 60)
        print(f"\ningest takes events again {since(crashed)} after Redis was killed")
    live.settled()
    count = live.features("product", product_id=product)["purchases_24h"]
    before = sum(at < crashed for at in sender.taken)
    after = sum(at >= crashed for at in sender.taken)
    safe = sum(at < crashed - 2 for at in sender.taken)
    print(f"of {before} events taken before the crash {before + after - count} were lost (fsync everysec)")
    assert safe + after <= count <= before + after
