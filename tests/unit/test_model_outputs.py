# SPDX-License-Identifier: Apache-2.0
"""What a model answers is what it declares, or it is a failure that names the output."""

import numpy as np
import pytest

from endcap_api.v1alpha1.values import Column
from endcap_runtime.model.outputs import InvalidOutputs, typed

SCORE = [Column(name="score", type="number")]
ALL = [
    Column(name="score", type="number"),
    Column(name="rank", type="integer"),
    Column(name="good", type="boolean"),
    Column(name="label", type="string"),
    Column(name="items", type="array", items={"type": "product"}),
]


def test_numpy_and_python_values_become_the_declared_types():
    answer = {
        "score": np.array([1, 2], dtype=np.float32),
        "rank": [1, 2],
        "good": np.array([True, False]),
        "label": np.array(["a", "b"]),
        "items": [np.array(["1", "2"]), ("3",)],
    }
    outputs = typed(ALL, answer, 2)
    assert [getattr(values, "dtype", list) for values in outputs.values()] == [
        float,
        np.int64,
        bool,
        object,
        list,
    ]
    assert outputs["items"] == [["1", "2"], ["3"]]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([1.0], "not a mapping"),
        ({}, "output score is missing"),
        ({"score": [1.0], "debug": [1]}, "output debug is not declared"),
        ({"score": [1.0, 2.0]}, "has 2 values for 1 rows"),
        ({"score": [float("nan")]}, "not finite"),
        ({"score": ["high"]}, "not one number a row"),
        ({"score": np.ones((1, 1))}, "not one number a row"),
    ],
)
def test_an_answer_that_is_not_declared_names_the_output(answer, message):
    with pytest.raises(InvalidOutputs, match=message):
        typed(SCORE, answer, 1)


@pytest.mark.parametrize(
    ("column", "value"),
    [("rank", 1.5), ("good", 1), ("label", 7), ("items", ["1", 2]), ("items", "1"), ("items", [None])],
)
def test_an_output_of_another_type_names_itself(column, value):
    good = {"score": [1.0], "rank": [1], "good": [True], "label": ["a"], "items": [["1"]]}
    with pytest.raises(InvalidOutputs, match=f"output {column}"):
        typed(ALL, good | {column: [value]}, 1)
