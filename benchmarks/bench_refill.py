# SPDX-License-Identifier: GPL-2.0-only
"""The slow paths one by one: one operation on a machine that was brought to just before it.

A script leads up to the operation. How long the script has to be is found by bisection on scratch
machines before anything is measured; the counts of the one operation must be the same in all
rounds and are in ``extra_info``.

What is measured includes the call into the C core, which "alloc-fast" shows, and two clock reads;
``service_ns_*`` are what the core sees. The script uses and returns all pages that the operation is
about, so that the host's own page faults are not what is measured; ``host_page_faults`` says how
many are left.
"""

import resource
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from measuring import Benchmark, Facts, booted, difference, service_facts, snapshot

from kpkeys_bench.experiment import Setup
from kpkeys_bench.geometry import PAGE_SHIFTS, Geometry, geometry
from kpkeys_bench.machine import PATHS, Machine, PathTimes, new_times
from kpkeys_bench.strategy import State, Strategy
from kpkeys_bench.workloads.ops import (
    ALLOC,
    FREE,
    OP_DTYPE,
    PIN,
    SHRINK,
    SPLIT_OTHER,
    UNPIN,
    OpArray,
)

GIB = 1 << 30
RAM = 64 * GIB
# a search through all of memory, as a block of the largest order is nowhere
AGED_RAM = 2 * GIB
ROUNDS = 100

AGED = State(aged_share=1.0)

Counted = Callable[[Facts], int]
"""A count that grows along a script."""


def _ops(
    kind: int, slots: Sequence[int], *, level: int = 0, arg: int | Sequence[int] = 0
) -> OpArray:
    ops = np.zeros(len(slots), OP_DTYPE)
    ops["kind"] = kind
    ops["slot"] = slots
    ops["level"] = level
    ops["arg"] = arg
    return ops


def _path(name: str) -> Counted:
    return lambda counts: counts["path_ops"][PATHS.index(name)]


@dataclass(frozen=True)
class Slow:
    """One slow path on one machine.

    `script` ends with the operation that is measured, which must count `expected`.
    """

    setup: Setup
    strategy: Strategy
    script: OpArray
    expected: Facts


@dataclass
class Lab:
    """Writes scripts for machines of one kind."""

    page_size: str
    orders: tuple[int, ...]
    state: State = field(default_factory=State)

    @property
    def geometry(self) -> Geometry:
        return geometry(self.page_size)

    @property
    def setup(self) -> Setup:
        ram = AGED_RAM if self.state.aged_ppm else RAM
        return Setup(page_size=self.page_size, ram=ram, state=self.state)

    @property
    def strategy(self) -> Strategy:
        return Strategy("pba", self.orders)

    @property
    def block_pages(self) -> int:
        return 1 << self.geometry.pmd_order

    @property
    def refill_pages(self) -> int:
        return 1 << self.orders[0]

    def after(self, script: OpArray) -> Facts:
        """What a machine has counted at the end of a script."""
        with booted(self.setup, self.strategy) as machine:
            _set_slots(machine, script)
            machine.replay(script)
            return snapshot(machine)

    def until(self, counted: Counted, before: OpArray, script: OpArray) -> OpArray:
        """`before` and as much of `script` as it takes to count one more."""
        goal = counted(self.after(before)) + 1

        def count(nr_ops: int) -> int:
            return counted(self.after(np.concatenate([before, script[:nr_ops]])))

        nr_ops = bisect_left(range(len(script) + 1), goal, key=count)
        if nr_ops > len(script):
            pytest.fail(f"a script of {len(script)} operations never gets where it should")
        return np.concatenate([before, script[:nr_ops]])

    @property
    def nr_allocs(self) -> int:
        """Enough for two refills, whatever is cached."""
        return 3 << max(self.orders[0], self.geometry.cont_pte_order)

    def allocs(self) -> OpArray:
        return _ops(ALLOC, range(self.nr_allocs))

    def touch(self) -> OpArray:
        """Somebody uses and returns the pages that come next, one by one."""
        slots = range(self.nr_allocs, 2 * self.nr_allocs)
        return np.concatenate([_ops(PIN, slots), _ops(UNPIN, slots[::-1])])

    def leave(self) -> OpArray:
        """Somebody takes the rest of the largest leaf that has been split at boot."""
        geo = self.geometry
        largest = geo.pud_order or geo.cont_pmd_order
        orders = [geo.max_page_order] * (1 << (largest - geo.max_page_order))
        start = 2 * self.nr_allocs
        pins = _ops(PIN, range(start, start + len(orders)), arg=orders)
        free_pages = self.after(pins)["free_pages_order"]
        for order in range(geo.max_page_order - 1, self.orders[0] - 1, -1):
            orders += [order] * (free_pages[order] >> order)
        return _ops(PIN, range(start, start + len(orders)), arg=orders)


def _set_slots(machine: Machine, script: OpArray) -> None:
    slots = script["slot"][script["kind"] != SHRINK]
    machine.set_slots(int(slots.max(initial=0)) + 1)


NOTHING = _ops(ALLOC, [])


def alloc_fast(lab: Lab) -> Slow:
    script = lab.allocs()[:2]
    return Slow(lab.setup, lab.strategy, script, {"allocs": 1, "cached_pages": -1})


def refill_split(lab: Lab) -> Slow:
    """The largest leaf there is gets split for the first pages taken from it."""
    before = np.concatenate([lab.leave(), lab.touch()])
    script = lab.until(_path("alloc_refill_split"), before, lab.allocs())
    expected = {"refills": 1, "refilled_pages": lab.refill_pages, "refill_fallbacks": 0}
    return Slow(lab.setup, lab.strategy, script, expected)


def refill(lab: Lab) -> Slow:
    """Whatever had to be split is split already."""
    script = lab.until(_path("alloc_refill"), lab.touch(), lab.allocs())
    expected = {"refills": 1, "refilled_pages": lab.refill_pages, "split_ptps": 0}
    return Slow(lab.setup, lab.strategy, script, expected)


def refill_fallback(lab: Lab) -> Slow:
    """No block is whole, and the leaves are split already."""
    script = lab.until(_path("alloc_refill"), lab.touch(), lab.allocs())
    expected = {"refills": 1, "refill_fallbacks": 1, "split_ptps": 0}
    return Slow(lab.setup, lab.strategy, script, expected)


def refill_fallback_split(lab: Lab) -> Slow:
    """No block is whole, and the refill is the first in its leaf."""
    script = lab.until(_path("alloc_refill_split"), lab.touch(), lab.allocs())
    expected = {"refills": 1, "refill_fallbacks": 1}
    return Slow(lab.setup, lab.strategy, script, expected)


def shrink_block(lab: Lab) -> Slow:
    """A block of which no page is in use goes back as one leaf."""
    allocs = lab.until(lambda counts: counts["refills"], NOTHING, lab.allocs())
    frees = _ops(FREE, range(len(allocs)))
    shrink = _ops(SHRINK, [lab.block_pages])
    script = np.concatenate([allocs, frees, shrink])
    expected = {"shrinks": 1, "released_pages": lab.block_pages, "split_ptps": 0}
    return Slow(lab.setup, lab.strategy, script, expected)


def shrink_part(lab: Lab) -> Slow:
    """One page of a block is in use: an eighth of the block goes back page by page."""
    nr_pages = lab.block_pages // 8
    script = np.concatenate([_ops(ALLOC, [0]), _ops(SHRINK, [nr_pages])])
    return Slow(lab.setup, lab.strategy, script, {"shrinks": 1, "released_pages": nr_pages})


def _split_others(lab: Lab) -> tuple[OpArray, OpArray]:
    """Somebody's pages, and a permission change in the middle of each of their leaves."""
    slots = range(2 * lab.nr_allocs, 2 * lab.nr_allocs + 4)
    pins = _ops(PIN, slots, arg=lab.geometry.pmd_order)
    return pins, _ops(SPLIT_OTHER, slots, level=1, arg=1)


def split_other(lab: Lab) -> Slow:
    """The reserve is full: a split by somebody else takes what it needs."""
    pins, splits = _split_others(lab)
    script = np.concatenate([pins, splits[:1]])
    return Slow(lab.setup, lab.strategy, script, {"other_splits": 1, "split_pmd": 1, "refills": 0})


def split_other_prepare(lab: Lab) -> Slow:
    """The reserve is not full: a split by somebody else refills first."""
    pins, splits = _split_others(lab)
    before = np.concatenate([pins, lab.touch()])
    to_refill = lab.until(lambda counts: counts["refills"], before, lab.allocs())
    script = lab.until(lambda counts: counts["refills"], to_refill[:-1], splits)
    return Slow(lab.setup, lab.strategy, script, {"other_splits": 1, "split_pmd": 1, "refills": 1})


def _cases() -> list[Any]:
    params = []
    for page_size in PAGE_SHIFTS:
        geo = geometry(page_size)
        orders = geo.refill_orders
        block_orders = (geo.pmd_order, *orders[1:])
        cases: list[tuple[str, Callable[[Lab], Slow], tuple[int, ...], State]] = [
            ("alloc-fast", alloc_fast, orders, State()),
            ("refill-split", refill_split, orders, State()),
            *(
                (f"refill-order-{order}", refill, orders[i:], State())
                for i, order in enumerate(orders)
            ),
            ("refill-fallback", refill_fallback, block_orders, AGED),
            ("refill-fallback-split", refill_fallback_split, block_orders, AGED),
            ("shrink-block", shrink_block, block_orders, State()),
            ("shrink-part", shrink_part, block_orders, State()),
            ("split-other", split_other, orders, State()),
            ("split-other-prepare", split_other_prepare, orders, State()),
        ]
        for name, make, some_orders, state in cases:
            lab = Lab(page_size, some_orders, state)
            params.append(pytest.param(make, lab, id=f"{page_size}-{name}"))
    return params


@dataclass
class _Operation:
    """One operation again and again, each time on a fresh machine."""

    slow: Slow
    times: PathTimes = field(default_factory=new_times)
    counts: Facts = field(default_factory=dict)
    faults: list[int] = field(default_factory=list)
    _machine: Machine | None = None
    _before: Facts = field(default_factory=dict)

    def prepare(self) -> None:
        self.finish()
        self._machine = booted(self.slow.setup, self.slow.strategy)
        _set_slots(self._machine, self.slow.script)
        self._machine.replay(self.slow.script[:-1])
        self._before = snapshot(self._machine)
        self.faults.append(-_host_page_faults())

    def run(self) -> None:
        assert self._machine is not None
        self._machine.replay(self.slow.script[-1:], timing="bracket", times=self.times)

    def finish(self) -> None:
        if self._machine is None:
            return
        self.faults[-1] += _host_page_faults()
        with self._machine as machine:
            after = snapshot(machine)
        self._machine = None
        changed = difference(self._before, after)
        counts = {k: v - self._before[k] for k, v in changed.items() if isinstance(v, int)}
        counts |= {k: 1 for k, was, now in _by_path(self._before, after) if now != was}
        if self.counts and self.counts != counts:
            pytest.fail(f"counts differ between rounds: {self.counts} became {counts}")
        self.counts = counts


def _by_path(before: Facts, after: Facts) -> Iterator[tuple[str, int, int]]:
    names = (f"path_{path}" for path in PATHS)
    return zip(names, before["path_ops"], after["path_ops"], strict=True)


def _host_page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt


@pytest.mark.parametrize(("make", "lab"), _cases())
def bench_slow_path(
    benchmark: Benchmark, setup: Setup, make: Callable[[Lab], Slow], lab: Lab
) -> None:
    benchmark.group = f"slow paths {lab.page_size}"
    slow = make(lab)
    operation = _Operation(slow)
    rounds = max(5, min(ROUNDS, setup.ops // 1000))
    benchmark.pedantic(operation.run, setup=operation.prepare, rounds=rounds)
    operation.finish()
    counts = operation.counts
    assert {name: counts.get(name, 0) for name in slow.expected} == slow.expected
    benchmark.extra_info |= {
        **counts,
        **service_facts(operation.times),
        "host_page_faults": float(np.median(operation.faults)),
        "allocator": slow.strategy.allocator,
        "refill_orders": slow.strategy.orders_text,
        "page_size": lab.page_size,
        "ram_bytes": slow.setup.ram,
        "state": lab.state.name,
        "seed": slow.setup.seed,
        "script_ops": len(slow.script),
    }
