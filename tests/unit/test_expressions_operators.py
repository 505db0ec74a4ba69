# SPDX-License-Identifier: Apache-2.0
"""Each operator over every pair of the values at which operators go wrong, against the CEL library."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from cel_expr_python import cel

from endcap_api.expressions import Environment
from endcap_runtime.graph.candidates import Candidates, Recalled
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.columns import Lists, Words
from endcap_runtime.graph.expressions import Scope
from endcap_runtime.graph.expressions.compiled import _Parts
from endcap_runtime.graph.expressions.translate import Translation, silent

LOW, HIGH = -(2**63), 2**63 - 1
VALUES: dict[str, list[Any]] = {
    "int": [0, 1, -1, 2, -2, 3, -7, 10, 2**31, -(2**31), 2**32, 3037000500, LOW, LOW + 1, HIGH, HIGH - 1],
    "double": [
        *(0.0, -0.0, 1.0, -1.5, 0.1, 2.0**53, 1e308, 5e-324, math.nan, math.inf, -math.inf),
        *(2.0**63, -(2.0**63), 9223372036854774784.0, -9223372036854774784.0, 1.9, -1.9),
    ],
    "string": [
        "",
        "a",
        "ab",
        "b",
        "ba",
        "A",
        "Ä",
        "é",
        "e\u0301",
        "😀",
        "a😀",
        "\U0010ffff",
        "\uffff",
        "a\nb",
        "a.c",
    ],
    "bool": [True, False],
}
DTYPES = {"int": np.int64, "double": np.float64, "bool": np.bool_}
COMPARISONS = ["_ == $", "_ != $", "_ < $", "_ <= $", "_ > $", "_ >= $"]
OPERATORS = {
    "int": [
        *COMPARISONS,
        "_ + $",
        "_ - $",
        "_ * $",
        "_ / $",
        "_ % $",
        "-_",
        "double(_)",
        "_ in [$, 2]",
        "_ in [$]",
    ],
    "double": [*COMPARISONS, "_ + $", "_ - $", "_ * $", "_ / $", "-_", "int(_)", "_ in [$, 2.0]", "_ in [$]"],
    "string": [
        *(
            *COMPARISONS,
            "_ + $",
            "size(_)",
            "_ in [$, 'b']",
            "_.startsWith($)",
            "_.endsWith($)",
            "_.contains($)",
        ),
        *("_.matches($)", "_.matches('^a.c?$')", "_.startsWith('a')", "_.contains('')", "size(_ + $)"),
    ],
    "bool": [*COMPARISONS, "!_", "_ && $", "_ || $", "_ ? $ : _", "_ in [$]"],
}


def encoded(kind: str, values: list[Any]) -> Any:
    return Words.of(values) if kind == "string" else np.array(values, DTYPES[kind])


def catalogue_of(size: int, columns: dict[str, Any]) -> Catalogue:
    ids = Words.of([str(n) for n in range(size)])
    return Catalogue({"id": ids, "name": ids, **columns}, "id", "name")


def whole(catalogue: Catalogue) -> Candidates:
    """Every item of the catalogue, in its order."""
    return Candidates.merge([Recalled("all", 0, np.arange(catalogue.size, dtype=np.int32), {})])


def outcomes(source: str, environment: Environment, scope: Scope) -> list[Any]:
    """Over columns: each candidate's value, or "error"."""
    checked = environment.check(source)
    with silent():
        vector = Translation(_Parts(environment, checked))(checked.tree)(scope)
    size = len(scope.with_candidates()[1])
    values = vector.values.decode() if isinstance(vector.values, Words) else vector.values
    wrong = np.broadcast_to(vector.fault.where if vector.fault else False, size)
    plain = np.broadcast_to(values, size).tolist()
    return ["error" if fault else exact(value) for value, fault in zip(plain, wrong, strict=True)]


def by_row(source: str, environment: Environment, rows: list[dict[str, Any]]) -> list[Any]:
    """By the library: the same."""
    program = environment.check(source).program
    results = [program.eval(data=row) for row in rows]
    return ["error" if each.type() == cel.Type.ERROR else exact(each.plain_value()) for each in results]


def exact(value: Any) -> Any:
    """Equal only to what is equal to the bit, but for the payload of a NaN."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value.hex()
    return type(value).__name__, value


@pytest.mark.parametrize(
    ("kind", "operator"), [(kind, operator) for kind, each in OPERATORS.items() for operator in each]
)
@pytest.mark.parametrize("right", ["candidate", "request"])
def test_an_operator_agrees_with_the_library_on_every_pair(kind: str, operator: str, right: str) -> None:
    environment = Environment({"candidate.x": kind, "candidate.y": kind, "request.y": kind})
    source = operator.replace("_", "candidate.x").replace("$", f"{right}.y")
    pairs = list(itertools.product(VALUES[kind], reversed(VALUES[kind])))
    xs, ys = [list(side) for side in zip(*pairs, strict=True)]
    if right == "candidate":
        catalogue = catalogue_of(len(pairs), {"x": encoded(kind, xs), "y": encoded(kind, ys)})
        rows = [{"candidate.x": x, "candidate.y": y} for x, y in pairs]
        assert outcomes(source, environment, Scope({}, catalogue, whole(catalogue))) == by_row(
            source, environment, rows
        )
        return
    catalogue = catalogue_of(len(VALUES[kind]), {"x": encoded(kind, VALUES[kind])})
    for y in VALUES[kind]:
        rows = [{"candidate.x": x, "request.y": y} for x in VALUES[kind]]
        scope = Scope({"request.y": y}, catalogue, whole(catalogue))
        assert outcomes(source, environment, scope) == by_row(source, environment, rows)


# true, false and an error, from one column of divisors: 1 / d == 1
THREE = {"T": 1, "F": 2, "E": 0}


@pytest.mark.parametrize(
    "source",
    [
        "1 / candidate.a == 1 && 1 / candidate.b == 1",
        "1 / candidate.a == 1 || 1 / candidate.b == 1",
        "!(1 / candidate.a == 1) && 1 / candidate.b == 1 || 1 / candidate.c == 1",
        "1 / candidate.a == 1 ? 1 / candidate.b : 1 / candidate.c",
        "1 / candidate.a == 1 ? string(1 / candidate.b) : 'other'",
        "(1 / candidate.a == 1) == (1 / candidate.b == 1)",
        "1 / candidate.a in [1 / candidate.b, 1 / candidate.c]",
        "size([1 / candidate.a, 1 / candidate.b]) == 2 || 1 / candidate.c == 1",
        "'a'.matches(1 / candidate.a == 1 ? 'a' : '(') || 1 / candidate.b == 1",
        "candidate.a > 0 && 1 / candidate.a > 0",
        "candidate.a == 0 || 1 / candidate.a > 0",
        "1 / request.zero == 1 || 1 / candidate.a == 1",
        "1 / request.zero == 1 && 1 / candidate.a == 1",
        "1 / candidate.a == 1 ? 1 / request.zero : 7",
        "[1 / candidate.a].map(x, x)[0] == 1 || 1 / candidate.b == 1",
        "[string(1 / candidate.a)].map(x, x)[0] == '1' && 1 / candidate.b == 1",
    ],
)
def test_errors_are_absorbed_exactly_where_the_library_absorbs_them(source: str) -> None:
    names = ("a", "b", "c")
    environment = Environment({**{f"candidate.{name}": "int" for name in names}, "request.zero": "int"})
    triples = list(itertools.product(THREE.values(), repeat=3))
    columns = {name: np.array([triple[place] for triple in triples]) for place, name in enumerate(names)}
    catalogue = catalogue_of(len(triples), columns)
    rows = [
        {"request.zero": 0, **{f"candidate.{name}": value for name, value in zip(names, triple, strict=True)}}
        for triple in triples
    ]
    scope = Scope({"request.zero": 0}, catalogue, whole(catalogue))
    assert outcomes(source, environment, scope) == by_row(source, environment, rows)


@pytest.mark.parametrize("kind", ["int", "double", "string"])
@pytest.mark.parametrize("size", [0, 1, 3, 17, 40])
def test_membership_in_a_list_of_the_request_agrees_whatever_its_length(kind: str, size: int) -> None:
    environment = Environment({"candidate.x": kind, "request.l": f"list({kind})"})
    values = list(itertools.islice(itertools.cycle(VALUES[kind]), size))
    catalogue = catalogue_of(len(VALUES[kind]), {"x": encoded(kind, VALUES[kind])})
    rows = [{"candidate.x": x, "request.l": values} for x in VALUES[kind]]
    scope = Scope({"request.l": values}, catalogue, whole(catalogue))
    for source in ("candidate.x in request.l", "size(request.l) > 2 && candidate.x in request.l"):
        assert outcomes(source, environment, scope) == by_row(source, environment, rows)


@pytest.mark.parametrize("kind", ["int", "double", "string"])
def test_membership_in_a_list_of_the_catalogue_agrees(kind: str) -> None:
    environment = Environment({"candidate.x": kind, "candidate.l": f"list({kind})", "request.x": kind})
    lists = [VALUES[kind][:n] for n in range(len(VALUES[kind]))] + [VALUES[kind][n:] for n in range(4)]
    flat = [value for each in lists for value in each]
    column = Lists(np.cumsum([0, *map(len, lists)]), encoded(kind, flat))
    xs = list(itertools.islice(itertools.cycle(VALUES[kind]), len(lists)))
    catalogue = catalogue_of(len(lists), {"l": column, "x": encoded(kind, xs)})
    for wanted in VALUES[kind]:
        scope = Scope({"request.x": wanted}, catalogue, whole(catalogue))
        rows = [
            {"candidate.x": x, "candidate.l": each, "request.x": wanted}
            for x, each in zip(xs, lists, strict=True)
        ]
        for source in ("request.x in candidate.l", "candidate.x in candidate.l", "size(candidate.l)"):
            assert outcomes(source, environment, scope) == by_row(source, environment, rows)
