# SPDX-License-Identifier: Apache-2.0
"""The model server: one model of any framework behind plain JSON and the Open Inference Protocol.

The way of a request: front → (wire) → job → batch → (features) → predictor (preprocess, model, postprocess) → (wire) →
front.
"""
