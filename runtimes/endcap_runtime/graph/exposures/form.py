# SPDX-License-Identifier: Apache-2.0
"""What an exposure says: who met which variant, by what chance, and what it was that they met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import orjson
from prometheus_client import Counter

from endcap_api.assigner import COUNTED, EXPOSED, Reason
from endcap_api.experiment_config import ExperimentConfig
from endcap_api.runtime_config import GraphConfig
from endcap_runtime.graph.exposures.covariates import Covariate, values_of
from endcap_runtime.graph.exposures.ingest import origin_of
from endcap_runtime.graph.failures import InvalidSpec
from endcap_runtime.graph.items import Items
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.query import Query

SCHEMA = 1
MOST_BYTES = 65_536
_DIGITS = 1  # of a millisecond


class Met(Protocol):
    """What one unit met of one experiment in one request.

    served: the variant that served; None where the step gave nothing. bucket: of the experiment's salt.
    """

    @property
    def variant(self) -> str: ...
    @property
    def served(self) -> str | None: ...
    @property
    def reason(self) -> Reason: ...
    @property
    def unit(self) -> str | None: ...
    @property
    def unit_type(self) -> str | None: ...
    @property
    def bucket(self) -> int | None: ...
    @property
    def propensity(self) -> float: ...


class Moment(NamedTuple):
    """When a request came, in ms since 1970, and how many ms it took."""

    time_ms: int
    latency_ms: float


@dataclass(frozen=True, slots=True)
class ExposedExperiment:
    """One experiment whose exposures are kept.

    store: URL of the ingest. fixed: what is the same for all units. digests: of the artefacts of variants. lookups:
    whether anything is looked up, so that there is an age to tell.
    """

    store: str
    step: str
    identity: tuple[str, str]
    fixed: Mapping[str, Any]
    digests: Mapping[str, str | None]
    covariates: Sequence[Covariate]

    def key(self, met: Met) -> int:
        """What a day remembers: a unit that meets another variant, or that counts from now on, is told again."""
        return hash((met.unit, self.identity, met.variant, met.reason in COUNTED))

    def value(self, met: Met, query: Query, moment: Moment) -> dict[str, Any]:
        note = query.notes.get(self.step)
        served = met.served
        return {
            **self.fixed,
            "time_ms": moment.time_ms,
            "unit": met.unit,
            "unit_type": met.unit_type,
            "bucket": met.bucket,
            "eligible": met.reason != "held_out",
            "variant": met.variant,
            "served": served,
            "reason": met.reason,
            "propensity": met.propensity,
            "in_analysis": met.reason in COUNTED,
            "model": note.model if note else None,
            "digest": self.digests.get(served) if served else None,
            "request_id": query.call.request_id,
            "latency_ms": round(moment.latency_ms, _DIGITS),
            "feature_freshness_ms": _freshness(query),
            "covariates": values_of(self.covariates, query),
        }


@dataclass(frozen=True, slots=True)
class ExposureForm:
    """How one revision of a graph tells exposures; keys: of the catalogue, by row."""

    experiments: Mapping[str, ExposedExperiment]
    keys: Sequence[str]
    sent: Counter
    dropped: Counter

    def met(self, assignments: Mapping[str, Met]) -> Iterator[tuple[ExposedExperiment, Met]]:
        """What is to be told of a request, before it is asked whether it has been."""
        for name, experiment in self.experiments.items():
            met = assignments.get(name)
            if met is not None and met.reason in EXPOSED and met.unit:
                yield experiment, met

    def body(self, experiment: ExposedExperiment, met: Met, query: Query, moment: Moment) -> bytes:
        """Of a very long answer only the first products are told: as many as a store takes."""
        value, items = experiment.value(met, query, moment), self._items(query)
        while len(body := orjson.dumps({**value, "items": items})) > MOST_BYTES and items:
            items = items[: len(items) // 2]
        return body

    def _items(self, query: Query) -> list[dict[str, Any]]:
        rows = query.candidates.rows.tolist() if query.candidates else []
        return [{"product": self.keys[row], "position": place} for place, row in enumerate(rows, start=1)]


def _freshness(query: Query) -> int | None:
    """The age in ms of the oldest features of the request, None where there are none."""
    ages = [
        each.found.freshness_ms
        for found in query.looked_up.values()
        for each in found
        if each.found is not None
    ]
    return max(ages, default=None)


def exposure_form(
    config: GraphConfig, covariates: Sequence[Covariate], items: Items, metrics: GraphMetrics
) -> ExposureForm:
    """Raises InvalidSpec where exposures could be sent nowhere."""
    return ExposureForm(
        experiments=dict(_experiments(config, covariates)),
        keys=items.keys,
        sent=metrics.experiment_exposures.labels(config.name, "sent"),
        dropped=metrics.experiment_exposures.labels(config.name, "dropped"),
    )


def _experiments(
    config: GraphConfig, covariates: Sequence[Covariate]
) -> Iterator[tuple[str, ExposedExperiment]]:
    for name, experiment in (config.experiments or {}).items():
        if experiment.exposures and experiment.mode == "split":
            yield (
                name,
                ExposedExperiment(
                    store=_checked(name, experiment.exposures),
                    step=experiment.step,
                    identity=(experiment.id, experiment.phase),
                    fixed=_fixed(config.name, name, experiment),
                    digests={variant.name: variant.digest for variant in experiment.variants},
                    covariates=[each for each in covariates if each.experiment == name],
                ),
            )


def _checked(name: str, url: str) -> str:
    try:
        origin_of(url)
    except ValueError:
        remedy = "write it as http://host[:port]"
        raise InvalidSpec(f"experiments.{name}.exposures: {url} is no URL of an ingest: {remedy}") from None
    return url


def _fixed(graph: str, name: str, experiment: ExperimentConfig) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "graph": graph,
        "step": experiment.step,
        "experiment": name,
        "experiment_id": experiment.id,
        "phase": experiment.phase,
        "revision": experiment.revision,
        "epoch": experiment.epoch,
    }
