# SPDX-License-Identifier: GPL-2.0-only
"""Slow and obvious reference model of the page table allocators, the tests' oracle.

The model mirrors, in plain Python and with nothing but dicts, lists and sets:

* the arm64 linear map: how it is built, how leaves are split, ``set_memory_pkey``;
* the buddy allocator beneath: one zone, one node, with per-CPU lists, watermarks and a slow path
  of compaction, reclaim and the OOM killer;
* memblock, and the physmem page table allocator (PPA) on top of it, which serves the tables of the
  linear map itself;
* the pkeys block allocator (PBA), its early window and its shrinker;
* noblock, the allocator which serves when the linear map is mapped by PTEs;
* a memory cgroup with a limit, and faults at the border of the allocators.

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

import enum
import errno
import math
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

#: Orders above this one are costly: the slow path gives them up early.
_COSTLY_ORDER: Final = 3
#: Migratetypes with per-CPU lists, ``MIGRATE_PCPTYPES``.
_PCP_TYPES: Final = 3
#: The per-CPU lists of the THP order: not movable, movable.
_PCP_THP: Final = _PCP_TYPES * (_COSTLY_ORDER + 1)
_NR_PCP_LISTS: Final = _PCP_THP + 2
_DEF_PRIORITY: Final = 12
_SWAP_CLUSTER_MAX: Final = 32
_MAX_RECLAIM_RETRIES: Final = 16
_COMPACT_MAX_DEFER_SHIFT: Final = 6
#: Larger than every order: no compaction has failed yet.
_NO_FAILED_ORDER: Final = 14
#: ``INIT_MEMBLOCK_MEMORY_REGIONS``: ranges that PPA can record.
_NR_PPA_RANGES: Final = 128
_FAULT_POINTS: Final = ("alloc_pages", "set_pkey", "charge", "memblock")
_FAULT_MODES: Final = ("off", "nth", "every", "share")
_SHARE_OF: Final = 1_000_000
_U64: Final = (1 << 64) - 1

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
    "memcg_failures",
    "buddy_claims",
    "buddy_steals",
    "faults_injected",
    "range_changes",
    "failed_range_changes",
    "pcp_bulk_allocs",
    "pcp_bulk_alloc_pages",
    "pcp_bulk_free_pages",
    "pcp_drains",
    "slowpath_entries",
    "kswapd_wakes",
    "compact_stall",
    "compact_success",
    "compact_fail",
    "compact_deferred",
    "compact_migrate_scanned",
    "pgmigrate_success",
    "allocstall",
    "pgsteal_direct",
    "slab_shrinks",
    "shrink_scans",
    "refills_in_shrink",
    "oom_kills",
    "alloc_failures",
    "memalloc_allocs",
)

#: Those which are counted by cause as well: see `Model.map_counters`.
_MAP_COUNTER_NAMES: Final = (
    "split_pud",
    "split_contpmd",
    "split_pmd",
    "split_contpte",
    "split_ptps",
    "set_pkey_calls",
    "set_pkey_pages",
    "tlbi_single",
    "tlbi_full",
    "descriptor_writes",
)
_CAUSES: Final = ("boot", "late_init", "refill", "release", "other")


class _Gfp(enum.Flag):
    """The bits of a gfp mask which decide how hard the buddy allocator tries."""

    DIRECT_RECLAIM = enum.auto()
    KSWAPD_RECLAIM = enum.auto()
    HIGH = enum.auto()
    NORETRY = enum.auto()
    RETRY_MAYFAIL = enum.auto()
    NOWARN = enum.auto()
    KERNEL = DIRECT_RECLAIM | KSWAPD_RECLAIM
    ATOMIC = HIGH | KSWAPD_RECLAIM


#: What `Model.alloc` and `Model.pin` call a gfp mask. "user" and "kernel" differ in __GFP_ACCOUNT.
_GFPS: Final = {
    "user": _Gfp.KERNEL,
    "kernel": _Gfp.KERNEL,
    "atomic": _Gfp.ATOMIC,
    "noretry": _Gfp.KERNEL | _Gfp.NORETRY,
    "mayfail": _Gfp.KERNEL | _Gfp.RETRY_MAYFAIL,
    "nowarn": _Gfp.KERNEL | _Gfp.NOWARN,
}


class _AllocFlags(enum.Flag):
    """ALLOC_* flags: how far below the watermark an allocation may go."""

    MIN_RESERVE = enum.auto()
    NON_BLOCK = enum.auto()
    OOM = enum.auto()
    NO_WATERMARKS = enum.auto()


_NO_FLAGS: Final = _AllocFlags(0)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault at the border between the allocator under test and the rest.

    Parameters
    ----------
    point : {"alloc_pages", "set_pkey", "charge", "memblock"}
        Which calls fail.
    mode : {"off", "nth", "every", "share"}
        Only call `n`, every n-th call, or `n` calls of a million, drawn by `seed`. Calls are
        counted from 1 on, and only those which `orders` and `pkey` select.
    n : int
        See `mode`.
    seed : int
        For "share".
    orders : int
        For "alloc_pages": a mask of orders, 0 for all.
    half : bool
        For "set_pkey": fail when half of the range is done, not before anything is.
    pkey : int
        For "set_pkey": only changes to this pkey; -1 for all.

    Raises
    ------
    ValueError
        A parameter is outside its limits.
    """

    point: str
    mode: str
    n: int = 0
    seed: int = 0
    orders: int = 0
    half: bool = False
    pkey: int = -1

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.point not in _FAULT_POINTS:
            msg = f"point is {self.point!r}, it must be one of {', '.join(_FAULT_POINTS)}"
            raise ValueError(msg)
        if self.mode not in _FAULT_MODES:
            msg = f"mode is {self.mode!r}, it must be one of {', '.join(_FAULT_MODES)}"
            raise ValueError(msg)
        if self.mode in {"nth", "every"} and self.n < 1:
            msg = f"n is {self.n}, it must be at least 1 for mode {self.mode!r}"
            raise ValueError(msg)
        if self.mode == "share" and not 0 <= self.n <= _SHARE_OF:
            msg = f"n is {self.n}, the limits of a share are 0 and {_SHARE_OF}"
            raise ValueError(msg)

    def hits(self, call: int) -> bool:
        """Whether the call of this number fails."""
        if self.mode == "nth":
            return call == self.n
        if self.mode == "every":
            return call % self.n == 0
        if self.mode == "share":
            return _splitmix64_mix(self.seed + call * 0x9E3779B97F4A7C15) % _SHARE_OF < self.n
        return False


def _splitmix64_mix(z: int) -> int:
    z &= _U64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _U64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _U64
    return z ^ (z >> 31)


class _Faults:
    """The faults that are set, and the calls which they saw.

    Parameters
    ----------
    counters : dict of str to int
        Where to count.
    """

    def __init__(self, counters: dict[str, int]) -> None:
        self._counters = counters
        self._faults: dict[str, Fault] = {}
        self._calls: dict[str, int] = {}

    def set(self, fault: Fault) -> None:
        """Replace the fault of a point and count its calls anew."""
        self._faults[fault.point] = fault
        self._calls[fault.point] = 0

    @property
    def half(self) -> bool:
        """Whether a change of a pkey fails when half of it is done."""
        return self._faults["set_pkey"].half

    def strike(self, point: str, *, order: int = 0, pkey: int = -1) -> bool:
        """Count a call, for an order or of a pkey; return whether it is to fail."""
        fault = self._faults.get(point)
        if fault is None:
            return False
        if point == "alloc_pages" and fault.orders and not fault.orders >> order & 1:
            return False
        if point == "set_pkey" and fault.pkey not in {-1, pkey}:
            return False
        self._calls[point] += 1
        if not fault.hits(self._calls[point]):
            return False
        self._counters["faults_injected"] += 1
        return True


@dataclass(slots=True)
class _Deferral:
    """When compaction is not tried, as in struct zone."""

    considered: int = 0
    defer_shift: int = 0
    #: The smallest order which failed.
    order_failed: int = _NO_FAILED_ORDER

    def is_deferred(self, order: int) -> bool:
        """Whether compaction for this order is to wait; each question brings the end nearer."""
        if order < self.order_failed:
            return False
        limit = 1 << self.defer_shift
        self.considered += 1
        if self.considered >= limit:
            self.considered = limit
            return False
        return True

    def succeeded(self, order: int) -> None:
        """Forget what failed."""
        self.considered = 0
        self.defer_shift = 0
        self.order_failed = max(self.order_failed, order + 1)

    def failed(self, order: int) -> None:
        """Wait twice as long as the last time."""
        self.considered = 0
        self.defer_shift = min(self.defer_shift + 1, _COMPACT_MAX_DEFER_SHIFT)
        self.order_failed = min(self.order_failed, order)


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
    def leaf_orders(self) -> dict[str, int]:
        """Level -> order of one of its leaf entries, from the top down."""
        lower = {"pmd": self.pmd_order, "pte": 0}
        return lower if self.pud_order is None else {"pud": self.pud_order} | lower

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
    counters : dict of str to int
        Where to count.
    """

    def __init__(
        self, geometry: _Geometry, first_pfn: int, nr_pages: int, counters: dict[str, int]
    ) -> None:
        self._counters = counters
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
        #: Pages on the free lists, NR_FREE_PAGES.
        self.nr_free = 0

    # The lists and the pageblocks

    def _add(self, pfn: int, order: int, migratetype: int, *, tail: bool) -> None:
        self.free_at[pfn] = (order, migratetype)
        self.lists[order, migratetype][pfn] = None
        self.lists[order, migratetype].move_to_end(pfn, last=tail)
        self.nr_free += 1 << order

    def _remove(self, pfn: int) -> tuple[int, int]:
        order, migratetype = self.free_at.pop(pfn)
        del self.lists[order, migratetype][pfn]
        self.nr_free -= 1 << order
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
        """Free 2^order pages, merge them upward and put the result on its list: __free_one_page.

        Parameters
        ----------
        pfn, order : int
            What to free.
        to_tail : bool
            Place the result at the list's tail in any case, as boot does.
        """
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
        """Allocate 2^order pages: ``__rmqueue``.

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
        return pfn

    def has_block(self, order: int) -> bool:
        """Whether a free list of at least this order is not empty, whatever its type."""
        return any(
            self.lists[at_least, migratetype]
            for at_least in range(order, self.max_order + 1)
            for migratetype in FALLBACKS
        )

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
                self._counters["buddy_claims"] += 1
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
                self._counters["buddy_steals"] += 1
                return self._take_and_expand(head, order, foreign)
        return None

    # Compaction

    def movable_head(self, pfn: int) -> int | None:
        """First page of the movable allocation which holds a page; None if there is none."""
        for order in range(self.max_order + 1):
            head = _align_down(pfn, order)
            if head in self.movable_at and pfn < head + (1 << self.movable_at[head]):
                return head
        return None

    def alloc_target(self, order: int, above: int) -> int | None:
        """Take 2^order pages from the top of the highest free block which has as many.

        Parameters
        ----------
        order : int
            What is wanted.
        above : int
            The block begins at this pfn or higher.

        Returns
        -------
        int or None
            The first pfn; None when there is no such block.
        """
        targets = [
            pfn
            for pfn, (free_order, _) in self.free_at.items()
            if pfn >= above and free_order >= order
        ]
        if not targets:
            return None
        pfn = max(targets)
        migratetype = self.type_of(pfn)
        current_order, _ = self._remove(pfn)
        while current_order > order:
            current_order -= 1
            self._add(pfn, current_order, migratetype, tail=False)
            pfn += 1 << current_order
        return pfn

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


class _PerCpuPages:
    """One CPU's lists of free pages which the buddy allocator does not see."""

    def __init__(self) -> None:
        #: Head first.
        self.lists: list[deque[int]] = [deque() for _ in range(_NR_PCP_LISTS)]
        #: Pages on all lists.
        self.count = 0


class _Zone:
    """Watermarks and per-CPU lists, on top of the buddy allocator.

    Parameters
    ----------
    geometry : _Geometry
        The granule.
    buddy : _Buddy
        With all the memory that boot gives it: its free pages are the managed ones.
    nr_cpus : int
        How many CPUs have lists.
    no_pcp : bool
        Let every order go past the lists.
    counters : dict of str to int
        Where to count.
    """

    def __init__(
        self,
        geometry: _Geometry,
        buddy: _Buddy,
        nr_cpus: int,
        counters: dict[str, int],
        *,
        no_pcp: bool,
    ) -> None:
        self.buddy = buddy
        self._counters = counters
        self._no_pcp = no_pcp
        self._thp_order = geometry.pmd_order
        self.pcps = [_PerCpuPages() for _ in range(nr_cpus)]
        self.managed = buddy.nr_free
        page_kb = 1 << geometry.page_shift >> 10
        min_free_kbytes = math.isqrt(self.managed * page_kb * 16)
        self.wmark_min = min(max(min_free_kbytes, 128), 262144) // page_kb
        gap = max(self.wmark_min // 4, self.managed * 10 // 10000)
        self.wmark_low = self.wmark_min + gap
        self.wmark_high = self.wmark_low + gap
        #: The boot pageset: nothing stays on the lists.
        self.batch = 1
        self.high = 0
        quarter = max(min(self.managed >> 10, (1 << 20) >> geometry.page_shift) // 4, 1)
        self._batch = max((1 << ((quarter + quarter // 2).bit_length() - 1)) - 1, 1)

    def end_boot_pageset(self) -> None:
        """From now on the lists hold pages."""
        self.batch = self._batch
        self.high = max(self.wmark_low // len(self.pcps), self.batch * 4)

    def watermark_ok(self, order: int, mark: int, flags: _AllocFlags) -> bool:
        """``zone_watermark_ok``; pages on the per-CPU lists do not count."""
        free = self.buddy.nr_free - ((1 << order) - 1)
        if _AllocFlags.MIN_RESERVE in flags:
            mark -= mark // 2
            if _AllocFlags.NON_BLOCK in flags:
                mark -= mark // 4
        if _AllocFlags.OOM in flags:
            mark -= mark // 2
        if free <= mark:
            return False
        return order == 0 or self.buddy.has_block(order)

    def _is_pcp_order(self, order: int) -> bool:
        return not self._no_pcp and (order <= _COSTLY_ORDER or order == self._thp_order)

    @staticmethod
    def _list_index(order: int, migratetype: int) -> int:
        if order <= _COSTLY_ORDER:
            return _PCP_TYPES * order + migratetype
        return _PCP_THP + (migratetype == MOVABLE)

    def _list_order(self, index: int) -> int:
        return index // _PCP_TYPES if index < _PCP_THP else self._thp_order

    def rmqueue(self, cpu: int, order: int, migratetype: int) -> int | None:
        """Take 2^order pages, from a per-CPU list where the order has one."""
        pfn = None
        if self._is_pcp_order(order):
            pfn = self._rmqueue_pcplist(self.pcps[cpu], order, migratetype)
        return self.buddy.alloc(order, migratetype) if pfn is None else pfn

    def _rmqueue_pcplist(self, pcp: _PerCpuPages, order: int, migratetype: int) -> int | None:
        pages = pcp.lists[self._list_index(order, migratetype)]
        if not pages:
            wanted = 1 if self.high < self.batch else self.batch
            if wanted > 1:
                wanted = max(wanted >> order, 2)
            self._rmqueue_bulk(pcp, pages, wanted, order, migratetype)
        if not pages:
            return None
        pcp.count -= 1 << order
        return pages.popleft()

    def _rmqueue_bulk(
        self, pcp: _PerCpuPages, pages: deque[int], wanted: int, order: int, migratetype: int
    ) -> None:
        self._counters["pcp_bulk_allocs"] += 1
        for _ in range(wanted):
            pfn = self.buddy.alloc(order, migratetype)
            if pfn is None:
                return
            pages.append(pfn)
            pcp.count += 1 << order
            self._counters["pcp_bulk_alloc_pages"] += 1 << order

    def free(self, cpu: int, pfn: int, order: int) -> None:
        """Give 2^order pages back, to a per-CPU list where the order has one."""
        self.buddy.movable_at.pop(pfn, None)
        if not self._is_pcp_order(order):
            self.buddy.free(pfn, order)
            return
        pcp = self.pcps[cpu]
        index = self._list_index(order, self.buddy.type_of(pfn))
        pcp.lists[index].appendleft(pfn)
        pcp.count += 1 << order
        if pcp.count >= self.high:
            self._free_bulk(pcp, 1 if self.high < self.batch else self.batch, index)

    def _free_bulk(self, pcp: _PerCpuPages, nr_pages: int, index: int) -> None:
        """Give at least so many pages back to the buddy, beginning with one list."""
        left = min(nr_pages, pcp.count)
        while left > 0:
            pages = pcp.lists[index]
            order = self._list_order(index)
            while left > 0 and pages:
                self.buddy.free(pages.pop(), order)
                left -= 1 << order
                pcp.count -= 1 << order
                self._counters["pcp_bulk_free_pages"] += 1 << order
            index = (index + 1) % _NR_PCP_LISTS

    def drain_all(self) -> None:
        """``drain_all_pages``: every CPU's lists go back to the buddy."""
        self._counters["pcp_drains"] += 1
        for pcp in self.pcps:
            self._free_bulk(pcp, pcp.count, 0)

    def pcp_pfns(self) -> list[int]:
        """Every page on the per-CPU lists, one entry per page."""
        return [
            pfn + offset
            for pcp in self.pcps
            for index, pages in enumerate(pcp.lists)
            for pfn in pages
            for offset in range(1 << self._list_order(index))
        ]

    def check(self) -> None:
        """Raise AssertionError if the lists and their counts disagree."""
        free_pages = sum(1 << order for order, _ in self.buddy.free_at.values())
        assert free_pages == self.buddy.nr_free, (
            f"nr_free is {self.buddy.nr_free}, {free_pages} pages are free"
        )
        for cpu, pcp in enumerate(self.pcps):
            on_lists = sum(
                len(pages) << self._list_order(index) for index, pages in enumerate(pcp.lists)
            )
            assert pcp.count == on_lists, (
                f"CPU {cpu} counts {pcp.count} pages, {on_lists} are on its lists"
            )


class _Memblock:
    """Physical memory before the buddy allocator, and PPA on top of it.

    Parameters
    ----------
    free : list of (int, int)
        The free ranges as [first pfn, end), ascending and without neighbours.
    chunk_order : int
        PPA takes memory in naturally aligned chunks of this order.
    is_faulty : callable
        Whether the next allocation is to fail.
    """

    def __init__(
        self, free: list[tuple[int, int]], chunk_order: int, is_faulty: Callable[[], bool]
    ) -> None:
        self.free = free
        self.chunk_order = chunk_order
        self._is_faulty = is_faulty
        #: Full chunks, as [first pfn, number of pages], in order of recording.
        self.ranges: list[tuple[int, int]] = []
        #: Ranges for which there was no room to record them.
        self.unrecorded: list[tuple[int, int]] = []
        #: First pfn of the chunk in use; None before the first one.
        self.chunk: int | None = None
        #: Pages of that chunk which are not handed out: the lowest ones.
        self.chunk_left = 0
        #: Single pages which came from no chunk.
        self.untracked: list[int] = []

    def _phys_alloc(self, order: int) -> int | None:
        """Take the highest 2^order pages which are free and aligned; None if there are none."""
        if self._is_faulty():
            return None
        for start, end in reversed(self.free):
            pfn = _align_down(end - (1 << order), order)
            if pfn < start:
                continue
            at = self.free.index((start, end))
            pieces = [(start, pfn), (pfn + (1 << order), end)]
            self.free[at : at + 1] = [piece for piece in pieces if piece[0] < piece[1]]
            return pfn
        return None

    def alloc_table(self) -> int:
        """Hand out one page for a page table of the linear map.

        Returns
        -------
        int
            Its pfn: the highest one that is left in the chunk.

        Raises
        ------
        MemoryError
            There is not a single page.
        """
        if self.chunk_left == 0:
            self._next_chunk()
        if self.chunk is not None:
            self.chunk_left -= 1
            return self.chunk + self.chunk_left
        pfn = self._phys_alloc(0)
        if pfn is None:
            msg = "no memory left for the tables of the linear map, make ram larger"
            raise MemoryError(msg)
        self.untracked.append(pfn)
        return pfn

    def _next_chunk(self) -> None:
        if self.chunk is not None:
            self._record(self.chunk, 1 << self.chunk_order)
        self.chunk = self._phys_alloc(self.chunk_order)
        if self.chunk is not None:
            self.chunk_left = 1 << self.chunk_order

    def _record(self, start: int, nr_pages: int) -> None:
        if self.ranges:
            last_start, last_nr = self.ranges[-1]
            # Chunks come from the top downward: a neighbour of the last range lies below it.
            if start + nr_pages == last_start:
                self.ranges[-1] = (start, nr_pages + last_nr)
                return
        if len(self.ranges) == _NR_PPA_RANGES:
            self.unrecorded.append((start, nr_pages))
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


def _without(
    ranges: list[tuple[int, int]], taken: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return ascending ranges without what is taken; all are [start, end)."""
    ranges = list(ranges)
    for taken_start, taken_end in taken:
        pieces = [
            piece
            for start, end in ranges
            for piece in ((start, min(end, taken_start)), (max(start, taken_end), end))
        ]
        # A range which misses what is taken gives itself once and an empty or a reversed piece.
        ranges = [piece for piece in pieces if piece[0] < piece[1]]
    return ranges


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
    nr_cpus : int
        CPUs, each with its own lists of free pages. An operation's `cpu` is taken modulo this.
    no_pcp : bool
        Let no page go through the per-CPU lists.
    memcg_limit_pages : int
        Limit of the one memory cgroup, which all user tables are charged to; 0 is no limit.
    holes : sequence of (int, int)
        Physical address and size of what is no RAM, in whole pages.
    reserved : sequence of (int, int)
        The same for RAM which is mapped, but is never free.
    nr_static_pgtables : int
        Page tables in the kernel image: the first pages of RAM, which are reserved.
    faults : sequence of Fault
        Faults from the start, for what the constructor itself does. `set_fault` sets others.

    Attributes
    ----------
    counters : dict of str to int
        What happened since the constructor began. ``allocs``, ``frees`` and ``failed_allocs``
        count calls of `alloc` and `free`; a failed call counts in both of the first and the last.
    map_counters : dict of str to dict of str to int
        The counters of what happened to the linear map by its cause: "boot" is everything before
        `init_late`, "late_init" what that does; after it "refill" and "release" are changes of
        pkeys, and "other" is somebody else's doing.
    slowpath_order : list of int
        ``slowpath_entries`` by order.
    migrations : list of (int, int, int)
        Pins that compaction moved, in order: pfn before, pfn since then, order.

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
        *,
        nr_cpus: int = 4,
        no_pcp: bool = False,
        memcg_limit_pages: int = 0,
        holes: Sequence[tuple[int, int]] = (),
        reserved: Sequence[tuple[int, int]] = (),
        nr_static_pgtables: int = 0,
        faults: Sequence[Fault] = (),
    ) -> None:
        self._geometry = _checked_geometry(page_size, ram, phys_base, refill_orders, linear_map)
        _check_limits(
            nr_cpus=(nr_cpus, 1),
            memcg_limit_pages=(memcg_limit_pages, 0),
            nr_static_pgtables=(nr_static_pgtables, 0),
        )
        self._refill_orders = tuple(refill_orders)
        self._pte_only = linear_map == "pte"
        self._first_pfn = phys_base >> self._geometry.page_shift
        self._nr_pages = ram >> self._geometry.page_shift
        self._nr_cpus = nr_cpus
        self._memcg_limit = memcg_limit_pages
        self._static_pgtables = range(self._first_pfn, self._first_pfn + nr_static_pgtables)

        #: The regions of RAM, those never free, and those that memblock has, as [first pfn, end).
        self._ram, self._reserved, free = self._regions(holes, reserved)

        self.counters: dict[str, int] = dict.fromkeys(_COUNTER_NAMES, 0)
        self.counters.update({f"refills_order_{order}": 0 for order in self._refill_orders})
        self.map_counters = {cause: dict.fromkeys(_MAP_COUNTER_NAMES, 0) for cause in _CAUSES}

        self.slowpath_order = [0] * (self._geometry.max_page_order + 1)
        self.migrations: list[tuple[int, int, int]] = []

        #: CPU of the operation which runs.
        self._cpu = 0
        #: What touches the linear map at the moment.
        self._cause = "boot"
        #: PF_MEMALLOC: the task reclaims memory.
        self._memalloc = False
        self._open_scans = 0
        self._deferral = _Deferral()
        self._faults = _Faults(self.counters)
        for fault in faults:
            self._faults.set(fault)

        self._dead = False
        self._hardened_init_done = False
        self._init_late_done = False
        self._held_mutexes: set[str] = set()

        # The linear map: what is mapped at which level. An index is the vpn >> the level's order.
        self._leaf_orders = self._geometry.leaf_orders
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
        #: Pages which are mapped with pkey 1.
        self._keyed: set[int] = set()
        #: Held pages which are known to stay unprotected for good.
        self._unprotected_for_good: set[int] = set()
        #: Pages which went back to the buddy with a pkey, because of an error.
        self._keyed_for_good: set[int] = set()
        #: Leaf entries before which an error ended a change: a hint may span that place.
        self._torn_hints: set[tuple[str, int]] = set()

        self._memblock = _Memblock(
            free, self._refill_orders[0], lambda: self._faults.strike("memblock")
        )
        self._build_linear_map()
        self._ppa_unused = self._memblock.unused_of_chunk()

        self._buddy = _Buddy(self._geometry, self._first_pfn, self._nr_pages, self.counters)
        self._mem_init()
        self._zone = _Zone(self._geometry, self._buddy, nr_cpus, self.counters, no_pcp=no_pcp)

    def _regions(
        self, holes: Sequence[tuple[int, int]], reserved: Sequence[tuple[int, int]]
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]], list[tuple[int, int]]]:
        """Ranges of RAM, of RAM that is reserved and of RAM that is free, ascending each."""
        start, end = self._first_pfn, self._first_pfn + self._nr_pages
        ram = _without([(start, end)], [self._checked_range("holes", *hole) for hole in holes])
        static = self._static_pgtables
        taken = [self._checked_range("reserved", *piece) for piece in reserved]
        if static:
            taken.append((static.start, static.stop))
            if not ram or ram[0][0] != start or static.stop > ram[0][1]:
                msg = f"nr_static_pgtables is {len(static)}, they must lie in the first RAM"
                raise ValueError(msg)
        free = _without(ram, taken)
        return ram, _without(ram, free), free

    def _checked_range(self, name: str, base: int, size: int) -> tuple[int, int]:
        """Pages of a range given as address and size in bytes."""
        shift = self._geometry.page_shift
        start, end = self._first_pfn << shift, (self._first_pfn + self._nr_pages) << shift
        page_size = 1 << shift
        if size <= 0 or size % page_size or base % page_size:
            msg = f"{name}: {size} bytes at {base:#x}, they must be whole pages of {page_size}"
            raise ValueError(msg)
        if not start <= base <= end - size:
            msg = f"{name}: {size} bytes at {base:#x} must be in RAM, {start:#x} to {end:#x}"
            raise ValueError(msg)
        return base >> shift, (base + size) >> shift

    def _is_ram(self, pfn: int) -> bool:
        return any(start <= pfn < end for start, end in self._ram)

    def _run_on(self, cpu: int) -> None:
        self._cpu = cpu % self._nr_cpus

    def _count_for_map(self, name: str, how_many: int = 1) -> None:
        self.counters[name] += how_many
        self.map_counters[self._cause][name] += how_many

    # Faults

    def set_fault(
        self,
        point: str,
        mode: str,
        n: int = 0,
        seed: int = 0,
        orders: int = 0,
        *,
        half: bool = False,
        pkey: int = -1,
    ) -> None:
        """Let calls at the border of the page table allocator fail.

        Parameters
        ----------
        point, mode, n, seed, orders, half, pkey
            As of `Fault`, which checks them. The fault replaces that of the same point, and its
            calls are counted anew; mode "off" removes it.
        """
        self._faults.set(Fault(point, mode, n, seed, orders, half, pkey))

    # Phase 1: the linear map is built

    def _build_linear_map(self) -> None:
        """Map all RAM top down, depth first, in ascending order, one region after the other."""
        for start, end in self._ram:
            self._build_region(start - self._first_pfn, end - self._first_pfn)
        self._unprotected_for_good.update(self._memblock.untracked)
        for pfn, nr_pages in self._memblock.unrecorded:
            self.counters["warnings"] += 1
            self._unprotected_for_good.update(range(pfn, pfn + nr_pages))

    def _build_region(self, region_start: int, region_end: int) -> None:
        geometry = self._geometry
        for start, end in self._spans(region_start, region_end, geometry.pgd_order):
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
        """Cut [start, end) at every multiple of 2^order pages."""
        return [
            (max(at, start), min(at + (1 << order), end))
            for at in range(_align_down(start, order), end, 1 << order)
        ]

    def _fits(self, start: int, end: int, order: int) -> bool:
        """Whether boot may map [start, end) with a leaf (or a hinted group) of this order."""
        return (
            not self._pte_only
            and end - start == 1 << order
            and _is_aligned(start, order)
            and _is_aligned(self._first_pfn + start, order)
        )

    def _add_boot_table(self, level: str, vpn: int) -> None:
        """Add the table over a page, unless the region before this one needed it too."""
        if self._table_key(level, vpn) not in self._tables:
            self._add_table(level, vpn, self._memblock.alloc_table())

    def _table_key(self, level: str, vpn: int) -> tuple[str, int]:
        return level, vpn >> (self._leaf_orders[level] + self._geometry.table_bits)

    def _add_table(self, level: str, vpn: int, pfn: int) -> None:
        key = self._table_key(level, vpn)
        assert key not in self._tables, f"there already is a table {key}"
        self._tables[key] = pfn
        self.counters["ptps_for_linear_map"] += 1

    # Phase 2: the buddy allocator works

    def _mem_init(self) -> None:
        """Give what memblock has left to the buddy allocator, range after range."""
        for start, end in self._memblock.free:
            self._free_range(start, end)

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
        self._run_on(0)
        if not self._pte_only:
            self._pba_enabled = True
            self._refill(take_one=False)
        self._zone.end_boot_pageset()
        self._hardened_init_done = True

    def init_late(self) -> None:
        """End the early window: ``kpkeys_hardened_pgtables_init_late``.

        Raises
        ------
        RuntimeError
            It was called before, or before `hardened_init`.
        """
        self._assert_running()
        self._run_on(0)
        if self._init_late_done:
            msg = "init_late was called before, it belongs to boot: call it once"
            raise RuntimeError(msg)
        self._cause = "late_init"
        if self._pba_enabled:
            self._pba_init_late()
        self._ppa_finalize()
        if self._static_pgtables:
            self._protect_for_boot(self._static_pgtables.start, len(self._static_pgtables))
        self._cause = "other"
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

    def alloc(
        self,
        *,
        kernel: bool = False,
        gfp: str | None = None,
        split: bool = False,
        memalloc: bool = False,
        cpu: int = 0,
    ) -> int | None:
        """Allocate one page table page: ``kpkeys_pgtable_alloc``.

        Parameters
        ----------
        kernel : bool
            A table of the kernel, charged to nobody; else one of a user process.
        gfp : {"user", "kernel", "atomic", "noretry", "mayfail", "nowarn"}, optional
            The same more fully; `kernel` does not matter then. Only "user" is charged.
        split : bool
            With __GFP_PGTABLE_SPLIT: the reserve may be taken.
        memalloc : bool
            The caller has PF_MEMALLOC, as inside reclaim.
        cpu : int
            CPU which the caller runs on.

        Returns
        -------
        int or None
            The pfn; None when there is no memory.

        Raises
        ------
        ValueError
            There is no such gfp.
        """
        self._assert_running()
        gfp = gfp or ("kernel" if kernel else "user")
        _check_gfp(gfp)
        self._run_on(cpu)
        self.counters["allocs"] += 1
        self._memalloc = memalloc
        if self._pba_enabled:
            pfn = self._pba_alloc_table(gfp, split=split)
        else:
            pfn = self._noblock_alloc(gfp)
        self._memalloc = False
        if pfn is None:
            self.counters["failed_allocs"] += 1
            return None
        self._in_use.add(pfn)
        return pfn

    def free(self, pfn: int, *, cpu: int = 0) -> None:
        """Free a page table page: ``kpkeys_pgtable_free``.

        Parameters
        ----------
        pfn : int
            What `alloc` returned.
        cpu : int
            CPU which the caller runs on.

        Raises
        ------
        ValueError
            No table of this pfn is in use.
        """
        self._assert_running()
        if pfn not in self._in_use:
            msg = f"pfn {pfn:#x} is not in use, free only what alloc returned"
            raise ValueError(msg)
        self._run_on(cpu)
        self.counters["frees"] += 1
        self._in_use.remove(pfn)
        if self._pba_enabled:
            self._uncharge(pfn)
            self._cache(pfn)
        else:
            self._noblock_free(pfn)

    def _charge(self, pfn: int) -> int:
        """Charge one page to the cgroup; 0 or a negative errno."""
        over = self._memcg_limit and len(self._charged) + 1 > self._memcg_limit
        if self._faults.strike("charge") or over:
            self.counters["memcg_failures"] += 1
            return -errno.ENOMEM
        self._charged.add(pfn)
        self.counters["memcg_charges"] += 1
        return 0

    def _uncharge(self, pfn: int) -> None:
        if pfn in self._charged:
            self._charged.remove(pfn)
            self.counters["memcg_uncharges"] += 1

    def _release(self, pfn: int, order: int) -> None:
        """Give 2^order pages of the page table allocator back to the buddy."""
        self._unprotected_for_good.difference_update(range(pfn, pfn + (1 << order)))
        self._zone.free(self._cpu, pfn, order)
        self.counters["released_pages"] += 1 << order

    def _release_after_error(self, pfn: int, order: int) -> None:
        """Give pages back of which some may still, or already, carry the pkey."""
        pages = range(pfn, pfn + (1 << order))
        self._keyed_for_good.update(page for page in pages if self.pkey(page) != PKEY_DEFAULT)
        self._release(pfn, order)

    # noblock

    def _noblock_alloc(self, gfp: str) -> int | None:
        if self._faults.strike("alloc_pages", order=0):
            return None
        pfn = self._alloc_pages(0, UNMOVABLE, _GFPS[gfp])
        if pfn is None:
            return None
        # The buddy allocator zeroes, and then charges.
        self.counters["zeroed_pages"] += 1
        if gfp == "user" and self._charge(pfn):
            self._zone.free(self._cpu, pfn, 0)
            return None
        self.counters["refilled_pages"] += 1
        if self._set_memory_pkey(pfn, 1, PKEY_PGTABLES):
            self._uncharge(pfn)
            self._release_after_error(pfn, 0)
            return None
        return pfn

    def _noblock_free(self, pfn: int) -> None:
        error = self._set_memory_pkey(pfn, 1, PKEY_DEFAULT)
        self._uncharge(pfn)
        if error:
            self._release_after_error(pfn, 0)
        else:
            self._release(pfn, 0)

    # PBA

    def _pba_alloc_table(self, gfp: str, *, split: bool) -> int | None:
        """Serve a request from outside, which always wants a zeroed page."""
        if _GFPS[gfp] != _Gfp.KERNEL:
            self.counters["warnings"] += 1
        pfn = self._pba_alloc(split=split)
        if pfn is None:
            return None
        if gfp == "user" and self._charge(pfn):
            self._cache(pfn)
            return None
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
                self._release_after_error(start, order)
                return None
            if order == self._geometry.pmd_order:
                self._blocks[start] = 0
            first_cached = start + 1 if take_one else start
            for pfn in range(first_cached, start + nr_pages):
                self._cache(pfn)
        return start

    def _refill_alloc(self) -> tuple[int, int] | None:
        for order in self._refill_orders:
            if self._faults.strike("alloc_pages", order=order):
                continue
            pfn = self._alloc_pages(order, UNMOVABLE, _Gfp.KERNEL)
            if pfn is None:
                continue
            self.counters["refills"] += 1
            if self._open_scans:
                self.counters["refills_in_shrink"] += 1
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

    def split_other(self, pfn: int, nr_pages: int, *, cpu: int = 0) -> int:
        """Change permissions of a range of the linear map, as ``set_memory_ro`` would.

        Compaction does not move the pin that the range begins in meanwhile.

        Parameters
        ----------
        pfn, nr_pages : int
            The range, inside RAM. At a hole in it the change ends with -EINVAL.
        cpu : int
            CPU which the caller runs on.

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
        self._check_range(pfn, nr_pages)
        self._run_on(cpu)
        movable = self._buddy.movable_at
        head = self._buddy.movable_head(pfn)
        order = None if head is None else movable.pop(head)
        error = self._change_permissions(pfn, nr_pages)
        if head is not None and order is not None:
            movable[head] = order
        return error

    def _check_range(self, pfn: int, nr_pages: int) -> None:
        end = self._first_pfn + self._nr_pages
        if nr_pages <= 0 or not self._first_pfn <= pfn <= end - nr_pages:
            msg = (
                f"range of {nr_pages} pages at pfn {pfn:#x} must be inside RAM, "
                f"pfn {self._first_pfn:#x} to {end:#x}, and not empty"
            )
            raise ValueError(msg)

    def _change_permissions(self, pfn: int, nr_pages: int) -> int:
        error = self._split_range(pfn, nr_pages)
        if error:
            return error
        entries = self._leaf_entries(pfn, nr_pages)
        self._count_for_map("descriptor_writes", len(entries))
        if sum(1 << self._leaf_orders[level] for level, _ in entries) < nr_pages:
            return -errno.EINVAL
        self._flush_tlb(nr_pages)
        return 0

    def set_memory(self, first: int, nr_pages: int, *, cpu: int = 0) -> int:
        """Do what `split_other` does to any range of RAM, whoever uses it, and count it.

        Parameters
        ----------
        first, nr_pages : int
            The range; `first` counts from the start of RAM.
        cpu : int
            CPU which the caller runs on.

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
        self._check_range(self._first_pfn + first, nr_pages)
        self._run_on(cpu)
        error = self._change_permissions(self._first_pfn + first, nr_pages)
        self.counters["range_changes"] += 1
        if error:
            self.counters["failed_range_changes"] += 1
        return error

    def _set_memory_pkey(self, pfn: int, nr_pages: int, pkey: int) -> int:
        """Set the pkey of a range; 0 or a negative errno."""
        cause = self._cause
        if cause not in {"boot", "late_init"}:
            self._cause = "refill" if pkey == PKEY_PGTABLES else "release"
        error = self._change_pkey(pfn, nr_pages, pkey)
        self._cause = cause
        return error

    def _change_pkey(self, pfn: int, nr_pages: int, pkey: int) -> int:
        self._count_for_map("set_pkey_calls")
        self._count_for_map("set_pkey_pages", nr_pages)
        is_faulty = self._faults.strike("set_pkey", pkey=pkey)
        if is_faulty and not self._faults.half:
            return -errno.ENOMEM
        error = self._split_range(pfn, nr_pages)
        if error:
            return error
        for level, index in self._leaf_entries(pfn, nr_pages):
            order = self._leaf_orders[level]
            start = self._first_pfn + (index << order)
            if is_faulty and 2 * (start - pfn) >= nr_pages:
                self._torn_hints.add((level, index))
                break
            self._leaves[level][index] = pkey
            self._count_for_map("descriptor_writes")
            pages = range(start, start + (1 << order))
            if pkey == PKEY_PGTABLES:
                self._keyed.update(pages)
            else:
                self._keyed.difference_update(pages)
            self._keyed_for_good.difference_update(pages)
            self._unprotected_for_good.difference_update(pages)
            if is_faulty and pkey == PKEY_DEFAULT:
                self._unprotected_for_good.update(pages)
        if is_faulty:
            return -errno.ENOMEM
        self._flush_tlb(nr_pages)
        return 0

    def _flush_tlb(self, nr_pages: int) -> None:
        if nr_pages >= self._geometry.entries:
            self._count_for_map("tlbi_full")
        else:
            self._count_for_map("tlbi_single", nr_pages)

    def _leaf_entry(self, vpn: int) -> tuple[str, int]:
        """Level and index of the leaf entry that maps a page."""
        for level, order in self._leaf_orders.items():
            if vpn >> order in self._leaves[level]:
                return level, vpn >> order
        msg = f"vpn {vpn:#x} is not mapped"
        raise AssertionError(msg)

    def _leaf_entries(self, pfn: int, nr_pages: int) -> list[tuple[str, int]]:
        """Return every leaf entry of a range, up to a hole; the range must not cut one in two."""
        entries = []
        vpn = pfn - self._first_pfn
        end = vpn + nr_pages
        while vpn < end and self._is_ram(self._first_pfn + vpn):
            level, index = self._leaf_entry(vpn)
            order = self._leaf_orders[level]
            assert _is_aligned(vpn, order), f"{level} leaf {index:#x} begins before the range"
            assert vpn + (1 << order) <= end, f"{level} leaf {index:#x} ends after the range"
            entries.append((level, index))
            vpn += 1 << order
        return entries

    def _split_range(self, pfn: int, nr_pages: int) -> int:
        """Make leaf boundaries of both ends, and warn if that fails: ``update_range_prot``."""
        error = self._split_kernel_leaf_mapping(pfn, nr_pages)
        if error:
            self.counters["warnings"] += 1
        return error

    def _split_kernel_leaf_mapping(self, pfn: int, nr_pages: int) -> int:
        if self._pte_only:
            return 0
        if self._cause == "boot":
            # Not every CPU is known to tolerate a split.
            self.counters["warnings"] += 1
            return -errno.EBUSY
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
        self._count_for_map(f"split_{level}")
        self._count_for_map("split_ptps")
        self._add_table(lower, vpn, table)
        pkey = self._leaves[level].pop(index)
        entries = self._geometry.entries
        for lower_index in range(index * entries, (index + 1) * entries):
            self._leaves[lower][lower_index] = pkey
            self._hints[lower].add(lower_index)
        self._count_for_map("descriptor_writes", entries + 1)
        return 0

    def _clear_hint_if_any(self, level: str, vpn: int, group_order: int) -> int:
        """Clear the hint of the contiguous group over an address; cannot fail."""
        order = self._leaf_orders[level]
        if vpn >> order not in self._hints[level]:
            return 0
        first = _align_down(vpn, group_order) >> order
        nr_entries = 1 << (group_order - order)
        self._hints[level].difference_update(range(first, first + nr_entries))
        self._count_for_map(f"split_cont{level}")
        self._count_for_map("descriptor_writes", nr_entries)
        return 0

    # The shrinker

    def shrink(self, nr_to_scan: int, *, cpu: int = 0) -> int:
        """Do one call of the shrinker's scan_objects.

        Parameters
        ----------
        nr_to_scan : int
            As in ``struct shrink_control``.
        cpu : int
            CPU which the caller runs on.

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
        self._run_on(cpu)
        if not self._has_shrinker():
            return SHRINK_STOP
        return self._scan(nr_to_scan)

    def _scan(self, nr_to_scan: int) -> int:
        """Do one scan, of which the refills it causes are to know."""
        self.counters["shrink_scans"] += 1
        self._open_scans += 1
        freed = self._scan_objects(nr_to_scan)
        self._open_scans -= 1
        return freed

    def _scan_objects(self, nr_to_scan: int) -> int:
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
        """Take pages of the target (None: pages in no block) from the cache, head first.

        Each goes to the head of the list which is returned: the last one taken comes first.
        """
        isolated = [pfn for pfn in self._cached if self._block_of(pfn) == target][:limit]
        taken = set(isolated)
        self._cached = deque(pfn for pfn in self._cached if pfn not in taken)
        if target is not None:
            del self._blocks[target]
        return isolated[::-1]

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

    def shrink_slab(self, priority: int = _DEF_PRIORITY, *, cpu: int = 0) -> int:
        """Do one round of reclaim over the shrinker: ``do_shrink_slab`` of mm/shrinker.c.

        Parameters
        ----------
        priority : int
            Reclaim priority: deferred work counts ``>> priority``.
        cpu : int
            CPU which the caller runs on.

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
        self._run_on(cpu)
        return self._do_shrink_slab(priority)

    def _do_shrink_slab(self, priority: int) -> int:
        freeable = self.nr_shrinkable
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
            result = self._scan(nr_to_scan)
            if result == SHRINK_STOP:
                break
            freed += result
            total_scan -= nr_to_scan
            scanned += nr_to_scan
        self._nr_deferred += min(max(deferred + delta - scanned, 0), 2 * freeable)
        return freed

    # Somebody else's memory

    def pin(
        self, order: int, migratetype: int = UNMOVABLE, *, gfp: str = "kernel", cpu: int = 0
    ) -> int | None:
        """Allocate plain memory, as anybody else in the kernel would.

        Compaction may move a MOVABLE pin: see the attribute `migrations`.

        Parameters
        ----------
        order : int
            0 to the largest order of the granule.
        migratetype : {0, 1, 2}
            UNMOVABLE, MOVABLE or RECLAIMABLE.
        gfp : {"user", "kernel", "atomic", "noretry", "mayfail", "nowarn"}
            How hard to try; pins are charged to nobody.
        cpu : int
            CPU which the caller runs on.

        Returns
        -------
        int or None
            The first pfn; None when there is no memory.

        Raises
        ------
        ValueError
            The order, the migratetype or the gfp is outside its limits.
        """
        self._assert_alive()
        self._check_order(order)
        if migratetype not in FALLBACKS:
            msg = f"migratetype is {migratetype}, it must be 0, 1 or 2"
            raise ValueError(msg)
        _check_gfp(gfp)
        self._run_on(cpu)
        pfn = self._alloc_pages(order, migratetype, _GFPS[gfp])
        if pfn is not None:
            self._pins[pfn] = order
        return pfn

    def _check_order(self, order: int) -> None:
        if not 0 <= order <= self._geometry.max_page_order:
            msg = f"order is {order}, the limits are 0 and {self._geometry.max_page_order}"
            raise ValueError(msg)

    def unpin(self, pfn: int, order: int, *, cpu: int = 0) -> None:
        """Free what `pin` allocated.

        Parameters
        ----------
        pfn, order : int
            Where the pin is now, and as passed to `pin`.
        cpu : int
            CPU which the caller runs on.

        Raises
        ------
        ValueError
            There is no such pin.
        """
        self._assert_alive()
        if self._pins.get(pfn) != order:
            msg = f"pfn {pfn:#x} of order {order} is not pinned, unpin only what pin returned"
            raise ValueError(msg)
        self._run_on(cpu)
        del self._pins[pfn]
        self._zone.free(self._cpu, pfn, order)

    # The page allocator above the zone

    def _alloc_pages(self, order: int, migratetype: int, gfp: _Gfp) -> int | None:
        """``alloc_pages``, for whomever."""
        pfn = self._get_page(order, migratetype, self._zone.wmark_low, _NO_FLAGS)
        if pfn is None:
            pfn = self._alloc_slowpath(order, migratetype, gfp)
            if pfn is None and _Gfp.NOWARN not in gfp:
                self.counters["alloc_failures"] += 1
        if pfn is not None and migratetype == MOVABLE:
            self._buddy.movable_at[pfn] = order
        return pfn

    def _get_page(self, order: int, migratetype: int, mark: int, flags: _AllocFlags) -> int | None:
        """``get_page_from_freelist``."""
        if _AllocFlags.NO_WATERMARKS not in flags and not self._zone.watermark_ok(
            order, mark, flags
        ):
            return None
        return self._zone.rmqueue(self._cpu, order, migratetype)

    def _alloc_slowpath(self, order: int, migratetype: int, gfp: _Gfp) -> int | None:
        """``__alloc_pages_slowpath``."""
        self.counters["slowpath_entries"] += 1
        self.slowpath_order[order] += 1
        costly = order > _COSTLY_ORDER
        can_reclaim = _Gfp.DIRECT_RECLAIM in gfp
        mark = self._zone.wmark_min
        flags = _NO_FLAGS
        if _Gfp.HIGH in gfp:
            flags |= _AllocFlags.MIN_RESERVE
        if not can_reclaim:
            flags |= _AllocFlags.NON_BLOCK
        if _Gfp.KSWAPD_RECLAIM in gfp:
            self.counters["kswapd_wakes"] += 1

        pfn = self._get_page(order, migratetype, mark, flags)
        if pfn is not None:
            return pfn
        if (
            can_reclaim
            and not self._memalloc
            and (costly or (order > 0 and migratetype != MOVABLE))
        ):
            compacted = self._direct_compaction(order)
            if compacted:
                pfn = self._get_page(order, migratetype, mark, flags)
                if pfn is not None:
                    return pfn
            elif costly and _Gfp.NORETRY in gfp:
                return None

        retries = 0
        while True:
            if self._memalloc:
                pfn = self._get_page_as_reclaimer(order, migratetype, mark, flags)
            else:
                pfn = self._get_page(order, migratetype, mark, flags)
            if pfn is not None:
                return pfn
            if not can_reclaim or self._memalloc:
                return None
            progress = self._direct_reclaim()
            if progress:
                pfn = self._get_page(order, migratetype, mark, flags)
                if pfn is None:
                    self._zone.drain_all()
                    pfn = self._get_page(order, migratetype, mark, flags)
                if pfn is not None:
                    return pfn
            if _Gfp.NORETRY in gfp or (costly and _Gfp.RETRY_MAYFAIL not in gfp):
                return None
            if order > 0 and self._direct_compaction(order):
                pfn = self._get_page(order, migratetype, mark, flags)
                if pfn is not None:
                    return pfn
            if not progress or retries == _MAX_RECLAIM_RETRIES:
                break
            retries += 1

        pfn = self._get_page(order, migratetype, self._zone.wmark_high, _NO_FLAGS)
        if pfn is not None or costly or _Gfp.RETRY_MAYFAIL in gfp:
            return pfn
        self.counters["oom_kills"] += 1
        return self._get_page(order, migratetype, mark, _AllocFlags.OOM)

    def _get_page_as_reclaimer(
        self, order: int, migratetype: int, mark: int, flags: _AllocFlags
    ) -> int | None:
        """With PF_MEMALLOC: look at no watermark."""
        was_ok = self._zone.watermark_ok(order, mark, flags)
        pfn = self._get_page(order, migratetype, mark, _AllocFlags.NO_WATERMARKS)
        if pfn is not None and not was_ok:
            self.counters["memalloc_allocs"] += 1
        return pfn

    # Reclaim

    def reclaim(self, *, cpu: int = 0) -> int:
        """Reclaim memory directly, once.

        Parameters
        ----------
        cpu : int
            CPU which the caller runs on.

        Returns
        -------
        int
            Pages reclaimed.
        """
        self._assert_alive()
        self._run_on(cpu)
        return self._direct_reclaim()

    def _direct_reclaim(self) -> int:
        """``try_to_free_pages``, with PF_MEMALLOC around it."""
        self.counters["allocstall"] += 1
        was_memalloc, self._memalloc = self._memalloc, True
        reclaimed = 0
        for priority in range(_DEF_PRIORITY, -1, -1):
            if self._has_shrinker():
                self.counters["slab_shrinks"] += 1
                reclaimed += self._do_shrink_slab(priority)
            if reclaimed >= _SWAP_CLUSTER_MAX:
                break
        self._memalloc = was_memalloc
        self.counters["pgsteal_direct"] += reclaimed
        return reclaimed

    # Compaction

    def drain_all_pages(self) -> None:
        """Give the pages on all per-CPU lists back to the buddy."""
        self._assert_alive()
        self._zone.drain_all()

    def compact(self, order: int, *, cpu: int = 0) -> bool:
        """Compact the zone once, whatever was deferred: not on behalf of an allocation.

        Parameters
        ----------
        order : int
            Order of the free block that is wanted.
        cpu : int
            CPU which the caller runs on.

        Returns
        -------
        bool
            Whether there is one now.

        Raises
        ------
        ValueError
            The order is outside its limits.
        """
        self._assert_alive()
        self._check_order(order)
        self._run_on(cpu)
        return self._compact_zone(order)

    def _direct_compaction(self, order: int) -> bool:
        """Compact on behalf of an allocation, unless that is deferred."""
        if self._deferral.is_deferred(order):
            self.counters["compact_deferred"] += 1
            return False
        self.counters["compact_stall"] += 1
        if self._compact_zone(order):
            self.counters["compact_success"] += 1
            self._deferral.succeeded(order)
            return True
        self.counters["compact_fail"] += 1
        self._deferral.failed(order)
        return False

    def _compact_zone(self, order: int) -> bool:
        """Empty the first window that can be emptied; whether a free block of the order exists."""
        if not self._buddy.movable_at:
            return False
        self._zone.drain_all()
        if self._buddy.has_block(order):
            return True
        nr_pages = 1 << order
        end = self._first_pfn + self._nr_pages
        first = _align_down(self._first_pfn + nr_pages - 1, order)
        for window in range(first, end - nr_pages + 1, nr_pages):
            movable = self._look_at_window(window, window + nr_pages)
            if movable:
                return all(self._migrate(pfn, window + nr_pages) for pfn in movable)
        return False

    def _look_at_window(self, start: int, end: int) -> list[int]:
        """Return the movable allocations of a window; none if it cannot be emptied."""
        movable = []
        is_candidate = True
        pfn = start
        while pfn < end:
            head = self._buddy.movable_head(pfn)
            if pfn in self._buddy.free_at:
                block_end = pfn + (1 << self._buddy.free_at[pfn][0])
            elif head is not None:
                movable.append(head)
                block_end = head + (1 << self._buddy.movable_at[head])
                is_candidate &= start <= head and block_end <= end
            else:
                self.counters["compact_migrate_scanned"] += 1
                return []
            self.counters["compact_migrate_scanned"] += min(block_end, end) - pfn
            pfn = block_end
        return movable if is_candidate else []

    def _migrate(self, pfn: int, above: int) -> bool:
        """Move one allocation to free memory above; False if there is none for it."""
        order = self._buddy.movable_at[pfn]
        target = self._buddy.alloc_target(order, above)
        if target is None:
            return False
        self._pins[target] = self._pins.pop(pfn)
        self._buddy.movable_at[target] = self._buddy.movable_at.pop(pfn)
        self._buddy.free(pfn, order)
        self.migrations.append((pfn, target, order))
        self.counters["pgmigrate_success"] += 1 << order
        return True

    # What can be seen

    def cached_pfns(self) -> list[int]:
        """Return the pages in the PBA's cache, head first."""
        return list(self._cached)

    def free_lists(self) -> dict[tuple[int, int], list[int]]:
        """Return (order, migratetype) -> pfns head first, without empty lists."""
        return {key: list(pfns) for key, pfns in self._buddy.lists.items() if pfns}

    def pcp_counts(self) -> list[int]:
        """Return the number of pages on each CPU's lists."""
        return [pcp.count for pcp in self._zone.pcps]

    def pcp_lists(self, cpu: int = 0) -> dict[int, list[int]]:
        """Return index -> pfns head first of one CPU's lists, without empty lists."""
        pcp = self._zone.pcps[cpu % self._nr_cpus]
        return {index: list(pfns) for index, pfns in enumerate(pcp.lists) if pfns}

    @property
    def watermarks(self) -> tuple[int, int, int]:
        """WMARK_MIN, WMARK_LOW and WMARK_HIGH in pages."""
        return self._zone.wmark_min, self._zone.wmark_low, self._zone.wmark_high

    @property
    def pcp_batch_and_high(self) -> tuple[int, int]:
        """Batch and high of the per-CPU lists, which `hardened_init` changes."""
        return self._zone.batch, self._zone.high

    @property
    def managed_pages(self) -> int:
        """Pages which boot gave to the buddy allocator."""
        return self._zone.managed

    @property
    def nr_free_pages(self) -> int:
        """Pages on the free lists, those on the per-CPU lists not counted."""
        return self._buddy.nr_free

    @property
    def nr_shrinkable(self) -> int:
        """What the shrinker counts; 0 where there is none."""
        return self._nr_shrinkable() if self._has_shrinker() else 0

    @property
    def charged_pages(self) -> int:
        """Pages charged to the memory cgroup."""
        return len(self._charged)

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
        if not self._is_ram(pfn):
            end = self._first_pfn + self._nr_pages
            msg = f"pfn {pfn:#x} must be in RAM, {self._first_pfn:#x} to {end:#x} without holes"
            raise ValueError(msg)
        level, index = self._leaf_entry(pfn - self._first_pfn)
        return self._leaves[level][index]

    @property
    def unprotected_pages(self) -> int:
        """Static and linear map tables, cached, lost and used pages which lack pkey 1."""
        return len(self._unprotected())

    @property
    def lost_pages(self) -> int:
        """Pages which the page table allocator has and will never use again."""
        return len(self._lost)

    @property
    def free_pkey_pages(self) -> int:
        """Free pages, those on the per-CPU lists counted, which carry pkey 1."""
        strays = self._strays()
        if not strays:
            return 0
        return len(strays.intersection((*self._buddy.free_pfns(), *self._zone.pcp_pfns())))

    @property
    def stray_pkey_pages(self) -> int:
        """Pages which carry pkey 1 and are no page table: free, or somebody else's."""
        return len(self._strays())

    def keyed_pfns(self) -> set[int]:
        """Return every page which the linear map maps with pkey 1."""
        return set(self._keyed)

    def _page_tables(self) -> set[int]:
        """Every page which is a page table, or may become one without a refill."""
        return {
            *self._static_pgtables,
            *self._tables.values(),
            *self._cached,
            *self._in_use,
            *self._lost,
        }

    def _unprotected(self) -> set[int]:
        return self._page_tables() - self._keyed

    def _strays(self) -> set[int]:
        return self._keyed - self._page_tables()

    def blocks(self) -> dict[str, int]:
        """Return how many blocks are marked, and what they are.

        Returns
        -------
        dict of str to int
            "marked"; of those, "mapped" by one leaf or by a part of a larger one, and "idle":
            without a page in use.
        """
        order = self._geometry.pmd_order
        used = {pfn >> order for pfn in {*self._in_use, *self._tables.values()}}
        leaf_orders = [
            self._leaf_orders[self._leaf_entry(head - self._first_pfn)[0]] for head in self._blocks
        ]
        return {
            "marked": len(self._blocks),
            "mapped": sum(leaf_order >= order for leaf_order in leaf_orders),
            "idle": sum(head >> order not in used for head in self._blocks),
        }

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
        self._zone.check()
        self._check_conservation()
        self._check_cache()
        self._check_leaves()
        self._check_hints()
        self._check_pkeys()

    def _check_conservation(self) -> None:
        """Every page of RAM has exactly one owner."""
        owners: Counter[int] = Counter(self._buddy.free_pfns())
        owners.update(self._zone.pcp_pfns())
        for start, end in self._reserved:
            owners.update(range(start, end))
        owners.update(self._tables.values())
        owners.update(self._cached)
        owners.update(self._in_use)
        owners.update(self._lost)
        owners.update(self._ppa_unused)
        for pfn, order in self._pins.items():
            owners.update(range(pfn, pfn + (1 << order)))
        outside = [pfn for pfn in owners if not self._is_ram(pfn)]
        assert not outside, f"pages outside RAM: {outside[:8]}"
        twice = [pfn for pfn, nr_owners in owners.items() if nr_owners > 1]
        assert not twice, f"pages with two owners: {twice[:8]}"
        nr_pages = self._nr_ram_pages()
        assert len(owners) == nr_pages, (
            f"pages are not conserved: {len(owners)} of {nr_pages} have an owner"
        )
        movable = self._buddy.movable_at.items()
        assert movable <= self._pins.items(), "a movable page is in use that is not pinned"
        assert self._charged <= self._in_use, "a page is charged that is not in use"

    def _nr_ram_pages(self) -> int:
        return sum(end - start for start, end in self._ram)

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
        nr_pages = self._nr_ram_pages()
        assert mapped == nr_pages, f"leaves map {mapped} of {nr_pages} pages"
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
        """A hinted group is whole, and its entries are alike, except where a change was torn."""
        group_orders = {"pmd": self._geometry.contpmd_order, "pte": self._geometry.contpte_order}
        for level, hinted in self._hints.items():
            nr_entries = 1 << (group_orders[level] - self._leaf_orders[level])
            for first in {index - index % nr_entries for index in hinted}:
                group = range(first, first + nr_entries)
                assert hinted.issuperset(group), f"cont{level} group {first:#x} is not whole"
                pkeys = {self._leaves[level].get(index) for index in group}
                is_torn = any((level, index) in self._torn_hints for index in group)
                assert len(pkeys) == 1 or is_torn, f"cont{level} group {first:#x} has pkeys {pkeys}"
                assert None not in pkeys, f"cont{level} group {first:#x} has hints without leaves"

    def _check_pkeys(self) -> None:
        keyed = {
            self._first_pfn + (index << order) + offset
            for level, order in self._leaf_orders.items()
            for index, pkey in self._leaves[level].items()
            if pkey == PKEY_PGTABLES
            for offset in range(1 << order)
        }
        if self._init_late_done:
            surprising = self._page_tables() - keyed - self._lost - self._unprotected_for_good
            assert not surprising, f"held pages without the pkey: {sorted(surprising)[:8]}"
        free = {*self._buddy.free_pfns(), *self._zone.pcp_pfns()} - self._keyed_for_good
        surprising = free & keyed
        assert not surprising, f"free pages with pkey 1: {sorted(surprising)[:8]}"
        unknown = keyed ^ self._keyed
        assert not unknown, f"pages with pkey 1 are not those known: {sorted(unknown)[:8]}"


def _check_limits(**limits: tuple[int, int]) -> None:
    """Check that parameters, each given with its least value, are not below that."""
    for name, (value, least) in limits.items():
        if value < least:
            msg = f"{name} is {value}, it must be at least {least}"
            raise ValueError(msg)


def _check_gfp(gfp: str) -> None:
    if gfp not in _GFPS:
        msg = f"gfp is {gfp!r}, it must be one of {', '.join(_GFPS)}"
        raise ValueError(msg)


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
