# SPDX-License-Identifier: Apache-2.0
"""FeatureView: features of one entity, where they come from and what they mean."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from endcap_api.v1alpha1.base import (
    SPAN_PATTERN,
    Element,
    Free,
    Identifier,
    Name,
    Rule,
    Span,
    Text,
)
from endcap_api.v1alpha1.featurerules import FEATURE_RULES, VIEW_RULES

FeatureType = Literal["string", "integer", "number", "boolean", "array"]
Aggregation = Literal["count", "sum", "mean", "min", "max", "last", "distinct", "top"]
SourceKind = Literal["stream", "precomputed", "derived"]
EventType = Annotated[str, StringConstraints(min_length=1, max_length=128)]
# What holds where a field is not set.
MAX_LENGTH = 32
MAX_ITEMS = 16
MAX_EVENTS = 256
DECIMALS = 2
DEFAULT_TILES = 60
MAX_TILES = 1440


class EntityKey(Element):
    """A part of what identifies an entity."""

    name: Identifier = Field(description="Name of the key: in lookups, and in the data of events.")
    type: Literal["string", "integer"] = Field(default="string", description="string or integer.")


class Entity(Element):
    """Whom or what the features describe."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.keys.all(k, self.keys.exists_one(j, j.name == k.name))",
            "entity.keys has a name twice: rename or remove one of them",
        ),
    )

    name: Identifier = Field(description="Name of the entity, e.g. customer.")
    keys: list[EntityKey] = Field(min_length=1, max_length=4, description="What identifies it.")


class Stream(Element):
    """Features over windows of events."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.storage == 'tiles' || !has(self.tiles)",
            "tiles go with storage tiles: remove them, or set storage: tiles",
        ),
        Rule(
            "self.storage == 'events' || !has(self.maxEvents)",
            "maxEvents goes with storage events: remove it, or set storage: events",
        ),
        Rule(
            f"!has(self.tiles) || self.tiles.all(w, w.matches('{SPAN_PATTERN}'))",
            "tiles are listed by window, a whole number with s, m or h: write them as {1h: 1m}",
        ),
        Rule(
            f"!has(self.tiles) || self.tiles.all(w, !w.matches('{SPAN_PATTERN}') || "
            "duration(w).getSeconds() % duration(self.tiles[w]).getSeconds() == 0)",
            "a tile does not divide its window: choose one that does, e.g. 5s for 5m, 1m for 1h, 15m for 24h",
        ),
        Rule(
            f"!has(self.tiles) || self.tiles.all(w, !w.matches('{SPAN_PATTERN}') || "
            f"duration(w).getSeconds() <= {MAX_TILES} * duration(self.tiles[w]).getSeconds())",
            f"a window has more than {MAX_TILES} tiles: choose larger tiles, e.g. 1m for 24h",
        ),
    )

    storage: Literal["events", "tiles"] = Field(
        default="events",
        description="events: the last events of each entity, exact windows, for low rates (customers, sessions). "
        "tiles: a ring of sums a window, for high rates (products, stores).",
    )
    lateness: Span = Field(default="1h", description="How old an event may be when it first arrives.")
    max_events: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Events that are kept an entity (256 when it is not set); a window that reaches past them is "
        "TRUNCATED.",
    )
    tiles: Annotated[dict[Span, Span], Field(max_length=8)] | None = Field(
        default=None,
        description="Size of the tiles of each window, e.g. {5m: 5s, 1h: 1m, 24h: 15m}; a sixtieth of a window that "
        "is not listed. A window reaches back by up to one tile more.",
    )


class Precomputed(Element):
    """Features that a job computes and `endcap features load` writes; newer rows win."""


class Derived(Element):
    """Features that graphs write back; what another version of the model wrote counts as EXPIRED."""

    model: Name | None = Field(
        default=None,
        description="The ModelDeployment whose result it is; its version guards what was written.",
    )


class Source(Element):
    """Where the values come from; exactly one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.stream), has(self.precomputed), has(self.derived)].filter(x, x).size() == 1",
            "a source is exactly one of stream, precomputed and derived: name one, e.g. precomputed: {}",
        ),
    )

    stream: Stream | None = Field(default=None, description="Windows of events.")
    precomputed: Precomputed | None = Field(
        default=None, description="Rows that a job computed: precomputed: {}."
    )
    derived: Derived | None = Field(default=None, description="Results that graphs write back: derived: {}.")


class FeatureItems(Element):
    """What an array holds."""

    type: Literal["string", "integer", "number"] = Field(
        description="Type of the elements: string, integer or number."
    )


class Feature(Element):
    """One feature; with windows it is one column a window, named <name>_<window>."""

    rules: ClassVar[tuple[Rule, ...]] = FEATURE_RULES

    name: Identifier = Field(description="Name of the feature, in snake_case.")
    description: Text | None = Field(default=None, description="What it means, for a person.")
    type: FeatureType = Field(description="string, integer (int64), number (float64), boolean or array.")
    items: FeatureItems | None = Field(
        default=None, description="Element type of an array: string, integer or number."
    )
    default: Free = Field(
        default=None,
        description="Value of an entity that is not known, of the feature's own type; 0, false, empty when not set.",
    )
    max_length: int | None = Field(
        default=None, ge=1, le=256, description="Longest string in bytes of UTF-8; 32 when it is not set."
    )
    max_items: int | None = Field(
        default=None, ge=1, le=256, description="Most elements of an array; 16 when it is not set."
    )
    event: EventType | None = Field(default=None, description="Type of the events that are aggregated.")
    aggregation: Aggregation | None = Field(
        default=None,
        description="count, sum, mean, min, max, last, distinct (how many values) or top (the most frequent values).",
    )
    field: Identifier | None = Field(
        default=None, description="Field of the event's data that is aggregated."
    )
    where: (
        Annotated[dict[Identifier, Annotated[str, StringConstraints(max_length=128)]], Field(max_length=8)]
        | None
    ) = Field(default=None, description="Only events whose data has these texts, e.g. {channel: web}.")
    windows: list[Span] | None = Field(
        default=None, min_length=1, max_length=8, description="Lengths of the windows, e.g. [5m, 1h, 24h]."
    )
    decimals: int | None = Field(
        default=None,
        ge=0,
        le=9,
        description="Decimals that are kept of a number, so that sums are exact in any order; 2 when it is not set.",
    )
    minimum: float | None = Field(default=None, description="Smallest value of the field; less is refused.")
    maximum: float | None = Field(
        default=None,
        description="Largest value of the field; more is refused: cents for dollars are caught so.",
    )


class FeatureViewSpec(Element):
    """Features of one entity with one source."""

    rules: ClassVar[tuple[Rule, ...]] = VIEW_RULES

    store: Name = Field(default="default", description="A FeatureStore of this namespace.")
    description: Text | None = Field(default=None, description="What the features say.")
    entity: Entity = Field(description="Whom or what they describe.")
    ttl: Span = Field(
        default="24h",
        description="How long values count after they were last written; enforced when they are read, and in Redis.",
    )
    source: Source = Field(description="Where the values come from.")
    features: list[Feature] = Field(min_length=1, max_length=64, description="The features.")

    @property
    def kind(self) -> SourceKind:
        if self.source.stream:
            return "stream"
        return "precomputed" if self.source.precomputed else "derived"
