# SPDX-License-Identifier: Apache-2.0
"""Each step of a resource as the callable that does it, and what it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from endcap_api.expressions import Environment
from endcap_api.runtime_config import GraphConfig, version_of
from endcap_api.v1alpha1.steps import Filter, Rank, Recall
from endcap_api.v1alpha1.steps import Step as StepSpec
from endcap_api.v1alpha1.values import Column
from endcap_api.wiring import environment, item_output, request_environment, written_inputs
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.experiments.overlays import overlays
from endcap_runtime.graph.expressions import Expression
from endcap_runtime.graph.failures import InvalidSpec
from endcap_runtime.graph.fallback import FALLBACK, CatalogueRung, Ladder, ModelRung, Rung
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.query import Step
from endcap_runtime.graph.reads import Forming, columns_read
from endcap_runtime.graph.reasons import placeholders
from endcap_runtime.graph.sidecar import Sidecar
from endcap_runtime.graph.steps.calls import CalledModel
from endcap_runtime.graph.steps.expression import compiled
from endcap_runtime.graph.steps.filter import FilterStep
from endcap_runtime.graph.steps.inputs import Inputs, compile_inputs
from endcap_runtime.graph.steps.limit import LimitStep
from endcap_runtime.graph.steps.model import ModelStep
from endcap_runtime.graph.steps.rank import RankByExpression, RankByModel
from endcap_runtime.graph.steps.recall import ListStep, RecallStep, Source
from endcap_runtime.graph.steps.select import MOST, SelectStep
from endcap_runtime.graph.upstream import Models

Reads = frozenset[str]
NOTHING: Reads = frozenset()


class Surroundings(NamedTuple):
    """What a graph is compiled against: its items, the models and the sidecar of the process, and where it counts."""

    catalogue: Catalogue
    models: Models
    metrics: GraphMetrics
    sidecar: Sidecar


class Built(NamedTuple):
    """A step, what was declared, the dotted names that it reads itself, and its variants by experiment and name."""

    spec: StepSpec
    step: Step
    own: Reads
    variants: Mapping[tuple[str, str], Built] = MappingProxyType({})

    @property
    def reads(self) -> Reads:
        """What has to be there whichever variant does it."""
        return self.own.union(*(each.own for each in self.variants.values()))


class Builder:
    """Builds the steps of one graph. Raises ExpressionError or InvalidSpec for what cannot be built."""

    def __init__(self, config: GraphConfig, around: Surroundings, aside: str = "") -> None:
        """`aside` follows the name of a step in what it counts, where it is only asked beside another."""
        self._config, self._around, self._aside = config, around, aside
        self._forming = Forming.of(config.spec.steps)
        self._bits = {step.name: bit for bit, step in enumerate(s for s in config.spec.steps if s.recall)}

    def steps(self, filters: Mapping[str, FilterStep], keys: Reads) -> list[Built]:
        """The steps as declared but for the select and those that look features up, whose keys read `keys`.

        From the last to the first, since a recall takes only what a later step reads.
        """
        built: list[Built] = []
        for spec in reversed(self._config.spec.steps):
            later = keys.union(*(each.reads for each in built))
            if spec.filter:
                step = filters[spec.name]
                built.append(Built(spec, step, step.rule.reads))
            elif not spec.select and not spec.features:
                built.append(self._step(spec, later)._replace(variants=self._variants(spec, later)))
        return built[::-1]

    def _variants(self, spec: StepSpec, later: Reads) -> dict[tuple[str, str], Built]:
        return {
            each.key: Builder(each.config, self._around, each.aside)._step(each.step, later)  # noqa: SLF001
            for each in overlays(self._config, spec)
        }

    def filters(self) -> dict[str, FilterStep]:
        return {spec.name: self._filter(spec, spec.filter) for spec in self._config.spec.steps if spec.filter}

    def count(self) -> Expression:
        """How many the last step takes, which the API asks to be a select."""
        spec = self._config.spec.steps[-1]
        if spec.select is None:
            raise InvalidSpec("spec.steps: the last step is a select")
        return compiled(spec.select.count, self._known(spec))

    def select(self, count: Expression, ladder: Ladder) -> SelectStep:
        spec = self._config.spec.steps[-1]
        backfill = spec.select is not None and spec.select.backfill
        return SelectStep(spec.name, count, backfill, ladder)

    def rungs(self) -> Iterator[Rung]:
        """The rungs of the fallback but for `empty`; their bits come after those of the recall steps."""
        for bit, rung in enumerate(self._config.spec.fallback or (), start=len(self._bits)):
            if rung.model:
                yield ModelRung(self._rung_source(rung.model, bit))
            elif rung.catalogue:
                ordered = self._around.catalogue.highest(rung.catalogue.order_by)
                yield CatalogueRung(bit, ordered, f"catalogue@{version_of(self._config.spec.catalogue.uri)}")

    def _step(self, spec: StepSpec, later: Reads) -> Built:
        if spec.model:
            return self._model(spec, spec.model.model)
        if spec.recall and spec.recall.products:
            return self._listed(spec, spec.recall, spec.recall.products)
        if spec.recall and spec.recall.model:
            return self._recall(spec, spec.recall, spec.recall.model, later)
        if spec.rank:
            return self._rank(spec, spec.rank)
        if spec.limit:
            per = compiled(spec.limit.per, self._known(spec))
            return Built(spec, LimitStep(spec.name, per, spec.limit.max), per.reads)
        raise InvalidSpec(f"spec.steps: {spec.kind} {spec.name} stands where it cannot")

    def _model(self, spec: StepSpec, model: str) -> Built:
        inputs = self._inputs(spec, model)
        step = ModelStep(
            name=spec.name,
            identifier=spec.identifier,
            called=self._called(spec.name, model),
            inputs=inputs,
            outputs=self._config.models[model].outputs,
            catalogue=self._around.catalogue,
        )
        return Built(spec, step, inputs.reads)

    def _listed(self, spec: StepSpec, recall: Recall, products: str) -> Built:
        step = ListStep(
            name=spec.name,
            identifier=spec.identifier,
            bit=self._bits[spec.name],
            products=compiled(products, self._known(spec)),
            top=recall.top,
            catalogue=self._around.catalogue,
            unknown=self._around.metrics.unknown_items.labels(self._config.name, spec.name),
        )
        return Built(spec, step, step.products.reads)

    def _recall(self, spec: StepSpec, recall: Recall, model: str, later: Reads) -> Built:
        outputs = self._config.models[model].outputs
        wanted = columns_read(spec.identifier, later) | placeholders(recall.reason)
        inputs = self._inputs(spec, model)
        source = Source(
            name=spec.name,
            identifier=spec.identifier,
            bit=self._bits[spec.name],
            called=self._called(spec.name, model),
            inputs=inputs,
            item=_item(outputs),
            columns=[column for column in outputs if column.name in wanted],
            top=recall.top,
            catalogue=self._around.catalogue,
            unknown=self._around.metrics.unknown_items.labels(self._config.name, spec.name + self._aside),
        )
        return Built(spec, RecallStep(source), inputs.reads)

    def _rung_source(self, model: str, bit: int) -> Source:
        contract = self._config.models[model]
        return Source(
            name=model,
            identifier=model.replace("-", "_"),
            bit=bit,
            called=self._called(FALLBACK, model),
            inputs=compile_inputs(contract, None, request_environment(self._config.spec)),
            item=_item(contract.outputs),
            columns=(),
            top=MOST,
            catalogue=self._around.catalogue,
            unknown=self._around.metrics.unknown_items.labels(self._config.name, FALLBACK),
        )

    def _rank(self, spec: StepSpec, rank: Rank) -> Built:
        if rank.model:
            inputs = self._inputs(spec, rank.model)
            return Built(
                spec, RankByModel(spec.name, self._called(spec.name, rank.model), inputs), inputs.reads
            )
        by = compiled(rank.by or "", self._known(spec))
        return Built(spec, RankByExpression(spec.name, by), by.reads)

    def _filter(self, spec: StepSpec, rule: Filter) -> FilterStep:
        expression = compiled(rule.keep or rule.drop or "", self._known(spec))
        return FilterStep(
            spec.name,
            expression,
            wanted=rule.keep is not None,
            opens=spec.failure == "skip",
            recalls=self._forming.recalls_read(expression.reads),
        )

    def _inputs(self, spec: StepSpec, model: str) -> Inputs:
        return compile_inputs(self._config.models[model], written_inputs(spec), self._known(spec))

    def _known(self, spec: StepSpec) -> Environment:
        return environment(self._config.spec, self._config.models, spec, self._config.bundles)

    def _called(self, step: str, model: str) -> CalledModel:
        calls = self._around.metrics.of_calls(self._config.name, model)
        return CalledModel(step, self._around.models.model(model, self._config.models[model]), calls)


def _item(outputs: Sequence[Column]) -> str:
    found = item_output(outputs)
    if found is None:
        raise InvalidSpec("a recall model needs an output of type array of product")
    return found.name
