# SPDX-License-Identifier: Apache-2.0
"""The example on its real data, trained, served by `endcap run` and asked over HTTP."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from basket import journey, pipeline, ranker
from basket.journey import Journey
from basket.pipeline import EXAMPLE, Trained

START_SECONDS = 120
REQUESTS = ("request.json", "request-other-household.json")


@pytest.fixture(scope="module")
def data() -> Journey:
    return journey.read()


@pytest.fixture(scope="module")
def trained(data: Journey) -> Trained:
    return pipeline.train(data)


@pytest.fixture(scope="module")
def resources(data: Journey, trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's YAML with artefacts that were trained just now."""
    folder = tmp_path_factory.mktemp("basket")
    for name in ("models.yaml", "graph.yaml", *REQUESTS):
        shutil.copy(EXAMPLE / name, folder)
    pipeline.publish(data, trained, folder)
    return folder


@pytest.fixture(scope="module")
def served(resources: Path) -> Iterator[httpx.Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "endcap_cli", "run", str(resources), "--port", str(port)]
    with (
        (resources / "run.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
    ):
        try:
            until_whole(client, resources)
            yield client
        finally:
            process.terminate()


def until_whole(client: httpx.Client, resources: Path) -> None:
    """Wait until an answer comes from every model."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            if client.post("/basket", json=request(resources, REQUESTS[0])).json().get("degraded") == []:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError((resources / "run.log").read_text())


def request(resources: Path, name: str) -> dict[str, Any]:
    asked: dict[str, Any] = json.loads((resources / name).read_text(encoding="utf-8"))
    return asked


def recommended(client: httpx.Client, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """What an answer recommends; asked anew while a busy machine makes a step too late."""
    for _ in range(20):
        answer = client.post("/basket", json=asked).json()
        if answer["degraded"] == []:
            return list(answer["recommendations"])
    raise AssertionError(answer)


def test_party_supplies_are_completed_by_cutlery_and_the_reason_says_how_often(
    served: httpx.Client, resources: Path
) -> None:
    first = recommended(served, request(resources, "request.json"))[0]
    assert first["product"] == "Plastic cutlery & tablecloths"
    assert first["reason"].startswith("Bought together with Plastic cups in ")


def test_the_same_cart_in_two_households_is_another_order_with_its_reason(
    served: httpx.Client, resources: Path
) -> None:
    one, other = (recommended(served, request(resources, name)) for name in REQUESTS)
    assert [item["product"] for item in one] != [item["product"] for item in other]
    assert other[0]["reason"].startswith("You bought it in ")


def test_a_household_that_nobody_knows_is_answered_from_the_cart(
    served: httpx.Client, resources: Path
) -> None:
    asked = request(resources, "request.json") | {"customer": "new here"}
    found = recommended(served, asked)
    assert found[0]["product"] == "Plastic cutlery & tablecloths"
    assert {source for item in found for source in item["sources"]} == {"together"}


def test_a_product_that_is_misspelled_is_refused_with_the_nearest(
    served: httpx.Client, resources: Path
) -> None:
    refused = served.post("/basket", json=request(resources, "request.json") | {"cart": ["Plastik cups"]})
    assert refused.status_code == 422
    assert "Plastic cups" in refused.text


def test_what_is_served_is_scored_as_what_was_learned(
    served: httpx.Client, resources: Path, data: Journey, trained: Trained
) -> None:
    """Features that differed between training and serving by one bit would show in some score of 40 baskets."""
    hidden = ranker.hide_one(data.baskets.weeks(49, 53), 40, seed=9)
    found = ranker.candidates(trained.recall, hidden)
    catalogue = pq.read_table(next((resources / "store/models/catalogue").iterdir())).to_pylist()
    scores = np.split(ranker.score(trained.ranker, found), np.cumsum(found.size)[:-1])
    items = np.split(found.item, np.cumsum(found.size)[:-1])
    for row, (score, item) in enumerate(zip(scores, items, strict=True)):
        store = str(hidden.store[row])
        known = {catalogue[number]["name"]: value for number, value in zip(item, score, strict=True)}
        asked = {"customer": str(hidden.household[row]), "store": store, "limit": 10}
        cart = [catalogue[number]["name"] for number in hidden.cart[row][::-1]]
        answer = recommended(served, asked | {"cart": cart})
        expected = by_the_rules([catalogue[number] for number in item], score, store)
        assert [known[one["product"]] for one in answer] == expected


def by_the_rules(rows: list[dict[str, Any]], score: np.ndarray, store: str) -> list[float]:
    """The ten best scores after the graph's rules: sold in the store, for everyone, two a category."""
    seen: Counter[str] = Counter()
    kept = []
    for place in np.argsort(-score, kind="stable"):
        row = rows[place]
        if store in row["stores"] and not row["adults_only"]:
            seen[row["category"]] += 1
            kept += [float(score[place])] if seen[row["category"]] <= 2 else []
    return kept[:10]


def test_the_ranker_beats_the_blend_and_popularity_on_weeks_it_never_saw(
    data: Journey, trained: Trained
) -> None:
    quality = pipeline.measure(data, trained)
    assert quality.baskets >= 3000
    assert {(gain.over, gain.verdict) for gain in quality.gains} == {("blend", "ok"), ("popularity", "ok")}
