# SPDX-License-Identifier: Apache-2.0
"""A configuration made ready: the views of the one store, and which of them read an event of a type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError
from rapidfuzz import process

from endcap_api.features_config import FeaturesConfig, StoreConfig
from endcap_runtime.features import lookup
from endcap_runtime.features.layout import View


class Refused(Exception):
    """The configuration cannot be used; the message says why and what to do."""

    def __init__(self, revision: str | None, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.revision, self.reason, self.message = revision, reason, message


@dataclass(frozen=True, slots=True)
class Compiled:
    """One revision; `readers` are the stream views by the types of events that they count."""

    revision: str
    config: FeaturesConfig
    store: StoreConfig
    views: Mapping[str, View]
    readers: Mapping[str, tuple[View, ...]]
    bundles: Mapping[str, lookup.Bundle]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """What may have been meant."""
    found = process.extractOne(name, list(known), score_cutoff=60)
    return found and str(found[0])


def compile_features(text: bytes) -> Compiled:
    """Raises Refused."""
    try:
        config = FeaturesConfig.model_validate_json(text)
    except ValidationError as error:
        raise Refused(None, "InvalidSpec", _sentence(error)) from error
    if len(config.stores) != 1:
        raise Refused(config.revision, "InvalidSpec", "an ingest pod has exactly one store: name one")
    ((_, store),) = config.stores.items()
    try:
        made = lookup.compile_features(config)
    except lookup.InvalidFeatures as error:
        raise Refused(config.revision, "InvalidSpec", str(error)) from error
    return Compiled(made.revision, config, store, made.views, _readers(config, made.views), made.bundles)


def _readers(config: FeaturesConfig, views: Mapping[str, View]) -> dict[str, tuple[View, ...]]:
    readers: dict[str, tuple[View, ...]] = {}
    for name, view in config.views.items():
        for event in dict.fromkeys(feature.event for feature in view.spec.features if feature.event):
            readers[event] = (*readers.get(event, ()), views[name])
    return readers


def _sentence(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
