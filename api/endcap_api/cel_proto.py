# SPDX-License-Identifier: Apache-2.0
"""The protobuf messages of a checked CEL expression, as far as Endcap reads them.

`Expression.serialize()` of cel-expr-python gives a `google.protobuf.Any` that holds a `cel.expr.CheckedExpr`, and no
wheel carries that message for Python. Field numbers are those of cel-spec's `checked.proto` and `syntax.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

_F = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _F.TYPE_BOOL,
    "int64": _F.TYPE_INT64,
    "uint64": _F.TYPE_UINT64,
    "double": _F.TYPE_DOUBLE,
    "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
}
# message: {field: (number, type)}; a type in [] is repeated
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "CheckedExpr": {
        "reference_map": (2, "[ReferenceEntry]"),
        "type_map": (3, "[TypeEntry]"),
        "expr": (4, "Expr"),
    },
    "ReferenceEntry": {"key": (1, "int64"), "value": (2, "Reference")},
    "Reference": {"name": (1, "string"), "overload_id": (3, "[string]")},
    "TypeEntry": {"key": (1, "int64"), "value": (2, "Type")},
    "Type": {"primitive": (3, "int64"), "list_type": (6, "ListType")},
    "ListType": {"elem_type": (1, "Type")},
    "Expr": {
        "id": (2, "int64"),
        "const_expr": (3, "Constant"),
        "ident_expr": (4, "Ident"),
        "select_expr": (5, "Select"),
        "call_expr": (6, "Call"),
        "list_expr": (7, "CreateList"),
        "struct_expr": (8, "CreateStruct"),
        "comprehension_expr": (9, "Comprehension"),
    },
    "Constant": {
        "null_value": (1, "int64"),
        "bool_value": (2, "bool"),
        "int64_value": (3, "int64"),
        "uint64_value": (4, "uint64"),
        "double_value": (5, "double"),
        "string_value": (6, "string"),
        "bytes_value": (7, "bytes"),
    },
    "Ident": {"name": (1, "string")},
    "Select": {"operand": (1, "Expr"), "field": (2, "string"), "test_only": (3, "bool")},
    "Call": {"target": (1, "Expr"), "function": (2, "string"), "args": (3, "[Expr]")},
    "CreateList": {"elements": (1, "[Expr]")},
    "CreateStruct": {"entries": (2, "[Entry]")},
    "Entry": {"map_key": (3, "Expr"), "value": (4, "Expr")},
    "Comprehension": {
        "iter_range": (2, "Expr"),
        "accu_init": (4, "Expr"),
        "loop_condition": (5, "Expr"),
        "loop_step": (6, "Expr"),
        "result": (7, "Expr"),
    },
}


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    inner = kind.strip("[]")
    field = message.field.add(name=name, number=number)
    field.label = _F.LABEL_REPEATED if inner != kind else _F.LABEL_OPTIONAL
    if inner in _SCALARS:
        field.type = _SCALARS[inner]
    else:
        field.type, field.type_name = _F.TYPE_MESSAGE, f".endcap.cel.{inner}"


@cache
def _checked_expr() -> type[Any]:
    file = descriptor_pb2.FileDescriptorProto(name="endcap/cel.proto", package="endcap.cel", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("endcap.cel.CheckedExpr"))


def checked_expr(serialized: bytes) -> Any:
    """The CheckedExpr message inside what `Expression.serialize()` returned."""
    wrapped = any_pb2.Any.FromString(serialized)
    return _checked_expr().FromString(wrapped.value)


def subexpression(serialized: bytes, expr_id: int) -> bytes:
    """What `Env.deserialize` takes, for the part of a checked expression that has this id. Raises KeyError.

    The part must read no loop variable: it stands outside of every comprehension.
    """
    wrapped = any_pb2.Any.FromString(serialized)
    whole = _checked_expr().FromString(wrapped.value)
    part = next((expr for expr in _outside_loops(whole.expr) if expr.id == expr_id), None)
    if part is None:
        raise KeyError(expr_id)
    root = type(part)()
    root.CopyFrom(part)
    whole.expr.CopyFrom(root)
    wrapped.value = whole.SerializeToString()
    return wrapped.SerializeToString()


def _outside_loops(expr: Any) -> Iterator[Any]:
    yield expr
    inner = [*expr.call_expr.args, *expr.list_expr.elements]
    inner += [expr.call_expr.target] if expr.call_expr.HasField("target") else []
    for child in inner:
        yield from _outside_loops(child)
