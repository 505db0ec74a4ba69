# SPDX-License-Identifier: Apache-2.0
"""series.json stays short, covers the whole time, and is not written for nothing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured_experiments import METRIC, NOW, converted, counted, even_epochs, experiment

from endcap_operator.analysis.look import Look
from endcap_operator.analysis.looking import Seen, look_at
from endcap_operator.plan.experiment.series import MOST_POINTS, Series, appended, read_series


def look(units: int, at_ms: int) -> Look:
    sums = counted(control=converted(units, units // 10), treatment=converted(units, units // 8))
    return look_at(experiment(), even_epochs(), Seen(sums.model_copy(update={"at_ms": at_ms})), at_ms)


def test_a_point_tells_what_is_drawn() -> None:
    text = appended(None, look(5000, NOW), 25, METRIC)
    (point,) = read_series(text).points
    assert (point.at_ms, point.units, point.coverage) == (NOW, 10_000, 25)
    assert point.bands["treatment"].lift == pytest.approx(0.25)
    assert point.bands["treatment"].lower < 0.25 < point.bands["treatment"].upper
    assert point.bands["treatment"].relative
    assert "control" not in point.bands


def test_without_a_figure_there_is_no_band() -> None:
    (point,) = read_series(appended(None, look(10, NOW), 25, METRIC)).points
    assert point.bands == {}
    (point,) = read_series(appended(None, look(5000, NOW), 25, None)).points
    assert point.bands == {}


def test_where_nothing_was_counted_nothing_is_written() -> None:
    text = appended(None, look(500, NOW), 25, METRIC)
    assert appended(text, look(500, NOW + 10**9), 25, METRIC) == text
    assert appended(text, look(500, NOW + 10**9), 50, METRIC) != text
    assert appended(text, look(501, NOW + 10**9), 25, METRIC) != text


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"points": 3}'])
def test_what_is_gone_or_spoilt_begins_anew(text: str | None) -> None:
    assert len(read_series(appended(text, look(500, NOW), 25, METRIC)).points) == 1


@settings(max_examples=5, deadline=None)
@given(st.lists(st.sampled_from([30_000, 1000, 600_000, 86_400_000]), min_size=3, max_size=700))
def test_it_is_short_in_order_and_covers_all_of_the_time(gaps: list[int]) -> None:
    template, text, at = look(500, NOW), "", NOW
    for place, gap in enumerate(gaps):
        at += gap
        text = appended(text, template.model_copy(update={"at_ms": at, "units": place}), 100, METRIC)
    points = read_series(text).points
    times = [point.at_ms for point in points]
    assert len(points) <= MOST_POINTS
    assert times == sorted(set(times))
    assert (points[0].units, points[-1].units) == (0, len(gaps) - 1)
    if len(gaps) <= MOST_POINTS:
        assert len(points) == len(gaps)


def test_after_thinning_the_points_lie_evenly() -> None:
    template, text = look(500, NOW), ""
    for place in range(1100):
        step = template.model_copy(update={"at_ms": NOW + 30_000 * place, "units": place})
        text = appended(text, step, 100, METRIC)
    points = read_series(text).points
    gaps = [b.at_ms - a.at_ms for a, b in pairwise(points)]
    assert 200 <= len(points) <= MOST_POINTS
    assert max(gaps) <= 3 * min(gaps[:-1])
    assert Series.model_validate_json(text).points[-1].units == 1099
