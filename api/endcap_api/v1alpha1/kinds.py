# SPDX-License-Identifier: Apache-2.0
"""The kinds of the group: their names, their columns in kubectl, their spec and status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from endcap_api.v1alpha1.base import Element, Rule
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.experimentrules import TRANSITIONS
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featurestore import FeatureStoreSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_api.v1alpha1.status import (
    ExperimentStatus,
    FeatureBundleStatus,
    FeatureStoreStatus,
    FeatureViewStatus,
    InferenceGraphStatus,
    ModelDeploymentStatus,
)

GROUP = "endcap.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
# The children carry the resource's name and a suffix in a label and a Service name, which hold 63 characters.
NAME_PATTERN = "^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"
NAME_RULE = Rule(
    f"self.metadata.name.matches('{NAME_PATTERN}')",
    "metadata.name is 1 to 40 lower-case letters, digits and -, a letter first: rename the resource",
)


@dataclass(frozen=True)
class PrinterColumn:
    """A column of `kubectl get`; priority 1 shows with -o wide."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True)
class Kind:
    """A custom resource of the group."""

    name: str
    plural: str
    short: str
    description: str
    spec: type[Element]
    status: type[Element]
    columns: tuple[PrinterColumn, ...]
    replicas: str | None = None
    """Path of what `kubectl scale` sets; None for a kind without pods."""
    transitions: tuple[Rule, ...] = ()
    """Rules over the whole object and `oldSelf`: only the API server can keep them."""

    @property
    def singular(self) -> str:
        return self.name.lower()

    @property
    def crd(self) -> str:
        return f"{self.plural}.{GROUP}"


def _condition(name: str, part: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{name}")].{part}'


_HEALTH = PrinterColumn("Health", _condition("Degraded", "reason"))
_AGE = PrinterColumn("Age", ".metadata.creationTimestamp", "date")
_READY = PrinterColumn("Ready", _condition("Ready"))
_REASON = PrinterColumn("Reason", _condition("Ready", "reason"))

MODEL_DEPLOYMENT = Kind(
    name="ModelDeployment",
    plural="modeldeployments",
    short="mdep",
    description="A model that is served by pods of its own.",
    spec=ModelDeploymentSpec,
    status=ModelDeploymentStatus,
    columns=(
        PrinterColumn("Framework", ".spec.framework"),
        PrinterColumn("Version", ".status.version"),
        _READY,
        PrinterColumn("Replicas", ".status.readyReplicas", "integer"),
        _REASON,
        _HEALTH,
        PrinterColumn("URL", ".status.url", priority=1),
        PrinterColumn("Message", _condition("Ready", "message"), priority=1),
        _AGE,
    ),
    replicas=".spec.replicas.min",
)

INFERENCE_GRAPH = Kind(
    name="InferenceGraph",
    plural="inferencegraphs",
    short="ig",
    description="A graph of named steps: a readable request in, recommendations with reasons out.",
    spec=InferenceGraphSpec,
    status=InferenceGraphStatus,
    columns=(
        PrinterColumn("URL", ".status.url"),
        _READY,
        PrinterColumn("Steps", ".status.steps", "integer"),
        PrinterColumn("Serving", ".status.serving"),
        _REASON,
        _HEALTH,
        PrinterColumn("Models", ".status.models", priority=1),
        PrinterColumn("Experiments", ".status.experiments", priority=1),
        PrinterColumn("Message", _condition("Ready", "message"), priority=1),
        _AGE,
    ),
    replicas=".spec.replicas.min",
)

FEATURE_STORE = Kind(
    name="FeatureStore",
    plural="featurestores",
    short="fs",
    description="Where features live: a Redis of its own by default, with the pods that bring events in.",
    spec=FeatureStoreSpec,
    status=FeatureStoreStatus,
    columns=(
        PrinterColumn("Backend", ".status.backend"),
        _READY,
        PrinterColumn("Views", ".status.views", "integer"),
        PrinterColumn("Lag", ".status.lag"),
        PrinterColumn("Dead letters", ".status.deadLetters", "integer"),
        _REASON,
        PrinterColumn("URL", ".status.url", priority=1),
        PrinterColumn("Message", _condition("Ready", "message"), priority=1),
        _AGE,
    ),
    replicas=".spec.ingest.replicas.min",
)

FEATURE_VIEW = Kind(
    name="FeatureView",
    plural="featureviews",
    short="fv",
    description="Features of one entity: where they come from, over which windows, and what they mean.",
    spec=FeatureViewSpec,
    status=FeatureViewStatus,
    columns=(
        PrinterColumn("Entity", ".spec.entity.name"),
        PrinterColumn("Layout", ".status.layout"),
        PrinterColumn("Valid", _condition("Valid")),
        PrinterColumn("Warm", _condition("Warm")),
        PrinterColumn("Fresh", _condition("Fresh")),
        PrinterColumn("Lag", ".status.lag"),
        PrinterColumn("Bytes", ".status.bytesPerEntity", "integer"),
        PrinterColumn("Warmth", ".status.warmth", priority=1),
        PrinterColumn("Bundles", ".status.bundles", priority=1),
        PrinterColumn("Message", _condition("Valid", "message"), priority=1),
        _AGE,
    ),
)

FEATURE_BUNDLE = Kind(
    name="FeatureBundle",
    plural="featurebundles",
    short="fb",
    description="A named, described, ordered list of features that a graph or a model asks for by one name.",
    spec=FeatureBundleSpec,
    status=FeatureBundleStatus,
    columns=(
        PrinterColumn("Entity", ".status.entity"),
        PrinterColumn("Features", ".status.features", "integer"),
        _READY,
        _REASON,
        PrinterColumn("Views", ".status.views", priority=1),
        PrinterColumn("Used by", ".status.usedBy", priority=1),
        PrinterColumn("Message", _condition("Ready", "message"), priority=1),
        _AGE,
    ),
)

EXPERIMENT = Kind(
    name="Experiment",
    plural="experiments",
    short="exp",
    description="An A/B test, a canary or a shadow: it overlays one step of a graph, which itself does not change.",
    spec=ExperimentSpec,
    status=ExperimentStatus,
    columns=(
        _READY,
        PrinterColumn("Graph", ".spec.graph"),
        PrinterColumn("Step", ".spec.step"),
        PrinterColumn("Phase", ".status.phase"),
        PrinterColumn("Traffic", ".status.traffic"),
        PrinterColumn("Split", ".status.split"),
        PrinterColumn("Units", ".status.units", "integer"),
        PrinterColumn("SRM", ".status.sampleRatio"),
        PrinterColumn("Primary", ".status.primary"),
        PrinterColumn("Guardrails", ".status.guardrail"),
        PrinterColumn("Verdict", ".status.verdict"),
        PrinterColumn("Serving", ".status.serving", priority=1),
        PrinterColumn("Message", _condition("Ready", "message"), priority=1),
        _AGE,
    ),
    transitions=TRANSITIONS,
)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (MODEL_DEPLOYMENT, INFERENCE_GRAPH, FEATURE_STORE, FEATURE_VIEW, FEATURE_BUNDLE, EXPERIMENT)
}


def parse(manifest: dict[str, Any]) -> Element:
    """The spec of a manifest of one of our kinds; raises pydantic.ValidationError naming the field."""
    return KINDS[manifest["kind"]].spec.model_validate(manifest["spec"], by_alias=True, by_name=False)
