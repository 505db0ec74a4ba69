# SPDX-License-Identifier: Apache-2.0
"""A model on this machine: its artefact fetched by the pods' own fetcher, its server started and ready."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from endcap_api.features_config import FeaturesConfig
from endcap_api.runtime_config import ModelConfig, ModelContract
from endcap_cli.run import sidecar as sidecars
from endcap_cli.run.children import Children
from endcap_cli.run.environment import FETCH, SERVE_MODEL, Places, asking, model_environment
from endcap_cli.run.process import Child, Stopped
from endcap_cli.run.sidecar import Sidecar
from endcap_cli.terminal import complain


@dataclass(frozen=True)
class Model:
    """A version that is served; `sidecar` is that of a model which names features."""

    config: ModelConfig
    contract: ModelContract
    child: Child
    sidecar: Sidecar | None = None


@dataclass(frozen=True)
class ModelStart:
    """What starts a version; blocks, and raises StartFailed or Stopped."""

    children: Children

    @property
    def places(self) -> Places:
        return self.children.places

    def __call__(self, config: ModelConfig, features: FeaturesConfig | None, child: Child) -> Model:
        if self.children.stopping.is_set():
            raise Stopped
        begun = time.monotonic()
        artefact = self._fetched(config, child)
        fetched = time.monotonic()
        sidecar = self._sidecar(features, child) if features else None
        environment = model_environment(config, artefact, self.places, child.files, child.port)
        asks = asking(self.places.socket(child.port)) if sidecar else {}
        child.start(SERVE_MODEL, {**environment, **asks})
        child.serve(self.children.stopping)
        seconds = f"artefact {fetched - begun:.1f} s, server {time.monotonic() - fetched:.1f} s"
        complain(f"  model {config.label:<32} ready   {seconds}")
        return Model(config, _contract(config, child.url), child, sidecar)

    def _sidecar(self, features: FeaturesConfig, child: Child) -> Sidecar:
        return sidecars.start(features, self.places.features(child.port), child, self.children)

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
            _finish(fetch, self.children.stopping)
            if not kept.exists():
                (scratch / "artefact").rename(kept)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _contract(config: ModelConfig, url: str) -> ModelContract:
    return ModelContract(url=url, inputs=config.inputs, outputs=config.outputs)


def _finish(fetch: Child, stopping: threading.Event) -> None:
    try:
        fetch.finish(stopping)
    finally:
        fetch.stop()
