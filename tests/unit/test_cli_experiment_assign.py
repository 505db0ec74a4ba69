# SPDX-License-Identifier: Apache-2.0
"""`endcap experiment assign` and `export`: the engine's own answer, before and after an experiment is in a cluster."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import graph, intent, ranker, recaller
from experiments import experiment, golden, running, standing

from endcap_api.assigner import Assigner, Unit
from endcap_api.assignment import bucket
from endcap_cli.__main__ import main
from endcap_cli.experiment.configured import configured
from endcap_cli.experiment.export import exported as exported_manifest
from endcap_cli.experiment.source import Source
from endcap_cli.workspace import Name

HOUSEHOLDS = [str(number) for number in range(400)]


def written(path: Path, *manifests: Any) -> str:
    path.write_text(yaml.safe_dump_all(manifests), encoding="utf-8")
    return str(path)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    written(tmp_path / "models.yaml", intent(), recaller(), ranker(), ranker("basket-ranker-v2"))
    written(tmp_path / "graph.yaml", graph())
    return tmp_path


def put(shop: Path, **spec: Any) -> str:
    written(
        shop / "experiment.yaml", experiment(store=None, metrics=None, primary=None, guardrails=None, **spec)
    )
    return str(shop)


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["experiment", "assign", *arguments, "-o", "json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_unit_has_the_variant_of_its_bucket(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, put(shop), *HOUSEHOLDS)
    assert [row["unit"] for row in found] == HOUSEHOLDS
    for row in found:
        assert row["bucket"] == bucket("basket.rank.ranker-v2", row["unit"])
        assert row["variant"] == ("control" if row["bucket"] < 5000 else "treatment")
        assert row["reason"] == "assigned"


def test_a_coverage_takes_the_first_part_of_each_variant(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for row in rows(capsys, put(shop), *HOUSEHOLDS, "--coverage", "10"):
        inside = row["bucket"] < 500 or 5000 <= row["bucket"] < 5500
        assert row["reason"] == ("assigned" if inside else "not_covered")


def test_layer_and_holdout_are_told_with_their_buckets(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(
        shop,
        layer={"name": "ranking", "buckets": ["0-2500"]},
        holdout={"name": "2026q4", "percent": 10},
        overrides={"units": {"7": "treatment"}},
    )
    found = rows(capsys, path, *HOUSEHOLDS)
    reasons = {row["reason"] for row in found}
    assert reasons == {"assigned", "other_layer", "held_out", "listed"}
    for row in found:
        assert row["layer"] == bucket("layer/ranking", row["unit"])
        assert row["holdout"] == bucket("holdout/2026q4", row["unit"])
        if row["reason"] != "listed":
            assert (row["reason"] == "held_out") == (row["holdout"] < 1000)
    assert next(row for row in found if row["unit"] == "7")["variant"] == "treatment"


def test_targeting_is_judged_of_the_request_that_is_described(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(shop, targeting='request.channel == "app" && size(request.cart) > 1')
    app = ("--request", "channel=app", "--request")
    assert rows(capsys, path, "1", *app, 'cart=["a", "b"]')[0]["reason"] == "assigned"
    assert rows(capsys, path, "1", *app, 'cart=["a"]')[0]["reason"] == "not_targeted"
    assert rows(capsys, path, "1")[0]["reason"] == "not_targeted"  # the default is web


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("chanel=app", "--request chanel=app: no field of the graph's request: did you mean channel?"),
        ("channel", "write FIELD=VALUE, e.g. channel=app"),
        ("limit=many", "--request limit: 'many' is not JSON"),
        ("limit=[1]", "--request limit: "),
        ('cart=["a", 1]', "--request cart[1]: "),
    ],
)
def test_a_request_that_does_not_fit_is_wrong_usage(
    given: str, words: str, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(shop, targeting='request.channel == "app"')
    assert main(["experiment", "assign", path, "1", "--request", given]) == 2
    assert words in capsys.readouterr().err


def test_targeting_needs_the_graph(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(shop, targeting='request.channel == "app"')
    assert main(["experiment", "assign", str(shop / "experiment.yaml"), "1"]) == 1
    assert "reads the request of graph basket: give its file as well" in capsys.readouterr().err


def test_csv_and_the_table_say_the_same(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(shop)
    units = shop / "units.txt"
    units.write_text("1\n2\n\n3\n")
    assert main(["experiment", "assign", path, "--units", str(units), "-o", "csv"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "unit,variant,reason,bucket,layer,holdout"
    assert main(["experiment", "assign", path, "1", "2", "3"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["UNIT", "VARIANT", "REASON", "BUCKET"]
    assert [line.split() for line in table[1:]] == [line.strip(",").split(",") for line in lines]


def test_units_come_from_standard_input_and_are_shown_without_control_characters(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("7\x1b[2J\nÜnïcode-éè\n"))
    assert main(["experiment", "assign", put(shop), "--units", "-"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"7\x1b[2J" in out
    assert str(bucket("basket.rank.ranker-v2", "Ünïcode-éè")) in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give units, or a file of them with --units"),
        (["1", "--units", "some.txt"], "give units, or a file of them with --units"),
        (["--units", "nowhere.txt"], "--units nowhere.txt: "),
        (
            ["1", "--experiment", "ranker-v3"],
            "no Experiment ranker-v3 in these files: did you mean ranker-v2?",
        ),
        (["1", "--request", "channel=app"], "ranker-v2 has no targeting: leave it out"),
        (["\udcff"], "is not UTF-8"),
    ],
)
def test_wrong_usage_is_told(
    arguments: list[str], words: str, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["experiment", "assign", put(shop), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_of_several_one_is_chosen(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(shop, layer={"name": "ranking", "buckets": ["0-5000"]})
    other = experiment("ranker-v3", store=None, metrics=None, primary=None, guardrails=None)
    other["spec"]["layer"] = {"name": "ranking", "buckets": ["5000-10000"]}
    written(shop / "other.yaml", other)
    assert main(["experiment", "assign", str(shop), "1"]) == 2
    assert "have 2 Experiments (ranker-v2, ranker-v3): choose with --experiment" in capsys.readouterr().err
    chosen = rows(capsys, str(shop), "1", "--experiment", "ranker-v3")
    assert chosen[0]["bucket"] == bucket("basket.rank.ranker-v3", "1")


def test_a_problem_of_the_files_comes_first(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "assign", put(shop, step="ranc"), "1"]) == 1
    assert "spec.step: ranc is no step of the graph: did you mean rank?" in capsys.readouterr().err


def exported(path: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["experiment", "export", path]) == 0
    return capsys.readouterr().out


def test_what_is_exported_assigns_everybody_as_before(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(
        shop,
        variants=[
            {"name": "control", "baseline": True, "weight": 2},
            {"name": "treatment", "weight": 1, "model": "basket-ranker-v2"},
        ],
    )
    before = rows(capsys, path, *HOUSEHOLDS)
    text = exported(path, capsys)
    (shop / "experiment.yaml").write_text(text)
    assert rows(capsys, path, *HOUSEHOLDS) == before
    assert yaml.safe_load(text)["spec"]["variants"][0]["buckets"] == ["0-6667"]
    assert text.startswith(
        "# Under another name, or of another step, say as well: salt: basket.rank.ranker-v2\n"
    )
    assert exported(path, capsys) == text


def test_buckets_of_the_cluster_come_before_the_weights(shop: Path) -> None:
    source = Source(
        Name("shop", "ranker-v2"), standing().spec, live={"metadata": {"uid": "u"}, "status": running()}
    )
    found = configured(source)
    assert [variant.buckets for variant in found.config.variants] == [["0-5000"], ["5000-7000", "7000-10000"]]
    assert "ranker-v2 is Running: graph basket does not have it now" in str(found.note)
    moved = running(
        variants=[
            {"name": "control", "buckets": ["5000-10000"]},
            {"name": "treatment", "buckets": ["0-5000"]},
        ]
    )
    swapped = configured(
        Source(source.name, source.spec, live={"metadata": {"uid": "u"}, "status": moved})
    ).config
    number = bucket(swapped.salt, "1")
    expected = "treatment" if number < 5000 else "control"
    assert Assigner(swapped).decide(Unit("1", "household")).variant == expected


def test_an_export_as_a_person_would_keep_it() -> None:
    found = standing()
    source = Source(found.name, found.spec, live={"metadata": {"uid": "u"}, "status": running()})
    text = yaml.safe_dump(exported_manifest(source), sort_keys=False, allow_unicode=True, width=100)
    assert text == golden("exported.txt", text)


def test_a_shadow_has_nothing_to_export(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variants = [{"name": "control", "baseline": True}, {"name": "treatment", "model": "basket-ranker-v2"}]
    assert main(["experiment", "export", put(shop, mode="shadow", variants=variants)]) == 1
    assert "a shadow assigns nobody, so it has no buckets" in capsys.readouterr().err
