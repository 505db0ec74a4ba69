# SPDX-License-Identifier: Apache-2.0
"""From the text of a revision to what is served, or the reason why it is refused."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.inferencegraph import Catalogue as CatalogueSpec
from endcap_runtime.artefacts import ArtefactError, Policy, Source, fetch
from endcap_runtime.graph.building import Surroundings
from endcap_runtime.graph.catalogue import Catalogue, CatalogueInvalid
from endcap_runtime.graph.compile import compile_graph
from endcap_runtime.graph.failures import InvalidSpec
from endcap_runtime.graph.metrics import GraphMetrics, RequestMetrics
from endcap_runtime.graph.pages import pages
from endcap_runtime.graph.serving import Rejected, Served
from endcap_runtime.graph.sidecar import Sidecar
from endcap_runtime.graph.upstream import Models


class Refused(Exception):
    """The revision cannot be served; `passing` says whether trying again may help."""

    def __init__(self, rejected: Rejected, *, passing: bool) -> None:
        super().__init__(f"{rejected.reason}: {rejected.message}")
        self.rejected = rejected
        self.passing = passing


class _Kept(NamedTuple):
    spec: CatalogueSpec
    catalogue: Catalogue


class Loader:
    """Makes revisions ready to serve. Blocks, and may run in several threads at once."""

    def __init__(self, policy: Policy, models: Models, metrics: GraphMetrics, sidecar: Sidecar) -> None:
        self._policy, self._models, self._metrics, self._sidecar = policy, models, metrics, sidecar
        self._kept: _Kept | None = None

    def load(self, text: bytes) -> Served:
        """Parses, fetches the catalogue unless it is in memory already, compiles. Raises Refused."""
        revision: str | None = None
        try:
            config = GraphConfig.model_validate_json(text)
            revision = config.revision
            catalogue = self._catalogue(config.spec.catalogue)
            return self._served(config, Surroundings(catalogue, self._models, self._metrics, self._sidecar))
        except ValidationError as error:
            raise Refused(Rejected(None, "InvalidSpec", _sentence(error)), passing=False) from error
        except InvalidSpec as error:
            raise Refused(Rejected(revision, "InvalidSpec", str(error)), passing=False) from error
        except CatalogueInvalid as error:
            raise Refused(Rejected(revision, "CatalogueInvalid", str(error)), passing=False) from error
        except ArtefactError as error:
            rejected = Rejected(revision, error.reason.value, f"catalogue: {error.message}")
            raise Refused(rejected, passing=error.passing) from error

    def _catalogue(self, spec: CatalogueSpec) -> Catalogue:
        kept = self._kept
        if kept is not None and _same_items(kept.spec, spec):
            return kept.catalogue
        secret = spec.secret_ref.name if spec.secret_ref else None
        # The file is in memory once it is read, so it goes with the block.
        with tempfile.TemporaryDirectory(prefix="endcap-catalogue-") as folder:
            fetched = fetch(Source(spec.uri, spec.sha256, secret), Path(folder), self._policy)
            catalogue = Catalogue.load(fetched.location, spec)
        self._kept = _Kept(spec, catalogue)
        return catalogue

    def _served(self, config: GraphConfig, around: Surroundings) -> Served:
        pipeline = compile_graph(config, around)
        return Served(
            pipeline,
            config.spec.api.path.encode(),
            pages(pipeline),
            (b"endcap-revision", pipeline.revision.encode()),
            RequestMetrics(self._metrics, config.name),
        )


def _same_items(one: CatalogueSpec, other: CatalogueSpec) -> bool:
    """Whether the same bytes are read in the same way; where they come from does not matter."""
    same = one.sha256 == other.sha256 and one.columns == other.columns
    return same and (one.key, one.name) == (other.key, other.name)


def _sentence(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
