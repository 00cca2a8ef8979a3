# SPDX-License-Identifier: GPL-2.0-only
"""The search for a deadlock, and the script that it found."""

import pytest

from kpkeys_bench.errors import ConfigError
from kpkeys_bench.scenario.behaviours import shipped
from kpkeys_bench.scenario.search import alphabet, search


@pytest.fixture(scope="module")
def found():
    return search("4K")


def test_search_finds_the_shipped_script(found):
    assert len(found.statements) == 4
    assert found.script == shipped()["D5"].read_text(encoding="utf-8")
    assert "deadlock" in found.stopped
    assert "alloc_mutex" in found.stopped


def test_search_finds_nothing_shorter(found):
    shorter = search("4K", depth=3)
    assert shorter.statements == ()
    assert shorter.script == ""
    assert shorter.tried < found.tried


def test_two_tables_at_most_are_covered_by_the_reserve():
    # 16K: an arbitrary range needs two tables, so the reserve of four is enough
    assert search("16K", depth=2).statements == ()


def test_alphabet_has_ranges_inside_one_leaf_and_across_two():
    assert sum("1 GB leaves" in meaning for meaning in alphabet("4K").values()) == 1
    assert sum(s.startswith("set_memory") for s in alphabet("64K")) == 3


@pytest.mark.parametrize("depth", [0, 7])
def test_depth_out_of_range_is_refused(depth):
    with pytest.raises(ConfigError, match="give 1 to 6"):
        search("4K", depth)
