# SPDX-License-Identifier: Apache-2.0
"""scikit-learn from skops files, whose types are checked before any is made; pickles only by explicit consent.

A skops file of a few hundred bytes can ask for gigabytes, so it is first loaded in a child process with limits
of memory and time: what kills the child never reaches the server.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import sklearn
import skops.io

from endcap_runtime.model.job import Matrix
from endcap_runtime.model.trial import allowance, tried
from endcap_runtime.termination import StartFailed

_BINARY = ("negative", "positive")
_SKOPS_MAGIC = b"PK\x03\x04"

# Types of scikit-learn that skops does not trust by itself; each only holds arrays and numbers.
TRUSTED = frozenset(
    {
        "numpy.dtype",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    }
)


class SklearnModel:
    """`predict` takes float64 [N, K]: the probability of the second class of a binary classifier, else `predict`."""

    def __init__(self, path: Path, *, allow_pickle: bool) -> None:
        estimator = _load(path, allow_pickle=allow_pickle)
        binary = len(getattr(estimator, "classes_", ())) == len(_BINARY) and hasattr(
            estimator, "predict_proba"
        )
        if not hasattr(estimator, "predict"):
            raise StartFailed(
                "ModelLoadFailed", f"{path.name} holds no model but a {type(estimator).__name__}"
            )
        self._call = estimator.predict_proba if binary else estimator.predict
        self._binary = binary
        self.width: int | None = getattr(estimator, "n_features_in_", None)
        self.names: list[str] | None = _names(estimator)
        warnings.filterwarnings("ignore", message="X does not have valid feature names")

    def predict(self, matrix: Matrix) -> Any:
        # The rows have been checked already, and checking them again costs more than a small model does.
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            answer = self._call(matrix)
        if self._binary:
            return answer[:, 1]
        return answer[:, 0] if answer.shape[1:] == (1,) else answer


def _names(estimator: Any) -> list[str] | None:
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _load(path: Path, *, allow_pickle: bool) -> Any:
    with path.open("rb") as file:
        head = file.read(len(_SKOPS_MAGIC))
    if path.suffix == ".skops" and head == _SKOPS_MAGIC:
        if why := tried(lambda: load_skops(path), allowance(path)):
            raise StartFailed("ModelLoadFailed", f"a trial load of {path.name} failed: {why}")
        return load_skops(path)
    if not allow_pickle:
        remedy = (
            "save it by skops.io.dump as .skops, or set allowPickle: true for a file that you made yourself"
        )
        raise StartFailed(
            "PickleRefused", f"{path.name} is not a skops file, and a pickle runs code: {remedy}"
        )
    try:
        return joblib.load(path)
    except Exception as error:
        raise StartFailed(
            "ModelLoadFailed", f"joblib cannot load {path.name}: {type(error).__name__}"
        ) from error


def load_skops(path: Path) -> Any:
    """The estimator of a skops file; raises StartFailed that names a type which is not trusted."""
    try:
        untrusted = set(skops.io.get_untrusted_types(file=path))
        unknown = untrusted - TRUSTED
        estimator = None if unknown else skops.io.load(path, trusted=sorted(untrusted))
    except Exception as error:
        raise StartFailed(
            "ModelLoadFailed", f"skops cannot load {path.name}: {type(error).__name__}"
        ) from error
    if unknown:
        raise StartFailed("ModelLoadFailed", f"{path.name} holds {min(unknown)}, a type that is not trusted")
    return estimator
