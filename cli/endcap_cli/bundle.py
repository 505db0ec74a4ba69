# SPDX-License-Identifier: Apache-2.0
"""Everything that a set of files asks for, checked with the operator's own code.

Models and graphs are checked against each other, so that a folder is known to be sound before a cluster sees it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NamedTuple, TypeVar

from endcap_api.graph_checks import check_graph, cluster_problems
from endcap_api.problem import Problem
from endcap_api.runtime_config import ModelContract, models_called
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.kinds import GROUP
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_api.validation import InvalidSpec, read
from endcap_cli.manifests import Finding, Loaded, Manifest

NEAR = 0.6
_Spec = TypeVar("_Spec", ModelDeploymentSpec, InferenceGraphSpec)


class Name(NamedTuple):
    namespace: str
    name: str


@dataclass(frozen=True)
class Read:
    """A resource whose own fields are right, and the manifest that it was read from."""

    manifest: Manifest
    spec: ModelDeploymentSpec | InferenceGraphSpec

    @property
    def name(self) -> Name:
        return Name(self.manifest.namespace, self.manifest.name)


@dataclass
class Bundle:
    """`findings` must be empty before anything is served; `notes` are for information.

    `broken` are resources whose own fields are wrong: that they cannot be asked is no further problem of a graph.
    """

    models: dict[Name, ModelDeploymentSpec] = field(default_factory=dict)
    graphs: dict[Name, InferenceGraphSpec] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    broken: set[Name] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: int = 0

    @property
    def seen(self) -> int:
        """How many resources of ours the files hold, sound or not."""
        return len(self.reads) + self.refused

    def contracts(self, namespace: str) -> dict[str, ModelContract]:
        """The models of a namespace as a graph there sees them."""
        return {
            name.name: ModelContract.of(spec, f"http://{name.name}")
            for name, spec in self.models.items()
            if name.namespace == namespace
        }


def examine(loaded: Loaded, *, local: bool = False) -> Bundle:
    """What the manifests ask for and what is wrong with it.

    `local` is for `endcap run`: there `file://` works, and every model that a graph calls must be among the files.
    """
    bundle = Bundle(findings=list(loaded.findings))
    for manifest in loaded.manifests:
        _take(manifest, bundle)
    for found in bundle.reads:
        if isinstance(found.spec, InferenceGraphSpec):
            _check_graph(found.manifest, found.spec, bundle, local=local)
        if not local:
            _report(found.manifest, cluster_problems(found.spec), bundle)
    if not bundle.seen and not bundle.findings:
        bundle.findings.append(
            Finding(loaded.place, 1, "", "", f"no resource of {GROUP} here: give its files")
        )
    return bundle


def _take(manifest: Manifest, bundle: Bundle) -> None:
    if not manifest.ours:
        version = manifest.data.get("apiVersion", "no apiVersion")
        bundle.notes.append(f"{manifest.file}: {manifest.resource} ({version}) is not ours: passed over")
        return
    try:
        spec = read(manifest.data)
    except InvalidSpec as error:
        bundle.refused += 1
        bundle.broken.add(Name(manifest.namespace, manifest.name))
        _report(manifest, error.problems, bundle)
        return
    if isinstance(spec, ModelDeploymentSpec):
        _register(manifest, spec, bundle.models, bundle)
    elif isinstance(spec, InferenceGraphSpec):
        _register(manifest, spec, bundle.graphs, bundle)


def _register(manifest: Manifest, spec: _Spec, known: dict[Name, _Spec], bundle: Bundle) -> None:
    name = Name(manifest.namespace, manifest.name)
    if name in known:
        message = f"{manifest.resource} is there twice in namespace {name.namespace}: rename or remove one"
        bundle.findings.append(manifest.finding("metadata.name", message))
        bundle.refused += 1
        return
    known[name] = spec
    bundle.reads.append(Read(manifest, spec))


def _check_graph(manifest: Manifest, spec: InferenceGraphSpec, bundle: Bundle, *, local: bool) -> None:
    contracts = bundle.contracts(manifest.namespace)
    _report(manifest, check_graph(spec, contracts), bundle)
    broken = {name for namespace, name in bundle.broken if namespace == manifest.namespace}
    _tell_missing(manifest, spec, {*contracts, *broken}, bundle, local=local)


def _tell_missing(
    manifest: Manifest, spec: InferenceGraphSpec, present: set[str], bundle: Bundle, *, local: bool
) -> None:
    """A model may well be in the cluster already. It is taken for misspelt when the files hold one of nearly its
    name that the graph does not call.
    """
    spare = sorted(present - set(models_called(spec)))
    elsewhere = []
    for name in sorted(set(models_called(spec)) - present):
        near = get_close_matches(name, spare, n=1, cutoff=NEAR)
        if not near and not local:
            elsewhere.append(name)
            continue
        remedy = f"did you mean {near[0]}?" if near else "add it"
        message = f"no ModelDeployment {name} in these files: {remedy}"
        bundle.findings.append(manifest.finding(_call_of(spec, name), message))
    if elsewhere:
        bundle.notes.append(
            f"{manifest.file}: {manifest.resource} calls {', '.join(elsewhere)}, not in these files: "
            "what it reads of them was not checked"
        )


def _call_of(spec: InferenceGraphSpec, name: str) -> str:
    """The field that names the model first."""
    for index, step in enumerate(spec.steps):
        if step.model_name == name:
            return f"spec.steps[{index}].{step.kind}.model"
    return "spec.fallback"


def _report(manifest: Manifest, problems: Iterable[Problem], bundle: Bundle) -> None:
    for field_name, message in problems:
        bundle.findings.append(manifest.finding(field_name, message))
