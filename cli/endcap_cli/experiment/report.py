# SPDX-License-Identifier: Apache-2.0
"""`endcap experiment report`: writes the page."""

from __future__ import annotations

import argparse

from endcap_cli.experiment.known import coverage_of, full_ranges, standing_of
from endcap_cli.experiment.page import page
from endcap_cli.experiment.source import source_of
from endcap_cli.terminal import CommandError, say


def run(arguments: argparse.Namespace) -> int:
    source = source_of(arguments)
    if source.live is None:
        raise CommandError(
            "a file has no figures: give the name of an Experiment, with --local of a run", status=2
        )
    text = page(standing_of(source), full_ranges(source), coverage_of(source))
    try:
        arguments.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"--output {arguments.output}: {error.strerror or error}") from None
    say(f"wrote {arguments.output}, {len(text.encode()) / 1024:.0f} KiB")
    return 0
