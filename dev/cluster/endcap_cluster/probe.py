# SPDX-License-Identifier: Apache-2.0
"""Asking an API server whether it is ready, before any client library is at hand."""

import http.client
import ssl
from urllib.parse import urlsplit

from endcap_cluster.pki import Pair


def context(authority: str, client: Pair) -> ssl.SSLContext:
    """TLS with a client certificate, trusting only the cluster's own authority."""
    made = ssl.create_default_context(cafile=authority)
    made.load_cert_chain(client.certificate, client.key)
    return made


def answers(url: str, path: str, tls: ssl.SSLContext) -> bool:
    """Whether GET `path` at `url` is answered with 200 within a second."""
    address = urlsplit(url)
    connection = http.client.HTTPSConnection(address.hostname or "", address.port, timeout=1, context=tls)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
