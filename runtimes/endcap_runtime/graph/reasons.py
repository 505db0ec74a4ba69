# SPDX-License-Identifier: Apache-2.0
"""Why a product is recommended, in words: the template of the step that placed it best, filled with its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from endcap_api.contract_checks import PLACEHOLDER
from endcap_api.v1alpha1.values import Column
from endcap_runtime.graph.candidates import Candidates


class Blank(NamedTuple):
    """A place in a template: a column of the candidates, and whether it holds rows of the catalogue."""

    column: str
    product: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """Literal texts with blanks between them: one text more than there are blanks."""

    texts: Sequence[str]
    blanks: Sequence[Blank]

    def __call__(self, words: Words, place: int) -> str:
        """The sentence for the candidate at `place`."""
        pieces = [self.texts[0]]
        for blank, text in zip(self.blanks, self.texts[1:], strict=True):
            pieces += (words.of(blank)[place], text)
        return "".join(pieces)


class Words:
    """Columns of a few candidates as words, made when a reason first reads them."""

    def __init__(self, candidates: Candidates, names: Sequence[str]) -> None:
        self._candidates, self._names = candidates, names
        self._words: dict[Blank, list[str]] = {}

    def of(self, blank: Blank) -> list[str]:
        """The words [n] of a column."""
        words = self._words.get(blank)
        if words is None:
            values = self._candidates.columns[blank.column].tolist()
            words = (
                [self._names[row] for row in values] if blank.product else [readable(each) for each in values]
            )
            self._words[blank] = words
        return words


def placeholders(template: str | None) -> frozenset[str]:
    return frozenset(PLACEHOLDER.findall(template or ""))


def compile_reason(template: str, identifier: str, outputs: Mapping[str, Column]) -> Reason:
    """`Bought together with {because}` over the columns `<identifier>.<output>`."""
    pieces = PLACEHOLDER.split(template)
    blanks = [Blank(f"{identifier}.{name}", _is_product(outputs[name])) for name in pieces[1::2]]
    return Reason(pieces[::2], blanks)


def fixed(text: str) -> Reason:
    return Reason((text,), ())


def _is_product(column: Column) -> bool:
    return column.items is not None and column.items.type == "product"


def readable(value: Any) -> str:
    """Numbers as a person writes them: 1,204 and 0.62 and 3.5, never 0.6184210526315789."""
    if isinstance(value, float) and not value.is_integer():
        shown = f"{value:,.2f}" if abs(value) >= 1 else f"{value:.2g}"
        return shown.rstrip("0").rstrip(".") if "e" not in shown else shown
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{int(value):,}"
    return str(value)
