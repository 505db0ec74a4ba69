# SPDX-License-Identifier: Apache-2.0
"""What this folder's tests share, beside the API servers of `tests/conftest.py`."""

from operated import world
from pods import pods

__all__ = ["pods", "world"]
