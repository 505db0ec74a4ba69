# SPDX-License-Identifier: Apache-2.0
"""What the operator is told by its environment, which the chart writes.

| variable | meaning |
|---|---|
| `ENDCAP_IMAGES` | `python=…,sklearn=…,lightgbm=…,graph=…,redis=…`: the image of each kind of pod |
| `ENDCAP_IMAGE_PULL_POLICY` | of those pods; IfNotPresent |
| `ENDCAP_S3_ENDPOINT` | the platform's S3 endpoint; none |
| `ENDCAP_ALLOWED_HOSTS` | comma-separated `host[:port]` with private addresses that artefacts may come from |
| `ENDCAP_NAMESPACES` | comma-separated namespaces to serve; all |
| `ENDCAP_WORKERS` | reconciliations at once; 8 |
| `ENDCAP_RESYNC_SECONDS` | time between full comparisons with the cluster; 600 |
| `ENDCAP_HEALTH_ADDRESS` | `host:port` of /healthz, /readyz and /metrics; 0.0.0.0:8081 |
| `ENDCAP_LOG_LEVEL` | INFO |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from endcap_operator.platform import Platform

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
REQUIRED_IMAGES = ("python", "sklearn", "lightgbm", "graph", "redis")


class SettingsError(ValueError):
    """An environment variable that is missing or cannot be read; the message names it and the remedy."""


@dataclass(frozen=True)
class Settings:
    """`namespaces` is empty where all are served."""

    platform: Platform
    namespaces: tuple[str, ...] = ()
    workers: int = 8
    resync_seconds: float = 600.0
    health: tuple[str, int] = ("0.0.0.0", 8081)  # noqa: S104 - probes come from outside the pod
    log_level: str = "INFO"

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        return cls(
            platform=_platform(environment),
            namespaces=_list(environment, "ENDCAP_NAMESPACES"),
            workers=int(_number(environment, "ENDCAP_WORKERS", 8)),
            resync_seconds=_number(environment, "ENDCAP_RESYNC_SECONDS", 600),
            health=_address(environment, "ENDCAP_HEALTH_ADDRESS", "0.0.0.0:8081"),
            log_level=_level(environment),
        )


def _platform(environment: Mapping[str, str]) -> Platform:
    return Platform(
        images=_images(environment),
        pull_policy=environment.get("ENDCAP_IMAGE_PULL_POLICY", "IfNotPresent"),
        s3_endpoint=environment.get("ENDCAP_S3_ENDPOINT") or None,
        allowed_hosts=_list(environment, "ENDCAP_ALLOWED_HOSTS"),
    )


def _images(environment: Mapping[str, str]) -> dict[str, str]:
    pairs = (item.partition("=") for item in _list(environment, "ENDCAP_IMAGES"))
    images = {name: image for name, _, image in pairs if image}
    if missing := [name for name in REQUIRED_IMAGES if name not in images]:
        raise SettingsError(
            f"ENDCAP_IMAGES lacks {', '.join(missing)}: add e.g. {missing[0]}=registry/image:tag"
        )
    return images


def _list(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in environment.get(name, "").split(",") if item.strip())


def _address(environment: Mapping[str, str], name: str, default: str) -> tuple[str, int]:
    host, _, port = environment.get(name, default).rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(f"{name} is {environment[name]!r}: set host:port, or leave it out for {default}")
    return host, int(port)


def _level(environment: Mapping[str, str]) -> str:
    level = environment.get("ENDCAP_LOG_LEVEL", "INFO")
    if level not in LEVELS:
        raise SettingsError(f"ENDCAP_LOG_LEVEL is {level!r}: set one of {', '.join(LEVELS)}")
    return level


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if number <= 0:
        raise SettingsError(f"{name} is {text!r}: set a number above 0, or leave it out for {default:g}")
    return number
