# SPDX-License-Identifier: Apache-2.0
"""A record is read back as it was written, and one that is lost is made again without moving anybody."""

from __future__ import annotations

import json
from typing import Any

import pytest
from measured_experiments import ID, NOW, arm, converted, counted, experiment, weighed

from endcap_api.assignment import quotas, size
from endcap_api.v1alpha1.status import ExperimentStatus
from endcap_operator.analysis.looking import Seen, look_at
from endcap_operator.plan.experiment.beginning import first, recovered
from endcap_operator.plan.experiment.course import Facts, advance
from endcap_operator.plan.experiment.record import (
    Pin,
    Record,
    assigned_of,
    is_partition,
    read_record,
    text_of,
)

NAME = "ranker-v2"
PIN = Pin(model="basket-ranker-v2", label="basket-ranker-v2@2", sha256="2" * 64)
FACTS = Facts(NAME, ID, pins={"treatment": PIN}, synced=True, named=frozenset({"control"}))


PAUSED = {"time": "2026-11-24T15:00:00Z", "phase": "Promoting", "message": ""}


def begun(*weights: tuple[int, int]) -> tuple[Any, Record]:
    """Running with its figures, after these changes of weights."""
    spec = experiment()
    record = advance(spec, None, FACTS, None, NOW).record
    for control, treatment in weights:
        spec = experiment(
            variants=[
                {**v, "model": "basket-ranker-v2"} if v.get("model") else v
                for v in weighed(control=control, treatment=treatment)
            ]
        )
        record = advance(spec, record, FACTS, None, NOW).record
    sums = counted(control=converted(900, 90), treatment=converted(900, 99))
    look = look_at(spec, record.epochs, Seen(sums), NOW)
    return spec, advance(spec, record, FACTS, look, NOW).record


def pinned(pin: Pin | None) -> dict[str, str]:
    return {"model": pin.label, "digest": pin.sha256} if pin else {}


def status(record: Record, **changes: Any) -> ExperimentStatus:
    """What the operator says of it, as far as it matters here."""
    said: dict[str, Any] = {
        "phase": record.phase,
        "revision": record.revision,
        "epoch": record.epoch,
        "traffic": f"{record.coverage}%",
        "sampleRatio": "ok (0.03)",
        "verdict": "None yet",
        "variants": [
            {"name": name, "buckets": texts, **pinned(record.pins.get(name))}
            for name, texts in record.ranges.items()
        ],
        "history": [
            {"time": "2026-11-24T15:00:00Z", "phase": e.phase, "message": e.message} for e in record.history
        ],
    }
    return ExperimentStatus.model_validate({**said, **changes})


def test_it_is_read_back_as_it_was_written() -> None:
    _, record = begun((80, 20))
    assert read_record(text_of(record), ID) == record
    assert text_of(read_record(text_of(record), ID) or record) == text_of(record)


@pytest.mark.parametrize("spoil", ["", "{", "[]", "null", '{"id": "0123456789ab"}'])
def test_what_is_no_record_is_none(spoil: str) -> None:
    assert read_record(spoil, ID) is None
    assert read_record(None, ID) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": "Walking"},
        {"revision": 0},
        {"ranges": {"control": ["0-10001"], "treatment": []}},
        {"ranges": {"control": ["9-1"], "treatment": []}},
        {"ranges": {"control": ["0-5000"], "treatment": ["0-5000"]}},
        {"ranges": {"control": ["0-4999"], "treatment": ["5000-10000"]}},
        {"ranges": {}},
        {"epochs": {}},
        {"epoch": 2},
        {"unknown": 1},
    ],
)
def test_a_record_that_somebody_broke_is_none(changes: dict[str, Any]) -> None:
    _, record = begun()
    assert read_record(json.dumps({**json.loads(text_of(record)), **changes}), ID) is None


def test_the_record_of_an_earlier_namesake_is_none() -> None:
    _, record = begun()
    assert read_record(text_of(record), "ba9876543210") is None


def test_a_lost_record_is_made_again_from_the_status() -> None:
    """Minimal movement gave these buckets; the weights alone would give others."""
    spec, record = begun((80, 20), (60, 40))
    assert record.ranges != first(NAME, spec, ID, NOW).ranges
    again = recovered(NAME, spec, ID, status(record), NOW)
    kept = ("phase", "ranges", "pins", "epoch", "coverage", "salt", "began", "weights", "told", "id")
    assert {f: getattr(again, f) for f in kept} == {f: getattr(record, f) for f in kept}
    assert again.revision > record.revision
    assert [e.message for e in again.history] == [e.message for e in record.history]
    assert advance(spec, again, FACTS, None, NOW).record.ranges == record.ranges


def test_the_units_of_the_first_epoch_still_count_and_those_of_lost_ones_do_not() -> None:
    spec, record = begun()
    assert recovered(NAME, spec, ID, status(record), NOW).epochs == record.epochs
    spec, record = begun((80, 20))
    again = recovered(NAME, spec, ID, status(record), NOW)
    assert again.epochs.keys() == {"2"}
    assert not again.epochs["2"].comparable


@pytest.mark.parametrize(
    "buckets",
    [
        [["0-5000"], ["0-5000"]],
        [["0-5000"], ["5000-9999"]],
        [["0-5000"], []],
        [["5000-0"], ["5000-10000"]],
        [["x"], ["y"]],
    ],
)
def test_buckets_of_a_status_that_are_not_whole_are_not_taken(buckets: list[list[str]]) -> None:
    spec, record = begun()
    said = [{"name": n, "buckets": b} for n, b in zip(("control", "treatment"), buckets, strict=True)]
    again = recovered(NAME, spec, ID, status(record, variants=said), NOW)
    assert again.ranges == first(NAME, spec, ID, NOW).ranges
    assert again.phase == "Running"


def test_without_a_status_the_buckets_of_the_spec_are_taken_then_its_weights() -> None:
    given = {"control": ["4000-10000"], "treatment": ["0-4000"]}
    variants = [{**v, "buckets": given[v["name"]]} for v in weighed(control=60, treatment=40)]
    assert recovered(NAME, experiment(variants=variants), ID, None, NOW).ranges == given
    plain = experiment(variants=weighed(control=60, treatment=40))
    assert recovered(NAME, plain, ID, ExperimentStatus(), NOW).ranges == {
        "control": ["0-6000"],
        "treatment": ["6000-10000"],
    }


@pytest.mark.parametrize(
    ("said", "field", "value"),
    [
        ({"sampleRatio": "mismatch (2e+07)"}, "mismatch", "mismatch (2e+07)"),
        ({"verdict": "Invalid"}, "mismatch", "ok (0.03)"),
        ({"phase": "RolledBack", "verdict": "GuardrailBreached treatment"}, "spoilt", "treatment"),
        ({"phase": "Promoting", "verdict": "Better treatment"}, "everyone", "treatment"),
        ({"phase": "Promoting", "verdict": "None yet"}, "phase", "Running"),
        ({"phase": "Paused"}, "paused", "Running"),
        ({"phase": "Paused", "history": [PAUSED], "verdict": "Better treatment"}, "paused", "Promoting"),
        ({"phase": "Paused", "history": [PAUSED], "verdict": "None yet"}, "paused", "Running"),
        ({"phase": "Paused", "history": [PAUSED], "verdict": "Better treatment"}, "everyone", "treatment"),
        ({"phase": "Ended"}, "final", True),
    ],
)
def test_what_is_for_ever_is_so_after_a_loss_too(said: dict[str, Any], field: str, value: object) -> None:
    spec, record = begun()
    again = recovered(NAME, spec, ID, status(record, **said), NOW)
    assert getattr(again, field) == value
    assert read_record(text_of(again), ID) == again


@pytest.mark.parametrize(
    ("phase", "traffic", "coverage"),
    [
        ("Ramping", "25%", 25),
        ("Ramping", "0%", 5),
        ("Ramping", "x", 5),
        ("Paused", "0%", 5),
        ("Running", "25%", 100),
    ],
)
def test_a_ramp_that_is_lost_goes_on_where_it_was_or_begins_again(
    phase: str, traffic: str, coverage: int
) -> None:
    """Whoever is in stays in; where nobody knows who was, the fewest are."""
    spec = experiment(ramp={"steps": [{"coverage": 5, "hold": "1h"}, {"coverage": 25}, {"coverage": 100}]})
    record = advance(spec, None, FACTS, None, NOW).record
    again = recovered(NAME, spec, ID, status(record, phase=phase, traffic=traffic), NOW)
    assert (again.coverage, again.phase) == (coverage, phase)
    assert again.paused == ("Ramping" if phase == "Paused" else None)


def test_a_status_that_names_variants_of_its_own_moves_nobody() -> None:
    spec, record = begun()
    said = [{"name": "ghost", "buckets": ["0-10000"], "model": "ghost@1", "digest": "0" * 64}]
    again = recovered(NAME, spec, ID, status(record, variants=said), NOW)
    assert (again.ranges, again.pins) == (record.ranges, {})


def test_the_graph_is_told_what_the_record_says() -> None:
    _, record = begun((80, 20))
    told = assigned_of(record, "http://default-ingest")
    assert told is not None
    assert {n: size(owned) for n, owned in told.ranges.items()} == quotas({"control": 80, "treatment": 20})
    assert is_partition(told.ranges)
    assert (told.id, told.revision, told.epoch, told.phase) == (ID, 2, 2, "Running")
    assert told.digests == {"treatment": PIN.sha256}
    assert told.exposures == "http://default-ingest"


def test_drift_is_where_a_model_is_now_to_be_another() -> None:
    _, record = begun()
    other = PIN.model_copy(update={"label": "basket-ranker-v2@3", "sha256": "3" * 64})
    assert record.drifted({"treatment": PIN}) == {}
    assert record.drifted({}) == {}
    assert record.drifted({"treatment": other}) == {"treatment": other}


def test_a_record_with_all_figures_is_json() -> None:
    import numpy as np

    spec = experiment(
        guardrails=[{"metric": "add-to-cart", "limit": 5}, {"serving": "p95Latency", "limit": 5}]
    )
    record = advance(spec, None, FACTS, None, NOW).record
    y = np.random.default_rng(1).normal(0, 1e-9, 2000)
    look = look_at(spec, record.epochs, Seen(counted(control=arm(y), treatment=arm(y[:1900]))), NOW)
    after = advance(spec, record, FACTS, look, NOW).record
    assert read_record(text_of(after), ID) == after
