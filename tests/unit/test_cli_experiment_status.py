# SPDX-License-Identifier: Apache-2.0
"""What `endcap experiment status` shows: the whole screen as it should be, the verdict's words, and the drawing."""

from __future__ import annotations

from typing import Any

import pytest
from experiments import HOSTILE, condition, golden, running, standing

from endcap_cli.experiment.band import HEIGHT, WIDTH, band
from endcap_cli.experiment.screen import screen
from endcap_cli.experiment.sentence import sentence
from endcap_cli.terminal import escaped
from endcap_operator.analysis.words import shown_value
from endcap_operator.plan.experiment.series import Band, Point


def test_the_screen_of_a_running_experiment() -> None:
    shown = "\n".join(screen(standing())) + "\n"
    assert shown == golden("status.txt", shown)


def test_a_shadow_has_no_lift_and_no_split() -> None:
    shadow = standing(
        running(
            units=None,
            split=None,
            primary=None,
            guardrails=None,
            variants=[
                {"name": "control", "model": "basket-ranker@4"},
                {
                    "name": "treatment",
                    "model": "basket-ranker-v2@2",
                    "shadow": "overlap 0.81, correlation 0.44",
                },
            ],
        ),
        looks=0,
        mode="shadow",
        variants=[{"name": "control", "baseline": True}, {"name": "treatment", "model": "basket-ranker-v2"}],
        store=None,
        metrics=None,
        primary=None,
        guardrails=None,
        ramp=None,
    )
    text = "\n".join(screen(shadow))
    assert "Shadow of step rank" in text
    assert "everyone gets the baseline, and the others are only compared with it" in text
    assert "overlap 0.81, correlation 0.44" in text
    assert "UNITS" not in text
    assert "lift" not in text


def test_nothing_that_others_wrote_reaches_the_terminal_unescaped() -> None:
    hostile = standing(
        running(
            verdict=f"Better {HOSTILE}",
            recommendation=HOSTILE,
            guardrails=[{"name": HOSTILE, "state": "ok", "message": HOSTILE}],
            conditions=[condition("RouterSynced", "True", HOSTILE)],
            history=[{"time": HOSTILE, "phase": HOSTILE, "message": HOSTILE}],
        ),
        description=HOSTILE,
    )
    for line in map(escaped, screen(hostile)):
        assert line.isprintable()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({}, "Nobody has looked at it yet. Is the operator running?"),
        (
            running(phase="Pending", conditions=[condition("Accepted", "False", "spec.layer: taken")]),
            "It is not accepted and takes no traffic: spec.layer: taken",
        ),
        (
            running(conditions=[condition("Accepted", "False", "spec.unit: put it back")]),
            "It is not accepted and stands still, with the traffic that it had: spec.unit: put it back",
        ),
        (running(phase="Pending", units=None), "It has not begun. No verdict yet: there are no figures."),
        (running(units=150, verdict=""), "No verdict yet: 150 of at least 2,000 units."),
        (running(), "No verdict yet: the lift may still be 0. add-to-cart +1.8% [-0.4%, +4.0%]."),
        (
            running(verdict="Better treatment", phase="AwaitingApproval"),
            "It waits for a person: endcap experiment promote. treatment is better: add-to-cart +1.8% [-0.4%, +4.0%].",
        ),
        (running(verdict="Worse treatment"), "treatment is worse: add-to-cart"),
        (running(verdict="Inconclusive"), "No variant is better, and none is worse so far: add-to-cart"),
        (
            running(conditions=[condition("SampleRatioHealthy", "False", "…")]),
            "No verdict, now or later: the units that were exposed do not fit the weights",
        ),
        (
            running(phase="Promoted", verdict="Better treatment"),
            "treatment is promoted: the graph names it itself",
        ),
        (
            running(
                phase="RolledBack", history=[{"time": "", "phase": "RolledBack", "message": "p95 26 ms."}]
            ),
            "A guardrail was breached, and everyone has the baseline again: p95 26 ms.",
        ),
        (running(phase="Paused"), "It is paused: everyone gets the baseline. No verdict yet"),
    ],
)
def test_the_verdict_is_said_in_words(status: dict[str, Any], words: str) -> None:
    assert sentence(standing(status)).startswith(words)


def test_a_win_says_how_sure_it_is() -> None:
    won = sentence(standing(running(verdict="Better treatment"), analysis={"alpha": 0.01}))
    assert won.endswith("The true lift is in this interval with 99% confidence, however often one looks.")


def test_without_metrics_there_is_no_verdict_and_it_is_said() -> None:
    served = standing(store=None, metrics=None, primary=None, guardrails=None)
    assert sentence(served) == "No metric is measured, so there is no verdict; only guardrails are watched."


def point(at: int, lift: float, half: float) -> Point:
    band = Band(lift=lift, lower=lift - half, upper=lift + half)
    return Point(at_ms=at, units=at, coverage=100, bands={"b": band})


def drawing(points: list[Point], treatment: str = "b") -> list[str]:
    """Without the labels."""
    return [line.partition("|")[2] for line in band(points, treatment, shown_value)]


def test_an_interval_above_zero_is_drawn_above_the_line_of_zero() -> None:
    lines = drawing([point(0, 0.5, 0.1), point(10, 0.5, 0.1)])
    assert len(lines) == HEIGHT
    assert lines[HEIGHT // 2] == "-" * WIDTH
    assert any(line == "+" * WIDTH for line in lines[: HEIGHT // 2])
    assert all(not line for line in lines[HEIGHT // 2 + 1 :])


def test_an_early_wide_interval_is_cut_off_and_does_not_flatten_what_is_known_now() -> None:
    points = [point(0, 9.0, 90.0), *(point(n, -0.01, 0.005) for n in range(1, 20))]
    lines = drawing(points)
    below = lines[HEIGHT // 2 + 1 :]
    assert sum("+" in line for line in below) == 1
    assert "+" in lines[0]


def test_fewer_than_two_looks_are_not_drawn() -> None:
    assert drawing([point(0, 0.5, 0.1)]) == []
    assert drawing([point(0, 0.5, 0.1), point(1, 0.5, 0.1)], "c") == []


def test_a_lift_of_exactly_nothing_can_be_drawn() -> None:
    assert len(drawing([point(0, 0.0, 0.0), point(1, 0.0, 0.0)])) == HEIGHT
