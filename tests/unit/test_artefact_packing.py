# SPDX-License-Identifier: Apache-2.0
"""Packing gives the same bytes for the same contents, and only what a pod would take."""

import hashlib
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap_cli.packing import PackingError, pack
from endcap_runtime.artefacts import Policy, Source, fetch

NAMES = st.lists(st.text("abcxyz01-_", min_size=1, max_size=6), min_size=1, max_size=3).map("/".join)


def write(folder: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def test_times_modes_owners_and_order_of_creation_do_not_show(tmp_path):
    contents = {"model.txt": b"tree\n", "src/rank.py": b"x = 1\n", "a.json": b"{}"}
    first = write(tmp_path / "first", contents)
    second = write(tmp_path / "second", dict(reversed(contents.items())))
    os.utime(second / "model.txt", (1, 1))
    (second / "a.json").chmod(0o600)
    os.chown(second / "a.json", 1234, 1234)
    packed = [pack(folder, tmp_path / f"{folder.name}.tar.gz").read_bytes() for folder in (first, second)]
    assert packed[0] == packed[1]


def test_what_python_and_editors_leave_behind_is_left_out(tmp_path):
    folder = write(
        tmp_path / "model",
        {"model.txt": b"m", "__pycache__/a.cpython-311.pyc": b"", "src/__pycache__/b.pyc": b"", "c.pyc": b"",
         ".git/config": b"", ".DS_Store": b"", "src/b.py": b""},
    )  # fmt: skip
    with tarfile.open(pack(folder, tmp_path / "m.tar.gz")) as archive:
        assert archive.getnames() == ["model.txt", "src/b.py"]


@pytest.mark.parametrize("make", [lambda p: p.symlink_to("model.txt"), os.mkfifo])
def test_links_and_pipes_are_refused_by_name(make, tmp_path):
    folder = write(tmp_path / "model", {"model.txt": b"m"})
    make(folder / "odd")
    with pytest.raises(PackingError, match="odd is not a plain file"):
        pack(folder, tmp_path / "m.tar.gz")


def test_an_empty_folder_and_a_missing_one_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PackingError, match="no files"):
        pack(tmp_path / "empty", tmp_path / "m.tar.gz")
    with pytest.raises(PackingError, match="no file or folder"):
        pack(tmp_path / "missing", tmp_path / "m.tar.gz")


@given(st.dictionaries(NAMES, st.binary(max_size=50), min_size=1, max_size=6))
def test_what_was_packed_is_what_a_pod_unpacks(tmp_path_factory, contents):
    names = sorted(contents)
    wanted = {
        name: contents[name] for name in names if not any(other.startswith(f"{name}/") for other in names)
    }
    tmp_path = tmp_path_factory.mktemp("round")
    packed = pack(write(tmp_path / "model", wanted), tmp_path / "4.tar.gz")
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    fetched = fetch(
        Source("file://4.tar.gz", digest, allow_pickle=True), tmp_path / "out", Policy(local_store=tmp_path)
    )
    found = {
        f.relative_to(fetched.path).as_posix(): f.read_bytes() for f in fetched.path.rglob("*") if f.is_file()
    }
    assert found.pop(".endcap.json")
    assert found == wanted
