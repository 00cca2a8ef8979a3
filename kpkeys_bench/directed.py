# SPDX-License-Identifier: GPL-2.0-only
"""Programs that go where random ones do not: an allocator's borders, errors and rare paths.

Each is a function that leads a pair of machines, one action at a time, and looks at the first of
them to decide what comes next. It runs for a number of rounds, each with machines of its own; what
it does follows from the seed alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from kpkeys_bench.geometry import Geometry
from kpkeys_bench.gfp import GFP_FLAGS
from kpkeys_bench.machine import Counts, Region, StepResult
from kpkeys_bench.workloads.ops import (
    ALLOC,
    COMPACT,
    DRAIN,
    FREE,
    OP_DTYPE,
    PIN,
    RECLAIM,
    SET_MEMORY,
    SHRINK,
    UNPIN,
    OpArray,
)

KB: Final = 1 << 10
MB: Final = 1 << 20
GB: Final = 1 << 30

NR_SLOTS: Final = 1 << 17
RESERVE: Final = 4
"""Pages that v6 keeps for splits of the linear map."""
UNSHRINKABLE: Final = 16
"""Pages that v6's shrinker leaves alone."""

GFP_KERNEL: Final = GFP_FLAGS["GFP_KERNEL"]
GFP_ZERO: Final = GFP_FLAGS["__GFP_ZERO"]
GFP_ACCOUNT: Final = GFP_FLAGS["__GFP_ACCOUNT"]
GFP_SPLIT: Final = GFP_FLAGS["__GFP_PGTABLE_SPLIT"]
_GFP_USER: Final = GFP_FLAGS["GFP_PGTABLE_USER"]
#: Known to the allocator or not, in every way that it looks at them.
_GFPS: Final = (
    GFP_KERNEL,
    GFP_KERNEL | GFP_ZERO,
    GFP_KERNEL | GFP_ACCOUNT,
    _GFP_USER,
    GFP_FLAGS["GFP_ATOMIC"],
    GFP_FLAGS["GFP_NOWAIT"],
    GFP_KERNEL & ~GFP_FLAGS["__GFP_FS"],
    GFP_KERNEL | GFP_FLAGS["__GFP_NOWARN"],
    GFP_KERNEL | GFP_FLAGS["__GFP_RETRY_MAYFAIL"],
    GFP_KERNEL | GFP_FLAGS["__GFP_NORETRY"],
    GFP_KERNEL | GFP_FLAGS["__GFP_RECLAIMABLE"],
    _GFP_USER | GFP_FLAGS["__GFP_COMP"],
)
_POINTS: Final = (
    "alloc_pages",
    "free_pages",
    "mutex_lock",
    "mutex_lock",
    "mutex_unlock",
    "set_pkey",
    "split",
    "charge",
)
_MOST_PAGES: Final = (1 << 16) - 1
"""Of one SET_MEMORY."""

Rng = np.random.Generator


class Pair(Protocol):
    """Two machines that do the same, as a program sees them.

    Each action raises an exception of the comparison's own where the two differ, or have stopped.
    """

    geometry: Geometry
    rng: Rng

    def machines(self, *, pte_map: bool = False, **options: Any) -> None:  # noqa: ANN401
        """Make both, with the options of `Machine`."""

    def hardened_init(self) -> None:
        """Begin the early window."""

    def init_late(self) -> None:
        """End it."""

    def replay(self, ops: OpArray) -> None:
        """Carry out operations."""

    def step(self, op: np.void, **options: Any) -> StepResult | None:  # noqa: ANN401
        """One operation of one task; None if it was refused."""

    def resume(self, task: int, **options: Any) -> StepResult | None:  # noqa: ANN401
        """Let a task go on; None if it was refused."""

    def set_fault(self, point: str, mode: str = "nth", n: int = 1, **options: int) -> None:
        """Make calls fail from now on."""

    def state(self) -> Counts:
        """Of the first."""

    def slot_pfns(self) -> npt.NDArray[np.uint64]:
        """Of the first."""


def operations(kind: int, slots: Sequence[int] | npt.NDArray[Any], **fields: int) -> OpArray:
    """One operation for each slot."""
    ops = np.zeros(len(slots), OP_DTYPE)
    ops["kind"], ops["slot"] = kind, slots
    for name, value in fields.items():
        ops[name] = value
    return ops


class Slots:
    """Which slots of a pair are in use: tables from the bottom, pins in the last eighth."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.tables: list[int] = []
        self.pins: list[int] = []
        self._empty: list[int] = []
        self._next = 0
        self._next_pin = NR_SLOTS * 7 // 8

    def alloc(self, nr: int, **fields: int) -> None:
        """So many tables."""
        if nr > 0:
            slots = self.new(nr)
            self.pair.replay(operations(ALLOC, slots, **fields))

    def new(self, nr: int = 1) -> list[int]:
        """Slots for tables that somebody else allocates."""
        again = self._empty[:nr]
        del self._empty[:nr]
        fresh = range(self._next, self._next + nr - len(again))
        self._next = fresh.stop
        slots = [*again, *fresh]
        self.tables += slots
        return slots

    def free(self, slots: Sequence[int], **fields: int) -> None:
        """These tables."""
        if len(slots):
            gone = set(slots)
            self.tables = [slot for slot in self.tables if slot not in gone]
            self.pair.replay(operations(FREE, slots, **fields))
            self._empty += slots

    def some(self, nr: int) -> list[int]:
        """Up to so many of the tables, at random."""
        rng = self.pair.rng
        return [int(i) for i in rng.permutation(np.array(self.tables, np.int64))[:nr]]

    def pin(self, order: int, nr: int, migratetype: int = 0) -> None:
        """So much of somebody else's memory."""
        if nr > 0:
            slots = list(range(self._next_pin, self._next_pin + nr))
            self._next_pin += nr
            self.pins += slots
            self.pair.replay(operations(PIN, slots, arg=order, level=migratetype))

    def unpin(self, nr: int) -> None:
        """Up to so many pins, at random."""
        gone = [int(i) for i in self.pair.rng.permutation(np.array(self.pins, np.int64))[:nr]]
        if gone:
            self.pins = [slot for slot in self.pins if slot not in set(gone)]
            self.pair.replay(operations(UNPIN, gone))

    def drain_to(self, nr: int) -> None:
        """Allocate until the cache holds so many pages."""
        self.alloc(self.pair.state()["cached_pages"] - nr, arg=1)


def _boot(pair: Pair, **options: Any) -> Slots:  # noqa: ANN401
    pair.machines(**options)
    pair.hardened_init()
    pair.init_late()
    return Slots(pair)


def _system(pair: Pair, kind: int, slot: int = 0, **fields: int) -> None:
    pair.replay(operations(kind, [slot], **fields))


def _set_memory(first: int, nr: int) -> OpArray:
    return operations(SET_MEMORY, [first], level=nr >> 8, arg=nr & 255)


def _pick(rng: Rng, values: Sequence[int]) -> int:
    return int(values[int(rng.integers(0, len(values)))])


# --- the programs ---------------------------------------------------------------------------------


def _two_ends(pair: Pair, ram: int) -> OpArray:
    """A range with both ends inside leaves, the ends far from each other if they can be."""
    rng, geo = pair.rng, pair.geometry
    nr_frames = ram >> geo.page_shift
    # where the largest leaves meet: PUDs with 4K pages
    leaf = max(GB >> geo.page_shift, 1 << geo.pmd_order)
    if rng.random() < 0.3:
        leaf = 1 << geo.pmd_order
    border = leaf * int(rng.integers(1, nr_frames // leaf))
    most = min(_MOST_PAGES // 2, leaf // 2)
    before, after = (1 + 2 * int(rng.integers(0, most // 2)) for _ in range(2))
    return _set_memory(border - before, before + after)


def reserve(pair: Pair) -> None:
    """Splits of leaves that nobody has split, with no more than the reserve in the cache."""
    rng, ram = pair.rng, 8 * GB
    slots = _boot(pair, ram=ram)
    largest = pair.geometry.max_page_order
    block = bool(rng.random() < 0.5)
    if rng.random() < 0.5:
        _refill_from_a_whole_leaf(pair, slots, ram)
    slots.drain_to(RESERVE)
    for _ in range(24):
        choice = rng.random()
        if choice < 0.45:
            if rng.random() < 0.2:
                pair.set_fault("alloc_pages", "every", 1)
            pair.replay(_two_ends(pair, ram))
            pair.set_fault("alloc_pages", "off")
        elif choice < 0.6:
            slots.drain_to(RESERVE)
        elif choice < 0.7:
            _split_requests(pair, slots, 1)
        elif choice < 0.8 and block:
            # the next refill comes from another leaf
            size = GB >> (pair.geometry.page_shift + largest)
            slots.pin(largest, max(1, size // 2))
        elif choice < 0.9:
            if not block:
                pair.set_fault("alloc_pages", "share", 500_000, seed=int(rng.integers(99)))
            slots.alloc(int(rng.integers(1, 20)))
            pair.set_fault("alloc_pages", "off")
        else:
            slots.free(slots.some(_pick(rng, (1, 3))))


def _refill_from_a_whole_leaf(pair: Pair, slots: Slots, ram: int) -> None:
    """See that the next refill is a block in a leaf that nobody has split."""
    largest = pair.geometry.max_page_order
    slots.pin(largest, GB >> (pair.geometry.page_shift + largest))
    slots.pin(min(pair.geometry.refill_orders[0], largest), 1)
    slots.drain_to(RESERVE)
    pair.replay(_two_ends(pair, ram))
    if pair.rng.random() < 0.5:
        _split_requests(pair, slots, pair.state()["cached_pages"])


def _split_requests(pair: Pair, slots: Slots, nr: int, task: int = 0) -> None:
    """Allocations as splits of the linear map do them, out of the reserve."""
    for _ in range(nr):
        op = operations(ALLOC, slots.new())[0]
        pair.step(op, task=task, gfp=GFP_KERNEL | GFP_ZERO | GFP_SPLIT)


def shrink(pair: Pair) -> None:
    """Scans with block, list and request just below, at and just above what decides."""
    rng = pair.rng
    slots = _boot(pair, ram=2 * GB)
    block = 1 << pair.geometry.pmd_order
    eighth = block // 8
    first = pair.geometry.refill_orders[0]
    _balance(pair, slots)
    slots.alloc(2 * min(block, 1 << first) + int(rng.integers(0, 40)))
    for _ in range(12):
        if rng.random() < 0.6:
            _set_up_block(pair, slots, _pick(rng, (eighth - 1, eighth, eighth + 1, block - 1)))
        elif rng.random() < 0.7:
            _set_up_block(pair, slots, block)
            # as many as leave one less than a block to be shrunk, or just one
            margin = block + UNSHRINKABLE + _pick(rng, (-1, 0, 0, 1))
            _set_cached(pair, slots, margin)
        pair.set_fault("set_pkey", "off")
        if rng.random() < 0.4:
            half = bool(rng.random() < 0.5)
            pair.set_fault("set_pkey", "every", _pick(rng, (1, 2, 5, 40)), half=half, pkey=0)
        near = pair.state()["cached_pages"]
        scans = (1, eighth - 1, eighth, eighth + 1, block - 1, block, block + 1, near, near - 16)
        nr = _pick(rng, (*scans, int(rng.integers(1, block))))
        if rng.random() < 0.9:
            _system(pair, SHRINK, max(nr, 1))
        else:
            _system(pair, SHRINK, 0, arg=int(rng.integers(0, 13)))
        if rng.random() < 0.3:
            slots.alloc(int(rng.integers(1, min(block, 1000))))
    pair.set_fault("set_pkey", "off")


def _balance(pair: Pair, slots: Slots) -> None:
    """A first scan of two blocks, or of a block and loose pages, that are nearly as many."""
    rng, geo = pair.rng, pair.geometry
    first = geo.refill_orders[0]
    block = 1 << geo.pmd_order
    slots.drain_to(RESERVE)
    one = list(slots.tables)
    pair.set_fault("alloc_pages", "every", 1, orders=1 << first)
    slots.alloc(block // 8 + 40)
    slots.drain_to(RESERVE)
    pair.set_fault("alloc_pages", "off")
    loose = slots.tables[len(one) :]
    # the reserve is what is left of the first block
    slots.alloc(1)
    slots.drain_to(RESERVE)
    two = slots.tables[len(one) + len(loose) :]
    nr = block // 8 + _pick(rng, (0, 0, 5, 20))
    other = max(nr + _pick(rng, (-1, 0, 0, 1)), 0)
    if rng.random() < 0.5:
        slots.free([*two[:nr], *loose[:other]])
    else:
        both = np.array([*two[:nr], *one[: max(other - RESERVE, 0)]], np.int64)
        slots.free([int(slot) for slot in rng.permutation(both)])
    _system(pair, SHRINK, nr + _pick(rng, (0, 1, 50)))


def _set_up_block(pair: Pair, slots: Slots, nr: int) -> None:
    """Have `nr` pages of one block in the cache, and few of the others, if that can be done."""
    slots.drain_to(RESERVE)
    tables = np.array(slots.tables, np.int64)
    pfns = pair.slot_pfns()[tables]
    blocks = pfns >> np.uint64(pair.geometry.pmd_order)
    names, sizes = np.unique(blocks[pfns > 0], return_counts=True)
    if not len(names):
        return
    wanted = names[np.argmax(sizes)]
    mine = np.flatnonzero(blocks == wanted)
    others = np.flatnonzero((blocks != wanted) & (pfns > 0))
    slots.free([int(i) for i in tables[pair.rng.permutation(mine)[:nr]]])
    loose = _pick(pair.rng, (0, 0, nr - 1, nr, nr + 1, 5))
    slots.free([int(i) for i in tables[pair.rng.permutation(others)[: max(loose, 0)]]])


def _set_cached(pair: Pair, slots: Slots, nr: int) -> None:
    """Have so many pages in the cache, and leave the fullest block alone if that can be done."""
    surplus = pair.state()["cached_pages"] - nr
    if surplus > 0:
        slots.alloc(surplus)
        return
    tables = np.array(slots.tables, np.int64)
    slots.free([int(i) for i in pair.rng.permutation(tables)[:-surplus]])


def errors(pair: Pair) -> None:
    """Calls that fail, at rates of which all may be seen: of the refills, a good share."""
    rng = pair.rng
    slots = _boot(pair, ram=512 * MB)
    block = 1 << pair.geometry.pmd_order
    chunk = min(1 << pair.geometry.refill_orders[0], 600)
    for _ in range(8):
        _some_fault(pair)
        for _ in range(6):
            choice = rng.random()
            if choice < 0.4:
                slots.alloc(int(rng.integers(1, chunk)), arg=int(rng.integers(0, 2)))
            elif choice < 0.7:
                slots.free(slots.some(int(rng.integers(1, 2 * chunk))))
            else:
                _system(pair, SHRINK, _pick(rng, (1, 64, block, 2 * block)))
        if rng.random() < 0.5:
            slots.free(list(slots.tables))
            _system(pair, SHRINK, block)
        for point in ("set_pkey", "alloc_pages", "charge"):
            pair.set_fault(point, "off")


def _some_fault(pair: Pair) -> None:
    """One kind of call that fails, at one of its rates."""
    rng = pair.rng
    first, second, *_ = pair.geometry.refill_orders
    seed = int(rng.integers(1 << 30))
    half = bool(rng.random() < 0.5)
    kind = _pick(rng, range(5))
    if kind == 0:
        # refills
        share = _pick(rng, (20_000, 100_000, 400_000))
        pair.set_fault("set_pkey", "share", share, seed=seed, half=half, pkey=1)
    elif kind == 1:
        # single pages
        share = _pick(rng, (2_000, 20_000))
        pair.set_fault("set_pkey", "share", share, seed=seed, half=half, pkey=0)
    elif kind == 2:
        # whole blocks, and whatever else goes back
        pair.set_fault("set_pkey", "every", _pick(rng, (1, 5)), half=half, pkey=0)
    elif kind == 3:
        orders = _pick(rng, (0, 1 << first, 1 << first | 1 << second))
        pair.set_fault("alloc_pages", "share", 600_000, seed=seed, orders=orders)
    else:
        pair.set_fault("charge", "share", 200_000, seed=seed)


def memory(pair: Pair) -> None:
    """Memory, or what the memory cgroup may have of it, runs out."""
    rng = pair.rng
    ram = 64 * MB
    nr_frames = ram >> pair.geometry.page_shift
    limit = _pick(rng, (0, 0, 50, 600))
    slots = _boot(pair, ram=ram, memcg_limit_pages=limit, nr_cpus=2)
    largest = pair.geometry.max_page_order
    for _ in range(4):
        for order in (largest, largest // 2, 1, 0):
            nr = min(nr_frames >> order, 400)
            slots.pin(order, int(rng.integers(0, nr + 1)), int(rng.integers(0, 3)))
        for _ in range(6):
            slots.alloc(int(rng.integers(1, 400)), arg=int(rng.integers(0, 2)))
            if rng.random() < 0.5:
                slots.free(slots.some(int(rng.integers(1, 300))))
            if rng.random() < 0.3:
                kind = _pick(rng, (SHRINK, RECLAIM, COMPACT, DRAIN))
                _system(pair, kind, arg=int(rng.integers(0, largest + 1)) if kind != DRAIN else 0)
        slots.unpin(int(rng.integers(0, 300)))
    slots.unpin(len(slots.pins))
    slots.free(list(slots.tables))
    _system(pair, SHRINK, 1 << pair.geometry.pmd_order)


def flags(pair: Pair) -> None:
    """Allocations with any flags, in any context, down to an empty cache."""
    rng = pair.rng
    slots = _boot(pair, ram=4 * GB, memcg_limit_pages=_pick(rng, (0, 530)))
    first = pair.geometry.refill_orders[0]
    split_share = float(rng.choice([0.05, 0.5]))
    for _ in range(60):
        if rng.random() < 0.1:
            slots.drain_to(_pick(rng, (RESERVE, RESERVE + 1, 2 * RESERVE)))
        elif rng.random() < 0.1:
            pair.set_fault("alloc_pages", "nth", 1, orders=_pick(rng, (0, 1 << first)))
        elif rng.random() < 0.2:
            slots.free(slots.some(int(rng.integers(1, 6))))
        gfp = _pick(rng, _GFPS)
        if rng.random() < split_share:
            gfp = gfp | GFP_SPLIT if rng.random() < 0.3 else GFP_KERNEL | GFP_SPLIT
        context = ("process", "process", "memalloc", "atomic")[int(rng.integers(0, 4))]
        pair.step(operations(ALLOC, slots.new(), cpu=1)[0], gfp=gfp, context=context)
    pair.set_fault("alloc_pages", "off")
    slots.drain_to(RESERVE)
    _split_requests(pair, slots, RESERVE + 2)


def tasks(pair: Pair) -> None:
    """Three tasks by turns, each of them stopped now and then on its way."""
    rng, ram = pair.rng, 4 * GB
    slots = _boot(pair, ram=ram, memcg_limit_pages=_pick(rng, (0, 0, 520)))
    slots.alloc(30)
    slots.drain_to(RESERVE + _pick(rng, (0, 0, 1, 3)))
    first = pair.geometry.refill_orders[0]
    if rng.random() < 0.5:
        # small refills: a cache that is never far from empty
        pair.set_fault("alloc_pages", "every", 1, orders=1 << first)
    elif rng.random() < 0.3:
        share = _pick(rng, (100_000, 300_000))
        pair.set_fault("set_pkey", "share", share, seed=int(rng.integers(99)))
    busy: set[int] = set()
    _behind_its_back(pair, slots, ram)
    for _ in range(90):
        task = int(rng.integers(1, 4))
        stop: dict[str, Any] = {}
        if rng.random() < 0.7:
            stop["stop_at"] = _POINTS[int(rng.integers(0, len(_POINTS)))]
            stop["stop_nth"] = _pick(rng, (1, 1, 1, 2, 3))
        if task in busy:
            found = pair.resume(task, **stop)
        else:
            op, gfp = _task_operation(pair, slots, ram)
            found = pair.step(op, task=task, gfp=gfp, **stop)
        if found is not None:
            busy.discard(task)
            if found.state != "idle":
                busy.add(task)
    _let_go_on(pair, busy)


def _let_go_on(pair: Pair, busy: set[int]) -> None:
    """Let tasks finish what they do, as far as they can."""
    for _ in range(8):
        for task in sorted(busy):
            found = pair.resume(task)
            if found is None or found.state == "idle":
                busy.discard(task)


def _behind_its_back(pair: Pair, slots: Slots, ram: int) -> None:
    """A task has seen that the reserve is full; when it goes on, it is not."""
    rng = pair.rng
    choice = rng.random()
    isolated = 0
    if choice < 0.3:
        pair.step(_two_ends(pair, ram)[0], task=4, stop_at="mutex_lock")
    elif choice < 0.5:
        slots.alloc(60)
        slots.drain_to((1 << pair.geometry.pmd_order) // 8 + 20)
        slots.free(slots.some(60))
        nr = _pick(rng, (10, 20))
        found = pair.step(operations(SHRINK, [nr])[0], task=4, stop_at="set_pkey", stop_nth=2)
        isolated = nr - 1 if found is not None and found.state == "stopped" else 0
    elif choice < 0.7:
        # a refill, with the mutex taken
        slots.drain_to(RESERVE)
        pair.step(operations(ALLOC, slots.new())[0], task=4, gfp=_GFP_USER, stop_at="set_pkey")
    else:
        return
    left = _pick(rng, (0, 2, 3))
    # what a stopped refill has fetched is not in the cache yet
    nr = RESERVE if choice >= 0.5 else pair.state()["cached_pages"] - isolated
    _split_requests(pair, slots, nr - left, task=5)
    waiting = {4}
    if choice >= 0.5:
        found = pair.step(_two_ends(pair, ram)[0], task=6)
        if found is not None and found.state != "idle":
            waiting.add(6)
    _let_go_on(pair, waiting)


def _task_operation(pair: Pair, slots: Slots, ram: int) -> tuple[np.void, int]:
    rng = pair.rng
    choice = rng.random()
    if choice < 0.45 or not slots.tables:
        gfp = GFP_KERNEL | GFP_SPLIT if rng.random() < 0.25 else _GFP_USER
        found: np.void = operations(ALLOC, slots.new())[0]
        return found, gfp
    if choice < 0.6:
        # one that no task is busy with: it would be refused on both sides
        (slot,) = slots.some(1)
        slots.tables.remove(slot)
        return operations(FREE, [slot])[0], 0
    if choice < 0.9:
        return _two_ends(pair, ram)[0], 0
    return operations(SHRINK, [_pick(rng, (1, 64, 1 << pair.geometry.pmd_order))])[0], 0


def early(pair: Pair) -> None:
    """Refills between the two boot steps: only the first of them is remembered."""
    rng = pair.rng
    first, second, *_ = pair.geometry.refill_orders
    pair.machines(ram=512 * MB, nr_static_pgtables=_pick(rng, (0, 0, 7, 64)))
    slots = Slots(pair)
    kind = _pick(rng, range(4))
    if kind:
        orders = (1 << first, 1 << first | 1 << second, 0)[kind - 1]
        if orders or rng.random() < 0.5:
            pair.set_fault("alloc_pages", "every", 1, orders=orders)
    pair.hardened_init()
    if rng.random() < 0.5:
        pair.set_fault("alloc_pages", "off")
    for _ in range(int(rng.integers(0, 5))):
        slots.alloc(int(rng.integers(1, (1 << min(first, 9)) + 40)))
        if rng.random() < 0.4:
            slots.free(slots.some(int(rng.integers(1, 30))))
        if rng.random() < 0.2:
            pair.replay(_set_memory(int(rng.integers(0, 1000)), int(rng.integers(1, 50))))
    pair.set_fault("alloc_pages", "off")
    if rng.random() < 0.3:
        pair.set_fault("set_pkey", "nth", _pick(rng, (1, 1, 2)), half=bool(rng.random() < 0.5))
    pair.init_late()
    pair.set_fault("set_pkey", "off")
    slots.alloc(int(rng.integers(1, 700)))
    slots.free(slots.some(700))
    _system(pair, SHRINK, 1 << pair.geometry.pmd_order)


def regions(pair: Pair) -> None:
    """The linear map's own tables, from a memory with holes, for blocks and for pages."""
    rng, shift = pair.rng, pair.geometry.page_shift
    pte_map = bool(rng.random() < 0.6)
    # a PTE map needs a table for each block: several chunks of them
    size = {12: 3 * GB, 14: 64 * MB, 16: 64 * MB}[shift] if pte_map else GB
    ram = size * int(rng.integers(1, 3))
    cuts = np.unique(rng.integers(1, (ram >> shift) - 1, 2 * int(rng.integers(0, 9))))
    borders = [
        (int(a) << shift, int(b) << shift) for a, b in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    kept = [bool(share < 0.6) for share in rng.random(len(borders))]
    most = 4 * MB if rng.random() < 0.5 else 64 * MB
    areas: list[Region] = [(low, min(high - low, most)) for low, high in borders]
    fault = None
    if rng.random() < 0.4:
        fault = ("nth", _pick(rng, (1, 2, 3, 4)), 0)
        if rng.random() < 0.3:
            fault = ("share", 300_000, int(rng.integers(99)))
    base = 1 << 30
    pair.machines(
        pte_map=pte_map,
        ram=ram,
        holes=[(base + at, size) for (at, size), hole in zip(areas, kept, strict=True) if hole],
        reserved=[
            (base + at, size) for (at, size), hole in zip(areas, kept, strict=True) if not hole
        ],
        memblock_fault=fault,
        nr_static_pgtables=_pick(rng, (0, 3)),
    )
    pair.hardened_init()
    if rng.random() < 0.2:
        pair.set_fault("set_pkey", "nth", _pick(rng, (1, 2)))
    pair.init_late()
    slots = Slots(pair)
    if rng.random() < 0.5:
        pair.set_fault("set_pkey", "every", 7)
        pair.set_fault("alloc_pages", "every", 11)
        pair.set_fault("charge", "every", 13)
    slots.alloc(int(rng.integers(1, 100)))
    slots.free(slots.some(50))


@dataclass(frozen=True)
class Directed:
    """One of the programs.

    Attributes
    ----------
    name : str
        As differences are reported.
    run : callable
        What it does with a pair.
    rounds : int
        How often, each time with other random numbers.
    """

    name: str
    run: Callable[[Pair], None]
    rounds: int


DIRECTED: Final = (
    Directed("reserve", reserve, 16),
    Directed("shrink", shrink, 16),
    Directed("errors", errors, 12),
    Directed("memory", memory, 6),
    Directed("flags", flags, 10),
    Directed("tasks", tasks, 30),
    Directed("early", early, 16),
    Directed("regions", regions, 16),
)
"""All of them, in the order in which they run."""


# --- what was reached -----------------------------------------------------------------------------

REACHED: Final = (
    "refills",
    "refills of a smaller order",
    "refills for a split",
    "refills inside a shrinker",
    "refills before late init",
    "refill errors",
    "half way errors",
    "failed refills",
    "failed allocations",
    "splits in a refill below the reserve",
    "split requests with nothing cached",
    "not ready under the lock",
    "whole blocks released",
    "whole-block errors",
    "single pages released",
    "single-page errors",
    "odd gfp flags",
    "memcg refusals",
    "waits for a mutex",
    "deadlocks",
    "out-of-memory kills",
    "tables from several chunks",
    "memblock errors",
)
"""What is counted of the first machine's run, so that it can be seen what a comparison covers."""


def merged(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The sum, with every name of `REACHED`."""
    return {name: sum(one.get(name, 0) for one in counts) for name in REACHED}
