# SPDX-License-Identifier: Apache-2.0
"""The demo says PASS when events changed the order, and FAIL with the reason in every other case."""

from typing import Any

import pytest
from endcap_demo import comparing


def answer(order: list[str], bought: dict[str, int], items: int = 0, **changes: Any) -> dict[str, Any]:
    used = [{"product": name, "value": bought.get(name, 0)} for name in order]
    return {
        "recommendations": [{"product": name} for name in order],
        "served_by": {"rank": "live-ranker@1"},
        "degraded": [],
        "explain": [
            {"step": "household", "features": [{"name": "items_24h", "value": items}]},
            {"step": "rank", "rule": "order by live-ranker"},
            {"step": "habit", "features": [{"name": "bought_672h", "products": used}]},
        ],
        **changes,
    }


BEFORE = answer(["Cutlery", "Towels", "Soda"], {})
AFTER = answer(["Cutlery", "Soda", "Towels"], {"Soda": 9}, items=4)


def test_an_order_that_events_changed_has_no_objection() -> None:
    assert comparing.objections(BEFORE, AFTER) == []


@pytest.mark.parametrize(
    ("after", "objection"),
    [
        (answer(["Cutlery", "Towels", "Soda"], {"Soda": 9}), "the order is the same"),
        (answer(["Cutlery", "Soda", "Towels"], {}), "nothing that rose has a feature that changed"),
        (
            answer(["Cutlery", "Soda", "Towels"], {"Towels": 9}),
            "nothing that rose has a feature that changed",
        ),
        (AFTER | {"served_by": {"rank": "live-ranker@2"}}, "other models answered"),
        (AFTER | {"degraded": [{"step": "habit"}]}, "a step did not contribute"),
    ],
)
def test_a_change_that_events_did_not_make_is_objected_to(after: dict[str, Any], objection: str) -> None:
    assert objection in comparing.objections(BEFORE, after)


def test_what_changed_is_listed_by_product_and_for_the_request() -> None:
    found = comparing.listed(list(comparing.changes(BEFORE, AFTER)))
    assert found.splitlines() == ["  household: items_24h 0 → 4", "  Soda: bought_672h 0 → 9"]


def test_a_value_that_was_not_shown_before_is_told_as_unknown() -> None:
    after = answer(["Candy", "Cutlery", "Towels"], {"Candy": 2})
    assert "  Candy: bought_672h ? → 2" in comparing.listed(list(comparing.changes(BEFORE, after)))


def test_the_orders_stand_side_by_side() -> None:
    assert comparing.table(BEFORE, AFTER).splitlines()[1].split() == ["2", "Towels", "Soda"]
