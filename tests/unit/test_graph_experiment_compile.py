# SPDX-License-Identifier: Apache-2.0
"""What an experiment changes when a graph is compiled: what is waited for and decoded, whichever variant is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from graphs import Graph, write_catalogue
from prometheus_client import CollectorRegistry
from shop_exposures import Tried, experiment

from endcap_runtime.graph.building import Surroundings
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.compile import Pipeline, compile_graph
from endcap_runtime.graph.experiments.breaker import Breaker
from endcap_runtime.graph.experiments.overlay import VariedStep
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.sidecar import Sidecar
from endcap_runtime.graph.steps.recall import RecallStep
from endcap_runtime.graph.upstream import Models


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("catalogue") / "1.parquet"
    write_catalogue(path)
    return path


def graph() -> Graph:
    made = Graph()
    for name in ("item-cooccurrence", "buy-it-again", "basket-ranker", "micro-intent"):
        made = made.model(name, "http://127.0.0.1:9")
    return made


def compiled(graph: Graph, file: Path, **experiments: Any) -> Pipeline:
    config = Tried.of(graph, experiments).config()
    catalogue = Catalogue.load(file, config.spec.catalogue)
    around = Surroundings(catalogue, Models(), GraphMetrics(CollectorRegistry()), Sidecar())
    return compile_graph(config, around)


def treated(**treatment: Any) -> list[dict[str, Any]]:
    return [
        {"name": "control", "baseline": True, "buckets": ["0-5000"], "weight": 5000},
        {"name": "treatment", **treatment, "buckets": ["5000-10000"], "weight": 5000},
    ]


def inner(pipeline: Pipeline, name: str) -> Any:
    """A step without what is around it."""
    step: Any = next(node.step for node in pipeline.nodes if node.step.name == name)
    while hasattr(step, "step"):
        step = step.step
    return step


def test_a_step_waits_for_what_any_variant_reads(file: Path) -> None:
    base = graph().ask("intent", "micro-intent").recall("together", "item-cooccurrence")
    base = base.rank(by="candidate.price").select()
    variants = treated(by="candidate.price * intent.confidence")
    needs = {
        node.step.name: node.needs for node in compiled(base, file, x=experiment(variants=variants)).nodes
    }
    assert needs["rank"] == ("intent",)
    needs = {node.step.name: node.needs for node in compiled(base, file).nodes}
    assert needs["rank"] == ()


def test_a_recall_beside_waits_for_the_model_that_its_variant_reads(file: Path) -> None:
    base = graph().ask("intent", "micro-intent").recall("again", "buy-it-again").select()
    variants = treated(model="buy-it-again", inputs={"customer": "intent.name"})
    pipeline = compiled(base, file, x=experiment(step="again", variants=variants))
    needs = {node.step.name: node.needs for node in pipeline.nodes}
    assert needs["again"] == ("intent",)


def test_a_recall_takes_the_columns_that_a_variant_of_a_later_step_reads(file: Path) -> None:
    base = graph().recall("together", "item-cooccurrence").rank(by="candidate.price").select()
    pipeline = compiled(base, file, x=experiment(variants=treated(by="candidate.together.score")))
    step = inner(pipeline, "together")
    assert isinstance(step, RecallStep)
    assert [column.name for column in step.source.columns] == ["score"]


def test_a_variant_of_a_recall_gives_the_columns_that_are_read(file: Path) -> None:
    base = graph().model("near", **graph().models["item-cooccurrence"])
    base = base.recall("together", "item-cooccurrence", reason="Bought with {because}")
    base = base.rank(by="candidate.together.score").select()
    pipeline = compiled(base, file, x=experiment(step="together", variants=treated(model="near")))
    varied = inner(pipeline, "together")
    assert isinstance(varied, VariedStep)
    variant: Any = varied.variants["x", "treatment"].step
    while hasattr(variant, "step"):
        variant = variant.step
    assert [column.name for column in variant.source.columns] == ["score", "because"]


def test_a_graph_without_experiments_is_compiled_as_it_was(file: Path) -> None:
    base = graph().recall("together", "item-cooccurrence").rank(by="candidate.price").select()
    pipeline = compiled(base, file)
    assert pipeline.experiments is None
    assert not any(isinstance(inner(pipeline, node.step.name), VariedStep) for node in pipeline.nodes)


def test_the_revision_is_that_of_what_is_served_and_not_of_its_moment(file: Path) -> None:
    base = graph().recall("together", "item-cooccurrence").select()
    value = Tried.of(
        base, {"x": experiment(step="together", variants=treated(model="item-cooccurrence"))}
    ).value()
    config = Tried.of(base, {}).config().__class__
    now, later = config.model_validate(value), config.model_validate(value | {"activateAtMs": 5})
    assert now.revision == later.revision
    value["experiments"]["x"]["revision"] += 1
    assert config.model_validate(value).revision != now.revision


def test_a_breaker_opens_after_five_in_a_row_and_lets_one_a_second_try() -> None:
    breaker = Breaker()
    for _ in range(4):
        assert not breaker.failed(10.0)
    assert breaker.lets(10.0)
    breaker.worked()
    assert [breaker.failed(10.0) for _ in range(5)] == [False] * 4 + [True]
    assert not breaker.lets(10.9)
    assert breaker.lets(11.0)
    assert not breaker.lets(11.5)  # that one is still on its way
    assert breaker.lets(12.1)
    assert not breaker.failed(12.2)
    assert not breaker.lets(13.1)
    assert breaker.lets(13.3)
    breaker.worked()
    assert breaker.lets(13.3)
    assert breaker.lets(13.3)
