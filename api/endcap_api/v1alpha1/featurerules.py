# SPDX-License-Identifier: Apache-2.0
"""What must hold between the fields of a feature, and between the features of a view and its source.

Written for the API server's estimate of their cost, which takes every list at its longest: no rule compares every
column with every other.
"""

from __future__ import annotations

from endcap_api.v1alpha1.base import Rule, keyed_by_identifiers
from endcap_api.v1alpha1.values import ARRAY_RULE


def _type_or_items(name: str) -> str:
    return f"(self.type == '{name}' || (has(self.items) && self.items.type == '{name}'))"


def _of(aggregations: str, fits: str, message: str) -> Rule:
    return Rule(f"!has(self.aggregation) || !(self.aggregation in [{aggregations}]) || {fits}", message)


FEATURE_RULES: tuple[Rule, ...] = (
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

_STREAM_ONLY = ("event", "aggregation", "field", "where", "windows", "decimals", "minimum", "maximum")
_NONE_SET = " && ".join(f"!has(f.{name})" for name in _STREAM_ONLY)
_STREAM = "!has(self.source.stream) || "
_TILED = f"{_STREAM}self.source.stream.storage != 'tiles' || "
_EACH_WINDOW = "self.features.all(f, !has(f.windows) || f.windows.all(w, "

VIEW_RULES: tuple[Rule, ...] = (
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
        f"{_STREAM}{_EACH_WINDOW}duration(self.ttl) >= duration(w) + duration(self.source.stream.lateness)))",
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
