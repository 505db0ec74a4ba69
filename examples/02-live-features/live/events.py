# SPDX-License-Identifier: Apache-2.0
"""Real baskets as CloudEvents, a line each: one event an item, because an item is what windows count.

The data know the moment of a basket and nothing of the order within it, so all its events have one time. The times are
those of the data, in 2017, unless they are moved: such times are simulated, as the shopping itself is.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from live.history import History

DAY_MS = 86_400_000
WEEKS_MS = 28 * DAY_MS
TYPE = "purchase"


@dataclass(frozen=True)
class Replay:
    """What is replayed: the last day of everybody, and the last four weeks of some households, until a moment.

    `moved` is by how much later the events say that they happened.
    """

    until: datetime = datetime(2017, 11, 29, 2, 8, 46, tzinfo=UTC)
    households: Sequence[int] = (13, 1467)
    moved: timedelta = timedelta()


def lines(history: History, replay: Replay) -> NDArray[np.int64]:
    """The lines of the history that are replayed, by time."""
    until = int(replay.until.timestamp() * 1000)
    age = until - history.time_ms
    whose = np.isin(history.household, replay.households)
    chosen = np.flatnonzero((age >= 0) & ((age < DAY_MS) | (whose & (age < WEEKS_MS))))
    ordered: NDArray[np.int64] = chosen[np.argsort(history.time_ms[chosen], kind="stable")]
    return ordered


def events(history: History, replay: Replay) -> Iterator[dict[str, Any]]:
    """The purchases as CloudEvents in structured form."""
    keys, stores = history.journey.items.key, history.journey.baskets.store
    for line in lines(history, replay).tolist():
        basket = int(history.basket[line])
        basket_id, product = str(history.basket_id[basket]), keys[history.item[line]]
        moment = datetime.fromtimestamp(history.at_ms[basket] / 1000, tz=UTC) + replay.moved
        yield {
            "specversion": "1.0",
            "id": f"{basket_id}-{product}",
            "source": f"/stores/{stores[basket]}",
            "type": TYPE,
            "time": moment.isoformat().replace("+00:00", "Z"),
            "data": {
                "household_id": str(history.household[line]),
                "product_id": product,
                "basket_id": basket_id,
                "amount": int(history.cents[line]) / 100,
            },
        }


def write(history: History, replay: Replay, file: Path) -> int:
    """Write the events, a line each; how many there are."""
    texts = [json.dumps(event, separators=(",", ":")) for event in events(history, replay)]
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return len(texts)
