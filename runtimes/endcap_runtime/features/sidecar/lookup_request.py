# SPDX-License-Identifier: Apache-2.0
"""Requests for features: read, checked, and told what is wrong with them by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from endcap_runtime.features.lookup import Bundle, InvalidKeys, Wanted
from endcap_runtime.features.sidecar.configuration import Configuration
from endcap_runtime.problems import FieldError, Problem
from endcap_runtime.wire.faults import Malformed
from endcap_runtime.wire.json_columns import loads

DEFAULT_TIMEOUT_MS = 1000
_MOST_TIMEOUT_MS = 10_000
MOST_LOOKUPS = 64
MOST_ENTITIES = 16_384


class LookupRequest(NamedTuple):
    """`timeout_ms` is the time that the caller waits."""

    request_id: str
    timeout_ms: int
    wanted: list[Wanted]


class BundleRequest(NamedTuple):
    """One bundle, for a person."""

    wanted: Wanted
    explain: bool


def members(body: bytes, required: set[str], optional: set[str]) -> dict[str, Any]:
    """The members of a JSON object. Raises Problem 400, and 422 for a member that is missing or not known."""
    try:
        value = loads(body)
    except Malformed as error:
        raise Problem(400, str(error)) from error
    if type(value) is not dict:
        raise Problem(400, "The body must be a JSON object.")
    wrong = [FieldError(name, "is missing") for name in sorted(required - value.keys())]
    known = ", ".join(sorted(required | optional))
    wrong += [
        FieldError(name[:64], f"is not a field here: {known} are")
        for name in sorted(value.keys() - required - optional)
    ]
    if wrong:
        raise unfit(*wrong)
    return value


def unfit(*errors: FieldError) -> Problem:
    return Problem(422, "The request does not fit.", errors[:20])


async def lookup_request(body: bytes, configuration: Configuration) -> LookupRequest:
    """Raises Problem: 400 malformed, 404 unknown bundle, 409 unknown digest, 422 keys."""
    value = members(body, {"lookups"}, {"request_id", "timeout_ms"})
    lookups = value["lookups"]
    if type(lookups) is not list or not 1 <= len(lookups) <= MOST_LOOKUPS:
        raise unfit(FieldError("lookups", f"must be a list of 1 to {MOST_LOOKUPS} objects"))
    wanted = [await _wanted(f"lookups[{i}]", each, configuration) for i, each in enumerate(lookups)]
    if sum(len(each.keys[0]) for each in wanted) > MOST_ENTITIES:
        raise unfit(
            FieldError("lookups", f"have more than {MOST_ENTITIES} entities: ask for fewer a request")
        )
    request_id = value.get("request_id", "")
    if type(request_id) is not str or len(request_id) > 64:  # noqa: PLR2004 (as long as ids are elsewhere)
        raise unfit(FieldError("request_id", "must be a text of at most 64 characters"))
    return LookupRequest(request_id, _timeout(value), wanted)


async def bundle_request(name: str, body: bytes, configuration: Configuration) -> BundleRequest:
    """Raises Problem as lookup_request does."""
    value = members(body, {"keys"}, {"explain"})
    explain = value.get("explain", False)
    if type(explain) is not bool:
        raise unfit(FieldError("explain", "must be true or false"))
    bundle = await _bundle(name, None, configuration)
    return BundleRequest(_keyed("keys", bundle, value["keys"]), explain)


def _timeout(value: Mapping[str, Any]) -> int:
    timeout = value.get("timeout_ms", DEFAULT_TIMEOUT_MS)
    if type(timeout) is not int or not 1 <= timeout <= _MOST_TIMEOUT_MS:
        raise unfit(FieldError("timeout_ms", f"must be a whole number from 1 to {_MOST_TIMEOUT_MS}"))
    return timeout


async def _wanted(path: str, value: Any, configuration: Configuration) -> Wanted:
    if type(value) is not dict or not {"bundle", "keys"} <= value.keys() <= {"bundle", "keys", "digest"}:
        raise unfit(FieldError(path, "must be an object of bundle, keys and, optionally, digest"))
    bundle, digest = value["bundle"], value.get("digest")
    if type(bundle) is not str:
        raise unfit(FieldError(f"{path}.bundle", "must be the name of a bundle"))
    if digest is not None and type(digest) is not str:
        raise unfit(FieldError(f"{path}.digest", "must be the digest of a bundle, a text"))
    return _keyed(f"{path}.keys", await _bundle(bundle, digest, configuration), value["keys"])


async def _bundle(name: str, digest: str | None, configuration: Configuration) -> Bundle:
    if (found := await configuration.bundle(name, digest)) is not None:
        return found
    if digest is not None and (known := configuration.digests.get(name)):
        raise Problem(
            409, f"The bundle {name} has the digest {known} here, and not {digest[:64]}: one side is behind."
        )
    raise Problem(404, f"There is no bundle {name[:64]}.{configuration.hint(name)}")


def _keyed(path: str, bundle: Bundle, keys: Any) -> Wanted:
    if type(keys) is not dict:
        raise unfit(FieldError(path, "must be an object of lists by the name of the key"))
    try:
        return Wanted(bundle, bundle.keys(keys))
    except InvalidKeys as error:
        raise unfit(FieldError(f"{path}.{error.field}", error.message)) from error
