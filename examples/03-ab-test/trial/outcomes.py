# SPDX-License-Identifier: Apache-2.0
"""What a shop tells of a visit: that products were shown, and which of them went into the cart.

A household added to its cart what, of the products shown, it bought in truth. So the replay says which ranker names
what households want; whether it makes them buy more, only real shoppers can say.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

SHOWN, ADDED = "last_call", "add_to_cart"
Event = dict[str, Any]


@dataclass(frozen=True)
class Visit:
    """`request` as the graph takes it; `bought`: dollars by product."""

    basket: str
    request: Mapping[str, Any]
    bought: Mapping[str, float]

    @property
    def household(self) -> str:
        return str(self.request["customer"])


def read(file: Path, limit: int | None = None) -> list[Visit]:
    """The first visits, by time."""
    with file.open(encoding="utf-8") as lines:
        found = [json.loads(line) for line in islice(lines, limit)]
    return [Visit(one["basket"], one["request"], one["bought"]) for one in found]


@dataclass(frozen=True)
class Told:
    """Makes the events of one run: `run` is in their ids, so a run that is repeated counts as other visits."""

    run: str

    def of(self, visit: Visit, answer: Mapping[str, Any], at: datetime) -> list[Event]:
        """The events of a visit whose answer came at this time."""
        return list(self._events(visit, answer, at.isoformat()))

    def _events(self, visit: Visit, answer: Mapping[str, Any], time: str) -> Iterator[Event]:
        recommended = answer["recommendations"]
        yield self._event(visit, SHOWN, "shown", time, products=len(recommended))
        for each in recommended:
            name = each["product"]
            if name in visit.bought:
                about = {"product": name, "position": each["position"], "amount": visit.bought[name]}
                yield self._event(visit, ADDED, name, time, **about)

    def _event(self, visit: Visit, kind: str, what: str, time: str, **about: Any) -> Event:
        data = {"household_id": visit.household, "basket_id": visit.basket, **about}
        return {
            "specversion": "1.0",
            "id": f"{self.run}-{visit.basket}-{what}",
            "source": f"/tills/{visit.request['store']}",
            "type": kind,
            "time": time,
            "data": data,
        }
