# SPDX-License-Identifier: Apache-2.0
"""A graph is compiled once: every choice that its resource makes is made here, and none when a request comes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from endcap_api.experiment_checks import check_served_experiments
from endcap_api.expressions import ExpressionError
from endcap_api.graph_checks import check_graph, missing_bundles, missing_models, missing_written_views
from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.base import milliseconds
from endcap_runtime.graph.answer import AnswerForm, answer_form
from endcap_runtime.graph.building import NOTHING, Builder, Built, Surroundings
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.dag import Node
from endcap_runtime.graph.experiments.compiling import experiments_of, varied
from endcap_runtime.graph.experiments.experiment import Experiments
from endcap_runtime.graph.exposures import ExposureForm, covariates_of, exposure_form
from endcap_runtime.graph.failures import InvalidSpec
from endcap_runtime.graph.fallback import Ladder
from endcap_runtime.graph.items import Items
from endcap_runtime.graph.lookups import keys_of, lookups_of
from endcap_runtime.graph.nodes import nodes_of
from endcap_runtime.graph.records import RecordForm, record_form
from endcap_runtime.graph.request import RequestSchema
from endcap_runtime.graph.shadow import ShadowForm, shadow_form
from endcap_runtime.graph.steps.select import SelectStep
from endcap_runtime.graph.written import written_of


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A graph that is ready to answer. Immutable; a request keeps the one that it began with.

    deadline: seconds from the head of a request to its answer.
    """

    config: GraphConfig
    revision: str
    catalogue: Catalogue
    request: RequestSchema
    nodes: tuple[Node, ...]
    select: SelectStep
    ladder: Ladder
    answer: AnswerForm
    records: RecordForm
    experiments: Experiments | None
    exposures: ExposureForm
    shadow: ShadowForm
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
    bundles, views = config.bundles or {}, config.views or {}
    for name in missing_models(config.spec, config.models):
        yield f"spec: there is no ModelDeployment {name}: create it, or name another"
    for name in missing_bundles(config.spec, bundles):
        yield f"spec: there is no FeatureBundle {name}: create it, or name another"
    for name in missing_written_views(config.spec, views):
        yield f"spec: there is no FeatureView {name}: create it, or name another"
    for problem in check_graph(config.spec, config.models, bundles, views):
        yield str(problem)
    for problem in check_served_experiments(config):
        yield str(problem)


def _pipeline(config: GraphConfig, around: Surroundings) -> Pipeline:
    spec = config.spec
    builder = Builder(config, around)
    items = Items.of(around.catalogue)
    filters, count, keys = builder.filters(), builder.count(), keys_of(config)
    read_by_keys = NOTHING.union(*(each.reads for each in keys.values()))
    built = [varied(config, each) for each in builder.steps(filters, read_by_keys)]
    written, covariates = written_of(config), covariates_of(config)
    experiments = experiments_of(config, built)
    reads = {
        **{each.spec.name: each.reads for each in built},
        **{name: each.reads for name, each in keys.items()},
        spec.steps[-1].name: count.reads,
    }
    after = [*(each.reads for each in written), *(each.reads for each in covariates)]
    kept = {f"{number}: kept": names for number, names in enumerate(after)}
    lookups = lookups_of(config, keys, reads | kept, around)
    rules = NOTHING.union(*(step.rule.reads for step in filters.values()))
    empty = any(rung.empty for rung in spec.fallback or ())
    ladder = Ladder(
        tuple(builder.rungs()), tuple(filters.values()), lookups.of_rules(spec.steps, rules), empty
    )
    select = builder.select(count, ladder)
    return Pipeline(
        config=config,
        revision=config.revision,
        catalogue=around.catalogue,
        request=RequestSchema(spec.api.request, around.catalogue, items),
        nodes=nodes_of(config, [*built, Built(spec.steps[-1], select, count.reads)], lookups, around.metrics),
        select=select,
        ladder=ladder,
        answer=answer_form(config, around.metrics, items, lookups.by_name),
        records=record_form(config, written, lookups.by_name, items, around.metrics),
        experiments=experiments,
        exposures=exposure_form(config, covariates, items, around.metrics),
        shadow=shadow_form(config, experiments),
        deadline=milliseconds(spec.deadline) / 1000,
    )
