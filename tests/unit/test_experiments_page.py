# SPDX-License-Identifier: Apache-2.0
"""What the page of experiments says: its YAML is sound, and it leaves no phase, verdict, reason or column out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from builders import changed, feature_store, graph, intent, ranker, recaller

from endcap_api.assigner import Reason
from endcap_api.v1alpha1.kinds import EXPERIMENT
from endcap_api.v1alpha1.status import Phase
from endcap_cli.__main__ import main
from endcap_operator.analysis.look import Kind

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "experiments.md").read_text(encoding="utf-8")


def blocks() -> list[dict[str, Any]]:
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def experiments() -> Iterator[Any]:
    """The whole one, and with it each part that the page shows of others."""
    whole, *parts = blocks()
    yield pytest.param(whole, id="whole")
    for part in parts:
        spec = {**whole["spec"], **part}
        if part.get("mode") == "shadow":
            spec = {k: v for k, v in spec.items() if k in ("graph", "step", "unit", "mode", "variants")}
        yield pytest.param({**whole, "spec": spec}, id=", ".join(part))


@pytest.mark.parametrize("experiment", list(experiments()))
def test_its_yaml_is_sound(
    experiment: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = changed(graph(), "spec.api.request.customer", {"type": "string"})
    manifests = [
        feature_store(),
        intent(),
        recaller(),
        ranker(),
        ranker("basket-ranker-v2"),
        shop,
        experiment,
    ]
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump_all(manifests))
    assert main(["validate", str(tmp_path / "shop.yaml")]) == 0, capsys.readouterr().out
    assert capsys.readouterr().err == ""


def test_the_columns_are_those_of_kubectl() -> None:
    head = next(line for line in PAGE.splitlines() if line.startswith("NAME "))
    columns = [column.name.upper() for column in EXPERIMENT.columns if not column.priority]
    assert head.split() == ["NAME", *columns]


@pytest.mark.parametrize("word", [*get_args(Phase), *get_args(Kind), *set(get_args(Reason)) - {"shadowed"}])
def test_every_phase_verdict_and_reason_is_explained(word: str) -> None:
    assert re.search(rf"\b{word}\b", PAGE)


def test_its_links_lead_somewhere() -> None:
    for page, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", PAGE):
        target = DOCS / page if page else DOCS / "experiments.md"
        assert target.exists(), page
        if anchor:
            heads = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in {head.lower().replace(" ", "-") for head in heads}, anchor
