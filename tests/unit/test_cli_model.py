# SPDX-License-Identifier: Apache-2.0
"""`endcap model push` and `list` on a folder that stands for the store."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml
from builders import ranker

from endcap_cli.__main__ import main

MODEL = "tree\nversion=v4\nnum_class=1\n"


@pytest.fixture
def store(tmp_path: Path) -> list[str]:
    return ["--store", str(tmp_path / "store")]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "ranker.txt"
    path.write_text(MODEL)
    return path


def test_a_push_prints_the_two_lines_of_a_resource(
    model: Path, store: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "push", str(model), "s3://models/ranker/5.txt", *store]) == 0
    captured = capsys.readouterr()
    digest = hashlib.sha256(MODEL.encode()).hexdigest()
    assert yaml.safe_load(captured.out) == {"uri": "s3://models/ranker/5.txt", "sha256": digest}
    assert captured.err.startswith("pushed: version 5, ")
    assert (tmp_path / "store" / "models" / "ranker" / "5.txt").read_text() == MODEL


def test_a_version_never_changes(model: Path, store: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    push = ["model", "push", str(model), "s3://models/ranker/5.txt", *store]
    assert main(push) == 0
    assert main(push) == 0
    assert "was there already" in capsys.readouterr().err
    model.write_text(MODEL + "\n")
    assert main(push) == 1
    assert "choose a new version" in capsys.readouterr().err


def test_update_writes_the_digest_into_the_resource(model: Path, store: list[str], tmp_path: Path) -> None:
    resource = tmp_path / "models.yaml"
    resource.write_text("# mine\n" + yaml.safe_dump(ranker("ranker"), sort_keys=False))
    push = ["model", "push", str(model), "s3://models/ranker/5.txt", "--update", str(resource), *store]
    assert main(push) == 0
    updated = yaml.safe_load(resource.read_text())["spec"]["model"]
    assert updated == {
        "uri": "s3://models/ranker/5.txt",
        "sha256": hashlib.sha256(MODEL.encode()).hexdigest(),
    }
    assert resource.read_text().startswith("# mine\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "is no file that can be written"),
        (yaml.safe_dump(ranker("other")), "one resource must have an artefact at s3://elsewhere/ranker/"),
        ("a: [", "is not YAML"),
    ],
)
def test_what_cannot_be_updated_is_said_before_anything_is_pushed(  # noqa: PLR0913, PLR0917  fixtures
    text: str | None,
    words: str,
    model: Path,
    store: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    resource = tmp_path / "models.yaml"
    if text is not None:
        resource.write_text(text)
    push = ["model", "push", str(model), "s3://elsewhere/ranker/5.txt", "--update", str(resource), *store]
    assert main(push) == 1
    assert words in capsys.readouterr().err
    assert not list((tmp_path / "store").rglob("*"))


def test_text_that_is_no_lightgbm_model_is_refused(
    model: Path, store: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.write_text("dear diary\n")
    assert main(["model", "push", str(model), "s3://models/ranker/5.txt", *store]) == 1
    assert "begins with a line `tree`" in capsys.readouterr().err
    assert not list((tmp_path / "store").rglob("*.txt"))


def test_a_listing_is_a_table_by_name_and_version(
    model: Path, store: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for version in (10, 9):
        main(["model", "push", str(model), f"s3://models/ranker/{version}.txt", *store])
    capsys.readouterr()
    assert main(["model", "list", "s3://models/", *store]) == 0
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head == ["MODEL", "VERSION", "SIZE", "PUSHED", "SHA256"]
    assert [row[:2] for row in rows] == [["ranker", "9"], ["ranker", "10"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["push", "nowhere.txt", "s3://models/a/1.txt"], "no file or folder nowhere.txt"),
        (["push", "nowhere.txt", "models/a/1.txt"], "s3://"),
        (["list", "models"], "s3://"),
        (["list", "s3://models/"], "nothing is stored below s3://models/"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    arguments: list[str], words: str, store: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", *arguments, *store]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_without_a_store_the_command_says_how_to_name_one(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ENDCAP_LOCAL_STORE", "ENDCAP_S3_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert main(["model", "push", str(model), "s3://models/a/1.txt"]) == 2
    assert "--store" in capsys.readouterr().err
