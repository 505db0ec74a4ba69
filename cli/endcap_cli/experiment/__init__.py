# SPDX-License-Identifier: Apache-2.0
"""`endcap experiment`: who gets what, how it stands, and what a person decides."""
