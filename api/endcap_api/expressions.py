# SPDX-License-Identifier: Apache-2.0
"""The CEL expressions of a graph: declared variables, a type check with positions, and bounds on their cost.

The operator and `endcap validate` check with it before a graph is Accepted, and the engine compiles what it returns, so
there is one opinion on what an expression means. CEL here has no I/O: only the language's own pure functions exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from cel_expr_python import cel

from endcap_api.cel_ast import Call, Constant, Listing, Node, Other, Variable, tree_of, walk
from endcap_api.cel_proto import subexpression
from endcap_api.v1alpha1.values import Column, RequestField

# What bounds the time of an expression over a thousand candidates: its size, and loops inside loops.
MAX_NODES = 200
MAX_LOOPS = 2
MAX_LISTS = 2
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

    def part(self, whole: Checked, node: Node) -> Checked:
        """A node of a checked expression, outside of its loops, as an expression of its own."""
        program = self._library.deserialize(subexpression(whole.program.serialize(), node.id))
        return Checked(whole.source, node, program, self.variables)

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
    _refuse_lists(checked)
    _refuse_patterns(nodes)
    for node in nodes:
        if (
            isinstance(node, Constant)
            and isinstance(node.value, str | bytes)
            and len(node.value) > MAX_LITERAL
        ):
            raise ExpressionError(
                f"a literal has {len(node.value)} characters of {MAX_LITERAL} allowed: shorten it"
            )


def _is_loop(node: Node) -> bool:
    return isinstance(node, Other) and node.kind == "comprehension"


def _loop_depth(node: Node) -> int:
    """Loops inside loops; the list that a loop goes over is made once, so it is not inside."""
    if not _is_loop(node):
        return max(map(_loop_depth, node.children), default=0)
    source, *inside = node.children
    return max(_loop_depth(source), 1 + max(map(_loop_depth, inside)))


def _builds_list(node: Node) -> bool:
    """Whether it is a map or a filter: a loop that starts from an empty list."""
    return _is_loop(node) and isinstance(node.children[1], Listing)


def _refuse_lists(checked: Checked) -> None:
    """A map or filter takes the square of its list in time, so there are few of them and none within a loop."""
    lists = [node for node in walk(checked.tree) if _builds_list(node)]
    if len(lists) > MAX_LISTS:
        raise ExpressionError(
            f"`{checked.source}` has {len(lists)} of map and filter of {MAX_LISTS} allowed: use all or exists"
        )
    loops = [node for node in walk(checked.tree) if _is_loop(node)]
    if any(_builds_list(inner) for loop in loops for part in loop.children[2:] for inner in walk(part)):
        raise ExpressionError(
            f"`{checked.source}` has map or filter within another loop: use all or exists there"
        )


@cache
def _matcher() -> cel.Expression:
    return cel.NewEnv(variables={"pattern": cel.Type.STRING}).compile("''.matches(pattern)")


def _refuse_patterns(nodes: list[Node]) -> None:
    """A pattern that is written out is known to be none before any request meets it."""
    calls = [node for node in nodes if isinstance(node, Call) and node.function == "matches"]
    for pattern in (call.args[1] for call in calls):
        if isinstance(pattern, Constant) and isinstance(pattern.value, str):
            result = _matcher().eval(data={"pattern": pattern.value})
            if result.type() == cel.Type.ERROR:
                why = str(result.value()).rpartition("regular expression: ")[2]
                raise ExpressionError(f"'{pattern.value}' is no pattern of RE2 ({why}): correct it")
