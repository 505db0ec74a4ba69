# SPDX-License-Identifier: Apache-2.0
"""The Redis of an embedded store: one instance with an append-only file, and one user who may not administer it.

The password is read from the mounted Secret when Redis starts, and reaches it as a digest in a file of its own:
arguments and environments are shown by `kubectl describe`, the log by `kubectl logs`.
"""

from __future__ import annotations

from typing import Any

from endcap_api.v1alpha1.featurestore import Embedded, Storage
from endcap_api.v1alpha1.pods import Replicas
from endcap_operator.manifests.deployment import IN_TURN, deployment
from endcap_operator.manifests.disruption import disruption_budget
from endcap_operator.manifests.features import REDIS_PORT
from endcap_operator.manifests.identity import Identity, manifest
from endcap_operator.manifests.pod import (
    SCRATCH,
    STARTUP_SECONDS,
    Mount,
    container,
    scratch,
    secret_mount,
    sized,
)
from endcap_operator.manifests.service import service
from endcap_operator.platform import Platform

CONTAINER = "redis"
USER = "endcap"
PASSWORD = "password"  # noqa: S105 - the name of a key
DATA = "/data"
# The rest of the pod's memory is for clients' buffers and for the pages that change while the file is rewritten.
DATA_SHARE = 0.7
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
# Nobody can be the default user, who is off. But Redis is, while it reads its own file again: without rights it would
# leave out every transaction, and what a function writes is one.
_START = """\
set -eu
umask 077
cd {secret}
digest=$(printf %s "$(cat password)" | sha256sum | cut -d ' ' -f 1)
printf 'user default reset off ~* &* +@all\\nuser %s reset on #%s ~* &* +@all -@admin -@dangerous +info\\n' \
"$(cat username)" "$digest" > {users}
exec redis-server "$@"
"""
_ASK = 'cd {secret}; REDISCLI_AUTH=$(cat password) redis-cli --user "$(cat username)" ping | grep -q PONG'


def redis_children(identity: Identity, spec: Embedded, platform: Platform) -> list[dict[str, Any]]:
    claims = [_claim(identity, spec.storage)] if spec.storage else []
    return [
        *claims,
        service(identity, "redis", REDIS_PORT),
        disruption_budget(identity),
        _deployment(identity, spec, platform),
    ]


def credentials_of(identity: Identity) -> dict[str, Any]:
    """The Secret without its PASSWORD, which is made up when the Secret is made, and known to nobody else."""
    return manifest("v1", "Secret", identity, stringData={"username": USER})


def _claim(identity: Identity, storage: Storage) -> dict[str, Any]:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.size}},
        **({"storageClassName": storage.class_name} if storage.class_name else {}),
    }
    return manifest("v1", "PersistentVolumeClaim", identity, spec=spec)


def _deployment(identity: Identity, spec: Embedded, platform: Platform) -> dict[str, Any]:
    secret = secret_mount(identity.child)
    mounts = [_data(identity, spec), secret, *scratch()[:1]]
    users = f"{SCRATCH}/users.acl"
    start = ("sh", "-c", _START.format(secret=secret.path, users=users), "redis", *_arguments(spec, users))
    serve = {
        **container(CONTAINER, platform.images["redis"], start, [], mounts),
        "imagePullPolicy": platform.pull_policy,
        "resources": sized(spec.resources),
        "ports": [{"name": "redis", "containerPort": REDIS_PORT, "protocol": "TCP"}],
        **_probes(secret.path),
    }
    return deployment(identity, Replicas(), [serve], mounts, strategy=IN_TURN)


def _data(identity: Identity, spec: Embedded) -> Mount:
    claim = {"persistentVolumeClaim": {"claimName": identity.child}}
    return Mount({"name": "data", **(claim if spec.storage else {"emptyDir": {}})}, DATA, read_only=False)


def _arguments(spec: Embedded, users: str) -> list[str]:
    settings = {
        "port": str(REDIS_PORT),
        "protected-mode": "no",  # which would refuse every user from outside the pod
        "aclfile": users,
        "dir": DATA,
        "appendonly": "yes",
        "appendfsync": spec.fsync,
        "save": "",
        "maxmemory": str(int(_bytes(spec.resources.memory) * DATA_SHARE)),
        "maxmemory-policy": "noeviction",
        "set-max-intset-entries": "65536",  # ids of a minute that were seen: 10 bytes each instead of 60
    }
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _bytes(memory: str) -> int:
    return int(memory[:-2]) * _UNITS[memory[-2:]]


def _probes(secret: str) -> dict[str, Any]:
    """Redis answers while it still reads its file, but not with PONG."""
    ask = {"exec": {"command": ["sh", "-c", _ASK.format(secret=secret)]}, "timeoutSeconds": 5}
    return {
        "startupProbe": {**ask, "periodSeconds": 1, "failureThreshold": STARTUP_SECONDS},
        "readinessProbe": {**ask, "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**ask, "periodSeconds": 10, "failureThreshold": 6},
    }
