# SPDX-License-Identifier: Apache-2.0
"""Odd values for any field of a resource, and the fields to put them into."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builders import REMOVED

TEXTS = [
    "",
    " ",
    "0-5",
    "5-0",
    "00-07",
    "99999-1",
    "request.limit",
    "request.",
    "candidate.price",
    "é|",
    "🛒" * 40,
]
LONG = ["x" * 41, "x" * 129, "x" * 600, "a" * 64, "5m", "1d", "100ms", "Web", "a-b", "a_b"]
SOURCES = ["1 / 0", "request.limit / 0", "request.cart[99]", "true", "rank", "together", "intent", "control"]
NUMBERS = [0, 1, -1, 5, 101, 10_001, 2**63, 10**30, 0.5, 1e308, True, False]
NO_JSON = [float("inf"), float("nan")]
SHAPES: list[Any] = [[], {}, [None], [[]], {"": ""}]
WITHIN_JSON = [REMOVED, *TEXTS, *LONG, *SOURCES, *NUMBERS, *SHAPES]


def paths(value: Any, path: str) -> Iterator[str]:
    """Every field and element below a path, as `builders.changed` takes them."""
    if isinstance(value, dict):
        inner = [(f"{path}.{name}", child) for name, child in value.items() if name.isidentifier()]
    else:
        inner = [(f"{path}[{place}]", child) for place, child in enumerate(value)]
    for found, child in inner:
        yield found
        if isinstance(child, dict | list):
            yield from paths(child, found)
