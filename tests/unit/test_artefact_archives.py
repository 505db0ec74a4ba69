# SPDX-License-Identifier: Apache-2.0
"""A corpus of hostile archives: each is refused, and nothing is written outside its folder (attack S3)."""

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from endcap_runtime.artefacts import ArtefactError, Limits, Reason, Source
from endcap_runtime.artefacts.unpacking import unpack

MIB = 1024 * 1024
SMALL = Limits(extracted_bytes=8 * MIB, entries=100, ratio=20, ratio_from_bytes=MIB)
SOURCE = Source("file://x", "0" * 64)


def entry(name: str, content: bytes = b"x", **fields) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content) if info.type == tarfile.REGTYPE else 0
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def tarball(*entries, format=tarfile.PAX_FORMAT) -> bytes:  # noqa: A002
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=format) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content) if info.type == tarfile.REGTYPE else None)
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, b"", type=kind, linkname=target, size=0)


def zipped(*entries: tuple[zipfile.ZipInfo | str, bytes], compression=zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_entry(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def extract(content: bytes, name: str, tmp_path: Path, limits: Limits = SMALL) -> Path:
    packed = tmp_path / "jail" / "packed"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(content)
    return unpack(packed, tmp_path / "jail" / "contents", name, SOURCE, limits)


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


BAD_NAMES = [
    "../outside", "a/../../outside", "/etc/outside", "//etc/outside", "..", "a/..", "..\\outside", "C:\\outside",
    "C:outside", "a\nb", "a\x1b[31m", "a\u202eb", "a\x7f", "x" * 300, "/".join("d" * 40), ".endcap.json",
    ".endcap-incoming-x/y",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_entry_with_a_dangerous_name_is_refused(kind, name, tmp_path):
    content = (
        tarball(entry("first.txt"), entry(name))
        if kind == "tar"
        else zipped(("first.txt", b"x"), (name, b"x"))
    )
    with pytest.raises(ArtefactError) as caught:
        extract(content, "4.tar.gz" if kind == "tar" else "4.zip", tmp_path)
    assert caught.value.reason is Reason.REFUSED
    assert not (tmp_path / "outside").exists()
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message


def test_a_zip_entry_with_a_null_byte_is_refused(tmp_path):
    content = zipped(("model.txtXevil", b"x")).replace(b"model.txtXevil", b"model.txt\0evil")
    with pytest.raises(ArtefactError) as caught:
        extract(content, "4.zip", tmp_path)
    assert caught.value.reason in {Reason.REFUSED, Reason.INVALID}


def test_a_file_written_through_a_symlink_of_the_same_archive_is_refused(tmp_path):
    """The shape of CVE-2026-27905: a link out of the folder first, then a file below it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    content = tarball(special("models", tarfile.SYMTYPE, str(outside)), entry("models/pwned", b"pwned"))
    with pytest.raises(ArtefactError, match="link") as caught:
        extract(content, "4.tar.gz", tmp_path)
    assert caught.value.reason is Reason.REFUSED
    assert list(outside.iterdir()) == []


LINKS = {
    "symlink": special("link", tarfile.SYMTYPE, "model.txt"),
    "symlink out": special("link", tarfile.SYMTYPE, "../../etc"),
    "hardlink": special("link", tarfile.LNKTYPE, "model.txt"),
    "hardlink out": special("link", tarfile.LNKTYPE, "/etc/passwd"),
    "character device": special("null", tarfile.CHRTYPE),
    "block device": special("disk", tarfile.BLKTYPE),
    "pipe": special("pipe", tarfile.FIFOTYPE),
    "contiguous": special("cont", tarfile.CONTTYPE),
    "unknown": special("odd", b"Z"),
}


@pytest.mark.parametrize("what", LINKS)
def test_only_plain_files_and_folders_come_out_of_a_tarball(what, tmp_path):
    with pytest.raises(ArtefactError) as caught:
        extract(tarball(entry("model.txt"), LINKS[what]), "4.tar.gz", tmp_path)
    assert caught.value.reason is Reason.REFUSED
    assert not list((tmp_path / "jail" / "contents").rglob("link"))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_only_plain_files_and_folders_come_out_of_a_zip(kind, tmp_path):
    with pytest.raises(ArtefactError) as caught:
        extract(zipped((zip_entry("link", kind | 0o777), b"/etc")), "4.zip", tmp_path)
    assert caught.value.reason is Reason.REFUSED


def test_a_file_with_holes_is_refused(tmp_path):
    info, _ = entry(
        "big",
        b"",
        pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99"},
    )
    info.size = 512
    with pytest.raises(ArtefactError) as caught:
        extract(tarball((info, b"1\n0\n1\n" + b"\0" * 506)), "4.tar.gz", tmp_path)
    assert caught.value.reason is Reason.REFUSED


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6000])
def test_owner_bits_are_refused(mode, tmp_path):
    with pytest.raises(ArtefactError, match="set-user-id"):
        extract(tarball(entry("tool", mode=mode)), "4.tar.gz", tmp_path)
    with pytest.raises(ArtefactError, match="set-user-id"):
        extract(zipped((zip_entry("tool", stat.S_IFREG | mode), b"x")), "4.zip", tmp_path / "second")


SAME = [
    ("a", "a"), ("a", "./a"), ("a", "A"), ("dir/a", "DIR/b"), ("straße", "STRASSE"), ("a", "a/b"), ("a/b", "a"),
    ("é", "e\u0301"), ("ﬁle", "file"), ("a//b", "a/b"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), SAME)
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_two_entries_that_some_system_takes_for_one_are_refused(kind, first, second, tmp_path):
    content = tarball(entry(first), entry(second)) if kind == "tar" else zipped((first, b"x"), (second, b"x"))
    with pytest.raises(ArtefactError) as caught:
        extract(content, "4.tar.gz" if kind == "tar" else "4.zip", tmp_path)
    assert caught.value.reason is Reason.REFUSED


def test_a_tarball_that_unpacks_to_ten_gigabytes_is_stopped_early(tmp_path):
    """Kilobytes that would be 10 GiB: a header, and one compressed mebibyte of zeros 10,240 times over."""
    header = tarfile.TarInfo("zeros")
    header.size = 10 * 1024 * MIB
    bomb = gzip.compress(header.tobuf(tarfile.GNU_FORMAT)) + gzip.compress(bytes(MIB)) * 10_240
    with pytest.raises(ArtefactError) as caught:
        extract(bomb, "4.tar.gz", tmp_path)
    assert caught.value.reason is Reason.TOO_LARGE
    assert sum(map(len, files(tmp_path / "jail" / "contents").values())) <= SMALL.extracted_bytes


def test_a_zip_that_lies_about_its_sizes_writes_no_more_than_it_says(tmp_path):
    content = bytearray(zipped(("zeros", bytes(4 * MIB))))
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = struct.pack("<I", 10)
    with pytest.raises(ArtefactError):
        extract(bytes(content), "4.zip", tmp_path)
    assert sum(map(len, files(tmp_path / "jail" / "contents").values())) <= 10


def test_what_grows_out_of_all_proportion_is_a_bomb(tmp_path):
    with pytest.raises(ArtefactError, match="20-fold") as caught:
        extract(zipped(("zeros", bytes(4 * MIB))), "4.zip", tmp_path)
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_more_entries_than_allowed_are_refused(kind, tmp_path):
    names = [f"f{number}" for number in range(SMALL.entries + 1)]
    content = tarball(*map(entry, names)) if kind == "tar" else zipped(*((name, b"") for name in names))
    with pytest.raises(ArtefactError, match="100 entries") as caught:
        extract(content, "4.tar.gz" if kind == "tar" else "4.zip", tmp_path)
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_zip_with_a_huge_table_of_contents_is_refused_before_it_is_read(tmp_path, monkeypatch):
    content = zipped(*((f"folder/{'n' * 60}{number}", b"") for number in range(2000)))
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ArtefactError) as caught:
        extract(content, "4.zip", tmp_path)
    assert caught.value.reason is Reason.TOO_LARGE


def extended_header(size: int) -> bytes:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, size
    return header.tobuf(tarfile.GNU_FORMAT)


def test_a_header_that_claims_gigabytes_of_name_is_not_read_into_memory(tmp_path):
    content = gzip.compress(extended_header(1024 * MIB)) + gzip.compress(b"a" * MIB) * 1024
    with pytest.raises(ArtefactError) as caught:
        extract(content, "4.tar.gz", tmp_path)
    assert caught.value.reason is Reason.INVALID


@pytest.mark.parametrize("size", [-1, -512, -1024])
def test_a_header_with_a_negative_size_does_not_send_the_reader_round_in_circles(size, tmp_path):
    loop = bytearray(tarfile.TarInfo("loop").tobuf(tarfile.GNU_FORMAT))
    loop[124:136] = b"\xff" * 10 + (size & 0xFFFF).to_bytes(2, "big")
    loop[148:156] = b"        "
    loop[148:156] = f"{sum(loop):06o}\0 ".encode()
    first, _ = entry("first", b"")
    content = gzip.compress(first.tobuf(tarfile.GNU_FORMAT) + bytes(loop) + bytes(1024))
    with pytest.raises(ArtefactError) as caught:
        extract(content, "4.tar.gz", tmp_path)
    assert caught.value.reason in {Reason.INVALID, Reason.REFUSED}


def nameless() -> bytes:
    """A zip of which the table of contents gives the entry's name away as an extra field."""
    content = bytearray(zipped(("abXX", b"x")).replace(b"abXX", b"ab\0\0"))
    at = content.index(b"PK\x01\x02") + 28
    content[at : at + 4] = struct.pack("<HH", 0, 4)
    return bytes(content)


BROKEN = {
    "zip with a nameless entry": (nameless(), "4.zip"),
    "not gzip": (b"plain text", "4.tar.gz"),
    "gzip of something else": (gzip.compress(b"plain text" * 200), "4.tar.gz"),
    "truncated gzip": (tarball(entry("model.txt", bytes(range(256)) * 40))[:-40], "4.tar.gz"),
    "truncated tar": (gzip.compress(gzip.decompress(tarball(entry("m", b"x" * 5000)))[:1500]), "4.tar.gz"),
    "flipped checksum": (tarball(entry("model.txt"))[:-8] + bytes(8), "4.tar.gz"),
    "not zip": (b"plain text", "4.zip"),
    "truncated zip": (zipped(("model.txt", b"x" * 5000))[:-30], "4.zip"),
    "empty file as zip": (b"", "4.zip"),
    "empty file as tarball": (b"", "4.tar.gz"),
    "flipped bit": (
        zipped(("m", b"hello"), compression=zipfile.ZIP_STORED).replace(b"hello", b"hellp"),
        "4.zip",
    ),
    "zip by another method": (zipped(("m", b"x" * 99), compression=zipfile.ZIP_LZMA), "4.zip"),
    "skops without schema": (zipped(("model.json", b"{}")), "model.skops"),
    "skops that is no zip": (b"plain text", "model.skops"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_archive_is_said_to_be_invalid(what, tmp_path):
    content, name = BROKEN[what]
    with pytest.raises(ArtefactError) as caught:
        extract(content, name, tmp_path)
    assert caught.value.reason is Reason.INVALID


def test_a_skops_file_is_held_to_the_limits_of_archives(tmp_path):
    with pytest.raises(ArtefactError) as caught:
        extract(zipped(("schema.json", b"{}"), ("weights.npy", bytes(4 * MIB))), "model.skops", tmp_path)
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_an_honest_tarball_comes_out_as_it_went_in(form, tmp_path):
    deep = "src/" + "long-folder-name/" * 12 + "module.py"
    archive = tarball(
        entry("./", b"", type=tarfile.DIRTYPE, size=0),
        entry("./model.txt", b"tree\n", mode=0o600),
        entry("./src/", b"", type=tarfile.DIRTYPE, size=0, mode=0o1777),
        entry("./" + deep, b"import os\n", mode=0o755),
        entry("./naïve.txt", b"1"),
        entry("./empty", b""),
        format=form,
    )
    contents = extract(archive, "4.tar.gz", tmp_path)
    assert files(contents) == {"model.txt": b"tree\n", deep: b"import os\n", "naïve.txt": b"1", "empty": b""}
    assert stat.S_IMODE((contents / deep).stat().st_mode) & 0o111 == 0


def test_an_honest_zip_comes_out_as_it_went_in(tmp_path):
    contents = extract(
        zipped(("a/", b""), ("a/model.txt", b"tree\n"), ("b.py", b"x = 1\n")), "4.zip", tmp_path
    )
    assert files(contents) == {"a/model.txt": b"tree\n", "b.py": b"x = 1\n"}


HONEST_TAR = gzip.decompress(
    tarball(
        entry("a/" + "x" * 150, b"hello" * 100), entry("b", b"y" * 700, pax_headers={"comment": "c" * 200})
    )
)
HONEST_ZIP = zipped(("schema.json", b"{}" * 50), ("d/a.txt", b"hello" * 20))
DAMAGE = st.lists(
    st.tuples(st.integers(0, 10_000), st.sampled_from([0, 1, 45, 57, 128, 255])), min_size=1, max_size=8
)


def damaged(content: bytes, damage: list[tuple[int, int]]) -> bytes:
    broken = bytearray(content)
    for position, byte in damage:
        broken[position % len(broken)] = byte
    return bytes(broken)


@settings(max_examples=500)
@example([(HONEST_ZIP.rindex(b"PK\x05\x06") + 16, 255)], "4.zip")
@given(DAMAGE, st.sampled_from(["4.tar.gz", "4.zip", "m.skops", "weights"]))
def test_damage_to_an_archive_is_told_as_such(tmp_path_factory, damage, name):
    is_tar = name == "4.tar.gz"
    content = gzip.compress(damaged(HONEST_TAR, damage), 1) if is_tar else damaged(HONEST_ZIP, damage)
    try:
        extract(content, name, tmp_path_factory.mktemp("damaged"))
    except ArtefactError as error:
        assert error.message  # noqa: PT017


@given(st.binary(max_size=600))
def test_no_bytes_at_all_make_the_readers_fail_in_other_ways(tmp_path_factory, content):
    tmp_path = tmp_path_factory.mktemp("fuzz")
    tar_like = gzip.compress(
        gzip.decompress(tarball(entry("m", b"x" * 600)))[: 1024 - len(content)] + content
    )
    for name, data in (("4.tar.gz", content), ("4.zip", content), ("4.tgz", tar_like), ("m.skops", content)):
        folder = tmp_path / name
        folder.mkdir()
        try:
            extract(data, name, folder, replace(SMALL, packed_bytes=10_000))
        except ArtefactError as error:
            assert error.message  # noqa: PT017
