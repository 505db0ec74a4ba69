# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501, FBT003, PLR0913, PLR0917  # a table reads best with one row a line
# fmt: off
"""Bad stores, views, bundles, lookups and write-backs, each with the field that is wrong and words of its refusal.

`FEATURE_SHAPE` is part of `refusals.SHAPE`: the models of the API and the real API server refuse it in the same words.
The other tables are sound in shape; what refuses them is named beside each.
"""

from __future__ import annotations

from typing import Any

from builders import REMOVED, changed, intent, ranker, recaller
from refusal import Refusal
from views import (
    activity,
    bundle,
    feature,
    graph_with_features,
    last_intent,
    popularity,
    product_bundle,
    profile,
    ranker_with_features,
    selected,
    store,
)

CLICKS, SPEND, BRANDS, TOP = (f"spec.features[{i}]" for i in range(4))
STREAM = "spec.source.stream"
SEGMENT, AGE, VALUE, MEMBER, AISLES = (f"spec.features[{i}]" for i in range(5))
LONG = "x" * 2000


def _store(name: str, path: str, value: Any, field: str, words: str, ours: str = "") -> Refusal:
    return Refusal(f"store: {name}", changed(store(), path, value), field, words, ours)


def _log(name: str, path: str, value: Any, field: str, words: str, ours: str = "") -> Refusal:
    return Refusal(f"view: {name}", changed(activity(), path, value), field, words, ours)


def _tiled(name: str, path: str, value: Any, field: str, words: str, ours: str = "") -> Refusal:
    return Refusal(f"tiles: {name}", changed(popularity(), path, value), field, words, ours)


def _rows(name: str, path: str, value: Any, field: str, words: str, ours: str = "") -> Refusal:
    return Refusal(f"rows: {name}", changed(profile(), path, value), field, words, ours)


def _bundle(name: str, path: str, value: Any, field: str, words: str, ours: str = "") -> Refusal:
    return Refusal(f"bundle: {name}", changed(bundle(), path, value), field, words, ours)


def _graph(name: str, path: str, value: Any, field: str, words: str, ours: str = "") -> Refusal:
    return Refusal(f"lookup: {name}", changed(graph_with_features(), path, value), field, words, ours)


def _model(name: str, path: str, value: Any, field: str, words: str, ours: str = "") -> Refusal:
    return Refusal(f"joined: {name}", changed(ranker_with_features(), path, value), field, words, ours)


def _brand(**more: Any) -> dict[str, Any]:
    return feature("brand", "string", event="click", aggregation="last", field="brand", windows=["1h"], **more)


# Refused by the schema and its rules: the object never exists.
FEATURE_SHAPE: tuple[Refusal, ...] = (
    _store("two homes", "spec", {"embedded": {}, "redis": {"url": "redis://r:6379"}}, "spec", "remove one of the two"),
    _store("password in the url", "spec.redis.url", "redis://u:p@host:6379", "spec.redis.url", "secretRef"),
    _store("url of another scheme", "spec.redis.url", "http://host:6379", "spec.redis.url", "redis://host:port"),
    _store("port beyond ports", "spec.redis.url", "redis://host:65536", "spec.redis.url", "write it so"),
    _store("database with a zero before it", "spec.redis.url", "redis://host/01", "spec.redis.url", "write it so"),
    _store("port of nothing", "spec.redis.url", "redis://host:0", "spec.redis.url", "write it so"),
    _store("database of a cluster", "spec.redis", {"url": "redis://host:6379/2", "cluster": True}, "spec.redis", "remove the number"),
    _store("fsync of nothing", "spec.embedded", {"fsync": "never"}, "spec.embedded.fsync", "everysec", "use"),
    _store("size without unit", "spec.embedded.storage", {"size": "2"}, "spec.embedded.storage.size", "write it as 512Mi"),
    _store("volume without size", "spec.embedded.storage", {}, "spec.embedded.storage.size", "", "add it"),
    _store("replicas of the store", "spec.embedded", {"replicas": 3}, "replicas", "", "remove it"),
    _store("no backlog", "spec.ingest.maxBacklog", 0, "spec.ingest.maxBacklog", "greater than or equal to 100", "raise it"),
    _store("lag in words", "spec.maxLag", "soon", "spec.maxLag", "write it as 5m"),
    _store("lag in milliseconds", "spec.maxLag", "500ms", "spec.maxLag", "with s, m or h"),
    _store("misspelt field", "spec.servinglog", {}, "servinglog", "", "did you mean servingLog?"),
    _store("max below min", "spec.ingest.replicas", {"min": 3, "max": 2}, "spec.ingest.replicas", "raise max or lower min"),

    _log("no source", "spec.source", {}, "spec.source", "exactly one of stream, precomputed and derived"),
    _log("two sources", "spec.source.precomputed", {}, "spec.source", "exactly one of stream, precomputed and derived"),
    _log("no entity", "spec.entity", REMOVED, "spec.entity", "", "add it"),
    _log("no keys", "spec.entity.keys", [], "spec.entity.keys", ""),
    _log("key twice", "spec.entity.keys[1]", {"name": "customer_id"}, "spec.entity", "rename or remove one of them"),
    _log("key of type number", "spec.entity.keys[0].type", "number", "spec.entity.keys[0].type", "integer", "use"),
    _log("key with braces", "spec.entity.keys[0].name", "{id}", "spec.entity.keys[0].name", "rename it"),
    _log("five keys", "spec.entity.keys", [{"name": f"k{i}"} for i in range(5)], "spec.entity.keys", "4"),
    _log("no features", "spec.features", [], "spec.features", ""),
    _log("feature twice", f"{SPEND}.name", "clicks", "spec", "features has a name twice"),
    _log("feature in capitals", f"{CLICKS}.name", "Clicks", f"{CLICKS}.name", "rename it"),
    _log("name of a column", f"{SPEND}.name", "clicks_5m", "spec", "clicks_5m beside clicks: rename"),
    _log("name of a column of no window", f"{SPEND}.name", "clicks_2h", "spec", "rename one of the two"),
    _log("name of a key", f"{CLICKS}.name", "customer_id", "spec", "name of a key of the entity: rename"),
    _log("name too long with its window", f"{CLICKS}.name", "c" * 60, CLICKS, "shorten name"),
    _log("no event", f"{CLICKS}.event", REMOVED, CLICKS, "event, aggregation and windows go together"),
    _log("no aggregation", f"{CLICKS}.aggregation", REMOVED, CLICKS, "add those that are missing"),
    _log("no windows", f"{CLICKS}.windows", REMOVED, CLICKS, "add those that are missing"),
    _log("nothing of a stream", CLICKS, feature("clicks", "integer"), "spec", "features of a stream need event, aggregation and windows"),
    _log("unknown aggregation", f"{CLICKS}.aggregation", "median", f"{CLICKS}.aggregation", "distinct", "use"),
    _log("sum of nothing", f"{SPEND}.field", REMOVED, SPEND, "field is missing: name the field"),
    _log("count of a field", f"{CLICKS}.field", "page", CLICKS, "use distinct to count its values"),
    _log("count as a number", f"{CLICKS}.type", "number", CLICKS, "set type: integer"),
    _log("distinct as a string", f"{BRANDS}.type", "string", BRANDS, "set type: integer"),
    _log("sum of text", f"{SPEND}.type", "string", SPEND, "sum, min and max are of numbers"),
    _log("mean as an integer", SPEND, feature("spend", "integer", event="e", aggregation="mean", field="f", windows=["1h"]), SPEND, "set type: number"),
    _log("last as an array", f"{TOP}.aggregation", "last", TOP, "last is one value"),
    _log("top as a string", f"{BRANDS}.aggregation", "top", BRANDS, "top lists values: set type: array"),
    _log("array without items", f"{TOP}.items", REMOVED, TOP, "type array needs items"),
    _log("array of products", f"{TOP}.items.type", "product", f"{TOP}.items.type", "string", "use"),
    _log("a product", f"{CLICKS}.type", "product", f"{CLICKS}.type", "integer", "use"),
    _log("items without array", f"{CLICKS}.items", {"type": "string"}, CLICKS, "the other types have none"),
    _log("window twice", f"{CLICKS}.windows", ["1h", "1h"], CLICKS, "windows has a length twice"),
    _log("window in two spellings", f"{CLICKS}.windows", ["60m", "1h"], CLICKS, "such as 60m and 1h: remove one"),
    _log("window in days", f"{CLICKS}.windows", ["1d"], f"{CLICKS}.windows[0]", "write it as 5m or 24h"),
    _log("window of nothing", f"{CLICKS}.windows", ["0s"], f"{CLICKS}.windows[0]", "write it as 5m or 24h"),
    _log("window as a number", f"{CLICKS}.windows", [300], f"{CLICKS}.windows[0]", "string", "with a unit"),
    _log("window of an age", f"{CLICKS}.windows", ["9999999h"], f"{CLICKS}.windows[0]", "", "write it as 5m or 24h"),
    _log("no window in the list", f"{CLICKS}.windows", [], f"{CLICKS}.windows", ""),
    _log("nine windows", f"{CLICKS}.windows", [f"{i}m" for i in range(1, 10)], f"{CLICKS}.windows", "8"),
    _log("maxItems of a number", f"{SPEND}.maxItems", 3, SPEND, "maxItems is for type array"),
    _log("maxLength of a number", f"{SPEND}.maxLength", 3, SPEND, "maxLength is for type string"),
    _log("maxLength of a distinct", f"{BRANDS}.maxLength", 3, BRANDS, "maxLength is for type string"),
    _log("decimals of a count", f"{CLICKS}.decimals", 2, CLICKS, "decimals are for type number"),
    _log("ten decimals", f"{SPEND}.decimals", 10, f"{SPEND}.decimals", "less than or equal to 9", "lower it"),
    _log("maximum below minimum", SPEND, {**activity()["spec"]["features"][1], "minimum": 5, "maximum": 1}, SPEND, "raise maximum or lower minimum"),
    _log("minimum of a count", f"{CLICKS}.minimum", 1, CLICKS, "minimum and maximum are for a field that is a number"),
    _log("minimum of a text", f"{TOP}.minimum", 1, TOP, "minimum and maximum are for a field that is a number"),
    _log("maximum of a distinct", f"{BRANDS}.maximum", 1, BRANDS, "minimum and maximum are for a field that is a number"),
    _log("where of a list", f"{CLICKS}.where", {"channel": ["web"]}, f"{CLICKS}.where.channel", "string", "in quotes"),
    _log("where of a flag", f"{CLICKS}.where", {"member": True}, f"{CLICKS}.where.member", "string", "must be a string"),
    _log("where in capitals", f"{CLICKS}.where", {"Channel": "web"}, CLICKS, "a letter first: rename"),
    _log("ttl below a window", "spec.ttl", "24h", "spec", "longest window and source.stream.lateness together: raise ttl"),
    _log("lateness above the rest of ttl", f"{STREAM}.lateness", "3h", "spec", "raise ttl"),
    _log("tiles in a log", f"{STREAM}.tiles", {"1h": "1m"}, STREAM, "set storage: tiles"),
    _log("no events kept", f"{STREAM}.maxEvents", 0, f"{STREAM}.maxEvents", "greater than or equal to 1", "raise it"),
    _log("type of the peer", f"{CLICKS}.type", "int64", f"{CLICKS}.type", "integer", "use"),
    _log("misspelt aggregation", f"{CLICKS}.agregation", "sum", "agregation", "", "did you mean aggregation?"),
    _log("long event", f"{CLICKS}.event", LONG, f"{CLICKS}.event", "128"),

    _tiled("maxEvents", f"{STREAM}.maxEvents", 10, STREAM, "set storage: events"),
    _tiled("distinct", "spec.features[0]", activity()["spec"]["features"][2], "spec", "set source.stream.storage: events"),
    _tiled("top", "spec.features[0]", activity()["spec"]["features"][3], "spec", "set source.stream.storage: events"),
    _tiled("last of a text", "spec.features[0]", _brand(), "spec", "set source.stream.storage: events"),
    _tiled("tile that does not divide", f"{STREAM}.tiles", {"24h": "7m"}, STREAM, "does not divide its window"),
    _tiled("tile above its window", f"{STREAM}.tiles", {"1h": "2h"}, STREAM, "does not divide its window"),
    _tiled("tiny tile", f"{STREAM}.tiles", {"24h": "10s"}, STREAM, "more than 1440 tiles"),
    _tiled("tile of no window", f"{STREAM}.tiles", {"2h": "2m"}, "spec", "a window that no feature has"),
    _tiled("tile of a window in another spelling", f"{STREAM}.tiles", {"60m": "1m"}, "spec", "write it as a feature does"),
    _tiled("tile of words", f"{STREAM}.tiles", {"day": "1m"}, STREAM, "with s, m or h"),
    _tiled("tile in milliseconds", f"{STREAM}.tiles", {"1h": "500ms"}, f"{STREAM}.tiles", "with s, m or h"),
    _tiled("a sixtieth of 90 s", "spec.features[0].windows", ["90s", "24h"], "spec", "give its tile"),
    _tiled("unknown storage", f"{STREAM}.storage", "hash", f"{STREAM}.storage", "tiles", "use"),

    _rows("event of rows", f"{AGE}.event", "click", AGE, "go together"),
    _rows("windows of rows", AGE, activity()["spec"]["features"][0], "spec", "are for features of a stream: remove them"),
    _rows("decimals of rows", f"{VALUE}.decimals", 2, "spec", "are for features of a stream: remove them"),
    _rows("minimum of rows", f"{AGE}.minimum", 0, AGE, "minimum and maximum are for a field"),
    _rows("where of rows", f"{AGE}.where", {"channel": "web"}, "spec", "are for features of a stream: remove them"),
    _rows("field of rows", f"{AGE}.field", "years", AGE, "field goes with every aggregation but count"),
    _rows("time of a row", f"{AGE}.name", "updated_at", "spec", "rename the feature"),
    _rows("model of rows", "spec.source.precomputed.model", "m", "model", ""),
    _rows("version of a model", "spec.source", {"derived": {"version": "4"}}, "version", ""),
    _rows("ttl of nothing", "spec.ttl", "0h", "spec.ttl", "write it as 5m or 24h"),
    _rows("long text", f"{SEGMENT}.maxLength", 1000, f"{SEGMENT}.maxLength", "less than or equal to 256", "lower it"),

    _bundle("no features", "spec.features", [], "spec.features", ""),
    _bundle("a name twice", "spec.features[3]", selected("customer-activity", "clicks", "1h"), "spec", "give one of them another by name"),
    _bundle("a name that another has", "spec.features[2].name", "spend", "spec", "give one of them another by name"),
    _bundle("a name of the answer's own", "spec.features[2].name", "statuses", "spec", "give the feature another name by name"),
    _bundle("no view", "spec.features[0].view", REMOVED, "spec.features[0].view", "", "add it"),
    _bundle("windows", "spec.features[0].windows", ["1h"], "windows", "", "did you mean window?"),
    _bundle("name in capitals", "spec.features[0].name", "Clicks", "spec.features[0].name", "rename it"),
    _bundle("required in words", "spec.required", "yes", "spec.required", "", "true or false"),
    _bundle("entity", "spec.entity", "customer", "entity", "", "remove it, or use one of"),

    _graph("neither entity nor keys", "spec.steps[0].features.entity", REMOVED, "spec.steps[0].features", "exactly one of entity and keys"),
    _graph("entity and keys", "spec.steps[0].features.keys", {"customer_id": "request.household"}, "spec.steps[0].features", "exactly one of entity and keys"),
    _graph("no keys in keys", "spec.steps[0].features", {"bundle": "product", "keys": {}}, "spec.steps[0].features.keys", ""),
    _graph("key in capitals", "spec.steps[0].features", {"bundle": "product", "keys": {"Id": "request.household"}}, "spec.steps[0].features", "a letter first: rename"),
    _graph("skip of features", "spec.steps[0].onError", "skip", "spec.steps[0]", "defaults or fail for features"),
    _graph("defaults of recall", "spec.steps[2].onError", "defaults", "spec.steps[2]", "skip or fail for the other"),
    _graph("no bundle", "spec.steps[0].features.bundle", REMOVED, "spec.steps[0].features.bundle", "", "add it"),
    _graph("features of a view", "spec.steps[0].features.view", "v", "view", ""),
    _graph("writeBack of nobody", "spec.writeBack[0].entity", REMOVED, "spec.writeBack[0]", "exactly one of entity and keys"),
    _graph("writeBack of nothing", "spec.writeBack[0].features", {}, "spec.writeBack[0].features", ""),
    _graph("writeBack in capitals", "spec.writeBack[0].features", {"Label": "intent.label"}, "spec.writeBack[0]", "a letter first: rename"),
    _graph("writeBack for a key in capitals", "spec.writeBack[0]", {"view": "last-intent", "keys": {"Id": "request.household"}, "features": {"label": "intent.label"}}, "spec.writeBack[0]", "a letter first: rename"),
    _graph("no writeBack in the list", "spec.writeBack", [], "spec.writeBack", ""),

    _model("key of no input", "spec.features.keys", {"customer_id": "shopper"}, "spec", "features.keys names no input"),
    _graph("recall of nothing", "spec.steps[2].recall", {}, "spec.steps[2].recall", "exactly one of model and products"),
    _graph("recall of both", "spec.steps[2].recall.products", "last.shown", "spec.steps[2].recall", "exactly one of model and products"),
    _graph("inputs of a list", "spec.steps[2].recall", {"products": "last.shown", "inputs": {"cart": "request.cart"}}, "spec.steps[2].recall", "remove inputs"),
    _graph("timeout of a list", "spec.steps[2]", {"name": "again", "recall": {"products": "last.shown"}, "timeout": "5ms"}, "spec.steps[2]", "remove it"),

    _model("key of a number", "spec.features.keys", {"customer_id": "price"}, "spec", "of type string, product or integer"),
    _model("no keys", "spec.features.keys", {}, "spec.features.keys", ""),
    _model("key in capitals", "spec.features.keys", {"Customer": "customer"}, "spec.features", "a letter first: rename"),
    _model("text to a matrix model", "spec.preprocess", REMOVED, "spec", "add a preprocess hook"),
)


def _found(name: str, manifest: dict[str, Any], path: str, value: Any, field: str, words: str) -> Refusal:
    return Refusal(name, changed(manifest, path, value), field, words)


# Refused by `feature_checks.view_problems`: a default is of any type for the API server, sizes are sums.
VIEWS: tuple[Refusal, ...] = (
    _found("default: text for a whole number", profile(), f"{AGE}.default", "old", f"{AGE}.default", "is no whole number"),
    _found("default: flag for a whole number", profile(), f"{AGE}.default", True, f"{AGE}.default", "is no whole number"),
    _found("default: fraction for a whole number", profile(), f"{AGE}.default", 0.5, f"{AGE}.default", "make the feature a number"),
    _found("default: beyond int64", profile(), f"{AGE}.default", 2**63, f"{AGE}.default", "is no int64"),
    _found("default: text for a number", profile(), f"{VALUE}.default", "0", f"{VALUE}.default", "without quotes"),
    _found("default: flag for a number", profile(), f"{VALUE}.default", False, f"{VALUE}.default", "is no number"),
    _found("default: number for a text", profile(), f"{SEGMENT}.default", 0, f"{SEGMENT}.default", "in quotes"),
    _found("default: text too long", profile(), f"{SEGMENT}.default", "ä" * 17, f"{SEGMENT}.default", "34 bytes of 32: raise maxLength"),
    _found("default: text for a flag", profile(), f"{MEMBER}.default", "no", f"{MEMBER}.default", "neither true nor false"),
    _found("default: number for a flag", profile(), f"{MEMBER}.default", 0, f"{MEMBER}.default", "neither true nor false"),
    _found("default: text for an array", profile(), f"{AISLES}.default", "a", f"{AISLES}.default", "write it as []"),
    _found("default: numbers for an array of texts", profile(), f"{AISLES}.default", [1], f"{AISLES}.default", "one of its elements is no string"),
    _found("default: too many elements", profile(), f"{AISLES}.default", ["a"] * 17, f"{AISLES}.default", "17 elements of 16: raise maxItems"),
    _found("default: object", profile(), f"{AGE}.default", {"a": 1}, f"{AGE}.default", "is no whole number"),
    _found("default: count over nothing", activity(), f"{CLICKS}.default", 5, f"{CLICKS}.default", "a count over no event is 0"),
    _found("default: sum over nothing", activity(), f"{SPEND}.default", 1.5, f"{SPEND}.default", "remove the default"),
    _found("spelling: across features", activity(), f"{SPEND}.windows", ["1440m"], f"{SPEND}.windows", "1440m is 24h, as another feature has it"),
    _found("ttl: below window and tile", popularity(source={"stream": {"storage": "tiles", "lateness": "1s"}}), "spec.ttl", "1441m", "spec.ttl", "window 24h reaches back by up to 1464m with its tiles: raise ttl"),
    _found("size: events", activity(), f"{STREAM}.maxEvents", 4096, f"{STREAM}.maxEvents", "bytes of 65536: keep "),
    _found("size: tiles", popularity(), "spec.features", [feature(f"f{i}", event="e", aggregation="mean", field=f"f{i}", windows=["1h", "2h", "3h", "24h"]) for i in range(40)], "spec.source.stream.tiles", "list larger tiles"),
    _found("size: rows", profile(), "spec.features", [feature(f"f{i}", "array", "string", maxItems=256, maxLength=256) for i in range(2)], "spec.features", "lower maxLength or maxItems"),
)

# Refused by `feature_checks.bundle_problems`, given the views of `known_views`.
BUNDLES: tuple[Refusal, ...] = (
    _found("unknown feature", bundle(), "spec.features[0].feature", "click", "spec.features[0].feature", "did you mean clicks?"),
    _found("feature of another view", bundle(), "spec.features[2].feature", "clicks", "spec.features[2].feature", "is no feature of view customer-profile: use one of segment"),
    _found("column for a feature", bundle(), "spec.features[0]", selected("customer-activity", "clicks_1h"), "spec.features[0].feature", "write feature: clicks, window: 1h"),
    _found("no window", bundle(), "spec.features[0].window", REMOVED, "spec.features[0].window", "add window, one of 5m, 1h, 24h"),
    _found("unknown window", bundle(), "spec.features[0].window", "2h", "spec.features[0].window", "use one of 5m, 1h, 24h"),
    _found("window in another spelling", bundle(), "spec.features[0].window", "60m", "spec.features[0].window", "is written 1h in the view"),
    _found("window of a row", bundle(), "spec.features[2].window", "1h", "spec.features[2].window", "segment has no windows: remove window"),
    _found("two entities", bundle(), "spec.features[3]", selected("product-popularity", "sold", "1h"), "spec.features[3].view", "a bundle has one entity"),
)

_LIVE, _CUSTOMER, _WRITTEN = "spec.steps[3]", "spec.steps[0]", "spec.writeBack[0]"
_RECALL = {"name": "again", "recall": {"model": "item-cooccurrence"}}

# Refused by `graph_checks.check_graph`, given the contracts of what `surroundings` holds.
LOOKUPS: tuple[Refusal, ...] = tuple(
    _found(name, graph_with_features(), path, value, field, words)
    for name, path, value, field, words in (
        ("entity of another type", f"{_CUSTOMER}.features.entity", "request.limit", f"{_CUSTOMER}.features.entity", "string is needed here"),
        ("entity that is a list", f"{_CUSTOMER}.features.entity", "request.cart", f"{_CUSTOMER}.features.entity", "string is needed here"),
        ("entity that is not there", f"{_CUSTOMER}.features.entity", "request.customer", f"{_CUSTOMER}.features.entity", "request.household"),
        ("entity by rank", f"{_LIVE}.features.entity", "string(candidate.score)", f"{_LIVE}.features.entity", "candidate.score"),
        ("entity by another lookup of candidates", "spec.steps[4]", {"name": "more", "features": {"bundle": "product", "entity": "string(candidate.live.sold_1h)"}}, "spec.steps[4].features.entity", "candidate.live.sold_1h"),
        ("key of another entity", f"{_CUSTOMER}.features", {"bundle": "customer-preference", "keys": {"customer": "request.household"}}, f"{_CUSTOMER}.features.keys.customer", "did you mean customer_id?"),
        ("key that is missing", f"{_CUSTOMER}.features", {"bundle": "store-product", "keys": {"store_id": "request.household"}}, f"{_CUSTOMER}.features.keys", "needs the key shelf: add an expression"),
        ("entity for several keys", f"{_CUSTOMER}.features", {"bundle": "store-product", "entity": "request.household"}, f"{_CUSTOMER}.features.entity", "write keys: {store_id: …, shelf: …}"),
        ("text for a whole number", f"{_CUSTOMER}.features", {"bundle": "store-product", "keys": {"store_id": "request.household", "shelf": "request.household"}}, f"{_CUSTOMER}.features.keys.shelf", "int is needed here"),
        ("entity that is made of a name", f"{_CUSTOMER}.features.entity", "request.cart[0]", f"{_CUSTOMER}.features.entity", "request.cart is the name of a product, and an entity is known by its key"),
        ("entity of a person or a name", f"{_CUSTOMER}.features.entity", "request.household == '' ? request.cart[0] : request.household", f"{_CUSTOMER}.features.entity", "read a field of type product alone"),
        ("list of names", "spec.steps[2].recall", {"products": "request.cart"}, "spec.steps[2].recall.products", "keys are needed"),
        ("list of one", "spec.steps[2].recall", {"products": "customer.segment"}, "spec.steps[2].recall.products", "list(string) is needed here"),
        ("list of what is not looked up yet", "spec.steps[2].recall", {"products": "candidate.stores"}, "spec.steps[2].recall.products", "undeclared reference"),
        ("reason of a list", "spec.steps[2].recall", {"products": "['1']", "reason": "With {because}"}, "spec.steps[2].recall.reason", "a list has none"),
        ("recall behind a lookup of candidates", "spec.steps[4]", _RECALL, "spec.steps[4]", "comes after live, which reads candidates: move it up"),
        ("column named as a lookup", "spec.catalogue.columns[3].name", "live", "spec.catalogue.columns", "column live has the name of a features step"),
        ("lookup named as a recall", f"{_LIVE}.name", "together", "spec.steps", "together is there twice"),
        ("lookup named as the answer", f"{_CUSTOMER}.name", "answer", f"{_CUSTOMER}.name", "rename the step"),
        ("lookup named score", f"{_LIVE}.name", "score", "spec.catalogue.columns", "rename one"),
        ("unknown column", "spec.steps[5].filter.drop", "candidate.live.sold > 3", "spec.steps[5].filter.drop", "candidate.live.sold_1h"),
        ("feature of a candidate read as the request's", "spec.steps[5].filter.drop", "live.sold_1h > 3", "spec.steps[5].filter.drop", "undeclared reference"),
        ("features of the request read as a candidate's", "spec.steps[5].filter.drop", "candidate.customer.clicks_1h > 3", "spec.steps[5].filter.drop", "undeclared reference"),
        ("read before it is looked up", "spec.steps[2].recall.inputs", {"cart": "[candidate.live.sold_1h]"}, "spec.steps[2].recall.inputs.cart", "undeclared reference"),
        ("feature of another type in an input", "spec.steps[4].rank.inputs", {"price": "customer.segment"}, "spec.steps[4].rank.inputs.price", "is needed here"),
        ("timeout above the deadline", f"{_CUSTOMER}.timeout", "1s", f"{_CUSTOMER}.timeout", "longer than the deadline"),
        ("write to a stream", f"{_WRITTEN}.view", "customer-activity", f"{_WRITTEN}.view", "name one with source derived"),
        ("write to rows of a job", f"{_WRITTEN}.view", "customer-profile", f"{_WRITTEN}.view", "customer-profile is a precomputed view"),
        ("write of an unknown feature", f"{_WRITTEN}.features", {"lable": "intent.label"}, f"{_WRITTEN}.features.lable", "did you mean label?"),
        ("write of another type", f"{_WRITTEN}.features", {"label": "intent.confidence"}, f"{_WRITTEN}.features.label", "string is needed here"),
        ("write of a candidate", f"{_WRITTEN}.features", {"label": "candidate.name"}, f"{_WRITTEN}.features.label", "undeclared reference"),
        ("write of scores as products", f"{_WRITTEN}.features", {"shown": "answer.scores"}, f"{_WRITTEN}.features.shown", "list(string) is needed here"),
        ("write for another type of key", f"{_WRITTEN}.entity", "request.limit", f"{_WRITTEN}.entity", "string is needed here"),
        ("write of a model that is not asked", f"{_WRITTEN}.view", "last-rank", f"{_WRITTEN}.view", "which no step asks"),
    )
)

# Refused by `model_checks.model_feature_problems`, given the contracts of what `surroundings` holds.
JOINED: tuple[Refusal, ...] = (
    _found("key of another entity", ranker_with_features(), "spec.features.keys", {"customer": "customer"}, "spec.features.keys.customer", "did you mean customer_id?"),
    _found("key that is missing", ranker_with_features(), "spec.features", {"bundle": "store-product", "keys": {"store_id": "customer"}}, "spec.features.keys", "needs the key shelf"),
    _found("text for a whole number", ranker_with_features(), "spec.features", {"bundle": "store-product", "keys": {"store_id": "customer", "shelf": "customer"}}, "spec.features.keys.shelf", "name an input of type integer"),
    _found("feature named as an input", ranker_with_features(), "spec.inputs[0].name", "spend", "spec.features.bundle", "rename one"),
    _found("text to a matrix model", ranker_with_features(preprocess=None, inputs=[{"name": "price", "type": "number"}, {"name": "shelf", "type": "integer"}], features={"bundle": "shelf", "keys": {"shelf": "shelf"}}), "spec.batching", {"maxSize": 8}, "spec.features.bundle", "place is none: add a preprocess hook"),
)


def known_views() -> list[dict[str, Any]]:
    """The views that the bundles and graphs of the tables name."""
    both = {"name": "store", "keys": [{"name": "store_id"}, {"name": "shelf", "type": "integer"}]}
    one = {"name": "shelf", "keys": [{"name": "shelf", "type": "integer"}]}
    ranked = last_intent("last-rank", source={"derived": {"model": "another-ranker"}})
    stores = [profile("store-profile", entity=both), profile("shelf-profile", entity=one)]
    return [activity(), popularity(), profile(), last_intent(), ranked, *stores]


def known_bundles() -> list[dict[str, Any]]:
    several = bundle("store-product", features=[selected("store-profile", "basket_value")])
    shelf = bundle("shelf", features=[selected("shelf-profile", "segment", name="place")])
    return [bundle(), product_bundle(), several, shelf]


def surroundings() -> list[dict[str, Any]]:
    """What the graphs and models of the tables need beside them."""
    return [
        store(),
        *known_views(),
        *known_bundles(),
        *(intent(), recaller(), ranker(), ranker("another-ranker"), ranker_with_features()),
    ]
