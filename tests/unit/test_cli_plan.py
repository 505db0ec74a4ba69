# SPDX-License-Identifier: Apache-2.0
"""`endcap plan --offline`: the operator's manifests, without a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import changed, graph, intent, ranker, recaller

from endcap_cli.__main__ import main


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([intent(), recaller(), ranker(), graph()]))
    return tmp_path


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["plan", "--offline", *arguments]) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))


def test_every_child_is_printed_as_it_would_be_applied(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifests = planned(capsys, str(files))
    names = {f"{m['kind']}/{m['metadata']['name']}" for m in manifests}
    assert "Deployment/basket-ranker-model" in names
    assert "ConfigMap/basket-graph" in names
    assert len(manifests) == 3 * 3 + 4
    config = next(m for m in manifests if m["kind"] == "ConfigMap")
    assert set(json.loads(config["data"]["graph.json"])["models"]) == {
        "basket-ranker",
        "item-cooccurrence",
        "micro-intent",
    }


def test_namespace_and_images_are_those_that_were_asked_for(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifests = planned(capsys, str(files), "-n", "shop", "--images", "graph=mine/graph:1")
    assert {m["metadata"]["namespace"] for m in manifests} == {"shop"}
    deployment = next(m for m in manifests if m["kind"] == "Deployment" and "graph" in m["metadata"]["name"])
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "mine/graph:1"


def test_a_graph_without_its_models_makes_nothing_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "graph.yaml").write_text(yaml.safe_dump(graph()))
    assert main(["plan", "--offline", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nothing is made yet: ModelNotFound" in captured.err


def test_what_is_not_valid_is_not_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(changed(ranker(), "spec.framework", "keras")))
    assert main(["plan", "--offline", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "spec.framework: is not a value that this field takes" in captured.err
    assert captured.err.endswith("endcap: 1 problem: nothing was done\n")


def test_unreadable_images_are_wrong_usage(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--offline", str(files), "--images", "keras=x"]) == 2
    assert "write python=" in capsys.readouterr().err


def test_a_cluster_that_does_not_answer_is_one_line(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
    }
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    assert main(["plan", str(files), "--kubeconfig", str(kubeconfig)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("endcap: the cluster at http://127.0.0.1:1 cannot be reached: ")
    assert main(["plan", str(files), "--kubeconfig", str(tmp_path / "none")]) == 1
    error = capsys.readouterr().err
    assert f"endcap: kubeconfig: {tmp_path}/none: " in error
    assert "--offline" in error
