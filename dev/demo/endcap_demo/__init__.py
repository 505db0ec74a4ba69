# SPDX-License-Identifier: Apache-2.0
"""The main job from nothing to an answer: what `make demo` runs."""
