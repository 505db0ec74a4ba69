# SPDX-License-Identifier: Apache-2.0
"""`endcap validate` on features: stores, views, bundles and those that name them, across files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import changed, column, ranker, resource
from local_feature_runs import FeatureFolder, bundles, facts, sales, shown

from endcap_cli.__main__ import main

STORE = resource("FeatureStore", "default", {})


@pytest.fixture
def folder(tmp_path: Path) -> FeatureFolder:
    return FeatureFolder(tmp_path)


def validated(capsys: pytest.CaptureFixture[str], *paths: Path, status: int = 1) -> tuple[list[str], str]:
    """The lines of problems, without the summary, and what was said beside them."""
    capsys.readouterr()
    assert main(["validate", *map(str, paths)]) == status
    captured = capsys.readouterr()
    return captured.out.splitlines()[:-1], captured.err


def test_a_folder_with_features_is_sound(folder: FeatureFolder, capsys: pytest.CaptureFixture[str]) -> None:
    lines, said = validated(capsys, folder.path, status=0)
    assert lines == []
    assert "not in these files" not in said


def test_features_that_only_the_cluster_may_have_are_said_and_no_problem(
    folder: FeatureFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [folder.path / "graph.yaml", folder.path / "models.yaml"]
    _, said = validated(capsys, *files, status=0)
    named = "FeatureBundle customer, FeatureBundle product, FeatureView shown"
    assert f"InferenceGraph/basket names {named}, not in these files" in said


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        (
            "bundle",
            ("spec.features[2].view", "fact"),
            "no FeatureView fact in these files: did you mean facts?",
        ),
        ("bundle", ("spec.features[0].feature", "solt"), "spec.features[0].feature: "),
        ("bundle", ("spec.features[0].window", "2h"), "spec.features[0].window: "),
        (
            "view",
            ("spec.store", "defalt"),
            "no FeatureStore defalt in these files: did you mean default?",
        ),
        ("view", ("spec.features[0].windows[0]", "90x"), "write it as 5m or 24h"),
        ("graph", ("spec.steps[2].features.bundle", "custome"), "did you mean customer?"),
        ("graph", ("spec.steps[4].rank.by", "candidate.item.solt_1h"), "candidate.item.sold_1h"),
        (
            "graph",
            ("spec.writeBack[0].view", "shwn"),
            "no FeatureView shwn in these files: did you mean shown?",
        ),
        ("graph", ("spec.writeBack[0].features", {"last_products": "answer.scores"}), "last_products"),
    ],
)
def test_a_name_that_is_wrong_is_a_problem_of_the_one_that_names_it(
    folder: FeatureFolder, capsys: pytest.CaptureFixture[str], kind: str, change: tuple[str, Any], words: str
) -> None:
    if kind == "graph":
        folder.change_graph(*change)
    elif kind == "bundle":
        folder.bundles["product"] = changed(folder.bundles["product"], *change)
    else:
        folder.views["sales"] = changed(folder.views["sales"], *change)
    folder.write()
    lines, _ = validated(capsys, folder.path)
    file = "graph.yaml" if kind == "graph" else "features.yaml"
    matching = [line for line in lines if words in line]
    assert matching, lines
    assert matching[0].startswith(f"{folder.path / file}:")
    name = {"graph": "InferenceGraph/basket", "bundle": "FeatureBundle/product", "view": "FeatureView/sales"}
    assert f": {name[kind]}: " in matching[0]


def test_a_view_that_is_wrong_itself_makes_no_further_problems(
    folder: FeatureFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.views["sales"] = changed(folder.views["sales"], "spec.ttl", "soon")
    folder.write()
    lines, said = validated(capsys, folder.path)
    assert len(lines) == 1
    assert "FeatureView/sales: spec.ttl: a span of time" in lines[0]
    assert "not in these files" not in said


def test_a_bundle_over_two_entities_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = changed(bundles()[0], "spec.features[3]", {"view": "shown", "feature": "last_products"})
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all([STORE, sales(), facts(), shown(), both]))
    lines, _ = validated(capsys, path)
    assert len(lines) == 1
    assert "FeatureBundle/product: spec.features[3]" in lines[0]


def test_a_model_is_checked_against_its_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ranker(
        inputs=[column("price"), column("item", "string")],
        preprocess={"python": "hook:columns"},
        features={"bundle": "product", "keys": {"product": "item"}},
    )
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all([STORE, sales(), facts(), bundles()[0], asked]))
    lines, _ = validated(capsys, path)
    assert "ModelDeployment/basket-ranker: spec.features.keys.product: is no key" in lines[0]
    sound = changed(asked, "spec.features.keys", {"product_id": "item"})
    path.write_text(yaml.safe_dump_all([STORE, sales(), facts(), bundles()[0], sound]))
    assert validated(capsys, path, status=0)[0] == []


def test_features_of_another_namespace_are_not_those_of_the_graph(
    folder: FeatureFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.bundles["product"]["metadata"]["namespace"] = "other"
    folder.write()
    lines, said = validated(capsys, folder.path, status=0)
    assert lines == []
    assert "InferenceGraph/basket names FeatureBundle product, not in these files" in said
