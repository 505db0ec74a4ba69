# SPDX-License-Identifier: Apache-2.0
"""Situations of a cluster for tests of planning: nothing yet, all well, something amiss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from builders import (
    activity,
    bundle,
    column,
    feature_store,
    graph,
    intent,
    last_intent,
    ranker,
    recaller,
    segment,
)

from endcap_operator.keys import Key, key_of
from endcap_operator.manifests.model import CONFIG
from endcap_operator.plan.children import deployment_of
from endcap_operator.plan.configuration import kept, kept_features
from endcap_operator.plan.entry import plan_for, resource_of
from endcap_operator.plan.facts import Fed, Observed, Plan, Referenced, Report
from endcap_operator.plan.pods import Failure, Pod, Rejection, Serving
from endcap_operator.plan.rollout import template_of
from endcap_operator.platform import Platform

PLATFORM = Platform(
    images={
        **{name: f"endcap/runtime-{name}:dev" for name in ("python", "sklearn", "lightgbm", "graph")},
        "redis": "endcap/redis:dev",
    },
    s3_endpoint="http://s3.endcap-store.svc:7070",
    allowed_hosts=("s3.endcap-store.svc:7070",),
)


def stored(manifest: dict[str, Any]) -> dict[str, Any]:
    """As the API server returns it."""
    metadata = {
        "namespace": "shop",
        "uid": "7b1c",
        "generation": 3,
        "resourceVersion": "11",
        **manifest["metadata"],
    }
    return {**manifest, "metadata": metadata}


def model_resource(**spec: Any) -> dict[str, Any]:
    return stored(ranker(**spec))


def graph_resource(**spec: Any) -> dict[str, Any]:
    return stored(graph(**spec))


def known(*manifests: dict[str, Any], ready: bool = True) -> dict[Key, Referenced]:
    """Resources that exist in the namespace of the one that is planned."""
    resources = [resource_of(stored(manifest)) for manifest in manifests]
    return {r.key: Referenced(r.spec, ready) for r in resources if r.spec}


def models(*, ready: bool = True) -> dict[Key, Referenced]:
    """The three models that the graph calls."""
    return known(ranker(), recaller(), intent(), ready=ready)


def features(*, ready: bool = True) -> dict[Key, Referenced]:
    """A store, three views and a bundle, and the model behind a derived one."""
    return known(feature_store(), activity(), segment(), last_intent(), bundle(), intent(), ready=ready)


def deployed(plan: Plan) -> dict[Key, Any]:
    """The children that a plan makes, with the UIDs that an API server gives."""
    return {
        key_of(m): {**m, "metadata": {**m["metadata"], "uid": f"{m['kind']}-uid", "resourceVersion": "12"}}
        for m in plan.manifests
    }


def planned_children(manifest: dict[str, Any], others: dict[Key, Referenced]) -> dict[str, dict[str, Any]]:
    """The manifests of a resource by kind."""
    plan = plan_for(resource_of(manifest), Observed(resources=others), PLATFORM)
    return {m["kind"]: m for m in plan.manifests}


def pod(plan: Plan, number: int = 0, **facts: Any) -> Pod:
    """A ready pod of the planned Deployment."""
    deployment = deployment_of(plan.manifests)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    env = {e["name"]: e["value"] for e in container.get("env", ())}
    name = deployment["metadata"]["name"]
    sound = Pod(
        name=f"{name}-{number}",
        namespace=deployment["metadata"]["namespace"],
        uid=f"pod-{number}",
        address=f"10.0.0.{number + 1}",
        ready=True,
        running=True,
        template=template_of(deployment),
        nudged=None,
        environment=env.get(CONFIG),
    )
    return replace(sound, **facts)


def settled_model(manifest: dict[str, Any] | None = None) -> Observed:
    """Two replicas serve what is wanted."""
    plan = plan_for(resource_of(manifest or model_resource()), Observed(), PLATFORM)
    return Observed(children=deployed(plan), pods=(pod(plan),))


def failing(manifest: dict[str, Any], reason: str = "DigestMismatch") -> Pod:
    """A pod of the manifest's own template that cannot start."""
    plan = plan_for(resource_of(manifest), Observed(), PLATFORM)
    failure = Failure(reason, "the artefact has SHA-256 ffff…, not 0123…")
    return pod(plan, 1, ready=False, running=False, failure=failure)


def settled_graph(
    manifest: dict[str, Any] | None = None, replicas: int = 2, others: Mapping[Key, Referenced] | None = None
) -> Observed:
    """Every replica confirms what is wanted."""
    manifest, resources = manifest or graph_resource(), {**models(), **(others or {})}
    plan = plan_for(resource_of(manifest), Observed(resources=resources), PLATFORM)
    revision = revision_of(plan)
    pods = tuple(pod(plan, number, serving=Serving(revision)) for number in range(replicas))
    return Observed(children=deployed(plan), pods=pods, resources=resources)


def asking_model(**spec: Any) -> dict[str, Any]:
    """A Python model that takes features of the customer for whom it is asked."""
    inputs = [column("cart", "array", "product"), column("household", "string")]
    asked = {"bundle": "customer-preference", "keys": {"customer_id": "household"}}
    return stored(recaller(inputs=inputs, features=asked, **spec))


def settled_store(manifest: dict[str, Any] | None = None) -> Observed:
    """The Redis is ready, and the ingest pod confirms what it is to feed."""
    manifest = manifest or stored(feature_store())
    plan = plan_for(resource_of(manifest), Observed(resources=features()), PLATFORM)
    config = kept_features(next(m for m in plan.manifests if m["kind"] == "ConfigMap")["data"])
    assert config is not None
    pods = [pod(replace(plan, manifests=(m,))) for m in plan.manifests if m["kind"] == "Deployment"]
    redis, ingest = (replace(p, component=p.name.split("-")[1]) for p in pods)
    confirming = replace(ingest, serving=Serving(config.revision))
    return Observed(children=deployed(plan), pods=(redis, confirming), resources=features(), report=report())


NOW = 1_795_600_000_000


def report(lag_ms: int = 40, **views: Fed) -> Report:
    """An ingest pod's: the stream has been fed for seven hours, the job has run an hour ago."""
    fed = {
        "customer-activity": Fed(NOW - 7 * 3_600_000, NOW - 40),
        "customer-segment": Fed(None, NOW - 3_600_000),
    }
    return Report(NOW, lag_ms, dead_letters=2, views={**fed, **views})


def revision_of(plan: Plan) -> str:
    config = kept(next(m for m in plan.manifests if m["kind"] == "ConfigMap")["data"])
    assert config is not None
    return config.graph.revision


def serving(manifest: dict[str, Any], before: Observed, rejected: str | None = None) -> Observed:
    """The ConfigMap has the manifest's revision; each pod serves it, or rejects it and serves the one before."""
    plan = plan_for(resource_of(manifest), before, PLATFORM)
    wanted = revision_of(plan)
    refusal = Rejection(wanted, rejected, "the catalogue has another digest") if rejected else None
    pods = tuple(
        replace(
            p,
            serving=Serving(p.serving.revision if refusal and p.serving else wanted, refusal),
            nudged=wanted,
        )
        for p in before.pods
    )
    return replace(before, children=deployed(plan), pods=pods)
