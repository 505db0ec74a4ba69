# SPDX-License-Identifier: Apache-2.0
"""Variants that a request names itself, for who tests them: only with the graph's own key, and never counted.

Without the key the header is as if it were not there, so a shopper cannot choose, nor learn which experiments there
are. With it a name that does not exist is refused, since who has the key wants to know.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from endcap_runtime.mounted import signature
from endcap_runtime.problems import FieldError, Problem

HEADER, KEY_HEADER = b"endcap-force", b"endcap-force-key"
_MEMBER = re.compile(r"([a-z][a-z0-9-]*)=([a-z][a-z0-9-]*)")
_SHOWN = 64
NOTHING: Mapping[str, str] = MappingProxyType({})

Names = Mapping[str, Sequence[str]]


class ForceKey:
    """The key in a mounted file, which is read again when it changes. No file, or an empty one: nothing is forced."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: object = None
        self._key = b""

    def is_(self, given: bytes) -> bool:
        """Compares in constant time."""
        key = self._current()
        return bool(key) and hmac.compare_digest(key, given)

    def _current(self) -> bytes:
        try:
            now = signature(self._file)
            if now != self._seen:
                self._key, self._seen = self._file.read_bytes().strip(), now
        except OSError:
            self._key, self._seen = b"", None
        return self._key


# A directory is no file, so this key is never there.
NO_KEY = ForceKey(Path("/"))


def forced(headers: Iterable[tuple[bytes, bytes]], key: ForceKey, variants: Names) -> Mapping[str, str]:
    """Variant by experiment, of a request that has the header; `variants` are the names that there are.

    Raises Problem 422 for a header that cannot be read, or names what is not there, when the key is right.
    """
    pairs = list(headers)
    keys = [value for name, value in pairs if name == KEY_HEADER]
    if len(keys) != 1 or not key.is_(keys[0]):
        return NOTHING
    members = b",".join(value for name, value in pairs if name == HEADER).decode("latin-1").split(",")
    found = [_MEMBER.fullmatch(each.strip()) for each in members]
    named = {match[1]: match[2] for match in found if match}
    if None in found or len(named) != len(found):
        raise _refused("write it as <experiment>=<variant>, more after a comma, each experiment once")
    for experiment, variant in named.items():
        _check(experiment, variant, variants)
    return named


def _check(experiment: str, variant: str, variants: Names) -> None:
    if experiment not in variants:
        known = ", ".join(variants)
        raise _refused(f"there is no experiment {experiment[:_SHOWN]} in this graph: there are {known}")
    if variant not in variants[experiment]:
        known = ", ".join(variants[experiment])
        raise _refused(f"{experiment} has no variant {variant[:_SHOWN]}: its variants are {known}")


def _refused(message: str) -> Problem:
    return Problem(422, "The header endcap-force does not fit.", [FieldError(HEADER.decode(), message)])
