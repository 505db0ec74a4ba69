# SPDX-License-Identifier: Apache-2.0
"""`endcap`: finds the command, and is the one place where errors become a line and a status.

Exit status: 0 done, 1 problems or a failure, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from endcap_cli.arguments import parser
from endcap_cli.terminal import CommandError, complain

DEBUG = "ENDCAP_DEBUG"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status; argparse itself ends with 2 for wrong usage."""
    parsed = parser().parse_args(arguments)
    try:
        return _command(parsed.run)(parsed)
    except CommandError as error:
        complain(f"endcap: {error}")
        return error.status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read has gone, and the interpreter would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        complain(f"endcap: internal error: {type(error).__name__}: {error} ({DEBUG}=1 shows where)")
        return 1


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    """Loaded only when it is asked for: a command pays for its own libraries, and may lack those of another."""
    module, _, function = name.partition(":")
    try:
        found: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed: install endcap with its extras cli, operator and runtime"
        raise CommandError(message) from None
    return found


if __name__ == "__main__":
    sys.exit(main())
