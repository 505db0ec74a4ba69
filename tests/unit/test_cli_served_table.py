# SPDX-License-Identifier: Apache-2.0
"""The serving log as a table: its schema is that of the definitions, whatever a day happened to serve."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from builders import changed
from local_feature_runs import bundles, facts, habits, sales, shown

from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_cli.feature_contracts import Features
from endcap_cli.features.served_table import table, types_of
from endcap_cli.features.training import rows_of
from endcap_cli.terminal import CommandError

NUMBERED = changed(shown(), "spec.features[0].items.type", "integer")
VIEWS = {
    view["metadata"]["name"]: FeatureViewSpec.model_validate(view["spec"])
    for view in (sales(), habits(), facts(), NUMBERED)
}
BUNDLES = {b["metadata"]["name"]: FeatureBundleSpec.model_validate(b["spec"]) for b in bundles()}
KNOWN = Features.of(VIEWS, BUNDLES).bundle_contracts
DEFAULTS = {"buys_1h": 0, "dearest_1h": 0.0, "favourites_1h": [], "last_products": []}
SERVED = {"buys_1h": 2, "dearest_1h": 4.5, "favourites_1h": ["a"], "last_products": [1, 2]}


def record(columns: dict[str, Any], **head: Any) -> dict[str, Any]:
    one = {
        "step": "who",
        "bundle": "customer",
        "keys": {"customer_id": ["7"]},
        "columns": {name: [value] for name, value in columns.items()},
        "statuses": {name: ["PRESENT"] for name in columns},
    }
    return {
        "request_id": "r",
        "time_ms": 1_790_000_000_250,
        "graph": "g",
        "revision": "1",
        "served": [one],
        **head,
    }


def made(*records: dict[str, Any], known: Any = KNOWN) -> pa.Table:
    return table([row for one in records for row in rows_of(one)], types_of(records, known))


def test_a_day_of_empty_values_has_the_schema_of_any_other() -> None:
    backwards = dict(reversed(SERVED.items()))
    empty, full = made(record(DEFAULTS, graph=None, revision=None)), made(record(backwards), record(DEFAULTS))
    assert empty.schema == full.schema
    assert empty.schema.field("who.last_products").type == pa.list_(pa.int64())
    assert empty.schema.field("who.dearest_1h").type == pa.float64()
    assert empty.schema.field("who.customer_id").type == pa.string()
    assert full.column("who.favourites_1h").to_pylist() == [["a"], []]
    assert pa.concat_tables([empty, full]).num_rows == 3


def test_without_definitions_no_column_is_without_a_type() -> None:
    found = made(record({**DEFAULTS, "old": None}), known={}).schema
    assert found.field("who.last_products").type == pa.list_(pa.string())
    assert found.field("who.old").type == pa.string()
    assert found.field("who.buys_1h").type == pa.int64()
    numbers = made(record({"prices": []}), record({"prices": [1.5]}), known={})
    assert numbers.schema.field("who.prices").type == pa.list_(pa.float64())


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([record({"buys_1h": "two"})], "who.buys_1h does not fit int64, its type in the definitions"),
        ([record({"x": "two"}), record({"x": 2})], "who.x has values of several types"),
    ],
)
def test_values_that_fit_no_one_type_are_told_by_their_column(
    records: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(CommandError, match=f"{words}.*write JSON lines"):
        made(*records)
