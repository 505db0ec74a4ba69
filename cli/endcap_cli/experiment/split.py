# SPDX-License-Identifier: Apache-2.0
"""Whose the 10,000 buckets are, as one bar. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from markupsafe import Markup

from endcap_api.assignment import BUCKETS, Ranges, covered, holds

CELLS = 200  # of 50 buckets each: finer than a bar on a telephone can show


def split_bar(ranges: Mapping[str, Ranges], coverage: float, colours: Mapping[str, str]) -> Markup:
    """Each variant in its colour: dark where it is covered, light where it will be at full coverage."""
    owners = {f"{colours[name]} later": owned for name, owned in ranges.items()}
    owners |= {colours[name]: covered(owned, coverage) for name, owned in ranges.items()}
    runs = list(_runs([_owner(owners, cell) for cell in range(CELLS)]))
    box = f'viewBox="0 0 {CELLS} 1" preserveAspectRatio="none" aria-hidden="true"'
    parts = "".join(_part(owner, runs) for owner in owners)
    return Markup(f'<svg class="split" {box}>{parts}</svg>')  # noqa: S704  numbers and our own classes


def _part(owner: str, runs: Sequence[tuple[str, int, int]]) -> str:
    drawn = "".join(f"M{at} 0h{width}v1h-{width}z" for name, at, width in runs if name == owner)
    return f'<path class="part {owner}" d="{drawn}"/>' if drawn else ""


def _owner(owners: Mapping[str, Ranges], cell: int) -> str:
    """Who has the middle bucket; what is covered now comes last, and wins."""
    middle = (2 * cell + 1) * BUCKETS // (2 * CELLS)
    return next((name for name in reversed(list(owners)) if holds(owners[name], middle)), "")


def _runs(cells: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    at = 0
    for owner, run in groupby(cells):
        width = len(list(run))
        yield owner, at, width
        at += width
