# SPDX-License-Identifier: Apache-2.0
"""Whether a step can be done as each variant does it, and whether what an experiment reads is there.

The operator asks it of an Experiment, and a graph's pod of its configuration: `at` begins the fields of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from endcap_api.experiment_config import VariantConfig, overlaid
from endcap_api.expressions import Environment, ExpressionError
from endcap_api.graph_checks import check_graph
from endcap_api.lookup_checks import Known
from endcap_api.nearest import did_you_mean
from endcap_api.problem import Problem
from endcap_api.runtime_config import ModelContract
from endcap_api.v1alpha1.experiment import Variant
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.steps import Step
from endcap_api.wiring import (
    covariate_environment,
    environment,
    key_expressions,
    request_environment,
    written_inputs,
)

_UNIT_TYPES = ("string", "integer")
_NUMBERS = ("double", "int")


@dataclass(frozen=True)
class Overlay:
    """What an experiment asks of its graph. covariates: expression by the field that has it."""

    at: str
    step: str
    unit: Sequence[str]
    variants: Sequence[Variant | VariantConfig]
    targeting: str | None
    covariates: Mapping[str, str]


def overlay_problems(overlay: Overlay, graph: InferenceGraphSpec, known: Known) -> list[Problem]:
    """Every problem of an overlay of a graph that is there; what reads of a missing model or bundle is left out."""
    return [
        *_unit_problems(overlay, graph),
        *_targeting_problems(overlay, graph),
        *_step_problems(overlay, graph, known),
    ]


def _unit_problems(overlay: Overlay, graph: InferenceGraphSpec) -> Iterator[Problem]:
    fields = graph.api.request
    holders = [f"request.{name}" for name, each in fields.items() if each.type in _UNIT_TYPES]
    for index, unit in enumerate(overlay.unit):
        field = fields.get(unit.removeprefix("request."))
        where = f"{overlay.at}.unit[{index}]"
        if field is None:
            yield Problem(where, f"{unit} is no field of the request: {did_you_mean(unit, holders)}")
        elif field.type == "product":
            yield Problem(where, f"{unit} is a product, and a unit is who is asked for: {_named(holders)}")
        elif field.type not in _UNIT_TYPES:
            yield Problem(
                where, f"{unit} is of type {field.type}: {_named(holders)} of type string or integer"
            )


def _named(fields: Sequence[str]) -> str:
    return f"name a field such as {', '.join(fields)}" if fields else "add a field to the request"


def _targeting_problems(overlay: Overlay, graph: InferenceGraphSpec) -> Iterator[Problem]:
    if overlay.targeting is not None:
        known = request_environment(graph)
        yield from _read_problems(known, f"{overlay.at}.targeting", overlay.targeting, ("bool",))


def _read_problems(
    known: Environment, field: str, source: str, expected: tuple[str, ...]
) -> Iterator[Problem]:
    try:
        known.check(source, *expected)
    except ExpressionError as error:
        yield Problem(field, str(error))


def _step_problems(overlay: Overlay, graph: InferenceGraphSpec, known: Known) -> Iterator[Problem]:
    step = next((step for step in graph.steps if step.name == overlay.step), None)
    where = f"{overlay.at}.step"
    if step is None:
        remedy = did_you_mean(overlay.step, [step.name for step in graph.steps if _can_be_overlaid(step)])
        yield Problem(where, f"{overlay.step} is no step of the graph: {remedy}")
    elif not _can_be_overlaid(step):
        yield Problem(
            where,
            f"{step.name} is a {step.kind} that asks no model: name a rank, a recall of a model or a model step",
        )
    else:
        before = set(check_graph(graph, known.models, known.bundles, known.views))
        for index, variant in enumerate(overlay.variants):
            if not variant.baseline:
                found = _Done(overlay, graph, known, step, index)
                yield from found.problems(before)
        yield from _covariate_problems(overlay, graph, known, step)


def _can_be_overlaid(step: Step) -> bool:
    return step.rank is not None or step.model_name is not None


@dataclass(frozen=True)
class _Done:
    """The graph with its step done by one variant."""

    overlay: Overlay
    graph: InferenceGraphSpec
    known: Known
    step: Step
    index: int

    @property
    def variant(self) -> Variant | VariantConfig:
        return self.overlay.variants[self.index]

    @property
    def at(self) -> str:
        return f"{self.overlay.at}.variants[{self.index}]"

    def problems(self, before: set[Problem]) -> Iterator[Problem]:
        try:
            done = overlaid(self.step, self.variant)
        except ValueError as error:
            yield Problem(f"{self.at}.{'by' if self.variant.by else 'model'}", str(error))
            return
        steps = [done if step is self.step else step for step in self.graph.steps]
        # What another model than a view's own says is not written back, so its author may be overlaid.
        graph = self.graph.model_copy(update={"steps": steps, "write_back": None})
        for problem in check_graph(graph, self.known.models, self.known.bundles, self.known.views):
            if problem not in before:
                yield self._told(problem)
        yield from self._output_problems()

    def _told(self, problem: Problem) -> Problem:
        """A problem of the graph as one of the variant: at its own field, or else with the graph's in words."""
        here = f"spec.steps[{self.graph.steps.index(self.step)}].{self.step.kind}."
        rest = problem.field.removeprefix(here)
        if rest != problem.field and rest.split(".")[0] in ("model", "by", "inputs"):
            return Problem(f"{self.at}.{rest}", problem.message)
        named = "by" if self.variant.by else "model"
        return Problem(f"{self.at}.{named}", f"does not fit the graph, in its {problem}")

    def _output_problems(self) -> Iterator[Problem]:
        """What follows is compiled once, for every variant, so what it may read is the same of all."""
        theirs = self.known.models.get(self.variant.model or "")
        ours = self.known.models.get(self.step.model_name or "")
        if self.step.rank is None and theirs is not None and ours is not None:
            for message in _differences(ours, theirs, whole=self.step.kind == "model"):
                yield Problem(f"{self.at}.model", f"{self.variant.model} {message}")


def _differences(ours: ModelContract, theirs: ModelContract, *, whole: bool) -> Iterator[str]:
    given = {column.name: column for column in theirs.outputs}
    for column in ours.outputs:
        other = given.get(column.name)
        if other is None and whole:
            yield f"lacks the output {column.name} of the baseline: add it to the model, or name another"
        elif other is not None and (other.type, other.items) != (column.type, column.items):
            yield f"has the output {column.name} of another type than the baseline: give both the same type"


def _covariate_problems(
    overlay: Overlay, graph: InferenceGraphSpec, known: Known, step: Step
) -> Iterator[Problem]:
    readable = covariate_environment(graph, known.models, known.bundles)
    changed = _reached(graph, known, step)
    for field, source in overlay.covariates.items():
        if known.leaves_open(graph, source):
            continue
        wrong = list(_read_problems(readable, field, source, _NUMBERS))
        yield from wrong
        if not wrong and (read := _scopes(readable, source) & changed):
            yield Problem(
                field,
                f"reads {', '.join(sorted(read))}, which the variants themselves change: read what is known before, "
                "such as the request or a features step",
            )


def _scopes(readable: Environment, source: str) -> set[str]:
    return {name.split(".")[0] for name in readable.check(source).reads}


def _reached(graph: InferenceGraphSpec, known: Known, step: Step) -> set[str]:
    """The steps whose results may differ between variants, as expressions spell them."""
    reached = {step.identifier}
    for later in graph.steps[graph.steps.index(step) + 1 :]:
        asked = key_expressions(later.features) if later.features else written_inputs(later).values()
        readable = environment(graph, known.models, later, known.bundles)
        if any(_reads_any(readable, source, reached) for source in asked):
            reached.add(later.identifier)
    return reached


def _reads_any(readable: Environment, source: str, scopes: set[str]) -> bool:
    try:
        return bool(_scopes(readable, source) & scopes)
    except ExpressionError:
        return False
