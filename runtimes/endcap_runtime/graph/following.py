# SPDX-License-Identifier: Apache-2.0
"""What experiments do behind the answers of a process: tell who met what, and ask shadows."""

from __future__ import annotations

from collections.abc import Sequence

from endcap_runtime.graph.after import ANSWERED, After
from endcap_runtime.graph.compile import Pipeline
from endcap_runtime.graph.exposures import Exposures, Passed
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.shadow import Shadows


def following(exposures: Exposures, shadows: Shadows) -> Sequence[After]:
    def tell(pipeline: Pipeline, query: Query, seconds: float, status: int) -> None:  # noqa: ARG001
        """Whatever the status: a variant that fails, or that drives shoppers away, must not lose them by that."""
        exposures.tell(pipeline.exposures, query, Passed(query.call.deadline - pipeline.deadline, seconds))

    def ask(pipeline: Pipeline, query: Query, seconds: float, status: int) -> None:  # noqa: ARG001
        if status == ANSWERED:
            shadows.ask(pipeline.shadow, query)

    return tell, ask
