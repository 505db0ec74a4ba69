# SPDX-License-Identifier: Apache-2.0
"""What ingest makes of exposures and outcomes before Redis: keys, hidden units, what an event adds to which metric."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from experiment_shop import BANNER, EXPERIMENTS, RANKER, UNIT_KEY, cart, exposure, order

from endcap_api.experiment_config import MeasuredConfig
from endcap_runtime.features.experiments.exposures import exposed, faults_of, kept
from endcap_runtime.features.experiments.measured import Measured, compile_measured
from endcap_runtime.features.experiments.sums import epochs_of, newest_of
from endcap_runtime.features.experiments.units import hidden, tag_of
from endcap_runtime.features.ingest.cloudevents import event_of
from endcap_runtime.features.layout import Event, InvalidEvent
from endcap_runtime.features.store.unit_key import NoUnitKey, UnitKey

PREFIX = "0a1b2c3d"
HIDDEN = "a8ae82c2e393cee381b5629bc935a955"  # openssl dgst -sha256 -hmac <key>, of 1467
AT = "2026-11-24T10:00:00Z"
AT_MS = 1_795_514_400_000


def compiled(name: str = "ranker-v2", **changes: Any) -> Measured:
    return compile_measured(name, MeasuredConfig.model_validate({**EXPERIMENTS[name], **changes}), PREFIX)


def event(given: dict[str, Any]) -> Event:
    return event_of(given)


def test_a_unit_is_hidden_as_openssl_does_it() -> None:
    assert hidden(UNIT_KEY.encode(), "1467") == HIDDEN
    assert hidden(UNIT_KEY.encode(), "Ünïcode-éè") != hidden(b"another key of bytes", "Ünïcode-éè")


def test_keys_are_those_of_the_contract() -> None:
    """`p` is crc32 of the hidden unit mod 64: all keys of a unit share a slot."""
    (outcome,) = compiled().outcomes(event(order("o1", "1467", 2.5, AT)), AT_MS + 5, UNIT_KEY.encode())
    tag = tag_of(HIDDEN)
    assert tag == "{46}"
    assert outcome.call.keys == (
        f"{PREFIX}:exp:{RANKER}{tag}{HIDDEN}".encode(),
        f"{PREFIX}:exp:{RANKER}:sums{tag}".encode(),
        f"{PREFIX}:exp:{RANKER}:seen{tag}{AT_MS // 60_000}".encode(),
        f"{PREFIX}:exp:{RANKER}:wait{tag}{HIDDEN}".encode(),
    )
    told = exposed(kept(exposure("1467"), UNIT_KEY.encode()), AT_MS, PREFIX)
    assert told is not None
    assert told.call.keys == (outcome.call.keys[0], outcome.call.keys[1], outcome.call.keys[3])
    assert set(compiled().sums_keys) == {f"{PREFIX}:exp:{RANKER}:sums{{{n}}}".encode() for n in range(64)}


def test_an_event_adds_to_each_metric_that_reads_it() -> None:
    measured = compiled()
    assert {a.metric: (a.part, a.value) for a in measured.read(event(cart("c", "1")))["1"]} == {
        "add-to-cart": ("c", 1.0)
    }
    assert measured.read(event(cart("c", "1", channel="app"))) == {}
    assert [(a.metric, a.part, a.value) for a in measured.read(event(order("o", "1", 2.5)))["1"]] == [
        ("revenue", "y", 2.5),
        ("basket-value", "y", 2.5),
        ("basket-value", "d", 1.0),
    ]


def test_a_producer_ahead_of_its_time_moves_no_outcome_into_the_future() -> None:
    (outcome,) = compiled().outcomes(event(order("o", "1", 1, AT)), AT_MS - 30_000, UNIT_KEY.encode())
    counts, arrived = struct.unpack_from("<qq", outcome.call.arguments[1])
    assert (counts, arrived) == (AT_MS - 30_000, AT_MS - 30_000)
    time_ms, *_ = struct.unpack_from("<q", outcome.call.arguments[0])
    assert time_ms == AT_MS, "whether it is late is judged by what the producer said"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"channel": "web"}, "data.customer"),
        ({"customer": True, "channel": "web"}, "data.customer"),
        ({"customer": 1.0, "channel": "web"}, "data.customer"),
        ({"customer": "", "channel": "web"}, "data.customer"),
        ({"customer": "u" * 1025, "channel": "web"}, "data.customer"),
        ({"customer": "\ud800", "channel": "web"}, "data.customer"),
        ({"customer": "1"}, "data.channel"),
        ({"customer": "1", "channel": 3}, "data.channel"),
    ],
)
def test_what_no_metric_can_count_is_named(data: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        compiled().read(Event("e", "/tests", "cart", AT_MS, data))
    assert refused.value.field == field
    assert ":" in refused.value.message, "what is wrong, and what to do"


@pytest.mark.parametrize("amount", [1e13, -1e13, float("inf"), float("nan"), "1", None, True, [1]])
def test_a_number_that_sums_could_not_bear_is_refused(amount: Any) -> None:
    with pytest.raises(InvalidEvent) as refused:
        compiled().read(Event("e", "/tests", "order", AT_MS, {"customer": "1", "amount": amount}))
    assert refused.value.field == "data.amount"


def test_an_exposure_keeps_all_but_its_unit() -> None:
    sent = exposure("1467", time_ms=AT_MS)
    stored = kept(sent, UNIT_KEY.encode())
    assert stored == {**sent, "id": stored["id"], "unit": HIDDEN}
    same = (
        {"time_ms": AT_MS + 13 * 3_600_000},
        {"variant": "control"},
        {"revision": 9},
        {"request_id": "another"},
    )
    other = (
        {"time_ms": AT_MS + 14 * 3_600_000},
        {"phase": "Ramping"},
        {"unit": "1468"},
        {"experiment_id": BANNER},
    )
    for changes in same:
        assert kept({**sent, **changes}, UNIT_KEY.encode())["id"] == stored["id"], changes
    for changes in other:
        assert kept({**sent, **changes}, UNIT_KEY.encode())["id"] != stored["id"], changes


def test_who_is_not_in_the_analysis_has_no_state() -> None:
    for reason in ("forced", "listed", "held_out"):
        told = kept(exposure("1", reason=reason, in_analysis=False), UNIT_KEY.encode())
        assert exposed(told, AT_MS, PREFIX) is None


def test_of_an_experiment_that_is_not_known_yet_exposures_are_sound() -> None:
    """The graph may hear of an experiment before ingest does: none of its exposures may be lost."""
    known = {RANKER: compiled()}
    assert list(faults_of(exposure("1"), known)) == []
    assert list(faults_of(exposure("1", "blue", experiment_id=BANNER), known)) == []
    assert [fault.field for fault in faults_of(exposure("1", "blue"), known)] == ["variant"]


def test_sums_are_of_all_parts_variants_and_metrics() -> None:
    packed = struct.pack("<8d", 1, 2, 3, 4, 5, 6, 7, 8)
    parts = [
        {b"units|1|control": b"3", b"sums|1|control|revenue": packed, b"newest": b"17"},
        {
            b"units|1|control": b"4",
            b"crossed|1|control": b"1",
            b"sums|1|control|revenue": packed,
            b"newest": b"12",
        },
        {b"units|10|treatment": b"2", b"units|2|treatment": b"1", b"fallback|2|treatment": b"1"},
        {},
    ]
    found = epochs_of(compiled(), parts)
    assert list(found) == ["1", "2", "10"]
    assert all(list(variants) == ["control", "treatment"] for variants in found.values())
    control = found["1"]["control"]
    assert (control.units, control.crossed, control.fallback) == (7, 1, 0)
    assert list(control.metrics) == ["add-to-cart", "revenue", "basket-value"]
    assert control.metrics["revenue"].dump() == dict(
        zip(("y", "yy", "x", "xx", "xy", "d", "dd", "yd"), range(2, 18, 2), strict=True)
    )
    assert control.metrics["add-to-cart"].y == found["1"]["treatment"].metrics["revenue"].y == 0
    assert found["2"]["treatment"].fallback == 1
    assert newest_of(parts) == 17
    assert (epochs_of(compiled(), [{}, {}]), newest_of([{}])) == ({}, None)


def test_a_key_is_read_again_when_it_changes_and_kept_while_it_is_gone(tmp_path: Path) -> None:
    key, file = UnitKey(tmp_path), tmp_path / "unitKey"
    with pytest.raises(NoUnitKey, match="create the Secret"):
        key.read()
    file.write_text("short")
    with pytest.raises(NoUnitKey, match="5 bytes"):
        key.read()
    file.write_text(UNIT_KEY + "\n")
    assert key.read() == UNIT_KEY.encode()
    (tmp_path / "next").write_text(UNIT_KEY[::-1])
    (tmp_path / "next").rename(file)
    assert key.read() == UNIT_KEY[::-1].encode()
    file.unlink()
    assert key.read() == UNIT_KEY[::-1].encode()
