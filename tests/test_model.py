# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the reference model against numbers worked out by hand.

Where a number is not obvious, a comment says how it was computed. ``BASE_4K`` and its sisters are
the first pfn of RAM: 1 GB divided by the page size. Two sums come up again and again:

* replacing a leaf by a table writes every entry of the table and the parent's: 513, 2049, 8193;
* clearing the hint of a group writes every entry of the group.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpkeys_bench.model import Model, ModelDeadlock

if TYPE_CHECKING:
    from collections.abc import Callable

KB = 1 << 10
MB = 1 << 20
GB = 1 << 30

BASE_4K = 0x40000
BASE_16K = 0x10000
BASE_64K = 0x4000

UNMOVABLE, MOVABLE, RECLAIMABLE = 0, 1, 2

REFILL_ORDERS = {"4K": (9, 4, 2), "16K": (11, 7, 2), "64K": (9, 5, 2)}


def booted(page_size: str = "4K", ram: int = 64 * MB, linear_map: str = "block") -> Model:
    """Return a machine after late init."""
    refill_orders = REFILL_ORDERS[page_size]
    model = Model(page_size, ram, refill_orders=refill_orders, linear_map=linear_map)
    model.hardened_init()
    model.init_late()
    return model


def changes(model: Model, act: Callable[[], object]) -> dict[str, int]:
    """Return by how much each counter moved, without those that did not."""
    before = dict(model.counters)
    act()
    return {
        name: value - before[name]
        for name, value in model.counters.items()
        if value != before[name]
    }


def pins(model: Model, *requests: tuple[int, int]) -> list[int | None]:
    """Pin several (order, migratetype)."""
    return [model.pin(order, migratetype) for order, migratetype in requests]


# --- Phase 1: how the linear map is built, and what the buddy gets ---


@pytest.mark.parametrize(
    ("page_size", "ram", "phys_base", "leaves", "tables"),
    [
        # 8 groups of 32 MB = 16 PMDs each; a PUD and a PMD table.
        ("4K", 256 * MB, GB, {"contpmd": 128}, 2),
        # One group of 32 MB, and one PMD that fills no group.
        ("4K", 34 * MB, GB, {"contpmd": 16, "pmd": 1}, 2),
        # Two 1 GB blocks need the PUD table only.
        ("4K", 2 * GB, GB, {"pud": 2}, 1),
        # The third GB is not whole: 512 MB = 256 PMDs below one PMD table.
        ("4K", 2 * GB + 512 * MB, GB, {"pud": 2, "contpmd": 256}, 2),
        # Physical addresses may begin at 0.
        ("4K", 32 * MB, 0, {"contpmd": 16}, 2),
        # A contPMD group is 1 GB = 32 PMDs of 32 MB: 256 MB have none. No PUD table: folded.
        ("16K", 256 * MB, GB, {"pmd": 8}, 1),
        ("16K", GB + 32 * MB, GB, {"contpmd": 32, "pmd": 1}, 1),
        # A contPMD group is 16 GB, and the physical address 1 GB is not aligned to that.
        ("64K", 16 * GB, GB, {"pmd": 32}, 1),
        ("64K", 16 * GB, 16 * GB, {"contpmd": 32}, 1),
    ],
)
def test_linear_map_fresh_has_largest_leaves(
    page_size: str, ram: int, phys_base: int, leaves: dict[str, int], tables: int
) -> None:
    model = Model(page_size, ram, phys_base, REFILL_ORDERS[page_size])
    none = {"pud": 0, "contpmd": 0, "pmd": 0, "contpte": 0, "pte": 0}
    assert model.leaf_counts() == none | leaves
    assert model.counters["ptps_for_linear_map"] == tables
    model.check()


@pytest.mark.parametrize(
    ("page_size", "ram", "leaf", "leaves"),
    [
        # A PUD table covers 512 GB, a PMD table 64 GB and 4 TB.
        ("4K", 513 * GB, "pud", 513),
        ("16K", 65 * GB, "contpmd", 65 * 32),
        ("64K", 4096 * GB + 512 * MB, "pmd", 8193),
    ],
)
def test_linear_map_beyond_one_entry_of_the_pgd_has_two_tables(
    page_size: str, ram: int, leaf: str, leaves: int
) -> None:
    # Too large for check(), which looks at every page.
    model = Model(page_size, ram, refill_orders=REFILL_ORDERS[page_size])
    assert model.leaf_counts()[leaf] == leaves
    assert model.counters["ptps_for_linear_map"] == 2


@pytest.mark.parametrize(
    ("page_size", "ram", "ptes", "tables"),
    [
        # PUD, PMD and one PTE table per 2 MB.
        ("4K", 64 * MB, 16384, 1 + 1 + 32),
        # Two PMD tables: the second GB has one PTE table.
        ("4K", GB + 2 * MB, 262656, 1 + 2 + 513),
        # PMD and one PTE table per 32 MB.
        ("16K", 256 * MB, 16384, 1 + 8),
        # PMD and one PTE table per 512 MB.
        ("64K", 512 * MB, 8192, 1 + 1),
    ],
)
def test_linear_map_of_ptes_has_no_hints(page_size: str, ram: int, ptes: int, tables: int) -> None:
    model = Model(page_size, ram, refill_orders=REFILL_ORDERS[page_size], linear_map="pte")
    assert model.leaf_counts() == {"pud": 0, "contpmd": 0, "pmd": 0, "contpte": 0, "pte": ptes}
    assert model.counters["ptps_for_linear_map"] == tables
    model.check()


def test_counters_fresh_count_only_the_tables_of_the_map() -> None:
    model = Model()
    assert len(model.pageblock_types()) == 128  # 256 MB.
    assert {name: value for name, value in model.counters.items() if value} == {
        "ptps_for_linear_map": 2
    }
    assert {name for name in model.counters if name.startswith("refills_order_")} == {
        "refills_order_9",
        "refills_order_4",
        "refills_order_2",
    }


def test_mem_init_4k_gives_ascending_pieces_below_the_chunk() -> None:
    # The top 2 MB are PPA's chunk. 254 MB are 63 pieces of 4 MB and one of 2 MB.
    model = Model(ram=256 * MB)
    assert model.free_lists() == {
        (10, MOVABLE): [BASE_4K + 1024 * piece for piece in range(63)],
        (9, MOVABLE): [0x4FC00],
    }
    assert model.pageblock_types() == [MOVABLE] * 128


def test_mem_init_64k_cuts_a_pageblock_by_what_fits() -> None:
    # 512 MB are 8192 pages; PPA's chunk is order 9. 7680 = 4096 + 2048 + 1024 + 512.
    model = Model("64K", 512 * MB, refill_orders=(9, 5, 2))
    assert model.free_lists() == {
        (12, MOVABLE): [0x4000],
        (11, MOVABLE): [0x5000],
        (10, MOVABLE): [0x5800],
        (9, MOVABLE): [0x5C00],
    }
    assert model.pageblock_types() == [MOVABLE]


@pytest.mark.parametrize(
    ("page_size", "ram", "orders"),
    [
        # Two whole pageblocks below PPA's chunk; no piece is larger, aligned though they are.
        ("16K", 96 * MB, {(11, MOVABLE): [BASE_16K, BASE_16K + 2048]}),
        (
            "64K",
            2 * GB,
            {
                (13, MOVABLE): [BASE_64K, BASE_64K + 8192, BASE_64K + 16384],
                (12, MOVABLE): [BASE_64K + 24576],
                (11, MOVABLE): [BASE_64K + 28672],
                (10, MOVABLE): [BASE_64K + 30720],
                (9, MOVABLE): [BASE_64K + 31744],
            },
        ),
    ],
)
def test_mem_init_has_no_piece_above_the_largest_order(
    page_size: str, ram: int, orders: dict[tuple[int, int], list[int]]
) -> None:
    assert Model(page_size, ram, refill_orders=REFILL_ORDERS[page_size]).free_lists() == orders


def test_ppa_several_chunks_are_one_range_and_the_last_one_is_set_first() -> None:
    # 34 tables from chunks of 16 pages: two full ones at 0x43fe0, which touch, so one range of 32
    # pages; 2 pages of the third chunk at 0x43fd0 are used.
    model = Model(ram=64 * MB, refill_orders=(4, 2), linear_map="pte")
    assert model.unprotected_pages == 34
    # 16384 - 48 pages: 15 x 1024, then 512, 256, 128, 64 and 16.
    below = {
        (10, MOVABLE): [BASE_4K + 1024 * piece for piece in range(15)],
        (9, MOVABLE): [0x43C00],
        (8, MOVABLE): [0x43E00],
        (7, MOVABLE): [0x43F00],
        (6, MOVABLE): [0x43F80],
        (4, MOVABLE): [0x43FC0],
    }
    assert model.free_lists() == below
    model.hardened_init()
    assert changes(model, model.init_late) == {
        "set_pkey_calls": 2,
        "set_pkey_pages": 34,
        "descriptor_writes": 34,
        "tlbi_single": 34,
    }
    assert model.unprotected_pages == 0
    assert [model.pkey(pfn) for pfn in (0x43FDD, 0x43FDE, 0x43FDF, 0x43FE0, 0x43FFF)] == [
        0,
        1,
        1,
        1,
        1,
    ]
    # The 14 unused pages merge to 8, 4 and 2.
    assert model.free_lists() == below | {
        (3, MOVABLE): [0x43FD0],
        (2, MOVABLE): [0x43FD8],
        (1, MOVABLE): [0x43FDC],
    }
    model.check()


def test_ppa_unused_pages_go_to_the_tail() -> None:
    model = Model(ram=64 * MB, refill_orders=(4, 2), linear_map="pte")
    # Cuts the smallest piece, 16 pages at 0x43fc0, and leaves 1, 2, 4 and 8 pages of it.
    assert model.pin(0, MOVABLE) == 0x43FC0
    model.hardened_init()
    model.init_late()
    lists = model.free_lists()
    assert lists[3, MOVABLE] == [0x43FC8, 0x43FD0]
    assert lists[2, MOVABLE] == [0x43FC4, 0x43FD8]
    assert lists[1, MOVABLE] == [0x43FC2, 0x43FDC]


def test_ppa_without_room_for_a_chunk_leaves_single_pages_unprotected() -> None:
    # A chunk of 4 MB does not fit into 2 MB: the two tables are the two top pages.
    model = Model(ram=2 * MB, refill_orders=(10, 2))
    model.hardened_init()
    assert changes(model, model.init_late)["set_pkey_calls"] == 1  # The early region only.
    assert (model.pkey(BASE_4K + 511), model.pkey(BASE_4K + 510)) == (0, 0)
    assert model.unprotected_pages == 2
    model.check()


def test_ppa_chunk_of_all_memory_leaves_boot_without_a_reserve() -> None:
    # 2 MB of RAM are one chunk: neither the first refill nor the splits for PPA's own pages get
    # any memory, so the two tables stay unprotected. Then the other 510 pages are free.
    model = Model(ram=2 * MB)
    assert model.free_lists() == {}
    model.hardened_init()
    assert model.cached_pfns() == []
    assert changes(model, model.init_late) == {"set_pkey_calls": 1, "set_pkey_pages": 2}
    assert model.unprotected_pages == 2
    assert model.free_lists()[8, MOVABLE] == [BASE_4K]
    model.check()


def test_ppa_chunk_below_an_unaligned_end_leaves_the_gap_to_the_buddy() -> None:
    # 10 MB end 2 MB above the highest possible chunk of 4 MB, which memblock keeps as free.
    model = Model(ram=10 * MB, refill_orders=(10, 2))
    assert model.free_lists() == {(10, MOVABLE): [BASE_4K], (9, MOVABLE): [0x40800]}
    model.check()
    model.hardened_init()
    model.init_late()
    assert [model.pkey(pfn) for pfn in (0x407FD, 0x407FE, 0x407FF, 0x40800)] == [0, 1, 1, 0]
    assert model.free_lists()[9, MOVABLE] == [0x40800, 0x40400]
    model.check()


# --- Boot of a fresh machine ---


def test_hardened_init_4k_takes_one_block_from_the_first_4_mb() -> None:
    model = Model(ram=64 * MB)
    assert changes(model, model.hardened_init) == {
        "refills": 1,
        "refills_order_9": 1,
        "refilled_pages": 512,
    }
    # The order-10 page at the head is claimed whole: both pageblocks become UNMOVABLE.
    assert model.pageblock_types() == [UNMOVABLE] * 2 + [MOVABLE] * 30
    assert model.free_lists()[9, UNMOVABLE] == [0x40200]
    # The highest pfn is handed out first.
    assert model.cached_pfns() == list(range(0x401FF, 0x3FFFF, -1))
    # 512 pages of the region and the two tables of the linear map.
    assert model.unprotected_pages == 514
    model.check()


def test_init_late_4k_splits_one_leaf_of_the_ppa_chunk() -> None:
    model = Model(ram=64 * MB)
    model.hardened_init()
    # Early region [0, 2 MB): its start is aligned to everything; its end clears the hint of the
    # first 32 MB group (16 writes); 1 PMD is set; 512 pages are one full flush.
    # PPA's two pages at the end of RAM: hint of the last group (16), that PMD becomes a table
    # (513, 1 PTP), hint of the last 16 PTEs (16), 2 PTEs; the end of RAM is aligned to 32 MB.
    assert changes(model, model.init_late) == {
        "split_contpmd": 2,
        "split_pmd": 1,
        "split_contpte": 1,
        "split_ptps": 1,
        "ptps_for_linear_map": 1,
        "set_pkey_calls": 2,
        "set_pkey_pages": 514,
        "tlbi_full": 1,
        "tlbi_single": 2,
        "descriptor_writes": 16 + 1 + 16 + 513 + 16 + 2,
    }
    assert model.leaf_counts() == {"pud": 0, "contpmd": 0, "pmd": 31, "contpte": 496, "pte": 16}
    # The table of that split came from the head of the cache.
    assert model.cached_pfns() == list(range(0x401FE, 0x3FFFF, -1))
    assert [model.pkey(pfn) for pfn in (0x40000, 0x401FF, 0x40200, 0x43FFD, 0x43FFE)] == [
        1,
        1,
        0,
        0,
        1,
    ]
    assert model.unprotected_pages == 0
    # 510 unused pages of the chunk, freed in ascending order: 256 + 128 + ... + 2.
    assert model.free_lists()[8, MOVABLE] == [0x43E00]
    assert model.free_lists()[1, MOVABLE] == [0x43FFC]
    model.check()


def test_boot_4k_with_1_gb_blocks_splits_the_first_and_the_last() -> None:
    # Early region: end at 2 MB splits the first GB (513) and clears its first group (16); 1 PMD.
    # PPA used one page, the last one: its start is odd, so only the start is split: the second
    # GB (513), its last group (16), the last PMD (513), the last 16 PTEs (16); 1 PTE.
    model = booted(ram=2 * GB)
    assert {name: value for name, value in model.counters.items() if "split" in name} == {
        "split_pud": 2,
        "split_contpmd": 2,
        "split_pmd": 1,
        "split_contpte": 1,
        "split_ptps": 3,
    }
    assert model.counters["descriptor_writes"] == (513 + 16 + 1) + (513 + 16 + 513 + 16 + 1)
    assert model.counters["ptps_for_linear_map"] == 1 + 3
    # 1024 PMDs, of which one is a table and 2 groups of 16 have lost their hint.
    assert model.leaf_counts() == {
        "pud": 0,
        "contpmd": 992,
        "pmd": 31,
        "contpte": 496,
        "pte": 16,
    }
    model.check()


def test_boot_16k_takes_a_whole_pmd_block() -> None:
    model = booted("16K", 256 * MB)
    # Early region: one PMD block, no boundary inside a leaf, 1 write, 2048 pages: full flush.
    # PPA: one page, odd: PMD to table (2049), hint of the last 128 PTEs (128), 1 PTE.
    assert model.counters["refills_order_11"] == 1
    assert model.counters["split_contpmd"] == 0
    assert model.counters["split_pmd"] == 1
    assert model.counters["split_contpte"] == 1
    assert model.counters["split_ptps"] == 1
    assert model.counters["descriptor_writes"] == 1 + 2049 + 128 + 1
    assert (model.counters["tlbi_full"], model.counters["tlbi_single"]) == (1, 1)
    assert model.pageblock_types() == [UNMOVABLE] + [MOVABLE] * 7
    assert model.cached_pfns() == list(range(0x107FE, 0xFFFF, -1))
    model.check()


def test_boot_64k_claims_the_pageblock_but_takes_order_9() -> None:
    model = booted("64K", 512 * MB)
    # The largest free order is 12, below a pageblock: 7680 free pages of 8192 are enough to
    # claim it. Then the smallest sufficient order is the piece of order 9 at 0x5c00.
    assert model.pageblock_types() == [UNMOVABLE]
    # Early region: PMD to table (8193, 1 PTP), both ends aligned to 32 PTEs; 512 PTEs are set by
    # 512 single invalidations, for a full flush takes 8192 pages. PPA: the last page, odd: hint
    # (32), 1 PTE.
    assert model.counters["split_pmd"] == 1
    assert model.counters["split_contpte"] == 1
    assert model.counters["descriptor_writes"] == 8193 + 512 + 32 + 1
    assert (model.counters["tlbi_full"], model.counters["tlbi_single"]) == (0, 513)
    assert model.cached_pfns() == list(range(0x5DFE, 0x5BFF, -1))
    model.check()


# --- Splits: events per granule and order ---


@pytest.mark.parametrize(
    ("page_size", "ram", "offset", "nr_pages", "events"),
    [
        # 4K, in an intact 1 GB block: the PUD becomes a table (513), the first group of 16 PMDs
        # loses its hint (16), below 2 MB the PMD becomes a table (513), below 64 KB 16 PTEs lose
        # theirs (16); then one write per leaf in the range.
        ("4K", 3 * GB, GB // 4096 + 512, 512, (1, 1, 0, 0, 513 + 16 + 1)),
        ("4K", 3 * GB, GB // 4096 + 512 + 16, 16, (1, 1, 1, 0, 513 + 16 + 513 + 16)),
        ("4K", 3 * GB, GB // 4096 + 512 + 4, 4, (1, 1, 1, 1, 513 + 16 + 513 + 16 + 4)),
        ("4K", 3 * GB, GB // 4096 + 512 + 1, 1, (1, 1, 1, 1, 513 + 16 + 513 + 16 + 1)),
        # Across the boundary of two intact 1 GB blocks: everything twice.
        ("4K", 4 * GB, 2 * GB // 4096 - 3, 6, (2, 2, 2, 2, 2 * (513 + 16 + 513 + 16) + 6)),
        # The whole 1 GB block, and all of its first 32 MB group.
        ("4K", 3 * GB, GB // 4096, GB // 4096, (0, 0, 0, 0, 1)),
        ("4K", 3 * GB, GB // 4096, 8192, (1, 0, 0, 0, 513 + 16)),
        # 16K, in an intact 1 GB group of 32 PMDs; a table has 2048 entries, 128 PTEs a group.
        ("16K", 3 * GB, GB // 16384 + 2048, 2048, (0, 1, 0, 0, 32 + 1)),
        ("16K", 3 * GB, GB // 16384 + 2048 + 128, 128, (0, 1, 1, 0, 32 + 2049 + 128)),
        ("16K", 3 * GB, GB // 16384 + 2048 + 4, 4, (0, 1, 1, 1, 32 + 2049 + 128 + 4)),
        ("16K", 3 * GB, GB // 16384 + 2048 + 1, 1, (0, 1, 1, 1, 32 + 2049 + 128 + 1)),
        # Across two PMDs of one group.
        (
            "16K",
            3 * GB,
            GB // 16384 + 2048 - 3,
            6,
            (0, 1, 2, 2, 32 + 2 * (2049 + 128) + 6),
        ),
        # 64K, in an intact PMD block of 512 MB; a table has 8192 entries, 32 PTEs a group.
        ("64K", GB + 512 * MB, 8192 + 512, 512, (0, 0, 1, 0, 8193 + 512)),
        ("64K", GB + 512 * MB, 8192 + 32, 32, (0, 0, 1, 0, 8193 + 32)),
        ("64K", GB + 512 * MB, 8192 + 4, 4, (0, 0, 1, 1, 8193 + 32 + 4)),
        ("64K", GB + 512 * MB, 8192 + 1, 1, (0, 0, 1, 1, 8193 + 32 + 1)),
        ("64K", 2 * GB, 16384 - 3, 6, (0, 0, 2, 2, 2 * (8193 + 32) + 6)),
    ],
)
def test_split_of_intact_leaf_counts_events(
    page_size: str, ram: int, offset: int, nr_pages: int, events: tuple[int, ...]
) -> None:
    model = booted(page_size, ram)
    base = {"4K": BASE_4K, "16K": BASE_16K, "64K": BASE_64K}[page_size]
    result = []
    moved = changes(model, lambda: result.append(model.split_other(base + offset, nr_pages)))
    assert result == [0]
    split_pud, split_contpmd, split_pmd, split_contpte, writes = events
    flush = (
        {"tlbi_full": 1}
        if nr_pages >= {"4K": 512, "16K": 2048, "64K": 8192}[page_size]
        else {"tlbi_single": nr_pages}
    )
    expected = flush | {
        "split_pud": split_pud,
        "split_contpmd": split_contpmd,
        "split_pmd": split_pmd,
        "split_contpte": split_contpte,
        "split_ptps": split_pud + split_pmd,
        "ptps_for_linear_map": split_pud + split_pmd,
        "descriptor_writes": writes,
    }
    assert moved == {name: value for name, value in expected.items() if value}
    model.check()


def test_split_single_page_treats_only_its_less_aligned_end() -> None:
    # Page 15 of a 16-page group: the start is odd and splits; the end, 16, is left alone, and so
    # is the hint of the next group.
    model = booted(ram=64 * MB)
    moved = changes(model, lambda: model.split_other(BASE_4K + 512 + 15, 1))
    assert moved["split_contpte"] == 1
    # Page 16: the end, 17, is the odd one.
    moved = changes(model, lambda: model.split_other(BASE_4K + 512 + 16, 1))
    assert moved == {"split_contpte": 1, "descriptor_writes": 16 + 1, "tlbi_single": 1}


def test_split_twice_counts_once() -> None:
    model = booted(ram=64 * MB)
    assert model.split_other(BASE_4K + 520, 4) == 0
    moved = changes(model, lambda: model.split_other(BASE_4K + 520, 4))
    assert moved == {"descriptor_writes": 4, "tlbi_single": 4}


def test_split_keeps_the_pkey_of_what_it_splits() -> None:
    model = booted(ram=64 * MB)
    assert model.split_other(BASE_4K + 3, 2) == 0
    assert [model.pkey(pfn) for pfn in (0x40000, 0x40003, 0x401FF, 0x40200)] == [1, 1, 1, 0]
    assert model.unprotected_pages == 0


def test_split_of_pte_map_only_writes_and_flushes() -> None:
    model = booted(ram=64 * MB, linear_map="pte")
    moved = changes(model, lambda: model.split_other(BASE_4K + 3, 511))
    assert moved == {"descriptor_writes": 511, "tlbi_single": 511}
    moved = changes(model, lambda: model.split_other(BASE_4K + 3, 512))
    assert moved == {"descriptor_writes": 512, "tlbi_full": 1}


def test_split_up_to_the_end_of_ram_finds_the_end_absent() -> None:
    # 66 MB: its end is no boundary of a 32 MB group, but nothing is mapped there. The last PMD is
    # already a table: PPA's two pages lie in it. The range's start clears one hint of 16 PTEs.
    model = booted(ram=66 * MB)
    end = BASE_4K + 66 * MB // 4096
    moved = changes(model, lambda: model.split_other(end - 24, 24))
    assert moved == {"split_contpte": 1, "descriptor_writes": 16 + 24, "tlbi_single": 24}


# --- PBA: allocate and free ---


def test_alloc_hands_out_in_descending_order_and_counts() -> None:
    model = booted(ram=64 * MB)
    assert [model.alloc() for _ in range(3)] == [0x401FE, 0x401FD, 0x401FC]
    assert changes(model, model.alloc) == {
        "allocs": 1,
        "zeroed_pages": 1,
        "pkey_reg_writes": 2,
        "memcg_charges": 1,
    }
    assert changes(model, lambda: model.alloc(kernel=True)) == {
        "allocs": 1,
        "zeroed_pages": 1,
        "pkey_reg_writes": 2,
    }


def test_free_puts_at_the_head_and_uncharges_what_was_charged() -> None:
    model = booted(ram=64 * MB)
    user, kernel = model.alloc(), model.alloc(kernel=True)
    assert user is not None
    assert kernel is not None
    assert changes(model, lambda: model.free(user)) == {"frees": 1, "memcg_uncharges": 1}
    assert changes(model, lambda: model.free(kernel)) == {"frees": 1}
    assert model.cached_pfns()[:3] == [kernel, user, 0x401FC]
    assert model.alloc() == kernel
    model.check()


def test_alloc_leaves_a_reserve_of_4() -> None:
    # 511 cached pages after boot: 507 may be taken.
    model = booted(ram=64 * MB)
    for _ in range(507):
        assert model.alloc() is not None
    assert model.counters["refills"] == 1
    assert model.cached_pfns() == [0x40003, 0x40002, 0x40001, 0x40000]
    # The next block, whose hints the first region's end has cleared: no split, 1 PMD, full flush.
    # The caller gets the region's first page.
    served: list[int | None] = []
    assert changes(model, lambda: served.append(model.alloc())) == {
        "allocs": 1,
        "refills": 1,
        "refills_order_9": 1,
        "refilled_pages": 512,
        "set_pkey_calls": 1,
        "set_pkey_pages": 512,
        "descriptor_writes": 1,
        "tlbi_full": 1,
        "zeroed_pages": 1,
        "pkey_reg_writes": 2,
        "memcg_charges": 1,
    }
    assert served == [0x40200]
    assert model.cached_pfns() == [*range(0x403FF, 0x40200, -1), *range(0x40003, 0x3FFFF, -1)]
    model.check()


def scarce(model: Model) -> None:
    """Leave a machine of 8 MB 480 free pages in one pageblock, in orders 5 to 8 at 0x40220.

    PPA's chunk is the fourth pageblock. The first two pins take the third and the first one.
    """
    assert pins(model, (9, MOVABLE), (9, MOVABLE), (5, MOVABLE)) == [0x40400, 0x40000, 0x40200]


def test_refill_without_order_9_falls_back_to_order_4() -> None:
    model = Model(ram=8 * MB)
    scarce(model)
    assert changes(model, model.hardened_init) == {
        "refills": 1,
        "refill_fallbacks": 1,
        "refills_order_4": 1,
        "refilled_pages": 16,
    }
    # 480 of 512 pages free: the pageblock is claimed; then the smallest piece, order 5, is cut.
    assert model.pageblock_types() == [MOVABLE, UNMOVABLE, MOVABLE, MOVABLE]
    assert model.cached_pfns() == list(range(0x4022F, 0x4021F, -1))
    assert model.free_lists()[4, UNMOVABLE] == [0x40230]
    model.check()


def test_refill_without_order_4_falls_back_to_order_2() -> None:
    model = Model(ram=2 * MB, refill_orders=(4, 2))
    # 512 - 16 pages; take all but one piece of order 3.
    assert pins(model, *[(order, MOVABLE) for order in (8, 7, 6, 5, 3)]) == [
        BASE_4K,
        BASE_4K + 256,
        BASE_4K + 384,
        BASE_4K + 448,
        BASE_4K + 480,
    ]
    assert changes(model, model.hardened_init)["refills_order_2"] == 1
    assert model.cached_pfns() == [BASE_4K + 491, BASE_4K + 490, BASE_4K + 489, BASE_4K + 488]


def test_second_refill_in_the_early_window_stays_unprotected_and_warns() -> None:
    model = Model(ram=8 * MB)
    scarce(model)
    model.hardened_init()
    # 16 cached pages: 12 ordinary requests.
    assert [model.alloc() for _ in range(12)] == list(range(0x4022F, 0x40223, -1))
    assert model.counters["warnings"] == 0
    assert model.alloc() == 0x40230
    assert model.counters["warnings"] == 1
    assert model.counters["refills"] == 2
    # 13 in use, 4 + 15 cached, 2 tables of the linear map.
    assert model.unprotected_pages == 34
    # Early region: PMD to table (513), both ends aligned to 16 pages, 16 PTEs. PPA: PMD to table
    # (513), hint (16), 2 PTEs. Both tables come from the cache's head: the untracked region.
    assert changes(model, model.init_late) == {
        "split_pmd": 2,
        "split_contpte": 1,
        "split_ptps": 2,
        "ptps_for_linear_map": 2,
        "set_pkey_calls": 2,
        "set_pkey_pages": 18,
        "tlbi_single": 18,
        "descriptor_writes": 513 + 16 + 513 + 16 + 2,
    }
    assert model.cached_pfns()[0] == 0x4023D
    assert [model.pkey(pfn) for pfn in (0x40220, 0x4022F, 0x40230, 0x4023F)] == [1, 1, 0, 0]
    assert model.unprotected_pages == 16
    model.check()
    # 17 cached, 1 shrinkable: an unprotected page goes back, and is no exception any more.
    assert model.shrink(10) == 1
    assert model.unprotected_pages == 15
    assert len(model._unprotected_for_good) == 15
    model.check()


def test_refill_after_the_early_window_does_not_warn() -> None:
    model = Model(ram=8 * MB)
    scarce(model)
    model.hardened_init()
    model.init_late()
    # 16 cached pages, 2 of which became tables.
    for _ in range(11):
        model.alloc()
    assert model.counters["refills"] == 2
    assert model.counters["warnings"] == 0
    assert model.unprotected_pages == 0


def exhaust(model: Model) -> None:
    """Pin all free memory."""
    for order in range(10, -1, -1):
        while model.pin(order, MOVABLE) is not None:
            pass
    assert model.free_lists() == {}


def test_alloc_without_memory_warns_once_and_fails() -> None:
    model = booted(ram=8 * MB)
    for _ in range(507):
        model.alloc()
    exhaust(model)
    assert model.alloc() is None
    assert changes(model, model.alloc) == {"allocs": 1, "failed_allocs": 1, "warnings": 1}
    assert len(model.cached_pfns()) == 4
    model.check()


def drained() -> Model:
    """Return a 4K machine with an empty cache, whose second GB is one block and heads the lists.

    Boot spends 3 of the 512 pages on splits (first GB; last GB and its last PMD). 505 more leave
    the reserve, and a range across the third and the fourth GB needs all 4 of it.
    """
    model = booted(ram=5 * GB)
    assert len(model.cached_pfns()) == 509
    for _ in range(505):
        model.alloc()
    moved = changes(model, lambda: model.split_other(BASE_4K + 3 * GB // 4096 - 3, 6))
    assert moved["split_ptps"] == 4
    assert model.cached_pfns() == []
    # The rest of the first GB: the other half of the region's 4 MB, and 255 pieces of 4 MB.
    assert model.pin(9) == 0x40200
    for piece in range(255):
        assert model.pin(10, MOVABLE) == 0x40400 + 1024 * piece
    model.check()
    return model


def test_refill_which_must_split_without_a_reserve_deadlocks() -> None:
    model = drained()
    # The region is the first 2 MB of the second GB: its end splits the block.
    with pytest.raises(ModelDeadlock, match="alloc_mutex"):
        model.alloc()
    # The empty list warned; before the mutex, the inner refill had its pages.
    assert model.counters["warnings"] == 1
    assert model.counters["refills"] == 3
    acts: list[Callable[[], object]] = [
        model.alloc,
        model.check,
        model.shrink_slab,
        lambda: model.shrink(1),
        lambda: model.pin(0),
        lambda: model.unpin(0x40200, 9),
        lambda: model.split_other(BASE_4K, 1),
        lambda: model.free(0x401F0),
    ]
    for act in acts:
        with pytest.raises(ModelDeadlock, match="dead"):
            act()


def test_refill_whose_split_finds_no_memory_gives_the_region_back() -> None:
    model = drained()
    # Four pages at the start of the second GB are the only free ones.
    assert model.pin(2) == 0x80000
    exhaust(model)
    model.unpin(0x80000, 2)
    # Warned: the list is empty; the split gets nothing; the caller gets nothing.
    assert changes(model, lambda: model.alloc(kernel=True)) == {
        "allocs": 1,
        "failed_allocs": 1,
        "refills": 1,
        "refill_fallbacks": 1,
        "refills_order_2": 1,
        "refilled_pages": 4,
        "released_pages": 4,
        "set_pkey_calls": 1,
        "set_pkey_pages": 4,
        "warnings": 3,
    }
    # The pageblock is MOVABLE, for the pins of `exhaust` claimed it; the refill had stolen.
    assert model.free_lists() == {(2, MOVABLE): [0x80000]}
    assert model.pkey(0x80000) == 0
    # A split of somebody else first refills the reserve, which fails in the same way.
    assert model.split_other(BASE_4K + 700, 1) == -errno.ENOMEM
    model.check()


def test_split_with_less_than_the_reserve_refills_first() -> None:
    model = booted(ram=64 * MB)
    for _ in range(507):
        model.alloc()
    # Two PMDs become tables: 2 of the 4 reserved pages.
    moved = changes(model, lambda: model.split_other(BASE_4K + 1024 - 3, 6))
    assert moved["split_ptps"] == 2
    assert "refills" not in moved
    assert len(model.cached_pfns()) == 2
    # Prepare refills, and takes no page of the region, the second 2 MB. That is PTEs by now, so
    # the refill needs no table.
    moved = changes(model, lambda: model.split_other(BASE_4K + 1536 - 3, 6))
    assert moved["refills"] == 1
    assert model.counters["refilled_pages"] == 1024
    # 2 + 512 pages, and one table: the third PMD is one already, the fourth becomes one.
    assert moved["split_ptps"] == 1
    # 512 PTEs of the region; 513 for the table, 16 for a hint on either side, 6 PTEs of the range.
    assert moved["descriptor_writes"] == 512 + 513 + 2 * 16 + 6
    assert len(model.cached_pfns()) == 513
    model.check()


# --- noblock ---


def test_noblock_alloc_and_free_set_one_pkey_each() -> None:
    model = booted(ram=64 * MB, linear_map="pte")
    assert model.cached_pfns() == []
    assert changes(model, model.alloc) == {
        "allocs": 1,
        "set_pkey_calls": 1,
        "set_pkey_pages": 1,
        "descriptor_writes": 1,
        "tlbi_single": 1,
        "zeroed_pages": 1,
        "memcg_charges": 1,
    }
    assert model.pkey(BASE_4K) == 1
    assert changes(model, lambda: model.free(BASE_4K)) == {
        "frees": 1,
        "released_pages": 1,
        "set_pkey_calls": 1,
        "set_pkey_pages": 1,
        "descriptor_writes": 1,
        "tlbi_single": 1,
        "memcg_uncharges": 1,
    }
    assert model.pkey(BASE_4K) == 0
    # The page merged with all that it was cut from.
    assert model.free_lists()[10, UNMOVABLE] == [BASE_4K]
    model.check()


def test_noblock_works_in_the_early_window_and_fails_without_a_warning() -> None:
    model = Model(ram=8 * MB, linear_map="pte")
    model.hardened_init()
    assert model.alloc(kernel=True) == BASE_4K
    assert model.pkey(BASE_4K) == 1
    assert model.counters["memcg_charges"] == 0
    exhaust(model)
    assert changes(model, model.alloc) == {"allocs": 1, "failed_allocs": 1}


def test_noblock_has_no_shrinker() -> None:
    model = booted(ram=8 * MB, linear_map="pte")
    assert model.shrink(512) == -1
    assert model.shrink_slab(0) == 0


# --- The shrinker ---


def test_shrink_partial_leaves_16_and_pays_one_table() -> None:
    # 511 cached, all in the block; 495 shrinkable. The first reset makes the PMD a table, for
    # which one of the remaining 16 pages goes. Pages 510 to 16 lie in 31 groups of 16 PTEs.
    model = booted(ram=64 * MB)
    assert changes(model, lambda: model.shrink(512)) == {
        "released_pages": 495,
        "split_pmd": 1,
        "split_contpte": 31,
        "split_ptps": 1,
        "ptps_for_linear_map": 1,
        "set_pkey_calls": 495,
        "set_pkey_pages": 495,
        "tlbi_single": 495,
        "descriptor_writes": 513 + 31 * 16 + 495,
    }
    assert model.cached_pfns() == list(range(0x4000E, 0x3FFFF, -1))
    assert (model.pkey(0x4000F), model.pkey(0x40010), model.pkey(0x401FE)) == (1, 0, 0)
    model.check()


def test_shrink_partial_of_64_gains_63() -> None:
    model = booted(ram=64 * MB)
    assert model.shrink(64) == 64
    assert len(model.cached_pfns()) == 511 - 64 - 1
    assert model.counters["released_pages"] == 64


def test_shrink_partial_releases_from_the_head_of_the_list_on() -> None:
    # 0x401fe is freed first. Its block's buddies are in use, so each page is one piece until its
    # pair is free: 0x401fd last, alone; 0x401fe stays alone as 0x401ff is a table.
    model = booted(ram=64 * MB)
    assert model.shrink(2) == 2
    assert model.cached_pfns()[:2] == [0x401FB, 0x401FA]  # 0x401fc became the table.
    assert model.free_lists()[0, UNMOVABLE] == [0x401FD, 0x401FE]


@pytest.mark.parametrize(
    ("nr_taken", "freed"),
    [
        # 64 free pages in the block are just enough; 48 of them are shrinkable.
        (447, 48),
        (448, -1),
    ],
)
def test_shrink_partial_needs_an_eighth_of_a_block(nr_taken: int, freed: int) -> None:
    model = booted(ram=64 * MB)
    for _ in range(nr_taken):
        model.alloc()
    assert model.shrink(128) == freed
    model.check()


def test_shrink_after_a_partial_one_takes_pages_in_no_block() -> None:
    # The marks of the whole block are gone, also those of pages in use.
    model = booted(ram=64 * MB)
    in_use = model.alloc()
    assert in_use is not None
    assert model.shrink(64) == 64
    model.free(in_use)
    assert len(model.cached_pfns()) == 446
    assert model.shrink(0) == -1
    # Less than the 430 shrinkable ones; the PMD is a table already.
    moved = changes(model, lambda: model.shrink(100))
    assert moved["released_pages"] == 100
    assert "split_pmd" not in moved
    assert in_use not in model.cached_pfns()
    assert len(model.cached_pfns()) == 346
    # Bounded by what is shrinkable.
    assert model.shrink(1000) == 330
    assert model.shrink(1000) == -1
    assert len(model.cached_pfns()) == 16


def two_blocks() -> tuple[Model, list[int]]:
    """Return a machine with 4 cached pages of the first block and all but one of the second.

    Also the pages in use, in order of allocation; the last one is the second block's first page.
    """
    model = booted(ram=64 * MB)
    in_use = [pfn for pfn in (model.alloc() for _ in range(508)) if pfn is not None]
    assert in_use[-1] == 0x40200
    return model, in_use


def test_shrink_whole_block_needs_a_block_of_shrinkable_pages() -> None:
    model, in_use = two_blocks()
    model.free(in_use.pop())
    # 512 + 4 cached, 500 shrinkable.
    assert model.shrink(512) == -1
    for _ in range(11):
        model.free(in_use.pop())
    # 527 cached, 511 shrinkable.
    assert model.shrink(512) == -1
    model.free(in_use.pop())
    # 528: exactly that block, however little was asked for; no split; the pages merge.
    assert changes(model, lambda: model.shrink(1)) == {
        "released_pages": 512,
        "set_pkey_calls": 1,
        "set_pkey_pages": 512,
        "descriptor_writes": 1,
        "tlbi_full": 1,
    }
    assert len(model.cached_pfns()) == 16
    assert model.free_lists()[9, UNMOVABLE] == [0x40200]
    assert model.pkey(0x40200) == 0
    model.check()


def test_shrink_whole_block_returned_by_a_refill_is_a_block_again() -> None:
    model, in_use = two_blocks()
    for pfn in in_use[-13:]:
        model.free(pfn)
    assert model.shrink(512) == 512
    for _ in range(12):
        model.alloc()
    assert model.counters["refills"] == 2
    assert model.alloc() == 0x40200
    assert model.pkey(0x403FF) == 1
    model.check()


@pytest.mark.parametrize(
    ("nr_to_scan", "first_left"),
    [
        # nonblock = 4 is not below 4: pages in no block.
        (4, 0x403FF),
        # nonblock = 4 is below 5 and below 511: 5 pages of the block. The sixth becomes a table.
        (5, 0x403F9),
    ],
)
def test_shrink_prefers_pages_in_no_block_up_to_their_number(
    nr_to_scan: int, first_left: int
) -> None:
    model = booted(ram=64 * MB)
    assert model.shrink(512) == 495
    # 15 cached pages in no block: 11 may be taken, then a block comes.
    for _ in range(12):
        model.alloc()
    assert len(model.cached_pfns()) == 4 + 511
    assert model.shrink(nr_to_scan) == nr_to_scan
    assert model.cached_pfns()[0] == first_left
    model.check()


def test_shrink_needs_fewer_pages_in_no_block_than_in_the_target() -> None:
    model = booted(ram=64 * MB)
    # 511 - 411 - 1 = 99 pages in no block, of which 95 may be taken; then a block comes.
    assert model.shrink(411) == 411
    first = [model.alloc() for _ in range(95)]
    second = [model.alloc() for _ in range(512)]
    assert second[0] == 0x40200
    assert len(model.cached_pfns()) == 4
    # 4 + 95 pages in no block, and 99 in the block: not fewer. The head of the list is in the
    # block, and stays.
    for pfn in first + second[:99]:
        assert pfn is not None
        model.free(pfn)
    head = model.cached_pfns()[0]
    assert model.shrink(100) == 99
    assert model.cached_pfns()[0] == head
    model.check()
    # 0 in no block now.
    assert model.shrink(100) == 83


def test_shrink_before_late_init_stops() -> None:
    model = Model(ram=64 * MB)
    model.hardened_init()
    model.alloc()
    assert model.shrink(512) == -1
    assert [model.shrink_slab(0) for _ in range(3)] == [0, 0, 0]
    model.init_late()
    assert model.shrink(512) == 494


def test_shrink_64k_never_finds_a_block() -> None:
    # Order 9 is no block of order 13: single pages go, and the region is not split anew.
    model = booted("64K", 512 * MB)
    moved = changes(model, lambda: model.shrink(100))
    assert moved["released_pages"] == 100
    assert "split_pmd" not in moved


class Failing(Model):
    """A machine on which the k-th split of a range fails, once `fail_at` is set to k."""

    fail_at: int | None = None

    def _split_range(self, pfn: int, nr_pages: int) -> int:
        if self.fail_at is not None:
            self.fail_at -= 1
            if self.fail_at == 0:
                return -errno.ENOMEM
        return super()._split_range(pfn, nr_pages)


def test_shrink_error_on_a_single_page_loses_the_rest_of_the_list() -> None:
    model = Failing(ram=64 * MB)
    model.hardened_init()
    model.init_late()
    model.fail_at = 11
    assert model.shrink(64) == 10
    # 64 isolated, one page back, one table for the split.
    assert len(model.cached_pfns()) == 511 - 64 + 1 - 1
    assert model.cached_pfns()[0] == 0x401FE - 10
    # 53 pages are nowhere and keep the pkey.
    assert {model.pkey(pfn) for pfn in range(0x401FE - 63, 0x401FE - 10)} == {1}
    assert model.counters["released_pages"] == 10
    model.check()


def test_shrink_error_on_a_whole_block_turns_it_into_loose_pages() -> None:
    model = Failing(ram=64 * MB)
    model.hardened_init()
    model.init_late()
    in_use = [model.alloc() for _ in range(508)]
    for pfn in in_use[-13:]:
        assert pfn is not None
        model.free(pfn)
    model.fail_at = 1
    assert model.shrink(512) == -1
    assert len(model.cached_pfns()) == 528
    # Now no block has 64 free pages: single pages go, and the intact 2 MB are split.
    assert changes(model, lambda: model.shrink(1))["split_pmd"] == 1
    model.check()


def test_noblock_error_gives_the_page_back() -> None:
    model = Failing(ram=8 * MB, linear_map="pte")
    model.hardened_init()
    model.init_late()
    before = model.free_lists()
    model.fail_at = 1
    assert changes(model, model.alloc) == {
        "allocs": 1,
        "failed_allocs": 1,
        "released_pages": 1,
        "set_pkey_calls": 1,
        "set_pkey_pages": 1,
        "zeroed_pages": 1,
        "memcg_charges": 1,
        "memcg_uncharges": 1,
    }
    # The 4 MB from which it was cut are UNMOVABLE now.
    assert before[10, MOVABLE] == model.free_lists()[10, UNMOVABLE] == [BASE_4K]
    model.check()


def test_init_late_ignores_an_error_on_the_early_region() -> None:
    model = Failing(ram=64 * MB)
    model.hardened_init()
    model.fail_at = 1
    model.init_late()
    # 511 cached ones, and the one that became a table.
    assert model.unprotected_pages == 512
    assert model.counters["warnings"] == 0
    model.check()


# --- do_shrink_slab ---


def test_shrink_slab_takes_half_and_defers_the_rest() -> None:
    # 511 cached: freeable 495, delta 247. Below a batch of 512 and below 495: all is deferred.
    model = booted(ram=64 * MB)
    assert model.shrink_slab(0) == 0
    # 247 + 247 = 494: still below.
    assert model.shrink_slab(0) == 0
    # 494 + 247 = 741: one batch; the scan frees 495; the rest, 229, is below both.
    assert model.shrink_slab(0) == 495
    assert len(model.cached_pfns()) == 15


def test_shrink_slab_counts_deferred_work_by_priority() -> None:
    # 494 >> 12 is nothing, 494 >> 1 is 247: 494 again; each call defers 247 more.
    model = booted(ram=64 * MB)
    assert [model.shrink_slab(priority) for priority in (12, 12, 12)] == [0, 0, 0]
    # 741 deferred: (741 >> 2) + 247 = 432; then 988: (988 >> 2) + 247 = 494, one short.
    assert [model.shrink_slab(2), model.shrink_slab(2)] == [0, 0]
    # 990 deferred: (990 >> 1) + 247 = 742.
    assert model.shrink_slab(1) == 495


def test_shrink_slab_caps_deferred_work_at_twice_the_count() -> None:
    # Uncapped, 8 x 247 = 1976 would scan at priority 2: 494 + 247. Capped, 990: 247 + 247 = 494.
    model = booted(ram=64 * MB)
    for _ in range(8):
        assert model.shrink_slab() == 0
    assert model.shrink_slab(2) == 0


def test_shrink_slab_scans_in_batches() -> None:
    # Four blocks: 2043 tables and 4 reserved pages. All freed: 2047 cached, freeable 2031.
    model = booted(ram=64 * MB)
    in_use = [model.alloc() for _ in range(507 + 3 * 512)]
    assert model.counters["refills"] == 4
    for pfn in in_use:
        assert pfn is not None
        model.free(pfn)
    # Delta 1015: one batch, then 503 < 512, deferred.
    assert model.shrink_slab(0) == 512
    # Freeable 1519, delta 759, with 503: 1262: two batches, then 238.
    assert model.shrink_slab(0) == 1024
    # The blocks freed last were released first.
    assert model.cached_pfns()[-1] == 0x40000
    assert len(model.cached_pfns()) == 511
    # Freeable 495, delta 247, with 238: 485 is below 495.
    assert model.shrink_slab(0) == 0
    model.check()


def test_shrink_slab_scans_when_the_target_is_one_batch() -> None:
    # Three blocks: 1531 tables and 4 reserved pages. The last 1036 freed: 1040 cached, of which
    # 1024 are the second and the third block. Freeable 1024, delta 512.
    model = booted(ram=64 * MB)
    in_use = [model.alloc() for _ in range(507 + 2 * 512)]
    for pfn in in_use[-1036:]:
        assert pfn is not None
        model.free(pfn)
    assert model.shrink_slab(0) == 512


def test_shrink_slab_caps_the_target_at_twice_the_count() -> None:
    # 990 deferred, as above. Then six blocks with 70 free pages each.
    model = booted(ram=64 * MB)
    for _ in range(8):
        model.shrink_slab()
    in_use = [model.alloc() for _ in range(507 + 5 * 512)]
    for block in range(6):
        pfns = [pfn for pfn in in_use if pfn is not None and pfn // 512 == 0x200 + block]
        for pfn in pfns[: 70 if block else 66]:
            model.free(pfn)
    assert len(model.cached_pfns()) == 420
    # Freeable 404: 990 + 202, capped at 808. One batch frees one block's 70 pages; the rest, 296,
    # is below 404. Uncapped there would be a second one.
    assert model.shrink_slab(0) == 70
    # Of equals, the block that is met first, which was freed last.
    assert {pfn // 512 - 0x200 for pfn in model.cached_pfns()} == {0, 1, 2, 3, 4}
    model.check()


def test_shrink_slab_scans_less_than_a_batch_when_that_is_all_there_is() -> None:
    # 64 cached in the block: freeable 48, delta 24. 24, 48: the second call reaches the count,
    # and asks for 48.
    model = booted(ram=64 * MB)
    for _ in range(447):
        model.alloc()
    assert [model.shrink_slab(0), model.shrink_slab(0)] == [0, 48]
    assert len(model.cached_pfns()) == 15


def test_shrink_slab_stopped_defers_everything() -> None:
    # 61 cached in the block: freeable 45, delta 22. The third call has 66 and is stopped.
    model = booted(ram=64 * MB)
    in_use = [model.alloc() for _ in range(450)]
    assert [model.shrink_slab(0) for _ in range(3)] == [0, 0, 0]
    # 66 are deferred. 3 pages more: freeable 48, delta 24, (66 >> 1) + 24 = 57: all 48.
    for pfn in in_use[:3]:
        assert pfn is not None
        model.free(pfn)
    assert model.shrink_slab(1) == 48


def test_shrink_slab_keeps_deferred_work_while_nothing_is_freeable() -> None:
    model = booted(ram=64 * MB)
    assert [model.shrink_slab(), model.shrink_slab()] == [0, 0]
    in_use = [model.alloc() for _ in range(495)]
    assert len(model.cached_pfns()) == 16
    assert model.shrink_slab(0) == 0
    for pfn in in_use:
        assert pfn is not None
        model.free(pfn)
    assert model.shrink_slab(0) == 495


# --- The buddy allocator: pieces, merging, placement ---


def test_pin_cuts_the_smallest_piece_and_unpin_merges_it_again() -> None:
    model = Model(ram=8 * MB)
    fresh = {(10, MOVABLE): [0x40000], (9, MOVABLE): [0x40400]}
    assert model.free_lists() == fresh
    assert model.pin(0, MOVABLE) == 0x40400
    assert model.free_lists() == {
        (10, MOVABLE): [0x40000],
        **{(order, MOVABLE): [0x40400 + (1 << order)] for order in range(9)},
    }
    model.unpin(0x40400, 0)
    assert model.free_lists() == fresh
    model.check()


def test_unpin_stops_merging_at_the_largest_order() -> None:
    # 16 MB: three pieces of order 10, one of order 9, PPA's chunk.
    model = Model(ram=16 * MB)
    assert pins(model, (10, MOVABLE), (10, MOVABLE)) == [0x40000, 0x40400]
    model.unpin(0x40000, 10)
    model.unpin(0x40400, 10)
    # Placed at the head, each.
    assert model.free_lists()[10, MOVABLE] == [0x40400, 0x40000, 0x40800]


def test_unpin_goes_to_the_head_unless_the_next_higher_buddy_is_free() -> None:
    model = Model(ram=8 * MB)
    assert [model.pin(0, MOVABLE) for _ in range(8)] == list(range(0x40400, 0x40408))
    model.unpin(0x40402, 0)
    model.unpin(0x40403, 0)
    assert model.free_lists()[1, MOVABLE] == [0x40402]
    model.unpin(0x40407, 0)
    # Its own buddy, 0x40401, is in use; that pair's buddy, 0x40402 of order 1, is free: tail.
    model.unpin(0x40400, 0)
    assert model.free_lists()[0, MOVABLE] == [0x40407, 0x40400]
    # The next-higher buddy is 0x40406 of order 1: only half of it is free. Head.
    model.unpin(0x40405, 0)
    assert model.free_lists()[0, MOVABLE] == [0x40405, 0x40407, 0x40400]
    assert model.pin(0, MOVABLE) == 0x40405
    model.check()


def test_unpin_in_the_upper_pair_looks_at_the_lower_one() -> None:
    model = Model(ram=8 * MB)
    assert [model.pin(0, MOVABLE) for _ in range(8)] == list(range(0x40400, 0x40408))
    for pfn in (0x40400, 0x40401, 0x40407):
        model.unpin(pfn, 0)
    # 0x40400 of order 1 is free: tail.
    model.unpin(0x40402, 0)
    assert model.free_lists()[0, MOVABLE] == [0x40407, 0x40402]


def test_unpin_of_order_8_looks_at_order_9() -> None:
    model = Model(ram=16 * MB)
    assert pins(model, *[(8, MOVABLE)] * 4) == [0x40C00, 0x40D00, 0x40000, 0x40100]
    model.unpin(0x40C00, 8)
    # 0x40200 of order 9 is free: tail.
    model.unpin(0x40000, 8)
    assert model.free_lists()[8, MOVABLE] == [0x40C00, 0x40000]


def test_unpin_of_order_9_does_not_look_at_order_10() -> None:
    model = Model(ram=16 * MB)
    assert pins(model, *[(9, MOVABLE)] * 5) == [0x40C00, 0x40000, 0x40200, 0x40400, 0x40600]
    model.unpin(0x40600, 9)
    # 0x40800 of order 10 is free, but 9 is not below MAX_PAGE_ORDER - 1: head.
    model.unpin(0x40C00, 9)
    assert model.free_lists()[9, MOVABLE] == [0x40C00, 0x40600]


def test_unpin_merges_pageblocks_of_different_types() -> None:
    model = Model(ram=8 * MB)
    # The second pin claims 4 MB, the third one the half that is left.
    assert pins(model, (9, MOVABLE), (9, UNMOVABLE), (9, RECLAIMABLE)) == [
        0x40400,
        0x40000,
        0x40200,
    ]
    assert model.pageblock_types() == [UNMOVABLE, RECLAIMABLE, MOVABLE, MOVABLE]
    model.unpin(0x40000, 9)
    assert model.free_lists() == {(9, UNMOVABLE): [0x40000]}
    # The buddy takes the type of the page which is freed.
    model.unpin(0x40200, 9)
    assert model.pageblock_types() == [RECLAIMABLE, RECLAIMABLE, MOVABLE, MOVABLE]
    assert model.free_lists() == {(10, RECLAIMABLE): [0x40000]}
    model.check()


# --- The buddy allocator: other types ---


def test_pin_claims_whole_pageblocks_from_the_largest_order() -> None:
    model = Model(ram=8 * MB)
    assert model.pin(0, UNMOVABLE) == 0x40000
    assert model.pageblock_types() == [UNMOVABLE, UNMOVABLE, MOVABLE, MOVABLE]
    # The upper halves have the new type.
    assert model.free_lists() == {
        (9, MOVABLE): [0x40400],
        **{(order, UNMOVABLE): [0x40000 + (1 << order)] for order in range(10)},
    }


@pytest.mark.parametrize(
    ("wanted", "first", "second"),
    [
        (UNMOVABLE, RECLAIMABLE, MOVABLE),
        (MOVABLE, RECLAIMABLE, UNMOVABLE),
        (RECLAIMABLE, UNMOVABLE, MOVABLE),
    ],
)
def test_pin_falls_back_in_the_sequence_of_its_type(wanted: int, first: int, second: int) -> None:
    # Three pieces of 4 MB; none of the wanted type, one of each other type.
    model = Model(ram=16 * MB)
    pieces = {}
    for migratetype in (UNMOVABLE, RECLAIMABLE, MOVABLE):
        pieces[migratetype] = model.pin(10, migratetype)
    assert model.pin(9, MOVABLE) == 0x40C00
    for migratetype in (second, first):
        pfn = pieces[migratetype]
        assert pfn is not None
        model.unpin(pfn, 10)
    assert model.pin(10, wanted) == pieces[first]
    assert model.pin(10, wanted) == pieces[second]
    assert model.pin(10, wanted) is None


def unmovable_with_free_order_3(nr_free: int) -> tuple[Model, list[int]]:
    """Return a machine whose free memory is a number of order-3 pieces in an UNMOVABLE block.

    Also these pieces, in the order of the list.
    """
    model = Model(ram=8 * MB)
    assert pins(model, (10, MOVABLE), (9, UNMOVABLE)) == [0x40000, 0x40400]
    model.unpin(0x40400, 9)
    pieces = [model.pin(3, UNMOVABLE) for _ in range(64)]
    assert pieces == list(range(0x40400, 0x40600, 8))
    freed = list(range(0x40400, 0x40600, 16))[:nr_free]
    for pfn in freed:
        model.unpin(pfn, 3)
    assert model.free_lists() == {(3, UNMOVABLE): freed[::-1]}
    return model, freed[::-1]


def test_pin_claims_a_pageblock_of_which_half_is_free() -> None:
    # 32 x 8 = 256 of 512 pages.
    model, pieces = unmovable_with_free_order_3(32)
    # All are moved in ascending order; the lowest one is the head.
    assert model.pin(3, RECLAIMABLE) == 0x40400
    assert model.pageblock_types() == [MOVABLE, MOVABLE, RECLAIMABLE, MOVABLE]
    assert model.free_lists() == {(3, RECLAIMABLE): pieces[-2::-1]}
    model.check()


def test_pin_steals_from_a_pageblock_of_which_less_is_free() -> None:
    # 31 x 8 = 248 pages. The list's head is taken; what is left of it keeps its type.
    model, pieces = unmovable_with_free_order_3(31)
    assert model.pin(2, RECLAIMABLE) == pieces[0]
    assert model.pageblock_types() == [MOVABLE, MOVABLE, UNMOVABLE, MOVABLE]
    assert model.free_lists() == {
        (3, UNMOVABLE): pieces[1:],
        (2, UNMOVABLE): [pieces[0] + 4],
    }
    model.check()


def test_pin_movable_does_not_claim_below_half_the_pageblock_order() -> None:
    # Half of the pageblock is free, but in pieces of order 3; 9 // 2 = 4.
    model, pieces = unmovable_with_free_order_3(32)
    assert model.pin(3, MOVABLE) == pieces[0]
    assert model.pageblock_types() == [MOVABLE, MOVABLE, UNMOVABLE, MOVABLE]
    # With one piece of order 4 it does.
    model, pieces = unmovable_with_free_order_3(32)
    model.unpin(0x40408, 3)
    assert model.pin(3, MOVABLE) == 0x40410
    assert model.pageblock_types() == [MOVABLE, MOVABLE, MOVABLE, MOVABLE]


def test_pin_steals_the_smallest_sufficient_piece() -> None:
    # The MOVABLE block at 0x40400 has 248 free pages: order 8 and order 3 are in use.
    model = Model(ram=8 * MB)
    assert pins(model, (10, MOVABLE), (8, MOVABLE), (3, MOVABLE)) == [0x40000, 0x40400, 0x40500]
    # Free: order 3 at 0x40508, 4 at 0x40510, 5 at 0x40520, 6 at 0x40540, 7 at 0x40580.
    assert model.pin(4, UNMOVABLE) == 0x40510
    assert model.pageblock_types() == [MOVABLE] * 4
    assert model.pin(0, UNMOVABLE) == 0x40508
    assert model.free_lists()[2, MOVABLE] == [0x4050C]
    model.check()


def test_pin_unmovable_counts_pages_alike_in_a_movable_block() -> None:
    model = Model(ram=8 * MB)
    assert pins(model, (10, MOVABLE), (8, MOVABLE), (3, MOVABLE)) == [0x40000, 0x40400, 0x40500]
    # 248 free, 264 movable: stolen.
    assert model.pin(0, UNMOVABLE) == 0x40508
    assert model.pageblock_types()[2] == MOVABLE
    # 255 free, 256 movable, 1 neither: 255 + 1 are half of the block.
    model.unpin(0x40500, 3)
    assert model.pin(0, UNMOVABLE) is not None
    assert model.pageblock_types()[2] == UNMOVABLE
    model.check()


def test_pin_movable_counts_movable_pages_alike() -> None:
    model = Model(ram=8 * MB)
    assert pins(model, (10, MOVABLE), (8, UNMOVABLE), (0, UNMOVABLE)) == [
        0x40000,
        0x40400,
        0x40500,
    ]
    assert model.pageblock_types()[2] == UNMOVABLE
    # 255 free pages and none movable: stolen. Then 254 and 1: stolen again.
    assert [model.pin(0, MOVABLE), model.pin(0, MOVABLE)] == [0x40501, 0x40502]
    assert model.pageblock_types()[2] == UNMOVABLE
    # 254 free and 2 movable.
    model.unpin(0x40500, 0)
    assert model.pin(0, MOVABLE) is not None
    assert model.pageblock_types()[2] == MOVABLE
    model.check()


def test_pin_movable_counts_only_what_is_still_movable() -> None:
    model = Model(ram=8 * MB)
    assert pins(model, (10, MOVABLE), (8, UNMOVABLE), (0, UNMOVABLE)) == [
        0x40000,
        0x40400,
        0x40500,
    ]
    # A page is stolen, given back, and goes to an UNMOVABLE request.
    assert model.pin(0, MOVABLE) == 0x40501
    model.unpin(0x40501, 0)
    assert model.pin(0, UNMOVABLE) == 0x40501
    model.unpin(0x40500, 0)
    # 255 free and none movable: stolen.
    assert model.pin(0, MOVABLE) == 0x40500
    assert model.pageblock_types()[2] == UNMOVABLE


def test_pin_counts_nothing_alike_between_unmovable_and_reclaimable() -> None:
    # 255 pages free in an UNMOVABLE block, 257 UNMOVABLE: a RECLAIMABLE request steals.
    model = Model(ram=8 * MB)
    assert pins(model, (10, MOVABLE), (8, UNMOVABLE), (0, UNMOVABLE)) == [
        0x40000,
        0x40400,
        0x40500,
    ]
    assert model.pin(0, RECLAIMABLE) == 0x40501
    assert model.pageblock_types()[2] == UNMOVABLE


def test_pin_claim_moves_to_the_tail_in_ascending_order() -> None:
    model = Model(ram=8 * MB)
    assert pins(model, (9, MOVABLE), (9, UNMOVABLE), (9, UNMOVABLE)) == [
        0x40400,
        0x40000,
        0x40200,
    ]
    # The first pageblock, UNMOVABLE, keeps one free piece of order 3.
    model.unpin(0x40000, 9)
    assert pins(model, *[(order, UNMOVABLE) for order in (8, 7, 6, 5, 4, 3)])[-1] == 0x401F0
    # The third one, MOVABLE, has two, the higher one at the head, and larger pieces.
    model.unpin(0x40400, 9)
    assert pins(model, *[(3, MOVABLE)] * 4) == [0x40400, 0x40408, 0x40410, 0x40418]
    model.unpin(0x40400, 3)
    model.unpin(0x40418, 3)
    assert model.free_lists()[3, MOVABLE] == [0x40418, 0x40400]
    # 496 of its pages are free: claimed, then the smallest piece of at least order 5.
    assert model.pin(5, UNMOVABLE) == 0x40420
    assert model.free_lists() == {
        (3, UNMOVABLE): [0x401F8, 0x40400, 0x40418],
        (6, UNMOVABLE): [0x40440],
        (7, UNMOVABLE): [0x40480],
        (8, UNMOVABLE): [0x40500],
    }
    model.check()


def test_pin_which_cannot_claim_one_order_tries_the_next_lower_one() -> None:
    model = Model(ram=8 * MB)
    # Third pageblock, MOVABLE: 128 pages free in one piece; movable pages fill the rest.
    assert pins(model, (8, MOVABLE), (7, MOVABLE)) == [0x40400, 0x40500]
    # Second one: 32 pieces of order 3, half of it.
    pieces = [0x40200 + 8 * piece for piece in range(64)]
    assert pins(model, (9, MOVABLE)) == [0x40000]
    assert model.pin(7, MOVABLE) == 0x40580
    assert pins(model, *[(3, MOVABLE)] * 64) == pieces
    model.unpin(0x40580, 7)
    for pfn in pieces[::2]:
        model.unpin(pfn, 3)
    # Order 7: 128 + 0 < 256. Order 3: 256 + 0.
    assert model.pin(0, UNMOVABLE) == 0x40200
    assert model.pageblock_types() == [MOVABLE, UNMOVABLE, MOVABLE, MOVABLE]
    model.check()


# --- The border ---


@pytest.mark.parametrize(
    "kwargs",
    [
        {"page_size": "8K"},
        {"linear_map": "none"},
        {"ram": 0},
        {"ram": 3 * MB},
        {"page_size": "64K", "ram": 256 * MB},
        {"phys_base": GB + 512 * MB},
        {"phys_base": -GB},
        {"refill_orders": ()},
        {"refill_orders": (9, 4)},
        {"refill_orders": (4, 9, 2)},
        {"refill_orders": (4, 4, 2)},
        {"refill_orders": (11, 2)},
    ],
)
def test_model_with_parameters_outside_their_limits_is_refused(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Model(**kwargs)


def test_calls_out_of_boot_order_are_refused() -> None:
    model = Model(ram=8 * MB)
    acts: list[Callable[[], object]] = [
        model.init_late,
        model.alloc,
        lambda: model.free(BASE_4K),
        lambda: model.split_other(BASE_4K, 1),
    ]
    for act in acts:
        with pytest.raises(RuntimeError, match="hardened_init first"):
            act()
    model.hardened_init()
    with pytest.raises(RuntimeError, match="once"):
        model.hardened_init()
    model.init_late()
    with pytest.raises(RuntimeError, match="once"):
        model.init_late()


def test_arguments_which_nobody_handed_out_are_refused() -> None:
    model = booted(ram=8 * MB)
    pinned = model.pin(1)
    pfn = model.alloc()
    assert pinned is not None
    assert pfn is not None
    model.free(pfn)
    end = BASE_4K + 2048
    acts: list[Callable[[], object]] = [
        lambda: model.free(pfn),
        lambda: model.free(0x401FF),  # A table of the linear map.
        lambda: model.unpin(pinned, 0),
        lambda: model.unpin(pinned + 1, 0),
        lambda: model.pin(11),
        lambda: model.pin(-1),
        lambda: model.pin(0, 3),
        lambda: model.split_other(end - 1, 2),
        lambda: model.split_other(BASE_4K - 1, 2),
        lambda: model.split_other(BASE_4K, 0),
        lambda: model.shrink(-1),
        lambda: model.shrink_slab(-1),
        lambda: model.pkey(end),
        lambda: model.pkey(BASE_4K - 1),
    ]
    for act in acts:
        before = dict(model.counters)
        with pytest.raises(ValueError, match=r"must|only|limits"):
            act()
        assert model.counters == before
    model.unpin(pinned, 1)
    model.check()


# --- The invariants themselves ---


def overlap_leaves(model: Model) -> None:
    # The sum of the sizes stays what it is.
    del model._leaves["pmd"][6]
    model._leaves["pte"].update(dict.fromkeys(range(5 * 512, 6 * 512), 0))


def cut_a_free_pair(model: Model) -> None:
    model._buddy._remove(0x43FFC)
    model._buddy._add(0x43FFC, 0, MOVABLE, tail=False)
    model._buddy._add(0x43FFD, 0, MOVABLE, tail=False)


def swap_tables(model: Model) -> None:
    model._tables["pte", 5] = model._tables.pop(("pte", 31))


def forget_a_table(model: Model) -> None:
    # The PUD table has no leaf of its own; the page is not lost.
    model._in_use.add(model._tables.pop(("pud", 0)))


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda model: model._buddy.lists[0, MOVABLE].update({0x43FFF: None}), "lists .* differ"),
        (lambda model: model._buddy._add(0x40001, 1, UNMOVABLE, tail=True), "not aligned"),
        (lambda model: model._buddy.types.__setitem__(31, UNMOVABLE), "of type 0"),
        (lambda model: model._buddy.types.__setitem__(5, UNMOVABLE), "of type 0"),
        (cut_a_free_pair, "not merged"),
        (lambda model: model._cached.pop(), "not conserved"),
        (lambda model: model._buddy._remove(0x43FFC), "not conserved"),
        (lambda model: model._cached.append(0x40200), "two owners"),
        (lambda model: model._in_use.add(0x50000), "outside RAM"),
        (lambda model: model._charged.add(0x40000), "charged"),
        (lambda model: model._blocks.update({0x40000: 510}), "counts 510 free pages, 511"),
        (lambda model: model._blocks.update({0x40200: 1}), "counts 1 free pages, 0"),
        (lambda model: model._leaves["pmd"].pop(5), "leaves map 15872 of 16384"),
        (overlap_leaves, "as well"),
        (swap_tables, "tables"),
        (forget_a_table, "tables"),
        (lambda model: model.counters.update(ptps_for_linear_map=2), "is 2, there are 3"),
        (lambda model: model._hints["pte"].remove(31 * 512), "not whole"),
        (lambda model: model._leaves["pte"].update({31 * 512: 1}), "has pkeys"),
        (lambda model: model._hints["pmd"].update(range(1024, 1040)), "without leaves"),
        (lambda model: model._leaves["pmd"].update({0: 0}), "without the pkey"),
        (lambda model: model._leaves["pmd"].update({1: 1}), "free pages with pkey 1"),
    ],
)
def test_check_of_a_corrupt_machine_says_what_is_wrong(
    corrupt: Callable[[Model], object], message: str
) -> None:
    model = booted(ram=64 * MB)
    model.check()
    corrupt(model)
    with pytest.raises(AssertionError, match=message):
        model.check()


# --- Invariants under any sequence of calls ---

OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["alloc", "alloc many", "free", "free many", "pin", "pin", "unpin", "split", "shrink"]
        ),
        st.integers(0, 1 << 16),
        st.integers(0, 1 << 16),
    ),
    max_size=60,
)


def act_on(
    model: Model,
    in_use: list[int],
    pinned: list[tuple[int, int]],
    operation: tuple[str, int, int],
) -> None:
    """Do one random operation."""
    name, a, b = operation
    if name in {"alloc", "alloc many"}:
        pfns = [model.alloc(kernel=b % 2 == 0) for _ in range(1 if name == "alloc" else a % 600)]
        in_use.extend(pfn for pfn in pfns if pfn is not None)
    elif name in {"free", "free many"}:
        for _ in range(min(len(in_use), 1 if name == "free" else b % 600)):
            model.free(in_use.pop(a % len(in_use)))
    elif name == "pin":
        pfn = model.pin(a % 11, b % 3)
        if pfn is not None:
            pinned.append((pfn, a % 11))
    elif name == "unpin" and pinned:
        model.unpin(*pinned.pop(a % len(pinned)))
    elif name == "split":
        model.split_other(BASE_4K + a % 4000, 1 + b % 90)
    elif a % 2:
        model.shrink(b % 600)
    else:
        model.shrink_slab(b % 4)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(["block", "pte"]),
    st.sampled_from([(9, 4, 2), (4, 2), (2,), (10, 9, 2)]),
    OPERATIONS,
    OPERATIONS,
)
def test_check_holds_after_any_sequence(
    linear_map: str,
    refill_orders: tuple[int, ...],
    early: list[tuple[str, int, int]],
    late: list[tuple[str, int, int]],
) -> None:
    model = Model("4K", 16 * MB, GB, refill_orders, linear_map)
    in_use: list[int] = []
    pinned: list[tuple[int, int]] = []
    model.hardened_init()
    try:
        for operation in early:
            act_on(model, in_use, pinned, operation)
            model.check()
        model.init_late()
        model.check()
        for operation in late:
            act_on(model, in_use, pinned, operation)
            model.check()
    except ModelDeadlock:
        # Shown by the tests above; without the reserve it may happen in any sequence.
        return
    assert (
        model.counters["allocs"] - model.counters["failed_allocs"] - len(in_use)
        == (model.counters["frees"])
    )
    held = len(model.cached_pfns()) + len(in_use) + model.counters["split_ptps"]
    if linear_map == "block":
        lost = model.counters["refilled_pages"] - model.counters["released_pages"] - held
        assert lost >= 0
