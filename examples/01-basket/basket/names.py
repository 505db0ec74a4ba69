# SPDX-License-Identifier: Apache-2.0
"""Names that a person can read: curated where products are often seen, spelled out from the codes elsewhere."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

CURATED = Path(__file__).resolve().parents[1] / "names.csv"
_WORDS = {
    "BRD": "breaded",
    "BRKFST": "breakfast",
    "CHIX": "chicken",
    "CIG": "cigarette",
    "CNDLES": "candles",
    "DNRS": "dinners",
    "FEM": "feminine",
    "FLVR": "flavored",
    "FRE": "fresh",
    "FRD": "fried",
    "FRZ": "frozen",
    "FRZN": "frozen",
    "HBC": "care",
    "HYGN": "hygiene",
    "IQF": "individually frozen",
    "JCE": "juice",
    "JHOOK": "hook",
    "MISC": "assorted",
    "MLK": "milk",
    "ORIENTAL": "Asian",
    "PCKGD": "packaged",
    "PKG": "packaged",
    "PNT": "peanut",
    "PPK": "packaged",
    "PRESLC": "sliced",
    "PRESLCD": "sliced",
    "PRPCK": "packaged",
    "PREPACK": "packaged",
    "PRSLC": "sliced",
    "PREP": "prepared",
    "FD": "food",
    "QSR": "counter",
    "RW": "raw",
    "SAL": "salad bar",
    "SALD": "salad",
    "SFT": "soft",
    "SHLFSH": "shellfish",
    "SV": "served",
    "BEV": "beverage",
    "SW": "sweet",
    "GDS": "goods",
    "XMAS": "Christmas",
}


def display_names(product_types: Sequence[str], categories: Sequence[str]) -> list[str]:
    """One name each, all different; a clash is settled by the category, then by the code itself."""
    curated = _curated()
    names = [curated.get(code) or readable(code) for code in product_types]
    for more in (categories, product_types):
        seen = Counter(name.lower() for name in names)
        names = [
            f"{name} ({readable(extra)})" if seen[name.lower()] > 1 and code not in curated else name
            for name, extra, code in zip(names, more, product_types, strict=True)
        ]
    return names


def readable(code: str) -> str:
    """`FRZN BRD STICK/PORTON` becomes `Frozen breaded stick/porton`; what is cut off in brackets goes."""
    text = re.sub(r"\(([^)]*)$|[(*]+|\)", "", code).replace(":", ": ").replace("&", " & ")
    if text.endswith("-MAGAZINE"):
        text = f"{text.removesuffix('-MAGAZINE')} MAGAZINES"
    words = re.sub(r"[A-Z]+", lambda match: _WORDS.get(match[0], match[0].lower()), text)
    words = re.sub(r"\s+", " ", words).strip(" -:,/&")
    return words[:1].upper() + words[1:]


def _curated() -> dict[str, str]:
    with CURATED.open(newline="", encoding="utf-8") as lines:
        return {line["product_type"]: line["name"] for line in csv.DictReader(lines)}
