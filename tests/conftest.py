# SPDX-License-Identifier: Apache-2.0
"""The fixtures that tests in more than one folder share."""

from api_server import api_server, collecting_api_server

__all__ = ["api_server", "collecting_api_server"]
