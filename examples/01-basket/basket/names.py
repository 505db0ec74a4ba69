# SPDX-License-Identifier: Apache-2.0
"""Names that a person can read: curated where products are often seen, spelled out from the codes elsewhere."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

CURATED = Path(__file__).resolve().parents[1] / "names.csv"
_WORDS = {
    "AMERICAN": "American",
    "BG": "bags",
    "BKD": "baked",
    "BN": "beans",
    "BTR": "butter",
    "CHRISTMAS": "Christmas",
    "CKYS": "cookies",
    "CLEANG": "cleaning",
    "CNDY": "candy",
    "COCO": "cocoa",
    "CONC": "concentrate",
    "CRKR": "crackers",
    "CRYSTL": "crystals",
    "DNR": "dinner",
    "DRNK": "drinks",
    "DRNKS": "drinks",
    "DRSNG": "dressing",
    "DSH": "dishes",
    "EASTER": "Easter",
    "ENGLISH": "English",
    "FD": "food",
    "FEM": "feminine",
    "FLVRD": "flavored",
    "FRENCH": "French",
    "FRZN": "frozen",
    "GM": "general goods",
    "HBC": "care",
    "HISPANIC": "Hispanic",
    "HYGN": "hygiene",
    "ITALIAN": "Italian",
    "JCE": "juice",
    "MISC": "other",
    "MIXS": "mixes",
    "MW": "microwave",
    "MX": "mixes",
    "MXS": "mixes",
    "ORIENTAL": "Asian",
    "PCKGD": "packaged",
    "PK": "packs",
    "PKLD": "pickled",
    "PNT": "peanut",
    "PWDR": "powder",
    "REFRGRATD": "refrigerated",
    "SALD": "salad",
    "SHERBTS": "sherbets",
    "SNDWCH": "sandwich",
    "SNKS": "snacks",
    "SPLY": "supplies",
    "SPRD": "spreads",
    "TISS": "tissue",
    "TRSH": "trash",
    "VEG": "vegetables",
    "WHLSM": "wholesome",
    "WTR": "water",
}


def display_names(product_types: Sequence[str], categories: Sequence[str]) -> list[str]:
    """One name each, all different; a clash is settled by the category, then by the code as it is."""
    curated = _curated()
    names = [curated.get(code) or readable(code) for code in product_types]
    for more in ([readable(category) for category in categories], product_types):
        seen = Counter(name.lower() for name in names)
        names = [
            f"{name} ({extra})" if seen[name.lower()] > 1 and code not in curated else name
            for name, extra, code in zip(names, more, product_types, strict=True)
        ]
    return names


def readable(code: str) -> str:
    """`FRZN BRD STICK/PORTON` becomes `Frozen breaded stick/porton`; what is cut off in brackets goes."""
    text = re.sub(r"\([^)]*$|[()*.]", " ", code).replace(":", ": ").replace("&", " & ")
    if text.endswith("-MAGAZINE"):
        text = f"{text.removesuffix('-MAGAZINE')} MAGAZINES"
    words = re.sub(r"[A-Z]+", lambda match: _WORDS.get(match[0], match[0].lower()), text)
    words = re.sub(r"\s+", " ", words).strip(" -:,/&")
    return words[:1].upper() + words[1:]


def _curated() -> dict[str, str]:
    with CURATED.open(newline="", encoding="utf-8") as lines:
        return {line["product_type"]: line["name"] for line in csv.DictReader(lines)}
