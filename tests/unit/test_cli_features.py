# SPDX-License-Identifier: Apache-2.0
"""`endcap features`: recomputation by hand-made examples, entities on the command line, listings, training rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import changed
from local_feature_runs import bundles, facts, habits, sales, shown

from endcap_api.v1alpha1.featureview import Feature, FeatureViewSpec
from endcap_cli.__main__ import main
from endcap_cli.events.file import Line
from endcap_cli.features.get import keys_of
from endcap_cli.features.history import History
from endcap_cli.features.recompute import Happened, Window, kept, value_of, window_of
from endcap_cli.features.training import rows_of
from endcap_cli.terminal import CommandError

MINUTE = 60_000
HOUR = 60 * MINUTE
EVERYTHING = Window(0, 10**15)


def feature(aggregation: str, kind: str = "number", **more: Any) -> Feature:
    known = {"name": "f", "type": kind, "event": "buy", "aggregation": aggregation, "windows": ["1h"]}
    field = {} if aggregation == "count" else {"field": "v"}
    return Feature.model_validate({**known, **field, **more})


def bought(*values: Any, step: int = 1000) -> list[Happened]:
    return [Happened(1000 + step * n, "buy", {"v": value}) for n, value in enumerate(values)]


@pytest.mark.parametrize(
    ("aggregated", "values", "expected"),
    [
        (feature("count", "integer"), [1, 2, 3], 3),
        (feature("sum"), [0.1, 0.2, 0.3], 0.6),
        (feature("sum"), [1.005, 1.015], 2.02),  # half to even: 1.00 and 1.02
        (feature("sum", decimals=0), [0.5, 1.5, 2.5], 4.0),  # 0, 2, 2
        (feature("sum", "integer"), [3, 4], 7),
        (feature("mean"), [1, 2, 2], 5 / 3),
        (feature("min"), [10, -20, 30], -20.0),
        (feature("max"), [-10, -20, -30], -10.0),
        (feature("last"), [3, 9, 5], 5.0),
        (feature("last", "string"), ["z", "a"], "a"),
        (feature("last", "boolean"), [True, False], False),
        (feature("distinct", "integer"), [1, 1.0, "1", True, "x", "x"], 4),
        (
            feature("top", "array", items={"type": "string"}, maxItems=2),
            ["b", "a", "a", "c", "b"],
            ["a", "b"],
        ),
        (feature("top", "array", items={"type": "number"}), [2.5, 1.25, 2.5], [2.5, 1.25]),
        (feature("top", "array", items={"type": "integer"}), [10, 9], [9, 10]),
    ],
)
def test_each_aggregation_is_what_its_name_says(
    aggregated: Feature, values: list[Any], expected: Any
) -> None:
    assert value_of(aggregated, EVERYTHING, bought(*values), known=True) == expected


def test_of_one_millisecond_the_greater_is_the_last() -> None:
    assert value_of(feature("last"), EVERYTHING, bought(9, 3, 5, step=0), known=True) == 9.0
    texts = bought("b", "ä", "z", step=0)
    assert value_of(feature("last", "string"), EVERYTHING, texts, known=True) == "ä"


@pytest.mark.parametrize("aggregation", ["mean", "min", "max", "last"])
def test_over_nothing_there_is_only_the_default(aggregation: str) -> None:
    assert value_of(feature(aggregation, default=7), EVERYTHING, [], known=True) == 7.0


def test_a_count_over_nothing_is_zero_unless_nobody_knows_the_entity() -> None:
    counted = feature("count", "integer", default=5)
    assert value_of(counted, EVERYTHING, [], known=True) == 0
    assert value_of(counted, EVERYTHING, [], known=False) == 5


def test_only_events_of_the_type_with_the_texts_of_where_count() -> None:
    web = feature("count", "integer", where={"channel": "web"})
    events = [
        Happened(1, "buy", {"channel": "web"}),
        Happened(1, "buy", {"channel": "app"}),
        Happened(1, "buy", {}),
        Happened(1, "see", {"channel": "web"}),
    ]
    assert value_of(web, EVERYTHING, events, known=True) == 1


def view(**stream: Any) -> FeatureViewSpec:
    return FeatureViewSpec.model_validate(
        {
            "entity": {"name": "product", "keys": [{"name": "product_id"}]},
            "source": {"stream": stream},
            "features": [feature("count", "integer").dump()],
        }
    )


def test_a_window_of_events_ends_now_and_begins_right_after_its_start() -> None:
    now = 5 * HOUR + 90_001
    window = window_of(view(), "1h", now)
    inside = [Happened(t, "buy", {}) for t in (now - HOUR, now - HOUR + 1, now, now + 1)]
    assert value_of(feature("count", "integer"), window, inside, known=True) == 2


def test_a_window_of_tiles_begins_with_the_tile_that_it_touches() -> None:
    now = 5 * HOUR + 90_001
    window = window_of(view(storage="tiles", tiles={"1h": "15m"}), "1h", now)
    first = 4 * HOUR
    events = [Happened(t, "buy", {}) for t in (first - 1, first, now)]
    assert value_of(feature("count", "integer"), window, events, known=True) == 2
    assert window_of(view(storage="tiles"), "1h", now).after == 4 * HOUR + MINUTE - 1  # a sixtieth


def test_of_events_as_many_as_the_view_keeps_and_the_newest() -> None:
    events = [Happened(t, "buy", {}) for t in (5, 1, 9, 3)] + [Happened(99, "see", {})]
    assert [one.time for one in kept(view(maxEvents=2), events)] == [5, 9]
    assert len(kept(view(storage="tiles"), events)) == 4


def lines(*events: dict[str, Any]) -> list[Line]:
    return [Line("f", number, event) for number, event in enumerate(events, start=1)]


def sale(number: int, **data: Any) -> dict[str, Any]:
    known = {"product_id": "2", "customer_id": "7", "amount": 1, "channel": "web"}
    when = "2026-11-24T12:00:00.250Z"
    return {"id": f"e{number}", "source": "/s", "type": "purchase", "time": when, "data": {**known, **data}}


def test_what_a_store_would_refuse_or_has_seen_is_left_out_of_the_history() -> None:
    views = {v["metadata"]["name"]: FeatureViewSpec.model_validate(v["spec"]) for v in (sales(), habits())}
    events = [sale(1), sale(1, amount=2), sale(2, amount=501), sale(3, amount="9"), sale(4, amount=True)]
    events += [{**sale(5), "type": "click"}, {**sale(6), "time": "noon"}, sale(7, product_id=3.5), sale(8)]
    history = History.of(views, lines(*events))
    assert (history.repeated, history.refused) == (1, 6)
    found = history.entities(views["sales"])
    assert [one.data["amount"] for one in found["2",]] == [1, 1]
    assert found["2",][0].time == int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()) * 1000 + 250


def test_several_entities_are_repeated_keys() -> None:
    assert keys_of(["a=1", "b=x=y", "a=2", "b="]) == {"a": ["1", "2"], "b": ["x=y", ""]}


@pytest.mark.parametrize(
    ("pairs", "words"), [(["a"], "write KEY=VALUE"), (["a=1", "a=2", "b=1"], "a 2, b 1")]
)
def test_keys_that_make_no_entity_are_wrong_usage(pairs: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words) as ended:
        keys_of(pairs)
    assert ended.value.status == 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    everything = [sales(), habits(), facts(), shown(), *bundles()]
    (tmp_path / "features.yaml").write_text(yaml.safe_dump_all(everything))
    return tmp_path


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[list[str]]:
    assert main(["features", "list", *arguments]) == 0
    return [line.split(maxsplit=6) for line in capsys.readouterr().out.splitlines()]


def test_features_are_listed_with_the_bundles_that_carry_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, *rows = listed(capsys, str(folder))
    assert head[0] == "FEATURE"
    assert len(rows) == 11
    assert rows[0][:6] == ["margin", "facts", "precomputed", "product", "number", "product"]
    assert rows[1][5] == "-"
    by_feature = listed(capsys, str(folder), "--feature", "revenue")[1:]
    assert by_feature == [["revenue_1h", "sales", "stream", "product", "number", "product", "(as turnover)"]]
    assert [row[0] for row in listed(capsys, str(folder), "--feature", "sold_1h")[1:]] == ["sold_1h"]


def test_a_feature_that_is_not_there_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["features", "list", str(folder), "--feature", "clicks"]) == 1
    assert "no feature clicks here" in capsys.readouterr().err


def test_definitions_that_are_wrong_are_not_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = changed(bundles()[0], "spec.features[0].feature", "solt")
    (folder / "features.yaml").write_text(yaml.safe_dump_all([sales(), facts(), broken]))
    assert main(["features", "list", str(folder)]) == 1
    assert "spec.features[0].feature: " in capsys.readouterr().err


def test_a_record_is_a_row_a_candidate_with_what_was_known_of_the_request_in_each() -> None:
    record = {
        "request_id": "r",
        "time_ms": 1_790_000_000_250,
        "graph": "basket",
        "revision": "abc",
        "served": [
            {
                "step": "who",
                "keys": {"customer_id": ["7"]},
                "columns": {"buys": [3]},
                "statuses": {"buys": ["PRESENT"]},
            },
            {
                "step": "item",
                "keys": {"product_id": ["1", "2"]},
                "columns": {"sold": [5, 0]},
                "statuses": {"sold": ["PRESENT", "DEFAULTED"]},
            },
        ],
    }
    rows = list(rows_of(record))
    assert [(row["row"], row["who.buys"], row["item.product_id"], row["item.sold"]) for row in rows] == [
        (0, 3, "1", 5),
        (1, 3, "2", 0),
    ]
    assert rows[1]["item.sold.status"] == "DEFAULTED"
    assert rows[0]["time"] == datetime.fromtimestamp(1_790_000_000.25, UTC)
