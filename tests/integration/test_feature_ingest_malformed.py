# SPDX-License-Identifier: Apache-2.0
"""Malformed events: each is refused or becomes a dead letter with its reason, and none changes a byte of a feature."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ingest_servers import BATCH, PREFIX, SINGLE, Ingest, event, features, ingest
from ingest_totals import history
from redis_servers import RedisServer, redis_server

NAN, INFINITY = float("nan"), float("inf")
STREAMS = (f"{PREFIX}:events", f"{PREFIX}:dead{{{PREFIX}:events}}", f"{PREFIX}:views{{{PREFIX}:events}}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def pod(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    with ingest(features(server.url), tmp_path_factory.mktemp("pod")) as running:
        assert running.send(*history("seed", 100, 3)).status_code == 202
        running.settled()
        yield running


def state(server: RedisServer) -> dict[bytes, Any]:
    """Every key of the store with its bytes, but for what is only kept about events."""
    with server.client() as client:
        keys = [key for key in client.scan_iter() if key.decode() not in STREAMS]
        return {key: client.dump(key) for key in keys}


def waiting(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.xinfo_stream(STREAMS[0])["entries-added"])


def click(**changes: Any) -> dict[str, Any]:
    value = {**event("x", customer_id="1"), **changes}
    return {name: given for name, given in value.items() if given is not ...}


def purchase(**changes: Any) -> dict[str, Any]:
    data = {"customer_id": "1", "product_id": 1, "amount": 1.5, "store": "a", **changes}
    return event("x", "purchase", **{name: given for name, given in data.items() if given is not ...})


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def raw(old: str, new: str, value: Any = None) -> bytes:
    """The JSON of an event with a piece of its text replaced."""
    written = json.dumps(value or purchase())
    assert old in written
    return written.replace(old, new, 1).encode("utf-8", "surrogateescape")


# What is sent, and what its refusal must name.
REFUSED: dict[str, tuple[bytes, str]] = {
    "NaN": (raw("1.5", "NaN"), "JSON"),
    "Infinity": (raw("1.5", "Infinity"), "JSON"),
    "minus Infinity": (raw("1.5", "-Infinity"), "JSON"),
    "1e999": (raw("1.5", "1e999"), "data.amount"),
    "minus 1e999": (raw("1.5", "-1e999"), "data.amount"),
    "1e999 where nobody reads": (raw('"store": "a"', '"store": "a", "more": [1e999]'), "data.more"),
    "a whole number beyond 64 bits": (raw("1.5", "9" * 30), "data.amount"),
    "cents for dollars": (text(purchase(amount=501)), "maximum of 500"),
    "a negative price": (text(purchase(amount=-0.01)), "minimum of 0"),
    "a number as text": (text(purchase(amount="1.50")), "data.amount"),
    "a number as boolean": (text(purchase(amount=True)), "data.amount"),
    "a number as null": (text(purchase(amount=None)), "data.amount"),
    "a number as array": (text(purchase(amount=[1])), "data.amount"),
    "a number as object": (text(purchase(amount={"value": 1})), "data.amount"),
    "a missing field": (text(purchase(amount=...)), "data.amount"),
    "a missing text": (text(purchase(store=...)), "data.store"),
    "a text as number": (text(purchase(store=7)), "data.store"),
    "an oversize text": (text(purchase(store="x" * 17)), "maxLength"),
    "an oversize text in bytes alone": (text(purchase(store="ä" * 9)), "maxLength"),
    "a text with NUL": (text(purchase(store="a\0")), "data.store"),
    "half a character": (raw('"a"', '"\\ud83d"'), "JSON"),
    "a brace in a key": (text(click(data={"customer_id": "{1}"})), "data.customer_id"),
    "a hash tag in a key": (text(click(data={"customer_id": "a{b}c"})), "data.customer_id"),
    "a newline in a key": (text(click(data={"customer_id": "a\nb"})), "data.customer_id"),
    "NUL in a key": (text(click(data={"customer_id": "\0"})), "data.customer_id"),
    "an empty key": (text(click(data={"customer_id": ""})), "data.customer_id"),
    "an oversize key": (text(click(data={"customer_id": "1" * 129})), "data.customer_id"),
    "a missing key": (text(click(data={})), "data.customer_id"),
    "a key as null": (text(click(data={"customer_id": None})), "data.customer_id"),
    "a key of the wrong type": (text(click(data={"customer_id": 1})), "data.customer_id"),
    "a key as boolean": (text(purchase(product_id=True)), "data.product_id"),
    "a key as fraction": (text(purchase(product_id=1.5)), "data.product_id"),
    "a whole key in words": (text(purchase(product_id="seven")), "data.product_id"),
    "a whole key beyond 64 bits": (text(purchase(product_id="9" * 19)), "data.product_id"),
    "an unknown type": (text(click(type="clik")), "did you mean click?"),
    "a type that nobody reads": (text(click(type="0")), "no view"),
    "no type": (text(click(type=...)), "type"),
    "no id": (text(click(id=...)), "id"),
    "an empty id": (text(click(id="")), "id"),
    "a control character in the id": (text(click(id="a\x1b[2J")), "control character"),
    "an oversize id": (text(click(id="x" * 257)), "id"),
    "an id as number": (text(click(id=7)), "id"),
    "no source": (text(click(source=...)), "source"),
    "an empty source": (text(click(source="")), "source"),
    "no specversion": (text(click(specversion=...)), "specversion"),
    "another specversion": (text(click(specversion="0.3")), "specversion"),
    "no time": (text(click(time=...)), "time"),
    "a time without zone": (text(click(time="2026-11-24T10:00:00")), "zone"),
    "an epoch": (text(click(time=1_795_514_400)), "RFC 3339"),
    "an epoch as text": (text(click(time="1795514400")), "RFC 3339"),
    "a day that is none": (text(click(time="2026-02-30T10:00:00Z")), "time"),
    "before 1970": (text(click(time="1969-12-31T23:59:59Z")), "1970"),
    "no data": (text(click(data=...)), "data"),
    "data as array": (text(click(data=[1])), "data"),
    "data as base64": (text({**click(data=...), "data_base64": "e30="}), "data_base64"),
    "data of another type": (text(click(datacontenttype="text/xml")), "datacontenttype"),
    "an extension that is an object": (text(click(trace={"a": 1})), "trace"),
    "doubled keys": (raw('"id": "x"', '"id": "x", "id": "y"'), "JSON"),
    "doubled keys in the data": (raw('"amount"', '"amount": 1, "amount"'), "JSON"),
    "invalid UTF-8": (raw("/tests", "\udcff"), "JSON"),
    "JSON that ends early": (text(click())[:-1], "JSON"),
    "more after the event": (text(click()) + b"{}", "JSON"),
    "10,000 levels": (raw('"a"', "[" * 10_000 + "]" * 10_000), "JSON"),
    "an event of 70 kB": (text(purchase(note="x" * 70_000)), "bytes"),
    "2 MB": (text(purchase(note="x" * 2_000_000)), "larger"),
    "no object": (b"[]", "JSON object"),
    "nothing": (b"", "JSON"),
}
LETTERS = {
    "far past": (click(time="1970-01-02T00:00:00Z"), "late"),
    "past": (click(time="2026-01-01T00:00:00Z"), "late"),
    "far future": (click(time="9999-12-31T23:59:59.999Z"), "future"),
    "future": (click(time="2100-01-01T00:00:00Z"), "future"),
}


def test_there_are_as_many_as_there_should_be() -> None:
    assert len(REFUSED) + len(LETTERS) >= 60


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_malformed_is_refused_whole(pod: Ingest, server: RedisServer, name: str) -> None:
    """Alone, and at the end of a batch whose other events are sound."""
    body, told = REFUSED[name]
    before, added = state(server), waiting(server)
    batch = b"[" + b",".join([text(click(id=f"{name} 1")), text(click(id=f"{name} 2")), body]) + b"]"
    for sent, kind in ((body, SINGLE), (batch, BATCH)):
        answer = pod.post("/v1/events", sent, kind)
        assert answer.status_code in (400, 413, 422), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert told in answer.text
        if answer.status_code == 422:
            index = 2 if kind == BATCH else 0
            assert {fault["field"].split(".")[0] for fault in answer.json()["errors"]} == {f"events[{index}]"}
    assert waiting(server) == added
    assert state(server) == before
    assert pod.get("/readyz") == {"ready": True}


@pytest.mark.parametrize("name", LETTERS)
def test_what_comes_at_the_wrong_time_becomes_a_letter(pod: Ingest, server: RedisServer, name: str) -> None:
    given, reason = LETTERS[name]
    before = state(server)
    letters = len(pod.letters())
    assert pod.send({**given, "id": name}).status_code == 202
    pod.settled()
    (letter,) = pod.letters()[letters:]
    assert (letter["reason"], letter["view"], letter["event"]["id"]) == (reason, "activity", name)
    assert letter["message"]
    assert state(server) == before


POISON = {
    "no event": {"other": b"1"},
    "no JSON": {"e": b"\xff{"},
    "no CloudEvent": {"e": b"[]"},
    "a number that is none": {"e": raw("1.5", "1e999")},
    "of a type that nobody reads": {"e": text(click(type="elsewhere"))},
    "of a view that changed": {"e": text(purchase(amount=10_000))},
    "for a view that is gone": {"e": text(click()), "view": b"gone"},
}


@pytest.mark.parametrize("name", POISON)
def test_what_others_put_into_the_stream_holds_up_nobody(pod: Ingest, server: RedisServer, name: str) -> None:
    before = state(server)
    letters = len(pod.letters())
    with server.client() as client:
        client.xadd(STREAMS[0], POISON[name])
    pod.settled()
    added = pod.letters()[letters:]
    assert {letter["reason"] for letter in added} == {"invalid"}
    assert all(letter["message"] for letter in added)
    assert state(server) == before


def test_a_key_that_is_not_ours_holds_up_nobody(pod: Ingest, server: RedisServer) -> None:
    """Somebody else's key in the place of a state: that event alone is refused, and can be replayed."""
    from ingest_totals import compiled

    key = compiled("activity").key(["stolen"])
    with server.client() as client:
        client.lpush(key, "not ours")
        letters = len(pod.letters())
        pod.send(event("s1", customer_id="stolen"), event("s2", customer_id="free"))
        pod.settled()
        (letter,) = pod.letters()[letters:]
        assert (letter["reason"], letter["event"]["id"]) == ("invalid", "s1")
        assert client.get(compiled("activity").key(["free"]))
        client.delete(key)
        replayed = pod.post("/v1/dead-letters/replay", text({"ids": [letter["id"]]}))
        assert replayed.json() == {"replayed": 1}
        pod.settled()
        assert client.get(key)
