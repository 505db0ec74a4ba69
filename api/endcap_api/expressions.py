# SPDX-License-Identifier: Apache-2.0
"""The CEL expressions of a graph: declared variables, a type check with positions, and bounds on their cost.

The operator and `endcap validate` check with it before a graph is Accepted, and the engine compiles what it returns, so
there is one opinion on what an expression means. CEL here has no I/O: only the language's own pure functions exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from cel_expr_python import cel

from endcap_api.cel_ast import Constant, Node, Other, Variable, tree_of, walk
from endcap_api.v1alpha1.values import Column, RequestField

# What bounds the time of an expression over a thousand candidates: its size, and loops inside loops.
MAX_NODES = 200
MAX_LOOPS = 2
MAX_LITERAL = 256
_SHOWN = 120

_CEL_NAMES = {
    "string": "string",
    "product": "string",
    "integer": "int",
    "number": "double",
    "boolean": "bool",
}
_CEL_TYPES = {
    "string": cel.Type.STRING,
    "int": cel.Type.INT,
    "double": cel.Type.DOUBLE,
    "bool": cel.Type.BOOL,
}


class ExpressionError(ValueError):
    """An expression that cannot be used; the message says where and what to do."""


def cel_type(declared: Column | RequestField) -> str:
    """The CEL type of a declared value: `string`, `int`, `double`, `bool` or `list(…)` of those."""
    if declared.items is not None:
        return f"list({_CEL_NAMES[declared.items.type]})"
    return _CEL_NAMES[declared.type]


def _library_type(name: str) -> cel.Type:
    if name.startswith("list("):
        return cel.Type.List(_CEL_TYPES[name[5:-1]])
    return _CEL_TYPES[name]


@dataclass(frozen=True)
class Checked:
    """An expression whose types hold; `type` is its CEL type, `reads` the variables it needs."""

    source: str
    tree: Node
    program: cel.Expression
    variables: Mapping[str, str]

    @property
    def type(self) -> str:
        return self.tree.type

    @cached_property
    def reads(self) -> frozenset[str]:
        names = {node.name for node in walk(self.tree) if isinstance(node, Variable)}
        return frozenset(names & set(self.variables))

    @property
    def per_candidate(self) -> bool:
        """Whether its value differs from candidate to candidate."""
        return any(name.startswith("candidate.") for name in self.reads)


@dataclass(frozen=True)
class Environment:
    """The variables that an expression may read, by their whole name, with their CEL types."""

    variables: Mapping[str, str]

    @cached_property
    def _library(self) -> cel.Env:
        return cel.NewEnv(variables={name: _library_type(kind) for name, kind in self.variables.items()})

    def check(self, source: str, *expected: str) -> Checked:
        """`source` checked to be one of the `expected` CEL types (any when none is given); raises ExpressionError."""
        try:
            program = self._library.compile(source)
        except (RuntimeError, ValueError) as error:
            raise ExpressionError(self._explain(source, str(error))) from None
        checked = Checked(source, tree_of(program.serialize()), program, self.variables)
        _refuse_costly(checked)
        if expected and checked.type not in expected:
            raise ExpressionError(f"`{source}` is {checked.type}, and {' or '.join(expected)} is needed here")
        return checked

    def _explain(self, source: str, error: str) -> str:
        first = error.removeprefix("INVALID_ARGUMENT: ").splitlines()[0].removeprefix("ERROR: <input>:")
        shown = source if len(source) <= _SHOWN else f"{source[:_SHOWN]}…"
        if "recursion" in error:
            return f"`{shown}` is nested too deeply: simplify it"
        return f"`{shown}` at {first}{self._hint(error)}"

    def _hint(self, error: str) -> str:
        if "undeclared reference" in error:
            name = error.split("'")[1]
            near = [known for known in sorted(self.variables) if known.split(".")[0] == name.split(".")[0]]
            shown = ", ".join(near or sorted(self.variables))
            return f"; what can be read here: {shown}" if shown else ""
        if "(double, int)" in error or "(int, double)" in error:
            return "; a number is compared with a number: write 3.0 rather than 3, or double(x)"
        return ""


def _refuse_costly(checked: Checked) -> None:
    nodes = list(walk(checked.tree))
    if len(nodes) > MAX_NODES:
        raise ExpressionError(
            f"`{checked.source[:_SHOWN]}…` has {len(nodes)} parts of {MAX_NODES} allowed: simplify it"
        )
    if _loop_depth(checked.tree) > MAX_LOOPS:
        raise ExpressionError(
            f"`{checked.source}` nests more than {MAX_LOOPS} of all, exists, map and filter"
        )
    for node in nodes:
        if (
            isinstance(node, Constant)
            and isinstance(node.value, str | bytes)
            and len(node.value) > MAX_LITERAL
        ):
            raise ExpressionError(
                f"a literal has {len(node.value)} characters of {MAX_LITERAL} allowed: shorten it"
            )


def _loop_depth(node: Node) -> int:
    here = 1 if isinstance(node, Other) and node.kind == "comprehension" else 0
    return here + max((_loop_depth(child) for child in node.children), default=0)
