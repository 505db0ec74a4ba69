# SPDX-License-Identifier: Apache-2.0
"""The API servers of this folder's tests."""

from api_server import api_server, collecting_api_server
from operated import world
from pods import pods

__all__ = ["api_server", "collecting_api_server", "pods", "world"]
