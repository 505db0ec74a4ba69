# SPDX-License-Identifier: Apache-2.0
"""kind-config.yaml is what kind reads, checked with kind's own types where kind itself cannot run."""

import subprocess
from pathlib import Path

import pytest
import yaml
from endcap_cluster import control_plane, network, toolchain
from endcap_cluster.kind import CONFIG, NAME


@pytest.fixture(scope="module")
def kindcheck() -> Path:
    return toolchain.build(toolchain.KINDCHECK)


def run(kindcheck: Path, config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([kindcheck, config], capture_output=True, text=True, check=False)


def test_kind_decodes_our_configuration_strictly(kindcheck: Path) -> None:
    done = run(kindcheck, CONFIG)
    assert (done.returncode, done.stdout) == (0, f"{NAME}: 1 node(s)\n"), done.stderr


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("podSubnet", "podSubnets", "field podSubnets not found"),
        ("v1alpha4", "v1alpha3", "is kind.x-k8s.io/v1alpha3 Cluster"),
        ("nodes:\n- role", "nodes:\n  role", "cannot unmarshal"),
    ],
)
def test_what_kind_would_refuse_is_refused(
    kindcheck: Path, tmp_path: Path, before: str, after: str, reason: str
) -> None:
    text = CONFIG.read_text()
    assert before in text
    broken = tmp_path / "kind-config.yaml"
    broken.write_text(text.replace(before, after))
    done = run(kindcheck, broken)
    assert done.returncode == 1
    assert reason in done.stderr


def test_kind_and_the_embedded_cluster_agree_on_version_and_addresses() -> None:
    config = yaml.safe_load(CONFIG.read_text())
    minor = toolchain.KUBERNETES.rsplit(".", 1)[0]
    assert config["networking"] == {"podSubnet": network.PODS, "serviceSubnet": control_plane.SERVICES}
    assert config["nodes"][0]["image"].startswith(f"kindest/node:v{minor}.")
