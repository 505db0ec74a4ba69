# SPDX-License-Identifier: Apache-2.0
"""Whether a graph asks a bundle for an entity that it can name, and writes back what a view takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from endcap_api.expressions import Environment, ExpressionError, cel_type
from endcap_api.feature_columns import FeatureColumn
from endcap_api.features_config import ViewContract
from endcap_api.nearest import did_you_mean
from endcap_api.problem import Problem
from endcap_api.v1alpha1.featureview import EntityKey
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec, WriteBack
from endcap_api.v1alpha1.steps import FeaturesStep, Step
from endcap_api.wiring import Bundles, Models, Views, key_sources, write_back_environment

_KEY_TYPES = {"string": "string", "integer": "int"}


@dataclass(frozen=True)
class Known:
    """The contracts of the models, bundles and views that exist."""

    models: Models
    bundles: Bundles
    views: Views

    def leaves_open(self, spec: InferenceGraphSpec, source: str) -> bool:
        """Whether an expression may read what a missing model or bundle gives: then it may be sound later."""
        open_steps = {step.identifier for step in spec.steps if self._misses(step)}
        return any(re.search(rf"\b{name}\s*\.", source) for name in open_steps)

    def _misses(self, step: Step) -> bool:
        if step.features:
            return step.features.bundle not in self.bundles
        return step.model_name is not None and step.model_name not in self.models


def lookup_problems(
    spec: InferenceGraphSpec, known: Known, asked: FeaturesStep, readable: Environment, where: str
) -> Iterator[Problem]:
    """Of a features step, when its bundle exists."""
    contract = known.bundles.get(asked.bundle)
    if contract is not None:
        owner = f"the entity of bundle {asked.bundle}"
        yield from _key_problems(spec, known, asked, contract.keys, readable, owner, where)


def _key_problems(  # noqa: PLR0913, PLR0917  # what is asked, of whom, what may be read, and where it stands
    spec: InferenceGraphSpec,
    known: Known,
    asked: FeaturesStep | WriteBack,
    keys: Sequence[EntityKey],
    readable: Environment,
    owner: str,
    where: str,
) -> Iterator[Problem]:
    shape = list(_shape_problems(asked, keys, owner, where))
    yield from shape
    if shape:
        return
    for key, source in zip(keys, key_sources(asked, keys).values(), strict=True):
        field = f"{where}.entity" if asked.entity is not None else f"{where}.keys.{key.name}"
        if not known.leaves_open(spec, source):
            yield from _type_problems(readable, field, source, (_KEY_TYPES[key.type],))


def _shape_problems(
    asked: FeaturesStep | WriteBack, keys: Sequence[EntityKey], owner: str, where: str
) -> Iterator[Problem]:
    names = [key.name for key in keys]
    if asked.entity is not None:
        if len(names) > 1:
            remedy = ", ".join(f"{name}: …" for name in names)
            yield Problem(
                f"{where}.entity",
                f"{owner} has {len(names)} keys: write keys: {{{remedy}}} instead of entity",
            )
        return
    written = asked.keys or {}
    for name in sorted(set(written) - set(names)):
        yield Problem(f"{where}.keys.{name}", f"is no key of {owner}: {did_you_mean(name, names)}")
    for name in names:
        if name not in written:
            yield Problem(f"{where}.keys", f"{owner} needs the key {name}: add an expression for it")


def _type_problems(
    readable: Environment, field: str, source: str, expected: tuple[str, ...]
) -> Iterator[Problem]:
    try:
        readable.check(source, *expected)
    except ExpressionError as error:
        yield Problem(field, str(error))


def write_back_problems(spec: InferenceGraphSpec, known: Known) -> Iterator[Problem]:
    """Of what a graph keeps as features, for the views that exist."""
    readable = write_back_environment(spec, known.models, known.bundles)
    for index, written in enumerate(spec.write_back or ()):
        where, view = f"spec.writeBack[{index}]", known.views.get(written.view)
        if view is not None and view.kind != "derived":
            yield Problem(
                f"{where}.view", f"{written.view} is a {view.kind} view: name one with source derived: {{}}"
            )
        elif view is not None:
            yield from _author_problems(spec, written, view, where)
            owner = f"the entity of view {written.view}"
            yield from _key_problems(spec, known, written, view.keys, readable, owner, where)
            yield from _feature_problems(spec, known, written, view.columns, readable, where)


def _author_problems(
    spec: InferenceGraphSpec, written: WriteBack, view: ViewContract, where: str
) -> Iterator[Problem]:
    """A view that a model's version guards takes results of that model alone."""
    called = {step.model_name for step in spec.steps}
    if view.model is not None and view.model not in called:
        yield Problem(
            f"{where}.view",
            f"{written.view} keeps results of {view.model}, which no step asks: add such a step, or name another view",
        )


def _feature_problems(  # noqa: PLR0913, PLR0917  # as for keys
    spec: InferenceGraphSpec,
    known: Known,
    written: WriteBack,
    columns: Sequence[FeatureColumn],
    readable: Environment,
    where: str,
) -> Iterator[Problem]:
    takes = {column.name: column for column in columns}
    for name, source in written.features.items():
        field = f"{where}.features.{name}"
        if name not in takes:
            yield Problem(field, f"is no feature of view {written.view}: {did_you_mean(name, list(takes))}")
        elif not known.leaves_open(spec, source):
            yield from _type_problems(readable, field, source, _accepted(takes[name]))


def _accepted(column: FeatureColumn) -> tuple[str, ...]:
    """A number takes a whole number too."""
    kind = cel_type(column.column)
    return (kind, "int") if kind == "double" else (kind,)
