# SPDX-License-Identifier: Apache-2.0
"""The documented SQL says of each unit what the engine says of it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from assignment_sql import answers, database, statements

from endcap_api.assigner import Assigner, Unit
from endcap_api.assignment import allocate, bucket, covered, quotas
from endcap_api.experiment_config import ExperimentConfig

UNITS = [
    *(str(number) for number in range(60_000)),
    *(f"user-{number:09}" for number in range(20_000)),
    *(str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in range(19_990)),
    "Ünïcode-éè",
    "e\u0301",
    "é",
    "a|b",
    "it's",
    'a "quoted" one',
    " ",
    "\n",
    "🛒",
    "漢字",
]


def config(coverage: float = 100, **changes: Any) -> ExperimentConfig:
    before = allocate(quotas({"control": 50, "a": 25, "b": 25}))
    ranges = allocate(quotas({"control": 34, "a": 33, "b": 33}), before)
    variants = [
        {
            "name": name,
            "baseline": name == "control",
            "buckets": [str(each) for each in covered(owned, coverage)],
            "weight": 1,
        }
        for name, owned in ranges.items()
    ]
    sound = {
        "id": "0123456789ab",
        "revision": 1,
        "epoch": 2,
        "phase": "Running",
        "step": "rank",
        "mode": "split",
        "enabled": True,
        "unit": ["request.customer"],
        "salt": "home.ranker",
        "variants": variants,
    }
    return ExperimentConfig.model_validate({**sound, **changes})


EVERYTHING = {
    "layer": {"name": "home", "buckets": ["0-3000", "9000-10000"]},
    "holdout": {"name": "2026q4", "percent": 7},
}


def test_the_page_has_the_function_and_the_query() -> None:
    assert [each.split()[0] for each in statements()] == ["CREATE", "WITH"]


@pytest.mark.parametrize(
    "asked",
    [config(), config(coverage=13), config(coverage=40, **EVERYTHING), config(layer=EVERYTHING["layer"])],
    ids=["weights that changed", "a ramp", "layer and holdout", "layer"],
)
def test_sql_gives_each_unit_the_variant_that_the_engine_gives(asked: ExperimentConfig) -> None:
    assigner = Assigner(asked)
    expected = []
    for unit in sorted(UNITS):
        variant, reason, number = assigner.decide(Unit(unit, "customer"))
        expected.append((unit, number, reason, variant if reason == "assigned" else None))
    with database(UNITS) as connection:
        found = answers(connection, asked)
    assert len(UNITS) == 100_000
    assert found == expected
    assert len({reason for _, _, reason, _ in found}) >= (1 if asked == config() else 2)


def test_the_vectors_of_the_page_are_those_of_the_function() -> None:
    from assignment_sql import PAGE

    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.endswith(" |")]
    cells = [[cell.strip("` ") for cell in row.strip("|").split(" | ")] for row in rows]
    vectors = [cell for cell in cells if len(cell) == 3 and cell[2].isdigit()]
    assert len(vectors) == 5
    assert [bucket(salt, unit) for salt, unit, _ in vectors] == [int(number) for _, _, number in vectors]
