# SPDX-License-Identifier: Apache-2.0
"""Every item in the memory of the graph, as columns, so that a candidate needs no call to have its columns.

It is also where names become rows and rows become keys and names again: people see names, models see keys, and the
engine in between sees row numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from endcap_api.v1alpha1.inferencegraph import Catalogue as CatalogueSpec
from endcap_runtime.graph.columns import Column, Rows, Vocabulary, Words, decoded, taken
from endcap_runtime.graph.parquet import CatalogueInvalid, read_columns

__all__ = ["Catalogue", "CatalogueInvalid"]

# The careful scorer takes 1.3 µs a name and the quick one 0.07: a large catalogue is first cut to a short list.
_SHORT_LIST = 2_000
_LONGEST_QUERY = 128


class Catalogue:
    """All items, one row each. Immutable; safe to share between requests.

    columns: by name, Words, Lists or arrays of `size` values.
    """

    def __init__(self, columns: Mapping[str, Column], key: str, name: str) -> None:
        self._key = _identifying(columns, key, "key")
        self._name = _identifying(columns, name, "name")
        self.size = len(self._name)
        self.columns: Mapping[str, Column] = {**columns, key: self._key, name: self._name}
        self._folded = [_folded(word) for word in self._name.vocabulary.words[: self.size]]
        self._row_of_folded = {word: row for row, word in reversed(list(enumerate(self._folded)))}

    @classmethod
    def load(cls, path: Path, spec: CatalogueSpec) -> Catalogue:
        """Read Parquet as `spec` declares it. Raises CatalogueInvalid."""
        return cls(read_columns(path, spec.columns), spec.key, spec.name)

    def rows_of(self, keys: Iterable[str]) -> Rows:
        """Row [n] of each key, -1 where the catalogue does not know it."""
        rows = self._key.vocabulary.codes(keys)
        rows[rows == self.size] = -1
        return rows

    def row_of_name(self, name: str) -> int | None:
        """Row of a display name: as it is written, else without regard to case, outer blanks and composition."""
        row = self._name.vocabulary.code(name)
        if 0 <= row < self.size:
            return row
        return self._row_of_folded.get(_folded(name.strip()))

    def nearest(self, name: str, limit: int = 3) -> list[str]:
        """The display names most like `name`, best first."""
        query = _folded(name[:_LONGEST_QUERY])
        rows: Iterable[int] = range(self.size)
        if self.size > _SHORT_LIST:
            rows = [
                row for *_, row in process.extract(query, self._folded, scorer=fuzz.QRatio, limit=_SHORT_LIST)
            ]
        choices = {row: self._folded[row] for row in rows}
        best = process.extract(query, choices, scorer=fuzz.WRatio, limit=limit)
        return [self._name.vocabulary.words[row] for *_, row in best]

    def names(self, rows: Rows) -> list[str]:
        """Display names [n]; "" for row -1."""
        return list(self.products(rows).decode())

    def keys(self, rows: Rows) -> list[str]:
        """Keys [n] as models know them; "" for row -1."""
        return list(self._key.vocabulary.words[rows])

    def products(self, rows: Rows) -> Words:
        """Display names [n] in the form of expressions; "" for row -1."""
        return Words(np.where(rows < 0, np.int32(self.size), rows), self._name.vocabulary)

    def values(self, column: str, rows: Rows) -> NDArray[Any]:
        """A column at rows [n] as plain values: float64, int64, bool, or object of str or of lists."""
        return decoded(taken(self.columns[column], rows))

    def highest(self, column: str) -> Rows:
        """All rows by a number or integer column, highest first; equals in the order of the file, NaN last."""
        values = np.asarray(self.columns[column], dtype=np.float64)
        return np.argsort(-values, kind="stable").astype(np.int32)


def _folded(name: str) -> str:
    """A letter and its accent are one character or two, as a keyboard has it; people see the same word."""
    return normalize("NFC", normalize("NFC", name).casefold())


def _identifying(columns: Mapping[str, Column], column: str, role: str) -> Words:
    """The column with its codes equal to its row numbers, and "" behind them for the row -1."""
    words = columns[column]
    if not isinstance(words, Words):
        raise CatalogueInvalid(f"column {column} is the {role} and must be a string: declare and write it so")
    values = words.decode().tolist()
    if "" in values:
        raise CatalogueInvalid(
            f"column {column} is empty in row {values.index('')}: every item needs a {role}"
        )
    if len(words.vocabulary) < len(values):
        raise CatalogueInvalid(_repeated(column, role, values))
    return Words(np.arange(len(values), dtype=np.int32), Vocabulary([*values, ""]))


def _repeated(column: str, role: str, values: list[str]) -> str:
    first: dict[str, int] = {}
    row = next(row for row, value in enumerate(values) if first.setdefault(value, row) != row)
    value = values[row]
    return f"column {column} is {value!r} in rows {first[value]} and {row}: a {role} names one item, make it unique"
