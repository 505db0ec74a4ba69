# SPDX-License-Identifier: Apache-2.0
"""Which configuration a graph's pods should have, which they have, and how the news gets to them.

A bad configuration never replaces a good one: what every ready replica confirmed is kept as the last good one in
the same write that makes the next one wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar, cast

from pydantic import ValidationError

from endcap_api.features_config import FeaturesConfig
from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.base import Element
from endcap_operator.keys import Manifest
from endcap_operator.manifests.configuration import FEATURES, LAST_GOOD, LAST_GOOD_FEATURES, WANTED, text_of
from endcap_operator.manifests.graph import Configured
from endcap_operator.plan.facts import Nudge
from endcap_operator.plan.pods import Pod, Rejection

READ_BACK_SECONDS = 0.1
REJECTED_SECONDS = 5.0
PASSING = "FeaturesUnavailable"
Read = TypeVar("Read", bound=Element)


def data_of(config_map: Manifest | None) -> Mapping[str, str]:
    return (config_map or {}).get("data") or {}


def kept(data: Mapping[str, str]) -> Configured | None:
    """The newest configuration in the ConfigMap that can be read."""
    graph = next((c for c in (_read(GraphConfig, data.get(name)) for name in (WANTED, LAST_GOOD)) if c), None)
    return Configured(graph, kept_features(data)) if graph else None


def kept_features(data: Mapping[str, str]) -> FeaturesConfig | None:
    return _read(FeaturesConfig, data.get(FEATURES))


def _read(of: type[Read], text: str | None) -> Read | None:
    return cast("Read | None", _parsed(of, text))


# Few: a configuration that is parsed is many times its text, and all of them together would fill the memory.
@lru_cache(maxsize=256)
def _parsed(of: type[Element], text: str | None) -> Element | None:
    try:
        return of.model_validate_json(text) if text else None
    except ValidationError:
        return None


def next_data(wanted: Configured, data: Mapping[str, str], pods: Sequence[Pod]) -> dict[str, str]:
    """The data of the ConfigMap that makes a configuration wanted; the last good one keeps the features it reads."""
    text, good, known = text_of(wanted.graph), data.get(LAST_GOOD), data.get(LAST_GOOD_FEATURES)
    if data.get(WANTED) != text and _is_confirmed(data.get(WANTED), pods, other_than=wanted.graph.revision):
        good, known = data[WANTED], data.get(FEATURES)
    features = text_of(wanted.features) if wanted.features else None
    wholly = {WANTED: text, LAST_GOOD: good, FEATURES: features, LAST_GOOD_FEATURES: known}
    return {name: each for name, each in wholly.items() if each}


def _is_confirmed(text: str | None, pods: Sequence[Pod], other_than: str) -> bool:
    config = _read(GraphConfig, text)
    return config is not None and config.revision != other_than and all_confirm(config.revision, pods)


def all_confirm(revision: str, pods: Sequence[Pod]) -> bool:
    ready = [pod for pod in pods if pod.ready]
    return bool(ready) and all(serves(pod, revision) for pod in ready)


def serves(pod: Pod, revision: str) -> bool:
    return pod.serving is not None and pod.serving.revision == revision


def rejections(pods: Sequence[Pod], revision: str) -> list[Rejection]:
    return [r for r in map(_rejection, pods) if r is not None and r.revision == revision]


def _rejection(pod: Pod) -> Rejection | None:
    """A sidecar that reads its file a moment after the graph is no trouble, until it has had the time."""
    found = pod.serving.rejected if pod.serving else None
    passing = found is not None and found.reason == PASSING and not pod.overdue
    return None if passing else found


def unaware(pods: Sequence[Pod], revision: str) -> list[Pod]:
    """Pods that neither serve nor reject a revision, as far as is known."""
    knowing = (pod for pod in pods if pod.ready or pod.serving is not None)
    return [pod for pod in knowing if not serves(pod, revision) and not rejections([pod], revision)]


def nudges(pods: Sequence[Pod], revision: str) -> Iterator[Nudge]:
    """One nudge a pod and revision; another, spelled differently, when it did not help."""
    for pod in unaware(pods, revision):
        if pod.nudged not in (revision, again := f"{revision}.again"):
            yield Nudge(pod, revision)
        elif pod.overdue:
            yield Nudge(pod, again if pod.nudged == revision else revision)


def refreshes(wanted: Configured, data: Mapping[str, str], pods: Sequence[Pod]) -> Iterator[Nudge]:
    """Once, with the write of another features.json, where the graph's own revision does not change with it."""
    features = wanted.features
    if features is None or data.get(FEATURES) == text_of(features):
        return
    before = _read(GraphConfig, data.get(WANTED))
    if before is not None and before.revision == wanted.graph.revision:
        yield from (Nudge(pod, features.revision) for pod in pods if serves(pod, before.revision))


def recheck(pods: Sequence[Pod], revision: str) -> float | None:
    if unaware(pods, revision):
        return READ_BACK_SECONDS
    return REJECTED_SECONDS if rejections(pods, revision) else None
