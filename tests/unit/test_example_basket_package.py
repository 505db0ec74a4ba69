# SPDX-License-Identifier: Apache-2.0
"""What training publishes: the same bytes stay the same version, other bytes become the next one."""

import shutil
import tarfile
from pathlib import Path

import pytest
import yaml
from basket import pipeline
from basket.package import Artefact, Published, publish

from endcap_cli.stores import LocalStore, file_digest

EXAMPLE = Path(pipeline.__file__).parents[1]


@pytest.fixture
def resources(tmp_path: Path) -> Path:
    for name in ("models.yaml", "graph.yaml"):
        shutil.copy(EXAMPLE / name, tmp_path)
    (tmp_path / "store").mkdir()
    return tmp_path


def ranker_of(content: str) -> Artefact:
    def build(folder: Path) -> Path:
        (folder / "model.txt").write_text(content, encoding="utf-8")
        return folder

    return Artefact("basket-ranker", "models.yaml", build)


def published(resources: Path, content: str) -> Published:
    return publish(ranker_of(content), LocalStore(resources / "store"), resources)


def version(one: Published) -> int:
    return int(one.uri.rpartition("/")[2].removesuffix(".tar.gz"))


def test_the_same_training_changes_nothing(resources: Path) -> None:
    first = published(resources, "one")
    text = (resources / "models.yaml").read_text(encoding="utf-8")
    again = published(resources, "one")
    assert (again.uri, again.sha256, again.moved) == (first.uri, first.sha256, False)
    assert (resources / "models.yaml").read_text(encoding="utf-8") == text


def test_another_training_is_the_next_version_and_two_lines(resources: Path) -> None:
    first = published(resources, "one")
    before = (resources / "models.yaml").read_text(encoding="utf-8").splitlines()
    second = published(resources, "two")
    after = (resources / "models.yaml").read_text(encoding="utf-8").splitlines()
    assert version(second) == version(first) + 1
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 2
    assert second.moved


def test_a_version_in_the_store_is_never_written_again(resources: Path) -> None:
    first = published(resources, "one")
    pinned = (resources / "models.yaml").read_text(encoding="utf-8")
    second = published(resources, "two")
    (resources / "models.yaml").write_text(pinned, encoding="utf-8")  # as a checkout of the old state would
    third = published(resources, "three")
    assert version(third) == version(second) + 1
    for one in (first, second, third):
        file = resources / "store" / one.uri.removeprefix("s3://")
        assert file_digest(file) == one.sha256


def test_the_yaml_names_the_bytes_in_the_store(resources: Path) -> None:
    one = published(resources, "one")
    specs = list(yaml.safe_load_all((resources / "models.yaml").read_text(encoding="utf-8")))
    model = next(spec for spec in specs if spec["metadata"]["name"] == "basket-ranker")["spec"]["model"]
    assert (model["uri"], model["sha256"]) == (one.uri, one.sha256)
    with tarfile.open(resources / "store" / one.uri.removeprefix("s3://")) as archive:
        assert archive.getnames() == ["model.txt"]
