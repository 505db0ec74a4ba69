# SPDX-License-Identifier: Apache-2.0
"""One plan for every kind: the kind is decided here and nowhere else."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from endcap_api.runtime_config import models_called
from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.kinds import KINDS
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_operator.keys import Key, Manifest
from endcap_operator.manifests.identity import Identity
from endcap_operator.plan.children import wanted_kinds
from endcap_operator.plan.facts import Observed, Plan, Resource
from endcap_operator.plan.graph import plan_graph
from endcap_operator.plan.halted import plan_heir, plan_name_taken, plan_unaccepted
from endcap_operator.plan.model import model_problems, plan_model
from endcap_operator.plan.remembered import MOST, Keyed
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
    """The objects that a resource is made into."""
    spec, identity = resource.spec, resource.identity
    if not isinstance(spec, ModelDeploymentSpec | InferenceGraphSpec):
        return []
    kinds = wanted_kinds(identity.kind, spec.replicas)
    return [Key(kind, identity.namespace, identity.child) for kind in kinds]


def models_of(resource: Resource) -> list[str]:
    """The ModelDeployments that a resource names."""
    return models_called(resource.spec) if isinstance(resource.spec, InferenceGraphSpec) else []


def plan_for(resource: Resource, observed: Observed, platform: Platform) -> Plan:
    spec = resource.spec
    if observed.taken:
        return plan_name_taken(resource, observed)
    if observed.left:
        return plan_heir(resource, observed)
    if isinstance(spec, InferenceGraphSpec):
        return plan_graph(resource, spec, observed, platform)
    if isinstance(spec, ModelDeploymentSpec):
        problems = model_problems(spec)
        if not problems:
            return plan_model(resource, spec, observed, platform)
        return plan_unaccepted(resource, observed, problems)
    return plan_unaccepted(resource, observed, resource.problems)
