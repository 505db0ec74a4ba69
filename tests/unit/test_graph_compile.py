# SPDX-License-Identifier: Apache-2.0
"""What is decided when a graph is compiled: which steps run beside each other, what they read, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphs import ITEMS, Graph, write_catalogue
from prometheus_client import CollectorRegistry

from endcap_runtime.graph.building import Surroundings
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.compile import Pipeline, compile_graph
from endcap_runtime.graph.failures import InvalidSpec
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.sidecar import Sidecar
from endcap_runtime.graph.steps.recall import RecallStep
from endcap_runtime.graph.upstream import Models

MODELS = ("item-cooccurrence", "buy-it-again", "popularity", "basket-ranker", "micro-intent")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("catalogue") / "1.parquet"
    write_catalogue(path, ITEMS)
    return path


def graph() -> Graph:
    made = Graph()
    for name in MODELS:
        made = made.model(name, "http://127.0.0.1:9")
    return made


def compiled(graph: Graph, file: Path) -> Pipeline:
    config = graph.config()
    catalogue = Catalogue.load(file, config.spec.catalogue)
    metrics = GraphMetrics(CollectorRegistry())
    return compile_graph(config, Surroundings(catalogue, Models(), metrics, Sidecar()))


def shape(pipeline: Pipeline) -> list[tuple[str, tuple[str, ...], bool]]:
    return [(node.step.name, node.needs, node.beside) for node in pipeline.nodes]


def test_steps_depend_on_what_their_expressions_read(file: Path) -> None:
    made = (
        graph()
        .ask("intent", "micro-intent")
        .recall("together", "item-cooccurrence")
        .recall("buy-again", "buy-it-again", inputs={"customer": "intent.name"})
        .rank(by="candidate.together.score")
        .keep("sure", "intent.confidence > 0.5")
        .limit("variety", "candidate.category", 2)
        .select()
    )
    assert shape(compiled(made, file)) == [
        ("intent", (), True),
        ("together", (), True),
        ("buy-again", ("intent",), True),
        ("merge", ("together", "buy-again"), False),
        ("rank", (), False),
        ("sure", ("intent",), False),
        ("variety", (), False),
        ("top", ("intent",), False),
    ]


def test_a_recall_takes_only_the_columns_that_something_reads(file: Path) -> None:
    made = (
        graph()
        .recall("together", "item-cooccurrence", reason="Bought with {because}")
        .recall("buy-again", "buy-it-again")
        .rank(by="candidate.together.score")
        .select()
    )
    columns = {}
    for node in compiled(made, file).nodes:
        inner = node.step
        while hasattr(inner, "step"):
            inner = inner.step
        if isinstance(inner, RecallStep):
            columns[inner.name] = [column.name for column in inner.source.columns]
    assert columns == {"together": ["score", "because"], "buy-again": []}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda g: g.keep("odd", "candidate.colour == 'red'").select(), "candidate.colour"),
        (lambda g: g.keep("odd", "candidate.price").select(), "bool is needed here"),
        (lambda g: g.recall("again", "nobody").select(), "there is no ModelDeployment nobody"),
        (lambda g: g.select("'ten'"), "int is needed here"),
        (lambda g: g.recall("merge", "buy-it-again").select(), "merge is a word of the answer"),
        (lambda g: g.ask("degraded", "micro-intent").select(), "degraded is a word of the answer"),
        (lambda g: g.ask("customer", "micro-intent").select(), "customer is a word of the answer"),
        (lambda g: g.field("gift", type="product", default="Paper plats").select(), "spec.api.request.gift.default"),
    ],
    ids=["column", "type", "model", "count", "merge", "degraded", "customer", "default"],
)  # fmt: skip
def test_a_graph_that_cannot_run_is_refused_with_the_field(file: Path, change, said: str) -> None:
    with pytest.raises(InvalidSpec, match=said):
        compiled(change(graph().recall("together", "item-cooccurrence")), file)


def test_a_default_product_is_known_by_name_and_by_key(file: Path) -> None:
    made = (
        graph()
        .recall("together", "item-cooccurrence")
        .field("gift", type="product", default="gift wrap")
        .select()
    )
    checked = compiled(made, file).request.read(b"{}")
    assert checked.values["request.gift"] == "Gift wrap"
    assert checked.keys["request.gift"] == "7"
