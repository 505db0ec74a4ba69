# SPDX-License-Identifier: Apache-2.0
"""`endcap experiment export`: an experiment as a person would keep it, with the buckets that it has."""

from __future__ import annotations

import argparse
from typing import Any

import yaml

from endcap_api.experiment_config import salt_of
from endcap_api.v1alpha1.kinds import API_VERSION
from endcap_cli.experiment.known import full_ranges
from endcap_cli.experiment.source import Source, source_of
from endcap_cli.references import EXPERIMENT
from endcap_cli.terminal import CommandError, say, say_lines


def run(arguments: argparse.Namespace) -> int:
    source = source_of(arguments)
    if source.spec.mode == "shadow":
        raise CommandError("a shadow assigns nobody, so it has no buckets: its YAML is all there is")
    if source.spec.salt is None:
        say(
            f"# Under another name, or of another step, say as well: salt: {salt_of(source.name.name, source.spec)}"
        )
    say_lines(yaml.safe_dump(exported(source), sort_keys=False, allow_unicode=True, width=100))
    return 0


def exported(source: Source) -> dict[str, Any]:
    """The manifest, without what the API server and the operator add to it."""
    ranges = full_ranges(source)
    spec = source.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    for variant in spec["variants"]:
        buckets = [str(each) for each in ranges[variant["name"]]]
        variant.pop("buckets", None)
        variant.update({"buckets": buckets} if buckets else {})
    metadata = {"name": source.name.name, "namespace": source.name.namespace}
    return {"apiVersion": API_VERSION, "kind": EXPERIMENT, "metadata": metadata, "spec": spec}
