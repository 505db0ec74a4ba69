# SPDX-License-Identifier: Apache-2.0
"""The feature stores of a run: a Redis where the store is embedded, and one ingest process each."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from endcap_api.features_config import FeaturesConfig, StoreConfig
from endcap_api.v1alpha1.featurestore import FeatureStoreSpec
from endcap_cli.run import redis
from endcap_cli.run.children import Children
from endcap_cli.run.environment import SERVE_INGEST, features_environment
from endcap_cli.run.layouts import Layout, changed, layouts
from endcap_cli.run.process import Child, StartFailed, is_free, rejected, serving
from endcap_cli.run.sidecar import write
from endcap_cli.run.told import store_here
from endcap_cli.terminal import CommandError, complain
from endcap_cli.workspace import Name

SWAP_SECONDS = 10.0
POLL_SECONDS = 0.05


@dataclass
class Store:
    """`redis` is ours where the store is embedded; `config` is where it is; `layouts` are those served since then."""

    config: StoreConfig
    redis: Child | None
    ingest: Child | None = None
    told: FeaturesConfig | None = None
    layouts: set[Layout] = field(default_factory=set)

    @property
    def children(self) -> list[Child]:
        return [child for child in (self.redis, self.ingest) if child]


@dataclass
class Stores:
    """The first store takes events on `port`, further ones on the ports after it."""

    children: Children
    port: int
    known: dict[Name, Store] = field(default_factory=dict)

    @property
    def processes(self) -> set[Child]:
        return {child for store in self.known.values() for child in store.children}

    def url(self, name: Name) -> str:
        """Where a store takes events."""
        ingest = self.known[name].ingest
        return ingest.url if ingest else ""

    def ingest(self, name: Name) -> Child | None:
        return self.known[name].ingest if name in self.known else None

    def urls(self, namespace: str) -> dict[str, str]:
        """Where the stores of a namespace take events and exposures, by name."""
        return {name.name: self.url(name) for name in self.known if name.namespace == namespace}

    def ports(self, specs: Mapping[Name, FeatureStoreSpec]) -> set[int]:
        """Where they will take events; raises CommandError unless all are free."""
        return {self._free(self.port + number) for number in range(len(specs))}

    def start(self, specs: Mapping[Name, FeatureStoreSpec]) -> None:
        """What is new among them, as far as its Redis; `tell` starts its ingest. Raises StartFailed or Stopped."""
        for name, spec in specs.items():
            known = self.known.get(name)
            if known is None or (known.redis is None) != (spec.redis is not None):
                self.known[name] = self._started(name, spec, known)
            else:
                url = known.config.url if known.redis else None
                known.config = store_here(*name, spec, url)

    def _started(self, name: Name, spec: FeatureStoreSpec, before: Store | None) -> Store:
        """A store that changes between a Redis of its own and another keeps its ingest."""
        ingest, told = (before.ingest, before.told) if before else (None, None)
        if before and before.redis:
            self.children.drop([before.redis])
        if spec.redis is not None:
            return Store(store_here(*name, spec, None), None, ingest, told)
        child = self.children.new(f"redis of store {name.name}")
        folder = self.children.places.scratch / f"redis-{name.namespace}-{name.name}"
        try:
            url = redis.start(child, folder, self.children.stopping)
        except CommandError:
            self.children.drop([child])
            raise
        return Store(store_here(*name, spec, url), child, ingest, told)

    def within(self, namespace: str) -> dict[str, StoreConfig]:
        return {name.name: one.config for name, one in self.known.items() if name.namespace == namespace}

    def tell(self, name: Name, config: FeaturesConfig) -> None:
        """Have the ingest of a store serve a configuration; raises StartFailed or Stopped."""
        store = self.known[name]
        if store.told == config:
            return
        directory = self.children.places.ingest(name)
        write(config, directory)
        if store.ingest is None:
            store.ingest = self._ingest(name)
            _doubt(name, store)
        elif refused := self._swapped(store.ingest, config):
            raise StartFailed(f"store {name.name}: {refused}")
        _take(store, config)

    def _ingest(self, name: Name) -> Child:
        begun, places = time.monotonic(), self.children.places
        child = self.children.new(f"ingest of store {name.name}", self._free(self._next_port()))
        environment = features_environment(places.ingest(name), places, child.files, child.port)
        try:
            child.start(SERVE_INGEST, {**environment, "ENDCAP_UNIT_KEY_DIR": str(places.key("unitKey"))})
            child.serve(self.children.stopping)
        except StartFailed:
            self.children.drop([child])
            raise
        complain(f"  {child.label:<38} ready   {time.monotonic() - begun:.1f} s")
        return child

    def _next_port(self) -> int:
        return self.port + sum(store.ingest is not None for store in self.known.values())

    def _free(self, port: int) -> int:
        if not is_free(port):
            raise CommandError(f"port {port} is in use: give another with --events-port")
        return port

    def _swapped(self, ingest: Child, config: FeaturesConfig) -> str | None:
        """Why the ingest refuses its configuration; None when it serves it."""
        deadline = time.monotonic() + SWAP_SECONDS
        with ingest.client() as client:
            while time.monotonic() < deadline and not self.children.stopping.wait(POLL_SECONDS):
                if serving(client) == config.revision:
                    return None
                if refused := rejected(client):
                    return refused
        return "it does not answer"

    def keep(self, specs: Mapping[Name, FeatureStoreSpec]) -> None:
        """End those that are no longer there."""
        for name in set(self.known) - set(specs):
            complain(f"store {name.name}: no longer in the files, ended")
            self.children.drop(reversed(self.known.pop(name).children))


def _take(store: Store, config: FeaturesConfig) -> None:
    """What the ingest serves from now on; says which views begin anew by it."""
    for line in changed(store.told, config, store.layouts) if store.told else ():
        complain(line)
    store.layouts |= set(layouts(config).values())
    store.told = config


def _doubt(name: Name, store: Store) -> None:
    """Say so when a Redis that is not ours cannot be asked: nothing else would, since lookups have defaults then."""
    if store.redis or store.ingest is None or _answers(store.ingest):
        return
    remedy = "check the address, and the password in ENDCAP_SECRETS_DIR where it has one"
    log = store.ingest.files.log
    complain(
        f"store {name.name}: {store.config.url} cannot be asked: {remedy}; the log of its ingest is {log}"
    )


def _answers(ingest: Child) -> bool:
    with ingest.client() as client:
        try:
            return client.get("/v1/views").is_success
        except httpx.HTTPError:
            return False
