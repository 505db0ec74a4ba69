# SPDX-License-Identifier: Apache-2.0
"""One question to a model server, asked again on another connection while that can help.

A prediction is idempotent, so a killed pod need not cost a request: a dial that was refused or a connection that was
lost goes to another replica, as long as the deadline allows. A slow answer is not asked for twice: that would double
the load on a server that has too much of it already.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from endcap_runtime.graph.upstream.connection import Connection, Garbled, Lost, Response, TooLarge
from endcap_runtime.graph.upstream.failures import UpstreamFailed
from endcap_runtime.graph.upstream.pool import Pool

# A reset of a fresh connection, or within an answer, is the server's doing: so often it may do it.
_MOST_RESETS = 3
# With so many refusals in a row and no answer between, nobody is there: each call dials once, and finds out when
# somebody is.
_NOBODY = 16
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05
# A dial within a cluster takes less than a millisecond; one that hangs goes to a dead address, and the next may not.
_DIAL_SECONDS = 0.1

Compose = Callable[[int], bytes]  # a request, given what is left of its deadline in whole milliseconds


async def ask(pool: Pool, compose: Compose, deadline: float) -> Response:
    """The response, whatever its status. Raises UpstreamFailed.

    deadline: in seconds of the event loop's clock.
    """
    try:
        return await _asked(pool, compose, deadline)
    except TimeoutError:
        raise UpstreamFailed("timeout", "did not answer in time") from None
    except Garbled:
        raise UpstreamFailed("malformed", "did not answer in HTTP/1.1") from None
    except TooLarge:
        raise UpstreamFailed("too_large", "answered with more bytes than are accepted") from None


async def _asked(pool: Pool, compose: Compose, deadline: float) -> Response:
    resets = 0
    while resets < _MOST_RESETS:
        try:
            connection = pool.idle() or await _dialled(pool, deadline)
            return await _exchanged(pool, connection, compose, deadline)
        except Lost as lost:
            resets += not lost.stale
    raise UpstreamFailed("reset", "closed the connection before it had answered")


async def _exchanged(pool: Pool, connection: Connection, compose: Compose, deadline: float) -> Response:
    left = int((deadline - asyncio.get_running_loop().time()) * 1000)
    if left < 1:
        pool.put_back(connection)
        raise TimeoutError
    try:
        response = await connection.exchange(compose(left), deadline)
    except TimeoutError:
        pool.suspect(before=deadline - left / 1000)
        raise
    pool.put_back(connection)
    return response


async def _dialled(pool: Pool, deadline: float) -> Connection:
    """A new connection, dialled until somebody takes the call."""
    refused, pause = False, _FIRST_PAUSE
    while (left := deadline - asyncio.get_running_loop().time()) > 0:
        try:
            async with asyncio.timeout(min(left, _DIAL_SECONDS)):
                return await pool.dial()
        except TimeoutError:
            continue
        except OSError:
            refused = True
        if pool.refusals >= _NOBODY:
            break
        await asyncio.sleep(min(left, pause * random.uniform(0.5, 1.0)))  # noqa: S311 (no secret)
        pause = min(2 * pause, _LONGEST_PAUSE)
    if refused:
        raise UpstreamFailed("refused", "refused the connection")
    raise TimeoutError
