# SPDX-License-Identifier: Apache-2.0
"""A lift and its confidence sequence over time, drawn with letters for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from endcap_operator.plan.experiment.series import Band, Point

Show = Callable[[float], str]

WIDTH, HEIGHT = 64, 11
LETTERS = ("+", "=", "-", " ")  # the lift, within the interval, zero, nothing
_ROOM = 1.1


def band(points: Sequence[Point], treatment: str, shown: Show, width: int = WIDTH) -> list[str]:
    """Lines from the top: `+` is the lift, `=` the interval, `-` is zero. Nothing for fewer than two points."""
    known = [point for point in points if treatment in point.bands]
    if len(known) < 2:  # noqa: PLR2004
        return []
    columns = list(_columns(known, treatment, width))
    reach = scale([column for column in columns if column])
    rows = [_row(columns, place, reach) for place in range(HEIGHT)]
    return [f"{_label(place, reach, shown)} |{row}".rstrip() for place, row in enumerate(rows)]


def _columns(points: Sequence[Point], treatment: str, width: int) -> Iterator[Band]:
    """What was known at moments evenly apart, first to last."""
    first, last = points[0].at_ms, points[-1].at_ms
    at = 0
    for column in range(width):
        moment = first + (last - first) * column / (width - 1)
        while at + 1 < len(points) and points[at + 1].at_ms <= moment:
            at += 1
        yield points[at].bands[treatment]


def scale(intervals: Sequence[Band]) -> float:
    """How far the drawing reaches from 0 on each side: the later half is whole; early intervals, which are very wide,
    are cut off.
    """
    later = intervals[len(intervals) // 2 :]
    return _ROOM * max([1e-4, *(abs(bound) for each in later for bound in (each.lower, each.upper))])


def _row(columns: Sequence[Band], place: int, reach: float) -> str:
    return "".join(_letter(each, place, reach) for each in columns)


def _letter(each: Band, place: int, reach: float) -> str:
    lift, within, zero, nothing = LETTERS
    at = _place(each.lift, reach)
    if place == min(max(at, 0), HEIGHT - 1):
        return lift
    if place == HEIGHT // 2:
        return zero
    return within if _place(each.upper, reach) <= place <= _place(each.lower, reach) else nothing


def _place(value: float, reach: float) -> int:
    """The row of a value; those outside of the drawing have none of it."""
    return round((1 - value / reach) * (HEIGHT - 1) / 2)


def _label(place: int, reach: float, shown: Show) -> str:
    middle, text = HEIGHT // 2, ""
    if place % middle == 0:
        text = shown(reach * (middle - place) / middle)
    return f"{text:>8}"
