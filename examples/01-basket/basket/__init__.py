# SPDX-License-Identifier: Apache-2.0
"""How the models of this example are made, measured and packed."""
