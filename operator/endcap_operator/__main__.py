# SPDX-License-Identifier: Apache-2.0
"""The operator's process: `python -m endcap_operator`."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack
from itertools import chain, repeat

import aiohttp

from endcap_operator import handlers, logs
from endcap_operator.apply import Writer
from endcap_operator.asking import Pages
from endcap_operator.cluster import Cluster, ClusterError, UnreachableError, connected
from endcap_operator.control import Control
from endcap_operator.events import Recorder
from endcap_operator.looks import Looks
from endcap_operator.metrics import Metrics, pages
from endcap_operator.observe import Observer
from endcap_operator.plan.entry import resource_of
from endcap_operator.plan.references import named_by
from endcap_operator.reconcile import Reconciliation
from endcap_operator.settings import Settings, SettingsError
from endcap_operator.store import Store
from endcap_operator.workqueue import WorkQueue

FIRST_RESYNC_SECONDS = (2.0, 20.0)
START_RETRY_SECONDS = 2.0
_log = logging.getLogger("endcap.operator")


async def run(settings: Settings) -> None:
    """Serve until the process is told to end."""
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(connected(metrics))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        control = _control(settings, cluster, http, metrics)
        tasks: list[asyncio.Task[None]] = []
        checks = {
            "/healthz": lambda: not any(task.done() for task in tasks),
            "/readyz": lambda: bool(tasks) and not any(task.done() for task in tasks),
        }
        await stack.enter_async_context(pages(metrics, checks, *settings.health))
        await _know_the_cluster(control, cluster, settings.namespaces)
        # kopf cancels every task that is younger than itself when it ends: ours come first.
        tasks += [asyncio.create_task(control.work()) for _ in range(settings.workers)]
        tasks.append(asyncio.create_task(_resync(control, cluster, settings)))
        try:
            await handlers.inform(_noticed(control), settings.namespaces, metrics)
        finally:
            await _end(tasks)


def _control(settings: Settings, cluster: Cluster, http: aiohttp.ClientSession, metrics: Metrics) -> Control:
    store, pages_of_pods = Store(lambda manifest: named_by(resource_of(manifest))), Pages(http)
    reconciliation = Reconciliation(
        store=store,
        observer=Observer(store, cluster, pages_of_pods, Looks(pages_of_pods)),
        writer=Writer(store, cluster),
        recorder=Recorder(cluster, socket.gethostname()),
        platform=settings.platform,
        metrics=metrics,
    )
    control = Control(store, WorkQueue(metrics.queue_seconds.observe), reconciliation, metrics)
    metrics.observe(lambda: len(control.queue), control.objects)
    return control


def _noticed(control: Control) -> handlers.Noticed:
    def noticed(manifest: dict[str, object], deleted: bool) -> None:  # noqa: FBT001 - kopf's home calls it
        control.noticed(manifest, deleted=deleted)

    return noticed


async def _know_the_cluster(control: Control, cluster: Cluster, namespaces: Iterable[str]) -> None:
    """Wait until everything can be listed: acting on half a picture would write nonsense."""
    while True:
        try:
            await control.compare(cluster, namespaces)
        except (ClusterError, UnreachableError) as error:
            hint = (
                "apply the CRDs of the chart"
                if isinstance(error, ClusterError) and error.gone
                else str(error)
            )
            _log.warning("the cluster cannot be listed yet", extra={"error": str(error), "remedy": hint})
            await asyncio.sleep(START_RETRY_SECONDS)
        else:
            _log.info("the cluster is known", extra={"resources": len(control.queue)})
            return


async def _resync(control: Control, cluster: Cluster, settings: Settings) -> None:
    """The first comparisons come soon: what was deleted between our list and the informer's is seen by neither."""
    for pause in chain(FIRST_RESYNC_SECONDS, repeat(settings.resync_seconds)):
        await asyncio.sleep(min(pause, settings.resync_seconds))
        try:
            await control.compare(cluster, settings.namespaces)
        except (ClusterError, UnreachableError) as error:
            _log.warning("resync failed", extra={"error": str(error)})


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main() -> int:
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure(settings.log_level)
    asyncio.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
