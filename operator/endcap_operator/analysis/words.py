# SPDX-License-Identifier: Apache-2.0
"""Figures as people read them, in status, Events and reports alike."""

from __future__ import annotations

from math import exp

from endcap_operator.analysis.look import Lift, SampleRatio, ShadowFigures, Verdict

_LARGEST_EXPONENT = 700.0
_LONG = 1e6


def shown_percent(part: float, *, signed: bool = False) -> str:
    """0.018 is 1.8%. A zero has no sign that could be read as a direction.

    Of a percent that fills a line nobody reads the digits, and the API server takes no status with it.
    """
    form = ".1f" if abs(part) < _LONG else ".3g"
    text = f"{100 * part:{'+' if signed else ''}{form}}%"
    return text.replace("+0.0%", "0.0%").replace("-0.0%", "0.0%")


def shown_value(value: float) -> str:
    """Three digits of a figure in units of a metric, with its sign."""
    return f"{value:+.3g}".replace("+0", "0") if value == 0 else f"{value:+.3g}"


def shown_lift(lift: Lift) -> str:
    """`+1.8% [-0.4%, +4.0%]` of the baseline; in units of the metric where the baseline is not clearly away from 0."""
    if lift.relative is None or lift.relative_lower is None or lift.relative_upper is None:
        return _bounded(*map(shown_value, (lift.difference, lift.lower, lift.upper)))
    parts = (lift.relative, lift.relative_lower, lift.relative_upper)
    return _bounded(*(shown_percent(part, signed=True) for part in parts))


def _bounded(value: str, lower: str, upper: str) -> str:
    return f"{value} [{lower}, {upper}]"


def shown_ratio(ratio: SampleRatio) -> str:
    """`ok (0.031)`: with the Bayes factor against the weights."""
    if ratio.state == "no data":
        return ratio.state
    if ratio.log_bayes_factor > _LARGEST_EXPONENT:
        return f"{ratio.state} (>1e300)"
    return f"{ratio.state} ({exp(ratio.log_bayes_factor):.2g})"


def shown_shadow(figures: ShadowFigures) -> str:
    """`overlap 0.91, correlation 0.88, p95 12 ms, 0 failures of 640`."""
    p95 = f"p95 {figures.p95_ms:.3g} ms, " if figures.p95_ms is not None else ""
    asked = figures.compared + figures.errors
    agreed = f"overlap {figures.overlap:.2f}, correlation {figures.correlation:.2f}"
    return f"{agreed}, {p95}{figures.errors} failures of {asked}, {figures.dropped} dropped"


def shown_verdict(verdict: Verdict | None) -> str:
    """`None yet`, else `Better treatment`."""
    if verdict is None:
        return "None yet"
    return f"{verdict.kind} {verdict.variant}" if verdict.variant else verdict.kind
