# SPDX-License-Identifier: Apache-2.0
"""Expressions are typed, bounded in cost, and refused with a position and a remedy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap_api.cel_ast import Call, Constant, Listing, Other, Variable, walk
from endcap_api.expressions import MAX_LITERAL, MAX_NODES, Environment, ExpressionError, cel_type
from endcap_api.v1alpha1.values import Column, Items

KNOWN = Environment(
    {
        "request.cart": "list(string)",
        "request.limit": "int",
        "request.store": "string",
        "candidate.name": "string",
        "candidate.price": "double",
        "candidate.sold": "int",
        "candidate.organic": "bool",
        "candidate.stores": "list(string)",
        "candidate.together.score": "double",
    }
)


@pytest.mark.parametrize(
    ("source", "kind", "reads"),
    [
        ("candidate.name in request.cart", "bool", {"candidate.name", "request.cart"}),
        ("request.store in candidate.stores", "bool", {"request.store", "candidate.stores"}),
        ("candidate.price * 0.9 + 1.0", "double", {"candidate.price"}),
        ("candidate.together.score > 0.5", "bool", {"candidate.together.score"}),
        ("request.limit", "int", {"request.limit"}),
        ("10", "int", set()),
        ("request.cart.exists(x, x == candidate.name)", "bool", {"request.cart", "candidate.name"}),
        ("size(request.cart)", "int", {"request.cart"}),
        ("candidate.organic ? 'yes' : candidate.name", "string", {"candidate.organic", "candidate.name"}),
        ("request.cart", "list(string)", {"request.cart"}),
        ("double(candidate.sold) > candidate.price", "bool", {"candidate.sold", "candidate.price"}),
        ("candidate.name.startsWith('A')", "bool", {"candidate.name"}),
        ("['a', 'b']", "list(string)", set()),
    ],
)
def test_the_type_and_the_reads_of_an_expression_are_known(source: str, kind: str, reads: set[str]) -> None:
    checked = KNOWN.check(source)
    assert checked.type == kind
    assert checked.reads == reads
    assert checked.per_candidate == any(name.startswith("candidate.") for name in reads)


def refusal(source: str, *expected: str) -> str:
    with pytest.raises(ExpressionError) as refused:
        KNOWN.check(source, *expected)
    return str(refused.value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("candidate.nam == 'x'", "what can be read here: candidate.name"),
        ("request.kart", "request.cart, request.limit, request.store"),
        ("product.name", "candidate.name"),
        ("candidate.price > 3", "write 3.0 rather than 3"),
        ("candidate.name in (", "1:"),
        ("candidate.name == 3", "1:16"),
        ("", "1:"),
        ("open('/etc/passwd')", "open"),
        ("request.cart.fold(x, x)", "fold"),
    ],
)
def test_a_refusal_says_where_and_what_to_do(source: str, words: str) -> None:
    assert words in refusal(source)


def test_a_type_that_is_not_wanted_is_refused_with_the_one_that_is() -> None:
    assert refusal("candidate.name", "bool") == "`candidate.name` is string, and bool is needed here"
    assert "double or int is needed here" in refusal("candidate.name", "double", "int")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (f"request.limit in {list(range(MAX_NODES))}", f"parts of {MAX_NODES} allowed: simplify it"),
        (
            f"candidate.name == '{'x' * (MAX_LITERAL + 1)}'",
            f"characters of {MAX_LITERAL} allowed: shorten it",
        ),
        (
            "request.cart.all(a, request.cart.all(b, request.cart.all(c, a + b == c)))",
            "nests more than 2 of all, exists, map and filter",
        ),
        ("(" * 300 + "1" + ")" * 300, "nested too deeply: simplify it"),
        (" + ".join(["request.limit"] * MAX_NODES), "nested too deeply: simplify it"),
    ],
)
def test_an_expression_that_could_cost_too_much_is_refused(source: str, words: str) -> None:
    assert words in refusal(source, "bool", "int")


@pytest.mark.parametrize("source", ["request.cart.all(a, request.cart.exists(b, a == b))", "1 + 2 * 3"])
def test_what_costs_little_is_not_refused(source: str) -> None:
    assert KNOWN.check(source).source == source


@given(st.text(max_size=60))
def test_whatever_is_written_is_checked_or_refused_in_words(source: str) -> None:
    try:
        assert KNOWN.check(source).type
    except ExpressionError as error:
        assert str(error)  # noqa: PT017 - either outcome is right


def test_the_tree_tells_calls_variables_constants_and_lists_apart() -> None:
    tree = KNOWN.check("candidate.name in ['a', 'b'] && candidate.price >= 1.5").tree
    found = list(walk(tree))
    assert {node.function for node in found if isinstance(node, Call)} == {"_&&_", "@in", "_>=_"}
    assert {node.name for node in found if isinstance(node, Variable)} == {
        "candidate.name",
        "candidate.price",
    }
    assert [node.value for node in found if isinstance(node, Constant)] == ["a", "b", 1.5]
    assert [node.type for node in found if isinstance(node, Listing)] == ["list(string)"]
    assert all(node.type == "bool" for node in found if isinstance(node, Call))


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("0", 0),
        ("-7", -7),
        ("''", ""),
        ("false", False),
        ("true", True),
        ("2.5", 2.5),
        ("b'x'", b"x"),
        ("null", None),
    ],
)
def test_constants_keep_their_values(source: str, value: object) -> None:
    values = [node.value for node in walk(KNOWN.check(source).tree) if isinstance(node, Constant)]
    assert values == [value]
    assert type(values[0]) is type(value)


def test_loops_are_seen_as_what_they_are() -> None:
    kinds = [
        node.kind
        for node in walk(KNOWN.check("request.cart.map(x, size(x))").tree)
        if isinstance(node, Other)
    ]
    assert kinds == ["comprehension"]


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        (Column(name="a", type="product"), "string"),
        (Column(name="a", type="number"), "double"),
        (Column(name="a", type="integer"), "int"),
        (Column(name="a", type="boolean"), "bool"),
        (Column(name="a", type="array", items=Items(type="product")), "list(string)"),
        (Column(name="a", type="array", items=Items(type="number")), "list(double)"),
    ],
)
def test_declared_types_have_their_type_in_cel(declared: Column, kind: str) -> None:
    assert cel_type(declared) == kind
    assert Environment({"request.a": kind}).check("request.a").type == kind
