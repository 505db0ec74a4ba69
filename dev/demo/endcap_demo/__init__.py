# SPDX-License-Identifier: Apache-2.0
"""The main job from nothing to an answer, to one that live events change, and to a verdict: what `make demo` runs."""
