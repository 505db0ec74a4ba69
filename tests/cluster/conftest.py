# SPDX-License-Identifier: Apache-2.0
"""What this folder's tests share, beside the API servers of `tests/conftest.py`."""

from installed import kube
from operated import world
from pods import pods

__all__ = ["kube", "pods", "world"]
