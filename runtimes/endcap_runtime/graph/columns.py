# SPDX-License-Identifier: Apache-2.0
"""Columns in the form in which expressions are fast: words as codes of a dictionary, lists as postings.

A catalogue has a few hundred categories and stores for its thousands of items, so a comparison of strings becomes one
look-up in a dict and one comparison of integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]


class Vocabulary:
    """Distinct words and their codes; a word's code is its place."""

    __slots__ = ("index", "words")

    def __init__(self, words: Sequence[str]) -> None:
        self.words: NDArray[np.object_] = objects(words)
        self.index = {word: code for code, word in enumerate(words)}

    def __len__(self) -> int:
        return len(self.words)

    def code(self, word: str) -> int:
        """The code of a word, -1 when it is none of these."""
        return self.index.get(word, -1)

    def codes(self, words: Iterable[str]) -> NDArray[np.int32]:
        """The code [n] of each word, -1 when it is none of these."""
        codes = list(map(self.index.get, words))
        if None in codes:
            codes = [-1 if code is None else code for code in codes]
        return np.array(codes, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Words:
    """Strings [n] as codes of a vocabulary."""

    codes: NDArray[np.int32]
    vocabulary: Vocabulary

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def of(cls, values: Iterable[str]) -> Words:
        """Encode plain strings [n]."""
        index: dict[str, int] = {}
        codes = [index.setdefault(value, len(index)) for value in values]
        return cls(np.array(codes, dtype=np.int32), Vocabulary(list(index)))

    def take(self, rows: Rows) -> Words:
        return Words(self.codes[rows], self.vocabulary)

    def decode(self) -> NDArray[np.object_]:
        """The strings [n] themselves."""
        return self.vocabulary.words[self.codes]

    def codes_in(self, other: Vocabulary) -> NDArray[np.int32]:
        """The same strings [n] as codes of another vocabulary, -1 where it lacks the word."""
        if other is self.vocabulary:
            return self.codes
        present, place = np.unique(self.codes, return_inverse=True)
        return other.codes(self.vocabulary.words[present])[place]


Elements = Words | NDArray[Any]


class Lists:
    """A list a row: flat elements with offsets, and for each distinct element the rows that hold it."""

    __slots__ = ("_holders", "_keys", "_starts", "elements", "offsets")

    def __init__(self, offsets: NDArray[np.int64], elements: Elements) -> None:
        self.offsets = offsets
        self.elements = elements
        codes = elements.codes if isinstance(elements, Words) else elements
        row = np.repeat(np.arange(len(offsets) - 1, dtype=np.int32), np.diff(offsets))
        order = np.argsort(codes, kind="stable")
        self._holders: Rows = row[order]
        self._keys, starts = np.unique(codes[order], return_index=True)
        self._starts: NDArray[np.int64] = np.append(starts, len(order))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def holders(self, value: Any) -> Rows:
        """The rows, ascending, whose list holds `value`."""
        key = self.elements.vocabulary.code(value) if isinstance(self.elements, Words) else value
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key:
            return self._holders[:0]
        return self._holders[self._starts[place] : self._starts[place + 1]]

    def take(self, rows: Rows) -> ListsAt:
        return ListsAt(self, rows)


@dataclass(frozen=True, slots=True)
class ListsAt:
    """The lists of some rows [n], not copied."""

    whole: Lists
    rows: Rows

    @classmethod
    def of(cls, values: NDArray[np.object_]) -> ListsAt:
        """Encode plain lists [n]."""
        flat = list(chain.from_iterable(values))
        offsets = np.fromiter(accumulate(map(len, values), initial=0), np.int64, len(values) + 1)
        elements = Words.of(flat) if not flat or isinstance(flat[0], str) else np.array(flat)
        return Lists(offsets, elements).take(np.arange(len(values), dtype=np.int32))

    def __len__(self) -> int:
        return len(self.rows)

    def holds(self, value: Any) -> NDArray[np.bool_]:
        """Whether each list [n] holds `value`."""
        holders = self.whole.holders(value)
        if not len(holders):
            return np.zeros(len(self), dtype=np.bool_)
        place = np.searchsorted(holders, self.rows)
        found: NDArray[np.bool_] = holders.take(place, mode="clip") == self.rows
        return found

    def lengths(self) -> NDArray[np.int64]:
        """The length of each list [n]."""
        offsets = self.whole.offsets
        return offsets[self.rows + 1] - offsets[self.rows]

    def decode(self) -> NDArray[np.object_]:
        """The lists [n] themselves, as Python values."""
        elements, offsets = self.whole.elements, self.whole.offsets
        flat = elements.decode() if isinstance(elements, Words) else elements
        return objects([flat[offsets[row] : offsets[row + 1]].tolist() for row in self.rows])


def encoded(values: NDArray[np.object_]) -> Words | ListsAt:
    """Plain strings or lists [n]; when there are none, of no words."""
    return ListsAt.of(values) if len(values) and isinstance(values[0], list) else Words.of(values)


Column = Words | Lists | NDArray[Any]
Taken = Words | ListsAt | NDArray[Any]


def taken(column: Column, rows: Rows) -> Taken:
    """A column at rows [n]."""
    return column[rows] if isinstance(column, np.ndarray) else column.take(rows)


def decoded(values: Taken) -> NDArray[Any]:
    """Plain values [n]: float64, int64, bool, or object of str or of lists."""
    return values if isinstance(values, np.ndarray) else values.decode()


_DTYPES: dict[type, Any] = {bool: np.bool_, int: np.int64, float: np.float64}


def constant(value: str | float) -> Words | NDArray[Any]:
    """One value for all, [1]."""
    if isinstance(value, str):
        return Words.of([value])
    return np.array([value], dtype=_DTYPES[type(value)])


def objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """An object array [n] of the values, even when they are lists."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
