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
    keyed_by_identifiers,
)
from endcap_api.v1alpha1.values import ARRAY_RULE

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


def _type_or_items(name: str) -> str:
    return f"(self.type == '{name}' || (has(self.items) && self.items.type == '{name}'))"


def _of(aggregations: str, fits: str, message: str) -> Rule:
    return Rule(f"!has(self.aggregation) || !(self.aggregation in [{aggregations}]) || {fits}", message)


class Feature(Element):
    """One feature; with windows it is one column a window, named <name>_<window>."""

    rules: ClassVar[tuple[Rule, ...]] = (
        ARRAY_RULE,
        Rule(
            "has(self.event) == has(self.aggregation) && has(self.aggregation) == has(self.windows)",
            "event, aggregation and windows go together: add those that are missing, or remove them all where the "
            "source is no stream",
        ),
        Rule(
            "!has(self.aggregation) || self.aggregation == 'count' || has(self.field)",
            "field is missing: name the field of the event's data that is aggregated, e.g. field: amount",
        ),
        Rule(
            "!has(self.field) || (has(self.aggregation) && self.aggregation != 'count')",
            "field goes with every aggregation but count: remove field, or use distinct to count its values",
        ),
        _of(
            "'count', 'distinct'",
            "self.type == 'integer'",
            "count and distinct are whole numbers: set type: integer",
        ),
        _of(
            "'sum', 'min', 'max'",
            "self.type in ['integer', 'number']",
            "sum, min and max are of numbers: set type: integer or number",
        ),
        _of("'mean'", "self.type == 'number'", "a mean is no whole number: set type: number"),
        _of(
            "'last'",
            "self.type != 'array'",
            "last is one value: set the type of the field, which is no array",
        ),
        _of(
            "'top'",
            "self.type == 'array'",
            "top lists values: set type: array with items, and maxItems to how many, e.g. maxItems: 5",
        ),
        Rule(
            "!has(self.windows) || self.windows.all(w, self.windows.exists_one(v, duration(v) == duration(w)))",
            "windows has a length twice, perhaps spelt in two ways such as 60m and 1h: remove one of them",
        ),
        Rule(
            "!has(self.windows) || self.windows.all(w, size(self.name) + size(w) <= 62)",
            "with its window the name of a column is longer than 63: shorten name",
        ),
        Rule("!has(self.maxItems) || self.type == 'array'", "maxItems is for type array: remove it"),
        Rule(
            f"!has(self.maxLength) || {_type_or_items('string')}",
            "maxLength is for type string and arrays of string: remove it or change the type",
        ),
        Rule(
            f"!has(self.decimals) || {_type_or_items('number')}",
            "decimals are for type number and arrays of number: remove them or change the type",
        ),
        Rule(
            "(!has(self.minimum) && !has(self.maximum)) || (has(self.field) && self.aggregation != 'distinct' && "
            f"({_type_or_items('integer')} || {_type_or_items('number')}))",
            "minimum and maximum are for a field that is a number, in sum, mean, min, max, last or top: remove them",
        ),
        Rule(
            "!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum",
            "maximum is below minimum: raise maximum or lower minimum",
        ),
        keyed_by_identifiers("where"),
    )

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


_STREAM_ONLY = ("event", "aggregation", "field", "where", "windows", "decimals", "minimum", "maximum")
_NONE_SET = " && ".join(f"!has(f.{name})" for name in _STREAM_ONLY)
_STREAM = "!has(self.source.stream) || "
_TILED = f"{_STREAM}self.source.stream.storage != 'tiles' || "
_EACH_WINDOW = "self.features.all(f, !has(f.windows) || f.windows.all(w, "


class FeatureViewSpec(Element):
    """Features of one entity with one source."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.features.all(f, self.features.exists_one(g, g.name == f.name))",
            "features has a name twice: rename or remove one of them",
        ),
        Rule(
            "self.features.all(f, !self.features.exists(g, has(g.windows) && f.name.matches('^' + g.name + "
            "'_[1-9][0-9]*(s|m|h)$')))",
            "a feature has a name like a column of another, such as clicks_5m beside clicks: rename one of the two",
        ),
        Rule(
            "self.features.all(f, !self.entity.keys.exists(k, k.name == f.name))",
            "a feature has the name of a key of the entity: rename one of the two",
        ),
        Rule(
            f"{_STREAM}self.features.all(f, has(f.aggregation))",
            "features of a stream need event, aggregation and windows: add them, e.g. event: click, aggregation: "
            "count, windows: [1h]",
        ),
        Rule(
            f"has(self.source.stream) || self.features.all(f, {_NONE_SET})",
            f"{', '.join(_STREAM_ONLY[:-1])} and {_STREAM_ONLY[-1]} are for features of a stream: remove them, or set "
            "source.stream",
        ),
        Rule(
            "!has(self.source.precomputed) || self.features.all(f, f.name != 'updated_at')",
            "updated_at is the time of a row that is loaded: rename the feature",
        ),
        Rule(
            f"{_STREAM}{_EACH_WINDOW}"
            "duration(self.ttl) >= duration(w) + duration(self.source.stream.lateness)))",
            "ttl is shorter than the longest window and source.stream.lateness together: raise ttl",
        ),
        Rule(
            f"{_TILED}self.features.all(f, !has(f.aggregation) || (!(f.aggregation in ['distinct', 'top']) && "
            "(f.aggregation != 'last' || f.type != 'string')))",
            "distinct, top and last of a string need each event: set source.stream.storage: events",
        ),
        Rule(
            f"{_STREAM}!has(self.source.stream.tiles) || self.source.stream.tiles.all(w, self.features.exists(f, "
            "has(f.windows) && w in f.windows))",
            "source.stream.tiles lists a window that no feature has: write it as a feature does, or remove it",
        ),
        Rule(
            f"{_TILED}{_EACH_WINDOW}duration(w).getSeconds() % 60 == 0 || "
            "(has(self.source.stream.tiles) && w in self.source.stream.tiles)))",
            "a sixtieth of a window is no whole number of seconds: give its tile, e.g. source.stream.tiles: {90s: 1s}",
        ),
    )

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
