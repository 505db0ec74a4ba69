# SPDX-License-Identifier: Apache-2.0
"""Errors as RFC 9457 problem details: what went wrong, where, and what to do about it; never an internal."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple

import orjson

MEDIA_TYPE = b"application/problem+json"
CLOSE = (b"connection", b"close")
RETRY_SOON = (b"retry-after", b"1")


class FieldError(NamedTuple):
    """One wrong field of a request, named as the caller wrote it."""

    field: str
    message: str


class Problem(Exception):
    """An answer that is not 2xx. `detail` and `errors` are read by the caller, so they hold no internals.

    `headers` are lower-case pairs for the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[FieldError] = (),
        *headers: tuple[bytes, bytes],
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase

    def body(self) -> bytes:
        """The problem as `application/problem+json`."""
        value: dict[str, object] = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            value["errors"] = [error._asdict() for error in self.errors]
        return orjson.dumps(value)

    def sentence(self) -> str:
        """The problem in one line, for protocols whose errors are a single string."""
        return " ".join([self.detail, *(f"{error.field}: {error.message}." for error in self.errors)])
