# SPDX-License-Identifier: Apache-2.0
"""Everything that a set of files asks for, with what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from endcap_api.problem import Problem
from endcap_api.runtime_config import ModelContract
from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featurestore import FeatureStoreSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_api.validation import InvalidSpec, read
from endcap_cli.manifests import Finding, Manifest

_Spec = TypeVar("_Spec", bound=Element)
_Value = TypeVar("_Value")


class Name(NamedTuple):
    namespace: str
    name: str


@dataclass(frozen=True)
class Read:
    """A resource whose own fields are right, and the manifest that it was read from."""

    manifest: Manifest
    spec: Element

    @property
    def kind(self) -> str:
        return str(self.manifest.data["kind"])

    @property
    def name(self) -> Name:
        return Name(self.manifest.namespace, self.manifest.name)


@dataclass
class Workspace:
    """`findings` must be empty before anything is served; `notes` are for information.

    `broken` are resources whose own fields are wrong, by kind: that they cannot be asked is no further problem of
    those that name them.
    """

    reads: list[Read] = field(default_factory=list)
    broken: set[tuple[str, Name]] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: int = 0

    @property
    def seen(self) -> int:
        """How many resources of ours the files hold, sound or not."""
        return len(self.reads) + self.refused

    @property
    def models(self) -> dict[Name, ModelDeploymentSpec]:
        return self._of(ModelDeploymentSpec)

    @property
    def graphs(self) -> dict[Name, InferenceGraphSpec]:
        return self._of(InferenceGraphSpec)

    @property
    def stores(self) -> dict[Name, FeatureStoreSpec]:
        return self._of(FeatureStoreSpec)

    @property
    def views(self) -> dict[Name, FeatureViewSpec]:
        return self._of(FeatureViewSpec)

    @property
    def bundles(self) -> dict[Name, FeatureBundleSpec]:
        return self._of(FeatureBundleSpec)

    @property
    def experiments(self) -> dict[Name, ExperimentSpec]:
        return self._of(ExperimentSpec)

    def _of(self, spec: type[_Spec]) -> dict[Name, _Spec]:
        return {one.name: one.spec for one in self.reads if isinstance(one.spec, spec)}

    def contracts(self, namespace: str) -> dict[str, ModelContract]:
        """The models of a namespace as a graph there sees them."""
        return {
            name: ModelContract.of(spec, f"http://{name}")
            for name, spec in within(self.models, namespace).items()
        }

    def take(self, manifest: Manifest) -> None:
        """Read a manifest; what is wrong with its own fields is a finding."""
        if not manifest.ours:
            version = manifest.data.get("apiVersion", "no apiVersion")
            self.notes.append(f"{manifest.file}: {manifest.resource} ({version}) is not ours: passed over")
            return
        try:
            self._register(Read(manifest, read(manifest.data)))
        except InvalidSpec as error:
            self.refused += 1
            self.broken.add((str(manifest.data.get("kind")), Name(manifest.namespace, manifest.name)))
            self.report(manifest, error.problems)

    def _register(self, found: Read) -> None:
        first = next((one for one in self.reads if (one.kind, one.name) == (found.kind, found.name)), None)
        if first:
            where = f"is there twice in namespace {found.name.namespace}, first in {first.manifest.file}"
            message = f"{found.manifest.resource} {where}: rename or remove one"
            self.findings.append(found.manifest.finding("metadata.name", message))
            self.refused += 1
        else:
            self.reads.append(found)

    def report(self, manifest: Manifest, problems: Iterable[Problem]) -> None:
        for field_name, message in problems:
            self.findings.append(manifest.finding(field_name, message))


def within(specs: Mapping[Name, _Value], namespace: str) -> dict[str, _Value]:
    """Those of a namespace, by their names alone."""
    return {name.name: spec for name, spec in specs.items() if name.namespace == namespace}
