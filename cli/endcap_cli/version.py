# SPDX-License-Identifier: Apache-2.0
"""`endcap version`."""

from __future__ import annotations

import argparse
from importlib.metadata import version

from endcap_api.v1alpha1.kinds import API_VERSION
from endcap_cli.terminal import say


def run(_: argparse.Namespace) -> int:
    say(f"endcap {version('endcap')} ({API_VERSION})")
    return 0
