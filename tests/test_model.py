# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the reference model against numbers worked out by hand.

Where a number is not obvious, a comment says how it was computed. ``BASE_4K`` and its sisters are
the first pfn of RAM: 1 GB divided by the page size. Two sums come up again and again:

* replacing a leaf by a table writes every entry of the table and the parent's: 513, 2049, 8193;
* clearing the hint of a group writes every entry of the group.

Tests of the page table allocators and of the buddy allocator proper use `Plain`, on which neither
per-CPU lists nor watermarks stand between them.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpkeys_bench.model import Fault, Model, ModelDeadlock, _Gfp

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


SLOW_PATH = {
    "slowpath_entries",
    "kswapd_wakes",
    "compact_stall",
    "compact_success",
    "compact_fail",
    "compact_deferred",
    "compact_migrate_scanned",
    "pgmigrate_success",
    "pcp_drains",
    "allocstall",
    "pgsteal_direct",
    "slab_shrinks",
    "oom_kills",
    "alloc_failures",
}


class Plain(Model):
    """A machine without per-CPU lists, whose watermarks are 0."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, no_pcp=True, **kwargs)
        set_watermarks(self, 0, 0, 0)


def set_watermarks(model: Model, low_min: int, low: int, high: int) -> None:
    zone = model._zone
    zone.wmark_min, zone.wmark_low, zone.wmark_high = low_min, low, high


def boot(model: Model) -> Model:
    """Bring a machine through late init."""
    model.hardened_init()
    model.init_late()
    return model


def booted(page_size: str = "4K", ram: int = 64 * MB, linear_map: str = "block") -> Model:
    """Return a plain machine after late init."""
    refill_orders = REFILL_ORDERS[page_size]
    return boot(Plain(page_size, ram, refill_orders=refill_orders, linear_map=linear_map))


def changes(model: Model, act: Callable[[], object], *, slow_path: bool = True) -> dict[str, int]:
    """Return by how much each counter moved, without those that did not.

    Also without those of claims and steals, and those of the slow path, if so wanted.
    """
    before = dict(model.counters)
    act()
    return {
        name: value - before[name]
        for name, value in model.counters.items()
        if value != before[name]
        and (slow_path or name not in SLOW_PATH)
        and name not in {"buddy_claims", "buddy_steals"}
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
    # A refill enters the slow path at each of its orders, and reclaims in vain: there is no
    # shrinker yet. Compaction fails at once, for nothing is movable: at 9, 4 and 2;
    # when 2 tries again, after three failures in a row, it is to wait for 8.
    tries = {
        "slowpath_entries": 3,
        "kswapd_wakes": 3,
        "allocstall": 3,
        "oom_kills": 1,
        "alloc_failures": 3,
    }
    assert changes(model, model.hardened_init) == tries | {
        "compact_stall": 3,
        "compact_fail": 3,
        "compact_deferred": 1,
    }
    assert model.cached_pfns() == []
    # Orders 9, 4, and 2 twice are the calls 2 to 5.
    assert changes(model, model.init_late) == tries | {
        "compact_deferred": 4,
        "set_pkey_calls": 1,
        "set_pkey_pages": 2,
        "warnings": 1,
    }
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
    # The boot pageset takes one page at a time.
    model = Model(ram=64 * MB)
    assert changes(model, model.hardened_init) == {
        "refills": 1,
        "refills_order_9": 1,
        "refilled_pages": 512,
        "pcp_bulk_allocs": 1,
        "pcp_bulk_alloc_pages": 512,
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

    That is far above its low watermark: min is 313 kB (the root of 16 x 6144), 78 pages, low 97.

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
        # Order 9: compaction drains, meets the first pin, 512 pages in the first window, and has
        # no place for it. Then reclaim, before there is a shrinker.
        "slowpath_entries": 1,
        "kswapd_wakes": 1,
        "compact_stall": 1,
        "compact_fail": 1,
        "compact_migrate_scanned": 512,
        "pcp_drains": 1,
        "allocstall": 1,
        "alloc_failures": 1,
    }
    # 480 of 512 pages free: the pageblock is claimed; then the smallest piece, order 5, is cut.
    assert model.pageblock_types() == [MOVABLE, UNMOVABLE, MOVABLE, MOVABLE]
    assert model.cached_pfns() == list(range(0x4022F, 0x4021F, -1))
    assert model.free_lists()[4, UNMOVABLE] == [0x40230]
    model.check()


def test_refill_without_order_4_falls_back_to_order_2() -> None:
    model = Plain(ram=2 * MB, refill_orders=(4, 2))
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
    assert changes(model, model.alloc, slow_path=False) == {
        "allocs": 1,
        "failed_allocs": 1,
        "warnings": 1,
    }
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
        model.reclaim,
        model.drain_all_pages,
        lambda: model.compact(1),
        lambda: model.set_memory(0, 1),
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
    # Warned: the list is empty; the table for the split; the split; the caller gets nothing.
    assert changes(model, lambda: model.alloc(kernel=True), slow_path=False) == {
        "allocs": 1,
        "failed_allocs": 1,
        "refills": 1,
        "refill_fallbacks": 1,
        "refills_order_2": 1,
        "refilled_pages": 4,
        "released_pages": 4,
        "set_pkey_calls": 1,
        "set_pkey_pages": 4,
        "warnings": 4,
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
        "refilled_pages": 1,
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
    model = Plain(ram=8 * MB, linear_map="pte")
    model.hardened_init()
    assert model.alloc(kernel=True) == BASE_4K
    assert model.pkey(BASE_4K) == 1
    assert model.counters["memcg_charges"] == 0
    exhaust(model)
    assert changes(model, model.alloc, slow_path=False) == {"allocs": 1, "failed_allocs": 1}


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
        "shrink_scans": 1,
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


def test_shrink_partial_releases_the_page_taken_last_first() -> None:
    # 0x401fe and 0x401fd are taken, and each put before the other: 0x401fd is freed first. Both
    # stay alone, for 0x401fc became the table and 0x401ff is one.
    model = booted(ram=64 * MB)
    assert model.shrink(2) == 2
    assert model.cached_pfns()[:2] == [0x401FB, 0x401FA]
    assert model.free_lists()[0, UNMOVABLE] == [0x401FE, 0x401FD]


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
        "shrink_scans": 1,
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


class Failing(Plain):
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
    # The lowest one of the 64 was the first.
    assert model.cached_pfns()[0] == 0x401FE - 63 + 10
    # 53 pages are nowhere and keep the pkey.
    assert {model.pkey(pfn) for pfn in range(0x401FE - 52, 0x401FE + 1)} == {1}
    assert model.lost_pages == 53
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
        "refilled_pages": 1,
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
    model = Plain(ram=8 * MB)
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
    model = Plain(ram=16 * MB)
    assert pins(model, (10, MOVABLE), (10, MOVABLE)) == [0x40000, 0x40400]
    model.unpin(0x40000, 10)
    model.unpin(0x40400, 10)
    # Placed at the head, each.
    assert model.free_lists()[10, MOVABLE] == [0x40400, 0x40000, 0x40800]


def test_unpin_goes_to_the_head_unless_the_next_higher_buddy_is_free() -> None:
    model = Plain(ram=8 * MB)
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
    model = Plain(ram=8 * MB)
    assert [model.pin(0, MOVABLE) for _ in range(8)] == list(range(0x40400, 0x40408))
    for pfn in (0x40400, 0x40401, 0x40407):
        model.unpin(pfn, 0)
    # 0x40400 of order 1 is free: tail.
    model.unpin(0x40402, 0)
    assert model.free_lists()[0, MOVABLE] == [0x40407, 0x40402]


def test_unpin_of_order_8_looks_at_order_9() -> None:
    model = Plain(ram=16 * MB)
    assert pins(model, *[(8, MOVABLE)] * 4) == [0x40C00, 0x40D00, 0x40000, 0x40100]
    model.unpin(0x40C00, 8)
    # 0x40200 of order 9 is free: tail.
    model.unpin(0x40000, 8)
    assert model.free_lists()[8, MOVABLE] == [0x40C00, 0x40000]


def test_unpin_of_order_9_does_not_look_at_order_10() -> None:
    model = Plain(ram=16 * MB)
    assert pins(model, *[(9, MOVABLE)] * 5) == [0x40C00, 0x40000, 0x40200, 0x40400, 0x40600]
    model.unpin(0x40600, 9)
    # 0x40800 of order 10 is free, but 9 is not below MAX_PAGE_ORDER - 1: head.
    model.unpin(0x40C00, 9)
    assert model.free_lists()[9, MOVABLE] == [0x40C00, 0x40600]


def test_unpin_merges_pageblocks_of_different_types() -> None:
    model = Plain(ram=8 * MB)
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
    model = Plain(ram=8 * MB)
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
    model = Plain(ram=16 * MB)
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
    model = Plain(ram=8 * MB)
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
    model = Plain(ram=8 * MB)
    assert pins(model, (10, MOVABLE), (8, MOVABLE), (3, MOVABLE)) == [0x40000, 0x40400, 0x40500]
    # Free: order 3 at 0x40508, 4 at 0x40510, 5 at 0x40520, 6 at 0x40540, 7 at 0x40580.
    assert model.pin(4, UNMOVABLE) == 0x40510
    assert model.pageblock_types() == [MOVABLE] * 4
    assert model.pin(0, UNMOVABLE) == 0x40508
    assert model.free_lists()[2, MOVABLE] == [0x4050C]
    model.check()


def test_pin_unmovable_counts_pages_alike_in_a_movable_block() -> None:
    model = Plain(ram=8 * MB)
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
    model = Plain(ram=8 * MB)
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
    model = Plain(ram=8 * MB)
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
    model = Plain(ram=8 * MB)
    assert pins(model, (10, MOVABLE), (8, UNMOVABLE), (0, UNMOVABLE)) == [
        0x40000,
        0x40400,
        0x40500,
    ]
    assert model.pin(0, RECLAIMABLE) == 0x40501
    assert model.pageblock_types()[2] == UNMOVABLE


def test_pin_claim_moves_to_the_tail_in_ascending_order() -> None:
    model = Plain(ram=8 * MB)
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
    model = Plain(ram=8 * MB)
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


# --- Watermarks and per-CPU lists ---


@pytest.mark.parametrize(
    ("page_size", "ram", "managed", "watermarks", "batch", "high"),
    [
        # 262144 pages less a chunk of 512: 1046528 kB. The root of 16 times that is 4091 (4092
        # squared is 16 too large), 1022 pages. A thousandth, 261, is more than a quarter of 1022.
        # Batch: 255 / 4 = 63; 63 + 31 = 94, down to 64, less 1. High: 1283 / 4 CPUs.
        ("4K", GB, 261632, (1022, 1283, 1544), 63, 320),
        # 16775168 kB; 16383 squared is one too large: 16382 kB, 4095 pages; 4193; batch: 1 MB.
        ("4K", 16 * GB, 4193792, (4095, 8288, 12481), 63, 2072),
        # 15872 pages; 1007 kB, 251 pages; a quarter, 62, is more than 15. Batch: 15 / 4 = 3; 4; 3.
        ("4K", 64 * MB, 15872, (251, 313, 375), 3, 78),
        # 63488 pages of 1015808 kB; 4031 kB, 251 pages; 63. Batch: 62 / 4 = 15; 22; 16; 15.
        ("16K", GB, 63488, (251, 314, 377), 15, 78),
        ("16K", 16 * GB, 1046528, (1022, 2068, 3114), 15, 517),
        # 16744448 kB; 16367 kB, 255 pages; 261. Batch: 16 / 4 = 4; 6; 4; 3.
        ("64K", 16 * GB, 261632, (255, 516, 777), 3, 129),
        # More than 4 TB: 262144 kB is the most, 4096 pages. 67116544 / 1000.
        ("64K", 4096 * GB + 512 * MB, 67116544, (4096, 71212, 138328), 3, 17803),
        # PPA's chunk leaves nothing: 128 kB are the least, a batch of 1 as well, and 4 of those.
        ("4K", 2 * MB, 0, (32, 40, 48), 1, 10),
    ],
)
def test_watermarks_and_batch_follow_from_the_managed_pages(
    page_size: str,
    ram: int,
    managed: int,
    watermarks: tuple[int, int, int],
    batch: int,
    high: int,
) -> None:
    model = Model(page_size, ram, refill_orders=REFILL_ORDERS[page_size])
    assert model.managed_pages == managed
    assert model.watermarks == watermarks
    assert model.pcp_batch_and_high == (1, 0)
    model.hardened_init()
    assert model.pcp_batch_and_high == (batch, high)


def test_pcp_high_is_shared_by_the_cpus_but_not_below_four_batches() -> None:
    for nr_cpus, high in [(1, 313), (2, 156), (26, 12), (1000, 12)]:
        model = Model(ram=64 * MB, nr_cpus=nr_cpus)
        model.hardened_init()
        assert model.pcp_batch_and_high == (3, high)


@pytest.mark.parametrize(
    ("order", "migratetype", "pages"),
    [
        # Of a batch of 63: 63, 31, 15 and 7 blocks; of order 9 two, the least.
        (0, UNMOVABLE, 63),
        (1, UNMOVABLE, 62),
        (2, RECLAIMABLE, 60),
        (3, MOVABLE, 56),
        (9, UNMOVABLE, 1024),
        (9, MOVABLE, 1024),
    ],
)
def test_pcp_refills_by_order(order: int, migratetype: int, pages: int) -> None:
    model = boot(Model(ram=GB))
    free = model.nr_free_pages
    nr_blocks = pages >> order
    pfns: list[int | None] = []
    moved = changes(model, lambda: pfns.append(model.pin(order, migratetype)))
    assert moved == {"pcp_bulk_allocs": 1, "pcp_bulk_alloc_pages": pages}
    assert model.nr_free_pages == free - pages
    index = {9: 12 + (migratetype == MOVABLE)}.get(order, 3 * order + migratetype)
    assert list(model.pcp_lists()) == [index]
    parked = model.pcp_lists()[index]
    assert len(parked) == nr_blocks - 1
    # First in, first out.
    rest = [(order, migratetype)] * len(parked)
    assert changes(model, lambda: pfns.extend(pins(model, *rest))) == {}
    assert pfns[1:] == parked
    assert model.counters["pcp_bulk_allocs"] == 1 + 1  # The first refill of the PBA.
    assert model.pcp_lists() == {}
    model.check()


@pytest.mark.parametrize(("page_size", "order"), [("4K", 4), ("4K", 10), ("16K", 9), ("64K", 12)])
def test_pcp_is_bypassed_by_other_orders(page_size: str, order: int) -> None:
    model = boot(Model(page_size, GB, refill_orders=REFILL_ORDERS[page_size]))
    pfn = model.pin(order)
    assert pfn is not None
    model.unpin(pfn, order)
    assert model.pcp_lists() == {}
    assert model.counters["pcp_bulk_free_pages"] == 0


@pytest.mark.parametrize(("page_size", "order"), [("16K", 11), ("64K", 13)])
def test_pcp_parks_a_second_block_of_the_thp_order(page_size: str, order: int) -> None:
    model = boot(Model(page_size, 4 * GB, refill_orders=REFILL_ORDERS[page_size]))
    assert model.pin(order, MOVABLE) is not None
    assert list(model.pcp_lists()) == [13]
    model.check()


def test_pcp_bulk_stops_at_the_first_failure() -> None:
    # 14 pieces of 4 MB are left after the first refill, the half at 0x40200 of what it claimed, and
    # 2 MB at 0x43c00. Order 4 cuts that half: of two order-9 pages there is one.
    model = boot(Model(ram=64 * MB))
    assert None not in pins(model, *[(10, MOVABLE)] * 14)
    assert model.pin(4) == 0x40200
    assert changes(model, lambda: model.pin(9, MOVABLE)) == {
        "pcp_bulk_allocs": 1,
        "pcp_bulk_alloc_pages": 512,
    }
    assert model.pcp_lists() == {}
    model.check()


def test_pcp_pages_do_not_merge_until_drained() -> None:
    model = boot(Model(ram=64 * MB))
    fresh = model.free_lists()
    # A batch of 3, from the other half of the 4 MB that the PBA's first block came from.
    assert model.pin(0) == 0x40200
    assert model.pcp_lists() == {0: [0x40201, 0x40202]}
    model.unpin(0x40200, 0)
    assert model.pcp_lists() == {0: [0x40200, 0x40201, 0x40202]}
    assert model.free_lists()[0, UNMOVABLE] == [0x40203]
    assert model.nr_free_pages == sum(len(pfns) << key[0] for key, pfns in fresh.items()) - 3
    assert changes(model, model.drain_all_pages) == {"pcp_drains": 1, "pcp_bulk_free_pages": 3}
    assert model.pcp_lists() == {}
    assert model.free_lists() == fresh
    model.check()


def test_pcp_hands_out_what_was_freed_last() -> None:
    model = boot(Model(ram=64 * MB))
    assert pins(model, *[(0, UNMOVABLE)] * 3) == [0x40200, 0x40201, 0x40202]
    for pfn in (0x40201, 0x40202, 0x40200):
        model.unpin(pfn, 0)
    assert model.pcp_lists() == {0: [0x40200, 0x40202, 0x40201]}
    assert pins(model, *[(0, UNMOVABLE)] * 2) == [0x40200, 0x40202]


def test_pcp_each_cpu_has_its_own_lists() -> None:
    model = boot(Model(ram=64 * MB))
    assert model.pin(0, cpu=1) == 0x40200
    assert model.pin(0, cpu=2) == 0x40203
    # CPU 5 is CPU 1 again.
    assert model.pin(0, cpu=5) == 0x40201
    model.unpin(0x40201, 0, cpu=3)
    assert [model.pcp_lists(cpu) for cpu in range(4)] == [
        {},
        {0: [0x40202]},
        {0: [0x40204, 0x40205]},
        {0: [0x40201]},
    ]
    assert changes(model, model.drain_all_pages)["pcp_bulk_free_pages"] == 4
    # CPU 1 before CPU 2 before CPU 3; 0x40202 and 0x40201 have no free buddy, 0x40205 goes first
    # and waits for 0x40204, and the pair merges with what is above.
    assert model.free_lists()[0, UNMOVABLE] == [0x40201, 0x40202]
    model.check()


def test_pcp_above_high_frees_a_batch_from_the_tail() -> None:
    model = boot(Model(ram=64 * MB))
    pinned = pins(model, *[(0, UNMOVABLE)] * 78)
    assert model.pcp_lists() == {}
    for pfn in pinned[:-1]:
        assert pfn is not None
        model.unpin(pfn, 0)
    # 77 are below 78.
    assert model.counters["pcp_bulk_free_pages"] == 0
    last = pinned[-1]
    assert last is not None
    assert changes(model, lambda: model.unpin(last, 0)) == {"pcp_bulk_free_pages": 3}
    assert model.pcp_lists() == {0: pinned[:2:-1]}
    model.check()


def test_pcp_above_high_goes_on_with_the_next_list() -> None:
    model = boot(Model(ram=64 * MB))
    # One page of order 0 on its list, then a parked block: 513 pages. Three are to go: the list of
    # the page which is freed has 2 of them, and the next one is that of order 9.
    assert pins(model, (0, UNMOVABLE), (0, UNMOVABLE)) == [0x40200, 0x40201]
    assert model.pin(9) == 0x40400
    assert model.pcp_lists() == {0: [0x40202], 12: [0x40600]}
    assert changes(model, lambda: model.unpin(0x40200, 0)) == {"pcp_bulk_free_pages": 2 + 512}
    assert model.pcp_lists() == {}
    model.check()


def test_pcp_list_of_a_freed_page_is_that_of_its_pageblock() -> None:
    model = boot(Model(ram=64 * MB))
    pinned = model.pin(0, RECLAIMABLE)
    assert pinned is not None
    assert list(model.pcp_lists()) == [RECLAIMABLE]
    # An UNMOVABLE request claims the pageblock when nothing else is left of it.
    model._buddy._set_types(pinned, 9, UNMOVABLE)
    model.unpin(pinned, 0)
    assert list(model.pcp_lists()) == [UNMOVABLE, RECLAIMABLE]


def test_pcp_boot_pageset_keeps_nothing() -> None:
    model = Model(ram=64 * MB)
    fresh = model.free_lists()
    assert changes(model, lambda: model.pin(0, MOVABLE)) == {
        "pcp_bulk_allocs": 1,
        "pcp_bulk_alloc_pages": 1,
    }
    assert changes(model, lambda: model.unpin(0x43C00, 0)) == {"pcp_bulk_free_pages": 1}
    assert model.free_lists() == fresh


def test_pcp_refill_parks_the_next_refill() -> None:
    model = boot(Model(ram=64 * MB))
    for _ in range(507):
        model.alloc()
    # Two blocks for one: the rest of the first 4 MB, and half of the next.
    moved = changes(model, model.alloc)
    assert moved["pcp_bulk_alloc_pages"] == 1024
    assert model.pcp_lists() == {12: [0x40400]}
    assert model.pageblock_types()[:5] == [UNMOVABLE] * 4 + [MOVABLE]
    for _ in range(511):
        model.alloc()
    # On another CPU the parked block is not there.
    assert model.cached_pfns() == list(range(0x40003, 0x3FFFF, -1))
    assert model.alloc(cpu=1) == 0x40600
    assert model.pcp_lists(1) == {12: [0x40800]}
    for _ in range(511):
        model.alloc()
    moved = changes(model, model.alloc)
    assert moved["refills"] == 1
    assert "pcp_bulk_allocs" not in moved
    assert model.pcp_lists() == {}
    assert model.counters["refills_order_9"] == 4
    model.check()


def test_pcp_keeps_a_shrunk_block_from_merging() -> None:
    model = boot(Model(ram=64 * MB))
    in_use = [pfn for pfn in (model.alloc() for _ in range(508)) if pfn is not None]
    for pfn in in_use[-13:]:
        model.free(pfn)
    # 512 pages on CPU 1: with the 78th three go to the buddy, and again three with each third
    # one: 434 = 144 x 3 + 2 later there are 77 on the list.
    assert changes(model, lambda: model.shrink(512, cpu=1)) == {
        "shrink_scans": 1,
        "released_pages": 512,
        "set_pkey_calls": 1,
        "set_pkey_pages": 512,
        "descriptor_writes": 1,
        "tlbi_full": 1,
        "pcp_bulk_free_pages": 512 - 77,
    }
    assert {index: len(pfns) for index, pfns in model.pcp_lists(1).items()} == {0: 77}
    assert 0x40200 not in model.free_lists().get((9, UNMOVABLE), [])
    model.check()
    model.drain_all_pages()
    assert 0x40200 in model.free_lists()[9, UNMOVABLE]
    model.check()


def test_pcp_serves_noblock() -> None:
    model = boot(Model(ram=64 * MB, linear_map="pte"))
    # PPA's chunk is the last 2 MB; what is UNMOVABLE comes from the first 4 MB.
    assert [model.alloc(), model.alloc(cpu=1), model.alloc()] == [0x40000, 0x40003, 0x40001]
    assert model.counters["pcp_bulk_allocs"] == 2
    model.free(0x40000, cpu=1)
    assert model.pcp_lists(1) == {0: [0x40000, 0x40004, 0x40005]}
    assert model.pcp_lists(0) == {0: [0x40002]}
    model.check()


def test_no_pcp_lets_nothing_stay() -> None:
    model = boot(Model(ram=64 * MB, no_pcp=True))
    assert model.pin(0) == 0x40200
    model.unpin(0x40200, 0)
    assert model.pcp_lists() == {}
    assert {name for name, value in model.counters.items() if "pcp" in name and value} == set()


# --- The memory cgroup ---


def test_memcg_over_its_limit_gets_no_page() -> None:
    model = boot(Plain(ram=64 * MB, memcg_limit_pages=2))
    first, second = model.alloc(), model.alloc()
    assert first is not None
    head = model.cached_pfns()[0]
    assert changes(model, model.alloc) == {
        "allocs": 1,
        "failed_allocs": 1,
        "memcg_failures": 1,
    }
    # The page is back at the head.
    assert model.cached_pfns()[0] == head
    assert model.charged_pages == 2
    model.check()
    # Nobody is charged for the kernel's, nor for atomic ones.
    assert model.alloc(kernel=True) == head
    assert model.alloc(gfp="atomic") == head - 1
    model.free(first)
    assert model.alloc() == first
    assert second in model._charged
    model.check()


def test_memcg_refusal_after_a_refill_leaves_a_block_cached() -> None:
    model = boot(Plain(ram=64 * MB, memcg_limit_pages=1))
    for _ in range(507):
        model.alloc(kernel=True)
    assert model.alloc() == 0x40200
    for _ in range(511):
        model.alloc(kernel=True)
    assert len(model.cached_pfns()) == 4
    moved = changes(model, model.alloc)
    assert moved["refilled_pages"] == 512
    assert moved["memcg_failures"] == 1
    assert "warnings" not in moved
    # The region's first page comes last and is the head.
    assert model.cached_pfns()[:2] == [0x40400, 0x405FF]
    assert len(model.cached_pfns()) == 4 + 512
    model.check()


def test_memcg_refusal_of_noblock_frees_inside_the_buddy() -> None:
    model = boot(Model(ram=64 * MB, linear_map="pte", memcg_limit_pages=1))
    assert model.alloc() == 0x40000
    # The page was zeroed before the charge; no pkey is set, and the allocator releases nothing.
    assert changes(model, model.alloc) == {
        "allocs": 1,
        "failed_allocs": 1,
        "memcg_failures": 1,
        "zeroed_pages": 1,
    }
    assert model.pcp_lists() == {0: [0x40001, 0x40002]}
    model.free(0x40000)
    assert model.alloc() == 0x40000
    model.check()


# --- Faults ---


def test_fault_modes_pick_calls() -> None:
    picked = {
        (mode, n): [call for call in range(1, 8) if Fault("charge", mode, n).hits(call)]
        for mode, n in [("off", 0), ("nth", 3), ("every", 3), ("every", 1)]
    }
    assert picked == {
        ("off", 0): [],
        ("nth", 3): [3],
        ("every", 3): [3, 6],
        ("every", 1): [1, 2, 3, 4, 5, 6, 7],
    }


def test_fault_share_draws_with_splitmix64() -> None:
    # The first outputs of splitmix64 from 0, as published: 16294208416658607535,
    # 7960286522194355700, 487617019471545679. Modulo a million: 607535, 355700, 545679.
    for share, picked in [
        (0, []),
        (355700, []),
        (355701, [2]),
        (545680, [2, 3]),
        (607536, [1, 2, 3]),
        (1000000, [1, 2, 3]),
    ]:
        fault = Fault("charge", "share", share)
        assert [call for call in (1, 2, 3) if fault.hits(call)] == picked


@pytest.mark.parametrize(
    "arguments",
    [
        ("alloc", "nth", 1),
        ("charge", "never", 1),
        ("charge", "nth", 0),
        ("charge", "every", 0),
        ("charge", "share", -1),
        ("charge", "share", 1000001),
    ],
)
def test_fault_outside_its_limits_is_refused(arguments: tuple[str, str, int]) -> None:
    model = Model(ram=8 * MB)
    with pytest.raises(ValueError, match=r"must|limits"):
        model.set_fault(*arguments)


def test_fault_of_an_order_makes_a_refill_fall_back() -> None:
    model = booted(ram=64 * MB)
    for _ in range(507):
        model.alloc()
    # Neither order 4 nor a pin counts as a call.
    model.set_fault("alloc_pages", "nth", 1, orders=1 << 9)
    assert model.pin(9) == 0x40200
    moved = changes(model, model.alloc)
    assert {name: moved[name] for name in ("faults_injected", "refills_order_4")} == {
        "faults_injected": 1,
        "refills_order_4": 1,
    }
    # No slow path, no report.
    assert not SLOW_PATH & moved.keys()
    model.check()


def test_fault_of_every_order_is_plain_out_of_memory() -> None:
    model = booted(ram=64 * MB)
    for _ in range(507):
        model.alloc()
    model.set_fault("alloc_pages", "every", 1)
    assert changes(model, model.alloc) == {
        "allocs": 1,
        "failed_allocs": 1,
        "warnings": 1,
        "faults_injected": 3,
    }
    model.set_fault("alloc_pages", "off")
    assert model.alloc() == 0x40200


def test_fault_of_noblock_alloc_says_nothing() -> None:
    model = boot(Plain(ram=8 * MB, linear_map="pte"))
    model.set_fault("alloc_pages", "nth", 2)
    assert model.alloc() == BASE_4K
    assert changes(model, model.alloc) == {"allocs": 1, "failed_allocs": 1, "faults_injected": 1}
    assert model.alloc() == BASE_4K + 1


def test_fault_of_a_single_page_loses_the_rest_of_the_list() -> None:
    model = booted(ram=64 * MB)
    model.set_fault("set_pkey", "nth", 11, pkey=0)
    assert changes(model, lambda: model.shrink(64)) == {
        "shrink_scans": 1,
        "faults_injected": 1,
        "released_pages": 10,
        # 11 calls, of which 10 did something: one PMD, and two groups of 16 PTEs; the pages 0x401bf
        # to 0x401c8 lie in them.
        "set_pkey_calls": 11,
        "set_pkey_pages": 11,
        "split_pmd": 1,
        "split_contpte": 2,
        "split_ptps": 1,
        "ptps_for_linear_map": 1,
        "descriptor_writes": 513 + 2 * 16 + 10,
        "tlbi_single": 10,
    }
    assert len(model.cached_pfns()) == 511 - 64 + 1 - 1
    assert len(model._lost) == 53
    assert {model.pkey(pfn) for pfn in model._lost} == {1}
    model.check()


def test_fault_of_a_whole_block_puts_it_back_in_list_order_without_marks() -> None:
    model, in_use = two_blocks()
    for pfn in in_use[-13:]:
        model.free(pfn)
    block = [pfn for pfn in model.cached_pfns() if pfn // 512 == 0x201]
    others = [pfn for pfn in model.cached_pfns() if pfn // 512 != 0x201]
    model.set_fault("set_pkey", "every", 1, pkey=0)
    assert model.shrink(512) == -1
    # Each goes to the head in turn, of the private list and then of the cache: as it was.
    assert model.cached_pfns() == block + others
    assert model._blocks.keys() == {0x40000}
    model.check()
    # One leaf: half of it is the whole, and the pages are cached without the pkey.
    model, in_use = two_blocks()
    for pfn in in_use[-13:]:
        model.free(pfn)
    model.set_fault("set_pkey", "nth", 1, half=True)
    assert changes(model, lambda: model.shrink(512)) == {
        "shrink_scans": 1,
        "faults_injected": 1,
        "set_pkey_calls": 1,
        "set_pkey_pages": 512,
        "descriptor_writes": 1,
    }
    assert model.unprotected_pages == 512
    model.check()


def keyed_free(model: Model) -> list[int]:
    free = {*model._buddy.free_pfns(), *model._zone.pcp_pfns()}
    return sorted(pfn for pfn in free if model.pkey(pfn) == 1)


def test_fault_half_way_through_a_refill_leaves_free_pages_with_the_pkey() -> None:
    model = boot(Plain(ram=64 * MB, refill_orders=(4, 2)))
    # Two of the first 16 pages went to the splits for them and for PPA's; 10 may be taken.
    for _ in range(10):
        assert model.alloc() is not None
    assert len(model.cached_pfns()) == 4
    model.set_fault("set_pkey", "nth", 1, half=True, pkey=1)
    assert changes(model, model.alloc) == {
        "allocs": 1,
        "failed_allocs": 1,
        "warnings": 1,
        "refills": 1,
        "refills_order_4": 1,
        "refilled_pages": 16,
        "released_pages": 16,
        "faults_injected": 1,
        "set_pkey_calls": 1,
        "set_pkey_pages": 16,
        # Nothing to split: the PMD is a table, and both ends lie between groups. No flush.
        "descriptor_writes": 8,
    }
    assert keyed_free(model) == list(range(0x40010, 0x40018))
    model.check()
    # The next refill takes them all, and gives them back clean.
    assert model.alloc() == 0x40010
    assert keyed_free(model) == []
    model.check()


def test_fault_half_way_on_one_leaf_changes_it() -> None:
    model = boot(Model(ram=64 * MB))
    for _ in range(507):
        model.alloc()
    model.set_fault("set_pkey", "nth", 1, half=True, pkey=1)
    assert model.alloc() is None
    # Order 9 goes back through the per-CPU list and is its head; with the other parked block that
    # is too much for the list, and the tail goes.
    assert keyed_free(model) == list(range(0x40200, 0x40400))
    assert model.pcp_lists() == {12: [0x40200]}
    model.check()


def test_fault_of_set_pkey_before_anything_leaves_the_map_alone() -> None:
    model = boot(Plain(ram=64 * MB, linear_map="pte"))
    model.set_fault("set_pkey", "nth", 1)
    assert changes(model, model.alloc) == {
        "allocs": 1,
        "failed_allocs": 1,
        "faults_injected": 1,
        "set_pkey_calls": 1,
        "set_pkey_pages": 1,
        "refilled_pages": 1,
        "released_pages": 1,
        "zeroed_pages": 1,
        "memcg_charges": 1,
        "memcg_uncharges": 1,
    }
    assert keyed_free(model) == []
    # With half of one page the page is done.
    model.set_fault("set_pkey", "nth", 1, half=True)
    assert model.alloc() is None
    assert keyed_free(model) == [BASE_4K]
    # And one that keeps its pkey when it is freed.
    assert model.alloc() == BASE_4K
    model.set_fault("set_pkey", "nth", 1)
    model.free(BASE_4K)
    assert keyed_free(model) == [BASE_4K]
    model.check()


def test_fault_of_charge_is_a_refusal() -> None:
    model = booted(ram=64 * MB)
    model.set_fault("charge", "every", 2)
    served = [model.alloc() is not None for _ in range(4)]
    assert served == [True, False, True, False]
    assert model.counters["memcg_failures"] == model.counters["faults_injected"] == 2
    # Kernel tables make no call.
    assert [model.alloc(kernel=True) is not None for _ in range(2)] == [True, True]


def test_fault_of_memblock_gives_a_single_page() -> None:
    # The first call asks for a chunk and fails, the second for the top page; the third is the
    # chunk, below it and aligned, for the second table.
    model = Model(ram=64 * MB, faults=[Fault("memblock", "nth", 1)])
    assert model.counters["faults_injected"] == 1
    assert sorted(model._tables.values()) == [0x43DFF, 0x43FFF]
    # 510 pages above the chunk are the buddy's: 256 + ... + 1, without the last one.
    assert model.free_lists()[8, MOVABLE] == [0x43E00]
    assert model.free_lists()[0, MOVABLE] == [0x43FFE]
    boot(model)
    assert model.unprotected_pages == 1
    model.check()


def test_fault_of_all_of_memblock_ends_boot() -> None:
    with pytest.raises(MemoryError):
        Model(ram=64 * MB, faults=[Fault("memblock", "every", 1)])


def test_fault_in_late_init_leaves_what_it_meant_unprotected() -> None:
    model = Model(ram=64 * MB, nr_static_pgtables=4)
    model.hardened_init()
    # The early region, PPA's pages, the static tables.
    model.set_fault("set_pkey", "nth", 3, half=True)
    model.init_late()
    assert model.unprotected_pages == 2
    model.check()


# --- Other users: ranges, gfp flags ---


def test_set_memory_changes_any_range_and_counts() -> None:
    model = booted(ram=64 * MB)
    results: list[int] = []
    # Across two PMDs of the first group, whose hint is gone already.
    assert changes(model, lambda: results.append(model.set_memory(1021, 6))) == {
        "range_changes": 1,
        "split_pmd": 2,
        "split_contpte": 2,
        "split_ptps": 2,
        "ptps_for_linear_map": 2,
        "descriptor_writes": 2 * (513 + 16) + 6,
        "tlbi_single": 6,
    }
    assert results == [0]
    # One page, number 1023: its start is odd, its PTEs have lost their hint.
    assert changes(model, lambda: model.set_memory(1023, 1)) == {
        "range_changes": 1,
        "descriptor_writes": 1,
        "tlbi_single": 1,
    }
    # All of RAM: the ends are boundaries. 3 tables of 512 PTEs, 29 PMDs.
    assert changes(model, lambda: model.set_memory(0, 16384))["descriptor_writes"] == 3 * 512 + 29
    model.check()


def test_set_memory_without_a_reserve_fails_when_the_refill_does() -> None:
    model = booted(ram=64 * MB)
    for _ in range(507):
        model.alloc()
    assert model.set_memory(1021, 6) == 0
    assert len(model.cached_pfns()) == 2
    model.set_fault("alloc_pages", "every", 1)
    results: list[int] = []
    assert changes(model, lambda: results.append(model.set_memory(2045, 6))) == {
        "warnings": 1,
        "range_changes": 1,
        "failed_range_changes": 1,
        "faults_injected": 3,
    }
    assert results == [-errno.ENOMEM]
    model.check()


def test_alloc_with_the_split_flag_takes_the_reserve() -> None:
    model = booted(ram=64 * MB)
    for _ in range(507):
        model.alloc()
    assert [model.alloc(kernel=True, split=True) for _ in range(4)] == [
        0x40003,
        0x40002,
        0x40001,
        0x40000,
    ]
    assert model.counters["refills"] == 1
    # The empty list warns and a refill follows.
    moved = changes(model, lambda: model.alloc(kernel=True, split=True))
    assert (moved["warnings"], moved["refills"]) == (1, 1)
    model.check()


def test_alloc_atomic_warns_in_the_pba_and_goes_on() -> None:
    model = booted(ram=64 * MB)
    assert changes(model, lambda: model.alloc(gfp="atomic")) == {
        "allocs": 1,
        "warnings": 1,
        "zeroed_pages": 1,
        "pkey_reg_writes": 2,
    }
    model = booted(ram=64 * MB, linear_map="pte")
    assert "warnings" not in changes(model, lambda: model.alloc(gfp="atomic"))


# --- The slow path ---


def test_slow_path_goes_down_to_min_then_to_the_reserves() -> None:
    # 1536 pages; min 78, low 97, high 116. Free pages must be more than the mark.
    model = Model(ram=8 * MB, no_pcp=True)
    assert model.watermarks == (78, 97, 116)
    assert changes(model, lambda: pins(model, *[(0, UNMOVABLE)] * (1536 - 97))) == {}
    # From 97 down to 78 free pages the slow path finds them at once.
    assert changes(model, lambda: pins(model, *[(0, UNMOVABLE)] * 19)) == {
        "slowpath_entries": 19,
        "kswapd_wakes": 19,
    }
    assert model.nr_free_pages == 78
    # From there on nothing is reclaimed, and the OOM killer's victim may go down to one half.
    assert changes(model, lambda: pins(model, *[(0, UNMOVABLE)] * 39)) == {
        "slowpath_entries": 39,
        "kswapd_wakes": 39,
        "allocstall": 39,
        "oom_kills": 39,
    }
    assert model.nr_free_pages == 39
    results: list[int | None] = []
    assert changes(model, lambda: results.append(model.pin(0))) == {
        "slowpath_entries": 1,
        "kswapd_wakes": 1,
        "allocstall": 1,
        "oom_kills": 1,
        "alloc_failures": 1,
    }
    # An atomic request may go down to 78 - 39 = 39, less a quarter of it: 30.
    assert changes(model, lambda: results.extend(model.pin(0, gfp="atomic") for _ in range(9))) == {
        "slowpath_entries": 9,
        "kswapd_wakes": 9,
    }
    assert changes(model, lambda: results.append(model.pin(0, gfp="atomic"))) == {
        "slowpath_entries": 1,
        "kswapd_wakes": 1,
        "alloc_failures": 1,
    }
    assert [pfn is not None for pfn in results] == [False] + [True] * 9 + [False]
    assert model.slowpath_order == [19 + 39 + 1 + 10] + [0] * 10
    model.check()


def test_slow_path_does_not_see_a_parked_block_until_it_drains() -> None:
    # As above, but both order-9 pages are whole. The first request parks the second one, and then
    # the buddy has none: compaction drains, finds it, and it goes through the list again.
    model = boot(Model(ram=64 * MB))
    assert None not in pins(model, *[(10, MOVABLE)] * 14)
    assert model.pin(9, MOVABLE) == 0x43C00
    assert model.pcp_lists() == {13: [0x40200]}
    pfns: list[int | None] = []
    set_watermarks(model, 0, 0, 0)
    assert changes(model, lambda: pfns.append(model.pin(9, MOVABLE))) == {
        "slowpath_entries": 1,
        "kswapd_wakes": 1,
        "compact_stall": 1,
        "compact_success": 1,
        "pcp_drains": 1,
        "pcp_bulk_free_pages": 512,
        "pcp_bulk_allocs": 1,
        "pcp_bulk_alloc_pages": 512,
    }
    assert pfns == [0x40200]
    model.check()


def aged(refill_orders: tuple[int, ...] = (9, 4, 2)) -> Model:
    """Return a machine with 4 cached pages, whose free memory is pieces of order 3, scattered."""
    model = boot(Plain(ram=64 * MB, refill_orders=refill_orders))
    while len(model.cached_pfns()) > 4:
        model.alloc()
    pieces = []
    while (pfn := model.pin(3)) is not None:
        pieces.append(pfn)
    for pfn in pieces[::2]:
        model.unpin(pfn, 3)
    exhausted = {order for order, _ in model.free_lists() if order > 3}
    assert exhausted == set()
    # What was compacted, in vain, on the way is forgotten.
    model._deferral.succeeded(0)
    model._deferral.order_failed = 14
    return model


def test_slow_path_is_entered_twice_by_a_refill_on_aged_memory() -> None:
    # At order 9 and 4: one round of compaction, with nothing movable, and of reclaim, with nothing
    # to shrink, and a report. Order 2 is found at once.
    model = aged()
    before = list(model.slowpath_order)
    moved = changes(model, model.alloc)
    assert moved["refills_order_2"] == 1
    assert {name: value for name, value in moved.items() if name in SLOW_PATH} == {
        "slowpath_entries": 2,
        "kswapd_wakes": 2,
        "compact_stall": 2,
        "compact_fail": 2,
        "allocstall": 2,
        "slab_shrinks": 2 * 13,
        "alloc_failures": 2,
    }
    after = model.slowpath_order
    assert [new - old for new, old in zip(after, before, strict=True)] == [
        int(order in {4, 9}) for order in range(11)
    ]
    model.check()


def test_slow_path_defers_compaction_after_failures() -> None:
    # Each failure doubles the wait: of order-9 requests the 1st, then the 2nd of 2, the 4th of 4,
    # the 8th of 8 compact; the rest defer.
    model = aged()
    compacted = []
    for _ in range(1 + 2 + 4 + 8 + 1):
        moved = changes(model, lambda: model.pin(9))
        compacted.append("compact_stall" in moved)
        assert ("compact_deferred" in moved) != compacted[-1]
    assert [at for at, did in enumerate(compacted, 1) if did] == [1, 3, 7, 15]
    # A smaller order has not failed yet; after that it has.
    assert "compact_stall" in changes(model, lambda: model.pin(5))
    assert "compact_deferred" in changes(model, lambda: model.pin(5))


def test_slow_path_of_a_small_order_ends_with_the_oom_killer() -> None:
    model = aged()
    # Pieces of order 3 are taken whole, so that order 3 ends: compaction before reclaim, and
    # again after it.
    while model.free_lists().get((3, UNMOVABLE)):
        model.pin(2)
    model._deferral.order_failed = 14
    assert changes(model, lambda: model.pin(3)) == {
        "slowpath_entries": 1,
        "kswapd_wakes": 1,
        "compact_stall": 1,
        "compact_fail": 1,
        # One failure: of the next two calls the first is deferred.
        "compact_deferred": 1,
        "allocstall": 1,
        "slab_shrinks": 13,
        "oom_kills": 1,
        "alloc_failures": 1,
    }


def test_slow_path_of_a_movable_order_compacts_only_after_reclaim() -> None:
    model = aged()
    while model.free_lists().get((3, UNMOVABLE)):
        model.pin(2)
    model._deferral.order_failed = 14
    moved = changes(model, lambda: model.pin(3, MOVABLE))
    assert (moved["compact_stall"], moved["allocstall"], moved["oom_kills"]) == (1, 1, 1)
    assert "compact_deferred" not in moved


@pytest.mark.parametrize(
    ("gfp", "order", "counted"),
    [
        # A costly order which shall not retry: compaction failed, that is all.
        (_Gfp.KERNEL | _Gfp.NORETRY, 9, {"compact_stall": 1, "alloc_failures": 1}),
        # One round of both.
        (_Gfp.KERNEL, 9, {"compact_stall": 1, "allocstall": 1, "alloc_failures": 1}),
        (
            _Gfp.KERNEL | _Gfp.RETRY_MAYFAIL,
            9,
            {"compact_stall": 1, "allocstall": 1, "compact_deferred": 1, "alloc_failures": 1},
        ),
        (
            _Gfp.KERNEL | _Gfp.RETRY_MAYFAIL,
            3,
            {"compact_stall": 1, "allocstall": 1, "compact_deferred": 1, "alloc_failures": 1},
        ),
        # Small orders reclaim, even if they shall not retry.
        (
            _Gfp.KERNEL | _Gfp.NORETRY,
            3,
            {"compact_stall": 1, "allocstall": 1, "alloc_failures": 1},
        ),
        (_Gfp.KERNEL | _Gfp.NORETRY | _Gfp.NOWARN, 9, {"compact_stall": 1}),
        (_Gfp.ATOMIC, 9, {"alloc_failures": 1}),
        # Without __GFP_KSWAPD_RECLAIM, too.
        (_Gfp.HIGH, 0, {"alloc_failures": 1}),
    ],
)
def test_slow_path_obeys_the_gfp_mask(gfp: _Gfp, order: int, counted: dict[str, int]) -> None:
    model = aged()
    while model.free_lists():
        assert model.pin(0) is not None
    model._deferral.order_failed = 14
    moved = changes(model, lambda: model._alloc_pages(order, UNMOVABLE, gfp))
    names = {"compact_stall", "allocstall", "compact_deferred", "alloc_failures", "oom_kills"}
    assert {name: moved[name] for name in moved.keys() & names} == counted
    assert moved.get("kswapd_wakes", 0) == int(_Gfp.KSWAPD_RECLAIM in gfp)


class Helpful(Plain):
    """A machine whose shrinker says that it freed a page each time, and frees none."""

    def _has_shrinker(self) -> bool:
        return True

    def _do_shrink_slab(self, priority: int) -> int:  # noqa: ARG002 - as in the model
        return 1


def test_slow_path_retries_16_times_while_there_is_progress() -> None:
    model = Helpful(ram=8 * MB)
    exhaust(model)
    # The first round and 16 more, of 13 priorities each; each drains before it gives up.
    moved = changes(model, lambda: model.pin(0))
    assert moved == {
        "slowpath_entries": 1,
        "kswapd_wakes": 1,
        "allocstall": 17,
        "slab_shrinks": 17 * 13,
        "pgsteal_direct": 17 * 13,
        "pcp_drains": 17,
        "oom_kills": 1,
        "alloc_failures": 1,
    }


# --- Reclaim ---


def test_reclaim_shrinks_from_priority_12_on() -> None:
    # Freeable 495, delta 247 each time; what was deferred is 0, 247, 494, 741, 988, then 990, the
    # cap. 990 >> 2 = 247 and 247 are 494, one short; 990 >> 1 are enough: priority 1, the twelfth.
    model = booted(ram=64 * MB)
    results: list[int] = []
    moved = changes(model, lambda: results.append(model.reclaim()))
    assert results == [495]
    assert {name: moved[name] for name in moved if name in SLOW_PATH | {"shrink_scans"}} == {
        "allocstall": 1,
        "slab_shrinks": 12,
        "shrink_scans": 1,
        "pgsteal_direct": 495,
    }
    # 16 cached pages are not shrinkable.
    moved = changes(model, model.reclaim)
    assert moved == {"allocstall": 1, "slab_shrinks": 13}


def test_reclaim_feeds_an_allocation_which_drains_first() -> None:
    # Everything is pinned but the cache: an allocation of order 3 reclaims 495 pages, which lie
    # on the per-CPU list, where 78 or fewer stay, unmerged.
    model = boot(Model(ram=64 * MB, no_pcp=False))
    set_watermarks(model, 0, 0, 0)
    for order in range(10, -1, -1):
        while model.nr_free_pages >> order and model._buddy.has_block(order):
            model.pin(order, cpu=1)
        model.drain_all_pages()
    while model.nr_free_pages:
        assert model.pin(0, cpu=1) is not None
    model._zone.high = 10000
    moved = changes(model, lambda: model.pin(3))
    assert moved["pgsteal_direct"] == 495
    # All of the 495 are on the list of CPU 0 before; the drain merges them.
    assert moved["pcp_drains"] == 1
    assert moved["pcp_bulk_free_pages"] == 495
    assert "oom_kills" not in moved
    model.check()


def scattered() -> Model:
    """Return a machine with 30 cached pages in no block, 14 of them first, each in another PMD.

    Order-10 regions are no blocks, and two intact PMDs each. Seven of them have 7168 pages, one of
    which boot's split took.
    """
    model = boot(Plain(ram=64 * MB, refill_orders=(10, 2)))
    for _ in range(7 * 1024 - 1 - 4):
        model.alloc()
    assert model.counters["refills"] == 7
    assert len(model.cached_pfns()) == 4
    for pfn in [*range(0x40010, 0x4001C), *(0x40100 + 512 * pmd for pmd in range(14))]:
        model.free(pfn)
    return model


def test_shrink_which_runs_out_of_tables_refills() -> None:
    # The first 13 resets take a table each and leave 3 of 16; before the last one a refill comes.
    model = scattered()
    assert model.leaf_counts()["pmd"] >= 14
    moved = changes(model, lambda: model.shrink(14))
    assert moved["released_pages"] == 14
    assert moved["split_pmd"] == 14
    assert moved["refills"] == moved["refills_in_shrink"] == 1
    assert len(model.cached_pfns()) == 3 + 1024 - 1
    model.check()


def test_reclaim_may_ignore_the_watermarks() -> None:
    model = scattered()
    # Memory is low: whoever does not reclaim gets nothing.
    free = model.nr_free_pages
    set_watermarks(model, free, free, free)
    moved = changes(model, model.reclaim)
    assert moved["refills_in_shrink"] == 1
    assert moved["memalloc_allocs"] == 1
    # Neither compaction nor reclaim inside reclaim.
    assert moved["allocstall"] == 1
    assert "compact_stall" not in moved
    model.check()


# --- Compaction ---


def movable_pieces(order: int = 8) -> Model:
    """Return a machine of 8 MB with six movable pieces of 1 MB, which fill it."""
    model = Plain(ram=8 * MB)
    assert pins(model, *[(order, MOVABLE)] * 6) == [
        0x40400,
        0x40500,
        0x40000,
        0x40100,
        0x40200,
        0x40300,
    ]
    return model


def test_compaction_moves_to_the_highest_free_block() -> None:
    model = movable_pieces()
    for pfn in (0x40100, 0x40300, 0x40400):
        model.unpin(pfn, 8)
    # The first window holds one piece and a free block; 0x40400 is the highest free one.
    assert changes(model, lambda: model.pin(9)) == {
        "slowpath_entries": 1,
        "kswapd_wakes": 1,
        "compact_stall": 1,
        "compact_success": 1,
        "compact_migrate_scanned": 512,
        "pgmigrate_success": 256,
        "pcp_drains": 1,
    }
    assert model.migrations == [(0x40000, 0x40400, 8)]
    assert model._pins == {0x40000: 9, 0x40200: 8, 0x40400: 8, 0x40500: 8}
    model.check()
    with pytest.raises(ValueError, match="only"):
        model.unpin(0x40000, 8)
    model.unpin(0x40400, 8)
    model.check()


def test_compaction_cuts_the_top_off_a_larger_block() -> None:
    model = Plain(ram=8 * MB)
    assert model.pin(10) == 0x40000
    assert pins(model, *[(order, MOVABLE) for order in (1, 0, 8, 7, 6, 5)]) == [
        0x40400,
        0x40402,
        *(0x40400 + (1 << order) for order in (8, 7, 6, 5)),
    ]
    # Free: order 0 at 3, 2 at 4, 3 at 8, 4 at 16. The window of order 3 has two allocations.
    assert model._look_at_window(0x40400, 0x40408) == [0x40400, 0x40402]
    assert model._migrate(0x40400, 0x40408)
    # Order 4 at 16 gave its last two pages; halves of order 3, 2 and 1 are left.
    assert model.migrations == [(0x40400, 0x4041E, 1)]
    lists = model.free_lists()
    assert lists[3, MOVABLE] == [0x40410, 0x40408]
    assert lists[2, MOVABLE] == [0x40418, 0x40404]
    # What was moved away went to the tail, for order 2 above it is free.
    assert lists[1, MOVABLE] == [0x4041C, 0x40400]
    # Now the highest free block is the pair at 0x4041c.
    assert model._migrate(0x40402, 0x40408)
    assert model.migrations[1:] == [(0x40402, 0x4041D, 0)]
    # The window merged with what is above: 0 to 15 is free.
    assert model.free_lists() == {
        (0, MOVABLE): [0x4041C],
        (2, MOVABLE): [0x40418],
        (3, MOVABLE): [0x40410],
        (4, MOVABLE): [0x40400],
    }
    model.check()


def test_compaction_skips_windows_with_other_pages() -> None:
    model = movable_pieces()
    # The first window gets an unmovable page at its 257th page, and a movable one of order 8.
    model.unpin(0x40100, 8)
    assert model.pin(0) == 0x40100
    model.unpin(0x40300, 8)
    model.unpin(0x40500, 8)
    results: list[bool] = []
    # 257 pages are looked at in the first window: the last one ends it. The second one is moved to
    # 0x40500.
    assert changes(model, lambda: results.append(model.compact(9))) == {
        "compact_migrate_scanned": 257 + 512,
        "pgmigrate_success": 256,
        "pcp_drains": 1,
    }
    assert results == [True]
    assert model.migrations == [(0x40200, 0x40500, 8)]
    # There is one now.
    assert changes(model, lambda: results.append(model.compact(9))) == {"pcp_drains": 1}
    assert results == [True, True]
    model.check()


def test_compaction_without_a_place_above_fails_and_keeps_what_moved() -> None:
    model = movable_pieces()
    # Two pieces of order 7 in the first window of order 8, and one free one above.
    model.unpin(0x40000, 8)
    assert pins(model, (7, MOVABLE), (7, MOVABLE)) == [0x40000, 0x40080]
    model.unpin(0x40500, 8)
    assert model.pin(7) == 0x40500
    assert changes(model, lambda: model.compact(8)) == {
        "compact_migrate_scanned": 256,
        "pgmigrate_success": 128,
        "pcp_drains": 1,
    }
    assert model.migrations == [(0x40000, 0x40580, 7)]
    # The operation does not make others wait.
    assert model._deferral.order_failed == 14
    model.check()


def test_compaction_of_windows_inside_a_larger_allocation_fails() -> None:
    model = movable_pieces()
    # Windows of order 4 lie inside the pieces: every page of all is looked at, PPA's first ends.
    assert changes(model, lambda: model.compact(4)) == {
        # 1536 pages, and one in each window of the last pageblock, which is PPA's chunk.
        "compact_migrate_scanned": 1536 + 512 // 16,
        "pcp_drains": 1,
    }


def test_compaction_without_movable_pages_looks_at_nothing() -> None:
    model = Plain(ram=8 * MB)
    assert not model.compact(10)
    assert changes(model, lambda: model._direct_compaction(10)) == {
        "compact_stall": 1,
        "compact_fail": 1,
    }


# --- Regions of memory ---


def test_regions_linear_map_around_a_hole() -> None:
    # 0-33 MB, 34-64 MB. A whole group of 16 PMDs; 256 PTEs; 15 PMDs of a group which is not
    # whole. The second region finds all its upper tables.
    model = Model(ram=64 * MB, holes=[(GB + 33 * MB, MB)])
    none = {"pud": 0, "pte": 0}
    assert model.leaf_counts() == none | {"contpmd": 16, "contpte": 256, "pmd": 15}
    assert model.counters["ptps_for_linear_map"] == 3
    assert model.managed_pages == 16384 - 512 - 256
    assert model.free_lists() == {
        (10, MOVABLE): [
            *(BASE_4K + 1024 * piece for piece in range(8)),
            *(0x42400 + 1024 * piece for piece in range(6)),
        ],
        (9, MOVABLE): [0x42200, 0x43C00],
        (8, MOVABLE): [0x42000],
    }
    assert model.pageblock_types() == [MOVABLE] * 32
    model.check()
    boot(model)
    model.check()
    with pytest.raises(ValueError, match="without holes"):
        model.pkey(0x42100)
    # One that runs into the hole ends there, one that begins in it at once; nothing is flushed.
    results: list[int] = []
    failed = {"range_changes": 1, "failed_range_changes": 1}
    moved = changes(model, lambda: results.append(model.set_memory(8192 + 240, 30)))
    assert moved == failed | {"descriptor_writes": 16}
    assert changes(model, lambda: results.append(model.set_memory(8192 + 256, 200))) == failed
    assert results == [-errno.EINVAL, -errno.EINVAL]
    # A range which ends at the hole splits nothing there.
    moved = changes(model, lambda: model.set_memory(8192 + 240, 16))
    assert moved == {"range_changes": 1, "descriptor_writes": 16, "tlbi_single": 16}


def test_regions_share_a_table_of_ptes() -> None:
    # Page 256 is missing: 256 hinted PTEs, 15 without a hint up to the next group, 240 hinted.
    # The first group of PMDs is not whole.
    model = Model(ram=64 * MB, holes=[(GB + MB, 4 * KB)])
    assert model.leaf_counts() == {
        "pud": 0,
        "contpmd": 16,
        "pmd": 15,
        "contpte": 496,
        "pte": 15,
    }
    assert model.counters["ptps_for_linear_map"] == 3
    lists = model.free_lists()
    assert {key: pfns for key, pfns in lists.items() if key[0] < 9} == {
        (8, MOVABLE): [0x40000],
        **{(order, MOVABLE): [0x40100 + (1 << order)] for order in range(8)},
    }
    assert lists[9, MOVABLE] == [0x40200, 0x43C00]
    boot(model)
    model.check()


def test_regions_each_gb_has_its_own_blocks() -> None:
    # The hole is the second GB: two blocks of 1 GB, one table.
    model = Model(ram=3 * GB, holes=[(2 * GB, GB)])
    assert model.leaf_counts()["pud"] == 2
    assert model.counters["ptps_for_linear_map"] == 1
    assert model.managed_pages == 2 * 262144 - 512


def test_regions_reserved_memory_is_mapped_but_never_free() -> None:
    # The last MB is taken: the highest chunk that fits begins at 60 MB. The MB above it is the
    # buddy's, after what is below.
    model = Model(ram=64 * MB, reserved=[(GB + 63 * MB, MB), (GB + 16 * KB, 4 * KB)])
    assert model.leaf_counts()["contpmd"] == 32
    assert sorted(model._tables.values()) == [0x43DFE, 0x43DFF]
    lists = model.free_lists()
    assert lists[8, MOVABLE] == [0x40100, 0x43E00]
    # Around page 4: four below; 5, then 6 and 7, 8 to 15 and so on.
    assert lists[2, MOVABLE] == [0x40000]
    assert [lists[order, MOVABLE] for order in (0, 1, 3)] == [[0x40005], [0x40006], [0x40008]]
    assert model.managed_pages == 16384 - 512 - 256 - 1
    model.check()
    boot(model)
    assert model.pkey(0x40004) == 0
    model.check()


def test_regions_chunk_from_a_lower_range() -> None:
    # Above 62 MB, 1 MB is free, and from 60 to 61.5 MB: neither holds a chunk of 2 MB.
    model = Model(ram=64 * MB, reserved=[(GB + 63 * MB, MB), (GB + 61 * MB + 512 * KB, 512 * KB)])
    assert sorted(model._tables.values()) == [0x43BFE, 0x43BFF]
    assert model.free_lists()[8, MOVABLE] == [0x43C00, 0x43E00]
    assert model.free_lists()[7, MOVABLE] == [0x43D00]


def test_ppa_records_128_ranges() -> None:
    # PTEs for 1 GB and 10 MB: 1 + 2 + 517 tables, 130 chunks of 4. A reserved page in each 8 keeps
    # the chunks apart. The last one is in use; of the 129 full ones one is too many.
    ram = GB + 10 * MB
    reserved = [(GB + ram - (8 * i + 4) * 4 * KB, 4 * KB) for i in range(135)]
    model = Model(ram=ram, refill_orders=(2,), linear_map="pte", reserved=reserved)
    assert model.counters["ptps_for_linear_map"] == 520
    assert model.counters["warnings"] == 1
    model.hardened_init()
    assert changes(model, model.init_late)["set_pkey_calls"] == 129
    assert model.unprotected_pages == 4


def test_static_page_tables_are_set_last_and_at_once() -> None:
    model = Model(ram=64 * MB, nr_static_pgtables=8)
    assert model.free_lists()[3, MOVABLE] == [0x40008]
    # The largest piece which is left is the second one.
    model.hardened_init()
    assert model.cached_pfns()[-1] == 0x40400
    assert model.unprotected_pages == 512 + 2 + 8
    # Early region: 0x40400 to 0x40600: one hint of PMDs (16), 1 PMD. PPA as ever. Static tables:
    # the end splits the first PMD (513), whose hint is gone, and a group of PTEs (16); 8 PTEs.
    assert changes(model, model.init_late) == {
        "split_contpmd": 2,
        "split_pmd": 2,
        "split_contpte": 2,
        "split_ptps": 2,
        "ptps_for_linear_map": 2,
        "set_pkey_calls": 3,
        "set_pkey_pages": 512 + 2 + 8,
        "tlbi_full": 1,
        "tlbi_single": 10,
        "descriptor_writes": (16 + 1) + (16 + 513 + 16 + 2) + (513 + 16 + 8),
    }
    assert model.unprotected_pages == 0
    assert [model.pkey(pfn) for pfn in (0x40000, 0x40007, 0x40008)] == [1, 1, 0]
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
        {"nr_cpus": 0},
        {"memcg_limit_pages": -1},
        {"nr_static_pgtables": -1},
        {"nr_static_pgtables": 1 << 20},
        {"nr_static_pgtables": 2, "holes": [(GB + 4 * KB, 4 * KB)]},
        {"nr_static_pgtables": 1, "holes": [(GB, 4 * KB)]},
        {"holes": [(GB, 0)]},
        {"holes": [(GB, KB)]},
        {"holes": [(GB + KB, 4 * KB)]},
        {"holes": [(0, 4 * KB)]},
        {"reserved": [(GB + 256 * MB - 4 * KB, 8 * KB)]},
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
        lambda: model.pin(0, gfp="nofail"),
        lambda: model.alloc(gfp="nofail"),
        lambda: model.compact(11),
        lambda: model.set_memory(-1, 1),
        lambda: model.set_memory(2048, 1),
        lambda: model.set_memory(0, 0),
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


def park_a_free_page(model: Model) -> None:
    model._zone.pcps[1].lists[0].append(0x40200)
    model._zone.pcps[1].count += 1


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
        (park_a_free_page, "two owners"),
        (lambda model: setattr(model._zone.pcps[1], "count", 1), "CPU 1 counts 1 pages, 0"),
        (lambda model: setattr(model._buddy, "nr_free", 0), "nr_free is 0"),
        (lambda model: model._buddy.movable_at.update({0x40000: 0}), "not pinned"),
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
            [
                "alloc",
                "alloc_many",
                "alloc_many",
                "free",
                "free_many",
                "pin",
                "pin",
                "pin_many",
                "unpin",
                "unpin_many",
                "split",
                "set_memory",
                "shrink",
                "shrink_slab",
                "reclaim",
                "drain",
                "compact",
                "fault",
            ]
        ),
        st.integers(0, 1 << 16),
        st.integers(0, 1 << 16),
    ),
    max_size=60,
)


class Program:
    """A machine and what was taken from it."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.in_use: list[int] = []
        self.pinned: dict[int, int] = {}
        self.nr_followed = 0

    def follow(self) -> None:
        """Learn where compaction moved the pins."""
        for old, new, order in self.model.migrations[self.nr_followed :]:
            assert self.pinned.pop(old) == order
            assert new not in self.pinned
            self.pinned[new] = order
        self.nr_followed = len(self.model.migrations)

    def act(self, operation: tuple[str, int, int]) -> None:
        """Do one random operation."""
        name, a, b = operation
        getattr(self, name)(a, b)
        self.follow()
        assert self.pinned == self.model._pins

    def alloc(self, a: int, b: int, how_many: int = 1) -> None:
        for _ in range(how_many):
            gfp = ("user", "kernel", "atomic")[b % 3]
            pfn = self.model.alloc(gfp=gfp, split=a % 7 == 0, cpu=b % 5)
            if pfn is not None:
                self.in_use.append(pfn)

    def alloc_many(self, a: int, b: int) -> None:
        self.alloc(a, b, a % 600)

    def free(self, a: int, b: int, how_many: int = 1) -> None:
        for _ in range(min(len(self.in_use), how_many)):
            self.model.free(self.in_use.pop(a % len(self.in_use)), cpu=b % 5)

    def free_many(self, a: int, b: int) -> None:
        self.free(a, b, b % 600)

    def pin(self, a: int, b: int, how_many: int = 1) -> None:
        for _ in range(how_many):
            gfp = "atomic" if b % 5 == 3 else "kernel"
            pfn = self.model.pin(a % 11, b % 3, gfp=gfp, cpu=b % 5)
            # What the slow path moved for it may have lain where it is now.
            self.follow()
            if pfn is not None:
                self.pinned[pfn] = a % 11

    def pin_many(self, a: int, b: int) -> None:
        self.pin(a, b, b % 60)

    def unpin(self, a: int, b: int, how_many: int = 1) -> None:
        for _ in range(min(len(self.pinned), how_many)):
            pfn = sorted(self.pinned)[a % len(self.pinned)]
            self.model.unpin(pfn, self.pinned.pop(pfn), cpu=b % 5)

    def unpin_many(self, a: int, b: int) -> None:
        self.unpin(a, b, b % 30)

    def split(self, a: int, b: int) -> None:
        self.model.split_other(BASE_4K + a % 4000, 1 + b % 90, cpu=b % 5)

    def set_memory(self, a: int, b: int) -> None:
        self.model.set_memory(a % 4000, 1 + b % 90, cpu=b % 5)

    def shrink(self, a: int, b: int) -> None:
        self.model.shrink(a % 600, cpu=b % 5)

    def shrink_slab(self, a: int, b: int) -> None:
        self.model.shrink_slab(a % 4, cpu=b % 5)

    def reclaim(self, _: int, b: int) -> None:
        self.model.reclaim(cpu=b % 5)

    def drain(self, _: int, __: int) -> None:
        self.model.drain_all_pages()

    def compact(self, a: int, b: int) -> None:
        self.model.compact(a % 11, cpu=b % 5)

    def fault(self, a: int, b: int) -> None:
        self.model.set_fault(
            ("alloc_pages", "set_pkey", "charge")[a % 3],
            ("off", "nth", "every", "share")[b % 4],
            1 + b % 50,
            half=a % 2 == 0,
            pkey=a % 5 % 3 - 1,
        )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(["block", "pte"]),
    st.sampled_from([(9, 4, 2), (4, 2), (2,), (10, 9, 2)]),
    st.fixed_dictionaries(
        {
            "nr_cpus": st.sampled_from([1, 4]),
            "no_pcp": st.booleans(),
            "memcg_limit_pages": st.sampled_from([0, 700]),
            "nr_static_pgtables": st.sampled_from([0, 9]),
            "reserved": st.sampled_from([(), [(GB + 12 * MB, 3 * MB)]]),
        }
    ),
    OPERATIONS,
    OPERATIONS,
)
def test_check_holds_after_any_sequence(
    linear_map: str,
    refill_orders: tuple[int, ...],
    options: dict[str, Any],
    early: list[tuple[str, int, int]],
    late: list[tuple[str, int, int]],
) -> None:
    model = Model("4K", 16 * MB, GB, refill_orders, linear_map, **options)
    program = Program(model)
    model.hardened_init()
    try:
        for operation in early:
            program.act(operation)
            model.check()
        model.init_late()
        program.follow()
        model.check()
        for operation in late:
            program.act(operation)
            model.check()
    except ModelDeadlock:
        # Shown by the tests above; without the reserve it may happen in any sequence.
        return
    counters = model.counters
    assert (
        counters["allocs"] - counters["failed_allocs"] - len(program.in_use) == (counters["frees"])
    )
    assert counters["memcg_charges"] - counters["memcg_uncharges"] == model.charged_pages
    assert sum(model.slowpath_order) == counters["slowpath_entries"]
    held = len(model.cached_pfns()) + len(program.in_use) + counters["split_ptps"]
    if linear_map == "block":
        lost = counters["refilled_pages"] - counters["released_pages"] - held
        assert lost == len(model._lost)


# --- What can be seen of it beside the counters ---


def test_early_window_does_not_split_and_warns_twice() -> None:
    model = Plain(ram=64 * MB)
    model.hardened_init()
    results: list[int] = []
    # That a split is not allowed, and that it failed.
    assert changes(model, lambda: results.append(model.set_memory(100, 1))) == {
        "range_changes": 1,
        "failed_range_changes": 1,
        "warnings": 2,
    }
    assert results == [-errno.EBUSY]
    # Where everything is a PTE there is nothing to split.
    model = Plain(ram=64 * MB, linear_map="pte")
    model.hardened_init()
    assert model.set_memory(100, 1) == 0


def test_map_counters_are_by_cause() -> None:
    model = booted(ram=64 * MB)
    # The early region is one PMD of a group; PPA's two pages need a table.
    late = model.map_counters["late_init"]
    assert (late["set_pkey_calls"], late["split_contpmd"], late["split_pmd"]) == (2, 2, 1)
    assert set(model.map_counters["boot"].values()) == {0}
    model.shrink(2)
    model.set_memory(4096, 3)
    for _ in range(520):
        model.alloc()
    causes = {cause: dict(counts) for cause, counts in model.map_counters.items()}
    assert causes["release"]["set_pkey_pages"] == 2
    assert causes["release"]["split_ptps"] == 1
    assert causes["other"]["set_pkey_calls"] == 0
    assert causes["other"]["split_ptps"] == 1
    assert causes["refill"]["set_pkey_pages"] == 512
    for name in late:
        assert model.counters[name] == sum(counts[name] for counts in causes.values())
    # With noblock everything before late init is boot's.
    model = Plain(ram=64 * MB, linear_map="pte")
    model.hardened_init()
    pfn = model.alloc()
    assert pfn is not None
    model.free(pfn)
    assert model.map_counters["boot"]["set_pkey_calls"] == 2


def test_split_other_keeps_its_pin_where_it_is() -> None:
    model = movable_pieces()
    for pfn in (0x40100, 0x40300, 0x40500):
        model.unpin(pfn, 8)
    # Without a page in the cache the split has to refill, which compacts at order 9: the first
    # window holds the pin that is being changed, the second one is emptied.
    model._cached.clear()
    model._can_set_pkey = model._hardened_init_done = model._pba_enabled = True
    model._cause = "other"
    model.split_other(0x40000, 1)
    assert model.migrations == [(0x40200, 0x40500, 8)]
    assert model._buddy.movable_at[0x40000] == 8


def test_memalloc_request_looks_at_no_watermark() -> None:
    model = boot(Model(ram=8 * MB, no_pcp=True, linear_map="pte"))
    while model.pin(0) is not None:
        pass
    assert model.nr_free_pages > 0
    assert model.alloc(gfp="noretry") is None
    assert model.alloc(gfp="mayfail") is None
    before = model.counters["alloc_failures"]
    assert model.alloc(gfp="nowarn") is None
    assert model.counters["alloc_failures"] == before
    moved = changes(model, lambda: model.alloc(gfp="kernel", memalloc=True))
    assert moved["memalloc_allocs"] == 1
    assert "allocstall" not in moved


def test_pages_with_the_pkey_are_counted_by_whose_they_are() -> None:
    model = booted(ram=64 * MB)
    # D1, and then D18 with a pin on what went back with the pkey.
    model.set_fault("set_pkey", "nth", 3, pkey=0)
    model.shrink(10)
    assert (model.lost_pages, model.stray_pkey_pages, model.unprotected_pages) == (7, 0, 0)
    assert model.blocks() == {"marked": 0, "mapped": 0, "idle": 0}
    while len(model.cached_pfns()) > 4:
        model.alloc()
    model.set_fault("set_pkey", "nth", 1, half=True)
    assert model.alloc() is None
    # A block is one leaf, all of which is its first half.
    assert (model.free_pkey_pages, model.stray_pkey_pages) == (512, 512)
    assert model.pin(8) is not None
    assert (model.free_pkey_pages, model.stray_pkey_pages) == (256, 512)
    for _ in range(2):
        model.alloc()
    assert model.blocks() == {"marked": 1, "mapped": 1, "idle": 0}
    model.check()
