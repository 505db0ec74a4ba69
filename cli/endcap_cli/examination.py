# SPDX-License-Identifier: Apache-2.0
"""The resources of a set of files, checked against each other with the operator's own code, so that a folder is
known to be sound before a cluster sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from endcap_api.experiment_checks import Placed, check_experiment, conflicts
from endcap_api.feature_checks import bundle_problems, view_problems
from endcap_api.graph_checks import check_graph, cluster_problems
from endcap_api.model_checks import model_feature_problems
from endcap_api.problem import Problem
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.kinds import GROUP
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_cli.feature_contracts import Features
from endcap_cli.manifests import Finding, Loaded
from endcap_cli.references import MODEL, Reference, references
from endcap_cli.workspace import Read, Workspace, within

NEAR = 0.6


def examine(loaded: Loaded, *, local: bool = False) -> Workspace:
    """What the manifests ask for and what is wrong with it.

    `local` is for `endcap run`: there `file://` works, and all that a resource names must be among the files.
    """
    workspace = Workspace(findings=list(loaded.findings))
    for manifest in loaded.manifests:
        workspace.take(manifest)
    for found in workspace.reads:
        workspace.report(found.manifest, _problems(found, workspace))
        _tell_missing(found, workspace, local=local)
        if not local and isinstance(found.spec, ModelDeploymentSpec | InferenceGraphSpec):
            workspace.report(found.manifest, cluster_problems(found.spec))
    _tell_conflicts(workspace)
    if not workspace.seen and not workspace.findings:
        message = f"no resource of {GROUP} here: give its files"
        workspace.findings.append(Finding(loaded.place, 1, "", "", message))
    return workspace


def _problems(found: Read, workspace: Workspace) -> Iterable[Problem]:
    namespace, spec = found.name.namespace, found.spec
    views = within(workspace.views, namespace)
    if isinstance(spec, FeatureViewSpec):
        return view_problems(spec)
    if isinstance(spec, FeatureBundleSpec):
        return bundle_problems(spec, views)
    known = Features.of(views, within(workspace.bundles, namespace))
    if isinstance(spec, ModelDeploymentSpec):
        return model_feature_problems(spec, known.bundle_contracts)
    if isinstance(spec, InferenceGraphSpec):
        return check_graph(
            spec,
            workspace.contracts(namespace),
            bundles=known.bundle_contracts,
            views=known.view_contracts,
        )
    if isinstance(spec, ExperimentSpec):
        graph = within(workspace.graphs, namespace).get(spec.graph)
        contracts = workspace.contracts(namespace)
        return check_experiment(spec, graph, contracts, known.bundle_contracts, known.view_contracts)
    return ()


def _tell_conflicts(workspace: Workspace) -> None:
    """Experiments of these files that cannot run at the same time; the cluster may have others."""
    for namespace in {name.namespace for name in workspace.experiments}:
        placed = {name: Placed(spec) for name, spec in within(workspace.experiments, namespace).items()}
        refused = conflicts(placed)
        for found in workspace.reads:
            if isinstance(found.spec, ExperimentSpec) and found.name.namespace == namespace:
                workspace.report(found.manifest, filter(None, [refused.get(found.name.name)]))


def _tell_missing(found: Read, workspace: Workspace, *, local: bool) -> None:
    """What a resource names may well be in the cluster already. It is taken for misspelt when the files hold one of
    nearly its name that the resource does not name.
    """
    elsewhere: list[Reference] = []
    for reference, near in _missing(found, workspace):
        if not near and not local:
            elsewhere.append(reference)
            continue
        remedy = f"did you mean {near}?" if near else "add it"
        message = f"no {reference.kind} {reference.name} in these files: {remedy}"
        workspace.findings.append(found.manifest.finding(reference.field, message))
    if elsewhere:
        workspace.notes.append(
            f"{found.manifest.file}: {found.manifest.resource} {_mentioned(elsewhere)}, not in these files: "
            "what it reads of them was not checked"
        )


def _missing(found: Read, workspace: Workspace) -> Iterator[tuple[Reference, str | None]]:
    """Each name that is not there, once, with the name that was probably meant."""
    named = list(references(found.spec))
    for reference in {(one.kind, one.name): one for one in reversed(named)}.values():
        present = _present(workspace, reference.kind, found.name.namespace)
        if reference.name in present:
            continue
        spare = sorted(present - {one.name for one in named if one.kind == reference.kind})
        yield reference, next(iter(get_close_matches(reference.name, spare, n=1, cutoff=NEAR)), None)


def _present(workspace: Workspace, kind: str, namespace: str) -> set[str]:
    """The resources of a kind in the files, sound or not."""
    sound = {one.name.name for one in workspace.reads if (one.kind, one.name.namespace) == (kind, namespace)}
    broken = {name.name for known, name in workspace.broken if (known, name.namespace) == (kind, namespace)}
    return sound | broken


def _mentioned(missing: Sequence[Reference]) -> str:
    """`calls a, b and names FeatureStore default`"""
    models = sorted(one.name for one in missing if one.kind == MODEL)
    others = sorted(f"{one.kind} {one.name}" for one in missing if one.kind != MODEL)
    parts = [f"calls {', '.join(models)}"] if models else []
    return " and ".join([*parts, *([f"names {', '.join(others)}"] if others else [])])
