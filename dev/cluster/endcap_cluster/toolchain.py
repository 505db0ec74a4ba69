# SPDX-License-Identifier: Apache-2.0
"""Our Go programs, built once for each state of their sources.

A binary's file name carries the hash of all that it was built from, so a present file is an up-to-date
file, and checkouts never have to ask a compiler whether there is something to do.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from endcap_cluster.errors import ClusterError
from endcap_cluster.exclusive import exclusive
from endcap_cluster.layout import BINARIES, SOURCES

KUBERNETES = "1.34.4"
VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Program:
    """A Go program: `package` in the module at `module` (a folder), linked with `linker` flags."""

    name: str
    module: Path
    package: str = "."
    linker: tuple[str, ...] = ("-s", "-w")


def _versioned() -> tuple[str, ...]:
    major, minor, _ = KUBERNETES.split(".")
    values = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return tuple(f"-X={VERSION_PACKAGE}.{key}={value}" for key, value in values.items())


KUBE = Program("kube", SOURCES / "kube", linker=("-s", "-w", *_versioned()))
DNS = Program("dns", SOURCES / "dns")
S3 = Program("versitygw", SOURCES / "s3", "github.com/versity/versitygw/cmd/versitygw")
PAUSE = Program("pause", SOURCES / "images" / "pause")
KINDCHECK = Program("kindcheck", SOURCES / "kindcheck")


def binary(program: Program) -> Path:
    """Where the program built from the present sources lies, or will lie."""
    return BINARIES / f"{program.name}-{_fingerprint(program)}"


def build(program: Program) -> Path:
    """Build the program unless the present sources were built before; minutes for the first `KUBE`."""
    target = binary(program)
    if not target.exists():
        with exclusive(BINARIES / f".{program.name}.lock"):
            if not target.exists():
                _compile(program, target)
    return target


def _compile(program: Program, target: Path) -> None:
    if shutil.which("go") is None:
        raise ClusterError(
            "Go is not installed, and this cluster is built from source: install Go 1.25 or newer"
        )
    with tempfile.TemporaryDirectory(dir=BINARIES) as scratch:
        partial = Path(scratch) / program.name
        flags = ["-trimpath", "-buildvcs=false", f"-ldflags={' '.join(program.linker)}", "-o", str(partial)]
        _go(program, ["build", *flags, program.package])
        for outdated in BINARIES.glob(f"{program.name}-*"):
            outdated.unlink()
        partial.rename(target)


def _go(program: Program, arguments: list[str]) -> None:
    done = subprocess.run(
        ["go", *arguments],
        cwd=program.module,
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ClusterError(
            f"building {program.name} failed (go {' '.join(arguments)}):\n{done.stderr.strip()}"
        )


def _fingerprint(program: Program) -> str:
    digest = hashlib.sha256(repr((program.package, program.linker, platform.machine())).encode())
    for file in sorted([*program.module.glob("*.go"), program.module / "go.mod", program.module / "go.sum"]):
        if file.exists():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]
