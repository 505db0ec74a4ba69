# SPDX-License-Identifier: Apache-2.0
"""Experiments in the engine: who gets which variant of a step, what serves them, and what is counted of it."""
