# SPDX-License-Identifier: Apache-2.0
"""Calls to models: pooled connections, one deadline, concurrent calls coalesced, every failure of one kind."""

from endcap_runtime.graph.upstream.calls import Call, Prediction
from endcap_runtime.graph.upstream.failures import UpstreamFailed
from endcap_runtime.graph.upstream.models import Model, Models

__all__ = ["Call", "Model", "Models", "Prediction", "UpstreamFailed"]
