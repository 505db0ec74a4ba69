# SPDX-License-Identifier: Apache-2.0
"""What is said about an experiment, a statement a concern: each with what to do where something is amiss.

Messages hold no figure that each look would change: those are in the status, rounded, and an idle experiment is not
written to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from endcap_operator.analysis.look import Look
from endcap_operator.analysis.words import shown_ratio
from endcap_operator.plan.conditions import Condition, accepted, condition
from endcap_operator.plan.experiment.course import Advanced
from endcap_operator.plan.experiment.record import FINAL, Record
from endcap_operator.plan.experiment.situation import Situation, carries
from endcap_operator.plan.pods import Failure
from endcap_operator.plan.remedies import advised, sentence


@dataclass(frozen=True)
class Course:
    """An experiment and what has been decided about it now."""

    situation: Situation
    advanced: Advanced

    @property
    def record(self) -> Record:
        return self.advanced.record

    @property
    def generation(self) -> int:
        return self.situation.resource.generation

    def says(self, kind: str, failure: Failure) -> Condition:
        return condition(kind, "False", failure.reason, advised(failure), self.generation)

    def grants(self, kind: str, reason: str, message: str) -> Condition:
        return condition(kind, "True", reason, message, self.generation)

    def doubts(self, kind: str, reason: str, message: str) -> Condition:
        return condition(kind, "Unknown", reason, message, self.generation)


def conditions(course: Course) -> list[Condition]:
    concerns = [_accepted(course), _variants_ready(course), _router_synced(course)]
    return [
        concerns[0],
        _ready(course, concerns),
        *concerns[1:],
        *_figures(course),
        *_drift(course),
        _completed(course),
    ]


def _accepted(course: Course) -> Condition:
    situation = course.situation
    if problems := (*situation.altered, *situation.problems):
        return accepted(course.generation, problems)
    if situation.conflict:
        return course.says("Accepted", Failure("Conflict", situation.conflict))
    return accepted(course.generation)


def _variants_ready(course: Course) -> Condition:
    situation = course.situation
    if situation.missing:
        kind = situation.missing[0].split()[0]
        reason = f"{kind.removeprefix('Inference').removesuffix('Deployment')}NotFound"
        lacks = f"Namespace {situation.resource.identity.namespace} has no {', '.join(situation.missing)}"
        return course.says("VariantsReady", Failure(reason, lacks))
    if not situation.observed.measured.counted:
        said = f"The ingest pods of FeatureStore {situation.spec.store} do not count it yet"
        return course.says("VariantsReady", Failure("FeatureStoreNotReady", said))
    if unready := situation.facts().unready:
        return course.says("VariantsReady", Failure("VariantNotReady", f"Cannot serve: {', '.join(unready)}"))
    return course.grants("VariantsReady", "Ready", "Each variant can serve.")


def _router_synced(course: Course) -> Condition:
    kind, record, graph = "RouterSynced", course.record, course.situation.spec.graph
    if record.phase == "Pending":
        return condition(kind, "False", "Pending", "The graph is as it is written.", course.generation)
    routers = course.situation.routers
    if not routers:
        return course.says(kind, Failure("GraphNotReady", f"No replica of graph {graph} is ready"))
    synced = sum(carries(course.situation.name, record, pod) for pod in routers)
    done = f"revision {record.revision}" if record.routed else "the graph as it is written"
    message = f"{synced} of {len(routers)} replicas of graph {graph} serve {done}."
    if synced == len(routers):
        return course.grants(kind, "Synced", message)
    return condition(kind, "False", "Configuring", message, course.generation)


def _ready(course: Course, concerns: list[Condition]) -> Condition:
    """Of one that has come to its end, that nothing of it is left in the graph."""
    ended = course.record.final
    needed = [c for c in concerns if not (ended and c["type"] == "VariantsReady")]
    amiss = next((c for c in needed if c["status"] != "True"), None)
    if amiss is None:
        waits, said = course.advanced.waits, _SAID.get(course.record.phase, "")
        message = f"{said} It waits for: {sentence(waits)}" if waits else said
        return course.grants("Ready", course.record.phase, message)
    waiting = amiss["reason"] in ("Configuring", "Pending", "VariantNotReady", "FeatureStoreNotReady")
    reason = "Starting" if waiting and course.record.phase == "Pending" else amiss["reason"]
    return condition("Ready", "False", reason, amiss["message"], course.generation)


_SAID = {
    "Ramping": "Its coverage rises step by step.",
    "Running": "Units are assigned and counted.",
    "Paused": "Everyone gets the baseline until enabled is true again.",
    "AwaitingApproval": "Units are assigned and counted, and a person decides.",
    "Promoting": "Everyone gets the winner.",
    **dict.fromkeys(FINAL, "The graph serves as it is written."),
}


def _figures(course: Course) -> Iterator[Condition]:
    spec = course.situation.spec
    if spec.metrics:
        yield _sample_ratio(course)
        yield _metrics_fresh(course)
    if spec.guardrails:
        yield _guardrails(course)


def _sample_ratio(course: Course) -> Condition:
    look, kind = course.record.look, "SampleRatioHealthy"
    if course.record.mismatch:
        return course.says(kind, Failure("SampleRatioMismatch", course.record.mismatch))
    if look is None or look.sample_ratio.state == "no data":
        return course.doubts(kind, "NoData", "No unit has been exposed yet.")
    if look.sample_ratio.state == "mismatch":
        return course.says(kind, Failure("SampleRatioMismatch", shown_ratio(look.sample_ratio)))
    message = "The variants have as many units as their buckets say."
    return course.grants(kind, "Ok", f"{message}{_left_out(look)}")


def _left_out(look: Look) -> str:
    """Their units are served and counted, and not compared."""
    if not look.left_out:
        return ""
    named = f"epoch {', '.join(look.left_out)}"
    return f" Units of {named} are left out: the weights changed while not everyone took part."


def _metrics_fresh(course: Course) -> Condition:
    look, kind = course.record.look, "MetricsFresh"
    if look is None:
        return course.doubts(kind, "NoData", "Nothing has been looked at yet.")
    if look.fresh:
        return course.grants(kind, "Fresh", "The sums of the store are up to date.")
    return course.says(kind, Failure("MetricsStale", look.freshness or "The store has no sums"))


def _guardrails(course: Course) -> Condition:
    found, kind = course.record.look.guardrails if course.record.look else [], "GuardrailsHealthy"
    breached = [each for each in found if each.state == "breached"]
    if course.record.spoilt or breached:
        said = course.record.spoilt or "; ".join(f"{each.name}: {each.message}" for each in breached)
        return course.says(kind, Failure("GuardrailBreached", said))
    silent = [each.name for each in found if each.state == "no data"]
    if silent or not found:
        return course.doubts(kind, "NoData", f"Too few figures yet of {', '.join(silent) or 'all'}.")
    return course.grants(kind, "Ok", "No variant has broken a guardrail.")


def _drift(course: Course) -> Iterator[Condition]:
    if course.record.pinned and (drifted := course.situation.drift(course.record)):
        yield course.grants("VariantDrift", "Pinned", f"{'; '.join(drifted)}.")


def _completed(course: Course) -> Condition:
    record = course.record
    last = record.history[-1].message if record.history else _SAID.get(record.phase, "It has not begun.")
    if record.final:
        return course.grants("Completed", record.phase, last)
    return condition("Completed", "False", record.phase, last, course.generation)
