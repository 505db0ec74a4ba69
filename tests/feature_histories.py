# SPDX-License-Identifier: Apache-2.0
"""Random histories of events: late, ahead of time, out of order, sent twice; and the times at which to ask.

A history is drawn from a `random.Random`, which hypothesis can stand in for, so that a failure shrinks. Gaps, delays
and questions fall on the edges of windows, tiles and lateness far more often than chance would have it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from feature_oracle import SKEW, Happened

HOUR, MINUTE = 3_600_000, 60_000
GAPS = (0, 0, 1, 3, 250, 999, 1_000, 5_000, 30_000, MINUTE, 7 * MINUTE, HOUR)
PACES = (len(GAPS) - 4, len(GAPS) - 1, len(GAPS))  # a busy history has only short gaps
DELAYS = (
    0, 0, 0, 1, 2, 999, 1_000, 1_001, 5_000, MINUTE - 1, MINUTE, 5 * MINUTE, HOUR - 1, HOUR, HOUR + 1,
    62_000, 62_000, 310_000, 310_000,  # once around a ring of 60 tiles and 2
    -1, -500, -SKEW, -SKEW - 1,
)  # fmt: skip
AMOUNTS = (0, 1, -1, 0.1, 0.2, 0.005, 0.015, 2.675, -3.33, 10.25, 1e6, -7, 1e-9, 123456.785)
ENTITIES = ("1467", "1467", "1467", "a|b", "50%", "ä")
TYPES = ("click", "click", "purchase", "purchase", "purchase", "view")


@dataclass
class History:
    """`steps`: an event, or a question (entity, time in ms)."""

    steps: list[Happened | tuple[str, int]] = field(default_factory=list)

    @property
    def events(self) -> list[Happened]:
        return [step for step in self.steps if isinstance(step, Happened)]

    @property
    def questions(self) -> int:
        return len(self.steps) - len(self.events)


def history(random: Random, start: int, length: int, windows: tuple[int, ...]) -> History:
    """Arrivals rise from `start` (ms); `windows` in ms are those at whose edges the questions are asked."""
    drawn, now, pace = History(), start, GAPS[: random.choice(PACES)]
    for number in range(random.randint(1, length)):
        now += random.choice(pace)
        drawn.steps.append(_event(random, f"{start}-{number}", drawn.events, now))
        if random.randint(0, 2) == 0:
            drawn.steps += _questions(random, drawn, now, windows)
    drawn.steps += _questions(random, drawn, now, windows)
    return drawn


def _event(random: Random, name: str, sent: list[Happened], now: int) -> Happened:
    """One of five was sent before, one of five happened in the same millisecond as another."""
    kind = random.randint(0, 4) if sent else 4
    if kind == 0:
        return random.choice(sent)._replace(arrival=now)
    data = {
        "customer_id": random.choice(ENTITIES),
        "amount": random.choice(AMOUNTS),
        "quantity": random.randint(-3, 12),
        "channel": random.choice(("web", "store")),
        "category": random.choice(("", "tea", "coffee", "käse", "z")),
        "gift": random.choice((True, False)),
    }
    time = random.choice(sent).time if kind == 1 else now - random.choice(DELAYS)
    return Happened(name, random.choice(("shop", "app")), random.choice(TYPES), time, now, data)


def _questions(
    random: Random, drawn: History, now: int, windows: tuple[int, ...]
) -> Iterator[tuple[str, int]]:
    """Now, and when some event is about to leave a window."""
    edge = random.choice(drawn.events).time + random.choice(windows) + random.randint(-1, 1)
    for time in {now, max(now, edge), now + random.choice(GAPS)}:
        yield random.choice(ENTITIES), time
