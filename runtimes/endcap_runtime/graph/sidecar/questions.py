# SPDX-License-Identifier: Apache-2.0
"""What is asked of the sidecar, and which entities can be asked for at all.

A key that no entity can have (empty, too long, with a brace) is not sent: it would refuse the whole call, and what it
has is known: the defaults of an entity that nobody has heard of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

MOST_BYTES = 128
_LEAST_BYTES_LEFT = MOST_BYTES // 4  # a text of so few characters is never too long in UTF-8
_NEVER = re.compile(r"[\x00-\x1f\x7f-\x9f{}]")

Keys = Mapping[str, Sequence[Any]]


class Question(NamedTuple):
    """Entities [n] of one bundle: a list [n] for each key of the entity. A digest that is None is not compared."""

    bundle: str
    keys: Keys
    digest: str | None = None

    @property
    def value(self) -> dict[str, Any]:
        named = {"bundle": self.bundle, "keys": self.keys}
        return named if self.digest is None else named | {"digest": self.digest}


def body_of(request_id: str, questions: Sequence[Question]) -> bytes:
    """The body of a lookup but for its first member, the time that it may take."""
    value = {"request_id": request_id, "lookups": [question.value for question in questions]}
    return orjson.dumps(value)[1:]


def askable(keys: Keys, rows: int) -> NDArray[np.bool_] | None:
    """Which entities [rows] can exist; None when all can, as a rule."""
    texts = [values for values in keys.values() if values and isinstance(values[0], str)]
    if all(map(_sound, texts)):
        return None
    possible = np.ones(rows, dtype=np.bool_)
    for values in texts:
        possible &= np.fromiter(map(_possible, values), np.bool_, rows)
    return None if possible.all() else possible


def _sound(values: Sequence[str]) -> bool:
    """One look at all of them together, which few fail for no reason."""
    lengths = set(map(len, values))
    return min(lengths) > 0 and max(lengths) <= _LEAST_BYTES_LEFT and not _NEVER.search("".join(values))


def _possible(value: str) -> bool:
    return 0 < len(value.encode()) <= MOST_BYTES and not _NEVER.search(value)
