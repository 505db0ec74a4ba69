# SPDX-License-Identifier: Apache-2.0
"""The kinds of steps, a module each: an async callable from query to query."""
