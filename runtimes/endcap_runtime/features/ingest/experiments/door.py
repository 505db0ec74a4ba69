# SPDX-License-Identifier: Apache-2.0
"""POST /v1/exposures: all exposures of a request are sound and wait in Redis, or none of them was taken.

Here the unit is replaced by its HMAC, so nothing behind this door knows it; a refusal names fields, never their values.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from endcap_runtime.asgi import Headers, Response, refuse_media_type
from endcap_runtime.features.experiments.exposures import faults_of, kept
from endcap_runtime.features.experiments.measured import Measured
from endcap_runtime.features.ingest.door import accepted
from endcap_runtime.features.ingest.metrics import IngestMetrics
from endcap_runtime.features.ingest.parameters import object_of, refused
from endcap_runtime.features.ingest.serving import Serving
from endcap_runtime.features.store.unit_key import NoUnitKey
from endcap_runtime.problems import RETRY_SOON, FieldError, Problem
from endcap_runtime.wire.faults import MOST_ERRORS

log = logging.getLogger("endcap.ingest")

MOST_EXPOSURES = 500
MOST_BYTES = 65_536
_BUSY = "As many exposures wait as may: send these again later."
_NO_KEY = "This pod has no key by which it could hide units yet: send these again later."


class ExposureDoor:
    """Checks exposures, hides their units and keeps them."""

    def __init__(self, metrics: IngestMetrics) -> None:
        self._exposures = metrics.exposures

    async def take(self, serving: Serving, headers: Headers, body: bytes) -> Response:
        """202 once Redis has all. Raises Problem 400, 413, 415, 422, 429 or 503: then it has none."""
        try:
            refuse_media_type(headers, b"application/json")
            sound = checked(object_of(body, "exposures").get("exposures"), serving.compiled.experiments)
        except Problem:
            self._exposures.labels("refused").inc()
            raise
        texts, most = self._hidden(serving, sound), serving.compiled.store.max_backlog
        await accepted(serving.exposures.accept, texts, most, self._exposures, _BUSY)
        return Response(202, orjson.dumps({"accepted": len(sound)}))

    def _hidden(self, serving: Serving, sound: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """As they are kept."""
        if not sound:
            return []
        try:
            key = serving.units.read()
        except NoUnitKey as missing:
            log.error("Units cannot be hidden", extra={"detail": str(missing)})  # noqa: TRY400 (it says all)
            self._exposures.labels("unavailable").inc(len(sound))
            raise Problem(503, _NO_KEY, (), RETRY_SOON) from missing
        return [orjson.dumps(kept(exposure, key)) for exposure in sound]


def checked(given: Any, experiments: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """Raises Problem 413 or 422 with the faults of the first exposures that have any."""
    if not isinstance(given, list):
        raise refused("exposures", 'must be a list: send {"exposures": [{…}, …]}')
    if len(given) > MOST_EXPOSURES:
        raise Problem(
            413, f"The request has {len(given)} exposures of {MOST_EXPOSURES} allowed: send several."
        )
    faults: list[FieldError] = []
    for index, value in enumerate(given):
        where = f"exposures[{index}]"
        found = list(faults_of(value, experiments)) or _too_large(value)
        faults += [FieldError(f"{where}.{e.field}" if e.field else where, e.message) for e in found]
        if len(faults) >= MOST_ERRORS:
            break
    if faults:
        raise Problem(422, "Nothing was taken: there are exposures that do not fit.", faults[:MOST_ERRORS])
    return given


def _too_large(value: Any) -> list[FieldError]:
    length = len(orjson.dumps(value))
    if length <= MOST_BYTES:
        return []
    return [
        FieldError("items", f"makes it {length} bytes of {MOST_BYTES} allowed: send the first items alone")
    ]
