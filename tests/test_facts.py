# SPDX-License-Identifier: GPL-2.0-only
"""docs/facts.md names functions and tests: they must be there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    line.split("|")[1:-1]
    for line in (ROOT / "docs" / "facts.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| fact ")
]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_table_is_read():
    assert len(ROWS) > 100
    assert all(len(row) == 3 for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0].strip()[:60] for row in ROWS])
def test_fact_has_a_test_that_exists_or_says_why_not(row):
    suite = None
    found = names(row[2])
    assert found or row[2].strip().startswith("none: ")
    for name in found:
        if "::" in name:
            file, function = name.split("::")
            text = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert f"def {function}(" in text
            continue
        suite, case = (name.split(":")[0] or suite), name.split(":")[1]
        text = (ROOT / "tests" / "c" / f"{suite}_kunit.c").read_text(encoding="utf-8")
        assert case == "*" or re.search(rf"KUNIT_CASE(_PARAM)?\(\s*{case}\b", text)


def test_functions_are_in_the_mirrors():
    files = [*(ROOT / "csrc").rglob("*.[ch]")]
    source = "\n".join(path.read_text(encoding="utf-8") for path in files)
    for name in {name for row in ROWS for name in names(row[1])}:
        known = name.rstrip("*").removesuffix("()")
        assert known in source or any(path.name == known for path in files), name
