# SPDX-License-Identifier: Apache-2.0
"""Strings by their codes: what is asked of a word is asked once a distinct word, not once a candidate."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from cel_expr_python import cel
from numpy.typing import NDArray

from endcap_runtime.graph.columns import Vocabulary, Words
from endcap_runtime.graph.expressions.vector import Fault, Mask, Vector, fault_where

# A vocabulary of at most so many words is asked as a whole, and the answers are kept.
_KEPT = 4096


def equal(left: Words, right: Words) -> Vector:
    return Vector(_same(left, right))


def unequal(left: Words, right: Words) -> Vector:
    return Vector(~_same(left, right))


def _same(left: Words, right: Words) -> Mask:
    if len(left) == 1:
        left, right = right, left
    if len(right) == 1:
        return np.equal(left.codes, left.vocabulary.code(right.vocabulary.words[right.codes[0]]))
    return np.equal(left.codes_in(right.vocabulary), right.codes)


def _order(compare: Callable[[Any, Any], Any]) -> Callable[[Words, Words], Vector]:
    """CEL orders strings by code point, as Python does."""
    return lambda left, right: Vector(compare(left.decode(), right.decode()).astype(np.bool_))


ORDER = {
    "_<_": _order(operator.lt),
    "_<=_": _order(operator.le),
    "_>_": _order(operator.gt),
    "_>=_": _order(operator.ge),
}


def joined(left: Words, right: Words) -> Vector:
    return Vector(Words.of(left.decode() + right.decode()))


def sizes(words: Words) -> Vector:
    """Lengths in code points."""
    return Vector(_by_word(words, lambda present: np.array([len(word) for word in present], dtype=np.int64)))


def _by_word(words: Words, ask: Callable[[NDArray[np.object_]], NDArray[Any]]) -> NDArray[Any]:
    """`ask` about each distinct word, then spread the answers over the candidates."""
    present, place = np.unique(words.codes, return_inverse=True)
    answers: NDArray[Any] = ask(words.vocabulary.words[present])[place]
    return answers


Test = Callable[[str, str], "bool | str"]  # a text is the message of a fault


class Predicate:
    """`word.test(argument)`, e.g. startsWith. Answers for an argument that never changes are kept by vocabulary."""

    def __init__(self, test: Test, argument: str | None) -> None:
        self._test = test
        self._constant = argument
        self._vocabulary: Vocabulary | None = None
        self._answers = Vector(np.empty(0, dtype=np.bool_))

    def __call__(self, words: Words, argument: Words) -> Vector:
        if len(argument) != 1:
            pairs = np.broadcast(words.decode(), argument.decode())
            return _answers([self._test(word, other) for word, other in pairs])
        if self._constant is not None and len(words.vocabulary) <= _KEPT:
            return self._kept(words)
        return self._asked(words, argument.vocabulary.words[argument.codes[0]])

    def _kept(self, words: Words) -> Vector:
        if self._vocabulary is not words.vocabulary:
            self._answers = _answers(
                [self._test(word, self._constant or "") for word in words.vocabulary.words]
            )
            self._vocabulary = words.vocabulary
        return _taken(self._answers, words.codes)

    def _asked(self, words: Words, argument: str) -> Vector:
        present, place = np.unique(words.codes, return_inverse=True)
        return _taken(
            _answers([self._test(word, argument) for word in words.vocabulary.words[present]]), place
        )


def _answers(results: list[bool | str]) -> Vector:
    values = np.array([result is True for result in results], dtype=np.bool_)
    wrong = next((result for result in results if isinstance(result, str)), None)
    if wrong is None:
        return Vector(values)
    return Vector(values, Fault(np.array([isinstance(result, str) for result in results]), wrong))


def _taken(answers: Vector, place: NDArray[Any]) -> Vector:
    fault = answers.fault and fault_where(answers.fault.where[place], answers.fault.message)
    return Vector(answers.values[place], fault)


@cache
def _matcher() -> cel.Expression:
    return cel.NewEnv(variables={"s": cel.Type.STRING, "p": cel.Type.STRING}).compile("s.matches(p)")


def matches(word: str, pattern: str) -> bool | str:
    """RE2, the library's own, since Python's `re` has another syntax and no bound on its time."""
    value = _matcher().eval(data={"s": word, "p": pattern}).value()
    return value if isinstance(value, bool) else str(value)


TESTS: dict[str, Test] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": operator.contains,
    "matches": matches,
}
