# SPDX-License-Identifier: Apache-2.0
"""The feature sidecar, and where a store is for those who read from it.

The sidecar is a native one: it is ready before the container that asks it, and still there while that one drains. The
Secrets of the stores are mounted for it alone: what runs beside it is code that a data scientist brought.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from endcap_api.features_config import FeaturesConfig, StoreConfig, prefix_of
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.featurestore import FeatureStoreSpec
from endcap_api.v1alpha1.pods import Resources
from endcap_operator.manifests.pod import (
    SECRETS,
    STARTUP_SECONDS,
    Mount,
    container,
    home,
    scratch,
    secret_mount,
    sized,
    variables,
)
from endcap_operator.platform import Platform

CONTAINER = "features"
LOOK_UP = ("python", "-m", "endcap_runtime.features.sidecar")
DIRECTORY = "/etc/endcap/features"
SOCKETS = "/run/endcap"
SOCKET = f"{SOCKETS}/features.sock"
PORT = 8081
REDIS_PORT = 6379
RESOURCES = Resources(cpu="100m", memory="256Mi")


def store_config(namespace: str, name: str, spec: FeatureStoreSpec) -> StoreConfig:
    """A store as a sidecar or an ingest pod is told of it."""
    own = spec.redis
    credentials = own.secret_ref.name if own and own.secret_ref else None
    return StoreConfig(
        url=own.url if own else f"redis://{name}-store.{namespace}.svc:{REDIS_PORT}",
        cluster=own.cluster if own else False,
        secret=credentials if own else f"{name}-store",
        prefix=prefix_of(namespace, name),
        max_lag_ms=milliseconds(spec.max_lag),
        max_backlog=spec.ingest.max_backlog,
        dead_letters=spec.ingest.dead_letters,
        serving_log=spec.serving_log.max_entries if spec.serving_log else None,
    )


def secrets_of(config: FeaturesConfig) -> list[str]:
    """The Secrets with the credentials of its stores."""
    return sorted({store.secret for store in config.stores.values() if store.secret})


def credentials(config: FeaturesConfig) -> list[Mount]:
    return [secret_mount(name) for name in secrets_of(config)]


def sockets() -> Mount:
    """The directory of the socket, which the sidecar and the container that asks it share."""
    return Mount({"name": "features", "emptyDir": {"sizeLimit": "1Mi"}}, SOCKETS, read_only=False)


def asking() -> dict[str, str | None]:
    """What the container that asks the sidecar must know."""
    return {"ENDCAP_FEATURES_SOCKET": SOCKET}


def reading(directory: str) -> dict[str, str | None]:
    """What every reader of a store must know: where its configuration and the credentials are."""
    return {"ENDCAP_FEATURES_DIR": directory, "ENDCAP_SECRETS_DIR": SECRETS}


def sidecar(
    config: FeaturesConfig, platform: Platform, configured: Mount
) -> tuple[dict[str, Any], Sequence[Mount]]:
    """The container, and the mounts that the pod must have for it; `configured` is that of features.json."""
    mounts = [configured, sockets(), *scratch()[:1], *credentials(config)]
    env = variables({**reading(configured.path), **asking(), "ENDCAP_PORT": str(PORT), **home()})
    serve = {
        **container(CONTAINER, platform.images["graph"], LOOK_UP, env, mounts),
        "imagePullPolicy": platform.pull_policy,
        "resources": sized(RESOURCES),
        **_probed(),
    }
    return serve, mounts


def _probed() -> dict[str, Any]:
    """Not asked whether it is ready once it was: a store that is away takes no pod out of service."""
    live, ready = ({"httpGet": {"path": path, "port": "features"}} for path in ("/livez", "/readyz"))
    return {
        "restartPolicy": "Always",
        "ports": [{"name": "features", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": {
            **ready,
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": STARTUP_SECONDS,
        },
        "livenessProbe": {**live, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6},
    }
