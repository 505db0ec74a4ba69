# SPDX-License-Identifier: Apache-2.0
"""Features on real pods: where the sidecar is, what it costs, how an edit arrives, and who else may use a result."""

from __future__ import annotations

import time
from typing import Any

import pytest
from basket_shop import LONG, pushed
from builders import changed
from kube import eventually
from live_shop import EXAMPLE, SIDECAR_PORT, SMALL, LiveShop, example, live, request, since
from shoppers import Load

__all__ = ["live"]
pytestmark = pytest.mark.e2e

RATE = 20.0
SECONDS = 20.0  # ten times the goal


def sidecars(pod: dict[str, Any]) -> list[str]:
    return [c["name"] for c in pod["spec"].get("initContainers", ()) if c.get("restartPolicy") == "Always"]


def products(answer: dict[str, Any]) -> list[str]:
    return [item["product"] for item in answer["recommendations"]]


def test_the_sidecar_is_in_exactly_the_pods_whose_graph_names_features(live: LiveShop) -> None:
    found = {pod["metadata"]["name"]: sidecars(pod) for pod in live.client.items("Pod", live.namespace)}
    graphs = {name for name in found if name.startswith(("live-basket-graph-", "remind-graph-"))}
    assert len(graphs) == 2
    assert {name: has for name, has in found.items() if has} == {name: ["features"] for name in graphs}


def test_a_graph_gets_its_sidecar_with_its_first_features_step_and_loses_it_with_the_last(
    live: LiveShop,
) -> None:
    manifest = example()["InferenceGraph", "live-basket"]
    catalogue = manifest["spec"]["catalogue"]
    recall = {"name": "best", "recall": {"model": "popularity"}}
    top = {"name": "top", "select": {"count": "3"}}
    look_up = {"name": "household", "features": {"bundle": "household", "entity": "request.customer"}}
    without: dict[str, Any] = {
        **{key: manifest[key] for key in ("apiVersion", "kind")},
        "metadata": {"name": "plain"},
        "spec": {
            "api": {
                "path": "/plain",
                "request": {"customer": {"type": "string"}, "store": {"type": "string"}},
            },
            "catalogue": catalogue,
            "steps": [recall, top],
            "resources": SMALL,
        },
    }
    for spec, expected in (
        (without, []),
        (changed(without, "spec.steps", [look_up, recall, top]), ["features"]),
        (without, []),
    ):
        live.apply(spec)
        live.says("InferenceGraph", "plain", "Progressing", LONG, reason="Complete")
        eventually(
            lambda expected=expected: [sidecars(pod) for pod in live.pods("plain-graph")] == [expected],
            f"sidecars {expected}",
            60,
        )
    live.client.delete("InferenceGraph", live.namespace, "plain")


def test_a_request_is_one_call_to_the_sidecar_however_many_steps_look_up(live: LiveShop) -> None:
    graph, number = "live-basket-graph", 50

    def counted() -> tuple[float, float, float]:
        return (
            live.metric(graph, "endcap_graph_lookups_total"),
            live.metric(graph, "endcap_features_lookup_seconds_count", SIDECAR_PORT),
            live.metric(graph, "endcap_features_lookups_total", SIDECAR_PORT, bundle="household"),
        )

    before = counted()
    for place in range(number):
        live.ask("live-basket", request(customer=str(place)))
    assert [after - was for after, was in zip(counted(), before, strict=True)] == [number] * 3


def test_an_edited_bundle_is_served_soon_without_a_restart(live: LiveShop) -> None:
    """The column purchases_1h comes to mean a day; the graph and its models know nothing of it."""
    bundle = example()["FeatureBundle", "product"]
    edited = changed(bundle, "spec.features[0]", bundle["spec"]["features"][1] | {"name": "purchases_1h"})
    pods = {pod["metadata"]["uid"] for pod in live.ready_pods("live-basket-graph")}

    def alike() -> bool:
        steps = {step["step"]: step for step in live.ask("live-basket", request())["explain"]}
        of = {each["name"]: [p["value"] for p in each["products"]] for each in steps["product"]["features"]}
        return of["purchases_1h"] == of["purchases_24h"]

    assert not alike()
    with Load(live.at("live-basket"), request(), RATE) as load:
        begun = time.monotonic()
        live.apply(edited)
        eventually(alike, "the edited bundle is served", SECONDS)
        print(f"\nedit of a bundle → served: {since(begun)} (goal 2 s)")
        live.apply(bundle)
        eventually(lambda: not alike(), "the bundle is served as it was", SECONDS)
    assert load.failed == []
    assert {pod["metadata"]["uid"] for pod in live.ready_pods("live-basket-graph")} == pods
    assert live.restarts("live-basket-graph") == 0


def test_events_change_an_answer(live: LiveShop) -> None:
    """The household bought soda and candy; nobody knew a household of another number."""
    known, unknown = (
        live.ask("live-basket", request(customer=name)) for name in ("1467", "no such household")
    )
    assert "Soda (single bottle)" in products(known)[:3]
    assert products(known) != products(unknown)


def test_a_result_is_reused_without_a_model_until_the_model_has_another_version(live: LiveShop) -> None:
    answered = products(live.ask("live-basket", request(customer="13")))
    eventually(lambda: products(live.remind("13")) == answered, "the answer is written back", 20)
    before = live.metric("live-ranker-model", "endcap_model_requests_total")
    for _ in range(20):
        again = live.remind("13")
        assert products(again) == answered
        assert again["served_by"] == {}
    assert live.metric("remind-graph", "endcap_upstream_calls_total") == 0
    assert live.metric("live-ranker-model", "endcap_model_requests_total") == before
    ranker = example()["ModelDeployment", "live-ranker"]
    artefact = next((EXAMPLE / "store" / "models" / "live-ranker").iterdir()).read_bytes()
    newer = pushed("live-ranker/next/2.tar.gz", artefact)
    try:
        live.apply(changed(ranker, "spec.model", ranker["spec"]["model"] | newer))
        live.says("ModelDeployment", "live-ranker", "Progressing", LONG, reason="Complete")
        eventually(lambda: statuses(live.remind("13")) == ["EXPIRED"], "the old version's answer is gone", 60)
        assert "recommended" in {one["step"] for one in live.remind("13")["degraded"]}
        renewed = eventually(lambda: ranked_by(live, "live-ranker@2"), "the new version ranks", 60)
        eventually(lambda: products(live.remind("13")) == renewed, "the new version's answer is there", 20)
    finally:
        live.apply(ranker)
        live.says("ModelDeployment", "live-ranker", "Progressing", LONG, reason="Complete")


def ranked_by(live: LiveShop, version: str) -> list[str] | None:
    """The products of an answer that this version ranked: who asks may be connected to the old one a moment longer."""
    answer = live.ask("live-basket", request(customer="13"))
    return products(answer) if answer["served_by"]["rank"] == version else None


def statuses(answer: dict[str, Any]) -> list[str]:
    (step,) = (step for step in answer["explain"] if step["step"] == "last")
    return [feature["status"] for feature in step["features"]]
