# SPDX-License-Identifier: Apache-2.0
"""placeholder"""
from typing import Any
def openapi(config: Any, catalogue: Any) -> dict[str, Any]:
    return {}
