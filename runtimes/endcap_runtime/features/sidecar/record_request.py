# SPDX-License-Identifier: Apache-2.0
"""What a graph sends after its answer, read and packed: rows for the views it writes to, and what it was served."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from endcap_api.digest import digest_of
from endcap_runtime.features.layout import InvalidEntity, InvalidRow
from endcap_runtime.features.lookup import Compiled, InvalidKeys
from endcap_runtime.features.lookup.entities import entities_of, values_of
from endcap_runtime.features.sidecar.configuration import Configuration
from endcap_runtime.features.sidecar.lookup_request import members, unfit
from endcap_runtime.features.sidecar.records import Record, Row
from endcap_runtime.features.store.counts import field_of
from endcap_runtime.problems import FieldError, Problem

_REQUIRED = {"request_id", "time_ms"}
_OPTIONAL = {"graph", "revision", "served", "write"}
_SERVED = {"step", "bundle", "digest", "keys", "columns", "statuses"}
_WRITE = {"view", "keys", "features", "version"}
_LATEST = 2**53
_AHEAD_MS = 60_000

Clock = Callable[[str], int]  # of a store by the digest of its configuration, in ms


async def record_request(body: bytes, configuration: Configuration, clock: Clock) -> Record:
    """Raises Problem: 400 malformed, 404 unknown bundle or view, 422 a row that does not fit its view."""
    value = members(body, _REQUIRED, _OPTIONAL)
    _check_head(value)
    rows: dict[str, list[Row]] = {}
    for number, write in enumerate(_objects(value, "write", _WRITE)):
        store, packed = _rows(f"write[{number}]", write, value["time_ms"], configuration.revisions)
        _refuse_ahead(value["time_ms"], clock(store))
        rows.setdefault(store, []).extend(packed)
    return Record(value["request_id"], rows, await _served(value, configuration))


def _refuse_ahead(at_ms: int, now_ms: int) -> None:
    if at_ms > now_ms + _AHEAD_MS:
        message = (
            "is more than 60 s ahead of the store, and newer rows would never win: set this node's clock"
        )
        raise unfit(FieldError("time_ms", message))


def _check_head(value: Mapping[str, Any]) -> None:
    if type(value["request_id"]) is not str or not 1 <= len(value["request_id"]) <= 64:  # noqa: PLR2004
        raise unfit(FieldError("request_id", "must be a text of 1 to 64 characters"))
    if type(value["time_ms"]) is not int or not 0 < value["time_ms"] < _LATEST:
        raise unfit(FieldError("time_ms", "must be milliseconds since 1970, a whole number"))
    for name in ("graph", "revision"):
        if type(value.get(name, "")) is not str:
            raise unfit(FieldError(name, "must be a text"))


def _objects(value: Mapping[str, Any], name: str, known: set[str]) -> list[dict[str, Any]]:
    listed = value.get(name, [])
    if type(listed) is not list or not all(type(each) is dict for each in listed):
        raise unfit(FieldError(name, "must be a list of objects"))
    for number, each in enumerate(listed):
        if wrong := sorted(each.keys() ^ known):
            word = (
                "is missing" if wrong[0] in known else f"is not a field here: {', '.join(sorted(known))} are"
            )
            raise unfit(FieldError(f"{name}[{number}].{wrong[0][:64]}", word))
    return listed


async def _served(value: Mapping[str, Any], configuration: Configuration) -> dict[str, bytes]:
    """What goes to the serving log of each store that keeps one."""
    by_store: dict[str, list[dict[str, Any]]] = {}
    for each in _objects(value, "served", _SERVED):
        store = await _log_of(str(each["bundle"]), configuration)
        if store is not None:
            by_store.setdefault(store, []).append(each)
    head = {name: value.get(name) for name in ("request_id", "time_ms", "graph", "revision")}
    return {store: orjson.dumps({**head, "served": served}) for store, served in by_store.items()}


async def _log_of(name: str, configuration: Configuration) -> str | None:
    """The first of the bundle's stores that keeps a serving log."""
    bundle = await configuration.bundle(name, None)
    if bundle is None:
        raise Problem(404, f"There is no bundle {name[:64]}.{configuration.hint(name)}")
    logging = {
        digest_of(store.dump())
        for compiled in configuration.revisions
        for store in compiled.config.stores.values()
        if store.serving_log
    }
    return next((part.store for part in bundle.parts if part.store in logging), None)


def _rows(
    path: str, write: Mapping[str, Any], at_ms: int, revisions: Sequence[Compiled]
) -> tuple[str, list[Row]]:
    """The store and the packed rows of one write."""
    compiled = next((c for c in revisions if write["view"] in c.views), None)
    if compiled is None:
        raise Problem(404, f"There is no view {str(write['view'])[:64]}.")
    spec = compiled.config.views[write["view"]].spec
    if spec.kind != "derived":
        raise unfit(FieldError(f"{path}.view", "is no derived view: a graph writes to those alone"))
    store = digest_of(compiled.config.stores[spec.store].dump())
    return store, list(_packed(path, write, at_ms, compiled))


def _packed(path: str, write: Mapping[str, Any], at_ms: int, compiled: Compiled) -> Iterator[Row]:
    view, spec = compiled.views[write["view"]], compiled.config.views[write["view"]].spec
    try:
        entities = entities_of(spec.entity.name, spec.entity.keys, _mapping(path, "keys", write))
        values = _by_row(path, _mapping(path, "features", write), len(entities))
        for entity, row in zip(entities, values, strict=True):
            state = view.row(row, at_ms, _version(path, write))
            yield Row(field_of(view), view.key(values_of(entity)), state, at_ms, view.ttl_ms)
    except InvalidKeys as error:
        raise unfit(FieldError(f"{path}.keys.{error.field}", error.message)) from error
    except InvalidEntity as error:
        raise unfit(FieldError(f"{path}.keys.{error.field}", error.message)) from error
    except InvalidRow as error:
        raise unfit(FieldError(f"{path}.features.{error.field}", error.message)) from error


def _mapping(path: str, name: str, write: Mapping[str, Any]) -> dict[str, Any]:
    if type(write[name]) is not dict:
        raise unfit(FieldError(f"{path}.{name}", "must be an object of lists"))
    value: dict[str, Any] = write[name]
    return value


def _version(path: str, write: Mapping[str, Any]) -> str | None:
    version = write["version"]
    if version is not None and type(version) is not str:
        raise unfit(FieldError(f"{path}.version", "must be a text, e.g. micro-intent@4, or null"))
    return version


def _by_row(path: str, features: Mapping[str, Any], rows: int) -> Iterator[dict[str, Any]]:
    for name, values in features.items():
        if type(values) is not list or len(values) != rows:
            raise unfit(FieldError(f"{path}.features.{name[:64]}", f"must be a list of {rows} values"))
    for row in range(rows):
        yield {name: values[row] for name, values in features.items()}
