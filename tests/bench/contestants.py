# SPDX-License-Identifier: Apache-2.0
"""The servers that bench_model compares, each with the same model and one process that serves it.

Each peer lives in an environment of its own under `.endcap/peers`, made from hashed pins.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from load import request_bytes
from model_servers import config, free_port, note, training_rows

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / ".endcap" / "peers"
SOURCES = Path(__file__).resolve().parent / "peers"
NAMES = [f"feature_{number}" for number in range(10)]
ROW = [round(0.1 * number, 1) for number in range(1, 11)]
OIP_INPUT = {"name": "rows", "shape": [1, len(ROW)], "datatype": "FP64", "data": ROW}


@dataclass
class Server:
    """A process to be started; `environ` is added to a small environment."""

    command: list[str]
    port: int
    environ: dict[str, str] = field(default_factory=dict)
    directory: Path = ROOT


@dataclass(frozen=True)
class Contestant:
    """One way to ask one server for the same prediction."""

    name: str
    server: Server
    request: bytes


def environment(name: str) -> Path:
    """The peer's own environment, made when it is not there; its pins hold no source of packages."""
    target, pins = PEERS / name, ROOT / "requirements" / "peers" / f"{name}.txt"
    made = target / "pins.txt"
    if not made.exists() or made.read_text() != pins.read_text():
        subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", "3.11", target], check=True)
        install = [
            "uv",
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "-r",
            pins,
            "--python",
            target / "bin/python",
        ]
        subprocess.run(install, check=True)
        made.write_text(pins.read_text())
    return target / "bin"


def save_model(work: Path) -> None:
    """One logistic regression over ten numbers, as skops for us and as joblib for the peers."""
    import joblib
    import skops.io
    from sklearn.linear_model import LogisticRegression

    estimator = LogisticRegression().fit(*training_rows(400, len(ROW)))
    skops.io.dump(estimator, note(work / "artefact", "4.skops") / "4.skops")
    joblib.dump(estimator, work / "model.joblib")


def endcap(work: Path) -> list[Contestant]:
    """Our server by plain JSON, by the protocol in JSON, and by the protocol in binary."""
    from endcap_runtime.wire import oip
    from endcap_runtime.wire.tensors import Tensor

    port = free_port()
    columns = [{"name": name, "type": "number"} for name in NAMES]
    model = config("sklearn", suffix=".skops", inputs=columns)
    environ = {
        "PYTHONPATH": f"{ROOT / 'api'}:{ROOT / 'runtimes'}",
        "ENDCAP_MODEL_CONFIG": json.dumps(model),
        "ENDCAP_ARTEFACT_DIR": str(work / "artefact"),
        "ENDCAP_HOST": "127.0.0.1",
        "ENDCAP_PORT": str(port),
        "ENDCAP_TERMINATION_LOG": str(work / "termination-log"),
    }
    server = Server([sys.executable, "-m", "endcap_runtime.model"], port, environ)
    plain = json.dumps({"columns": dict(zip(NAMES, ([value] for value in ROW), strict=True))}).encode()
    message = oip.request([Tensor("rows", "FP64", (1, len(ROW)), np.array([ROW]))], ["score"])
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(message.head),
    }
    infer = "/v2/models/ranker/infer"
    return [
        Contestant("Endcap, plain JSON", server, request_bytes("/predict", plain)),
        Contestant("Endcap, v2 in JSON", server, request_bytes(infer, _json({"inputs": [OIP_INPUT]}))),
        Contestant("Endcap, v2 in binary", server, request_bytes(infer, message.body, headers)),
    ]


def bentoml(work: Path) -> list[Contestant]:
    """BentoML as it is documented: sync, and batchable."""
    port, home = free_port(), work / "bentoml"
    command = [str(environment("bentoml") / "bentoml"), "serve", "stock_bentoml:Stock", "--port", str(port)]
    environ = {
        "BENCH_MODEL": str(work / "model.joblib"),
        "BENTOML_DO_NOT_TRACK": "true",
        "BENTOML_HOME": str(home),
    }
    server = Server(command, port, environ, SOURCES)
    return [
        Contestant("BentoML stock", server, request_bytes("/predict", _json({"rows": [ROW]}))),
        Contestant("BentoML stock, batchable", server, request_bytes("/batched", _json({"rows": [ROW]}))),
    ]


def mlserver(work: Path) -> list[Contestant]:
    """MLServer with its scikit-learn runtime in process: as it comes, and with batches of up to 1 ms."""
    port, models = free_port(), work / "mlserver"
    for name, batching in (("ranker", {}), ("batched", {"max_batch_size": 64, "max_batch_time": 0.001})):
        implementation = "mlserver_sklearn.SKLearnModel"
        parameters = {"uri": str(work / "model.joblib")}
        settings = {"name": name, "implementation": implementation, "parameters": parameters, **batching}
        _write(models / name / "model-settings.json", settings)
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    _write(models / "settings.json", {**ports, "host": "127.0.0.1", "parallel_workers": 0, "debug": False})
    server = Server([str(environment("mlserver") / "mlserver"), "start", str(models)], port)
    body = _json({"inputs": [OIP_INPUT], "outputs": [{"name": "predict_proba"}]})
    return [
        Contestant("MLServer", server, request_bytes("/v2/models/ranker/infer", body)),
        Contestant("MLServer, 1 ms batches", server, request_bytes("/v2/models/batched/infer", body)),
    ]


def kserve(work: Path) -> list[Contestant]:
    """KServe's Python server, by both of its protocols."""
    port = free_port()
    environ = {"BENCH_MODEL": str(work / "model.joblib"), "BENCH_PORT": str(port)}
    command = [str(environment("kserve") / "python"), str(SOURCES / "kserve_sklearn.py")]
    server = Server(command, port, environ)
    v2 = _json({"inputs": [OIP_INPUT]})
    return [
        Contestant(
            "KServe, v1", server, request_bytes("/v1/models/ranker:predict", _json({"instances": [ROW]}))
        ),
        Contestant("KServe, v2", server, request_bytes("/v2/models/ranker/infer", v2)),
    ]


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def environ_of(server: Server, work: Path) -> dict[str, str]:
    """A small environment with one thread a numeric library, the same for everybody."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {"PATH": os.environ["PATH"], "HOME": str(work), "TMPDIR": str(work), **threads, **server.environ}
