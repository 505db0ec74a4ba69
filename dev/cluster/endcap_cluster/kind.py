# SPDX-License-Identifier: Apache-2.0
"""kind, where a Docker engine answers: the same images and the same commands."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from endcap_cluster import images, s3, tools
from endcap_cluster.errors import ClusterError
from endcap_cluster.layout import CHECKOUT, FULL
from endcap_cluster.progress import phase

NAME = "endcap"
CONFIG = CHECKOUT / "kind-config.yaml"


def available() -> bool:
    """Whether kind is installed and a Docker engine answers."""
    if not (shutil.which("kind") and shutil.which("docker")):
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def require_engine() -> None:
    if not available():
        raise ClusterError("--cluster=kind needs kind and a Docker engine that answers `docker info`")


def up(wanted: Sequence[images.Image]) -> list[str]:
    """Create the kind cluster unless it is there, with the S3 server and the `wanted` images; their names."""
    with phase("kubectl and helm"):
        tools.install()
    FULL.state.mkdir(parents=True, exist_ok=True)
    if NAME not in _run("kind", "get", "clusters").split():
        with phase("kind cluster"):
            _run("kind", "create", "cluster", f"--name={NAME}", f"--config={CONFIG}", "--wait=120s")
    FULL.kubeconfig.touch(mode=0o600)
    FULL.kubeconfig.write_text(_run("kind", "get", "kubeconfig", f"--name={NAME}"))
    with phase("S3 server"):
        for image in images.find(["endcap/s3"]):
            load(image)
        s3.install(FULL.kubeconfig)
    return [_loaded(image) for image in wanted]


def _loaded(image: images.Image) -> str:
    with phase(f"loading {image.name}"):
        return load(image)


def down() -> None:
    _run("kind", "delete", "cluster", f"--name={NAME}")
    shutil.rmtree(FULL.state, ignore_errors=True)


def build(image: images.Image) -> str:
    """Build with Docker, which caches by itself; the image's full name."""
    with tempfile.TemporaryDirectory() as scratch:
        context = images.stage(image, Path(scratch) / "context")
        arguments = [f"--build-arg={name}={value}" for name, value in image.arguments.items()]
        _run(
            "docker", "build", f"--tag={image.full_name}", f"--file={CHECKOUT / image.dockerfile}",
            *arguments, str(context),
        )  # fmt: skip
    return image.full_name


def load(image: images.Image) -> str:
    """Build an image and put it into the cluster; its fixed name."""
    fixed = images.fixed_name(image, images.fingerprint(image))
    built = build(image)
    _run("docker", "tag", built, fixed)
    _run("kind", "load", "docker-image", built, fixed, f"--name={NAME}")
    return fixed


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    return done.stdout
