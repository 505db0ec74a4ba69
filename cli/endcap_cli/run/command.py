# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    pass
