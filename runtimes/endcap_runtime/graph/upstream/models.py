# SPDX-License-Identifier: Apache-2.0
"""Models as functions from columns to columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from endcap_api.runtime_config import ModelContract


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks, and until when: `deadline` is in seconds of the event loop's clock."""

    deadline: float
    request_id: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """Outputs by name, as the contract declares them, and the model that gave them, e.g. `basket-ranker@4`.

    A scalar column is an array [rows]: float64, int64, bool, or object of str. An array column is a list of such
    arrays, one a row. `calls` counts the upstream calls that it took (0 when it shared another's).
    """

    columns: Mapping[str, Any]
    model: str


class Model:
    """One model under one contract; made once a revision, shared by all requests."""

    async def predict(self, columns: Mapping[str, Any], rows: int, call: Call) -> Prediction:
        """Outputs [rows] for inputs [rows].

        columns: each input of the contract: an array or list [rows]; for arrays a list of `rows` lists.
        Raises UpstreamFailed, whatever went wrong upstream; ValueError when columns are not the contract's.
        """
        raise NotImplementedError


class Models:
    """All upstream models of a process: connections outlive revisions of the graph."""

    def model(self, name: str, contract: ModelContract) -> Model:
        """The model of a name under a contract."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close every connection; calls in flight fail."""
        raise NotImplementedError
