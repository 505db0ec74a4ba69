# SPDX-License-Identifier: Apache-2.0
"""Which steps an expression reads, from the dotted names in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from endcap_api.v1alpha1.steps import Step


@dataclass(frozen=True, slots=True)
class Forming:
    """The names of the steps that ask a model once a request, by their spelling in expressions."""

    models: Mapping[str, str]
    recalls: Mapping[str, str]

    @classmethod
    def of(cls, steps: Iterable[Step]) -> Forming:
        steps = list(steps)
        return cls(
            {step.identifier: step.name for step in steps if step.model},
            {step.identifier: step.name for step in steps if step.recall},
        )

    def models_read(self, reads: Collection[str]) -> tuple[str, ...]:
        """Model steps whose outputs are read: `intent.name` reads `intent`."""
        heads = {name.split(".")[0] for name in reads}
        return tuple(name for identifier, name in self.models.items() if identifier in heads)

    def recalls_read(self, reads: Collection[str]) -> tuple[str, ...]:
        """Recall steps whose columns are read: `candidate.together.score` reads `together`."""
        return tuple(name for identifier, name in self.recalls.items() if columns_read(identifier, reads))


def columns_read(identifier: str, reads: Collection[str]) -> frozenset[str]:
    """The outputs of a recall step that expressions read."""
    prefix = f"candidate.{identifier}."
    return frozenset(name.removeprefix(prefix) for name in reads if name.startswith(prefix))
