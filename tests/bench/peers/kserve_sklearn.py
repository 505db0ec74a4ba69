# SPDX-License-Identifier: Apache-2.0
"""The same model on KServe's Python server, in the way of its scikit-learn server: load by joblib, predict rows."""

import os

import joblib
from kserve import Model, ModelServer
from kserve.utils.utils import get_predict_input, get_predict_response


class SklearnModel(Model):
    def __init__(self, name):
        super().__init__(name)
        self.model = joblib.load(os.environ["BENCH_MODEL"])
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        rows = get_predict_input(payload)
        return get_predict_response(payload, self.model.predict_proba(rows)[:, 1], self.name)


if __name__ == "__main__":
    port = int(os.environ["BENCH_PORT"])
    ModelServer(http_port=port, enable_grpc=False, workers=1, access_log_format=None).start(
        [SklearnModel("ranker")]
    )
