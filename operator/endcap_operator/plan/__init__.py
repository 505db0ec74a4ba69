# SPDX-License-Identifier: Apache-2.0
"""What should be, from what is asked for and what is there: pure, so that golden files can tell the whole story."""
