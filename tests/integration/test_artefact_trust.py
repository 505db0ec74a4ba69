# SPDX-License-Identifier: Apache-2.0
"""Certificates are always checked, and credentials go only where they belong (attack S30)."""

import ssl
from datetime import UTC, datetime

import pytest
import trustme
from artefact_fetches import DIGEST, MODEL, QUICK, failure, secret, to_loopback
from artefact_origins import body, origin

from endcap_runtime.artefacts import ArtefactError, Policy, Reason, Source, fetch


@pytest.fixture
def authority():
    return trustme.CA()


def fetch_from(authority, tmp_path, *names, trusted=None, **certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **certificate).configure_cert(context)
    ca_file = tmp_path / "ca.pem"
    (trusted or authority).cert_pem.write_to_path(ca_file)
    with origin(context) as server:
        server.answers["/4.txt"] = body(MODEL)
        policy = Policy(allowed_hosts=frozenset({"models.test"}), ca_file=ca_file, limits=QUICK)
        source = Source(server.url("/4.txt", "models.test", "https"), DIGEST)
        return fetch(source, tmp_path / "into", policy, resolve=to_loopback)


def test_the_certificate_is_checked_by_name_while_the_address_is_pinned(authority, tmp_path):
    assert fetch_from(authority, tmp_path, "models.test").location.read_bytes() == MODEL


def test_a_certificate_for_another_name_or_for_the_address_alone_is_refused(authority, tmp_path):
    for name in ("other.test", "127.0.0.1"):
        with pytest.raises(ArtefactError, match=r"models\.test.*no valid certificate") as caught:
            fetch_from(authority, tmp_path, name)
        assert caught.value.reason is Reason.REFUSED


def test_a_certificate_of_an_unknown_authority_is_refused(authority, tmp_path):
    with pytest.raises(ArtefactError, match="no valid certificate") as caught:
        fetch_from(authority, tmp_path, "models.test", trusted=trustme.CA())
    assert caught.value.reason is Reason.REFUSED


def test_an_expired_certificate_is_refused(authority, tmp_path):
    with pytest.raises(ArtefactError, match="expired") as caught:
        fetch_from(authority, tmp_path, "models.test", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    assert caught.value.reason is Reason.REFUSED


def test_credentials_in_clear_text_leave_the_platform_never(server, policy, tmp_path):
    name = secret(policy, "web", {"username": "u", "password": "hush"})
    error = failure("http://models.example/4.txt", tmp_path / "into", policy, using=name)
    assert (error.reason, "https" in error.message) == (Reason.REFUSED, True)


def test_a_name_and_password_are_sent(server, policy, tmp_path):
    server.answers["/4.txt"] = body(MODEL)
    name = secret(policy, "web", {"username": "reader", "password": "hush"})
    fetch(Source(server.url("/4.txt"), DIGEST, name), tmp_path / "into", policy)
    assert server.seen[0].headers["authorization"] == "Basic cmVhZGVyOmh1c2g="


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (None, "not mounted"),
        ({"username": "u"}, "password"),
        ({"token": "a\nX-Evil: 1"}, "one line"),
        ({}, "keys"),
    ],
)
def test_a_secret_that_does_not_fit_is_named(keys, said, server, policy, tmp_path):
    if keys is not None:
        secret(policy, "web", keys)
    error = failure(server.url("/4.txt"), tmp_path / "into", policy, using="web")
    assert (error.reason, said in error.message) == (Reason.REFUSED, True)
    assert server.seen == []


@pytest.mark.parametrize("name", ["../other", "a/b", "/etc", "..", "A", ""])
def test_a_name_that_leaves_the_folder_of_secrets_is_refused(name):
    with pytest.raises(ArtefactError, match="not a Kubernetes name"):
        Source("s3://models/4.txt", DIGEST, name)
