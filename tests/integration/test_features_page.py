# SPDX-License-Identifier: Apache-2.0
"""docs/features.md, typed off: its files are sound, and its commands print what it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from local_feature_runs import FeatureRun
from local_runs import Folder

from endcap_api.v1alpha1.steps import Step
from endcap_cli.__main__ import main

PAGE = (Path(__file__).parents[2] / "docs" / "features.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


class Shop(Folder):
    """The folder of the page; nothing is written but what stands there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "features.yaml").write_text(blocks("yaml")[0], encoding="utf-8")


def session() -> list[tuple[list[str], str]]:
    """Each command of the page, without `endcap`, and what it prints."""
    found = re.findall(r"^\$ endcap (.*)\n((?:(?!\$ ).*\n)*)", blocks("console")[0], re.MULTILINE)
    return [(shlex.split(command), printed) for command, printed in found]


def test_the_page_of_features_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    shop = Shop(tmp_path / "shop")
    (tmp_path / "events.jsonl").write_text(blocks("json")[0], encoding="utf-8")
    commands = session()
    assert [command[0] for command, _ in commands] == ["validate", "run", "events", "features"]
    assert main(commands[0][0]) == 0
    assert capsys.readouterr().out == commands[0][1]
    run = FeatureRun(shop, tmp_path)
    try:
        run.until_said("edits of the YAML files are followed")
        for command, printed in commands[2:]:
            there = [word for word in command if word != "--local"]
            assert run.command(*there).stdout == printed
    finally:
        run.end()


def test_the_steps_of_the_page_are_steps() -> None:
    steps = yaml.safe_load(blocks("yaml")[1])["steps"]
    assert [Step.model_validate(step).kind for step in steps] == ["features", "recall", "features", "rank"]
