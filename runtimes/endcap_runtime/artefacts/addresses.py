# SPDX-License-Identifier: Apache-2.0
"""Which addresses a fetch may reach.

An author's URI is a request that our pod makes for them, so it must not reach what they could not reach
themselves: the cluster's API, other tenants, the cloud's metadata service. The decision is taken on the
addresses a name resolves to, never on the name, and the caller connects to exactly the addresses checked
here: a name that resolves differently a moment later changes nothing.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from endcap_runtime.artefacts.errors import refused, unreachable

Resolver: TypeAlias = Callable[[str, int], Sequence[str]]
_Address: TypeAlias = IPv4Address | IPv6Address

# Never, not even for a host on the platform's list: link-local and what clouds use for metadata and agents.
_NEVER: tuple[IPv4Network | IPv6Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "224.0.0.0/3",
        "::/128",
        "fd00:ec2::/32",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_TUNNELS = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))
_NAT64 = IPv6Network("64:ff9b::/96")
_LONGEST_NAME = 253
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def check_spelling(host: str) -> str:
    """The host in lower case, if it is a plain DNS name, a dotted quad or an IPv6 address.

    Names that end in a number are what lenient resolvers read as addresses (`0x7f.1`, `2130706433`,
    `0177.0.0.1`): they have no honest use.
    """
    name = host.lower().removesuffix(".")
    if ":" in name:
        return _ipv6(name)
    labels = name.split(".")
    if len(name) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise refused(f"host {host!r} is not a DNS name: letters, digits, '-' and '.' (punycode for others)")
    if _NUMERIC.fullmatch(labels[-1]):
        _dotted_quad(name)
    return name


def _dotted_quad(name: str) -> None:
    try:
        IPv4Address(name)
    except ValueError:
        raise refused(
            f"host {name!r} is an odd spelling of an address: write the name, or a dotted quad"
        ) from None


def _ipv6(name: str) -> str:
    try:
        return str(IPv6Address(name)) if "%" not in name else _no_zone(name)
    except ValueError:
        raise refused(f"host {name!r} is not an IPv6 address") from None


def _no_zone(name: str) -> str:
    raise refused(f"host {name!r} names a network interface; write the name of a server")


def system_addresses(host: str, port: int) -> Sequence[str]:
    """The addresses of a host by this machine's resolver, in its order of preference."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise unreachable(f"host {host!r} does not resolve: {error.strerror or 'no answer'}") from None
    except UnicodeError:
        raise refused(f"host {host!r} is not a DNS name") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def checked_addresses(host: str, port: int, *, listed: bool, resolve: Resolver) -> Sequence[str]:
    """The addresses of a host, resolved once; one forbidden address among them refuses the host.

    `listed` says that the platform lets this host be inside the cluster.
    """
    addresses = resolve(host, port)
    if not addresses:
        raise unreachable(f"host {host!r} has no address")
    for address in addresses:
        _check(host, address, listed=listed)
    return addresses


def _check(host: str, address: str, *, listed: bool) -> None:
    what = forbidden(address, listed=listed)
    if what is not None:
        remedy = (
            "" if listed else "; a host inside the cluster must be on the platform's list of allowed hosts"
        )
        raise refused(f"host {host!r} is {what}, which artefacts may not come from{remedy}")


def forbidden(address: str, *, listed: bool) -> str | None:
    """What is wrong with an address, in words, or None if an artefact may come from it."""
    try:
        embedded = _embedded(ip_address(address))
    except ValueError:
        return "not an address"
    if any(embedded in network for network in _NEVER if network.version == embedded.version):
        return "a link-local, metadata, multicast or reserved address"
    if listed or _is_public(embedded):
        return None
    return "a private, loopback, shared or reserved address"


def _embedded(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_public(address: _Address) -> bool:
    if isinstance(address, IPv6Address) and (
        address not in _GLOBAL_V6 or any(address in tunnel for tunnel in _TUNNELS)
    ):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
