# SPDX-License-Identifier: Apache-2.0
"""A failure that repeats is told in full once in a while, and never lost."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

from endcap_runtime.observability.logs import TRACEBACK_SECONDS, JsonLines, SeldomTracebacks


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


class Log:
    """A logger of its own with what it wrote."""

    def __init__(self) -> None:
        self.clock, self._stream = Clock(), io.StringIO()
        handler = logging.StreamHandler(self._stream)
        handler.setFormatter(JsonLines())
        handler.addFilter(SeldomTracebacks(self.clock))
        self.logger = logging.Logger("a test")  # noqa: LOG001 shared with nobody
        self.logger.addHandler(handler)

    def divide(self) -> None:
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            self.logger.exception("failed")

    def parse(self) -> None:
        try:
            int("x")
        except ValueError:
            self.logger.exception("failed")

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]


def test_the_same_failure_has_its_traceback_once_and_then_a_count() -> None:
    log = Log()
    for _ in range(3):
        log.divide()
    assert ["exception" in line for line in log.lines] == [True, False, False]
    assert [line.get("repeated") for line in log.lines] == [None, 1, 2]
    assert log.lines[2]["failure"].startswith("ZeroDivisionError at ")


def test_another_failure_has_a_traceback_of_its_own() -> None:
    log = Log()
    log.divide()
    log.parse()
    assert ["exception" in line for line in log.lines] == [True, True]


def test_after_a_while_the_traceback_is_told_again() -> None:
    log = Log()
    log.divide()
    log.clock.now += TRACEBACK_SECONDS
    log.divide()
    log.divide()
    assert ["exception" in line for line in log.lines] == [True, True, False]
    assert log.lines[2]["repeated"] == 1
