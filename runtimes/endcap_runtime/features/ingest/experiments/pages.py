# SPDX-License-Identifier: Apache-2.0
"""What people and the operator ask of experiments: which there are, their sums, the log of exposures."""

from __future__ import annotations

from typing import Any

import orjson

from endcap_api.experiment_config import ExperimentSums
from endcap_runtime.asgi import Response
from endcap_runtime.features.experiments.sums import epochs_of, newest_of
from endcap_runtime.features.ingest.paging import all_of, page_of, value_in
from endcap_runtime.features.ingest.parameters import entry_id_of, limit_of, query_of
from endcap_runtime.features.ingest.serving import Serving
from endcap_runtime.problems import Problem


async def experiments(serving: Serving, query_string: bytes) -> Response:
    """Ids by name."""
    query_of(query_string)
    told = {measured.experiment: measured.id for measured in serving.compiled.experiments.values()}
    return Response(200, orjson.dumps({"experiments": told}))


async def sums(serving: Serving, identity: str, query_string: bytes) -> Response:
    """All sums of one experiment. Raises Problem 404."""
    query_of(query_string)
    measured = serving.compiled.experiments.get(identity)
    if measured is None:
        raise Problem(
            404, "This store measures no experiment of this id: GET /v1/experiments lists those that are."
        )
    pulse = await serving.streams.pulse()
    waiting = await serving.exposures.waiting(serving.compiled.store.max_backlog)
    parts = await serving.redis.hashes(measured.sums_keys)  # last: they are no older than the lag says
    told = ExperimentSums(
        id=identity,
        at_ms=pulse.now_ms,
        newest_ms=newest_of(parts),
        lag_ms=max(pulse.lag_ms, waiting.lag_ms(pulse.now_ms)),
        epochs=epochs_of(measured, parts),
    )
    return Response(200, orjson.dumps(told.dump()))


async def exposures(serving: Serving, query_string: bytes) -> Response:
    """The log, oldest first; `experiment` is a name or an id."""
    query = query_of(query_string, "experiment", "after", "limit")
    after = entry_id_of("after", query["after"]) if "after" in query else None
    wanted, limit = query.get("experiment"), limit_of(query)
    found: list[dict[str, Any]] = []
    last = b""
    async for entry_id, fields in all_of(serving, serving.exposures.stream, after):
        value = value_in(fields, b"e")
        if _is_of(value, wanted):
            if len(found) == limit:
                return page_of("exposures", found, last.decode())
            found.append(value)
            last = entry_id
    return page_of("exposures", found, None)


def _is_of(value: Any, wanted: str | None) -> bool:
    """What somebody else wrote into the stream is no exposure: the worker has told of it, and pages go on."""
    if not isinstance(value, dict):
        return False
    return wanted is None or wanted in (value.get("experiment"), value.get("experiment_id"))
