# SPDX-License-Identifier: Apache-2.0
"""The order of decisions: each row of the contract's table, and that each is decided before those below it."""

from __future__ import annotations

from typing import Any

import pytest

from endcap_api.assigner import COUNTED, EXPOSED, Assigner, Decided, Unit, unit_of
from endcap_api.experiment_config import ExperimentConfig

# Buckets of user-1: 833 for home.ranker, 1880 for layer/home, 2277 for holdout/2026q4.
USER = Unit("user-1", "customer")


def config(**changes: Any) -> ExperimentConfig:
    """Everything that could decide is there, and lets user-1 through to the last row."""
    sound = {
        "id": "0123456789ab",
        "revision": 1,
        "epoch": 1,
        "phase": "Running",
        "step": "rank",
        "mode": "split",
        "enabled": True,
        "unit": ["request.customer"],
        "salt": "home.ranker",
        "variants": [
            {"name": "control", "baseline": True, "buckets": ["0-500"], "weight": 5000},
            {"name": "treatment", "model": "v2", "buckets": ["800-1000", "4000-4100"], "weight": 5000},
        ],
        "layer": {"name": "home", "buckets": ["1880-1881"]},
        "holdout": {"name": "2026q4", "percent": 22},
        "overrides": {"listed": "treatment"},
    }
    return ExperimentConfig.model_validate({**sound, **changes})


def decided(unit: Unit | None = USER, forced: str | None = None, **changes: Any) -> Decided:
    return Assigner(config(**changes)).decide(unit, forced=forced)


def test_whose_range_has_the_bucket_gets_the_unit() -> None:
    assert decided() == ("treatment", "assigned", 833)


@pytest.mark.parametrize(
    ("changes", "variant", "reason"),
    [
        ({"enabled": False}, "control", "disabled"),
        ({"everyone": "treatment"}, "treatment", "promoted"),
        ({"holdout": {"name": "2026q4", "percent": 23}}, "control", "held_out"),
        ({"layer": {"name": "home", "buckets": ["0-1880", "1881-10000"]}}, "control", "other_layer"),
        ({"layer": {"name": "other", "buckets": ["0-1"]}}, "control", "other_layer"),
        ({"salt": "another"}, "control", "not_covered"),
        ({"overrides": {"user-1": "control"}}, "control", "listed"),
    ],
)
def test_what_comes_before_the_ranges(changes: dict[str, Any], variant: str, reason: str) -> None:
    assert decided(**changes)[:2] == (variant, reason)


def test_every_reason_yields_to_those_above_it() -> None:
    """All of them at once, taken away one by one from the top."""
    blocks: dict[str, Any] = {
        "disabled": {"enabled": False},
        "forced": {},
        "listed": {"overrides": {"user-1": "treatment"}},
        "promoted": {"everyone": "treatment"},
        "held_out": {"holdout": {"name": "2026q4", "percent": 50}},
        "not_targeted": {},
        "other_layer": {"layer": {"name": "home", "buckets": ["0-1"]}},
        "assigned": {},
    }
    for first, expected in enumerate(blocks):
        left = dict(list(blocks.items())[first:])
        changes = {name: value for block in left.values() for name, value in block.items()}
        forced = "treatment" if "forced" in left else None
        targeted = "not_targeted" not in left
        found = Assigner(config(**changes)).decide(USER, forced=forced, targeted=lambda: targeted)  # noqa: B023
        assert found.reason == expected


def test_without_a_unit_only_a_force_and_a_promotion_decide() -> None:
    assert decided(None) == ("control", "no_unit", None)
    assert decided(None, forced="treatment") == ("treatment", "forced", None)
    assert decided(None, everyone="treatment") == ("treatment", "promoted", None)


def test_a_force_to_what_is_no_variant_is_as_if_it_were_not_there() -> None:
    assert decided(forced="treatmnt").reason == "assigned"


def test_the_target_is_asked_only_when_its_turn_comes() -> None:
    def never() -> bool:
        raise AssertionError

    held_out = config(holdout={"name": "2026q4", "percent": 50})
    assert Assigner(held_out).decide(USER, targeted=never).reason == "held_out"
    assert Assigner(config(enabled=False)).decide(USER, targeted=never).reason == "disabled"


def test_a_shadow_serves_the_baseline_whoever_asks() -> None:
    shadow = Assigner(config(mode="shadow"))
    assert shadow.decide(USER)[:2] == ("control", "shadowed")
    assert shadow.decide(USER, forced="treatment")[:2] == ("control", "shadowed")
    assert shadow.decide(Unit("listed", "customer")).variant == "control"


def test_a_range_begins_with_its_first_bucket_and_ends_before_its_last() -> None:
    def at(*buckets: str) -> str:
        variants = config().dump()["variants"]
        return decided(variants=[variants[0], {**variants[1], "buckets": list(buckets)}]).reason

    assert at("833-834") == "assigned"
    assert at("834-900") == at("800-833") == "not_covered"


def test_propensity_is_the_part_of_what_is_covered() -> None:
    assigner = Assigner(config())
    assert assigner.propensity("treatment") == 300 / 800
    assert assigner.propensity("control") == 500 / 800


@pytest.mark.parametrize(
    ("request_values", "expected"),
    [
        ({"customer": "7", "session": "s"}, Unit("7", "customer")),
        ({"customer": "", "session": "s"}, Unit("s", "session")),
        ({"customer": None, "session": 12}, Unit("12", "session")),
        ({"customer": 0}, Unit("0", "customer")),
        ({"customer": " "}, Unit(" ", "customer")),
        ({"other": "7"}, None),
    ],
)
def test_a_unit_is_the_first_field_that_is_not_empty(
    request_values: dict[str, object], expected: Unit | None
) -> None:
    assert unit_of(["request.customer", "request.session"], request_values) == expected


def test_only_what_is_assigned_counts_and_what_counts_is_exposed() -> None:
    assert list(COUNTED) == ["assigned"]
    assert COUNTED < EXPOSED
