# SPDX-License-Identifier: Apache-2.0
"""What planning makes of pods that lie, fail in every way, or say nothing; whole plans are in tests/golden."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import changed
from hypothesis import given
from hypothesis import strategies as st
from situations import (
    PLATFORM,
    failing,
    graph_resource,
    model_resource,
    models,
    pod,
    settled_graph,
    settled_model,
)

from endcap_operator.keys import Key
from endcap_operator.plan.entry import plan_for, resource_of
from endcap_operator.plan.facts import Observed, Plan
from endcap_operator.plan.pods import Failure, pod_of
from endcap_operator.plan.remedies import REMEDIES

CONFIG_MAP = Key("ConfigMap", "shop", "basket-graph")


def planned(manifest: dict[str, Any], observed: Observed) -> Plan:
    return plan_for(resource_of(manifest), observed, PLATFORM)


def conditions(plan: Plan) -> dict[str, dict[str, Any]]:
    return {c["type"]: c for c in plan.status["conditions"]}


@pytest.mark.parametrize("environment", [None, "", "{}", "null", "[1]", "not json", '{"name": 3}'])
def test_a_pod_with_a_configuration_that_someone_broke_does_not_keep_a_model_from_being_planned(
    environment: str | None,
) -> None:
    """Its Deployment was edited by hand; the plan is what restores it."""
    observed = settled_model()
    broken = replace(observed, pods=tuple(replace(p, environment=environment) for p in observed.pods))
    plan = planned(model_resource(), broken)
    assert [m["kind"] for m in plan.manifests] == ["Service", "PodDisruptionBudget", "Deployment"]
    assert "version" not in plan.status


def test_a_version_is_served_when_no_ready_pod_serves_another() -> None:
    new = changed(model_resource(), "spec.model.uri", "s3://models/basket-ranker/5.txt")
    observed = settled_model()
    plan = planned(new, observed)
    assert plan.status["version"] == "4"
    both = replace(observed, pods=(*observed.pods, pod(plan, 1)))
    assert planned(new, both).status["version"] == "4"
    assert planned(new, replace(observed, pods=(pod(plan, 1),))).status["version"] == "5"


@pytest.mark.parametrize("reason", sorted(REMEDIES))
def test_every_reason_has_its_remedy_in_the_condition(reason: str) -> None:
    observed = settled_model()
    failed = replace(failing(model_resource()), failure=Failure(reason, "so it is"))
    degraded = conditions(planned(model_resource(), replace(observed, pods=(failed,))))["Degraded"]
    assert degraded["reason"] == reason
    assert REMEDIES[reason] in degraded["message"]


def status(**parts: Any) -> dict[str, Any]:
    metadata = {"name": "p", "namespace": "shop", "uid": "u"}
    return {"metadata": metadata, "spec": {"containers": [{"name": "model"}]}, "status": parts}


def container(state: dict[str, Any], last: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": "model", "image": "endcap/x:1", "state": state, "lastState": last or {}}


SAID = json.dumps({"reason": "DigestMismatch", "message": "another digest"})
FAILURES: dict[str, tuple[dict[str, Any], str, str]] = {
    "init container said why": (
        {"initContainerStatuses": [container({"terminated": {"exitCode": 1, "message": SAID}})]},
        "DigestMismatch",
        "another digest",
    ),
    "init container that is run again": (
        {
            "initContainerStatuses": [
                container({"running": {}}, {"terminated": {"exitCode": 1, "message": SAID}})
            ]
        },
        "DigestMismatch",
        "another digest",
    ),
    "server that waits to be run again": (
        {
            "containerStatuses": [
                container(
                    {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                    {"terminated": {"exitCode": 3, "message": "Traceback: password=hunter2"}},
                )
            ]
        },
        "CrashLoop",
        "container model ended with exit code 3",
    ),
    "killed for its memory": (
        {
            "containerStatuses": [
                container({"running": {}}, {"terminated": {"exitCode": 137, "reason": "OOMKilled"}})
            ]
        },
        "OOMKilled",
        "needed more memory than its limit",
    ),
    "image that is not there": (
        {
            "containerStatuses": [
                container({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}})
            ]
        },
        "ImagePullFailed",
        "endcap/x:1",
    ),
    "secret key that is not there": (
        {
            "containerStatuses": [
                container({"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s3"'}})
            ]
        },
        "CreateContainerConfigError",
        'secret "s3"',
    ),
    "no node for it": (
        {
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": "0/1 nodes",
                }
            ]
        },
        "Unschedulable",
        "0/1 nodes",
    ),
    "evicted": ({"phase": "Failed", "reason": "Evicted", "message": "low on disk"}, "Evicted", "low on disk"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_why_a_pod_does_not_get_ready_is_read_from_its_status(name: str) -> None:
    parts, reason, words = FAILURES[name]
    failure = pod_of(status(**parts)).failure
    assert failure is not None
    assert failure.reason == reason
    assert words in failure.message
    assert "hunter2" not in failure.message, "what a program wrote as it died is not for everyone's eyes"


SOUND: dict[str, dict[str, Any]] = {
    "new": {},
    "starting": {"containerStatuses": [container({"waiting": {"reason": "ContainerCreating"}})]},
    "after its init container": {
        "initContainerStatuses": [container({"terminated": {"exitCode": 0}})],
        "containerStatuses": [container({"waiting": {"reason": "PodInitializing"}})],
    },
    "ready again after a crash": {
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [container({"running": {}}, {"terminated": {"exitCode": 137}})],
    },
}


@pytest.mark.parametrize("name", SOUND)
def test_a_pod_that_is_on_its_way_has_no_failure(name: str) -> None:
    assert pod_of(status(**SOUND[name])).failure is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=6), v, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["graph.json", "last-good.json"]), st.text(max_size=40) | VALUES.map(json.dumps)
    )
)
def test_whatever_someone_wrote_into_the_configuration_the_plan_restores_it(data: dict[str, str]) -> None:
    observed = settled_graph()
    children = copy.deepcopy(dict(observed.children))
    children[CONFIG_MAP]["data"] = data
    plan = planned(graph_resource(), replace(observed, children=children))
    restored = next(m for m in plan.manifests if m["kind"] == "ConfigMap")["data"]["graph.json"]
    assert restored == observed.children[CONFIG_MAP]["data"]["graph.json"]


def test_a_broken_configuration_under_a_broken_spec_falls_back_to_the_last_good_one() -> None:
    observed = settled_graph()
    children = copy.deepcopy(dict(observed.children))
    good = children[CONFIG_MAP]["data"]["graph.json"]
    children[CONFIG_MAP]["data"] = {"graph.json": "{", "last-good.json": good}
    bad = changed(graph_resource(), "spec.steps[3].filter.drop", "candidate.nam == ''")
    plan = planned(bad, replace(observed, children=children))
    assert plan.status["serving"] == "2/2"
    assert [m["kind"] for m in plan.manifests] == [
        "ConfigMap",
        "Service",
        "PodDisruptionBudget",
        "Deployment",
    ]


def test_a_model_that_is_missing_comes_after_what_the_author_must_change() -> None:
    known = {key: model for key, model in models().items() if key.name != "micro-intent"}
    bad = changed(graph_resource(), "spec.api.request.channel.default", "fax")
    observed = Observed(resources=known)
    assert conditions(planned(bad, observed))["Accepted"]["reason"] == "InvalidSpec"
    assert conditions(planned(graph_resource(), observed))["Ready"]["reason"] == "ModelNotFound"


def test_a_long_message_is_cut_to_what_the_api_takes() -> None:
    observed = settled_model()
    failed = replace(failing(model_resource()), failure=Failure("CrashLoop", "x" * 5000))
    found = conditions(planned(model_resource(), replace(observed, pods=(failed,))))
    assert all(len(condition["message"]) <= 2048 for condition in found.values())


def test_the_page_on_conditions_lists_every_reason_with_its_remedy() -> None:
    page = (Path(__file__).parents[2] / "docs" / "conditions.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page.partition("## Reasons")[2], re.MULTILINE))
    assert listed == REMEDIES
