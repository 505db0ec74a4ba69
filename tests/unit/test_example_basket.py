# SPDX-License-Identifier: Apache-2.0
"""The example's recommender on a small seeded world: its tables against brute force, and no look into the future."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from basket import evaluate, pipeline, ranker, recall
from basket.journey import Baskets, Items, Journey
from basket.names import display_names
from basket.served import buy_it_again, item_cooccurrence, popularity
from hypothesis import given
from hypothesis import strategies as st

EXAMPLE = Path(pipeline.__file__).parents[1]
ITEMS, HOUSEHOLDS, STORES, MISSIONS = 60, 40, 3, 5
KEYS = [f"{number:04d}" for number in range(ITEMS)]


def small_world(seed: int = 5, last_week: int = 53) -> Journey:
    """Households with habits shop for missions: what is learnable is known, and it takes a second."""
    random = np.random.default_rng(seed)
    mission = random.permutation(ITEMS) % MISSIONS
    habits = random.permuted(np.tile(np.arange(ITEMS), (HOUSEHOLDS, 1)), axis=1)[:, :4]
    rows = []
    for week in range(1, last_week + 1):
        for household in range(HOUSEHOLDS):
            theme = random.choice(np.flatnonzero(mission == random.integers(MISSIONS)), 4, replace=False)
            usual = habits[household][random.random(4) < 0.6]
            store = int(random.integers(STORES))
            rows.append((week, household, store, np.unique(np.concatenate([theme, usual]))))
    items = Items(KEYS, [f"TYPE {key}" for key in KEYS], ["ANY"] * ITEMS, ["ALL"] * ITEMS, np.ones(ITEMS))
    week, household, store, held = zip(*rows, strict=True)
    start = np.cumsum([0, *map(len, held)])
    columns = (np.asarray(column, dtype=np.int32) for column in (week, household, store))
    return Journey(items, Baskets(*columns, start, np.concatenate(held).astype(np.int32)))


WORLD = small_world()
FITTED = recall.fit(WORLD.items, WORLD.baskets)
HELD = [set(items.tolist()) for items in WORLD.baskets]
CARTS = st.lists(st.sampled_from(KEYS), min_size=1, max_size=8)


def complete(cart: list[str]) -> dict[str, list[Any]]:
    return {name: values[0] for name, values in FITTED.cooccurrence.predict({"cart": [cart]}).items()}


def both(first: str, second: str) -> int:
    return sum({int(first), int(second)} <= held for held in HELD)


def cosine(first: str, second: str) -> float:
    together = both(first, second)
    if together < item_cooccurrence.MIN_BASKETS:
        return 0.0
    return together / (both(first, first) * both(second, second)) ** 0.5


@given(cart=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True), place=st.integers(0, 9))
def test_a_candidate_carries_what_counting_baskets_by_hand_gives(cart: list[str], place: int) -> None:
    answer = complete(cart)
    item, because = answer["item"][place], answer["because"][place]
    assert answer["score"][place] == pytest.approx(sum(cosine(key, item) for key in cart), rel=1e-5)
    assert cosine(because, item) == pytest.approx(max(cosine(key, item) for key in cart))
    assert answer["baskets"][place] == both(because, item)
    shares = [both(key, item) / both(key, key) for key in cart]
    known = [share if cosine(key, item) else 0.0 for key, share in zip(cart, shares, strict=True)]
    assert answer["confidence"][place] == pytest.approx(np.mean(known), rel=1e-5)
    assert answer["lift"][place] == pytest.approx(
        max(known) and max(share * len(HELD) / both(item, item) for share in known), rel=1e-5
    )


@given(cart=CARTS, data=st.data())
def test_neither_the_order_of_the_cart_nor_a_doubled_or_unknown_line_matters(
    cart: list[str], data: st.DataObject
) -> None:
    changed = data.draw(st.permutations([*cart, cart[0], "no such key"]))
    assert complete(changed) == complete(cart)


@given(cart=CARTS)
def test_the_cart_itself_is_not_recommended_and_the_best_comes_first(cart: list[str]) -> None:
    answer = complete(cart)
    assert not set(answer["item"]) & set(cart)
    assert set(answer["because"]) <= set(cart)
    assert answer["score"] == sorted(answer["score"], reverse=True)
    assert len({len(values) for values in answer.values()}) == 1


@pytest.mark.parametrize("cart", [[], ["no such key"]])
def test_a_cart_that_says_nothing_gives_empty_lists(cart: list[str]) -> None:
    assert complete(cart) == {name: [] for name in item_cooccurrence.OUTPUTS}


@pytest.mark.parametrize("household", range(0, HOUSEHOLDS, 7))
def test_habits_are_shares_of_the_households_own_baskets(household: int) -> None:
    answer = FITTED.buy_it_again.predict({"customer": np.asarray([str(household)], dtype=object)})
    own = [held for held, whose in zip(HELD, WORLD.baskets.household, strict=True) if whose == household]
    times = Counter(item for held in own for item in held)
    assert dict(zip(map(int, answer["item"][0]), answer["times"][0], strict=True)) == times
    assert answer["times"][0] == sorted(times.values(), reverse=True)
    assert answer["score"][0] == [count / len(own) for count in answer["times"][0]]
    assert set(answer["of"][0]) == {len(own)}


def test_a_household_that_is_not_known_gets_empty_lists_beside_one_that_is() -> None:
    answer = FITTED.buy_it_again.predict({"customer": np.asarray(["nobody", "1"], dtype=object)})
    assert [len(values[0]) for values in answer.values()] == [0] * len(buy_it_again.OUTPUTS)
    assert answer["item"][1]


def test_recent_baskets_count_for_more() -> None:
    weeks = np.arange(1, 41, dtype=np.int32)
    item = np.where(weeks <= 20, 0, 1).astype(np.int32)
    one = np.zeros(40, dtype=np.int32)
    fitted = recall.fit(WORLD.items, Baskets(weeks, one, one, np.arange(41), item))
    answer = fitted.buy_it_again.predict({"customer": ["0"]})
    recent = dict(zip(answer["item"][0], answer["recent"][0], strict=True))
    assert answer["times"] == [[20, 20]]
    assert recent["0001"] > 3 * recent["0000"]


def test_a_store_that_is_not_known_gets_what_the_chain_sells_most() -> None:
    answer = popularity.Popularity(FITTED.popular).predict({"store": np.asarray(["0", "?"], dtype=object)})
    sold = Counter(item for held in HELD for item in held)
    assert answer["score"][1][0] == pytest.approx(max(sold.values()) / len(HELD))
    assert answer["score"][0] != answer["score"][1]


def test_weeks_are_cut_without_losing_or_moving_a_basket() -> None:
    early, late = WORLD.baskets.weeks(1, 20), WORLD.baskets.weeks(21, 53)
    joined = [items.tolist() for part in (early, late) for items in part]
    assert joined == [items.tolist() for items in WORLD.baskets]
    assert (early.week.max(), late.week.min()) == (20, 21)


def test_training_never_sees_the_weeks_that_measure_it() -> None:
    whole, cut = pipeline.train(WORLD), pipeline.train(small_world(last_week=48))
    assert whole.ranker.model_to_string() == cut.ranker.model_to_string()
    assert whole.blend_weight == cut.blend_weight
    np.testing.assert_array_equal(whole.recall.together["baskets"], cut.recall.together["baskets"])


def test_training_again_gives_the_same_bytes() -> None:
    first, second = pipeline.train(WORLD), pipeline.train(small_world())
    assert first.ranker.model_to_string() == second.ranker.model_to_string()


def test_where_habits_and_missions_can_be_learned_the_ranker_learns_both() -> None:
    quality = pipeline.measure(WORLD, pipeline.train(WORLD))
    rates = {method: figure.value for method, figure in quality.hit_rate.items()}
    assert rates["ranker"] > 1.5 * rates["popularity"]
    assert rates["ranker"] >= rates["household frequency"]
    assert all(figure.low <= figure.value <= figure.high for figure in quality.hit_rate.values())


HIDDEN = ranker.hide_one(WORLD.baskets.weeks(45, 48), 60, seed=2)
FOUND = ranker.candidates(recall.fit(WORLD.items, WORLD.baskets.weeks(1, 44)), HIDDEN)


def test_hidden_items_are_in_the_basket_and_not_in_the_cart() -> None:
    baskets = {(int(h), *sorted(held)) for h, held in zip(WORLD.baskets.household, HELD, strict=True)}
    for household, cart, item in zip(HIDDEN.household, HIDDEN.cart, HIDDEN.item, strict=True):
        assert (int(household), *sorted([*cart.tolist(), int(item)])) in baskets
        assert item not in cart


def test_a_place_is_the_number_of_candidates_before_the_hidden_item() -> None:
    score = np.round(np.random.default_rng(3).random(len(FOUND.item)), 1)
    placed = evaluate.places(FOUND, HIDDEN, score)
    stop = 0
    for row, size in enumerate(FOUND.size):
        cart = slice(stop, stop := stop + size)
        order = sorted(zip(-score[cart], FOUND.item[cart], strict=True))
        found = [item for _, item in order]
        expected = found.index(HIDDEN.item[row]) if HIDDEN.item[row] in found else evaluate.NEVER
        assert placed[row] == expected


def test_what_is_not_proposed_is_not_a_hit() -> None:
    nothing = np.full(len(FOUND.item), -np.inf)
    assert (evaluate.places(FOUND, HIDDEN, nothing) == evaluate.NEVER).all()


def test_popularity_is_measured_over_all_items_but_those_of_the_cart() -> None:
    share = np.random.default_rng(4).random(ITEMS)
    for placed, cart, item in zip(
        evaluate.popularity_places(share, HIDDEN), HIDDEN.cart, HIDDEN.item, strict=True
    ):
        others = [other for other in range(ITEMS) if other not in cart]
        assert sorted(others, key=lambda other: -share[other]).index(item) == placed


def test_a_goal_that_is_missed_says_short() -> None:
    figure = evaluate.Figure(0.04, 0.01, 0.07)
    gain = evaluate.Gain("ranker", "blend", 0.05, figure)
    assert gain.verdict == "short"
    assert replace(gain, goal=0.03).verdict == "ok"


def documents(name: str) -> dict[str, Any]:
    text = (EXAMPLE / name).read_text(encoding="utf-8")
    return {document["metadata"]["name"]: document["spec"] for document in yaml.safe_load_all(text)}


def test_the_graph_feeds_each_feature_from_the_output_that_the_ranker_learned_it_from() -> None:
    steps = {step["name"]: step for step in documents("graph.yaml")["basket"]["steps"]}
    expected = {feature: f"candidate.together.{output}" for feature, output in ranker.TOGETHER.items()}
    expected |= {feature: f"candidate.buy_again.{output}" for feature, output in ranker.AGAIN.items()}
    expected |= {"popularity": "candidate.popularity", "cart_size": "size(request.cart)"}
    assert steps["rank"]["rank"]["inputs"] == expected
    assert steps["together"]["recall"] | {"reason": ""} == {
        "model": "item-cooccurrence",
        "top": item_cooccurrence.TOP,
        "reason": "",
    }
    assert steps["buy-again"]["recall"] | {"reason": ""} == {
        "model": "buy-it-again",
        "top": buy_it_again.TOP,
        "reason": "",
    }


def test_the_ranker_stacks_its_inputs_in_the_order_it_learned_them() -> None:
    inputs = [column["name"] for column in documents("models.yaml")["basket-ranker"]["inputs"]]
    assert inputs == list(ranker.FEATURES)


@pytest.mark.parametrize(
    ("model", "outputs"),
    [("item-cooccurrence", item_cooccurrence.OUTPUTS), ("buy-it-again", buy_it_again.OUTPUTS)],
)
def test_models_declare_the_outputs_that_they_give(model: str, outputs: tuple[str, ...]) -> None:
    assert tuple(column["name"] for column in documents("models.yaml")[model]["outputs"]) == outputs


def test_names_are_distinct_and_codes_are_spelled_out() -> None:
    codes = ["FRZN BRKFST ROLLS", "NEW CODE (BULK", "NEW CODE (BAG", "BASIC PAPER PLATES"]
    names = display_names(codes, ["BREAD", "FRUIT", "FRUIT", "PAPER HOUSEWARES"])
    assert names[3] == "Paper plates"
    assert names[0].startswith("Frozen ")
    assert len(set(names)) == len(names)


def test_a_served_module_needs_numpy_and_nothing_of_the_example() -> None:
    modules = [Path(module.__file__ or "") for module in (item_cooccurrence, buy_it_again, popularity)]
    source = "import runpy, sys\nfor path in sys.argv[1:]: runpy.run_path(path)\nassert 'basket' not in sys.modules\n"
    source += "assert not {'scipy', 'pyarrow', 'lightgbm'} & set(sys.modules)\n"
    ran = subprocess.run(
        [sys.executable, "-I", "-c", source, *map(str, modules)], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
