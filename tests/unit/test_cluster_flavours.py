# SPDX-License-Identifier: Apache-2.0
"""Which cluster is chosen, and what kind and Docker are told, by stand-ins that write down their arguments."""

from collections.abc import Callable
from pathlib import Path

import pytest
from endcap_cluster import flavour, images, kind
from endcap_cluster.errors import ClusterError

Programs = Callable[[int], Path]


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Programs:
    """Put `kind` and a `docker` that exits with the given code first on the PATH; the file of their calls."""

    def install(code: int) -> Path:
        calls = tmp_path / "calls"
        for name in ("docker", "kind"):
            script = tmp_path / name
            script.write_text(f'#!/bin/sh\necho "{name} $*" >> {calls}\nexit {code}\n')
            script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return calls

    monkeypatch.setattr(flavour, "CHOICE", tmp_path / "flavour")
    return install


@pytest.mark.parametrize(("docker_exits", "chosen"), [(0, "kind"), (1, "embedded")])
def test_auto_takes_kind_exactly_where_a_docker_engine_answers(
    programs: Programs, docker_exits: int, chosen: str
) -> None:
    programs(docker_exits)
    assert flavour._choose("auto") == chosen


def test_a_choice_once_made_is_kept_until_down(programs: Programs) -> None:
    programs(0)
    flavour.CHOICE.write_text("embedded")
    assert flavour._choose("auto") == "embedded"
    with pytest.raises(ClusterError, match=r"is embedded: end it with `down` before kind"):
        flavour.up("kind")


def test_only_the_cluster_that_was_named_is_ended(programs: Programs) -> None:
    calls = programs(0)
    flavour.CHOICE.write_text("embedded")
    with pytest.raises(ClusterError, match="is embedded, not kind: leave out --cluster"):
        flavour.down("kind")
    assert not calls.exists()


def test_kind_without_a_docker_engine_says_what_is_missing(programs: Programs) -> None:
    programs(1)
    with pytest.raises(ClusterError, match="needs kind and a Docker engine"):
        flavour.up("kind")
    assert flavour.chosen() is None


def test_a_cluster_of_ones_own_without_a_kubeconfig_says_where_it_was_sought(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    with pytest.raises(ClusterError, match="no kubeconfig at /nowhere; set KUBECONFIG"):
        flavour.up("current")


def test_docker_builds_the_same_dockerfile_on_its_own_default_base(programs: Programs) -> None:
    calls = programs(0)
    (image,) = images.find(["endcap/python"])
    fixed = kind.load(image)
    built, tagged, loaded = calls.read_text().splitlines()
    assert built.startswith("docker build --tag=docker.io/endcap/python:dev --file=")
    assert "BASE" not in built
    assert tagged == f"docker tag docker.io/endcap/python:dev {fixed}"
    assert loaded == f"kind load docker-image docker.io/endcap/python:dev {fixed} --name=endcap"


def test_images_cannot_be_put_into_a_cluster_of_ones_own(programs: Programs) -> None:
    flavour.CHOICE.write_text("current")
    (image,) = images.find(["endcap/python"])
    with pytest.raises(ClusterError, match="push the images to a registry"):
        flavour.load(image)
