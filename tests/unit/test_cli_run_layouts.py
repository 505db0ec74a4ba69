# SPDX-License-Identifier: Apache-2.0
"""Which edits of a view make it start cold, as `endcap run` tells it."""

from __future__ import annotations

from typing import Any

import pytest
from builders import changed
from ingest_servers import activity, features, profile

from endcap_api.features_config import FeaturesConfig
from endcap_cli.run.layouts import changed as begun_anew
from endcap_cli.run.layouts import layouts


def served(**views: dict[str, Any]) -> FeaturesConfig:
    return FeaturesConfig.model_validate(features("redis://127.0.0.1:1", views))


BEFORE = served(customers=activity(), profile=profile())


def told(before: FeaturesConfig, after: FeaturesConfig, known: FeaturesConfig = BEFORE) -> list[str]:
    return list(begun_anew(before, after, set(layouts(known).values())))


def edited(field: str, value: Any) -> FeaturesConfig:
    return served(customers=changed(activity(), field, value), profile=profile())


@pytest.mark.parametrize(
    ("field", "value"),
    [("source.stream.maxEvents", 32), ("source.stream.lateness", "2h"), ("features[1].decimals", 4)],
)
def test_another_packing_is_told(field: str, value: Any) -> None:
    assert told(BEFORE, edited(field, value)) == ["view customers starts cold: its packing changed"]


@pytest.mark.parametrize(
    ("field", "value"), [("ttl", "48h"), ("description", "What they do"), ("features[0].default", 1)]
)
def test_an_edit_that_leaves_the_packing_is_not(field: str, value: Any) -> None:
    assert told(BEFORE, edited(field, value)) == []


def test_views_that_come_and_go_are_no_news() -> None:
    alone = served(customers=activity())
    assert told(alone, BEFORE) == told(BEFORE, alone) == []


def test_an_edit_that_is_taken_back_finds_what_was_there_before() -> None:
    assert told(edited("source.stream.maxEvents", 32), BEFORE) == [
        "view customers has an earlier packing again: what came in between is not in it"
    ]
