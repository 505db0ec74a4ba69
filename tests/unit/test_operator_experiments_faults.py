# SPDX-License-Identifier: Apache-2.0
"""Experiments when something happens to them: models that change under them, statuses and records that are edited, an
operator that is killed.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from builders import changed, ranker
from experiment_builders import CONTROL, TREATMENT, experiment
from experiment_stage import GRAPH, Stage, counted, ranges_of, running, staged
from situations import PLATFORM

from endcap_api.v1alpha1.kinds import KINDS
from endcap_operator.keys import Key
from endcap_operator.plan.entry import plan_for, resource_of

METRIC = {"name": "bought", "unit": "customer_id", "event": "purchase", "conversion": True}
NEWER = changed(
    changed(ranker("ranker-v2"), "spec.model.uri", "s3://models/ranker-v2/5.txt"),
    "spec.model.sha256",
    "f" * 64,
)


def test_a_model_is_held_at_what_is_measured_and_says_so() -> None:
    stage = running()
    before = stage.deployed("ranker-v2")
    key = stage.apply(changed(NEWER, "spec.inputs[0].name", "margin"))
    plan = stage.plan(key)
    stage.settle()
    assert stage.deployed("ranker-v2") == before
    said = next(c for c in plan.status["conditions"] if c["type"] == "Progressing")
    assert (said["status"], said["reason"]) == ("False", "PinnedByExperiment")
    assert "Experiment ranker-v2 has begun with ranker-v2@4" in said["message"]
    assert stage.condition("VariantDrift")["status"] == "True"
    assert "ranker-v2@5" in stage.condition("VariantDrift")["message"]
    assert stage.status()["phase"] == "Running"
    assert [c.name for c in stage.graph_config.models["ranker-v2"].inputs] == ["household_share", "price"]


def test_a_graph_says_which_model_of_a_variant_is_down() -> None:
    stage = running()
    stage.model_serves("ranker-v2", ready=False)
    stage.settle()
    said = next(c for c in stage.plan(GRAPH).status["conditions"] if c["type"] == "Degraded")
    assert (said["status"], said["reason"]) == ("True", "ModelNotReady")
    assert "ranker-v2" in said["message"]
    assert stage.condition("VariantsReady")["reason"] == "VariantNotReady"
    assert stage.status()["phase"] == "Running"


def test_a_long_version_of_a_model_does_not_cost_an_experiment_its_status() -> None:
    stage, version = staged(experiment()), "v" * 120
    source = {"uri": f"s3://models/{version}.txt", "sha256": stage.deployed("ranker-v2").artefact.sha256}
    stage.apply(changed(ranker("ranker-v2"), "spec.model", source))
    stage.settle()
    said = KINDS["Experiment"].status.model_validate(stage.status()).dump()
    assert said["variants"][1]["model"] == f"ranker-v2@{version}"[:128]


def test_a_held_model_can_be_scaled_and_is_let_go_at_the_end() -> None:
    stage = running()
    key = stage.apply(changed(NEWER, "spec.replicas", {"min": 3}))
    stage.settle()
    deployment = next(m for k, m in stage.children[key].items() if k.kind == "Deployment")
    assert deployment["spec"]["replicas"] == 3
    assert stage.deployed("ranker-v2").version == "4"
    stage.apply(experiment(decision={"abort": "a newer model is there"}))
    stage.settle()
    assert stage.status()["phase"] == "Aborted"
    assert stage.deployed("ranker-v2").version == "5"
    assert stage.condition("VariantDrift") == {}


def test_what_does_not_change_the_artefact_is_acted_on() -> None:
    stage = running()
    stage.apply(changed(ranker("ranker-v2"), "spec.batching", {"maxSize": 7}))
    stage.settle()
    assert stage.deployed("ranker-v2").max_batch_rows == 7


def test_an_artefact_that_is_not_the_one_that_was_pinned_is_not_held() -> None:
    """Someone deleted the Deployment while another artefact was wanted: the one that is measured is gone."""
    stage = running()
    key = stage.apply(NEWER)
    stage.children[key] = {}
    stage.settle()
    assert stage.deployed("ranker-v2").version == "5"
    stage.apply(changed(NEWER, "spec.model", {"uri": "s3://models/ranker-v2/6.txt", "sha256": "a" * 64}))
    stage.settle()
    assert stage.deployed("ranker-v2").version == "6"
    assert stage.condition("VariantDrift")["status"] == "True"


def test_a_name_that_is_taken_leaves_what_is_said_of_the_rest() -> None:
    stage = running()
    before, key = stage.status(), stage.key()
    taken = replace(
        stage.observed(key), children={}, taken=(Key("ConfigMap", "shop", "ranker-v2-experiment"),)
    )
    status = plan_for(resource_of(stage.resources[key]), taken, PLATFORM).status
    assert {n: v for n, v in status.items() if n != "conditions"} == {
        n: v for n, v in before.items() if n != "conditions"
    }
    assert {c["reason"] for c in status["conditions"]} >= {"NameTaken"}


def test_the_baselines_model_is_held_as_well() -> None:
    stage = running()
    newer = changed(ranker(), "spec.model.sha256", "e" * 64)
    stage.apply(newer)
    stage.settle()
    assert stage.deployed("basket-ranker").artefact.sha256 != "e" * 64
    stage.delete(stage.key())
    stage.settle()
    assert stage.deployed("basket-ranker").artefact.sha256 == "e" * 64


@pytest.mark.parametrize(
    ("field", "value"),
    [("salt", "mine"), ("revision", 9), ("phase", "Promoted"), ("epoch", 4), ("variants", [])],
)
def test_a_status_that_is_edited_is_written_again_and_told(field: str, value: Any) -> None:
    """S26."""
    stage = running()
    before, text = copy.deepcopy(stage.status()), stage.data(GRAPH)["graph.json"]
    stage.resources[stage.key()]["status"][field] = value
    stage.settle()
    assert stage.status() == before
    assert stage.data(GRAPH)["graph.json"] == text
    assert f"StatusRestored: status.{field} was edited" in stage.events[-1]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.variants[1].name", "other"),
        ("spec.variants[0].name", "other"),
        ("spec.variants[2]", {"name": "third", "weight": 10, "by": "candidate.price"}),
        ("spec.variants[1].model", "margin-ranker"),
        ("spec.step", "top"),
        ("spec.salt", "mine"),
        ("spec.unit", ["request.channel"]),
        ("spec.layer", {"name": "home", "buckets": ["0-10"]}),
        ("spec.mode", "shadow"),
    ],
)
def test_what_is_changed_behind_the_rules_changes_nothing(path: str, value: Any) -> None:
    """S26: somebody set status.phase to Pending, and the API server let the edit pass."""
    stage = running(store="default", metrics=[METRIC], primary="bought")
    stage.look(counted(stage, 100, 100))
    before = stage.carried()
    manifest = changed(stage.resources[stage.key()], path, value)
    if path == "spec.mode":
        manifest["spec"] = {
            n: v for n, v in manifest["spec"].items() if n not in ("store", "metrics", "primary")
        }
        manifest["spec"]["variants"] = [
            {n: v for n, v in x.items() if n != "weight"} for x in manifest["spec"]["variants"]
        ]
    stage.apply(manifest)
    stage.look(counted(stage, 120, 120))
    assert stage.carried() == before
    assert stage.status()["phase"] == "Running"
    assert stage.status()["salt"] == "basket.rank.ranker-v2"
    assert "not what it began with" in json.dumps(stage.status()["conditions"])


@pytest.mark.parametrize("spoilt", [None, "{}", "[", '{"revision": 1}'])
def test_a_record_that_is_gone_or_spoilt_is_made_again_and_reassigns_nobody(spoilt: str | None) -> None:
    stage = running(variants=[{**CONTROL, "weight": 66}, {**TREATMENT, "weight": 34}])
    stage.apply(experiment())
    stage.settle()
    before = ranges_of(stage)
    data = next(iter(stage.children[stage.key()].values()))["data"]
    if spoilt is None:
        stage.children[stage.key()] = {}
    else:
        data["record.json"] = spoilt
    assert not stage.write(GRAPH, stage.plan(GRAPH)), "meanwhile the graph goes on as it was"
    stage.settle()
    assert ranges_of(stage) == before
    assert stage.status()["phase"] == "Running"
    assert any(event.startswith("RecordRestored") for event in stage.events)


def test_a_new_experiment_of_the_same_name_begins_with_nothing_of_the_old_one() -> None:
    """Deleted and created again before the graph was looked at: its record is not there yet."""
    stage = running()
    stage.delete(stage.key())
    key = stage.apply(experiment(salt="another"))
    stage.resources[key]["metadata"]["uid"] = "uid-of-the-new-one"
    config_map = next(m for m in stage.plan(GRAPH).manifests if m["kind"] == "ConfigMap")
    assert "experiments" not in json.loads(config_map["data"]["graph.json"])
    stage.settle()
    assert (stage.graph_config.experiments or {})["ranker-v2"].salt == "another"


def test_an_operator_that_is_killed_at_any_write_reassigns_nobody() -> None:
    """Each turn of the course, with every number of writes done before the end: the ranges come out the same."""
    turns: list[dict[str, Any]] = [
        {},
        {"variants": [{**CONTROL, "weight": 66}, {**TREATMENT, "weight": 34}]},
        {"variants": [{**CONTROL, "weight": 66}, {**TREATMENT, "weight": 34}], "enabled": False},
        {"variants": [{**CONTROL, "weight": 34}, {**TREATMENT, "weight": 66}]},
        {
            "variants": [{**CONTROL, "weight": 34}, {**TREATMENT, "weight": 66}],
            "decision": {"promote": "treatment"},
        },
    ]
    sound, told = staged(), []
    for turn in turns:
        sound.apply(experiment(**turn))
        sound.settle()
        told.append((ranges_of(sound), sound.status()["phase"]))
    for most in (1, 2):
        for stop in range(5):
            stage = staged()
            for turn, expected in zip(turns, told, strict=True):
                stage.apply(experiment(**turn))
                _killed(stage, most, stop)
                stage.settle()
                assert (ranges_of(stage), stage.status()["phase"]) == expected


def _killed(stage: Stage, most: int, stop: int) -> None:
    """The operator plans some resources wholly, and dies in the writes of the next."""
    models = [
        key for key in stage.resources if key.name in ("basket-ranker", "ranker-v2") and key != stage.key()
    ]
    keys = [stage.key(), GRAPH, *models]
    for key in keys[:stop]:
        stage.write(key, stage.plan(key))
    if stop < len(keys):
        stage.write(keys[stop], stage.plan(keys[stop]), most)
