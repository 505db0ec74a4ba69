# SPDX-License-Identifier: Apache-2.0
"""The evidence over time that the units do not fit the weights: a Bayes factor on a logarithmic axis. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, floor, log

from endcap_cli.experiment.chart import MOST_POINTS, Chart, Frame, enough, level, line, svg, thinned
from endcap_operator.plan.experiment.series import Point

MISMATCH = 3  # 1000 to 1, as a power of ten
LOWEST, HIGHEST = -4, 6  # what is beyond is at the edge
_LN10 = log(10)


def ratio_chart(points: Sequence[Point]) -> Chart | None:
    """None for fewer than two looks."""
    if not enough(points):
        return None
    known = [(point.at_ms, point.log_bayes_factor / _LN10) for point in points]
    values = [value for _, value in known]
    lowest = max(LOWEST, min(-1, floor(min(values))))
    highest = min(HIGHEST, max(MISMATCH + 1, ceil(max(values))))
    frame = Frame(points[0].at_ms, points[-1].at_ms, lowest, highest)
    kept = {point.at_ms for point in thinned(points, MOST_POINTS)}
    drawn = [
        *_ground(frame),
        line([(frame.x(at), frame.y(v)) for at, v in known if at in kept], "line ratio"),
    ]
    labels = [
        frame.label(power, _power(power)) for power in range(lowest, highest + 1) if power % 2 or not power
    ]
    return Chart(
        svg(drawn), f"Bayes factor at the last look: {10 ** min(max(values[-1], -99), 99):.2g}", labels
    )


def _ground(frame: Frame) -> Iterator[str]:
    yield level(frame.y(0), "grid")
    yield level(frame.y(MISMATCH), "limit")


def _power(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"1/{10**-power:,}"
