# SPDX-License-Identifier: Apache-2.0
"""The plan for a ModelDeployment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pydantic import ValidationError

from endcap_api.feature_columns import FeatureColumn
from endcap_api.features_config import FeaturesConfig
from endcap_api.graph_checks import cluster_problems
from endcap_api.model_checks import model_feature_problems
from endcap_api.runtime_config import ModelConfig
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_operator.manifests.features import secrets_of
from endcap_operator.manifests.model import model_children, model_config
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
from endcap_operator.plan.facts import Nudge, Observed, Plan, Resource
from endcap_operator.plan.features import contract_of, features_config, features_obstacle
from endcap_operator.plan.halted import plan_unaccepted, plan_waiting
from endcap_operator.plan.pins import Held, held
from endcap_operator.plan.pods import Failure, Pod
from endcap_operator.plan.remedies import advised, waiting_for
from endcap_operator.plan.rollout import Rollout, rollout, template_of
from endcap_operator.platform import Platform


def model_problems(spec: ModelDeploymentSpec, observed: Observed) -> list[str]:
    contract = contract_of(spec.features.bundle, observed) if spec.features else None
    bundles = {spec.features.bundle: contract} if spec.features and contract else {}
    return [str(problem) for problem in (*cluster_problems(spec), *model_feature_problems(spec, bundles))]


def model_obstacle(resource: Resource, spec: ModelDeploymentSpec, observed: Observed) -> Failure | None:
    """What keeps a sound spec from being acted on: features that are not there, or are not what they should be."""
    if spec.features is None:
        return None
    return features_obstacle(resource.identity.namespace, [spec.features.bundle], [], observed)


def plan_model(resource: Resource, spec: ModelDeploymentSpec, observed: Observed, platform: Platform) -> Plan:
    """For a model whose children's names are free; what an experiment holds is planned as it is held."""
    if hold := held(resource.identity, spec, observed):
        return _as_held(_plan_sound(resource, hold.spec, observed, platform), hold, resource.generation)
    if problems := model_problems(spec, observed):
        return plan_unaccepted(resource, observed, problems)
    if failure := model_obstacle(resource, spec, observed):
        return _held_up(plan_waiting(resource, observed, failure), observed)
    return _plan_sound(resource, spec, observed, platform)


def _as_held(plan: Plan, hold: Held, generation: int) -> Plan:
    message = f"Experiment {hold.experiment} has begun with {hold.label}, which its pods keep until it ends"
    failure = Failure("PinnedByExperiment", message)
    said = condition("Progressing", "False", failure.reason, advised(failure), generation)
    conditions = [said if each["type"] == "Progressing" else each for each in plan.status["conditions"]]
    return replace(plan, status={**plan.status, "conditions": conditions})


def _held_up(plan: Plan, observed: Observed) -> Plan:
    """Without another change, what is served stays what it is."""
    return replace(plan, status={**plan.status, **served_status(served_config(observed.pods, ""))})


def _plan_sound(
    resource: Resource, spec: ModelDeploymentSpec, observed: Observed, platform: Platform
) -> Plan:
    identity, features = resource.identity, _features(resource, spec, observed)
    config = model_config(identity, spec, joined_columns(spec, observed))
    manifests = model_children(identity, spec, config, features, platform)
    planned = deployment_of(manifests)
    state = rollout(planned, observed.child(identity, "Deployment"), observed.pods)
    served = served_config(observed.pods, template_of(planned))
    waits = waiting_for(*secrets_named(spec, features))
    conditions = _conditions(resource.generation, state, served, waits)
    return Plan(
        status={**status_of(resource, observed.pods, conditions), **served_status(served)},
        manifests=tuple(manifests),
        prune=pruned(manifests, observed),
        nudge=tuple(feature_nudges(observed.pods, features)),
        seed=seed(identity, spec.replicas, observed),
    )


def _features(resource: Resource, spec: ModelDeploymentSpec, observed: Observed) -> FeaturesConfig | None:
    if spec.features is None:
        return None
    return features_config(resource.identity.namespace, [spec.features.bundle], [], observed)


def joined_columns(spec: ModelDeploymentSpec, observed: Observed) -> list[FeatureColumn]:
    """The columns that a model's bundle adds to its inputs."""
    contract = contract_of(spec.features.bundle, observed) if spec.features else None
    return contract.columns if contract else []


def secrets_named(spec: ModelDeploymentSpec, features: FeaturesConfig | None) -> list[str]:
    own = [spec.model.secret_ref.name] if spec.model.secret_ref else []
    return [*own, *(secrets_of(features) if features else [])]


def feature_nudges(pods: Sequence[Pod], features: FeaturesConfig | None) -> Iterator[Nudge]:
    """One a pod and configuration: the sidecar of a model has no page for the operator to read back."""
    if features is not None:
        revision = features.revision
        yield from (Nudge(pod, revision) for pod in pods if pod.ready and pod.nudged != revision)


def served_status(served: ModelConfig | None) -> dict[str, str]:
    return {"version": served.version, "sha256": served.artefact.sha256} if served else {}


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


def _conditions(generation: int, state: Rollout, served: ModelConfig | None, waits: str) -> list[Condition]:
    return [accepted(generation), _ready(generation, state, served, waits), *_course(generation, state)]


def _ready(generation: int, state: Rollout, served: ModelConfig | None, waits: str) -> Condition:
    if state.ready and served:
        return condition("Ready", "True", "Serving", f"{state.counted}, serving {served.label}.", generation)
    if state.failure:
        return condition("Ready", "False", state.failure.reason, advised(state.failure), generation)
    return condition("Ready", "False", "Starting", f"{state.counted}.{waits}", generation)


def _course(generation: int, state: Rollout) -> list[Condition]:
    if state.failure:
        return stopped(state.failure, generation)
    if state.complete:
        return settled(generation)
    return moving("RollingOut", f"{state.counted}, {state.outdated} to be replaced.", generation)
