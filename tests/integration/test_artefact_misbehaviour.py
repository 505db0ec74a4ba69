# SPDX-License-Identifier: Apache-2.0
"""The fetcher against servers that lie, drip, break off or never end."""

import socket
from dataclasses import replace

import pytest
from artefact_fetches import DIGEST, MODEL, QUICK, failure
from artefact_origins import body, dripping, raw

from endcap_runtime.artefacts import ArtefactError, Reason, Source, fetch

DELIVERIES = {
    "too little": (body(MODEL[:100], length=len(MODEL)), Reason.UNREACHABLE, "truncated"),
    "too much": (body(MODEL + b"x"), Reason.DIGEST_MISMATCH, "wanted is"),
    "a flipped byte": (body(MODEL[:-1] + b"X"), Reason.DIGEST_MISMATCH, "wanted is"),
    "a short length": (body(MODEL, length=10), Reason.DIGEST_MISMATCH, "wanted is"),
    "ten gigabytes": (body(b"", length=10 * 1024**3), Reason.TOO_LARGE, "announces 10737418240 bytes"),
    "404": (body(b"no", "404 Not Found"), Reason.NOT_FOUND, "404"),
    "403": (body(b"no", "403 Forbidden"), Reason.REFUSED, "secretRef"),
    "401": (body(b"no", "401 Unauthorized"), Reason.REFUSED, "secretRef"),
    "500": (body(b"no", "500 Oops"), Reason.UNREACHABLE, "500"),
    "429": (body(b"no", "429 Slow down"), Reason.UNREACHABLE, "429"),
    "206": (body(MODEL, "206 Partial"), Reason.INVALID, "206"),
    "204": (body(b"", "204 Nothing"), Reason.INVALID, "204"),
    "a redirect to nowhere": (body(b"", "302 Found"), Reason.INVALID, "nowhere"),
    "another protocol": (raw(b"SSH-2.0-OpenSSH\r\n\r\n"), Reason.UNREACHABLE, "broke the connection"),
    "endless headers": (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2_000_000), Reason.UNREACHABLE, "broke"),
    "nothing": (raw(b""), Reason.UNREACHABLE, "broke the connection"),
    "silence": (lambda sock, _: sock.recv(1), Reason.UNREACHABLE, "stopped sending"),
}


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_server_that_does_not_deliver_is_named_with_what_it_did(delivery, server, policy, tmp_path):
    answer, reason, said = DELIVERIES[delivery]
    server.answers["/4.txt"] = answer
    error = failure(server.url("/4.txt?sig=hush"), tmp_path / "into", policy)
    assert error.reason is reason
    assert said in error.message
    assert "127.0.0.1" in error.message or reason is Reason.DIGEST_MISMATCH
    assert "hush" not in str(error)


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden"])
def test_a_final_answer_is_not_asked_for_again(status, server, policy, tmp_path):
    server.answers["/4.txt"] = body(b"", status)
    failure(server.url("/4.txt"), tmp_path / "into", replace(policy, limits=replace(QUICK, attempts=4)))
    assert len(server.seen) == 1


def test_a_wrong_digest_is_not_asked_for_again(server, policy, tmp_path):
    server.answers["/4.txt"] = body(b"something else")
    error = failure(
        server.url("/4.txt"), tmp_path / "into", replace(policy, limits=replace(QUICK, attempts=4))
    )
    assert (error.reason, len(server.seen)) == (Reason.DIGEST_MISMATCH, 1)


def test_attempts_are_bounded(server, policy, tmp_path):
    server.answers["/4.txt"] = body(b"", "503 Busy")
    failure(server.url("/4.txt"), tmp_path / "into", replace(policy, limits=replace(QUICK, attempts=3)))
    assert len(server.seen) == 3


def test_an_endless_body_is_cut_at_the_limit(server, policy, tmp_path):
    def endless(sock: socket.socket, _seen) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sock.sendall(bytes(65_536))

    server.answers["/4.txt"] = endless
    small = replace(policy, limits=replace(QUICK, packed_bytes=1_000_000))
    assert failure(server.url("/4.txt"), tmp_path / "into", small).reason is Reason.TOO_LARGE


@pytest.mark.parametrize("before_headers", [True, False])
def test_a_server_that_drips_is_left_at_the_deadline(before_headers, server, policy, tmp_path):
    server.answers["/4.txt"] = dripping(MODEL, 0.05, before_headers=before_headers)
    hurried = replace(policy, limits=replace(QUICK, deadline_seconds=0.5))
    error = failure(server.url("/4.txt"), tmp_path / "into", hurried)
    assert (error.reason, "deadline" in error.message) == (Reason.UNREACHABLE, True)


def test_a_server_that_drips_is_left_before_the_deadline_for_its_slowness(server, policy, tmp_path):
    server.answers["/4.txt"] = dripping(MODEL, 0.02)
    watchful = replace(policy, limits=replace(QUICK, slow_seconds=0.3, deadline_seconds=60))
    assert "too slow" in failure(server.url("/4.txt"), tmp_path / "into", watchful).message


def test_a_closed_port_is_unreachable(policy, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    local = replace(policy, allowed_hosts=frozenset({"127.0.0.1"}))
    error = failure(f"http://127.0.0.1:{port}/4.txt", tmp_path / "into", local)
    assert (error.reason, "does not accept" in error.message) == (Reason.UNREACHABLE, True)


def test_a_name_that_does_not_resolve_is_unreachable(policy, tmp_path):
    error = failure("https://no-such-host.invalid/4.txt", tmp_path / "into", policy)
    assert (error.reason, "no-such-host.invalid" in error.message) == (Reason.UNREACHABLE, True)


def test_a_new_version_that_is_refused_leaves_the_old_one_whole(server, policy, tmp_path):
    server.answers["/4.txt"] = body(MODEL)
    server.answers["/5.txt"] = body(MODEL[:-1], length=len(MODEL))
    fetch(Source(server.url("/4.txt"), DIGEST), tmp_path / "into", policy)
    with pytest.raises(ArtefactError):
        fetch(Source(server.url("/5.txt"), "0" * 64), tmp_path / "into", policy)
    assert sorted(path.name for path in (tmp_path / "into").iterdir()) == [".endcap.json", "4.txt"]
