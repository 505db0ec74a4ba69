# SPDX-License-Identifier: Apache-2.0
"""The catalogue: what it refuses, and how names, keys and rows become each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap_api.v1alpha1.inferencegraph import Catalogue as Spec
from endcap_runtime.graph.catalogue import Catalogue, CatalogueInvalid
from endcap_runtime.graph.columns import Lists, Words

ITEMS: dict[str, Any] = {
    "id": ["11", "12", "13"],
    "name": ["Paper plates", "Plastic cups", "Paper napkins"],
    "category": ["party", "party", None],
    "price": [2.5, None, 1.0],
    "sold": [10, 30, 20],
    "organic": [True, False, False],
    "stores": [["330", "12"], ["12"], None],
}
COLUMNS = [
    {"name": "id", "type": "string"},
    {"name": "name", "type": "string"},
    {"name": "category", "type": "string"},
    {"name": "price", "type": "number"},
    {"name": "sold", "type": "integer"},
    {"name": "organic", "type": "boolean"},
    {"name": "stores", "type": "array", "items": {"type": "string"}},
]


def spec(columns: list[dict[str, Any]]) -> Spec:
    return Spec.model_validate(
        {"uri": "s3://models/catalogue/1.parquet", "sha256": "0" * 64, "columns": columns}
    )


def load(folder: Path, columns: list[dict[str, Any]] = COLUMNS, **changed: Any) -> Catalogue:
    path = folder / "catalogue.parquet"
    pq.write_table(pa.table({**ITEMS, **changed}), path)
    return Catalogue.load(path, spec(columns))


def test_names_keys_and_rows_become_each_other(tmp_path: Path) -> None:
    catalogue = load(tmp_path)
    assert catalogue.size == 3
    assert catalogue.rows_of(["13", "nobody", "11", ""]).tolist() == [2, -1, 0, -1]
    assert catalogue.names(np.array([2, -1, 0], np.int32)) == ["Paper napkins", "", "Paper plates"]
    assert catalogue.keys(np.array([2, -1, 0], np.int32)) == ["13", "", "11"]


def test_a_name_is_found_whatever_its_case_but_never_by_an_empty_string(tmp_path: Path) -> None:
    catalogue = load(tmp_path)
    assert catalogue.row_of_name("Plastic cups") == 1
    assert catalogue.row_of_name(" plastic CUPS ") == 1
    assert catalogue.row_of_name("") is None
    assert catalogue.row_of_name("Plastic cup") is None


def test_a_name_is_found_however_its_accents_are_written(tmp_path: Path) -> None:
    composed, decomposed = "Caf\u00e9 cr\u00e8me", "Cafe\u0301 cre\u0300me"
    catalogue = load(tmp_path, name=[composed, "Cre\u0300me", "Tea"])
    assert [catalogue.row_of_name(name) for name in (composed, decomposed, decomposed.upper())] == [0, 0, 0]
    assert catalogue.row_of_name("Cr\u00e8me") == 1
    assert catalogue.row_of_name("Cafe creme") is None


def test_an_exact_name_goes_before_one_of_another_case(tmp_path: Path) -> None:
    catalogue = load(tmp_path, name=["ice", "ICE", "Ice"])
    assert [catalogue.row_of_name(name) for name in ("ice", "ICE", "Ice", "iCE")] == [0, 1, 2, 0]


def test_the_nearest_names_are_those_a_person_meant(tmp_path: Path) -> None:
    assert load(tmp_path).nearest("papr napkin")[0] == "Paper napkins"
    assert load(tmp_path).nearest("cups", limit=1) == ["Plastic cups"]


def test_the_nearest_name_is_found_in_a_large_catalogue_too(tmp_path: Path) -> None:
    names = [f"Item number {n}" for n in range(9_999)] + ["Paper napkins"]
    table = {"id": [str(n) for n in range(10_000)], "name": names}
    pq.write_table(pa.table(table), tmp_path / "large.parquet")
    catalogue = Catalogue.load(tmp_path / "large.parquet", spec(COLUMNS[:2]))
    assert catalogue.nearest("papr napkin")[0] == "Paper napkins"
    assert len(catalogue.nearest("z" * 100_000)) <= 3


def test_columns_come_back_as_they_were_written(tmp_path: Path) -> None:
    catalogue, rows = load(tmp_path), np.array([2, 0], np.int32)
    assert catalogue.values("category", rows).tolist() == ["", "party"]
    assert catalogue.values("sold", rows).tolist() == [20, 10]
    assert catalogue.values("organic", rows).tolist() == [False, True]
    assert catalogue.values("stores", rows).tolist() == [[], ["330", "12"]]
    assert catalogue.values("name", rows).tolist() == ["Paper napkins", "Paper plates"]
    assert np.isnan(catalogue.values("price", np.array([1], np.int32)))[0]


def test_the_highest_come_first_and_unknown_numbers_last(tmp_path: Path) -> None:
    catalogue = load(tmp_path)
    assert catalogue.highest("sold").tolist() == [1, 2, 0]
    assert catalogue.highest("price").tolist() == [0, 2, 1]


def test_codes_of_names_are_rows_so_that_products_need_no_look_up(tmp_path: Path) -> None:
    products = load(tmp_path).products(np.array([1, -1], np.int32))
    assert isinstance(products, Words)
    assert products.decode().tolist() == ["Plastic cups", ""]


def test_other_widths_and_dictionaries_are_read_as_what_they_mean(tmp_path: Path) -> None:
    catalogue = load(
        tmp_path,
        category=pa.array(["a", "b", "a"]).dictionary_encode(),
        sold=pa.array([1, 2, 3], pa.uint8()),
        price=pa.array([1, 2, 3], pa.int32()),
        stores=pa.array([["1"], [], ["2"]], pa.large_list(pa.large_string())),
    )
    rows = np.arange(3, dtype=np.int32)
    assert catalogue.values("category", rows).tolist() == ["a", "b", "a"]
    assert catalogue.values("sold", rows).tolist() == [1, 2, 3]
    assert catalogue.values("price", rows).tolist() == [1.0, 2.0, 3.0]
    assert catalogue.values("stores", rows).tolist() == [["1"], [], ["2"]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": ["11", "12", "11"]}, r"column id is '11' in rows 0 and 2.*unique"),
        ({"name": ["a", "b", "b"]}, r"column name is 'b' in rows 1 and 2.*unique"),
        ({"id": ["11", None, "13"]}, r"column id is empty in row 1: every item needs a key"),
        ({"price": ["cheap", "dear", "dear"]}, r"column price is declared number, but the file holds string"),
        ({"price": [True, False, True]}, r"column price is declared number, but the file holds bool"),
        ({"sold": [1.5, 2.0, 3.0]}, r"column sold is declared integer, but the file holds double"),
        ({"sold": [1, None, 3]}, r"column sold is null in row 1: fill it"),
        ({"organic": [True, True, None]}, r"column organic is null in row 2"),
        ({"sold": pa.array([1, 2, 2**64 - 1], pa.uint64())}, r"column sold does not fit integer"),
        ({"stores": ["330", "12", "12"]}, r"column stores is declared array, but the file holds string"),
        ({"stores": [["330", None], [], []]}, r"column stores has a list with a null"),
        ({"stores": [[330], [], []]}, r"column stores is declared string, but the file holds int64"),
    ],
)
def test_a_file_that_is_not_what_was_declared_is_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(CatalogueInvalid, match=message):
        load(tmp_path, **changed)


def test_a_missing_column_is_named_with_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(CatalogueInvalid, match="lacks column brand; it has id, name, category"):
        load(tmp_path, [*COLUMNS, {"name": "brand", "type": "string"}])


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    pq.write_table(pa.table({"id": pa.array([], pa.string()), "name": pa.array([], pa.string())}), path)
    with pytest.raises(CatalogueInvalid, match="no rows"):
        Catalogue.load(path, spec(COLUMNS[:2]))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 64 + b"PAR1", b"id,name\n1,a\n"])
def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.parquet"
    path.write_bytes(content)
    with pytest.raises(CatalogueInvalid, match="no readable Parquet"):
        Catalogue.load(path, spec(COLUMNS))


def test_a_flipped_byte_is_an_error_or_a_readable_file_but_never_another_exception(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.parquet"
    pq.write_table(pa.table(ITEMS), path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            Catalogue.load(path, spec(COLUMNS))
        except CatalogueInvalid:
            continue


LISTS = st.lists(st.lists(st.sampled_from(["", "a", "b", "cc"]), max_size=4), min_size=1, max_size=12)


@given(LISTS, st.sampled_from(["", "a", "b", "cc", "nowhere"]), st.data())
def test_postings_know_who_holds_a_word(lists: list[list[str]], word: str, data: st.DataObject) -> None:
    offsets = np.cumsum([0, *map(len, lists)])
    column = Lists(offsets, Words.of([word for each in lists for word in each]))
    rows = np.array(data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=9)), dtype=np.int32)
    assert column.take(rows).holds(word).tolist() == [word in lists[row] for row in rows]
    assert column.take(rows).lengths().tolist() == [len(lists[row]) for row in rows]
    assert column.take(rows).decode().tolist() == [lists[row] for row in rows]


NUMBERS = st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf")])


@given(st.lists(st.lists(NUMBERS, max_size=4), min_size=1, max_size=8), NUMBERS)
def test_postings_of_numbers_compare_as_numbers_do(lists: list[list[float]], value: float) -> None:
    column = Lists(
        np.cumsum([0, *map(len, lists)]), np.array([v for each in lists for v in each], np.float64)
    )
    rows = np.arange(len(lists), dtype=np.int32)
    assert column.take(rows).holds(value).tolist() == [any(v == value for v in each) for each in lists]
