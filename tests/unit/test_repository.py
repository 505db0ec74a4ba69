# SPDX-License-Identifier: Apache-2.0
"""What must hold of the repository itself."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = (".py", ".go", ".sh")
HEADED = (*SOURCES, ".yaml", ".yml", "Dockerfile", "Makefile")
LONGEST_FILE = 300
LONGEST_TEST = 450  # a table of cases is long before it is hard to read
# Longer, each for one reason.
LONG_FILES = {
    "tests/integration/test_model_server.py": "everything that one server answers, on servers that start once",
}
SHIPPED = ("api/", "operator/", "runtimes/", "cli/")
MEDIAN_FUNCTION = 8
P90_FUNCTION = 25
# Spelt in parts, so that this file does not refuse itself.
MACHINE = re.compile("/" + r"(work|tmp/brief|root|home/\w+)/[a-z]")
INDEX = re.compile(r"(--(extra-)?index-url|" + "GOPROXY" + r"=http|registry\s*=\s*http)", re.IGNORECASE)


@cache
def tracked() -> tuple[str, ...]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


def python_files() -> list[str]:
    return [name for name in tracked() if name.endswith(".py")]


def test_operator_is_a_folder_and_never_a_package() -> None:
    """Python has a module of that name, and everything that imports it would break."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "tests" / "operator").exists()


def test_tests_are_no_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_operator_of_python_is_the_one_of_python() -> None:
    import operator

    assert not str(operator.__file__).startswith(str(ROOT))


def test_every_source_names_its_licence_first() -> None:
    """But for the resources of the examples, which read as their authors would write them."""
    sources = [name for name in tracked() if name.endswith(HEADED) and not _resource(name)]
    assert [name for name in sources if not _names_licence(text(name))] == []


def _resource(name: str) -> bool:
    return name.startswith("examples/") and name.endswith(".yaml")


def _names_licence(source: str) -> bool:
    lines = [line for line in source.splitlines()[:3] if not line.startswith(("#!", "# syntax="))]
    return bool(lines) and "SPDX-License-Identifier: Apache-2.0" in lines[0]


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    assert [name for name in tracked() if MACHINE.search(text(name))] == []


def test_no_file_names_a_package_index() -> None:
    assert [name for name in tracked() if INDEX.search(text(name))] == []


def test_files_are_short_enough_to_be_read_in_one_sitting() -> None:
    long = {
        name for name in tracked() if name.endswith(SOURCES) and len(text(name).splitlines()) > _longest(name)
    }
    assert long - set(LONG_FILES) == set()
    assert set(LONG_FILES) - long == set(), "short again: take it off the list"


def _longest(name: str) -> int:
    return LONGEST_TEST if name.startswith("tests/") else LONGEST_FILE


def test_functions_are_short() -> None:
    lengths = sorted(
        length for name in python_files() if name.startswith(SHIPPED) for length in _lengths(name)
    )
    assert statistics.median(lengths) <= MEDIAN_FUNCTION
    assert lengths[int(len(lengths) * 0.9)] <= P90_FUNCTION


def _lengths(name: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(text(name))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("word", ["utils", "common", "helpers", "misc"])
def test_no_module_is_named_after_nothing(word: str) -> None:
    assert [name for name in python_files() if word in (*Path(name).parts[:-1], Path(name).stem)] == []


def test_no_class_is_named_after_its_being_a_class() -> None:
    """BentoML's own word for what it serves is the exception."""
    vague = re.compile(r"^class \w+(Manager|Handler|Service)\b(?!\(Service)", re.MULTILINE)
    assert [name for name in python_files() if name.startswith(SHIPPED) and vague.search(text(name))] == []
