# SPDX-License-Identifier: Apache-2.0
"""`endcap validate` on experiments: against their graph, models and store, and against each other, across files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import changed, feature_store, graph
from experiment_builders import experiment, measured, models_of_variants, shadow
from experiment_refusals import OVERLAYS
from refusal import Refusal

from endcap_cli.__main__ import main

SHOP = [*models_of_variants(), graph(), feature_store()]


def validated(
    path: Path, capsys: pytest.CaptureFixture[str], *manifests: dict[str, Any], status: int = 1
) -> tuple[list[str], str]:
    """The lines of problems, without the summary, and what was said beside them; a file a manifest."""
    for number, manifest in enumerate(manifests):
        (path / f"{number:02}.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    assert main(["validate", str(path)]) == status, capsys.readouterr().out
    captured = capsys.readouterr()
    return captured.out.splitlines()[:-1], captured.err


@pytest.mark.parametrize("sound", [experiment(), measured(), shadow()], ids=["split", "measured", "shadow"])
def test_a_sound_experiment_is_no_problem(
    sound: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, said = validated(tmp_path, capsys, *SHOP, sound, status=0)
    assert (lines, said) == ([], "")


@pytest.mark.parametrize("bad", OVERLAYS, ids=lambda bad: bad.name)
def test_what_does_not_fit_its_graph_is_one_line_with_field_and_remedy(
    bad: Refusal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, _ = validated(tmp_path, capsys, *SHOP, bad.manifest)
    name = f"Experiment/{bad.manifest['metadata']['name']}: {bad.field}"
    assert [line for line in lines if name in line and bad.words in line and bad.ours in line], lines


def test_a_problem_points_to_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = changed(experiment(), "spec.unit", ["request.household", "request.cart"])
    (line,), _ = validated(tmp_path, capsys, *SHOP, bad)
    text = yaml.safe_dump(bad, sort_keys=False).splitlines()
    number = 1 + next(place for place, one in enumerate(text) if "request.cart" in one)
    assert line.startswith(f"{tmp_path}/{len(SHOP):02}.yaml:{number}: Experiment/ranker-v2: spec.unit[1]: ")


def test_what_only_the_cluster_may_have_is_said_and_no_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, said = validated(tmp_path, capsys, measured(), status=0)
    assert "calls ranker-v2 and names FeatureStore default, InferenceGraph basket, not in these files" in said


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("spec.graph", "baskt", "spec.graph: no InferenceGraph baskt in these files: did you mean basket?"),
        ("spec.store", "defalt", "spec.store: no FeatureStore defalt in these files: did you mean default?"),
        ("spec.variants[1].model", "rankr-v2", "no ModelDeployment rankr-v2 in these files: did you mean"),
    ],
)
def test_a_misspelt_name_is_one_problem_with_the_one_that_was_meant(
    field: str, value: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, _ = validated(tmp_path, capsys, *SHOP, changed(measured(), field, value))
    assert len(lines) == 1
    assert words in lines[0]


def in_layer(name: str, *buckets: str, **spec: Any) -> dict[str, Any]:
    return experiment(name, layer={"name": "home", "buckets": list(buckets)}, **spec)


def test_two_on_one_step_are_told_apart_by_a_layer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,), _ = validated(tmp_path, capsys, *SHOP, experiment("a"), experiment("b"))
    assert (
        "Experiment/b: spec.layer: experiment a is on step rank of graph basket too: put both into one"
        in line
    )
    apart = [in_layer("a", "0-5000"), in_layer("b", "5000-10000")]
    assert validated(tmp_path, capsys, *SHOP, *apart, status=0)[0] == []


def test_buckets_of_a_layer_that_meet_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = [in_layer("a", "0-5000"), in_layer("b", "4999-10000", step="intent")]
    lines, _ = validated(tmp_path, capsys, *SHOP, *both)
    assert any(
        "Experiment/b: spec.layer.buckets" in line and "meets 0-5000 of experiment a" in line
        for line in lines
    )


def test_one_that_is_not_enabled_or_elsewhere_is_in_nobodys_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paused = experiment("b", enabled=False)
    elsewhere = changed(experiment("c"), "metadata.namespace", "other")
    lines, said = validated(tmp_path, capsys, *SHOP, experiment("a"), paused, elsewhere, status=0)
    assert lines == []
    assert "Experiment/c" in said, "of the other namespace nothing else is here"


def test_an_experiment_that_is_wrong_itself_is_in_nobodys_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, _ = validated(
        tmp_path, capsys, *SHOP, changed(experiment("a"), "spec.mode", "canary"), experiment("b")
    )
    assert len(lines) == 1
    assert "Experiment/a: spec.mode" in lines[0]
