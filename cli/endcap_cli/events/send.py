# SPDX-License-Identifier: Apache-2.0
"""`endcap events send`: events of a file into a store, as fast as it takes them."""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from endcap_cli.events.file import Line, latest, read, shifted
from endcap_cli.events.pace import as_it_happened, at_rate, batches
from endcap_cli.events.settling import still_waiting
from endcap_cli.feature_arguments import SETTLE_SECONDS
from endcap_cli.ingest import FAILURES, Ingest, Refused, ingest_of
from endcap_cli.terminal import CommandError, complain, counted, say

PATH = "/v1/events"
BATCH = "application/cloudevents-batch+json"
UNPROCESSABLE, TOO_LARGE = 422, 413
PROGRESS_SECONDS = 2.0
_FIELD = re.compile(r"events\[(\d+)\]\.?(.*)", re.DOTALL)
AGAIN = "send the same again: what was taken is known by its id and not counted twice"


def run(arguments: argparse.Namespace) -> int:
    _refuse_overwriting(arguments.save, arguments.file)
    with ingest_of(arguments) as ingest, _kept(arguments.save) as kept:
        sending = Sending(ingest, kept)
        try:
            for batch in _paced(sending.sound(read(arguments.file)), arguments):
                sending.deliver(batch)
        except (CommandError, KeyboardInterrupt) as error:
            if sending.accepted:
                complain(f"{sending.summary()}; {AGAIN}")
            raise error from None
        say(sending.summary())
        if arguments.wait:
            _settle(ingest)
    return 1 if sending.refused else 0


def _settle(ingest: Ingest) -> None:
    """Raises CommandError when events still wait after a while: those of others count too."""
    if waiting := still_waiting(ingest, SETTLE_SECONDS):
        remedy = (
            "they will count later; see lag and Ready of the FeatureStore, more ingest.replicas apply faster"
        )
        raise CommandError(
            f"{counted(waiting, 'event')} still wait to be applied after {SETTLE_SECONDS} s: {remedy}"
        )


def _refuse_overwriting(save: Path | None, file: str) -> None:
    if save and save.exists() and Path(file).exists() and save.samefile(file):
        raise CommandError(f"--save {save}: this is the file that is sent: name another", status=2)


@contextmanager
def _kept(file: Path | None) -> Iterator[TextIO | None]:
    """Where the events go as they were sent, with the times that they then had."""
    if file is None:
        yield None
        return
    try:
        with file.open("w", encoding="utf-8") as stream:
            yield stream
    except OSError as error:
        raise CommandError(f"--save {file}: {error.strerror}") from None


def _paced(lines: Iterator[Line], arguments: argparse.Namespace) -> Iterator[list[Line]]:
    if arguments.speed:
        return as_it_happened(list(lines), arguments.speed)
    timed: Iterable[Line] = lines
    if arguments.now:
        known = list(lines)
        timed = shifted(known, datetime.now(UTC) - latest(known))
    return at_rate(timed, arguments.rate) if arguments.rate else batches(timed)


@dataclass
class Sending:
    """What has been sent so far; what is refused is told at once, with its line, what is taken goes to `kept`."""

    ingest: Ingest
    kept: TextIO | None = None
    accepted: int = 0
    refused: int = 0
    _told: float = field(default_factory=time.monotonic)

    def sound(self, lines: Iterable[Line]) -> Iterator[Line]:
        """The lines that can be sent at all."""
        for line in lines:
            if line.event is None:
                self._refuse(line, line.fault)
            else:
                yield line

    def deliver(self, batch: list[Line]) -> None:
        """Send a batch; what is refused of it is left out, and the rest sent again."""
        while batch:
            body = json.dumps([line.event for line in batch]).encode()
            answer = self.ingest.insist(PATH, BATCH, body)
            if answer.status == TOO_LARGE and len(batch) > 1:
                middle = len(batch) // 2
                self.deliver(batch[:middle])
                batch = batch[middle:]
            elif answer.status in (UNPROCESSABLE, TOO_LARGE):
                batch = self._without_refused(batch, Refused(answer, self.ingest.place))
            elif answer.status >= FAILURES:
                raise Refused(answer, self.ingest.place)
            else:
                self._took(batch)
                return

    def _took(self, batch: Sequence[Line]) -> None:
        self.accepted += len(batch)
        for line in batch if self.kept else ():
            print(json.dumps(line.event), file=self.kept)
        self._tell_progress()

    def _without_refused(self, batch: list[Line], refusal: Refused) -> list[Line]:
        found = _by_index(refusal.errors)
        if not found and len(batch) > 1:
            raise refusal
        for index, line in enumerate(batch):
            if index in found or not found:
                self._refuse(line, found.get(index, str(refusal)))
        return [line for index, line in enumerate(batch) if found and index not in found]

    def _refuse(self, line: Line, why: str) -> None:
        self.refused += 1
        say(f"{line.place}: {why}")

    def _tell_progress(self) -> None:
        if time.monotonic() - self._told > PROGRESS_SECONDS:
            self._told = time.monotonic()
            complain(self.summary())

    def summary(self) -> str:
        return f"{self.accepted} accepted, {self.refused} refused"


def _by_index(errors: Iterable[dict[str, Any]]) -> dict[int, str]:
    """What is wrong with each event of a batch: the store names fields as `events[3].data.amount`."""
    found: dict[int, str] = {}
    for error in errors:
        if matched := _FIELD.fullmatch(str(error.get("field", ""))):
            words = ": ".join(part for part in (matched[2], str(error.get("message", ""))) if part)
            index = int(matched[1])
            found[index] = f"{found[index]}; {words}" if index in found else words
    return found
