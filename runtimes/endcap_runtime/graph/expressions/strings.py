# SPDX-License-Identifier: Apache-2.0
"""Strings by their codes: what is asked of a word is asked once a distinct word, not once a candidate."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from endcap_runtime.graph.columns import Vocabulary, Words
from endcap_runtime.graph.expressions.vector import Fault, Mask, Vector, either, fault_where

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


Test = Callable[[NDArray[np.object_], str], Vector]  # of words [n]; the answer is bool [n]


def _plain(test: Callable[[str, str], bool]) -> Test:
    return lambda words, argument: Vector(np.array([test(word, argument) for word in words], dtype=np.bool_))


def _matches(words: NDArray[np.object_], pattern: str) -> Vector:
    """RE2, as the CEL library has it: Python's `re` has another syntax, and no bound on its time."""
    try:
        found = pc.match_substring_regex(pa.array(words, pa.string()), pattern)
    except pa.ArrowInvalid as error:
        wrong = np.ones(len(words), dtype=np.bool_)
        return Vector(np.zeros(len(words), dtype=np.bool_), fault_where(wrong, _first_line(error)))
    return Vector(found.to_numpy(zero_copy_only=False))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].lower()


TESTS: dict[str, Test] = {
    "startsWith": _plain(str.startswith),
    "endsWith": _plain(str.endswith),
    "contains": _plain(operator.contains),
    "matches": _matches,
}


class Predicate:
    """`word.test(argument)`, e.g. startsWith. Answers for an argument that never changes are kept by vocabulary."""

    def __init__(self, test: Test, argument: str | None) -> None:
        self._test = test
        self._constant = argument
        self._vocabulary: Vocabulary | None = None
        self._answers = Vector(np.empty(0, dtype=np.bool_))

    def __call__(self, words: Words, argument: Words) -> Vector:
        if len(argument) != 1:
            return self._by_argument(words, argument)
        if self._constant is not None and len(words.vocabulary) <= _KEPT:
            return self._kept(words, self._constant)
        present, place = np.unique(words.codes, return_inverse=True)
        asked = words.vocabulary.words[present]
        return _taken(self._test(asked, argument.vocabulary.words[argument.codes[0]]), place)

    def _kept(self, words: Words, argument: str) -> Vector:
        if self._vocabulary is not words.vocabulary:
            self._answers = self._test(words.vocabulary.words, argument)
            self._vocabulary = words.vocabulary
        return _taken(self._answers, words.codes)

    def _by_argument(self, words: Words, argument: Words) -> Vector:
        """Another argument for each candidate: asked once a distinct one."""
        asked = np.broadcast_to(words.decode(), len(argument))
        values = np.zeros(len(argument), dtype=np.bool_)
        fault = None
        for code in np.unique(argument.codes):
            here = argument.codes == code
            answers = self._test(asked[here], argument.vocabulary.words[code])
            values[here] = answers.values
            fault = either(fault, answers.fault and Fault(here, answers.fault.message))
        return Vector(values, fault)


def _taken(answers: Vector, place: NDArray[Any]) -> Vector:
    fault = answers.fault and fault_where(answers.fault.where[place], answers.fault.message)
    return Vector(answers.values[place], fault)
