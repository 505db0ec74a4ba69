# SPDX-License-Identifier: Apache-2.0
"""Two explained answers side by side: the order of each, and the features whose values differ between them."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Answer = Mapping[str, Any]
Values = dict[str, dict[str, Any]]
SHOWN = 5


class Change(NamedTuple):
    """A feature of somebody or something, before and after; None where the answer does not hold it."""

    of: str
    feature: str
    before: Any
    after: Any


def products(answer: Answer) -> list[str]:
    """The first products, best first."""
    return [item["product"] for item in answer["recommendations"]][:SHOWN]


def values(answer: Answer) -> Values:
    """By product, and by step where a feature is of the request: what the ranking read."""
    found: Values = {}
    for step in answer["explain"]:
        for feature in step.get("features", ()):
            for each in feature.get("products", (feature,)):
                found.setdefault(each.get("product", step["step"]), {})[feature["name"]] = each["value"]
    return found


def changes(before: Answer, after: Answer) -> Iterator[Change]:
    """Of the request and of the first products of either answer, the features whose values differ."""
    then, now = values(before), values(after)
    asked = [name for name in now if name not in {item["product"] for item in after["recommendations"]}]
    for name in dict.fromkeys((*asked, *products(after), *products(before))):
        for feature, value in now.get(name, {}).items():
            known = then.get(name, {}).get(feature)
            if known != value:
                yield Change(name, feature, known, value)


def objections(before: Answer, after: Answer) -> list[str]:
    """Why the events cannot be what changed the order; none when they are."""
    risen = [name for place, name in enumerate(products(after)) if name not in products(before)[: place + 1]]
    moved = {change.of for change in changes(before, after)}
    checks = {
        "a step did not contribute": before["degraded"] == after["degraded"] == [],
        "other models answered": before["served_by"] == after["served_by"],
        "the order is the same": products(before) != products(after),
        "nothing that rose has a feature that changed": bool(moved & set(risen)),
    }
    return [objection for objection, held in checks.items() if not held]


def table(before: Answer, after: Answer) -> str:
    """The two orders, a line a place."""
    pairs = zip(products(before), products(after), strict=True)
    return "\n".join(f"  {place}  {old:32} {new}" for place, (old, new) in enumerate(pairs, start=1))


def listed(found: list[Change]) -> str:
    """A line for each product and the request, e.g. `Milk: bought_24h 0 → 1`."""
    lines: dict[str, list[str]] = {}
    for change in found:
        known = "?" if change.before is None else _text(change.before)
        lines.setdefault(change.of, []).append(f"{change.feature} {known} → {_text(change.after)}")
    return "\n".join(f"  {name}: {', '.join(parts)}" for name, parts in lines.items())


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
