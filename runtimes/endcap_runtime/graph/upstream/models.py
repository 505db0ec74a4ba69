# SPDX-License-Identifier: Apache-2.0
"""Models as functions from columns to columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from endcap_api.runtime_config import ModelContract
from endcap_runtime.graph.upstream.calls import Call, Prediction
from endcap_runtime.graph.upstream.coalescing import Coalescer, Member
from endcap_runtime.graph.upstream.codec import codec_of, decoded, stacked, typed
from endcap_runtime.graph.upstream.connection import Response
from endcap_runtime.graph.upstream.exchange import ask
from endcap_runtime.graph.upstream.pool import Origin, Pool
from endcap_runtime.wire.cells import Columns

_LABEL = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")


class Model:
    """One model under one contract; made once a revision, shared by all requests.

    Calls that arrive while another is on its way, in one turn of the event loop, go upstream as one; nothing waits when
    nothing is on its way.
    """

    def __init__(self, name: str, contract: ModelContract, pool: Pool) -> None:
        self.name = name
        self._contract = contract
        self._pool = pool
        self._codec = codec_of(name, contract)
        address = urlsplit(contract.url)
        path = address.path.rstrip("/") + self._codec.path
        self._head = f"POST {path} HTTP/1.1\r\nhost: {address.netloc}\r\n".encode()
        self._coalescer = Coalescer(self._send)

    async def predict(self, columns: Mapping[str, Any], rows: int, call: Call) -> Prediction:
        """Outputs [rows] for inputs [rows].

        columns: each input of the contract: an array or list [rows]; for arrays a list of `rows` lists.
        Raises UpstreamFailed, whatever went wrong upstream; ValueError when columns are not the contract's.
        """
        given = typed(self._contract.inputs, columns, rows)
        return await self._coalescer.call(Member(given, rows, call))

    async def _send(self, members: Sequence[Member]) -> Prediction:
        """The rows of all members in one call, under the latest of their deadlines and the name of the first."""
        inputs = self._contract.inputs
        columns = (
            members[0].columns if len(members) == 1 else stacked(inputs, [each.columns for each in members])
        )
        deadline = max(each.call.deadline for each in members)
        response = await self._asked(columns, members[0].call, deadline)
        outputs = decoded(self._codec, response, sum(each.rows for each in members))
        return Prediction(outputs, _label(response) or self.name)

    async def _asked(self, columns: Columns, call: Call, deadline: float) -> Response:
        body = self._codec.encode(columns)
        fixed = b"%s%s%scontent-length: %d\r\n" % (self._head, body.headers, call.headers, len(body.content))

        def compose(left: int) -> bytes:
            return b"%sendcap-timeout-ms: %d\r\n\r\n%s" % (fixed, left, body.content)

        return await ask(self._pool, compose, deadline)


def _label(response: Response) -> str | None:
    """What the server says it is, if that may stand in an answer."""
    label = response.headers.get(b"endcap-model", b"")
    return label.decode() if _LABEL.fullmatch(label) else None


class Models:
    """All upstream models of a process: connections outlive revisions of the graph.

    max_response: largest response in bytes. max_age: of a connection, in seconds.
    """

    def __init__(self, max_response: int = 8 << 20, max_age: float = 30.0) -> None:
        self._max_response = max_response
        self._max_age = max_age
        self._pools: dict[Origin, Pool] = {}

    def model(self, name: str, contract: ModelContract) -> Model:
        """The model of a name under a contract. Raises ValueError when its URL is not http."""
        origin = _origin(contract.url)
        if origin not in self._pools:
            self._pools[origin] = Pool(origin, self._max_response, self._max_age)
        return Model(name, contract, self._pools[origin])

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return sum(map(len, self._pools.values()))

    async def aclose(self) -> None:
        """Close every connection; calls in flight fail."""
        for pool in self._pools.values():
            pool.close()


def _origin(url: str) -> Origin:
    address = urlsplit(url)
    if address.scheme != "http" or address.hostname is None:
        raise ValueError("the URL of a model is http://host[:port]")
    return Origin(address.hostname, address.port or 80)
