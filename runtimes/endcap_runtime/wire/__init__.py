# SPDX-License-Identifier: Apache-2.0
"""Columns on the wire: pure functions between bytes and numpy, shared by the model server and its callers.

A column of a scalar type is an array of N values (float64, int64, bool, or object for text); a column of type
array is a list of N lists.
"""
