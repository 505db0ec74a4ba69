# SPDX-License-Identifier: Apache-2.0
"""CloudEvents as they are read: what the specification's own SDK writes, and what is refused by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from cloudevents.core.bindings.http import (
    HTTPMessage,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from endcap_runtime.features.ingest.cloudevents import BATCH, SINGLE, Unreadable, envelopes, event_of
from endcap_runtime.features.layout import Event
from endcap_runtime.problems import Problem

MOMENT = datetime(2026, 11, 24, 10, 0, 0, 250_000, UTC)
MOMENT_MS = 1_795_514_400_250


def sound(**changes: Any) -> dict[str, Any]:
    value = {
        "specversion": "1.0",
        "id": "e1",
        "source": "/web",
        "type": "click",
        "time": "2026-11-24T10:00:00.250Z",
        "data": {"customer_id": "7"},
        **changes,
    }
    return {name: given for name, given in value.items() if given is not ...}


def received(message: HTTPMessage) -> list[Event]:
    pairs = [(name.lower().encode(), value.encode()) for name, value in message.headers.items()]
    return [event_of(value) for value in envelopes(pairs, dict(pairs), message.body)]


def from_sdk(**attributes: Any) -> CloudEvent:
    named = {"id": "e1", "source": "/web", "type": "click", "time": MOMENT, "specversion": "1.0"}
    return CloudEvent({**named, "datacontenttype": "application/json", **attributes}, {"customer_id": "7"})


@pytest.mark.parametrize("write", [to_structured_event, to_binary_event])
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"subject": "Milch & Käse 100 %"},
        {"id": 'ключ " % 7', "partition": "a"},
        {"time": datetime(2026, 11, 24, 11, 0, 0, 250_000, timezone(timedelta(hours=1)))},
    ],
)
def test_what_the_sdk_writes_is_read(write: Any, attributes: dict[str, Any]) -> None:
    written = from_sdk(**attributes)
    assert received(write(written)) == [
        Event(str(written.get_id()), "/web", "click", MOMENT_MS, {"customer_id": "7"})
    ]


def test_a_batch_is_an_array_of_events() -> None:
    body = orjson.dumps([sound(id="a"), sound(id="b")])
    given = envelopes([], {b"content-type": BATCH + b"; charset=utf-8"}, body)
    assert [event_of(value).id for value in given] == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "field", "remedy"),
    [
        ({"specversion": "0.3"}, "specversion", '"1.0"'),
        ({"specversion": ...}, "specversion", '"1.0"'),
        ({"id": ...}, "id", "missing"),
        ({"id": ""}, "id", "not empty"),
        ({"id": 7}, "id", "text"),
        ({"id": "x" * 257}, "id", "shorten"),
        ({"id": "a\nb"}, "id", "control character"),
        ({"source": ...}, "source", "missing"),
        ({"source": "\x7f"}, "source", "control character"),
        ({"source": "s" * 1025}, "source", "shorten"),
        ({"type": None}, "type", "missing"),
        ({"type": "t" * 129}, "type", "shorten"),
        ({"time": ...}, "time", "missing"),
        ({"time": "2026-11-24T10:00:00"}, "time", "zone"),
        ({"time": "2026-11-24"}, "time", "RFC 3339"),
        ({"time": "20261124T100000Z"}, "time", "RFC 3339"),
        ({"time": "2026-W48-2T10:00:00Z"}, "time", "RFC 3339"),
        ({"time": 1_795_428_000}, "time", "RFC 3339"),
        ({"time": "2026-02-30T10:00:00Z"}, "time", "correct it"),
        ({"time": "2026-11-24T10:00:60Z"}, "time", "correct it"),
        ({"time": "1969-12-31T23:59:59Z"}, "time", "1970"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "time", "1970"),
        ({"time": "٢٠٢٦-11-24T10:00:00Z"}, "time", "RFC 3339"),
        ({"data": ...}, "data", "JSON object"),
        ({"data": [1]}, "data", "JSON object"),
        ({"data": "amount"}, "data", "JSON object"),
        ({"data": {"amount": float("inf")}}, "data.amount", "64 bits"),
        ({"data": {"n": {"deep": [1, 2**63]}}}, "data.n", "64 bits"),
        ({"data_base64": "e30="}, "data_base64", "data"),
        ({"datacontenttype": "text/xml"}, "datacontenttype", "application/json"),
        ({"Partition": "a"}, "Partition", "lower-case"),
        ({"partition": {"a": 1}}, "partition", "data"),
        ({"partition": 2**31}, "partition", "32 bits"),
        ({"partition": "\u0000"}, "partition", "control character"),
    ],
)
def test_what_is_no_event_is_refused_by_the_name_of_its_field(
    changes: dict[str, Any], field: str, remedy: str
) -> None:
    with pytest.raises(Unreadable) as refused:
        event_of(sound(**changes))
    assert [error.field for error in refused.value.errors] == [field]
    assert remedy in refused.value.errors[0].message


def test_all_faults_of_an_event_are_told_at_once() -> None:
    with pytest.raises(Unreadable) as refused:
        event_of({"specversion": "1.0", "id": "", "type": "click", "time": "now"})
    assert [error.field for error in refused.value.errors] == ["id", "source", "data", "time"]


@pytest.mark.parametrize("value", [None, 7, "event", []])
def test_an_event_is_an_object(value: Any) -> None:
    with pytest.raises(Unreadable, match="JSON object"):
        event_of(value)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "not valid JSON"),
        (b'{"id": "a", "id": "b"}', "not valid JSON"),
        (b'{"id": "\xff"}', "not valid JSON"),
        (b'{"id": "\\ud800"}', "not valid JSON"),
        (b'{"data": NaN}', "not valid JSON"),
        (b'{"data": Infinity}', "not valid JSON"),
        (b"[" * 10_000, "not valid JSON"),
        (b'{"data":' * 10_000, "not valid JSON"),
    ],
)
def test_json_that_two_readers_could_read_differently_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(Problem) as refused:
        envelopes([], {b"content-type": SINGLE}, body)
    assert (refused.value.status, told in refused.value.detail) == (400, True)


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (BATCH, b"{}", 400),
        (BATCH, b"[" + b"0," * 1000 + b"0]", 413),
        (b"text/plain", b"{}", 415),
        (b"application/json", b"{}", 422),
    ],
)
def test_a_request_that_is_none_is_refused_whole(kind: bytes, body: bytes, status: int) -> None:
    with pytest.raises(Problem) as refused:
        envelopes([], {b"content-type": kind}, body)
    assert refused.value.status == status


def test_a_doubled_header_of_binary_mode_is_refused() -> None:
    pairs = [(b"ce-specversion", b"1.0"), (b"ce-id", b"a"), (b"ce-id", b"b")]
    with pytest.raises(Problem, match="ce-id may be sent once"):
        envelopes(pairs, dict(pairs), b"{}")


def test_a_header_that_is_no_utf_8_is_refused() -> None:
    pairs = [(b"ce-specversion", b"1.0"), (b"ce-id", b"%ff")]
    with pytest.raises(Problem) as refused:
        envelopes(pairs, dict(pairs), b"{}")
    assert refused.value.errors[0].field == "ce-id"


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)), st.integers(-1439, 1439))  # noqa: DTZ001
def test_a_time_is_the_same_moment_in_every_zone(naive: datetime, minutes: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    if expected >= 0:
        assert event_of(sound(time=moment.isoformat())).time_ms == expected
