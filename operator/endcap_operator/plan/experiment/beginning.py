# SPDX-License-Identifier: Apache-2.0
"""The first record of an experiment, the one that is made again when it was lost, and what may not change since."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from endcap_api.assignment import Ranges, allocate, parse_ranges, quotas, size
from endcap_api.digest import digest_of
from endcap_api.experiment_config import given_ranges, salt_of, weights_of
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.status import ExperimentStatus, Phase, VariantStatus
from endcap_operator.analysis.look import Epoch, Kind, Verdict
from endcap_operator.plan.experiment.record import Entry, Pin, Record, is_partition

_FIXED = ("graph", "step", "mode", "unit", "layer", "holdout", "targeting", "store", "metrics", "primary")
_VERDICTS: tuple[Kind, ...] = ("Better", "Worse", "Inconclusive", "Invalid", "GuardrailBreached")
_BEFORE_A_PAUSE: tuple[Phase, ...] = ("Ramping", "Running", "AwaitingApproval", "Promoting")
_FULL = 100


def first(name: str, spec: ExperimentSpec, identity: str, now_ms: int) -> Record:
    """Before it begins: the buckets that the spec gives, else those of its weights."""
    return Record(
        id=identity,
        salt=salt_of(name, spec),
        revision=1,
        epoch=1,
        phase="Pending",
        since_ms=now_ms,
        coverage=first_coverage(spec),
        coverage_since_ms=now_ms,
        ranges=texts_of(_given(spec) or allocate(quotas(weights_of(spec)))),
        weights=weights_of(spec),
        told=told_of(spec),
    )


def _given(spec: ExperimentSpec) -> dict[str, Ranges] | None:
    """What is wrong with them is said by the checks of the spec; until it is right they are not taken."""
    try:
        found = given_ranges(spec)
    except ValueError:
        return None
    return found if found and is_partition(found) else None


def texts_of(ranges: Mapping[str, Ranges]) -> dict[str, list[str]]:
    return {name: [str(each) for each in owned] for name, owned in ranges.items()}


def sizes_of(ranges: Mapping[str, Ranges]) -> dict[str, int]:
    return {name: size(owned) for name, owned in ranges.items()}


def first_coverage(spec: ExperimentSpec) -> int:
    return spec.ramp.steps[0].coverage if spec.ramp else spec.full_coverage


def told_of(spec: ExperimentSpec) -> str:
    """What the graph is told straight from the spec, and may change while it runs."""
    return digest_of(spec.overrides.units if spec.overrides else {})


def fixed(name: str, spec: ExperimentSpec) -> dict[str, str]:
    """What may not change once it has begun, by field.

    The API server refuses such a change by the phase in the status, which is not the authority.
    """
    dumped = spec.dump()
    values: dict[str, Any] = {field: dumped.get(field) for field in _FIXED}
    values["salt"] = salt_of(name, spec)
    values["analysis"] = [spec.analysis.alpha, spec.analysis.minimum_units]
    values["variants"] = sorted(([_way(each), each["name"]] for each in dumped["variants"]), key=str)
    return {field: digest_of(value) for field, value in values.items()}


def _way(variant: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in variant.items() if field not in ("weight", "buckets")}


def changed(name: str, spec: ExperimentSpec, record: Record) -> list[str]:
    """The fields that are not what it began with."""
    now = fixed(name, spec)
    return [field for field, digest in (record.began or {}).items() if now.get(field) != digest]


def recovered(
    name: str, spec: ExperimentSpec, identity: str, status: ExperimentStatus | None, now_ms: int
) -> Record:
    """The record made again: from the status, else from `variants[].buckets`, else from the weights.

    Its revision is a new one, for nobody knows whether the last was told. Earlier epochs are not in a status, so their
    units are left out of the analysis from then on.
    """
    fresh = first(name, spec, identity, now_ms)
    if status is None or status.phase in (None, "Pending"):
        return fresh
    ranges = _ranges(spec, status) or fresh.allotted
    update = {
        "revision": (status.revision or 1) + 1,
        "phase": status.phase,
        "paused": _paused(spec, status),
        "ranges": texts_of(ranges),
        "pins": dict(_pins(spec, status)),
        "began": fixed(name, spec),
        "coverage": _coverage(spec, status),
        "history": _history(status),
        **_concluded(spec, status),
        **_epochs(status, ranges, _coverage(spec, status)),
    }
    return _consistent(fresh.model_copy(update=update))


def _ranges(spec: ExperimentSpec, status: ExperimentStatus) -> dict[str, Ranges] | None:
    """None unless they are whole: a status can be edited."""
    try:
        found = {each.name: parse_ranges(each.buckets or ()) for each in status.variants or ()}
    except ValueError:
        return None
    names = {variant.name for variant in spec.variants}
    return found if found.keys() == names and is_partition(found) else None


def _pins(spec: ExperimentSpec, status: ExperimentStatus) -> list[tuple[str, Pin]]:
    named = {variant.name: variant.model for variant in spec.variants}
    return [
        (each.name, Pin(model=named[each.name] or _model(each), label=each.model, sha256=each.digest))
        for each in status.variants or ()
        if each.name in named and each.model and each.digest
    ]


def _model(variant: VariantStatus) -> str:
    return (variant.model or "").partition("@")[0]


def _coverage(spec: ExperimentSpec, status: ExperimentStatus) -> int:
    """As the status says it; of a ramp at least its first step, which a pause leads back to."""
    said = (status.traffic or "").removesuffix("%")
    if "Ramping" in (status.phase, _paused(spec, status)):
        return max(first_coverage(spec), min(_FULL, int(said)) if said.isdigit() else 0)
    return spec.full_coverage


def _paused(spec: ExperimentSpec, status: ExperimentStatus) -> Phase | None:
    """The phase before a pause, by the history; where that is gone, the start of what the spec says."""
    if status.phase != "Paused":
        return None
    known = [entry.phase for entry in _history(status) if entry.phase in _BEFORE_A_PAUSE]
    return known[-1] if known else ("Ramping" if spec.ramp else "Running")


def _epochs(status: ExperimentStatus, ranges: Mapping[str, Ranges], coverage: int) -> dict[str, Any]:
    """An epoch after the first can be compared only where all before it took everyone, which a status does not say."""
    epoch = status.epoch or 1
    now = Epoch(buckets=sizes_of(ranges), coverages=[coverage], comparable=epoch == 1)
    return {"epoch": epoch, "epochs": {str(epoch): now}}


def _history(status: ExperimentStatus) -> list[Entry]:
    return [
        Entry(time_ms=_ms(each.time), phase=each.phase, message=each.message)  # type: ignore[arg-type]
        for each in status.history or ()
        if each.phase in Record.model_fields["phase"].annotation.__args__  # type: ignore[union-attr]
    ]


def _ms(text: str) -> int:
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return 0


def _concluded(spec: ExperimentSpec, status: ExperimentStatus) -> dict[str, Any]:
    """The verdict, and what is for ever."""
    kind, _, variant = (status.verdict or "").partition(" ")
    known = variant if variant in {each.name for each in spec.variants} else None
    verdict = next(
        (Verdict(kind=each, message="", variant=known) for each in _VERDICTS if each == kind), None
    )
    mismatched = (status.sample_ratio or "").startswith("mismatch") or kind == "Invalid"
    promoted = (spec.decision.promote if spec.decision else None) or known
    return {
        "verdict": verdict,
        "mismatch": status.sample_ratio or "mismatch" if mismatched else None,
        "spoilt": known if kind == "GuardrailBreached" else None,
        "everyone": promoted if {status.phase, _paused(spec, status)} & {"Promoting", "Promoted"} else None,
    }


def _consistent(record: Record) -> Record:
    """A promotion of nobody knows whom goes back to where it is decided."""
    if record.everyone is None and "Promoting" in (record.phase, record.paused):
        to = {"phase": "Running"} if record.phase == "Promoting" else {"paused": "Running"}
        return record.model_copy(update=to)
    return record
