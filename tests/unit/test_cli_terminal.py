# SPDX-License-Identifier: Apache-2.0
"""What other people wrote cannot move the cursor, colour the screen or read backwards in a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from builders import changed, ranker
from hypothesis import given
from hypothesis import strategies as st

from endcap_cli import version
from endcap_cli.__main__ import main
from endcap_cli.terminal import counted, escaped

MARKUP = ["{{7*7}}", "<img onerror=x>", "$(id)"]
NASTY = [*MARKUP, "\x1b[31mred", "\u202egnp.exe", "a\nb", "a\rb", "\x9b2J", "\u2028", "\ufeff"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Café, 東京", "Café, 東京"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202eabc", r"\u202eabc"),
        ("\x7f\x9b", r"\x7f\x9b"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_cannot_be_seen_is_shown_by_its_number(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(st.text())
def test_nothing_unprintable_is_left(text: str) -> None:
    assert escaped(text).isprintable()


@pytest.mark.parametrize("nasty", NASTY)
def test_a_nasty_name_stays_in_its_line(
    nasty: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = changed(changed(ranker(), "metadata.name", nasty), f"spec.model.{'x'}", nasty)
    bad["spec"][nasty] = nasty
    bad["metadata"]["namespace"] = nasty
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(bad, allow_unicode=False))
    assert main(["validate", str(tmp_path / "bad.yaml")]) == 1
    out = capsys.readouterr().out
    assert all(line.startswith(f"{tmp_path}/bad.yaml:") for line in out.splitlines()[:-1])
    assert not {"\x1b", "\r", "\x9b", "\u202e", "\u2028", "\ufeff"} & set(out)


def test_counts_read_well() -> None:
    assert [counted(n, "problem") for n in (0, 1, 2)] == ["no problems", "1 problem", "2 problems"]


def test_a_fault_of_our_own_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> int:
        raise RuntimeError("a\nb")

    monkeypatch.setattr(version, "run", broken)
    assert main(["version"]) == 1
    assert (
        capsys.readouterr().err
        == "endcap: internal error: RuntimeError: a\\nb (ENDCAP_DEBUG=1 shows where)\n"
    )
    monkeypatch.setenv("ENDCAP_DEBUG", "1")
    with pytest.raises(RuntimeError):
        main(["version"])


@pytest.mark.parametrize(
    "command", ["", "validate", "run", "plan", "model", "model push", "model list", "version"]
)
def test_every_command_has_help_that_fits_a_terminal(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: endcap {command}".rstrip())
    assert max(len(line) for line in out.splitlines()) <= 110


def test_version_names_the_api(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.endswith("(endcap.dev/v1alpha1)\n")
