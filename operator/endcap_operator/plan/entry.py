# SPDX-License-Identifier: Apache-2.0
"""One plan for every kind: the kind is decided here and nowhere else."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featurestore import FeatureStoreSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.kinds import KINDS
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_operator.keys import Key, Manifest
from endcap_operator.manifests.identity import Identity
from endcap_operator.plan.bundle import plan_bundle
from endcap_operator.plan.children import wanted_children
from endcap_operator.plan.experiment.plan import plan_experiment
from endcap_operator.plan.facts import Observed, Plan, Resource
from endcap_operator.plan.graph import plan_graph
from endcap_operator.plan.halted import plan_heir, plan_name_taken, plan_unread
from endcap_operator.plan.model import plan_model
from endcap_operator.plan.remembered import MOST, Keyed
from endcap_operator.plan.store import plan_store
from endcap_operator.plan.view import plan_view
from endcap_operator.platform import Platform


def resource_of(manifest: Manifest) -> Resource:
    """What a manifest says, or what is wrong with it; the API server's own validation leaves little room for that."""
    metadata, kind, spec = manifest["metadata"], manifest["kind"], manifest.get("spec")
    identity = Identity(kind, metadata["namespace"], metadata["name"], metadata["uid"])
    parsed, problems = _parsed(kind, Keyed(json.dumps(spec), spec))
    return Resource(identity, metadata["generation"], parsed, problems)


@lru_cache(maxsize=MOST)
def _parsed(kind: str, spec: Keyed[Any]) -> tuple[Element | None, tuple[str, ...]]:
    try:
        return KINDS[kind].spec.model_validate(spec.value), ()
    except ValidationError as error:
        return None, tuple(_problem(e) for e in error.errors(include_url=False))


def _problem(error: Any) -> str:
    return f"{'.'.join(['spec', *map(str, error['loc'])])}: {error['msg']}"


def children_of(resource: Resource) -> list[Key]:
    """The objects that a resource is made into, but for a Secret, which is never looked at."""
    return wanted_children(resource.identity, resource.spec)


def plan_for(resource: Resource, observed: Observed, platform: Platform) -> Plan:
    if observed.taken:
        return plan_name_taken(resource, observed)
    if observed.left:
        return plan_heir(resource, observed)
    return _plan_of_kind(resource, observed, platform)


def _plan_of_kind(resource: Resource, observed: Observed, platform: Platform) -> Plan:
    spec = resource.spec
    match spec:
        case InferenceGraphSpec():
            return plan_graph(resource, spec, observed, platform)
        case ModelDeploymentSpec():
            return plan_model(resource, spec, observed, platform)
        case FeatureStoreSpec():
            return plan_store(resource, spec, observed, platform)
    return _plan_without_pods(resource, observed)


def _plan_without_pods(resource: Resource, observed: Observed) -> Plan:
    spec = resource.spec
    match spec:
        case FeatureViewSpec():
            return plan_view(resource, spec, observed)
        case FeatureBundleSpec():
            return plan_bundle(resource, spec, observed)
        case ExperimentSpec():
            return plan_experiment(resource, spec, observed)
    return plan_unread(resource, observed)
