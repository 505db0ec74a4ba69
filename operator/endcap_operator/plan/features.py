# SPDX-License-Identifier: Apache-2.0
"""What a graph's or a model's feature sidecar is told, and what keeps it from being told anything yet.

A bundle or view that is missing or unsound holds up whoever names it, and what they were told before stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain

from endcap_api.feature_checks import bundle_problems, view_problems
from endcap_api.features_config import BundleContract, FeaturesConfig, ViewConfig, bundle_contract
from endcap_api.runtime_config import version_of
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featurestore import FeatureStoreSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_operator.keys import Key
from endcap_operator.manifests.features import store_config
from endcap_operator.plan.facts import Observed
from endcap_operator.plan.pods import Failure
from endcap_operator.plan.remembered import MOST, Keyed


def features_obstacle(
    namespace: str, bundles: Sequence[str], views: Sequence[str], observed: Observed
) -> Failure | None:
    """Why these bundles cannot be looked up, or these views not be written to; what is missing comes first."""
    needed = names_of_views(bundles, views, observed)
    found = chain(
        _missing("FeatureBundle", namespace, bundles, observed),
        _missing("FeatureView", namespace, needed, observed),
        _behind(namespace, needed, observed),
        _unsound(bundles, needed, observed),
    )
    return next(found, None)


def names_of_views(bundles: Iterable[str], views: Iterable[str], observed: Observed) -> list[str]:
    """The views themselves, and those behind the bundles that exist."""
    known = observed.specs(FeatureBundleSpec)
    behind = {s.view for name in bundles if name in known for s in known[name].features}
    return sorted({*views, *behind})


def _missing(kind: str, namespace: str, names: Iterable[str], observed: Observed) -> Iterator[Failure]:
    absent = [name for name in sorted(set(names)) if Key(kind, namespace, name) not in observed.resources]
    if absent:
        reason = f"{kind.removesuffix('Deployment')}NotFound"
        yield Failure(reason, f"Namespace {namespace} has no {kind} {', '.join(absent)}")


def _behind(namespace: str, views: Iterable[str], observed: Observed) -> Iterator[Failure]:
    """What the views rest on: their stores, and the models whose results they hold."""
    known = observed.specs(FeatureViewSpec)
    yield from _lacking(namespace, [known[name] for name in views if name in known], observed)


def _lacking(namespace: str, specs: Sequence[FeatureViewSpec], observed: Observed) -> Iterator[Failure]:
    yield from _missing("FeatureStore", namespace, [spec.store for spec in specs], observed)
    models = [model for model in map(model_behind, specs) if model]
    yield from _missing("ModelDeployment", namespace, models, observed)


def view_obstacle(namespace: str, spec: FeatureViewSpec, observed: Observed) -> Failure | None:
    """What a view that is sound itself lacks."""
    return next(_lacking(namespace, [spec], observed), None)


def _unsound(bundles: Iterable[str], views: Iterable[str], observed: Observed) -> Iterator[Failure]:
    for name in views:
        if problems := problems_of_view(observed.specs(FeatureViewSpec)[name]):
            yield Failure("FeatureViewInvalid", f"FeatureView {name}: {problems}")
    for name in bundles:
        if problems := problems_of_bundle(observed.specs(FeatureBundleSpec)[name], observed):
            yield Failure("FeatureBundleInvalid", f"FeatureBundle {name}: {problems}")


def problems_of_view(spec: FeatureViewSpec) -> str:
    return _view_problems(Keyed(spec.model_dump_json(), spec))


@lru_cache(maxsize=MOST)
def _view_problems(spec: Keyed[FeatureViewSpec]) -> str:
    return "; ".join(map(str, view_problems(spec.value)))


def problems_of_bundle(spec: FeatureBundleSpec, observed: Observed) -> str:
    return "; ".join(map(str, bundle_problems(spec, observed.specs(FeatureViewSpec))))


def model_behind(view: FeatureViewSpec) -> str | None:
    return view.source.derived.model if view.source.derived else None


def view_config(spec: FeatureViewSpec, observed: Observed) -> ViewConfig:
    """With the version that the model behind a derived view serves, or is to serve when none does yet."""
    name = model_behind(spec)
    models = {key.name: other for key, other in observed.resources.items() if key.kind == "ModelDeployment"}
    model = models.get(name or "")
    if model is None or not isinstance(model.spec, ModelDeploymentSpec):
        return ViewConfig(spec=spec)
    return ViewConfig(spec=spec, version=f"{name}@{model.version or version_of(model.spec.model.uri)}")


def features_config(
    namespace: str, bundles: Sequence[str], views: Sequence[str], observed: Observed
) -> FeaturesConfig:
    """What the sidecar of a graph or a model is told; for those without an obstacle."""
    known, stores = observed.specs(FeatureViewSpec), observed.specs(FeatureStoreSpec)
    configs = {name: view_config(known[name], observed) for name in names_of_views(bundles, views, observed)}
    used = sorted({config.spec.store for config in configs.values()})
    specs = observed.specs(FeatureBundleSpec)
    return FeaturesConfig(
        namespace=namespace,
        stores={name: store_config(namespace, name, stores[name]) for name in used},
        views=configs,
        bundles={name: specs[name] for name in sorted(bundles)},
    )


def contract_of(name: str, observed: Observed) -> BundleContract | None:
    """What a bundle gives, as far as it exists and is sound."""
    spec = observed.specs(FeatureBundleSpec).get(name)
    if spec is None or problems_of_bundle(spec, observed):
        return None
    views = observed.specs(FeatureViewSpec)
    if any(selected.view not in views for selected in spec.features):
        return None
    logging = [name for name, store in observed.specs(FeatureStoreSpec).items() if store.serving_log]
    return bundle_contract(spec, {name: view_config(view, observed) for name, view in views.items()}, logging)
