# SPDX-License-Identifier: Apache-2.0
"""What must hold between the fields of an experiment, and what may not change once it has begun."""

from __future__ import annotations

from endcap_api.v1alpha1.base import Rule

VARIANT_RULES: tuple[Rule, ...] = (
    Rule(
        "has(self.baseline) && self.baseline ? !has(self.model) && !has(self.by) && !has(self.inputs) "
        ": has(self.model) != has(self.by)",
        "the baseline is the step as the graph has it, so it names nothing; every other variant names exactly one of "
        "model and by",
    ),
    Rule("!has(self.inputs) || has(self.model)", "inputs go with model: remove inputs"),
)

_PLACES = ", ".join(map(str, range(15)))
RAMP_RULES: tuple[Rule, ...] = (
    Rule(
        f"[{_PLACES}].all(i, i + 1 >= self.steps.size() || self.steps[i].coverage < self.steps[i + 1].coverage)",
        "ramp.steps go up: order them by coverage, each once, e.g. 1, 5, 25, 100",
    ),
    Rule(
        "!has(self.approved) || self.steps.exists(s, has(s.approval) && s.approval)",
        "no step of the ramp waits for an approval: remove approved, or set approval: true on a step",
    ),
)

SPLIT_RULES: tuple[Rule, ...] = (
    Rule(
        "self.variants.filter(v, has(v.baseline) && v.baseline).size() == 1",
        "exactly one variant is the baseline, the step as it is: set baseline: true on one",
    ),
    Rule(
        "self.variants.all(v, self.variants.filter(w, w.name == v.name).size() == 1)",
        "variants has a name twice: rename one of them",
    ),
    Rule(
        "self.unit.all(u, self.unit.filter(v, v == u).size() == 1)",
        "unit has a field twice: remove one of them",
    ),
    Rule(
        "!has(self.salt) || !(self.salt.startsWith('layer/') || self.salt.startsWith('holdout/'))",
        "layer/ and holdout/ begin the salts of layers and holdouts, and units would be parted alike: write another",
    ),
    Rule(
        "self.mode == 'shadow' ? self.variants.all(v, !has(v.weight)) : self.variants.all(v, has(v.weight))",
        "each variant of a split has a weight, and none of a shadow: add the missing, or remove them",
    ),
    Rule(
        "self.variants.all(v, !(has(v.baseline) && v.baseline) || !has(v.weight) || v.weight > 0)",
        "without buckets for the baseline nothing can be compared: give it a weight above 0",
    ),
    Rule(
        "self.variants.all(v, has(v.buckets)) || self.variants.all(v, !has(v.buckets))",
        "buckets are given for all variants or for none: copy them with endcap experiment export, or remove them",
    ),
    Rule(
        "!has(self.ramp) || !has(self.coverage)",
        "coverage is set by the ramp: remove coverage, or remove ramp",
    ),
    Rule(
        "!has(self.overrides) || "
        "self.overrides.units.all(u, self.variants.exists(v, v.name == self.overrides.units[u]))",
        "overrides.units has a variant that is not there: use a name from variants",
    ),
    Rule(
        "!has(self.decision) || !has(self.decision.promote) || "
        "self.variants.exists(v, v.name == self.decision.promote)",
        "decision.promote is none of the variants: name one of them",
    ),
    Rule(
        "!has(self.decision) || !has(self.decision.promote) || "
        "!self.variants.exists(v, v.name == self.decision.promote && has(v.baseline) && v.baseline)",
        "decision.promote is the baseline, which the graph has already: to end the experiment write decision: {abort: "
        "why}",
    ),
)

SHADOW_RULES: tuple[Rule, ...] = (
    Rule(
        "self.mode != 'shadow' || !(has(self.store) || has(self.metrics) || has(self.primary) || "
        "has(self.guardrails) || has(self.onWin) || has(self.decision) || has(self.overrides))",
        "a shadow changes no answer, so nobody is exposed and nothing can win: remove store, metrics, primary, "
        "guardrails, onWin, decision and overrides",
    ),
    Rule(
        "self.mode != 'shadow' || !has(self.promotion) || self.promotion == 'recommend'",
        "a shadow is never promoted: remove promotion",
    ),
    Rule(
        "self.mode != 'shadow' || self.variants.all(v, !has(v.buckets))",
        "a shadow has no buckets, since every variant is asked for each unit: remove buckets",
    ),
)

MEASUREMENT_RULES: tuple[Rule, ...] = (
    Rule(
        "!has(self.metrics) || has(self.store)",
        "metrics are joined in a feature store: name one, e.g. store: default",
    ),
    Rule(
        "has(self.primary) == has(self.metrics)",
        "metrics and primary go together: name the metric that decides, e.g. primary: add-to-cart",
    ),
    Rule(
        "!has(self.primary) || !has(self.metrics) || self.metrics.exists(m, m.name == self.primary)",
        "primary is none of the metrics: name one of them",
    ),
    Rule(
        "!has(self.metrics) || self.metrics.all(m, self.metrics.filter(n, n.name == m.name).size() == 1)",
        "metrics has a name twice: rename one of them",
    ),
    Rule(
        "!has(self.guardrails) || self.guardrails.all(g, !has(g.metric) || "
        "(has(self.metrics) && self.metrics.exists(m, m.name == g.metric)))",
        "a guardrail names a metric that is not there: add it to metrics, or name one of them",
    ),
    Rule(
        "!has(self.guardrails) || self.guardrails.all(g, self.guardrails.filter(h, "
        "(has(g.metric) && has(h.metric) && g.metric == h.metric) || "
        "(has(g.serving) && has(h.serving) && g.serving == h.serving)).size() == 1)",
        "guardrails limits the same thing twice: keep the lower limit",
    ),
    Rule(
        "!has(self.onWin) || has(self.primary)",
        "without metrics nothing can win: add metrics and primary, or remove onWin",
    ),
    Rule(
        "has(self.store) || !has(self.analysis) || !has(self.analysis.maximumUnits)",
        "units are counted in a feature store: name one for analysis.maximumUnits, e.g. store: default",
    ),
    Rule(
        "has(self.store) || !has(self.ramp) || self.ramp.steps.all(s, !has(s.minimumUnits))",
        "units are counted in a feature store: name one for ramp.steps.minimumUnits, e.g. store: default",
    ),
)

SPEC_RULES: tuple[Rule, ...] = (*SPLIT_RULES, *SHADOW_RULES, *MEASUREMENT_RULES)

_BEGUN = "has(oldSelf.status) && has(oldSelf.status.phase) && oldSelf.status.phase != 'Pending'"
_MOVES = "it has begun, and its units would change variant: create another Experiment"
_MEANS = "it has begun, and what was counted would mean something else: create another Experiment"
_TUNED = "it has begun, and a bound that is chosen after looking proves nothing: create another Experiment"


def _kept(field: str, why: str) -> Rule:
    now, before = f"self.spec.{field}", f"oldSelf.spec.{field}"
    same = f"has({now}) == has({before}) && (!has({now}) || {now} == {before})"
    return Rule(f"!({_BEGUN}) || ({same})", f"spec.{field} cannot change: {why}")


def _same(field: str) -> str:
    return f"has(v.{field}) == has(w.{field}) && (!has(v.{field}) || v.{field} == w.{field})"


_VARIANTS = " && ".join(
    (
        "w.name == v.name",
        "(has(v.baseline) && v.baseline) == (has(w.baseline) && w.baseline)",
        *(_same(field) for field in ("model", "by", "inputs")),
    )
)

# Over the whole object, since whether it has begun is in its status.
TRANSITIONS: tuple[Rule, ...] = (
    *(
        _kept(field, _MOVES)
        for field in ("graph", "step", "mode", "unit", "salt", "layer", "holdout", "targeting")
    ),
    *(_kept(field, _MEANS) for field in ("store", "metrics", "primary")),
    *(_kept(field, _TUNED) for field in ("analysis.alpha", "analysis.minimumUnits")),
    Rule(
        f"!({_BEGUN}) || (self.spec.variants.size() == oldSelf.spec.variants.size() && "
        f"self.spec.variants.all(v, oldSelf.spec.variants.exists(w, {_VARIANTS})))",
        "spec.variants can change in weight alone: it has begun, and a variant would no longer be what was measured: "
        "create another Experiment",
    ),
    Rule(
        f"!({_BEGUN}) || self.spec.variants.all(v, !has(v.buckets) || v.buckets.size() == 0 || "
        "oldSelf.spec.variants.exists(w, w.name == v.name && has(w.buckets) && w.buckets == v.buckets) || "
        "(has(oldSelf.status.variants) && oldSelf.status.variants.exists(s, s.name == v.name && has(s.buckets) && "
        "s.buckets == v.buckets)))",
        "spec.variants.buckets can be removed, or be those it has: it has begun, and others would move units: write "
        "what endcap experiment export prints",
    ),
)
