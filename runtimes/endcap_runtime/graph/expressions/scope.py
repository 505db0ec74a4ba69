# SPDX-License-Identifier: Apache-2.0
"""What an expression can read while a request is answered; a column is taken only when it is read."""

from __future__ import annotations

from collections.abc import Mapping

from endcap_runtime.graph.candidates import Candidates
from endcap_runtime.graph.catalogue import Catalogue


class ExpressionFailed(Exception):  # noqa: N818 (a fact about the request, as StepFailed)
    """The expression has no value for this request, e.g. a division by zero; the message says why."""


class Unavailable(Exception):  # noqa: N818
    """The expression reads a step that did not answer; the reader's own onError applies."""

    def __init__(self, step: str) -> None:
        super().__init__(f"step {step} has no value")
        self.step = step


class Scope:
    """Request fields and step outputs by dotted name, and the candidates when there are any.

    values: `request.cart` → list of str (products by their display name), `intent.name` → str, …; a step that did
    not answer is simply not there. str, int, float, bool or a list of one of them.
    """

    __slots__ = ("candidates", "catalogue", "values")

    def __init__(
        self, values: Mapping[str, object], catalogue: Catalogue | None = None, candidates: Candidates | None = None
    ) -> None:
        self.values = values
        self.catalogue = catalogue
        self.candidates = candidates
