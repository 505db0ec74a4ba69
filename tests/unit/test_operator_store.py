# SPDX-License-Identifier: Apache-2.0
"""The store: newer wins, families are complete, references are found backwards."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from endcap_operator.keys import Key
from endcap_operator.store import Store, owner_key

LABELS = {
    "app.kubernetes.io/managed-by": "endcap",
    "app.kubernetes.io/name": "graph",
    "app.kubernetes.io/instance": "basket",
}
GRAPH = Key("InferenceGraph", "shop", "basket")


def thing(name: str, version: int, kind: str = "Service", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "resourceVersion": str(version), "labels": LABELS, **more}
    return {"kind": kind, "metadata": metadata}


def test_our_own_echo_is_no_news() -> None:
    store = Store()
    assert store.put(thing("a", 5))
    assert not store.put(thing("a", 5))
    assert store.put(thing("a", 6))


def test_a_late_answer_does_not_replace_what_is_newer() -> None:
    store = Store()
    store.put(thing("a", 10, note="new"))
    assert not store.put(thing("a", 9, note="old"))
    found = store.get(Key("Service", "shop", "a"))
    assert found is not None
    assert found["metadata"]["note"] == "new"


def test_versions_are_numbers_not_text() -> None:
    store = Store()
    store.put(thing("a", 99))
    assert store.put(thing("a", 100))


def test_a_family_is_found_by_its_labels_and_only_there() -> None:
    store = Store()
    store.put(thing("a", 1))
    store.put(thing("b", 2, kind="Pod"))
    store.put(thing("c", 3, labels={**LABELS, "app.kubernetes.io/instance": "other"}))
    store.put(thing("d", 4, namespace="elsewhere"))
    assert {m["metadata"]["name"] for m in store.family(GRAPH)} == {"a", "b"}


def test_a_relabelled_member_leaves_the_family() -> None:
    store = Store()
    store.put(thing("a", 1))
    store.put(thing("a", 2, labels={}))
    assert store.family(GRAPH) == []


def test_a_full_list_takes_away_what_is_gone_but_not_what_came_later() -> None:
    store = Store()
    store.put(thing("gone", 3))
    store.put(thing("kept", 4))
    store.put(thing("later", 12))
    changed = store.replace("Service", [thing("kept", 4), thing("new", 7)], version=10)
    assert {key.name for key in changed} == {"gone", "new"}
    assert {key.name for key in store.keys(["Service"])} == {"kept", "new", "later"}


def test_references_are_found_backwards_and_forgotten() -> None:
    store = Store(lambda manifest: [Key("ModelDeployment", "shop", manifest["model"])])
    ranker, other = (Key("ModelDeployment", "shop", name) for name in ("ranker", "other"))

    def graph(version: int, model: str) -> dict[str, Any]:
        return {**thing("basket", version, "InferenceGraph", generation=version), "model": model}

    store.put(graph(1, "ranker"))
    assert (store.callers(ranker), store.called(GRAPH)) == ({GRAPH}, {ranker})
    store.put(graph(2, "other"))
    assert (store.callers(ranker), store.callers(other)) == (set(), {GRAPH})
    store.remove(GRAPH)
    assert (store.callers(other), store.called(GRAPH)) == (set(), set())


def test_labels_say_whose_child_an_object_claims_to_be() -> None:
    assert owner_key(thing("a", 1)) == GRAPH
    assert owner_key(thing("a", 1, labels={"app.kubernetes.io/name": "postgres"})) is None


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 20), st.booleans()), max_size=30))
def test_the_newest_version_of_each_object_stays_in_whatever_order_they_come(
    seen: list[tuple[str, int, bool]],
) -> None:
    store, newest = Store(), dict[str, int]()
    for name, version, listed in seen:
        if listed:
            store.replace("Service", [thing(name, version)], version=0)
        else:
            store.put(thing(name, version))
        newest[name] = max(version, newest.get(name, 0))
    found = {key.name: store.get(key) for key in store.keys(["Service"])}
    assert {n: int(m["metadata"]["resourceVersion"]) for n, m in found.items() if m} == newest
