# SPDX-License-Identifier: Apache-2.0
"""`endcap features`: what is served, whether it is right, and what goes in and out in bulk."""
