# SPDX-License-Identifier: Apache-2.0
"""Exposures, outcomes and sums in an ingest pod."""
