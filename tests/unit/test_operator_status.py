# SPDX-License-Identifier: Apache-2.0
"""Status: times move only on a flip, people hear only of transitions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from endcap_operator.status import merge_patch, reported, transitions

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def status(*conditions: tuple[str, str, str]) -> dict[str, Any]:
    made = [{"type": t, "status": s, "reason": r, "message": f"{r}."} for t, s, r in conditions]
    return {"conditions": made}


def times(found: dict[str, Any]) -> dict[str, str]:
    return {c["type"]: c["lastTransitionTime"] for c in found["conditions"]}


def test_a_transition_has_the_time_of_its_flip() -> None:
    before = reported(status(("Ready", "False", "Starting")), {}, NOON)
    after = reported(status(("Ready", "True", "Serving")), before, NOON + timedelta(hours=1))
    assert times(after) == {"Ready": "2026-11-24T13:00:00Z"}


def test_another_reason_without_a_flip_keeps_the_time() -> None:
    before = reported(status(("Ready", "False", "Starting")), {}, NOON)
    after = reported(status(("Ready", "False", "ModelNotFound")), before, NOON + timedelta(hours=1))
    assert times(after) == times(before)


def test_nothing_new_is_the_same_status() -> None:
    before = reported(status(("Ready", "True", "Serving")), {}, NOON)
    assert reported(status(("Ready", "True", "Serving")), before, NOON + timedelta(days=1)) == before


def told(after: dict[str, Any], before: dict[str, Any]) -> list[tuple[bool, str]]:
    return [(warning, condition["reason"]) for warning, condition in transitions(after, before)]


def test_a_start_without_trouble_is_no_event() -> None:
    assert told(status(("Accepted", "True", "Valid"), ("Ready", "False", "Starting")), {}) == []


def test_getting_ready_is_an_event_and_staying_so_is_none() -> None:
    starting, ready = status(("Ready", "False", "Starting")), status(("Ready", "True", "Serving"))
    assert told(ready, starting) == [(False, "Serving")]
    assert told(ready, ready) == []


def test_a_reason_is_told_once_although_three_conditions_say_it() -> None:
    bad = status(
        ("Accepted", "True", "Valid"),
        ("Ready", "False", "ModelNotFound"),
        ("Progressing", "False", "ModelNotFound"),
        ("Degraded", "True", "ModelNotFound"),
    )
    assert told(bad, {}) == [(True, "ModelNotFound")]


def test_another_trouble_is_told_too() -> None:
    one, other = status(("Degraded", "True", "OOMKilled")), status(("Degraded", "True", "Unschedulable"))
    assert told(other, one) == [(True, "Unschedulable")]


def test_recovery_is_told() -> None:
    assert told(status(("Degraded", "False", "Sound")), status(("Degraded", "True", "OOMKilled"))) == [
        (False, "Sound")
    ]


STATUSES = st.recursive(
    st.integers() | st.text(max_size=4) | st.lists(st.integers(), max_size=2),
    lambda v: st.dictionaries(st.sampled_from("abcd"), v, max_size=3),
    max_leaves=8,
)


@given(*[st.dictionaries(st.sampled_from("abcd"), STATUSES, max_size=4)] * 2)
def test_a_status_becomes_exactly_what_is_reported(before: dict[str, Any], after: dict[str, Any]) -> None:
    """What a feature was carried by, and is no longer, goes too: it would be written for ever."""
    assert merged(before, merge_patch(before, after)) == after


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386, as the API server does it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
