# SPDX-License-Identifier: Apache-2.0
"""Whether a request is targeted: the engine's own evaluation, of a request that a person describes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from endcap_api.expressions import Environment, ExpressionError, cel_type
from endcap_api.nearest import did_you_mean
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.values import RequestField
from endcap_cli.terminal import CommandError
from endcap_runtime.graph.expressions import ExpressionFailed, Scope, compile_expression
from endcap_runtime.graph.values import EMPTY, READERS, Fault, array_of

_MANY = 1000


def is_targeted(expression: str, graph: InferenceGraphSpec, given: Iterable[str]) -> bool:
    """`given` are `field=value` of the request; raises CommandError for what does not fit."""
    fields = graph.api.request
    variables = {f"request.{name}": cel_type(field) for name, field in fields.items()}
    values = {f"request.{name}": value for name, value in _values(fields, given).items()}
    try:
        compiled = compile_expression(expression, Environment(variables), "bool")
    except ExpressionError as error:
        raise CommandError(f"spec.targeting: {error}") from None
    try:
        return bool(compiled(Scope(values)))
    except ExpressionFailed:
        return False  # as in the engine: who cannot be judged takes no part


def _values(fields: Mapping[str, RequestField], given: Iterable[str]) -> dict[str, object]:
    values = {name: _absent(field) for name, field in fields.items()}
    for pair in given:
        name, equals, text = pair.partition("=")
        name = name.removeprefix("request.")
        if not equals or name not in fields:
            remedy = "write FIELD=VALUE, e.g. channel=app" if not equals else did_you_mean(name, list(fields))
            raise CommandError(f"--request {pair}: no field of the graph's request: {remedy}", status=2)
        values[name] = _value(name, text, fields[name])
    return values


def _absent(field: RequestField) -> object:
    if field.default is not None:
        return field.default
    return [] if field.items is not None else EMPTY[field.type]


def _value(name: str, text: str, field: RequestField) -> object:
    """Texts as they are, everything else as JSON has it."""
    kind = field.items.type if field.items is not None else field.type
    reader = array_of(READERS[kind], field.max_items or _MANY) if field.items is not None else READERS[kind]
    plain = field.items is None and kind in ("string", "product")
    try:
        return reader(text if plain else json.loads(text))
    except ValueError:
        raise CommandError(
            f"--request {name}: {text!r} is not JSON: write it as in a request", status=2
        ) from None
    except Fault as fault:
        raise CommandError(f"--request {name}{fault.at}: {fault.message}", status=2) from None
