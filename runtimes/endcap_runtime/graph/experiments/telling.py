# SPDX-License-Identifier: Apache-2.0
"""What an answer says of experiments: in its body, and in a header for who reads no bodies."""

from __future__ import annotations

from typing import Any

from endcap_runtime.graph.experiments.assigned import Assigned, Assignments

HEADER = b"endcap-experiments"


def told(assignments: Assignments) -> dict[str, dict[str, str | None]]:
    """By experiment; `served` is there only where another variant served, or None for none."""
    return {name: _told(each) for name, each in assignments.items()}


def _told(assigned: Assigned) -> dict[str, str | None]:
    said: dict[str, str | None] = {"variant": assigned.variant, "reason": assigned.reason}
    return said if assigned.served == assigned.variant else {**said, "served": assigned.served}


def header(assignments: Assignments) -> tuple[bytes, bytes]:
    """A dictionary of RFC 9651; names of experiments and variants are keys and tokens of it as they are."""
    return HEADER, ", ".join(map(_member, assignments.values())).encode()


def _member(assigned: Assigned) -> str:
    member = f"{assigned.name}={assigned.variant};reason={assigned.reason}"
    if assigned.served == assigned.variant:
        return member
    return f"{member};served={assigned.served or '?0'}"


def explained(assigned: Assigned) -> dict[str, Any]:
    """For the step that the experiment is on."""
    said = {
        "name": assigned.name,
        "variant": assigned.variant,
        "reason": assigned.reason,
        "served": assigned.served,
        "bucket": assigned.bucket,
        "failure": assigned.failure,
    }
    return {name: value for name, value in said.items() if value is not None}
