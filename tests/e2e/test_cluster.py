# SPDX-License-Identifier: Apache-2.0
"""The development cluster is a real Kubernetes: what the product's own tests rely on holds in it.

Needs the full cluster (`python -m endcap_cluster up`), or the one that ENDCAP_E2E_KUBECONFIG names with the
image `endcap/python:dev` in it.
"""

import json
import os
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from endcap_cluster import audit, flavour, images, kubectl, ports, s3, tools
from endcap_cluster.errors import ClusterError
from endcap_cluster.layout import AUDIT_LOG, KUBECONFIG

pytestmark = pytest.mark.e2e

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      initContainers:
      - &container
        name: sidecar
        restartPolicy: Always
        image: endcap/python:dev
        imagePullPolicy: IfNotPresent
        command: [python, -m, http.server, "8081"]
        workingDir: /tmp
        resources: {limits: {memory: 64Mi}, requests: {cpu: 10m, memory: 32Mi}}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {drop: [ALL]}
        volumeMounts: [{name: tmp, mountPath: /tmp}]
      containers:
      - <<: *container
        name: web
        restartPolicy: null
        command: [python, -u, -m, http.server, "8080"]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
      volumes: [{name: tmp, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""


class Namespace:
    """kubectl in one namespace."""

    def __init__(self, kubeconfig: Path, name: str) -> None:
        self.kubeconfig = kubeconfig
        self.name = name

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return kubectl.run(self.kubeconfig, "--namespace", self.name, *arguments, stdin=stdin)

    def get(self, *arguments: str) -> list[dict[str, Any]]:
        return json.loads(self.kubectl("get", *arguments, "--output=json"))["items"]

    def python(self, code: str) -> str:
        """Run Python in one of the web pods."""
        return self.kubectl("exec", "deployment/web", "--container=web", "--", "python", "-c", code)


def eventually(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def kubeconfig() -> Path:
    named = os.environ.get("ENDCAP_E2E_KUBECONFIG")
    if named:
        return Path(named)
    assert KUBECONFIG.exists(), "the cluster is not up: python -m endcap_cluster up"
    (image,) = images.find(["endcap/python"])
    flavour.load(image)
    return KUBECONFIG


@pytest.fixture(scope="module")
def namespace(kubeconfig: Path) -> Iterator[Namespace]:
    name = f"cluster-{uuid.uuid4().hex[:8]}"
    kubectl.run(kubeconfig, "create", "namespace", name)
    enforced = "pod-security.kubernetes.io/enforce=restricted"
    kubectl.run(kubeconfig, "label", "namespace", name, enforced)
    yield Namespace(kubeconfig, name)
    kubectl.run(kubeconfig, "delete", "namespace", name)


@pytest.fixture(scope="module")
def web(namespace: Namespace) -> Namespace:
    """Two Ready replicas, each with a native sidecar, under the restricted Pod Security standard."""
    documents = [without_nulls(document) for document in yaml.safe_load_all(WEB)]
    namespace.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(documents))
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    return namespace


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def test_two_replicas_with_a_native_sidecar_become_ready(web: Namespace) -> None:
    pods = web.get("pods", "--selector=app=web")
    statuses = [status for pod in pods for status in pod["status"]["containerStatuses"]]
    assert len(pods) == 2
    assert all(status["ready"] for status in statuses)
    assert all(pod["status"]["initContainerStatuses"][0]["started"] for pod in pods)


def test_a_pod_runs_as_the_user_it_asked_for_without_capabilities(web: Namespace) -> None:
    status = web.python("print(open('/proc/self/status').read())")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    assert fields["Uid"].split() == ["65532"] * 4
    assert int(fields["CapEff"], 16) == 0
    assert int(fields["Seccomp"]) == 2


def test_the_root_file_system_is_read_only(web: Namespace) -> None:
    with pytest.raises(ClusterError, match="Read-only file system"):
        web.python("open('/written', 'w')")


def test_a_service_answers_by_its_dns_name_from_a_pod_that_may_be_its_own_backend(web: Namespace) -> None:
    code = (
        "import urllib.request as r\n"
        f"print([r.urlopen('http://web.{web.name}.svc', timeout=5).status for _ in range(20)])"
    )
    assert json.loads(web.python(code)) == [200] * 20


def test_requests_through_a_service_reach_both_replicas(web: Namespace) -> None:
    marker = uuid.uuid4().hex
    code = (
        "import urllib.request as r, urllib.error\n"
        "for _ in range(40):\n"
        f"  try: r.urlopen('http://web/{marker}', timeout=5)\n"
        "  except urllib.error.HTTPError: pass"
    )
    web.python(code)
    pods = [pod["metadata"]["name"] for pod in web.get("pods", "--selector=app=web")]
    logs = [web.kubectl("logs", pod, "--container=web") for pod in pods]
    assert all(marker in log for log in logs)


def test_an_unknown_name_is_not_resolved(web: Namespace) -> None:
    with pytest.raises(ClusterError, match="gaierror"):
        web.python("import socket; socket.gethostbyname('nothing.default.svc.cluster.local')")


def test_a_pod_reaches_the_api_server_with_its_own_identity(web: Namespace) -> None:
    code = (
        "import json, ssl, urllib.request as r\n"
        "at = '/var/run/secrets/kubernetes.io/serviceaccount/'\n"
        "tls = ssl.create_default_context(cafile=at + 'ca.crt')\n"
        "url = 'https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews'\n"
        "head = {'Authorization': 'Bearer ' + open(at + 'token').read(), 'Content-Type': 'application/json'}\n"
        'body = b\'{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}\'\n'
        "answer = r.urlopen(r.Request(url, body, head), context=tls, timeout=5)\n"
        "print(json.load(answer)['status']['userInfo']['username'])"
    )
    assert web.python(code).strip() == f"system:serviceaccount:{web.name}:default"


def test_port_forward_reaches_a_pod_from_this_machine(web: Namespace) -> None:
    (port,) = ports.free(1)
    at = [f"--kubeconfig={web.kubeconfig}", f"--namespace={web.name}"]
    forward = subprocess.Popen(
        [tools.KUBECTL.path, *at, "port-forward", "service/web", f"{port}:80"], stdout=subprocess.DEVNULL
    )
    try:
        eventually(lambda: ports.listening("127.0.0.1", port))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.status == 200
    finally:
        forward.terminate()
        forward.wait()


def test_a_privileged_pod_is_refused_in_a_restricted_namespace(namespace: Namespace) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "privileged"},
        "spec": {"containers": [{"name": "c", "image": "i", "securityContext": {"privileged": True}}]},
    }
    with pytest.raises(ClusterError, match='violates PodSecurity "restricted'):
        namespace.kubectl("apply", "--filename=-", stdin=json.dumps(pod))


def test_a_memory_limit_is_enforced_by_the_kernel(web: Namespace) -> None:
    with pytest.raises(ClusterError, match="exit code 137"):
        web.python("x = bytearray(10**9)")


def test_a_killed_container_is_started_again(web: Namespace) -> None:
    def restarts() -> int:
        pods = web.get("pods", "--selector=app=web")
        statuses = [status for pod in pods for status in pod["status"]["containerStatuses"]]
        return sum(status["restartCount"] for status in statuses if status["ready"])

    before = restarts()
    web.python("import os, signal; os.kill(1, signal.SIGTERM); os.kill(1, signal.SIGINT)")
    eventually(lambda: restarts() > before)
    web.kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def test_the_model_store_is_reached_from_this_machine_and_by_name_from_pods(web: Namespace) -> None:
    store = s3.read(web.kubeconfig)
    with urllib.request.urlopen(f"{store.endpoint}{s3.HEALTH}", timeout=10) as answer:  # noqa: S310 - our own
        assert answer.status == 200
    url = f"http://s3.{s3.NAMESPACE}.svc:{s3.PORT}{s3.HEALTH}"
    assert web.python(f"import urllib.request as r; print(r.urlopen('{url}', timeout=5).status)") == "200\n"


@pytest.mark.skipif(
    "ENDCAP_E2E_KUBECONFIG" in os.environ or not AUDIT_LOG.exists(),
    reason="only the embedded cluster writes an audit log that a test can read",
)
def test_the_audit_log_counts_the_writes_of_one_client(web: Namespace) -> None:
    begun = datetime.now(UTC)
    web.kubectl("annotate", "service/web", "endcap.dev/written=1")
    web.kubectl("get", "service/web")
    written = audit.writes(AUDIT_LOG, user_agent="kubectl/", since=begun)
    mine = [request for request in written if request.namespace == web.name]
    assert [(request.verb, request.resource, request.name) for request in mine] == [
        ("patch", "services", "web")
    ]


def test_deleting_an_owner_deletes_what_it_owns(web: Namespace) -> None:
    web.kubectl("delete", "deployment/web")
    eventually(lambda: not web.get("replicasets,pods"))
