# SPDX-License-Identifier: Apache-2.0
"""What is served: the configuration, ready for the front to answer from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from endcap_api.runtime_config import ModelConfig
from endcap_api.v1alpha1.values import Column
from endcap_runtime.wire.tensor_columns import metadata_of


@dataclass(frozen=True)
class Served:
    """One version of one model; `takes_matrix` says in which form its inputs are wanted."""

    name: str
    version: str
    revision: str
    framework: str
    inputs: Sequence[Column]
    outputs: Sequence[Column]
    takes_matrix: bool

    @classmethod
    def of(cls, config: ModelConfig, *, takes_matrix: bool) -> Served:
        return cls(
            config.name, config.version, config.revision, config.framework, config.inputs, config.outputs,
            takes_matrix,
        )  # fmt: skip

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"

    def metadata(self) -> bytes:
        """The answer to `GET /v2/models/{name}`."""
        value: dict[str, Any] = {
            "name": self.name,
            "versions": [self.version],
            "platform": f"endcap_{self.framework}",
            "inputs": [metadata_of(column) for column in self.inputs],
            "outputs": [metadata_of(column) for column in self.outputs],
        }
        return orjson.dumps(value)

    def serving(self) -> bytes:
        """The answer to `GET /-/revision`."""
        return orjson.dumps({"serving": self.revision, "model": self.label})
