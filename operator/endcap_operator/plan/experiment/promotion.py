# SPDX-License-Identifier: Apache-2.0
"""What makes a winner the graph's own: a patch that a person runs, or the operator where the spec says so.

The patch tests what it replaces, so that it can be run twice and never overwrites what the graph's author changed.
"""

from __future__ import annotations

import json
from typing import Any

from endcap_api.experiment_config import overlaid
from endcap_api.v1alpha1.steps import Step
from endcap_operator.keys import Key
from endcap_operator.plan.experiment.record import Record
from endcap_operator.plan.experiment.situation import Situation
from endcap_operator.plan.facts import Patch

_LONGEST = 1024


def graph_patch(situation: Situation, record: Record) -> Patch | None:
    """None where the winner fits its step no more; where the graph names it already, the promotion is over."""
    step, graph = situation.step, situation.graph
    winner = next((v for v in situation.spec.variants if v.name == record.everyone), None)
    if record.phase != "Promoting" or step is None or graph is None or winner is None or situation.problems:
        return None
    wanted = overlaid(step, winner)
    where = f"/spec/steps/{graph.steps.index(step)}"
    key = Key("InferenceGraph", situation.resource.identity.namespace, situation.spec.graph)
    return Patch(key, _operations(where, step, wanted))


def _operations(where: str, step: Step, wanted: Step) -> tuple[dict[str, Any], ...]:
    before, after = step.dump()[step.kind], wanted.dump()[step.kind]
    at = f"{where}/{step.kind}"
    return (
        {"op": "test", "path": f"{where}/name", "value": step.name},
        *({"op": "test", "path": f"{at}/{name}", "value": value} for name, value in _changed(before, after)),
        *({"op": "remove", "path": f"{at}/{name}"} for name in before if name not in after),
        *(
            {"op": "replace" if name in before else "add", "path": f"{at}/{name}", "value": value}
            for name, value in _changed(after, before)
        ),
    )


def _changed(of: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in of.items() if other.get(name) != value]


def recommended(situation: Situation, record: Record) -> str | None:
    """The command that takes the next step, where a person has to."""
    name, namespace = situation.name, situation.resource.identity.namespace
    if record.phase == "AwaitingApproval" and record.verdict and record.verdict.variant:
        decision = json.dumps({"spec": {"decision": {"promote": record.verdict.variant}}})
        return f"kubectl patch experiments {name} -n {namespace} --type=merge -p '{decision}'"
    patch = graph_patch(situation, record)
    if patch is None:
        return None
    return _command(patch) if len(_command(patch)) <= _LONGEST else _in_words(situation, record)


def _command(patch: Patch) -> str:
    operations = json.dumps(patch.operations, ensure_ascii=False).replace("'", "'\\''")
    return f"kubectl patch inferencegraphs {patch.key.name} -n {patch.key.namespace} --type=json -p '{operations}'"


def _in_words(situation: Situation, record: Record) -> str:
    spec = situation.spec
    return f"In graph {spec.graph} write step {spec.step} as variant {record.everyone} of this experiment does it."
