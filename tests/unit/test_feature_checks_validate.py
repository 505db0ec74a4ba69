# SPDX-License-Identifier: Apache-2.0
"""`endcap validate` tells of features what the operator would, in the same words, when a folder holds them all."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from refusal import Refusal
from view_refusals import BUNDLES, JOINED, LOOKUPS, VIEWS, surroundings
from views import graph_with_features

from endcap_cli.__main__ import main

BAD = {f"bad-{number}": bad for number, bad in enumerate([*VIEWS, *BUNDLES, *LOOKUPS, *JOINED])}


def validate(folder: Path, manifests: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """Its exit code and its lines, for resources beside everything that they name."""
    every = [*surroundings(), *manifests]
    (folder / "all.yaml").write_text(yaml.safe_dump_all(every, sort_keys=False), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main(["validate", str(folder)])
    return code, out.getvalue().splitlines()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of all bad resources, each under a name of its own."""
    named = [{**bad.manifest, "metadata": {"name": name}} for name, bad in BAD.items()]
    code, lines = validate(tmp_path_factory.mktemp("bad"), named)
    assert code == 1
    return lines


@pytest.mark.parametrize(("name", "bad"), BAD.items(), ids=[bad.name for bad in BAD.values()])
def test_what_cannot_work_is_told_with_its_resource_field_and_remedy(
    told: list[str], name: str, bad: Refusal
) -> None:
    own = [line for line in told if f": {bad.manifest['kind']}/{name}: " in line]
    assert [line for line in own if f": {bad.field}: " in line and bad.words in line], own


def test_what_works_is_no_problem(tmp_path: Path) -> None:
    code, lines = validate(tmp_path, [graph_with_features()])
    assert (code, lines) == (0, [f"no problems in {len(surroundings()) + 1} resources"])
