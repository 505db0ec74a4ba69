# SPDX-License-Identifier: Apache-2.0
"""A stand-in for `python:3.11-slim-bookworm`, made from Debian's packages.

Where no image registry is reachable the same Dockerfiles are built on this: Debian bookworm with Python 3.11,
`python` and `pip` on the PATH, and a pip that may install into the system as it may in the official image.
"""

import hashlib
import subprocess
import tempfile
from pathlib import Path

from endcap_cluster import buildah
from endcap_cluster.errors import ClusterError
from endcap_cluster.exclusive import exclusive
from endcap_cluster.layout import IMAGES

PACKAGES = ("ca-certificates", "libgomp1", "python3", "python3-pip", "python3-venv", "usr-is-merged")
OPTIONS = (
    "--variant=minbase",
    # The merged layout is made at the start; without this hook Debian brings all of Perl to merge it.
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    "--dpkgopt=force-unsafe-io",
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")),
)
HOOKS = (
    'ln -s /usr/bin/python3 "$1/usr/local/bin/python"',
    'rm -f "$1"/usr/lib/python3.*/EXTERNALLY-MANAGED',
    'printf "#!/bin/sh\nexit 101\n" > "$1/usr/sbin/policy-rc.d" && chmod 755 "$1/usr/sbin/policy-rc.d"',
    'rm -rf "$1"/var/lib/apt/lists/*',
)
DOCKERFILE = """\
FROM scratch
ADD base.tar /
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
CMD ["python"]
"""
RECIPE = hashlib.sha256(repr((PACKAGES, OPTIONS, HOOKS, DOCKERFILE)).encode()).hexdigest()[:12]
TAG = f"localhost/endcap/python:3.11-bookworm-{RECIPE}"


def ensure() -> str:
    """Make the base image unless this recipe was made before; its tag in buildah's store."""
    made = buildah.HOME / f"base-{RECIPE}"  # removed with the store, it is made again
    with exclusive(IMAGES / ".base.lock"):
        if not made.exists():
            _make()
            made.touch()
    return TAG


def _make() -> None:
    with tempfile.TemporaryDirectory(dir=IMAGES) as scratch:
        context = Path(scratch)
        _bootstrap(context / "base.tar")
        (context / "Dockerfile").write_text(DOCKERFILE)
        buildah.build(TAG, context / "Dockerfile", context, {}, cache=False)


def _bootstrap(tar: Path) -> None:
    hooks = [f"--customize-hook={hook}" for hook in HOOKS]
    included = f"--include={','.join(PACKAGES)}"
    command = ["mmdebstrap", "--quiet", *OPTIONS, included, *hooks, "bookworm", str(tar)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"mmdebstrap could not make the base image:\n{done.stderr.strip()[-2000:]}")
