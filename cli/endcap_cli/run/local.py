# SPDX-License-Identifier: Apache-2.0
"""All that one `endcap run` serves: brought up, followed when the files change, tended, and taken down.

A new version of a model is started beside the old one and takes over when it is ready; what cannot start or is
refused changes nothing. What no graph calls any more is ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from endcap_api.features_config import FeaturesConfig
from endcap_api.graph_checks import check_graph, missing_models
from endcap_api.runtime_config import ModelConfig, ModelContract
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_cli import runs
from endcap_cli.references import EXPERIMENT
from endcap_cli.run import course, publishing
from endcap_cli.run import graph as graphs
from endcap_cli.run.children import Children
from endcap_cli.run.course import Course
from endcap_cli.run.graph import Configured, Graph
from endcap_cli.run.model import Model, ModelStart
from endcap_cli.run.process import StartFailed, is_free
from endcap_cli.run.stores import Stores
from endcap_cli.run.told import Here, Told
from endcap_cli.terminal import CommandError, complain
from endcap_cli.workspace import Name, Workspace, within

MOST_STEPS = 8  # of a course at a time: more than any has without waiting
NOT_FOLLOWED = "what was served before is served on"


@dataclass
class Local:
    """`workspace` is what was asked for last; `models` and `graphs` are what is served."""

    children: Children
    stores: Stores
    port: int
    models: dict[Name, Model] = field(default_factory=dict)
    graphs: dict[Name, Graph] = field(default_factory=dict)
    courses: dict[Name, Course] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    workspace: Workspace = field(default_factory=Workspace)

    def bring_up(self, workspace: Workspace) -> None:
        """Everything, or StartFailed; ports are looked at first, since a model may take long to start."""
        self._look_at_ports(workspace)
        self.workspace = workspace
        course.keep(self.courses, workspace)
        self.stores.start(workspace.stores)
        self.models, failures = self._start_models(workspace.models)
        failures = failures or self._tell_stores()
        if failures:
            raise StartFailed("; ".join(failures))
        for name, spec in workspace.graphs.items():
            self._start_graph(self._config(name, spec))
        self._decide(self.courses)

    def _look_at_ports(self, workspace: Workspace) -> None:
        graphs = {self._free(self.port + number) for number in range(len(workspace.graphs))}
        if twice := graphs & self.stores.ports(workspace.stores):
            raise CommandError(
                f"port {min(twice)} is wanted twice: keep --port and --events-port apart", status=2
            )

    def follow(self, workspace: Workspace) -> None:
        """Serve what the files say now, as far as that works."""
        try:
            self.stores.start(workspace.stores)
        except CommandError as failed:
            complain(f"{failed}; {NOT_FOLLOWED}")
            return
        self.workspace = workspace
        course.keep(self.courses, workspace)
        started, failures = self._start_models(self._changed(workspace.models))
        for failure in failures:
            complain(f"{failure}; the version before it serves on")
        kept = {**self.models, **started}.items()
        self.models = {name: one for name, one in kept if name in workspace.models}
        for failure in self._tell_stores():
            complain(f"{failure}; {NOT_FOLLOWED}")
        self._tell_models()
        for name, spec in workspace.graphs.items():
            self._follow_graph(name, spec)
        self._decide(self.courses)
        self._end_the_rest()

    def _end_the_rest(self) -> None:
        for name in set(self.graphs) - set(self.workspace.graphs):
            complain(f"graph {name.name}: no longer in the files, ended")
            del self.graphs[name]
        self._sweep()
        self.stores.keep(self.workspace.stores)

    def _told(self, namespace: str) -> Told:
        """With the models that are served; others are about to be."""
        asked = within(self.workspace.models, namespace)
        served = {n.name: one.config for n, one in self.models.items() if n.namespace == namespace}
        models = {name: config for name, config in served.items() if name in asked}
        decided = within(self.courses, namespace)
        return Told.of(self.workspace, namespace, self.stores.within(namespace), models, decided)

    def _tell_stores(self) -> list[str]:
        """What their ingest is to serve now; why it does not, where it does not."""
        failures = []
        for name, spec in self.workspace.stores.items():
            try:
                self.stores.tell(name, self._told(name.namespace).ingest(name.name, spec))
            except CommandError as failed:
                failures.append(str(failed))
        return failures

    def _tell_models(self) -> None:
        """But for a version that serves on because the next did not start: it goes with the columns that it knows."""
        for name, model in self.models.items():
            spec = self.workspace.models[name]
            config = self._features_of_model(name, spec)
            if model.sidecar and config and model.config == self._model_config(name, spec):
                model.sidecar.tell(config)

    def _features_of_model(self, name: Name, spec: ModelDeploymentSpec) -> FeaturesConfig | None:
        if spec.features is None:
            return None
        return self._told(name.namespace).sidecar([spec.features.bundle], ())

    def _changed(self, specs: Mapping[Name, ModelDeploymentSpec]) -> dict[Name, ModelDeploymentSpec]:
        return {
            name: spec
            for name, spec in specs.items()
            if name not in self.models or self.models[name].config != self._model_config(name, spec)
        }

    def _model_config(self, name: Name, spec: ModelDeploymentSpec) -> ModelConfig:
        return self._told(name.namespace).model(name.name, spec)

    def _start_models(self, specs: Mapping[Name, ModelDeploymentSpec]) -> tuple[dict[Name, Model], list[str]]:
        """At most one start a core: they are bound by the CPU, and more would only slow each other down."""
        start = ModelStart(self.children)
        new = {name: self.children.new(f"model {name.name}") for name in specs}
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            futures = {
                name: pool.submit(
                    start, self._model_config(name, spec), self._features_of_model(name, spec), new[name]
                )
                for name, spec in specs.items()
            }
        started, failures = {}, []
        for name, future in futures.items():
            try:
                started[name] = future.result()
            except StartFailed as failed:
                failures.append(str(failed))
        self.children.drop([child for name, child in new.items() if name not in started])
        return started, failures

    def _contracts(self, namespace: str) -> dict[str, ModelContract]:
        return {name.name: one.contract for name, one in self.models.items() if name.namespace == namespace}

    def _config(self, name: Name, spec: InferenceGraphSpec) -> Configured:
        contracts, told = self._contracts(name.namespace), self._told(name.namespace)
        served = self.graphs.get(name)
        here = Here(contracts, self.stores.urls(name.namespace))
        config = told.graph(name.name, spec, served.config if served else None, here)
        problems = [str(each) for each in check_graph(spec, contracts, config.bundles, config.views)]
        problems += [f"no model {missing} is served" for missing in missing_models(spec, contracts)]
        if problems:
            raise StartFailed(f"graph {name.name}: {'; '.join(problems)}")
        named = config.bundles or config.views
        features = told.sidecar(config.bundles or (), config.views or ()) if named else None
        return Configured(config, features)

    def tend(self) -> None:
        """What ended is started again, and experiments whose time has come go on."""
        self.children.tend()
        if due := course.due(self.courses):
            self._decide(due)

    def _decide(self, names: Iterable[Name]) -> None:
        """Let experiments go on as far as they can now, a step at a time; their graphs follow each step."""
        pending = set(names) & self.courses.keys()
        for _ in range(MOST_STEPS):
            pending = {name for name in pending if self._take_step(name)}
            for graph in {Name(n.namespace, self.workspace.experiments[n].graph) for n in pending}:
                self._follow_graph(graph, self.workspace.graphs[graph])
        self._publish()

    def _publish(self) -> None:
        """What has changed, for commands that ask."""
        told = list(publishing.told(self.workspace, self.courses, self.graphs))
        if told != self.published:
            runs.publish(self.port, told)
            self.published = told

    def _take_step(self, name: Name) -> bool:
        read = next(one for one in self.workspace.reads if one.name == name and one.kind == EXPERIMENT)
        spec = self.workspace.experiments[name]
        ingest = self.stores.ingest(Name(name.namespace, spec.store)) if spec.store else None
        asked = course.Asked(self.graphs.get(Name(name.namespace, spec.graph)), ingest)
        return course.take_step(read, spec, self.courses[name], self._told(name.namespace), asked)

    def _start_graph(self, wanted: Configured) -> None:
        name = Name(wanted.graph.namespace, wanted.graph.name)
        child = self.children.new(f"graph {name.name}", self._graph_port())
        try:
            self.graphs[name] = graphs.start(wanted, child, self.children)
        except StartFailed:
            self.children.drop([child])
            raise

    def _graph_port(self) -> int:
        """The first is the one that was asked for; further graphs take the next."""
        return self._free(self.port + len(self.graphs))

    def _free(self, port: int) -> int:
        if not is_free(port):
            raise CommandError(f"port {port} is in use: give another with --port")
        return port

    def _follow_graph(self, name: Name, spec: InferenceGraphSpec) -> None:
        try:
            wanted = self._config(name, spec)
            if name in self.graphs:
                graphs.follow(self.graphs[name], wanted, self.children)
            else:
                self._start_graph(wanted)
        except CommandError as failed:
            complain(f"{failed}; {NOT_FOLLOWED}")

    def _sweep(self) -> None:
        """End the models and graphs that nobody needs; sidecars go with them, and stores are kept apart."""
        called = {model.url for graph in self.graphs.values() for model in graph.config.models.values()}
        kept = {model.child for model in self.models.values()} | self.stores.processes
        kept |= {graph.child for graph in self.graphs.values()}
        self.children.drop(
            [
                child
                for child in self.children.known
                if child.beside is None and child not in kept and child.url not in called
            ]
        )
