# SPDX-License-Identifier: Apache-2.0
"""Fetches models and catalogues: the one way into a pod for bytes that Endcap did not make itself.

`fetch(source, into, policy)` is all there is to it; a `Policy` comes from the platform, a `Source` from an
author. `python -m endcap_runtime.artefacts` is the init container of a model pod.
"""

from endcap_runtime.artefacts.errors import ArtefactError, Reason
from endcap_runtime.artefacts.fetching import Fetched, fetch
from endcap_runtime.artefacts.policy import Limits, Policy, Source

__all__ = ["ArtefactError", "Fetched", "Limits", "Policy", "Reason", "Source", "fetch"]
