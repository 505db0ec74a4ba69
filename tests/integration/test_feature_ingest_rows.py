# SPDX-License-Identifier: Apache-2.0
"""The bulk writer of precomputed views: Parquet and JSON in, newer wins, and a bad cell refuses the whole file."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingest_servers import PARQUET, Ingest, features, ingest
from redis_servers import RedisServer, redis_server

ROWS = "/v1/views/profile/rows"
BUNDLES = {
    "person": {
        "features": [
            {"view": "profile", "feature": name} for name in ("segment", "visits", "affinity", "aisles")
        ]
    }
}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def pod(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    config = {**features(server.url), "bundles": BUNDLES}
    with ingest(config, tmp_path_factory.mktemp("pod")) as running:
        yield running


@pytest.fixture(autouse=True)
def empty(server: RedisServer) -> None:
    with server.client() as client:
        for key in client.scan_iter("*:profile@*"):
            client.delete(key)


def parquet(columns: Mapping[str, Any]) -> bytes:
    buffer = BytesIO()
    pq.write_table(pa.table(dict(columns)), buffer)
    return buffer.getvalue()


def person(pod: Ingest, *customers: str) -> dict[str, Any]:
    answer = pod.post("/v1/bundles/person", json.dumps({"keys": {"customer_id": customers}}).encode())
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value


def test_a_parquet_file_becomes_features_at_once(pod: Ingest) -> None:
    body = parquet(
        {
            "customer_id": ["1", "2"],
            "segment": ["loyal", "lapsed"],
            "visits": [3, 4],
            "affinity": [0.5, 0.25],
            "aisles": [["dairy"], []],
        }
    )
    assert pod.post(ROWS, body, PARQUET).json() == {"written": 2, "older": 0}
    found = person(pod, "1", "2", "3")
    assert found["columns"] == {
        "segment": ["loyal", "lapsed", "new"],
        "visits": [3, 4, 0],
        "affinity": [0.5, 0.25, 0.0],
        "aisles": [["dairy"], [], []],
    }
    assert found["statuses"]["visits"] == ["PRESENT", "PRESENT", "DEFAULTED"]
    assert pod.get("/v1/views")["views"]["profile"]["rows"] >= 2


def test_cells_that_are_null_are_not_there(pod: Ingest) -> None:
    body = parquet({"customer_id": ["1"], "segment": pa.array([None], pa.string()), "visits": [3]})
    assert pod.post(ROWS, body, PARQUET).json() == {"written": 1, "older": 0}
    found = person(pod, "1")
    assert (found["columns"]["segment"], found["statuses"]["segment"]) == (["new"], ["DEFAULTED"])
    assert (found["columns"]["visits"], found["statuses"]["visits"]) == ([3], ["PRESENT"])


def test_json_says_the_same(pod: Ingest) -> None:
    columns = {"customer_id": ["1"], "segment": ["loyal"], "aisles": [["dairy", "deli"]]}
    assert pod.post(ROWS, json.dumps({"columns": columns}).encode()).json() == {"written": 1, "older": 0}
    assert person(pod, "1")["columns"]["aisles"] == [["dairy", "deli"]]


def test_an_older_row_changes_nothing(pod: Ingest) -> None:
    now = datetime.now(UTC)
    for at, visits, answer in ((0, 1, (1, 0)), (-1, 2, (0, 1)), (0, 3, (0, 1)), (1, 4, (1, 0))):
        moment = (now + timedelta(seconds=at)).isoformat()
        body = json.dumps({"columns": {"customer_id": ["1"], "visits": [visits], "updated_at": [moment]}})
        told = pod.post(ROWS, body.encode()).json()
        assert (told["written"], told["older"]) == answer
    assert person(pod, "1")["columns"]["visits"] == [4]


def test_of_many_writers_the_newest_row_stays(pod: Ingest) -> None:
    """Whatever the order in which they get through."""
    now = datetime.now(UTC)
    customers = [str(number) for number in range(50)]

    def write(age: int) -> None:
        moments = pa.array([now - timedelta(seconds=age)] * 50, pa.timestamp("ms", "UTC"))
        body = parquet({"customer_id": customers, "visits": [age] * 50, "updated_at": moments})
        while (answer := pod.post(ROWS, body, PARQUET)).status_code == 503:  # two write at a time
            time.sleep(int(answer.headers["retry-after"]) / 20)
        assert answer.status_code == 200

    threads = [threading.Thread(target=write, args=(age,)) for age in (5, 3, 8, 1, 9, 2, 7, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert person(pod, *customers)["columns"]["visits"] == [1] * 50


@pytest.mark.parametrize(
    "moment",
    [
        pa.array([10**17], pa.timestamp("ms", "UTC")),
        pa.array([-(10**17)], pa.timestamp("ms", "UTC")),
        pa.array([None], pa.timestamp("ms", "UTC")),
    ],
    ids=["a distant future", "a distant past", "none"],
)
def test_a_time_that_is_none_of_a_row_is_named(pod: Ingest, moment: Any) -> None:
    answer = pod.post(ROWS, parquet({"customer_id": ["1"], "updated_at": moment}), PARQUET)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == "updated_at[0]"


@pytest.mark.parametrize(
    ("columns", "field", "told"),
    [
        ({"visits": [1]}, "customer_id", "missing"),
        ({"customer_id": ["1"], "visit": [1]}, "visit", "did you mean visits?"),
        ({"customer_id": ["1"], "zzz": [1]}, "zzz", "remove it"),
        ({"customer_id": [1]}, "customer_id", "must be string"),
        ({"customer_id": ["1"], "visits": ["3"]}, "visits", "must be integer"),
        ({"customer_id": ["1"], "visits": [3.5]}, "visits", "must be integer"),
        ({"customer_id": ["1"], "affinity": ["x"]}, "affinity", "must be number"),
        ({"customer_id": ["1"], "aisles": ["dairy"]}, "aisles", "must be array of string"),
        ({"customer_id": ["1"], "aisles": [[1]]}, "aisles", "must be array of string"),
        ({"customer_id": ["1"], "updated_at": [NOON.replace(tzinfo=None)]}, "updated_at", "time zone"),
        ({"customer_id": ["1", ""], "visits": [1, 2]}, "customer_id[1]", "1 to 128 bytes"),
        ({"customer_id": ["1", None], "visits": [1, 2]}, "customer_id[1]", "null"),
        ({"customer_id": ["1", "{2}"], "visits": [1, 2]}, "customer_id[1]", "{"),
        ({"customer_id": ["1", "2"], "segment": ["a", "x" * 17]}, "segment[1]", "maxLength"),
        ({"customer_id": ["1", "2"], "affinity": [1.0, float("nan")]}, "affinity[1]", "finite"),
        ({"customer_id": ["1"], "aisles": [list("abcde")]}, "aisles[0]", "maxItems"),
        (
            {"customer_id": ["1"], "updated_at": [datetime.now(UTC) + timedelta(hours=1)]},
            "updated_at[0]",
            "leave the column out",
        ),
    ],
)
def test_a_bad_column_or_cell_refuses_the_file_and_is_named(
    pod: Ingest, columns: dict[str, Any], field: str, told: str
) -> None:
    answer = pod.post(ROWS, parquet(columns), PARQUET)
    assert answer.status_code == 422, answer.text
    (fault,) = answer.json()["errors"]
    assert fault["field"] == field
    assert told in fault["message"]
    assert person(pod, "1")["statuses"]["visits"] == ["DEFAULTED"]


@pytest.mark.parametrize(
    ("path", "body", "kind", "status"),
    [
        (ROWS, b"PAR1 no parquet", PARQUET, 422),
        (ROWS, b'{"columns": {"customer_id": ["1"], "visits": []}}', "application/json", 422),
        (ROWS, b'{"columns": {"customer_id": "1"}}', "application/json", 422),
        (ROWS, b'{"rows": []}', "application/json", 422),
        (ROWS, b"{}", "text/csv", 415),
        (ROWS + "?a=b", b"{}", "application/json", 422),
        ("/v1/views/profil/rows", b"{}", "application/json", 404),
        ("/v1/views/activity/rows", b"{}", "application/json", 409),
        ("/v1/bundles/persn", b'{"keys": {}}', "application/json", 404),
        ("/v1/bundles/person", b'{"keys": {"customer": ["1"]}}', "application/json", 422),
        ("/v1/bundles/person", b'{"keys": {"customer_id": ["1"]}, "explain": 1}', "application/json", 422),
    ],
)
def test_what_does_not_fit_is_refused(pod: Ingest, path: str, body: bytes, kind: str, status: int) -> None:
    answer = pod.post(path, body, kind)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_too_many_rows_are_refused_before_they_are_read(pod: Ingest) -> None:
    body = parquet({"customer_id": ["1"] * 50_001, "visits": [1] * 50_001})
    assert pod.post(ROWS, body, PARQUET).status_code == 413


def test_a_small_file_that_stands_for_gigabytes_is_refused(pod: Ingest) -> None:
    """One long text in a dictionary, fifty thousand times; and a list that goes on and on."""
    customers = [str(number) for number in range(50_000)]
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), pa.array(["x" * 500_000]))
    body = parquet({"customer_id": customers, "segment": long})
    assert len(body) < 2_000_000
    assert pod.post(ROWS, body, PARQUET).status_code == 413
    endless = pa.array([["a"] * 2_000_000], pa.list_(pa.string()))
    assert pod.post(ROWS, parquet({"customer_id": ["1"], "aisles": endless}), PARQUET).status_code == 413
    assert pod.get("/livez") == {"live": True}


def test_a_bundle_is_explained(pod: Ingest) -> None:
    body = json.dumps({"keys": {"customer_id": ["1"]}, "explain": True}).encode()
    assert pod.post("/v1/bundles/person", body).json()["explain"]["visits"]["feature"] == "visits"
