# SPDX-License-Identifier: Apache-2.0
"""All processes that one run may have: made here, tended, and ended in the order opposite to their start."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from endcap_cli.run.environment import Places
from endcap_cli.run.process import Child, free_port
from endcap_cli.terminal import complain


@dataclass
class Children:
    """Whoever starts a process makes it here first, so that none is ever left behind."""

    places: Places
    stopping: threading.Event
    known: list[Child] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def new(self, label: str, port: int | None = None, beside: Child | None = None) -> Child:
        """Not started yet; on a free port unless one is given."""
        files = self.places.files(f"{label} {next(self._numbers)}")
        child = Child(label, files, port or free_port(), beside)
        self.known.append(child)
        return child

    def drop(self, children: Iterable[Child]) -> None:
        """End them, and then the sidecars beside them."""
        for child in list(children):
            child.stop()
            self.known.remove(child)
            self.drop([one for one in self.known if one.beside is child])

    def tend(self) -> None:
        """Start again what ended by itself, at growing intervals."""
        for child in self.known:
            if child.ended() is not None and child.due():
                loss = f"; {child.loss}" if child.loss else ""
                complain(f"{child.label}: {child.why()}; starting it again{loss}")
                child.start_again()

    def take_down(self) -> None:
        for child in reversed(self.known):
            child.ask_to_stop()
        for child in reversed(self.known):
            child.stop()
