# SPDX-License-Identifier: Apache-2.0
"""The third act: two rankers on real baskets, each household always with the same one, until there is a verdict.

The verdict is the operator's: the replay only asks for the baskets of weeks that no ranker has seen and tells the store
what each household bought in truth of what it was shown.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from endcap_cluster import kubectl, wait
from endcap_cluster.errors import ClusterError
from endcap_cluster.progress import phase, say

from endcap_demo import serving
from endcap_demo.commanding import endcap, script
from endcap_demo.forwarding import forwarded
from endcap_demo.places import ANSWERS, EXPERIMENT, FEATURE_STORE, NAMESPACE, TRIAL, TRIAL_GRAPH

FILES = ("models.yaml", "features.yaml", "graph.yaml")
KINDS = "featurestores,featurebundles,modeldeployments,inferencegraphs"
# Of two households, each asked twice.
REQUESTS = ("request.json", "request-other-household.json")
PAST = TRIAL / "store" / "household-past.parquet"
# Of 7,914: some 1,000 households, three times what the verdict waits for.
VISITS = 1500
WHOLE_SECONDS = 30
VERDICT_SECONDS = 60
WINS = "Better"

Told = dict[str, Any]


def act(kubeconfig: Path) -> None:
    """Raises ClusterError unless every household kept its ranker and the better one was found."""
    with phase("experiment ready"):
        _delete(kubeconfig)
        serving.apply(kubeconfig, TRIAL, FILES)
        serving.wait_until_ready(kubeconfig, KINDS)
    with forwarded(kubeconfig, NAMESPACE, f"{FEATURE_STORE}-ingest", 8080) as address:
        endcap(f"http://{address}", "features", "load", "household-past", str(PAST))
        with phase("assignment on every replica"):
            serving.apply(kubeconfig, TRIAL, ("experiment.yaml",))
            _wait_for(kubeconfig, "condition=RouterSynced")
        twice = {name: [_assigned(kubeconfig, name) for _ in range(2)] for name in REQUESTS}
        with phase("replay"):
            said = _replay(kubeconfig, f"http://{address}")
    with phase("verdict"):
        wait.until("a verdict", lambda: _verdict(kubeconfig) is not None, VERDICT_SECONDS)
    _show(kubeconfig, twice)
    found = objections(twice, said, _verdict(kubeconfig) or "")
    if found:
        raise ClusterError(f"FAIL: {'; '.join(found)}")
    say("PASS: every household kept its ranker, and the better one was found\n")


def _delete(kubeconfig: Path) -> None:
    """What an earlier demo has counted is of its own experiment; a new one begins with nothing."""
    where = ("--namespace", NAMESPACE, "delete", "experiments", "--ignore-not-found")
    kubectl.run(kubeconfig, *where, EXPERIMENT, f"--timeout={serving.READY_SECONDS}s")


def _wait_for(kubeconfig: Path, what: str) -> None:
    wanted = (f"--for={what}", f"--timeout={serving.READY_SECONDS}s")
    kubectl.run(kubeconfig, "--namespace", NAMESPACE, "wait", f"experiments/{EXPERIMENT}", *wanted)


def _assigned(kubeconfig: Path, request: str) -> Told:
    """What an answer says of the experiment; asked again until every step contributes."""
    found: list[Told] = []

    def whole() -> bool:
        found.append(serving.ask(kubeconfig, TRIAL_GRAPH, (TRIAL / request).read_bytes()))
        return not found[-1]["degraded"]

    wait.until("an answer of every step", whole, WHOLE_SECONDS)
    return dict(found[-1].get("experiments", {}).get(EXPERIMENT, {}))


def _replay(kubeconfig: Path, store: str) -> str:
    with forwarded(kubeconfig, NAMESPACE, f"{TRIAL_GRAPH}-graph", 8080) as address:
        graph = f"--graph=http://{address}/{TRIAL_GRAPH}"
        return script(TRIAL / "replay", graph, f"--store={store}", f"--visits={VISITS}")


def _verdict(kubeconfig: Path) -> str | None:
    """Of the operator, once there is one."""
    found: str | None = _experiment(kubeconfig).get("status", {}).get("verdict")
    return found if found and not found.startswith("None") else None


def _experiment(kubeconfig: Path) -> dict[str, Any]:
    found = kubectl.run(
        kubeconfig, "--namespace", NAMESPACE, "get", f"experiments/{EXPERIMENT}", "--output=json"
    )
    manifest: dict[str, Any] = json.loads(found)
    return manifest


def _show(kubeconfig: Path, twice: Mapping[str, Sequence[Told]]) -> None:
    ANSWERS.mkdir(parents=True, exist_ok=True)
    (ANSWERS / "experiment.json").write_text(json.dumps(_experiment(kubeconfig), indent=2) + "\n")
    say(f"\nPOST /{TRIAL_GRAPH}, twice for each of two households")
    for name, found in twice.items():
        customer = json.loads((TRIAL / name).read_text())["customer"]
        say(f"  household {customer}: {' and '.join(json.dumps({EXPERIMENT: each}) for each in found)}")
    table = kubectl.run(kubeconfig, "--namespace", NAMESPACE, "get", "experiments")
    say(f"\n$ kubectl -n {NAMESPACE} get experiments\n{table}")


def objections(twice: Mapping[str, Sequence[Told]], said: str, verdict: str) -> list[str]:
    """Why the experiment did not do what it should; none when it did."""
    pairs = twice.values()
    checks = {
        "a household was not assigned": all(first.get("reason") == "assigned" for first, _ in pairs),
        "a household changed its variant between two requests": all(first == again for first, again in pairs),
        "households changed their variant in the replay": "\n0 households changed variant" in said,
        f"the verdict is {verdict}": verdict.startswith(WINS) and "treatment" in verdict,
    }
    return [objection for objection, held in checks.items() if not held]
