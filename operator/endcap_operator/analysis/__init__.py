# SPDX-License-Identifier: Apache-2.0
"""What the figures of an experiment say: pure, and of the standard library, since the operator's image has no numpy."""
