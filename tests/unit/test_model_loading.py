# SPDX-License-Identifier: Apache-2.0
"""What may be loaded, and what a person reads when it may not."""

import io
import json
import os
import pickle
import signal
import zipfile

import lightgbm
import numpy as np
import pytest
from model_servers import (
    FEATURES,
    config,
    lightgbm_artefact,
    note,
    python_artefact,
    sklearn_artefact,
    training_rows,
)

from endcap_api.runtime_config import ModelConfig
from endcap_runtime.model import predictor
from endcap_runtime.model.trial import SPARE_BYTES, allowance, tried
from endcap_runtime.termination import StartFailed

ROWS = training_rows(5)[0]


def load(directory, framework, suffix, **changes):
    value = config(framework, suffix=suffix, **changes)
    return predictor.load(ModelConfig.model_validate(value), directory, lambda *_: None)


def refusal(directory, framework, suffix, **changes):
    with pytest.raises(StartFailed) as failed:
        load(directory, framework, suffix, **changes)
    return failed.value.reason, failed.value.message


def test_lightgbm_text_answers_as_the_booster_does(tmp_path):
    booster = lightgbm_artefact(tmp_path)
    assert np.allclose(load(tmp_path, "lightgbm", ".txt")(ROWS, 5)["score"], booster.predict(ROWS))


def test_skops_answers_the_probability_of_the_second_class(tmp_path):
    estimator = sklearn_artefact(tmp_path)
    expected = estimator.predict_proba(ROWS)[:, 1]
    assert np.allclose(load(tmp_path, "sklearn", ".skops")(ROWS, 5)["score"], expected)


@pytest.mark.parametrize("name", ["RandomForestClassifier", "HistGradientBoostingRegressor", "MLPRegressor"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_common_estimators_are_of_trusted_types(tmp_path, name):
    import skops.io
    from sklearn import ensemble, neural_network

    made = getattr(ensemble, name, None) or getattr(neural_network, name)
    estimator = made().set_params(random_state=0).fit(*training_rows(60))
    skops.io.dump(estimator, note(tmp_path, "4.skops") / "4.skops")
    assert len(load(tmp_path, "sklearn", ".skops")(ROWS, 5)["score"]) == 5


def test_an_archive_holds_its_model_in_its_root(tmp_path):
    booster = lightgbm_artefact(tmp_path, "model.txt")
    note(tmp_path, None)
    assert np.allclose(load(tmp_path, "lightgbm", ".tar.gz")(ROWS, 5)["score"], booster.predict(ROWS))
    (tmp_path / "model.txt").unlink()
    assert refusal(tmp_path, "lightgbm", ".tar.gz")[0] == "ArtefactInvalid"


def test_a_directory_without_an_artefact_says_so(tmp_path):
    assert refusal(tmp_path, "lightgbm", ".txt")[0] == "ArtefactInvalid"


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["4.joblib", "4.pkl", "4.skops"])
def test_a_pickle_is_refused_and_never_runs(tmp_path, name):
    canary = tmp_path / "ran"
    (note(tmp_path / "a", name) / name).write_bytes(pickle.dumps(Canary(canary)))
    reason, message = refusal(tmp_path / "a", "sklearn", name[1:])
    assert reason == "PickleRefused"
    assert "skops.io.dump" in message
    assert not canary.exists()


def test_a_pickle_is_loaded_by_consent(tmp_path):
    import joblib
    from sklearn.linear_model import LinearRegression

    estimator = LinearRegression().fit(*training_rows())
    joblib.dump(estimator, note(tmp_path, "4.joblib") / "4.joblib")
    artefact = {"uri": "s3://models/4.joblib", "sha256": "0" * 64, "allowPickle": True}
    answered = load(tmp_path, "sklearn", ".joblib", artefact=artefact)(ROWS, 5)["score"]
    assert np.allclose(answered, estimator.predict(ROWS))


@pytest.mark.parametrize(
    "content", [b"\x80\x04cos\nsystem\n", b"PK\x03\x04", b"", b"tree\nversion=v4\nrubbish"]
)
def test_what_is_not_lightgbm_text_is_refused(tmp_path, content):
    (note(tmp_path, "4.txt") / "4.txt").write_bytes(content)
    assert refusal(tmp_path, "lightgbm", ".txt")[0] == "ModelLoadFailed"


def test_an_untrusted_type_in_a_skops_file_is_named(tmp_path):
    path = note(tmp_path, "4.skops") / "4.skops"
    schema = (
        '{"__class__": "Popen", "__module__": "subprocess", "__loader__": "ObjectNode", "__id__": 1, '
        '"content": null, "protocol": 2}'
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", schema)
    reason, message = refusal(tmp_path, "sklearn", ".skops")
    assert (reason, "subprocess.Popen" in message) == ("ModelLoadFailed", True)


def test_a_gadget_dies_in_a_child_with_its_limits(tmp_path):
    assert tried(lambda: bytearray(8 * 1024**3), 1024**3) == "MemoryError"
    assert tried(lambda: None, 1024**3) is None
    assert tried(lambda: os.kill(os.getpid(), signal.SIGKILL), 1024**3) == "it ended by SIGKILL"


@pytest.mark.parametrize("folder", ["", "memory/"])
def test_a_trial_takes_less_than_the_container_has_left(tmp_path, folder):
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if folder else ("memory.max", "memory.current")
    (tmp_path / folder).mkdir(exist_ok=True)
    (model := tmp_path / "model").write_bytes(b"x" * 1000)
    assert allowance(model, tmp_path) == 1024**3 + 20_000
    for name, value in zip(names, (512 * 1024**2, 200 * 1024**2), strict=True):
        (tmp_path / folder / name).write_text(f"{value}\n")
    assert allowance(model, tmp_path) == 312 * 1024**2 - SPARE_BYTES
    (tmp_path / folder / names[0]).write_text("max\n" if not folder else str(2**63))
    assert allowance(model, tmp_path) == 1024**3 + 20_000


def test_a_skops_file_that_asks_for_gigabytes_is_refused(tmp_path):
    path = note(tmp_path, "4.skops") / "4.skops"
    array = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**9,)}
    np.lib.format.write_array_header_1_0(array, header)
    schema = {
        "__class__": "ndarray", "__module__": "numpy", "__loader__": "NdArrayNode", "__id__": 1,
        "type": "numpy", "file": "1.npy", "protocol": 2,
    }  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
        archive.writestr("1.npy", array.getvalue())
    assert path.stat().st_size < 1000
    reason, message = refusal(tmp_path, "sklearn", ".skops")
    assert reason == "ModelLoadFailed"
    assert "MemoryError" in message


def test_a_booster_of_many_classes_is_told_what_to_do(tmp_path):
    features, _ = training_rows(60)
    parameters = {
        "objective": "multiclass",
        "num_class": 3,
        "verbose": -1,
        "min_data_in_leaf": 2,
        "num_threads": 1,
    }
    labels = np.arange(60) % 3
    booster = lightgbm.train(parameters, lightgbm.Dataset(features, labels), num_boost_round=2)
    booster.save_model(note(tmp_path, "4.txt") / "4.txt")
    assert "use framework python" in refusal(tmp_path, "lightgbm", ".txt")[1]


def test_a_model_of_another_width_names_both(tmp_path):
    lightgbm_artefact(tmp_path)
    inputs = [{"name": name, "type": "number"} for name in FEATURES[:3]]
    reason, message = refusal(tmp_path, "lightgbm", ".txt", inputs=inputs)
    assert reason == "ModelLoadFailed"
    assert "takes 4 features, but 3 inputs are declared" in message


def test_inputs_in_another_order_than_the_model_was_fitted_are_refused(tmp_path):
    features, labels = training_rows()
    dataset = lightgbm.Dataset(features, labels, feature_name=list(FEATURES))
    booster = lightgbm.train({"verbose": -1, "num_threads": 1}, dataset, num_boost_round=2)
    booster.save_model(note(tmp_path, "4.txt") / "4.txt")
    inputs = [{"name": name, "type": "number"} for name in reversed(FEATURES)]
    assert "in another order" in refusal(tmp_path, "lightgbm", ".txt", inputs=inputs)[1]
    assert len(load(tmp_path, "lightgbm", ".txt")(ROWS, 5)["score"]) == 5


def test_a_python_model_is_what_its_factory_returns(tmp_path):
    source = """
        import json
        def load(directory):
            factor = json.loads((directory / "factor.json").read_text())
            return lambda columns: {"score": columns["share"] * factor}
    """
    python_artefact(tmp_path, source, "times")
    (tmp_path / "factor.json").write_text("3")
    model = load(tmp_path, "python", ".tar.gz", entryPoint="times:load")
    assert model({"share": np.array([1.0])}, 1)["score"].tolist() == [3.0]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def load(directory): raise OSError('no data')", "failed: OSError: no data"),
        ("load = 7", "has no function load"),
        ("import missing_module", "cannot be imported: ModuleNotFoundError"),
        ("def load(directory): return 7", "must return a plain callable"),
        ("async def load(directory): return print", "is a coroutine function"),
    ],
)
def test_a_python_model_that_cannot_be_loaded_says_why(tmp_path, source, words, request):
    name = f"broken_{abs(hash(request.node.name))}"
    python_artefact(tmp_path, source, name)
    reason, message = refusal(tmp_path, "python", ".tar.gz", entryPoint=f"{name}:load")
    assert reason == "ModelLoadFailed"
    assert words in message


def test_a_module_that_would_replace_an_installed_one_is_refused(tmp_path):
    python_artefact(tmp_path, "def load(directory): return print", "json")
    assert "rename it" in refusal(tmp_path, "python", ".tar.gz", entryPoint="json:load")[1]


def test_a_missing_hook_is_told_apart_from_a_missing_model(tmp_path):
    lightgbm_artefact(tmp_path)
    reason, message = refusal(tmp_path, "lightgbm", ".txt", preprocess="nowhere:build")
    assert reason == "HookLoadFailed"
    assert "nowhere:build" in message


def test_preprocess_makes_the_numbers_that_the_model_takes(tmp_path):
    booster = lightgbm_artefact(tmp_path, "model.txt")
    source = """
        import numpy as np
        def build(columns):
            rows = [[float(part) for part in text.split()] for text in columns["text"]]
            return {str(i): values for i, values in enumerate(np.array(rows).T)}
    """
    python_artefact(tmp_path, source, "splitting")
    inputs = [{"name": "text", "type": "string"}]
    model = load(tmp_path, "lightgbm", ".tar.gz", inputs=inputs, preprocess="splitting:build")
    texts = np.array(["0.1 0.2 0.3 0.4"], dtype=object)
    assert np.allclose(model({"text": texts}, 1)["score"], booster.predict([[0.1, 0.2, 0.3, 0.4]]))
