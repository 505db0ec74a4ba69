# SPDX-License-Identifier: Apache-2.0
"""Where an experiment comes from: files, or a namespace of a cluster."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from endcap_api.experiment_config import ExperimentConfig
from endcap_api.nearest import did_you_mean
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.validation import InvalidSpec, read
from endcap_cli.manifests import STANDARD_INPUT, SUFFIXES
from endcap_cli.references import EXPERIMENT, GRAPH
from endcap_cli.runs import published
from endcap_cli.terminal import CommandError
from endcap_cli.validate import sound
from endcap_cli.workspace import Name, Workspace

if TYPE_CHECKING:
    from endcap_cli.cluster import Cluster

IN_A_RUN = "(that is for a cluster: in a run, make the same edit in the YAML)"


@dataclass(frozen=True)
class Source:
    """An experiment and the graph that it overlays, as far as that is known. `live` is the object in the cluster, None
    for one of files; `data` is what the operator keeps of it, and `served` what the graph's pods are told of it.
    """

    name: Name
    spec: ExperimentSpec
    graph: InferenceGraphSpec | None = None
    live: Mapping[str, Any] | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    served: ExperimentConfig | None = None

    @property
    def status(self) -> Mapping[str, Any]:
        return (self.live or {}).get("status") or {}


def source_of(arguments: argparse.Namespace) -> Source:
    """Of the files that FILE|NAME means, of a run on this machine, or of the cluster; raises CommandError."""
    if arguments.local:
        return of_run(arguments.source, arguments.port)
    if _is_path(arguments.source):
        return of_files([arguments.source], arguments)
    with cluster_of(arguments) as (cluster, namespace):
        return of_cluster(cluster, Name(namespace, arguments.source))


def of_run(name: str, port: int | None) -> Source:
    """An experiment of `endcap run`, which keeps of it what a cluster would."""
    found = published(name, port)
    status = dict(found["status"])
    if status.get("recommendation"):
        status["recommendation"] += f"\n{IN_A_RUN}"
    live = {"metadata": {"uid": found["uid"]}, "spec": found["spec"], "status": status}
    served = ExperimentConfig.model_validate(found["served"]) if found["served"] else None
    spec = ExperimentSpec.model_validate(found["spec"])
    return Source(Name(found["namespace"], name), spec, _graph(found["graph"]), live, found["data"], served)


def _is_path(text: str) -> bool:
    return text == STANDARD_INPUT or "/" in text or text.endswith(SUFFIXES) or Path(text).exists()


def of_files(paths: Sequence[str], arguments: argparse.Namespace) -> Source:
    workspace = sound(list(paths), namespace=arguments.namespace or "default")
    name = _chosen(workspace, arguments.experiment)
    spec = workspace.experiments[name]
    return Source(name, spec, workspace.graphs.get(Name(name.namespace, spec.graph)))


def _chosen(workspace: Workspace, wanted: str | None) -> Name:
    found = sorted(name for name in workspace.experiments if wanted in (None, name.name))
    names = sorted({name.name for name in workspace.experiments})
    if not names:
        raise CommandError("no Experiment in these files: give those that have one", status=2)
    if not found:
        raise CommandError(
            f"no Experiment {wanted} in these files: {did_you_mean(str(wanted), names)}", status=2
        )
    if len(found) > 1:
        raise CommandError(
            f"these files have {len(found)} Experiments ({', '.join(names)}): choose with --experiment",
            status=2,
        )
    return found[0]


@contextmanager
def cluster_of(arguments: argparse.Namespace) -> Iterator[tuple[Cluster, str]]:
    """The cluster and the namespace that the options mean; raises CommandError."""
    # The client of Kubernetes takes as long to load as everything else together.
    from endcap_cli.cluster import connected, current_namespace  # noqa: PLC0415

    namespace = arguments.namespace or current_namespace(arguments.kubeconfig, arguments.context)
    if not namespace:
        remedy = "give a file or a folder, or a cluster with --kubeconfig"
        raise CommandError(f"no kubeconfig, so there is no cluster to look in: {remedy}", status=2)
    with connected(arguments.kubeconfig, arguments.context) as cluster:
        yield cluster, namespace


def of_cluster(cluster: Cluster, name: Name) -> Source:
    live = cluster.get(EXPERIMENT, *name)
    if live is None:
        others = [one["metadata"]["name"] for one in cluster.all_of(EXPERIMENT, name.namespace)]
        remedy = did_you_mean(name.name, others) if others else "apply one, or choose a namespace with -n"
        raise CommandError(f"namespace {name.namespace} has no Experiment {name.name}: {remedy}")
    spec = _spec(live, name)
    graph = cluster.get(GRAPH, name.namespace, spec.graph)
    return Source(
        name,
        spec,
        _graph(graph and graph["spec"]),
        live,
        _data(cluster, name.namespace, f"{name.name}-experiment"),
        _served(_data(cluster, name.namespace, f"{spec.graph}-graph"), name.name),
    )


def _spec(live: Mapping[str, Any], name: Name) -> ExperimentSpec:
    """The API server has checked it, but one of another version may say what this command does not know."""
    try:
        spec = read({key: value for key, value in live.items() if key != "status"})
    except InvalidSpec as error:
        remedy = "use the endcap command of the cluster's own version"
        raise CommandError(f"Experiment {name.name} cannot be read: {error}: {remedy}") from None
    assert isinstance(spec, ExperimentSpec)  # noqa: S101  the kind that was asked for
    return spec


def _graph(spec: Mapping[str, Any] | None) -> InferenceGraphSpec | None:
    """Nothing for a graph that is not there, or that only another version can read: targeting then says so."""
    try:
        return InferenceGraphSpec.model_validate(spec) if spec else None
    except ValidationError:
        return None


def _data(cluster: Cluster, namespace: str, name: str) -> Mapping[str, str]:
    return (cluster.get("ConfigMap", namespace, name) or {}).get("data") or {}


def _served(data: Mapping[str, str], name: str) -> ExperimentConfig | None:
    """What the pods of the graph are told of the experiment; None where they are told nothing."""
    told = json.loads(data.get("graph.json") or "{}").get("experiments") or {}
    return ExperimentConfig.model_validate(told[name]) if name in told else None
