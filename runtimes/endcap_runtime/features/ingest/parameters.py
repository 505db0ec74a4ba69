# SPDX-License-Identifier: Apache-2.0
"""Query strings and small JSON bodies, strictly: what is not known is refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from endcap_runtime.problems import FieldError, Problem
from endcap_runtime.wire.faults import Malformed
from endcap_runtime.wire.json_columns import loads

MOST = 1000
USUAL = 100
_ENTRY_ID = re.compile(r"\d{1,15}-\d{1,20}", re.ASCII)


def query_of(query_string: bytes, *known: str) -> dict[str, str]:
    """The parameters by name, each once. Raises Problem 422 for one that is not known, doubled or not UTF-8."""
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=16
        )
    except ValueError:
        raise Problem(422, "The query string is not percent-encoded UTF-8.") from None
    names = [name for name, _ in pairs]
    for name in names:
        if name not in known:
            raise refused(name[:64], f"is not a query parameter here: {', '.join(known)} are")
        if names.count(name) > 1:
            raise refused(name, "is given twice: give it once")
    return dict(pairs)


def limit_of(query: Mapping[str, str]) -> int:
    """How many entries a page has. Raises Problem 422."""
    given = query.get("limit", str(USUAL))
    if not re.fullmatch(r"[1-9][0-9]{0,3}", given, re.ASCII) or int(given) > MOST:
        raise refused("limit", f"must be a whole number from 1 to {MOST}")
    return int(given)


def entry_id_of(name: str, given: Any) -> bytes:
    """The id of an entry of a stream. Raises Problem 422."""
    if not isinstance(given, str) or not _ENTRY_ID.fullmatch(given):
        raise refused(name, "must be the id of an entry, as 1790000000000-0: take it from an answer")
    return given.encode()


def text_of(name: str, given: Any) -> str | None:
    """Raises Problem 422 unless it is a text or absent."""
    if given is None or isinstance(given, str):
        return given
    raise refused(name, "must be a text")


def object_of(body: bytes, *known: str) -> dict[str, Any]:
    """A JSON object with no other members than these. Raises Problem 400 or 422."""
    try:
        value = loads(body)
    except Malformed as error:
        raise Problem(400, str(error)) from None
    if not isinstance(value, dict):
        raise Problem(400, 'The body is not a JSON object: send {"name": value, …}')
    for name in value:
        if name not in known:
            raise refused(name[:64], f"is not a field here: {', '.join(known)} are")
    return value


def refused(field: str, message: str) -> Problem:
    return Problem(422, "The request does not fit.", [FieldError(field, message)])
