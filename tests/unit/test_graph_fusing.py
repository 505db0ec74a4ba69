# SPDX-License-Identifier: Apache-2.0
"""Which lookups a graph makes together, and when: one a request wherever that can be."""

from __future__ import annotations

import pytest

from endcap_api.v1alpha1.steps import Step
from endcap_runtime.graph.fusing import Group, groups_of


def step(name: str, **spec: object) -> Step:
    return Step.model_validate({"name": name, **spec})


def looks_up(name: str, entity: str) -> Step:
    return step(name, features={"bundle": name, "entity": entity})


CUSTOMER = looks_up("customer", "request.customer")
SESSION = looks_up("session", "request.session")
PRODUCT = looks_up("product", "candidate.id")
BRAND = looks_up("brand", "candidate.brand")
INTENT = step("intent", model={"model": "micro-intent"})
RECALL = step("together", recall={"model": "item-cooccurrence"})
CHEAP = step("cheap", filter={"keep": "candidate.price < 3.0"})
RANK = step("rank", rank={"by": "candidate.product.margin"})
TOP = step("top", select={"count": "10"})
KEYS = {
    "customer": "request.customer",
    "session": "request.session",
    "product": "candidate.id",
    "brand": "candidate.brand",
    "party": "intent.name",
    "segment": "customer.segment",
}


def groups(*steps: Step, **reads: str) -> list[Group]:
    """`reads` are names that a step reads beside the key of its entity."""
    known = {
        each.name: frozenset({*KEYS.get(each.name, "").split(), *reads.get(each.name, "").split()})
        for each in steps
    }
    return groups_of(steps, known)


def test_features_of_the_request_and_of_candidates_are_one_call_with_the_first_candidates() -> None:
    assert groups(CUSTOMER, RECALL, CHEAP, PRODUCT, BRAND, RANK, TOP, rank="customer.budget") == [
        Group(("customer", "product", "brand"), (), before="product")
    ]


def test_features_of_the_request_alone_are_one_call_beside_the_models() -> None:
    assert groups(CUSTOMER, SESSION, INTENT, RECALL, RANK, TOP) == [Group(("customer", "session"), ())]


def test_the_call_is_made_before_whoever_reads_it_first() -> None:
    made = groups(CUSTOMER, RECALL, CHEAP, PRODUCT, RANK, TOP, cheap="customer.budget")
    assert made == [Group(("customer", "product"), (), before="cheap")]


def test_a_select_that_reads_features_of_the_request_gets_them() -> None:
    assert groups(CUSTOMER, RECALL, PRODUCT, TOP, top="customer.visits") == [
        Group(("customer", "product"), (), before="product")
    ]


@pytest.mark.parametrize("reader", ["together", "intent", "brand"])
def test_what_has_to_be_there_before_the_candidates_is_asked_before(reader: str) -> None:
    made = groups(CUSTOMER, SESSION, INTENT, RECALL, PRODUCT, BRAND, TOP, **{reader: "customer.segment"})
    assert made == [
        Group(("customer", "session"), ()),
        Group(("product", "brand"), ("customer",) if reader == "brand" else (), before="product"),
    ]


def test_a_key_that_a_model_says_waits_for_the_model() -> None:
    party = looks_up("party", "intent.name")
    assert groups(INTENT, CUSTOMER, party, RECALL, TOP) == [Group(("customer", "party"), ("intent",))]
    assert groups(INTENT, CUSTOMER, party, RECALL, PRODUCT, TOP) == [
        Group(("customer", "party", "product"), ("intent",), before="product")
    ]


def test_what_a_recall_reads_does_not_wait_for_a_model_that_another_key_needs() -> None:
    party = looks_up("party", "intent.name")
    assert groups(INTENT, CUSTOMER, party, RECALL, TOP, together="customer.segment") == [
        Group(("customer",), ()),
        Group(("party",), ("intent",)),
    ]


def test_a_key_that_another_lookup_says_is_a_call_of_its_own() -> None:
    segment = looks_up("segment", "customer.segment")
    assert groups(CUSTOMER, segment, RECALL, TOP) == [
        Group(("customer",), ()),
        Group(("segment",), ("customer",)),
    ]


def test_a_graph_without_features_makes_no_call() -> None:
    assert groups(INTENT, RECALL, CHEAP, TOP) == []


def test_no_step_can_have_the_name_of_a_group() -> None:
    (group,) = groups(CUSTOMER, SESSION, RECALL, TOP)
    with pytest.raises(ValueError, match="name"):
        step(group.name, select={"count": "10"})
