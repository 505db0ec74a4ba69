# SPDX-License-Identifier: Apache-2.0
"""Asymptotic confidence sequences: intervals that hold at every look at once, so that looking often costs nothing.

Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences" (arXiv 2103.06476, theorem 2.2; one-sided: appendix B.1). In their terms t is the number of units, and the
standard error at t stands for sigma / sqrt(t); u is t rho^2 + 1.
"""

from __future__ import annotations

from math import log, sqrt

_ENOUGH = 1e-15


def mixture(alpha: float, planned: int) -> float:
    """The rho^2 with which the two-sided sequence is tightest at `planned` units.

    There u - ln u = 1 + 2 ln(1 / alpha), which is -W(-alpha^2 / e) on the lower branch of Lambert's function.
    """
    wanted = 1 + 2 * log(1 / alpha)
    u, before = wanted, 0.0
    while abs(u - before) > _ENOUGH * u:
        u, before = wanted + log(u), u
    return (u - 1) / planned


def two_sided(error: float, units: int, alpha: float, planned: int) -> float:
    """Half the width at `units`, from the standard error there; all intervals hold at once but with `alpha`."""
    rho2 = mixture(alpha, planned)
    u = units * rho2 + 1
    return error * sqrt(2 * u / (u - 1) * log(sqrt(u) / alpha))


def one_sided(error: float, units: int, alpha: float, planned: int) -> float:
    """How far a bound on one side lies from the estimate; `alpha` is all on that side."""
    rho2 = mixture(2 * alpha, planned)
    u = units * rho2 + 1
    return error * sqrt(2 * u / (u - 1) * log(1 + sqrt(u) / (2 * alpha)))
