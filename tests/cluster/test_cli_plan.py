# SPDX-License-Identifier: Apache-2.0
"""`endcap plan` against a real API server: it tells the difference, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_server import ApiServer
from builders import changed, graph, intent, ranker, recaller, resource
from endcap_cluster import kubectl
from local_feature_runs import bundles, facts, sales

from endcap_cli.__main__ import main

CRDS = Path(__file__).parents[2] / "crds"
MODELS = [intent(), recaller(), ranker()]


class Shop:
    """A namespace, and files that are planned for it."""

    def __init__(self, server: ApiServer, folder: Path, namespace: str) -> None:
        self.server, self.folder, self.namespace = server, folder, namespace

    def plan(self, *manifests: dict[str, Any], status: int = 0) -> None:
        path = self.folder / "all.yaml"
        path.write_text(yaml.safe_dump_all(manifests))
        assert (
            main(["plan", str(path), "-n", self.namespace, "--kubeconfig", str(self.server.kubeconfig)])
            == status
        )

    def apply(self, *manifests: dict[str, Any], manager: str = "endcap") -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        flags = (
            "--server-side",
            f"--field-manager={manager}",
            f"--namespace={self.namespace}",
            "--filename=-",
        )
        kubectl.run(self.server.kubeconfig, "apply", *flags, stdin=json.dumps(listed))

    def carry_out(self, capsys: pytest.CaptureFixture[str], *manifests: dict[str, Any]) -> None:
        """What an operator would do: the children, each with its owner."""
        self.apply(*manifests, manager="kubectl")
        (self.folder / "all.yaml").write_text(yaml.safe_dump_all(manifests))
        capsys.readouterr()
        assert main(["plan", str(self.folder / "all.yaml"), "-n", self.namespace, "--offline"]) == 0
        children = list(yaml.safe_load_all(capsys.readouterr().out))
        for child in children:
            owner = child["metadata"]["ownerReferences"][0]
            owner["uid"] = self.uid(owner["kind"], owner["name"])
        self.apply(*children)

    def uid(self, kind: str, name: str) -> str:
        flags = (f"--namespace={self.namespace}", "--output=jsonpath={.metadata.uid}")
        return kubectl.run(self.server.kubeconfig, "get", kind, name, *flags)


@pytest.fixture
def shop(api_server: ApiServer, tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    flags = (f"--filename={CRDS}",)
    kubectl.run(api_server.kubeconfig, "apply", "--server-side", *flags)
    kubectl.run(api_server.kubeconfig, "wait", "--for=condition=Established", *flags)
    namespace = f"plan-{abs(hash(request.node.name)) % 10**8}"
    kubectl.run(api_server.kubeconfig, "create", "namespace", namespace)
    return Shop(api_server, tmp_path, namespace)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_what_is_not_there_is_created_and_nothing_is_written(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    since = shop.server.now()
    shop.plan(*MODELS, graph())
    told = lines(capsys)
    assert f"+ create InferenceGraph/basket in {shop.namespace}" in told
    assert f"+ create ConfigMap/basket-graph in {shop.namespace}" in told
    assert told[-1] == "17 to create, 0 to change, 0 to delete, 0 as wanted, 1 waiting"
    asked = shop.server.writes(since=since)
    assert asked
    assert [write.uri for write in asked if "dryRun=All" not in write.uri] == []


def test_what_is_as_wanted_is_only_counted(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.carry_out(capsys, *MODELS, graph())
    shop.plan(*MODELS, graph())
    assert lines(capsys) == ["0 to create, 0 to change, 0 to delete, 17 as wanted"]


def test_an_edit_shows_the_field_in_the_resource_and_in_the_configuration_inside(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.carry_out(capsys, *MODELS, graph())
    shop.plan(*MODELS, changed(graph(), "spec.steps[4].limit.max", 3))
    told = lines(capsys)
    start = told.index(f"~ change InferenceGraph/basket in {shop.namespace}")
    inside = told.index(f"~ change ConfigMap/basket-graph in {shop.namespace}")
    for place in (start, inside):
        following = [line.replace(" ", "") for line in told[place : place + 40]]
        assert "-max:2" in following
        assert "+max:3" in following


def test_an_autoscaler_that_is_no_longer_wanted_is_deleted(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    scaling = ranker(replicas={"min": 1, "max": 3})
    shop.carry_out(capsys, scaling)
    shop.plan(ranker())
    assert f"- delete HorizontalPodAutoscaler/basket-ranker-model in {shop.namespace}" in lines(capsys)


def test_models_that_only_the_cluster_has_are_counted_in(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.plan(graph())
    assert "nothing is made yet: ModelNotFound" in capsys.readouterr().out
    shop.apply(*MODELS, manager="kubectl")
    shop.plan(graph())
    assert f"+ create Deployment/basket-graph in {shop.namespace}" in lines(capsys)


def test_an_object_of_someone_else_is_not_taken(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "basket-graph"},
        "data": {"a": "b"},
    }
    shop.apply(*MODELS, theirs, manager="someone")
    shop.plan(*MODELS, graph(), status=1)
    assert any("NameTaken" in line for line in lines(capsys))


FEATURES = [resource("FeatureStore", "default", {}), sales(), facts(), bundles()[0]]
STEPS = graph()["spec"]["steps"]
LOOKUP = {"name": "item", "features": {"bundle": "product", "entity": "candidate.id"}}
RANK = {"name": "rank", "rank": {"by": "candidate.item.sold_1h"}}
RANKING = changed(graph(), "spec.steps", [*STEPS[:2], LOOKUP, RANK, *STEPS[3:]])


def test_features_are_planned_with_their_pods_and_the_secret_is_left_to_the_operator(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    since = shop.server.now()
    shop.plan(*MODELS, *FEATURES, RANKING)
    told = lines(capsys)
    for made in (
        "FeatureStore/default",
        "FeatureView/sales",
        "Deployment/default-store",
        "Deployment/default-ingest",
    ):
        assert f"+ create {made} in {shop.namespace}" in told
    secret = told.index(f"? wait Secret/default-store in {shop.namespace}")
    assert "made once, with a password of its own" in told[secret + 1]
    assert [write.uri for write in shop.server.writes(since=since) if "dryRun=All" not in write.uri] == []


def test_an_edit_of_a_view_shows_in_the_graph_that_reads_it(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.carry_out(capsys, *MODELS, *FEATURES, RANKING)
    shop.plan(*MODELS, *FEATURES, RANKING)
    assert lines(capsys)[-1].startswith("0 to create, 0 to change, 0 to delete, ")
    shop.plan(changed(sales(), "spec.features[0].windows", ["1h", "2h"]), RANKING)
    told = lines(capsys)
    assert f"~ change FeatureView/sales in {shop.namespace}" in told
    assert f"~ change ConfigMap/basket-graph in {shop.namespace}" in told
    assert "+ - 2h" in {" ".join(line.split()) for line in told}


def test_features_that_are_nowhere_are_waited_for(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.apply(*MODELS, manager="kubectl")
    shop.plan(RANKING)
    assert "nothing is made yet: FeatureBundleNotFound" in capsys.readouterr().out
    shop.apply(*FEATURES, manager="kubectl")
    shop.plan(RANKING)
    assert f"+ create Deployment/basket-graph in {shop.namespace}" in lines(capsys)


def test_features_of_a_namespace_are_listed(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.apply(*FEATURES, manager="kubectl")
    arguments = ["-n", shop.namespace, "--kubeconfig", str(shop.server.kubeconfig)]
    assert main(["features", "list", *arguments, "--feature", "revenue"]) == 0
    assert [line.split()[0] for line in lines(capsys)] == ["FEATURE", "revenue_1h"]
