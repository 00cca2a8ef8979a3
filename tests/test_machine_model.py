# SPDX-License-Identifier: GPL-2.0-only
"""The C core against the reference model, after every operation of a random program.

Both were written from the same description by different hands. Frames, lists, counters, leaves and
pkeys must agree for ever, and both must stop at the same deadlock.
"""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from kpkeys_bench import Machine, MachineError, Strategy
from kpkeys_bench.model import Model, ModelDeadlock
from kpkeys_bench.workloads.ops import ALLOC, FREE, OP_DTYPE, PIN, SHRINK, SPLIT_OTHER, UNPIN

MB = 1 << 20
SLOTS = 4096

BOXES = [
    ("4K", 64 * MB, (9, 4, 2), "block"),
    ("4K", 64 * MB, (4, 2), "block"),
    ("4K", 128 * MB, (2,), "block"),
    ("4K", 3072 * MB, (9, 2), "block"),
    # the first chunk of the PPA ends 2 MB below the end of RAM
    ("4K", 66 * MB, (10, 2), "block"),
    ("4K", 64 * MB, (9, 4, 2), "pte"),
    ("16K", 256 * MB, (11, 7, 2), "block"),
    ("16K", 128 * MB, (7, 2), "block"),
    ("16K", 128 * MB, (11, 7, 2), "pte"),
    ("64K", 1024 * MB, (9, 5, 2), "block"),
    ("64K", 1024 * MB, (2,), "block"),
    ("64K", 1024 * MB, (9, 5, 2), "pte"),
]
MODEL_COUNTERS = (
    "allocs",
    "frees",
    "failed_allocs",
    "refills",
    "refill_fallbacks",
    "released_pages",
    "warnings",
    "zeroed_pages",
    "pkey_reg_writes",
    "memcg_charges",
    "memcg_uncharges",
)


def operation(kind, slot, level=0, arg=0):
    ops = np.zeros(1, dtype=OP_DTYPE)
    ops[0] = (slot, kind, 0, level, arg)
    return ops


def expect_same(model, machine, *, lists=True):
    """Everything that can be seen of both is equal."""
    counters = machine.counters()
    by_cause = machine.map_counters()
    state = machine.state()
    assert {n: counters[n] for n in MODEL_COUNTERS} == {
        n: model.counters[n] for n in MODEL_COUNTERS
    }
    totals = {name: sum(c[name] for c in by_cause.values()) for name in by_cause["boot"]}
    assert totals == {name: model.counters[name] for name in totals}
    assert state["ptps_for_linear_map"] == model.counters["ptps_for_linear_map"]
    assert state["unprotected_pages"] == model.unprotected_pages
    geometry = machine.geometry
    kb = 1 << geometry.page_shift >> 10
    leaves = model.leaf_counts()
    assert state["map_pud_kb"] == leaves["pud"] * kb << geometry.pud_order
    assert state["map_contpmd_kb"] == leaves["contpmd"] * kb << geometry.pmd_order
    assert state["map_pmd_kb"] == leaves["pmd"] * kb << geometry.pmd_order
    assert state["map_contpte_kb"] == leaves["contpte"] * kb
    assert state["map_pte_kb"] == leaves["pte"] * kb
    if not lists:
        return
    assert machine.cached_pfns().tolist() == model.cached_pfns()
    free = model.free_lists()
    largest = geometry.max_page_order
    for order in range(largest + 1):
        for migratetype in range(3):
            found = machine.free_pfns(order, migratetype).tolist()
            wanted = free.get((order, migratetype), [])
            if order == largest and migratetype == 1:
                # what was never touched is not on the list yet
                deferred = state["deferred_pages"] >> largest
                assert len(found) + deferred == len(wanted)
                wanted = wanted[: len(found)]
            assert found == wanted, (order, migratetype)
    assert machine.pageblock_types().tolist() == model.pageblock_types()


class SamePrograms(RuleBasedStateMachine):
    """Random programs over everything a replay can do, before and after late initialisation."""

    tables = Bundle("tables")
    pins = Bundle("pins")

    def __init__(self):
        super().__init__()
        self.machine = None
        self.late = False
        self.dead = False
        self.steps = 0

    @initialize(box=st.sampled_from(BOXES))
    def create(self, box):
        page_size, ram, orders, linear_map = box
        self.model = Model(
            page_size=page_size, ram=ram, refill_orders=orders, linear_map=linear_map
        )
        strategy = Strategy("pba", orders) if linear_map == "block" else Strategy("noblock")
        self.machine = Machine(strategy, page_size=page_size, ram=ram)
        self.machine.set_slots(SLOTS)
        self.free_slots = list(range(SLOTS))
        expect_same(self.model, self.machine)
        self.model.hardened_init()
        self.machine.hardened_init()

    @rule()
    @precondition(lambda self: not self.late and self.steps > 3)
    def init_late(self):
        self.model.init_late()
        self.machine.init_late()
        self.late = True

    def both(self, in_model, ops):
        """Do the same to both; a deadlock in one must be one in the other."""
        self.steps += 1
        try:
            result = in_model()
        except ModelDeadlock:
            with pytest.raises(MachineError, match="deadlock"):
                self.machine.replay(ops)
            self.dead = True
            return None
        self.machine.replay(ops)
        return result

    @rule(target=tables, kernel=st.booleans(), how_many=st.sampled_from([1, 1, 1, 5, 20, 120]))
    @precondition(lambda self: not self.dead)
    def alloc(self, kernel, how_many):
        made = []
        for _ in range(how_many):
            slot = self.free_slots.pop()
            pfn = self.both(
                lambda: self.model.alloc(kernel=kernel), operation(ALLOC, slot, arg=int(kernel))
            )
            if self.dead:
                break
            assert int(self.machine.slot_pfns()[slot]) == (pfn or 0)
            if pfn is None:
                self.machine.replay(operation(FREE, slot))
                self.free_slots.append(slot)
            else:
                made.append((slot, pfn))
        return multiple(*made)

    @rule(table=consumes(tables))
    @precondition(lambda self: not self.dead)
    def free(self, table):
        slot, pfn = table
        self.both(lambda: self.model.free(pfn), operation(FREE, slot))
        self.free_slots.append(slot)

    @rule(
        target=pins,
        order=st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 99]),
        migratetype=st.integers(0, 2),
    )
    @precondition(lambda self: not self.dead)
    def pin(self, order, migratetype):
        order = min(order, self.machine.geometry.max_page_order)
        slot = self.free_slots.pop()
        pfn = self.both(
            lambda: self.model.pin(order, migratetype), operation(PIN, slot, migratetype, order)
        )
        assert int(self.machine.slot_pfns()[slot]) == (pfn or 0)
        if pfn is None:
            self.machine.replay(operation(UNPIN, slot))
            self.free_slots.append(slot)
            return multiple()
        return (slot, pfn, order)

    @rule(pin=consumes(pins))
    @precondition(lambda self: not self.dead)
    def unpin(self, pin):
        slot, pfn, order = pin
        self.both(lambda: self.model.unpin(pfn, order), operation(UNPIN, slot))
        self.free_slots.append(slot)

    @rule(nr_to_scan=st.sampled_from([0, 1, 5, 64, 512, 2048]))
    @precondition(lambda self: self.late and not self.dead)
    def shrink(self, nr_to_scan):
        def in_model():
            return self.model.shrink(nr_to_scan) if nr_to_scan else self.model.shrink_slab(12)

        self.both(in_model, operation(SHRINK, nr_to_scan, arg=12))

    @rule(pin=pins, first=st.integers(0, 255), nr_pages=st.integers(1, 255))
    @precondition(lambda self: self.late and not self.dead)
    def split_other(self, pin, first, nr_pages):
        slot, pfn, order = pin
        first = min(first, (1 << order) - 1)
        nr_pages = min(nr_pages, (1 << order) - first)
        self.both(
            lambda: self.model.split_other(pfn + first, nr_pages),
            operation(SPLIT_OTHER, slot, first, nr_pages),
        )

    @invariant()
    def same(self):
        if self.machine is not None and not self.dead:
            expect_same(self.model, self.machine)
            self.machine.check()

    def teardown(self):
        if self.machine is not None:
            if not self.dead:
                held = [pfn for pfn in self.machine.slot_pfns().tolist() if pfn]
                wanted = [self.model.pkey(pfn) for pfn in held]
                assert self.machine.pkeys(held).tolist() == wanted
            self.machine.close()


SamePrograms.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestSamePrograms = SamePrograms.TestCase


@pytest.mark.parametrize("box", BOXES, ids=lambda box: f"{box[0]}-{box[1] // MB}M-{box[3]}")
def test_boot_and_drain_of_all_memory_agree_with_the_model(box):
    page_size, ram, orders, linear_map = box
    ram = min(ram, 256 * MB) if page_size != "64K" else ram
    model = Model(page_size=page_size, ram=ram, refill_orders=orders, linear_map=linear_map)
    strategy = Strategy("pba", orders) if linear_map == "block" else Strategy("noblock")
    with Machine(strategy, page_size=page_size, ram=ram) as machine:
        for step in ("hardened_init", "init_late"):
            getattr(model, step)()
            getattr(machine, step)()
            expect_same(model, machine)
        # half of memory as tables, then more than the rest as movable pages, in both
        nr_tables = min(3000, (ram >> machine.geometry.page_shift) // 2)
        machine.set_slots(nr_tables + 100)
        ops = np.zeros(nr_tables, dtype=OP_DTYPE)
        ops["slot"] = np.arange(nr_tables)
        machine.replay(ops)
        assert machine.slot_pfns()[:nr_tables].tolist() == [
            model.alloc() or 0 for _ in range(nr_tables)
        ]
        expect_same(model, machine)
        for i in range(40):
            slot = nr_tables + i
            machine.replay(operation(PIN, slot, 1, machine.geometry.max_page_order))
            pfn = model.pin(machine.geometry.max_page_order, 1)
            assert int(machine.slot_pfns()[slot]) == (pfn or 0)
        expect_same(model, machine)
        machine.check()
        model.check()
