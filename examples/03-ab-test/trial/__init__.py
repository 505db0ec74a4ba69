# SPDX-License-Identifier: Apache-2.0
"""A ranker that knows the household, tried against one that does not, on real baskets."""
