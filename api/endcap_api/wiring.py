# SPDX-License-Identifier: Apache-2.0
"""Which variables each step of a graph may read, and what feeds each input of a model and each key of an entity.

Shared by the checks (is the graph sound?) and the engine (what does it run?), so that the two cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from endcap_api.expressions import Environment, cel_type
from endcap_api.features_config import BundleContract, ViewContract
from endcap_api.runtime_config import ModelContract
from endcap_api.v1alpha1.featureview import EntityKey
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec, WriteBack
from endcap_api.v1alpha1.steps import FeaturesStep, Step
from endcap_api.v1alpha1.values import Column

Models = Mapping[str, ModelContract]
Bundles = Mapping[str, BundleContract]
Views = Mapping[str, ViewContract]
NO_BUNDLES: Bundles = MappingProxyType({})
SCORE = "score"
FORMING = ("model", "recall")
ANSWER = MappingProxyType({"answer.products": "list(string)", "answer.scores": "list(double)"})
_CANDIDATE = re.compile(r"(?<![\w.])candidate\s*\.")
_LITERAL = re.compile(
    r"""[rR]?(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""", re.DOTALL
)


def item_output(outputs: Sequence[Column]) -> Column | None:
    """The output of a recall model that holds the items: the first array of product."""
    return next((c for c in outputs if c.items is not None and c.items.type == "product"), None)


def element_type(column: Column) -> str:
    """The CEL type that an output of a recall model has for one candidate."""
    return cel_type(Column(name=column.name, type=column.items.type) if column.items else column)


def request_variables(spec: InferenceGraphSpec) -> dict[str, str]:
    return {f"request.{name}": cel_type(field) for name, field in spec.api.request.items()}


def _steps_before(spec: InferenceGraphSpec, step: Step | None) -> Sequence[Step]:
    return spec.steps if step is None else spec.steps[: spec.steps.index(step)]


def model_variables(spec: InferenceGraphSpec, models: Models, before: Step | None = None) -> dict[str, str]:
    """Outputs of the model steps that are declared before a step, of all without one."""
    found = {}
    for step in _steps_before(spec, before):
        if step.model and step.model.model in models:
            for output in models[step.model.model].outputs:
                found[f"{step.identifier}.{output.name}"] = cel_type(output)
    return found


def recall_variables(step: Step, models: Models) -> dict[str, str]:
    """Columns that a recall step gives to candidates: every output but the item itself."""
    contract = models.get(step.recall.model or "") if step.recall else None
    if contract is None:
        return {}
    outputs = contract.outputs
    item = item_output(outputs)
    return {f"candidate.{step.identifier}.{c.name}": element_type(c) for c in outputs if c != item}


def looks_up_candidates(step: Step) -> bool:
    """Whether a features step looks each candidate up, rather than the request once."""
    return step.features is not None and any(map(_reads_candidate, key_expressions(step.features)))


def _reads_candidate(source: str) -> bool:
    """Told from the text, so that it does not hang on whether a bundle or a model exists yet."""
    return _CANDIDATE.search(_LITERAL.sub("''", source)) is not None


def key_expressions(asked: FeaturesStep | WriteBack) -> Iterable[str]:
    """The expressions that name the entity."""
    return (asked.keys or {}).values() if asked.entity is None else (asked.entity,)


def key_sources(asked: FeaturesStep | WriteBack, keys: Sequence[EntityKey]) -> dict[str, str]:
    """The expression for each key of an entity, in the order of the entity; raises KeyError for one without."""
    if asked.entity is not None:
        (only,) = keys
        return {only.name: asked.entity}
    return {key.name: (asked.keys or {})[key.name] for key in keys}


def forms(step: Step) -> bool:
    """Whether a step runs before there are candidates."""
    return step.kind in FORMING or (step.kind == "features" and not looks_up_candidates(step))


def feature_variables(
    spec: InferenceGraphSpec, bundles: Bundles, before: Step | None = None
) -> dict[str, str]:
    """Columns of the features steps that are declared before a step, all without one: by step, or by candidate."""
    found = {}
    for step in _steps_before(spec, before):
        contract = bundles.get(step.features.bundle) if step.features else None
        scope = "candidate." if looks_up_candidates(step) else ""
        for each in contract.columns if contract else ():
            found[f"{scope}{step.identifier}.{each.name}"] = cel_type(each.column)
    return found


def candidate_variables(spec: InferenceGraphSpec, models: Models) -> dict[str, str]:
    found = {f"candidate.{column.name}": cel_type(column) for column in spec.catalogue.columns}
    found[f"candidate.{SCORE}"] = "double"
    for step in spec.steps:
        found |= recall_variables(step, models)
    return found


def environment(
    spec: InferenceGraphSpec, models: Models, step: Step, bundles: Bundles | None = None
) -> Environment:
    """What the expressions of a step may read."""
    features = feature_variables(spec, bundles or NO_BUNDLES, step)
    variables = request_variables(spec) | model_variables(spec, models, step)
    variables |= {name: kind for name, kind in features.items() if not _of_candidate(name)}
    if step.kind in ("rank", "filter", "limit"):
        variables |= candidate_variables(spec, models) | features
    if step.kind == "features":
        # Not what ranks and lookups say of a candidate: all candidates are looked up together, before the first rank.
        variables |= candidate_variables(spec, models)
        del variables[f"candidate.{SCORE}"]
    return Environment(variables)


def _of_candidate(variable: str) -> bool:
    return variable.startswith("candidate.")


def write_back_environment(
    spec: InferenceGraphSpec, models: Models, bundles: Bundles | None = None
) -> Environment:
    """What writeBack may read: the request, what models and features steps said of it, and the answer."""
    return Environment(_whole_request(spec, models, bundles) | ANSWER)


def covariate_environment(
    spec: InferenceGraphSpec, models: Models, bundles: Bundles | None = None
) -> Environment:
    """What the covariate of a metric may read: the request, and what models and features steps said of it."""
    return Environment(_whole_request(spec, models, bundles))


def _whole_request(spec: InferenceGraphSpec, models: Models, bundles: Bundles | None) -> dict[str, str]:
    features = feature_variables(spec, bundles or NO_BUNDLES)
    variables = request_variables(spec) | model_variables(spec, models)
    return variables | {name: kind for name, kind in features.items() if not _of_candidate(name)}


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
