# SPDX-License-Identifier: Apache-2.0
"""Files from claims and local folders: nothing outside of them is ever read (attack S2)."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import pytest

from endcap_runtime.artefacts import ArtefactError, Limits, Policy, Reason, Source, fetch

MODEL = b"tree\nversion=v4\n"
DIGEST = hashlib.sha256(MODEL).hexdigest()


@pytest.fixture
def policy(tmp_path) -> Policy:
    (tmp_path / "claims" / "models" / "v4").mkdir(parents=True)
    (tmp_path / "claims" / "models" / "v4" / "model.txt").write_bytes(MODEL)
    (tmp_path / "claims" / "other").mkdir()
    (tmp_path / "claims" / "other" / "model.txt").write_bytes(MODEL)
    (tmp_path / "model.txt").write_bytes(MODEL)
    return Policy(pvc_dir=tmp_path / "claims", secrets_dir=tmp_path / "secrets")


def reason(uri: str, into: Path, policy: Policy, digest: str = DIGEST) -> Reason:
    with pytest.raises(ArtefactError) as caught:
        fetch(Source(uri, digest), into, policy)
    assert not into.exists() or list(into.iterdir()) == [], "something was left behind"
    return caught.value.reason


def test_a_file_of_a_claim_is_fetched_with_its_marker(policy, tmp_path):
    fetched = fetch(Source("pvc://models/v4/model.txt", DIGEST), tmp_path / "into", policy)
    assert fetched.location.read_bytes() == MODEL
    assert (fetched.file, fetched.bytes) == ("model.txt", len(MODEL))
    marker = json.loads((tmp_path / "into" / ".endcap.json").read_text())
    assert (marker["sha256"], marker["file"]) == (DIGEST, "model.txt")
    assert sorted(path.name for path in (tmp_path / "into").iterdir()) == [".endcap.json", "model.txt"]


@pytest.mark.parametrize(
    "uri",
    [
        "pvc://models/../other/model.txt", "pvc://models/v4/../../../model.txt", "pvc://../model.txt", "pvc:///etc/hostname",
        "pvc://models//etc/hostname", "pvc://models/./v4/model.txt", "pvc://Models/v4/model.txt", "pvc://models/v4\\model.txt",
        "pvc://models/v4/model.txt\0", "pvc://..models/model.txt", "file://model.txt", "file:///etc/hostname",
        "ftp://models.example/model.txt", "model.txt", "/etc/hostname", "gs://models/model.txt", "pvc://models/v4/",
        "pvc://models/.hidden", "PVC://models/v4/model.txt",
        "pvc://models/v4/model.txt?x=1", "pvc://models/v4/model.txt#x", "https://models.example/", "https://models.example/%2e%2e",
        "https://models.example/a%2f..%2fb",
    ],
)  # fmt: skip
def test_paths_that_leave_a_claim_and_schemes_that_are_not_offered_are_refused(uri, policy, tmp_path):
    assert reason(uri, tmp_path / "into", policy) is Reason.REFUSED


@pytest.mark.parametrize(
    "target",
    ["/etc/hostname", "../other/model.txt", "../../model.txt", "v4/../../other/model.txt", "escape.txt"],
)
def test_a_symlink_that_leaves_its_claim_or_goes_in_circles_is_refused(target, policy, tmp_path):
    (policy.pvc_dir / "models" / "escape.txt").symlink_to(target)
    assert reason("pvc://models/escape.txt", tmp_path / "into", policy) is Reason.REFUSED


def test_a_folder_that_is_a_symlink_out_of_the_claim_is_refused(policy, tmp_path):
    (policy.pvc_dir / "models" / "folder").symlink_to(policy.pvc_dir / "other")
    assert reason("pvc://models/folder/model.txt", tmp_path / "into", policy) is Reason.REFUSED


def test_a_symlink_within_its_claim_is_followed(policy, tmp_path):
    (policy.pvc_dir / "models" / "latest").symlink_to("v4")
    (policy.pvc_dir / "models" / "v4" / "alias.txt").symlink_to("../latest/model.txt")
    fetched = fetch(Source("pvc://models/latest/alias.txt", DIGEST), tmp_path / "into", policy)
    assert fetched.location.read_bytes() == MODEL
    assert not fetched.location.is_symlink()


@pytest.mark.parametrize(
    "uri", ["pvc://models/v5/model.txt", "pvc://nothing/model.txt", "pvc://models/v4/model.txt/x"]
)
def test_a_missing_file_is_said_to_be_missing(uri, policy, tmp_path):
    assert reason(uri, tmp_path / "into", policy) is Reason.NOT_FOUND


def test_a_folder_and_a_pipe_are_no_artefacts(policy, tmp_path):
    os.mkfifo(policy.pvc_dir / "models" / "pipe.txt")
    assert reason("pvc://models/pipe.txt", tmp_path / "into", policy) is Reason.INVALID
    assert reason("pvc://models/v4", tmp_path / "into", policy) is Reason.INVALID


def test_a_wrong_digest_is_refused_and_leaves_what_was_there(policy, tmp_path):
    into = tmp_path / "into"
    assert reason("pvc://models/v4/model.txt", into, policy, "0" * 64) is Reason.DIGEST_MISMATCH
    fetch(Source("pvc://models/v4/model.txt", DIGEST), into, policy)
    with pytest.raises(ArtefactError, match=f"{DIGEST}, wanted is {'0' * 64}"):
        fetch(Source("pvc://models/v4/model.txt", "0" * 64), into, policy)
    assert fetch(Source("pvc://models/v4/model.txt", DIGEST), into, Policy()).location.read_bytes() == MODEL


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "g" * 64, "A" * 64, "sha256:" + "0" * 64])
def test_a_digest_that_is_none_is_refused(digest):
    with pytest.raises(ArtefactError, match="64 lower-case hexadecimal"):
        Source("pvc://models/v4/model.txt", digest)


def test_a_new_artefact_replaces_the_old_one_whole(policy, tmp_path):
    (policy.pvc_dir / "models" / "next.txt").write_bytes(b"next")
    into = tmp_path / "into"
    fetch(Source("pvc://models/v4/model.txt", DIGEST), into, policy)
    (into / "left-by-somebody").mkdir()
    fetched = fetch(Source("pvc://models/next.txt", hashlib.sha256(b"next").hexdigest()), into, policy)
    assert sorted(path.name for path in into.iterdir()) == [".endcap.json", "next.txt"]
    assert fetched.location.read_bytes() == b"next"


def test_what_a_killed_run_left_is_swept_away_and_fetched_anew(policy, tmp_path):
    into = tmp_path / "into"
    (into / ".endcap-incoming-x" / "contents").mkdir(parents=True)
    (into / "model.txt").write_bytes(b"half")
    fetched = fetch(Source("pvc://models/v4/model.txt", DIGEST), into, policy)
    assert fetched.location.read_bytes() == MODEL
    assert sorted(path.name for path in into.iterdir()) == [".endcap.json", "model.txt"]


def test_a_pickle_fetched_under_trust_is_looked_at_again_without(policy, tmp_path):
    content = pickle.dumps({"a": 1})
    (policy.pvc_dir / "models" / "m.bin").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    fetch(Source("pvc://models/m.bin", digest, allow_pickle=True), tmp_path / "into", policy)
    with pytest.raises(ArtefactError) as caught:
        fetch(Source("pvc://models/m.bin", digest), tmp_path / "into", policy)
    assert caught.value.reason is Reason.PICKLE_REFUSED


def test_a_file_beyond_the_limit_is_refused(policy, tmp_path):
    with pytest.raises(ArtefactError, match="limit of 10 bytes") as caught:
        fetch(
            Source("pvc://models/v4/model.txt", DIGEST),
            tmp_path / "into",
            Policy(pvc_dir=policy.pvc_dir, limits=Limits(10)),
        )
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_local_store_answers_s3_and_relative_files(policy, tmp_path):
    local = Policy(local_store=tmp_path / "claims")
    for uri in ("s3://models/v4/model.txt", "file://models/v4/model.txt"):
        assert fetch(Source(uri, DIGEST), tmp_path / uri[:2], local).location.read_bytes() == MODEL
    based = Policy(local_store=tmp_path / "claims", base=tmp_path)
    assert fetch(Source("file://model.txt", DIGEST), tmp_path / "based", based).location.read_bytes() == MODEL


@pytest.mark.parametrize(
    "uri", ["s3://models/../other/model.txt", "file://../model.txt", "file:///etc/hostname"]
)
def test_a_local_store_is_not_left_either(uri, policy, tmp_path):
    assert reason(uri, tmp_path / "into", Policy(local_store=tmp_path / "claims")) is Reason.REFUSED


def test_the_policy_is_read_from_the_environment(tmp_path):
    policy = Policy.from_environment({
        "ENDCAP_ALLOWED_HOSTS": "Store.models.svc:9000, other ,", "ENDCAP_S3_ENDPOINT": "http://s3:7070",
        "ENDCAP_SECRETS_DIR": "/s", "ENDCAP_PVC_DIR": "/p", "ENDCAP_LOCAL_STORE": "",
    })  # fmt: skip
    assert policy.allowed_hosts == {"store.models.svc:9000", "other"}
    assert (policy.s3_endpoint, policy.local_store) == ("http://s3:7070", None)
    assert (policy.secrets_dir, policy.pvc_dir) == (Path("/s"), Path("/p"))
    assert Policy.from_environment({}) == Policy()
