# SPDX-License-Identifier: Apache-2.0
"""How the views of a store lie in its Redis: an edit that packs a view otherwise begins it anew, and nothing else
would say so, since a lookup has defaults then.
"""

from __future__ import annotations

from collections.abc import Iterator

from endcap_api.features_config import FeaturesConfig
from endcap_runtime.features.layout import compile_view

Layout = tuple[str, str]  # a view and the digest of its packing


def layouts(config: FeaturesConfig) -> dict[str, Layout]:
    """By view; raises InvalidView for a configuration that no ingest serves either."""
    return {name: (name, compile_view(name, view, "").digest) for name, view in config.views.items()}


def changed(before: FeaturesConfig, after: FeaturesConfig, known: set[Layout]) -> Iterator[str]:
    """A line for each view that is packed otherwise than before; `known` are all layouts that were served so far."""
    old = layouts(before)
    for name, layout in layouts(after).items():
        if old.get(name, layout) == layout:
            continue
        if layout in known:
            yield f"view {name} has an earlier packing again: what came in between is not in it"
        else:
            yield f"view {name} starts cold: its packing changed"
