# SPDX-License-Identifier: Apache-2.0
"""A checked CEL expression as a small frozen tree: what it reads, what it calls, what type each part has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from endcap_api.cel_proto import checked_expr

_PRIMITIVES = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}


@dataclass(frozen=True, slots=True)
class Node:
    """`type` is bool, int, double, string, bytes, list(…) of those, or dyn; `id` is the library's own."""

    type: str
    id: int = field(default=0, kw_only=True, compare=False)

    @property
    def children(self) -> tuple[Node, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Constant(Node):
    value: Any


@dataclass(frozen=True, slots=True)
class Variable(Node):
    """A declared variable by its whole name, e.g. `candidate.together.score`, or a macro's loop variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Call(Node):
    """An operator (`_&&_`, `@in`, `!_` …) or a function; the target of a member call comes first in `args`."""

    function: str
    args: tuple[Node, ...]

    @property
    def children(self) -> tuple[Node, ...]:
        return self.args


@dataclass(frozen=True, slots=True)
class Listing(Node):
    elements: tuple[Node, ...]

    @property
    def children(self) -> tuple[Node, ...]:
        return self.elements


@dataclass(frozen=True, slots=True)
class Other(Node):
    """A select, map or comprehension: nothing here looks inside but for what it reads.

    The parts of a comprehension are its range, start, condition, step and result.
    """

    kind: str
    parts: tuple[Node, ...]

    @property
    def children(self) -> tuple[Node, ...]:
        return self.parts


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def tree_of(serialized: bytes) -> Node:
    """The tree of an expression that the CEL library has checked and serialised."""
    return _Reader(checked_expr(serialized)).read()


def _type_text(message: Any) -> str:
    if message.HasField("primitive"):
        return _PRIMITIVES.get(message.primitive, "dyn")
    if message.HasField("list_type"):
        return f"list({_type_text(message.list_type.elem_type)})"
    return "dyn"


class _Reader:
    def __init__(self, checked: Any) -> None:
        self._root = checked.expr
        self._names = {entry.key: entry.value.name for entry in checked.reference_map if entry.value.name}
        self._types = {entry.key: _type_text(entry.value) for entry in checked.type_map}

    def read(self) -> Node:
        return self._node(self._root)

    def _node(self, expr: Any) -> Node:
        return replace(self._shaped(expr, self._types.get(expr.id, "dyn")), id=expr.id)

    def _shaped(self, expr: Any, kind: str) -> Node:
        if expr.id in self._names and not expr.HasField("call_expr"):
            return Variable(kind, self._names[expr.id])
        if expr.HasField("const_expr"):
            return self._constant(expr.const_expr, kind)
        if expr.HasField("ident_expr"):
            return Variable(kind, expr.ident_expr.name)
        if expr.HasField("call_expr"):
            return self._call(expr.call_expr, kind)
        if expr.HasField("list_expr"):
            return Listing(kind, self._nodes(expr.list_expr.elements))
        return self._other(expr, kind)

    def _nodes(self, exprs: Any) -> tuple[Node, ...]:
        return tuple(self._node(expr) for expr in exprs)

    def _constant(self, constant: Any, kind: str) -> Constant:
        fields = constant.ListFields()
        value = fields[0][1] if fields and fields[0][0].name != "null_value" else None
        return Constant(kind, value)

    def _call(self, call: Any, kind: str) -> Call:
        target = (self._node(call.target),) if call.HasField("target") else ()
        return Call(kind, call.function, target + self._nodes(call.args))

    def _other(self, expr: Any, kind: str) -> Other:
        if expr.HasField("select_expr"):
            name = "has" if expr.select_expr.test_only else f"select {expr.select_expr.field}"
            return Other(kind, name, (self._node(expr.select_expr.operand),))
        if expr.HasField("comprehension_expr"):
            parts = tuple(self._node(value) for _, value in expr.comprehension_expr.ListFields())
            return Other(kind, "comprehension", parts)
        entries = expr.struct_expr.entries
        parts = self._nodes([entry.map_key for entry in entries]) + self._nodes([e.value for e in entries])
        return Other(kind, "map", parts)
