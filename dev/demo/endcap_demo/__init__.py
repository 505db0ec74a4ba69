# SPDX-License-Identifier: Apache-2.0
"""The main job from nothing to an answer, and to one that live events change: what `make demo` runs."""
