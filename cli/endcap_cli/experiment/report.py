# SPDX-License-Identifier: Apache-2.0
"""`endcap experiment report`: writes the page."""

from __future__ import annotations

import argparse

from endcap_cli.experiment.known import coverage_of, full_ranges, standing_of
from endcap_cli.experiment.page import page
from endcap_cli.experiment.source import cluster_of, of_cluster
from endcap_cli.terminal import CommandError, say
from endcap_cli.workspace import Name


def run(arguments: argparse.Namespace) -> int:
    with cluster_of(arguments) as (cluster, namespace):
        source = of_cluster(cluster, Name(namespace, arguments.name))
    text = page(standing_of(source), full_ranges(source), coverage_of(source))
    try:
        arguments.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"--output {arguments.output}: {error.strerror or error}") from None
    say(f"wrote {arguments.output}, {len(text.encode()) / 1024:.0f} KiB")
    return 0
