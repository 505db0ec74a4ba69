# SPDX-License-Identifier: Apache-2.0
"""POST /v1/bundles/{name}: a bundle as the sidecars give it, for people and tools; read from the store each time."""

from __future__ import annotations

from itertools import chain
from typing import Any

import orjson

from endcap_runtime.asgi import Response
from endcap_runtime.features.ingest.compiled import nearest
from endcap_runtime.features.ingest.parameters import object_of, refused
from endcap_runtime.features.ingest.serving import Serving
from endcap_runtime.features.lookup import Bundle, InvalidKeys
from endcap_runtime.features.lookup.answer_json import answer_of, explained
from endcap_runtime.features.lookup.found import Found, Read
from endcap_runtime.problems import Problem

MOST_ENTITIES = 1000


async def look_up(serving: Serving, name: str, body: bytes) -> Response:
    """Raises Problem 400, 404 or 422; StoreUnavailable."""
    asked = object_of(body, "keys", "explain")
    explain = asked.get("explain", False)
    if type(explain) is not bool:
        raise refused("explain", "must be true or false")
    bundle = _bundle(serving, name)
    found = await _found(serving, bundle, _keys(bundle, asked.get("keys")))
    return Response(200, orjson.dumps(explained(found) if explain else answer_of(found)))


def _bundle(serving: Serving, name: str) -> Bundle:
    bundle = serving.compiled.bundles.get(name)
    if bundle is None:
        meant = nearest(name, serving.compiled.bundles)
        hint = f": did you mean {meant}?" if meant else "."
        raise Problem(404, f"This store has no bundle {name[:64]}{hint}")
    return bundle


def _keys(bundle: Bundle, given: Any) -> list[Any]:
    if not isinstance(given, dict):
        raise refused("keys", "must be an object of lists by the name of the key")
    try:
        keys = bundle.keys(given)
    except InvalidKeys as error:
        raise refused(f"keys.{error.field}", error.message) from None
    if len(keys[0]) > MOST_ENTITIES:
        raise refused("keys", f"are of more than {MOST_ENTITIES} entities: ask for fewer a request")
    return keys


async def _found(serving: Serving, bundle: Bundle, keys: list[Any]) -> Found:
    pulse = await serving.streams.pulse()
    late = pulse.lag_ms > serving.compiled.store.max_lag_ms
    states = iter(await serving.redis.read(list(chain.from_iterable(keys))))
    reads = [Read([next(states) for _ in part], now_ms=pulse.now_ms, late=late) for part in keys]
    return bundle.found(reads)
