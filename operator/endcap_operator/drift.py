# SPDX-License-Identifier: Apache-2.0
"""Whether an object in the cluster is still what was last applied.

The API server fills in defaults, and others may add what is theirs; neither is drift. A field of ours that differs
or is missing is. Fields that we stopped asking for show in the digest that each apply leaves on the object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from endcap_api.digest import digest_of
from endcap_operator.keys import Manifest

APPLIED = "endcap.dev/applied"
_ITEM_KEYS = ("name", "uid", "containerPort", "port", "mountPath", "topologyKey")
_ATOMIC = frozenset({"selector", "labelSelector", "matchLabels"})
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
_SCALES = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGT", 1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGT", 1)},
}


def stamped(manifest: Manifest) -> dict[str, Any]:
    """The manifest with its own digest as an annotation."""
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED: digest_of(manifest)}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def was_applied(live: Manifest, wanted: Manifest) -> bool:
    """Whether this very manifest was applied before, whatever happened to the object since."""
    mark = wanted["metadata"]["annotations"][APPLIED]
    return bool((live["metadata"].get("annotations") or {}).get(APPLIED) == mark)


def covers(live: Any, wanted: Any) -> bool:
    """Whether `live` has all that `wanted` has; mappings and keyed lists may hold more, selectors and others not."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(_covers_field(live, *field) for field in wanted.items())
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return isinstance(live, Sequence) and not isinstance(live, str) and _covers_list(live, wanted)
    return live == wanted or _same_quantity(live, wanted)


def _covers_field(live: Mapping[str, Any], name: str, wanted: Any) -> bool:
    """One more label in a selector selects nothing at all."""
    if name not in live:
        return False
    return bool(live[name] == wanted) if name in _ATOMIC else covers(live[name], wanted)


def _covers_list(live: Sequence[Any], wanted: Sequence[Any]) -> bool:
    key = _item_key(wanted)
    if key is None:
        return len(live) == len(wanted) and all(map(covers, live, wanted))
    found = {item.get(key): item for item in live if isinstance(item, Mapping)}
    return all(item[key] in found and covers(found[item[key]], item) for item in wanted)


def _item_key(items: Sequence[Any]) -> str | None:
    """The field that tells the items apart; None for a list that is one value as a whole."""
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    return next((key for key in _ITEM_KEYS if all(key in item for item in items)), None)


def _same_quantity(live: Any, wanted: Any) -> bool:
    """`1024Mi` comes back as `1Gi`."""
    if not isinstance(live, str) or not isinstance(wanted, str):
        return False
    one, other = _QUANTITY.fullmatch(live), _QUANTITY.fullmatch(wanted)
    return bool(one and other) and _value(one) == _value(other)


def _value(match: re.Match[str] | None) -> Decimal:
    assert match is not None  # noqa: S101 - both matched
    return Decimal(match[1]) * _SCALES[match[2] or ""]
