# SPDX-License-Identifier: Apache-2.0
"""Certificates, by the openssl command: one authority a cluster, one certificate a component."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from endcap_cluster.errors import ClusterError

DAYS = "3650"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
CONFIG = "[req]\ndistinguished_name=dn\n[dn]\n"


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and its private key."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """A certificate authority whose files lie in `directory`."""

    directory: Path

    @property
    def pair(self) -> Pair:
        return Pair(self.directory / "ca.crt", self.directory / "ca.key")

    def client(self, name: str, user: str, groups: Sequence[str] = ()) -> Pair:
        """A client certificate: Kubernetes reads the user from CN and the groups from O."""
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
        return self._issue(name, subject, "extendedKeyUsage=clientAuth")

    def server(self, name: str, addresses: Sequence[str], hosts: Sequence[str]) -> Pair:
        names = [f"IP:{address}" for address in addresses] + [f"DNS:{host}" for host in hosts]
        usage = ("extendedKeyUsage=serverAuth", "subjectAltName=" + ",".join(names))
        return self._issue(name, f"/CN={name}", *usage)

    def _issue(self, name: str, subject: str, *extensions: str) -> Pair:
        pair = Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        signer = ("-CA", str(self.pair.certificate), "-CAkey", str(self.pair.key))
        _request(self.directory, pair, subject, signer, extensions)
        return pair


def create_authority(directory: Path) -> Authority:
    authority = Authority(directory)
    (directory / "openssl.cnf").write_text(CONFIG)
    extensions = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,digitalSignature")
    _request(directory, authority.pair, "/CN=endcap-cluster", (), extensions)
    return authority


def signing_key(directory: Path) -> Path:
    """The key that signs service account tokens, in the one format that Kubernetes reads for checking too."""
    key = directory / "service-accounts.key"
    _openssl("ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", str(key))
    return key


def _request(
    directory: Path, pair: Pair, subject: str, signer: Sequence[str], extensions: Sequence[str]
) -> None:
    files = ("-keyout", str(pair.key), "-out", str(pair.certificate))
    config = ("-config", str(directory / "openssl.cnf"))
    added = [argument for extension in extensions for argument in ("-addext", extension)]
    _openssl("req", "-x509", *config, *KEY, *files, "-days", DAYS, "-subj", subject, *signer, *added)


def _openssl(*arguments: str) -> None:
    try:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise ClusterError("openssl is not installed: apt-get install openssl") from None
    except subprocess.CalledProcessError as failure:
        raise ClusterError(f"openssl {arguments[0]} failed: {failure.stderr.strip()}") from failure
