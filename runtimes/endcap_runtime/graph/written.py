# SPDX-License-Identifier: Apache-2.0
"""What a graph writes back: results as rows of a view, made once the answer has been sent.

A row of the result of a step that failed, or that went on with defaults, would pass for a result: none is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from endcap_api.expressions import Environment
from endcap_api.features_config import ViewContract
from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.inferencegraph import WriteBack
from endcap_api.wiring import write_back_environment
from endcap_runtime.graph.experiments.overlays import overlays
from endcap_runtime.graph.expressions import Expression, ExpressionFailed, Scope, Unavailable
from endcap_runtime.graph.fallback import FALLBACK
from endcap_runtime.graph.fusing import steps_read
from endcap_runtime.graph.lookups import products_of
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.sidecar import askable
from endcap_runtime.graph.steps.expression import compiled
from endcap_runtime.graph.steps.inputs import Inputs, compile_keys

_ANSWER = "answer."


@dataclass(frozen=True, slots=True)
class Written:
    """One writeBack.

    authors: the steps that ask the model whose result it is; None where the view belongs to no model. steps: those
    whose values it reads. whole: whether it reads the answer, which is then no fallback's.
    """

    view: str
    keys: Inputs
    features: Mapping[str, tuple[Expression, Callable[[Any], Any]]]
    authors: Sequence[str] | None
    steps: Sequence[str]
    whole: bool
    reads: frozenset[str]
    strangers: Collection[tuple[str, str | None]] = ()

    def row(self, query: Query, answer: Mapping[str, Any]) -> dict[str, Any] | None:
        """What the sidecar is to write; None where there is nothing, or nothing that can be kept."""
        if any(self._failed(query, name) for name in self.steps) or (self.whole and _fell_back(query)):
            return None
        version = self._version(query)
        if self.authors is not None and version is None:
            return None
        try:
            row = self._row(query, Scope({**query.values, **answer}))
        except (ExpressionFailed, Unavailable):
            return None
        return row | {"version": version} if row else None

    def _failed(self, query: Query, name: str) -> bool:
        note = query.notes.get(name)
        return note is None or note.failure is not None

    def _version(self, query: Query) -> str | None:
        """The label of the model that answered, as it told it itself; a variant's model is not the view's."""
        if self.strangers and any(
            (n, each.served) in self.strangers for n, each in query.assignments.items()
        ):
            return None
        notes = [query.notes.get(name) for name in self.authors or ()]
        return next((note.model for note in notes if note and note.model and not note.failure), None)

    def _row(self, query: Query, scope: Scope) -> dict[str, Any] | None:
        keys = {name: _listed(values) for name, values in self.keys.once(query, scope).items()}
        if askable(keys, 1) is not None:
            return None
        features = {name: [convert(each(scope))] for name, (each, convert) in self.features.items()}
        return {"view": self.view, "keys": keys, "features": features}


def _listed(values: Any) -> list[Any]:
    listed: list[Any] = values.tolist() if isinstance(values, np.ndarray) else values
    return listed


def _fell_back(query: Query) -> bool:
    """Whether products of the answer come from the fallback: no model placed them."""
    note = query.notes.get(FALLBACK)
    return note is not None and note.model is not None


def written_of(config: GraphConfig) -> list[Written]:
    """Raises ExpressionError."""
    known = write_back_environment(config.spec, config.models, config.bundles)
    return [_written(config, each, known) for each in config.spec.write_back or ()]


def _written(config: GraphConfig, each: WriteBack, known: Environment) -> Written:
    view = (config.views or {})[each.view]
    keys = compile_keys(each, view.keys, known, products_of(config.spec.api.request))
    features = dict(_features(each, view, known))
    reads = keys.reads.union(*(expression.reads for expression, _ in features.values()))
    steps = config.spec.steps
    authors = None if view.model is None else [s.name for s in steps if s.model_name == view.model]
    return Written(
        view=each.view,
        keys=keys,
        features=features,
        authors=authors,
        steps=steps_read([step for step in steps if step.model or step.features], reads),
        whole=any(name.startswith(_ANSWER) for name in reads),
        reads=reads,
        strangers=frozenset(_strangers(config, authors or (), view.model)),
    )


def _strangers(
    config: GraphConfig, authors: Collection[str], model: str | None
) -> Iterator[tuple[str, str | None]]:
    for step in config.spec.steps:
        for each in overlays(config, step):
            if step.name in authors and each.step.model_name != model:
                yield each.key


def _features(
    each: WriteBack, view: ViewContract, known: Environment
) -> Iterator[tuple[str, tuple[Expression, Callable[[Any], Any]]]]:
    columns = {column.name: column for column in view.columns}
    for name, source in each.features.items():
        number = columns[name].type == "number"
        yield name, (compiled(source, known), float if number else _as_it_is)


def _as_it_is(value: Any) -> Any:
    return value
