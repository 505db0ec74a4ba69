# SPDX-License-Identifier: Apache-2.0
"""The experiments of a run: each goes its course by the operator's own planning, with what is kept in a cluster kept
here. So a ramp goes up, a weight moves the fewest units, and a verdict comes as it would there.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from endcap_api.experiment_config import ExperimentSums, ServingPage, experiment_id
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_cli.run.graph import Graph
from endcap_cli.run.process import Child, told
from endcap_cli.run.told import Told
from endcap_cli.terminal import complain
from endcap_cli.workspace import Name, Read, Workspace
from endcap_operator.manifests.configuration import RECORD
from endcap_operator.plan.experiment.plan import LOOKED_AT
from endcap_operator.plan.facts import Measured, Plan, Reading
from endcap_operator.plan.pods import Pod, Serving

SOON_SECONDS = 0.5


@dataclass
class Course:
    """data: what the operator would keep in the ConfigMap. uid: names it for ever; one that went and came is another.
    looked_at, due_at: in the time of `time.monotonic`.
    """

    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    data: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)
    looked_at: float = float("-inf")
    due_at: float = float("-inf")

    @property
    def id(self) -> str:
        return experiment_id(self.uid)

    @property
    def refusal(self) -> str:
        """Why it is not accepted as the files have it now."""
        said = (one for one in self.status.get("conditions") or () if one["type"] == "Accepted")
        return next((str(one["message"]) for one in said if one["status"] == "False"), "")

    def take(self, plan: Plan) -> bool:
        """Whether something was decided, so that graphs and the next step have to know."""
        data = plan.manifests[0]["data"]
        decided = bool(data[RECORD] != self.data.get(RECORD))
        self.data, self.status = data, plan.status
        soon = plan.recheck is not None or plan.status.get("phase") == "Pending"
        waits = [each for each in (plan.due, SOON_SECONDS if soon else None) if each is not None]
        self.due_at = time.monotonic() + min(waits, default=float("inf"))
        return decided


@dataclass(frozen=True)
class Asked:
    """Where an experiment's pods would be."""

    graph: Graph | None
    ingest: Child | None


def take_step(read: Read, spec: ExperimentSpec, course: Course, told: Told, asked: Asked) -> bool:
    """Plan once, and look at the figures when it is time; whether something was decided."""
    plan = told.experiment(read, course.uid, course.data, _measured(spec, course, asked), _now_ms())
    for event in plan.events:
        complain(f"experiment {read.name.name}: {event.reason}: {event.note}")
    before, decided = course.refusal, course.take(plan)
    if course.refusal not in (before, ""):
        complain(f"experiment {read.name.name}: {course.refusal}; it stands still")
    return decided


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _measured(spec: ExperimentSpec, course: Course, asked: Asked) -> Measured:
    routers = tuple(_routers(asked.graph))
    phase = course.status.get("phase")
    if phase not in LOOKED_AT:
        counted = spec.store is None or _counts(asked.ingest, course.id)
        return Measured(routers, status=course.status, counted=counted)
    interval = milliseconds(spec.analysis.interval) / 1000
    remaining = course.looked_at + interval - time.monotonic()
    if remaining > 0:
        return Measured(routers, status=course.status, look_in=remaining)
    course.looked_at = time.monotonic()
    reading = Reading(_sums(asked.ingest, course.id), tuple(_pages(asked.graph)))
    return Measured(routers, status=course.status, reading=reading, look_in=interval)


def _routers(graph: Graph | None) -> Iterator[Pod]:
    """The graph's process, as the pod that it stands for."""
    if graph is None:
        return
    said = _page(graph.child, "/-/revision")
    serving = Serving(said.get("serving"), None, said.get("experiments") or {})
    config = graph.config
    yield Pod(
        name=config.name,
        namespace=config.namespace,
        uid="",
        address=None,
        ready=bool(said.get("serving")),
        running=True,
        template=None,
        nudged=None,
        serving=serving if said else None,
    )


def _pages(graph: Graph | None) -> Iterator[ServingPage]:
    said = _page(graph.child, "/-/experiments") if graph else {}
    if said:
        yield ServingPage.model_validate(said)


def _counts(ingest: Child | None, identity: str) -> bool:
    said = _page(ingest, "/v1/experiments") if ingest else {}
    return identity in (said.get("experiments") or {}).values()


def _sums(ingest: Child | None, identity: str) -> ExperimentSums | None:
    said = _page(ingest, f"/v1/experiments/{identity}") if ingest else {}
    return ExperimentSums.model_validate(said) if said else None


def _page(child: Child, path: str) -> dict[str, Any]:
    with child.client() as client:
        return told(client, path)


def keep(courses: dict[Name, Course], workspace: Workspace) -> None:
    """One for each experiment of the files, and none of others."""
    for name in workspace.experiments:
        courses.setdefault(name, Course())
    for name in courses.keys() - workspace.experiments.keys():
        complain(f"experiment {name.name}: no longer in the files, its graph is as it is written")
        del courses[name]


def due(courses: Mapping[Name, Course]) -> list[Name]:
    now = time.monotonic()
    return [name for name, course in courses.items() if course.due_at <= now]
