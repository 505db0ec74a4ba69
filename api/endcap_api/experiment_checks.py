# SPDX-License-Identifier: Apache-2.0
"""What must hold of experiments beyond the shape of their fields: their buckets, their graph, and each other.

Every problem names the field and the remedy. What does not exist yet is no problem of an experiment: pass the contracts
that are known, and ask `missing_of` for the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from endcap_api.assignment import Range, Ranges, parse_range, quotas, size
from endcap_api.experiment_config import ExperimentConfig, salt_of, weights_of
from endcap_api.lookup_checks import Known
from endcap_api.overlay_checks import Overlay, overlay_problems
from endcap_api.problem import Problem
from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.wiring import NO_BUNDLES, Bundles, Models, Views


def check_experiment(
    spec: ExperimentSpec,
    graph: InferenceGraphSpec | None,
    models: Models,
    bundles: Bundles | None = None,
    views: Views | None = None,
) -> list[Problem]:
    """Every problem of an experiment; without its graph those of the experiment alone."""
    known = Known(models, bundles or NO_BUNDLES, views or {})
    covariates = {
        f"spec.metrics[{index}].covariate": metric.covariate
        for index, metric in enumerate(spec.metrics or ())
        if metric.covariate
    }
    overlay = Overlay("spec", spec.step, spec.unit, spec.variants, spec.targeting, covariates)
    return [*_bucket_problems(spec), *(overlay_problems(overlay, graph, known) if graph else ())]


def missing_of(
    spec: ExperimentSpec, graphs: Collection[str], models: Collection[str], stores: Collection[str]
) -> list[str]:
    """What the experiment names and does not exist, e.g. `["InferenceGraph basket"]`."""
    named = [(graphs, "InferenceGraph", [spec.graph]), (models, "ModelDeployment", spec.models)]
    if spec.store is not None:
        named.append((stores, "FeatureStore", [spec.store]))
    return [f"{kind} {name}" for there, kind, names in named for name in names if name not in there]


def check_served_experiments(config: GraphConfig) -> list[Problem]:
    """Every problem of the experiments that a graph's pod is told of."""
    known = Known(config.models, config.bundles or NO_BUNDLES, config.views or {})
    return [
        problem
        for name, experiment in (config.experiments or {}).items()
        for problem in _served_problems(f"experiments.{name}", experiment, config.spec, known)
    ]


def _served_problems(
    at: str, experiment: ExperimentConfig, graph: InferenceGraphSpec, known: Known
) -> Iterator[Problem]:
    given = {f"{at}.variants[{i}].buckets": each.buckets for i, each in enumerate(experiment.variants)}
    yield from _apart_problems(given)
    for index, variant in enumerate(experiment.variants):
        if variant.model is not None and variant.model not in known.models:
            yield Problem(f"{at}.variants[{index}].model", f"no contract of {variant.model} is here")
    covariates = {f"{at}.covariates.{name}": text for name, text in (experiment.covariates or {}).items()}
    unit, variants = experiment.unit, experiment.variants
    overlay = Overlay(at, experiment.step, unit, variants, experiment.targeting, covariates)
    yield from overlay_problems(overlay, graph, known)


def _bucket_problems(spec: ExperimentSpec) -> Iterator[Problem]:
    if spec.layer is not None:
        places = {f"spec.layer.buckets[{i}]": [text] for i, text in enumerate(spec.layer.buckets)}
        yield from _apart_problems(places)
    given = {f"spec.variants[{i}].buckets": each.buckets or () for i, each in enumerate(spec.variants)}
    apart = list(_apart_problems(given))
    yield from apart or _quota_problems(spec)


def _apart_problems(given: Mapping[str, Sequence[str]]) -> Iterator[Problem]:
    """Ranges of several fields: each is one, and no bucket is in two."""
    taken: list[tuple[Range, str]] = []
    for field, texts in given.items():
        for text in texts:
            try:
                found = parse_range(text)
            except ValueError as error:
                yield Problem(field, str(error))
                continue
            other = next((each for each in taken if _meet((each[0],), (found,))), None)
            if other is not None:
                yield Problem(field, f"{text} and {other[0]} of {other[1]} have buckets in common: part them")
            taken.append((found, field))


def _meet(ones: Ranges, others: Ranges) -> bool:
    return any(a.start < b.end and b.start < a.end for a in ones for b in others)


def _quota_problems(spec: ExperimentSpec) -> Iterator[Problem]:
    """Each variant that is to have units has a bucket at least, and given buckets are what the weights say."""
    weights = weights_of(spec)
    for index, (variant, wanted) in enumerate(zip(spec.variants, quotas(weights).values(), strict=True)):
        where = f"spec.variants[{index}]"
        if variant.weight and not wanted:
            total = sum(weights.values())
            yield Problem(
                f"{where}.weight",
                f"{variant.weight} of {total} is less than one bucket of 10000: raise it, or make it 0",
            )
        if variant.buckets is not None and (has := size(tuple(map(parse_range, variant.buckets)))) != wanted:
            yield Problem(
                f"{where}.buckets",
                f"are {has} buckets, and its weight gives {wanted}: remove buckets from all variants (what has begun "
                "keeps its own), or copy them with endcap experiment export",
            )


@dataclass(frozen=True)
class Placed:
    """An experiment among others. created: the creationTimestamp. ended: it gets no more units. begun: it has some."""

    spec: ExperimentSpec
    created: str = ""
    ended: bool = False
    begun: bool = False

    @property
    def rank(self) -> tuple[bool, str]:
        """Who comes first stays: no experiment takes the units of one that has begun, then the older one."""
        return not self.begun, self.created


def conflicts(experiments: Mapping[str, Placed]) -> dict[str, Problem]:
    """Of the experiments of a namespace those that another keeps out, one that has begun or is older, and why.

    Enabled ones that have not ended must be apart: on one step only within one layer, and in a layer only with buckets
    of their own. One that is kept out keeps out nobody.
    """
    placed: dict[str, ExperimentSpec] = {}
    refused: dict[str, Problem] = {}
    for name in sorted(experiments, key=lambda each: (*experiments[each].rank, each)):
        one = experiments[name]
        if one.ended or not one.spec.enabled:
            continue
        found = next(filter(None, (_conflict(name, one.spec, *each) for each in placed.items())), None)
        if found is None:
            placed[name] = one.spec
        else:
            refused[name] = found
    return refused


def _conflict(name: str, spec: ExperimentSpec, older: str, other: ExperimentSpec) -> Problem | None:
    if salt_of(name, spec) == salt_of(older, other):
        remedy = "their units would be parted alike: remove salt, or write another"
        return Problem("spec.salt", f"is that of experiment {older}, so {remedy}")
    layer, theirs = spec.layer, other.layer
    if layer and theirs and layer.name == theirs.name:
        return _layer_conflict(layer.buckets, theirs.buckets, f"experiment {older} in layer {layer.name}")
    if (spec.graph, spec.step) == (other.graph, other.step):
        shared = theirs.name if theirs else layer.name if layer else spec.step
        return Problem(
            "spec.layer",
            f"experiment {older} is on step {spec.step} of graph {spec.graph} too: put both into one layer with "
            f'buckets of their own, e.g. {{name: {shared}, buckets: ["5000-10000"]}}, or set enabled: false on one',
        )
    return None


def _layer_conflict(ours: Sequence[str], theirs: Sequence[str], who: str) -> Problem | None:
    taken = _ranges(theirs)
    for text in ours:
        if _meet(_ranges([text]), taken):
            return Problem("spec.layer.buckets", f"{text} meets {', '.join(theirs)} of {who}: part them")
    return None


def _ranges(texts: Sequence[str]) -> Ranges:
    """Without what is no range, for which its own experiment is refused."""
    found = []
    for text in texts:
        with suppress(ValueError):
            found.append(parse_range(text))
    return tuple(found)
