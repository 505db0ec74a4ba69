# SPDX-License-Identifier: Apache-2.0
"""`?explain=true`: what each step did with this request, for whoever tunes the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.steps import Step
from endcap_api.wiring import forms
from endcap_runtime.graph.experiments.overlays import overlays
from endcap_runtime.graph.experiments.telling import explained
from endcap_runtime.graph.explain_features import features_used
from endcap_runtime.graph.fallback import FALLBACK
from endcap_runtime.graph.query import Note, Query
from endcap_runtime.graph.steps.lookup import Lookup
from endcap_runtime.graph.steps.merge import MERGE

# Products that are named for each rule; the counts are always whole.
_NAMED = 20


def rules(config: GraphConfig) -> dict[str, str]:
    """What each step does in the words of the resource, by its name, in the order in which they take effect."""
    steps = config.spec.steps
    beside = {step.name: _rule(step) for step in steps if forms(step)}
    rest = {step.name: _rule(step) for step in steps if step.name not in beside}
    return {
        **beside,
        MERGE: "distinct candidates by reciprocal rank fusion",
        **rest,
        FALLBACK: _ladder(config),
    }


def variant_rules(config: GraphConfig) -> dict[tuple[str, str], str]:
    """What each variant of a step does, by its experiment and name."""
    return {each.key: _rule(each.step) for step in config.spec.steps for each in overlays(config, step)}


def _rule(step: Step) -> str:
    if step.filter:
        return f"keep {step.filter.keep}" if step.filter.keep else f"drop {step.filter.drop}"
    if step.limit:
        return f"at most {step.limit.max} per {step.limit.per}"
    if step.recall:
        return f"at most {step.recall.top} from {step.recall.model or step.recall.products}"
    if step.rank:
        return f"by {step.rank.by or step.rank.model}"
    if step.features:
        of = step.features.entity or ", ".join(
            f"{key}: {each}" for key, each in (step.features.keys or {}).items()
        )
        return f"look up {step.features.bundle} of {of}"
    return f"first {step.select.count}" if step.select else f"ask {step.model_name}"


def _ladder(config: GraphConfig) -> str:
    rungs = config.spec.fallback or ()
    names = [
        rung.model or (f"catalogue by {rung.catalogue.order_by}" if rung.catalogue else "empty")
        for rung in rungs
    ]
    return f"first of {', '.join(names)}"


def explanation(
    query: Query,
    rule_of: Mapping[str, str],
    variant_rule_of: Mapping[tuple[str, str], str],
    lookups: Mapping[str, Lookup],
) -> list[dict[str, Any]]:
    """A line for each step that ran."""
    lines = []
    for name, rule in rule_of.items():
        if (note := query.notes.get(name)) is not None:
            used = features_used(lookups[name], query, _NAMED) if name in lookups else None
            line = {"step": name, **_line(query, note, rule, used)}
            lines.append(line | _tried(query, name, variant_rule_of))
    return lines


def _tried(query: Query, step: str, rule_of: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """What the experiments on a step said of the request, and the rule of the variant that did it."""
    ours = [each for each in query.assignments.values() if each.config.step == step]
    if not ours:
        return {}
    said: dict[str, Any] = {"experiments": [explained(each) for each in ours]}
    for each in ours:
        if (rule := rule_of.get((each.name, each.served or ""))) is not None:
            said["rule"] = rule
    return said


def _line(query: Query, note: Note, rule: str, used: list[dict[str, Any]] | None) -> dict[str, Any]:
    line = {
        "rule": rule,
        "candidates_in": note.candidates_in,
        "kept": note.kept,
        "unknown_items": note.unknown_items,
        "backfilled": note.backfilled,
        "removed": _removed(note),
        "removed_products": _names(query, note.removed),
        "features": used,
        "model": note.model,
        "failure": note.failure,
        "ms": round(note.ms, 3),
    }
    return {key: value for key, value in line.items() if value is not None}


def _removed(note: Note) -> int | None:
    if note.candidates_in is None or note.kept is None:
        return None
    return note.candidates_in - (note.kept - (note.backfilled or 0))


def _names(query: Query, removed: list[int] | None) -> list[str] | None:
    if removed is None:
        return None
    return query.catalogue.names(np.array(removed[:_NAMED], dtype=np.int32))
