# SPDX-License-Identifier: Apache-2.0
"""A configuration made ready: the views of the one store, and which of them read an event of a type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rapidfuzz import process

from endcap_api.features_config import FeaturesConfig, StoreConfig
from endcap_runtime.features import lookup
from endcap_runtime.features.experiments.measured import Measured, compile_measured
from endcap_runtime.features.layout import View
from endcap_runtime.features.lookup.loading import Refused, compiled_of


@dataclass(frozen=True, slots=True)
class Compiled:
    """One revision; `readers` and `measuring` are stream views and experiments by the types of events that they count.

    `experiments` are by id.
    """

    revision: str
    config: FeaturesConfig
    store: StoreConfig
    views: Mapping[str, View]
    readers: Mapping[str, tuple[View, ...]]
    bundles: Mapping[str, lookup.Bundle]
    experiments: Mapping[str, Measured]
    measuring: Mapping[str, tuple[Measured, ...]]

    @property
    def event_types(self) -> set[str]:
        """That somebody reads."""
        return {*self.readers, *self.measuring}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """What may have been meant."""
    found = process.extractOne(name, list(known), score_cutoff=60)
    return found and str(found[0])


def compile_features(text: bytes) -> Compiled:
    """Raises Refused."""
    made = compiled_of(text)
    config = made.config
    if len(config.stores) != 1:
        raise Refused(made.revision, "InvalidSpec", "an ingest pod has exactly one store: name one")
    ((_, store),) = config.stores.items()
    experiments = [
        compile_measured(name, measured, store.prefix)
        for name, measured in (config.experiments or {}).items()
    ]
    return Compiled(
        revision=made.revision,
        config=config,
        store=store,
        views=made.views,
        readers=_readers(config, made.views),
        bundles=made.bundles,
        experiments={measured.id: measured for measured in experiments},
        measuring=_measuring(experiments),
    )


def _measuring(experiments: Iterable[Measured]) -> dict[str, tuple[Measured, ...]]:
    measuring: dict[str, tuple[Measured, ...]] = {}
    for measured in experiments:
        for event in measured.events:
            measuring[event] = (*measuring.get(event, ()), measured)
    return measuring


def _readers(config: FeaturesConfig, views: Mapping[str, View]) -> dict[str, tuple[View, ...]]:
    readers: dict[str, tuple[View, ...]] = {}
    for name, view in config.views.items():
        for event in dict.fromkeys(feature.event for feature in view.spec.features if feature.event):
            readers[event] = (*readers.get(event, ()), views[name])
    return readers
