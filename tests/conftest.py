# SPDX-License-Identifier: Apache-2.0
"""The fixtures that tests in more than one folder share."""

import os

import hypothesis
from api_server import api_server, collecting_api_server

# Time is measured in benchmarks; on a shared machine an example may take any time.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("ci" if "CI" in os.environ else "untimed")

__all__ = ["api_server", "collecting_api_server"]
