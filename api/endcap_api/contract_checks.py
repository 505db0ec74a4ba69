# SPDX-License-Identifier: Apache-2.0
"""Whether a model can do what a step asks of it, and whether an expression can feed an input of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from endcap_api.cel_ast import Variable
from endcap_api.expressions import Checked, Environment, ExpressionError, cel_type
from endcap_api.problem import Problem
from endcap_api.runtime_config import ModelContract
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.steps import Recall, Step
from endcap_api.v1alpha1.values import Column, RequestField
from endcap_api.wiring import SCORE, item_output

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")


def contract_problems(step: Step, contract: ModelContract, where: str) -> Iterator[Problem]:
    if step.recall:
        yield from recall_problems(step.model_name or "", contract, f"{where}.model")
        names = [column.name for column in contract.outputs]
        yield from _reason_problems(step.recall.reason, names, f"{where}.reason")
    if step.rank and not any(c.name == SCORE and c.type == "number" for c in contract.outputs):
        yield Problem(
            f"{where}.model", f"{step.rank.model} cannot rank: it needs an output score of type number"
        )


def recall_problems(model: str, contract: ModelContract, field: str) -> Iterator[Problem]:
    if item_output(contract.outputs) is None:
        yield Problem(field, f"{model} cannot recall: it needs an output of type array of product")
    if not any(c.name == SCORE and c.items and c.items.type == "number" for c in contract.outputs):
        yield Problem(field, f"{model} cannot recall: it needs an output score of type array of number")
    for column in contract.outputs:
        if column.items is None:
            yield Problem(field, f"{model} cannot recall: its output {column.name} is not an array")


def list_problems(
    spec: InferenceGraphSpec, recall: Recall, known: Environment, where: str
) -> Iterator[Problem]:
    """Of a recall step that takes its candidates from a list of keys."""
    if PLACEHOLDER.search(recall.reason or "") is not None:
        yield Problem(f"{where}.reason", "braces are for outputs of a model: a list has none, so remove them")
    try:
        checked = known.check(recall.products or "", "list(string)")
    except ExpressionError as error:
        yield Problem(f"{where}.products", str(error))
        return
    named = [name for name, field in spec.api.request.items() if is_product(field)]
    if checked.reads & {f"request.{name}" for name in named}:
        yield Problem(
            f"{where}.products",
            "products in a request are names, and keys are needed: read a feature or a model",
        )


def _reason_problems(reason: str | None, names: Sequence[str], field: str) -> Iterator[Problem]:
    for name in PLACEHOLDER.findall(reason or ""):
        if name not in names:
            yield Problem(
                field, f"{{{name}}} is not an output of the model: use one of {', '.join(sorted(names))}"
            )
    if "{" in PLACEHOLDER.sub("", reason or "") or "}" in PLACEHOLDER.sub("", reason or ""):
        yield Problem(field, "braces are for outputs of the model, e.g. {because}: remove the others")


def source_problems(
    spec: InferenceGraphSpec, column: Column, source: str, known: Environment, field: str
) -> Iterator[Problem]:
    expected = cel_type(column)
    try:
        checked = known.check(source, *((expected, "int") if expected == "double" else (expected,)))
    except ExpressionError as error:
        yield Problem(field, str(error))
        return
    if is_product(column) and not _reads_products(spec, checked):
        yield Problem(
            field,
            f"{column.name} is a product: read a request field of type product, or candidate.{spec.catalogue.key}",
        )


def _reads_products(spec: InferenceGraphSpec, checked: Checked) -> bool:
    if not isinstance(checked.tree, Variable):
        return False
    scope, _, name = checked.tree.name.partition(".")
    if scope == "request":
        return is_product(spec.api.request[name])
    return checked.tree.name == f"candidate.{spec.catalogue.key}"


def is_product(declared: RequestField | Column) -> bool:
    return declared.type == "product" or (declared.items is not None and declared.items.type == "product")
