# SPDX-License-Identifier: Apache-2.0
"""Which variables each step of a graph may read, and what feeds each input of a model.

Shared by the checks (is the graph sound?) and the engine (what does it run?), so that the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from endcap_api.expressions import Environment, cel_type
from endcap_api.runtime_config import ModelContract
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.steps import Step
from endcap_api.v1alpha1.values import Column

Models = Mapping[str, ModelContract]
SCORE = "score"
FORMING = ("model", "recall")


def item_output(outputs: Sequence[Column]) -> Column | None:
    """The output of a recall model that holds the items: the first array of product."""
    return next((c for c in outputs if c.items is not None and c.items.type == "product"), None)


def element_type(column: Column) -> str:
    """The CEL type that an output of a recall model has for one candidate."""
    return cel_type(Column(name=column.name, type=column.items.type) if column.items else column)


def request_variables(spec: InferenceGraphSpec) -> dict[str, str]:
    return {f"request.{name}": cel_type(field) for name, field in spec.api.request.items()}


def model_variables(spec: InferenceGraphSpec, models: Models, before: Step) -> dict[str, str]:
    """Outputs of the model steps that are declared before a step."""
    found = {}
    for step in spec.steps[: spec.steps.index(before)]:
        if step.model and step.model.model in models:
            for output in models[step.model.model].outputs:
                found[f"{step.identifier}.{output.name}"] = cel_type(output)
    return found


def recall_variables(step: Step, models: Models) -> dict[str, str]:
    """Columns that a recall step gives to candidates: every output but the item itself."""
    if not step.recall or step.recall.model not in models:
        return {}
    outputs = models[step.recall.model].outputs
    item = item_output(outputs)
    return {f"candidate.{step.identifier}.{c.name}": element_type(c) for c in outputs if c != item}


def candidate_variables(spec: InferenceGraphSpec, models: Models) -> dict[str, str]:
    found = {f"candidate.{column.name}": cel_type(column) for column in spec.catalogue.columns}
    found[f"candidate.{SCORE}"] = "double"
    for step in spec.steps:
        found |= recall_variables(step, models)
    return found


def environment(spec: InferenceGraphSpec, models: Models, step: Step) -> Environment:
    """What the expressions of a step may read."""
    variables = request_variables(spec) | model_variables(spec, models, step)
    if step.kind in ("rank", "filter", "limit"):
        variables |= candidate_variables(spec, models)
    return Environment(variables)


def request_environment(spec: InferenceGraphSpec) -> Environment:
    """What the inputs of a fallback model may read."""
    return Environment(request_variables(spec))


def input_sources(
    contract: ModelContract, written: Mapping[str, str] | None, known: Environment
) -> dict[str, str | None]:
    """The expression that feeds each input of a model; None where nothing does."""
    return {column.name: _source(column.name, written or {}, known) for column in contract.inputs}


def _source(name: str, written: Mapping[str, str], known: Environment) -> str | None:
    if name in written:
        return written[name]
    defaults = (f"candidate.{name}", f"request.{name}")
    return next((source for source in defaults if source in known.variables), None)


def written_inputs(step: Step) -> Mapping[str, str]:
    called = step.model or step.recall or step.rank
    return (called.inputs or {}) if called else {}
