# SPDX-License-Identifier: Apache-2.0
"""A revision and the sidecar of the pod agree before requests meet the two: what a bundle means is its digest.

Both read their configuration from one ConfigMap, and neither knows when the other has. So a new revision waits until
the sidecar serves the bundles that it means, while the old one answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from time import monotonic

from endcap_runtime.graph.loading import Refused
from endcap_runtime.graph.serving import Rejected, Served
from endcap_runtime.graph.sidecar import Sidecar
from endcap_runtime.graph.upstream import UpstreamFailed

log = logging.getLogger("endcap.graph")

PATIENCE_SECONDS = 2.0
START_SECONDS = 5.0
_PAUSE_SECONDS = 0.1
_CALL_SECONDS = 0.5

Known = Mapping[str, Sequence[str]]


class Handshake:
    """`patience` is how long the sidecar has to catch up, `start` how long to be there at all, in seconds."""

    def __init__(
        self, sidecar: Sidecar, patience: float = PATIENCE_SECONDS, start: float = START_SECONDS
    ) -> None:
        self._sidecar, self._patience, self._start = sidecar, patience, start

    async def __call__(self, served: Served, *, first: bool) -> None:
        """Returns when the sidecar knows the bundles of a revision. Raises Refused, which may pass.

        first: nothing is served yet. Then a graph whose sidecar does not answer at all is served all the same: its
        lookups degrade, and that is better than no answer.
        """
        wanted = {name: each.digest for name, each in (served.pipeline.config.bundles or {}).items()}
        if not wanted:
            return
        began = monotonic()
        while True:
            known = await self._bundles()
            waited = monotonic() - began
            if known is not None and not _lacking(wanted, known):
                return
            if known is None and first and waited >= self._start:
                log.warning("The feature sidecar does not answer: lookups give defaults until it does")
                return
            if waited >= (self._start if known is None and first else self._patience):
                raise _refused(served.pipeline.revision, wanted, known)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _bundles(self) -> Known | None:
        try:
            return await self._sidecar.bundles(monotonic() + _CALL_SECONDS)
        except UpstreamFailed:
            return None


def _lacking(wanted: Mapping[str, str], known: Known) -> list[str]:
    return sorted(name for name, digest in wanted.items() if digest not in known.get(name, ()))


def _refused(revision: str, wanted: Mapping[str, str], known: Known | None) -> Refused:
    if known is None:
        message = "the feature sidecar does not answer: it is asked again"
    else:
        behind = ", ".join(_lacking(wanted, known))
        message = (
            f"the feature sidecar does not serve what this revision means by {behind}: it is asked again"
        )
    return Refused(Rejected(revision, "FeaturesUnavailable", message), passing=True)
