# SPDX-License-Identifier: Apache-2.0
"""Tensors of the Open Inference Protocol v2 between bytes and numpy.

Every size is compared with the bytes that are really there before anything is allocated: a shape, a count or a
length in a message is a claim of its sender.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from endcap_runtime.wire.faults import Malformed

DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
}
MOST_DIMENSIONS = 8
_LENGTH = struct.Struct("<I")


class Tensor(NamedTuple):
    """A tensor by name: `data` is a numpy array of `shape`, of bytes objects (dtype object) for BYTES."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: NDArray[Any]


def shape_of(value: Any, most: int) -> tuple[int, ...]:
    """A shape, none of whose sizes is beyond `most`; raises Malformed otherwise."""
    if type(value) is not list or not 1 <= len(value) <= MOST_DIMENSIONS:
        raise Malformed(f"A shape must be an array of 1 to {MOST_DIMENSIONS} sizes.")
    if not all(type(size) is int and 0 <= size <= most for size in value):
        raise Malformed("A shape holds a size that is negative, not an integer or larger than the message.")
    return tuple(value)


def from_binary(name: str, datatype: str, shape: tuple[int, ...], raw: memoryview) -> Tensor:
    """A tensor from its little-endian bytes, not copied; raises Malformed when the sizes do not agree."""
    count = math.prod(shape)
    if datatype == "BYTES":
        return Tensor(name, datatype, shape, _strings(count, raw).reshape(shape))
    dtype = dtype_of(datatype)
    if len(raw) != count * dtype.itemsize:
        raise Malformed(
            f"Tensor {name[:64]} has {len(raw)} bytes, but its shape and datatype take another number."
        )
    if datatype == "BOOL":
        return Tensor(name, datatype, shape, (np.frombuffer(raw, np.uint8) != 0).reshape(shape))
    return Tensor(name, datatype, shape, np.frombuffer(raw, dtype).reshape(shape))


def dtype_of(datatype: str) -> np.dtype[Any]:
    if datatype not in DTYPES:
        raise Malformed(f"The datatype must be BYTES or one of {', '.join(DTYPES)}.")
    return DTYPES[datatype]


def _strings(count: int, raw: memoryview) -> NDArray[Any]:
    if count * _LENGTH.size > len(raw):
        raise Malformed("A BYTES tensor has fewer bytes than its shape needs.")
    elements = np.empty(count, dtype=object)
    offset = 0
    for index in range(count):
        elements[index], offset = _string(raw, offset)
    if offset != len(raw):
        raise Malformed("A BYTES tensor has bytes beyond its last element.")
    return elements


def _string(raw: memoryview, offset: int) -> tuple[bytes, int]:
    start = offset + _LENGTH.size
    if start > len(raw):
        raise Malformed("A BYTES tensor ends before the length of an element.")
    end = start + _LENGTH.unpack_from(raw, offset)[0]
    if end > len(raw):
        raise Malformed("An element of a BYTES tensor is longer than the tensor.")
    return bytes(raw[start:end]), end


def to_binary(tensor: Tensor) -> bytes:
    """The tensor's little-endian bytes; each BYTES element after its length in 4 bytes."""
    if tensor.datatype == "BYTES":
        elements: Sequence[bytes] = tensor.data.ravel().tolist()
        return b"".join(part for element in elements for part in (_LENGTH.pack(len(element)), element))
    return np.ascontiguousarray(tensor.data, dtype=DTYPES[tensor.datatype]).tobytes()


def from_json(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Tensor:
    """A tensor from its JSON data, flat or nested in the shape; raises Malformed when it does not fit."""
    flat = _flat(data)
    if len(flat) != math.prod(shape):
        raise Malformed(
            f"Tensor {name[:64]} has {len(flat)} elements, but its shape takes {math.prod(shape)}."
        )
    if datatype == "BYTES":
        return Tensor(name, datatype, shape, _texts(name, flat).reshape(shape))
    dtype = dtype_of(datatype)
    if not set(map(type, flat)) <= _json_types(dtype):
        raise Malformed(f"Tensor {name[:64]} has a value that is not of datatype {datatype}.")
    try:
        return Tensor(name, datatype, shape, np.array(flat, dtype=dtype).reshape(shape))
    except OverflowError as error:
        raise Malformed(f"Tensor {name[:64]} has a value beyond datatype {datatype}.") from error


def _json_types(dtype: np.dtype[Any]) -> set[type]:
    types: Mapping[str, set[type]] = {"b": {bool}, "f": {int, float}}
    return types.get(dtype.kind, {int})


def _texts(name: str, flat: list[Any]) -> NDArray[Any]:
    if not set(map(type, flat)) <= {str}:
        raise Malformed(f"Tensor {name[:64]} has a value that is not of datatype BYTES.")
    elements = np.empty(len(flat), dtype=object)
    elements[:] = [text.encode() for text in flat]
    return elements


def _flat(data: Any) -> list[Any]:
    if type(data) is not list:
        raise Malformed("The data of a tensor must be an array.")
    flat: list[Any] = data
    while flat and type(flat[0]) is list:
        if not all(type(part) is list for part in flat):
            raise Malformed("The data of a tensor is nested unevenly.")
        flat = [element for part in flat for element in part]
    return flat


def to_json(tensor: Tensor) -> list[Any]:
    """The tensor's elements, flat; BYTES as text."""
    elements: list[Any] = tensor.data.ravel().tolist()
    return [element.decode() for element in elements] if tensor.datatype == "BYTES" else elements
