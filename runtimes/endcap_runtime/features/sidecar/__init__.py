# SPDX-License-Identifier: Apache-2.0
"""The server beside a graph or a model that answers its lookups, on a UNIX socket."""
