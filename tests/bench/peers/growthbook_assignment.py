# SPDX-License-Identifier: Apache-2.0
"""GrowthBook's SDK assigns the same units: `python growthbook_assignment.py UNITS` prints one JSON object.

At its best: one client for all requests, which is told of each unit, as a server that makes one a request is slower.
"""

from __future__ import annotations

import json
import sys
from time import thread_time_ns

from growthbook import Experiment, GrowthBook


def assigned(client: GrowthBook, experiment: Experiment, unit: str) -> int:
    client.set_attributes({"id": unit})
    result = client.run(experiment)
    return result.variationId if result.inExperiment else -1


def experiment(weights: list[float]) -> Experiment:
    return Experiment(
        key="ranker", variations=list(range(len(weights))), weights=weights, hashVersion=2, seed="home"
    )


def moved(client: GrowthBook, units: list[str], before: list[float], after: list[float]) -> float:
    """Percent of the units that another variant gets after a change of weights."""
    one, two = experiment(before), experiment(after)
    return (
        100 * sum(assigned(client, one, unit) != assigned(client, two, unit) for unit in units) / len(units)
    )


def costs(client: GrowthBook, units: list[str]) -> list[float]:
    """µs of CPU a decision, sorted."""
    halves, taken = experiment([0.5, 0.5]), []
    for unit in units:
        began = thread_time_ns()
        assigned(client, halves, unit)
        taken.append((thread_time_ns() - began) / 1000)
    return sorted(taken)


def main() -> None:
    client = GrowthBook()
    units = [f"customer-{number}" for number in range(int(sys.argv[1]))]
    taken = costs(client, units)
    found = {
        "p50": taken[len(taken) // 2],
        "p99": taken[len(taken) * 99 // 100],
        "moved": moved(client, units, [0.5, 0.25, 0.25], [0.34, 0.33, 0.33]),
    }
    client.destroy()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
