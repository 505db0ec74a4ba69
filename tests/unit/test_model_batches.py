# SPDX-License-Identifier: Apache-2.0
"""One bad row costs its own request alone, and rows that nobody waits for are not predicted."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap_api.v1alpha1.values import Column
from endcap_runtime.model.batch import QUICK_SECONDS, SLOW_SECONDS, Batches, Place
from endcap_runtime.model.failures import Expired, ModelFailed
from endcap_runtime.model.job import Job, join, part
from endcap_runtime.model.predictor import Predictor

SCORE = [Column(name="score", type="number")]


def predictor(model, *, preprocess=None, postprocess=None, phases=None):
    return Predictor(
        model=model,
        preprocess=preprocess,
        postprocess=postprocess,
        outputs=SCORE,
        takes_matrix=preprocess is None and postprocess is None,
        observe=lambda phase, seconds: (phases if phases is not None else []).append(phase),
    )


def doubled(matrix):
    """Fails on the rows of anybody who sends 13."""
    if (matrix == 13).any():
        raise RuntimeError("secret of the model")
    return {"score": matrix[:, 0] * 2}


def job(*values, deadline=None):
    return Job(np.array(values, dtype=float).reshape(-1, 1), len(values), deadline, "r")


def batches(model):
    return Batches(predictor(model), Place(only_calculates=True), lambda rows: None)


@given(st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=4), min_size=1, max_size=8))
async def test_each_job_gets_what_it_would_get_alone(sent):
    results = await batches(doubled)([job(*values) for values in sent])
    for values, result in zip(sent, results, strict=True):
        if 13 in values:
            assert isinstance(result, ModelFailed)
        else:
            assert result["score"].tolist() == [value * 2 for value in values]


async def test_a_failure_tells_the_phase_and_nothing_of_the_inside():
    (failed,) = await batches(doubled)([job(13)])
    assert failed.phase == "predict"
    assert str(failed) == "The model failed on these rows."


async def test_expired_jobs_are_not_predicted():
    seen = []

    def model(matrix):
        seen.extend(matrix[:, 0].tolist())
        return doubled(matrix)

    past, future = time.monotonic() - 1, time.monotonic() + 60
    results = await batches(model)([job(1, deadline=past), job(2, deadline=future), job(3, deadline=past)])
    assert [type(result) for result in results] == [Expired, dict, Expired]
    assert seen == [2]


async def test_a_batch_of_expired_jobs_calls_nothing():
    results = await batches(None)([job(1, deadline=time.monotonic() - 1)])
    assert [type(result) for result in results] == [Expired]


@pytest.mark.parametrize("columns", [True, False])
def test_joined_rows_come_apart_again(columns):
    jobs = [job(1.0, 2.0), job(3.0), job(4.0, 5.0, 6.0)]
    if columns:
        jobs = [each._replace(inputs={"a": each.inputs[:, 0], "b": each.inputs.tolist()}) for each in jobs]
        joined = join(jobs)
        assert joined["b"] == [[v] for v in (1, 2, 3, 4, 5, 6)]
        scores = joined["a"]
    else:
        scores = join(jobs)[:, 0]
    assert [p["score"].tolist() for p in part({"score": scores}, jobs)] == [[1, 2], [3], [4, 5, 6]]


def test_hooks_run_around_the_model_and_are_timed_apart():
    phases = []
    whole = predictor(
        lambda columns: {"score": columns["a"] + columns["b"]},
        preprocess=lambda columns: columns | {"b": columns["a"] * 10},
        postprocess=lambda outputs, columns: {"score": outputs["score"] - columns["a"]},
        phases=phases,
    )
    assert whole({"a": np.array([1.0, 2.0])}, 2)["score"].tolist() == [10.0, 20.0]
    assert phases == ["preprocess", "predict", "postprocess"]


def broken(*_):
    raise KeyError("/etc/secret")


@pytest.mark.parametrize(
    ("changes", "phase", "words"),
    [
        ({"preprocess": broken}, "preprocess", "The preprocess hook failed"),
        ({"preprocess": lambda columns: None}, "preprocess", "The preprocess hook answered wrongly"),
        ({"postprocess": broken}, "postprocess", "The postprocess hook failed"),
        ({"postprocess": lambda outputs, columns: {}}, "postprocess", "output score is missing"),
    ],
)
def test_a_hook_fails_on_its_own(changes, phase, words):
    whole = predictor(lambda columns: {"score": columns["a"]}, **changes)
    with pytest.raises(ModelFailed, match=words) as failed:
        whole({"a": np.array([1.0])}, 1)
    assert failed.value.phase == phase
    assert "secret" not in str(failed.value)


def test_a_hook_cannot_change_what_the_next_one_sees():
    def greedy(columns):
        taken = columns.pop("a")
        return {"b": taken}

    whole = predictor(
        lambda columns: {"score": columns["b"]},
        preprocess=greedy,
        postprocess=lambda outputs, columns: {"score": outputs["score"] + columns["a"]},
    )
    assert whole({"a": np.array([1.0])}, 1)["score"].tolist() == [2.0]


def test_a_hook_may_change_its_columns_in_place_even_those_of_a_binary_tensor():
    def in_place(columns):
        columns["a"] += 1
        return columns

    whole = predictor(
        lambda columns: {"score": columns["a"]},
        preprocess=in_place,
        postprocess=lambda outputs, columns: {"score": outputs["score"] * 10 + columns["a"]},
    )
    sent = np.frombuffer(np.array([1.0, 2.0]).tobytes())
    assert whole({"a": sent}, 2)["score"].tolist() == [21.0, 32.0]


def test_a_quick_model_runs_in_the_loop_and_a_slow_one_in_a_thread():
    place, between = Place(only_calculates=True), (QUICK_SECONDS + SLOW_SECONDS) / 2
    seen = [place.inline]
    for seconds in (between, QUICK_SECONDS / 10, between, SLOW_SECONDS * 2, between):
        for _ in range(50):
            place.observe(seconds)
        seen.append(place.inline)
    assert seen == [False, False, True, True, False, False]


def test_python_of_the_artefact_always_has_the_thread():
    place = Place(only_calculates=False)
    for _ in range(50):
        place.observe(QUICK_SECONDS / 10)
    assert not place.inline
