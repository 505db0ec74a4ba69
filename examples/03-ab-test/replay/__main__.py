# SPDX-License-Identifier: Apache-2.0
"""`python examples/03-ab-test/replay`: real visits, asked of the graph, and what came of them told to the store."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trial import outcomes
from trial.replaying import Places, Replay, ReplayFailed
from trial.tally import Tally

FILE = Path(__file__).resolve().parents[1] / "store" / "visits.jsonl"


def main() -> None:
    given = _arguments()
    if not given.file.exists():
        sys.exit(f"{given.file} does not exist: run python examples/03-ab-test/train")
    visits = outcomes.read(given.file, given.visits)
    tally = Tally(given.experiment)
    told = outcomes.Told(datetime.now(UTC).strftime("%Y%m%dT%H%M%S"))
    replay = Replay(Places(given.graph, given.store.rstrip("/")), told, tally, _say)
    print(f"{len(visits):,} visits of simulated shopping, at {given.graph}", flush=True)
    try:
        asyncio.run(replay.run(visits))
    except* ReplayFailed as failed:
        sys.exit(str(failed.exceptions[0]))
    print(tally.table())
    if tally.failed:
        sys.exit(f"{len(tally.failed)} visits without an answer, the first: {tally.failed[0]}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python examples/03-ab-test/replay", description=__doc__)
    parser.add_argument("--graph", default="http://127.0.0.1:8080/last-call", help="the graph's own path")
    parser.add_argument("--store", default="http://127.0.0.1:8070", help="where the store takes events")
    parser.add_argument("--file", type=Path, default=FILE, help="the visits, a line each")
    parser.add_argument("--visits", type=int, help="only so many, the first by time (default: all)")
    parser.add_argument("--experiment", default="ranker-v2", help="whose variants are counted")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
