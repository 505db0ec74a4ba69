# SPDX-License-Identifier: Apache-2.0
"""A history told to a real store and to the oracle, and every answer of the one compared with the other's."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

from feature_histories import ENTITIES, History
from feature_oracle import Happened, Oracle
from feature_views import CLICKS, stream, view_config

from endcap_api.features_config import ViewConfig
from endcap_runtime.features.layout import Event, Status, View, compile_view
from endcap_runtime.features.store import FeatureRedis

WINDOWS = ("1m", "5m", "1h")
WINDOWS_MS = (60_000, 300_000, 3_600_000)
TILES = {"5m": "5s", "1h": "2m"}
_PREFIXES = count()


def _of(name: str, kind: str, field: str, aggregation: str, **more: Any) -> dict[str, Any]:
    event = {"event": "purchase", "field": field, "aggregation": aggregation, "windows": list(WINDOWS)}
    return {"name": name, "type": kind, **event, **more}


NUMERIC = (
    {**CLICKS, "windows": list(WINDOWS)},
    {**CLICKS, "name": "web_clicks", "where": {"channel": "web"}, "windows": ["5m"], "default": -1},
    _of("spend", "number", "amount", "sum"),
    _of("fine_spend", "number", "amount", "sum", decimals=3, where={"channel": "web"}),
    _of("mean_spend", "number", "amount", "mean", default=7),
    _of("least", "number", "amount", "min"),
    _of("most", "number", "amount", "max", default=-1),
    _of("most_on_web", "integer", "quantity", "max", where={"channel": "web", "category": "tea"}),
    _of("pieces", "integer", "quantity", "sum"),
    _of("last_amount", "number", "amount", "last", decimals=0),
    _of("gift", "boolean", "gift", "last"),
)
TEXTUAL = (
    _of("last_category", "string", "category", "last", maxLength=8, default="none"),
    _of("categories", "integer", "category", "distinct"),
    _of("quantities", "integer", "quantity", "distinct"),
    _of("top_categories", "array", "category", "top", items={"type": "string"}, maxItems=2),
    _of("top_quantities", "array", "quantity", "top", items={"type": "integer"}, default=[3]),
    _of("top_amounts", "array", "amount", "top", items={"type": "number"}, maxItems=3),
)


def events_config(max_events: int = 256, ttl: str = "2h") -> ViewConfig:
    return view_config(stream("events", maxEvents=max_events), *NUMERIC, *TEXTUAL, ttl=ttl)


def tiles_config(ttl: str = "2h") -> ViewConfig:
    return view_config(stream("tiles", tiles=TILES), *NUMERIC, ttl=ttl)


def counts_config(storage: str, number: int) -> ViewConfig:
    """Nothing but counts: the leanest slots, and at 64 the widest set of bits. Most never count; the last ones do."""
    texts = [f"none-{i}" for i in range(number)]
    texts[-4:] = ["tea", "coffee", "käse", "z"][-number:]
    features = [
        {**CLICKS, "name": f"clicks_{i}_of", "where": {"category": text}, "windows": list(WINDOWS)}
        for i, text in enumerate(texts)
    ]
    return view_config(
        stream(storage, **({"tiles": TILES} if storage == "tiles" else {})), *features, ttl="2h"
    )


@dataclass
class Compared:
    """One view under one history; `points` counts the (entity, time) that were equal in all columns."""

    redis: FeatureRedis
    config: ViewConfig
    points: int = 0

    def __post_init__(self) -> None:
        self.view = compile_view("customer-activity", self.config, f"{next(_PREFIXES):08x}")
        self.oracle = Oracle(self.config.spec)
        self.waiting: list[Happened] = []

    async def tell(self, history: History) -> None:
        for step in history.steps:
            if isinstance(step, Happened):
                self.waiting.append(step)
            else:
                await self.settle()
                await self.ask(*step)
        await self.settle()

    async def settle(self) -> None:
        """All that was sent is applied, with the outcomes that the oracle says."""
        updates = [(event, update_of(self.view, event)) for event in self.waiting]
        self.waiting = []
        told = await self.redis.apply([update for _, update in updates if update])
        outcomes = iter(told)
        for event, update in updates:
            assert (next(outcomes).value if update else None) == self.oracle.hears(event), event

    async def ask(self, entity: str, now: int) -> None:
        """That entity and, in the same read, one that is not known and another: each as if it were alone."""
        asked = (entity, "nobody", ENTITIES[-1])
        evaluated = self.view.evaluate(await self.redis.read([self.view.key([each]) for each in asked]), now)
        for row, each in enumerate(asked):
            values = [column[row] for column in evaluated.values]
            statuses = [Status(status).name for status in evaluated.statuses[:, row]]
            wanted = list(self.oracle.tells((each,), now))
            assert list(zip(values, statuses, strict=True)) == wanted, (each, now)
        self.points += 1


def update_of(view: View, event: Happened) -> Any:
    given = Event(event.id, event.source, event.type, event.time, event.data)
    return view.updates(given, event.arrival)
