# SPDX-License-Identifier: Apache-2.0
"""Applies what a batch asks of views and experiments: all at once, and singly where Redis fails over one state."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from endcap_runtime.features.ingest.planning import (
    Counted,
    Counting,
    Done,
    Task,
    letters_of,
    outcome_letters,
    words_of,
)
from endcap_runtime.features.ingest.streams import Letter
from endcap_runtime.features.store import FeatureRedis, StoreUnavailable

log = logging.getLogger("endcap.ingest")

_UNCHANGEABLE = "what the store holds of this entity is not ours: delete that key, then replay"

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Applied(NamedTuple):
    """What became of a batch."""

    done: list[Done]
    counted: list[Counted]
    letters: list[Letter]


async def applied(redis: FeatureRedis, tasks: Sequence[Task], countings: Sequence[Counting]) -> Applied:
    """Raises StoreUnavailable; then some is applied, and applying it again does no harm."""
    done, broken = await each_or_all(
        tasks, lambda some: redis.apply([task.update for task in some]), lambda task: task.update.state
    )
    answers, failed = await each_or_all(
        countings,
        lambda some: redis.run([counting.outcome.call for counting in some]),
        lambda counting: counting.outcome.call.keys[0],
    )
    counted = [(counting, words_of(answer)) for counting, answer in answers]
    letters = [
        *(Letter(task.entry, "invalid", _UNCHANGEABLE, task.view.name) for task in broken),
        *(Letter(counting.entry, "invalid", _UNCHANGEABLE, counting.reader) for counting in failed),
        *letters_of(done),
        *outcome_letters(counted),
    ]
    return Applied(done, counted, letters)


async def each_or_all(
    asked: Sequence[Asked],
    ask: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer]]],
    key: Callable[[Asked], bytes],
) -> tuple[list[tuple[Asked, Answer]], list[Asked]]:
    """What was answered, and what Redis fails over, one by one, so that one holds up no other."""
    try:
        return list(zip(asked, await ask(asked), strict=True)), []
    except StoreUnavailable as error:
        if not _of_a_state(error):
            raise
    answered: list[tuple[Asked, Answer]] = []
    broken: list[Asked] = []
    for one in asked:
        try:
            answered += zip([one], await ask([one]), strict=True)
        except StoreUnavailable as error:
            if not _of_a_state(error):
                raise
            log.exception("A state cannot be changed", extra={"key": key(one).decode()})
            broken.append(one)
    return answered, broken


def _of_a_state(error: StoreUnavailable) -> bool:
    """Whether the function itself failed, as over a key of another type: to ask again would fail again."""
    return error.reason in ("foreign_key", "refused") and "script: endcap_" in error.message
