# SPDX-License-Identifier: Apache-2.0
"""The page of `endcap experiment report`: as it should be, small, and harmless whatever others wrote."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from experiments import HOSTILE, condition, course, golden, running, standing

from endcap_api.assignment import Range
from endcap_cli.experiment.chart import thinned
from endcap_cli.experiment.moments import moment
from endcap_cli.experiment.page import page
from endcap_cli.experiment.split import split_bar
from endcap_cli.experiment.standing import Standing
from endcap_cli.experiment.ticks import ticks
from endcap_operator.plan.experiment.series import Band, Point

HALVES = {"control": (Range(0, 5000),), "treatment": (Range(5000, 10000),)}
LARGEST_BYTES = 60_000


def drawn(shown: Standing, coverage: float = 100) -> str:
    return page(shown, HALVES, coverage)


class Tags(HTMLParser):
    """Every tag and every attribute of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_page_of_a_running_experiment() -> None:
    text = drawn(standing(), 50)
    assert text == golden("report.html", text)


def hostile() -> Standing:
    variants = [{"name": HOSTILE, "model": HOSTILE, "digest": HOSTILE, "share": HOSTILE, "shadow": HOSTILE}]
    return standing(
        running(
            phase=HOSTILE,
            verdict=f"Better {HOSTILE}",
            primary=HOSTILE,
            split=HOSTILE,
            analysedAt=HOSTILE,
            recommendation=f"{HOSTILE}\n{HOSTILE}",
            variants=[*variants, *running()["variants"]],
            guardrails=[{"name": HOSTILE, "state": HOSTILE, "message": HOSTILE}],
            conditions=[condition("RouterSynced", "True", HOSTILE)],
            history=[{"time": HOSTILE, "phase": HOSTILE, "message": HOSTILE}],
        ),
        description=HOSTILE,
        targeting=f"request.channel == '{HOSTILE}'",
    )


def test_what_others_wrote_is_text_and_nothing_else() -> None:
    text, sound = drawn(hostile()), Tags(drawn(standing()))
    found = Tags(text)
    assert found.tags - sound.tags <= {"pre", "small"}
    assert found.attributes == sound.attributes
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in text
    assert not [character for character in text if not character.isprintable() and character != "\n"]


def test_the_page_runs_and_fetches_nothing() -> None:
    text = drawn(standing())
    found = Tags(text)
    assert not found.tags & {"script", "link", "img", "iframe", "object", "base", "form", "a", "use", "image"}
    assert not [
        name for name in found.attributes if name.startswith("on") or name in {"style", "src", "href"}
    ]
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text


def test_its_policy_allows_its_own_style_and_nothing_else() -> None:
    text = drawn(standing())
    style = re.search("<style>(.*?)</style>", text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in text.replace("&#39;", "'")


def test_the_largest_experiment_fits_a_mail() -> None:
    names = [f"treatment-{number}" for number in range(7)]
    bands = {name: Band(lift=0.0123, lower=-0.04567, upper=0.1234) for name in names}
    points = [
        Point(at_ms=1_764_000_000_000 + 31_337 * n, units=n, coverage=min(16, n), bands=bands)
        for n in range(500)
    ]
    variants = [{"name": name, "weight": 1, "model": "m"} for name in names]
    message = "x" * 500
    found = standing(
        running(
            guardrails=[{"name": "g" * 64, "state": "ok", "message": message[:256]}] * 16,
            history=[{"time": "2026-11-24T10:00:00Z", "phase": "Ramping", "message": message}] * 32,
            conditions=[condition("Accepted", "True", message * 2)],
        ),
        variants=[{"name": "control", "baseline": True, "weight": 1}, *variants],
    )
    alternating = {
        name: tuple(Range(n, n + 1) for n in range(place, 10000, 8))
        for place, name in enumerate(["control", *names])
    }
    text = page(Standing(found.name, found.spec, found.status, points), alternating, 100)
    assert len(text.encode()) <= LARGEST_BYTES


def test_before_the_first_look_there_is_a_page_all_the_same() -> None:
    text = drawn(standing({}, looks=0))
    assert "Nobody has looked at it yet" in text
    assert "Lift of" not in text
    assert "History" not in text
    assert "basket.rank.ranker-v2" in text


def test_a_lift_without_a_baseline_is_drawn_in_units_of_the_metric() -> None:
    absolute = [
        Point(
            at_ms=n,
            units=n,
            coverage=100,
            bands={"treatment": Band(lift=2, lower=1, upper=3, relative=False)},
        )
        for n in range(1000, 1010)
    ]
    shown = standing()
    text = drawn(Standing(shown.name, shown.spec, shown.status, [*course(), *absolute]))
    assert "Lift of add-to-cart at the last look: treatment +2 from +1 to +3" in text
    assert "1,000 units" in text  # the relative ones before are left out


def test_a_shadow_shows_its_agreement() -> None:
    variants: list[dict[str, Any]] = [
        {"name": "control", "baseline": True},
        {"name": "treatment", "model": "basket-ranker-v2"},
    ]
    none = dict.fromkeys(("store", "metrics", "primary", "guardrails", "ramp"))
    status = running(variants=[{"name": "control"}, {"name": "treatment", "shadow": "overlap 0.81"}])
    text = drawn(standing(status, looks=0, mode="shadow", variants=variants, **none))
    assert "agreement with the baseline" in text
    assert "overlap 0.81" in text
    assert "10,000 buckets" not in text


def test_the_split_shows_whose_each_bucket_is_and_whether_it_is_covered() -> None:
    bar = str(split_bar(HALVES, 50, {"control": "c0", "treatment": "c1"}))
    assert re.findall(r'class="part ([^"]+)" d="M(\d+) 0h(\d+)v1h-\d+z"', bar) == [
        ("c0 later", "50", "50"),
        ("c1 later", "150", "50"),
        ("c0", "0", "50"),
        ("c1", "100", "50"),
    ]


def test_buckets_of_nobody_are_empty() -> None:
    bar = str(split_bar({"control": (Range(0, 2500),)}, 100, {"control": "c0"}))
    assert re.findall('d="([^"]+)"', bar) == ["M0 0h50v1h-50z"]


@pytest.mark.parametrize("reach", [1e-4, 0.013, 0.057, 0.33, 1, 9.9, 1234])
def test_an_axis_has_a_few_round_numbers_and_zero(reach: float) -> None:
    found = ticks(-reach, reach)
    assert 2 <= len(found) <= 6
    assert 0.0 in found
    assert all(-reach <= tick <= reach for tick in found)


def test_thinning_keeps_both_ends() -> None:
    points = course(40)
    assert len(thinned(points, 7)) == 7
    assert [thinned(points, 7)[0], thinned(points, 7)[-1]] == [points[0], points[-1]]
    assert thinned(points, 40) == points


def test_moments_are_in_utc() -> None:
    assert moment("2026-11-24T10:00:00+02:00") == "24 Nov 2026, 08:00 UTC"
    assert moment(0) == "1 Jan 1970, 00:00 UTC"
    assert moment("soon") == "soon"
