# SPDX-License-Identifier: Apache-2.0
"""The example's live features on a small seeded history: windows against brute force, and no look into the future."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from basket import ranker as basket
from hypothesis import given
from hypothesis import strategies as st
from live import facts, ranker
from live.events import DAY_MS, Replay, events
from live.history import History
from live.resources import specs, view
from live.windows import Events, Windows
from shopping_history import BASKETS, HOUSEHOLDS, ITEMS, small_history

from endcap_api.feature_checks import bundle_problems, view_problems
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec

HOUR = 3_600_000
VIEWS = ("household-activity", "household-product", "product-activity")
HISTORY = small_history()
DATA = {
    "household_id": HISTORY.household,
    "product_id": HISTORY.item,
    "basket_id": HISTORY.basket,
    "amount": HISTORY.cents,
}
WINDOWS = {name: Windows(view(name), Events(HISTORY.time_ms, DATA)) for name in VIEWS}


def by_hand(spec: FeatureViewSpec, keys: dict[str, int], at: int) -> dict[str, float]:
    """Every column of a view by going through all events."""
    found = {}
    for feature in spec.features:
        for window in (feature.windows or []) if feature.type != "array" else []:
            low = at - milliseconds(window)
            stream = spec.source.stream
            assert stream is not None
            tile = milliseconds((stream.tiles or {}).get(window, "1s"))
            rows = [
                row
                for row, time in enumerate(HISTORY.time_ms.tolist())
                if all(DATA[key][row] == value for key, value in keys.items())
                and (
                    math.floor(low / tile) * tile <= time <= at
                    if stream.storage == "tiles"
                    else low < time <= at
                )
            ]
            values = [int(DATA[feature.field][row]) for row in rows] if feature.field else []
            counted = {"count": len(rows), "sum": sum(values) / 100, "distinct": len(set(values))}
            found[f"{feature.name}_{window}"] = float(counted[str(feature.aggregation)])
    return found


@given(
    name=st.sampled_from(VIEWS),
    household=st.integers(1, HOUSEHOLDS),
    item=st.integers(0, ITEMS - 1),
    row=st.integers(0, len(HISTORY.item) - 1),
    off=st.sampled_from((0, -1, 1, HOUR, 24 * HOUR, 168 * HOUR, 672 * HOUR, 672 * HOUR + 1, -60 * DAY_MS)),
)
def test_a_window_holds_what_its_yaml_says_to_the_millisecond(
    name: str, household: int, item: int, row: int, off: int
) -> None:
    at = int(HISTORY.time_ms[row]) + off
    keys = {
        key.name: {"household_id": household, "product_id": item}[key.name] for key in view(name).entity.keys
    }
    asked = {key: np.asarray([value]) for key, value in keys.items()}
    found = WINDOWS[name].columns(asked, np.asarray([at]))
    assert {column: float(values[0]) for column, values in found.items()} == by_hand(view(name), keys, at)


def carts() -> tuple[basket.Hidden, basket.Candidates]:
    """Every basket as a cart whose first item is hidden, and all products as its candidates."""
    rows = np.arange(BASKETS)
    baskets = HISTORY.journey.baskets
    held = list(baskets)
    hidden = basket.Hidden(
        rows,
        baskets.household,
        baskets.store,
        [items[1:] for items in held],
        np.asarray([i[0] for i in held]),
    )
    item = np.tile(np.arange(ITEMS, dtype=np.int32), BASKETS)
    return hidden, basket.Candidates(np.full(BASKETS, ITEMS), item, {})


def learned(history: History) -> dict[str, np.ndarray]:
    hidden, found = carts()
    known = facts.Facts(np.zeros(ITEMS), np.zeros(ITEMS))
    live = ranker.LiveFeatures(history)
    return ranker.enriched(found, hidden, HISTORY.at_ms, live, known).features


def test_the_basket_that_is_ranked_and_all_later_ones_are_not_known_to_its_features() -> None:
    middle = BASKETS // 2
    rows = slice(0, (middle + 1) * ITEMS)
    later = HISTORY.basket >= middle
    changed = replace(HISTORY, cents=np.where(later, 1, HISTORY.cents), item=np.where(later, 0, HISTORY.item))
    before, after = learned(HISTORY), learned(changed)
    assert {name: values[rows].tolist() for name, values in before.items()} == {
        name: values[rows].tolist() for name, values in after.items()
    }
    assert before["bought_672h"].tolist() != after["bought_672h"].tolist()


def test_an_empty_store_is_what_a_store_without_events_answers() -> None:
    hidden, found = carts()
    live = ranker.LiveFeatures(HISTORY)
    known = facts.count(HISTORY, 7)
    long_ago = HISTORY.at_ms - 400 * DAY_MS
    unseen = ranker.enriched(found, hidden, long_ago, live, known).features
    assumed = ranker.nothing_known(ranker.enriched(found, hidden, HISTORY.at_ms, live, known)).features
    assert {name: values.tolist() for name, values in unseen.items()} == {
        name: values.tolist() for name, values in assumed.items()
    }


@pytest.mark.parametrize("item", range(ITEMS))
def test_facts_are_counted_from_the_gaps_between_a_households_purchases(item: int) -> None:
    last_week = 5
    gaps, bought = [], 0
    for household in range(1, HOUSEHOLDS + 1):
        whose = (HISTORY.household == household) & (HISTORY.item == item)
        times = sorted(
            HISTORY.time_ms[whose & (HISTORY.journey.baskets.week[HISTORY.basket] <= last_week)].tolist()
        )
        gaps += [(late - early) / DAY_MS for early, late in pairwise(times)]
        bought += len(times)
    found = facts.count(HISTORY, last_week)
    assert found.repeat_days[item] == pytest.approx(np.median(gaps), abs=1e-4)
    assert found.repeat_share[item] == pytest.approx(sum(gap <= 28 for gap in gaps) / bought, abs=1e-4)


def test_a_replay_is_everybodys_last_day_and_four_weeks_of_who_was_named() -> None:
    until = datetime(2017, 7, 10, 12, tzinfo=UTC)
    made = list(events(HISTORY, Replay(until, [2])))
    at = int(until.timestamp() * 1000)
    age = at - HISTORY.time_ms
    expected = (age >= 0) & ((age < DAY_MS) | ((HISTORY.household == 2) & (age < 28 * DAY_MS)))
    assert len(made) == expected.sum()
    assert len({event["id"] for event in made}) == len(made)
    assert [event["time"] for event in made] == sorted(event["time"] for event in made)
    paid = sum(event["data"]["amount"] for event in made)
    assert paid == pytest.approx(HISTORY.cents[expected].sum() / 100)


def test_an_event_holds_every_key_and_field_that_the_views_read() -> None:
    event = next(events(HISTORY, Replay(datetime(2017, 7, 10, 12, tzinfo=UTC), [2])))
    specs_of = [view(name) for name in VIEWS]
    keys = {key.name for spec in specs_of for key in spec.entity.keys}
    fields = {feature.field for spec in specs_of for feature in spec.features if feature.field}
    assert keys | fields <= set(event["data"])
    assert {feature.event for spec in specs_of for feature in spec.features} == {event["type"]}


def resources(kind: str, file: str = "features.yaml") -> dict[str, Any]:
    return {name: spec for (found, name), spec in specs(file).items() if found == kind}


def test_views_and_bundles_have_no_problem() -> None:
    views = {name: FeatureViewSpec.model_validate(spec) for name, spec in resources("FeatureView").items()}
    bundles = [FeatureBundleSpec.model_validate(spec) for spec in resources("FeatureBundle").values()]
    assert [problem for spec in views.values() for problem in view_problems(spec)] == []
    assert [problem for bundle in bundles for problem in bundle_problems(bundle, views)] == []


def test_the_graph_feeds_each_live_feature_from_the_column_that_the_ranker_learned_it_from() -> None:
    steps = {step["name"]: step for step in resources("InferenceGraph", "graph.yaml")["live-basket"]["steps"]}
    inputs = steps["rank"]["rank"]["inputs"]
    owners = {"household.": ranker.HOUSEHOLD, "candidate.habit.": ranker.HABIT}
    owners["candidate.product."] = (*ranker.PRODUCT, *ranker.FACTS)
    expected = {name: f"{owner}{name}" for owner, names in owners.items() for name in names}
    assert {name: inputs[name] for name in ranker.LIVE} == expected
    assert set(inputs) == set(ranker.FEATURES)


def test_the_ranker_stacks_its_inputs_in_the_order_it_learned_them() -> None:
    model = resources("ModelDeployment", "models.yaml")["live-ranker"]
    assert [column["name"] for column in model["inputs"]] == list(ranker.FEATURES)


def test_the_recall_models_are_those_of_the_first_example() -> None:
    here = resources("ModelDeployment", "models.yaml")
    there = {name: spec for (_, name), spec in specs("../01-basket/models.yaml").items()}
    shared = set(there) - {"basket-ranker"}
    assert {name: here[name] for name in shared} == {name: there[name] for name in shared}


def test_the_catalogue_is_that_of_the_first_example() -> None:
    graphs = {"../01-basket/graph.yaml": "basket", "graph.yaml": "live-basket", "remind.yaml": "remind"}
    pinned = [resources("InferenceGraph", file)[name]["catalogue"] for file, name in graphs.items()]
    assert len({catalogue["sha256"] for catalogue in pinned}) == 1
