# SPDX-License-Identifier: Apache-2.0
"""From nothing to an answer, phase by phase, the slow ones side by side.

The last line is `demo ok answer=<path of the JSON answer>`.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from endcap_cluster import flavour, images
from endcap_cluster.errors import ClusterError
from endcap_cluster.progress import phase, say

from endcap_demo import artefacts, installing, live, serving, trial
from endcap_demo.places import ANSWERS, EXAMPLE, GRAPH, LIVE, NAMESPACE, TRIAL

IMAGES = ("operator", "runtime-python", "runtime-sklearn", "runtime-lightgbm", "redis")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--cluster", choices=("auto", *flavour.FLAVOURS), default="auto")
    parser.add_argument(
        "--prefix", help="with --cluster=current: where your images are, e.g. registry/endcap"
    )
    given = parser.parse_args()
    try:
        return _run(given.cluster, given.prefix)
    except ClusterError as error:
        say(f"error: {error}")
        return 1


def _run(cluster: str, prefix: str | None) -> int:
    begun = time.monotonic()
    kubeconfig, names = _prepare(cluster, prefix)
    with phase("operator"):
        installing.install(kubeconfig, names)
    with phase("artefacts pushed"):
        store = artefacts.push(kubeconfig)
    with phase("resources ready"):
        serving.open_shop(kubeconfig, store)
        serving.apply(kubeconfig, EXAMPLE, ("models.yaml", "graph.yaml"))
        serving.wait_until_ready(kubeconfig, "modeldeployments,inferencegraphs")
    with phase("request"):
        answer = serving.ask(kubeconfig, GRAPH, (EXAMPLE / "request.json").read_bytes())
    path = _show(kubeconfig, answer)
    live.act(kubeconfig)
    trial.act(kubeconfig)
    say(f"  everything: {time.monotonic() - begun:.1f} s")
    print(f"demo ok answer={path}", flush=True)
    return 0


def _prepare(cluster: str, prefix: str | None) -> tuple[Path, dict[str, str]]:
    """The cluster with its images, and meanwhile the trained example."""
    wanted = () if cluster == "current" else images.find([f"endcap/{name}" for name in IMAGES])
    with ThreadPoolExecutor() as pool:
        trained = pool.submit(_trained)
        with phase("cluster"):
            running = flavour.up(cluster, wanted)
        trained.result()
    return running.kubeconfig, _names(running.images, prefix)


def _trained() -> None:
    with phase("training the examples on The Complete Journey (simulated data)"):
        for example in (EXAMPLE, LIVE, TRIAL):
            artefacts.train(example)


def _names(loaded: Sequence[str], prefix: str | None) -> dict[str, str]:
    """The names of the images that the cluster has, or can pull."""
    if loaded:
        return dict(zip(IMAGES, loaded, strict=True))
    if prefix is None:
        raise ClusterError(
            "--cluster=current needs --prefix: where you pushed the images, e.g. registry/endcap"
        )
    return {name: f"{prefix}/{name}" for name in IMAGES}


def _show(kubeconfig: Path, answer: dict[str, object]) -> Path:
    ANSWERS.mkdir(parents=True, exist_ok=True)
    path = ANSWERS / "answer.json"
    text = json.dumps(answer, indent=2, ensure_ascii=False)
    path.write_text(text + "\n")
    request = (EXAMPLE / "request.json").read_text().strip()
    say(f"\n$ kubectl --kubeconfig {kubeconfig} -n {NAMESPACE} get endcap\n{serving.table(kubeconfig)}")
    say(f"POST /{GRAPH} {request}\n{text}\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
