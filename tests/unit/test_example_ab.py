# SPDX-License-Identifier: Apache-2.0
"""The example of an A/B test: what it replays is what was bought, and its YAML compares what it says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from basket import ranker as basket
from basket.names import display_names
from basket.ranker import Candidates
from live.resources import specs
from shopping_history import small_history
from trial import cart_ranker, evaluate, past, visits
from trial.outcomes import Told, Visit
from trial.replaying import Places, Replay, ReplayFailed
from trial.tally import Tally

from endcap_api.v1alpha1.experiment import ExperimentSpec

HISTORY = small_history(most=6)
NAMES = display_names(HISTORY.journey.items.product_type, HISTORY.journey.items.category)
FIRST, LAST = 3, 5


def there(file: str, kind: str) -> dict[str, Any]:
    return {name: spec for (found, name), spec in specs(f"../03-ab-test/{file}").items() if found == kind}


def basket_of(row: int) -> list[int]:
    return HISTORY.item[HISTORY.basket == row].tolist()


def test_a_visit_is_a_whole_basket_of_those_weeks_half_in_the_cart_and_half_to_come() -> None:
    drawn = visits.draw(HISTORY, FIRST, LAST)
    baskets = HISTORY.journey.baskets
    size = np.diff(baskets.start)
    expected = np.flatnonzero((baskets.week >= FIRST) & (baskets.week <= LAST) & (size >= 4))
    assert sorted(drawn.row.tolist()) == expected.tolist()
    assert len(drawn) > 10
    for row, cart, bought in zip(drawn.row, drawn.cart, drawn.bought, strict=True):
        assert sorted([*cart, *bought]) == basket_of(row)
        assert len(bought) - len(cart) in (0, 1)
    assert HISTORY.at_ms[drawn.row].tolist() == sorted(HISTORY.at_ms[drawn.row].tolist())


def test_the_same_visits_are_drawn_every_time_and_not_the_first_half_of_the_products() -> None:
    first, again = visits.draw(HISTORY, FIRST, LAST), visits.draw(HISTORY, FIRST, LAST)
    assert [cart.tolist() for cart in first.cart] == [cart.tolist() for cart in again.cart]
    assert any(cart.max() > bought.min() for cart, bought in zip(first.cart, first.bought, strict=True))


def test_a_line_tells_what_was_paid_for_each_product_by_the_name_that_the_graph_answers() -> None:
    drawn = visits.draw(HISTORY, FIRST, LAST)
    written = list(visits.lines(HISTORY, drawn))
    for row, cart, line in zip(drawn.row, drawn.cart, written, strict=True):
        paid = {
            NAMES[item]: cents / 100
            for at, item, cents in zip(HISTORY.basket, HISTORY.item, HISTORY.cents, strict=True)
            if at == row and item not in cart
        }
        assert line["bought"] == paid
        assert line["request"]["cart"] == [NAMES[item] for item in cart]
        assert line["request"]["customer"] == str(HISTORY.journey.baskets.household[row])


def test_the_covariate_is_what_a_household_bought_before_and_0_of_one_that_is_not_known() -> None:
    baskets = HISTORY.journey.baskets
    before = past.count(baskets.weeks(1, FIRST - 1))
    week = baskets.week[HISTORY.basket]
    expected = [int(((HISTORY.household == name) & (week < FIRST)).sum()) for name in (1, 2, 3, 4)]
    assert before.of(np.asarray([1, 2, 3, 4, 999], dtype=np.int32)).tolist() == [*expected, 0]


def test_added_are_those_of_the_first_ten_that_were_bought() -> None:
    found = Candidates(np.asarray([12, 3]), np.asarray([*range(12), 0, 1, 2], dtype=np.int32), {})
    scores = np.asarray([*range(12, 0, -1), 1, 2, 3], dtype=np.float64)
    bought = [np.asarray([0, 9, 10, 11], dtype=np.int32), np.asarray([0, 5], dtype=np.int32)]
    assert evaluate.added(found, scores, bought).tolist() == [2, 1]


def test_the_gain_is_of_the_last_method_over_the_first() -> None:
    household = np.repeat(np.arange(50, dtype=np.int32), 4)
    old = np.tile([1.0, 0.0, 2.0, 1.0], 50) + household % 2
    quality = evaluate.measure({"old": old, "new": 1.5 * old}, household, household.astype(np.float64))
    assert quality.gain.value == pytest.approx(0.5)
    assert (quality.visits, quality.households) == (200, 50)
    assert quality.added["old"].value == 1.5


VISIT = Visit("77", {"customer": "13", "cart": ["Milk"], "store": "330"}, {"Bread": 2.5, "Butter": 3.0})


def answer(*products: str, **told: Any) -> dict[str, Any]:
    listed = [{"position": at, "product": name} for at, name in enumerate(products, start=1)]
    return {"recommendations": listed, "degraded": [], "experiments": {"ranker-v2": told}}


def test_events_are_the_showing_and_each_shown_product_that_was_bought() -> None:
    events = Told("run").of(VISIT, answer("Eggs", "Butter"), datetime(2026, 1, 1, tzinfo=UTC))
    assert [(event["type"], event["data"].get("product")) for event in events] == [
        ("last_call", None),
        ("add_to_cart", "Butter"),
    ]
    assert events[1]["data"] | {"amount": 3.0, "position": 2, "household_id": "13"} == events[1]["data"]
    again = Told("another").of(VISIT, answer("Eggs", "Butter"), datetime(2026, 1, 1, tzinfo=UTC))
    assert len({event["id"] for event in (*events, *again)}) == 4


@pytest.mark.parametrize("file", ["experiment.yaml", "instead/canary.yaml"])
def test_every_metric_finds_what_it_reads_in_the_events(file: str) -> None:
    events = Told("run").of(VISIT, answer("Bread"), datetime(2026, 1, 1, tzinfo=UTC))
    by_type = {event["type"]: event["data"] for event in events}
    (spec,) = (ExperimentSpec.model_validate(each) for each in there(file, "Experiment").values())
    for metric in spec.metrics or ():
        for event in filter(None, (metric, metric.per)):
            assert metric.unit in by_type[event.event]
            assert event.field is None or event.field in by_type[event.event]


def test_the_treatment_is_the_first_examples_ranker_fed_as_there() -> None:
    rank = {
        step["name"]: step for step in specs("../01-basket/graph.yaml")["InferenceGraph", "basket"]["steps"]
    }
    files = ("experiment.yaml", "instead/canary.yaml", "instead/shadow.yaml")
    found = [spec for file in files for spec in there(file, "Experiment").values()]
    assert len(found) == 3
    for spec in found:
        treatment = next(variant for variant in spec["variants"] if not variant.get("baseline"))
        assert {"model": treatment["model"], "inputs": treatment["inputs"]} == rank["rank"]["rank"]
    ours, theirs = there("models.yaml", "ModelDeployment"), specs("../01-basket/models.yaml")
    assert {name: ours[name] for _, name in theirs} == {name: spec for (_, name), spec in theirs.items()}


def test_the_control_stacks_its_inputs_in_the_order_it_learned_them() -> None:
    model = there("models.yaml", "ModelDeployment")["cart-ranker"]
    assert [column["name"] for column in model["inputs"]] == list(cart_ranker.FEATURES)
    assert set(cart_ranker.FEATURES) < set(basket.FEATURES)


def test_the_store_is_that_of_the_second_example_so_that_both_can_be_in_one_namespace() -> None:
    assert there("features.yaml", "FeatureStore") == {
        "default": specs("features.yaml")["FeatureStore", "default"]
    }


def counted(*told: dict[str, Any]) -> Tally:
    tally = Tally("ranker-v2")
    for one in told:
        tally.count(VISIT, answer("Bread", **one), [{"type": "add_to_cart"}])
    return tally


def test_the_tally_sees_a_household_that_changes_variant_and_a_variant_that_did_not_serve() -> None:
    control = {"variant": "control", "reason": "assigned"}
    treatment = {"variant": "treatment", "reason": "assigned"}
    tally = counted(
        control, control, treatment, treatment | {"served": "control"}, {"variant": "a", "reason": "held_out"}
    )
    assert tally.switched == {"13"}
    assert {name: (one.visits, one.added, one.instead) for name, one in tally.variants.items()} == {
        "control": (2, 2, 0),
        "treatment": (2, 2, 1),
    }
    assert tally.outside == 1
    assert counted(control, control).switched == set()


class Shop:
    """A graph that answers all but basket 3, and a store that is busy at first."""

    def __init__(self, busy: int = 1, refusal: int = 0, reads: str = "") -> None:
        self.busy, self.refusal, self.reads = busy, refusal, reads
        self.taken: list[dict[str, Any]] = []
        self.asked: list[str] = []

    async def graph(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body["cart"][0])
        if body["cart"] == ["3"]:
            return web.json_response({"title": "no"}, status=503)
        return web.json_response(answer("Bread", variant="control", reason="assigned"))

    async def store(self, request: web.Request) -> web.Response:
        if self.refusal:
            return web.json_response({"title": "no"}, status=self.refusal)
        if self.busy:
            self.busy -= 1
            return web.json_response({}, status=429, headers={"retry-after": "0"})
        events = await request.json()
        wrong = [n for n, event in enumerate(events) if self.reads not in ("", event["type"])]
        if wrong:
            errors = [
                {"field": f"events[{n}].type", "message": "no view of this store reads it"} for n in wrong
            ]
            return web.json_response({"errors": errors[:10]}, status=422)
        self.taken += events
        return web.json_response({"accepted": 1}, status=202)


def replayed(shop: Shop, count: int = 40) -> Tally:
    tally = Tally("ranker-v2")

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/last-call", shop.graph)
        app.router.add_post("/v1/events", shop.store)
        async with TestServer(app) as server:
            places = Places(str(server.make_url("/last-call")), str(server.make_url("")).rstrip("/"))
            found = [
                Visit(str(n), {"customer": str(n % 5), "cart": [str(n)], "store": "1"}, {"Bread": 1.0})
                for n in range(count)
            ]
            await Replay(places, Told("run"), tally, lambda _: None).run(found)

    asyncio.run(run())
    return tally


def test_a_replay_asks_once_for_each_visit_and_a_busy_store_gets_the_same_events_again() -> None:
    shop = Shop()
    tally = replayed(shop)
    assert sorted(map(int, shop.asked)) == list(range(40))
    for household in range(5):
        whose = [int(cart) for cart in shop.asked if int(cart) % 5 == household]
        assert whose == sorted(whose)
    assert [each.partition(":")[0] for each in tally.failed] == ["basket 3"]
    assert len({event["id"] for event in shop.taken}) == len(shop.taken) == 2 * 39 == tally.events


def test_a_store_that_refuses_ends_the_replay_with_its_words() -> None:
    with pytest.raises(ExceptionGroup) as failed:
        replayed(Shop(refusal=422))
    (error,) = failed.value.exceptions
    assert isinstance(error, ReplayFailed)
    assert "422" in str(error)


def test_what_no_metric_of_another_experiment_reads_is_left_out_and_the_rest_is_sent() -> None:
    shop = Shop(reads="add_to_cart")
    replayed(shop)
    assert [event["type"] for event in shop.taken] == ["add_to_cart"] * 39
    nothing = Shop(reads="other")
    replayed(nothing)
    assert not nothing.taken
