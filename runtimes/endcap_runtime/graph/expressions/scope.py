# SPDX-License-Identifier: Apache-2.0
"""What an expression can read while a request is answered; a column is taken only when it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from endcap_runtime.graph.candidates import Candidates
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.columns import Taken, constant, encoded, taken

CANDIDATE = "candidate."
# The scalar types of CEL that have a form over columns, and what a candidate has where its source knows nothing.
ZEROS: dict[str, Any] = {"int": 0, "double": 0.0, "bool": False, "string": ""}


class ExpressionFailed(Exception):
    """The expression has no value for this request, e.g. a division by zero; the message says why."""


class Unavailable(Exception):
    """The expression reads a step that did not answer; the reader's own onError applies."""

    def __init__(self, step: str) -> None:
        super().__init__(f"step {step} has no value")
        self.step = step


class Scope:
    """Request fields and step outputs by dotted name, and the candidates when there are any.

    values: `request.cart` → list of str (products by their display name), `intent.name` → str, …; a step that did
    not answer is simply not there. str, int, float, bool or a list of one of them.
    deadline: in seconds of `time.monotonic`; evaluation a row at a time ends there with ExpressionFailed.
    """

    __slots__ = ("candidates", "catalogue", "deadline", "values")

    def __init__(
        self,
        values: Mapping[str, Any],
        catalogue: Catalogue | None = None,
        candidates: Candidates | None = None,
        deadline: float = math.inf,
    ) -> None:
        self.values = values
        self.catalogue = catalogue
        self.candidates = candidates
        self.deadline = deadline

    def value(self, name: str) -> Any:
        """The value of a request field or a step's output. Raises Unavailable."""
        try:
            value = self.values[name]
        except KeyError:
            raise Unavailable(name.partition(".")[0]) from None
        if isinstance(value, np.ndarray):
            return value.tolist()
        return value.item() if isinstance(value, np.generic) else value

    def column(self, name: str, zero: Any) -> Taken:
        """`candidate.<name>` for each candidate [n], or `zero` [1] when its recall step did not answer."""
        catalogue, candidates = self.with_candidates()
        if name == "score":
            return candidates.score
        if "." not in name:
            return taken(catalogue.columns[name], candidates.rows)
        values = candidates.columns.get(name)
        if values is None:
            return constant(zero)
        if values.dtype == np.int32:
            return catalogue.products(values)
        return encoded(values) if values.dtype == object else values

    def with_candidates(self) -> tuple[Catalogue, Candidates]:
        if self.catalogue is None or self.candidates is None:
            raise ValueError("an expression that reads the candidate needs the catalogue and the candidates")
        return self.catalogue, self.candidates
