# SPDX-License-Identifier: Apache-2.0
"""The sums of an experiment, from those of the parts of the store."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import fsum
from typing import Any

from endcap_api.experiment_config import Sums, VariantSums
from endcap_runtime.features.experiments.measured import Measured

_NAMES = ("y", "yy", "x", "xx", "xy", "d", "dd", "yd")
_PACKED = struct.Struct("<8d")
_COUNTED = ("units", "crossed", "fallback")
Part = Mapping[bytes, bytes]
Epochs = dict[str, dict[str, VariantSums]]


def newest_of(parts: Iterable[Part]) -> int | None:
    """Time in ms of the newest that was counted."""
    return max((int(float(part[b"newest"])) for part in parts if b"newest" in part), default=None)


def epochs_of(measured: Measured, parts: Iterable[Part]) -> Epochs:
    """By epoch and variant; a variant or a metric that nothing was counted of has zeros."""
    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    packed: dict[tuple[str, str, str], list[tuple[float, ...]]] = defaultdict(list)
    for part in parts:
        for field, value in part.items():
            kind, *names = field.decode().split("|")
            if kind in _COUNTED:
                counts[kind, names[0], names[1]] += int(value)
            elif kind == "sums":
                packed[names[0], names[1], names[2]].append(_PACKED.unpack(value))
    epochs = sorted({epoch for _, epoch, _ in counts}, key=int)
    return {
        epoch: {
            variant: _sums(measured, epoch, variant, counts, packed)
            for variant in _variants(measured, counts)
        }
        for epoch in epochs
    }


def _variants(measured: Measured, counts: Mapping[tuple[str, str, str], int]) -> list[str]:
    """Those of the configuration first, then any that it does not name."""
    return list(dict.fromkeys([*measured.variants, *sorted({variant for _, _, variant in counts})]))


def _sums(
    measured: Measured,
    epoch: str,
    variant: str,
    counts: Mapping[tuple[str, str, str], int],
    packed: Mapping[tuple[str, str, str], list[tuple[float, ...]]],
) -> VariantSums:
    numbers: dict[str, Any] = {kind: counts.get((kind, epoch, variant), 0) for kind in _COUNTED}
    metrics = {name: _added(packed.get((epoch, variant, name), [])) for name in measured.metrics}
    return VariantSums(**numbers, metrics=metrics)


def _added(parts: list[tuple[float, ...]]) -> Sums:
    return Sums(**{name: fsum(part[place] for part in parts) for place, name in enumerate(_NAMES)})
