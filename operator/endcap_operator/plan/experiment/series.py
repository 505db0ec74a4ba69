# SPDX-License-Identifier: Apache-2.0
"""series.json: how the figures came about, at most 500 points, for who draws them."""

from __future__ import annotations

from pydantic import Field, ValidationError

from endcap_api.v1alpha1.base import Element
from endcap_operator.analysis.look import Lift, Look

MOST_POINTS = 500


class Band(Element):
    """The lift of the primary metric in a treatment: as parts of the baseline's value (0.018 is +1.8 %) where
    `relative`, else in units of the metric.
    """

    lift: float
    lower: float
    upper: float
    relative: bool = True


class Point(Element):
    """One look. units: those that count. coverage: percent. log_bayes_factor: ln of the evidence against the weights.

    bands: by treatment; one without a figure is not in it.
    """

    at_ms: int
    units: int
    coverage: int
    log_bayes_factor: float = 0.0
    bands: dict[str, Band] = Field(default_factory=dict)


class Series(Element):
    """points: oldest first. stride_ms: points that are closer are one, the later."""

    stride_ms: int = 0
    points: list[Point] = Field(default_factory=list)


def read_series(text: str | None) -> Series:
    """What is gone or spoilt begins anew: nothing is decided by it."""
    try:
        return Series.model_validate_json(text or "{}")
    except ValidationError:
        return Series()


def appended(text: str | None, look: Look, coverage: int, primary: str | None) -> str:
    """The series with one more look. The same text when nothing was counted since the last."""
    series, point = read_series(text), point_of(look, coverage, primary)
    last = series.points[-1] if series.points else None
    if last and last.model_copy(update={"at_ms": point.at_ms}) == point:
        return text or ""
    return _with(series, point).model_dump_json(by_alias=True, exclude_none=True)


def point_of(look: Look, coverage: int, primary: str | None) -> Point:
    lifts = {name: figures.lifts.get(primary or "") for name, figures in look.variants.items()}
    bands = {name: band_of(lift) for name, lift in lifts.items() if lift}
    return Point(
        at_ms=look.at_ms,
        units=look.units,
        coverage=coverage,
        log_bayes_factor=look.sample_ratio.log_bayes_factor,
        bands=bands,
    )


def band_of(lift: Lift) -> Band:
    if lift.relative is None or lift.relative_lower is None or lift.relative_upper is None:
        return Band(lift=lift.difference, lower=lift.lower, upper=lift.upper, relative=False)
    return Band(lift=lift.relative, lower=lift.relative_lower, upper=lift.relative_upper)


def _with(series: Series, point: Point) -> Series:
    """The last point moves along until it is a stride away from the one before."""
    points = series.points
    if len(points) > 1 and points[-1].at_ms - points[-2].at_ms < series.stride_ms:
        points = points[:-1]
    return _thinned(Series(stride_ms=series.stride_ms, points=[*points, point]))


def _thinned(series: Series) -> Series:
    """Over the whole time evenly: too many points double the stride until they are half as many."""
    if len(series.points) <= MOST_POINTS:
        return series
    first, last = series.points[0], series.points[-1]
    stride = max(2 * series.stride_ms, (last.at_ms - first.at_ms) * 2 // MOST_POINTS, 1)
    kept = [first]
    for point in series.points[1:-1]:
        if point.at_ms - kept[-1].at_ms >= stride:
            kept.append(point)
    return Series(stride_ms=stride, points=[*kept, last])
