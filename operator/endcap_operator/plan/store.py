# SPDX-License-Identifier: Apache-2.0
"""The plan for a FeatureStore: its ingest pods, and its Redis unless it is one of the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from endcap_api.features_config import FeaturesConfig, ViewConfig
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featurestore import Embedded, FeatureStoreSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_operator.keys import Key
from endcap_operator.manifests.features import secrets_of, store_config
from endcap_operator.manifests.identity import Identity
from endcap_operator.manifests.ingest import ingest_children
from endcap_operator.manifests.keys import UNIT_KEY, blank_secret, mounts
from endcap_operator.manifests.redis import PASSWORD, credentials_of, redis_children
from endcap_operator.plan.children import deployment_of, pruned, seed
from endcap_operator.plan.conditions import Condition, accepted, condition, status_of
from endcap_operator.plan.configuration import data_of, kept_features, nudges, recheck
from endcap_operator.plan.experiment.overlay import measured_in
from endcap_operator.plan.facts import Away, NewSecret, Observed, Plan, Resource
from endcap_operator.plan.features import (
    model_behind,
    problems_of_bundle,
    problems_of_view,
    view_config,
)
from endcap_operator.plan.freshness import asked_again, shown_span
from endcap_operator.plan.pods import Failure, Pod
from endcap_operator.plan.remedies import advised, waiting_for
from endcap_operator.plan.rollout import Rollout, rollout
from endcap_operator.platform import Platform

_SECOND = "the last second of what was written"
_DURABILITY = {
    ("everysec", True): f"a crash loses at most {_SECOND}",
    ("always", True): "a crash loses nothing that was acknowledged",
    ("everysec", False): f"a crash of Redis loses at most {_SECOND}, the loss of its pod everything",
    ("always", False): "a crash of Redis loses nothing that was acknowledged, the loss of its pod everything",
}


@dataclass(frozen=True)
class Part:
    """One component: what it is made of and how far its pods are."""

    title: str
    manifests: Sequence[dict[str, Any]]
    state: Rollout
    pods: Sequence[Pod]


def plan_store(resource: Resource, spec: FeatureStoreSpec, observed: Observed, platform: Platform) -> Plan:
    """For a store whose children's names are free."""
    identity = resource.identity
    config = ingest_config(identity, spec, observed, kept_features(_data(identity, observed)))
    ingest = _part("ingest", identity, ingest_children(identity, spec.ingest, config, platform), observed)
    parts = [*_redis(identity, spec, observed, platform), ingest]
    manifests = tuple(manifest for part in parts for manifest in part.manifests)
    return Plan(
        status=_status(resource, spec, observed, parts, waiting_for(*secrets_of(config))),
        manifests=manifests,
        secrets=tuple(_secrets(identity, spec, observed)),
        prune=pruned(manifests, observed),
        nudge=tuple(nudges(ingest.pods, config.revision)),
        seed=seed(identity, spec.ingest.replicas, observed),
        recheck=recheck(ingest.pods, config.revision) or asked_again(observed.report),
    )


def _data(identity: Identity, observed: Observed) -> Mapping[str, str]:
    return data_of(observed.child(identity, "ConfigMap"))


def _part(title: str, identity: Identity, manifests: Sequence[dict[str, Any]], observed: Observed) -> Part:
    pods = observed.pods_of(identity.component)
    state = rollout(deployment_of(manifests), observed.child(identity, "Deployment"), pods)
    return Part(title, manifests, state, pods)


def _redis(
    identity: Identity, spec: FeatureStoreSpec, observed: Observed, platform: Platform
) -> Iterator[Part]:
    if spec.redis is None:
        own = identity.of("store")
        manifests = redis_children(own, spec.embedded or Embedded(), platform)
        yield _part("Redis", own, manifests, observed)


def _secrets(identity: Identity, spec: FeatureStoreSpec, observed: Observed) -> Iterator[NewSecret]:
    """Asked for before the pods that mount them are first made, and while one of them may be waiting for one.

    A Redis that runs notices another password by its own probe, and starts again with it and with its file.
    """
    own = identity.of("store")
    waits = any(not (pod.ready or pod.running or pod.failure) for pod in observed.pods)
    if spec.redis is None and (waits or observed.child(own, "Deployment") is None):
        yield NewSecret(credentials_of(own), PASSWORD)
    if waits or not mounts(observed.child(identity, "Deployment"), identity.child):
        yield NewSecret(blank_secret(identity), UNIT_KEY)


def ingest_config(
    identity: Identity, spec: FeatureStoreSpec, observed: Observed, before: FeaturesConfig | None = None
) -> FeaturesConfig:
    """What the ingest pods are told; a view or bundle that is not sound stays as it was `before`."""
    views = dict(_views(identity, observed, before))
    return FeaturesConfig(
        namespace=identity.namespace,
        stores={identity.name: store_config(identity.namespace, identity.name, spec)},
        views=views,
        bundles=dict(_bundles(views, observed, before)),
        experiments=dict(measured_in(identity.name, observed)) or None,
    )


def _views(
    identity: Identity, observed: Observed, before: FeaturesConfig | None
) -> Iterator[tuple[str, ViewConfig]]:
    for name, spec in views_of(identity.name, observed).items():
        model = model_behind(spec)
        there = not model or Key("ModelDeployment", identity.namespace, model) in observed.resources
        if there and not problems_of_view(spec):
            yield name, view_config(spec, observed)
        elif before and name in before.views:
            yield name, before.views[name]


def views_of(store: str, observed: Observed) -> dict[str, FeatureViewSpec]:
    """The views that name a store."""
    return {name: spec for name, spec in observed.specs(FeatureViewSpec).items() if spec.store == store}


def _bundles(
    views: Mapping[str, ViewConfig], observed: Observed, before: FeaturesConfig | None
) -> Iterator[tuple[str, FeatureBundleSpec]]:
    """Those that can be looked up in this store alone."""
    for name, spec in observed.specs(FeatureBundleSpec).items():
        if _within(spec, views) and not problems_of_bundle(spec, observed):
            yield name, spec
        elif before and name in before.bundles and _within(before.bundles[name], views):
            yield name, before.bundles[name]


def _within(bundle: FeatureBundleSpec, views: Mapping[str, ViewConfig]) -> bool:
    return all(selected.view in views for selected in bundle.features)


def _status(
    resource: Resource, spec: FeatureStoreSpec, observed: Observed, parts: Sequence[Part], waits: str
) -> dict[str, Any]:
    ready = _ready(resource.generation, parts, observed.away, waits)
    conditions = [accepted(resource.generation), ready]
    report = observed.report
    said = {"lag": shown_span(report.lag_ms), "deadLetters": report.dead_letters} if report else {}
    return {
        **status_of(resource, parts[-1].pods, conditions),
        "backend": _backend(spec),
        "durability": _durability(spec),
        "views": len(views_of(resource.identity.name, observed)),
        **said,
    }


def _backend(spec: FeatureStoreSpec) -> str:
    if spec.redis is None:
        return "embedded"
    return "redis cluster" if spec.redis.cluster else "redis"


def _durability(spec: FeatureStoreSpec) -> str:
    if spec.redis is not None:
        return "what your Redis promises"
    embedded = spec.embedded or Embedded()
    return _DURABILITY[embedded.fsync, embedded.storage is not None]


def _ready(generation: int, parts: Sequence[Part], away: Away | None, waits: str) -> Condition:
    """Pods that are ready are not enough: they may have the wrong password of a Redis, or its wrong address."""
    counted = "; ".join(f"{part.title}: {part.state.counted}" for part in parts)
    running = all(part.state.ready for part in parts)
    if running and not away:
        return condition("Ready", "True", "Serving", f"{counted}.", generation)
    failure = next((part.state.failure for part in parts if part.state.failure), None)
    if running and away:
        failure = Failure("StoreUnreachable", away.message)
    if failure:
        return condition("Ready", "False", failure.reason, advised(failure), generation)
    return condition("Ready", "False", "Starting", f"{counted}.{waits}", generation)
