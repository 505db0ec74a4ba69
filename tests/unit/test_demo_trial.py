# SPDX-License-Identifier: Apache-2.0
"""The demo's experiment says PASS for the operator's verdict alone, and FAIL with the reason in every other case."""

from __future__ import annotations

from typing import Any

import pytest
from endcap_demo import trial

TREATED: dict[str, Any] = {"variant": "treatment", "reason": "assigned"}
SAID = "2,000 answers\n0 households changed variant"


def test_a_better_treatment_and_households_that_stay_have_no_objection() -> None:
    assert trial.objections({"a": [TREATED, TREATED]}, SAID, "Better treatment") == []


@pytest.mark.parametrize(
    ("twice", "said", "verdict", "objection"),
    [
        ({"a": [TREATED, TREATED]}, SAID, "Inconclusive", "the verdict is Inconclusive"),
        ({"a": [TREATED, TREATED]}, SAID, "Better control", "the verdict is Better control"),
        ({"a": [TREATED, TREATED]}, SAID, "Worse treatment", "the verdict is Worse treatment"),
        (
            {"a": [TREATED, TREATED]},
            "2,000 answers\n10 households changed variant",
            "Better treatment",
            "households changed their variant in the replay",
        ),
        (
            {"a": [TREATED, TREATED], "b": [TREATED, TREATED | {"variant": "control"}]},
            SAID,
            "Better treatment",
            "a household changed its variant between two requests",
        ),
        ({"a": [{}, {}]}, SAID, "Better treatment", "a household was not assigned"),
    ],
)
def test_anything_else_is_objected_to(
    twice: dict[str, list[dict[str, Any]]], said: str, verdict: str, objection: str
) -> None:
    assert trial.objections(twice, said, verdict) == [objection]
