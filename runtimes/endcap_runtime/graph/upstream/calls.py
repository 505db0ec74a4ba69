# SPDX-License-Identifier: Apache-2.0
"""What goes into a call to a model, and what comes out of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_HEADER_VALUE = re.compile(r"[\x21-\x7e]{1,256}")


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks, and until when: `deadline` is in seconds of the event loop's clock.

    Raises ValueError for a request id or traceparent that is no header value of visible ASCII.
    """

    deadline: float
    request_id: str
    traceparent: str | None = None

    def __post_init__(self) -> None:
        for value in (self.request_id, self.traceparent):
            if value is not None and not _HEADER_VALUE.fullmatch(value):
                raise ValueError("request_id and traceparent are 1 to 256 visible ASCII characters")

    @property
    def headers(self) -> bytes:
        """The lines that carry it to the model."""
        trace = f"traceparent: {self.traceparent}\r\n" if self.traceparent else ""
        return f"x-request-id: {self.request_id}\r\n{trace}".encode()


@dataclass(frozen=True, slots=True)
class Prediction:
    """Outputs by name, as the contract declares them, and the model that gave them, e.g. `basket-ranker@4`.

    A scalar column is an array [rows]: float64, int64, bool, or object of str. An array column is a list of `rows`
    lists, equally long in a row.
    """

    columns: Mapping[str, Any]
    model: str
