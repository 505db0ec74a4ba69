# SPDX-License-Identifier: Apache-2.0
"""Preprocess, predict, postprocess: each timed apart and failing on its own.

Every choice (framework, hooks, matrix or columns) is made once, when the model is loaded.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from endcap_api.runtime_config import ModelConfig
from endcap_api.v1alpha1.values import Column
from endcap_runtime.model import python_model
from endcap_runtime.model.artefact import model_file
from endcap_runtime.model.failures import ModelFailed, Phase
from endcap_runtime.model.hooks import function
from endcap_runtime.model.job import Inputs, Matrix
from endcap_runtime.model.outputs import InvalidOutputs, typed
from endcap_runtime.termination import StartFailed
from endcap_runtime.wire.cells import Columns, stack

Call = Callable[..., Any]
Observe = Callable[[Phase, float], None]
NUMERIC = frozenset({"number", "integer", "boolean"})


class MatrixModel(Protocol):
    """A framework's model over float64 [N, K]; `width` is K and `names` the columns, where it knows them."""

    width: int | None
    names: list[str] | None

    def predict(self, matrix: Matrix) -> Any: ...


class Predictor(NamedTuple):
    """The whole way from checked inputs to checked outputs, for N rows at a time.

    `takes_matrix` says that inputs are wanted as a matrix [N, K] at once, because nothing reads them by name.
    """

    model: Call
    preprocess: Call | None
    postprocess: Call | None
    outputs: Sequence[Column]
    takes_matrix: bool
    observe: Observe

    def __call__(self, inputs: Inputs, rows: int) -> Columns:
        """Raises ModelFailed with the phase that failed."""
        seen = inputs if self.takes_matrix else _copy(inputs)
        if self.preprocess is not None:
            with self._phase("preprocess"):
                seen = _columns(self.preprocess(seen))
        with self._phase("predict"):
            answer = self.model(seen)
            if self.postprocess is None:
                return typed(self.outputs, answer, rows)
        with self._phase("postprocess"):
            return typed(self.outputs, self.postprocess(answer, _copy(inputs)), rows)

    @contextmanager
    def _phase(self, phase: Phase) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        except InvalidOutputs as error:
            raise ModelFailed(phase, f"The {_WORDS[phase]} answered wrongly: {error}.") from error
        except Exception as error:
            raise ModelFailed(phase, f"The {_WORDS[phase]} failed on these rows.") from error
        finally:
            self.observe(phase, time.perf_counter() - started)


_WORDS: Mapping[Phase, str] = {
    "preprocess": "preprocess hook", "predict": "model", "postprocess": "postprocess hook",
}  # fmt: skip


def _copy(inputs: Inputs) -> dict[str, Any]:
    """Columns that Python of the artefact may change in place; only a model without any takes a matrix."""
    return {name: copy.copy(values) for name, values in dict(inputs).items()}


def _columns(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, Mapping):
        raise InvalidOutputs("the answer is not a mapping of columns by name")
    return dict(answer)


def load(config: ModelConfig, directory: Path, observe: Observe) -> Predictor:
    """Loads the model and its hooks; raises StartFailed."""
    hooks = (config.preprocess, config.postprocess)
    takes_matrix = only_calculates(config) and config.features is None  # which are joined by name
    model = _model(config, directory, takes_matrix=takes_matrix)  # before the hooks, which may start threads
    preprocess, postprocess = (_hook(name, directory) for name in hooks)
    return Predictor(model, preprocess, postprocess, config.outputs, takes_matrix, observe)


def only_calculates(config: ModelConfig) -> bool:
    """Whether no Python of the artefact runs: then nothing waits."""
    return config.framework != "python" and config.preprocess is None and config.postprocess is None


def _hook(name: str | None, directory: Path) -> Call | None:
    return None if name is None else function(name, directory, "HookLoadFailed")


def _model(config: ModelConfig, directory: Path, *, takes_matrix: bool) -> Call:
    if config.framework == "python":
        if config.entry_point is None:
            raise StartFailed("ModelLoadFailed", "framework python needs model.entryPoint, e.g. basket:load")
        return python_model.load(config.entry_point, directory)
    model = _matrix_model(config, directory)
    if config.preprocess is None:
        _check_width(config, model)
    output = config.outputs[0].name
    if takes_matrix:
        return lambda matrix: {output: model.predict(matrix)}
    return lambda columns: {output: model.predict(_stacked(columns, model.width))}


def _matrix_model(config: ModelConfig, directory: Path) -> MatrixModel:
    path = model_file(config.framework, directory)
    if config.framework == "lightgbm":
        from endcap_runtime.model.lightgbm_model import LightGBMModel  # noqa: PLC0415 each image has one framework

        return LightGBMModel(path)
    from endcap_runtime.model.sklearn_model import SklearnModel  # noqa: PLC0415

    return SklearnModel(path, allow_pickle=config.artefact.allow_pickle)


def _check_width(config: ModelConfig, model: MatrixModel) -> None:
    names = [
        column.name for column in (*config.inputs, *(config.features.columns if config.features else ()))
    ]
    if model.width is not None and model.width != len(names):
        message = f"the model takes {model.width} features, but {len(names)} inputs are declared: {', '.join(names)}"
        raise StartFailed("ModelLoadFailed", message)
    if model.names is not None and set(model.names) == set(names) and model.names != names:
        message = (
            f"the inputs are declared in another order than the model was fitted: {', '.join(model.names)}"
        )
        raise StartFailed("ModelLoadFailed", message)


def _stacked(columns: Mapping[str, Any], width: int | None) -> Matrix:
    """The columns that preprocess left, side by side in its order."""
    for name, values in columns.items():
        if np.asarray(values).dtype.kind not in "fiub":
            raise InvalidOutputs(f"column {name} reaches the model as text or arrays, but it takes numbers")
    if width is not None and width != len(columns):
        raise InvalidOutputs(f"{len(columns)} columns reach the model, but it takes {width}")
    return stack(columns)
