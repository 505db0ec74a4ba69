# SPDX-License-Identifier: Apache-2.0
"""`endcap validate`: what it reads, what it says, where it points, and how it ends."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import changed, graph, intent, ranker, recaller
from refusals import MEANING, SHAPE, Refusal, models

from endcap_cli.__main__ import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "01-basket"
SOUND = [intent(), recaller(), ranker(), graph()]


def written(path: Path, *manifests: Any) -> str:
    path.write_text(yaml.safe_dump_all(manifests), encoding="utf-8")
    return str(path)


def test_sound_resources_are_no_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", written(tmp_path / "all.yaml", *SOUND)]) == 0
    assert capsys.readouterr().out == "no problems in 4 resources\n"


def test_the_example_is_sound() -> None:
    assert main(["validate", str(EXAMPLE)]) == 0


@pytest.mark.parametrize("bad", [*SHAPE, *MEANING], ids=lambda bad: bad.name)
def test_a_bad_resource_is_one_line_with_file_resource_field_and_remedy(
    bad: Refusal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "bad.yaml", bad.manifest)
    others = written(
        tmp_path / "models.yaml", *(m for m in models() if m["metadata"] != bad.manifest["metadata"])
    )
    assert main(["validate", path, others]) == 1
    *lines, summary = capsys.readouterr().out.splitlines()
    name = f"{bad.manifest['kind']}/{bad.manifest['metadata']['name']}"
    matching = [line for line in lines if bad.words in line and bad.ours in line and bad.field in line]
    assert matching, lines
    assert matching[0].startswith(f"{path}:")
    assert f": {name}: " in matching[0]
    assert "problem" in summary


def test_a_problem_points_to_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "graph.yaml"
    bad = changed(graph(), "spec.steps[3].filter.drop", "candidate.nam == 'x'")
    text = yaml.safe_dump_all([*models(), bad], sort_keys=False)
    path.write_text(text)
    line = 1 + next(number for number, one in enumerate(text.splitlines()) if "candidate.nam " in one)
    main(["validate", str(path)])
    assert capsys.readouterr().out.startswith(
        f"{path}:{line}: InferenceGraph/basket: spec.steps[3].filter.drop: "
    )


def test_a_missing_field_points_to_what_should_hold_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.yaml"
    text = yaml.safe_dump(ranker(), sort_keys=False).replace("    uri: s3://models/basket-ranker/4.txt\n", "")
    path.write_text(text)
    line = 1 + text.splitlines().index("  model:")
    main(["validate", str(path)])
    assert capsys.readouterr().out.startswith(
        f"{path}:{line}: ModelDeployment/basket-ranker: spec.model.uri: is req"
    )


def test_json_names_the_same_and_stays_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "bad.yaml", changed(ranker(), "spec.framwork", "\x1b[2J"), {"kind": "Service"})
    assert main(["validate", "-o", "json", path]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["resources"] == 1
    assert report["problems"][0]["field"] == "spec.framwork"
    assert report["problems"][0]["resource"] == "ModelDeployment/basket-ranker"
    assert set(report["problems"][0]) == {"file", "line", "resource", "field", "message"}
    assert len(report["notes"]) == 1


def test_a_folder_is_its_yaml_files_and_other_kinds_are_passed_over_aloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "models.yaml", intent(), recaller(), ranker())
    written(
        tmp_path / "graph.yml", graph(), {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    )
    (tmp_path / "request.json").write_text("{}")
    assert main(["validate", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "no problems in 4 resources\n"
    assert "Service/web (v1) is not ours: passed over" in captured.err


def test_models_that_are_elsewhere_are_said_and_no_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", written(tmp_path / "graph.yaml", graph())]) == 0
    assert (
        "calls basket-ranker, item-cooccurrence, micro-intent, not in these files" in capsys.readouterr().err
    )


def test_a_model_that_is_wrong_itself_is_not_called_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = changed(ranker(), "spec.model.sha256", "abc")
    assert main(["validate", written(tmp_path / "all.yaml", intent(), recaller(), bad, graph())]) == 1
    captured = capsys.readouterr()
    assert "not in these files" not in captured.err
    assert captured.out.count("\n") == 2


def test_a_misspelt_model_is_one_problem_with_the_name_that_was_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    misspelt = changed(graph(), "spec.steps[1].recall.model", "item-cooccurence")
    reads_it = changed(misspelt, "spec.steps[2].rank.inputs", {"price": "candidate.together.score"})
    path = written(tmp_path / "all.yaml", intent(), recaller(), ranker(), reads_it)
    assert main(["validate", path]) == 1
    captured = capsys.readouterr()
    line, summary = captured.out.splitlines()
    assert "spec.steps[1].recall.model: no ModelDeployment item-cooccurence in these files" in line
    assert line.endswith("did you mean item-cooccurrence?")
    assert summary == "1 problem in 4 resources"
    assert "not in these files" not in captured.err


def test_what_does_not_read_a_missing_model_is_checked_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = changed(graph(), "spec.steps[3].filter.drop", "candidate.nam == 'x'")
    assert main(["validate", written(tmp_path / "graph.yaml", bad)]) == 1
    assert "spec.steps[3].filter.drop: `candidate.nam == 'x'`" in capsys.readouterr().out


def test_models_of_another_namespace_are_not_those_of_the_graph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = changed(ranker(), "metadata.namespace", "other")
    main(["validate", written(tmp_path / "all.yaml", intent(), recaller(), elsewhere, graph())])
    assert "calls basket-ranker, not in these files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "is not YAML"),
        ("- 1\n- 2", "this document is no object"),
        ("kind: A\nkind: B", "2: is not YAML: kind is there twice: remove one"),
        ("a: 1\nb: {c: 1, c: 2}", "2: is not YAML: c is there twice"),
        ("a: !!python/object/apply:os.system [ls]", "is not YAML"),
        (
            "a: &a [x, x]\nb: &b [*a, *a]\n"
            + "".join(f"c{n}: &c{n} [{', '.join([f'*c{n - 1}' if n else '*b'] * 9)}]\n" for n in range(9)),
            "aliases stand for too many values",
        ),
        ("", "no resource of endcap.dev here"),
        ("kind: Service\napiVersion: v1", "no resource of endcap.dev here"),
    ],
)
def test_a_file_that_is_no_manifest_is_a_problem(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert main(["validate", str(path)]) == 1
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("written_as", "read_as"),
    [
        ("12:30", "12:30"),
        ("2026-11-24", "2026-11-24"),
        ("'4'", "4"),
        ("1_a", "1_a"),
        ("=", "="),
        ("off-peak", "off-peak"),
    ],
)
def test_words_that_only_look_like_values_stay_words(written_as: str, read_as: str, tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(yaml.safe_dump(ranker(description="HERE")).replace("HERE", written_as))
    assert main(["validate", str(path)]) == 0
    from endcap_cli.manifests import load

    assert load([str(path)]).manifests[0].data["spec"]["description"] == read_as


@pytest.mark.parametrize("value", ["4", "1.5", "yes", "null", "0x10", "1e3"])
def test_values_that_are_no_words_are_refused_or_absent(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(yaml.safe_dump(ranker(description="HERE")).replace("HERE", value))
    assert main(["validate", str(path)]) == (0 if value == "null" else 1)
    assert value == "null" or "must be a string: put it in quotes" in capsys.readouterr().out


def test_the_same_resource_twice_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", written(tmp_path / "a.yaml", ranker(), ranker())]) == 1
    assert "is there twice in namespace default, first in " in capsys.readouterr().out


def test_files_of_one_machine_are_a_problem_of_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    local = changed(ranker(), "spec.model.uri", "file://models/4.txt")
    assert main(["validate", written(tmp_path / "a.yaml", local)]) == 1
    assert "spec.model.uri: file:// works only under endcap run" in capsys.readouterr().out


def test_unknown_kinds_of_the_group_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = {**ranker(), "kind": "Promotion"}
    assert main(["validate", written(tmp_path / "a.yaml", unknown)]) == 1
    assert "kind: is no kind of this version: use one of ModelDeployment" in capsys.readouterr().out


def test_a_list_is_its_items(tmp_path: Path) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": SOUND}
    assert main(["validate", written(tmp_path / "list.yaml", listed)]) == 0


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(yaml.safe_dump(changed(ranker(), "spec.framework", "x"))))
    assert main(["validate", "-"]) == 1
    assert capsys.readouterr().out.startswith("standard input:")


def test_wrong_usage_ends_with_2_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit) as ended:
        main(["validate"])
    assert ended.value.code == 2


def test_a_file_that_cannot_be_read_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deep.yaml").write_text("a: 1\nb: " + "[" * 5000)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "z.yaml").write_text(yaml.safe_dump(changed(ranker(), "spec.framework", "x")))
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    assert main(["validate", *paths]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{tmp_path}/deep.yaml:2: is not YAML: deeper than 64 levels")
    assert lines[1].startswith(f"{tmp_path}/latin.yaml:1: is not UTF-8 at byte 3")
    assert lines[2].startswith(f"{tmp_path}/pipe.yaml:1: is no plain file")
    assert "z.yaml" in lines[3]
    assert lines[4:] == ["4 problems in 1 resource"]
