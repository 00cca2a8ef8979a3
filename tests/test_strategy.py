# SPDX-License-Identifier: GPL-2.0-only
"""Strategies, states, sizes: what is accepted, what is refused, what results carry."""

from pathlib import Path

import pytest

from kpkeys_bench import ConfigError, State, Strategy, geometry, parse_state
from kpkeys_bench.geometry import format_bytes, parse_bytes
from kpkeys_bench.strategy import is_allocator_file, parse_refill_orders

FILES = Path(__file__).parent / "allocators"
V6 = str(FILES / "v6" / "kpkeys_hardened_pgtables.c")
PATCHED = str(FILES / "patched" / "recheck.c")


@pytest.mark.parametrize(
    ("page_size", "orders", "levels"),
    [
        ("4K", (9, 4, 2), {"cont_pte": 4, "pmd": 9, "cont_pmd": 13, "pud": 18, "largest": 10}),
        ("16K", (11, 7, 2), {"cont_pte": 7, "pmd": 11, "cont_pmd": 16, "pud": 0, "largest": 11}),
        ("64K", (9, 5, 2), {"cont_pte": 5, "pmd": 13, "cont_pmd": 18, "pud": 0, "largest": 13}),
    ],
)
def test_geometry_of_each_page_size_is_that_of_arm64(page_size, orders, levels):
    found = geometry(page_size)
    assert found.refill_orders == orders
    assert levels == {
        "cont_pte": found.cont_pte_order,
        "pmd": found.pmd_order,
        "cont_pmd": found.cont_pmd_order,
        "pud": found.pud_order,
        "largest": found.max_page_order,
    }
    assert found.block_order == min(found.pmd_order, found.max_page_order)


def test_pba_without_orders_takes_those_of_the_page_size():
    assert Strategy().for_page_size("16K").orders_text == "11-7-2"
    assert Strategy("noblock").for_page_size("16K").orders_text == ""
    assert Strategy("noblock").label == "noblock"


@pytest.mark.parametrize(
    ("allocator", "orders", "why"),
    [
        ("slab", None, "noblock, null, pba"),
        ("noblock", (9, 2), "no refill orders"),
        ("pba", (), "give 1 to"),
        ("pba", (14,), "give 0 to 13"),
        ("pba", (-1,), "give 0 to 13"),
        ("pba", tuple(range(33)), "give 1 to 32"),
    ],
)
def test_strategy_that_cannot_be_is_refused(allocator, orders, why):
    with pytest.raises(ConfigError, match=why):
        Strategy(allocator, orders)


@pytest.mark.parametrize(
    ("name", "is_file"),
    [("pba", False), ("a.c", True), ("./a", True), ("mm/a.c", True), ("a.co", False)],
)
def test_allocator_is_a_file_if_its_name_looks_like_a_path(name, is_file):
    assert is_allocator_file(name) == is_file


def test_file_of_a_kernel_tree_is_named_with_its_folder():
    assert Strategy(V6).label == "v6/kpkeys_hardened_pgtables"
    assert Strategy(PATCHED).label == "recheck"


def test_file_keeps_its_own_refill_orders():
    assert Strategy(V6).for_page_size("16K").orders_text == ""
    with pytest.raises(ConfigError, match="in the file"):
        Strategy(V6, (9, 2))


def test_linear_map_can_be_chosen_for_a_file_alone():
    assert Strategy(V6, linear_map="pte").linear_map == "pte"
    assert not Strategy(V6, linear_map="pte").refills
    assert Strategy("pba", linear_map="block") == Strategy("pba")
    with pytest.raises(ConfigError, match="only a file's can be chosen"):
        Strategy("pba", linear_map="pte")
    with pytest.raises(ConfigError, match="give block, pte"):
        Strategy(V6, linear_map="huge")


@pytest.mark.parametrize(("linear_map", "mirror"), [("block", "pba"), ("pte", "noblock")])
def test_mirror_of_a_file_works_on_the_same_map(linear_map, mirror):
    assert Strategy(V6, linear_map=linear_map).mirror() == Strategy(mirror)


@pytest.mark.parametrize(("text", "orders"), [("9,4,2", (9, 4, 2)), ("9-2", (9, 2)), ("2", (2,))])
def test_refill_orders_are_read_with_commas_or_dashes(text, orders):
    assert parse_refill_orders(text) == orders


@pytest.mark.parametrize("text", ["", "9,,2", "a", "9;2", "9.0", "-2"])
def test_refill_orders_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match="whole numbers"):
        parse_refill_orders(text)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("fresh", State()),
        ("aged", State(0.9, 8)),
        ("aged:share=0.5", State(0.5, 8)),
        ("aged:share=1,pins=3", State(1.0, 3)),
    ],
)
def test_state_is_read_and_its_name_reads_the_same(text, state):
    assert parse_state(text) == state
    assert parse_state(state.name) == state


@pytest.mark.parametrize(
    "text", ["old", "fresh:share=1", "aged:share=x", "aged:what=1", "aged:share=1.1", "aged:pins=0"]
)
def test_state_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match=r"state|share|pins"):
        parse_state(text)


@pytest.mark.parametrize(
    ("text", "size"), [("64M", 64 << 20), ("1T", 1 << 40), ("4096", 4096), ("2GiB", 2 << 30)]
)
def test_size_is_read_with_its_unit(text, size):
    assert parse_bytes(text) == size
    assert parse_bytes(format_bytes(size)) == size


@pytest.mark.parametrize("text", ["", "M", "1.5G", "-1", "12X"])
def test_size_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="whole number"):
        parse_bytes(text)
