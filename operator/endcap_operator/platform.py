# SPDX-License-Identifier: Apache-2.0
"""What the platform decides for every pod, and no user's resource can change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Platform:
    """Images by what runs in them (`python`, `sklearn`, `lightgbm`, `graph`, `redis`) and what pods may reach."""

    images: Mapping[str, str]
    pull_policy: str = "IfNotPresent"
    s3_endpoint: str | None = None
    allowed_hosts: tuple[str, ...] = field(default=())
