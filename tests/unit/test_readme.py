# SPDX-License-Identifier: Apache-2.0
"""What the README shows is true of what is in the repository."""

import json
import re
from pathlib import Path

import pytest
import yaml

from endcap_api.graph_checks import check_graph, missing_models
from endcap_api.runtime_config import ModelContract
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "01-basket"
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")),
)


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found
    return found.group(1)


def graph(text: str) -> InferenceGraphSpec:
    return InferenceGraphSpec.model_validate(yaml.safe_load(text)["spec"])


def test_the_graph_at_the_top_is_accepted_with_the_models_of_the_example() -> None:
    manifests = list(yaml.safe_load_all((EXAMPLE / "models.yaml").read_text()))
    models = {
        manifest["metadata"]["name"]: ModelContract.of(
            ModelDeploymentSpec.model_validate(manifest["spec"]), "http://x"
        )
        for manifest in manifests
    }
    shown = graph(block("yaml"))
    assert missing_models(shown, models) == []
    assert check_graph(shown, models) == []
    assert len(block("yaml").splitlines()) <= 15


def test_the_graph_at_the_top_names_the_catalogue_of_the_example() -> None:
    example = graph((EXAMPLE / "graph.yaml").read_text())
    assert graph(block("yaml")).catalogue.sha256 == example.catalogue.sha256


def test_the_answer_at_the_top_is_the_one_that_the_example_keeps() -> None:
    kept = json.loads((EXAMPLE / "response.json").read_text())
    shown = json.loads(block("json"))
    assert shown["recommendations"] == kept["recommendations"]
    assert shown["served_by"] == kept["served_by"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_links_to_nothing_that_is_not_there(page: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    here = [link for link in links if "://" not in link]
    assert [link for link in here if not ((ROOT / page).parent / link).exists()] == []
