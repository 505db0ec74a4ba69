# SPDX-License-Identifier: Apache-2.0
"""The base of every object in the API: frozen, closed, and with its CEL rules beside its fields.

A rule is written once. The generated CRD hands it to the API server, and the same text is evaluated here,
so that `endcap validate` on a laptop refuses exactly what the API server refuses, in the same words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, NamedTuple

from cel_expr_python import cel
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    SerializationInfo,
    StringConstraints,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Rule(NamedTuple):
    """A CEL rule over `self` and the message, with its remedy, that a person reads when it does not hold."""

    rule: str
    message: str


@cache
def _compiled(rule: str) -> cel.Expression:
    return cel.NewEnv(variables={"self": cel.Type.DYN}).compile(rule)


def holds(rule: str, value: Any) -> bool:
    return _compiled(rule).eval(data={"self": value}).value() is True


def _refuse_unless(rule: Rule, value: Any) -> None:
    if not holds(rule.rule, value):
        raise PydanticCustomError("rule", "{message}", {"message": rule.message})


@dataclass(frozen=True)
class Spelling:
    """How a string is spelt: a pattern of RE2 without backslashes, and words for who reads the refusal.

    A rule rather than `pattern`, because the API server answers a pattern with the pattern.
    """

    pattern: str
    message: str

    @property
    def rule(self) -> Rule:
        return Rule(f"self.matches('{self.pattern}')", self.message)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._spelt, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(core), "x-kubernetes-validations": [self.rule._asdict()]}

    def _spelt(self, value: str) -> str:
        _refuse_unless(self.rule, value)
        return value


Name = Annotated[
    str,
    StringConstraints(max_length=40),
    Spelling(
        "^[a-z]([-a-z0-9]*[a-z0-9])?$",
        "a name is lower-case letters, digits and -, a letter first and no - last: rename it",
    ),
]
_IDENTIFIER = "^[a-z][a-z0-9_]*$"
Identifier = Annotated[
    str,
    StringConstraints(max_length=63),
    Spelling(_IDENTIFIER, "this name is lower-case letters, digits and _, a letter first: rename it"),
]


def keyed_by_identifiers(field: str) -> Rule:
    """For a map: Kubernetes has no schema for the keys of one, so a rule beside it must say how they are spelt."""
    return Rule(
        f"!has(self.{field}) || self.{field}.all(k, k.matches('{_IDENTIFIER}'))",
        f"the names in {field} are lower-case letters, digits and _, a letter first: rename the one that is not",
    )


Text = Annotated[str, StringConstraints(max_length=1024)]
Duration = Annotated[
    str,
    StringConstraints(max_length=12),
    Spelling(
        "^[1-9][0-9]*(ms|s|m)$", "a duration is a whole number with ms, s or m: write it as 150ms or 2s"
    ),
]

# Six digits: CEL holds a duration in nanoseconds, and more hours would not fit.
SPAN_PATTERN = "^[1-9][0-9]{0,5}(s|m|h)$"
Span = Annotated[
    str,
    StringConstraints(max_length=7),
    Spelling(SPAN_PATTERN, "a span of time is 1 to 999999 with s, m or h: write it as 5m or 24h"),
]

_FOR_RULES = {"reader": "rules"}


def _hidden_from_rules(value: Any, info: SerializationInfo) -> Any:
    return None if info.context is _FOR_RULES else value


# A value of any type: Kubernetes hides such a field from rules, so they must not meet it here either.
Free = Annotated[Any, PlainSerializer(_hidden_from_rules)]

_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def milliseconds(duration: str) -> int:
    """`"150ms"`, `"2s"`, `"1m"`, `"24h"` in whole milliseconds."""
    number = duration.rstrip("msh")
    return int(number) * _MILLISECONDS[duration[len(number) :]]


class Element(BaseModel):
    """A frozen object of the API with camelCase names, no unknown fields and its rules enforced."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Element:
        if not self.rules:
            return self
        value = self.model_dump(mode="json", by_alias=True, exclude_none=True, context=_FOR_RULES)
        for rule in self.rules:
            _refuse_unless(rule, value)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        schema["description"] = cls.__doc__
        if cls.rules:
            schema["x-kubernetes-validations"] = [rule._asdict() for rule in cls.rules]
        return schema

    def dump(self) -> dict[str, Any]:
        """The object as it is written in YAML: camelCase, without what is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class SecretRef(Element):
    """A Secret of the same namespace; the kubelet mounts it, and the operator never reads it."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=253)] = Field(
        description="Name of a Secret in this namespace."
    )
