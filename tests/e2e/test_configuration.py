# SPDX-License-Identifier: Apache-2.0
"""An edit of a graph on real pods: it is everywhere at once, restarts nothing, and a bad one replaces nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest
from basket_shop import Shop, example, request
from builders import changed
from kube import condition, eventually
from shoppers import Load

pytestmark = pytest.mark.e2e

RATE = 20.0
SECONDS = 20.0  # ten times the goal


def recall_top(number: int) -> dict[str, Any]:
    return changed(example()["basket"], "spec.steps[0].recall.top", number)


def served_by_all(shop: Shop, before: str) -> bool:
    """Whether every replica serves one revision that is not the one before, and the status says so."""
    status, revisions = shop.status("InferenceGraph", "basket"), shop.revisions()
    told = status.get("serving") == f"{len(revisions)}/{len(revisions)}"
    return told and len(revisions) == 2 and set(revisions) == {status["revision"]} != {before}


EDITS = {
    "top-k": ("spec.steps[0].recall.top", 50),
    "threshold": ("spec.steps[6].limit.max", 1),
    "expression": ("spec.steps[4].filter.drop", "candidate.adults_only || candidate.price > 100.0"),
    "timeout": ("spec.steps[5].timeout", "50ms"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_served_by_every_replica_soon_without_a_restart(whole: Shop, name: str) -> None:
    before = whole.status("InferenceGraph", "basket")["revision"]
    pods = {p["metadata"]["uid"] for p in whole.ready_pods("basket-graph")}
    with Load(whole.url, request(), RATE) as load:
        whole.apply(changed(example()["basket"], *EDITS[name]))
        eventually(lambda: served_by_all(whole, before), "served by all", SECONDS)
        time.sleep(1)
    assert load.failed == []
    assert {p["metadata"]["uid"] for p in whole.ready_pods("basket-graph")} == pods
    assert whole.restarts("basket-graph") == 0


def test_a_revision_that_pods_refuse_replaces_nothing(whole: Shop) -> None:
    """Row 27."""
    before = whole.status("InferenceGraph", "basket")["revision"]
    with Load(whole.url, request(), RATE) as load:
        whole.apply(changed(example()["basket"], "spec.catalogue.sha256", "0" * 64))
        found = whole.says("InferenceGraph", "basket", "Degraded", 60, reason="ConfigRejected")
        assert "DigestMismatch" in found["message"]
        assert f"revision {before} is still served" in found["message"]
        assert whole.revisions() == [before, before]
        assert condition(whole.get("InferenceGraph", "basket"), "Ready")["status"] == "True"
        whole.apply(example()["basket"])
        whole.says("InferenceGraph", "basket", "Degraded", 60, status="False")
    assert load.failed == []


def test_a_pod_that_starts_while_the_wanted_revision_is_bad_serves_the_last_good_one(whole: Shop) -> None:
    """Row 27: the last good revision is in the ConfigMap too, so a restart does not need the bad one."""
    before = whole.status("InferenceGraph", "basket")["revision"]
    whole.apply(changed(example()["basket"], "spec.catalogue.sha256", "0" * 64))
    whole.says("InferenceGraph", "basket", "Degraded", 60, reason="ConfigRejected")
    old = whole.ready_pods("basket-graph")[0]
    whole.kill(old)
    eventually(
        lambda: (
            len(ready := whole.ready_pods("basket-graph")) == 2
            and old["metadata"]["uid"] not in {p["metadata"]["uid"] for p in ready}
        ),
        "the pod is replaced",
        120,
    )
    assert whole.revisions() == [before, before]


def test_an_edit_that_is_wrong_in_meaning_replaces_nothing(whole: Shop) -> None:
    before = whole.revisions()
    with Load(whole.url, request(), RATE) as load:
        whole.apply(changed(example()["basket"], "spec.steps[4].filter.drop", "candidate.adult_only"))
        found = whole.says("InferenceGraph", "basket", "Accepted", 60, status="False")
        assert "spec.steps[4].filter.drop" in found["message"]
        time.sleep(2)
    assert whole.revisions() == before
    assert load.failed == []
