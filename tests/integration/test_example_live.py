# SPDX-License-Identifier: Apache-2.0
"""The example on its real data: trained, served by `endcap run`, and asked before and after real baskets arrive."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from basket import ranker as basket
from example_runs import running
from live import history, pipeline, ranker
from live.events import Replay, events, lines
from live.history import History
from live.pipeline import Trained
from live.resources import EXAMPLE

APPLIED_SECONDS = 120
FILES = ("models.yaml", "features.yaml", "graph.yaml", "remind.yaml", "request.json")
# Tiles are cut by the clock: a shift of whole tiles leaves each event in a tile with the same neighbours.
TILE = timedelta(minutes=15)


@dataclass(frozen=True)
class Shop:
    """What `endcap run` serves: the graphs by name, and the ingest."""

    folder: Path
    urls: dict[str, str]
    ingest: str

    def ask(self, graph: str, **changes: Any) -> dict[str, Any]:
        """An answer to which every step contributed; asked anew while a busy machine makes a step too late."""
        request = json.loads((EXAMPLE / "request.json").read_text()) | changes
        if graph == "remind":
            request = {name: request[name] for name in ("customer", "limit")}
        answer: dict[str, Any] = {}
        for _ in range(20):
            answer = httpx.post(self.urls[graph], params={"explain": "true"}, json=request, timeout=10).json()
            if answer["degraded"] == []:
                return answer
        raise AssertionError(answer)

    def command(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "endcap_cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@dataclass(frozen=True)
class Replayed:
    """The shop with what it answered before any event, and by how many milliseconds the events were moved."""

    shop: Shop
    before: dict[int, dict[str, Any]]
    shift_ms: int


@pytest.fixture(scope="module")
def data() -> History:
    return history.read()


@pytest.fixture(scope="module")
def trained(data: History) -> Trained:
    return pipeline.train(data)


@pytest.fixture(scope="module")
def shop(data: History, trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("live")
    for name in FILES:
        shutil.copy(EXAMPLE / name, folder)
    pipeline.publish(data, trained, folder)
    with running(folder, ["live-basket", "remind"]) as places:
        yield Shop(folder, places.graphs, places.ingest)


@pytest.fixture(scope="module")
def replayed(shop: Shop, data: History) -> Replayed:
    """Facts loaded, then the answers, then everything that happened until the moment of the replay."""
    shop.command("features", "load", "product-facts", "store/product-facts.parquet", "--url", shop.ingest)
    before = {
        household: shop.ask("live-basket", customer=str(household)) for household in Replay().households
    }
    shift = (datetime.now(UTC) - Replay().until) // TILE * TILE
    made = list(events(data, Replay(moved=shift)))
    kind = {"content-type": "application/cloudevents-batch+json"}
    for start in range(0, len(made), 500):
        sent = httpx.post(
            f"{shop.ingest}/v1/events",
            content=json.dumps(made[start : start + 500]),
            headers=kind,
            timeout=30,
        )
        assert sent.status_code == 202, sent.text
    until_applied(shop, len(made))
    return Replayed(shop, before, int(shift.total_seconds() * 1000))


def until_applied(shop: Shop, count: int) -> None:
    end = time.monotonic() + APPLIED_SECONDS
    state: dict[str, Any] = {}
    while time.monotonic() < end:
        state = httpx.get(f"{shop.ingest}/v1/views").json()
        applied = [state["views"][name]["applied"] for name in ("household-product", "product-activity")]
        if state["backlog"] == 0 and applied == [count, count]:
            return
        time.sleep(0.1)
    raise AssertionError(state)


def products(answer: dict[str, Any]) -> list[str]:
    return [item["product"] for item in answer["recommendations"]]


def offline(
    data: History, trained: Trained, household: int, at_ms: int, cart: list[int]
) -> basket.Candidates:
    """The candidates with features counted from the events that were sent, at that moment of 2017."""
    sent = lines(data, Replay())
    part = replace(
        data,
        basket=data.basket[sent],
        household=data.household[sent],
        item=data.item[sent],
        cents=data.cents[sent],
    )
    whole = np.asarray(cart, dtype=np.int32)
    one = np.asarray([0])
    hidden = basket.Hidden(one, np.asarray([household], dtype=np.int32), one.astype(np.int32), [whole], one)
    found = basket.candidates(trained.recall, hidden)
    at = np.asarray([at_ms + ranker.BEFORE_MS])
    return ranker.enriched(found, hidden, at, ranker.LiveFeatures(part), trained.facts)


def explained(answer: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]], int]:
    """What an answer says it used: features of the request, features of each product, and the moment."""
    steps = {step["step"]: step for step in answer["explain"] if step.get("features")}
    request = {each["name"]: each["value"] for each in steps["household"]["features"]}
    of_product: dict[str, dict[str, Any]] = {}
    for step in ("habit", "product"):
        for feature in steps[step]["features"]:
            for each in feature["products"]:
                of_product.setdefault(each["product"], {})[feature["name"]] = each["value"]
    to = datetime.fromisoformat(steps["household"]["features"][0]["window"]["to"])
    return request, of_product, round(to.timestamp() * 1000)


CARTS = (
    ("Paper plates", "Plastic cups", "Paper napkins"),
    ("Milk", "White bread"),
    ("Spaghetti",),
)


@pytest.mark.parametrize("household", Replay().households)
@pytest.mark.parametrize("names", CARTS)
def test_what_is_served_is_what_training_would_have_counted_and_scored(
    replayed: Replayed, data: History, trained: Trained, household: int, names: tuple[str, ...]
) -> None:
    """Windows, facts and scores of the store and of the history are equal, so the order is the same."""
    shop = replayed.shop
    catalogue = pq.read_table(next((shop.folder / "store/models/catalogue").iterdir())).to_pylist()
    place = {row["name"]: number for number, row in enumerate(catalogue)}
    answer = shop.ask("live-basket", customer=str(household), cart=list(names), limit=10)
    request, of_product, at_ms = explained(answer)
    cart = [place[name] for name in names if name in place]
    found = offline(data, trained, household, at_ms - replayed.shift_ms, cart)
    score = ranker.score(trained.ranker, found)
    row_of = {catalogue[item]["name"]: row for row, item in enumerate(found.item.tolist())}
    for name, value in request.items():
        assert value == found.features[name][0], name
    for product, features in of_product.items():
        assert features == {name: found.features[name][row_of[product]] for name in features}
    served = [score[row_of[product]] for product in products(answer)]
    assert served == sorted(served, reverse=True)
    assert len(served) == 10


def test_events_change_the_order_by_what_the_household_bought(replayed: Replayed) -> None:
    for household, before in replayed.before.items():
        after = replayed.shop.ask("live-basket", customer=str(household))
        assert products(after) != products(before)
        _, now, _ = explained(after)
        _, then, _ = explained(before)
        risen = next(product for product in products(after) if product not in products(before)[:3])
        assert now[risen]["bought_672h"] > 0
        assert all(features["bought_672h"] == 0 for features in then.values())


def test_facts_are_known_before_any_event(replayed: Replayed) -> None:
    _, then, _ = explained(replayed.before[13])
    assert all(features["repeat_days"] > 0 for features in then.values())


def test_a_second_graph_repeats_the_answer_and_asks_no_model(replayed: Replayed) -> None:
    shop = replayed.shop
    answered = products(shop.ask("live-basket", limit=4))
    end = time.monotonic() + 10
    while products(again := shop.ask("remind", limit=10)) != answered:
        assert time.monotonic() < end, again
    assert again["served_by"] == {}
    assert {item["reason"] for item in again["recommendations"]} == {"Recommended to you last time"}


def test_live_features_beat_the_ranker_without_them_on_weeks_it_never_saw(
    data: History, trained: Trained
) -> None:
    quality = pipeline.measure(data, trained)
    assert quality.baskets >= 3000
    assert [gain.verdict for gain in quality.gains] == ["ok"]
