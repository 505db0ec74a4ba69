# SPDX-License-Identifier: Apache-2.0
"""No spelling of a forbidden address gets past the fetcher (attack S1)."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap_runtime.artefacts.addresses import checked_addresses, forbidden, system_addresses
from endcap_runtime.artefacts.errors import ArtefactError, Reason
from endcap_runtime.artefacts.urls import parse_url, redirected

FORBIDDEN_V4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/29", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
]  # fmt: skip
FORBIDDEN_V6 = [
    "::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32", "2002::/16", "fc00::/7",
    "fd00:ec2::254/128", "fe80::/10", "fec0::/10", "ff00::/8",
]  # fmt: skip
NEVER = [
    "169.254.169.254",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "224.0.0.1",
    "fe80::1",
]


def members(blocks):
    networks = [ip_network(block) for block in blocks]
    return st.sampled_from(networks).flatmap(
        lambda network: st.integers(0, network.num_addresses - 1).map(lambda offset: network[offset])
    )


def spellings(address: IPv4Address):
    """The ways in which lenient resolvers accept an IPv4 address, and IPv6 addresses that stand for it."""
    a, b, c, d = address.packed
    number = int(address)
    return st.sampled_from([
        str(address), f"{number}", f"{number:#x}", f"0{number:o}", f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{c << 8 | d}", f"{a:#x}.{b:#x}.{c:#x}.{d:#x}", f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a:#x}.{number & 0xFFFFFF}", f"{address}.", f"[::ffff:{address}]",
        f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]",
        f"[64:ff9b::{address}]", f"[0:0:0:0:0:ffff:{a:02x}{b:02x}:{c:02x}{d:02x}]",
    ])  # fmt: skip


def reach(host: str, *, listed: bool = False):
    url = parse_url(f"http://{host}/model.txt")
    return checked_addresses(url.host, url.port, listed=listed, resolve=system_addresses)


@given(members(FORBIDDEN_V4).flatmap(spellings))
def test_no_spelling_of_a_forbidden_ipv4_address_is_reached(host):
    with pytest.raises(ArtefactError) as caught:
        reach(host)
    assert caught.value.reason is Reason.REFUSED


@given(members(FORBIDDEN_V6))
def test_no_forbidden_ipv6_address_is_reached(address):
    with pytest.raises(ArtefactError) as caught:
        reach(f"[{address}]")
    assert caught.value.reason is Reason.REFUSED


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_an_ipv4_address_is_judged_the_same_in_its_ipv6_forms(address):
    verdict = forbidden(str(address), listed=False)
    assert forbidden(f"::ffff:{address}", listed=False) == verdict
    assert (
        forbidden(str(IPv6Address(int(ip_network("64:ff9b::/96")[0]) + int(address))), listed=False)
        == verdict
    )


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "172.32.0.1", "100.128.0.1"]
)
def test_public_addresses_are_allowed(address):
    assert forbidden(address, listed=False) is None


@pytest.mark.parametrize(
    "address", ["10.96.0.10", "127.0.0.1", "192.168.1.1", "fd12::1", "::1", "100.64.0.1"]
)
def test_private_addresses_are_allowed_for_hosts_on_the_platforms_list_only(address):
    assert forbidden(address, listed=True) is None
    assert forbidden(address, listed=False) is not None


@pytest.mark.parametrize("address", [*NEVER, *(f"::ffff:{address}" for address in NEVER if "." in address)])
def test_metadata_and_link_local_addresses_are_refused_even_for_listed_hosts(address):
    assert forbidden(address, listed=True) is not None


def test_one_forbidden_address_among_public_ones_refuses_the_host():
    with pytest.raises(ArtefactError, match="private") as caught:
        checked_addresses("models.example", 443, listed=False, resolve=lambda *_: ["1.1.1.1", "10.0.0.1"])
    assert caught.value.reason is Reason.REFUSED


@pytest.mark.parametrize("host", ["localhost", "localhost.", "LOCALHOST", "ip6-localhost"])
def test_names_of_this_machine_are_refused(host):
    with pytest.raises(ArtefactError):
        reach(host)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://user:secret@models.example/m.txt", "secretRef"),
        ("http://models.example@169.254.169.254/m.txt", "credentials"),
        ("http://models.example\\@169.254.169.254/", "backslashes"),
        ("http://models.example:22/m.txt", "port"),
        ("http://models.example:0/m.txt", "port"),
        ("http://models.example:99999/m.txt", "port"),
        ("http://models.example:x/m.txt", "port"),
        ("http:///m.txt", "no host"),
        ("http://%6cocalhost/m.txt", "not a DNS name"),
        ("http://１２７.0.0.1/m.txt", "ASCII"),
        ("http://models.example/m .txt", "spaces"),
        ("http://models.example/m\r\nHost: x", "spaces"),
        ("http://[fe80::1%25eth0]/m.txt", "interface"),
        ("http://[::1/m.txt", "malformed"),
        ("http://-models.example/m.txt", "not a DNS name"),
        ("http://models..example/m.txt", "not a DNS name"),
        ("gopher://models.example/m.txt", "scheme"),
        ("//models.example/m.txt", "scheme"),
    ],
)
def test_urls_that_only_a_mistake_or_an_attack_would_write_are_refused(uri, said):
    with pytest.raises(ArtefactError, match=said) as caught:
        parse_url(uri)
    assert caught.value.reason is Reason.REFUSED
    assert "secret@" not in caught.value.message


def test_a_redirect_is_never_followed_from_https_down_to_http():
    url = parse_url("https://models.example/m.txt")
    assert redirected(url, "/other.txt?x=1").text == "https://models.example/other.txt?x=1"
    with pytest.raises(ArtefactError, match="from https to http"):
        redirected(url, "http://models.example/m.txt")


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://models.example/m", "data:text/plain,x"])
def test_a_redirect_to_another_scheme_is_refused(location):
    with pytest.raises(ArtefactError, match="scheme"):
        redirected(parse_url("http://models.example/m.txt"), location)
