# SPDX-License-Identifier: Apache-2.0
"""Settings: what is missing or wrong is named with its remedy."""

from __future__ import annotations

import pytest

from endcap_operator.settings import Settings, SettingsError

IMAGES = {"ENDCAP_IMAGES": "python=a,sklearn=b,lightgbm=c,graph=d@sha256:12,redis=e"}


def test_images_alone_are_enough() -> None:
    settings = Settings.read(IMAGES)
    assert settings.platform.images == {
        "python": "a",
        "sklearn": "b",
        "lightgbm": "c",
        "graph": "d@sha256:12",
        "redis": "e",
    }
    assert settings.namespaces == ()
    assert settings.health == ("0.0.0.0", 8081)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "ENDCAP_IMAGES lacks python, sklearn, lightgbm, graph, redis: add"),
        ({"ENDCAP_IMAGES": "python=a,sklearn=,lightgbm=c,graph=d,redis=e"}, "ENDCAP_IMAGES lacks sklearn"),
        ({**IMAGES, "ENDCAP_WORKERS": "many"}, "ENDCAP_WORKERS is 'many': set a number above 0"),
        ({**IMAGES, "ENDCAP_RESYNC_SECONDS": "-1"}, "ENDCAP_RESYNC_SECONDS is '-1'"),
        ({**IMAGES, "ENDCAP_HEALTH_ADDRESS": "nowhere"}, "ENDCAP_HEALTH_ADDRESS is 'nowhere': set host:port"),
        ({**IMAGES, "ENDCAP_LOG_LEVEL": "loud"}, "ENDCAP_LOG_LEVEL is 'loud': set one of"),
    ],
)
def test_a_wrong_variable_is_named_with_its_remedy(environment: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.read(environment)
