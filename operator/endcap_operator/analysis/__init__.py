# SPDX-License-Identifier: Apache-2.0
"""What the figures of an experiment say: pure, of the standard library alone, since the operator's image has no numpy."""
