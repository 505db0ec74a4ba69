# SPDX-License-Identifier: Apache-2.0
"""Files of events: what is read, how times move, how batches are cut, and whose line a refusal is."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from endcap_cli.__main__ import main
from endcap_cli.events.file import Line, at, by_time, latest, read, shifted, time_of
from endcap_cli.events.pace import LARGEST_BATCH, LARGEST_BYTES, as_it_happened, at_rate, batches
from endcap_cli.events.send import _by_index
from endcap_cli.terminal import CommandError

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def line(number: int, **event: object) -> Line:
    return Line("events.jsonl", number, {"id": str(number), **event})


def test_blank_lines_are_passed_over_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"id": "1"}\n\n[]\n{"id": \n\xff\n{"id": "6"}')
    found = list(read(str(path)))
    assert [(one.number, one.event is not None) for one in found] == [
        (1, True),
        (3, False),
        (4, False),
        (5, False),
        (6, True),
    ]
    assert "write one CloudEvent a line" in found[1].fault
    assert found[2].place == f"{path}:4"


@pytest.mark.parametrize(
    "text", ['{"amount": NaN}', '{"amount": 1e999}', '{"name": "\\ud800"}', "[" * 100_000, '{"a":' * 100_000]
)
def test_what_no_store_could_read_is_a_fault_of_its_own_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(f'{{"id": "1"}}\n{text}\n{{"id": "3"}}\n')
    first, second, third = read(str(path))
    assert first.event == {"id": "1"}
    assert third.event == {"id": "3"}
    assert second.event is None
    assert second.fault.startswith("is no JSON")


def test_what_is_sent_is_never_overwritten_by_what_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"id": "1"}\n')
    (tmp_path / "same.jsonl").symlink_to(path)
    store = ("--url", "http://127.0.0.1:1")
    assert main(["events", "send", str(path), "--save", str(tmp_path / "same.jsonl"), *store]) == 2
    assert "name another" in capsys.readouterr().err
    assert path.read_text() == '{"id": "1"}\n'


def test_standard_input_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"id": "1"}\n')))
    assert [one.place for one in read("-")] == ["standard input:1"]


def test_a_file_that_is_not_there_is_one_line_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["events", "send", str(tmp_path / "none.jsonl"), "--url", "http://127.0.0.1:1"]) == 1
    said = capsys.readouterr().err
    assert "give a file of events, one as JSON a line" in said
    assert "send the same again" not in said


@pytest.mark.parametrize("text", ["2026-11-24T12:00:00Z", "2026-11-24T13:00:00+01:00"])
def test_times_are_read_with_their_zone(text: str) -> None:
    assert time_of({"time": text}) == NOON


@pytest.mark.parametrize("event", [{}, {"time": "noon"}, {"time": "2026-11-24T12:00:00"}, {"time": 1}])
def test_a_time_that_says_no_moment_is_none(event: dict[str, object]) -> None:
    assert time_of(event) is None


def test_all_times_move_by_one_amount_and_nothing_else_changes() -> None:
    lines = [line(1, time="2026-11-20T10:00:00.250Z", data={"a": 1}), line(2, time="broken"), line(3)]
    moved = list(shifted(lines, timedelta(days=4, hours=2)))
    assert moved[0].event == {"id": "1", "time": "2026-11-24T12:00:00.250Z", "data": {"a": 1}}
    assert moved[1:] == lines[1:]
    assert latest(moved) == NOON + timedelta(milliseconds=250)


def test_what_has_no_time_cannot_be_shifted_to_now() -> None:
    with pytest.raises(CommandError, match="no event has a time that can be read: write it as"):
        latest([line(1), Line("f", 2, None, "is no JSON")])


def test_events_are_replayed_in_the_order_of_time_and_equal_times_in_that_of_the_file() -> None:
    lines = [line(n, time=f"2026-11-24T10:00:0{second}Z") for n, second in ((1, 5), (2, 1), (3, 5), (4, 0))]
    assert [one.number for _, one in by_time([*lines, line(5)])] == [4, 2, 1, 3]


def test_batches_are_small_enough_for_one_request_and_lose_nothing() -> None:
    small = [line(n) for n in range(2 * LARGEST_BATCH + 1)]
    assert [len(batch) for batch in batches(small)] == [LARGEST_BATCH, LARGEST_BATCH, 1]
    large = [line(n, data="x" * (LARGEST_BYTES // 2)) for n in range(5)]
    cut = list(batches(large))
    assert [one for batch in cut for one in batch] == large
    assert all(sum(len(json.dumps(one.event)) for one in batch) <= LARGEST_BYTES for batch in cut)
    huge = line(1, data="x" * LARGEST_BYTES)
    assert list(batches([huge, line(2)])) == [[huge], [line(2)]]


def test_a_rate_is_kept() -> None:
    begun = time.monotonic()
    sent = [one for batch in at_rate([line(n) for n in range(60)], rate=200) for one in batch]
    assert len(sent) == 60
    assert time.monotonic() - begun > 0.15  # 60 at 200 a second, but for the last batch


def test_a_replay_happens_as_it_is_sent_and_so_many_times_as_fast() -> None:
    lines = [line(n, time=at({}, NOON + timedelta(seconds=n))["time"]) for n in range(41)]
    before = datetime.now(UTC)
    sent = [(one, datetime.now(UTC)) for batch in as_it_happened(lines, speed=80) for one in batch]
    times = [time_of(one.event or {}) for one, _ in sent]
    assert [one.number for one, _ in sent] == list(range(41))
    spans = [(times[-1] or before) - (times[0] or before), sent[-1][1] - sent[0][1]]
    assert abs(spans[0] - timedelta(seconds=0.5)) <= timedelta(milliseconds=2)
    assert spans[1] > timedelta(seconds=0.3)
    assert all(
        when and when - sending < timedelta(seconds=0.2)
        for when, (_, sending) in zip(times, sent, strict=True)
    )


def test_a_replay_leaves_events_without_a_time_to_the_store() -> None:
    lines = [line(1, time="2026-11-24T12:00:00Z"), line(2, time="noon"), line(3)]
    assert [[one.number for one in batch] for batch in as_it_happened(lines, speed=80)] == [[2, 3], [1]]


def test_a_refusal_is_told_of_each_event_with_all_of_its_fields() -> None:
    errors = [
        {"field": "events[0].id", "message": "is missing"},
        {"field": "events[12].data.amount", "message": "is above 500"},
        {"field": "events[0].time", "message": "is missing"},
        {"field": "events[3]", "message": "is no object"},
        {"field": "keys", "message": "of something else"},
    ]
    assert _by_index(errors) == {
        0: "id: is missing; time: is missing",
        12: "data.amount: is above 500",
        3: "is no object",
    }


@pytest.mark.parametrize(
    "arguments", [["--rate", "0"], ["--speed", "-1"], ["--speed", "x"], ["--now", "--speed", "2"]]
)
def test_what_makes_no_sense_is_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["events", "send", "f", *arguments])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "command",
    [
        ["events", "dead"],
        ["events", "replay"],
        ["features", "get", "product", "product_id=1"],
        ["features", "log"],
    ],
)
def test_without_a_store_the_remedy_is_told(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("ENDCAP_INGEST_URL", raising=False)
    assert main(command) == 2
    assert "start endcap run and say --local" in capsys.readouterr().err
    assert main([*command, "--url", "127.0.0.1:1"]) == 2
    assert "write http://host:port" in capsys.readouterr().err
    assert main([*command, "--url", "http://127.0.0.1:1"]) == 1
    assert "start endcap run on a folder with a FeatureStore" in capsys.readouterr().err
