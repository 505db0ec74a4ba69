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
from endcap_runtime.wire.tensors import Tensor, to_binary


def message_of(found: Sequence[Found]) -> oip.Message:
    """The whole answer to a lookup request."""
    tensors = [tensor for number, each in enumerate(found) for tensor in _tensors(number, each)]
    raws = list(map(to_binary, tensors))
    told = tuple((t.name, t.datatype, t.shape, len(raw)) for t, raw in zip(tensors, raws, strict=True))
    parameters = orjson.dumps({str(number): _parameters(each) for number, each in enumerate(found)})
    head = b'{"model_name":"features","parameters":%b,"outputs":%b}' % (parameters, _outputs(told))
    return oip.Message(b"".join([head, *raws]), len(head))


@lru_cache(maxsize=256)
def _outputs(told: tuple[tuple[str, str, tuple[int, ...], int], ...]) -> bytes:
    """The JSON of tensors: name, datatype, shape, bytes."""
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


def _tensors(number: int, found: Found) -> Iterator[Tensor]:
    for column, values in zip(found.columns, found.values, strict=True):
        yield from _column(f"{number}.{column.name}", column, values)
    yield Tensor(f"{number}.statuses", "UINT8", found.statuses.shape, found.statuses)


def _column(name: str, column: FeatureColumn, values: NDArray[Any]) -> Iterator[Tensor]:
    if column.items is None:
        yield _flat(name, column.type, values)
        return
    rows = values.tolist()
    yield _flat(name, column.items, list(chain.from_iterable(rows)))
    lengths = np.array([len(row) for row in rows], np.int64)
    yield Tensor(name + LENGTHS, "INT64", lengths.shape, lengths)


_DTYPES = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_}


def _flat(name: str, kind: str, values: Any) -> Tensor:
    datatype = DATATYPES[kind]
    data: NDArray[Any]
    if datatype != "BYTES":
        data = np.asarray(values, _DTYPES[datatype])
    else:
        data = np.empty(len(values), object)
        data[:] = [text.encode() for text in values]
    return Tensor(name, datatype, data.shape, data)
