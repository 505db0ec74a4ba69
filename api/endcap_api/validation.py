# SPDX-License-Identifier: Apache-2.0
"""Reads a manifest as the API server would, and says in words what keeps it from being accepted.

The operator and `endcap validate` share it. The API server has the same rules; what differs is that here every
problem is reported at once, and an unknown field comes with the name that was probably meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from endcap_api.nearest import did_you_mean
from endcap_api.problem import Problem
from endcap_api.structural import structural_schema
from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.kinds import API_VERSION, KINDS, NAME_PATTERN, NAME_RULE, parse

_TOP = ("apiVersion", "kind", "metadata", "spec", "status")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TYPES = {
    "string_type": "a string: put it in quotes",
    "int_type": "a whole number, without quotes",
    "float_type": "a number, without quotes",
    "bool_type": "true or false, without quotes",
    "list_type": "a list: start each element with -",
    "dict_type": "a map of names to values",
    "model_type": "an object with fields",
}


_BOUNDS = {"greater_than_equal": "raise it", "less_than_equal": "lower it"}
_LENGTHS = {
    "string_too_long": ("at most", "shorten it"),
    "string_too_short": ("at least", "write more"),
    "too_long": ("at most", "remove some"),
    "too_short": ("at least", "add some"),
}
_SPANS = ("a duration is", "a span of time is")


class InvalidSpec(ValueError):
    """A manifest that nobody can act on; `problems` says what its author must change."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def read(manifest: Any) -> Element:
    """The spec of a manifest of one of our kinds; raises InvalidSpec with every problem."""
    if not isinstance(manifest, dict):
        raise InvalidSpec([Problem("manifest", "is no object: start with apiVersion, kind, metadata")])
    problems = list(_envelope_problems(manifest))
    if manifest.get("kind") not in KINDS or not isinstance(manifest.get("spec"), dict):
        raise InvalidSpec(problems)
    try:
        spec = parse(manifest)
    except ValidationError as error:
        raise InvalidSpec([*problems, *problems_of(manifest["kind"], error)]) from None
    if problems:
        raise InvalidSpec(problems)
    return spec


def problems_of(kind: str, error: ValidationError) -> list[Problem]:
    """What pydantic refused in the spec of a kind, as fields and remedies."""
    return [Problem(_path(found["loc"]), _message(kind, found)) for found in error.errors(include_url=False)]


def _envelope_problems(manifest: dict[str, Any]) -> Iterator[Problem]:
    if manifest.get("kind") not in KINDS:
        yield Problem(
            "kind", f"is no kind of this version: {did_you_mean(str(manifest.get('kind')), list(KINDS))}"
        )
    if manifest.get("apiVersion") != API_VERSION:
        yield Problem("apiVersion", f"is not served here: write {API_VERSION}")
    for name in manifest:
        if name not in _TOP:
            yield Problem(str(name), _unknown(str(name), _TOP))
    yield from _name_problems(manifest.get("metadata"))
    if not isinstance(manifest.get("spec"), dict):
        yield Problem("spec", "is required, and an object with fields: add it")


def _name_problems(metadata: Any) -> Iterator[Problem]:
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str):
        yield Problem("metadata.name", "is required, and a string: add it, in quotes if it is a number")
    elif not re.fullmatch(NAME_PATTERN, name):
        yield Problem("metadata.name", NAME_RULE.message.removeprefix("metadata.name "))


def _path(location: tuple[int | str, ...]) -> str:
    return "spec" + "".join(_segment(part) for part in location if part != "[key]")


def _segment(part: int | str) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _PLAIN.fullmatch(part) else f"[{part!r}]"


def _message(kind: str, found: ErrorDetails) -> str:
    error = found["type"]
    if error == "missing":
        return "is required: add it"
    if error == "extra_forbidden":
        return _unknown(str(found["loc"][-1]), _fields_at(kind, found["loc"][:-1]))
    if error == "literal_error":
        return f"is not a value that this field takes: use {found['ctx']['expected'].replace(chr(39), '')}"
    if error == "string_type":
        return _not_text(kind, found)
    if error in _TYPES:
        return f"must be {_TYPES[error]}"
    return _length(kind, found) if error in _LENGTHS else _bound(found)


def _bound(found: ErrorDetails) -> str:
    said, remedy = found["msg"].replace("Input should", "must"), _BOUNDS.get(found["type"])
    return f"{said}: {remedy}" if remedy else said


def _length(kind: str, found: ErrorDetails) -> str:
    """A span that is too long a text is one that is written wrongly."""
    rules = _schema_at(kind, found["loc"]).get("x-kubernetes-validations", ())
    said = (str(rule["message"]) for rule in rules)
    if written := next((text for text in said if text.startswith(_SPANS)), None):
        return written
    bound, remedy = _LENGTHS[found["type"]]
    limit = next(value for name, value in found["ctx"].items() if name in ("min_length", "max_length"))
    counted = "characters" if found["type"].startswith("string") else "elements"
    return f"has {len(found['input'])} of {bound} {limit} {counted}: {remedy}"


def _not_text(kind: str, found: ErrorDetails) -> str:
    """The remedy for a number where a text is due: quotes help only where the text would then be right."""
    value, field = found["input"], found["loc"][-1]
    if isinstance(value, int | float):
        rules = str(_schema_at(kind, found["loc"]).get("x-kubernetes-validations", ""))
        if "a duration is" in rules:
            return f"must be a string with a unit: write it as {value if value > 0 else 150}ms or 2s"
        if "a span of time is" in rules:
            return f"must be a string with a unit: write it as {value if value > 0 else 30}s or 5m"
        if field == "count" and value < 1:
            return 'must be a count of at least 1, as a string: write it as "3" or request.limit'
    return f"must be {_TYPES['string_type']}"


def _unknown(name: str, known: Sequence[str]) -> str:
    remedy = did_you_mean(name, known)
    return f"is no field here: {remedy if remedy.endswith('?') else f'remove it, or {remedy}'}"


@cache
def _schema(kind: str) -> dict[str, Any]:
    return structural_schema(KINDS[kind].spec)


def _fields_at(kind: str, location: tuple[int | str, ...]) -> list[str]:
    return list(_schema_at(kind, location).get("properties", {}))


def _schema_at(kind: str, location: tuple[int | str, ...]) -> dict[str, Any]:
    schema = _schema(kind)
    for part in location:
        inner = schema.get("items") if isinstance(part, int) else schema.get("properties", {}).get(part)
        schema = inner or schema.get("additionalProperties") or {}
    return schema
