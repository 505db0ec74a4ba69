# SPDX-License-Identifier: Apache-2.0
"""Free ports, from below the range that the kernel hands to outgoing connections.

A port from that range could be taken by any connection between our look and the daemon's bind; several
light clusters that start at the same time choose at random, so that they do not choose the same.
"""

import random
import socket

LOWEST, HIGHEST = 20_000, 30_000


def free(count: int, address: str = "127.0.0.1") -> list[int]:
    """`count` distinct ports that nothing listens on at `address` now."""
    found: list[int] = []
    while len(found) < count:
        port = random.randint(LOWEST, HIGHEST)  # noqa: S311 - nothing to guess
        if port not in found and _bindable(address, port):
            found.append(port)
    return found


def _bindable(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def listening(address: str, port: int) -> bool:
    """Whether something accepts connections at `address:port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0
