# SPDX-License-Identifier: Apache-2.0
"""The feature sidecar of the pod, as a graph and a model ask it. What is spoken: docs/contract-features.md."""

from endcap_runtime.graph.sidecar.answers import Found
from endcap_runtime.graph.sidecar.client import SOCKET, Sidecar
from endcap_runtime.graph.sidecar.questions import Keys, Question, askable
from endcap_runtime.graph.sidecar.sending import Records

__all__ = ["SOCKET", "Found", "Keys", "Question", "Records", "Sidecar", "askable"]
