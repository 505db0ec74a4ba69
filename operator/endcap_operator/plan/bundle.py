# SPDX-License-Identifier: Apache-2.0
"""What is said about a FeatureBundle: whether its features are there to be looked up, and who asks for them."""

from __future__ import annotations

from typing import Any

from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_operator.plan.conditions import Condition, accepted, condition
from endcap_operator.plan.facts import Observed, Plan, Resource
from endcap_operator.plan.features import features_obstacle, problems_of_bundle
from endcap_operator.plan.pods import Failure
from endcap_operator.plan.remedies import advised
from endcap_operator.plan.view import MOST_LISTED


def plan_bundle(resource: Resource, spec: FeatureBundleSpec, observed: Observed) -> Plan:
    views = sorted({selected.view for selected in spec.features})
    status: dict[str, Any] = {
        "observedGeneration": resource.generation,
        **_entity(spec, observed),
        "features": len(spec.features),
        "views": views,
        **_users(observed),
        "conditions": _conditions(resource, spec, observed),
    }
    return Plan(status=status)


def _entity(spec: FeatureBundleSpec, observed: Observed) -> dict[str, str]:
    view = observed.specs(FeatureViewSpec).get(spec.features[0].view)
    return {"entity": view.entity.name} if view else {}


def _users(observed: Observed) -> dict[str, list[str]]:
    users = sorted(f"{key.kind}/{key.name}" for key in observed.callers)
    return {"usedBy": users[:MOST_LISTED]} if users else {}


def _conditions(resource: Resource, spec: FeatureBundleSpec, observed: Observed) -> list[Condition]:
    generation, problems = resource.generation, problems_of_bundle(spec, observed)
    failure = Failure("InvalidSpec", problems) if problems else _obstacle(resource, spec, observed)
    if failure is None:
        ready = condition("Ready", "True", "Resolved", "Its features can be looked up.", generation)
    else:
        ready = condition("Ready", "False", failure.reason, advised(failure), generation)
    return [accepted(generation, [problems] if problems else []), ready]


def _obstacle(resource: Resource, spec: FeatureBundleSpec, observed: Observed) -> Failure | None:
    views = [selected.view for selected in spec.features]
    found = features_obstacle(resource.identity.namespace, [], views, observed)
    known = observed.specs(FeatureViewSpec)
    own = {known[name].store for name in views if name in known}
    if found is None and (stores := [name for name in observed.unready("FeatureStore") if name in own]):
        return Failure("FeatureStoreNotReady", f"FeatureStore {', '.join(stores)} is not ready")
    return found
