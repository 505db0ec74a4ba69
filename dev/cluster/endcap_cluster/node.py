# SPDX-License-Identifier: Apache-2.0
"""The settings of what runs on the node: kubelet, kube-proxy, DNS. Pure text, proven on small machines."""

from dataclasses import dataclass
from pathlib import Path

from endcap_cluster import network
from endcap_cluster.control_plane import DOMAIN
from endcap_cluster.pki import Pair

NAME = "endcap"


@dataclass(frozen=True)
class Node:
    """What kubelet is told."""

    root: Path
    pod_logs: Path
    endpoint: str
    authority: Path
    serving: Pair
    kubeconfig: Path
    settings: Path


def kubelet_settings(plan: Node) -> str:
    """A kubelet that runs inside a container or VM without systemd, on either version of control groups.

    Disk pressure never evicts: a developer's full disk is no reason to lose the pods.
    """
    return f"""\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {network.GATEWAY}
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {plan.authority}}}
authorization: {{mode: Webhook}}
cgroupDriver: cgroupfs
clusterDNS: [{network.GATEWAY}]
clusterDomain: {DOMAIN}
containerRuntimeEndpoint: {plan.endpoint}
evictionHard: {{memory.available: 100Mi, nodefs.available: "0%", imagefs.available: "0%", nodefs.inodesFree: "0%"}}
failCgroupV1: false
failSwapOn: false
healthzBindAddress: 127.0.0.1
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
maxPods: 250
oomScoreAdj: 0
podLogsDir: {plan.pod_logs}
registerNode: true
resolvConf: ""
rotateCertificates: false
serializeImagePulls: false
syncFrequency: 10s
tlsCertFile: {plan.serving.certificate}
tlsPrivateKeyFile: {plan.serving.key}
"""


def kubelet(plan: Node) -> list[str]:
    return [
        "kubelet",
        f"--config={plan.settings}",
        f"--kubeconfig={plan.kubeconfig}",
        f"--root-dir={plan.root}",
        f"--hostname-override={NAME}",
        f"--node-ip={network.GATEWAY}",
    ]


def proxy_settings(kubeconfig: Path) -> str:
    """kube-proxy; connection tracking limits belong to the machine, and it may not raise them."""
    return f"""\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 0.0.0.0
clientConnection: {{kubeconfig: {kubeconfig}}}
clusterCIDR: {network.PODS}
conntrack: {{maxPerCore: 0}}
healthzBindAddress: 127.0.0.1:10256
hostnameOverride: {NAME}
metricsBindAddress: 127.0.0.1:10249
mode: iptables
iptables: {{minSyncPeriod: 100ms, syncPeriod: 30s}}
"""


def proxy(settings: Path) -> list[str]:
    return ["kube-proxy", f"--config={settings}"]


def dns_settings(kubeconfig: Path) -> str:
    """CoreDNS: names of Services and pods from the API server, nothing from outside the cluster."""
    return f"""\
.:53 {{
    bind {network.GATEWAY}
    errors
    cache 5
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 5
    }}
}}
"""
