# SPDX-License-Identifier: Apache-2.0
"""The answer in words: names, reasons and sources appear here, only for the rows that are returned.

Nothing that a model thinks in leaves through here: no vector, no key, no hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Counter

from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.values import Column, RequestField
from endcap_runtime.graph.candidates import Candidates
from endcap_runtime.graph.experiments.telling import told
from endcap_runtime.graph.explain import explanation, rules, variant_rules
from endcap_runtime.graph.fallback import FALLBACK
from endcap_runtime.graph.items import Items
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.reasons import Reason, Words, compile_reason, fixed
from endcap_runtime.graph.steps.lookup import Lookup

# The one request field that says whom the answer is for; it comes back so that an answer can be read alone.
WHO = "customer"


@dataclass(frozen=True, slots=True)
class Origin:
    """A source of candidates: its name in the answer, and why its products are there."""

    name: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How one graph answers.

    origins: by bit. names: of the catalogue, by row. steps: names in declared order. said: for each model step, its
    output names by dotted name. who: whether the request says for whom it is. rules: what each step does, and each
    variant of one. lookups: the features steps. combinations: names of sources by their bits, as they come up.
    """

    origins: Sequence[Origin]
    names: Sequence[str]
    steps: Sequence[str]
    said: Mapping[str, Mapping[str, str]]
    who: bool
    degraded: Mapping[str, Counter]
    rules: Mapping[str, str]
    variant_rules: Mapping[tuple[str, str], str]
    lookups: Mapping[str, Lookup]
    combinations: dict[int, list[str]] = field(default_factory=dict)

    def body(self, query: Query, took_ms: float) -> dict[str, Any]:
        """The answer to a query that has its final candidates, as JSON-ready values."""
        body: dict[str, Any] = {"request_id": query.call.request_id}
        if self.who:
            body[WHO] = query.values[f"request.{WHO}"]
        body |= self._said(query)
        body["recommendations"] = list(self._recommendations(query.candidates))
        body["served_by"] = self.served_by(query)
        if query.assignments:
            body["experiments"] = told(query.assignments)
        body["degraded"] = self._degraded(query)
        body["took_ms"] = round(took_ms, 1)
        if query.explain:
            body["explain"] = explanation(query, self.rules, self.variant_rules, self.lookups)
        return body

    def _said(self, query: Query) -> Iterator[tuple[str, Any]]:
        """What the model steps said, each under its name; a step that did not answer is not there."""
        for step, outputs in self.said.items():
            said = {name: short(query.values[at]) for at, name in outputs.items() if at in query.values}
            if said:
                yield step, said

    def _recommendations(self, candidates: Candidates | None) -> Iterator[dict[str, Any]]:
        if not candidates:
            return
        words = Words(candidates, self.names)
        best, sources = candidates.best_source().tolist(), candidates.sources.tolist()
        for place, row in enumerate(candidates.rows.tolist()):
            yield {
                "position": place + 1,
                "product": self.names[row],
                "reason": self.origins[best[place]].reason(words, place),
                "sources": self._sources(sources[place]),
            }

    def _sources(self, bits: int) -> list[str]:
        names = self.combinations.get(bits)
        if names is None:
            names = [origin.name for bit, origin in enumerate(self.origins) if bits >> bit & 1]
            self.combinations[bits] = names
        return names

    def served_by(self, query: Query) -> dict[str, str]:
        """The model and version behind each step that called one."""
        notes = query.notes
        return {name: note.model for name in self.steps if (note := notes.get(name)) and note.model}

    def _degraded(self, query: Query) -> list[dict[str, str]]:
        """The steps that the answer had to do without, and why."""
        found = []
        for name in self.steps:
            note = query.notes.get(name)
            if note is not None and note.failure:
                self.degraded[name].inc()
                found.append({"step": name, "reason": note.failure})
        return found


def short(value: Any) -> Any:
    """A number of a model with the digits that a person reads."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def answer_form(
    config: GraphConfig, metrics: GraphMetrics, items: Items, lookups: Mapping[str, Lookup]
) -> AnswerForm:
    spec = config.spec
    steps = (*(step.name for step in spec.steps), FALLBACK)
    return AnswerForm(
        origins=tuple(_origins(config)),
        names=items.names,
        steps=steps,
        said={
            step.name: _outputs(config, step.identifier, step.model.model)
            for step in spec.steps
            if step.model
        },
        who=_says_who(spec.api.request.get(WHO)),
        degraded={name: metrics.degraded.labels(config.name, name) for name in steps},
        rules=rules(config),
        variant_rules=variant_rules(config),
        lookups=lookups,
    )


def _says_who(field: RequestField | None) -> bool:
    return field is not None and field.items is None


def _origins(config: GraphConfig) -> Iterator[Origin]:
    for step in config.spec.steps:
        if step.recall:
            asked = config.models[step.recall.model].outputs if step.recall.model else ()
            outputs = {column.name: column for column in asked}
            template = step.recall.reason or f"Found by {step.name}"
            yield Origin(step.name, compile_reason(template, step.identifier, outputs))
    for rung in config.spec.fallback or ():
        if rung.model:
            yield Origin(rung.model, fixed(f"Suggested by {rung.model}"))
        elif rung.catalogue:
            yield Origin(
                "catalogue", fixed(f"Among the first by {rung.catalogue.order_by.replace('_', ' ')}")
            )


def _outputs(config: GraphConfig, identifier: str, model: str) -> dict[str, str]:
    """The outputs of a model step that a person can read: arrays of numbers are not among them."""
    return {f"{identifier}.{c.name}": c.name for c in config.models[model].outputs if readable_output(c)}


def readable_output(column: Column) -> bool:
    return column.items is None or column.items.type in ("string", "product")
