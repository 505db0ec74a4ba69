# SPDX-License-Identifier: Apache-2.0
"""The table that every bench of experiments prints: measured, peer, ratio, goal, and whether it is reached."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan
from operator import ge, gt, le, lt

_SIGNS: dict[str, Callable[[float, float], bool]] = {"≤": le, "≥": ge, "<": lt, ">": gt}


def head(title: str, peer: str = "peer") -> None:
    print(f"\n{title:62}{'measured':>12}{peer:>12}{'ratio':>9}{'goal':>12}")


def row(name: str, measured: float, goal: str, peer: float | None = None, limits: str = "") -> None:
    """A figure beside its goal (`"≤ 0.05"`); `peer` is the same of what others do, `limits` confidence in words."""
    sign, _, bound = goal.partition(" ")
    reached = not isnan(measured) and _SIGNS[sign](measured, float(bound))
    ratio = "" if peer is None else f"{measured / peer if peer else inf:.2f}"
    shown = "" if peer is None else _shown(peer)
    wanted, verdict = f"{sign} {_shown(float(bound))}", "ok" if reached else "short"
    print(f"{name:62}{_shown(measured):>12}{shown:>12}{ratio:>9}{wanted:>12}  {verdict:6}{limits}")


def _shown(value: float) -> str:
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def zero_of(trials: int) -> str:
    """Upper 95 % limit of a rate of which nothing was seen (the rule of three)."""
    return f"rate < {3 / trials:.0e} (95 %)"
