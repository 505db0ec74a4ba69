# SPDX-License-Identifier: Apache-2.0
"""Conditions as they are planned: without times, which only the report knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from endcap_operator.keys import Key
from endcap_operator.plan.facts import Resource
from endcap_operator.plan.pods import Failure, Pod
from endcap_operator.plan.remedies import advised

_LONGEST = 2048
Condition = dict[str, Any]
Verdict = Literal["True", "False", "Unknown"]


def condition(kind: str, status: Verdict, reason: str, message: str, generation: int) -> Condition:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}…",
        "observedGeneration": generation,
    }


def status_of(resource: Resource, pods: Sequence[Pod], conditions: Sequence[Condition]) -> dict[str, Any]:
    """What the status of every kind with pods says."""
    return {
        "observedGeneration": resource.generation,
        "url": resource.identity.url,
        "selector": resource.identity.selector,
        "replicas": len(pods),
        "readyReplicas": sum(pod.ready for pod in pods),
        "conditions": list(conditions),
    }


def accepted(generation: int, problems: Sequence[str] = ()) -> Condition:
    if problems:
        return condition("Accepted", "False", "InvalidSpec", "; ".join(problems), generation)
    return condition("Accepted", "True", "Valid", "The spec is valid.", generation)


def invalid(kind: str, problems: str, generation: int) -> Condition:
    return condition(kind, "False", "InvalidSpec", advised(Failure("InvalidSpec", problems)), generation)


def stopped(failure: Failure, generation: int) -> list[Condition]:
    """Nothing moves until somebody does what the message says."""
    message = advised(failure)
    return [
        condition("Progressing", "False", failure.reason, message, generation),
        condition("Degraded", "True", failure.reason, message, generation),
    ]


def moving(reason: str, message: str, generation: int) -> list[Condition]:
    return [
        condition("Progressing", "True", reason, message, generation),
        sound(generation),
    ]


def settled(generation: int) -> list[Condition]:
    return [
        condition("Progressing", "False", "Complete", "What is served is what is wanted.", generation),
        sound(generation),
    ]


def sound(generation: int) -> Condition:
    return condition("Degraded", "False", "Sound", "Nothing is amiss.", generation)


def name_taken(keys: Sequence[Key]) -> Failure:
    names = ", ".join(f"{key.kind} {key.name}" for key in keys)
    return Failure("NameTaken", f"{names} belongs to someone else, and is left alone")


def with_refusals(status: dict[str, Any], refused: Sequence[tuple[Key, str]]) -> dict[str, Any]:
    """The status when the API server does not grant some children."""
    if not refused:
        return status
    generation = status["observedGeneration"]
    said = "; ".join(f"{key.kind} {key.name} is refused: {message}" for key, message in refused)
    failure = Failure("ChildRefused", said)
    conditions = [c for c in status["conditions"] if c["type"] not in ("Progressing", "Degraded")]
    if not status.get("readyReplicas"):
        unready = condition("Ready", "False", failure.reason, advised(failure), generation)
        conditions = [unready if c["type"] == "Ready" else c for c in conditions]
    return {**status, "conditions": [*conditions, *stopped(failure, generation)]}
