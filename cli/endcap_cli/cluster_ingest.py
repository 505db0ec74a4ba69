# SPDX-License-Identifier: Apache-2.0
"""The ingest pods of a store in a cluster, through its API server.

The API server's own proxy rather than a port that is forwarded: it needs no second process and no right to open
connections into pods, and what was answered is what arrives here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from endcap_cli.cluster import Answered, connected, current_namespace
from endcap_cli.ingest import Answer, Ingest, Send
from endcap_cli.terminal import CommandError

PORT = 8080


@contextmanager
def ingest_in_cluster(arguments: argparse.Namespace) -> Iterator[Ingest]:
    namespace = arguments.namespace or current_namespace(arguments.kubeconfig, arguments.context)
    if not namespace:
        raise CommandError(
            "no feature store: start endcap run and say --local, give its address with --url, or a cluster "
            "with --kubeconfig",
            status=2,
        )
    with connected(arguments.kubeconfig, arguments.context) as cluster:
        service = f"{arguments.store}-ingest"
        yield Ingest(f"{service} in {namespace}", _proxied(cluster.proxy(namespace, service, PORT), service))


def _proxied(raw: Callable[..., Answered], service: str) -> Send:
    def send(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = Answer(*raw(method, path, headers, body))
        told = answer.json
        if isinstance(told, dict) and told.get("kind") == "Status":  # the API server's own words
            remedy = "is the FeatureStore Ready? name another with --store, another namespace with -n"
            raise CommandError(f"{service}: {told.get('message', answer.status)}: {remedy}")
        return answer

    return send
