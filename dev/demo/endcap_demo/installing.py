# SPDX-License-Identifier: Apache-2.0
"""The operator, installed from its chart as a platform team would."""

import json
import subprocess
from pathlib import Path

from endcap_cluster import tools
from endcap_cluster.errors import ClusterError

from endcap_demo.places import CHART, S3_IN_CLUSTER, SYSTEM


def install(kubeconfig: Path, images: dict[str, str]) -> None:
    """Install or upgrade the chart with these images, and wait until the operator runs."""
    values = json.dumps(_values(images))
    command = [
        str(tools.HELM.path),
        f"--kubeconfig={kubeconfig}",
        "upgrade",
        "--install",
        "endcap",
        str(CHART),
    ]
    options = [f"--namespace={SYSTEM}", "--create-namespace", "--values=-", "--wait", "--timeout=180s"]
    done = subprocess.run([*command, *options], input=values, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"helm could not install the operator: {done.stderr.strip()}")


def _values(images: dict[str, str]) -> dict[str, object]:
    repository, _, tag = images["operator"].rpartition(":")
    return {
        "image": {"repository": repository, "tag": tag},
        "runtime": {
            "images": {
                "graph": images["runtime-python"],
                "python": images["runtime-python"],
                "sklearn": images["runtime-sklearn"],
                "lightgbm": images["runtime-lightgbm"],
                "redis": images["redis"],
            },
            "s3Endpoint": f"http://{S3_IN_CLUSTER}",
            "allowedHosts": [S3_IN_CLUSTER],
        },
    }
