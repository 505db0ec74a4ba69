# SPDX-License-Identifier: Apache-2.0
"""`endcap features check`: what is served against what the events say, by equality."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec, Selected
from endcap_api.v1alpha1.featureview import Feature, FeatureViewSpec
from endcap_cli.events.file import read
from endcap_cli.events.settling import still_waiting
from endcap_cli.feature_arguments import SETTLE_SECONDS
from endcap_cli.feature_contracts import Features
from endcap_cli.features.definitions import features_of
from endcap_cli.features.history import ASSUMED, Entity, History
from endcap_cli.features.recompute import Happened, Window, kept, value_of, window_of
from endcap_cli.ingest import Ingest, ingest_of
from endcap_cli.terminal import CommandError, complain, counted, say

ENTITIES_A_REQUEST = 100
# What a lookup says of a value that events alone cannot confirm.
NOT_COMPARED = ("EXPIRED", "STALE")


@dataclass(frozen=True)
class Compared:
    """A feature of the bundle that is aggregated from events."""

    selected: Selected
    view: FeatureViewSpec
    feature: Feature


def run(arguments: argparse.Namespace) -> int:
    features = features_of(arguments.files, arguments)
    bundle = _bundle(features, arguments.bundle)
    columns = _compared(features, bundle, arguments.bundle)
    store = columns[0].view.store
    views = {name: view for name, view in features.views.items() if _reads_events(view, store)}
    history = History.of(views, chain.from_iterable(read(str(file)) for file in arguments.events))
    complain(ASSUMED)
    complain(f"left out: {history.refused} that the store refuses, {history.repeated} sent twice")
    sample = _sample(history.entities(columns[0].view), arguments)
    with ingest_of(arguments) as ingest:
        _settle(ingest)
        _doubt(history, columns)
        found = list(_differences(ingest, arguments.bundle, columns, history, sample))
    return _told(found, len(sample), len(columns))


def _told(found: Sequence[str | None], entities: int, columns: int) -> int:
    differences = [one for one in found if one]
    for difference in differences:
        say(difference)
    passed = entities * columns - len(found)
    skipped = f", {len(found) - len(differences)} not compared (EXPIRED or STALE)" if None in found else ""
    say(
        f"{counted(len(differences), 'difference')}, {passed} equal{skipped}: {entities} entities, {columns} features"
    )
    return 1 if differences else 0


def _bundle(features: Features, name: str) -> FeatureBundleSpec:
    if name not in features.bundles:
        known = ", ".join(sorted(features.bundles)) or "none"
        raise CommandError(f"no sound FeatureBundle {name} here: there are {known}")
    return features.bundles[name]


def _compared(features: Features, bundle: FeatureBundleSpec, name: str) -> list[Compared]:
    found = []
    for selected in bundle.features:
        view = features.views[selected.view]
        if view.kind == "stream":
            feature = next(one for one in view.features if one.name == selected.feature)
            found.append(Compared(selected, view, feature))
    if not found:
        raise CommandError(f"{name} has no feature of events: only those can be recomputed from events")
    return found


def _reads_events(view: FeatureViewSpec, store: str) -> bool:
    return view.kind == "stream" and view.store == store


def _sample(entities: Mapping[Entity, Any], arguments: argparse.Namespace) -> list[Entity]:
    known = sorted(entities)
    if not known:
        raise CommandError(
            "no event in the files is of an entity of this bundle: give the events that were sent"
        )
    if arguments.sample and arguments.sample < len(known):
        chosen: list[Entity] = random.Random(arguments.seed).sample(known, arguments.sample)  # noqa: S311
        return chosen
    return known


def _settle(ingest: Ingest) -> None:
    """Events that wait are in the files and not yet in the features."""
    if waiting := still_waiting(ingest, SETTLE_SECONDS):
        complain(f"note: {counted(waiting, 'event')} still wait to be applied, which makes differences")


def _doubt(history: History, columns: Sequence[Compared]) -> None:
    """A file of old events that were sent as if they were new says nothing of what is served."""
    longest = max(milliseconds(column.selected.window or "1s") for column in columns)
    if history.newest and history.newest < time.time() * 1000 - longest:
        newest = _instant(history.newest)
        remedy = "if they were sent with --now or --speed, give the file that --save wrote"
        complain(f"note: the newest event is of {newest}, before every window: {remedy}")


def _differences(
    ingest: Ingest, name: str, columns: Sequence[Compared], history: History, sample: Sequence[Entity]
) -> Iterator[str | None]:
    """A line for each value that differs, None for each that cannot be compared."""
    keys = [key.name for key in columns[0].view.entity.keys]
    for start in range(0, len(sample), ENTITIES_A_REQUEST):
        part = sample[start : start + ENTITIES_A_REQUEST]
        asked = {key: [entity[position] for entity in part] for position, key in enumerate(keys)}
        answer = ingest.post(f"/v1/bundles/{name}", {"keys": asked, "explain": True})
        for row, entity in enumerate(part):
            told = " ".join(f"{key}={value}" for key, value in zip(keys, entity, strict=True))
            for column in columns:
                events = history.entities(column.view).get(entity, [])
                yield from _difference(answer, row, told, column, events)


def _difference(
    answer: Mapping[str, Any], row: int, entity: str, column: Compared, events: Sequence[Happened]
) -> Iterator[str | None]:
    name = column.selected.known_as
    value, status = answer["columns"][name][row], answer["statuses"][name][row]
    if status in NOT_COMPARED:
        yield None
        return
    window = window_of(column.view, column.selected.window or "", _moment(answer["windows"][name]["to"]))
    expected = value_of(column.feature, window, kept(column.view, events), known=status != "DEFAULTED")
    if status == "ERROR" or value != expected:
        shown = f"{json.dumps(value)} ({status}) is served, {json.dumps(expected)} follows from the events"
        yield f"{entity} {name}: {shown}; {_span(window)}"


def _moment(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.replace(microsecond=0).timestamp()) * 1000 + moment.microsecond // 1000


def _span(window: Window) -> str:
    return " < time ≤ ".join(_instant(ms) for ms in window)


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
