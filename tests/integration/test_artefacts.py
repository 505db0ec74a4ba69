# SPDX-License-Identifier: Apache-2.0
"""The fetcher against honest servers, names that change their mind, and redirects (attack S1)."""

from dataclasses import replace

import pytest
from artefact_fetches import DIGEST, MODEL, QUICK, failure, secret, to_loopback
from artefact_origins import body, failing, origin, redirect

from endcap_runtime.artefacts import Policy, Reason, Source, fetch


def test_a_model_is_fetched_once_and_found_again(server, policy, tmp_path):
    server.answers["/models/4.txt"] = body(MODEL)
    for _ in range(2):
        fetched = fetch(Source(server.url("/models/4.txt?sig=abc"), DIGEST), tmp_path / "into", policy)
        assert fetched.location.read_bytes() == MODEL
    assert [seen.line for seen in server.seen] == ["GET /models/4.txt?sig=abc HTTP/1.1"]


def test_a_body_without_a_length_is_taken_to_its_end(server, policy, tmp_path):
    chunked = (
        b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (MODEL[:7000], MODEL[7000:])) + b"0\r\n\r\n"
    )
    server.answers["/4.txt"] = lambda sock, _: sock.sendall(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked
    )
    assert fetch(Source(server.url("/4.txt"), DIGEST), tmp_path / "into", policy).bytes == len(MODEL)


def test_a_proxy_of_the_environment_is_not_used(server, policy, tmp_path, monkeypatch):
    server.answers["/4.txt"] = body(MODEL)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    fetch(Source(server.url("/4.txt"), DIGEST), tmp_path / "into", policy)


def test_a_passing_failure_is_tried_again(server, policy, tmp_path):
    server.answers["/4.txt"] = failing(2, body(MODEL))
    patient = replace(policy, limits=replace(QUICK, attempts=3))
    fetch(Source(server.url("/4.txt"), DIGEST), tmp_path / "into", patient)
    assert len(server.seen) == 3


def test_a_download_that_broke_off_starts_from_nothing(server, policy, tmp_path):
    broken = body(MODEL[:100], length=len(MODEL))
    server.answers["/4.txt"] = failing(1, body(MODEL), broken)
    patient = replace(policy, limits=replace(QUICK, attempts=2))
    fetched = fetch(Source(server.url("/4.txt"), DIGEST), tmp_path / "into", patient)
    assert fetched.location.read_bytes() == MODEL


def test_the_connection_goes_to_the_address_that_was_checked(server, policy, tmp_path):
    """A name that resolves to the allowed server first and to another machine ever after."""
    answers = iter([["127.0.0.1"]])
    server.answers["/4.txt"] = body(MODEL)
    fetch(
        Source(server.url("/4.txt", "models.test"), DIGEST),
        tmp_path / "into",
        policy,
        resolve=lambda *_: next(answers),
    )
    assert server.seen[0].headers["host"] == f"models.test:{server.port}"


def test_an_ipv6_host_is_named_in_brackets(server, policy, tmp_path):
    server.answers["/4.txt"] = body(MODEL)
    listed = replace(policy, allowed_hosts=frozenset({f"[::1]:{server.port}"}))
    source = Source(server.url("/4.txt", "[0:0::1]"), DIGEST)
    fetch(source, tmp_path / "into", listed, resolve=to_loopback)
    assert server.seen[0].headers["host"] == f"[::1]:{server.port}"


def test_a_name_that_turns_inward_between_two_hops_is_refused_at_the_second(server, policy, tmp_path):
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    server.answers["/4.txt"] = redirect("/5.txt")
    error = failure(
        server.url("/4.txt", "models.test"), tmp_path / "into", policy, resolve=lambda *_: next(answers)
    )
    assert error.reason is Reason.REFUSED
    assert len(server.seen) == 1


def test_nobody_connects_to_a_host_that_resolves_inward(server, tmp_path):
    strict = Policy(limits=QUICK)
    uri = server.url("/latest/meta-data/4.txt?token=hush", "models.test")
    error = failure(uri, tmp_path / "into", strict, resolve=to_loopback)
    assert error.reason is Reason.REFUSED
    assert "models.test" in error.message
    assert "hush" not in str(error)
    assert server.seen == []


def test_the_next_address_is_tried_when_the_first_does_not_answer(server, policy, tmp_path):
    server.answers["/4.txt"] = body(MODEL)
    uri = server.url("/4.txt", "models.test")
    fetch(Source(uri, DIGEST), tmp_path / "into", policy, resolve=lambda *_: ["127.9.9.9", "127.0.0.1"])


def test_three_redirects_are_followed_and_no_more(server, policy, tmp_path):
    for number in range(4):
        server.answers[f"/{number}"] = redirect(f"/{number + 1}")
    server.answers["/4"] = body(MODEL)
    fetch(Source(server.url("/1"), DIGEST), tmp_path / "three", policy)
    error = failure(server.url("/0"), tmp_path / "four", policy)
    assert (error.reason, len(server.seen)) == (Reason.REFUSED, 8)


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/iam", "http://[::ffff:169.254.169.254]/", "http://0x7f.1/",
        "http://localhost:1/", "//10.96.0.1/api", "http://kubernetes.default.svc/", "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL", "http://user:pw@127.0.0.1/", "http://127.0.0.1:22/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Again", "308 Again"])
def test_a_redirect_inward_is_refused(location, status, server, policy, tmp_path):
    server.answers["/4.txt"] = redirect(location, status)
    error = failure(
        server.url("/4.txt", "models.test"),
        tmp_path / "into",
        replace(policy, allowed_hosts=frozenset({f"models.test:{server.port}"})),
        resolve=lambda host, _: (
            ["10.96.0.1"] if host.endswith(".svc") else [host.replace("models.test", "127.0.0.1")]
        ),
    )
    assert error.reason is Reason.REFUSED
    assert len(server.seen) == 1


def test_credentials_do_not_follow_a_redirect_to_another_origin(server, policy, tmp_path):
    with origin() as other:
        server.answers["/4.txt"] = redirect("/here.txt")
        server.answers["/here.txt"] = redirect(other.url("/there.txt"))
        other.answers["/there.txt"] = body(MODEL)
        both = replace(policy, allowed_hosts=frozenset({"127.0.0.1"}))
        name = secret(both, "web", {"token": "hush-hush"})
        fetch(Source(server.url("/4.txt"), DIGEST, name), tmp_path / "into", both)
    assert [seen.headers.get("authorization") for seen in server.seen] == ["Bearer hush-hush"] * 2
    assert "authorization" not in other.seen[0].headers
