# SPDX-License-Identifier: Apache-2.0
"""Plain JSON to typed columns and back: what fits is taken exactly, what does not is named by column and row."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap_api.v1alpha1.values import Column
from endcap_runtime.wire import json_columns
from endcap_runtime.wire.cells import columns_of, matrix_reader
from endcap_runtime.wire.faults import InvalidColumns, Malformed

SCHEMA = [
    Column(name="share", type="number"),
    Column(name="count", type="integer"),
    Column(name="open", type="boolean"),
    Column(name="item", type="product"),
    Column(name="cart", type="array", items={"type": "string"}),
    Column(name="scores", type="array", items={"type": "number"}),
]
NUMBERS = [Column(name="share", type="number"), Column(name="count", type="integer")]
GOOD = {
    "share": [0.5],
    "count": [3],
    "open": [True],
    "item": ["7"],
    "cart": [["1", "2"]],
    "scores": [[1, 2.5]],
}


def matrix_of(schema, given):
    return matrix_reader(schema)(given)


finite = st.floats(allow_nan=False, allow_infinity=False)
row = st.fixed_dictionaries(
    {
        "share": finite,
        "count": st.integers(-(2**63), 2**63 - 1),
        "open": st.booleans(),
        "item": st.text(st.characters(exclude_categories=["Cs"])),
        "cart": st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
        "scores": st.lists(finite),
    }
)


@given(st.lists(row, min_size=1, max_size=5))
def test_rows_come_back_as_they_were_sent(rows):
    payload = json_columns.parse(json.dumps({"rows": rows}).encode())
    columns = columns_of(SCHEMA, payload.columns)
    assert json.loads(json_columns.dumps({}, columns, "rows"))["rows"] == rows


@given(st.lists(row, min_size=1, max_size=5))
def test_columns_and_rows_are_the_same_request(rows):
    by_column = {name: [each[name] for each in rows] for name in rows[0]}
    payload = json_columns.parse(json.dumps({"columns": by_column}).encode())
    transposed = json_columns.parse(json.dumps({"rows": rows}).encode())
    assert payload.columns == transposed.columns


def test_columns_have_the_declared_types():
    columns = columns_of(SCHEMA, GOOD)
    assert [getattr(columns[c.name], "dtype", list) for c in SCHEMA] == [
        np.float64, np.int64, np.bool_, object, list, list,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("share", "0.5"), ("share", True), ("share", None), ("share", [1.0]), ("share", math.inf),
        ("share", 10**400), ("count", 1.5), ("count", "3"), ("count", True), ("count", 2**63), ("open", 1),
        ("open", "true"), ("item", 7), ("item", None), ("cart", "1"), ("cart", ["1", 2]), ("scores", [1, None]),
        ("scores", [math.inf]), ("scores", {"a": 1}),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_by_column_and_row(column, value):
    two = {name: values * 2 for name, values in GOOD.items()}
    two[column] = [two[column][0], value]
    with pytest.raises(InvalidColumns) as refused:
        columns_of(SCHEMA, two)
    assert [(error.column, error.row) for error in refused.value.errors] == [(column, 1)]
    assert "expected" in refused.value.errors[0].message


def test_a_whole_number_is_an_integer_however_it_is_written():
    assert columns_of(NUMBERS, {"share": [1], "count": [3.0]})["count"].tolist() == [3]


def test_every_wrong_column_is_named_at_once():
    with pytest.raises(InvalidColumns) as refused:
        columns_of(SCHEMA, GOOD | {"share": ["a"], "item": [1]})
    assert [error.column for error in refused.value.errors] == ["share", "item"]


@pytest.mark.parametrize(
    ("given_columns", "column", "message"),
    [
        ({"share": [1.0]}, "count", "missing"),
        ({"share": [1.0], "count": [1], "colour": [1]}, "colour", "unknown; the columns are share, count"),
        ({"share": [1.0, 2.0], "count": [1]}, "count", "has 1 rows, but share has 2"),
        ({"share": [], "count": []}, "share", "has no rows: send at least one"),
        ({"share": 1.0, "count": [1]}, "share", "expected an array of rows, got a number"),
    ],
)
@pytest.mark.parametrize("read", [columns_of, matrix_of])
def test_a_wrong_set_of_columns_says_what_is_wrong(read, given_columns, column, message):
    with pytest.raises(InvalidColumns) as refused:
        read(NUMBERS, given_columns)
    assert (column, message) in [(error.column, error.message) for error in refused.value.errors]


@given(st.lists(st.tuples(finite, st.integers(-(2**53), 2**53)), min_size=1, max_size=6))
def test_a_matrix_holds_the_columns_in_declared_order(cells):
    given_columns = {"count": [c for _, c in cells], "share": [s for s, _ in cells]}
    expected = np.array([[s, float(c)] for s, c in cells])
    assert np.array_equal(matrix_of(NUMBERS, given_columns), expected)


@pytest.mark.parametrize("value", [True, "1", None, math.inf, [1], 10**400])
def test_a_matrix_takes_nothing_that_a_column_refuses(value):
    with pytest.raises(InvalidColumns) as refused:
        matrix_of(NUMBERS, {"share": [1.0, value], "count": [1, 1]})
    assert refused.value.errors[0][:2] == ("share", 1)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'{"columns": [], "rows": []}', b'{"columns": [1]}', b'{"rows": {"a": 1}}',
        b'{"rows": [1]}', b'{"columns": {"a": [NaN]}}', b'{"columns": {"a": [1], "a": [2]}}',
        b'{"columns": {"a": ["\xff"]}}', b'{"columns": {"a": ["\\ud800"]}}', b"[" * 10_000 + b"]" * 10_000,
        b'{"inputs": {}}',
    ],
)  # fmt: skip
def test_a_body_that_is_not_the_dialect_is_malformed(body):
    with pytest.raises(Malformed):
        json_columns.parse(body)


def test_a_number_beyond_a_double_is_refused():
    with pytest.raises(InvalidColumns):
        columns_of(NUMBERS, json_columns.parse(b'{"columns": {"share": [1e999], "count": [1]}}').columns)


def test_rows_that_differ_in_their_columns_name_the_row():
    with pytest.raises(InvalidColumns) as refused:
        json_columns.parse(b'{"rows": [{"a": 1, "b": 2}, {"a": 1}]}')
    assert refused.value.errors == (("b", 1, "missing"),)


def test_no_more_than_twenty_errors_are_told():
    with pytest.raises(InvalidColumns) as refused:
        columns_of(NUMBERS, {"share": ["x"] * 1000, "count": [1] * 1000})
    assert len(refused.value.errors) == 20
