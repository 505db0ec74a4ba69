# SPDX-License-Identifier: Apache-2.0
"""The plan for an InferenceGraph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from endcap_api.features_config import ViewContract
from endcap_api.graph_checks import check_graph, cluster_problems, missing_models
from endcap_api.runtime_config import (
    GraphConfig,
    ModelContract,
    bundles_named,
    models_called,
    views_written,
)
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_operator.keys import Manifest
from endcap_operator.manifests.configuration import WANTED
from endcap_operator.manifests.features import secrets_of
from endcap_operator.manifests.graph import Configured, graph_children
from endcap_operator.manifests.identity import Identity
from endcap_operator.manifests.keys import FORCE_KEY, blank_secret, mounts
from endcap_operator.plan.children import deployment_of, pruned, seed
from endcap_operator.plan.configuration import data_of, kept, next_data, nudges, recheck, refreshes
from endcap_operator.plan.experiment.overlay import (
    activated,
    all_contracts,
    held_contracts,
    models_of,
    overlaid_config,
)
from endcap_operator.plan.facts import NewSecret, Nudge, Observed, Plan, Resource
from endcap_operator.plan.features import contract_of, features_config, features_obstacle
from endcap_operator.plan.graph_status import Situation, graph_status
from endcap_operator.plan.pods import Failure
from endcap_operator.plan.remembered import MOST, Keyed
from endcap_operator.plan.rollout import Rollout, rollout
from endcap_operator.platform import Platform


def plan_graph(resource: Resource, spec: InferenceGraphSpec, observed: Observed, platform: Platform) -> Plan:
    """For a graph whose children's names are free.

    A spec that cannot be served changes no child: they are planned from the configuration that is in the ConfigMap.
    """
    situation = Situation(resource, spec, observed, obstacle(resource.identity, spec, observed))
    configured = _configured(situation)
    if configured is None:
        return Plan(status=graph_status(situation))
    identity, config = resource.identity, configured.graph
    manifests = graph_children(identity, configured, _data(situation, configured), platform)
    state = rollout(deployment_of(manifests), observed.child(identity, "Deployment"), observed.pods)
    situation = _served(situation, configured, state)
    return Plan(
        status=graph_status(situation),
        secrets=_secrets(identity, observed),
        manifests=tuple(manifests),
        prune=pruned(manifests, observed),
        nudge=(*nudges(observed.pods, config.revision), *_refreshes(situation, configured)),
        seed=seed(identity, config.spec.replicas, observed),
        recheck=recheck(observed.pods, config.revision),
    )


def _served(situation: Situation, configured: Configured, state: Rollout) -> Situation:
    features = configured.features
    return replace(
        situation,
        revision=configured.graph.revision,
        experiments=tuple(configured.graph.experiments or ()),
        variants=tuple(sorted(models_of(configured.graph.experiments))),
        state=state,
        stores=tuple(features.stores) if features else (),
        credentials=tuple(secrets_of(features)) if features else (),
    )


def _secrets(identity: Identity, observed: Observed) -> tuple[NewSecret, ...]:
    """Asked for before the pods that mount it are first made."""
    made = mounts(observed.child(identity, "Deployment"), identity.child)
    return () if made else (NewSecret(blank_secret(identity), FORCE_KEY),)


def _configured(situation: Situation) -> Configured | None:
    """Experiments come and go, and are rolled back, whatever keeps the graph's own spec from being served."""
    identity, observed = situation.resource.identity, situation.observed
    found = kept(data_of(_config_map(situation))) if situation.obstacle else _wanted(situation)
    if found is None:
        return None
    served = _carrying(identity, observed)
    bare = found.graph.model_copy(update={"experiments": None})
    graph = activated(overlaid_config(bare, served, observed), served, observed.now_ms)
    return replace(found, graph=graph)


def _carrying(identity: Identity, observed: Observed) -> GraphConfig | None:
    """The configuration that is there, where experiments make a difference: to read it costs some milliseconds."""
    data = data_of(observed.child(identity, "ConfigMap"))
    marked = any(mark in data.get(WANTED, "") for mark in ('"experiments"', '"activateAtMs"'))
    before = kept(data) if marked or any(observed.experiments()) else None
    return before.graph if before else None


def _wanted(situation: Situation) -> Configured:
    identity, spec, observed = situation.resource.identity, situation.spec, situation.observed
    bundles, views = bundles_named(spec), views_written(spec)
    features = features_config(identity.namespace, bundles, views, observed) if bundles or views else None
    return Configured(graph_config(identity, spec, observed), features)


def _refreshes(situation: Situation, configured: Configured) -> Iterator[Nudge]:
    data, pods = data_of(_config_map(situation)), situation.observed.pods
    return iter(()) if situation.obstacle else refreshes(configured, data, pods)


def _config_map(situation: Situation) -> Manifest | None:
    return situation.observed.child(situation.resource.identity, "ConfigMap")


def _data(situation: Situation, configured: Configured) -> Mapping[str, str]:
    data = data_of(_config_map(situation))
    if situation.obstacle and (before := kept(data)) and before.graph.revision == configured.graph.revision:
        return data
    return next_data(configured, data, situation.observed.pods)


def graph_config(identity: Identity, spec: InferenceGraphSpec, observed: Observed) -> GraphConfig:
    """With the contracts of all that is named and exists."""
    bundles = {name: contract_of(name, observed) for name in bundles_named(spec)}
    views = observed.specs(FeatureViewSpec)
    return GraphConfig(
        name=identity.name,
        namespace=identity.namespace,
        spec=spec,
        models=_contracts(identity, spec, observed),
        bundles={name: contract for name, contract in bundles.items() if contract} or None,
        views={name: ViewContract.of(views[name]) for name in views_written(spec) if name in views} or None,
    )


def obstacle(identity: Identity, spec: InferenceGraphSpec, observed: Observed) -> Failure | None:
    """Why a graph cannot be served as it is written; what the author must change comes before what is missing."""
    config = graph_config(identity, spec, observed)
    if problems := _problems(Keyed(config.model_dump_json(), config)):
        return Failure("InvalidSpec", problems)
    if missing := missing_models(spec, config.models):
        names = ", ".join(missing)
        return Failure("ModelNotFound", f"Namespace {identity.namespace} has no ModelDeployment {names}")
    return features_obstacle(identity.namespace, bundles_named(spec), views_written(spec), observed)


@lru_cache(maxsize=MOST)
def _problems(graph: Keyed[GraphConfig]) -> str:
    config = graph.value
    found = check_graph(config.spec, config.models, config.bundles, config.views)
    return "; ".join(map(str, [*found, *cluster_problems(config.spec)]))


def _contracts(identity: Identity, spec: InferenceGraphSpec, observed: Observed) -> dict[str, ModelContract]:
    held = held_contracts(observed, _carrying(identity, observed))
    models = {**all_contracts(identity.namespace, observed, models_called(spec)), **held}
    return {name: models[name] for name in models_called(spec) if name in models}
