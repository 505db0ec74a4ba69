# SPDX-License-Identifier: Apache-2.0
"""One features step: what it asks for, where its values go, and what stands in for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from endcap_api.feature_columns import FeatureColumn
from endcap_api.features_config import BundleContract
from endcap_runtime.features.statuses import Status
from endcap_runtime.graph.candidates import Candidates
from endcap_runtime.graph.expressions import Scope
from endcap_runtime.graph.failures import Kind, StepFailed
from endcap_runtime.graph.looked_up import LookedUp, defaults
from endcap_runtime.graph.metrics import StepMetrics
from endcap_runtime.graph.query import Note, Query
from endcap_runtime.graph.sidecar import Found, Keys, Question, askable
from endcap_runtime.graph.steps.expression import Reading
from endcap_runtime.graph.steps.inputs import Inputs

AWAY = "the feature store cannot be asked"
LATE = "values that are behind by more than maxLag"
_SECOND_MS = 1000


@dataclass(frozen=True, slots=True)
class Lookup:
    """Made once a revision.

    keys: what feeds each key of the entity; recalls: the recall steps whose columns they read. strict: whether it fails
    where others take defaults. read: the columns that something reads. seconds: the longest that it may take.
    """

    name: str
    identifier: str
    bundle: str
    contract: BundleContract
    keys: Inputs
    recalls: Sequence[str]
    per_candidate: bool
    strict: bool
    read: Sequence[FeatureColumn]
    seconds: float
    metrics: StepMetrics

    def lacks(self, query: Query, candidates: Candidates) -> bool:
        """Whether it has yet to be asked: nothing is asked twice, and nothing for nobody."""
        if not self.per_candidate:
            return self.name not in query.looked_up
        known = bool(self.read) and self._named(self.read[0]) in candidates.columns
        return len(candidates) > 0 and not known

    def entities(self, query: Query, candidates: Candidates) -> Keys:
        """The keys [n] of what it asks for. Raises StepFailed."""
        for name in self.recalls:
            if name not in query.recalled:
                raise StepFailed(self.name, "unavailable", f"reads {name}, which did not answer")
        scope = Scope(query.values, query.catalogue, candidates, query.call.deadline)
        with Reading(self.name):
            rows = len(candidates) if self.per_candidate else 1
            keys = self.keys.each(query, scope, rows)
        return {
            n: values.tolist() if isinstance(values, np.ndarray) else values for n, values in keys.items()
        }

    def put(self, query: Query, candidates: Candidates, looked_up: LookedUp) -> Candidates:
        """The values where expressions read them; the candidates with them, if they are theirs."""
        values = {self._named(column): looked_up.values(column) for column in self.read}
        query.looked_up.setdefault(self.name, []).append(looked_up)
        if self.per_candidate:
            return replace(candidates, columns={**candidates.columns, **values})
        query.values.update((name, each.tolist()[0]) for name, each in values.items())
        return candidates

    def _named(self, column: FeatureColumn) -> str:
        return f"{self.identifier}.{column.name}"


class Asking:
    """One lookup of one request: its question, and then what was found, or why nothing was."""

    def __init__(self, lookup: Lookup, query: Query, candidates: Candidates) -> None:
        self.lookup = lookup
        self.question: Question | None = None
        self._size = len(candidates) if lookup.per_candidate else 1
        self._rows = candidates.rows if lookup.per_candidate else None
        self._keys: Keys = {}
        self._asked: NDArray[np.bool_] | None = None
        self._found: Found | None = None
        self._failed: StepFailed | None = None
        try:
            self._keys = lookup.entities(query, candidates)
        except StepFailed as failed:
            self._failed = failed
        else:
            self._form()

    def _form(self) -> None:
        asked = self._asked = askable(self._keys, self._size)
        if asked is not None and not asked.any():
            return
        keys = self._keys if asked is None else _only(self._keys, asked)
        self.question = Question(self.lookup.bundle, keys, self.lookup.contract.digest)

    def take(self, found: Found) -> None:
        """An answer; one that is not what the contract says is a failure."""
        try:
            found.check(self.lookup.contract.columns)
            for column in self.lookup.read:
                found.values(column)
            self._failed = self._doubted(found)
        except ValueError as error:
            self.fail("malformed", f"the feature sidecar gave an answer that breaks its contract: {error}")
        else:
            self._found = found

    def fail(self, kind: Kind, reason: str) -> None:
        self._failed = StepFailed(self.lookup.name, kind, reason)

    def settle(self, query: Query, candidates: Candidates, note: Note) -> Candidates:
        """Puts what was found, or defaults, and notes what is amiss; where defaults are not wanted they are not put.

        Raises StepFailed.
        """
        failed = self._failed
        if failed is not None:
            self.lookup.metrics.failed(failed.kind)
            note.failure, note.kind = failed.reason, failed.kind
            if failed.kind != "stale":
                if self.lookup.strict:
                    raise failed
                note.failure = f"defaults: {failed.reason}"
        lacking = Status.DEFAULTED if failed is None else Status.STALE
        looked_up = LookedUp(self._size, self._keys, self._rows, self._found, self._asked, lacking)
        return self.lookup.put(query, candidates, looked_up)

    def _doubted(self, found: Found) -> StepFailed | None:
        """Why what was found is not what there is; values that are old are values all the same."""
        if found.holds(Status.STALE):
            if found.late:
                return StepFailed(self.lookup.name, "stale", LATE)
            if all(self._unread(found, column) for column in self.lookup.contract.columns):
                return StepFailed(self.lookup.name, "unavailable", AWAY)
            return StepFailed(self.lookup.name, "stale", _staleness(found.freshness_ms))
        if found.holds(Status.ERROR):
            return StepFailed(self.lookup.name, "stale", "defaults: what lies in the store cannot be read")
        return None

    def _unread(self, found: Found, column: FeatureColumn) -> bool:
        """Whether every value of a column that is called stale is the default: then none was ever read."""
        stale = found.status(column.name) == Status.STALE
        values = found.values(column)[stale]
        return bool((values == defaults(column, len(values))).all())


def _staleness(age_ms: int) -> str:
    if age_ms < _SECOND_MS:
        return "values that may lack the newest events"
    return f"values up to {round(age_ms / _SECOND_MS)} s old"


def _only(keys: Keys, places: NDArray[np.bool_]) -> Keys:
    kept = np.flatnonzero(places).tolist()
    return {name: [values[place] for place in kept] for name, values in keys.items()}
