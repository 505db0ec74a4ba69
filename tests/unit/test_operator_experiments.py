# SPDX-License-Identifier: Apache-2.0
"""An experiment from its first plan to its last: what its record, its graph and its status say after each turn."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import changed, graph
from experiment_builders import CONTROL, TREATMENT, experiment
from experiment_stage import GRAPH, Stage, converted, counted, pods_fail, ranges_of, running, staged

from endcap_api.assignment import Ranges, size
from endcap_api.v1alpha1.kinds import KINDS
from endcap_operator.plan.experiment.overlay import LEAD_MS

METRIC = {"name": "bought", "unit": "customer_id", "event": "purchase", "conversion": True}
MEASURED = {"store": "default", "metrics": [METRIC], "primary": "bought"}


def moved(before: dict[str, Ranges], after: dict[str, Ranges]) -> int:
    owners = [
        {b: n for n, owned in r.items() for each in owned for b in range(*each)} for r in (before, after)
    ]
    return sum(owners[0][b] != owners[1][b] for b in range(10_000))


def test_an_experiment_begins_when_its_models_are_ready_and_the_graph_carries_it() -> None:
    stage = running()
    assert stage.status()["phase"] == "Running"
    assert stage.status()["serving"] == "3/3"
    assert stage.condition("Ready")["status"] == "True"
    carried = stage.carried()
    assert carried is not None
    assert [v.buckets for v in carried.variants] == [["0-5000"], ["5000-10000"]]
    assert "ranker-v2" in stage.graph_config.models
    assert "ranker-v2" in stage.resources[GRAPH]["status"]["models"]
    assert stage.resources[GRAPH]["status"]["experiments"] == ["ranker-v2"]
    assert stage.events == ["Running: 100% take part: control 50, treatment 50"]


def test_the_status_is_one_that_the_api_takes() -> None:
    stage = running(**MEASURED, guardrails=[{"serving": "errorRate", "limit": 1}])
    stage.look(counted(stage, 1200, 1180, bought=converted(1200, 120)))
    KINDS["Experiment"].status.model_validate(stage.status())


def test_nothing_is_written_at_rest() -> None:
    stage = running(**MEASURED)
    stage.look(counted(stage, 100, 100))
    before = stage.writes
    for _ in range(5):
        stage.look(counted(stage, 100, 100))
    stage.passes(3600)
    stage.settle()
    assert stage.writes == before


def test_before_its_models_are_there_it_waits_and_the_graph_is_as_it_was() -> None:
    stage = staged(changed(experiment(), "spec.variants[1].model", "nowhere"))
    text = stage.data(GRAPH)["graph.json"]
    stage.settle()
    assert stage.status()["phase"] == "Pending"
    assert stage.condition("VariantsReady")["reason"] == "ModelNotFound"
    assert "ModelDeployment nowhere" in stage.condition("Ready")["message"]
    assert stage.data(GRAPH)["graph.json"] == text


@pytest.mark.parametrize("part", ["model", "store", "graph", "artefact"])
def test_what_is_not_ready_yet_is_waited_for(part: str) -> None:
    stage = staged(experiment(**MEASURED))
    if part == "model":
        stage.model_serves("ranker-v2", ready=False)
    stage.counted = part != "store"
    stage.ready = part != "graph"
    if part == "artefact":
        stage.resources[stage.model("ranker-v2")]["status"]["sha256"] = "0" * 64
    stage.settle()
    assert stage.status()["phase"] == "Pending"
    assert stage.condition("Ready")["reason"] == "Starting"
    assert stage.carried() is None
    stage.counted = stage.ready = True
    stage.model_serves("ranker-v2")
    stage.settle()
    assert stage.status()["phase"] == "Running"


def test_a_store_counts_it_from_before_it_begins() -> None:
    stage = staged(experiment(**MEASURED))
    stage.counted = False
    stage.settle()
    told = json.loads(
        stage.data(next(k for k in stage.resources if k.kind == "FeatureStore"))["features.json"]
    )
    assert told["experiments"]["ranker-v2"]["metrics"][0]["name"] == "bought"


def test_of_two_on_one_step_the_younger_waits_until_the_older_goes() -> None:
    stage = staged(experiment(), experiment("second", salt="another"))
    stage.settle()
    assert stage.condition("Accepted", "second")["reason"] == "Conflict"
    assert "layer" in stage.condition("Accepted", "second")["message"]
    assert set(stage.graph_config.experiments or ()) == {"ranker-v2"}
    stage.delete(stage.key())
    stage.settle()
    assert stage.condition("Accepted", "second")["status"] == "True"
    assert set(stage.graph_config.experiments or ()) == {"second"}


def test_no_experiment_takes_the_units_of_one_that_has_begun() -> None:
    stage = running()
    stage.apply(experiment("first", salt="3"))
    stage.resources[stage.key("first")]["metadata"]["creationTimestamp"] = "2026-11-24T07:00:00Z"
    stage.settle()
    assert set(stage.graph_config.experiments or ()) == {"ranker-v2"}
    assert stage.condition("Accepted", "first")["reason"] == "Conflict"


def test_a_pause_gives_the_units_away_to_who_comes_meanwhile() -> None:
    """An older one that goes on would change every unit of the one that runs by now: it waits for that."""
    stage = running()
    stage.apply(experiment(enabled=False))
    stage.settle()
    stage.apply(experiment("second", salt="2"))
    stage.settle()
    stage.apply(experiment())
    stage.settle()
    assert stage.condition("Accepted")["reason"] == "Conflict"
    assert stage.status()["phase"] == "Paused"
    assert stage.condition("Accepted", "second")["status"] == "True"
    assert stage.carried("second").enabled
    stage.delete(stage.key("second"))
    stage.settle()
    assert stage.status()["phase"] == "Running"


def test_a_slip_in_a_spec_takes_no_experiment_out_of_the_graph() -> None:
    stage = running()
    variants = [{**CONTROL, "buckets": ["0-4000"]}, {**TREATMENT, "buckets": ["4000-10000"]}]
    before = stage.carried()
    stage.apply(experiment(variants=variants))
    stage.settle()
    assert stage.condition("Accepted")["status"] == "False"
    assert "spec.variants[0].buckets" in stage.condition("Accepted")["message"]
    assert stage.carried() == before


def test_all_replicas_begin_a_change_at_once_and_what_does_not_change_keeps_its_time() -> None:
    stage = running()
    stage.passes(100)
    stage.apply(experiment(variants=[{**CONTROL, "weight": 25}, {**TREATMENT, "weight": 75}]))
    stage.settle()
    assert stage.graph_config.activate_at_ms == stage.now_ms + LEAD_MS
    at, text = stage.graph_config.activate_at_ms, stage.data(GRAPH)["graph.json"]
    stage.passes(60)
    stage.settle()
    assert stage.data(GRAPH)["graph.json"] == text
    stage.apply(changed(graph(), "spec.replicas", {"min": 4}))
    stage.settle()
    assert stage.graph_config.activate_at_ms == at


def test_a_change_of_weights_moves_the_fewest_buckets_and_counts_up() -> None:
    stage = running()
    before = ranges_of(stage)
    stage.apply(experiment(variants=[{**CONTROL, "weight": 66}, {**TREATMENT, "weight": 34}]))
    stage.settle()
    assert {name: size(owned) for name, owned in ranges_of(stage).items()} == {
        "control": 6600,
        "treatment": 3400,
    }
    assert moved(before, ranges_of(stage)) == 1600
    assert (stage.status()["revision"], stage.status()["epoch"], stage.status()["split"]) == (2, 2, "66/34")
    assert stage.status()["serving"] == "3/3"
    assert "1600 of 10000 buckets move" in stage.events[-1]


def test_a_replica_that_serves_the_revision_before_is_waited_for() -> None:
    stage = running()
    stage.apply(experiment(variants=[{**CONTROL, "weight": 25}, {**TREATMENT, "weight": 75}]))
    stage.settle(serve=False)
    assert stage.status()["serving"] == "0/3"
    assert stage.condition("RouterSynced")["reason"] == "Configuring"
    assert stage.plan(stage.key()).recheck == 0.1
    stage.pods_follow()
    stage.settle()
    assert stage.condition("RouterSynced")["status"] == "True"
    assert stage.plan(stage.key()).recheck is None


def test_what_the_graph_is_told_straight_from_the_spec_is_another_revision() -> None:
    """Never two contents with one revision: what was not decided yet is not told."""
    stage = running()
    stage.apply(experiment(overrides={"units": {"1467": "treatment"}}))
    stage.write(GRAPH, stage.plan(GRAPH))
    carried = stage.carried()
    assert carried is not None
    assert (carried.revision, carried.overrides) == (1, None)
    stage.settle()
    carried = stage.carried()
    assert carried is not None
    assert (carried.revision, carried.overrides) == (2, {"1467": "treatment"})


def test_a_pause_that_is_not_decided_yet_is_not_told() -> None:
    stage = running()
    before = stage.carried()
    stage.apply(experiment(enabled=False))
    stage.write(GRAPH, stage.plan(GRAPH))
    assert stage.carried() == before


RAMP = {"steps": [{"coverage": 5, "hold": "10m"}, {"coverage": 50, "approval": True}, {"coverage": 100}]}


def test_a_ramp_rises_by_time_and_approval_and_nobody_switches() -> None:
    stage = running(ramp=RAMP)
    assert (stage.status()["phase"], stage.status()["traffic"]) == ("Ramping", "5%")
    first, due = ranges_of(stage), stage.plan(stage.key()).due
    assert due is not None
    assert due <= 600
    stage.passes(540)
    stage.look(pods_fail(stage, errors=0))
    assert stage.status()["traffic"] == "5%"
    stage.look(pods_fail(stage, errors=0))
    assert stage.status()["traffic"] == "50%"
    stage.passes(3600)
    stage.look(pods_fail(stage, errors=0))
    assert stage.status()["traffic"] == "50%"
    assert "approv" in stage.condition("Ready")["message"]
    stage.apply(experiment(ramp={**RAMP, "approved": 50}))
    for _ in range(2):
        stage.look(pods_fail(stage, errors=0))
    assert (stage.status()["phase"], stage.status()["traffic"]) == ("Running", "100%")
    assert ranges_of(stage) == first


def test_a_ramp_waits_for_replicas_and_comes_back_when_its_hold_is_over() -> None:
    stage = running(ramp={"steps": [{"coverage": 5, "hold": "10s"}, {"coverage": 100}]})
    due = stage.plan(stage.key()).due
    assert due is not None
    assert due <= 10, "before the next look"
    stage.served = []
    stage.passes(20)
    stage.reading = pods_fail(stage, errors=0)
    stage.settle(serve=False)
    assert (stage.status()["traffic"], stage.status()["serving"]) == ("5%", "0/0")
    assert stage.condition("RouterSynced")["reason"] == "GraphNotReady"


def test_nothing_is_concluded_from_figures_while_it_is_paused() -> None:
    stage = running(guardrails=[{"serving": "errorRate", "limit": 1}])
    stage.apply(experiment(guardrails=[{"serving": "errorRate", "limit": 1}], enabled=False))
    stage.settle()
    stage.look(pods_fail(stage, errors=100))
    assert stage.status()["phase"] == "Paused"


def test_paused_everyone_gets_the_baseline_and_afterwards_nobody_is_reshuffled() -> None:
    stage = running()
    before = ranges_of(stage)
    stage.apply(experiment(enabled=False))
    stage.settle()
    carried = stage.carried()
    assert carried is not None
    assert (stage.status()["phase"], stage.status()["traffic"], carried.enabled) == ("Paused", "0%", False)
    stage.apply(experiment())
    stage.settle()
    assert stage.status()["phase"] == "Running"
    assert ranges_of(stage) == before


def winning(**spec: Any) -> Stage:
    """The treatment sells more, beyond doubt."""
    stage = running(**{**MEASURED, "onWin": "promote", **spec})
    for units in (2000, 4000, 8000):
        treated = converted(units, units // 4)
        stage.look(
            counted(
                stage, units, units, bought={"control": converted(units, units // 10), "treatment": treated}
            )
        )
    return stage


def test_a_winner_goes_to_everyone_and_the_status_says_the_patch() -> None:
    stage = winning()
    assert stage.status()["phase"] == "Promoting"
    assert stage.status()["verdict"] == "Better treatment"
    assert (stage.carried() or stage).everyone == "treatment"  # type: ignore[union-attr]
    said = stage.status()["recommendation"]
    assert said.startswith("kubectl patch inferencegraphs basket -n shop --type=json -p '[")
    assert stage.patches == []
    stage.patched(json.loads(said.partition("-p '")[2].removesuffix("'")))
    stage.settle()
    assert stage.status()["phase"] == "Promoted"
    assert stage.condition("Completed")["status"] == "True"
    assert stage.carried() is None
    assert stage.graph_config.spec.steps[2].model_name == "ranker-v2"


def test_the_operator_patches_the_graph_where_the_spec_says_so_and_only_once() -> None:
    stage = winning(promotion="patch")
    assert stage.status()["phase"] == "Promoting"
    assert {p.key for p in stage.patches} == {GRAPH}
    stage.patched(list(stage.patches[-1].operations))
    seen = len(stage.patches)
    stage.settle()
    assert stage.status()["phase"] == "Promoted"
    assert len(stage.patches) == seen
    with pytest.raises(AssertionError):
        stage.patched(list(stage.patches[-1].operations))


def test_what_the_author_does_after_a_promotion_is_the_authors_business() -> None:
    stage = winning(promotion="patch")
    stage.patched(list(stage.patches[-1].operations))
    stage.settle()
    stage.apply(changed(graph(), "spec.steps[2].rank.model", "margin-ranker"))
    stage.settle()
    plan = stage.plan(stage.key())
    assert (plan.patch, plan.status.get("recommendation")) == (None, None)


def test_a_patch_takes_nothing_from_an_author_who_was_faster() -> None:
    stage = winning(promotion="patch")
    stage.apply(changed(graph(), "spec.steps[2].rank.model", "margin-ranker"))
    with pytest.raises(AssertionError):
        stage.patched(list(stage.patches[-1].operations))


def test_a_winner_waits_for_a_person_by_default_and_the_status_says_how() -> None:
    stage = winning(onWin="requireApproval")
    assert stage.status()["phase"] == "AwaitingApproval"
    assert "kubectl patch experiments ranker-v2" in stage.status()["recommendation"]
    stage.apply(experiment(**MEASURED, decision={"promote": "treatment"}))
    stage.settle()
    assert stage.status()["phase"] == "Promoting"


def test_a_broken_guardrail_rolls_back_and_the_graph_is_as_it_was() -> None:
    stage = staged(experiment(guardrails=[{"serving": "errorRate", "limit": 1}]))
    text = stage.data(GRAPH)["graph.json"]
    stage.settle()
    stage.look(pods_fail(stage, errors=100))
    assert stage.status()["phase"] == "RolledBack"
    assert stage.status()["verdict"] == "GuardrailBreached treatment"
    assert stage.status()["guardrail"] == "breached errorRate"
    assert stage.status()["traffic"] == "0%"
    told = json.loads(stage.data(GRAPH)["graph.json"])
    told.pop("activateAtMs")
    assert told == json.loads(text)
    assert stage.condition("RouterSynced")["message"].endswith("serve the graph as it is written.")


def test_no_figures_are_no_reason_to_promote() -> None:
    stage = running(**MEASURED, onWin="promote")
    for _ in range(20):
        stage.look(counted(stage, 5, 5))
    assert stage.status()["phase"] == "Running"
    assert stage.status()["verdict"] == "None yet"


def test_a_deleted_experiment_leaves_the_graph_as_it_was() -> None:
    stage = staged()
    before = json.loads(stage.data(GRAPH)["graph.json"])
    stage.settle()
    stage.delete(stage.key())
    stage.settle()
    told = json.loads(stage.data(GRAPH)["graph.json"])
    assert told.pop("activateAtMs") == stage.now_ms + LEAD_MS
    assert told == before


def test_a_bad_edit_of_the_graph_keeps_no_rollback_from_its_pods() -> None:
    stage = running(guardrails=[{"serving": "errorRate", "limit": 1}])
    stage.apply(changed(graph(), "spec.steps[3].filter.drop", "candidate.nam == ''"))
    stage.settle()
    assert stage.carried() is not None
    stage.look(pods_fail(stage, errors=100))
    assert stage.status()["phase"] == "RolledBack"
    assert stage.carried() is None
    assert stage.resources[GRAPH]["status"]["serving"] in ("3/3", "0/0")


def test_an_overlay_that_no_longer_fits_costs_the_graph_nothing() -> None:
    stage = running()
    stage.apply(changed(graph(), "spec.steps[2].name", "order"))
    stage.settle()
    assert stage.graph_config.spec.steps[2].name == "order"
    assert stage.carried() is None
    assert stage.condition("Accepted")["status"] == "False"
    assert "spec.step" in stage.condition("Accepted")["message"]
    stage.apply(graph())
    stage.settle()
    assert stage.carried() is not None
    assert stage.condition("Accepted")["status"] == "True"


def test_a_variant_whose_model_is_deleted_stays_for_the_baseline_to_stand_in() -> None:
    stage = running()
    stage.delete(next(k for k in stage.resources if k.name == "ranker-v2" and k.kind == "ModelDeployment"))
    stage.settle()
    assert stage.carried() is not None
    assert "ranker-v2" in stage.graph_config.models
    assert stage.status()["phase"] == "Running"
    assert stage.condition("VariantsReady")["reason"] == "ModelNotFound"


def test_one_that_has_ended_is_ready_whatever_became_of_its_models() -> None:
    stage = running()
    stage.apply(experiment(decision={"abort": "seen enough"}))
    stage.delete(stage.model("ranker-v2"))
    stage.settle()
    assert (stage.condition("Ready")["status"], stage.condition("Ready")["reason"]) == ("True", "Aborted")


def test_shares_are_of_all_units() -> None:
    """Of its layer a half, of that what is not held out, and of that a tenth."""
    stage = running(
        layer={"name": "home", "buckets": ["0-5000"]}, holdout={"name": "q4", "percent": 20}, coverage=10
    )
    assert [v["share"] for v in stage.status()["variants"]] == ["2%", "2%"]
    assert (stage.status()["traffic"], stage.status()["split"]) == ("10%", "50/50")
