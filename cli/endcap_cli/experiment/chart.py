# SPDX-License-Identifier: Apache-2.0
"""Figures over time as SVG: bands, lines and marks in a box of fixed units that the page stretches to its width, so
that lines keep their thickness and words, which stand outside of the SVG, their size. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from endcap_operator.plan.experiment.series import Band, Point

WIDTH, HEIGHT = 1000, 240
MOST_POINTS = 500  # of all lines of a chart: what a page may weigh
_LEAST = 2


@dataclass(frozen=True)
class Label:
    """Words beside a chart; `at` is percent of its height from the top, or of its width from the left."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """`svg` is escaped and holds nothing but numbers and classes; `said` is what it shows, in words."""

    svg: Markup
    said: str
    vertical: Sequence[Label]
    steps: Sequence[Label] = ()


@dataclass(frozen=True)
class Frame:
    """From moments and values to the units of the box."""

    first: int
    last: int
    lowest: float
    highest: float

    def x(self, at_ms: int) -> float:
        return WIDTH * (at_ms - self.first) / max(1, self.last - self.first)

    def y(self, value: float) -> float:
        """What lies beyond the box is at its edge."""
        share = (self.highest - value) / (self.highest - self.lowest)
        return HEIGHT * min(1.0, max(0.0, share))

    def label(self, value: float, text: str) -> Label:
        return Label(round(100 * self.y(value) / HEIGHT, 1), text)

    def step(self, point: Point) -> Label:
        return Label(round(100 * self.x(point.at_ms) / WIDTH, 1), f"{point.coverage:g}%")


def thinned(points: Sequence[Point], most: int) -> Sequence[Point]:
    """At most so many, evenly, the first and the last among them."""
    if len(points) <= most:
        return points
    places = {round(number * (len(points) - 1) / (most - 1)) for number in range(most)}
    return [points[place] for place in sorted(places)]


def raised(points: Sequence[Point]) -> Iterator[Point]:
    """Where coverage changed."""
    for before, now in pairwise(points):
        if now.coverage != before.coverage:
            yield now


def svg(parts: Iterable[str]) -> Markup:
    """Of parts that hold numbers and our own words alone."""
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true"'
    return Markup(f"<svg {box}>{''.join(parts)}</svg>")  # noqa: S704  see above


def line(points: Iterable[tuple[float, float]], kind: str) -> str:
    return f'<path class="{kind}" d="{_path(points)}"/>'


def area(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], kind: str) -> str:
    return f'<path class="{kind}" d="{_path([*upper, *reversed(lower)])}Z"/>'


def level(y: float, kind: str) -> str:
    return line([(0, y), (WIDTH, y)], kind)


def upright(x: float) -> str:
    return line([(x, 0), (x, HEIGHT)], "step")


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.0f} {y:.1f}".removesuffix(".0") for x, y in points)


def along(
    points: Sequence[Point], treatment: str, value: Callable[[Band], float], frame: Frame
) -> list[tuple[float, float]]:
    return [
        (frame.x(point.at_ms), frame.y(value(point.bands[treatment])))
        for point in points
        if treatment in point.bands
    ]


def enough(points: Sequence[Point]) -> bool:
    return len(points) >= _LEAST
