# SPDX-License-Identifier: Apache-2.0
"""What graphs and ingest pods are told of experiments, and the pages on which they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import Field

from endcap_api.assignment import Ranges, covered, parse_ranges, size
from endcap_api.digest import digest_of
from endcap_api.v1alpha1.base import Element, milliseconds
from endcap_api.v1alpha1.experiment import ExperimentSpec, Holdout, Layer, Mode, Variant
from endcap_api.v1alpha1.measurement import Event, Metric
from endcap_api.v1alpha1.steps import Expression, Inputs, Rank, Step


class VariantConfig(Element):
    """A variant of a step in a graph.

    buckets: those that are covered now, as ranges in order. weight: how many it has at full coverage. digest: of the
    artefact that is pinned, where it names a model.
    """

    name: str
    baseline: bool = False
    model: str | None = None
    by: str | None = None
    inputs: Inputs | None = None
    buckets: list[str]
    weight: int = Field(ge=0)
    digest: str | None = None


class ExperimentConfig(Element):
    """One experiment as a graph's pods run it; `id` names it for ever, a new one of the same name has another.

    revision counts what was ever served of it. epoch counts ratios of weights: within one, the ratio is constant.
    everyone: the variant that every unit gets without being counted, after a promotion. exposures: URL of the ingest
    Service that keeps the exposures; None: they are not kept. covariates: by metric, evaluated when a unit is first
    exposed.
    """

    id: str
    revision: int = Field(ge=1)
    epoch: int = Field(ge=1)
    phase: str
    step: str
    mode: Mode
    enabled: bool
    unit: list[str]
    salt: str
    variants: list[VariantConfig]
    targeting: Expression | None = None
    layer: Layer | None = None
    holdout: Holdout | None = None
    overrides: dict[str, str] | None = None
    everyone: str | None = None
    exposures: str | None = None
    covariates: dict[str, Expression] | None = None

    @property
    def baseline(self) -> VariantConfig:
        return next(variant for variant in self.variants if variant.baseline)


class MetricConfig(Element):
    """A metric as ingest joins it: two sums a unit, `per` for ratios only. window_ms: how long outcomes count."""

    name: str
    unit: str
    numerator: Event
    conversion: bool = False
    per: Event | None = None
    window_ms: int = Field(ge=1)


class MeasuredConfig(Element):
    """One experiment as ingest counts it."""

    id: str
    variants: list[str]
    metrics: list[MetricConfig]


class Sums(Element):
    """Over the units of one variant in one epoch, of one metric: y its value, x its covariate, d the `per` of a ratio.

    A unit without outcomes counts with y = 0; all sums are over all exposed units.
    """

    y: float = 0.0
    yy: float = 0.0
    x: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    d: float = 0.0
    dd: float = 0.0
    yd: float = 0.0


class VariantSums(Element):
    """Units that were first exposed to a variant in an epoch. crossed: those that were later exposed to another
    variant; fallback: those whose first exposure was not served by their variant.
    """

    units: int = Field(default=0, ge=0)
    crossed: int = Field(default=0, ge=0)
    fallback: int = Field(default=0, ge=0)
    metrics: dict[str, Sums] = Field(default_factory=dict)


class ExperimentSums(Element):
    """`GET /v1/experiments/{id}` of an ingest pod: by epoch (as text), then by variant. newest_ms: time of the newest
    exposure or outcome that was counted; None before the first.
    """

    id: str
    at_ms: int
    newest_ms: int | None = None
    lag_ms: int = 0
    epochs: dict[str, dict[str, VariantSums]] = Field(default_factory=dict)


class Latency(Element):
    """Requests by latency: those of `counts[i]` took at most 0.1 ms x 1.05^i, and more than those before."""

    counts: list[int] = Field(default_factory=list)


class Agreement(Element):
    """Sums over compared requests: overlap of the first ten of both orders (0 to 1), Spearman's correlation of ranks.

    step_latency: of the shadow's own calls.
    """

    compared: int = 0
    dropped: int = 0
    errors: int = 0
    overlap: float = 0.0
    correlation: float = 0.0
    latency: Latency = Latency()


class VariantServing(Element):
    """What one pod did for a variant within the last minute; forced requests are not among them.

    requests: assigned to it. served: of them, those that it served itself. errors: it failed, or there was no answer.
    degraded: answers that had to do without a step, whichever. shadow: comparisons with the baseline, for mode shadow.
    """

    requests: int = 0
    served: int = 0
    errors: int = 0
    degraded: int = 0
    latency: Latency = Latency()
    shadow: Agreement | None = None


class ExperimentServing(Element):
    """One experiment in `GET /-/experiments` of a graph pod."""

    id: str
    revision: int
    variants: dict[str, VariantServing]


class ServingPage(Element):
    """`GET /-/experiments`: the last `window_ms` milliseconds, by name of the experiment."""

    window_ms: int
    experiments: dict[str, ExperimentServing] = Field(default_factory=dict)


def default_salt(graph: str, step: str, name: str) -> str:
    return f"{graph}.{step}.{name}"


def experiment_id(uid: str) -> str:
    """Names the state of an experiment in the store: 12 hexadecimal digits."""
    return digest_of(["experiment", uid])


def salt_of(name: str, spec: ExperimentSpec) -> str:
    return spec.salt or default_salt(spec.graph, spec.step, name)


def weights_of(spec: ExperimentSpec) -> dict[str, int]:
    """Weight by variant. In a shadow all have the same: every one of them is asked for each unit that is covered."""
    return {variant.name: 1 if variant.weight is None else variant.weight for variant in spec.variants}


def given_ranges(spec: ExperimentSpec) -> dict[str, Ranges] | None:
    """The buckets that the spec itself gives, by variant; None where the weights decide. Raises ValueError for a range
    that is empty.
    """
    if any(variant.buckets is None for variant in spec.variants):
        return None
    return {variant.name: parse_ranges(variant.buckets or ()) for variant in spec.variants}


@dataclass(frozen=True)
class Assigned:
    """How far an experiment is: what, beside its spec, its graph has to know.

    ranges: of each variant at full coverage. coverage: percent. everyone, exposures: as in ExperimentConfig. digests:
    of artefacts that are pinned, by variant.
    """

    id: str
    revision: int
    epoch: int
    phase: str
    ranges: Mapping[str, Ranges]
    coverage: float
    everyone: str | None = None
    exposures: str | None = None
    digests: Mapping[str, str] = field(default_factory=dict)


def experiment_config(name: str, spec: ExperimentSpec, assigned: Assigned) -> ExperimentConfig:
    """What a graph's pods are told of an experiment."""
    return ExperimentConfig(
        id=assigned.id,
        revision=assigned.revision,
        epoch=assigned.epoch,
        phase=assigned.phase,
        step=spec.step,
        mode=spec.mode,
        enabled=spec.enabled,
        unit=spec.unit,
        salt=salt_of(name, spec),
        variants=[_variant_config(variant, assigned) for variant in spec.variants],
        targeting=spec.targeting,
        layer=spec.layer,
        holdout=spec.holdout,
        overrides=spec.overrides.units if spec.overrides else None,
        everyone=assigned.everyone,
        exposures=assigned.exposures,
        covariates={m.name: m.covariate for m in spec.metrics or () if m.covariate} or None,
    )


def _variant_config(variant: Variant, assigned: Assigned) -> VariantConfig:
    ranges = assigned.ranges[variant.name]
    return VariantConfig(
        name=variant.name,
        baseline=variant.baseline,
        model=variant.model,
        by=variant.by,
        inputs=variant.inputs,
        buckets=[str(each) for each in covered(ranges, assigned.coverage)],
        weight=size(ranges),
        digest=assigned.digests.get(variant.name),
    )


def measured_config(spec: ExperimentSpec, identity: str) -> MeasuredConfig:
    """What ingest pods are told of an experiment; `identity` is its id."""
    return MeasuredConfig(
        id=identity,
        variants=[variant.name for variant in spec.variants],
        metrics=[_metric_config(metric) for metric in spec.metrics or ()],
    )


def _metric_config(metric: Metric) -> MetricConfig:
    return MetricConfig(
        name=metric.name,
        unit=metric.unit,
        numerator=Event(event=metric.event, where=metric.where, field=metric.field),
        conversion=metric.conversion,
        per=metric.per,
        window_ms=milliseconds(metric.window),
    )


def overlaid(step: Step, variant: Variant | VariantConfig) -> Step:
    """A step as a variant does it. Raises ValueError where a step of this kind cannot be done so."""
    if variant.baseline:
        return step
    if variant.by is not None:
        if step.rank is None:
            raise ValueError(f"by is for a rank, and {step.name} is a {step.kind}: name a model")
        return step.model_copy(update={"rank": Rank(by=variant.by)})
    called = getattr(step, step.kind)
    if step.kind not in ("rank", "recall", "model") or (step.recall and step.recall.products):
        raise ValueError(
            f"{step.name} asks no model: an experiment overlays a rank, a recall of a model or a model"
        )
    if step.rank:
        return step.model_copy(
            update={"rank": Rank(model=variant.model, inputs=variant.inputs or step.rank.inputs)}
        )
    changed = {"model": variant.model, "inputs": variant.inputs or called.inputs}
    return step.model_copy(update={step.kind: called.model_copy(update=changed)})
