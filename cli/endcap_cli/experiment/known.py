# SPDX-License-Identifier: Apache-2.0
"""What the cluster knows of an experiment, as screen and page show it."""

from __future__ import annotations

from endcap_cli.experiment.source import Source
from endcap_cli.experiment.standing import Standing


def standing_of(source: Source) -> Standing:
    return Standing(source.name, source.spec, source.status)
