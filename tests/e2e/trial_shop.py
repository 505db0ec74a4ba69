# SPDX-License-Identifier: Apache-2.0
"""A shop with an experiment on real pods: the example of an A/B test with three graph replicas, in its own namespace.

Needs what `make demo` leaves: the cluster with the operator installed and the example's artefacts in its store.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import yaml
from basket_shop import _within_reach, kubeconfig
from builders import changed
from endcap_cluster.layout import KUBECONFIG
from kube import Client, condition, eventually
from live_shop import PORT, SMALL, LiveShop
from shoppers import Answer, ask_all

from endcap_api.assigner import Assigner, Unit
from endcap_api.assignment import Ranges, allocate, quotas
from endcap_api.experiment_config import Assigned, experiment_config
from endcap_api.v1alpha1.experiment import ExperimentSpec

EXAMPLE = Path(__file__).parents[2] / "examples" / "03-ab-test"
FILES = ("models.yaml", "features.yaml", "graph.yaml")
NAMESPACE = "e2e-trial"
SYSTEM = "endcap-system"
GRAPH, EXPERIMENT = "last-call", "ranker-v2"
REPLICAS = 3
SECONDS = 20.0  # ten times the goal

Told = dict[str, Any]


def example() -> dict[tuple[str, str], dict[str, Any]]:
    """The example's resources by kind and name, three graph replicas, small enough to fit beside the demo."""
    texts = [(EXAMPLE / name).read_text() for name in FILES]
    found = {(m["kind"], m["metadata"]["name"]): m for text in texts for m in yaml.safe_load_all(text)}
    for (kind, _), manifest in found.items():
        if kind in ("ModelDeployment", "InferenceGraph"):
            manifest["spec"].setdefault("resources", {}).update(SMALL)
    found["InferenceGraph", GRAPH]["spec"]["replicas"] = {"min": REPLICAS}
    store = found["FeatureStore", "default"]["spec"]
    store["embedded"]["resources"] = store.setdefault("ingest", {})["resources"] = SMALL
    return found


def experiment(**spec: Any) -> dict[str, Any]:
    """The example's experiment without guardrails, with other fields of the spec where they are given."""
    manifest: dict[str, Any] = yaml.safe_load((EXAMPLE / "experiment.yaml").read_text())
    del manifest["spec"]["guardrails"]
    # No verdict of its own accord: a test decides when it ends.
    manifest["spec"]["analysis"] = {"interval": "5s", "minimumUnits": 1_000_000}
    manifest["spec"] |= spec
    return manifest


def weighted(control: int, treatment: int, **spec: Any) -> dict[str, Any]:
    manifest = experiment(**spec)
    for place, weight in enumerate((control, treatment)):
        manifest = changed(manifest, f"spec.variants[{place}].weight", weight)
    return manifest


def request(unit: str) -> dict[str, Any]:
    return {"customer": unit, "cart": ["Milk", "Bananas"], "store": "330", "limit": 3}


def units(count: int) -> list[str]:
    return [f"unit-{number}" for number in range(count)]


def ranges(manifest: Mapping[str, Any], before: Mapping[str, Ranges] | None = None) -> dict[str, Ranges]:
    """Who owns which buckets by the library: at first, or after those before."""
    weights = {variant["name"]: variant["weight"] for variant in manifest["spec"]["variants"]}
    return allocate(quotas(weights), before)


def expected(
    manifest: Mapping[str, Any], owned: Mapping[str, Ranges], who: Sequence[str], coverage: float = 100
) -> dict[str, str | None]:
    """The variant of each unit by the library; None for one that takes no part."""
    spec = ExperimentSpec.model_validate(manifest["spec"])
    assigned = Assigned("id", 1, 1, "Running", owned, coverage)
    assigner = Assigner(experiment_config(manifest["metadata"]["name"], spec, assigned))
    decided = {unit: assigner.decide(Unit(unit, "customer")) for unit in who}
    return {unit: one.variant if one.reason == "assigned" else None for unit, one in decided.items()}


def told(answer: Answer) -> Told:
    """What an answer says of the experiment; nothing where there is none."""
    return dict(answer.body.get("experiments", {}).get(EXPERIMENT, {}))


def variant(answer: Answer) -> str | None:
    """The variant to which the request was assigned; None where it takes no part."""
    said = told(answer)
    return said["variant"] if said.get("reason") == "assigned" else None


def served(answer: Answer) -> str | None:
    """The variant that served the request."""
    said = told(answer)
    return said.get("served", said.get("variant"))


@dataclass(frozen=True)
class TrialShop(LiveShop):
    """A namespace with the example in it."""

    namespace: str = NAMESPACE

    @property
    def graph(self) -> str:
        return self.at(GRAPH)

    def open_whole(self) -> None:
        for manifest in example().values():
            self.apply(manifest)
        self.whole()

    def whole(self) -> None:
        """Wait until everything is as the example says, and an answer comes from every step."""
        for kind, name in example():
            self.says(kind, name, "Valid" if kind == "FeatureView" else "Ready", status="True")
        self.says("InferenceGraph", GRAPH, "Progressing", reason="Complete")
        eventually(lambda: len(self.ready_pods(f"{GRAPH}-graph")) == REPLICAS, "three replicas", 120)
        eventually(self.contributes, "an answer to which every step contributed", 60)

    def contributes(self) -> bool:
        try:
            return self.ask(GRAPH, request("anybody"))["degraded"] == []
        except httpx.TransportError:
            return False

    # --- the experiment

    @property
    def state(self) -> dict[str, Any]:
        return self.status("Experiment", EXPERIMENT)

    @property
    def record(self) -> dict[str, Any]:
        """What has been decided, as the operator keeps it."""
        found = self.get("ConfigMap", f"{EXPERIMENT}-experiment")
        return dict(json.loads(found["data"]["record.json"]))

    def says_of_it(self, about: str, **wanted: str) -> dict[str, Any]:
        return self.says("Experiment", EXPERIMENT, about, 120, **wanted)

    def reaches(self, phase: str, seconds: float = 60) -> None:
        try:
            eventually(lambda: self.state.get("phase") == phase, f"phase {phase}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps(self.state)}") from None

    def begin(self, manifest: dict[str, Any], phase: str = "Running") -> None:
        """Anew, until every replica serves it."""
        self.stop()
        self.apply(manifest)
        self.reaches(phase, 120)
        self.routed()

    def stop(self) -> None:
        """Delete it, until no replica serves it."""
        if self.get("Experiment", EXPERIMENT):
            self.client.delete("Experiment", self.namespace, EXPERIMENT)
        eventually(lambda: not self.get("Experiment", EXPERIMENT), "the experiment is gone", 60)
        eventually(lambda: self.revisions_of_it() == [None] * REPLICAS, "no replica serves it", 60)

    def routed(self) -> None:
        """Every replica serves the revision that the record says."""
        eventually(self.is_routed, "every replica serves it", SECONDS)

    def is_routed(self) -> bool:
        return self.revisions_of_it() == [self.record["revision"]] * REPLICAS

    def revisions_of_it(self) -> list[int | None]:
        """What each ready graph pod says that it serves, asked directly."""
        addresses = [pod["status"]["podIP"] for pod in self.ready_pods(f"{GRAPH}-graph")]

        async def ask(http: aiohttp.ClientSession, address: str) -> int | None:
            async with http.get(f"http://{address}:{PORT}/-/revision") as answer:
                found: dict[str, int] = (await answer.json()).get("experiments") or {}
                return found.get(EXPERIMENT)

        async def all_of() -> list[int | None]:
            async with aiohttp.ClientSession() as http:
                return list(await asyncio.gather(*(ask(http, address) for address in addresses)))

        return asyncio.run(all_of())

    def assignments(self, who: Sequence[str]) -> dict[str, str | None]:
        """The variant of each unit, asked through the Service; every request must have an answer."""
        answers = ask_all(self.graph, [request(unit) for unit in who])
        failed = [answer for answer in answers if not answer.ok]
        assert failed == [], f"{len(failed)} failed, the first: {failed[0]}"
        return {unit: variant(answer) for unit, answer in zip(who, answers, strict=True)}

    def sums(self) -> dict[str, Any]:
        """What ingest has counted of it."""
        found = httpx.get(f"{self.ingest}/v1/experiments/{self.record['id']}", timeout=10)
        assert found.status_code == 200, found.text
        return dict(found.json())

    def counted(self) -> dict[str, int]:
        """Units by variant, over all epochs."""
        count: dict[str, int] = {}
        for epoch in self.sums()["epochs"].values():
            for name, one in epoch.items():
                count[name] = count.get(name, 0) + one["units"]
        return count

    # --- faults

    def operator_pods(self) -> list[dict[str, Any]]:
        return [p for p in self.client.items("Pod", SYSTEM) if "deletionTimestamp" not in p["metadata"]]

    def kill_operator(self) -> None:
        """At once: no grace, as if its node had gone."""
        for pod in self.operator_pods():
            path = self.client.path("Pod", SYSTEM, pod["metadata"]["name"])
            self.client.send("DELETE", path, params={"gracePeriodSeconds": "0"})

    def operator_is_back(self) -> None:
        def ready() -> bool:
            found = self.operator_pods()
            return bool(found) and all(condition(pod, "Ready").get("status") == "True" for pod in found)

        eventually(ready, "the operator runs again", 120)


@pytest.fixture(scope="module")
def trial() -> Iterator[TrialShop]:
    """The example, whole, without its experiment; the namespace goes unless ENDCAP_E2E_KEEP is set."""
    _within_reach()
    if kubeconfig() != KUBECONFIG:
        pytest.skip("kills processes of pods, which are on this machine only in the embedded cluster")
    client = Client(kubeconfig())
    shop = TrialShop(client)
    shop.open()
    shop.open_whole()
    yield shop
    if not os.environ.get("ENDCAP_E2E_KEEP"):
        client.send("DELETE", f"api/v1/namespaces/{NAMESPACE}")
    client.close()
