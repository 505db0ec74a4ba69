# SPDX-License-Identifier: Apache-2.0
"""What `endcap experiment promote`, `abort` and `approve` would write, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from experiments import running, standing

from endcap_cli.experiment.decide import Decision, abortion, approval, patch, promotion
from endcap_cli.experiment.source import Source
from endcap_cli.terminal import CommandError

TWO = [
    {"name": "control", "baseline": True, "weight": 1},
    {"name": "treatment", "weight": 1, "model": "basket-ranker-v2"},
    {"name": "bold", "weight": 1, "model": "basket-ranker-v3"},
]


def source(status: dict[str, Any] | None = None, **spec: Any) -> Source:
    found = standing(status, **spec)
    live = {"metadata": {"resourceVersion": "17", "uid": "u"}, "status": found.status}
    return Source(found.name, found.spec, live=live)


def test_a_decision_is_written_into_the_object_that_was_looked_at_and_no_other() -> None:
    assert patch(source(), Decision("ramp.approved", 5, "")) == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "17"},
        {"op": "add", "path": "/spec/ramp/approved", "value": 5},
    ]


def test_the_only_treatment_is_promoted_and_the_graph_stays_its_authors() -> None:
    decision = promotion(source(), None)
    assert (decision.field, decision.value) == ("decision", {"promote": "treatment"})
    assert "everyone gets treatment within seconds; graph basket is yours to change" in decision.follows
    assert "the operator patches graph basket" in promotion(source(promotion="patch"), None).follows


def test_of_several_the_winner_is_promoted_or_one_is_chosen() -> None:
    assert promotion(source(variants=TWO), "bold").value == {"promote": "bold"}
    won = source(running(verdict="Better bold", phase="AwaitingApproval"), variants=TWO)
    assert promotion(won, None).value == {"promote": "bold"}
    with pytest.raises(CommandError, match="none has won yet: choose with --variant: treatment, bold"):
        promotion(source(variants=TWO), None)


@pytest.mark.parametrize(
    ("variant", "spec", "words"),
    [
        ("control", {}, "control is the baseline: endcap experiment abort gives it to everyone"),
        ("treatmnt", {}, "no variant treatmnt: choose one of treatment"),
    ],
)
def test_what_cannot_be_promoted(variant: str, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(CommandError, match=words) as refused:
        promotion(source(**spec), variant)
    assert refused.value.status == 2


@pytest.mark.parametrize("phase", ["Promoted", "RolledBack", "Aborted", "Ended"])
def test_what_is_over_is_not_decided_again(phase: str) -> None:
    over = source(running(phase=phase))
    for decide in (lambda: promotion(over, None), lambda: abortion(over, "why"), lambda: approval(over, 5)):
        with pytest.raises(CommandError, match=rf"is over \({phase}\): create another Experiment"):
            decide()


def test_an_abort_says_why() -> None:
    assert abortion(source(), "prices were wrong").value == {"abort": "prices were wrong"}
    with pytest.raises(CommandError, match="--reason: is empty"):
        abortion(source(), "  ")


def test_a_shadow_is_neither_promoted_nor_aborted() -> None:
    bare = dict.fromkeys(("store", "metrics", "primary", "guardrails", "ramp"))
    variants = [{"name": "control", "baseline": True}, {"name": "treatment", "model": "basket-ranker-v2"}]
    shadow = source(mode="shadow", variants=variants, **bare)
    with pytest.raises(CommandError, match="a shadow has no winner"):
        promotion(shadow, None)
    with pytest.raises(CommandError, match="so delete it: kubectl delete experiment ranker-v2"):
        abortion(shadow, "enough")


def test_a_step_that_waits_is_approved() -> None:
    assert approval(source(), 5) == Decision(
        "ramp.approved",
        5,
        "beyond 5% the ramp goes on by itself as soon as hold and units of the step are reached",
    )


def test_what_waits_for_nobody_is_not_approved() -> None:
    with pytest.raises(CommandError, match="no step that waits: choose one of 5"):
        approval(source(), 50)
    with pytest.raises(CommandError, match="no step of its ramp waits for approval"):
        approval(source(ramp=None, coverage=5), 5)
    approved = {"steps": [{"coverage": 5, "approval": True}, {"coverage": 100}], "approved": 5}
    with pytest.raises(CommandError, match="approved up to 5% already"):
        approval(source(ramp=approved), 5)
