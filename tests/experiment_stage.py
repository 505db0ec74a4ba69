# SPDX-License-Identifier: Apache-2.0
"""A namespace in memory with an experiment, its graph, models and store: planned, written and served step by step.

What a cluster does between two plans is done here by hand, so a test can stop it at any write.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from builders import feature_store, graph
from experiment_builders import experiment, models_of_variants
from situations import NOW, PLATFORM

from endcap_api.assignment import Ranges
from endcap_api.experiment_config import (
    ExperimentConfig,
    ExperimentServing,
    ExperimentSums,
    Latency,
    ServingPage,
    Sums,
    VariantServing,
    VariantSums,
)
from endcap_api.runtime_config import GraphConfig, ModelConfig, version_of
from endcap_operator.keys import Key, key_of
from endcap_operator.manifests.identity import Identity
from endcap_operator.manifests.model import CONFIG
from endcap_operator.plan.entry import plan_for, resource_of
from endcap_operator.plan.experiment.record import Record
from endcap_operator.plan.facts import Measured, Observed, Plan, Reading, Referenced
from endcap_operator.plan.pods import Pod, Serving
from endcap_operator.plan.rollout import template_of
from endcap_operator.status import reported

GRAPH = Key("InferenceGraph", "shop", "basket")


@dataclass
class Stage:
    """`resources` as the API server has them, with their status; `children` by owner; `replicas` are the graph's pods.

    `served` is what each replica serves; `reading` is what the next look finds. `counted` says whether the store
    counts what it is told of, `ready` whether the graph answers.
    """

    resources: dict[Key, dict[str, Any]] = field(default_factory=dict)
    children: dict[Key, dict[Key, Any]] = field(default_factory=dict)
    served: list[Serving | None] = field(default_factory=lambda: [Serving(None)] * 3)
    counted: bool = True
    ready: bool = True
    reading: Reading | None = None
    now_ms: int = NOW
    events: list[str] = field(default_factory=list)
    patches: list[Any] = field(default_factory=list)
    writes: int = 0

    def apply(self, manifest: dict[str, Any]) -> Key:
        """As kubectl does it: another spec is another generation."""
        key = Key(manifest["kind"], "shop", manifest["metadata"]["name"])
        before = self.resources.get(key, {})
        known = before.get("metadata", {"generation": 0, "uid": f"uid-{key.name}-{len(self.resources)}"})
        changed = before.get("spec") != manifest["spec"]
        metadata = {
            **known,
            **manifest["metadata"],
            "namespace": "shop",
            "resourceVersion": "1",
            "generation": known["generation"] + changed,
            "creationTimestamp": known.get(
                "creationTimestamp", f"2026-11-24T08:00:{len(self.resources):02}Z"
            ),
        }
        self.resources[key] = {**before, **copy.deepcopy(manifest), "metadata": metadata}
        return key

    def delete(self, key: Key) -> None:
        self.resources.pop(key)
        self.children.pop(key, None)

    def model_serves(self, name: str, *, ready: bool = True) -> None:
        """The model's pods run what its Deployment says."""
        key = Key("ModelDeployment", "shop", name)
        config = self.deployed(name)
        status = {"version": version_of(config.artefact.uri), "sha256": config.artefact.sha256}
        self.resources[key]["status"] = {**self.resources[key].get("status", {}), **status, "ready": ready}

    def model(self, name: str) -> Key:
        return Key("ModelDeployment", "shop", name)

    def deployed(self, name: str) -> ModelConfig:
        key = Key("ModelDeployment", "shop", name)
        deployment = next(m for k, m in self.children[key].items() if k.kind == "Deployment")
        env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        return ModelConfig.model_validate_json(next(v["value"] for v in env if v["name"] == CONFIG))

    def plan(self, key: Key) -> Plan:
        return plan_for(resource_of(self.resources[key]), self.observed(key), PLATFORM)

    def observed(self, key: Key) -> Observed:
        others = {
            k: self._referenced(k, m)
            for k, m in self.resources.items()
            if k != key or key.kind == "Experiment"
        }
        return Observed(
            children=self.children.get(key, {}),
            pods=tuple(self._routers()) if key == GRAPH else (),
            resources={k: other for k, other in others.items() if other is not None},
            measured=self._measured(key) if key.kind == "Experiment" else Measured(),
            now_ms=self.now_ms,
        )

    def _referenced(self, key: Key, manifest: dict[str, Any]) -> Referenced | None:
        resource, status = resource_of(manifest), manifest.get("status", {})
        if resource.spec is None:
            return None
        ready = self.ready if key == GRAPH else status.get("ready", key.kind != "ModelDeployment")
        return Referenced(
            resource.spec,
            ready,
            version=status.get("version"),
            sha256=status.get("sha256"),
            uid=manifest["metadata"]["uid"],
            created=manifest["metadata"]["creationTimestamp"],
            record=self.data(key).get("record.json"),
        )

    def _measured(self, key: Key) -> Measured:
        status = self.resources[key].get("status", {})
        return Measured(
            routers=tuple(self._routers()),
            told=self.data(GRAPH),
            status=status,
            counted=self.counted,
            reading=self.reading,
            look_in=30.0,
        )

    def _routers(self) -> Iterator[Pod]:
        identity = Identity("InferenceGraph", "shop", "basket", "")
        deployment = self.children.get(GRAPH, {}).get(identity.key("Deployment"))
        for number, serving in enumerate(self.served):
            name = f"{identity.child}-{number}"
            yield Pod(
                name=name,
                namespace="shop",
                uid=name,
                address="10.0.0.1",
                ready=True,
                running=True,
                template=template_of(deployment) if deployment else None,
                nudged=None,
                serving=serving,
                component="graph",
            )

    def data(self, key: Key) -> dict[str, str]:
        maps = [m for k, m in self.children.get(key, {}).items() if k.kind == "ConfigMap"]
        return dict(maps[0]["data"]) if maps else {}

    def write(self, key: Key, plan: Plan, most: int | None = None) -> bool:
        """Do what a plan says, at most so many writes of it; whether anything changed."""
        done = 0
        for manifest in plan.manifests:
            uid = {"uid": f"{manifest['kind']}-uid", "resourceVersion": "1"}
            live = {**manifest, "metadata": {**manifest["metadata"], **uid}}
            if self.children.get(key, {}).get(key_of(manifest)) != live and (most is None or done < most):
                self.children.setdefault(key, {})[key_of(manifest)] = live
                done += 1
        if most is not None and done >= most:
            self.writes += done
            return bool(done)
        before = self.resources[key].get("status", {})
        planned = reported(plan.status, before, datetime.fromtimestamp(self.now_ms // 1000, UTC))
        status = {**{n: before[n] for n in ("ready", "version", "sha256") if n in before}, **planned}
        if key.kind != "ModelDeployment" and before != status:
            self.resources[key]["status"] = copy.deepcopy(status)
            done += 1
        self.events += [f"{event.reason}: {event.note}" for event in plan.events]
        self.patches += [plan.patch] if plan.patch else []
        self.writes += done
        return bool(done)

    def settle(self, *, serve: bool = True, rounds: int = 40) -> None:
        """Plan and write everything until nothing changes; the graph's pods serve what they are told."""
        for _ in range(rounds):
            changed = [self.write(key, self.plan(key)) for key in list(self.resources)]
            if serve:
                changed.append(self.pods_follow())
            self.reading = None
            if not any(changed):
                return
        raise AssertionError(f"no end to it: {self.events[-5:]}")

    def pods_follow(self) -> bool:
        config = self.graph_config
        carried = {name: each.revision for name, each in (config.experiments or {}).items()}
        now = [Serving(config.revision, experiments=carried)] * len(self.served)
        before, self.served = self.served, list(now)
        return before != self.served

    @property
    def graph_config(self) -> GraphConfig:
        return GraphConfig.model_validate_json(self.data(GRAPH)["graph.json"])

    def carried(self, name: str = "ranker-v2") -> ExperimentConfig | None:
        return (self.graph_config.experiments or {}).get(name)

    def key(self, name: str = "ranker-v2") -> Key:
        return Key("Experiment", "shop", name)

    def status(self, name: str = "ranker-v2") -> dict[str, Any]:
        return dict(self.resources[self.key(name)]["status"])

    def record(self, name: str = "ranker-v2") -> Record:
        return Record.model_validate_json(self.data(self.key(name))["record.json"])

    def condition(self, kind: str, name: str = "ranker-v2") -> dict[str, Any]:
        return next((c for c in self.status(name)["conditions"] if c["type"] == kind), {})

    def passes(self, seconds: float) -> None:
        self.now_ms += int(1000 * seconds)

    def look(self, reading: Reading) -> None:
        """Let the next look find this, and see what follows."""
        self.passes(30)
        self.reading = reading
        self.settle()

    def patched(self, operations: list[dict[str, Any]]) -> None:
        """Run a JSON patch against the graph, as the API server does."""
        spec = copy.deepcopy(self.resources[GRAPH])
        for operation in operations:
            _operate(spec, operation)
        self.apply({name: spec[name] for name in ("apiVersion", "kind", "metadata", "spec")})


def _operate(document: Any, operation: dict[str, Any]) -> None:
    *parents, last = operation["path"].strip("/").split("/")
    holder = document
    for part in parents:
        holder = holder[int(part)] if isinstance(holder, list) else holder[part]
    if operation["op"] == "test":
        assert holder[last] == operation["value"], operation
    elif operation["op"] == "remove":
        del holder[last]
    else:
        holder[last] = operation["value"]


def staged(*experiments: dict[str, Any]) -> Stage:
    """The graph of `builders` with all models ready, and experiments that have not been seen yet."""
    stage = Stage()
    needed = ("micro-intent", "item-cooccurrence", "basket-ranker", "ranker-v2", "margin-ranker")
    models = [manifest for manifest in models_of_variants() if manifest["metadata"]["name"] in needed]
    for manifest in (*models, feature_store(), graph()):
        stage.apply(manifest)
    stage.settle()
    for key in stage.resources:
        if key.kind == "ModelDeployment":
            stage.model_serves(key.name)
    for manifest in experiments or (experiment(),):
        stage.apply(manifest)
    return stage


def running(**spec: Any) -> Stage:
    """The split of `experiment_builders`, seen and carried."""
    stage = staged(experiment(**spec))
    stage.settle()
    return stage


def ranges_of(stage: Stage) -> dict[str, Ranges]:
    return stage.record().allotted


def counted(stage: Stage, *units: int, name: str = "ranker-v2", **metrics: Any) -> Reading:
    """Sums of so many units for each variant of the epoch that runs; of each metric for all variants or for each."""
    record = stage.record(name)
    variants = dict(zip(record.ranges, units, strict=True))
    sums = {
        variant: VariantSums(units=count, metrics={n: _of(variant, each) for n, each in metrics.items()})
        for variant, count in variants.items()
    }
    found = ExperimentSums(
        id=record.id, at_ms=stage.now_ms, newest_ms=stage.now_ms, epochs={str(record.epoch): sums}
    )
    return Reading(found, (ServingPage(window_ms=60_000),))


def _of(variant: str, each: Sums | dict[str, Sums]) -> Sums:
    return each[variant] if isinstance(each, dict) else each


def converted(units: int, buyers: int) -> Sums:
    """Of a conversion."""
    return Sums(y=buyers, yy=buyers)


def pods_fail(stage: Stage, *, errors: int, name: str = "ranker-v2") -> Reading:
    """Each replica saw so many failures of the treatment among 1,000 requests of each variant."""
    record, latency = stage.record(name), Latency(counts=[0] * 60 + [1000])
    variants = {
        variant: VariantServing(
            requests=1000, served=1000, errors=errors * (variant == "treatment"), latency=latency
        )
        for variant in record.ranges
    }
    serving = ExperimentServing(id=record.id, revision=record.revision, variants=variants)
    page = ServingPage(window_ms=60_000, experiments={name: serving})
    return Reading(None, (page,) * len(stage.served))
