# SPDX-License-Identifier: Apache-2.0
"""When the figures of an experiment are asked for: every interval of its analysis, and not with each reconciliation.

The first look after a start comes at once; what the one before it found is in the experiment's record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from endcap_api.experiment_config import experiment_id
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_operator.asking import Pages
from endcap_operator.keys import Key, Manifest
from endcap_operator.plan.experiment.plan import LOOKED_AT
from endcap_operator.plan.experiment.record import Record
from endcap_operator.plan.facts import Measured, Reading, Resource
from endcap_operator.plan.pods import Pod


@dataclass(frozen=True)
class Looks:
    """`at` remembers when each experiment was looked at, in the loop's time."""

    pages: Pages
    at: dict[Key, float] = field(default_factory=dict)

    async def measured(
        self,
        resource: Resource,
        status: Manifest,
        record: Record | None,
        routers: Sequence[Pod],
        ingest: Sequence[Pod],
    ) -> Measured:
        """What pods say: before it begins whether it would be counted, and while it runs its figures, if it is time.

        An edit does not wait for a store that is slow to answer: it is acted on first.
        """
        served = await asyncio.gather(*map(self.pages.serving, routers))
        found = Measured(tuple(replace(pod, serving=s) for pod, s in zip(routers, served, strict=True)))
        spec = resource.spec
        if not isinstance(spec, ExperimentSpec):
            return found
        if record is None or record.phase == "Pending":
            identity = experiment_id(resource.identity.uid)
            return replace(found, counted=spec.store is None or await self.pages.count(identity, ingest))
        if record.phase not in LOOKED_AT:
            return found
        if status.get("observedGeneration") != resource.generation:
            return replace(found, look_in=0.0)
        reading, look_in = await self._look(resource, spec, routers, ingest)
        return replace(found, reading=reading, look_in=look_in)

    async def _look(
        self, resource: Resource, spec: ExperimentSpec, routers: Sequence[Pod], ingest: Sequence[Pod]
    ) -> tuple[Reading | None, float]:
        """The figures, if it is time; and the seconds until it is time again."""
        interval, now = milliseconds(spec.analysis.interval) / 1000, asyncio.get_running_loop().time()
        remaining = self.at.get(resource.key, float("-inf")) + interval - now
        if remaining > 0:
            return None, remaining
        self.at[resource.key] = now
        sums, pages = await asyncio.gather(
            self.pages.sums(experiment_id(resource.identity.uid), ingest),
            asyncio.gather(*(self.pages.experiments(pod) for pod in routers if pod.ready)),
        )
        return Reading(sums, tuple(page for page in pages if page)), interval

    def forget(self, key: Key) -> None:
        self.at.pop(key, None)
