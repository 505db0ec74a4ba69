# SPDX-License-Identifier: Apache-2.0
"""`endcap experiment promote`, `abort` and `approve`: what a person decides is a field of the spec, so a command writes
just that field, of just the object that it looked at, and says what follows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from endcap_cli.cluster import Cluster, Refused
from endcap_cli.experiment.known import standing_of
from endcap_cli.experiment.source import Source, cluster_of, of_cluster
from endcap_cli.experiment.standing import FINAL
from endcap_cli.references import EXPERIMENT
from endcap_cli.terminal import CommandError, complain, say
from endcap_cli.workspace import Name


@dataclass(frozen=True)
class Decision:
    """`field` of the spec becomes `value`; `follows` tells what that brings."""

    field: str
    value: Any
    follows: str


def run_promote(arguments: argparse.Namespace) -> int:
    return _decide(arguments, lambda source: promotion(source, arguments.variant))


def run_abort(arguments: argparse.Namespace) -> int:
    return _decide(arguments, lambda source: abortion(source, arguments.reason))


def run_approve(arguments: argparse.Namespace) -> int:
    return _decide(arguments, lambda source: approval(source, arguments.coverage))


def _decide(arguments: argparse.Namespace, decided: Callable[[Source], Decision]) -> int:
    with cluster_of(arguments) as (cluster, namespace):
        source = of_cluster(cluster, Name(namespace, arguments.name))
        decision = decided(source)
        shown = f"spec.{decision.field}: {json.dumps(decision.value)}"
        if not arguments.yes:
            complain(f"would set {shown}; {decision.follows}")
            raise CommandError("nothing was done: say --yes to do it", status=2)
        try:
            cluster.edit(EXPERIMENT, *source.name, patch(source, decision))
        except Refused as refused:
            raise _refused(refused, source, cluster) from None
    say(f"set {shown} of Experiment {source.name.name} in {namespace}")
    complain(decision.follows)
    complain("an Experiment that is kept in Git needs the same line there, or its next sync takes this back")
    return 0


def _refused(refused: Refused, source: Source, cluster: Cluster) -> CommandError:
    """The API server does not say that it was a test of the patch that failed."""
    now = cluster.get(EXPERIMENT, *source.name) or {"metadata": {}}
    if now["metadata"].get("resourceVersion") != _version(source):
        return CommandError("it has changed meanwhile, so nothing was done: look at it again")
    return CommandError(f"the cluster refuses, so nothing was done: {refused}")


def _version(source: Source) -> str:
    return str((source.live or {})["metadata"]["resourceVersion"])


def patch(source: Source, decision: Decision) -> list[Mapping[str, Any]]:
    """Of the object that was looked at, and of no other."""
    path = f"/spec/{decision.field.replace('.', '/')}"
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": _version(source)},
        {"op": "add", "path": path, "value": decision.value},
    ]


def promotion(source: Source, variant: str | None) -> Decision:
    """Of a variant, or of the one that it must be. Raises CommandError."""
    _refuse_ended(source)
    if source.spec.mode == "shadow":
        raise CommandError(
            "a shadow has no winner: change the step's model in the graph, and delete the shadow"
        )
    chosen = variant or _only(source)
    treatments = [each.name for each in source.spec.treatments]
    if chosen == source.spec.baseline.name:
        raise CommandError(
            f"{chosen} is the baseline: endcap experiment abort gives it to everyone", status=2
        )
    if chosen not in treatments:
        raise CommandError(f"no variant {chosen}: choose one of {', '.join(treatments)}", status=2)
    return Decision("decision", {"promote": chosen}, _follows_promotion(source, chosen))


def _follows_promotion(source: Source, variant: str) -> str:
    everyone = f"everyone gets {variant} within seconds"
    if source.spec.promotion == "patch":
        return f"{everyone}, and the operator patches graph {source.spec.graph}"
    return (
        f"{everyone}; graph {source.spec.graph} is yours to change: the patch will be in the status "
        f"(endcap experiment status {source.name.name})"
    )


def _only(source: Source) -> str:
    """The winner that waits for approval, or the only treatment there is."""
    standing = standing_of(source)
    word, variant = standing.verdict
    if word == "Better" and variant:
        return variant
    treatments = [each.name for each in source.spec.treatments]
    if len(treatments) > 1:
        raise CommandError(f"none has won yet: choose with --variant: {', '.join(treatments)}", status=2)
    return treatments[0]


def abortion(source: Source, reason: str) -> Decision:
    _refuse_ended(source)
    if source.spec.mode == "shadow":
        raise CommandError(
            f"a shadow changes nothing, so delete it: kubectl delete experiment {source.name.name}"
        )
    if not reason.strip():
        raise CommandError("--reason: is empty: say why, for those who read it later", status=2)
    return Decision("decision", {"abort": reason}, "everyone gets the baseline within seconds, for good")


def approval(source: Source, coverage: int) -> Decision:
    _refuse_ended(source)
    ramp = source.spec.ramp
    waiting = [step.coverage for step in ramp.steps if step.approval] if ramp else []
    if ramp is None or not waiting:
        raise CommandError("no step of its ramp waits for approval: nothing to approve", status=2)
    if coverage not in waiting:
        raise CommandError(
            f"--coverage {coverage}: no step that waits: choose one of {', '.join(map(str, waiting))}",
            status=2,
        )
    if ramp.approved and ramp.approved >= coverage:
        raise CommandError(f"approved up to {ramp.approved}% already")
    follows = (
        f"beyond {coverage}% the ramp goes on by itself as soon as hold and units of the step are reached"
    )
    return Decision("ramp.approved", coverage, follows)


def _refuse_ended(source: Source) -> None:
    phase = source.status.get("phase")
    if phase in FINAL:
        raise CommandError(f"{source.name.name} is over ({phase}): create another Experiment")
