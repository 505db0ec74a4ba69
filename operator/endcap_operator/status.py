# SPDX-License-Identifier: Apache-2.0
"""From a planned status to a reported one: the times of transitions, and whether anything is new at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from endcap_operator.plan.conditions import Condition

_TIME = "lastTransitionTime"


def reported(planned: Mapping[str, Any], before: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """`lastTransitionTime` is the moment at which a condition's status last changed, to the second, in UTC."""
    known = by_type(before)
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [{**c, _TIME: _since(c, known.get(c["type"]), time)} for c in planned["conditions"]]
    return {**planned, "conditions": conditions}


def _since(condition: Condition, before: Condition | None, now: str) -> str:
    if before is not None and before.get("status") == condition["status"]:
        return str(before.get(_TIME) or now)
    return now


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What makes `before` `after` as a JSON merge patch: what is no longer said is null, at every depth (RFC 7386)."""
    gone = {name: None for name in before if name not in after}
    return {**{name: _patched(before.get(name), value) for name, value in after.items()}, **gone}


def _patched(before: Any, after: Any) -> Any:
    both = isinstance(before, Mapping) and isinstance(after, Mapping)
    return merge_patch(before, after) if both else after


def by_type(status: Mapping[str, Any]) -> dict[str, Condition]:
    return {condition["type"]: condition for condition in status.get("conditions") or ()}


def transitions(planned: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[tuple[bool, Condition]]:
    """What people should hear of, each reason once: whether it is a warning, and the condition that says it."""
    known, told = by_type(before), set[str]()
    for condition in planned["conditions"]:
        was = known.get(condition["type"], {})
        if (was.get("status"), was.get("reason")) == (condition["status"], condition["reason"]):
            continue
        warning = is_warning(condition)
        if (warning or _is_relief(condition, was)) and condition["reason"] not in told:
            told.add(condition["reason"])
            yield warning, condition


def is_warning(condition: Condition) -> bool:
    if condition["type"] == "Degraded":
        return bool(condition["status"] == "True")
    return (
        condition["type"] in ("Accepted", "Valid", "Ready")
        and condition["status"] == "False"
        and (condition["reason"] != "Starting")
    )


def _is_relief(condition: Condition, was: Mapping[str, Any]) -> bool:
    """Something came to work, or works again."""
    good = "False" if condition["type"] == "Degraded" else "True"
    flipped = condition["status"] == good and was.get("status") not in (None, good)
    return flipped and condition["type"] in ("Accepted", "Valid", "Ready", "Degraded")
