# SPDX-License-Identifier: Apache-2.0
"""How a view is packed: the bytes themselves, what they depend on, and what is refused before any are made."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from feature_views import CLICKS, PREFIX, SPEND, a_view, stream, view_config, windowed
from hypothesis import example, given
from hypothesis import strategies as st

from endcap_runtime.features.layout import (
    Event,
    InvalidEntity,
    InvalidEvent,
    InvalidRow,
    InvalidView,
    compile_view,
)
from endcap_runtime.features.layout.numbers import LARGEST, scaled

NOW = 1_800_000_000_000
PURCHASE = {"customer_id": "1467", "amount": 12.345, "channel": "web"}


def an_event(kind: str = "purchase", time: int = NOW - 5, **data: Any) -> Event:
    return Event("e1", "shop", kind, time, {**PURCHASE, **data})


# The bytes. Who changes them changes LAYOUT in view.py, so that what is in a store is never misread.


def test_an_event_in_a_log_is_its_time_its_numbers_and_the_bits_of_what_counts_it() -> None:
    view = a_view(stream(maxEvents=9), windowed(CLICKS, "1h"), windowed(SPEND, "1h", "24h"))
    update = view.updates(an_event(), NOW)
    assert update is not None
    assert (view.digest, view.bytes) == ("e4208b90", 24 + 9 * 17)
    assert update.function == "events"
    assert update.state == b"0badcafe:customer-activity@e4208b90{46}1467"
    assert update.seen == b"0badcafe:seen:customer-activity@e4208b90{46}29999999"
    assert update.event == bytes.fromhex(GOLDEN["event"])
    assert update.change == bytes.fromhex(GOLDEN["log"])


def test_a_tile_is_told_as_it_would_be_of_this_event_alone_and_empty() -> None:
    view = a_view(stream("tiles", tiles={"1h": "1m"}), windowed(CLICKS, "1h"), windowed(SPEND, "1h"))
    update = view.updates(an_event(), NOW)
    assert update is not None
    assert (view.digest, view.bytes, update.function) == ("5b673bc5", 24 + 8 + 62 * 16, "tiles")
    assert update.change == bytes.fromhex(GOLDEN["ring"])


def test_a_row_is_a_header_a_bit_a_value_and_the_values() -> None:
    view = a_view(
        {"precomputed": {}},
        {"name": "segment", "type": "string", "maxLength": 6},
        {"name": "age", "type": "integer"},
        {"name": "score", "type": "number"},
        {"name": "member", "type": "boolean"},
        {"name": "tags", "type": "array", "items": {"type": "string"}, "maxItems": 2, "maxLength": 3},
    )
    row = view.row({"segment": "käse", "score": 0.5, "member": True, "tags": ["a"]}, NOW, "scores@4")
    assert (view.digest, len(row)) == ("39762a19", view.bytes)
    assert row == bytes.fromhex(GOLDEN["row"])


GOLDEN = {
    "event": "fb4f5c18a3010000 00505c18a3010000 80ee360000000000 8027cb0500000000 80ce692900000000"  # times in ms
    "34373531373230393332333137383039313837",  # the event's id, in decimals
    "log": "1100 0900 005c260500000000"  # bytes of a record, most records, longest window in ms
    "fb4f5c18a3010000 d204000000000000 02",  # time, 12.34, the second predicate
    "ring": "00040000 2000"  # bytes of a state, and of its head
    "1800 20000000 3e000000 7fc3c901"  # where the newest tile is written, the ring, its slots; the tile
    "03 736370 1000 d204000000000000 00000000 00000000"  # "scp": 12.34, no click, filled up
    "1000 0000000000000000 00000000 00000000",  # nothing
    "row": "01 03 0000 00000000 00505c18a3010000 6a1b261ab43d9b29"  # format, row, time, hash of scores@4
    "1d00000000000000 6bc3a4736500 0000000000000000 000000000000e03f 01"  # all but age; käse, 0, 0.5, true
    "0100 610000 000000",  # one tag: a
}


# What the layout depends on


FEATURES = (windowed(CLICKS, "1h"), windowed(SPEND, "1h", "24h"))
SAME = {
    "a description": (stream(), (windowed(CLICKS, "1h", description="Clicks."), FEATURES[1]), {}),
    "a default": (stream(), (windowed(CLICKS, "1h", default=5), FEATURES[1]), {}),
    "a shorter window": (stream(), (windowed(CLICKS, "1h", "5m"), FEATURES[1]), {}),
    "another aggregate of what is kept": (
        stream(), (*FEATURES, windowed({**SPEND, "name": "mean", "aggregation": "mean"}, "24h")), {},
    ),
    "a longer ttl": (stream(), FEATURES, {"ttl": "48h"}),
    "a bound": (stream(), (FEATURES[0], windowed(SPEND, "1h", "24h", maximum=100.0)), {}),
}  # fmt: skip
OTHER = {
    "storage": (stream("tiles"), FEATURES, {}),
    "lateness": (stream(lateness="2h"), FEATURES, {}),
    "how many events are kept": (stream(maxEvents=9), FEATURES, {}),
    "the longest window": (stream(), (FEATURES[0], windowed(SPEND, "1h", "25h")), {"ttl": "48h"}),
    "decimals": (stream(), (FEATURES[0], windowed(SPEND, "1h", "24h", decimals=3)), {}),
    "which events count": (
        stream(),
        (FEATURES[0], windowed(SPEND, "1h", "24h", where={"channel": "web"})),
        {},
    ),
    "another field": (stream(), (FEATURES[0], windowed(SPEND, "1h", "24h", field="price")), {}),
    "type of a key": (stream(), FEATURES, {"keys": [{"name": "customer_id", "type": "integer"}]}),
    "whom it describes": (stream(), FEATURES, {"keys": [{"name": "product_id"}]}),
}


def digest(source: dict[str, Any], features: tuple[dict[str, Any], ...], options: dict[str, Any]) -> str:
    return a_view(source, *features, **options).digest


@pytest.mark.parametrize("what", SAME)
def test_what_is_kept_outlives_a_change_of(what: str) -> None:
    assert digest(*SAME[what]) == digest(stream(), FEATURES, {})


@pytest.mark.parametrize("what", OTHER)
def test_a_view_starts_cold_after_a_change_of(what: str) -> None:
    assert digest(*OTHER[what]) != digest(stream(), FEATURES, {})


def test_a_view_starts_cold_when_its_keys_change_places() -> None:
    keys = [{"name": "customer_id"}, {"name": "store_id"}]
    assert digest(stream(), FEATURES, {"keys": keys}) != digest(stream(), FEATURES, {"keys": keys[::-1]})


def test_a_view_starts_cold_when_a_field_is_read_of_more_events() -> None:
    """The amounts of purchases that are not of the web were not kept: they are not zero."""
    features = (
        windowed({**CLICKS, "event": "purchase"}, "1h"),
        windowed(SPEND, "1h", where={"channel": "web"}),
    )
    more = (*features, windowed({**SPEND, "name": "all"}, "1h"))
    assert digest(stream(), more, {}) != digest(stream(), features, {})


# Keys


def test_keys_are_joined_and_what_would_look_like_a_joint_is_encoded() -> None:
    view = a_view(stream(), FEATURES[0], keys=[{"name": "shop"}, {"name": "till", "type": "integer"}])
    assert view.key(["a|b%", 7]).split(b"}")[1] == b"a%7Cb%25|7"
    assert view.key(["a", "-7"]) == view.key(["a", -7])


@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=2), st.text(min_size=1, max_size=8))
@example(["a|b", "c"], "a")
@example(["a%7C", "b"], "a|")
def test_two_entities_never_share_a_key(entity: list[str], other: str) -> None:
    view = a_view(stream(), FEATURES[0], keys=[{"name": "shop"}, {"name": "till"}])
    try:
        assert (view.key(entity) == view.key([other, entity[1]])) == (entity[0] == other)
    except InvalidEntity:
        assert any(set(part) & set("{}") or not part.isprintable() for part in (*entity, other))


@pytest.mark.parametrize(
    ("entity", "message"),
    [
        ([], "expected 1 (customer_id), got 0"),
        (["a", "b"], "expected 1 (customer_id), got 2"),
        ([""], "1 to 128 bytes, this one 0"),
        (["x" * 129], "this one 129"),
        (["ä" * 65], "this one 130"),
        (["a{1}b"], "neither { nor }"),
        (["a}"], "neither { nor }"),
        (["a\0"], "control characters"),
        (["a\nb"], "control characters"),
        (["a\x7f"], "control characters"),
        (["a\x85"], "control characters"),
        (["\ud800"], "lone surrogate"),
        ([1467], "expected a text, got a number"),
        ([None], "expected a text, got null"),
        ([["a"]], "expected a text, got an array"),
        ([{"a": 1}], "expected a text, got an object"),
    ],
)
def test_a_key_that_is_none_is_refused_by_name(entity: list[Any], message: str) -> None:
    with pytest.raises(InvalidEntity) as refused:
        a_view(stream(), FEATURES[0]).key(entity)
    assert message in str(refused.value)
    assert refused.value.field in ("customer_id", "keys")


@pytest.mark.parametrize("key", [True, 1.0, "01", "1.0", "", " 1", "+1", "-0", 2**63, "9" * 19, None, [1]])
def test_a_whole_number_is_spelt_in_one_way(key: Any) -> None:
    view = a_view(stream(), FEATURES[0], keys=[{"name": "customer_id", "type": "integer"}])
    assert view.key([1]) == view.key(["1"])
    with pytest.raises(InvalidEntity, match="expected a whole number of 64 bits"):
        view.key([key])


# Numbers


@given(st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9), st.integers(0, 4))
@example(0.005, 2)
@example(0.015, 2)
@example(2.675, 2)
@example(1e-300, 9)
def test_a_number_is_the_nearest_multiple_of_what_was_written_half_to_even(
    value: float, decimals: int
) -> None:
    assert scaled(value, decimals) == round(Fraction(repr(value)) * 10**decimals)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e300, 10**300, LARGEST + 1, -1e16])
def test_a_number_that_sums_could_not_hold_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"not finite|too large"):
        scaled(value, 0)


# Events


def test_an_event_that_no_feature_counts_changes_nothing() -> None:
    view = a_view(stream(), windowed(SPEND, "1h", where={"channel": "web"}))
    assert view.updates(an_event("view"), NOW) is None
    assert view.updates(an_event(channel="store"), NOW) is None
    assert view.updates(an_event(channel="store", amount="no number, and nobody reads it"), NOW) is None
    assert view.updates(an_event(), NOW) is not None


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "missing": ({}, {"amount": ...}, "data.amount: missing"),
    "a text": ({}, {"amount": "12"}, "data.amount: expected a number, got a text"),
    "a boolean": ({}, {"amount": True}, "data.amount: expected a number, got a boolean"),
    "null": ({}, {"amount": None}, "got null"),
    "an array": ({}, {"amount": [1]}, "got an array"),
    "NaN": ({}, {"amount": math.nan}, "not finite"),
    "infinite": ({}, {"amount": math.inf}, "not finite"),
    "huge": ({}, {"amount": 1e999}, "not finite"),
    "large": ({}, {"amount": 10**16}, "too large for 2 decimals"),
    "cents": ({"maximum": 500.0}, {"amount": 1234}, "above the maximum of 500: check its unit"),
    "below": ({"minimum": 0.0}, {"amount": -0.01}, "below the minimum of 0"),
    "a fraction": ({"type": "integer"}, {"amount": 1.5}, "expected a whole number"),
    "infinite for a whole number": ({"type": "integer"}, {"amount": math.inf}, "not finite"),
    "NaN for a whole number": ({"type": "integer"}, {"amount": math.nan}, "not finite"),
    "no text to compare": ({"where": {"channel": "web"}}, {"channel": 5}, "data.channel: expected a text"),
    "missing to compare": ({"where": {"channel": "web"}}, {"channel": ...}, "data.channel: missing, and a"),
    "no key": ({}, {"customer_id": ...}, "data.customer_id: missing"),
    "a number as a key": ({}, {"customer_id": 5}, "customer_id: expected a text"),
    "long": ({"type": "string", "aggregation": "last", "maxLength": 3}, {"amount": "käs"}, "longer than 3"),
    "NUL": ({"type": "string", "aggregation": "last"}, {"amount": "a\0"}, "NUL"),
    "half a character": ({"type": "string", "aggregation": "last"}, {"amount": "\ud800"}, "surrogate"),
    "no text": ({"type": "string", "aggregation": "last"}, {"amount": 5}, "expected a text, got a number"),
    "no boolean": ({"type": "boolean", "aggregation": "last"}, {"amount": 1}, "expected true or false"),
    "nothing to count": (
        {"type": "integer", "aggregation": "distinct"},
        {"amount": None},
        "expected a text, a number",
    ),
    "not finite to count": (
        {"type": "integer", "aggregation": "distinct"},
        {"amount": math.nan},
        "got one that is not",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_event_is_refused_with_field_and_remedy(what: str) -> None:
    feature, data, message = REFUSED[what]
    view = a_view(stream(), windowed(SPEND, "1h", **feature))
    event = an_event()
    kept = {name: value for name, value in {**PURCHASE, **data}.items() if value is not ...}
    with pytest.raises((InvalidEvent, InvalidEntity)) as refused:
        view.updates(Event(event.id, event.source, event.type, event.time_ms, kept), NOW)
    assert message in str(refused.value)


def test_a_text_is_no_number_but_a_whole_float_is_a_whole_number() -> None:
    view = a_view(stream(), windowed(SPEND, "1h", type="integer"))
    assert view.updates(an_event(amount=3.0), NOW) == view.updates(an_event(amount=3), NOW)


# Rows


ROW = (
    {"name": "segment", "type": "string", "maxLength": 4},
    {"name": "age", "type": "integer"},
    {"name": "score", "type": "number"},
    {"name": "member", "type": "boolean"},
    {"name": "tags", "type": "array", "items": {"type": "integer"}, "maxItems": 2},
)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colour": "red"}, "colour: unknown; the features are segment, age"),
        ({"segment": "longer"}, "segment: a text of 6 bytes is longer than 4"),
        ({"segment": 5}, "segment: expected a text, got a number"),
        ({"segment": "a\0"}, "segment: holds a NUL"),
        ({"age": 1.5}, "age: expected a whole number of 64 bits"),
        ({"age": 2**63}, "age: expected a whole number of 64 bits"),
        ({"age": True}, "age: expected a whole number"),
        ({"age": math.nan}, "age: expected a whole number of 64 bits, got one that is not finite"),
        ({"score": math.inf}, "score: expected a finite number, got one that is not finite"),
        ({"score": "5"}, "score: expected a finite number, got a text"),
        ({"score": 10**400}, "score: expected a finite number"),
        ({"member": 1}, "member: expected true or false, got a number"),
        ({"tags": 5}, "tags: expected an array, got a number"),
        ({"tags": [1, 2, 3]}, "tags: 3 elements are more than 2"),
        ({"tags": [1, "2"]}, "tags[1]: expected a whole number of 64 bits, got a text"),
    ],
)
def test_a_row_is_refused_with_column_and_remedy(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRow) as refused:
        a_view({"precomputed": {}}, *ROW).row(values, NOW)
    assert message in str(refused.value)


def test_a_view_takes_what_its_source_is() -> None:
    with pytest.raises(InvalidRow, match="fed by events and takes no rows"):
        a_view(stream(), FEATURES[0]).row({}, NOW)
    with pytest.raises(InvalidEvent, match="takes rows and no events"):
        a_view({"precomputed": {}}, *ROW).updates(an_event(), NOW)


# Views that the API would refuse, too


@pytest.mark.parametrize(
    ("source", "feature", "message"),
    [
        (stream(), {"name": "clicks", "type": "integer"}, "needs event, aggregation and windows"),
        (stream(), windowed(SPEND, "1h", field=None), "sum needs a field"),
        (
            stream("tiles"),
            windowed(SPEND, "1h", aggregation="distinct", type="integer"),
            "needs storage: events",
        ),
        (stream("tiles"), windowed(SPEND, "1h", aggregation="last", type="string"), "needs storage: events"),
        (stream("tiles"), windowed(CLICKS, "1m", "25s"), "does not divide"),
    ],
)
def test_a_view_that_cannot_be_packed_is_refused(
    source: dict[str, Any], feature: dict[str, Any], message: str
) -> None:
    built = view_config(stream(), FEATURES[0])
    spec = built.spec.model_copy(update={
        "source": built.spec.source.__class__.model_construct(stream=_stream(source), precomputed=None, derived=None),
        "features": [_feature(feature)],
    })  # fmt: skip
    with pytest.raises(InvalidView, match=message):
        compile_view("v", built.model_copy(update={"spec": spec}), PREFIX)


def _stream(source: dict[str, Any]) -> Any:
    from endcap_api.v1alpha1.featureview import Stream

    known = {"lateness": "1h", "tiles": None, "max_events": None, **source["stream"]}
    return Stream.model_construct(**known)


def _feature(feature: dict[str, Any]) -> Any:
    from endcap_api.v1alpha1.featureview import Feature

    return Feature.model_construct(**feature)
