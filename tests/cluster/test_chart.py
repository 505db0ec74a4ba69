# SPDX-License-Identifier: Apache-2.0
"""The chart: sound for every set of values that it offers, and refused with the field for every other."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml
from api_server import ApiServer
from endcap_cluster import kubectl, tools
from operated import NAMESPACE, ROOT, rendered

CHART = ROOT / "charts" / "endcap"
VALUES: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "namespaced": ("--set", f"namespaces={{{NAMESPACE},default}}"),
    "without CRDs": ("--set", "crds.install=false"),
    "with a store": (
        "--set",
        "runtime.s3Endpoint=http://s3.endcap-store.svc:7070,runtime.allowedHosts={s3.endcap-store.svc:7070}",
    ),
    "with other images": (
        "--set",
        "image.repository=registry.example/endcap/operator,image.tag=1.2.3,image.pullPolicy=Never",
        "--set",
        "runtime.images.python=registry.example/endcap/python@sha256:0123,runtime.pullPolicy=Always",
    ),
    "tuned": (
        "--set",
        "operator.workers=2,operator.resyncSeconds=60,operator.logLevel=DEBUG,operator.resources.memory=512Mi",
        "--set",
        "serviceAccount.annotations.team=platform",
    ),
}


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    tools.install()
    return subprocess.run([str(tools.HELM.path), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_helm_lint_finds_nothing(values: tuple[str, ...]) -> None:
    done = helm("lint", "--strict", str(CHART), *values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_the_api_server_takes_every_manifest_strictly(api_server: ApiServer, values: tuple[str, ...]) -> None:
    if not kubectl.succeeds(api_server.kubeconfig, "get", "namespace", NAMESPACE):
        kubectl.run(api_server.kubeconfig, "create", "namespace", NAMESPACE)
    text = yaml.safe_dump_all(rendered(*values))
    flags = ("--dry-run=server", "--validate=strict", "--filename=-")
    kubectl.run(api_server.kubeconfig, "apply", *flags, stdin=text)


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("runtime.images.python=", "python"),
        ("runtime.images.onnx=x", "onnx"),
        ("runtime.s3Endpoint=s3.local", "s3Endpoint"),
        ("namespaces={Shop}", "namespaces"),
        ("operator.workers=0", "workers"),
        ("operator.replicas=2", "replicas"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("crd.install=false", "crd"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_its_name(setting: str, field: str) -> None:
    done = helm("template", "endcap", str(CHART), "--set", setting)
    assert done.returncode != 0
    assert field in done.stderr


def test_the_crds_of_the_chart_are_those_of_the_repository_and_kept_on_uninstall() -> None:
    shipped = [m for m in rendered() if m["kind"] == "CustomResourceDefinition"]
    for manifest in shipped:
        assert manifest["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    own = [yaml.safe_load(file.read_text()) for file in sorted((ROOT / "crds").glob("*.yaml"))]
    assert sorted(shipped, key=_name) == sorted(own, key=_name)


def _name(manifest: dict[str, Any]) -> str:
    return str(manifest["metadata"]["name"])


def test_the_operators_pod_is_locked_down() -> None:
    """The restricted Pod Security standard, a read-only root, and the token in the one pod that needs it."""
    pod = next(m for m in rendered() if m["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    container = pod["containers"][0]["securityContext"]
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_what_the_chart_sets_is_what_the_operator_reads() -> None:
    """A variable of another name would be ignored in silence."""
    from endcap_operator import settings

    deployment = next(
        m for m in rendered(*VALUES["with a store"], *VALUES["namespaced"]) if m["kind"] == "Deployment"
    )
    env = {e["name"]: e["value"] for e in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    known = {name for name in env if name.startswith("ENDCAP_")}
    assert all(f"`{name}`" in (settings.__doc__ or "") for name in known)
    read = settings.Settings.read(env)
    assert read.platform.s3_endpoint == "http://s3.endcap-store.svc:7070"
    assert read.platform.allowed_hosts == ("s3.endcap-store.svc:7070",)
    assert read.namespaces == (NAMESPACE, "default")
    assert read.platform.images["lightgbm"] == "endcap/runtime-lightgbm:0.1.0"
