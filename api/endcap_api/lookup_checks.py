# SPDX-License-Identifier: Apache-2.0
"""Whether a graph asks a bundle for an entity that it can name, and writes back what a view takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from endcap_api.cel_ast import Call, Node, Variable
from endcap_api.contract_checks import is_product
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
# What looks at a product and does not pass its name on.
_ONLY_LOOKS = frozenset(("size", "@in", "_==_", "_!=_"))


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


@dataclass(frozen=True)
class _Reader:
    """Judges expressions by what may be read where they stand."""

    spec: InferenceGraphSpec
    known: Known
    readable: Environment

    def value_problems(self, field: str, source: str, expected: tuple[str, ...]) -> Iterator[Problem]:
        if self.known.leaves_open(self.spec, source):
            return
        try:
            self.readable.check(source, *expected)
        except ExpressionError as error:
            yield Problem(field, str(error))

    def key_problems(self, field: str, source: str, key: EntityKey) -> Iterator[Problem]:
        wrong = list(self.value_problems(field, source, (_KEY_TYPES[key.type],)))
        yield from wrong
        if not wrong and not self.known.leaves_open(self.spec, source):
            yield from self._product_problems(field, source)

    def _product_problems(self, field: str, source: str) -> Iterator[Problem]:
        """A product stands for its key where it stands alone; anything else would be made of its name."""
        tree = self.readable.check(source).tree
        products = {f"request.{name}" for name, each in self.spec.api.request.items() if is_product(each)}
        passed_on = [] if isinstance(tree, Variable) else sorted(products & set(_passed_on(tree)))
        for name in passed_on:
            yield Problem(
                field,
                f"{name} is the name of a product, and an entity is known by its key: read a field of type product "
                "alone, or candidate." + self.spec.catalogue.key,
            )


def _passed_on(node: Node) -> Iterator[str]:
    """The variables of which a value may be made, rather than only looked at."""
    if isinstance(node, Variable):
        yield node.name
    if not (isinstance(node, Call) and node.function in _ONLY_LOOKS):
        for child in node.children:
            yield from _passed_on(child)


def lookup_problems(
    spec: InferenceGraphSpec, known: Known, asked: FeaturesStep, readable: Environment, where: str
) -> Iterator[Problem]:
    """Of a features step, when its bundle exists."""
    contract = known.bundles.get(asked.bundle)
    if contract is not None:
        entity = _Entity(contract.keys, f"the entity of bundle {asked.bundle}")
        yield from entity.problems(asked, _Reader(spec, known, readable), where)


@dataclass(frozen=True)
class _Entity:
    """What must be named: the keys, and whose they are for the refusal."""

    keys: Sequence[EntityKey]
    owner: str

    def problems(self, asked: FeaturesStep | WriteBack, reader: _Reader, where: str) -> Iterator[Problem]:
        shape = list(self._shape_problems(asked, where))
        yield from shape
        if shape:
            return
        for key, source in zip(self.keys, key_sources(asked, self.keys).values(), strict=True):
            field = f"{where}.entity" if asked.entity is not None else f"{where}.keys.{key.name}"
            yield from reader.key_problems(field, source, key)

    def _shape_problems(self, asked: FeaturesStep | WriteBack, where: str) -> Iterator[Problem]:
        names = [key.name for key in self.keys]
        if asked.entity is None:
            yield from self._named_problems(set(asked.keys or {}), names, where)
        elif len(names) > 1:
            remedy = ", ".join(f"{name}: …" for name in names)
            yield Problem(
                f"{where}.entity",
                f"{self.owner} has {len(names)} keys: write keys: {{{remedy}}} instead of entity",
            )

    def _named_problems(self, written: set[str], names: list[str], where: str) -> Iterator[Problem]:
        for name in sorted(written - set(names)):
            yield Problem(f"{where}.keys.{name}", f"is no key of {self.owner}: {did_you_mean(name, names)}")
        for name in names:
            if name not in written:
                yield Problem(f"{where}.keys", f"{self.owner} needs the key {name}: add an expression for it")


def write_back_problems(spec: InferenceGraphSpec, known: Known) -> Iterator[Problem]:
    """Of what a graph keeps as features, for the views that exist."""
    reader = _Reader(spec, known, write_back_environment(spec, known.models, known.bundles))
    for index, written in enumerate(spec.write_back or ()):
        where, view = f"spec.writeBack[{index}]", known.views.get(written.view)
        if view is not None and view.kind != "derived":
            yield Problem(
                f"{where}.view", f"{written.view} is a {view.kind} view: name one with source derived: {{}}"
            )
        elif view is not None:
            yield from _author_problems(spec, written, view, where)
            entity = _Entity(view.keys, f"the entity of view {written.view}")
            yield from entity.problems(written, reader, where)
            yield from _feature_problems(written, view.columns, reader, where)


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


def _feature_problems(
    written: WriteBack, columns: Sequence[FeatureColumn], reader: _Reader, where: str
) -> Iterator[Problem]:
    takes = {column.name: column for column in columns}
    for name, source in written.features.items():
        field = f"{where}.features.{name}"
        if name not in takes:
            yield Problem(field, f"is no feature of view {written.view}: {did_you_mean(name, list(takes))}")
        else:
            yield from reader.value_problems(field, source, _accepted(takes[name]))


def _accepted(column: FeatureColumn) -> tuple[str, ...]:
    """A number takes a whole number too."""
    kind = cel_type(column.column)
    return (kind, "int") if kind == "double" else (kind,)
