# SPDX-License-Identifier: Apache-2.0
"""`python examples/02-live-features/events FILE`: real baskets as events, to replay another moment."""

import argparse
import sys
from datetime import UTC, datetime, timedelta
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
    parser.add_argument("--now", action="store_true", help="move all times, so that the last moment is now")
    given = parser.parse_args()
    until = given.until.replace(tzinfo=UTC)
    moved = datetime.now(UTC).replace(microsecond=0) - until if given.now else timedelta()
    count = write(history.read(), Replay(until, given.household, moved), given.file)
    when = f"moved by {moved.days:,} days to now" if given.now else "at the times of the data"
    print(f"{count:,} events of simulated shopping, {when}, in {given.file}")


if __name__ == "__main__":
    main()
