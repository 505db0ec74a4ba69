# SPDX-License-Identifier: Apache-2.0
"""An S3 server for model artefacts: in the cluster for pods, or on loopback for tests without pods.

Both are versitygw over a directory. The root credentials are made anew for each server.
"""

import base64
import contextlib
import http.client
import json
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from endcap_cluster import kubectl, ports, processes, toolchain, wait
from endcap_cluster.layout import SOURCES, STATE

MANIFEST = SOURCES / "manifests" / "s3.yaml"
NAMESPACE = "endcap-store"
SECRET = "s3-root"  # noqa: S105 - the name of a Secret
CREDENTIALS = STATE / "s3.json"
PORT = 7070
HEALTH = "/healthz"


@dataclass(frozen=True)
class Store:
    """Where an S3 server answers, and who may write; the region is `us-east-1`."""

    endpoint: str
    access_key: str
    secret_key: str


@contextlib.contextmanager
def loopback(directory: Path) -> Iterator[Store]:
    """An S3 server on a free port of loopback while the context lasts.

    Its buckets are the folders of `directory`/buckets; its log is `directory`/versitygw.log.
    """
    buckets = directory / "buckets"
    pids = directory / "pids"
    buckets.mkdir(parents=True, exist_ok=True)
    pids.mkdir(exist_ok=True)
    (port,) = ports.free(1)
    store = Store(f"http://127.0.0.1:{port}", *_new_keys())
    record = _start(directory, port, store)
    try:
        log = directory / "versitygw.log"
        wait.until_serving(record, log, lambda: _healthy("127.0.0.1", port), seconds=20)
        yield store
    finally:
        processes.stop(pids, record, grace=2)
        shutil.rmtree(pids)


def install(kubeconfig: Path) -> Store:
    """Run the S3 server in the cluster; its keys are kept across calls, since clients hold them."""
    manifest = MANIFEST.read_text()
    kubectl.apply(kubeconfig, manifest.split("---")[0])
    if not kubectl.succeeds(kubeconfig, "--namespace", NAMESPACE, "get", "secret", SECRET):
        kubectl.apply(kubeconfig, _secret(*_new_keys()))
    kubectl.apply(kubeconfig, manifest)
    kubectl.run(kubeconfig, "--namespace", NAMESPACE, "rollout", "status", "deployment/s3", "--timeout=120s")
    store = read(kubeconfig)
    CREDENTIALS.touch(mode=0o600)
    CREDENTIALS.write_text(json.dumps(asdict(store)))
    return store


def read(kubeconfig: Path) -> Store:
    """The cluster's S3 server as this machine reaches it: by the Service's address."""
    address = _get(kubeconfig, "service", "s3", "{.spec.clusterIP}")
    template = '{.data.access_key}{"\\n"}{.data.secret_key}'
    encoded = _get(kubeconfig, "secret", SECRET, template).splitlines()
    return Store(f"http://{address}:{PORT}", *(_decoded(value) for value in encoded))


def _start(directory: Path, port: int, store: Store) -> processes.Record:
    program = str(toolchain.build(toolchain.S3))
    argv = [program, f"--port=127.0.0.1:{port}", f"--health={HEALTH}", "--quiet"]
    keys = {"ROOT_ACCESS_KEY": store.access_key, "ROOT_SECRET_KEY": store.secret_key}
    posix = ["posix", str(directory / "buckets")]
    log = directory / "versitygw.log"
    return processes.start(directory / "pids", "versitygw", [*argv, *posix], log, keys)


def _healthy(address: str, port: int) -> bool:
    connection = http.client.HTTPConnection(address, port, timeout=1)
    try:
        connection.request("GET", HEALTH)
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _new_keys() -> tuple[str, str]:
    return secrets.token_hex(10), secrets.token_hex(20)


def _secret(access_key: str, secret_key: str) -> str:
    metadata = {"name": SECRET, "namespace": NAMESPACE}
    data = {"access_key": access_key, "secret_key": secret_key}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})


def _get(kubeconfig: Path, kind: str, name: str, template: str) -> str:
    arguments = ("--namespace", NAMESPACE, "get", kind, name, f"--output=jsonpath={template}")
    return kubectl.run(kubeconfig, *arguments)


def _decoded(value: str) -> str:
    return base64.b64decode(value).decode()
