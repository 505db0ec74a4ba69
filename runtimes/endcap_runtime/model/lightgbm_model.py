# SPDX-License-Identifier: Apache-2.0
"""LightGBM from its own text format, which holds trees and runs no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm

from endcap_runtime.model.job import Matrix
from endcap_runtime.termination import StartFailed

_HEAD = b"tree\n"


class LightGBMModel:
    """`predict` takes float64 [N, K]; a ranker or regressor answers scores, a binary classifier probabilities."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            if file.read(len(_HEAD)) != _HEAD:
                raise StartFailed(
                    "ModelLoadFailed", f"{path.name} is not LightGBM text: save it by Booster.save_model"
                )
        self._booster = _load(path)
        if self._booster.num_model_per_iteration() > 1:
            raise StartFailed("ModelLoadFailed", f"{path.name} has many classes: use framework python for it")
        self.width: int | None = self._booster.num_feature()
        self.names: list[str] | None = self._booster.feature_name()

    def predict(self, matrix: Matrix) -> Any:
        return self._booster.predict(matrix, num_threads=1)


def _load(path: Path) -> lightgbm.Booster:
    try:
        return lightgbm.Booster(model_file=path)
    except lightgbm.basic.LightGBMError as error:
        raise StartFailed("ModelLoadFailed", f"LightGBM cannot read {path.name}: {error}") from error
