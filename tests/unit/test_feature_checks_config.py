# SPDX-License-Identifier: Apache-2.0
"""What graphs, models and sidecars are told of features: it survives its journey, and its names say its meaning."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from builders import changed
from known_features import CONFIGS, CONTRACTS, MODELS, WRITTEN, bundle_of, graph_of, view_of
from views import activity, bundle, feature, graph_with_features, popularity, profile

from endcap_api.feature_columns import columns_of
from endcap_api.features_config import FeaturesConfig, StoreConfig, ViewConfig, bundle_contract, prefix_of
from endcap_api.runtime_config import GraphConfig, bundles_named, views_written


def store_config(**changes: Any) -> StoreConfig:
    values = {
        "url": "redis://default-store:6379",
        "prefix": prefix_of("shop", "default"),
        "max_lag_ms": 10_000,
        "max_backlog": 100_000,
        "dead_letters": 10_000,
    }
    return StoreConfig(**{**values, **changes})


def features_config(**changes: Any) -> FeaturesConfig:
    values = {
        "namespace": "shop",
        "stores": {"default": store_config()},
        "views": CONFIGS,
        "bundles": {"customer-preference": bundle_of(bundle())},
    }
    return FeaturesConfig(**{**values, **changes})


def graph_config(**changes: Any) -> GraphConfig:
    values = {
        "name": "basket",
        "namespace": "shop",
        "spec": graph_of(graph_with_features()),
        "models": MODELS,
        "bundles": CONTRACTS,
        "views": WRITTEN,
    }
    return GraphConfig(**{**values, **changes})


def digest(**views: Any) -> str:
    """Of the bundle of a customer, with some of its views another."""
    known = {**CONFIGS, **{name.replace("_", "-"): config for name, config in views.items()}}
    return bundle_contract(bundle_of(bundle()), known).digest


@pytest.mark.parametrize("config", [features_config(), graph_config()], ids=lambda c: type(c).__name__)
def test_a_configuration_survives_its_journey_as_json(config: FeaturesConfig | GraphConfig) -> None:
    again = type(config).model_validate_json(json.dumps(config.dump(), sort_keys=True))
    assert again == config
    assert again.revision == config.revision


@pytest.mark.parametrize(
    "changes",
    [
        {"stores": {"default": store_config(max_lag_ms=1)}},
        {"views": {**CONFIGS, "last-intent": ViewConfig(spec=CONFIGS["last-intent"].spec, version="m@5")}},
        {"bundles": {}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_a_sidecar_serves_changes_its_revision(changes: dict[str, Any]) -> None:
    assert features_config(**changes).revision != features_config().revision


def test_a_graph_is_another_revision_with_another_bundle() -> None:
    fewer = bundle_contract(bundle_of(changed(bundle(), "spec.features[2]", {"view": "customer-profile", "feature": "age"})), CONFIGS)  # fmt: skip  # noqa: E501
    bundles = {**CONTRACTS, "customer-preference": fewer}
    assert graph_config(bundles=bundles).revision != graph_config().revision


def test_the_digest_of_a_bundle_is_that_of_its_meaning_on_both_sides() -> None:
    assert digest() == CONTRACTS["customer-preference"].digest
    assert digest(product_popularity=ViewConfig(spec=view_of(popularity(ttl="30h")))) == digest()
    for other in (activity(ttl="27h"), changed(activity(), "spec.features[0].windows", ["1h"])):
        assert digest(customer_activity=ViewConfig(spec=view_of(other))) != digest()
    newer = ViewConfig(spec=view_of(profile()), version="profiler@2")
    assert digest(customer_profile=newer) != digest()


def test_a_serving_log_is_part_of_what_a_graph_knows_of_a_bundle() -> None:
    """So that its first entry, and its end, reach graphs that run."""
    logging = features_config(stores={"default": store_config(serving_log=1000)})
    logged, silent = (
        logging.contract("customer-preference"),
        features_config().contract("customer-preference"),
    )
    assert (logged.served, silent.served) == (True, False)
    assert logged.digest != silent.digest
    bundles = {**CONTRACTS, "customer-preference": logged}
    assert graph_config(bundles=bundles).revision != graph_config().revision
    longer = features_config(stores={"default": store_config(serving_log=2000)})
    assert longer.contract("customer-preference") == logged


def test_columns_of_a_bundle_have_the_names_of_the_bundle_and_the_meaning_of_the_view() -> None:
    spend = CONTRACTS["customer-preference"].columns[1]
    assert (spend.name, spend.feature, spend.type, spend.window_ms) == (
        "spend",
        "spend",
        "number",
        86_400_000,
    )
    assert CONTRACTS["customer-preference"].columns[2].default == "unknown"


def test_stores_that_share_a_redis_never_share_a_key() -> None:
    found = {prefix_of(*each) for each in (("shop", "a"), ("shop", "b"), ("a", "shop"), ("sho", "pa"))}
    assert len(found) == 4
    assert all(re.fullmatch("[0-9a-f]{8}", prefix) for prefix in found)


def test_a_default_has_the_type_of_its_column() -> None:
    features = [
        feature("spend", default=3),
        feature("weights", "array", "number", default=[1, 2]),
        feature("plain"),
        feature("none", "array", "string"),
        feature("member", "boolean"),
    ]
    defaults = [column.default for column in columns_of(view_of(profile(features=features)))]
    assert defaults == [3.0, [1.0, 2.0], 0.0, [], False]
    assert [type(each) for each in defaults[0:3:2]] == [float, float]
    assert all(type(each) is float for each in defaults[1])


def test_a_graph_names_its_bundles_and_the_views_that_it_writes() -> None:
    assert bundles_named(graph_of(graph_with_features())) == ["customer-preference", "product"]
    assert views_written(graph_of(graph_with_features())) == ["last-intent"]
    assert set(graph_config().dump()["bundles"]) == set(CONTRACTS)
