# SPDX-License-Identifier: Apache-2.0
"""CloudEvents 1.0 over HTTP, read strictly: single, batch and binary mode.

What two readers could understand differently is refused: doubled keys and headers, lone surrogates, numbers beyond
64 bits (docs/decisions/0050).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isinf
from typing import Any
from urllib.parse import unquote_to_bytes

from endcap_runtime.asgi import Headers, refuse_media_type
from endcap_runtime.features.layout import Event
from endcap_runtime.problems import FieldError, Problem
from endcap_runtime.wire.faults import Malformed
from endcap_runtime.wire.json_columns import loads

SINGLE = b"application/cloudevents+json"
BATCH = b"application/cloudevents-batch+json"
DATA = b"application/json"
MOST_EVENTS = 1000
MOST_BYTES = 65_536  # an event; what every intermediary has to pass on

_LONGEST = {"id": 256, "source": 1024, "type": 128}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.IGNORECASE | re.ASCII)
_NAME = re.compile(r"[a-z0-9]{1,64}", re.ASCII)
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_NO_EVENT = (
    "no CloudEvent: send content type application/cloudevents+json (one), application/cloudevents-batch+json "
    "(an array), or the headers ce-specversion, ce-id, ce-source, ce-type and ce-time"
)


class Unreadable(ValueError):
    """What is wrong with one event, a field each."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = tuple(errors)


def envelopes(pairs: Sequence[tuple[bytes, bytes]], headers: Headers, body: bytes) -> list[Any]:
    """The events of a request in the JSON format, unchecked. Raises Problem 400, 415 or 422."""
    refuse_media_type(headers, SINGLE, BATCH, DATA)
    media_type = headers.get(b"content-type", DATA).split(b";", 1)[0].strip().lower()
    if media_type == DATA:
        return [{**_binary_attributes(pairs), "data": _json(body)}]
    value = _json(body)
    if media_type == SINGLE:
        return [value]
    if not isinstance(value, list):
        raise Problem(400, "A batch is a JSON array of events: send [{…}, …].")
    if len(value) > MOST_EVENTS:
        raise Problem(413, f"The batch has {len(value)} events of {MOST_EVENTS} allowed: send several.")
    return value


def _json(body: bytes) -> Any:
    try:
        return loads(body)
    except Malformed as error:
        raise Problem(400, str(error)) from None


def _binary_attributes(pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, Any]:
    named = [(name[3:].decode("latin-1"), value) for name, value in pairs if name.startswith(b"ce-")]
    if not any(name == "specversion" for name, _ in named):
        raise Problem(422, "The request does not fit.", [FieldError("ce-specversion", _NO_EVENT)])
    if doubled := [name for name, count in Counter(name for name, _ in named).items() if count > 1]:
        raise Problem(400, f"The header ce-{doubled[0]} may be sent once.")
    return {name: _header_text(name, value) for name, value in named}


def _header_text(name: str, value: bytes) -> str:
    """Header values are percent-encoded UTF-8."""
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        error = FieldError(f"ce-{name}", "is not percent-encoded UTF-8: encode it so")
        raise Problem(422, "The request does not fit.", [error]) from None


def event_of(value: Any) -> Event:
    """One event in the JSON format, checked against CloudEvents 1.0 alone. Raises Unreadable."""
    if not isinstance(value, dict):
        raise Unreadable([FieldError("", "is not a JSON object: an event is {specversion, id, source, …}")])
    errors = [*_attribute_errors(value), *_data_errors(value)]
    time_ms = _milliseconds(value.get("time"), errors)
    if errors:
        raise Unreadable(errors)
    return Event(value["id"], value["source"], value["type"], time_ms, value["data"])


def _attribute_errors(value: Mapping[str, Any]) -> list[FieldError]:
    errors = []
    if value.get("specversion") != "1.0":
        errors.append(FieldError("specversion", 'must be "1.0"'))
    for name, longest in _LONGEST.items():
        if message := _text_fault(value.get(name), longest):
            errors.append(FieldError(name, message))
    for name, given in value.items():
        if (
            name not in _LONGEST
            and name not in ("data", "time")
            and (message := _extension_fault(name, given))
        ):
            errors.append(FieldError(name, message))
    return errors


def _text_fault(given: Any, longest: int) -> str | None:
    if given is None:
        return "is missing: every event has one"
    if not isinstance(given, str) or not given:
        return "must be a text that is not empty"
    if len(given.encode()) > longest:
        return f"has more than {longest} bytes: shorten it"
    return _character_fault(given)


def _character_fault(given: str) -> str | None:
    return "has a control character or a noncharacter: remove it" if _FORBIDDEN.search(given) else None


def _extension_fault(name: str, given: Any) -> str | None:
    if name == "data_base64":
        return "is not read here: send the data as a JSON object in data"
    if not _NAME.fullmatch(name):
        return "is no attribute's name: lower-case letters and digits alone"
    if name == "datacontenttype":
        return None if _is_json(given) else "must be application/json: send the data as a JSON object"
    if isinstance(given, str):
        return _character_fault(given)
    if given is None or isinstance(given, bool) or (isinstance(given, int) and abs(given) < 1 << 31):
        return None
    return "must be a text, a whole number of 32 bits or a boolean: put the rest into data"


def _is_json(given: Any) -> bool:
    if given is None:
        return True
    media_type = given.split(";", 1)[0].strip().lower() if isinstance(given, str) else ""
    return media_type == "application/json" or media_type.endswith("+json")


def _data_errors(value: Mapping[str, Any]) -> list[FieldError]:
    data = value.get("data")
    if not isinstance(data, dict):
        return [FieldError("data", "must be a JSON object that holds the entity's keys and the fields")]
    return [
        FieldError(f"data.{name}", "holds a number beyond 64 bits: send one that fits")
        for name, given in data.items()
        if _beyond_64_bits(given)
    ]


def _beyond_64_bits(given: Any) -> bool:
    """1e999 is read as an infinity, and a longer whole number would lose digits in the next reader."""
    if type(given) is float:
        return isinf(given)
    if type(given) is int:
        return not -(1 << 63) <= given < 1 << 63
    if type(given) is list:
        return any(map(_beyond_64_bits, given))
    return type(given) is dict and any(map(_beyond_64_bits, given.values()))


def _milliseconds(given: Any, errors: list[FieldError]) -> int:
    """Since 1970; what is finer is cut off. What is wrong is appended to `errors`."""
    if isinstance(given, str) and _TIME.fullmatch(given):
        try:
            since = (datetime.fromisoformat(given.upper()) - _EPOCH) // _MILLISECOND
        except (ValueError, OverflowError):
            since = -1
        if since >= 0:
            return since
        message = "is no day and time since 1970: correct it"
    elif given is None:
        message = "is missing: say when it happened, as 2026-11-24T10:00:00.250Z"
    else:
        message = "must be RFC 3339 with a zone: write it as 2026-11-24T10:00:00.250Z"
    errors.append(FieldError("time", message))
    return 0
