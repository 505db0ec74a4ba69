# SPDX-License-Identifier: Apache-2.0
"""Logs as one JSON object a line on stderr, each line with the request that it belongs to."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, TextIO

import orjson

request_id: ContextVar[str] = ContextVar("request_id", default="")

# A failure whose traceback was logged less than so many seconds ago is told in one line.
TRACEBACK_SECONDS = 10.0

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """time (RFC 3339), level, logger, message, request_id, and whatever `extra` gave.

    A newline in any value stays inside its JSON string, so nobody can forge a line.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current := request_id.get():
            line["request_id"] = current
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return orjson.dumps(line, default=str).decode()


class _Failure(NamedTuple):
    """What and where: an exception's type, and the line that raised it."""

    kind: str
    file: str
    line: int

    @classmethod
    def of(cls, error: BaseException, trace: TracebackType | None) -> _Failure:
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is None:
            return cls(type(error).__name__, "", 0)
        return cls(type(error).__name__, trace.tb_frame.f_code.co_filename, trace.tb_lineno)


class SeldomTracebacks(logging.Filter):
    """Tells the same failure with its traceback once in TRACEBACK_SECONDS, and in between in one line with a count.

    A model that fails on every request would otherwise fill a disk in minutes. The places are those of the code, so
    what is kept here is bounded.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._told: dict[_Failure, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            failure = _Failure.of(record.exc_info[1], record.exc_info[2])
            if repeated := self._repeated(failure):
                record.exc_info = None
                record.failure = f"{failure.kind} at {failure.file}:{failure.line}"
                record.repeated = repeated
        return True

    def _repeated(self, failure: _Failure) -> int:
        """How often it came since its traceback was told; 0 when it is to be told again."""
        now = self._clock()
        since, count = self._told.get(failure, (now - TRACEBACK_SECONDS, 0))
        again = now - since < TRACEBACK_SECONDS
        self._told[failure] = (since, count + 1) if again else (now, 0)
        return count + 1 if again else 0


def configure(level: int = logging.INFO, stream: TextIO = sys.stderr) -> None:
    """Sends every logger's records to `stream` as JSON lines; chatty libraries only from warnings up."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    handler.addFilter(SeldomTracebacks())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "bentoml", "httpx", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
