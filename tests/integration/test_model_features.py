# SPDX-License-Identifier: Apache-2.0
"""A model whose pod looks features up: what the model sees, how often it asks, and what its callers are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from model_servers import ModelServer, config, lightgbm_artefact, python_artefact, serving
from shop_features import FeatureShop, bundle

SEES = """
    import numpy as np

    def load(directory):
        return lambda columns: {
            "seen": np.array([", ".join(f"{name}={values[row]}" for name, values in columns.items())
                              for row in range(len(columns["customer"]))], dtype=object),
        }

    def hook(columns):
        budget = columns["budget"]
        return {"share": budget, "price": budget, "recency": budget * 0, "stock": columns["age"]}
"""
INPUTS = [{"name": "customer", "type": "string"}, {"name": "age", "type": "integer"}]


@pytest.fixture
async def features(tmp_path: Path) -> AsyncIterator[FeatureShop]:
    async with FeatureShop(tmp_path / "features") as features:
        await features.know("customer-profile", ["1467"], budget=3.5, segment="family", likes=["tea", "ham"])
        yield features


def joined(features: FeatureShop, name: str, **keys: str) -> dict[str, Any]:
    """ModelConfig.features as the operator writes it."""
    contract = features.config.contract(name)
    return {"bundle": name, "keys": keys, "columns": [column.dump() for column in contract.columns]}


def seeing(features: FeatureShop, name: str = "customer", **changes: Any) -> dict[str, Any]:
    return config(
        "python",
        suffix=".tar.gz",
        entryPoint="basket:load",
        inputs=INPUTS,
        outputs=[{"name": "seen", "type": "string"}],
        features=joined(features, name, customer_id="customer"),
        **changes,
    )


def running(model: dict[str, Any], features: FeatureShop, work: Path) -> Any:
    """A server of the model that sees, beside the sidecar."""
    artefact = python_artefact(work / "artefact", SEES)
    return serving(model, artefact, work / "server", {"ENDCAP_FEATURES_SOCKET": features.socket})


@pytest.fixture
def model(features: FeatureShop, tmp_path: Path) -> Any:
    with running(seeing(features), features, tmp_path) as server:
        yield server


def ask(server: ModelServer, **columns: list[Any]) -> httpx.Response:
    return httpx.post(f"{server.url}/predict", json={"columns": columns}, timeout=10)


def counted(server: ModelServer, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_features_are_joined_behind_the_inputs_row_by_row(model: ModelServer) -> None:
    answer = ask(model, customer=["nobody", "1467"], age=[7, 8])
    nobody, known = answer.json()["columns"]["seen"]
    rest = "visits=0, staff=False"
    assert nobody == f"customer=nobody, age=7, budget=2.0, segment=new, {rest}, likes=[], clicks_1h=0"
    likes = "likes=['tea', 'ham'], clicks_1h=0"
    assert known == f"customer=1467, age=8, budget=3.5, segment=family, {rest}, {likes}"
    assert "endcap-degraded" not in answer.headers


async def test_a_batch_is_one_lookup_and_each_request_has_its_own_rows(
    features: FeatureShop, tmp_path: Path
) -> None:
    with running(seeing(features, maxLatencyMs=50), features, tmp_path) as server:
        ask(server, customer=["1467"], age=[1])
        async with httpx.AsyncClient(base_url=server.url, timeout=10) as client:
            bodies = [{"columns": {"customer": ["1467", f"c{n}"], "age": [n, n]}} for n in range(40)]
            answers = await asyncio.gather(*(client.post("/predict", json=body) for body in bodies))
        for number, answer in enumerate(answers):
            known, unknown = answer.json()["columns"]["seen"]
            assert known.startswith(f"customer=1467, age={number}, budget=3.5")
            assert unknown.startswith(f"customer=c{number}, age={number}, budget=2.0")
        batches = counted(server, "endcap_model_batch_rows_count")
        assert counted(server, "endcap_model_feature_lookups_total") == batches < 41


def test_callers_send_inputs_alone(model: ModelServer) -> None:
    answer = ask(model, customer=["1467"], age=[1], budget=[9.0])
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["field"], error["message"]) == ("budget", "unknown; the columns are customer, age")
    metadata = httpx.get(f"{model.url}/v2/models/ranker").json()
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["customer", "age"]


def test_the_open_inference_protocol_gets_features_too(model: ModelServer) -> None:
    tensors = [
        {"name": "customer", "datatype": "BYTES", "shape": [1], "data": ["1467"]},
        {"name": "age", "datatype": "INT64", "shape": [1], "data": [1]},
    ]
    answer = httpx.post(f"{model.url}/v2/models/ranker/infer", json={"inputs": tensors})
    assert "segment=family" in answer.json()["outputs"][0]["data"][0]


def test_who_cannot_be_an_entity_has_the_defaults_of_the_unknown(model: ModelServer) -> None:
    answer = ask(model, customer=["", "1467", "{x}"], age=[1, 2, 3])
    budgets = [seen.split("budget=")[1][:3] for seen in answer.json()["columns"]["seen"]]
    assert budgets == ["2.0", "3.5", "2.0"]
    assert "endcap-degraded" not in answer.headers


async def test_a_matrix_has_the_features_behind_the_inputs(features: FeatureShop, tmp_path: Path) -> None:
    """The model takes four numbers: two inputs and two features, in this order."""
    await features.know("product-stats", ["12"], margin=0.8, views=1)
    booster = lightgbm_artefact(tmp_path / "artefact")
    inputs = [{"name": "product", "type": "integer"}, {"name": "price", "type": "number"}]
    wanted = joined(features, "product", product_id="product")
    wanted["columns"] = [c for c in wanted["columns"] if c["name"] in ("margin", "views")]
    features_config = features.value()
    features_config["views"]["product-stats"]["spec"]["entity"]["keys"][0]["type"] = "integer"
    model = config("lightgbm", suffix=".txt", inputs=inputs, features=wanted)
    features.sidecar.write(features_config)
    revision = features.sidecar.get("/v1/bundles")["revision"]
    await features.until(lambda: features.sidecar.get("/v1/bundles")["revision"] != revision)
    environ = {"ENDCAP_FEATURES_SOCKET": features.socket}
    with serving(model, tmp_path / "artefact", tmp_path / "server", environ) as server:
        (score,) = ask(server, product=[12], price=[0.9]).json()["columns"]["score"]
    assert score == pytest.approx(booster.predict([[12, 0.9, 0.0, 1]])[0])


def test_a_preprocess_hook_sees_them(features: FeatureShop, tmp_path: Path) -> None:
    booster = lightgbm_artefact(tmp_path / "artefact", "model.txt")
    model = config(
        "lightgbm",
        suffix=".tar.gz",
        inputs=INPUTS,
        preprocess="basket:hook",
        features=joined(features, "customer", customer_id="customer"),
    )
    with running(model, features, tmp_path) as server:
        (score,) = ask(server, customer=["1467"], age=[1]).json()["columns"]["score"]
    assert score == pytest.approx(booster.predict([[3.5, 3.5, 0.0, 1.0]])[0])


def test_a_dead_sidecar_costs_defaults_that_are_told_counted_and_logged(
    model: ModelServer, features: FeatureShop
) -> None:
    features.kill()
    for _ in range(3):
        answer = ask(model, customer=["1467"], age=[1])
        assert answer.headers["endcap-degraded"] == "features"
        assert "budget=2.0, segment=new" in answer.json()["columns"]["seen"][0]
    outcome = 'endcap_model_feature_lookups_total{model="ranker",outcome="defaults",version="4"}'
    assert counted(model, outcome) == 3
    told = [line for line in model.lines if line["message"].startswith("The feature sidecar did not answer")]
    assert [line["bundle"] for line in told] == ["customer"]
    features.restart()
    assert "endcap-degraded" not in ask(model, customer=["1467"], age=[1]).headers


async def test_a_bundle_that_the_model_was_not_deployed_for_is_refused_by_name(
    model: ModelServer, features: FeatureShop
) -> None:
    features.sidecar.write(features.value(customer=bundle("customer-profile", "segment", "visits")))
    await features.until(lambda: ask(model, customer=["1467"], age=[1]).status_code == 503)
    problem = ask(model, customer=["1467"], age=[1])
    assert problem.json()["detail"] == (
        "The bundle customer gives other columns than the model was deployed for: column budget is missing. "
        "Deploy the model for it again."
    )
    assert problem.headers["retry-after"] == "1"


def test_a_bundle_that_is_not_there_is_refused_by_name(features: FeatureShop, tmp_path: Path) -> None:
    model = seeing(features)
    model["features"]["bundle"] = "custmer"
    with running(model, features, tmp_path) as server:
        problem = ask(server, customer=["1467"], age=[1])
    assert problem.status_code == 503
    assert "custmer" in problem.json()["detail"]


def test_a_required_bundle_without_its_store_is_a_refusal(features: FeatureShop, tmp_path: Path) -> None:
    with running(seeing(features, "needed"), features, tmp_path) as server:
        assert ask(server, customer=["1467"], age=[1]).status_code == 200
        features.redis.kill()
        problem = ask(server, customer=["1467"], age=[1])
    assert (problem.status_code, problem.headers["retry-after"]) == (503, "1")
    assert problem.json()["detail"].startswith("The features of bundle needed are required")
