# SPDX-License-Identifier: Apache-2.0
"""Drift: what the API server fills in is none, what is ours and differs is."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from builders import changed
from hypothesis import given
from hypothesis import strategies as st
from situations import graph_resource, models, planned_children

from endcap_operator.drift import covers, stamped, was_applied

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3),
    max_leaves=12,
)


@given(VALUES)
def test_everything_covers_itself(value: Any) -> None:
    assert covers(copy.deepcopy(value), value)


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=3), st.text(max_size=4), VALUES)
def test_defaults_that_are_filled_in_are_no_drift(value: dict[str, Any], name: str, default: Any) -> None:
    assert covers({name: default, **value}, value)


@given(st.dictionaries(st.text(max_size=4), SCALARS, min_size=1, max_size=3), st.data())
def test_a_field_of_ours_that_is_gone_is_drift(value: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(value)))
    assert not covers({k: v for k, v in value.items() if k != name}, value)


@pytest.mark.parametrize(
    ("live", "wanted"),
    [
        ("1Gi", "1024Mi"),
        ("1", "1000m"),
        ("1500m", "1.5"),
        ("500Mi", "500Mi"),
    ],
)
def test_a_quantity_may_come_back_in_other_words(live: str, wanted: str) -> None:
    assert covers(live, wanted)


@pytest.mark.parametrize(("live", "wanted"), [("1Gi", "1G"), ("2", "1"), ("100m", "100Mi"), ("x", "y")])
def test_another_quantity_is_drift(live: str, wanted: str) -> None:
    assert not covers(live, wanted)


def test_items_of_others_beside_ours_are_no_drift() -> None:
    ours = [{"name": "graph", "image": "a"}]
    assert covers([{"name": "mesh", "image": "b"}, {"name": "graph", "image": "a", "tty": False}], ours)


def test_one_more_label_in_a_selector_is_drift() -> None:
    assert not covers({"selector": {"app": "x", "track": "canary"}}, {"selector": {"app": "x"}})


def test_one_more_word_in_a_command_is_drift() -> None:
    assert not covers({"command": ["python", "-m", "x", "--debug"]}, {"command": ["python", "-m", "x"]})


CHILDREN = planned_children(graph_resource(replicas={"min": 2, "max": 3}), models())
EDITS = [
    ("Deployment", "spec.template.spec.containers[0].image", "evil:latest"),
    ("Deployment", "spec.template.spec.containers[0].securityContext.readOnlyRootFilesystem", False),
    ("Deployment", "spec.template.spec.automountServiceAccountToken", True),
    ("Deployment", "spec.strategy.rollingUpdate.maxUnavailable", 1),
    ("Service", "spec.ports[0].port", 81),
    ("Service", "spec.selector.track", "canary"),
    ("PodDisruptionBudget", "spec.maxUnavailable", 2),
    ("ConfigMap", "data.graph.json", "{}"),
    ("HorizontalPodAutoscaler", "spec.maxReplicas", 99),
]


@pytest.mark.parametrize(("kind", "path", "value"), EDITS, ids=[f"{kind} {path}" for kind, path, _ in EDITS])
def test_an_edit_of_a_child_is_drift(kind: str, path: str, value: Any) -> None:
    wanted = stamped(CHILDREN[kind])
    if path == "data.graph.json":
        live = {**wanted, "data": {**wanted["data"], "graph.json": value}}
    else:
        live = changed(wanted, path, value)
    assert covers(wanted, wanted)
    assert not covers(live, wanted)
    assert was_applied(live, wanted)


def test_a_field_that_is_no_longer_asked_for_is_written_away() -> None:
    """The digest differs although everything that is wanted is there."""
    before = stamped({**CHILDREN["ConfigMap"], "data": {"graph.json": "{}", "last-good.json": "{}"}})
    wanted = stamped({**CHILDREN["ConfigMap"], "data": {"graph.json": "{}"}})
    assert not covers(before, wanted)
    assert not was_applied(before, wanted)
