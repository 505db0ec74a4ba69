# SPDX-License-Identifier: Apache-2.0
"""Plans that change no child: what is asked for cannot be done, and what is there stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from endcap_api.v1alpha1.kinds import KINDS
from endcap_api.v1alpha1.status import ServedStatus
from endcap_operator.plan.conditions import (
    Condition,
    accepted,
    condition,
    invalid,
    moving,
    name_taken,
    status_of,
    stopped,
)
from endcap_operator.plan.facts import Observed, Plan, Resource
from endcap_operator.plan.pods import Failure
from endcap_operator.plan.remedies import advised

RETRY_SECONDS = 5.0


def _has_pods(resource: Resource) -> bool:
    return issubclass(KINDS[resource.identity.kind].status, ServedStatus)


def _status(resource: Resource, observed: Observed, conditions: Sequence[Condition]) -> dict[str, Any]:
    """Of an experiment the rest stays as it was: how far it is does not change with what keeps it from going on."""
    if _has_pods(resource):
        return status_of(resource, observed.pods, conditions)
    before = observed.measured.status
    return {**before, "observedGeneration": resource.generation, "conditions": list(conditions)}


def plan_unread(resource: Resource, observed: Observed) -> Plan:
    """For a spec that cannot be read at all."""
    if _has_pods(resource):
        return plan_unaccepted(resource, observed, resource.problems)
    kind = "Valid" if resource.identity.kind == "FeatureView" else "Accepted"
    said = invalid(kind, "; ".join(resource.problems), resource.generation)
    return Plan(status=_status(resource, observed, [said]))


def plan_unaccepted(resource: Resource, observed: Observed, problems: Sequence[str]) -> Plan:
    """The author must act; pods that serve an earlier spec go on."""
    failure = Failure("InvalidSpec", "; ".join(problems))
    conditions = [
        accepted(resource.generation, problems),
        ready_or(failure, resource, observed),
        *stopped(failure, resource.generation),
    ]
    return Plan(status=_status(resource, observed, conditions))


def plan_waiting(resource: Resource, observed: Observed, failure: Failure) -> Plan:
    """Sound, and yet not possible: what it names is missing or unsound. Pods that serve an earlier state go on."""
    said = condition("Ready", "False", failure.reason, advised(failure), resource.generation)
    unsound = failure.reason.endswith("Invalid")
    conditions = [
        accepted(resource.generation),
        ready_or(failure, resource, observed) if unsound else said,
        *stopped(failure, resource.generation),
    ]
    return Plan(status=_status(resource, observed, conditions))


def plan_name_taken(resource: Resource, observed: Observed) -> Plan:
    """Someone else's object has the name of a child: it is never adopted, and looked at again until it is gone."""
    failure = name_taken(observed.taken)
    conditions = [
        accepted(resource.generation),
        condition("Ready", "False", failure.reason, advised(failure), resource.generation),
        *stopped(failure, resource.generation),
    ]
    return Plan(status=_status(resource, observed, conditions), recheck=RETRY_SECONDS)


def plan_heir(resource: Resource, observed: Observed) -> Plan:
    """A resource was deleted and made again before its children were gone: nothing is amiss, and nothing done yet."""
    names = ", ".join(f"{key.kind} {key.name}" for key in observed.left)
    message = f"{names} of an earlier {resource.identity.kind} {resource.identity.name} is being removed."
    conditions = [
        accepted(resource.generation),
        condition("Ready", "False", "Starting", message, resource.generation),
        *moving("Replacing", message, resource.generation),
    ]
    return Plan(status=_status(resource, observed, conditions), recheck=RETRY_SECONDS)


def ready_or(failure: Failure, resource: Resource, observed: Observed) -> Condition:
    """Ready while pods are, whatever they serve; else not, for the reason of the failure."""
    ready = sum(pod.ready for pod in observed.pods)
    if ready:
        message = f"{ready} pods serve what was last accepted."
        return condition("Ready", "True", "Serving", message, resource.generation)
    return condition("Ready", "False", failure.reason, advised(failure), resource.generation)
