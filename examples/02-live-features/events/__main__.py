# SPDX-License-Identifier: Apache-2.0
"""`python examples/02-live-features/events FILE`: real baskets as events, to replay another moment."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "01-basket"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from live import history
from live.events import Replay, write


def main() -> None:
    known = Replay()
    parser = argparse.ArgumentParser(prog="python examples/02-live-features/events", description=__doc__)
    parser.add_argument("file", type=Path, help="where to write them, a line each")
    parser.add_argument("--until", type=datetime.fromisoformat, default=known.until, help="the last moment")
    parser.add_argument(
        "--household", type=int, nargs="*", default=known.households, help="with four weeks each"
    )
    given = parser.parse_args()
    count = write(history.read(), Replay(given.until.replace(tzinfo=UTC), given.household), given.file)
    print(f"{count:,} events of simulated shopping, as they were in 2017, in {given.file}")


if __name__ == "__main__":
    main()
