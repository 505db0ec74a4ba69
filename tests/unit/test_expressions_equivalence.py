# SPDX-License-Identifier: Apache-2.0
"""Over columns and a candidate at a time: the same values and the same errors, for whatever expression."""

from __future__ import annotations

import json
import math
import os
from functools import cache
from typing import Any

import numpy as np
from cel_expr_python import cel
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from endcap_api.expressions import Checked, Environment, ExpressionError
from endcap_runtime.graph.candidates import Candidates
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.columns import Lists, Words, decoded, objects
from endcap_runtime.graph.expressions.compiled import _Parts
from endcap_runtime.graph.expressions.scope import Scope
from endcap_runtime.graph.expressions.translate import Translation, silent

VARIABLES = {
    "request.i": "int",
    "request.d": "double",
    "request.s": "string",
    "request.b": "bool",
    "request.li": "list(int)",
    "request.ld": "list(double)",
    "request.ls": "list(string)",
    "candidate.i": "int",
    "candidate.j": "int",
    "candidate.d": "double",
    "candidate.e": "double",
    "candidate.s": "string",
    "candidate.t": "string",
    "candidate.name": "string",
    "candidate.b": "bool",
    "candidate.ls": "list(string)",
    "candidate.ld": "list(double)",
    "candidate.li": "list(int)",
    "candidate.score": "double",
    "candidate.together.n": "int",
    "candidate.together.why": "string",
    "candidate.together.because": "string",
    "candidate.absent.n": "int",
    "candidate.absent.why": "string",
    "candidate.absent.near": "double",
}
ENVIRONMENT = Environment(VARIABLES)

LOW, HIGH = -(2**63), 2**63 - 1
INTS = st.one_of(
    st.sampled_from([0, 1, -1, 2, 3, LOW, LOW + 1, HIGH, HIGH - 1, 2**32, -(2**31)]), st.integers(LOW, HIGH)
)
DOUBLES = st.one_of(
    st.sampled_from(
        [0.0, -0.0, 1.0, -1.5, float("nan"), float("inf"), -float("inf"), 2.0**63, -(2.0**63), 1e308]
    ),
    st.floats(),
)
WORDS = st.one_of(
    st.sampled_from(["", "a", "ab", "b", "Ä", "😀", "a😀"]),
    st.text(st.sampled_from("ab(*[\\+é😀 "), max_size=4),
)
PYTHON = {"int": INTS, "double": DOUBLES, "string": WORDS, "bool": st.booleans()}


def values(kind: str) -> st.SearchStrategy[Any]:
    if kind.startswith("list("):
        return st.lists(PYTHON[kind[5:-1]], max_size=4)
    return PYTHON[kind]


def quoted(word: str) -> str:
    return json.dumps(word, ensure_ascii=False)


LITERALS = {
    "int": INTS.map(str),
    "double": st.floats(-1e6, 1e6).map(lambda value: f"{value:f}"),
    "string": WORDS.map(quoted),
    "bool": st.sampled_from(["true", "false"]),
}


def reads(kind: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name for name, declared in VARIABLES.items() if declared == kind])


def leaf(kind: str) -> st.SearchStrategy[str]:
    if kind.startswith("list("):
        items = st.lists(LITERALS[kind[5:-1]], min_size=1, max_size=3).map(
            lambda each: f"[{', '.join(each)}]"
        )
        return st.one_of(reads(kind), items)
    return st.one_of(reads(kind), reads(kind), LITERALS[kind])


@cache
def tree(kind: str, depth: int) -> st.SearchStrategy[str]:
    """Source of an expression of a CEL type, at most `depth` calls deep."""
    if depth == 0:
        return leaf(kind)

    def sub(name: str) -> st.SearchStrategy[str]:
        return st.deferred(lambda: tree(name, depth - 1))

    def call(template: str, *kinds: str) -> st.SearchStrategy[str]:
        return st.tuples(*map(sub, kinds)).map(lambda parts: template.format(*parts))

    if kind.startswith("list("):
        items = st.lists(sub(kind[5:-1]), min_size=1, max_size=3).map(lambda each: f"[{', '.join(each)}]")
        either = call("({} ? {} : {})", "bool", kind, kind)
        return st.one_of(leaf(kind), items, call("({} + {})", kind, kind), either)
    scalars = ("int", "double", "string", "bool")
    calls = {
        "int": [
            *(call(f"({{}} {symbol} {{}})", "int", "int") for symbol in ("+", "-", "*", "/", "%")),
            call("(-({}))", "int"),
            call("int({})", "double"),
            call("size({})", "string"),
            *(call("size({})", f"list({inner})") for inner in ("int", "string")),
        ],
        "double": [
            *(call(f"({{}} {symbol} {{}})", "double", "double") for symbol in ("+", "-", "*", "/")),
            call("(-({}))", "double"),
            call("double({})", "int"),
        ],
        "string": [
            call("({} + {})", "string", "string"),
            call("string({})", "int"),
            call("{}[{}]", "list(string)", "int"),
        ],
        "bool": [
            *(call(f"({{}} {symbol} {{}})", "bool", "bool") for symbol in ("&&", "||", "&&", "||")),
            call("(!{})", "bool"),
            call("{}.exists(x, x == {})", "list(string)", "string"),
            call("{}.all(x, x < {})", "list(int)", "int"),
            *(call("({} == {})", f"list({each})", f"list({each})") for each in ("int", "double", "string")),
            *(
                call(f"({{}} {symbol} {{}})", each, each)
                for symbol in ("==", "!=", "<", "<=", ">", ">=")
                for each in scalars
            ),
            *(call("({} in {})", each, f"list({each})") for each in ("int", "double", "string")),
            *(
                call(f"{{}}.{test}({{}})", "string", "string")
                for test in ("startsWith", "endsWith", "contains", "matches")
            ),
        ],
    }
    return st.one_of(leaf(kind), *calls[kind], call("({} ? {} : {})", "bool", kind, kind))


EXPRESSIONS = st.one_of(
    *(tree(kind, depth) for kind in ("bool", "int", "double", "string") for depth in (1, 2, 3))
)


@st.composite
def scopes(draw: st.DrawFn) -> tuple[Scope, list[dict[str, Any]]]:
    """A scope over a random catalogue, and the same as one dict a candidate."""
    size = draw(st.integers(1, 6))
    names = ["a", "ab", "b", "Ä", "😀", "c"]
    plain: dict[str, list[Any]] = {"name": draw(st.permutations(names))[:size]}
    for name in ("i", "j", "d", "e", "s", "t", "b", "ls", "ld", "li"):
        plain[name] = draw(st.lists(values(VARIABLES[f"candidate.{name}"]), min_size=size, max_size=size))
    size = min(size, len(plain["name"]))
    rows = draw(st.lists(st.integers(0, size - 1), unique=True, max_size=size))
    count = len(rows)
    columns = {
        "together.n": draw(st.lists(INTS, min_size=count, max_size=count)),
        "together.why": draw(st.lists(WORDS, min_size=count, max_size=count)),
        "together.because": draw(st.lists(st.integers(-1, size - 1), min_size=count, max_size=count)),
    }
    score = draw(st.lists(DOUBLES, min_size=count, max_size=count))
    request = {name: draw(values(kind)) for name, kind in VARIABLES.items() if name.startswith("request.")}
    catalogue = Catalogue(
        {"id": Words.of([str(n) for n in range(size)]), **encoded(plain, size)}, "id", "name"
    )
    candidates = Candidates(
        np.array(rows, np.int32),
        np.array(score, np.float64),
        np.zeros(count, np.uint64),
        {
            "together.n": np.array(columns["together.n"], np.int64),
            "together.why": objects(columns["together.why"]),
            "together.because": np.array(columns["together.because"], np.int32),
        },
        np.zeros((1, count), np.int32),
    )
    absent = {"candidate.absent.n": 0, "candidate.absent.why": "", "candidate.absent.near": 0.0}
    dicts = [
        {
            **request,
            **absent,
            **{f"candidate.{name}": column[row] for name, column in plain.items()},
            "candidate.score": score[place],
            "candidate.together.n": columns["together.n"][place],
            "candidate.together.why": columns["together.why"][place],
            "candidate.together.because": ["", *plain["name"]][columns["together.because"][place] + 1],
        }
        for place, row in enumerate(rows)
    ]
    return Scope(request, catalogue, candidates), dicts


def encoded(plain: dict[str, list[Any]], size: int) -> dict[str, Any]:
    dtypes = {"int": np.int64, "double": np.float64, "bool": np.bool_}
    columns: dict[str, Any] = {}
    for name, column in plain.items():
        kind = VARIABLES[f"candidate.{name}"]
        inner = kind[5:-1] if kind.startswith("list(") else kind
        flat = [value for each in column for value in each] if inner != kind else column
        elements = Words.of(flat) if inner == "string" else np.array(flat, dtypes[inner])
        columns[name] = elements if inner == kind else Lists(np.cumsum([0, *map(len, column)]), elements)
    return columns


def by_library(program: cel.Expression, data: dict[str, Any]) -> Any:
    """The value, or the class Exception for an error."""
    value = program.eval(data=data)
    return Exception if value.type() == cel.Type.ERROR else value.plain_value()


def over_columns(checked: Checked, scope: Scope, size: int) -> list[Any]:
    with silent():
        vector = Translation(_Parts(ENVIRONMENT, checked))(checked.tree)(scope)
    values = np.broadcast_to(decoded(vector.values), size).tolist()
    wrong = np.broadcast_to(vector.fault.where if vector.fault else False, size).tolist()
    return [Exception if fault else value for value, fault in zip(values, wrong, strict=True)]


def accepted(source: str) -> Checked | None:
    """The expression, unless it has a part that may not be written: a pattern that is none, or too much."""
    try:
        return ENVIRONMENT.check(source)
    except ExpressionError as error:
        assert "no pattern" in str(error) or "simplify it" in str(error)  # noqa: PT017 (either outcome is right)
        return None


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return np.float64(left).tobytes() == np.float64(right).tobytes() or (
            math.isnan(left) and math.isnan(right)
        )
    return type(left) is type(right) and left == right


@settings(
    max_examples=int(os.environ.get("ENDCAP_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(EXPRESSIONS, scopes())
def test_columns_and_rows_agree(source: str, given_scope: tuple[Scope, list[dict[str, Any]]]) -> None:
    scope, dicts = given_scope
    assume(source.count("(") < 60)
    checked = accepted(source)
    assume(checked is not None)
    expected = [by_library(checked.program, data) for data in dicts]
    found = over_columns(checked, scope, len(dicts))
    assert all(map(same, found, expected)), f"{source}: {found} over columns, {expected} by row"
