# SPDX-License-Identifier: Apache-2.0
"""Pickles are recognised by content in whatever loaders unwrap, and their code never runs here (attack S4)."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
import zlib
from pathlib import Path

import cloudpickle
import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skops.io
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from endcap_runtime.artefacts import Limits, Source
from endcap_runtime.artefacts.errors import ArtefactError, Reason
from endcap_runtime.artefacts.opcodes import is_pickle
from endcap_runtime.artefacts.pickles import pickle_in, refuse_pickles
from endcap_runtime.artefacts.unpacking import unpack


class Canary:
    """Unpickling it writes a file, which is how a test sees that code ran."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    yield Canary(path)
    assert not path.exists(), "a pickle was loaded"


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/version", "3\n")
        archive.writestr(name, content)
    return buffer.getvalue()


def joblib_bytes(value, tmp_path, compress) -> bytes:
    path = tmp_path / "made-by-joblib"
    joblib.dump(value, path, compress=compress)
    content = path.read_bytes()
    path.unlink()
    return content


def truncated_zlib(data: bytes) -> bytes:
    """A stream whose end is broken, after the payload: loaders run the payload before they notice."""
    return zlib.compress(data + bytes(range(256)) * 64)[:-8] + b"\xff" * 8


JOBLIB = ("zlib", "gzip", "bz2", "xz", "lzma")
WRAPPINGS = {
    **{f"protocol {p}": lambda c, _, p=p: pickle.dumps(c, p) for p in range(pickle.HIGHEST_PROTOCOL + 1)},
    "cloudpickle": lambda c, _: cloudpickle.dumps(c),
    "in a list of numbers": lambda c, _: pickle.dumps([*range(1000), c], 0),
    "gzip": lambda c, _: gzip.compress(pickle.dumps(c, 0)),
    "gzip twice": lambda c, _: gzip.compress(gzip.compress(pickle.dumps(c, 4))),
    "after an empty gzip member": lambda c, _: gzip.compress(b"") + gzip.compress(pickle.dumps(c, 4)),
    "zlib": lambda c, _: zlib.compress(pickle.dumps(c, 4)),
    "zlib with a broken end": lambda c, _: truncated_zlib(pickle.dumps(c, 0)),
    "bzip2": lambda c, _: bz2.compress(pickle.dumps(c, 4)),
    "xz": lambda c, _: lzma.compress(pickle.dumps(c, 4)),
    "lzma": lambda c, _: lzma.compress(pickle.dumps(c, 4), format=lzma.FORMAT_ALONE),
    **{f"joblib {name}": lambda c, t, n=name: joblib_bytes(c, t, (n, 3)) for name in JOBLIB},
    "joblib plain": lambda c, t: joblib_bytes(c, t, 0),
    "joblib with an array": lambda c, t: joblib_bytes({"a": np.zeros(9), "c": c}, t, 0),
    "torch's zip": lambda c, _: zipped("archive/data.pkl", pickle.dumps(c, 2)),
    "a zip under another name": lambda c, _: zipped("archive/weights", pickle.dumps(c, 0)),
    "object array": lambda c, _: npy(np.array([c], dtype=object)),
    "npz": lambda c, _: zipped("x.npy", npy(np.array([c], dtype=object))),
}  # fmt: skip


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["model.txt", "model.skops", "weights", "data.csv"])
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_pickle_is_refused_in_every_wrapping_and_under_every_name(wrapping, name, canary, tmp_path):
    folder = tmp_path / "artefact"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / name).write_bytes(WRAPPINGS[wrapping](canary, tmp_path))
    with pytest.raises(ArtefactError, match=rf"deep/{name}.*\.skops.*allowPickle: true") as caught:
        refuse_pickles(folder, Limits())
    assert caught.value.reason is Reason.PICKLE_REFUSED


@pytest.mark.parametrize("name", ["m.pkl", "m.PICKLE", "m.joblib", "m.dill", "m.pt", "m.pth", "m.ckpt"])
def test_a_name_that_loaders_unpickle_is_refused_whatever_the_file_holds(name, tmp_path):
    (tmp_path / name).write_text("nothing of the kind")
    assert pickle_in(tmp_path / name, Limits()) == "is named as a pickle"


HARMLESS_TEXTS = {
    "model.txt": "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\n",
    "customers.csv": "customer\nproduct\nRed onions\nRice\n",
    "one_column.csv": "id\nname\nother\n" + "row\n" * 1000,
    "features.py": "import numpy\nimport pandas\n\nclass Rows:\n    pass\n",
    "classes.py": "class Ranker:\n    def predict(self):\n        return 1\n",
    "config.json": '{"a": [1, 2]}',
    "notes.md": "# Notes\n(see below)\n",
    "plain": "(lp0\n",
    "dots": "...\n",
    "numbers": "0\n1\n2\n",
    "empty": "",
}


@pytest.mark.parametrize("name", HARMLESS_TEXTS)
def test_plain_text_is_no_pickle(name, tmp_path):
    (tmp_path / name).write_text(HARMLESS_TEXTS[name])
    assert pickle_in(tmp_path / name, Limits()) is None


def test_the_formats_that_are_asked_for_instead_are_no_pickles(tmp_path):
    model = LogisticRegression().fit(np.random.default_rng(1).normal(size=(20, 3)), [0, 1] * 10)
    skops.io.dump(model, tmp_path / "model.skops")
    np.save(tmp_path / "weights.npy", np.arange(12.0))
    np.savez(tmp_path / "arrays.npz", a=np.arange(12.0), b=np.zeros((3, 3)))
    pq.write_table(pa.table({"id": ["1", "2"], "price": [1.0, 2.0]}), tmp_path / "catalogue.parquet")
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(b"Brand,Price\n" + b"Acme,1\n" * 1000))
    refuse_pickles(tmp_path, Limits())


def test_what_cannot_be_searched_is_not_trusted(tmp_path):
    many = zipped("archive/data", b"")
    (tmp_path / "many").write_bytes(many)
    assert pickle_in(tmp_path / "many", Limits(entries=0)) == "is a zip that cannot be searched for pickles"
    dictionary = lzma.compress(
        b"x", format=lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 28}]
    )
    (tmp_path / "hungry").write_bytes(dictionary)
    assert pickle_in(tmp_path / "hungry", Limits()) == "is a pickle"


OPCODES = st.sampled_from([
    b"(", b".", b"0", b"1", b"2", b"]", b"}", b")", b"N", b"I1\n", b"I0x10\n", b"L1L\n", b"K\x01", b"M\x01\x00",
    b"S'a'\n", b"Va\n", b"X\x01\x00\x00\x00a", b"U\x01a", b"C\x01a", b"a", b"e", b"s", b"u", b"t", b"l", b"d",
    b"\x85", b"\x86", b"\x87", b"\x88", b"\x89", b"\x8c\x02os", b"\x8c\x06system", b"\x8f", b"\x90", b"\x91",
    b"\x93", b"\x94", b"q\x00", b"h\x00", b"p0\n", b"g0\n", b"R", b"b", b"o", b"\x81", b"\x92",
    b"cos\nsystem\n", b"(S'ls'\nios\nsystem\n", b"F1.5\n", b"G\x00\x00\x00\x00\x00\x00\x00\x00", b"\x80\x02",
    b"\x95\x03\x00\x00\x00\x00\x00\x00\x00",
])  # fmt: skip


class Watched(pickle.Unpickler):
    """Hands out harmless stand-ins, and notes whether the stream imported and called one."""

    called = False

    def find_class(self, _module, _name):
        def stand_in(*_args, **_more):
            self.called = True
            return {}

        return stand_in

    def persistent_load(self, _pid):
        return None


def runs_code(stream: bytes) -> bool:
    unpickler = Watched(io.BytesIO(stream))
    try:
        unpickler.load()
    except Exception:  # noqa: BLE001  (a broken stream may fail in any way, after it ran code)
        return unpickler.called
    return unpickler.called


@settings(max_examples=2000)
@given(st.lists(OPCODES, max_size=24).map(b"".join))
def test_no_stream_that_would_run_code_passes_as_something_else(stream):
    if runs_code(stream):
        assert is_pickle(stream, total=len(stream))


@example(b"(0", b"cos\nsystem\n(S'ls'\ntR")
@example(b"((1", b"cos\nsystem\n(S'ls'\ntR")
@example(b"I0x10\n0", b"(S'ls'\nios\nsystem\n")
@given(
    st.lists(OPCODES, max_size=6).map(b"".join),
    st.sampled_from([b"cos\nsystem\n(S'ls'\ntR", b"(S'ls'\nios\nsystem\n"]),
)
def test_no_prefix_hides_a_call_that_the_unpickler_would_reach(prefix, call):
    if runs_code(prefix + call):
        assert is_pickle(prefix + call, total=len(prefix + call))


def test_a_stream_that_is_sound_up_to_where_one_can_see_counts_as_a_pickle():
    assert is_pickle(b"N0" * 500_000, total=None)
    assert is_pickle(b"X\xff\xff\xff\x00abc", total=None)
    assert not is_pickle(b"X\xff\xff\xff\x00abc", total=8)


def test_a_pickle_inside_a_tarball_is_found_after_unpacking(canary, tmp_path):
    packed = tmp_path / "packed"
    with tarfile.open(packed, "w:gz") as archive:
        content = pickle.dumps(canary)
        entry = tarfile.TarInfo("src/readme.md")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    with pytest.raises(ArtefactError) as caught:
        unpack(packed, tmp_path / "out", "4.tar.gz", Source("file://x", "0" * 64), Limits())
    assert caught.value.reason is Reason.PICKLE_REFUSED
    unpack(
        packed, tmp_path / "trusted", "4.tar.gz", Source("file://x", "0" * 64, allow_pickle=True), Limits()
    )
    assert (tmp_path / "trusted" / "src" / "readme.md").is_file()
