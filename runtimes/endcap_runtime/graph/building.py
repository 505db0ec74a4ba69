# SPDX-License-Identifier: Apache-2.0
"""Each step of a resource as the callable that does it, and what it reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from endcap_api.expressions import Environment
from endcap_api.runtime_config import GraphConfig, ModelContract, version_of
from endcap_api.v1alpha1.steps import Step as StepSpec
from endcap_api.wiring import environment, item_output, request_environment, written_inputs
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.expressions import compile_expression
from endcap_runtime.graph.fallback import FALLBACK, CatalogueRung, Ladder, ModelRung, Rung
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.query import Step
from endcap_runtime.graph.reads import Forming, columns_read
from endcap_runtime.graph.reasons import placeholders
from endcap_runtime.graph.steps.calls import CalledModel
from endcap_runtime.graph.steps.filter import FilterStep
from endcap_runtime.graph.steps.inputs import compile_inputs
from endcap_runtime.graph.steps.limit import LimitStep
from endcap_runtime.graph.steps.model import ModelStep
from endcap_runtime.graph.steps.rank import RankByExpression, RankByModel
from endcap_runtime.graph.steps.recall import RecallStep, Source
from endcap_runtime.graph.steps.select import MOST, SelectStep
from endcap_runtime.graph.upstream import Models

Reads = frozenset[str]
NOTHING: Reads = frozenset()


class Surroundings(NamedTuple):
    """What a graph is compiled against: its items, the models of the process, and where it counts."""

    catalogue: Catalogue
    models: Models
    metrics: GraphMetrics


class Built(NamedTuple):
    """A step, what was declared, and the dotted names that it reads."""

    spec: StepSpec
    step: Step
    reads: Reads


class Builder:
    """Builds the steps of one graph. Raises ExpressionError or InvalidSpec for what cannot be built."""

    def __init__(self, config: GraphConfig, around: Surroundings) -> None:
        self._config, self._around = config, around
        self._forming = Forming.of(config.spec.steps)
        self._bits = {step.name: bit for bit, step in enumerate(s for s in config.spec.steps if s.recall)}

    def steps(self, filters: Sequence[Built], ladder: Ladder) -> list[Built]:
        """All steps as declared; from the last to the first, since a recall takes only what a later step reads."""
        made = {each.spec.name: each for each in filters}
        built: list[Built] = []
        for spec in reversed(self._config.spec.steps):
            later = NOTHING.union(*(each.reads for each in built))
            built.append(made.get(spec.name) or self._step(spec, later, ladder))
        return built[::-1]

    def filters(self) -> list[Built]:
        return [self._filter(spec) for spec in self._config.spec.steps if spec.filter]

    def rungs(self) -> Iterator[Rung]:
        """The rungs of the fallback but for `empty`; their bits come after those of the recall steps."""
        for bit, rung in enumerate(self._config.spec.fallback or (), start=len(self._bits)):
            if rung.model:
                yield ModelRung(self._rung_source(rung.model, bit))
            elif rung.catalogue:
                ordered = self._around.catalogue.highest(rung.catalogue.order_by)
                yield CatalogueRung(bit, ordered, f"catalogue@{version_of(self._config.spec.catalogue.uri)}")

    def _step(self, spec: StepSpec, later: Reads, ladder: Ladder) -> Built:
        if spec.model:
            return self._model(spec)
        if spec.recall:
            return self._recall(spec, later)
        if spec.rank:
            return self._rank(spec)
        if spec.limit:
            per = compile_expression(spec.limit.per, self._known(spec))
            return Built(spec, LimitStep(spec.name, per, spec.limit.max), per.reads)
        return self._select(spec, ladder)

    def _model(self, spec: StepSpec) -> Built:
        called, contract = self._called(spec)
        inputs = compile_inputs(contract, written_inputs(spec), self._known(spec))
        step = ModelStep(
            spec.name, spec.identifier, called, inputs, contract.outputs, self._around.catalogue
        )
        return Built(spec, step, inputs.reads)

    def _recall(self, spec: StepSpec, later: Reads) -> Built:
        assert spec.recall is not None  # noqa: S101 (the kind of step was looked at)
        called, contract = self._called(spec)
        inputs = compile_inputs(contract, written_inputs(spec), self._known(spec))
        wanted = columns_read(spec.identifier, later) | placeholders(spec.recall.reason)
        item = item_output(contract.outputs)
        assert item is not None  # noqa: S101 (the graph was checked)
        source = Source(
            name=spec.name,
            identifier=spec.identifier,
            bit=self._bits[spec.name],
            called=called,
            inputs=inputs,
            item=item.name,
            columns=[column for column in contract.outputs if column.name in wanted],
            top=spec.recall.top,
            catalogue=self._around.catalogue,
        )
        return Built(spec, RecallStep(source), inputs.reads)

    def _rung_source(self, model: str, bit: int) -> Source:
        contract = self._config.models[model]
        item = item_output(contract.outputs)
        assert item is not None  # noqa: S101 (the graph was checked)
        inputs = compile_inputs(contract, None, request_environment(self._config.spec))
        return Source(
            name=model,
            identifier=model.replace("-", "_"),
            bit=bit,
            called=self._asked_by(FALLBACK, model, contract),
            inputs=inputs,
            item=item.name,
            columns=(),
            top=MOST,
            catalogue=self._around.catalogue,
        )

    def _rank(self, spec: StepSpec) -> Built:
        assert spec.rank is not None  # noqa: S101 (the kind of step was looked at)
        if spec.rank.by:
            by = compile_expression(spec.rank.by, self._known(spec))
            return Built(spec, RankByExpression(spec.name, by), by.reads)
        called, contract = self._called(spec)
        inputs = compile_inputs(contract, written_inputs(spec), self._known(spec))
        return Built(spec, RankByModel(spec.name, called, inputs), inputs.reads)

    def _filter(self, spec: StepSpec) -> Built:
        assert spec.filter is not None  # noqa: S101 (the kind of step was looked at)
        rule = compile_expression(spec.filter.keep or spec.filter.drop or "", self._known(spec))
        step = FilterStep(
            spec.name,
            rule,
            wanted=spec.filter.keep is not None,
            opens=spec.failure == "skip",
            recalls=self._forming.recalls_read(rule.reads),
        )
        return Built(spec, step, rule.reads)

    def _select(self, spec: StepSpec, ladder: Ladder) -> Built:
        assert spec.select is not None  # noqa: S101 (the kind of step was looked at)
        count = compile_expression(spec.select.count, self._known(spec))
        return Built(spec, SelectStep(spec.name, count, spec.select.backfill, ladder), count.reads)

    def _known(self, spec: StepSpec) -> Environment:
        return environment(self._config.spec, self._config.models, spec)

    def _called(self, spec: StepSpec) -> tuple[CalledModel, ModelContract]:
        assert spec.model_name is not None  # noqa: S101 (the kind of step was looked at)
        contract = self._config.models[spec.model_name]
        return self._asked_by(spec.name, spec.model_name, contract), contract

    def _asked_by(self, step: str, model: str, contract: ModelContract) -> CalledModel:
        calls = self._around.metrics.of_calls(self._config.name, model)
        return CalledModel(step, self._around.models.model(model, contract), calls)
