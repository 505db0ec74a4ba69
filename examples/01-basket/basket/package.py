# SPDX-License-Identifier: Apache-2.0
"""Packs what was trained, puts it into the local store and pins it in the YAML by its digest.

A version never changes. The same training gives the same bytes, and nothing moves; another one becomes the next
version, and the YAML differs by two lines.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

from basket import served
from basket.journey import Baskets, Items, Journey
from basket.names import display_names, readable
from basket.recall import Recall, Tables
from endcap_api.runtime_config import version_of
from endcap_cli.packing import pack
from endcap_cli.pinning import pinned
from endcap_cli.stores import LocalStore, file_digest

ADULTS_ONLY = {
    "BEERS/ALES",
    "CIGARETTES",
    "CIGARS",
    "DOMESTIC WINE",
    "FIREWORKS",
    "IMPORTED WINE",
    "LIQUOR",
    "MISC WINE",
    "TOBACCO OTHER",
}
IN_STORE_WEEKS = 4


@dataclass(frozen=True)
class Published:
    """A version that the YAML names now; `moved` when it did not before."""

    uri: str
    sha256: str
    bytes: int
    moved: bool


@dataclass(frozen=True)
class Artefact:
    """Something to publish: `build` writes it into an empty folder and returns the file or folder."""

    name: str
    file: str
    build: Callable[[Path], Path]


def artefacts(
    journey: Journey,
    past: Baskets,
    recall: Recall,
    ranker: lightgbm.Booster,
    ranker_name: str = "basket-ranker",
) -> list[Artefact]:
    """Three recall models and the ranker for models.yaml, the catalogue for graph.yaml."""
    return [
        Artefact("item-cooccurrence", "models.yaml", _tables("item_cooccurrence", recall.together)),
        Artefact("buy-it-again", "models.yaml", _tables("buy_it_again", recall.again)),
        Artefact("popularity", "models.yaml", _tables("popularity", recall.popular)),
        Artefact(ranker_name, "models.yaml", booster(ranker)),
        Artefact("catalogue", "graph.yaml", _catalogue(journey.items, past, recall)),
    ]


def publish(artefact: Artefact, store: LocalStore, resources: Path) -> Published:
    """Store the artefact and pin it in the YAML file that names it."""
    path = resources / artefact.file
    text = path.read_text(encoding="utf-8")
    uri, sha256 = _pins(text)[artefact.name]
    with _built(artefact, uri) as file:
        digest = file_digest(file)
        if digest != sha256:
            uri = _next(uri)
        while not _stored(store, uri, file, digest):
            uri = _next(uri)
        size = file.stat().st_size
    after = pinned(text, uri, digest)
    if after != text:
        path.write_text(after, encoding="utf-8")
    return Published(uri, digest, size, after != text)


def listed(published: Sequence[Published]) -> str:
    """A line an artefact: where, how large, and whether it is new."""
    lines = [
        f"{one.uri:40} {one.bytes:>9,} bytes  {one.sha256[:12]}  {'pinned anew' if one.moved else 'unchanged'}"
        for one in published
    ]
    return "\n".join(lines)


def _pins(text: str) -> dict[str, tuple[str, str]]:
    """The URI and digest of every artefact in a YAML file, by the model's name."""
    specs = [document["spec"] for document in yaml.safe_load_all(text)]
    places = [spec.get("model") or spec["catalogue"] for spec in specs]
    return {place["uri"].split("/")[-2]: (place["uri"], place["sha256"]) for place in places}


def _next(uri: str) -> str:
    folder, _, last = uri.rpartition("/")
    version = version_of(uri)
    return f"{folder}/{int(version) + 1}{last.removeprefix(version)}"


def _stored(store: LocalStore, uri: str, file: Path, digest: str) -> bool:
    """Whether the store holds these bytes under the URI now; not so when other bytes have it."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return store.put_new(bucket, key, file, digest) or store.digest(bucket, key) == digest


@contextmanager
def _built(artefact: Artefact, uri: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="basket-") as scratch:
        folder = Path(scratch) / "contents"
        folder.mkdir()
        built = artefact.build(folder)
        yield pack(built, Path(scratch) / "packed.tar.gz") if uri.endswith(".tar.gz") else built


def _tables(module: str, tables: Tables) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        shutil.copyfile(Path(served.__path__[0]) / f"{module}.py", folder / f"{module}.py")
        for name, values in tables.items():
            np.save(folder / f"{name}.npy", values, allow_pickle=False)
        return folder

    return build


def booster(ranker: lightgbm.Booster) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        ranker.save_model(folder / "model.txt")
        return folder

    return build


def _catalogue(items: Items, past: Baskets, recall: Recall) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        columns = {
            "id": items.key,
            "name": display_names(items.product_type, items.category),
            "category": [readable(category) for category in items.category],
            "department": [readable(department) for department in items.department],
            "price": items.price,
            "popularity": recall.share,
            "adults_only": _adults_only(items),
            "stores": _stores(past, len(items.key)),
        }
        pq.write_table(pa.table(columns), folder / "catalogue.parquet", compression="zstd")
        return folder / "catalogue.parquet"

    return build


def _adults_only(items: Items) -> list[bool]:
    pairs = zip(items.product_type, items.category, strict=True)
    return [category in ADULTS_ONLY or code.startswith("AGE RESTRICTED") for code, category in pairs]


def _stores(past: Baskets, count: int) -> list[list[str]]:
    """For each item the stores that sold it in the last four weeks, which stands for being in stock."""
    last = int(past.week.max())
    recent = past.weeks(last - IN_STORE_WEEKS + 1, last)
    store: NDArray[np.int32] = np.repeat(recent.store, np.diff(recent.start))
    pairs = np.unique(np.column_stack([recent.item, store]), axis=0)
    sold: list[list[str]] = [[] for _ in range(count)]
    for item, number in pairs.tolist():
        sold[item].append(str(number))
    return sold
