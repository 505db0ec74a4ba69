# SPDX-License-Identifier: Apache-2.0
"""The shop that the tests of this folder share."""

from basket_shop import shop, whole

__all__ = ["shop", "whole"]
