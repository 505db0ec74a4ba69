# SPDX-License-Identifier: Apache-2.0
"""A folder whose graph ranks by live features, as a person writes it, and events for it."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from builders import resource
from local_runs import PATIENCE, Folder, Run

# Before anything is sold, in the order of the recall; who is looked up as well, and makes no difference.
SOLD = "double(candidate.item.sold_1h) + candidate.together.score + 0.0 * double(who.buys_1h)"
_PRODUCT = {"name": "product", "keys": [{"name": "product_id"}]}
_CUSTOMER = {"name": "customer", "keys": [{"name": "customer_id"}]}


def sales() -> dict[str, Any]:
    """What is sold, a product: tiles of a minute."""
    spec = {
        "entity": _PRODUCT,
        "source": {"stream": {"storage": "tiles", "lateness": "1h", "tiles": {"1h": "1m"}}},
        "features": [
            {
                "name": "sold",
                "type": "integer",
                "description": "How often it was sold",
                "event": "purchase",
                "aggregation": "count",
                "windows": ["1h"],
            },
            {
                "name": "revenue",
                "type": "number",
                "event": "purchase",
                "field": "amount",
                "aggregation": "sum",
                "windows": ["1h"],
                "minimum": 0,
                "maximum": 500,
            },
        ],
    }
    return resource("FeatureView", "sales", spec)


def habits() -> dict[str, Any]:
    """What a customer does: every event."""
    buys = {"event": "purchase", "windows": ["1h"]}
    spec = {
        "entity": _CUSTOMER,
        "source": {"stream": {"lateness": "1h"}},
        "features": [
            {"name": "buys", "type": "integer", "aggregation": "count", **buys},
            {"name": "dearest", "type": "number", "aggregation": "max", "field": "amount", **buys},
            {"name": "usual", "type": "number", "aggregation": "mean", "field": "amount", **buys},
            {"name": "channel", "type": "string", "aggregation": "last", "field": "channel", **buys},
            {"name": "products", "type": "integer", "aggregation": "distinct", "field": "product_id", **buys},
            {
                "name": "favourites",
                "type": "array",
                "items": {"type": "string"},
                "maxItems": 3,
                "aggregation": "top",
                "field": "product_id",
                **buys,
            },
        ],
    }
    return resource("FeatureView", "habits", spec)


def facts() -> dict[str, Any]:
    spec = {
        "entity": _PRODUCT,
        "source": {"precomputed": {}},
        "features": [
            {"name": "margin", "type": "number", "default": 0.1},
            {"name": "brand", "type": "string", "default": "none"},
        ],
    }
    return resource("FeatureView", "facts", spec)


def shown() -> dict[str, Any]:
    """What a customer was shown last; the graph writes it back."""
    spec = {
        "entity": _CUSTOMER,
        "source": {"derived": {"model": "together"}},
        "features": [{"name": "last_products", "type": "array", "items": {"type": "string"}, "maxItems": 5}],
    }
    return resource("FeatureView", "shown", spec)


def bundles() -> list[dict[str, Any]]:
    product = [
        {"view": "sales", "feature": "sold", "window": "1h"},
        {"view": "sales", "feature": "revenue", "window": "1h", "name": "turnover"},
        {"view": "facts", "feature": "margin"},
    ]
    customer = [
        {"view": "habits", "feature": name, "window": "1h"}
        for name in ("buys", "dearest", "usual", "channel", "products", "favourites")
    ]
    return [
        resource("FeatureBundle", "product", {"description": "How a product sells", "features": product}),
        resource(
            "FeatureBundle",
            "customer",
            {"features": [*customer, {"view": "shown", "feature": "last_products"}]},
        ),
    ]


class FeatureFolder(Folder):
    """The folder of local_runs, whose graph ranks by what is sold just now."""

    def __init__(self, path: Path, *, make: bool = False) -> None:
        if make:
            path.mkdir()
        self.views = {view["metadata"]["name"]: view for view in (sales(), habits(), facts(), shown())}
        self.bundles = {bundle["metadata"]["name"]: bundle for bundle in bundles()}
        self.stores = [resource("FeatureStore", "default", {"servingLog": {}})]
        super().__init__(path)
        spec = self.graph["spec"]
        spec["api"]["request"]["customer"] = {"type": "string", "default": "7"}
        spec["steps"][2:3] = [
            {
                "name": "who",
                "features": {"bundle": "customer", "entity": "request.customer"},
                "timeout": "1s",
            },
            {"name": "item", "features": {"bundle": "product", "entity": "candidate.id"}, "timeout": "1s"},
            {
                "name": "rank",
                "rank": {
                    "by": "double(candidate.item.sold_1h) + candidate.together.score + 0.0 * double(who.buys_1h)"
                },
            },
        ]
        spec["writeBack"] = [
            {"view": "shown", "entity": "request.customer", "features": {"last_products": "answer.products"}}
        ]
        self.write()

    def write(self) -> None:
        super().write()
        features = [*self.stores, *self.views.values(), *self.bundles.values()]
        (self.path / "features.yaml").write_text(yaml.safe_dump_all(features))


def purchase(number: int, product: str, when: datetime, **data: Any) -> dict[str, Any]:
    """A CloudEvent; its id is its number."""
    known = {"product_id": product, "customer_id": "7", "amount": 9.99, "channel": "web"}
    return {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "/shop",
        "type": "purchase",
        "time": when.isoformat(timespec="milliseconds"),
        "data": {**known, **data},
    }


def purchases(count: int, product: str = "2", step: float = 1.0) -> Iterator[dict[str, Any]]:
    """The last of them a minute ago, so that none is in the future of anybody."""
    end = datetime.now(UTC) - timedelta(minutes=1)
    for number in range(count):
        yield purchase(number, product, end - timedelta(seconds=step * (count - 1 - number)))


def written(path: Path, *events: Mapping[str, Any] | str) -> Path:
    """A file of events; a text is a line as it is."""
    lines = (event if isinstance(event, str) else json.dumps(event) for event in events)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


class FeatureRun(Run):
    """An `endcap run` that takes events on a port of its own, and commands that talk to it."""

    def __init__(self, folder: Folder, scratch: Path, *arguments: str) -> None:
        self.folder, self.events_port = folder, _free_port()
        super().__init__(folder, scratch, "--events-port", str(self.events_port), *arguments)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.events_port}"

    def command(self, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """`endcap …` against the store of this run."""
        command = [sys.executable, "-m", "endcap_cli", *arguments, "--url", self.url]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert status is None or done.returncode == status, (done.stdout, done.stderr, self.logs())
        return done

    def logs(self) -> str:
        """The last lines that its processes wrote."""
        logs = sorted(self.said.parent.glob("endcap-run-*/*.log"))
        tails = itertools.chain.from_iterable((str(log), *log.read_text().splitlines()[-8:]) for log in logs)
        return "\n".join((self.said.read_text(), *tails))


def until(found: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not wanted(value := found()):
        assert time.monotonic() < deadline, value
        time.sleep(0.1)
    return value


def features(run: FeatureRun, bundle: str, **keys: str) -> dict[str, Any]:
    """The values of one entity."""
    pairs = [f"{name}={value}" for name, value in keys.items()]
    found = json.loads(run.command("features", "get", bundle, *pairs, "-o", "json").stdout)
    return {name: values[0] for name, values in found["columns"].items()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
