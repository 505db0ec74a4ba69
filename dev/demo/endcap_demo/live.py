# SPDX-License-Identifier: Apache-2.0
"""The second act: a graph that ranks with live features, before and after real baskets arrive as events.

Nothing but the events differs between the two requests: the same graph, the same versions of the models, the same cart.
So what changes in the answer is their doing, and the features in its explanation say by which values.
"""

import json
import urllib.request
from pathlib import Path
from typing import Any

from endcap_cluster import kubectl, wait
from endcap_cluster.errors import ClusterError
from endcap_cluster.progress import phase, say

from endcap_demo import comparing, serving
from endcap_demo.commanding import endcap
from endcap_demo.forwarding import forwarded
from endcap_demo.places import ANSWERS, FEATURE_STORE, LIVE, LIVE_GRAPH, NAMESPACE

FILES = ("models.yaml", "features.yaml", "graph.yaml", "remind.yaml")
KINDS = "featurestores,featurebundles,modeldeployments,inferencegraphs"
INGEST, REDIS = f"{FEATURE_STORE}-ingest", f"{FEATURE_STORE}-store"
FACTS, PURCHASES = LIVE / "store" / "product-facts.parquet", LIVE / "store" / "purchases.jsonl"
SETTLE_SECONDS = 60
WHOLE_SECONDS = 30
# More than are shown, so that the values of what leaves the first places are known too.
LIMIT = 50

Answer = dict[str, Any]


def act(kubeconfig: Path) -> None:
    """Raises ClusterError unless events changed the order."""
    with phase("live features ready"):
        serving.apply(kubeconfig, LIVE, FILES)
        serving.wait_until_ready(kubeconfig, KINDS)
        _empty(kubeconfig)
    with forwarded(kubeconfig, NAMESPACE, INGEST, 8080) as address:
        ingest = f"http://{address}"
        endcap(ingest, "features", "load", "product-facts", str(FACTS))
        before = _answer(kubeconfig)
        with phase("events"):
            endcap(ingest, "events", "send", str(PURCHASES), "--now")
            wait.until("the events to be applied", lambda: _views(ingest)["backlog"] == 0, SETTLE_SECONDS)
    after = _answer(kubeconfig)
    _show(before, after)
    objections = comparing.objections(before, after)
    if objections:
        raise ClusterError(f"FAIL: events did not change the order: {'; '.join(objections)}")
    say("PASS: the same request in another order, because of what arrived\n")


def _empty(kubeconfig: Path) -> None:
    """An earlier demo's events are in the store; without a volume they go with its pod."""
    with forwarded(kubeconfig, NAMESPACE, INGEST, 8080) as address:
        if not any(view["applied"] for view in _views(f"http://{address}")["views"].values()):
            return
    kubectl.run(kubeconfig, "--namespace", NAMESPACE, "rollout", "restart", f"deployment/{REDIS}")
    kubectl.run(kubeconfig, "--namespace", NAMESPACE, "rollout", "status", f"deployment/{REDIS}")
    serving.wait_until_ready(kubeconfig, KINDS)


def _views(ingest: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{ingest}/v1/views", timeout=10) as response:  # noqa: S310  http to loopback
        found: dict[str, Any] = json.load(response)
    return found


def _answer(kubeconfig: Path) -> Answer:
    """An answer to which every step contributed: a store that has just started is not there for everybody yet."""
    found: list[Answer] = []

    def whole() -> bool:
        found.append(serving.ask(kubeconfig, LIVE_GRAPH, _request(), "?explain=true"))
        return not found[-1]["degraded"]

    wait.until("an answer with live features", whole, WHOLE_SECONDS)
    return found[-1]


def _request() -> bytes:
    request = json.loads((LIVE / "request.json").read_text())
    return json.dumps(request | {"limit": LIMIT}).encode()


def _show(before: Answer, after: Answer) -> None:
    ANSWERS.mkdir(parents=True, exist_ok=True)
    for name, answer in (("before-events", before), ("after-events", after)):
        (ANSWERS / f"{name}.json").write_text(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    say(f"\nPOST /{LIVE_GRAPH} {(LIVE / 'request.json').read_text().strip()}")
    say(f"     {'before any event':32} after the events of four weeks\n{comparing.table(before, after)}")
    say(f"\nwhat changed\n{comparing.listed(list(comparing.changes(before, after)))}\n")
