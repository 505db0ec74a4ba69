# SPDX-License-Identifier: Apache-2.0
"""All that one `endcap run` serves: brought up, followed when the files change, tended, and taken down.

A new version of a model is started beside the old one and takes over when it is ready; what cannot start or is
refused changes nothing. What no graph calls any more is ended.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from endcap_api.graph_checks import check_graph, missing_models
from endcap_api.runtime_config import GraphConfig, ModelContract
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_cli.bundle import Bundle, Name
from endcap_cli.run import graph as graphs
from endcap_cli.run.environment import Places, configured, graph_configured
from endcap_cli.run.graph import Graph
from endcap_cli.run.model import Model, ModelStart
from endcap_cli.run.process import Child, StartFailed, free_port, is_free
from endcap_cli.terminal import CommandError, complain


@dataclass
class Local:
    """`children` are all processes that may run; whoever starts one puts it there first."""

    places: Places
    port: int
    stopping: threading.Event
    models: dict[Name, Model] = field(default_factory=dict)
    graphs: dict[Name, Graph] = field(default_factory=dict)
    children: list[Child] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def bring_up(self, bundle: Bundle) -> None:
        """Everything, or StartFailed; ports are looked at first, since a model may take long to start."""
        for number in range(len(bundle.graphs)):
            self._free(self.port + number)
        started, failures = self._start_models(bundle.models)
        if failures:
            raise StartFailed("; ".join(failures))
        self.models = started
        for name, spec in bundle.graphs.items():
            self._start_graph(self._config(name, spec))

    def follow(self, bundle: Bundle) -> None:
        """Serve what the files say now, as far as that works."""
        started, failures = self._start_models(self._changed(bundle.models))
        for failure in failures:
            complain(f"{failure}; the version before it serves on")
        self.models = {name: one for name, one in {**self.models, **started}.items() if name in bundle.models}
        for name, spec in bundle.graphs.items():
            self._follow_graph(name, spec)
        for name in set(self.graphs) - set(bundle.graphs):
            complain(f"graph {name.name}: no longer in the files, ended")
            del self.graphs[name]
        self._sweep()

    def tend(self) -> None:
        """Start again what ended by itself, at growing intervals."""
        for child in self.children:
            if child.ended() is not None and child.due():
                complain(f"{child.label}: {child.why()}; starting it again")
                child.start_again()

    def take_down(self) -> None:
        for child in reversed(self.children):
            child.ask_to_stop()
        for child in self.children:
            child.stop()

    def _changed(self, specs: Mapping[Name, ModelDeploymentSpec]) -> dict[Name, ModelDeploymentSpec]:
        return {
            name: spec
            for name, spec in specs.items()
            if name not in self.models or self.models[name].config != configured(name, spec)
        }

    def _start_models(self, specs: Mapping[Name, ModelDeploymentSpec]) -> tuple[dict[Name, Model], list[str]]:
        """At most one start a core: they are bound by the CPU, and more would only slow each other down."""
        start = ModelStart(self.places, self.stopping)
        pairs = [(name, spec, self._child(name, "model")) for name, spec in specs.items()]
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            futures = {name: pool.submit(start, name, spec, child) for name, spec, child in pairs}
        started, failures = {}, []
        for name, future in futures.items():
            try:
                started[name] = future.result()
            except StartFailed as failed:
                failures.append(str(failed))
        self._drop([child for name, _, child in pairs if name not in started])
        return started, failures

    def _child(self, name: Name, kind: str, port: int | None = None) -> Child:
        label = f"{kind} {name.name}"
        files = self.places.files(f"{label} {next(self._numbers)}")
        child = Child(label, files, port or free_port())
        self.children.append(child)
        return child

    def _contracts(self, namespace: str) -> dict[str, ModelContract]:
        return {name.name: one.contract for name, one in self.models.items() if name.namespace == namespace}

    def _config(self, name: Name, spec: InferenceGraphSpec) -> GraphConfig:
        contracts = self._contracts(name.namespace)
        problems = [str(problem) for problem in check_graph(spec, contracts)]
        problems += [f"no model {missing} is served" for missing in missing_models(spec, contracts)]
        if problems:
            raise StartFailed(f"graph {name.name}: {'; '.join(problems)}")
        return graph_configured(name, spec, contracts)

    def _start_graph(self, config: GraphConfig) -> None:
        name = Name(config.namespace, config.name)
        child = self._child(name, "graph", self._graph_port())
        try:
            self.graphs[name] = graphs.start(config, self.places, child, self.stopping)
        except StartFailed:
            self._drop([child])
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
            config = self._config(name, spec)
            if name not in self.graphs:
                self._start_graph(config)
                return
        except CommandError as failed:
            complain(f"{failed}; what was served before is served on")
            return
        if config != self.graphs[name].config:
            self._swap(self.graphs[name], config)

    def _swap(self, graph: Graph, config: GraphConfig) -> None:
        begun = time.monotonic()
        refused = graphs.swap(graph, config, self.stopping)
        if refused:
            complain(f"graph {config.name}: {refused}; what was served before is served on")
        else:
            complain(f"  graph {config.name:<32} changed {time.monotonic() - begun:.1f} s")

    def _sweep(self) -> None:
        called = {model.url for graph in self.graphs.values() for model in graph.config.models.values()}
        kept = {model.child for model in self.models.values()} | {
            graph.child for graph in self.graphs.values()
        }
        self._drop([child for child in self.children if child not in kept and child.url not in called])

    def _drop(self, children: Iterable[Child]) -> None:
        for child in children:
            child.stop()
            self.children.remove(child)
