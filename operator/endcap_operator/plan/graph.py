# SPDX-License-Identifier: Apache-2.0
"""The plan for an InferenceGraph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from endcap_api.graph_checks import check_graph, cluster_problems, missing_models
from endcap_api.runtime_config import GraphConfig, ModelContract
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_operator.manifests.graph import graph_children
from endcap_operator.manifests.identity import Identity, model_url
from endcap_operator.plan.children import deployment_of, pruned, seed
from endcap_operator.plan.configuration import data_of, kept, next_data, nudges, rejections, unaware
from endcap_operator.plan.facts import Observed, Plan, Referenced, Resource
from endcap_operator.plan.graph_status import Situation, graph_status
from endcap_operator.plan.halted import RETRY_SECONDS
from endcap_operator.plan.pods import Failure, Pod
from endcap_operator.plan.remembered import MOST, Keyed
from endcap_operator.plan.rollout import rollout
from endcap_operator.platform import Platform

READ_BACK_SECONDS = 0.1


def plan_graph(resource: Resource, spec: InferenceGraphSpec, observed: Observed, platform: Platform) -> Plan:
    """For a graph whose children's names are free.

    A spec that cannot be served changes no child: they are planned from the configuration that is in the ConfigMap.
    """
    situation = Situation(resource, spec, observed, obstacle(resource.identity, spec, observed.models))
    config = _config(situation)
    if config is None:
        return Plan(status=graph_status(situation))
    manifests = graph_children(resource.identity, config, _data(situation, config), platform)
    state = rollout(deployment_of(manifests), observed.children.get("Deployment"), observed.pods)
    return Plan(
        status=graph_status(replace(situation, revision=config.revision, state=state)),
        manifests=tuple(manifests),
        prune=pruned(manifests, observed),
        nudge=tuple(nudges(observed.pods, config.revision)),
        seed=seed(config.spec.replicas, observed),
        recheck=_recheck(observed.pods, config.revision),
    )


def _config(situation: Situation) -> GraphConfig | None:
    if situation.obstacle:
        return kept(data_of(situation.observed.children.get("ConfigMap")))
    identity = situation.resource.identity
    return GraphConfig(
        name=identity.name,
        namespace=identity.namespace,
        spec=situation.spec,
        models=_contracts(identity, situation.observed.models),
    )


def _data(situation: Situation, config: GraphConfig) -> Mapping[str, str]:
    data = data_of(situation.observed.children.get("ConfigMap"))
    return data if situation.obstacle else next_data(config, data, situation.observed.pods)


def obstacle(
    identity: Identity, spec: InferenceGraphSpec, models: Mapping[str, Referenced]
) -> Failure | None:
    """Why a graph cannot be served as it is written; what the author must change comes before what is missing."""
    contracts = _contracts(identity, models)
    config = GraphConfig(name=identity.name, namespace=identity.namespace, spec=spec, models=contracts)
    if problems := _problems(Keyed(config.model_dump_json(), config)):
        return Failure("InvalidSpec", problems)
    if missing := missing_models(spec, contracts):
        names = ", ".join(missing)
        return Failure("ModelNotFound", f"Namespace {identity.namespace} has no ModelDeployment {names}")
    return None


@lru_cache(maxsize=MOST)
def _problems(graph: Keyed[GraphConfig]) -> str:
    spec, models = graph.value.spec, graph.value.models
    return "; ".join(map(str, [*check_graph(spec, models), *cluster_problems(spec)]))


def _contracts(identity: Identity, models: Mapping[str, Referenced]) -> dict[str, ModelContract]:
    return {
        name: ModelContract.of(model.spec, model_url(name, identity.namespace))
        for name, model in sorted(models.items())
    }


def _recheck(pods: Sequence[Pod], revision: str) -> float | None:
    if unaware(pods, revision):
        return READ_BACK_SECONDS
    return RETRY_SECONDS if rejections(pods, revision) else None
