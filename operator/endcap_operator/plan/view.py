# SPDX-License-Identifier: Apache-2.0
"""What is said about a FeatureView: it has no children, and its store's ingest pods know how it fares."""

from __future__ import annotations

from typing import Any

from endcap_api.feature_size import bytes_per_entity, layout_kind, window_errors
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featurestore import FeatureStoreSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_operator.plan.conditions import Condition, condition, invalid
from endcap_operator.plan.facts import Fed, Observed, Plan, Resource
from endcap_operator.plan.features import problems_of_view, view_obstacle
from endcap_operator.plan.freshness import asked_again, fresh, shown_span, warm, warmth
from endcap_operator.plan.remedies import advised

MOST_LISTED = 256


def plan_view(resource: Resource, spec: FeatureViewSpec, observed: Observed) -> Plan:
    conditions = _conditions(resource, spec, observed)
    status = {
        "observedGeneration": resource.generation,
        **_size(spec),
        **_course(resource, spec, observed),
        **_carriers(resource.identity.name, observed),
        "conditions": conditions,
    }
    if len(conditions) == 1:
        return Plan(status=status)
    steady = all(condition["status"] == "True" for condition in conditions)
    return Plan(status=status, recheck=asked_again(observed.report, steady=steady))


def _conditions(resource: Resource, spec: FeatureViewSpec, observed: Observed) -> list[Condition]:
    generation, name = resource.generation, resource.identity.name
    if problems := problems_of_view(spec):
        return [invalid("Valid", problems, generation)]
    failure = view_obstacle(resource.identity.namespace, spec, observed)
    if failure:
        return [condition("Valid", "False", failure.reason, advised(failure), generation)]
    store, fed = observed.specs(FeatureStoreSpec)[spec.store], _fed(name, observed)
    return [
        condition("Valid", "True", "Valid", "The spec is valid, and its store exists.", generation),
        warm(spec, observed.report, fed, generation),
        fresh(spec, store, observed.report, fed, generation),
    ]


def _fed(name: str, observed: Observed) -> Fed:
    return (observed.report.views.get(name) if observed.report else None) or Fed()


def _size(spec: FeatureViewSpec) -> dict[str, Any]:
    errors = window_errors(spec)
    return {
        "layout": layout_kind(spec),
        "bytesPerEntity": bytes_per_entity(spec),
        **({"windowError": errors} if errors else {}),
    }


def _course(resource: Resource, spec: FeatureViewSpec, observed: Observed) -> dict[str, Any]:
    report = observed.report
    if report is None or not spec.source.stream:
        return {}
    seen = warmth(spec, report, _fed(resource.identity.name, observed))
    return {"lag": shown_span(report.lag_ms), **({"warmth": seen} if seen else {})}


def _carriers(view: str, observed: Observed) -> dict[str, Any]:
    """The bundles that carry features of the view, as a whole and a feature."""
    carried: dict[str, list[str]] = {}
    for bundle, spec in observed.specs(FeatureBundleSpec).items():
        for feature in sorted({s.feature for s in spec.features if s.view == view}):
            carried.setdefault(feature, []).append(bundle)
    bundles = sorted({name for names in carried.values() for name in names})
    return {"bundles": bundles[:MOST_LISTED], "carriedBy": dict(sorted(carried.items()))} if carried else {}
