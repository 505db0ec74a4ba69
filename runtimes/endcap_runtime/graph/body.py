# SPDX-License-Identifier: Apache-2.0
"""A body as one JSON object, strictly: what two parsers could read differently is refused.

The fast parser keeps the last of two equal keys. Instead of reading every body twice, the strings in it are
counted: where no key is doubled, a flat body has as many strings as the parser found. Only a body that does not add
up, or has escapes or nesting, is read again by a parser that sees pairs.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from endcap_runtime.problems import Problem

_MAX_KEYS = 256


def json_object(body: bytes) -> dict[str, Any]:
    """Raises Problem 400 unless the body is one JSON object in UTF-8 without doubled keys, NaN or infinities."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"The body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Problem(400, 'The body is not a JSON object: send {"field": value, …}')
    if len(value) > _MAX_KEYS:
        raise Problem(400, f"The body has {len(value)} fields of {_MAX_KEYS} allowed")
    if b"\\" in body or body.count(b'"') != 2 * _strings(value):
        _refuse_doubled(body)
    return value


def _strings(value: dict[str, Any]) -> int:
    """Strings in a flat object, keys included; too few where there is nesting, which is then read again."""
    count = len(value)
    for each in value.values():
        if type(each) is str:
            count += 1
        elif type(each) is list:
            count += sum(type(element) is str for element in each)
    return count


def _refuse_doubled(body: bytes) -> None:
    def pairs(found: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in found]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise Problem(400, f"The body has {twice[:64]!r} twice in one object: send it once")

    try:
        json.loads(body, object_pairs_hook=pairs)
    except RecursionError:
        raise Problem(400, "The body is nested too deeply") from None
