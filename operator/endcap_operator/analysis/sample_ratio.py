# SPDX-License-Identifier: Apache-2.0
"""Whether the units are where their buckets say, at every look at once.

Lindon and Malek, "Anytime-valid inference for multinomial count data" (2022): the Bayes factor of a Dirichlet prior
around the exact shares against the shares themselves is a martingale when they hold, so that it is ever above 1000
with a probability of at most 1 in 1000, however often one looks. A chi-squared test at every look alarms in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf, lgamma, log

from endcap_operator.analysis.look import RatioState, SampleRatio

MISMATCH = log(1000)
# Pseudo-units of the prior. It tells best what departs from the shares by about 1 / sqrt(10,000) = 1 %, the size of
# losses that matter; a smaller number asks for more units before it sees them (decision 0065).
CONCENTRATION = 10_000.0
_LARGEST = 1e6

# Of an epoch: units by variant, and covered buckets by variant at each of its coverages.
Counted = tuple[Mapping[str, int], Sequence[Mapping[str, int]]]


def log_bayes_factor(units: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """Ln of the evidence against `shares`, which sum to 1; infinite for units of a variant that has no share."""
    if any(count and not shares.get(name) for name, count in units.items()):
        return inf
    evidence = lgamma(CONCENTRATION) - lgamma(CONCENTRATION + sum(units.values()))
    for name, share in shares.items():
        if share and (count := units.get(name, 0)):
            prior = CONCENTRATION * share
            evidence += lgamma(prior + count) - lgamma(prior) - count * log(share)
    return evidence


def expected_shares(units: Mapping[str, int], stages: Sequence[Mapping[str, int]]) -> dict[str, float]:
    """The shares that the buckets give; of several stages that differ by a bucket's rounding, the nearest to the units.

    A ramp counts the units of all its coverages together, and those of the lower ones for longer: their shares lie
    somewhere between those of the stages.
    """
    each = [_shares(stage) for stage in stages]
    found = _shares(units)
    nearest = {
        name: min(max(found.get(name, 0.0), min(s[name] for s in each)), max(s[name] for s in each))
        for name in each[0]
    }
    return _shares(nearest)


def _shares(counts: Mapping[str, float]) -> dict[str, float]:
    whole = sum(counts.values())
    return {name: count / whole for name, count in counts.items()}


def sample_ratio(epochs: Iterable[Counted]) -> SampleRatio:
    counted = [(units, stages) for units, stages in epochs if any(units.values())]
    if not counted:
        return SampleRatio(state="no data")
    evidence = sum(log_bayes_factor(units, expected_shares(units, stages)) for units, stages in counted)
    state: RatioState = "mismatch" if evidence > MISMATCH else "ok"
    return SampleRatio(state=state, log_bayes_factor=min(_LARGEST, evidence))
