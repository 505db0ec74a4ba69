# SPDX-License-Identifier: Apache-2.0
"""The recall models as they run in their pods.

Each module is copied alone into its archive and imports numpy only. Training and evaluation call the very same
code, so that what the ranker learned from is what it sees when it serves.
"""
