# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501, FBT003, PLR0913, PLR0917  # a table reads best with one row a line
# fmt: off
"""Bad experiments, each with the field that is wrong and words of its refusal.

`EXPERIMENT_SHAPE` is part of `refusals.SHAPE`: the models of the API and the real API server refuse it in the same words.
`OVERLAYS` are sound in shape and refused by check_experiment, which sees the graph and the models; `KEPT` are refused by
the API server alone, since only it knows what was there before.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from builders import REMOVED, changed
from experiment_builders import experiment, measured, shadow
from refusal import Refusal

LONG = "x" * 2000
CONTROL, TREATMENT = "spec.variants[0]", "spec.variants[1]"
METRIC, GUARDRAIL = "spec.metrics[0]", "spec.guardrails[0]"


def _split(name: str, path: str, value: Any, field: str, words: str, ours: str = "") -> Refusal:
    return Refusal(f"experiment: {name}", changed(experiment(), path, value), field, words, ours)


def _measured(name: str, path: str, value: Any, field: str, words: str, ours: str = "") -> Refusal:
    return Refusal(f"measured: {name}", changed(measured(), path, value), field, words, ours)


def _shadow(name: str, path: str, value: Any, field: str, words: str, ours: str = "") -> Refusal:
    return Refusal(f"shadow: {name}", changed(shadow(), path, value), field, words, ours)


def _bare(**metric: Any) -> dict[str, Any]:
    return {"name": "m", "unit": "customer_id", "event": "click", **metric}


_ANY = [{"name": name, "by": "1.0", "weight": 1} for name in "abcdefgh"]

# Refused by the schema and its rules: the object never exists.
EXPERIMENT_SHAPE: tuple[Refusal, ...] = (
    _split("no graph", "spec.graph", REMOVED, "spec.graph", "", "add it"),
    _split("no step", "spec.step", REMOVED, "spec.step", "", "add it"),
    _split("no unit", "spec.unit", REMOVED, "spec.unit", "", "add it"),
    _split("a list of no units", "spec.unit", [], "spec.unit", ""),
    _split("five units", "spec.unit", [f"request.u{i}" for i in range(5)], "spec.unit", "4"),
    _split("unit twice", "spec.unit[1]", "request.household", "spec", "unit has a field twice"),
    _split("unit as a text", "spec.unit", "request.household", "spec.unit", "", "must be a list"),
    _split("unit of a candidate", "spec.unit[0]", "candidate.id", "spec.unit[0]", "write it as request.customer"),
    _split("unit without request", "spec.unit[0]", "household", "spec.unit[0]", "write it as request.customer"),
    _split("unit as an expression", "spec.unit[0]", "request.a + request.b", "spec.unit[0]", "a unit is a field of the request"),
    _split("unknown mode", "spec.mode", "canary", "spec.mode", "shadow", "use"),
    _split("misspelt field", "spec.wieghts", {}, "wieghts", "", "remove it"),
    _split("traffic in percent", "spec.traffic", 10, "traffic", "", "remove it, or use one of"),
    _split("graph of another namespace", "spec.graph", "prod/basket", "spec.graph", "a letter first"),
    _split("enabled in words", "spec.enabled", "no", "spec.enabled", "", "true or false"),
    _split("empty salt", "spec.salt", "", "spec.salt", ""),
    _split("salt with a bar", "spec.salt", "a|b", "spec.salt", "no vertical bar"),
    _split("salt of a layer", "spec.salt", "layer/home", "spec", "write another"),
    _split("salt of a holdout", "spec.salt", "holdout/2026q4", "spec", "write another"),
    _split("long salt", "spec.salt", LONG, "spec.salt", "128"),

    _split("one variant", "spec.variants[1]", REMOVED, "spec.variants", "2"),
    _split("nine variants", "spec.variants", [{"name": "c", "baseline": True, "weight": 1}, *_ANY], "spec.variants", "8"),
    _split("no baseline", f"{CONTROL}.baseline", False, CONTROL, "exactly one of model and by"),
    _split("nobody is the baseline", CONTROL, {"name": "control", "model": "m", "weight": 1}, "spec", "set baseline: true on one"),
    _split("two baselines", TREATMENT, {"name": "other", "baseline": True, "weight": 1}, "spec", "set baseline: true on one"),
    _split("variant twice", f"{TREATMENT}.name", "control", "spec", "variants has a name twice"),
    _split("variant in capitals", f"{TREATMENT}.name", "Treatment", f"{TREATMENT}.name", "rename it"),
    _split("no weight", f"{TREATMENT}.weight", REMOVED, "spec", "add the missing"),
    _split("weight below nothing", f"{TREATMENT}.weight", -1, f"{TREATMENT}.weight", "greater than or equal to 0", "raise it"),
    _split("weight of a fraction", f"{TREATMENT}.weight", 12.5, f"{TREATMENT}.weight", "", "whole number"),
    _split("weight as a text", f"{TREATMENT}.weight", "50%", f"{TREATMENT}.weight", "", "without quotes"),
    _split("weight beyond buckets", f"{TREATMENT}.weight", 10_001, f"{TREATMENT}.weight", "less than or equal to 10000", "lower it"),
    _split("baseline without weight", f"{CONTROL}.weight", 0, "spec", "give it a weight above 0"),
    _split("model of the baseline", f"{CONTROL}.model", "basket-ranker", CONTROL, "so it names nothing"),
    _split("model and by", f"{TREATMENT}.by", "1.0", TREATMENT, "exactly one of model and by"),
    _split("neither model nor by", f"{TREATMENT}.model", REMOVED, TREATMENT, "exactly one of model and by"),
    _split("inputs of an expression", TREATMENT, {"name": "t", "weight": 1, "by": "1.0", "inputs": {"price": "1.0"}}, TREATMENT, "remove inputs"),
    _split("input in capitals", f"{TREATMENT}.inputs", {"Price": "1.0"}, TREATMENT, "a letter first: rename"),
    _split("image of a variant", f"{TREATMENT}.image", "x", "image", "", "remove it"),
    _split("buckets of one variant", f"{TREATMENT}.buckets", ["0-5000"], "spec", "for all variants or for none"),
    _split("buckets without an end", f"{TREATMENT}.buckets", ["5000"], f"{TREATMENT}.buckets[0]", "write it as 0-5000"),
    _split("buckets beyond the last", f"{TREATMENT}.buckets", ["0-10001"], f"{TREATMENT}.buckets[0]", "write it as 0-5000"),

    _split("coverage beyond all", "spec.coverage", 101, "spec.coverage", "less than or equal to 100", "lower it"),
    _split("coverage of a fraction", "spec.coverage", 0.5, "spec.coverage", "", "whole number"),
    _split("no steps of a ramp", "spec.ramp", {"steps": []}, "spec.ramp.steps", ""),
    _split("ramp that goes down", "spec.ramp", {"steps": [{"coverage": 25}, {"coverage": 5}]}, "spec.ramp", "order them by coverage"),
    _split("ramp that stands still", "spec.ramp", {"steps": [{"coverage": 5}, {"coverage": 5}]}, "spec.ramp", "each once"),
    _split("ramp of nothing", "spec.ramp", {"steps": [{"coverage": 0}]}, "spec.ramp.steps[0].coverage", "greater than or equal to 1", "raise it"),
    _split("hold as a number", "spec.ramp", {"steps": [{"coverage": 5, "hold": 600}]}, "spec.ramp.steps[0].hold", "string", "write it as 600s or 5m"),
    _split("hold in days", "spec.ramp", {"steps": [{"coverage": 5, "hold": "1d"}]}, "spec.ramp.steps[0].hold", "write it as 5m or 24h"),
    _split("units of a ramp without store", "spec.ramp", {"steps": [{"coverage": 5, "minimumUnits": 9}]}, "spec", "name one for ramp.steps.minimumUnits"),
    _split("approval that nothing waits for", "spec.ramp", {"steps": [{"coverage": 5}], "approved": 5}, "spec.ramp", "remove approved"),
    _split("approval beyond all", "spec.ramp", {"steps": [{"coverage": 5, "approval": True}], "approved": 500}, "spec.ramp.approved", "less than or equal to 100"),
    _measured("coverage beside a ramp", "spec.coverage", 5, "spec", "remove coverage, or remove ramp"),
    _split("long targeting", "spec.targeting", LONG, "spec.targeting", "512"),
    _split("layer without buckets", "spec.layer", {"name": "home"}, "spec.layer.buckets", "", "add it"),
    _split("layer in capitals", "spec.layer", {"name": "Home", "buckets": ["0-1"]}, "spec.layer.name", "rename it"),
    _split("layer in percent", "spec.layer", {"name": "home", "buckets": ["50%"]}, "spec.layer.buckets[0]", "write it as 0-5000"),
    _split("holdout of everyone", "spec.holdout", {"name": "q4", "percent": 100}, "spec.holdout.percent", "less than or equal to 50", "lower it"),
    _split("holdout of nobody", "spec.holdout", {"name": "q4", "percent": 0}, "spec.holdout.percent", "greater than or equal to 1", "raise it"),
    _split("holdout with a bar", "spec.holdout", {"name": "q|4", "percent": 5}, "spec.holdout.name", "rename it"),
    _split("override of no variant", "spec.overrides", {"units": {"1467": "treatmnt"}}, "spec", "use a name from variants"),
    _split("override of no unit", "spec.overrides", {"units": {"": "treatment"}}, "spec.overrides", "1 to 128 characters"),
    _split("override of a long unit", "spec.overrides", {"units": {"x" * 129: "treatment"}}, "spec.overrides", "128 characters"),
    _split("no overrides", "spec.overrides", {"units": {}}, "spec.overrides.units", ""),
    _split("promotion of no variant", "spec.decision", {"promote": "b"}, "spec", "decision.promote is none of the variants"),
    _split("promotion of the baseline", "spec.decision", {"promote": "control"}, "spec", "write decision: {abort: why}"),
    _split("promotion and end", "spec.decision", {"promote": "treatment", "abort": "no"}, "spec.decision", "exactly one of promote and abort"),
    _split("decision of nothing", "spec.decision", {}, "spec.decision", "exactly one of promote and abort"),
    _split("unknown promotion", "spec.promotion", "apply", "spec.promotion", "recommend", "use"),
    _split("something to win without metrics", "spec.onWin", "promote", "spec", "without metrics nothing can win"),
    _split("primary without metrics", "spec.primary", "revenue", "spec", "metrics and primary go together"),
    _split("metrics without store", "spec.metrics", [_bare()], "spec", "name one, e.g. store: default"),
    _split("units at most without store", "spec.analysis", {"maximumUnits": 5000}, "spec", "name one for analysis.maximumUnits"),
    _split("guardrail without metrics", "spec.guardrails", [{"metric": "revenue", "limit": 1}], "spec", "a guardrail names a metric that is not there"),

    _measured("no primary", "spec.primary", REMOVED, "spec", "name the metric that decides"),
    _measured("primary of no metric", "spec.primary", "profit", "spec", "primary is none of the metrics"),
    _measured("metric twice", "spec.metrics[1].name", "add-to-cart", "spec", "metrics has a name twice"),
    _measured("metric without unit", f"{METRIC}.unit", REMOVED, f"{METRIC}.unit", "", "add it"),
    _measured("metric without event", f"{METRIC}.event", REMOVED, f"{METRIC}.event", "", "add it"),
    _measured("conversion of a field", f"{METRIC}.field", "amount", METRIC, "remove field and per, or remove conversion"),
    _measured("sum of units", "spec.metrics[1].field", "customer_id", "spec.metrics[1]", "name the field that holds the value"),
    _measured("covariate of a ratio", "spec.metrics[2].covariate", "1.0", "spec.metrics[2]", "remove covariate or per"),
    _measured("unknown goal", f"{METRIC}.goal", "up", f"{METRIC}.goal", "increase", "use"),
    _measured("window in days", f"{METRIC}.window", "7d", f"{METRIC}.window", "write it as 5m or 24h"),
    _measured("where in capitals", f"{METRIC}.where", {"Channel": "web"}, METRIC, "a letter first: rename"),
    _measured("where of a ratio in capitals", "spec.metrics[2].per.where", {"Channel": "web"}, "spec.metrics[2].per", "a letter first: rename"),
    _measured("where of a list", f"{METRIC}.where", {"channel": ["web"]}, f"{METRIC}.where.channel", "string", "in quotes"),
    _measured("nine metrics", "spec.metrics", [_bare(name=f"m{i}") for i in range(9)], "spec.metrics", "8"),
    _measured("guardrail of both", f"{GUARDRAIL}.serving", "errorRate", GUARDRAIL, "exactly one of metric and serving"),
    _measured("guardrail of nothing", f"{GUARDRAIL}.metric", REMOVED, GUARDRAIL, "exactly one of metric and serving"),
    _measured("guardrail of no metric", f"{GUARDRAIL}.metric", "profit", "spec", "a guardrail names a metric that is not there"),
    _measured("guardrail twice", "spec.guardrails[2]", {"serving": "p95Latency", "limit": 5}, "spec", "keep the lower limit"),
    _measured("guardrail of p99", "spec.guardrails[1].serving", "p99Latency", "spec.guardrails[1].serving", "p95Latency", "use"),
    _measured("guardrail without limit", f"{GUARDRAIL}.limit", REMOVED, f"{GUARDRAIL}.limit", "", "add it"),
    _measured("limit below nothing", f"{GUARDRAIL}.limit", -1, f"{GUARDRAIL}.limit", "greater than or equal to 0", "raise it"),
    _measured("alpha in percent", "spec.analysis.alpha", 5, "spec.analysis", "write it as 0.05"),
    _measured("alpha of nothing", "spec.analysis.alpha", 0, "spec.analysis", "write it as 0.05"),
    _measured("alpha of next to nothing", "spec.analysis.alpha", 0.00001, "spec.analysis", "write it as 0.05"),
    _measured("end before the first verdict", "spec.analysis.maximumUnits", 500, "spec.analysis", "raise maximumUnits above minimumUnits"),
    _measured("verdict on nobody", "spec.analysis.minimumUnits", 1, "spec.analysis.minimumUnits", "greater than or equal to 10", "raise it"),
    _measured("interval as a number", "spec.analysis.interval", 30, "spec.analysis.interval", "string", "write it as 30s or 5m"),
    _measured("unknown onWin", "spec.onWin", "ship", "spec.onWin", "requireApproval", "use"),

    _shadow("weights", "spec.variants[1].weight", 1, "spec", "none of a shadow"),
    _shadow("store", "spec.store", "default", "spec", "a shadow changes no answer"),
    _shadow("metrics", "spec.metrics", [_bare()], "spec", "a shadow changes no answer"),
    _shadow("guardrails", "spec.guardrails", [{"serving": "errorRate", "limit": 1}], "spec", "a shadow changes no answer"),
    _shadow("overrides", "spec.overrides", {"units": {"1467": "treatment"}}, "spec", "a shadow changes no answer"),
    _shadow("decision", "spec.decision", {"abort": "enough"}, "spec", "a shadow changes no answer"),
    _shadow("promotion", "spec.promotion", "patch", "spec", "a shadow is never promoted"),
    Refusal("shadow: buckets", shadow(variants=[{**each, "buckets": ["0-5000"]} for each in shadow()["spec"]["variants"]]), "spec", "remove buckets"),
)


def _checked(name: str, path: str, value: Any, field: str, words: str) -> Refusal:
    return Refusal(name, changed(measured(), path, value), field, words)


def _of_step(name: str, step: str, variant: dict[str, Any], field: str, words: str) -> Refusal:
    variants = [{"name": "control", "baseline": True, "weight": 1}, {"name": "t", "weight": 1, **variant}]
    return Refusal(name, experiment(step=step, variants=variants), field, words)


def _given(name: str, control: list[str], treatment: list[str], field: str, words: str) -> Refusal:
    sound = experiment()["spec"]["variants"]
    variants = [{**each, "buckets": given} for each, given in zip(sound, (control, treatment), strict=True)]
    return Refusal(name, experiment(variants=variants), field, words)


# Sound in shape; refused by what they must be to their graph, its models and their own buckets.
OVERLAYS: tuple[Refusal, ...] = (
    _checked("missing step", "spec.step", "rnk", "spec.step", "did you mean rank?"),
    _checked("step that asks no model", "spec.step", "variety", "spec.step", "name a rank, a recall of a model or a model step"),
    _checked("step that selects", "spec.step", "top", "spec.step", "top is a select"),
    _checked("unit that is no field", "spec.unit[0]", "request.customer", "spec.unit[0]", "did you mean"),
    _checked("unit that is an array", "spec.unit[0]", "request.cart", "spec.unit[0]", "is of type array"),
    _checked("second unit that is no field", "spec.unit[1]", "request.session", "spec.unit[1]", "is no field of the request"),
    _checked("targeting of no field", "spec.targeting", 'request.chanel == "web"', "spec.targeting", "what can be read here: request.cart"),
    _checked("targeting that is no condition", "spec.targeting", "request.channel", "spec.targeting", "bool is needed here"),
    _checked("targeting of candidates", "spec.targeting", "candidate.price > 1.0", "spec.targeting", "undeclared reference"),
    _checked("targeting of a model", "spec.targeting", 'intent.label == "x"', "spec.targeting", "undeclared reference"),
    _checked("targeting with a slip", "spec.targeting", "request.channel ==", "spec.targeting", "1:"),
    _checked("covariate of no field", "spec.metrics[1].covariate", "request.spend", "spec.metrics[1].covariate", "request.limit"),
    _checked("covariate that is no number", "spec.metrics[1].covariate", "request.channel", "spec.metrics[1].covariate", "double or int is needed here"),
    _checked("covariate of candidates", "spec.metrics[1].covariate", "candidate.price", "spec.metrics[1].covariate", "undeclared reference"),
    _checked("covariate of the answer", "spec.metrics[1].covariate", "double(size(answer.products))", "spec.metrics[1].covariate", "undeclared reference"),
    _checked("layer that meets itself", "spec.layer.buckets", ["0-5000", "4999-6000"], "spec.layer.buckets[1]", "have buckets in common"),
    _checked("layer that ends before it starts", "spec.layer.buckets", ["6000-5000"], "spec.layer.buckets[0]", "no range of buckets"),
    _checked("weight of less than a bucket", "spec.variants", [{"name": "control", "baseline": True, "weight": 10_000}, {"name": "treatment", "by": "1.0", "weight": 1}, {"name": "third", "by": "2.0", "weight": 10_000}], "spec.variants[1].weight", "less than one bucket"),
    _given("buckets in common", ["0-5000"], ["4000-9000"], "spec.variants[1].buckets", "part them"),
    _given("buckets other than the weights", ["0-6000"], ["6000-10000"], "spec.variants[0].buckets", "are 6000 buckets, and its weight gives 5000: remove buckets"),
    _given("buckets that are no range", ["0-5000"], ["9000-8000"], "spec.variants[1].buckets", "no range of buckets"),
    _given("no buckets for a weight", ["0-5000"], [], "spec.variants[1].buckets", "are 0 buckets, and its weight gives 5000"),
    _given("fewer buckets than all", ["0-5000"], ["5000-9999"], "spec.variants[1].buckets", "are 4999 buckets"),

    _of_step("expression for a recall", "together", {"by": "1.0"}, "spec.variants[1].by", "name a model"),
    _of_step("expression for a model", "intent", {"by": "1.0"}, "spec.variants[1].by", "name a model"),
    _of_step("rank by a recaller", "rank", {"model": "item-cooccurrence"}, "spec.variants[1].model", "cannot rank"),
    _of_step("recall by a ranker", "together", {"model": "ranker-v2"}, "spec.variants[1].model", "cannot recall"),
    _of_step("rank by a slip", "rank", {"by": "candidate.prize"}, "spec.variants[1].by", "candidate.price"),
    _of_step("rank by a text", "rank", {"by": "candidate.name"}, "spec.variants[1].by", "double or int is needed here"),
    _of_step("unknown input", "rank", {"model": "ranker-v2", "inputs": {"prize": "1.0"}}, "spec.variants[1].inputs.prize", "use one of"),
    _of_step("input of another type", "rank", {"model": "ranker-v2", "inputs": {"price": "candidate.name"}}, "spec.variants[1].inputs.price", "is needed here"),
    _of_step("input that nothing feeds", "rank", {"model": "margin-ranker"}, "spec.variants[1].inputs.margin", "add an expression"),
    _of_step("recall without what its reason says", "together", {"model": "bare-recaller"}, "spec.variants[1].model", "because"),
    _of_step("recall with an output of another type", "together", {"model": "counting-recaller"}, "spec.variants[1].model", "output because of another type"),
    _of_step("model without an output of the baseline", "intent", {"model": "bare-intent"}, "spec.variants[1].model", "lacks the output confidence"),
    _of_step("model with an output of another type", "intent", {"model": "counting-intent"}, "spec.variants[1].model", "output label of another type"),
)


class Kept(NamedTuple):
    """A change of one field of an experiment that has begun, and words of its refusal."""

    name: str
    before: dict[str, Any]
    path: str
    value: Any
    words: str


_MEASURED = measured()

# Refused by the API server once the experiment has begun, and free before.
KEPT: tuple[Kept, ...] = (
    Kept("graph", _MEASURED, "spec.graph", "home", "spec.graph cannot change"),
    Kept("step", _MEASURED, "spec.step", "rank2", "spec.step cannot change"),
    Kept("mode", shadow(), "spec", {**experiment()["spec"], "variants": [{**each, "weight": 1} for each in shadow()["spec"]["variants"]]}, "spec.mode cannot change"),
    Kept("unit", _MEASURED, "spec.unit", ["request.session"], "spec.unit cannot change"),
    Kept("second unit", _MEASURED, "spec.unit[1]", "request.session", "spec.unit cannot change"),
    Kept("salt", _MEASURED, "spec.salt", "another", "spec.salt cannot change"),
    Kept("no salt", _MEASURED, "spec.salt", REMOVED, "spec.salt cannot change"),
    Kept("a salt", experiment(), "spec.salt", "another", "spec.salt cannot change"),
    Kept("layer", _MEASURED, "spec.layer.name", "home", "spec.layer cannot change"),
    Kept("buckets of the layer", _MEASURED, "spec.layer.buckets", ["0-5000"], "spec.layer cannot change"),
    Kept("no layer", _MEASURED, "spec.layer", REMOVED, "spec.layer cannot change"),
    Kept("holdout", _MEASURED, "spec.holdout.percent", 6, "spec.holdout cannot change"),
    Kept("a holdout", experiment(), "spec.holdout", {"name": "2026q4", "percent": 5}, "spec.holdout cannot change"),
    Kept("targeting", _MEASURED, "spec.targeting", "true", "spec.targeting cannot change"),
    Kept("no targeting", _MEASURED, "spec.targeting", REMOVED, "spec.targeting cannot change"),
    Kept("store", _MEASURED, "spec.store", "other", "spec.store cannot change"),
    Kept("metric", _MEASURED, "spec.metrics[0].event", "click", "spec.metrics cannot change"),
    Kept("order of metrics", _MEASURED, "spec.metrics", _MEASURED["spec"]["metrics"][::-1], "spec.metrics cannot change"),
    Kept("primary", _MEASURED, "spec.primary", "revenue", "spec.primary cannot change"),
    Kept("alpha", _MEASURED, "spec.analysis.alpha", 0.2, "spec.analysis.alpha cannot change"),
    Kept("units of the first verdict", _MEASURED, "spec.analysis.minimumUnits", 10, "spec.analysis.minimumUnits cannot change"),
    Kept("model", _MEASURED, "spec.variants[1].model", "ranker-v3", "spec.variants can change in weight alone"),
    Kept("name of a variant", experiment(), "spec.variants[1].name", "other", "spec.variants can change in weight alone"),
    Kept("another variant", experiment(), "spec.variants[2]", {"name": "third", "by": "1.0", "weight": 1}, "spec.variants can change in weight alone"),
    Kept("inputs", experiment(), "spec.variants[1].inputs", {"price": "1.0"}, "spec.variants can change in weight alone"),
    Kept("expression", shadow(), "spec.variants[2].by", "1.0", "spec.variants can change in weight alone"),
    Kept("a variant less", shadow(), "spec.variants[2]", REMOVED, "spec.variants can change in weight alone"),
    Kept("other buckets", experiment(), "spec.variants", [{**each, "buckets": given} for each, given in zip(experiment()["spec"]["variants"], (["5000-10000"], ["0-5000"]), strict=True)], "write what endcap experiment export prints"),
)
