# SPDX-License-Identifier: Apache-2.0
"""What graphs and stores are told of experiments: graphs what the records say, never what a status does.

A graph checks for itself what it takes: between the decision of an experiment and the next edit of the graph lies no
lock, and an overlay that no longer fits must not cost the graph its configuration.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache

from endcap_api.experiment_checks import Placed, check_experiment, check_served_experiments, conflicts
from endcap_api.experiment_config import (
    ExperimentConfig,
    MeasuredConfig,
    experiment_config,
    experiment_id,
    measured_config,
)
from endcap_api.runtime_config import GraphConfig, ModelContract
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_operator.manifests.identity import model_url, service_url
from endcap_operator.plan.experiment.beginning import changed, told_of
from endcap_operator.plan.experiment.record import Record, assigned_of, read_record
from endcap_operator.plan.facts import Observed
from endcap_operator.plan.remembered import MOST, Keyed

# From the write of a configuration to its reading by a pod that was nudged: 0.7 to 1 s, and as long to compile it.
LEAD_MS = 1200
_BARE = {"experiments": None, "activate_at_ms": None}


def records_of(observed: Observed) -> Iterator[tuple[str, ExperimentSpec, Record | None]]:
    for name, spec, other in observed.experiments():
        yield name, spec, _read(other.record, experiment_id(other.uid))


@lru_cache(maxsize=MOST)
def _read(text: str | None, identity: str) -> Record | None:
    return read_record(text, identity)


def routed_records(observed: Observed) -> Iterator[tuple[str, ExperimentSpec, Record]]:
    """Of the experiments that graphs carry."""
    for name, spec, record in records_of(observed):
        if record is not None and record.routed:
            yield name, spec, record


def conflicts_in(observed: Observed) -> dict[str, str]:
    """Of the experiments that are seen those that another keeps out, and why."""
    records = {name: record for name, _, record in records_of(observed)}
    placed = {
        name: _placed(spec, other.created, records[name]) for name, spec, other in observed.experiments()
    }
    return {name: str(problem) for name, problem in conflicts(placed).items()}


def _placed(spec: ExperimentSpec, created: str, record: Record | None) -> Placed:
    """One that is paused has let its units go: who runs meanwhile keeps them."""
    begun = record is not None and record.phase not in ("Pending", "Paused")
    return Placed(spec, created, ended=record is not None and record.final, begun=begun)


def measured_in(store: str, observed: Observed) -> Iterator[tuple[str, MeasuredConfig]]:
    """The experiments that a store counts, from before they begin until they are deleted."""
    for name, spec, other in observed.experiments():
        if spec.store == store:
            yield name, measured_config(spec, experiment_id(other.uid))


def all_contracts(
    namespace: str, observed: Observed, names: Collection[str] | None = None
) -> dict[str, ModelContract]:
    """Of every model that is seen, or of those that are named."""
    specs = observed.specs(ModelDeploymentSpec)
    return {
        name: ModelContract.of(spec, model_url(name, namespace))
        for name, spec in specs.items()
        if names is None or name in names
    }


def held_contracts(observed: Observed, before: GraphConfig | None) -> dict[str, ModelContract]:
    """Of models that an experiment holds at what they were, or whose resource went under it: as they were before."""
    known = before.models if before else {}
    specs = observed.specs(ModelDeploymentSpec)
    found: dict[str, ModelContract] = {}
    for _, spec, record in routed_records(observed):
        pinned = {pin.model: pin.sha256 for pin in record.pins.values()}
        names = [name for name in sorted({*pinned, *spec.models}) if name in known]
        found |= {n: known[n] for n in names if n not in specs or specs[n].model.sha256 != pinned.get(n)}
    return found


def overlaid_config(config: GraphConfig, before: GraphConfig | None, observed: Observed) -> GraphConfig:
    """The configuration of a graph with the experiments on it, and the contracts of the models of their variants."""
    if not any(observed.experiments()):
        return config
    contracts = {
        **all_contracts(config.namespace, observed),
        **held_contracts(observed, before),
        **config.models,
    }
    carried = dict(_carried(config.model_copy(update={"models": contracts}), before, observed))
    if not carried:
        return config
    models = {name: contracts[name] for name in sorted({*config.models, *models_of(carried)})}
    return config.model_copy(update={"experiments": carried, "models": models})


def _carried(
    config: GraphConfig, before: GraphConfig | None, observed: Observed
) -> Iterator[tuple[str, ExperimentConfig]]:
    """What is wrong with a spec alone takes nothing that has begun out of the graph: its units would all change."""
    refused, known = conflicts_in(observed), _known(before, observed)
    for name, spec, record in records_of(observed):
        if spec.graph != config.name or name in refused:
            continue
        told = _told(name, spec, record, config.namespace, known.get(name))
        if told is not None and _fits(name, told, config):
            yield name, told


def _known(before: GraphConfig | None, observed: Observed) -> dict[str, ExperimentConfig]:
    """What the graph carries already; of one that was deleted nothing is left to a later one of its name."""
    ids = {name: experiment_id(other.uid) for name, _, other in observed.experiments()}
    carried = (before.experiments if before else None) or {}
    return {name: told for name, told in carried.items() if told.id == ids.get(name)}


def _told(
    name: str, spec: ExperimentSpec, record: Record | None, namespace: str, was: ExperimentConfig | None
) -> ExperimentConfig | None:
    """What was decided last: also where the spec asks for what has not been decided (yet), and while the record is
    being made again.
    """
    if record is None:
        return was
    if not record.routed or _is_changed(name, spec, record):
        return was if record.routed else None
    if was is not None and record.told != told_of(spec):
        return was
    return _decided(name, spec, record, namespace)


def _fits(name: str, told: ExperimentConfig, config: GraphConfig) -> bool:
    alone = config.model_copy(update={"experiments": {name: told}, "activate_at_ms": None})
    return _can_be_served(Keyed(alone.model_dump_json(), alone))


@lru_cache(maxsize=MOST)
def _can_be_served(config: Keyed[GraphConfig]) -> bool:
    return not check_served_experiments(config.value)


def problems_on(spec: ExperimentSpec, config: GraphConfig | None) -> tuple[str, ...]:
    """What is wrong with an experiment on a graph; `config` has the contracts of all that the experiment names."""
    key = f"{spec.model_dump_json()}{config.model_copy(update=_BARE).model_dump_json() if config else ''}"
    return _problems_on(Keyed(key, (spec, config)))


@lru_cache(maxsize=MOST)
def _problems_on(pair: Keyed[tuple[ExperimentSpec, GraphConfig | None]]) -> tuple[str, ...]:
    spec, config = pair.value
    if config is None:
        return tuple(map(str, check_experiment(spec, None, {})))
    return tuple(map(str, check_experiment(spec, config.spec, config.models, config.bundles, config.views)))


def _is_changed(name: str, spec: ExperimentSpec, record: Record) -> bool:
    """Whether a field that it began with is another, by an edit that the API server should have refused."""
    began = json.dumps(record.began, sort_keys=True)
    return _changed(name, Keyed(f"{began}{spec.model_dump_json()}", (spec, record)))


@lru_cache(maxsize=MOST)
def _changed(name: str, pair: Keyed[tuple[ExperimentSpec, Record]]) -> bool:
    return bool(changed(name, *pair.value))


def _decided(name: str, spec: ExperimentSpec, record: Record, namespace: str) -> ExperimentConfig | None:
    url = service_url(f"{spec.store}-ingest", namespace) if spec.store else None
    assigned = assigned_of(record, url)
    settled = spec.model_copy(update={"enabled": record.phase != "Paused"})
    return experiment_config(name, settled, assigned) if assigned else None


def activated(config: GraphConfig, before: GraphConfig | None, now_ms: int) -> GraphConfig:
    """What is served already began when it began; of another revision that has experiments, or had, all replicas begin
    at once. Without experiments each begins when it has it.
    """
    if before is None:
        return config
    if before.revision == config.revision:
        return config.model_copy(update={"activate_at_ms": before.activate_at_ms})
    together = config.experiments or before.experiments
    return config.model_copy(update={"activate_at_ms": now_ms + LEAD_MS}) if together else config


def models_of(experiments: Mapping[str, ExperimentConfig] | None) -> set[str]:
    """The ModelDeployments that variants name."""
    return {v.model for experiment in (experiments or {}).values() for v in experiment.variants if v.model}
