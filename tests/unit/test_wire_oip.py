# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol codec: exact both ways, and no size is believed before it is checked."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap_api.v1alpha1.values import Column
from endcap_runtime.wire import oip
from endcap_runtime.wire.faults import InvalidColumns, Malformed
from endcap_runtime.wire.tensor_columns import columns_from, matrix_from, metadata_of, tensors_of
from endcap_runtime.wire.tensors import Tensor

SCHEMA = [
    Column(name="share", type="number"),
    Column(name="count", type="integer"),
    Column(name="open", type="boolean"),
    Column(name="item", type="product"),
    Column(name="cart", type="array", items={"type": "product"}),
    Column(name="scores", type="array", items={"type": "number"}),
]
NUMBERS = [Column(name="share", type="number"), Column(name="count", type="integer")]
FLOATS = [Column(name="share", type="number"), Column(name="price", type="number")]
NAMES = [column.name for column in SCHEMA]

finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
row = st.tuples(
    finite, st.integers(-(2**63), 2**63 - 1), st.booleans(), text, st.lists(text, max_size=4),
    st.lists(finite, max_size=4),
)  # fmt: skip


def typed(rows):
    share, count, is_open, item, cart, scores = zip(*rows, strict=True)
    items = np.empty(len(item), dtype=object)
    items[:] = item
    values = [np.array(share), np.array(count, np.int64), np.array(is_open), items, list(cart), list(scores)]
    return dict(zip(NAMES, values, strict=True))


def plain(columns):
    return {
        name: v.tolist() if isinstance(v, np.ndarray) else [list(x) for x in v] for name, v in columns.items()
    }


@given(st.lists(row, min_size=1, max_size=5), st.booleans())
def test_columns_survive_the_wire_in_either_form(rows, binary):
    columns = typed(rows)
    tensors = tensors_of(SCHEMA, columns)
    message = oip.response({"model_name": "m"}, tensors, [binary] * len(tensors))
    back = columns_from(SCHEMA, oip.parse_response(message.body, message.head))
    assert plain(back) == plain(columns)


@given(st.lists(row, min_size=1, max_size=5))
def test_a_request_asks_for_its_outputs_as_binary(rows):
    message = oip.request(tensors_of(SCHEMA, typed(rows)), ["score"])
    request = oip.parse_request(message.body, message.head)
    assert request.wanted == (oip.Wanted("score", binary=True),)
    assert plain(columns_from(SCHEMA, request.inputs)) == plain(typed(rows))


def test_numbers_may_come_side_by_side_in_one_tensor():
    data = np.arange(6, dtype=np.float64).reshape(3, 2)
    message = oip.request([Tensor("anything", "FP64", (3, 2), data)], ["score"])
    tensors = oip.parse_request(message.body, message.head).inputs
    assert columns_from(FLOATS, tensors)["price"].tolist() == [1, 3, 5]
    assert np.array_equal(matrix_from(FLOATS, tensors), data)


@pytest.mark.parametrize("read", [columns_from, matrix_from])
def test_a_wrong_number_in_such_a_tensor_is_named_by_its_column(read):
    with pytest.raises(InvalidColumns) as refused:
        read(FLOATS, [tensor("both", "FP64", [[1.0, 1.0], [1.0, np.inf]])])
    assert refused.value.errors[0][:2] == ("price", 1)


def test_an_integer_column_takes_no_floats():
    with pytest.raises(InvalidColumns) as refused:
        matrix_from(NUMBERS, [tensor("share", "FP64", [1.5]), tensor("count", "FP64", [1.5])])
    assert refused.value.errors[0][:2] == ("count", None)


def test_one_column_may_be_a_tensor_of_one_wide_rows():
    data = np.array([[1.0], [2.0]])
    assert columns_from(NUMBERS[:1], [Tensor("share", "FP64", (2, 1), data)])["share"].tolist() == [1.0, 2.0]


def tensor(name, datatype, values, shape=None):
    dtypes = {
        "FP64": np.float64,
        "FP32": np.float32,
        "INT64": np.int64,
        "UINT64": np.uint64,
        "BOOL": np.bool_,
    }
    data = np.array(values, dtype=dtypes.get(datatype, object))
    return Tensor(name, datatype, shape or data.shape, data)


@pytest.mark.parametrize(
    ("tensors", "column", "row"),
    [
        ([tensor("share", "FP64", [np.nan, 1]), tensor("count", "INT64", [1, 1])], "share", 0),
        ([tensor("share", "FP32", [1, np.inf]), tensor("count", "INT64", [1, 1])], "share", 1),
        ([tensor("share", "BYTES", [b"a"]), tensor("count", "INT64", [1])], "share", None),
        ([tensor("share", "FP64", [1]), tensor("count", "UINT64", [2**64 - 1])], "count", None),
        ([tensor("share", "FP64", [1]), tensor("count", "INT64", [1, 2])], "count", None),
        ([tensor("share", "FP64", [1])], "count", None),
        ([tensor("share", "FP64", [1]), tensor("count", "INT64", [1]), tensor("z", "INT64", [1])], "z", None),
        ([tensor("share", "FP64", [[1, 2]]), tensor("count", "INT64", [1])], "share", None),
        ([tensor("share", "FP64", [[1.0, np.nan]])], "count", None),
        ([tensor("both", "FP64", [[1.0, 1.0]])], "share", None),
    ],
)
def test_a_tensor_that_is_not_its_column_is_named(tensors, column, row):
    with pytest.raises(InvalidColumns) as refused:
        columns_from(NUMBERS, tensors)
    assert refused.value.errors[0][:2] == (column, row)


@pytest.mark.parametrize("lengths", [[-1, 3], [1, 3], [2**62, 2**62], [1]])
def test_lengths_that_do_not_fit_the_elements_are_refused(lengths):
    schema = [Column(name="cart", type="array", items={"type": "product"})]
    tensors = [tensor("cart", "BYTES", [b"a", b"b"]), tensor("cart.lengths", "INT64", lengths)]
    with pytest.raises(InvalidColumns):
        columns_from(schema, tensors)


def test_metadata_names_datatypes_and_shapes():
    assert metadata_of(SCHEMA[3]) == {"name": "item", "datatype": "BYTES", "shape": [-1]}
    assert metadata_of(SCHEMA[5]) == {"name": "scores", "datatype": "FP64", "shape": [-1, -1]}


def body_of(head, raw=b""):
    encoded = json.dumps(head).encode()
    return encoded + raw, len(encoded)


def one(**changes):
    value = {"name": "x", "datatype": "FP64", "shape": [1], "parameters": {"binary_data_size": 8}} | changes
    return {"inputs": [{key: item for key, item in value.items() if item is not None}]}


@pytest.mark.parametrize(
    ("head", "raw"),
    [
        (one(shape=[-1]), b"\0" * 8),
        (one(shape=[2]), b"\0" * 8),
        (one(shape=[2**62, 4]), b"\0" * 8),
        (one(shape=[2**31] * 8), b"\0" * 8),
        (one(shape=[1] * 9), b"\0" * 8),
        (one(shape=[1.0]), b"\0" * 8),
        (one(shape=[True]), b"\0" * 8),
        (one(shape=None), b"\0" * 8),
        (one(parameters={"binary_data_size": -8}), b"\0" * 8),
        (one(parameters={"binary_data_size": 2**63}), b"\0" * 8),
        (one(parameters={"binary_data_size": 8.0}), b"\0" * 8),
        (one(parameters={"binary_data_size": 9}), b"\0" * 8),
        (one(parameters={"binary_data_size": 7}), b"\0" * 7),
        (one(), b"\0" * 9),
        (one(data=[1.0]), b"\0" * 8),
        (one(datatype="FP65"), b"\0" * 8),
        (one(datatype="BF16"), b"\0" * 8),
        (one(datatype=7), b"\0" * 8),
        (one(datatype="BYTES"), b"\xff\xff\xff\xff1234"),
        (one(datatype="BYTES"), b"\x05\0\0\0" + b"1234"),
        (one(datatype="BYTES", shape=[2]), b"\x04\0\0\0" + b"1234"),
        (one(datatype="BYTES", shape=[3]), b"\0" * 8),
        (one(datatype="BYTES"), b"\0" * 8),
        ({"inputs": []}, b""),
        ({"inputs": None}, b""),
        ({"inputs": [one()["inputs"][0]] * 2}, b"\0" * 16),
        ({"inputs": [one()["inputs"][0]] * 2}, b"\0" * 8),
        ({"inputs": [7]}, b""),
        ([], b""),
    ],
)
def test_sizes_that_lie_are_refused(head, raw):
    body, length = body_of(head, raw)
    with pytest.raises(Malformed):
        oip.parse_request(body, length)


def test_a_count_of_texts_beyond_the_bytes_allocates_nothing():
    padding = 2_000_000
    few = {"name": "x", "datatype": "BYTES", "shape": [padding], "parameters": {"binary_data_size": 4}}
    rest = {"name": "y", "datatype": "INT8", "shape": [padding], "parameters": {"binary_data_size": padding}}
    body, length = body_of({"inputs": [few, rest]}, b"\0" * (padding + 4))
    tracemalloc.start()
    with pytest.raises(Malformed):
        oip.parse_request(body, length)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("header", [b"-1", b"0", b"11", b"1e1", b"9" * 30, b"", b" 5", "٣".encode()])
def test_a_head_length_outside_the_body_is_refused(header):
    with pytest.raises(Malformed):
        oip.head_length(header, b"x" * 10)


sizes = st.one_of(st.integers(-5, 40), st.integers(-(2**70), 2**70), st.floats(), st.none(), st.booleans())
descriptions = st.fixed_dictionaries(
    {
        "name": st.one_of(st.sampled_from(["x", "y"]), st.integers()),
        "datatype": st.sampled_from(["FP64", "FP16", "INT8", "UINT64", "BOOL", "BYTES", "BF16"]),
        "shape": st.one_of(st.lists(sizes, max_size=9), st.none()),
    },
    optional={
        "parameters": st.fixed_dictionaries({"binary_data_size": sizes}),
        "data": st.recursive(
            st.one_of(sizes, st.text(max_size=3)), lambda x: st.lists(x, max_size=3), max_leaves=6
        ),
    },
)


@settings(max_examples=400)
@given(st.lists(descriptions, max_size=3), st.binary(max_size=64))
def test_whatever_is_sent_is_a_request_or_malformed_and_takes_no_memory(tensors, raw):
    head = json.dumps({"inputs": tensors}, allow_nan=False, default=str) if _finite(tensors) else "{}"
    encoded = head.encode()
    tracemalloc.start()
    try:
        for tensor in oip.parse_request(encoded + raw, len(encoded)).inputs:
            assert tensor.data.size <= len(encoded) + len(raw)
    except Malformed:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1_000_000


def _finite(value):
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@settings(max_examples=300)
@given(st.binary(max_size=80), st.integers(0, 90))
def test_arbitrary_bytes_are_malformed(body, length):
    with pytest.raises(Malformed):
        oip.parse_request(body, oip.head_length(str(length).encode(), body))
