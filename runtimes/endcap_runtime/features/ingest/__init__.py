# SPDX-License-Identifier: Apache-2.0
"""The ingest pods: events and rows in over HTTP, workers that apply them, and what people ask about both."""
