# SPDX-License-Identifier: Apache-2.0
"""Variants that are asked beside the answers and compared with them: mode shadow."""

from endcap_runtime.graph.shadow.asking import Shadows
from endcap_runtime.graph.shadow.form import ShadowForm, shadow_form

__all__ = ["ShadowForm", "Shadows", "shadow_form"]
