# SPDX-License-Identifier: Apache-2.0
"""Phases and their seconds on standard error, also when several phases run at the same time."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()


def say(text: str) -> None:
    """Print one line at once; lines of concurrent phases never mix."""
    with _lock:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Announce a phase, and its seconds when it has ended well."""
    say(f"  {name} ...")
    begun = time.monotonic()
    yield
    say(f"  {name}: {time.monotonic() - begun:.1f} s")
