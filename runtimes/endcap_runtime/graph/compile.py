# SPDX-License-Identifier: Apache-2.0
"""A graph is compiled once: every choice that its resource makes is made here, and none when a request comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from endcap_api.expressions import ExpressionError
from endcap_api.graph_checks import check_graph, missing_models
from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.steps import Step as StepSpec
from endcap_runtime.graph.answer import AnswerForm, answer_form
from endcap_runtime.graph.building import Builder, Built, Surroundings
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.dag import Node
from endcap_runtime.graph.failures import InvalidSpec
from endcap_runtime.graph.fallback import Ladder
from endcap_runtime.graph.items import Items
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.query import Step
from endcap_runtime.graph.reads import Forming
from endcap_runtime.graph.request import RequestSchema
from endcap_runtime.graph.steps.merge import MERGE, MergeStep
from endcap_runtime.graph.steps.select import SelectStep
from endcap_runtime.graph.wrappers import deadline, fail_open, needing, timed

BESIDE = ("model", "recall")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A graph that is ready to answer. Immutable; a request keeps the one that it began with.

    deadline: seconds from the head of a request to its answer.
    """

    config: GraphConfig
    revision: str
    catalogue: Catalogue
    request: RequestSchema
    nodes: Sequence[Node]
    select: SelectStep
    ladder: Ladder
    answer: AnswerForm
    deadline: float


def compile_graph(config: GraphConfig, around: Surroundings) -> Pipeline:
    """Raises InvalidSpec with every problem of the graph, each naming the field and the remedy."""
    problems = list(_problems(config))
    if problems:
        raise InvalidSpec("; ".join(problems))
    try:
        return _pipeline(config, around)
    except ExpressionError as error:
        raise InvalidSpec(str(error)) from None


def _problems(config: GraphConfig) -> Iterator[str]:
    for name in missing_models(config.spec, config.models):
        yield f"spec: there is no ModelDeployment {name}: create it, or name another"
    for problem in check_graph(config.spec, config.models):
        yield str(problem)


def _pipeline(config: GraphConfig, around: Surroundings) -> Pipeline:
    builder = Builder(config, around)
    items = Items.of(around.catalogue)
    filters = builder.filters()
    empty = any(rung.empty for rung in config.spec.fallback or ())
    ladder = Ladder(tuple(builder.rungs()), tuple(filters.values()), empty)
    select = builder.select(ladder)
    built = builder.steps(filters, select)
    return Pipeline(
        config=config,
        revision=config.revision,
        catalogue=around.catalogue,
        request=RequestSchema(config.spec.api.request, around.catalogue, items),
        nodes=tuple(_nodes(config, built, around.metrics)),
        select=select,
        ladder=ladder,
        answer=answer_form(config, around.metrics, items),
        deadline=milliseconds(config.spec.deadline) / 1000,
    )


def _nodes(config: GraphConfig, built: Sequence[Built], metrics: GraphMetrics) -> Iterator[Node]:
    """Steps beside each other first, then the merge of what was recalled, then the candidates' steps.

    One that is alone runs in line, since a task of its own would only cost.
    """
    forming = Forming.of(config.spec.steps)
    asking = [each for each in built if each.spec.kind in BESIDE]
    *before, last = [each for each in built if each.spec.kind not in BESIDE]
    beside = len(asking) > 1
    recalls, models = tuple(forming.recalls.values()), tuple(forming.models.values())

    def node(each: Built, needs: tuple[str, ...], *, aside: bool = False) -> Node:
        step = _wrapped(config, each, metrics)
        return Node(step, needs if beside else (), aside and beside, _must_hold(each.spec))

    for each in asking:
        yield node(each, forming.models_read(each.reads), aside=True)
    merge = timed(MergeStep(recalls), metrics.of_step(config.name, MERGE))
    yield Node(merge, recalls if beside else (), beside=False)
    for each in before:
        yield node(each, forming.models_read(each.reads))
    # The answer shows what the model steps said, so it waits for all of them.
    yield node(last, models)


def _wrapped(config: GraphConfig, built: Built, metrics: GraphMetrics) -> Step:
    spec, step = built.spec, built.step
    recalls = Forming.of(config.spec.steps).recalls_read(built.reads)
    if recalls and not spec.rank:  # an order goes on with what the other sources know, a rule does not
        step = needing(step, recalls)
    if spec.timeout:
        step = deadline(step, milliseconds(spec.timeout) / 1000)
    step = timed(step, metrics.of_step(config.name, spec.name))
    return step if _must_hold(spec) else fail_open(step)


def _must_hold(spec: StepSpec) -> bool:
    """A select without a count has no answer: to go on without it would be to answer with everything."""
    return spec.select is not None or spec.failure == "fail"
