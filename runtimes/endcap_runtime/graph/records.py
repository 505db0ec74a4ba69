# SPDX-License-Identifier: Apache-2.0
"""What a request leaves behind: the features that ranked its products, for training, and what it writes back.

It is made after the answer has been sent, from what the query still holds, so it costs the shopper nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from prometheus_client import Counter

from endcap_api.runtime_config import GraphConfig
from endcap_runtime.features.statuses import STATUS_NAMES
from endcap_runtime.graph.items import Items
from endcap_runtime.graph.looked_up import LookedUp
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.steps.lookup import Lookup
from endcap_runtime.graph.written import Written


@dataclass(frozen=True, slots=True)
class RecordForm:
    """How one revision of a graph tells its sidecar.

    lookups: those whose store keeps a serving log; keys: of the catalogue, by row.
    """

    graph: str
    revision: str
    lookups: Sequence[Lookup]
    written: Sequence[Written]
    keys: Sequence[str]
    dropped: Counter

    def of(self, query: Query) -> bytes | None:
        """The body of POST /v1/records for an answered query; None when there is nothing to tell."""
        served = [entry for lookup in self.lookups for entry in _served(lookup, query)]
        write = self._write(query) if self.written else []
        if not served and not write:
            return None
        record = {
            "request_id": query.call.request_id,
            "time_ms": time.time_ns() // 1_000_000,
            "graph": self.graph,
            "revision": self.revision,
            "served": served,
            "write": write,
        }
        return orjson.dumps(record)

    def _write(self, query: Query) -> list[dict[str, Any]]:
        answer = self._answer(query)
        return [row for each in self.written if (row := each.row(query, answer)) is not None]

    def _answer(self, query: Query) -> Mapping[str, Any]:
        """The answer as expressions read it: products by key."""
        candidates = query.candidates
        if not candidates:
            return {"answer.products": [], "answer.scores": []}
        return {
            "answer.products": [self.keys[row] for row in candidates.rows.tolist()],
            "answer.scores": candidates.score.tolist(),
        }


def _served(lookup: Lookup, query: Query) -> Iterator[dict[str, Any]]:
    """Of the request, or of the products that were returned."""
    for looked_up in query.looked_up.get(lookup.name, ()):
        places = [0] if looked_up.rows is None else _returned(looked_up, query)
        if places and looked_up.keys:
            yield _entry(lookup, looked_up, places)


def _returned(looked_up: LookedUp, query: Query) -> list[int]:
    returned = query.candidates.rows.tolist() if query.candidates else []
    place_of = looked_up.places()
    return [place_of[row] for row in returned if row in place_of]


def _entry(lookup: Lookup, looked_up: LookedUp, places: list[int]) -> dict[str, Any]:
    columns, statuses, at = {}, {}, np.array(places)
    for column in lookup.contract.columns:
        columns[column.name] = looked_up.values(column)[at].tolist()
        codes = looked_up.statuses(column)[at].tolist()
        statuses[column.name] = [STATUS_NAMES[code] for code in codes]
    return {
        "step": lookup.name,
        "bundle": lookup.bundle,
        "digest": lookup.contract.digest,
        "keys": {name: [values[place] for place in places] for name, values in looked_up.keys.items()},
        "columns": columns,
        "statuses": statuses,
    }


def record_form(
    config: GraphConfig,
    written: Sequence[Written],
    lookups: Mapping[str, Lookup],
    items: Items,
    metrics: GraphMetrics,
) -> RecordForm:
    return RecordForm(
        graph=config.name,
        revision=config.revision,
        lookups=tuple(lookup for lookup in lookups.values() if lookup.contract.served),
        written=tuple(written),
        keys=items.keys,
        dropped=metrics.records_dropped.labels(config.name),
    )
