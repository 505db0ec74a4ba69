# SPDX-License-Identifier: Apache-2.0
"""`python examples/03-ab-test/train`: train, store and pin the models; with `--evaluate` measure them instead."""

import argparse
import os
import sys
from pathlib import Path

# One thread everywhere, and set before numpy loads: the same bytes on every run, and no fight over small machines.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "01-basket"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "02-live-features"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trial import pipeline


def main() -> None:
    parser = argparse.ArgumentParser(prog="python examples/03-ab-test/train", description=__doc__)
    parser.add_argument("--evaluate", action="store_true", help="print the quality table, store nothing")
    pipeline.run(evaluating=parser.parse_args().evaluate)


if __name__ == "__main__":
    main()
