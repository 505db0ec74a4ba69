# SPDX-License-Identifier: Apache-2.0
"""Messages of the Open Inference Protocol v2 over HTTP, with the binary tensor extension, in both directions.

A message is a JSON head and, where tensors are binary, their bytes behind it in the order of the head; the header
`inference-header-content-length` says where the head ends. Source: the KServe Open Inference Protocol and its
binary tensor data extension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from endcap_runtime.wire.faults import Malformed
from endcap_runtime.wire.json_columns import loads
from endcap_runtime.wire.tensors import Tensor, from_binary, from_json, shape_of, to_binary, to_json

LENGTH_HEADER = b"inference-header-content-length"
MOST_TENSORS = 1024
MOST_CHARACTERS = 256
_MOST_DIGITS = 12


class Wanted(NamedTuple):
    """An output that the caller asks for, and whether as binary."""

    name: str
    binary: bool


class InferRequest(NamedTuple):
    """`wanted` is None when the caller asks for every output; `binary` is then its wish for all of them."""

    id: str | None
    inputs: tuple[Tensor, ...]
    wanted: tuple[Wanted, ...] | None
    binary: bool


class Message(NamedTuple):
    """A body and the length of its JSON head; the length is None when the body is JSON alone."""

    body: bytes
    head: int | None

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [] if self.head is None else [(LENGTH_HEADER, b"%d" % self.head)]


def head_length(header: bytes | None, body: bytes) -> int | None:
    """The header's value; raises Malformed unless it is a length within the body."""
    if header is None:
        return None
    if not header.isdigit() or len(header) > _MOST_DIGITS or not 0 < int(header) <= len(body):
        raise Malformed("The header Inference-Header-Content-Length must be a length within the body.")
    return int(header)


def parse_request(body: bytes, head: int | None) -> InferRequest:
    """An inference request; raises Malformed, before any allocation, when a size does not agree with the bytes."""
    value = _object(loads(body if head is None else body[:head]))
    parameters = _parameters(value)
    outputs = value.get("outputs")
    return InferRequest(
        id=_text(value, "id") if "id" in value else None,
        inputs=_tensors(value.get("inputs"), memoryview(body), head),
        wanted=None if outputs is None else tuple(_wanted(output) for output in _listed(outputs, "outputs")),
        binary=parameters.get("binary_data_output") is True,
    )


def parse_response(body: bytes, head: int | None) -> tuple[Tensor, ...]:
    """The output tensors of an inference response; raises Malformed."""
    value = _object(loads(body if head is None else body[:head]))
    return _tensors(value.get("outputs"), memoryview(body), head)


def _tensors(values: Any, body: memoryview, head: int | None) -> tuple[Tensor, ...]:
    offset = len(body) if head is None else head
    tensors = []
    for value in _listed(values, "tensors"):
        size = _binary_size(value, len(body) - offset)
        tensors.append(_tensor(value, len(body), None if size is None else body[offset : offset + size]))
        offset += size or 0
    if offset != len(body):
        raise Malformed("The body has bytes that belong to no tensor.")
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise Malformed("Two tensors have the same name.")
    return tuple(tensors)


def _binary_size(value: Any, left: int) -> int | None:
    size = _parameters(_object(value)).get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or not 0 <= size <= left:
        raise Malformed("A binary_data_size is negative, not an integer or beyond the body.")
    return size


def _tensor(value: dict[str, Any], most: int, raw: memoryview | None) -> Tensor:
    name, datatype, shape = _text(value, "name"), _text(value, "datatype"), shape_of(value.get("shape"), most)
    if raw is None:
        return from_json(name, datatype, shape, value.get("data"))
    if "data" in value:
        raise Malformed("A tensor has both data and binary_data_size.")
    return from_binary(name, datatype, shape, raw)


def _wanted(value: Any) -> Wanted:
    parameters = _parameters(_object(value))
    if unknown := set(parameters) - {"binary_data"}:
        raise Malformed(f"The output parameter {min(unknown)[:64]} is not supported.")
    return Wanted(_text(value, "name"), parameters.get("binary_data") is True)


def _object(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise Malformed("The message, each tensor and each output must be a JSON object.")
    return value


def _parameters(value: dict[str, Any]) -> dict[str, Any]:
    return _object(value.get("parameters", {}))


def _listed(value: Any, what: str) -> list[Any]:
    if type(value) is not list or not 0 < len(value) <= MOST_TENSORS:
        raise Malformed(f"The {what} of the message must be an array of 1 to {MOST_TENSORS} objects.")
    return value


def _text(value: dict[str, Any], key: str) -> str:
    text = value.get(key)
    if type(text) is not str or len(text) > MOST_CHARACTERS:
        raise Malformed(f"The member {key} must be a string of at most {MOST_CHARACTERS} characters.")
    return text


def request(tensors: Sequence[Tensor], outputs: Sequence[str]) -> Message:
    """A request with binary tensors that asks for `outputs` as binary."""
    wanted = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    return _message({"inputs": None, "outputs": wanted}, "inputs", tensors, [True] * len(tensors))


def response(head: dict[str, str], tensors: Sequence[Tensor], binary: Sequence[bool]) -> Message:
    """A response with the members of `head`; `binary` says for each tensor how it travels."""
    return _message(dict(head), "outputs", tensors, binary)


def _message(head: dict[str, Any], key: str, tensors: Sequence[Tensor], binary: Sequence[bool]) -> Message:
    raws = [to_binary(tensor) if raw else None for tensor, raw in zip(tensors, binary, strict=True)]
    head[key] = [_description(tensor, raw) for tensor, raw in zip(tensors, raws, strict=True)]
    encoded = orjson.dumps(head)
    if not any(binary):
        return Message(encoded, None)
    return Message(b"".join([encoded, *(raw for raw in raws if raw is not None)]), len(encoded))


def _description(tensor: Tensor, raw: bytes | None) -> dict[str, Any]:
    value: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
    if raw is None:
        return value | {"data": to_json(tensor)}
    return value | {"parameters": {"binary_data_size": len(raw)}}
