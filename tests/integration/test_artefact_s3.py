# SPDX-License-Identifier: Apache-2.0
"""Objects of a real S3 server, and the init container that fetches them."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from artefact_fetches import DIGEST, MODEL, failure, secret
from artefact_origins import redirect

from endcap_cli.model_store import push
from endcap_runtime.artefacts import Reason, Source, fetch


@pytest.mark.parametrize(
    "key", ["ranker/4.txt", "odd/a b+c=d&e@f,g;h%i~j(k)'l!m.txt", "deep/" * 5 + "é/4.txt"]
)
def test_an_object_is_fetched_with_a_signature(key, s3, store, s3_policy, tmp_path):
    (tmp_path / "4.txt").write_bytes(MODEL)
    assert store.put_new("models", f"sig/{key}", tmp_path / "4.txt", DIGEST)
    fetched = fetch(Source(f"s3://models/sig/{key}", DIGEST, "s3"), tmp_path / "into", s3_policy)
    assert fetched.location.read_bytes() == MODEL


def test_a_missing_object_and_bucket_are_said_to_be_missing(s3_policy, tmp_path):
    for uri in ("s3://models/nothing/4.txt", "s3://no-such-bucket/4.txt"):
        assert failure(uri, tmp_path / "into", s3_policy, using="s3").reason is Reason.NOT_FOUND


def test_wrong_keys_and_no_keys_are_refused_with_the_remedy(store, s3, s3_policy, tmp_path):
    secret(s3_policy, "wrong", {"accessKey": s3.access, "secretKey": "hush-hush-wrong"})
    for name in ("wrong", None):
        error = failure("s3://models/sig/4.txt", tmp_path / "into", s3_policy, using=name)
        assert (error.reason, "secretRef" in error.message) == (Reason.REFUSED, True)
        assert "hush" not in str(error)


def test_the_endpoint_is_the_platforms_alone(s3_policy, tmp_path):
    none = replace(s3_policy, s3_endpoint=None)
    assert "no S3 endpoint" in failure("s3://models/4.txt", tmp_path / "into", none, using="s3").message


def test_the_platforms_store_is_not_open_to_plain_http_uris(s3, s3_policy, tmp_path):
    error = failure(f"{s3.endpoint}/models/sig/4.txt", tmp_path / "into", s3_policy)
    assert error.reason is Reason.REFUSED


@pytest.mark.parametrize(
    "uri", ["s3://models", "s3://models/", "s3://Models/4.txt", "s3://models/../x/4.txt", "s3:///4.txt"]
)
def test_an_address_that_s3_or_a_path_would_misread_is_refused(uri, s3_policy, tmp_path):
    assert failure(uri, tmp_path / "into", s3_policy, using="s3").reason is Reason.REFUSED


def test_a_redirecting_store_is_not_followed(server, policy, tmp_path):
    server.answers["/models/4.txt"] = redirect("http://127.0.0.1:1/")
    at_server = replace(policy, s3_endpoint=server.url(""))
    assert failure("s3://models/4.txt", tmp_path / "into", at_server).reason is Reason.REFUSED


def run(tmp_path, *before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "ENDCAP_ARTEFACT_DIR": str(tmp_path / "artefact"),
        "ENDCAP_TERMINATION_LOG": str(tmp_path / "termination"),
        "ENDCAP_SECRETS_DIR": str(tmp_path / "secrets"),
        **environment,
    }
    command = [*before, sys.executable, "-W", "error", "-m", "endcap_runtime.artefacts"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def config(uri: str, sha256: str, more: dict[str, object]) -> str:
    return json.dumps({"name": "ranker", "artefact": {"uri": uri, "sha256": sha256, **more}})


def test_it_puts_a_pushed_model_in_place(s3, store, s3_policy, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.txt").write_bytes(MODEL)
    pushed = push(folder, "s3://models/init/4.tar.gz", store)
    done = run(
        tmp_path,
        ENDCAP_S3_ENDPOINT=s3.endpoint,
        ENDCAP_MODEL_CONFIG=config(pushed.uri, pushed.sha256, {"secret": "s3", "allowPickle": False}),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "artefact" / "model.txt").read_bytes() == MODEL
    assert json.loads((tmp_path / "artefact" / ".endcap.json").read_text())["file"] is None
    assert not (tmp_path / "termination").exists()
    assert {json.loads(line)["level"] for line in done.stderr.splitlines()} == {"info"}


def test_it_says_why_not_and_leaves_nothing(s3, s3_policy, tmp_path):
    (s3.folder / "models" / "bad").mkdir(exist_ok=True)
    (s3.folder / "models" / "bad" / "4.txt").write_bytes(b"replaced under the same name")
    done = run(
        tmp_path,
        ENDCAP_S3_ENDPOINT=s3.endpoint,
        ENDCAP_MODEL_CONFIG=config("s3://models/bad/4.txt", DIGEST, {"secret": "s3"}),
    )
    assert done.returncode == 1
    said = json.loads((tmp_path / "termination").read_text())
    assert (said["reason"], DIGEST in said["message"]) == ("DigestMismatch", True)
    assert list((tmp_path / "artefact").iterdir()) == []
    assert s3.secret not in done.stderr + said["message"]


def test_it_says_that_the_disk_is_full(tmp_path):
    """With a limit on the size of a file, which a write beyond it sees as it sees a full disk."""
    (tmp_path / "store" / "models").mkdir(parents=True)
    (tmp_path / "store" / "models" / "4.txt").write_bytes(MODEL)
    wanted = config("s3://models/4.txt", DIGEST, {})
    local = {"ENDCAP_LOCAL_STORE": str(tmp_path / "store"), "ENDCAP_MODEL_CONFIG": wanted}
    done = run(tmp_path, "prlimit", f"--fsize={len(MODEL) // 2}", **local)
    assert done.returncode == 1
    assert json.loads((tmp_path / "termination").read_text())["reason"] == "ArtefactTooLarge"
    assert list((tmp_path / "artefact").iterdir()) == []
    assert run(tmp_path, **local).returncode == 0


def test_it_says_that_its_folder_cannot_be_written(tmp_path):
    (tmp_path / "artefact").write_text("a file where the folder should be")
    done = run(tmp_path, ENDCAP_MODEL_CONFIG=config("s3://models/4.txt", DIGEST, {}))
    assert done.returncode == 1
    assert "cannot be read or stored" in json.loads((tmp_path / "termination").read_text())["message"]


@pytest.mark.parametrize(
    "config",
    ["", "{", "[]", "{}", '{"artefact": {"uri": 5}}', '{"artefact": {"uri": "s3://a", "sha256": null}}'],
)
def test_it_explains_a_configuration_that_names_no_artefact(config, tmp_path):
    done = run(tmp_path, ENDCAP_MODEL_CONFIG=config)
    assert done.returncode == 1
    assert "ENDCAP_MODEL_CONFIG" in json.loads((tmp_path / "termination").read_text())["message"]
