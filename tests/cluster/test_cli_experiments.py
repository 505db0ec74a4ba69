# SPDX-License-Identifier: Apache-2.0
"""`endcap experiment` against a real API server: what it reads of the record, and the field it writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_server import ApiServer
from builders import graph
from experiments import course, experiment, running
from installed import Kubectl

from endcap_api.assignment import bucket
from endcap_api.experiment_config import Assigned, experiment_config, experiment_id
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.status import ExperimentStatus
from endcap_cli.__main__ import main
from endcap_cli.cluster import Cluster, Refused
from endcap_operator.plan.experiment.beginning import first, texts_of
from endcap_operator.plan.experiment.record import text_of
from endcap_operator.plan.experiment.series import Series

NAMESPACE = "trials"
SWAPPED = {"control": ["5000-10000"], "treatment": ["0-5000"]}
_NUMBERS = count(1)
Command = Callable[..., int]


@pytest.fixture(scope="module")
def namespace(kube: Kubectl) -> Iterator[str]:
    kube("create", "namespace", NAMESPACE)
    kube("create", f"--namespace={NAMESPACE}", "--filename=-", manifest=graph())
    yield NAMESPACE
    kube("delete", "experiments,inferencegraphs", "--all", f"--namespace={NAMESPACE}")


@pytest.fixture
def endcap(api_server: ApiServer) -> Command:
    there = ("-n", NAMESPACE, "--kubeconfig", str(api_server.kubeconfig))
    return lambda *arguments: main(["experiment", *arguments, *there])


class Trial:
    """An Experiment as the operator would have left it, under a name of its own."""

    def __init__(self, kube: Kubectl, status: dict[str, Any], **spec: Any) -> None:
        self.kube, self.name = kube, f"trial-{next(_NUMBERS)}"
        self.where = f"--namespace={NAMESPACE}"
        kube("create", self.where, "--filename=-", manifest=experiment(self.name, **spec))
        self.keep(first(self.name, self.spec, experiment_id(self.get()["metadata"]["uid"]), 0))
        self.report(status)

    def keep(self, record: Any) -> None:
        series = Series(points=course()).model_dump_json(by_alias=True, exclude_none=True)
        data = {"record.json": text_of(record), "series.json": series}
        self.put("ConfigMap", f"{self.name}-experiment", data)

    def put(self, kind: str, name: str, data: dict[str, str]) -> None:
        manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": data}
        self.kube("apply", self.where, "--filename=-", manifest=manifest)

    def report(self, status: dict[str, Any]) -> None:
        checked = ExperimentStatus.model_validate(status).dump()
        patch = f"--patch={json.dumps({'status': checked})}"
        flags = ("--subresource=status", "--type=merge", self.where)
        self.kube("patch", "experiments", self.name, *flags, patch)

    def get(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self.kube("get", "experiments", self.name, self.where, "--output=json")
        )
        return found

    @property
    def spec(self) -> ExperimentSpec:
        return ExperimentSpec.model_validate(self.get()["spec"])


@pytest.fixture
def trial(kube: Kubectl, namespace: str) -> Iterator[Callable[..., Trial]]:
    """Gone after the test: of two on one step the younger would be kept out."""
    yield lambda status=None, **spec: Trial(kube, running() if status is None else status, **spec)
    kube("delete", "experiments", "--all", f"--namespace={NAMESPACE}")


Begin = Callable[..., Trial]


def test_a_status_is_read_with_its_figures_over_time(
    trial: Begin, endcap: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = trial()
    assert endcap("status", mine.name) == 0
    shown = capsys.readouterr().out
    assert f"{mine.name}: Running. Test of step rank in graph basket" in shown
    assert "treatment, add-to-cart: lift (+)" in shown
    assert endcap("status", mine.name, "-o", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["status"]["units"] == 24081
    assert len(told["series"]) == 40


@pytest.mark.parametrize(
    ("phase", "status"), [("Promoted", 0), ("Ended", 0), ("RolledBack", 1), ("Aborted", 1)]
)
def test_a_wait_ends_with_the_experiment(
    phase: str, status: int, trial: Begin, endcap: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert endcap("status", trial(running(phase=phase)).name, "--wait", "--timeout", "30") == status
    assert f": {phase}. " in capsys.readouterr().out


def test_a_wait_that_takes_too_long_has_failed(
    trial: Begin, endcap: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = trial()
    assert endcap("status", mine.name, "--wait", "--timeout", "1") == 1
    assert f"{mine.name} is still Running after 1 s" in capsys.readouterr().err


def test_a_page_is_written(trial: Begin, endcap: Command, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert endcap("report", trial().name, "-o", str(page)) == 0
    assert "Lift of add-to-cart over time" in page.read_text()
    assert endcap("report", trial().name, "-o", str(tmp_path / "no" / "where.html")) == 1


def test_units_get_what_the_record_says_and_not_what_new_weights_would(
    trial: Begin, endcap: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = trial()
    record = first(mine.name, mine.spec, experiment_id(mine.get()["metadata"]["uid"]), 0)
    mine.keep(record.model_copy(update={"ranges": SWAPPED}))
    assert endcap("assign", mine.name, "1", "2", "3", "-o", "json") == 0
    captured = capsys.readouterr()
    assert "graph basket does not have it now" in captured.err
    for row in map(json.loads, captured.out.splitlines()):
        assert row["variant"] == (
            "treatment" if bucket(f"basket.rank.{mine.name}", row["unit"]) < 5000 else "control"
        )
    assert endcap("export", mine.name) == 0
    exported = yaml.safe_load(capsys.readouterr().out)
    assert {one["name"]: one["buckets"] for one in exported["spec"]["variants"]} == SWAPPED


def test_an_export_can_be_applied_to_what_it_was_taken_from(
    trial: Begin, endcap: Command, capsys: pytest.CaptureFixture[str], kube: Kubectl
) -> None:
    mine = trial()
    capsys.readouterr()
    record = first(mine.name, mine.spec, experiment_id(mine.get()["metadata"]["uid"]), 0)
    buckets = texts_of(record.allotted)
    mine.report(running(variants=[{"name": name, "buckets": owned} for name, owned in buckets.items()]))
    assert endcap("export", mine.name) == 0
    exported = yaml.safe_load(capsys.readouterr().out)
    kube("apply", "--server-side", "--force-conflicts", mine.where, "--filename=-", manifest=exported)
    assert [variant.buckets for variant in mine.spec.variants] == list(buckets.values())


def test_what_the_graph_serves_is_what_is_told(
    trial: Begin, endcap: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = trial(targeting='request.channel == "app"')
    record = first(mine.name, mine.spec, experiment_id(mine.get()["metadata"]["uid"]), 0)
    told = Assigned(record.id, 7, 1, "Running", record.allotted, 100)
    served = {mine.name: experiment_config(mine.name, mine.spec, told).dump()}
    mine.put("ConfigMap", "basket-graph", {"graph.json": json.dumps({"experiments": served})})
    assert endcap("assign", mine.name, "1", "--request", "channel=app", "-o", "json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["reason"] == "assigned"
    assert captured.err == ""
    assert endcap("assign", mine.name, "1", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["reason"] == "not_targeted"


def test_without_yes_nothing_is_written(
    trial: Begin, endcap: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = trial()
    before = mine.get()["metadata"]["resourceVersion"]
    for words in (
        ["promote", mine.name],
        ["abort", mine.name, "--reason", "prices"],
        ["approve", mine.name, "--coverage", "5"],
    ):
        assert endcap(*words) == 2
        captured = capsys.readouterr()
        assert "would set spec." in captured.err
        assert "nothing was done: say --yes to do it" in captured.err
    assert mine.get()["metadata"]["resourceVersion"] == before


def test_decisions_are_written_into_their_field_alone(
    trial: Begin, endcap: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = trial()
    before = mine.get()["spec"]
    assert endcap("approve", mine.name, "--coverage", "5", "--yes") == 0
    approved = {**before, "ramp": {**before["ramp"], "approved": 5}}
    assert mine.get()["spec"] == approved
    assert endcap("promote", mine.name, "--yes") == 0
    assert mine.get()["spec"] == {**approved, "decision": {"promote": "treatment"}}
    captured = capsys.readouterr()
    assert (
        f'set spec.decision: {{"promote": "treatment"}} of Experiment {mine.name} in {NAMESPACE}'
        in captured.out
    )
    assert "needs the same line there" in captured.err
    other = trial()
    assert endcap("abort", other.name, "--reason", "prices were wrong", "--yes") == 0
    assert other.get()["spec"]["decision"] == {"abort": "prices were wrong"}


def test_an_object_that_changed_meanwhile_is_left_alone(
    trial: Begin, endcap: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = trial()
    edit = Cluster.edit

    def late(self: Cluster, *arguments: Any) -> None:
        """Somebody was quicker."""
        mine.kube(
            "patch",
            "experiments",
            mine.name,
            mine.where,
            "--type=merge",
            '--patch={"spec":{"description":"x"}}',
        )
        edit(self, *arguments)

    monkeypatch.setattr(Cluster, "edit", late)
    assert endcap("promote", mine.name, "--yes") == 1
    assert "it has changed meanwhile, so nothing was done: look at it again" in capsys.readouterr().err
    assert "decision" not in mine.get()["spec"]


def test_what_the_api_server_refuses_is_told_in_its_words(
    trial: Begin, endcap: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise Refused(403, "experiments is forbidden")

    monkeypatch.setattr(Cluster, "edit", refuse)
    assert endcap("promote", trial().name, "--yes") == 1
    assert "the cluster refuses, so nothing was done: experiments is forbidden" in capsys.readouterr().err


def test_a_misspelt_name_is_told_with_the_one_that_is_there(
    trial: Begin, endcap: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = trial()
    assert endcap("status", f"{mine.name}x") == 1
    assert f"namespace {NAMESPACE} has no Experiment {mine.name}x: did you mean " in capsys.readouterr().err
    assert main(["experiment", "status", "x", "--kubeconfig", "/nowhere"]) == 2


def test_a_plan_shows_which_buckets_other_weights_would_bring(
    trial: Begin, tmp_path: Path, api_server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = trial({})
    owner = {"apiVersion": "endcap.dev/v1alpha1", "kind": "Experiment", "name": mine.name, "controller": True}
    owners = [{**owner, "uid": mine.get()["metadata"]["uid"]}]
    patch = json.dumps({"metadata": {"ownerReferences": owners}})
    mine.kube("patch", "configmap", f"{mine.name}-experiment", mine.where, "--type=merge", f"--patch={patch}")
    edited = experiment(mine.name)
    edited["spec"]["variants"][1]["weight"] = 3
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(edited))
    there = ("-n", NAMESPACE, "--kubeconfig", str(api_server.kubeconfig))
    assert main(["plan", str(tmp_path / "experiment.yaml"), *there]) == 0
    told = capsys.readouterr().out
    assert f"~ change Experiment/{mine.name} in {NAMESPACE}" in told
    assert f"~ change ConfigMap/{mine.name}-experiment in {NAMESPACE}" in told
    assert "+      - 0-2500" in told
