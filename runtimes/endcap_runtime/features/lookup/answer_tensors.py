# SPDX-License-Identifier: Apache-2.0
"""A lookup's answer for a graph or a model: an Open Inference Protocol answer, its tensors binary.

Tensors are named `<i>.<column>` and `<i>.statuses`, i being the place of the lookup in the request; the windows and the
freshness are parameters of the answer. The bundle knows its columns' types, so nothing is looked up a value; what the
head says of the tensors is as a rule what it said last time, and is rendered once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from endcap_api.feature_columns import FeatureColumn
from endcap_runtime.features.lookup.found import Found
from endcap_runtime.wire import oip
from endcap_runtime.wire.tensor_columns import DATATYPES, LENGTHS
from endcap_runtime.wire.tensors import DTYPES, Tensor, to_binary

_Told = tuple[str, str, tuple[int, ...], int]  # name, datatype, shape, bytes
_Piece = tuple[_Told, bytes]
_FIXED = {kind: (DATATYPES[kind], DTYPES[DATATYPES[kind]]) for kind in ("number", "integer", "boolean")}


def message_of(found: Sequence[Found]) -> oip.Message:
    """The whole answer to a lookup request."""
    pieces = [piece for number, each in enumerate(found) for piece in _pieces(number, each)]
    told, raws = zip(*pieces, strict=True)
    parameters = orjson.dumps({str(number): _parameters(each) for number, each in enumerate(found)})
    head = b'{"model_name":"features","parameters":%b,"outputs":%b}' % (parameters, _outputs(told))
    return oip.Message(b"".join([head, *raws]), len(head))


@lru_cache(maxsize=256)
def _outputs(told: tuple[_Told, ...]) -> bytes:
    return orjson.dumps([
        {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
        for name, datatype, shape, size in told
    ])  # fmt: skip


def _parameters(found: Found) -> dict[str, Any]:
    return {
        "digest": found.digest,
        "freshness_ms": found.freshness_ms,
        "late": found.late,
        "windows": found.windows,
    }


def _pieces(number: int, found: Found) -> Iterator[_Piece]:
    for column, values in zip(found.columns, found.values, strict=True):
        name = f"{number}.{column.name}"
        if column.type in _FIXED:
            datatype, dtype = _FIXED[column.type]
            raw = values.astype(dtype, copy=False).tobytes()
            yield (name, datatype, values.shape, len(raw)), raw
        else:
            yield from map(_piece, _sized(name, column, values))
    raw = found.statuses.tobytes()
    yield (f"{number}.statuses", "UINT8", found.statuses.shape, len(raw)), raw


def _piece(tensor: Tensor) -> _Piece:
    raw = to_binary(tensor)
    return (tensor.name, tensor.datatype, tensor.shape, len(raw)), raw


def _sized(name: str, column: FeatureColumn, values: NDArray[Any]) -> Iterator[Tensor]:
    """A column whose values have a size each."""
    if column.items is None:
        yield _flat(name, column.type, values)
        return
    rows = values.tolist()
    yield _flat(name, column.items, list(chain.from_iterable(rows)))
    lengths = np.array([len(row) for row in rows], np.int64)
    yield Tensor(name + LENGTHS, "INT64", lengths.shape, lengths)


def _flat(name: str, kind: str, values: Any) -> Tensor:
    if kind in _FIXED:
        datatype, dtype = _FIXED[kind]
        flat: NDArray[Any] = np.asarray(values, dtype)
        return Tensor(name, datatype, flat.shape, flat)
    texts = np.empty(len(values), object)
    texts[:] = [text.encode() for text in values]
    return Tensor(name, DATATYPES[kind], texts.shape, texts)
