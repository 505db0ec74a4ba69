# SPDX-License-Identifier: Apache-2.0
"""How warm and how fresh a view is, rounded so that an idle cluster is not written to for a passing second."""

from __future__ import annotations

from datetime import UTC, datetime

from endcap_api.feature_size import windows_of
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.featurestore import FeatureStoreSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_operator.plan.conditions import Condition, Verdict, condition
from endcap_operator.plan.facts import Fed, Report
from endcap_operator.plan.pods import Failure
from endcap_operator.plan.remedies import advised

ASKED_SECONDS = 30.0
SILENT_SECONDS = 5.0
_STEPS = (1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
_UNITS = ((3600, "h"), (60, "m"), (1, "s"))


def asked_again(report: Report | None, *, steady: bool = True) -> float:
    """Seconds until an ingest pod is asked again."""
    return ASKED_SECONDS if report is not None and steady else SILENT_SECONDS


def shown_span(ms: int) -> str:
    """`<1s`, then `3s`, `20s`, `5m`: the last step that is reached."""
    reached = [step for step in _STEPS if ms >= step * 1000]
    if not reached:
        return "<1s"
    size, unit = next((size, unit) for size, unit in _UNITS if reached[-1] % size == 0)
    return f"{reached[-1] // size}{unit}"


def longest_window(spec: FeatureViewSpec) -> str | None:
    windows = windows_of(spec)
    return windows[-1] if windows else None


def warmth(spec: FeatureViewSpec, report: Report, fed: Fed) -> str | None:
    """How much of the longest window has been seen, in steps of a tenth; None for a view without windows."""
    window = longest_window(spec)
    if window is None:
        return None
    seen = report.at_ms - fed.since_ms if fed.since_ms is not None else 0
    tenths = max(0, min(10, 10 * seen // milliseconds(window)))
    return f"{10 * tenths}% of {window}"


def warm(spec: FeatureViewSpec, report: Report | None, fed: Fed, generation: int) -> Condition:
    if report is None:
        return _silent("Warm", generation)
    window = longest_window(spec)
    if window is None:
        return _written(fed, generation)
    if fed.since_ms is None:
        return condition(
            "Warm", "False", "Filling", f"No event of the last {window} has been seen.", generation
        )
    full = fed.since_ms + milliseconds(window)
    if report.at_ms >= full:
        return condition("Warm", "True", "Full", f"The longest window, {window}, has been seen.", generation)
    message = f"The longest window, {window}, will have been seen at {_time(full)}."
    return condition("Warm", "False", "Filling", message, generation)


def _written(fed: Fed, generation: int) -> Condition:
    if fed.updated_ms:
        return condition("Warm", "True", "Written", "Values have been written.", generation)
    failure = Failure("NeverWritten", "No value has been written")
    return condition("Warm", "False", failure.reason, advised(failure), generation)


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fresh(
    spec: FeatureViewSpec, store: FeatureStoreSpec, report: Report | None, fed: Fed, generation: int
) -> Condition:
    if report is None:
        return _silent("Fresh", generation)
    if spec.source.stream:
        return _on_time(store, report, generation)
    return _young(spec, report, fed, generation)


def _on_time(store: FeatureStoreSpec, report: Report, generation: int) -> Condition:
    lag = shown_span(report.lag_ms)
    if report.lag_ms <= milliseconds(store.max_lag):
        message = f"No event has waited longer than maxLag, {store.max_lag}."
        return condition("Fresh", "True", "OnTime", message, generation)
    failure = Failure("EventsLate", f"An event has waited for {lag}, and maxLag is {store.max_lag}")
    return condition("Fresh", "False", failure.reason, advised(failure), generation)


def _young(spec: FeatureViewSpec, report: Report, fed: Fed, generation: int) -> Condition:
    if not fed.updated_ms:
        failure = Failure("NeverWritten", "No value has been written")
    elif report.at_ms - fed.updated_ms >= milliseconds(spec.ttl):
        failure = Failure("Outdated", f"The newest value is older than ttl, {spec.ttl}")
    else:
        return condition(
            "Fresh", "True", "Young", f"The newest value is younger than ttl, {spec.ttl}.", generation
        )
    return condition("Fresh", "False", failure.reason, advised(failure), generation)


def _silent(kind: str, generation: int) -> Condition:
    verdict: Verdict = "Unknown"
    failure = Failure("IngestSilent", "No ingest pod of the store says so")
    return condition(kind, verdict, failure.reason, advised(failure), generation)
