# SPDX-License-Identifier: Apache-2.0
"""An exposure: what one must hold, how it is kept without its unit, and what it does to the unit's state."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

from endcap_api.assigner import COUNTED, EXPOSED
from endcap_api.assignment import BUCKETS
from endcap_runtime.features.experiments.measured import LARGEST, Call, Measured, beginning_of, keys_of
from endcap_runtime.features.experiments.units import fault_of, hidden
from endcap_runtime.problems import FieldError

SCHEMA = 1
MOST_ITEMS = 1000
MOST_COVARIATES = 8
LONGEST_TEXT = 256
_STRANGE = "has a field that is none of an exposure: remove it"
_DAY_MS = 86_400_000
_MOST = 1 << 53
_NAME = re.compile("[a-z][-a-z0-9]{0,39}")
_FIELD = re.compile("[a-z][a-z0-9_]{0,79}")
_ID = re.compile("[0-9a-f]{12}")
_WORD = re.compile("[A-Za-z]{1,40}")

Check = Callable[[Any], str | None]


def _matching(pattern: re.Pattern[str], wanted: str) -> Check:
    def check(value: Any) -> str | None:
        return None if type(value) is str and pattern.fullmatch(value) else f"must be {wanted}"

    return check


def _whole(least: int, most: int) -> Check:
    def check(value: Any) -> str | None:
        fits = type(value) is int and least <= value <= most
        return None if fits else f"must be a whole number from {least} to {most}"

    return check


def _number(least: float, most: float) -> Check:
    def check(value: Any) -> str | None:
        fits = type(value) in (int, float) and least <= value <= most
        return None if fits else f"must be a number from {least:g} to {most:g}"

    return check


def _schema(value: Any) -> str | None:
    return None if type(value) is int and value == SCHEMA else f"must be {SCHEMA}: no other is read here"


def _boolean(value: Any) -> str | None:
    return None if type(value) is bool else "must be true or false"


def _text(value: Any) -> str | None:
    fits = type(value) is str and len(value) <= LONGEST_TEXT
    return None if fits else f"must be a text of at most {LONGEST_TEXT} characters"


def _reason(value: Any) -> str | None:
    fits = type(value) is str and value in EXPOSED
    return None if fits else f"must be one of {', '.join(sorted(EXPOSED))}: of others no exposure is sent"


def _or_null(check: Check) -> Check:
    def checked(value: Any) -> str | None:
        message = None if value is None else check(value)
        return message and f"{message}, or null"

    return checked


def _items(value: Any) -> str | None:
    if type(value) is not list or len(value) > MOST_ITEMS:
        return f"must be a list of at most {MOST_ITEMS} items"
    return None if all(map(_is_item, value)) else 'must be of items as {"product": "821", "position": 1}'


def _is_item(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == {"product", "position"}
        and (type(value["product"]) is int or _text(value["product"]) is None)
        and _POSITION(value["position"]) is None
    )


def _covariates(value: Any) -> str | None:
    if type(value) is not dict or len(value) > MOST_COVARIATES:
        return f"must be an object of at most {MOST_COVARIATES} numbers by metric"
    fits = all(_NAME.fullmatch(name) and _COVARIATE(given) is None for name, given in value.items())
    return None if fits else f"must hold a number within {LARGEST:.0e} of 0 for each metric: leave others out"


_POSITION = _whole(1, _MOST)
_COVARIATE = _number(-LARGEST, LARGEST)
_NAMED = _matching(_NAME, "a name: lower-case letters, digits and -")
_DURATION = _number(0, _MOST)

_CHECKS: Mapping[str, Check] = {
    "schema": _schema,
    "time_ms": _whole(1, _MOST),
    "graph": _NAMED,
    "step": _NAMED,
    "experiment": _NAMED,
    "experiment_id": _matching(_ID, "the experiment's id: 12 hexadecimal digits"),
    "phase": _matching(_WORD, "a phase, as Running"),
    "revision": _whole(1, _MOST),
    "epoch": _whole(1, _MOST),
    "unit": fault_of,
    "unit_type": _matching(_FIELD, "a field of the request, as customer"),
    "bucket": _or_null(_whole(0, BUCKETS - 1)),
    "eligible": _boolean,
    "variant": _NAMED,
    "served": _or_null(_NAMED),
    "reason": _reason,
    "propensity": _or_null(_number(0, 1)),
    "in_analysis": _boolean,
    "model": _or_null(_text),
    "digest": _or_null(_text),
    "request_id": _text,
    "latency_ms": _or_null(_DURATION),
    "feature_freshness_ms": _or_null(_DURATION),
    "items": _items,
    "covariates": _covariates,
}


def faults_of(value: Any, measured: Mapping[str, Measured]) -> Iterator[FieldError]:
    """What is wrong with an exposure; `measured` are the experiments that are known, by id."""
    if type(value) is not dict:
        yield FieldError("", "is not a JSON object: an exposure is {schema, time_ms, graph, …}")
        return
    for name in value.keys() - _CHECKS.keys():
        told = name if _FIELD.fullmatch(name) else ""  # else it may be a value in the wrong place
        yield FieldError(told, "is not a field of an exposure: remove it" if told else _STRANGE)
    for name, check in _CHECKS.items():
        if name not in value:
            yield FieldError(name, "is missing: every exposure has it")
        elif message := check(value[name]):
            yield FieldError(name, message)
    yield from _disagreements(value, measured)


def _disagreements(value: Mapping[str, Any], measured: Mapping[str, Measured]) -> Iterator[FieldError]:
    """Fields that fit each by itself, and not together."""
    if value.get("in_analysis") is True and not _is_counted(value.get("reason")):
        yield FieldError(
            "in_analysis", f"is true of {', '.join(sorted(COUNTED))} alone: correct it or reason"
        )
    identity = value.get("experiment_id")
    known = measured.get(identity) if type(identity) is str else None
    if known is None:
        return
    if value.get("variant") not in known.variants:
        told = ", ".join(known.variants)
        yield FieldError("variant", f"is no variant of {known.experiment}: {told} are")
    covariates = value.get("covariates")
    if type(covariates) is dict and not covariates.keys() <= {*known.metrics}:
        told = ", ".join(known.metrics)
        yield FieldError("covariates", f"has one of no metric of {known.experiment}: those are {told}")


def _is_counted(reason: Any) -> bool:
    return type(reason) is str and reason in COUNTED


def kept(value: Mapping[str, Any], key: bytes) -> dict[str, Any]:
    """A sound exposure as it is kept: with an id, and with what stands for its unit."""
    unit = hidden(key, value["unit"])
    day = datetime.fromtimestamp(value["time_ms"] // _DAY_MS * _DAY_MS / 1000, UTC).date()
    named = f"{value['experiment_id']}|{value['phase']}|{day.isoformat()}|{unit}"
    return {"id": sha256(named.encode()).hexdigest()[:24], **value, "unit": unit}


class Exposed(NamedTuple):
    """What a kept exposure does to its unit's state."""

    experiment_id: str
    call: Call


def exposed(value: Mapping[str, Any], arrival_ms: int, prefix: str) -> Exposed | None:
    """None for one that is kept in the log and not counted. `value` is as `kept` made it."""
    if not value["in_analysis"]:
        return None
    identity = str(value["experiment_id"])
    fallback = value["served"] != value["variant"]
    facts = (value["variant"], value["epoch"], min(value["time_ms"], arrival_ms), arrival_ms, int(fallback))
    covariates = (part for name, x in value["covariates"].items() for part in (name, repr(float(x))))
    arguments = tuple(str(part).encode() for part in (*facts, *covariates))
    return Exposed(
        identity, Call("expose", keys_of(beginning_of(prefix, identity), value["unit"]), arguments)
    )
