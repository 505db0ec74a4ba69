# SPDX-License-Identifier: Apache-2.0
"""What must hold in a graph beyond the shape of its fields: names, contracts of models, types of expressions.

Every problem names the field and the remedy. Models, bundles and views that do not exist yet are not problems of the
graph: pass only the contracts that are known, and ask `missing_models`, `missing_bundles` and `missing_views` for the
rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from endcap_api.cel_ast import Call, Constant, Variable, walk
from endcap_api.contract_checks import (
    contract_problems,
    is_product,
    list_problems,
    recall_problems,
    source_problems,
)
from endcap_api.expressions import Checked, Environment, ExpressionError
from endcap_api.lookup_checks import Known, lookup_problems, write_back_problems
from endcap_api.problem import Problem
from endcap_api.runtime_config import ModelContract, bundles_named, models_called, views_written
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.inferencegraph import Fallback, InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_api.v1alpha1.steps import Step
from endcap_api.v1alpha1.values import RequestField
from endcap_api.wiring import (
    SCORE,
    Bundles,
    Models,
    Views,
    environment,
    forms,
    input_sources,
    looks_up_candidates,
    request_environment,
    written_inputs,
)

_LANGUAGE = (
    "true false null in as break const continue else for function if import let loop package namespace return var "
    "void while"
)
RESERVED = frozenset(("request", "candidate", "answer", *_LANGUAGE.split()))
# What an answer calls things of its own: no step can have these names, and a step that shows there none of the second.
ANSWER_STEPS = frozenset(("merge", "fallback"))
ANSWER_FIELDS = frozenset(("recommendations", "degraded", "explain", "customer", "experiments"))
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "product": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def missing_models(spec: InferenceGraphSpec, models: Models) -> list[str]:
    """The ModelDeployments that the graph names and that do not exist."""
    return [name for name in models_called(spec) if name not in models]


def missing_bundles(spec: InferenceGraphSpec, bundles: Bundles) -> list[str]:
    """The FeatureBundles that the graph names and that do not exist."""
    return [name for name in bundles_named(spec) if name not in bundles]


def missing_written_views(spec: InferenceGraphSpec, views: Views) -> list[str]:
    """The FeatureViews that the graph writes back to and that do not exist."""
    return [name for name in views_written(spec) if name not in views]


def check_graph(
    spec: InferenceGraphSpec, models: Models, bundles: Bundles | None = None, views: Views | None = None
) -> list[Problem]:
    """Every problem of a graph, given the contracts of what exists; what reads of others is left out."""
    known = Known(models, bundles or {}, views or {})
    return [
        *_request_problems(spec),
        *_column_problems(spec),
        *_order_problems(spec),
        *(problem for index in range(len(spec.steps)) for problem in _step_problems(spec, known, index)),
        *_fallback_problems(spec, models),
        *write_back_problems(spec, known),
    ]


def _request_problems(spec: InferenceGraphSpec) -> Iterator[Problem]:
    for name, field in spec.api.request.items():
        where = f"spec.api.request.{name}.default"
        if field.default is not None and not _fits(field, field.default):
            yield Problem(where, f"is not of type {field.type}: change the default")
        elif field.default is not None and field.enum and field.default not in field.enum:
            yield Problem(where, f"is not in enum: use one of {', '.join(field.enum)}")
        elif field.default is not None and field.required:
            yield Problem(where, "a required field has no default: remove one of the two")
        elif not _within(field, field.default):
            yield Problem(where, "is outside minimum, maximum or maxItems: change the default")


def _fits(field: RequestField, value: Any) -> bool:
    if field.items is not None:
        return isinstance(value, list) and all(_is_a(field.items.type, element) for element in value)
    return _is_a(field.type, value)


def _within(field: RequestField, value: Any) -> bool:
    if isinstance(value, list):
        return field.max_items is None or len(value) <= field.max_items
    low, high = field.minimum, field.maximum
    return value is None or ((low is None or value >= low) and (high is None or value <= high))


def _is_a(name: str, value: Any) -> bool:
    return isinstance(value, _PYTHON_TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _column_problems(spec: InferenceGraphSpec) -> Iterator[Problem]:
    names = [column.name for column in spec.catalogue.columns]
    yield from _repeated("spec.catalogue.columns", names)
    scopes = {s.identifier: s.kind for s in spec.steps if s.kind == "recall" or looks_up_candidates(s)}
    for name in sorted(scopes.keys() & {*names, SCORE}):
        yield Problem(
            "spec.catalogue.columns", f"column {name} has the name of a {scopes[name]} step: rename one"
        )


def _repeated(field: str, names: Sequence[str]) -> Iterator[Problem]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(field, f"{name} is there twice: rename or remove one")


def _order_problems(spec: InferenceGraphSpec) -> Iterator[Problem]:
    yield from _repeated("spec.steps", [step.name for step in spec.steps])
    reading: str | None = None
    for index, step in enumerate(spec.steps):
        if step.identifier in RESERVED:
            yield Problem(
                f"spec.steps[{index}].name", f"{step.name} is a word of the language: rename the step"
            )
        if step.name in ANSWER_STEPS or (step.model and step.name in ANSWER_FIELDS):
            yield Problem(
                f"spec.steps[{index}].name", f"{step.name} is a word of the answer: rename the step"
            )
        if step.kind == "recall" and reading:
            yield Problem(
                f"spec.steps[{index}]",
                f"recall {step.name} comes after {reading}, which reads candidates: move it up",
            )
        if not forms(step):
            reading = reading or step.name


def _step_problems(spec: InferenceGraphSpec, known: Known, index: int) -> Iterator[Problem]:
    step, where = spec.steps[index], f"spec.steps[{index}]"
    yield from _timeout_problems(spec, step, f"{where}.timeout")
    readable = environment(spec, known.models, step, known.bundles)
    if step.model_name is not None:
        contract = known.models.get(step.model_name)
        if contract is not None:
            yield from contract_problems(step, contract, f"{where}.{step.kind}")
            yield from _input_problems(spec, known, step, readable, f"{where}.{step.kind}.inputs")
    if step.features is not None:
        yield from lookup_problems(spec, known, step.features, readable, f"{where}.features")
    if step.recall and step.recall.products and not known.leaves_open(spec, step.recall.products):
        yield from list_problems(spec, step.recall, readable, f"{where}.recall")
    for field, source, expected in _expressions(step):
        if not known.leaves_open(spec, source):
            yield from _expression_problems(spec, readable, f"{where}.{field}", source, expected)


def _timeout_problems(spec: InferenceGraphSpec, step: Step, field: str) -> Iterator[Problem]:
    if step.timeout and milliseconds(step.timeout) > milliseconds(spec.deadline):
        yield Problem(
            field,
            f"timeout {step.timeout} is longer than the deadline {spec.deadline}: lower it or raise deadline",
        )


def _expressions(step: Step) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    if step.filter:
        field = "keep" if step.filter.keep else "drop"
        yield f"filter.{field}", step.filter.keep or step.filter.drop or "", ("bool",)
    if step.rank and step.rank.by:
        yield "rank.by", step.rank.by, ("double", "int")
    if step.limit:
        yield "limit.per", step.limit.per, ("string", "int", "bool", "double")
    if step.select:
        yield "select.count", step.select.count, ("int",)


def _expression_problems(
    spec: InferenceGraphSpec, known: Environment, field: str, source: str, expected: tuple[str, ...]
) -> Iterator[Problem]:
    try:
        checked = known.check(source, *expected)
    except ExpressionError as error:
        yield Problem(field, str(error))
        return
    if field.endswith(".select.count") and _is_below_one(checked):
        yield Problem(field, f"{source.strip()} is no number of products: write 1 or more")
    if _compares_key_with_name(spec, checked):
        key, name = spec.catalogue.key, spec.catalogue.name
        yield Problem(
            field, f"products in a request are names: compare candidate.{name}, not candidate.{key}"
        )


def _is_below_one(checked: Checked) -> bool:
    return isinstance(checked.tree, Constant) and checked.tree.value < 1


def _compares_key_with_name(spec: InferenceGraphSpec, checked: Checked) -> bool:
    products = {f"request.{name}" for name, field in spec.api.request.items() if is_product(field)}
    for node in walk(checked.tree):
        if isinstance(node, Call) and node.function in ("@in", "_==_", "_!=_"):
            names = {arg.name for arg in node.args if isinstance(arg, Variable)}
            if f"candidate.{spec.catalogue.key}" in names and names & products:
                return True
    return False


def _input_problems(
    spec: InferenceGraphSpec, known: Known, step: Step, readable: Environment, where: str
) -> Iterator[Problem]:
    contract = known.models[step.model_name or ""]
    names = {column.name for column in contract.inputs}
    for name in sorted(set(written_inputs(step)) - names):
        yield Problem(
            f"{where}.{name}", f"{step.model_name} has no such input: use one of {', '.join(sorted(names))}"
        )
    sources = input_sources(contract, written_inputs(step), readable)
    for column in contract.inputs:
        if step.kind == "rank" and column.items is not None:
            yield Problem(
                f"{where}.{column.name}", "a rank model takes no arrays: it sees one candidate a row"
            )
        elif sources[column.name] is None:
            yield Problem(
                f"{where}.{column.name}", f"nothing feeds this input of {step.model_name}: add an expression"
            )
        elif not known.leaves_open(spec, sources[column.name] or ""):
            yield from source_problems(
                spec, column, sources[column.name] or "", readable, f"{where}.{column.name}"
            )


def _fallback_problems(spec: InferenceGraphSpec, models: Models) -> Iterator[Problem]:
    for index, rung in enumerate(spec.fallback or ()):
        where = f"spec.fallback[{index}]"
        yield from _order_by_problems(spec, rung, where)
        contract = models.get(rung.model or "")
        if rung.model and contract:
            yield from recall_problems(rung.model, contract, f"{where}.model")
            yield from _fallback_input_problems(spec, contract, f"{where}.model")


def _order_by_problems(spec: InferenceGraphSpec, rung: Fallback, where: str) -> Iterator[Problem]:
    if rung.catalogue is None:
        return
    numeric = [column.name for column in spec.catalogue.columns if column.type in ("number", "integer")]
    if rung.catalogue.order_by not in numeric:
        shown = ", ".join(numeric) or "add one to catalogue.columns"
        yield Problem(f"{where}.catalogue.orderBy", f"is not a number column of the catalogue: {shown}")


def _fallback_input_problems(
    spec: InferenceGraphSpec, contract: ModelContract, field: str
) -> Iterator[Problem]:
    known = request_environment(spec)
    for column in contract.inputs:
        source = f"request.{column.name}"
        if source not in known.variables:
            yield Problem(field, f"its input {column.name} is not a field of the request: add the field")
        else:
            yield from source_problems(spec, column, source, known, field)


def cluster_problems(spec: InferenceGraphSpec | ModelDeploymentSpec) -> list[Problem]:
    """What works under `endcap run` and not in a cluster."""
    field, uri = (
        ("spec.catalogue.uri", spec.catalogue.uri)
        if isinstance(spec, InferenceGraphSpec)
        else ("spec.model.uri", spec.model.uri)
    )
    remedy = "file:// works only under endcap run: use s3://, https:// or pvc://claim/path"
    return [Problem(field, remedy)] if uri.startswith("file:") else []
