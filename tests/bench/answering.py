# SPDX-License-Identifier: Apache-2.0
"""Model servers that cost almost nothing: they answer any number of rows from prepared bytes.

One process on one port plays every model of the basket graph, so that what is measured is the engine in front of it.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import httptools
import numpy as np
import orjson
import uvloop

TOGETHER, AGAIN, POPULAR = 200, 50, 20


def keys(start: int, count: int) -> list[str]:
    return [str(number) for number in range(start, start + count)]


def recalled(start: int, count: int, **more: list[Any]) -> dict[str, bytes]:
    """The list of one row of each output, as JSON."""
    score = np.linspace(0.9, 0.1, count).round(6).tolist()
    columns = {"item": keys(start, count), "score": score, **more}
    return {name: orjson.dumps(values) for name, values in columns.items()}


ANSWERS = {
    "cart": recalled(100, TOGETHER, because=keys(1, TOGETHER), baskets=list(range(200, 200 + TOGETHER))),
    "customer": recalled(1000, AGAIN, times=list(range(1, AGAIN + 1))),
    "store": recalled(500, POPULAR),
}


class Answering(asyncio.Protocol):
    """Reads a request, counts its rows, and writes as many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._parser = httptools.HttpRequestParser(self)
        self._begin()

    def _begin(self) -> None:
        self._url, self._head, self._body = b"", 0, b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name == b"inference-header-content-length":
            self._head = int(value)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._url.endswith(b"/infer"):
            self._scores()
        else:
            self._columns()
        self._begin()

    def _columns(self) -> None:
        ((name, values),) = orjson.loads(self._body)["columns"].items()
        rows = len(values)
        columns = b",".join(
            b'"%s":[%s]' % (n.encode(), b",".join([v] * rows)) for n, v in ANSWERS[name].items()
        )
        self._write(b"", b'{"model":"m","version":"1","columns":{%s}}' % columns)

    def _scores(self) -> None:
        rows = orjson.loads(self._body[: self._head])["inputs"][0]["shape"][0]
        output = {
            "name": "score",
            "datatype": "FP64",
            "shape": [rows],
            "parameters": {"binary_data_size": rows * 8},
        }
        head = orjson.dumps({"model_name": "m", "outputs": [output]})
        scores = np.sin(np.arange(rows, dtype=np.float64))
        self._write(b"inference-header-content-length: %d\r\n" % len(head), head + scores.tobytes())

    def _write(self, headers: bytes, body: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nendcap-model: m@1\r\n%scontent-length: %d\r\n\r\n%s"
            % (headers, len(body), body)
        )


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    uvloop.run(serve(parser.parse_args().port))
