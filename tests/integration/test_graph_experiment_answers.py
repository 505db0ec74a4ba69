# SPDX-License-Identifier: Apache-2.0
"""Requests in an experiment: who ranks, recalls and is asked, and what answers, pages and metrics say of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from graphs import Graph
from shop import Columns, Engine, products
from shop_exposures import CHALLENGER, TryingShop, everyone_in, experiment

from endcap_api.assignment import bucket
from endcap_api.experiment_config import ServingPage
from endcap_runtime.graph.loading import Refused

CART: dict[str, Any] = {"customer": "1467", "cart": ["Paper plates"], "store": "330"}
SALT = "basket.rank.ranker-v2"
DEAREST_FIRST = ["Ice cream", "Gift wrap", "Plastic cutlery", "Balloons", "Plastic cups", "Milk"]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[TryingShop]:
    async with TryingShop(tmp_path) as shop:
        yield shop


def ranked(shop: TryingShop) -> Graph:
    return shop.basket().rank(model="basket-ranker").select()


def two(treatment: dict[str, Any], everyone: bool = True) -> list[dict[str, Any]]:  # noqa: FBT001, FBT002
    """The baseline, and a treatment that all units get, or half of them."""
    middle = 0 if everyone else 5000
    return [
        {
            "name": "control",
            "baseline": True,
            "buckets": [f"0-{middle}"] if middle else [],
            "weight": middle,
        },
        {"name": "treatment", **treatment, "buckets": [f"{middle}-10000"], "weight": 10_000 - middle},
    ]


async def page(engine: Engine) -> ServingPage:
    return ServingPage.model_validate_json((await engine.get("/-/experiments")).content)


def units(count: int) -> dict[str, str]:
    """The variant by unit, from the algorithm alone."""
    names = [f"shopper-{number}" for number in range(count)]
    return {name: "treatment" if bucket(SALT, name) >= 5000 else "control" for name in names}


async def test_each_unit_gets_its_variant_and_the_answer_says_so(shop: TryingShop) -> None:
    engine = shop.trying(ranked(shop), ranker_v2=experiment())
    for unit, variant in units(40).items():
        response = await engine.post({**CART, "customer": unit})
        answer = response.json()
        model = "basket-ranker@4" if variant == "control" else f"{CHALLENGER}@2"
        order = DEAREST_FIRST if variant == "control" else DEAREST_FIRST[::-1]
        assert products(answer) == order
        assert answer["experiments"] == {"ranker-v2": {"variant": variant, "reason": "assigned"}}
        assert answer["served_by"]["rank"] == model
        assert response.headers["endcap-experiments"] == f"ranker-v2={variant};reason=assigned"
        assert answer["degraded"] == []


async def test_a_graph_without_experiments_says_nothing_of_them(shop: TryingShop) -> None:
    engine = shop.engine(ranked(shop))
    response = await engine.post(CART)
    assert "experiments" not in response.json()
    assert "endcap-experiments" not in response.headers
    assert "experiments" not in (await engine.get("/-/revision")).json()
    assert await page(engine) == ServingPage(window_ms=60_000)
    document = (await engine.get("/openapi.json")).json()
    assert "experiments" not in document["components"]["schemas"]["Answer"]["properties"]
    assert "<h2>Experiments</h2>" not in (await engine.get("/docs")).text


async def test_an_explanation_names_the_variant_its_rule_and_the_bucket(shop: TryingShop) -> None:
    engine = shop.trying(ranked(shop), ranker_v2=experiment(variants=everyone_in("treatment")))
    said = await engine.explain(**CART)
    assert said["rank"]["rule"] == f"by {CHALLENGER}"
    assert said["rank"]["experiments"] == [
        {
            "name": "ranker-v2",
            "variant": "treatment",
            "reason": "assigned",
            "served": "treatment",
            "bucket": bucket(SALT, "1467"),
        }
    ]
    assert [step for step, line in said.items() if "experiments" in line] == ["rank"]


async def test_a_rank_by_expression_and_one_by_model_change_places(shop: TryingShop) -> None:
    by_price = shop.basket().rank(by="candidate.price").select()
    to_model = shop.trying(by_price, x=experiment(variants=two({"model": "basket-ranker"})))
    answer = await to_model.ask(**CART)
    assert answer["served_by"]["rank"] == "basket-ranker@4"
    to_expression = shop.trying(ranked(shop), x=experiment(variants=two({"by": "0.0 - candidate.price"})))
    answer = await to_expression.ask(**CART)
    assert "rank" not in answer["served_by"]
    assert products(answer) == DEAREST_FIRST[::-1]


async def test_a_variant_has_inputs_of_its_own(shop: TryingShop) -> None:
    inputs = {"price": "candidate.price * 2.0", "sold": "candidate.sold"}
    engine = shop.trying(ranked(shop), x=experiment(variants=two({"model": CHALLENGER, "inputs": inputs})))
    await engine.ask(**CART)
    assert max(shop.models[CHALLENGER].calls[0].columns["price"]) == 8.0


async def test_a_variant_may_read_what_the_baseline_does_not(shop: TryingShop) -> None:
    """A column of a recall and a model step, so both are there for it."""
    graph = shop.basket().ask("intent", "micro-intent").rank(by="candidate.score").select()
    by = "candidate.together.baskets * (intent.confidence > 0.5 ? 1 : 0)"
    engine = shop.trying(graph, x=experiment(variants=two({"by": by})))
    answer = await engine.ask(**CART)
    assert products(answer)[:2] == ["Plastic cutlery", "Balloons"]
    assert answer["experiments"]["x"] == {"variant": "treatment", "reason": "assigned"}


def backwards(columns: Columns) -> Columns:
    """Cups, then balloons, and nothing else."""
    rows = len(columns["cart"])
    return {
        "item": [["2", "5"]] * rows,
        "because": [["8", "8"]] * rows,
        "baskets": [[3, 2]] * rows,
        "score": [[0.9, 0.8]] * rows,
    }


async def test_a_recall_is_tried(shop: TryingShop) -> None:
    shop.models["item-cooccurrence"].answer = backwards
    graph = shop.graph().recall("again", "buy-it-again").recall("near", "popularity", top=3).select()
    variants = two({"model": "item-cooccurrence", "inputs": {"cart": "request.cart"}})
    engine = shop.trying(graph, x=experiment(step="near", variants=variants))
    answer = await engine.ask(**CART)
    assert answer["served_by"] == {"again": "buy-it-again@4", "near": "item-cooccurrence@4"}
    assert set(products(answer)) == {"Plastic cups", "Balloons", "Milk", "Ice cream"}
    assert {each["product"]: each["sources"] for each in answer["recommendations"]}["Plastic cups"] == [
        "near"
    ]


async def test_a_model_step_is_tried_and_its_readers_see_the_variant(shop: TryingShop) -> None:
    contract = {way: shop.graph().models["micro-intent"][way] for way in ("inputs", "outputs")}
    shop.models["buy-it-again"].answer = lambda c: {
        "name": ["frozen"] * len(c["cart"]),
        "confidence": [0.9] * len(c["cart"]),
    }
    upstream = shop.models["buy-it-again"]
    upstream.inputs, upstream.outputs = (
        shop.models["micro-intent"].inputs,
        shop.models["micro-intent"].outputs,
    )
    graph = (
        shop.graph()
        .model("intent-v2", upstream.contract.url, **contract)
        .ask("intent", "micro-intent")
        .recall("together", "item-cooccurrence")
        .keep("fits", "candidate.category == intent.name")
        .select()
    )
    engine = shop.trying(
        graph, x=experiment(step="intent", variants=two({"model": "intent-v2"}, everyone=False))
    )
    seen = {}
    for unit in units(20):
        answer = await engine.ask(**{**CART, "customer": unit})
        seen[answer["experiments"]["x"]["variant"]] = (answer["intent"]["name"], products(answer))
    assert seen == {"control": ("party supplies", []), "treatment": ("frozen", ["Ice cream"])}


async def test_two_experiments_on_two_steps_know_nothing_of_each_other(shop: TryingShop) -> None:
    graph = shop.basket().rank("first", by="candidate.price").rank("last", by="candidate.score").select()
    engine = shop.trying(
        graph,
        a=experiment(step="first", salt="a", variants=two({"by": "1"}, everyone=False)),
        b=experiment(
            step="last", salt="b", id="0ddba11", variants=two({"by": "0.0 - candidate.score"}, everyone=False)
        ),
    )
    seen = set()
    for unit in units(60):
        response = await engine.post({**CART, "customer": unit})
        said = response.json()["experiments"]
        assert response.headers["endcap-experiments"].split(", ")[1].startswith("b=")
        seen.add((said["a"]["variant"], said["b"]["variant"]))
    assert len(seen) == 4


async def test_two_experiments_on_one_step_share_the_units_of_a_layer(shop: TryingShop) -> None:
    """One tries another model, one another order; a unit meets one of them, and the other says so."""
    left = experiment(
        salt="left", variants=two({"model": CHALLENGER}), layer={"name": "rank", "buckets": ["0-5000"]}
    )
    right = experiment(
        salt="right",
        id="0ddba11",
        variants=two({"by": "0.0 - candidate.score"}),
        layer={"name": "rank", "buckets": ["5000-10000"]},
    )
    engine = shop.trying(ranked(shop), left=left, right=right)
    for unit in units(40):
        answer = await engine.ask(**{**CART, "customer": unit})
        on_left = bucket("layer/rank", unit) < 5000
        tried, other = ("left", "right") if on_left else ("right", "left")
        assert answer["experiments"][tried] == {"variant": "treatment", "reason": "assigned"}
        assert answer["experiments"][other] == {"variant": "control", "reason": "other_layer"}
        assert answer["served_by"].get("rank") == (f"{CHALLENGER}@2" if on_left else None)
    said = (await engine.explain(**{**CART, "customer": "shopper-0"}))["rank"]["experiments"]
    assert [each["name"] for each in said] == ["left", "right"]


async def test_a_split_goes_on_beside_a_shadow_of_its_step(shop: TryingShop) -> None:
    split = experiment(salt="split", layer={"name": "rank", "buckets": ["0-5000"]})
    shadow = experiment(
        salt="shade", id="0ddba11", mode="shadow", layer={"name": "rank", "buckets": ["5000-10000"]}
    )
    engine = shop.trying(ranked(shop), split=split, shade=shadow)
    reasons = set()
    for unit in units(40):
        answer = await engine.ask(**{**CART, "customer": unit})
        said = answer["experiments"]
        reasons.add((said["split"]["reason"], said["shade"]["reason"]))
        assert said["shade"]["variant"] == "control"
        assert "served" not in said["shade"]
        treated = said["split"]["variant"] == "treatment"
        assert products(answer) == (DEAREST_FIRST[::-1] if treated else DEAREST_FIRST)
    assert reasons == {("assigned", "other_layer"), ("other_layer", "shadowed")}


async def test_an_experiment_that_is_gone_leaves_the_page_and_comes_back_empty(shop: TryingShop) -> None:
    engine = shop.trying(ranked(shop), ranker_v2=experiment(variants=everyone_in("treatment")))
    await engine.ask(**CART)
    assert (await page(engine)).experiments["ranker-v2"].variants["treatment"].requests == 1
    tried = engine.serving.served
    engine.serving.served = shop.load(engine, ranked(shop))
    assert (await page(engine)).experiments == {}
    engine.serving.served = tried
    assert (await page(engine)).experiments["ranker-v2"].variants["treatment"].requests == 0


async def test_a_new_revision_of_an_experiment_goes_on_with_what_was_counted(shop: TryingShop) -> None:
    """A rollback changes the revision, and is not to forget why it came."""
    engine = shop.trying(ranked(shop), ranker_v2=experiment(variants=everyone_in("treatment")))
    await engine.ask(**CART)
    engine.serving.served = shop.load(engine, ranked(shop), ranker_v2=experiment(revision=4))
    found = (await page(engine)).experiments["ranker-v2"]
    assert (found.revision, found.variants["treatment"].requests) == (4, 1)


async def test_the_pages_say_what_is_served(shop: TryingShop) -> None:
    engine = shop.trying(ranked(shop), ranker_v2=experiment())
    given = units(30)
    for unit in given:
        await engine.ask(**{**CART, "customer": unit})
    await engine.ask(**{**CART, "customer": ""})
    assert (await engine.get("/-/revision")).json()["experiments"] == {"ranker-v2": 3}
    found = (await page(engine)).experiments["ranker-v2"]
    assert (found.id, found.revision) == ("5a1e7c0ffee0", 3)
    for variant in ("control", "treatment"):
        serving = found.variants[variant]
        count = list(given.values()).count(variant)
        assert (serving.requests, serving.served, serving.errors, serving.degraded) == (count, count, 0, 0)
        assert sum(serving.latency.counts) == count
        labels = {"graph": "basket", "experiment": "ranker-v2", "variant": variant}
        assert engine.counted("experiment_assigned_total", **labels, reason="assigned") == count
    labels = {"graph": "basket", "experiment": "ranker-v2", "variant": "control"}
    assert engine.counted("experiment_assigned_total", **labels, reason="no_unit") == 1
    assert engine.counted("experiment_served_total", **labels, served="control") == 1 + list(
        given.values()
    ).count("control")


async def test_the_documents_tell_of_the_experiment(shop: TryingShop) -> None:
    engine = shop.trying(ranked(shop), ranker_v2=experiment())
    document = (await engine.get("/openapi.json")).json()
    said = document["components"]["schemas"]["Answer"]["properties"]["experiments"]["properties"]["ranker-v2"]
    assert said["properties"]["variant"]["enum"] == ["control", "treatment"]
    success = document["paths"]["/basket"]["post"]["responses"]["200"]
    assert "RFC 9651" in success["headers"]["endcap-experiments"]["description"]
    docs = (await engine.get("/docs")).text
    assert f"by {CHALLENGER}" in docs
    assert "50 %" in docs


async def test_a_request_that_is_refused_is_in_no_experiment(shop: TryingShop) -> None:
    engine = shop.trying(ranked(shop), ranker_v2=experiment())
    response = await engine.post({**CART, "limit": 0})
    assert response.status_code == 422
    assert "endcap-experiments" not in response.headers
    assert (await page(engine)).experiments["ranker-v2"].variants["control"].requests == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"step": "nowhere"}, "nowhere"),
        ({"step": "top"}, "experiments.x.step"),
        ({"variants": two({"model": "nobody"})}, "experiments.x.variants[1].model"),
        ({"variants": two({"by": "candidate.colour"})}, "candidate.colour"),
        ({"variants": two({"model": "buy-it-again"})}, "buy-it-again"),
        ({"unit": ["request.nobody"]}, "request.nobody"),
        ({"targeting": "request.limit"}, "experiments.x.targeting"),
        ({"targeting": "candidate.price > 1.0"}, "experiments.x.targeting"),
    ],
)
def test_an_experiment_that_cannot_run_is_refused_with_the_field(
    shop: TryingShop, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refused) as refused:
        shop.trying(ranked(shop), x=experiment(**changes))
    assert refused.value.rejected.reason == "InvalidSpec"
    assert said in refused.value.rejected.message
