# SPDX-License-Identifier: Apache-2.0
"""`endcap`: one command a module, and the one place where errors become a line and a status.

Exit status: 0 done, 1 problems or a failure, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from endcap_cli import model, plan, validate, version
from endcap_cli.run import command as run
from endcap_cli.terminal import CommandError, complain

DESCRIPTION = """\
Endcap serves models and inference graphs that are written as YAML.

  endcap validate examples/01-basket       check the files, without a cluster
  endcap run examples/01-basket            serve them on this machine, without a cluster
  endcap plan examples/01-basket           show what the operator would make of them
  endcap model push ranker.txt s3://models/ranker/5.txt --update models.yaml
"""
DEBUG = "ENDCAP_DEBUG"


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog="endcap", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (validate, run, plan, model, version):
        command.add_to(commands)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status; argparse itself ends with 2 for wrong usage."""
    parsed = parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except CommandError as error:
        complain(f"endcap: {error}")
        return error.status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        complain(f"endcap: internal error: {type(error).__name__}: {error} ({DEBUG}=1 shows where)")
        return 1


if __name__ == "__main__":
    sys.exit(main())
