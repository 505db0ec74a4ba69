# SPDX-License-Identifier: Apache-2.0
"""Features in Redis: one read a lookup, one atomic function an event."""

from endcap_runtime.features.store.faults import StoreUnavailable
from endcap_runtime.features.store.redis import FAILURES, FeatureRedis, Outcome

__all__ = ["FAILURES", "FeatureRedis", "Outcome", "StoreUnavailable"]
