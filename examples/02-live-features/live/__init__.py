# SPDX-License-Identifier: Apache-2.0
"""How the ranker of this example learns from live features, and how real baskets become events."""
