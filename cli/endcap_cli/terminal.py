# SPDX-License-Identifier: Apache-2.0
"""What reaches a person's terminal: escaped, on the right stream, one line at a time.

Names and messages come from files and clusters that other people write. A control character could move the
cursor, a bidirectional mark could make one word read as another, so both are shown by their number.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


class CommandError(Exception):
    """Ends the command with one line on standard error; `status` is 1 for a failure, 2 for wrong usage."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def escaped(text: str) -> str:
    r"""One printable line: a line break reads `\n`, an escape character `\x1b`."""
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def say(text: str = "") -> None:
    """A line on standard output."""
    print(escaped(text), flush=True)


def say_lines(text: str) -> None:
    """Text of several lines; each is escaped."""
    for line in text.splitlines():
        say(line)


def say_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for line in table_lines(head, rows):
        say(line)


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell, each cell escaped."""
    shown = [[escaped(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(head))]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in shown]


def complain(text: str) -> None:
    """A line on standard error."""
    print(escaped(text), file=sys.stderr, flush=True)


def counted(number: int, noun: str) -> str:
    """`no problems`, `1 problem`, `2 problems`."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
