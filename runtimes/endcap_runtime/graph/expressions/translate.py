# SPDX-License-Identifier: Apache-2.0
"""From a checked tree to a function over columns, built once; nothing is chosen while a request is answered."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce

import numpy as np

from endcap_api.cel_ast import Call, Constant, Listing, Node, Variable
from endcap_runtime.graph.columns import constant
from endcap_runtime.graph.expressions import arithmetic, lists, logic, strings
from endcap_runtime.graph.expressions.scope import CANDIDATE, ZEROS, Scope
from endcap_runtime.graph.expressions.vector import Evaluate, Fault, Vector, either

Operation = Callable[..., Vector]
_NUMBERS: dict[str, Operation] = {
    "_==_": arithmetic.plain(operator.eq),
    "_!=_": arithmetic.plain(operator.ne),
    "_<_": arithmetic.plain(operator.lt),
    "_<=_": arithmetic.plain(operator.le),
    "_>_": arithmetic.plain(operator.gt),
    "_>=_": arithmetic.plain(operator.ge),
}
_INTS: dict[str, Operation] = {
    **_NUMBERS,
    "_+_": arithmetic.add,
    "_-_": arithmetic.subtract,
    "_*_": arithmetic.multiply,
    "_/_": arithmetic.divide,
    "_%_": arithmetic.modulo,
    "-_": arithmetic.negate,
    "double": arithmetic.to_double,
}
_DOUBLES: dict[str, Operation] = {
    **_NUMBERS,
    "_+_": arithmetic.plain(operator.add),
    "_-_": arithmetic.plain(operator.sub),
    "_*_": arithmetic.plain(operator.mul),
    "_/_": arithmetic.plain(operator.truediv),
    "-_": arithmetic.plain(operator.neg),
    "int": arithmetic.to_int,
}
_STRINGS: dict[str, Operation] = {
    **strings.ORDER,
    "_==_": strings.equal,
    "_!=_": strings.unequal,
    "_+_": strings.joined,
    "size": strings.sizes,
}
# function by the CEL type of all its operands; an operand without a value leaves the call without one
_STRICT: dict[str, dict[str, Operation]] = {
    "int": _INTS,
    "double": _DOUBLES,
    "bool": _NUMBERS,
    "string": _STRINGS,
}
_LOGIC: dict[str, Operation] = {
    "_&&_": logic.conjunction,
    "_||_": logic.disjunction,
    "!_": logic.negation,
    "_?_:_": logic.conditional,
}


class NotVectorised(Exception):
    """There is no form of this part over columns."""


Library = Callable[[Node], Evaluate]


class Translation:
    """`library` evaluates what has no form over columns; when it raises NotVectorised, a larger part is asked for."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def __call__(self, node: Node) -> Evaluate:
        """The function that evaluates a tree over columns. Raises NotVectorised."""
        try:
            return self._form(node)
        except NotVectorised:
            return self._library(node)

    def _form(self, node: Node) -> Evaluate:
        match node:
            case Constant():
                return _constant(node)
            case Variable():
                return _variable(node)
            case Listing():
                return self._listing(node)
            case Call():
                return self._call(node)
        raise NotVectorised

    def _listing(self, node: Listing) -> Evaluate:
        elements = [self(element) for element in node.elements]

        def evaluate(scope: Scope) -> Vector:
            vectors = tuple(element(scope) for element in elements)
            return Vector(vectors, _faults(vectors))

        return evaluate

    def _call(self, node: Call) -> Evaluate:
        operation = _operation(node)
        operands = [self(argument) for argument in node.args]
        if len(operands) == 1:
            (only,) = operands
            return lambda scope: operation(only(scope))
        if len(operands) == 2:  # noqa: PLR2004 (the common case, without a generator)
            left, right = operands
            return lambda scope: operation(left(scope), right(scope))
        return lambda scope: operation(*(operand(scope) for operand in operands))


def _constant(node: Constant) -> Evaluate:
    if node.type not in ZEROS:
        raise NotVectorised
    vector = Vector(constant(node.value))
    return lambda _: vector


def _variable(node: Variable) -> Evaluate:
    name = node.name
    if name.startswith(CANDIDATE):
        column, zero = name.removeprefix(CANDIDATE), ZEROS.get(node.type)
        return lambda scope: Vector(scope.column(column, zero))
    if node.type.startswith("list("):
        return lambda scope: Vector(scope.value(name))
    if node.type not in ZEROS:
        raise NotVectorised
    convert = type(ZEROS[node.type])
    return lambda scope: Vector(constant(convert(scope.value(name))))


def _faults(vectors: tuple[Vector, ...]) -> Fault | None:
    return reduce(either, (vector.fault for vector in vectors), None)


def _operation(node: Call) -> Operation:
    if node.function in _LOGIC:
        return _logic(node)
    if node.function == "@in":
        return _membership(node)
    if node.function == "size" and node.args[0].type.startswith("list("):
        return lists.sizes
    return _strict(_predicate(node) if node.function in strings.TESTS else _by_type(node))


def _strict(operation: Operation) -> Operation:
    """The operation over values; a fault of an operand is a fault of the result."""

    def evaluate(*operands: Vector) -> Vector:
        values, fault = operation(*(operand.values for operand in operands))
        return Vector(values, either(_faults(operands), fault))

    return evaluate


def _logic(node: Call) -> Operation:
    if node.type not in ZEROS:
        raise NotVectorised
    return _LOGIC[node.function]


def _by_type(node: Call) -> Operation:
    kinds = {argument.type for argument in node.args}
    kind = kinds.pop() if len(kinds) == 1 else ""
    operation = _STRICT.get(kind, {}).get(node.function)
    if operation is None:
        raise NotVectorised
    return operation


def _membership(node: Call) -> Operation:
    element, container = node.args
    if element.type not in ZEROS or container.type != f"list({element.type})":
        raise NotVectorised
    equal = _STRICT[element.type]["_==_"]
    return lambda value, values: lists.member(equal, value, values)


def _predicate(node: Call) -> Operation:
    argument = node.args[1]
    known = argument.value if isinstance(argument, Constant) else None
    return strings.Predicate(strings.TESTS[node.function], known)


def silent() -> np.errstate:
    """IEEE 754 has values for what numpy would warn about."""
    return np.errstate(all="ignore")
