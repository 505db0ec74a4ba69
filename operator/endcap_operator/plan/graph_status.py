# SPDX-License-Identifier: Apache-2.0
"""What is said about an InferenceGraph: what it serves, what keeps it from serving what is wanted, and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from endcap_api.runtime_config import models_called
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_operator.plan.conditions import (
    Condition,
    accepted,
    condition,
    moving,
    settled,
    status_of,
    stopped,
)
from endcap_operator.plan.configuration import rejections, serves
from endcap_operator.plan.facts import Observed, Resource
from endcap_operator.plan.halted import ready_or
from endcap_operator.plan.pods import Failure
from endcap_operator.plan.remedies import advised, waiting_for
from endcap_operator.plan.rollout import Rollout

# What was accepted before is served as if nothing had happened.
UNSOUND = ("InvalidSpec", "FeatureViewInvalid", "FeatureBundleInvalid")


@dataclass(frozen=True)
class Situation:
    """`obstacle` keeps the spec from being served at all; `revision` and `state` are of what is in its place,
    `stores` those that it reads and `credentials` their Secrets, `experiments` those that overlay it and
    `variants` the models that they add.
    """

    resource: Resource
    spec: InferenceGraphSpec
    observed: Observed
    obstacle: Failure | None = None
    revision: str | None = None
    state: Rollout | None = None
    stores: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()

    @property
    def generation(self) -> int:
        return self.resource.generation

    @property
    def secrets(self) -> list[str]:
        catalogue = self.spec.catalogue
        return [*([catalogue.secret_ref.name] if catalogue.secret_ref else []), *self.credentials]

    @property
    def called(self) -> list[str]:
        return sorted({*models_called(self.spec), *self.variants})

    @property
    def ready(self) -> int:
        return sum(pod.ready for pod in self.observed.pods)

    @property
    def confirmed(self) -> int:
        """Ready pods that serve the revision."""
        pods = (pod for pod in self.observed.pods if pod.ready)
        return sum(serves(pod, self.revision) for pod in pods) if self.revision else 0

    @property
    def trouble(self) -> Failure | None:
        """What keeps the wanted revision from every replica."""
        return self.obstacle or rejected(self) or (self.state.failure if self.state else None)


def graph_status(situation: Situation) -> dict[str, Any]:
    spec, pods = situation.spec, situation.observed.pods
    common = status_of(situation.resource, pods, _conditions(situation))
    serving = f"{situation.confirmed}/{situation.ready}" if situation.revision else None
    found = {
        **common,
        "url": f"{common['url']}{spec.api.path}",
        "steps": len(spec.steps),
        "models": situation.called,
        "revision": situation.revision,
        "serving": serving,
        "experiments": list(situation.experiments) or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _conditions(situation: Situation) -> list[Condition]:
    obstacle = situation.obstacle
    invalid = [obstacle.message] if obstacle and obstacle.reason == "InvalidSpec" else []
    return [accepted(situation.generation, invalid), _ready(situation), *_course(situation)]


def _ready(situation: Situation) -> Condition:
    obstacle, generation = situation.obstacle, situation.generation
    if obstacle and obstacle.reason in UNSOUND:
        return ready_or(obstacle, situation.resource, situation.observed)
    if obstacle:
        still = " The configuration before is still served." if situation.ready else ""
        return condition("Ready", "False", obstacle.reason, f"{advised(obstacle)}{still}", generation)
    if situation.ready:
        message = f"{situation.confirmed} of {situation.ready} pods serve revision {situation.revision}."
        return condition("Ready", "True", "Serving", message, generation)
    if situation.trouble:
        return condition("Ready", "False", situation.trouble.reason, advised(situation.trouble), generation)
    counted = situation.state.counted if situation.state else "0 pods ready"
    return condition(
        "Ready",
        "False",
        "Starting",
        f"{counted}.{waiting_for(*situation.secrets)}",
        generation,
    )


def _course(situation: Situation) -> list[Condition]:
    generation, state = situation.generation, situation.state
    if situation.trouble:
        return stopped(situation.trouble, generation)
    if state is None or not state.complete:
        counted = state.counted if state else "0 pods ready"
        return moving("RollingOut", f"{counted}.", generation)
    if situation.confirmed < situation.ready:
        message = f"{situation.confirmed} of {situation.ready} pods serve revision {situation.revision}."
        return moving("Configuring", message, generation)
    return _with_others(situation)


def _with_others(situation: Situation) -> list[Condition]:
    """A model or a store that is down degrades what is answered, not what is served."""
    failure, done = _down(situation), settled(situation.generation)
    return [done[0], stopped(failure, situation.generation)[1]] if failure else done


def _down(situation: Situation) -> Failure | None:
    called, observed = situation.called, situation.observed
    if models := [name for name in observed.unready("ModelDeployment") if name in called]:
        return Failure("ModelNotReady", f"No pod is ready of {', '.join(models)}")
    if stores := [name for name in observed.unready("FeatureStore") if name in situation.stores]:
        return Failure("FeatureStoreNotReady", f"FeatureStore {', '.join(stores)} is not ready")
    return None


def rejected(situation: Situation) -> Failure | None:
    """A revision that pods refuse: they serve the one before, and say why. Those that are replaced may well do so:
    a revision that looks features up is not for a pod without a sidecar.
    """
    kept = situation.state.template if situation.state and situation.state.outdated else None
    lasting = [pod for pod in situation.observed.pods if kept is None or pod.template == kept]
    found = rejections(lasting, situation.revision) if situation.revision else []
    if not found:
        return None
    first, count = found[0], len(found)
    others = sorted({p.serving.revision for p in situation.observed.pods if p.serving and p.serving.revision})
    served = [revision for revision in others if revision != situation.revision]
    still = f"; revision {', '.join(served)} is still served" if served else ""
    message = (
        f"{count} of {len(situation.observed.pods)} pods reject revision {first.revision}"
        f" ({first.reason}: {first.message.rstrip('.')}){still}"
    )
    return Failure("ConfigRejected", message, cause=first.reason)
