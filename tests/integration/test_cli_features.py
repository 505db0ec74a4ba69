# SPDX-License-Identifier: Apache-2.0
"""The laptop's path of the feature store: a folder that runs, its ranking, and every command on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import changed
from local_feature_runs import FeatureFolder, FeatureRun, features, purchase, purchases, until, written
from local_runs import parents, products

READY = "edits of the YAML files are followed"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> FeatureFolder:
    return FeatureFolder(tmp_path_factory.mktemp("features") / "shop", make=True)


@pytest.fixture(scope="module")
def run(folder: FeatureFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureRun]:
    running = FeatureRun(folder, tmp_path_factory.mktemp("run"))
    running.until_said(READY)
    yield running
    running.end()


def test_the_ranking_changes_as_events_arrive(run: FeatureRun, tmp_path: Path) -> None:
    """Product 3 is the better candidate, until product 2 is sold more often."""
    said = run.said.read_text()
    assert "starting 1 store, 2 models and 1 graph" in said
    assert f"default takes events on {run.url}/v1/events" in run.printed.read_text()
    assert products(run.ask()) == ["Candles", "Plastic cups"]

    events = written(tmp_path / "events.jsonl", *purchases(12))
    assert run.command("events", "send", str(events)).stdout == "12 accepted, 0 refused\n"
    answer = run.until_served(lambda one: products(one) == ["Plastic cups", "Candles"])
    assert answer["degraded"] == []
    assert features(run, "product", product_id="2") == {"sold_1h": 12, "turnover": 119.88, "margin": 0.1}

    again = run.command("events", "send", str(events))
    assert again.stdout == "12 accepted, 0 refused\n"
    checked = run.command(
        "features", "check", "product", "--events", str(events), "--files", str(run.folder.path)
    )
    assert "no differences, 2 equal" in checked.stdout


def test_what_the_graph_answered_is_written_back_and_logged(run: FeatureRun, tmp_path: Path) -> None:
    shown = run.ask()
    until(lambda: features(run, "customer", customer_id="7")["last_products"], lambda value: len(value) == 2)
    request = shown["request_id"]
    logged = until(
        lambda: run.command("features", "log", "--request", request, status=None).stdout,
        lambda text: text != "",
    )
    rows = [json.loads(line) for line in logged.splitlines()]
    assert [row["item.product_id"] for row in rows] == features(run, "customer", customer_id="7")[
        "last_products"
    ]
    assert {row["request_id"] for row in rows} == {request}
    assert {row["who.customer_id"] for row in rows} == {"7"}
    target = tmp_path / "served.parquet"
    run.command("features", "log", "--output", str(target))
    untold = pq.read_schema(target)
    assert {"request_id", "time", "item.sold_1h", "who.buys_1h"} <= set(untold.names)
    files = ("--files", str(run.folder.path))
    run.command("features", "log", "--request", request, "--output", str(target), *files)
    told = pq.read_schema(target)
    assert told.field("who.favourites_1h").type == pa.list_(pa.string())
    assert told.field("item.turnover").type == pa.float64()
    assert told == untold
    said = run.command("features", "log", *files, status=2).stderr
    assert "--files: only Parquet has types" in said


def test_features_are_shown_with_status_window_and_meaning(run: FeatureRun) -> None:
    shown = run.command("features", "get", "product", "product_id=2", "product_id=nobody", "--explain").stdout
    head, *rows = [line.split() for line in shown.splitlines()]
    assert head == ["ENTITY", "FEATURE", "VALUE", "STATUS", "FRESHNESS", "WINDOW", "DESCRIPTION"]
    assert len(rows) == 6
    by_name = {(row[0], row[1]): row for row in rows}
    sold = by_name["2", "sold_1h"]
    assert sold[3] == "PRESENT"
    assert sold[-5:] == ["How", "often", "it", "was", "sold"]
    assert by_name["nobody", "sold_1h"][2:4] == ["0", "DEFAULTED"]
    wrong = run.command("features", "get", "product", "customer_id=2", status=1).stderr
    assert "product_id" in wrong
    unknown = run.command("features", "get", "produkt", "product_id=2", status=1).stderr
    assert "product" in unknown


def test_refused_events_are_told_by_line_and_the_others_are_taken(run: FeatureRun, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    bad = [purchase(900 + n, "4", now, **data) for n, data in enumerate(({"amount": 501}, {"amount": None}))]
    bad.append({**purchase(910, "4", now), "type": "purchse"})
    bad.append(purchase(911, "4", now, amount=float("nan")))
    good = [purchase(920 + n, "4", now) for n in range(3)]
    path = written(
        tmp_path / "mixed.jsonl", good[0], bad[0], "{", good[1], bad[1], bad[2], "", good[2], bad[3]
    )
    done = run.command("events", "send", str(path), status=1)
    *lines, summary = done.stdout.splitlines()
    assert summary == "3 accepted, 5 refused"
    numbers = sorted(int(line.removeprefix(f"{path}:").split(":")[0]) for line in lines)
    assert numbers == [2, 3, 5, 6, 9]
    assert any("data.amount: " in line and "500" in line for line in lines)
    assert any("purchase" in line and ":6: type" in line for line in lines)
    until(lambda: features(run, "product", product_id="4")["sold_1h"], lambda value: value == 3)


def test_history_is_replayed_as_if_it_were_now(run: FeatureRun, tmp_path: Path) -> None:
    long_ago = datetime(2025, 1, 1, tzinfo=UTC)
    old = [purchase(1000 + n, "5", long_ago + timedelta(minutes=n)) for n in range(10)]
    path = written(tmp_path / "history.jsonl", *reversed(old))
    sent = tmp_path / "sent.jsonl"
    run.command("events", "send", str(path), "--now", "--save", str(sent))
    until(lambda: features(run, "product", product_id="5")["sold_1h"], lambda value: value == 10)
    assert [json.loads(line)["id"] for line in sent.read_text().splitlines()] == [
        f"e{n}" for n in range(1009, 999, -1)
    ]
    files = ("--files", str(run.folder.path))
    assert (
        "no differences" in run.command("features", "check", "product", "--events", str(sent), *files).stdout
    )
    doubt = run.command("features", "check", "product", "--events", str(path), *files, status=1)
    assert "give the file that --save wrote" in doubt.stderr

    replayed = [{**event, "id": f"again-{event['id']}"} for event in old]
    path = written(tmp_path / "again.jsonl", *replayed)
    run.command("events", "send", str(path), "--speed", "1200")
    until(lambda: features(run, "product", product_id="5")["sold_1h"], lambda value: value == 20)


def test_dead_letters_are_listed_and_replayed(run: FeatureRun, tmp_path: Path) -> None:
    late = purchase(2000, "6", datetime.now(UTC) - timedelta(hours=5))
    run.command("events", "send", str(written(tmp_path / "late.jsonl", late)))
    letters = until(lambda: letters_of(run, "sales"), lambda lines: len(lines) == 1)
    letter = json.loads(letters[0])
    assert letter["reason"] == "late"
    assert letter["event"]["id"] == "e2000"
    table = run.command("events", "dead").stdout.splitlines()
    assert table[0].split()[:4] == ["ID", "ARRIVED", "REASON", "VIEW"]
    assert {line.split()[3] for line in table[1:]} == {"sales", "habits"}
    assert run.command("events", "replay", "--view", "sales", "--id", letter["id"]).stdout.startswith(
        "1 replayed"
    )
    back = until(lambda: letters_of(run, "sales"), lambda lines: len(lines) == 1)
    assert json.loads(back[0])["id"] != letter["id"]


def letters_of(run: FeatureRun, view: str) -> list[str]:
    return run.command("events", "dead", "--view", view, "-o", "json").stdout.splitlines()


def facts_file(path: Path, count: int, margin: float, updated: datetime | None = None) -> Path:
    table: dict[str, Any] = {
        "product_id": [f"p{n}" for n in range(count)],
        "margin": [margin] * count,
        "brand": ["acme"] * count,
    }
    if updated:
        table["updated_at"] = pa.array([updated] * count, pa.timestamp("ms", "UTC"))
    pq.write_table(pa.table(table), path)
    return path


def test_rows_are_loaded_in_parts_and_only_newer_ones_win(run: FeatureRun, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    path = facts_file(tmp_path / "facts.parquet", 25_000, 0.5, now)
    assert run.command("features", "load", "facts", str(path)).stdout.startswith(
        "25000 rows written, 0 older"
    )
    assert features(run, "product", product_id="p24999")["margin"] == 0.5
    older = facts_file(tmp_path / "older.parquet", 10, 0.9, now - timedelta(hours=1))
    assert run.command("features", "load", "facts", str(older)).stdout.startswith("no rows written, 10 older")
    assert features(run, "product", product_id="p0")["margin"] == 0.5
    newer = facts_file(tmp_path / "newer.parquet", 10, 0.7)
    assert "5 rows written" in run.command("features", "load", "facts", str(newer), "--from-row", "5").stdout
    assert features(run, "product", product_id="p4")["margin"] == 0.5
    assert features(run, "product", product_id="p5")["margin"] == 0.7


def test_rows_that_do_not_fit_are_told_and_where_to_go_on(run: FeatureRun, tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    margins = pa.array([0.5] * 10_003 + [float("nan")])
    pq.write_table(pa.table({"product_id": [f"q{n}" for n in range(10_004)], "margin": margins}), path)
    said = run.command("features", "load", "facts", str(path), status=1).stderr
    assert "10000 rows of 10004 done; go on with --from-row 10000" in said
    assert ": margin[10003]: expected a finite number" in said
    assert "no Parquet file" in run.command("features", "load", "facts", __file__, status=1).stderr
    assert "precomputed" in run.command("features", "load", "sales", str(path), status=1).stderr


def test_the_served_values_are_those_of_the_events_and_a_difference_is_seen(
    run: FeatureRun, tmp_path: Path
) -> None:
    """Both layouts, every aggregation; then an event that the file does not tell of."""
    end = datetime.now(UTC) - timedelta(minutes=1)
    events = [
        purchase(
            3000 + n,
            f"r{n * n % 7}",
            end - timedelta(seconds=37 * (n * 11 % 90)),
            customer_id=f"c{n % 5}",
            amount=round(0.37 * (n * 13 % 29) + 0.005 * (n % 3), 3),
            channel=("web", "app", "shop")[n % 3],
        )
        for n in range(90)
    ]
    path = written(tmp_path / "all.jsonl", *events, events[3], events[40])
    assert run.command("events", "send", str(path)).stdout == "92 accepted, 0 refused\n"
    resources = ("--events", str(path), "--files", str(run.folder.path))
    for bundle, equal in (("product", 2 * 4), ("customer", 6 * 5)):
        checked = run.command("features", "check", bundle, *resources)
        assert checked.stdout.startswith(f"no differences, {equal} equal: ")
        assert "assumed: every event of the files was sent" in checked.stderr
        assert "2 sent twice" in checked.stderr

    unknown = purchase(3999, "r1", end, customer_id="c1", amount=400)
    run.command("events", "send", str(written(tmp_path / "unknown.jsonl", unknown)))
    seen = run.command("features", "check", "customer", *resources, "--sample", "0", status=1).stdout
    assert "customer_id=c1 dearest_1h: 400.0 (PRESENT) is served, " in seen
    assert "customer_id=c2" not in seen


def test_edits_of_features_are_followed_and_bad_ones_change_nothing(
    run: FeatureRun, folder: FeatureFolder, tmp_path: Path
) -> None:
    before = set(run.children())
    folder.bundles["product"] = changed(folder.bundles["product"], "spec.features[2].name", "profit")
    folder.write()
    until(lambda: features(run, "product", product_id="2"), lambda found: "profit" in found)
    run.until_said(r"graph basket +changed")
    assert run.ask()["degraded"] == []

    folder.bundles["product"] = changed(folder.bundles["product"], "spec.features[2].feature", "margn")
    folder.write()
    run.until_said(r"FeatureBundle/product: spec.features\[2\].feature: .*margin")
    assert run.ask()["degraded"] == []

    folder.bundles["product"] = changed(folder.bundles["product"], "spec.features[2].feature", "margin")
    folder.change_graph("spec.steps[4].rank.by", "candidate.item.profit")
    facts_now = facts_file(tmp_path / "facts.parquet", 1, 0.5)
    table = pq.read_table(facts_now).set_column(0, "product_id", pa.array(["3"]))
    pq.write_table(table, facts_now)
    run.command("features", "load", "facts", str(facts_now))
    run.until_served(lambda answer: products(answer) == ["Candles", "Plastic cups"])
    assert set(run.children()) == before


def test_nothing_outlives_the_run(folder: FeatureFolder, tmp_path: Path) -> None:
    import signal

    run = FeatureRun(folder, tmp_path)
    run.until_said(READY)
    children = set(run.children())
    assert len(children) == 6  # two models, a graph and its sidecar, an ingest, a Redis
    run.end(signal.SIGKILL)
    until(lambda: children & set(parents()), lambda left: not left)
