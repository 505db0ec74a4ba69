# SPDX-License-Identifier: Apache-2.0
"""Reasons are sentences: numbers as people write them, products by name."""

from __future__ import annotations

import pytest

from endcap_runtime.graph.answer import short
from endcap_runtime.graph.reasons import readable


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (167, "167"),
        (1204, "1,204"),
        (3.0, "3"),
        (0.6184210526, "0.62"),
        (0.5, "0.5"),
        (3.14159, "3.14"),
        (12345.678, "12,345.68"),
        (0.00012, "0.00012"),
        (-2.5, "-2.5"),
        (1e-9, "1e-09"),
        (0, "0"),
        (True, "yes"),
        (False, "no"),
        ("Milk", "Milk"),
        ("", ""),
    ],
)
def test_values_are_readable(value: object, shown: str) -> None:
    assert readable(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.6213871, 0.6214), (1234567.0, 1235000.0), (7, 7), ("a", "a")]
)
def test_what_a_model_says_has_the_digits_that_a_person_reads(value: object, shown: object) -> None:
    assert short(value) == shown
