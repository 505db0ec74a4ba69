# SPDX-License-Identifier: Apache-2.0
"""`endcap events`: CloudEvents sent to a store, and those that it could not apply."""
