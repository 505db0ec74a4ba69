# SPDX-License-Identifier: Apache-2.0
"""Real model servers for tests: artefacts of each framework, and a process that serves them on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any, Protocol

import httpx
import numpy as np
from server_process import ServerProcess

ROOT = Path(__file__).resolve().parent.parent
FEATURES = ("share", "price", "recency", "stock")
START_SECONDS = 60


def config(framework: str, *, suffix: str, **changes: Any) -> dict[str, Any]:
    """A ModelConfig as JSON has it: four numbers in, a score out, unless changed."""
    value: dict[str, Any] = {
        "name": "ranker",
        "namespace": "shop",
        "framework": framework,
        "artefact": {"uri": f"s3://models/ranker/4{suffix}", "sha256": "0" * 64, "allowPickle": False},
        "inputs": [{"name": name, "type": "number"} for name in FEATURES],
        "outputs": [{"name": "score", "type": "number"}],
        "maxBatchRows": 64,
        "maxLatencyMs": 2,
    }
    return value | changes


def note(directory: Path, file: str | None) -> Path:
    """What the init container leaves beside the artefact."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ".endcap.json").write_text(json.dumps({"sha256": "0" * 64, "file": file}))
    return directory


def training_rows(rows: int = 400, columns: int = len(FEATURES)) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    features = generator.random((rows, columns))
    return features, (features[:, 0] + features[:, 1] > 1).astype(int)


def sklearn_artefact(directory: Path) -> Any:
    """A logistic regression as `4.skops`; returns the estimator."""
    import skops.io
    from sklearn.linear_model import LogisticRegression

    estimator = LogisticRegression().fit(*training_rows())
    skops.io.dump(estimator, note(directory, "4.skops") / "4.skops")
    return estimator


def lightgbm_artefact(directory: Path, name: str = "4.txt") -> Any:
    """A small booster as LightGBM text; returns it."""
    import lightgbm

    features, labels = training_rows()
    booster = lightgbm.train(
        {"objective": "binary", "num_leaves": 7, "verbose": -1, "num_threads": 1},
        lightgbm.Dataset(features, labels),
        num_boost_round=10,
    )
    booster.save_model(note(directory, name) / name)
    return booster


def python_artefact(directory: Path, source: str, name: str = "basket") -> Path:
    """An archive, already extracted, with one module."""
    note(directory, None)
    (directory / f"{name}.py").write_text(dedent(source))
    return directory


@dataclass
class ModelServer(ServerProcess):
    """A server process; `log` is its stderr, `reason` its termination message once it has failed."""

    process: subprocess.Popen[bytes]
    port: int
    directory: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def log_file(self) -> Path:
        return self.directory / "stderr.log"

    @property
    def reason(self) -> dict[str, str]:
        value: dict[str, str] = json.loads((self.directory / "termination-log").read_text())
        return value

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(
    model: Mapping[str, Any], artefact: Path, work: Path, environ: Mapping[str, str] | None = None
) -> ModelServer:
    """Starts `python -m endcap_runtime.model`; it may still be loading."""
    work.mkdir(parents=True, exist_ok=True)
    port = free_port()
    environment = {
        **{key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ},
        "PYTHONPATH": f"{ROOT / 'api'}:{ROOT / 'runtimes'}",
        "ENDCAP_MODEL_CONFIG": json.dumps(model),
        "ENDCAP_ARTEFACT_DIR": str(artefact),
        "ENDCAP_HOST": "127.0.0.1",
        "ENDCAP_PORT": str(port),
        "ENDCAP_TERMINATION_LOG": str(work / "termination-log"),
        "HOME": str(work),
        "TMPDIR": str(work),
        **(environ or {}),
    }
    with (work / "stderr.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "endcap_runtime.model"], env=environment, stderr=log, stdout=log
        )
    return ModelServer(process, port, work, environment)


class Started(Protocol):
    """A server of a test: the model's or the graph's."""

    @property
    def process(self) -> subprocess.Popen[bytes]: ...
    @property
    def url(self) -> str: ...
    @property
    def log(self) -> str: ...


def wait_ready(server: Started) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if server.process.poll() is not None:
            raise AssertionError(f"the server ended: {server.log[-3000:]}")
        try:
            if httpx.get(f"{server.url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not ready in {START_SECONDS} s: {server.log[-3000:]}")


@contextmanager
def serving(
    model: Mapping[str, Any], artefact: Path, work: Path, environ: Mapping[str, str] | None = None
) -> Iterator[ModelServer]:
    """A ready server, ended with the block."""
    server = start(model, artefact, work, environ)
    try:
        wait_ready(server)
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(10)
