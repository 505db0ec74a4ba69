# SPDX-License-Identifier: Apache-2.0
"""The images of `images.yaml`: what each is built from, and a build for each state of those inputs.

A build sees a context that holds its declared inputs and nothing else. So the hash of the inputs is the
hash of the image, and an image whose hash is known is not built again.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from endcap_cluster import base, buildah, toolchain
from endcap_cluster.errors import ClusterError
from endcap_cluster.exclusive import exclusive
from endcap_cluster.layout import CHECKOUT, IMAGES, SOURCES

TABLE = SOURCES / "images.yaml"
PROGRAMS = {program.name: program for program in (toolchain.PAUSE, toolchain.S3)}
REGISTRY = "docker.io"
# Times in a context are fixed, so that layers are cached by content; zip files cannot say 1970.
MODIFIED = 1_577_836_800


@dataclass(frozen=True)
class Image:
    """A row of `images.yaml`; its file explains the fields."""

    name: str
    dockerfile: str
    inputs: tuple[str, ...] = ()
    program: str = ""
    base: bool = False
    arguments: dict[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        return f"{REGISTRY}/{self.name}"


def table() -> dict[str, Image]:
    """Every image by its name."""
    rows = yaml.safe_load(TABLE.read_text())
    images = [Image(**{**row, "inputs": tuple(row.get("inputs", ()))}) for row in rows]
    return {image.name: image for image in images}


def find(names: Sequence[str]) -> list[Image]:
    """The images of these names, all for none; a name without a tag means its development tag."""
    known = table()
    wanted = [name if ":" in name else f"{name}:dev" for name in names] or list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ClusterError(f"no image {', '.join(unknown)} in {TABLE}; it names {', '.join(known)}")
    return [known[name] for name in wanted]


def fixed_name(image: Image, fingerprint: str) -> str:
    """The image's name with a tag for its inputs: a pod that names it restarts when they change."""
    return f"{image.name.rpartition(':')[0]}:{fingerprint}"


def archive(image: Image) -> Path:
    """Where the archive of the image's present inputs lies, or will lie."""
    return IMAGES / f"{_file_stem(image)}-{fingerprint(image)}.tar"


def fingerprint_of(archive: Path) -> str:
    """The fingerprint of the inputs that an archive was built from."""
    return archive.stem.rpartition("-")[2]


def build(image: Image) -> Path:
    """Build the image with buildah unless its inputs were built before; its archive."""
    target = archive(image)
    with exclusive(IMAGES / f".{_file_stem(image)}.lock"):
        if not target.exists():
            _build(image, target)
    return target


def _build(image: Image, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=IMAGES) as scratch:
        context = stage(image, Path(scratch) / "context")
        arguments = {**image.arguments, **({"BASE": base.ensure()} if image.base else {})}
        buildah.build(image.full_name, _dockerfile(image), context, arguments, cache=True)
        partial = Path(scratch) / "image.tar"
        buildah.export(image.full_name, partial)
        for outdated in IMAGES.glob(f"{_file_stem(image)}-*.tar"):
            outdated.unlink()
        partial.rename(target)


def stage(image: Image, context: Path) -> Path:
    """Lay out the build context: the declared inputs at their paths, and the program at the top."""
    context.mkdir(parents=True)
    for file in _inputs(image):
        _copy(file, context / file.relative_to(CHECKOUT))
    if image.program:
        _copy(toolchain.build(PROGRAMS[image.program]), context / image.program)
    return context


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
    os.utime(target, (MODIFIED, MODIFIED))


def _inputs(image: Image) -> Iterator[Path]:
    for name in image.inputs:
        path = CHECKOUT / name
        if not path.exists():
            raise ClusterError(f"{image.name} needs {name}, which is not in the checkout; see {TABLE}")
        yield from sorted(_files(path)) if path.is_dir() else [path]


def _files(directory: Path) -> Iterator[Path]:
    for path in directory.rglob("*"):
        parts = path.relative_to(directory).parts
        if path.is_file() and "__pycache__" not in parts and not any(part.startswith(".") for part in parts):
            yield path


def _dockerfile(image: Image) -> Path:
    path = CHECKOUT / image.dockerfile
    if not path.exists():
        raise ClusterError(
            f"{image.name} is built from {image.dockerfile}, which is not in the checkout; see {TABLE}"
        )
    return path


def fingerprint(image: Image) -> str:
    """A hash of everything that the image is built from."""
    described = (image.full_name, sorted(image.arguments.items()), base.RECIPE if image.base else "")
    digest = hashlib.sha256(repr(described).encode())
    digest.update(_dockerfile(image).read_bytes())
    if image.program:
        digest.update(toolchain.binary(PROGRAMS[image.program]).name.encode())
    for file in _inputs(image):
        digest.update(f"{file.relative_to(CHECKOUT)}\0{file.stat().st_mode & 0o111}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _file_stem(image: Image) -> str:
    return image.name.replace("/", "-").replace(":", "-")
