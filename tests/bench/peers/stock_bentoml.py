# SPDX-License-Identifier: Apache-2.0
"""The same model as BentoML's documentation serves one: a sync method, and a batchable one."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1)
class Stock:
    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCH_MODEL"])

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(rows)[:, 1]

    @bentoml.api(batchable=True)
    def batched(self, rows: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(rows)[:, 1]
