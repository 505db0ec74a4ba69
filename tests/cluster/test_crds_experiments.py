# SPDX-License-Identifier: Apache-2.0
"""What of an experiment may change once it has begun, on a real API server."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from api_server import ApiServer
from builders import REMOVED, changed
from experiment_builders import experiment, measured, shadow
from experiment_refusals import KEPT, Kept
from installed import Kubectl, answer
from kube import Client
from odd_values import WITHIN_JSON, paths

from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.status import ExperimentStatus
from endcap_api.validation import InvalidSpec, read

_NUMBERS = count(1)
NAMESPACE = "--namespace=experiments"
BEGUN = [
    "Ramping",
    "Running",
    "Paused",
    "AwaitingApproval",
    "Promoting",
    "Promoted",
    "RolledBack",
    "Aborted",
    "Ended",
]
Begin = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def namespace(kube: Kubectl) -> Iterator[None]:
    kube("create", "namespace", "experiments")
    yield
    kube("delete", "experiments", "--all", NAMESPACE)


@pytest.fixture(scope="module")
def begin(kube: Kubectl, namespace: None) -> Begin:
    """An experiment under a name of its own with the given status."""

    def begun(manifest: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        mine = changed(manifest, "metadata.name", f"exp-{next(_NUMBERS)}")
        kube("create", NAMESPACE, "--filename=-", manifest=mine)
        report(kube, mine, status)
        return mine

    return begun


@pytest.fixture(scope="module")
def standing(begin: Begin) -> Begin:
    """The same, once for each of both: for tests that only ask what would be."""
    begun: dict[str, dict[str, Any]] = {}

    def stands(manifest: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        key = json.dumps([manifest, status])
        if key not in begun:
            begun[key] = begin(manifest, status)
        return begun[key]

    return stands


def report(kube: Kubectl, manifest: dict[str, Any], status: dict[str, Any]) -> None:
    """As the operator does."""
    patch = json.dumps({"status": status})
    name = manifest["metadata"]["name"]
    kube("patch", "experiment", name, NAMESPACE, "--subresource=status", "--type=merge", f"--patch={patch}")


def replaced(kube: Kubectl, mine: dict[str, Any], path: str, value: Any, *flags: str) -> str:
    """What the API server says of a change."""
    return answer(kube, "replace", NAMESPACE, *flags, manifest=changed(mine, path, value))


def asked(kube: Kubectl, mine: dict[str, Any], path: str, value: Any) -> str:
    return replaced(kube, mine, path, value, "--dry-run=server")


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.name)
def test_what_was_begun_with_stays_so(kube: Kubectl, standing: Begin, kept: Kept) -> None:
    pending = standing(kept.before, {"phase": "Pending"})
    assert "replaced" in asked(kube, pending, kept.path, kept.value)
    refused = asked(kube, standing(kept.before, {"phase": "Running"}), kept.path, kept.value)
    assert refused.startswith("refused: ")
    assert kept.words in refused
    assert "it has begun" in refused


@pytest.mark.parametrize("manifest", [experiment(), measured(), shadow()], ids=range(3))
def test_what_is_applied_again_is_no_change(kube: Kubectl, namespace: None, manifest: dict[str, Any]) -> None:
    mine = changed(manifest, "metadata.name", f"exp-{next(_NUMBERS)}")
    apply = ("apply", NAMESPACE, "--server-side", "--output=json", "--filename=-")
    kube(*apply, manifest=mine)
    report(kube, mine, {"phase": "Running"})
    assert json.loads(kube(*apply, manifest=mine))["metadata"]["generation"] == 1


@pytest.mark.parametrize("phase", BEGUN)
def test_it_has_begun_in_every_phase_but_the_first(kube: Kubectl, standing: Begin, phase: str) -> None:
    mine = standing(experiment(), {"phase": phase})
    assert "spec.salt cannot change" in asked(kube, mine, "spec.salt", "another")


@pytest.mark.parametrize("status", [{}, {"phase": None}, {"units": 0}], ids=range(3))
def test_without_a_phase_it_has_not_begun(kube: Kubectl, standing: Begin, status: dict[str, Any]) -> None:
    assert "replaced" in asked(kube, standing(experiment(), status), "spec.salt", "another")


OTHER_WEIGHTS = [
    {**each, "weight": 10 + place} for place, each in enumerate(experiment()["spec"]["variants"])
]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.variants[1].weight", 0),
        ("spec.variants[1].weight", 10_000),
        ("spec.description", "Another"),
        ("spec.enabled", False),
        ("spec.ramp.approved", 25),
        ("spec.ramp.steps", [{"coverage": 10}]),
        ("spec.overrides", REMOVED),
        ("spec.overrides.units", {"77": "treatment"}),
        ("spec.guardrails", REMOVED),
        ("spec.guardrails[0].limit", 5),
        ("spec.analysis.interval", "1m"),
        ("spec.analysis.maximumUnits", REMOVED),
        ("spec.analysis.minimumRequests", 50),
        ("spec.onWin", "nothing"),
        ("spec.promotion", "recommend"),
        ("spec.decision", {"promote": "treatment"}),
        ("spec.decision", {"abort": "enough was seen"}),
    ],
)
def test_what_a_person_steers_with_may_change(kube: Kubectl, standing: Begin, path: str, value: Any) -> None:
    assert "replaced" in asked(kube, standing(measured(), {"phase": "Running"}), path, value)


@pytest.mark.parametrize("variants", [OTHER_WEIGHTS, OTHER_WEIGHTS[::-1]], ids=["in order", "in another"])
def test_weights_may_change(kube: Kubectl, standing: Begin, variants: list[dict[str, Any]]) -> None:
    assert "replaced" in asked(kube, standing(experiment(), {"phase": "Running"}), "spec.variants", variants)


def with_buckets(control: list[str], treatment: list[str]) -> list[dict[str, Any]]:
    given = (control, treatment)
    return [
        {**each, "buckets": buckets}
        for each, buckets in zip(experiment()["spec"]["variants"], given, strict=True)
    ]


def test_buckets_that_an_experiment_has_can_be_written_into_it_and_taken_out(
    kube: Kubectl, begin: Begin
) -> None:
    own = [{"name": "control", "buckets": ["0-5000"]}, {"name": "treatment", "buckets": ["5000-10000"]}]
    mine = begin(experiment(), {"phase": "Running", "variants": own})
    theirs, swapped = with_buckets(["0-5000"], ["5000-10000"]), with_buckets(["5000-10000"], ["0-5000"])
    assert "what endcap experiment export prints" in asked(kube, mine, "spec.variants", swapped)
    assert "replaced" in replaced(kube, mine, "spec.variants", theirs)
    report(kube, mine, {"phase": "Paused", "variants": None})
    assert "replaced" in asked(kube, mine, "spec.variants", theirs)
    assert "replaced" in asked(kube, mine, "spec.variants", experiment()["spec"]["variants"])
    assert "what endcap experiment export prints" in asked(kube, mine, "spec.variants", swapped)


def test_the_operator_may_report_whatever_it_sees(kube: Kubectl, begin: Begin) -> None:
    """From each phase to each other, with nothing or everything in the status, whatever the spec is."""
    mine = begin(measured(), {"phase": "Pending"})
    for phase in [*BEGUN, *BEGUN[::-1], "Pending", None]:
        report(kube, mine, {"phase": phase, "variants": [{"name": "control", "buckets": ["0-5000"]}]})
        report(kube, mine, {"phase": phase, "variants": None, "units": 7, "sampleRatio": "ok"})


def test_deleting_and_creating_again_begins_anew(kube: Kubectl, begin: Begin) -> None:
    mine = begin(experiment(), {"phase": "Running"})
    kube("delete", "experiment", mine["metadata"]["name"], NAMESPACE)
    again = changed(mine, "spec.salt", "another")
    assert "created" in answer(kube, "create", NAMESPACE, manifest=again)


def largest() -> dict[str, Any]:
    """As much of everything as the schema takes."""
    ranges = [f"{start}-{start + 1}" for start in range(1000, 1256)]
    inputs = {f"input_{number}": "request.limit + " * 30 + "1" for number in range(256)}
    treatment = {"weight": 1, "model": "ranker-v2", "buckets": ranges, "inputs": inputs}
    metric = {
        "unit": "customer_id",
        "event": "e" * 128,
        "where": {f"field_{number}": "x" * 128 for number in range(8)},
        "covariate": "request.limit + " * 30 + "1",
    }
    return measured(
        variants=[
            {"name": "control", "baseline": True, "weight": 1, "buckets": ranges},
            *({"name": f"v{number}", **treatment} for number in range(7)),
        ],
        overrides={"units": {f"{number:0128}": "control" for number in range(256)}},
        layer={"name": "basket", "buckets": ranges[:64]},
        metrics=[{"name": f"m{number}", **metric} for number in range(8)],
        primary="m7",
        guardrails=[{"metric": f"m{number}", "limit": 1} for number in range(8)],
        ramp={"steps": [{"coverage": number, "minimumUnits": 1} for number in range(1, 17)]},
        targeting="request.limit > 0 && " * 20 + "true",
    )


def test_the_largest_experiment_is_within_what_rules_may_cost(kube: Kubectl, begin: Begin) -> None:
    """The API server stops rules that take too long: what it takes it must also take a change of."""
    assert ExperimentSpec.model_validate(largest()["spec"])
    status = {
        "phase": "Running",
        "variants": [
            {"name": name, "buckets": [f"{n}-{n + 1}" for n in range(256)]}
            for name in ("control", *(f"v{number}" for number in range(7)))
        ],
    }
    assert ExperimentStatus.model_validate(status)
    bare = changed(largest(), "metadata.name", "largest")
    kube("create", NAMESPACE, "--filename=-", manifest=bare)
    report(kube, bare, status)
    assert "replaced" in replaced(kube, bare, "spec.variants[3].weight", 2)
    other = asked(kube, bare, "spec.variants[3].inputs.input_7", "2.0")
    assert "spec.variants can change in weight alone" in other


def test_one_reader_takes_what_the_other_takes(api_server: ApiServer, namespace: None) -> None:
    """Odd values anywhere. Not `null`, for which the API server puts a default where there is one."""
    draw = random.Random(20261124)  # noqa: S311  # the same values in each run
    places = [
        (each, path) for each in (experiment(), measured(), shadow()) for path in paths(each["spec"], "spec")
    ]
    client, seen = Client(api_server.kubeconfig), {"ok": 0, "refused": 0}
    asked = {"dryRun": "All", "fieldValidation": "Strict"}
    for _ in range(400):
        manifest, path = draw.choice(places)
        odd = changed(manifest, path, draw.choice(WITHIN_JSON))
        told = client.send("POST", client.path("Experiment", "experiments"), params=asked, json=odd)
        verdict = _verdict(odd)
        assert verdict == ("ok" if told.status_code == 201 else "refused"), (path, odd, told.text)
        seen[verdict] += 1
    client.close()
    assert min(seen.values()) > 40


def _verdict(manifest: dict[str, Any]) -> str:
    try:
        read(manifest)
    except InvalidSpec:
        return "refused"
    return "ok"


def test_an_experiment_can_be_waited_for(kube: Kubectl, begin: Begin) -> None:
    mine = begin(shadow(), {"phase": "Running"})
    ended = {
        "type": "Completed",
        "status": "True",
        "reason": "Ended",
        "message": "5000 units, no winner",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-11-24T10:00:00Z",
    }
    report(kube, mine, {"phase": "Ended", "conditions": [ended]})
    name = f"experiment/{mine['metadata']['name']}"
    assert "condition met" in kube("wait", "--for=condition=Completed", name, NAMESPACE, "--timeout=20s")
    assert "condition met" in kube(
        "wait", "--for=jsonpath={.status.phase}=Ended", name, NAMESPACE, "--timeout=20s"
    )
