# SPDX-License-Identifier: Apache-2.0
"""When the figures of an experiment are asked for: every interval of its analysis, and not with each reconciliation.

The first look after a start comes at once; what the one before it found is in the experiment's record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from endcap_api.experiment_config import experiment_id
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_operator.asking import Pages
from endcap_operator.keys import Key
from endcap_operator.plan.facts import Reading, Resource
from endcap_operator.plan.pods import Pod


@dataclass(frozen=True)
class Looks:
    """`at` remembers when each experiment was looked at, in the loop's time."""

    pages: Pages
    at: dict[Key, float] = field(default_factory=dict)

    async def look(
        self, resource: Resource, spec: ExperimentSpec, routers: Sequence[Pod], ingest: Sequence[Pod]
    ) -> tuple[Reading | None, float]:
        """What there is to analyse, if it is time; and the seconds until it is time again."""
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
