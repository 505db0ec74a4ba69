# SPDX-License-Identifier: Apache-2.0
"""The one error that the command line prints without a traceback: its text tells what to do."""


class ClusterError(Exception):
    """Something that the person at the keyboard can remedy; the message says how."""
