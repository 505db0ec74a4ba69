# SPDX-License-Identifier: Apache-2.0
"""The graph engine: from a readable request, through steps over columns, to a readable answer."""
