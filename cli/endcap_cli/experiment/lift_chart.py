# SPDX-License-Identifier: Apache-2.0
"""The lift of the primary metric with its confidence sequence over time, of every treatment. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from endcap_cli.experiment.band import scale
from endcap_cli.experiment.chart import (
    MOST_POINTS,
    Chart,
    Frame,
    Label,
    along,
    area,
    enough,
    level,
    line,
    raised,
    svg,
    thinned,
    upright,
)
from endcap_cli.experiment.standing import Standing
from endcap_cli.experiment.ticks import ticks
from endcap_operator.plan.experiment.series import Point

APART = 12.0  # percent of the width


def lift_chart(standing: Standing, colours: Mapping[str, str]) -> Chart | None:
    """`colours` are classes by variant; None for fewer than two looks with a figure."""
    names = [treatment.name for treatment in standing.spec.treatments]
    points = standing.drawn
    if not enough(points):
        return None
    reach = scale([each for point in points for each in point.bands.values()])
    frame = Frame(points[0].at_ms, points[-1].at_ms, -reach, reach)
    shown = thinned(points, MOST_POINTS // len(names))
    steps = list(raised(points))
    drawn = [*_ground(frame, steps, reach), *_lines(shown, names, colours, frame)]
    labels = [frame.label(tick, standing.shown(tick)) for tick in ticks(-reach, reach)]
    return Chart(svg(drawn), _said(standing, points[-1]), labels, list(_apart(map(frame.step, steps))))


def _apart(labels: Iterable[Label]) -> Iterator[Label]:
    """Those with room for their words; the steps themselves are all drawn."""
    last = -APART
    for label in labels:
        if last + APART <= label.at <= 100 - APART / 2:
            last = label.at
            yield label


def _ground(frame: Frame, steps: Sequence[Point], reach: float) -> Iterator[str]:
    for tick in ticks(-reach, reach):
        yield level(frame.y(tick), "zero" if tick == 0 else "grid")
    yield from (upright(frame.x(point.at_ms)) for point in steps)


def _lines(
    points: Sequence[Point], names: Sequence[str], colours: Mapping[str, str], frame: Frame
) -> Iterator[str]:
    for name in names:
        colour = colours[name]
        upper = along(points, name, lambda each: each.upper, frame)
        lower = along(points, name, lambda each: each.lower, frame)
        if upper:
            yield area(upper, lower, f"band {colour}")
            yield line(along(points, name, lambda each: each.lift, frame), f"line {colour}")


def _said(standing: Standing, last: Point) -> str:
    shown = standing.shown
    told = ", ".join(
        f"{name} {shown(each.lift)} from {shown(each.lower)} to {shown(each.upper)}"
        for name, each in last.bands.items()
    )
    return f"Lift of {standing.spec.primary} at the last look: {told}"
