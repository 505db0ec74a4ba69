# SPDX-License-Identifier: Apache-2.0
"""A model on this machine: its artefact fetched by the pods' own fetcher, its server started and ready."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from endcap_api.runtime_config import ModelConfig, ModelContract
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_cli.bundle import Name
from endcap_cli.run.environment import FETCH, SERVE_MODEL, Places, configured, model_environment
from endcap_cli.run.process import Child, Stopped
from endcap_cli.terminal import complain


@dataclass(frozen=True)
class Model:
    """A version that is served."""

    config: ModelConfig
    contract: ModelContract
    child: Child


@dataclass(frozen=True)
class ModelStart:
    """What starts a version; blocks, and raises StartFailed or Stopped."""

    places: Places
    stopping: threading.Event

    def __call__(self, name: Name, spec: ModelDeploymentSpec, child: Child) -> Model:
        if self.stopping.is_set():
            raise Stopped
        config = configured(name, spec)
        begun = time.monotonic()
        artefact = self._fetched(config, child)
        fetched = time.monotonic()
        environment = model_environment(config, artefact, self.places, child.files, child.port)
        child.start(SERVE_MODEL, environment)
        child.serve(self.stopping)
        seconds = f"artefact {fetched - begun:.1f} s, server {time.monotonic() - fetched:.1f} s"
        complain(f"  model {config.label:<32} ready   {seconds}")
        return Model(config, ModelContract.of(spec, child.url), child)

    def _fetched(self, config: ModelConfig, child: Child) -> Path:
        """An artefact that was fetched before is not fetched again."""
        kept = self.places.artefact(config)
        if not kept.exists():
            self._fetch(config, child, kept)
        return kept

    def _fetch(self, config: ModelConfig, child: Child, kept: Path) -> None:
        """Complete or not there at all, also when two runs fetch the same."""
        self.places.cache.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="fetch-", dir=self.places.cache))
        try:
            fetch = Child(child.label, child.files, port=0)
            fetch.start(FETCH, model_environment(config, scratch / "artefact", self.places, child.files))
            _finish(fetch, self.stopping)
            if not kept.exists():
                (scratch / "artefact").rename(kept)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _finish(fetch: Child, stopping: threading.Event) -> None:
    try:
        fetch.finish(stopping)
    finally:
        fetch.stop()
