# SPDX-License-Identifier: Apache-2.0
"""What a compiled expression tells about itself, what it reads, and how it fails."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from endcap_api.expressions import Environment, ExpressionError
from endcap_runtime.graph.candidates import Candidates, Recalled
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.columns import Lists, Words
from endcap_runtime.graph.expressions import ExpressionFailed, Scope, Unavailable, compile_expression

ENVIRONMENT = Environment(
    {
        "request.cart": "list(string)",
        "request.store": "string",
        "request.limit": "int",
        "request.pattern": "string",
        "intent.name": "string",
        "intent.confidence": "double",
        "candidate.name": "string",
        "candidate.category": "string",
        "candidate.price": "double",
        "candidate.sold": "int",
        "candidate.stores": "list(string)",
        "candidate.score": "double",
        "candidate.together.score": "double",
        "candidate.together.because": "string",
    }
)
COLUMNS: dict[str, Any] = {
    "id": Words.of(["1", "2", "3"]),
    "name": Words.of(["Paper plates", "Plastic cups", "Milk"]),
    "category": Words.of(["party", "party", "dairy"]),
    "price": np.array([2.5, 3.0, 1.0]),
    "sold": np.array([10, 0, 30]),
    "stores": Lists(np.array([0, 2, 3, 3]), Words.of(["330", "12", "12"])),
}
VALUES: dict[str, Any] = {
    "request.cart": ["Plastic cups", "Paper napkins"],
    "request.store": "12",
    "request.limit": 3,
    "request.pattern": "^P",
    "intent.name": "party",
    "intent.confidence": np.float64(0.5),
}


def scope(rows: list[int] | None = None, deadline: float = float("inf"), **values: Any) -> Scope:
    found = Recalled(
        "together",
        0,
        np.array([0, 1, 2] if rows is None else rows, np.int32),
        {"score": np.array([0.9, 0.5, 0.1])[: 3 if rows is None else len(rows)]},
    )
    given = {**VALUES, **{name.replace("__", "."): value for name, value in values.items()}}
    return Scope(given, Catalogue(COLUMNS, "id", "name"), Candidates.merge([found]), deadline)


def value(source: str, given: Scope | None = None) -> Any:
    found = compile_expression(source, ENVIRONMENT)(given or scope())
    return found.tolist() if isinstance(found, np.ndarray) else found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("candidate.name in request.cart", [False, True, False]),
        ("request.store in candidate.stores", [True, True, False]),
        ("candidate.category == intent.name && candidate.price < 3.0", [True, False, False]),
        ("0.5 * candidate.together.score + intent.confidence", [0.95, 0.75, 0.55]),
        ("candidate.score > 0.016", [True, True, False]),
        ("candidate.category", ["party", "party", "dairy"]),
        ("candidate.price > 2.0 ? candidate.category : 'cheap'", ["party", "party", "cheap"]),
        ("candidate.name.matches(request.pattern)", [True, True, False]),
        ("candidate.sold + size(candidate.stores)", [12, 1, 30]),
        ("request.cart.exists(x, x.startsWith('Plastic')) && candidate.sold > 5", [True, False, True]),
        ("candidate.stores.exists(s, s.startsWith('3')) || candidate.price < 2.0", [True, False, True]),
    ],
)
def test_a_candidate_expression_has_a_value_for_each(source: str, expected: list[Any]) -> None:
    assert value(source) == (pytest.approx(expected) if isinstance(expected[0], float) else expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("request.limit * 2", 6),
        ("request.cart", ["Plastic cups", "Paper napkins"]),
        ("request.cart.filter(x, x != 'Plastic cups')", ["Paper napkins"]),
        ("intent.confidence > 0.4 ? intent.name : ''", "party"),
        ("'10'", "10"),
    ],
)
def test_what_does_not_read_the_candidate_has_one_value(source: str, expected: Any) -> None:
    expression = compile_expression(source, ENVIRONMENT)
    assert not expression.per_candidate
    assert expression(Scope(VALUES)) == expected


def test_it_says_what_it_reads() -> None:
    expression = compile_expression(
        "candidate.together.score > 0.5 && candidate.name in request.cart", ENVIRONMENT
    )
    assert expression.reads == {"candidate.together.score", "candidate.name", "request.cart"}
    assert expression.per_candidate
    assert expression.type == "bool"


def test_a_recall_step_that_did_not_answer_leaves_zeros_for_every_candidate() -> None:
    given = scope()
    bare = Scope(
        given.values, given.catalogue, Candidates.merge([Recalled("x", 0, np.arange(3, dtype=np.int32), {})])
    )
    assert value("candidate.together.score", bare) == [0.0] * 3
    assert value("candidate.together.because == '' && candidate.together.score < 0.1", bare) == [True] * 3
    assert value("candidate.together.because.startsWith('P') || [1].exists(x, candidate.sold > x)", bare) == [
        *(True, False, True)
    ]


def test_a_product_that_a_recall_step_names_is_read_by_its_display_name() -> None:
    given = scope()
    because = Recalled(
        "together", 0, np.arange(3, dtype=np.int32), {"because": np.array([2, -1, 0], np.int32)}
    )
    reasons = Scope(given.values, given.catalogue, Candidates.merge([because]))
    assert value("candidate.together.because", reasons) == ["Milk", "", "Paper plates"]
    assert value("candidate.together.because in ['Milk', '']", reasons) == [True, True, False]


def test_what_is_kept_for_one_catalogue_is_not_taken_for_another() -> None:
    expression = compile_expression("candidate.category.startsWith('d')", ENVIRONMENT)
    given = scope()
    columns = {**COLUMNS, "category": Words.of(["dairy", "party", "dairy"])}
    other = Scope(given.values, Catalogue(columns, "id", "name"), given.candidates)
    assert [expression(each).tolist() for each in (given, other, given)] == [
        [False, False, True],
        [True, False, True],
        [False, False, True],
    ]


@pytest.mark.parametrize(
    "source", ["candidate.category == intent.name", "intent.name", "true || intent.name == 'party'"]
)
def test_reading_a_step_that_did_not_answer_names_it(source: str) -> None:
    given = scope()
    silent = Scope(
        {k: v for k, v in VALUES.items() if not k.startswith("intent.")}, given.catalogue, given.candidates
    )
    with pytest.raises(Unavailable) as unavailable:
        value(source, silent)
    assert unavailable.value.step == "intent"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("10 / candidate.sold > 0", "divide by zero"),
        ("10 % (request.limit - 3)", "modulus by zero"),
        ("candidate.sold * 9223372036854775807 > 0", "integer overflow"),
        ("candidate.name.matches('(' + request.pattern)", "missing"),
        ("[10 / candidate.sold].exists(x, x > 0)", "divide by zero"),
        ("request.cart[7] == candidate.name", "Index error"),
    ],
)
def test_no_value_for_some_candidate_is_a_failure_that_says_why(source: str, why: str) -> None:
    with pytest.raises(ExpressionFailed, match=f"(?i){why}"):
        value(source)


@pytest.mark.parametrize(
    "source", ["10 / candidate.sold > 0", "1 / (request.limit - 3) == 1 && candidate.sold > 0"]
)
def test_no_candidates_need_no_value(source: str) -> None:
    assert value(source, scope(rows=[])) == []


def test_a_value_for_each_candidate_is_a_scalar() -> None:
    with pytest.raises(ExpressionError, match=r"is list\(string\), and a candidate's value is one of"):
        compile_expression("candidate.stores", ENVIRONMENT)


def test_expected_types_are_checked_when_it_is_compiled() -> None:
    with pytest.raises(ExpressionError, match="is double, and bool is needed here"):
        compile_expression("candidate.price", ENVIRONMENT, "bool")


@pytest.mark.parametrize(
    ("source", "vectorised"),
    [
        ("candidate.name in request.cart", True),
        ("candidate.price < double(request.cart.filter(x, x != '').size())", True),
        ("candidate.stores.exists(s, s == '1')", False),
    ],
)
def test_only_what_loops_for_each_candidate_is_left_to_the_library(source: str, vectorised: bool) -> None:  # noqa: FBT001
    assert compile_expression(source, ENVIRONMENT).vectorised is vectorised


def test_what_is_left_to_the_library_stops_at_the_deadline() -> None:
    expression = compile_expression("candidate.stores.exists(s, s == '1')", ENVIRONMENT)
    with pytest.raises(ExpressionFailed, match="takes too long"):
        expression(scope(deadline=time.monotonic() - 1))


def test_the_library_s_budget_of_iterations_is_a_failure_too() -> None:
    source = "request.cart.all(x, request.cart.all(y, x != 'q' || y != 'q'))"
    with pytest.raises(ExpressionFailed, match=r"(?i)iteration budget"):
        value(source, Scope({"request.cart": ["a"] * 1000}))


@pytest.mark.parametrize(
    "source",
    [
        "request.cart.exists(x, request.cart.map(y, y + x).size() > 1)",
        "request.cart.map(x, x).map(x, x).map(x, x).size() > 1",
        "request.cart.all(x, request.cart.all(y, request.cart.all(z, x + y == z)))",
        "candidate.name.matches('a{1000}{1000}')",
        "candidate.name == '" + "x" * 300 + "'",
        "http.get('http://x') == ''",
        "file('/etc/passwd') == ''",
        "env('HOME') == ''",
        "now() > timestamp(0)",
        "rand() > 0.5",
    ],
)
def test_what_could_cost_too_much_or_reach_outside_is_refused_before_any_request(source: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(source, ENVIRONMENT)
