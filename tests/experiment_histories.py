# SPDX-License-Identifier: Apache-2.0
"""Random histories of exposures and outcomes: sent twice, out of order, late, ahead, before their exposure.

Chance alone would hardly ever meet the edge of a window or of how long an outcome waits; here it does often.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from experiment_oracle import WAIT, Came
from experiment_shop import BANNER, RANKER, cart, exposure, order

HOUR, MINUTE = 3_600_000, 60_000
GAPS = (0, 0, 1, 3, 250, 5_000, MINUTE, 7 * MINUTE, 14 * MINUTE, 15 * MINUTE, 15 * MINUTE + 1, HOUR)
PACES = (len(GAPS) - 6, len(GAPS) - 1, len(GAPS))
DELAYS = (
    0, 0, 0, 1, 2, 999, 5_000, MINUTE - 1, 15 * MINUTE, HOUR - 1, HOUR, HOUR + 1, 2 * HOUR, -1, -500, -MINUTE,
    -MINUTE - 1,
)  # fmt: skip
AMOUNTS = (0, 1, -1, 0.1, 0.2, 2.675, -3.33, 10.25, 499.99, 7, 12.5)
COVARIATES = (0.0, 1.0, 3.0, 0.1, -2.5, 17.0)
UNITS = 4


@dataclass
class History:
    """Arrivals rise; `exposures` and `events` lie in two streams, so neither order says which is applied first."""

    exposures: list[Came] = field(default_factory=list)
    events: list[Came] = field(default_factory=list)


def history(random: Random, run: str, start: int, length: int) -> History:
    """`run` tells the units and ids of one history from those of another."""
    drawn, now, pace = History(), start, GAPS[: random.choice(PACES)]
    for number in range(length):
        now += random.choice(pace)
        if random.randint(0, 2) == 0:
            drawn.exposures.append(Came(now, _exposure(random, run, drawn, now)))
        else:
            drawn.events.append(Came(now, _event(random, f"{run}-{number}", run, drawn, now)))
            if random.randint(0, 9) == 0:
                now = _exposed_at_last(random, drawn, now)
    return drawn


def _exposed_at_last(random: Random, drawn: History, now: int) -> int:
    """A new unit has an outcome, and meets its variant just when that has waited for as long as it may, or later."""
    happened = drawn.events[-1].value
    late = (
        f"late-{len(drawn.events)}"  # what is sent again is of the same unit, so an id is of one unit alone
    )
    unit = f"{happened['data']['customer']}-{late}"
    event = {**happened, "id": f"{happened['id']}-{late}", "data": {**happened["data"], "customer": unit}}
    if "buyer" in event["data"]:
        event["data"]["buyer"] = unit
    drawn.events.append(Came(now, event))
    arrival = now + WAIT + random.choice((-1, 0, 1))
    told = {**_exposure(random, unit, History(), arrival), "unit": unit, "time_ms": now - HOUR}
    drawn.exposures.append(Came(arrival, told))
    return arrival


def _exposure(random: Random, run: str, drawn: History, now: int) -> dict[str, Any]:
    if drawn.exposures and random.randint(0, 3) == 0:
        return dict(random.choice(drawn.exposures).value)
    unit = f"{run}-{random.randrange(UNITS)}"
    if random.randint(0, 1):
        variants, name, metrics = ("control", "treatment"), "ranker-v2", ("revenue", "add-to-cart")
    else:
        variants, name, metrics = ("control", "red", "blue"), "banner", ("carts",)
    reason = random.choice(("assigned", "assigned", "assigned", "forced", "held_out"))
    covariates = {m: random.choice(COVARIATES) for m in metrics if random.randint(0, 1)}
    return exposure(
        unit,
        random.choice(variants),
        experiment=name,
        experiment_id=RANKER if name == "ranker-v2" else BANNER,
        time_ms=now - random.choice(DELAYS),
        served=random.choice((*variants, None)),
        epoch=random.choice((1, 1, 2)),
        reason=reason,
        in_analysis=reason == "assigned",
        covariates=covariates,
    )


def _event(random: Random, identity: str, run: str, drawn: History, now: int) -> dict[str, Any]:
    """One of five was sent before."""
    if drawn.events and random.randint(0, 4) == 0:
        return dict(random.choice(drawn.events).value)
    unit, time = f"{run}-{random.randrange(UNITS)}", now - random.choice(DELAYS)
    if drawn.exposures and random.randint(0, 1):
        met = random.choice(drawn.exposures)
        edge = min(met.arrival, met.value["time_ms"]) + random.choice((0, HOUR)) + random.choice((-1, 0, 1))
        if now - HOUR <= edge <= now:
            unit, time = met.value["unit"], edge
    at = datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
    if random.randint(0, 1):
        return cart(identity, unit, at, random.choice(("web", "app")))
    buyer = random.choice((unit, f"{run}-{random.randrange(UNITS)}"))
    return order(identity, unit, random.choice(AMOUNTS), at, buyer)
