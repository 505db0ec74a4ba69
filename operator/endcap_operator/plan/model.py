# SPDX-License-Identifier: Apache-2.0
"""The plan for a ModelDeployment."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from endcap_api.graph_checks import cluster_problems
from endcap_api.runtime_config import ModelConfig
from endcap_api.v1alpha1.base import SecretRef
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_operator.manifests.model import model_children
from endcap_operator.plan.children import deployment_of, pruned, seed
from endcap_operator.plan.conditions import (
    Condition,
    accepted,
    condition,
    moving,
    settled,
    status_of,
    stopped,
)
from endcap_operator.plan.facts import Observed, Plan, Resource
from endcap_operator.plan.pods import Pod
from endcap_operator.plan.remedies import advised, waiting_for
from endcap_operator.plan.rollout import Rollout, rollout, template_of
from endcap_operator.platform import Platform


def model_problems(spec: ModelDeploymentSpec) -> list[str]:
    return [str(problem) for problem in cluster_problems(spec)]


def plan_model(resource: Resource, spec: ModelDeploymentSpec, observed: Observed, platform: Platform) -> Plan:
    """For a spec without problems whose children's names are free."""
    manifests = model_children(resource.identity, spec, platform)
    planned = deployment_of(manifests)
    state = rollout(planned, observed.children.get("Deployment"), observed.pods)
    served = served_config(observed.pods, template_of(planned))
    return Plan(
        status={
            **status_of(
                resource,
                observed.pods,
                _conditions(resource.generation, state, served, spec.model.secret_ref),
            ),
            **({"version": served.version, "sha256": served.artefact.sha256} if served else {}),
        },
        manifests=tuple(manifests),
        prune=pruned(manifests, observed),
        seed=seed(spec.replicas, observed),
    )


def served_config(pods: Sequence[Pod], template: str) -> ModelConfig | None:
    """What every ready pod serves; while a rollout lasts, what those serve that it replaces."""
    ready = [pod for pod in pods if pod.ready]
    outdated = [pod for pod in ready if pod.template != template]
    return next(filter(None, map(_config_of, [*outdated, *ready])), None)


def _config_of(pod: Pod) -> ModelConfig | None:
    """None where someone edited the Deployment by hand before it was restored."""
    try:
        return ModelConfig.model_validate_json(pod.environment or "")
    except ValidationError:
        return None


def _conditions(
    generation: int, state: Rollout, served: ModelConfig | None, secret: SecretRef | None
) -> list[Condition]:
    return [accepted(generation), _ready(generation, state, served, secret), *_course(generation, state)]


def _ready(
    generation: int, state: Rollout, served: ModelConfig | None, secret: SecretRef | None
) -> Condition:
    if state.ready and served:
        return condition("Ready", "True", "Serving", f"{state.counted}, serving {served.label}.", generation)
    if state.failure:
        return condition("Ready", "False", state.failure.reason, advised(state.failure), generation)
    return condition("Ready", "False", "Starting", f"{state.counted}.{waiting_for(secret)}", generation)


def _course(generation: int, state: Rollout) -> list[Condition]:
    if state.failure:
        return stopped(state.failure, generation)
    if state.complete:
        return settled(generation)
    return moving("RollingOut", f"{state.counted}, {state.outdated} to be replaced.", generation)
