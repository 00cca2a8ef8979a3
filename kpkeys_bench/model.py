# SPDX-License-Identifier: GPL-2.0-only
"""Slow and obvious reference model of the page table allocators, the tests' oracle.

The model mirrors, in plain Python and with nothing but dicts, lists and sets:

* the arm64 linear map: how it is built, how leaves are split, ``set_memory_pkey``;
* the buddy allocator beneath: one zone, one node, no per-CPU lists, no slow path, no watermarks;
* the physmem page table allocator (PPA), which serves the tables of the linear map itself;
* the pkeys block allocator (PBA), its early window and its shrinker;
* noblock, the allocator which serves when the linear map is mapped by PTEs.

It was written from the description of the mechanism alone, without a look at the C code, so
that the two can check each other. It is single-threaded: a lock taken twice is a deadlock.

Notes
-----
Two ways to number pages are used throughout. A *pfn* is absolute: ``phys >> page_shift``. A
*vpn* is the page's place in the linear map, counted from its start: ``pfn - first_pfn``. The
virtual address of the first page of RAM is aligned to every leaf size, so a vpn is as aligned
as the virtual address.
"""

from __future__ import annotations

import errno
from collections import Counter, OrderedDict, deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

UNMOVABLE: Final = 0
MOVABLE: Final = 1
RECLAIMABLE: Final = 2

#: Where an allocation looks when the lists of its own type are empty.
FALLBACKS: Final[dict[int, tuple[int, int]]] = {
    UNMOVABLE: (RECLAIMABLE, MOVABLE),
    MOVABLE: (RECLAIMABLE, UNMOVABLE),
    RECLAIMABLE: (UNMOVABLE, MOVABLE),
}

PKEY_DEFAULT: Final = 0
PKEY_PGTABLES: Final = 1

#: ``PBA_NR_RESERVED_PAGES``: cached pages which only splits may take.
NR_RESERVED_PAGES: Final = 4
#: ``PBA_UNSHRINKABLE_PAGES``: cached pages which the shrinker does not count.
UNSHRINKABLE_PAGES: Final = 16
#: What `Model.shrink` returns for the kernel's SHRINK_STOP.
SHRINK_STOP: Final = -1

_GIGABYTE: Final = 1 << 30
_LAST_REFILL_ORDER: Final = 2

_COUNTER_NAMES: Final = (
    "allocs",
    "frees",
    "failed_allocs",
    "refills",
    "refill_fallbacks",
    "refilled_pages",
    "released_pages",
    "split_pud",
    "split_contpmd",
    "split_pmd",
    "split_contpte",
    "split_ptps",
    "ptps_for_linear_map",
    "set_pkey_calls",
    "set_pkey_pages",
    "tlbi_single",
    "tlbi_full",
    "descriptor_writes",
    "warnings",
    "zeroed_pages",
    "pkey_reg_writes",
    "memcg_charges",
    "memcg_uncharges",
)


class ModelDeadlock(Exception):  # noqa: N818 - the name is the model's documented interface
    """A task of the model waits for a mutex which it already owns."""


@dataclass(frozen=True, slots=True)
class _Geometry:
    """Sizes of one granule; every order is log2 of a number of pages."""

    page_shift: int
    table_bits: int
    contpte_order: int
    pmd_order: int
    contpmd_order: int
    pud_order: int | None
    pgd_order: int
    max_page_order: int

    @property
    def entries(self) -> int:
        """Descriptors in one table, ``PTRS_PER_PTE``."""
        return 1 << self.table_bits

    @property
    def pageblock_order(self) -> int:
        """Order of a pageblock: a PMD block or the largest order, whichever is smaller."""
        return min(self.pmd_order, self.max_page_order)


_GEOMETRIES: Final[dict[str, _Geometry]] = {
    "4K": _Geometry(12, 9, 4, 9, 13, 18, 27, 10),
    "16K": _Geometry(14, 11, 7, 11, 16, None, 22, 11),
    "64K": _Geometry(16, 13, 5, 13, 18, None, 26, 13),
}


def _is_aligned(number: int, order: int) -> bool:
    return number % (1 << order) == 0


def _align_down(number: int, order: int) -> int:
    return number - number % (1 << order)


class _Buddy:
    """The zone's buddy allocator.

    Parameters
    ----------
    geometry : _Geometry
        The granule.
    first_pfn, nr_pages : int
        The RAM. Nothing of it is free at first.
    """

    def __init__(self, geometry: _Geometry, first_pfn: int, nr_pages: int) -> None:
        self.max_order = geometry.max_page_order
        self.pageblock_order = geometry.pageblock_order
        self.first_pfn = first_pfn
        nr_pageblocks = nr_pages >> self.pageblock_order
        #: Migratetype per pageblock of RAM, ascending.
        self.types = [MOVABLE] * nr_pageblocks
        #: pfn -> (order, migratetype of the list it is on), for the first page of each free buddy.
        self.free_at: dict[int, tuple[int, int]] = {}
        #: The free lists, head first.
        self.lists: dict[tuple[int, int], OrderedDict[int, None]] = {
            (order, migratetype): OrderedDict()
            for order in range(self.max_order + 1)
            for migratetype in (UNMOVABLE, MOVABLE, RECLAIMABLE)
        }
        #: pfn -> order of what was allocated as MOVABLE and is still allocated.
        self.movable_at: dict[int, int] = {}

    # The lists and the pageblocks

    def _add(self, pfn: int, order: int, migratetype: int, *, tail: bool) -> None:
        self.free_at[pfn] = (order, migratetype)
        self.lists[order, migratetype][pfn] = None
        self.lists[order, migratetype].move_to_end(pfn, last=tail)

    def _remove(self, pfn: int) -> tuple[int, int]:
        order, migratetype = self.free_at.pop(pfn)
        del self.lists[order, migratetype][pfn]
        return order, migratetype

    def _head(self, order: int, migratetype: int) -> int | None:
        return next(iter(self.lists[order, migratetype]), None)

    def _is_free(self, pfn: int, order: int) -> bool:
        return pfn in self.free_at and self.free_at[pfn][0] == order

    def type_of(self, pfn: int) -> int:
        """Migratetype of the pageblock which holds a page."""
        return self.types[(pfn - self.first_pfn) >> self.pageblock_order]

    def _set_types(self, pfn: int, order: int, migratetype: int) -> None:
        """Give every pageblock of a free page of at least pageblock order a new type."""
        first = (pfn - self.first_pfn) >> self.pageblock_order
        for pageblock in range(first, first + (1 << (order - self.pageblock_order))):
            self.types[pageblock] = migratetype

    # Freeing

    def free(self, pfn: int, order: int, *, to_tail: bool = False) -> None:
        """Free 2^order pages, merge them upward and put the result on its list.

        Parameters
        ----------
        pfn, order : int
            What to free.
        to_tail : bool
            Place the result at the list's tail in any case, as boot does.
        """
        self.movable_at.pop(pfn, None)
        migratetype = self.type_of(pfn)
        while order < self.max_order:
            buddy = pfn ^ (1 << order)
            if not self._is_free(buddy, order):
                break
            self._remove(buddy)
            if order >= self.pageblock_order:
                self._set_types(buddy, order, migratetype)
            pfn = min(pfn, buddy)
            order += 1
        tail = to_tail or self._is_merge_likely(pfn, order)
        self._add(pfn, order, migratetype, tail=tail)

    def _is_merge_likely(self, pfn: int, order: int) -> bool:
        """Whether the next-higher buddy is free, so that this page should stay on its list."""
        if order >= self.max_order - 1:
            return False
        pair = _align_down(pfn, order + 1)
        return self._is_free(pair ^ (1 << (order + 1)), order + 1)

    # Allocating

    def alloc(self, order: int, migratetype: int) -> int | None:
        """Allocate 2^order pages.

        Parameters
        ----------
        order, migratetype : int
            What is wanted.

        Returns
        -------
        int or None
            The first pfn; None when there is nothing.
        """
        pfn = self._alloc_smallest(order, migratetype)
        if pfn is None:
            pfn = self._alloc_claim(order, migratetype)
        if pfn is None:
            pfn = self._alloc_steal(order, migratetype)
        if pfn is not None and migratetype == MOVABLE:
            self.movable_at[pfn] = order
        return pfn

    def _take_and_expand(self, pfn: int, order: int, migratetype: int) -> int:
        """Take a free page, keep its first 2^order pages, put the upper halves back."""
        current_order, _ = self._remove(pfn)
        while current_order > order:
            current_order -= 1
            self._add(pfn + (1 << current_order), current_order, migratetype, tail=False)
        return pfn

    def _alloc_smallest(self, order: int, migratetype: int) -> int | None:
        for current_order in range(order, self.max_order + 1):
            pfn = self._head(current_order, migratetype)
            if pfn is not None:
                return self._take_and_expand(pfn, order, migratetype)
        return None

    def _first_fallback(self, order: int, migratetype: int) -> int | None:
        for foreign in FALLBACKS[migratetype]:
            if self.lists[order, foreign]:
                return foreign
        return None

    def _alloc_claim(self, order: int, migratetype: int) -> int | None:
        """Make a foreign pageblock our own, beginning with the largest order."""
        for current_order in range(self.max_order, order - 1, -1):
            if current_order < self.pageblock_order // 2 and migratetype == MOVABLE:
                break
            foreign = self._first_fallback(current_order, migratetype)
            if foreign is None:
                continue
            head = self._head(current_order, foreign)
            if head is None:
                continue
            pfn = self._claim(head, current_order, order, migratetype)
            if pfn is not None:
                return pfn
        return None

    def _claim(self, head: int, head_order: int, order: int, migratetype: int) -> int | None:
        if head_order >= self.pageblock_order:
            self._set_types(head, head_order, migratetype)
            return self._take_and_expand(head, order, migratetype)

        start = _align_down(head, self.pageblock_order)
        pageblock_pages = 1 << self.pageblock_order
        free, free_pages, movable_pages = self._look_at_pageblock(start)
        if migratetype == MOVABLE:
            alike_pages = movable_pages
        elif self.type_of(head) == MOVABLE:
            alike_pages = pageblock_pages - free_pages - movable_pages
        else:
            alike_pages = 0
        if free_pages + alike_pages < pageblock_pages // 2:
            return None
        for pfn in free:
            free_order, _ = self._remove(pfn)
            self._add(pfn, free_order, migratetype, tail=True)
        self._set_types(start, self.pageblock_order, migratetype)
        return self._alloc_smallest(order, migratetype)

    def _look_at_pageblock(self, start: int) -> tuple[list[int], int, int]:
        """Return the free buddies of a pageblock, their pages, and its allocated movable pages."""
        free: list[int] = []
        free_pages = movable_pages = 0
        pfn = start
        while pfn < start + (1 << self.pageblock_order):
            if pfn in self.free_at:
                nr_pages = 1 << self.free_at[pfn][0]
                free.append(pfn)
                free_pages += nr_pages
            elif pfn in self.movable_at:
                nr_pages = 1 << self.movable_at[pfn]
                movable_pages += nr_pages
            else:
                nr_pages = 1
            pfn += nr_pages
        return free, free_pages, movable_pages

    def _alloc_steal(self, order: int, migratetype: int) -> int | None:
        """Take from a foreign type and leave the type alone, beginning with the smallest order."""
        for current_order in range(order, self.max_order + 1):
            foreign = self._first_fallback(current_order, migratetype)
            if foreign is None:
                continue
            head = self._head(current_order, foreign)
            if head is not None:
                return self._take_and_expand(head, order, foreign)
        return None

    # What the invariants need

    def free_pfns(self) -> list[int]:
        """Every free page, one entry per page."""
        return [
            pfn + offset for pfn, (order, _) in self.free_at.items() for offset in range(1 << order)
        ]

    def check(self) -> None:
        """Raise AssertionError if the lists, the pageblocks and the merging disagree."""
        on_lists = {
            (pfn, order, migratetype)
            for (order, migratetype), pfns in self.lists.items()
            for pfn in pfns
        }
        by_pfn = {(pfn, order, mt) for pfn, (order, mt) in self.free_at.items()}
        assert on_lists == by_pfn, f"free lists and free pages differ: {on_lists ^ by_pfn}"
        for pfn, (order, migratetype) in self.free_at.items():
            assert _is_aligned(pfn, order), f"free pfn {pfn:#x} is not aligned to order {order}"
            for block_pfn in range(pfn, pfn + (1 << order), 1 << self.pageblock_order):
                block_type = self.type_of(block_pfn)
                assert block_type == migratetype, (
                    f"free pfn {pfn:#x} of order {order} is on a list of type {migratetype}, "
                    f"the pageblock of {block_pfn:#x} is of type {block_type}"
                )
            buddy = pfn ^ (1 << order)
            assert order == self.max_order or not self._is_free(buddy, order), (
                f"free pfns {pfn:#x} and {buddy:#x} of order {order} are not merged"
            )


class _Memblock:
    """Physical memory before the buddy allocator, and PPA on top of it.

    Parameters
    ----------
    first_pfn, nr_pages : int
        The RAM.
    chunk_order : int
        PPA takes memory in naturally aligned chunks of this order.
    """

    def __init__(self, first_pfn: int, nr_pages: int, chunk_order: int) -> None:
        self.first_pfn = first_pfn
        self.chunk_order = chunk_order
        #: Memory from `first_pfn` up to here is free.
        self.free_end = first_pfn + nr_pages
        #: Free pages above the first chunk, ascending: too few for another one.
        self.gaps: list[int] = []
        #: Full chunks, as [first pfn, number of pages], in order of recording.
        self.ranges: list[tuple[int, int]] = []
        #: First pfn of the chunk in use; None before the first one.
        self.chunk: int | None = None
        #: Pages of that chunk which are not handed out: the lowest ones.
        self.chunk_left = 0
        #: Single pages which came from no chunk.
        self.untracked: list[int] = []

    def alloc_table(self) -> int:
        """Hand out one page for a page table of the linear map.

        Returns
        -------
        int
            Its pfn: the highest one that is left in the chunk.
        """
        if self.chunk_left == 0:
            self._next_chunk()
        if self.chunk is not None:
            self.chunk_left -= 1
            return self.chunk + self.chunk_left
        if self.gaps:
            self.untracked.append(self.gaps.pop())
            return self.untracked[-1]
        if self.free_end == self.first_pfn:
            msg = "no memory left for the tables of the linear map, make ram larger"
            raise MemoryError(msg)
        self.free_end -= 1
        self.untracked.append(self.free_end)
        return self.free_end

    def _next_chunk(self) -> None:
        nr_pages = 1 << self.chunk_order
        if self.chunk is not None:
            self._record(self.chunk, nr_pages)
            self.chunk = None
        chunk = _align_down(self.free_end - nr_pages, self.chunk_order)
        if chunk < self.first_pfn:
            return
        self.gaps.extend(range(chunk + nr_pages, self.free_end))
        self.chunk = self.free_end = chunk
        self.chunk_left = nr_pages

    def _record(self, start: int, nr_pages: int) -> None:
        if self.ranges:
            last_start, last_nr = self.ranges[-1]
            # Chunks come from the top downward: a neighbour of the last range lies below it.
            if start + nr_pages == last_start:
                self.ranges[-1] = (start, nr_pages + last_nr)
                return
        self.ranges.append((start, nr_pages))

    def used_of_chunk(self) -> tuple[int, int]:
        """First pfn and number of the pages handed out from the last chunk."""
        if self.chunk is None:
            return 0, 0
        return self.chunk + self.chunk_left, (1 << self.chunk_order) - self.chunk_left

    def unused_of_chunk(self) -> list[int]:
        """Pages of the last chunk which were never handed out, ascending."""
        if self.chunk is None:
            return []
        return list(range(self.chunk, self.chunk + self.chunk_left))


class Model:
    """One simulated machine, from the creation of its linear map on.

    The constructor does phase 1 of boot (the linear map is built) and the start of phase 2 (the
    buddy allocator gets its memory). `hardened_init` and `init_late` do the rest.

    Parameters
    ----------
    page_size : {"4K", "16K", "64K"}
        The granule.
    ram : int
        Bytes of RAM, a multiple of the pageblock size.
    phys_base : int
        Physical address of the RAM, a multiple of 1 GB.
    refill_orders : sequence of int
        Orders which a refill tries, strictly decreasing, the last one 2.
    linear_map : {"block", "pte"}
        With "pte" everything is mapped by PTEs without hints, and noblock serves.

    Attributes
    ----------
    counters : dict of str to int
        What happened since the constructor began. ``allocs``, ``frees`` and ``failed_allocs``
        count calls of `alloc` and `free`; a failed call counts in both of the first and the last.

    Raises
    ------
    ValueError
        A parameter is outside its limits.
    """

    def __init__(
        self,
        page_size: str = "4K",
        ram: int = 256 << 20,
        phys_base: int = 1 << 30,
        refill_orders: Sequence[int] = (9, 4, 2),
        linear_map: str = "block",
    ) -> None:
        self._geometry = _checked_geometry(page_size, ram, phys_base, refill_orders, linear_map)
        self._refill_orders = tuple(refill_orders)
        self._pte_only = linear_map == "pte"
        self._first_pfn = phys_base >> self._geometry.page_shift
        self._nr_pages = ram >> self._geometry.page_shift

        self.counters: dict[str, int] = dict.fromkeys(_COUNTER_NAMES, 0)
        self.counters.update({f"refills_order_{order}": 0 for order in self._refill_orders})

        self._dead = False
        self._hardened_init_done = False
        self._init_late_done = False
        self._held_mutexes: set[str] = set()

        # The linear map: what is mapped at which level. An index is the vpn >> the level's order.
        self._leaf_orders = {"pmd": self._geometry.pmd_order, "pte": 0}
        if self._geometry.pud_order is not None:
            self._leaf_orders = {"pud": self._geometry.pud_order} | self._leaf_orders
        #: level -> index of a leaf entry -> its pkey.
        self._leaves: dict[str, dict[int, int]] = {"pud": {}, "pmd": {}, "pte": {}}
        #: level -> indexes of the leaf entries which carry the contiguous hint.
        self._hints: dict[str, set[int]] = {"pmd": set(), "pte": set()}
        #: (level of its entries, index of the table) -> pfn, for every table below the PGD.
        self._tables: dict[tuple[str, int], int] = {}

        # The page table allocator.
        self._pba_enabled = False
        self._can_set_pkey = False
        self._early_region: tuple[int, int] | None = None
        #: The PBA's cached_list, head first.
        self._cached: deque[int] = deque()
        #: Head page of each marked block -> its block_nr_free. Marks are set and cleared for all
        #: pages of a block at once, so the mark of one page is the presence of its block here.
        self._blocks: dict[int, int] = {}
        self._nr_deferred = 0

        # Bookkeeping for the invariants and for the checks of arguments; the kernel has none.
        self._in_use: set[int] = set()
        self._charged: set[int] = set()
        self._pins: dict[int, int] = {}
        self._lost: set[int] = set()
        #: Held pages which are known to stay unprotected for good.
        self._unprotected_for_good: set[int] = set()
        self._ppa_unused: list[int] = []

        self._memblock = _Memblock(self._first_pfn, self._nr_pages, self._refill_orders[0])
        self._build_linear_map()
        self._unprotected_for_good.update(self._memblock.untracked)
        self._ppa_unused = self._memblock.unused_of_chunk()

        self._buddy = _Buddy(self._geometry, self._first_pfn, self._nr_pages)
        self._mem_init()

    # Phase 1: the linear map is built

    def _build_linear_map(self) -> None:
        """Map all RAM top down, depth first, in ascending order."""
        geometry = self._geometry
        for start, end in self._spans(0, self._nr_pages, geometry.pgd_order):
            if geometry.pud_order is None:
                self._build_pmd_table(start, end)
                continue
            self._add_boot_table("pud", start)
            for pud_start, pud_end in self._spans(start, end, geometry.pud_order):
                if self._fits(pud_start, pud_end, geometry.pud_order):
                    self._leaves["pud"][pud_start >> geometry.pud_order] = PKEY_DEFAULT
                else:
                    self._build_pmd_table(pud_start, pud_end)

    def _build_pmd_table(self, start: int, end: int) -> None:
        geometry = self._geometry
        self._add_boot_table("pmd", start)
        for group_start, group_end in self._spans(start, end, geometry.contpmd_order):
            hinted = self._fits(group_start, group_end, geometry.contpmd_order)
            for pmd_start, pmd_end in self._spans(group_start, group_end, geometry.pmd_order):
                if not self._fits(pmd_start, pmd_end, geometry.pmd_order):
                    self._build_pte_table(pmd_start, pmd_end)
                    continue
                index = pmd_start >> geometry.pmd_order
                self._leaves["pmd"][index] = PKEY_DEFAULT
                if hinted:
                    self._hints["pmd"].add(index)

    def _build_pte_table(self, start: int, end: int) -> None:
        self._add_boot_table("pte", start)
        for group_start, group_end in self._spans(start, end, self._geometry.contpte_order):
            hinted = self._fits(group_start, group_end, self._geometry.contpte_order)
            for vpn in range(group_start, group_end):
                self._leaves["pte"][vpn] = PKEY_DEFAULT
                if hinted:
                    self._hints["pte"].add(vpn)

    @staticmethod
    def _spans(start: int, end: int, order: int) -> list[tuple[int, int]]:
        """Cut [start, end), of which start is aligned, into pieces of 2^order pages and a rest."""
        return [(at, min(at + (1 << order), end)) for at in range(start, end, 1 << order)]

    def _fits(self, start: int, end: int, order: int) -> bool:
        """Whether boot may map [start, end) with a leaf (or a hinted group) of this order."""
        return (
            not self._pte_only
            and end - start == 1 << order
            and _is_aligned(start, order)
            and _is_aligned(self._first_pfn + start, order)
        )

    def _add_boot_table(self, level: str, vpn: int) -> None:
        self._add_table(level, vpn, self._memblock.alloc_table())

    def _add_table(self, level: str, vpn: int, pfn: int) -> None:
        key = (level, vpn >> (self._leaf_orders[level] + self._geometry.table_bits))
        assert key not in self._tables, f"there already is a table {key}"
        self._tables[key] = pfn
        self.counters["ptps_for_linear_map"] += 1

    # Phase 2: the buddy allocator works

    def _mem_init(self) -> None:
        """Give the RAM below PPA's chunks, and the gap above them, to the buddy allocator."""
        self._free_range(self._first_pfn, self._memblock.free_end)
        gaps = self._memblock.gaps
        if gaps:
            self._free_range(gaps[0], gaps[-1] + 1)

    def _free_range(self, pfn: int, end: int) -> None:
        while pfn < end:
            order = self._geometry.max_page_order
            while not _is_aligned(pfn, order) or pfn + (1 << order) > end:
                order -= 1
            self._buddy.free(pfn, order, to_tail=True)
            pfn += 1 << order

    def hardened_init(self) -> None:
        """Switch the page table allocator on: ``kpkeys_hardened_pgtables_init``.

        Raises
        ------
        RuntimeError
            It was called before.
        """
        if self._hardened_init_done:
            msg = "hardened_init was called before, it belongs to boot: call it once"
            raise RuntimeError(msg)
        if not self._pte_only:
            self._pba_enabled = True
            self._refill(take_one=False)
        self._hardened_init_done = True

    def init_late(self) -> None:
        """End the early window: ``kpkeys_hardened_pgtables_init_late``.

        Raises
        ------
        RuntimeError
            It was called before, or before `hardened_init`.
        """
        self._assert_running()
        if self._init_late_done:
            msg = "init_late was called before, it belongs to boot: call it once"
            raise RuntimeError(msg)
        if self._pba_enabled:
            self._pba_init_late()
        self._ppa_finalize()
        self._init_late_done = True

    def _pba_init_late(self) -> None:
        self._can_set_pkey = True
        if self._early_region is not None:
            pfn, order = self._early_region
            self._protect_for_boot(pfn, 1 << order)

    def _ppa_finalize(self) -> None:
        pfn, nr_pages = self._memblock.used_of_chunk()
        if nr_pages:
            self._protect_for_boot(pfn, nr_pages)
        for pfn, nr_pages in self._memblock.ranges:
            self._protect_for_boot(pfn, nr_pages)
        for pfn in self._ppa_unused:
            self._buddy.free(pfn, 0, to_tail=True)
        self._ppa_unused = []

    def _protect_for_boot(self, pfn: int, nr_pages: int) -> None:
        """Set the page table pkey; boot goes on when that fails."""
        if self._set_memory_pkey(pfn, nr_pages, PKEY_PGTABLES):
            self._unprotected_for_good.update(range(pfn, pfn + nr_pages))

    # The interface: page tables

    def alloc(self, *, kernel: bool = False) -> int | None:
        """Allocate one page table page: ``kpkeys_pgtable_alloc``.

        Parameters
        ----------
        kernel : bool
            A table of the kernel, charged to nobody; else one of a user process.

        Returns
        -------
        int or None
            The pfn; None when there is no memory.
        """
        self._assert_running()
        self.counters["allocs"] += 1
        serve = self._pba_alloc_table if self._pba_enabled else self._noblock_alloc
        pfn = serve(account=not kernel)
        if pfn is None:
            self.counters["failed_allocs"] += 1
            return None
        self._in_use.add(pfn)
        return pfn

    def free(self, pfn: int) -> None:
        """Free a page table page: ``kpkeys_pgtable_free``.

        Parameters
        ----------
        pfn : int
            What `alloc` returned.

        Raises
        ------
        ValueError
            No table of this pfn is in use.
        """
        self._assert_running()
        if pfn not in self._in_use:
            msg = f"pfn {pfn:#x} is not in use, free only what alloc returned"
            raise ValueError(msg)
        self.counters["frees"] += 1
        self._in_use.remove(pfn)
        if self._pba_enabled:
            self._uncharge(pfn)
            self._cache(pfn)
        else:
            self._noblock_free(pfn)

    def _charge(self, pfn: int) -> None:
        self._charged.add(pfn)
        self.counters["memcg_charges"] += 1

    def _uncharge(self, pfn: int) -> None:
        if pfn in self._charged:
            self._charged.remove(pfn)
            self.counters["memcg_uncharges"] += 1

    def _release(self, pfn: int, order: int) -> None:
        """Give 2^order pages of the page table allocator back to the buddy."""
        self._unprotected_for_good.difference_update(range(pfn, pfn + (1 << order)))
        self._buddy.free(pfn, order)
        self.counters["released_pages"] += 1 << order

    # noblock

    def _noblock_alloc(self, *, account: bool) -> int | None:
        pfn = self._buddy.alloc(0, UNMOVABLE)
        if pfn is None:
            return None
        if account:
            self._charge(pfn)
        self.counters["zeroed_pages"] += 1
        if self._set_memory_pkey(pfn, 1, PKEY_PGTABLES):
            self._uncharge(pfn)
            self._release(pfn, 0)
            return None
        return pfn

    def _noblock_free(self, pfn: int) -> None:
        self._set_memory_pkey(pfn, 1, PKEY_DEFAULT)
        self._uncharge(pfn)
        self._release(pfn, 0)

    # PBA

    def _pba_alloc_table(self, *, account: bool) -> int | None:
        """Serve an ordinary request, which always wants a zeroed page."""
        pfn = self._pba_alloc(split=False)
        if pfn is None:
            return None
        if account:
            self._charge(pfn)
        self.counters["zeroed_pages"] += 1
        self.counters["pkey_reg_writes"] += 2
        return pfn

    def _pba_alloc(self, *, split: bool) -> int | None:
        pfn = self._take_cached(split=split)
        if pfn is None:
            pfn = self._refill(take_one=True)
        if pfn is None:
            self.counters["warnings"] += 1
        return pfn

    def _take_cached(self, *, split: bool) -> int | None:
        if split and not self._cached:
            self.counters["warnings"] += 1
            return None
        if not split and len(self._cached) <= NR_RESERVED_PAGES:
            return None
        pfn = self._cached.popleft()
        block = self._block_of(pfn)
        if block is not None:
            self._blocks[block] -= 1
        return pfn

    def _cache(self, pfn: int) -> None:
        self._cached.appendleft(pfn)
        block = self._block_of(pfn)
        if block is not None:
            self._blocks[block] += 1

    def _block_of(self, pfn: int) -> int | None:
        """Head page of the marked block that holds a page; None if the page is in no block."""
        head = _align_down(pfn, self._geometry.pmd_order)
        return head if head in self._blocks else None

    def _refill(self, *, take_one: bool) -> int | None:
        """Fetch a region from the buddy and put it into the cache.

        Parameters
        ----------
        take_one : bool
            Keep the region's first page for the caller.

        Returns
        -------
        int or None
            The region's first pfn; None when nothing was fetched.
        """
        region = self._refill_alloc()
        if region is None:
            return None
        start, order = region
        nr_pages = 1 << order
        with self._mutex("alloc_mutex"):
            if not self._can_set_pkey:
                self._register_early_region(start, order)
            elif self._set_memory_pkey(start, nr_pages, PKEY_PGTABLES):
                self._release(start, order)
                return None
            if order == self._geometry.pmd_order:
                self._blocks[start] = 0
            first_cached = start + 1 if take_one else start
            for pfn in range(first_cached, start + nr_pages):
                self._cache(pfn)
        return start

    def _refill_alloc(self) -> tuple[int, int] | None:
        for order in self._refill_orders:
            pfn = self._buddy.alloc(order, UNMOVABLE)
            if pfn is None:
                continue
            self.counters["refills"] += 1
            self.counters[f"refills_order_{order}"] += 1
            self.counters["refilled_pages"] += 1 << order
            if order != self._refill_orders[0]:
                self.counters["refill_fallbacks"] += 1
            return pfn, order
        return None

    def _register_early_region(self, start: int, order: int) -> None:
        if self._early_region is None:
            self._early_region = (start, order)
            return
        self.counters["warnings"] += 1
        self._unprotected_for_good.update(range(start, start + (1 << order)))

    def _prepare(self) -> int:
        """Fill the reserve before a split: ``kpkeys_prepare_direct_map_split``."""
        if self._is_ready():
            return 0
        return 0 if self._refill(take_one=False) is not None else -errno.ENOMEM

    def _is_ready(self) -> bool:
        """Whether a split may begin: ``kpkeys_ready_for_direct_map_split``."""
        return len(self._cached) >= NR_RESERVED_PAGES or "alloc_mutex" in self._held_mutexes

    # Changes of the linear map

    def split_other(self, pfn: int, nr_pages: int) -> int:
        """Change permissions of a range of the linear map, as ``set_memory_ro`` would.

        Parameters
        ----------
        pfn, nr_pages : int
            The range, inside RAM.

        Returns
        -------
        int
            0 or a negative errno.

        Raises
        ------
        ValueError
            The range is empty or not inside RAM.
        """
        self._assert_running()
        end = self._first_pfn + self._nr_pages
        if nr_pages <= 0 or not self._first_pfn <= pfn <= end - nr_pages:
            msg = (
                f"range of {nr_pages} pages at pfn {pfn:#x} must be inside RAM, "
                f"pfn {self._first_pfn:#x} to {end:#x}, and not empty"
            )
            raise ValueError(msg)
        error = self._split_range(pfn, nr_pages)
        if error:
            return error
        self.counters["descriptor_writes"] += len(self._leaf_entries(pfn, nr_pages))
        self._flush_tlb(nr_pages)
        return 0

    def _set_memory_pkey(self, pfn: int, nr_pages: int, pkey: int) -> int:
        """Set the pkey of a range; 0 or a negative errno."""
        self.counters["set_pkey_calls"] += 1
        self.counters["set_pkey_pages"] += nr_pages
        error = self._split_range(pfn, nr_pages)
        if error:
            return error
        for level, index in self._leaf_entries(pfn, nr_pages):
            self._leaves[level][index] = pkey
            self.counters["descriptor_writes"] += 1
        self._flush_tlb(nr_pages)
        return 0

    def _flush_tlb(self, nr_pages: int) -> None:
        if nr_pages >= self._geometry.entries:
            self.counters["tlbi_full"] += 1
        else:
            self.counters["tlbi_single"] += nr_pages

    def _leaf_entry(self, vpn: int) -> tuple[str, int]:
        """Level and index of the leaf entry that maps a page."""
        for level, order in self._leaf_orders.items():
            if vpn >> order in self._leaves[level]:
                return level, vpn >> order
        msg = f"vpn {vpn:#x} is not mapped"
        raise AssertionError(msg)

    def _leaf_entries(self, pfn: int, nr_pages: int) -> list[tuple[str, int]]:
        """Return every leaf entry of a range; the range must not cut one in two."""
        entries = []
        vpn = pfn - self._first_pfn
        end = vpn + nr_pages
        while vpn < end:
            level, index = self._leaf_entry(vpn)
            order = self._leaf_orders[level]
            assert _is_aligned(vpn, order), f"{level} leaf {index:#x} begins before the range"
            assert vpn + (1 << order) <= end, f"{level} leaf {index:#x} ends after the range"
            entries.append((level, index))
            vpn += 1 << order
        return entries

    def _split_range(self, pfn: int, nr_pages: int) -> int:
        """Make leaf boundaries of both ends: ``split_kernel_leaf_mapping``."""
        if self._pte_only:
            return 0
        start = pfn - self._first_pfn
        end = start + nr_pages
        # Of two neighbours exactly one is odd, and that is the less aligned one.
        ends = [start if start % 2 else end] if nr_pages == 1 else [start, end]
        while True:
            error = self._prepare()
            if error:
                return error
            with self._mutex("pgtable_split_lock"):
                if not self._is_ready():
                    continue
                for vpn in ends:
                    error = self._split_at(vpn)
                    if error:
                        return error
                return 0

    def _split_at(self, vpn: int) -> int:
        """Make one address a leaf boundary; 0 or a negative errno."""
        geometry = self._geometry
        if _is_aligned(vpn, geometry.pgd_order) or vpn >= self._nr_pages:
            return 0
        # At each level: if the address is aligned to it, done; else do this and go one level down.
        steps: list[tuple[int, Callable[[], int]]] = [
            (
                geometry.contpmd_order,
                lambda: self._clear_hint_if_any("pmd", vpn, geometry.contpmd_order),
            ),
            (
                geometry.pmd_order,
                lambda: self._split_leaf_if_any("pmd", "pte", vpn),
            ),
            (
                geometry.contpte_order,
                lambda: self._clear_hint_if_any("pte", vpn, geometry.contpte_order),
            ),
        ]
        if geometry.pud_order is not None:
            steps.insert(
                0, (geometry.pud_order, lambda: self._split_leaf_if_any("pud", "pmd", vpn))
            )
        for order, act in steps:
            if _is_aligned(vpn, order):
                return 0
            error = act()
            if error:
                return error
        return 0

    def _split_leaf_if_any(self, level: str, lower: str, vpn: int) -> int:
        """Replace the leaf over an address by a table of hinted leaves of the lower level."""
        index = vpn >> self._leaf_orders[level]
        if index not in self._leaves[level]:
            return 0
        table = self._pba_alloc(split=True)
        if table is None:
            return -errno.ENOMEM
        self.counters[f"split_{level}"] += 1
        self.counters["split_ptps"] += 1
        self._add_table(lower, vpn, table)
        pkey = self._leaves[level].pop(index)
        entries = self._geometry.entries
        for lower_index in range(index * entries, (index + 1) * entries):
            self._leaves[lower][lower_index] = pkey
            self._hints[lower].add(lower_index)
        self.counters["descriptor_writes"] += entries + 1
        return 0

    def _clear_hint_if_any(self, level: str, vpn: int, group_order: int) -> int:
        """Clear the hint of the contiguous group over an address; cannot fail."""
        order = self._leaf_orders[level]
        if vpn >> order not in self._hints[level]:
            return 0
        first = _align_down(vpn, group_order) >> order
        nr_entries = 1 << (group_order - order)
        self._hints[level].difference_update(range(first, first + nr_entries))
        self.counters[f"split_cont{level}"] += 1
        self.counters["descriptor_writes"] += nr_entries
        return 0

    # The shrinker

    def shrink(self, nr_to_scan: int) -> int:
        """Do one call of the shrinker's scan_objects.

        Parameters
        ----------
        nr_to_scan : int
            As in ``struct shrink_control``.

        Returns
        -------
        int
            Pages freed, or -1 for SHRINK_STOP: also if there is no shrinker, which is so before
            `init_late` and with noblock.

        Raises
        ------
        ValueError
            nr_to_scan is negative.
        """
        self._assert_alive()
        if nr_to_scan < 0:
            msg = f"nr_to_scan is {nr_to_scan}, it must not be negative"
            raise ValueError(msg)
        if not self._has_shrinker():
            return SHRINK_STOP
        block_pages = 1 << self._geometry.pmd_order
        nonblock, target = self._look_for_target()
        target_free = 0 if target is None else self._blocks[target]
        whole = target_free == block_pages
        if whole:
            if self._nr_shrinkable() < block_pages:
                return SHRINK_STOP
            limit = block_pages
        elif nonblock < target_free and nonblock < nr_to_scan and target_free >= block_pages // 8:
            limit = min(nr_to_scan, target_free)
        else:
            target = None
            limit = min(nr_to_scan, nonblock)

        isolated = self._isolate(target, min(limit, self._nr_shrinkable()))
        freed = self._release_block(isolated) if whole else self._release_single_pages(isolated)
        return freed or SHRINK_STOP

    def _has_shrinker(self) -> bool:
        return self._pba_enabled and self._init_late_done

    def _nr_shrinkable(self) -> int:
        return max(len(self._cached) - UNSHRINKABLE_PAGES, 0)

    def _look_for_target(self) -> tuple[int, int | None]:
        """Count the cached pages in no block; find the block with the most free pages."""
        nonblock = 0
        target: int | None = None
        for pfn in self._cached:
            block = self._block_of(pfn)
            if block is None:
                nonblock += 1
            elif target is None or self._blocks[block] > self._blocks[target]:
                target = block
                if self._blocks[target] == 1 << self._geometry.pmd_order:
                    break
        return nonblock, target

    def _isolate(self, target: int | None, limit: int) -> list[int]:
        """Take pages of the target (None: pages in no block) from the cache, head first."""
        isolated = [pfn for pfn in self._cached if self._block_of(pfn) == target][:limit]
        taken = set(isolated)
        self._cached = deque(pfn for pfn in self._cached if pfn not in taken)
        if target is not None:
            del self._blocks[target]
        return isolated

    def _release_block(self, pfns: list[int]) -> int:
        if self._set_memory_pkey(min(pfns), len(pfns), PKEY_DEFAULT):
            for pfn in pfns:
                self._cache(pfn)
            return 0
        for pfn in pfns:
            self._release(pfn, 0)
        return len(pfns)

    def _release_single_pages(self, pfns: list[int]) -> int:
        for nr_freed, pfn in enumerate(pfns):
            if self._set_memory_pkey(pfn, 1, PKEY_DEFAULT):
                self._cache(pfn)
                self._lost.update(pfns[nr_freed + 1 :])
                return nr_freed
            self._release(pfn, 0)
        return len(pfns)

    def shrink_slab(self, priority: int = 12) -> int:
        """Do one round of reclaim over the shrinker: ``do_shrink_slab`` of mm/shrinker.c.

        Parameters
        ----------
        priority : int
            Reclaim priority: deferred work counts ``>> priority``.

        Returns
        -------
        int
            Pages freed.

        Raises
        ------
        ValueError
            The priority is negative.
        """
        self._assert_alive()
        if priority < 0:
            msg = f"priority is {priority}, it must not be negative"
            raise ValueError(msg)
        freeable = self._nr_shrinkable() if self._has_shrinker() else 0
        if freeable == 0:
            return 0
        batch = 1 << self._geometry.pmd_order
        deferred, self._nr_deferred = self._nr_deferred, 0
        delta = freeable // 2
        total_scan = min((deferred >> priority) + delta, 2 * freeable)
        scanned = 0
        freed = 0
        while total_scan >= batch or total_scan >= freeable:
            nr_to_scan = min(batch, total_scan)
            result = self.shrink(nr_to_scan)
            if result == SHRINK_STOP:
                break
            freed += result
            total_scan -= nr_to_scan
            scanned += nr_to_scan
        self._nr_deferred += min(max(deferred + delta - scanned, 0), 2 * freeable)
        return freed

    # Somebody else's memory

    def pin(self, order: int, migratetype: int = UNMOVABLE) -> int | None:
        """Allocate plain memory, as anybody else in the kernel would.

        Parameters
        ----------
        order : int
            0 to the largest order of the granule.
        migratetype : {0, 1, 2}
            UNMOVABLE, MOVABLE or RECLAIMABLE.

        Returns
        -------
        int or None
            The first pfn; None when there is no memory.

        Raises
        ------
        ValueError
            The order or the migratetype is outside its limits.
        """
        self._assert_alive()
        if not 0 <= order <= self._geometry.max_page_order:
            msg = f"order is {order}, the limits are 0 and {self._geometry.max_page_order}"
            raise ValueError(msg)
        if migratetype not in FALLBACKS:
            msg = f"migratetype is {migratetype}, it must be 0, 1 or 2"
            raise ValueError(msg)
        pfn = self._buddy.alloc(order, migratetype)
        if pfn is not None:
            self._pins[pfn] = order
        return pfn

    def unpin(self, pfn: int, order: int) -> None:
        """Free what `pin` allocated.

        Parameters
        ----------
        pfn, order : int
            As returned by and as passed to `pin`.

        Raises
        ------
        ValueError
            There is no such pin.
        """
        self._assert_alive()
        if self._pins.get(pfn) != order:
            msg = f"pfn {pfn:#x} of order {order} is not pinned, unpin only what pin returned"
            raise ValueError(msg)
        del self._pins[pfn]
        self._buddy.free(pfn, order)

    # What can be seen

    def cached_pfns(self) -> list[int]:
        """Return the pages in the PBA's cache, head first."""
        return list(self._cached)

    def free_lists(self) -> dict[tuple[int, int], list[int]]:
        """Return (order, migratetype) -> pfns head first, without empty lists."""
        return {key: list(pfns) for key, pfns in self._buddy.lists.items() if pfns}

    def pageblock_types(self) -> list[int]:
        """Return the migratetype of each pageblock of RAM, ascending."""
        return list(self._buddy.types)

    def leaf_counts(self) -> dict[str, int]:
        """Return the number of leaf entries per kind.

        Returns
        -------
        dict of str to int
            "contpmd" and "contpte" are entries with the contiguous hint, "pmd" and "pte" those
            without it: each entry counts once.
        """
        leaves, hints = self._leaves, self._hints
        return {
            "pud": len(leaves["pud"]),
            "contpmd": len(hints["pmd"]),
            "pmd": len(leaves["pmd"]) - len(hints["pmd"]),
            "contpte": len(hints["pte"]),
            "pte": len(leaves["pte"]) - len(hints["pte"]),
        }

    def pkey(self, pfn: int) -> int:
        """Return the pkey with which the linear map maps a page.

        Raises
        ------
        ValueError
            The pfn is not in RAM.
        """
        vpn = pfn - self._first_pfn
        if not 0 <= vpn < self._nr_pages:
            end = self._first_pfn + self._nr_pages
            msg = f"pfn {pfn:#x} must be in RAM, {self._first_pfn:#x} to {end:#x}"
            raise ValueError(msg)
        level, index = self._leaf_entry(vpn)
        return self._leaves[level][index]

    @property
    def unprotected_pages(self) -> int:
        """Linear map tables, cached pages and pages in use which do not carry pkey 1."""
        return len(self._unprotected())

    def _unprotected(self) -> set[int]:
        held = {*self._tables.values(), *self._cached, *self._in_use}
        return {pfn for pfn in held if self.pkey(pfn) != PKEY_PGTABLES}

    # Locks

    @contextmanager
    def _mutex(self, name: str) -> Iterator[None]:
        if name in self._held_mutexes:
            self._dead = True
            msg = f"{name} is taken by the task that owns it"
            raise ModelDeadlock(msg)
        self._held_mutexes.add(name)
        try:
            yield
        finally:
            self._held_mutexes.remove(name)

    def _assert_alive(self) -> None:
        if self._dead:
            msg = "the model is dead: a task of it deadlocked before"
            raise ModelDeadlock(msg)

    def _assert_running(self) -> None:
        self._assert_alive()
        if not self._hardened_init_done:
            msg = "the page table allocator is not on yet, call hardened_init first"
            raise RuntimeError(msg)

    # Invariants

    def check(self) -> None:
        """Check everything that is always true.

        Raises
        ------
        AssertionError
            An invariant is broken; the message says which one.
        ModelDeadlock
            The model is dead.
        """
        self._assert_alive()
        self._buddy.check()
        self._check_conservation()
        self._check_cache()
        self._check_leaves()
        self._check_hints()
        self._check_pkeys()

    def _check_conservation(self) -> None:
        """Every page of RAM has exactly one owner."""
        owners: Counter[int] = Counter(self._buddy.free_pfns())
        owners.update(self._tables.values())
        owners.update(self._cached)
        owners.update(self._in_use)
        owners.update(self._lost)
        owners.update(self._ppa_unused)
        for pfn, order in self._pins.items():
            owners.update(range(pfn, pfn + (1 << order)))
        ram = range(self._first_pfn, self._first_pfn + self._nr_pages)
        outside = [pfn for pfn in owners if pfn not in ram]
        assert not outside, f"pages outside RAM: {outside[:8]}"
        twice = [pfn for pfn, nr_owners in owners.items() if nr_owners > 1]
        assert not twice, f"pages with two owners: {twice[:8]}"
        assert len(owners) == self._nr_pages, (
            f"pages are not conserved: {len(owners)} of {self._nr_pages} have an owner"
        )
        assert self._charged <= self._in_use, "a page is charged that is not in use"

    def _check_cache(self) -> None:
        cached_of: Counter[int | None] = Counter(self._block_of(pfn) for pfn in self._cached)
        for block, nr_free in self._blocks.items():
            assert nr_free == cached_of[block], (
                f"block {block:#x} counts {nr_free} free pages, {cached_of[block]} are cached"
            )

    def _check_leaves(self) -> None:
        """Leaf sizes add up, no leaf lies below another, and every table is known."""
        mapped = sum(
            len(self._leaves[level]) << order for level, order in self._leaf_orders.items()
        )
        assert mapped == self._nr_pages, f"leaves map {mapped} of {self._nr_pages} pages"
        needed: set[tuple[str, int]] = set()
        uppers: list[tuple[str, int]] = []
        for level, order in self._leaf_orders.items():
            table_order = order + self._geometry.table_bits
            for index in self._leaves[level]:
                needed.add((level, index << order >> table_order))
                for upper, upper_order in uppers:
                    assert index << order >> upper_order not in self._leaves[upper], (
                        f"{level} leaf {index:#x} is mapped by a {upper} leaf as well"
                    )
            uppers.append((level, order))
        # A table of tables only has no leaf of its own.
        for level, index in self._tables:
            table_order = self._leaf_orders[level] + self._geometry.table_bits
            needed.update(
                (upper, index << table_order >> (upper_order + self._geometry.table_bits))
                for upper, upper_order in self._leaf_orders.items()
                if upper_order >= table_order
            )
        assert needed == self._tables.keys(), (
            f"tables which the leaves need and tables there are differ: "
            f"{needed ^ self._tables.keys()}"
        )
        nr_tables = self.counters["ptps_for_linear_map"]
        assert nr_tables == len(self._tables), (
            f"ptps_for_linear_map is {nr_tables}, there are {len(self._tables)} tables"
        )

    def _check_hints(self) -> None:
        """A hinted group is whole, and its entries are alike."""
        group_orders = {"pmd": self._geometry.contpmd_order, "pte": self._geometry.contpte_order}
        for level, hinted in self._hints.items():
            nr_entries = 1 << (group_orders[level] - self._leaf_orders[level])
            for first in {index - index % nr_entries for index in hinted}:
                group = range(first, first + nr_entries)
                assert hinted.issuperset(group), f"cont{level} group {first:#x} is not whole"
                pkeys = {self._leaves[level].get(index) for index in group}
                assert len(pkeys) == 1, f"cont{level} group {first:#x} has pkeys {pkeys}"
                assert None not in pkeys, f"cont{level} group {first:#x} has hints without leaves"

    def _check_pkeys(self) -> None:
        if self._init_late_done:
            surprising = self._unprotected() - self._unprotected_for_good
            assert not surprising, f"held pages without the pkey: {sorted(surprising)[:8]}"
        free = set(self._buddy.free_pfns())
        for level, order in self._leaf_orders.items():
            for index, pkey in self._leaves[level].items():
                if pkey == PKEY_DEFAULT:
                    continue
                start = self._first_pfn + (index << order)
                keyed = free.intersection(range(start, start + (1 << order)))
                assert not keyed, f"free pages with pkey {pkey}: {sorted(keyed)[:8]}"


def _checked_geometry(
    page_size: str, ram: int, phys_base: int, refill_orders: Sequence[int], linear_map: str
) -> _Geometry:
    """Check the parameters of `Model` and look the granule up."""
    if page_size not in _GEOMETRIES:
        msg = f"page_size is {page_size!r}, it must be one of {', '.join(_GEOMETRIES)}"
        raise ValueError(msg)
    geometry = _GEOMETRIES[page_size]
    if linear_map not in {"block", "pte"}:
        msg = f"linear_map is {linear_map!r}, it must be 'block' or 'pte'"
        raise ValueError(msg)
    pageblock_bytes = 1 << (geometry.page_shift + geometry.pageblock_order)
    if ram <= 0 or ram % pageblock_bytes:
        msg = f"ram is {ram}, it must be a positive multiple of {pageblock_bytes}"
        raise ValueError(msg)
    if phys_base < 0 or phys_base % _GIGABYTE:
        msg = f"phys_base is {phys_base:#x}, it must be a multiple of {_GIGABYTE:#x}"
        raise ValueError(msg)
    orders = list(refill_orders)
    if not orders or orders != sorted(set(orders), reverse=True):
        msg = f"refill_orders are {orders}, they must be strictly decreasing"
        raise ValueError(msg)
    if orders[0] > geometry.max_page_order or orders[-1] != _LAST_REFILL_ORDER:
        msg = (
            f"refill_orders are {orders}, the first must not be above "
            f"{geometry.max_page_order} and the last must be {_LAST_REFILL_ORDER}"
        )
        raise ValueError(msg)
    return geometry
