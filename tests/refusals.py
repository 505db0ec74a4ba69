# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501, FBT003, PLR0913, PLR0917  # a table reads best with one row a line
# fmt: off
"""Bad resources, each with the field that is wrong and words that its refusal must contain.

One table for every place that refuses: the models of the API, the real API server, and the checks that need
to see the models of a graph.
"""

from __future__ import annotations

from typing import Any

from builders import REMOVED, changed, column, graph, intent, ranker, recaller
from experiment_refusals import EXPERIMENT_SHAPE
from refusal import Refusal
from view_refusals import FEATURE_SHAPE

LONG = "x" * 2000


def _model(name: str, path: str, value: Any, field: str, words: str, ours: str = "") -> Refusal:
    return Refusal(f"model: {name}", changed(ranker(), path, value), field, words, ours)


def _python(name: str, path: str, value: Any, field: str, words: str, ours: str = "") -> Refusal:
    return Refusal(f"python: {name}", changed(recaller(), path, value), field, words, ours)


def _graph(name: str, path: str, value: Any, field: str, words: str, ours: str = "") -> Refusal:
    return Refusal(f"graph: {name}", changed(graph(), path, value), field, words, ours)


_STEP = "spec.steps[1]"
_RECALL = {"name": "again", "recall": {"model": "item-cooccurrence"}}

# Refused by the schema and its rules: the object never exists.
SHAPE: tuple[Refusal, ...] = (
    _model("no framework", "spec.framework", REMOVED, "spec.framework", "", "add it"),
    _model("unknown framework", "spec.framework", "keras", "spec.framework", "sklearn", "use"),
    _model("misspelt field", "spec.framwork", "sklearn", "framwork", "", "did you mean framework?"),
    _model("field of another API", "spec.image", "x", "image", "", "remove it, or use one of framework"),
    _model("unknown nested field", "spec.model.url", "s3://a/b", "url", "", "did you mean uri?"),
    _model("snake case", "spec.model.allow_pickle", True, "allow_pickle", "", "allowPickle"),
    _model("namespace in a reference", "spec.model.secretRef", {"name": "s3", "namespace": "prod"}, "namespace", ""),
    _model("service account", "spec.serviceAccountName", "admin", "serviceAccountName", ""),
    _model("uri without scheme", "spec.model.uri", "models/4.txt", "spec.model.uri", "write its URI so"),
    _model("uri of another scheme", "spec.model.uri", "ftp://a/b", "spec.model.uri", "s3://bucket/key"),
    _model("uri with a space", "spec.model.uri", "s3://models/my ranker.txt", "spec.model.uri", "without spaces" ),
    _model("uri with a line break", "spec.model.uri", "s3://models/a\nb", "spec.model.uri", "without spaces"),
    _model("bucket too short", "spec.model.uri", "s3://m/ranker/4.txt", "spec.model", "3 to 63"),
    _model("bucket without a key", "spec.model.uri", "s3://models", "spec.model", "a bucket and a key"),
    _model("short digest", "spec.model.sha256", "abc", "spec.model.sha256", "64 hexadecimal digits"),
    _model("upper-case digest", "spec.model.sha256", "A" * 64, "spec.model.sha256", "in lower case"),
    _model("no digest", "spec.model.sha256", REMOVED, "spec.model.sha256", "", "add it"),
    _model("entry point without python", "spec.model.entryPoint", "a:b", "spec", "remove entryPoint"),
    _model("hook without function", "spec.preprocess", {"python": "basket"}, "spec.preprocess.python", "module:name"),
    _model("hook outside ASCII", "spec.preprocess", {"python": "mod\u00e8le:f"}, "spec.preprocess.python", "module:name"),
    _model("two outputs", "spec.outputs[1]", column("rank"), "spec", "exactly one output"),
    _model("text to a matrix model", "spec.inputs[0].type", "string", "spec", "take numbers"),
    _model("no inputs", "spec.inputs", [], "spec.inputs", ""),
    _model("input twice", "spec.inputs", [column("price"), column("price")], "spec", "inputs has a name twice"),
    _model("array without items", "spec.inputs[0].type", "array", "spec.inputs[0]", "type array needs items"),
    _model("items without array", "spec.inputs[0].items", {"type": "string"}, "spec.inputs[0]", "the other types have none"),
    _model("column in capitals", "spec.inputs[0].name", "Price", "spec.inputs[0].name", "a letter first: rename it"),
    _model("unknown type", "spec.inputs[0].type", "float", "spec.inputs[0].type", "number", "use"),
    _model("list that is a map", "spec.inputs", {"price": "number"}, "spec.inputs", "", "must be a list"),
    _model("batch of none", "spec.batching", {"maxSize": 0}, "spec.batching.maxSize", "greater than or equal to 1"),
    _model("latency without unit", "spec.batching", {"maxLatency": "2"}, "spec.batching.maxLatency", "write it as 150ms"),
    _model("latency as a number", "spec.batching", {"maxLatency": 2}, "spec.batching.maxLatency", "string", "write it as 2ms"),
    _model("max below min", "spec.replicas", {"min": 3, "max": 2}, "spec.replicas", "raise max or lower min"),
    _model("target without range", "spec.replicas", {"target": {"cpu": 50}}, "spec.replicas", "set max, or remove target"),
    _model("no replicas", "spec.replicas", {"min": 0}, "spec.replicas.min", "greater than or equal to 1"),
    _model("number as text", "spec.replicas", {"min": "2"}, "spec.replicas.min", "", "without quotes"),
    _model("flag as text", "spec.model.allowPickle", "yes", "spec.model.allowPickle", "", "true or false"),
    _model("cpu in words", "spec.resources", {"cpu": "half"}, "spec.resources.cpu", "thousandths"),
    _model("memory without unit", "spec.resources", {"memory": "512"}, "spec.resources.memory", "512Mi"),
    _model("long description", "spec.description", LONG, "spec.description", "1024"),
    _model("name with a dot", "metadata.name", "basket.ranker", "metadata.name", "rename the resource"),
    _model("name with a digit first", "metadata.name", "4ranker", "metadata.name", "a letter first"),
    _model("long name", "metadata.name", "a" * 41, "metadata.name", "1 to 40"),
    _python("no entry point", "spec.model.entryPoint", REMOVED, "spec", "python needs it"),
    _graph("path without slash", "spec.api.path", "basket", "spec.api.path", "write it as /basket"),
    _graph("path that escapes", "spec.api.path", "/a/../b", "spec.api.path", "after each /"),
    _graph("path of the server", "spec.api.path", "/metrics", "spec.api", "choose another"),
    _graph("field in capitals", "spec.api.request", {"Cart": {"type": "string"}}, "spec.api", "a letter first"),
    _graph("field called explain", "spec.api.request.explain", {"type": "boolean"}, "spec.api", "rename the field"),
    _graph("no fields", "spec.api.request", {}, "spec.api.request", ""),
    _graph("enum of numbers", "spec.api.request.limit.enum", ["1"], "spec.api.request.limit", "enum is for type string"),
    _graph("maximum of text", "spec.api.request.household.maximum", 3, "spec.api.request.household", "change the type"),
    _graph("maximum below minimum", "spec.api.request.limit.maximum", 0, "spec.api.request.limit", "maximum is below minimum"),
    _graph("maxItems of text", "spec.api.request.household.maxItems", 3, "spec.api.request.household", "remove it"),
    _graph("no key column", "spec.catalogue.key", "sku", "spec.catalogue", "lacks the key column"),
    _graph("no name column", "spec.catalogue.name", "title", "spec.catalogue", "lacks the name column"),
    _graph("column called score", "spec.catalogue.columns[3].name", "score", "spec.catalogue", "other than score" ),
    _graph("product column", "spec.catalogue.columns[2].type", "product", "spec.catalogue", "other than product" ),
    _graph("deadline in words", "spec.deadline", "soon", "spec.deadline", "write it as 150ms"),
    _graph("deadline of nothing", "spec.deadline", "0ms", "spec.deadline", "a whole number with ms"),
    _graph("no steps", "spec.steps", [], "spec.steps", ""),
    _graph("no recall", _STEP, REMOVED, "spec", "a graph needs a recall step"),
    _graph("no select", "spec.steps[5]", REMOVED, "spec", "the last step, and only the last, is a select"),
    _graph("step after select", "spec.steps[6]", _RECALL, "spec", "the last step, and only the last, is a select" ),
    _graph("step of two kinds", f"{_STEP}.limit", {"per": "1", "max": 1}, _STEP, "exactly one of features, model, recall" ),
    _graph("step of no kind", f"{_STEP}.recall", REMOVED, _STEP, "exactly one of features, model, recall"),
    _graph("misspelt kind of step", _STEP, {"name": "a", "recal": {}}, "recal", "", "did you mean recall?"),
    _graph("step in capitals", f"{_STEP}.name", "Together", f"{_STEP}.name", "rename it"),
    _graph("step with a digit first", f"{_STEP}.name", "2nd", f"{_STEP}.name", "a letter first"),
    _graph("timeout of a filter", "spec.steps[3].timeout", "5ms", "spec.steps[3]", "timeout is for steps that look features up"),
    _graph("timeout of a rank by", "spec.steps[2]", {"name": "r", "rank": {"by": "1"}, "timeout": "5ms"}, "spec.steps[2]", "timeout is for steps"),
    _graph("onError of select", "spec.steps[5].onError", "fail", "spec.steps[5]", "remove onError"),
    _graph("keepOrder of recall", f"{_STEP}.onError", "keepOrder", _STEP, "onError is keepOrder or fail for rank" ),
    _graph("skip of rank", "spec.steps[2].onError", "skip", "spec.steps[2]", "onError is keepOrder or fail for rank"),
    _graph("unknown onError", f"{_STEP}.onError", "ignore", f"{_STEP}.onError", "skip", "use"),
    _graph("rank by both", "spec.steps[2].rank.by", "1", "spec.steps[2].rank", "exactly one of model and by"),
    _graph("rank by neither", "spec.steps[2].rank", {}, "spec.steps[2].rank", "exactly one of model and by"),
    _graph("filter both ways", "spec.steps[3].filter.keep", "true", "spec.steps[3].filter", "exactly one of keep and drop"),
    _graph("limit of none", "spec.steps[4].limit.max", 0, "spec.steps[4].limit.max", "greater than or equal to 1", "must be"),
    _graph("recall of too many", f"{_STEP}.recall.top", 5000, f"{_STEP}.recall.top", "less than or equal to 1000" ),
    _graph("long expression", "spec.steps[5].select.count", LONG, "spec.steps[5].select.count", "512"),
    _graph("empty expression", "spec.steps[5].select.count", "", "spec.steps[5].select.count", ""),
    _graph("timeout as a number", f"{_STEP}.timeout", 200, f"{_STEP}.timeout", "string", "write it as 200ms"),
    _graph("count as a number", "spec.steps[5].select.count", 3, "spec.steps[5].select.count", "string", "in quotes"),
    _graph("count below one", "spec.steps[5].select.count", -1, "spec.steps[5].select.count", "string", "at least 1"),
    _graph("33 steps", "spec.steps", [_RECALL] * 33, "spec.steps", "32"),
    _graph("empty before model", "spec.fallback", [{"empty": {}}, {"model": "p"}], "spec", "so it is the last" ),
    _graph("fallback of two kinds", "spec.fallback[1].model", "popularity", "spec.fallback[1]", "exactly one of model, catalogue"),
    _graph("body without bound", "spec.limits", {"bodyBytes": 10**9}, "spec.limits.bodyBytes", "less than or equal to 1048576"),
    *FEATURE_SHAPE,
    *EXPERIMENT_SHAPE,
)


def _checked(name: str, path: str, value: Any, field: str, words: str) -> Refusal:
    return Refusal(name, changed(graph(), path, value), field, words)


# Sound in shape; refused by what the parts of a graph must be to each other.
MEANING: tuple[Refusal, ...] = (
    _checked("two steps of a name", "spec.steps[0].name", "together", "spec.steps", "rename or remove one"),
    _checked("step named as a word", "spec.steps[0].name", "request", "spec.steps[0].name", "rename the step" ),
    _checked("two columns of a name", "spec.catalogue.columns[3].name", "category", "spec.catalogue.columns", "rename or remove one"),
    _checked("column named as a recall", "spec.catalogue.columns[3].name", "together", "spec.catalogue.columns", "rename one"),
    _checked("recall after a reader", "spec.steps[3]", _RECALL, "spec.steps[3]", "move it up"),
    _checked("recall named score", "spec.steps[1].name", "score", "spec.catalogue.columns", "rename"),
    _checked("default of another type", "spec.api.request.limit.default", "ten", "spec.api.request.limit.default", "change the default"),
    _checked("flag as a number", "spec.api.request.limit.default", True, "spec.api.request.limit.default", "change the default"),
    _checked("default outside enum", "spec.api.request.channel.default", "fax", "spec.api.request.channel.default", "use one of web, app"),
    _checked("default above maximum", "spec.api.request.limit.default", 51, "spec.api.request.limit.default", "maximum"),
    _checked("default below minimum", "spec.api.request.limit.default", 0, "spec.api.request.limit.default", "minimum"),
    _checked("required with a default", "spec.api.request.channel.required", True, "spec.api.request.channel.default", "remove one of the two"),
    _checked("unknown column", "spec.steps[3].filter.drop", "candidate.nam == 'x'", "spec.steps[3].filter.drop", "candidate.name"),
    _checked("unknown request field", "spec.steps[5].select.count", "request.limt", "spec.steps[5].select.count", "request.limit"),
    _checked("syntax", "spec.steps[3].filter.drop", "candidate.name in (", "spec.steps[3].filter.drop", "1:"),
    _checked("condition that is no bool", "spec.steps[3].filter.drop", "candidate.name", "spec.steps[3].filter.drop", "bool is needed here"),
    _checked("count that is no integer", "spec.steps[5].select.count", "1.5", "spec.steps[5].select.count", "int is needed here"),
    _checked("number with an integer", "spec.steps[3].filter.drop", "candidate.price > 3", "spec.steps[3].filter.drop", "write 3.0"),
    _checked("key compared with names", "spec.steps[3].filter.drop", "candidate.id in request.cart", "spec.steps[3].filter.drop", "compare candidate.name"),
    _checked("select reads candidates", "spec.steps[5].select.count", "candidate.sold", "spec.steps[5].select.count", "request.limit"),
    _checked("output of a later step", "spec.steps[0].model.inputs", {"cart": "together.items"}, "spec.steps[0].model.inputs.cart", "request.cart"),
    _checked("unknown input", "spec.steps[1].recall.inputs", {"basket": "request.cart"}, "spec.steps[1].recall.inputs.basket", "use one of cart"),
    _checked("input of another type", "spec.steps[1].recall.inputs", {"cart": "request.household"}, "spec.steps[1].recall.inputs.cart", "is needed here"),
    _checked("input that is no product", "spec.steps[1].recall.inputs", {"cart": "['a']"}, "spec.steps[1].recall.inputs.cart", "read a request field of type product"),
    _checked("input that nothing feeds", "spec.catalogue.columns[4].name", "other", "spec.steps[2].rank.inputs.household_share", "add an expression"),
    _checked("recall by a ranker", "spec.steps[1].recall.model", "basket-ranker", "spec.steps[1].recall.model", "cannot recall"),
    _checked("rank by a recaller", "spec.steps[2].rank.model", "item-cooccurrence", "spec.steps[2].rank.model", "cannot rank"),
    _checked("reason of no output", "spec.steps[1].recall.reason", "With {cart}", "spec.steps[1].recall.reason", "use one of because"),
    _checked("stray brace", "spec.steps[1].recall.reason", "With {because", "spec.steps[1].recall.reason", "remove the others"),
    _checked("order by text", "spec.fallback[0].catalogue.orderBy", "name", "spec.fallback[0].catalogue.orderBy", "number column"),
    _checked("fallback to a ranker", "spec.fallback[0]", {"model": "basket-ranker"}, "spec.fallback[0].model", "cannot recall"),
    Refusal(
        "fallback without its input",
        changed(
            changed(graph(), "spec.fallback[0]", {"model": "item-cooccurrence"}),
            "spec.api.request",
            {"basket": {"type": "array", "items": {"type": "product"}}, "limit": {"type": "integer"}},
        ),
        "spec.fallback[0].model",
        "add the field",
    ),
)


def models() -> list[dict[str, Any]]:
    """The models that the graph of the table calls."""
    return [intent(), recaller(), ranker()]
