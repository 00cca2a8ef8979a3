# SPDX-License-Identifier: GPL-2.0-only
"""The machine as Python sees it; all numbers are worked out by hand from the kernel's geometry."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from kpkeys_bench import ConfigError, Machine, MachineBusyError, MachineError, State, Strategy, _ffi
from kpkeys_bench.machine import new_times
from kpkeys_bench.workloads.ops import ALLOC, FREE, OP_DTYPE, PIN, SHRINK, SPLIT_OTHER, UNPIN

GB = 1 << 30
MB = 1 << 20


def operations(*rows):
    """Rows of (kind, slot[, level[, arg]])."""
    ops = np.zeros(len(rows), dtype=OP_DTYPE)
    for op, (kind, slot, *rest) in zip(ops, rows, strict=True):
        op["kind"], op["slot"] = kind, slot
        op["level"], op["arg"] = [*rest, 0, 0][:2]
    return ops


def booted(**kwargs):
    machine = Machine(**kwargs)
    machine.boot()
    machine.set_slots(4096)
    return machine


def total(machine, name):
    return sum(cause[name] for cause in machine.map_counters().values())


def test_fresh_4k_machine_after_late_init_has_split_what_the_first_refill_and_the_ppa_need():
    # 4 GB at 1 GB: the refill's block is the first 2 MB (frames 0x40000 to 0x401ff). Its pkey
    # splits the PUD leaf (1 table) and the contPMD group; it is then one PMD leaf. The one PUD
    # table of the map is the last frame of RAM (0x13ffff): PUD, contPMD, PMD, contPTE (2 tables).
    with booted(ram=4 * GB) as machine:
        late = machine.map_counters()["late_init"]
        assert (late["split_pud"], late["split_contpmd"]) == (2, 2)
        assert (late["split_pmd"], late["split_contpte"]) == (1, 1)
        assert late["split_ptps"] == 3
        # 512 pages are a full flush, one page is a single invalidation
        assert (late["tlbi_full"], late["tlbi_single"]) == (1, 1)
        # tables: 512 + 1 per PUD split, 16 per hint group, 512 + 1 per PMD split, then the pkey
        # itself in one PMD and in one PTE
        assert late["descriptor_writes"] == 2 * 513 + 2 * 16 + 513 + 16 + 1 + 1
        assert machine.state()["cached_pages"] == 512 - 3
        assert machine.state()["unprotected_pages"] == 0


def test_hand_out_order_is_highest_frame_first_and_last_freed_first():
    with booted(ram=4 * GB) as machine:
        # the three highest frames of the block went to the splits of late initialisation
        machine.replay(operations((ALLOC, 0), (ALLOC, 1), (ALLOC, 2)))
        assert machine.slot_pfns()[:3].tolist() == [0x401FC, 0x401FB, 0x401FA]
        machine.replay(operations((FREE, 0), (FREE, 2), (ALLOC, 3), (ALLOC, 4)))
        assert machine.slot_pfns()[3:5].tolist() == [0x401FA, 0x401FC]


def test_reserve_of_four_is_kept_and_the_refill_serves_its_first_page():
    with booted(ram=4 * GB) as machine:
        ops = np.zeros(512 - 3 - 4, dtype=OP_DTYPE)
        ops["slot"] = np.arange(len(ops))
        machine.replay(ops)
        assert machine.state()["cached_pages"] == 4
        assert machine.counters()["refills"] == 1
        machine.replay(operations((ALLOC, 600)))
        assert machine.counters()["refills"] == 2
        # the buddy split 4 MB for the first refill: the second gets the other half
        assert machine.slot_pfns()[600] == 0x40200
        assert machine.state()["cached_pages"] == 4 + 511
        assert machine.cached_pfns()[0] == 0x403FF


def test_refill_without_order_9_falls_back_and_counts_it():
    aged = State(aged_share=1.0, pins=1)
    with booted(ram=256 * MB, state=aged, seed=7) as machine:
        assert machine.free_pfns(9, 0).size == machine.free_pfns(9, 1).size == 0
        counters = machine.counters()
        # the first refill, in pba_init(), found no order 9
        assert counters["refills"] == counters["refill_fallbacks"] == 1
        assert counters["refills_order"][4] == 1


@pytest.mark.parametrize(("order", "capacity"), [(9, 508), (4, 12), (2, 0)])
def test_second_refill_in_the_early_window_warns_and_stays_unprotected(order, capacity):
    orders = (order, 2) if order != 2 else (2,)
    with Machine(Strategy("pba", orders), ram=4 * GB) as machine:
        machine.hardened_init()
        machine.set_slots(1024)
        ops = np.zeros(capacity, dtype=OP_DTYPE)
        ops["slot"] = np.arange(capacity)
        machine.replay(ops)
        assert machine.counters()["warnings"] == 0
        machine.replay(operations((ALLOC, capacity)))
        assert machine.counters()["warnings"] == 1
        assert "early" in machine.warnings()[0]["what"]
        machine.init_late()
        # the second region, whole, for good
        assert machine.state()["unprotected_pages"] == 1 << order
        assert machine.pkeys([machine.slot_pfns()[capacity]]).tolist() == [0]
        with pytest.raises(MachineError, match=f"{1 << order} PTPs do not carry"):
            machine.check()


def test_splitting_before_late_init_is_refused_with_a_warning():
    with Machine(ram=4 * GB) as machine:
        machine.hardened_init()
        machine.set_slots(1)
        machine.replay(operations((PIN, 0, 0, 0), (SPLIT_OTHER, 0, 0, 1)))
        assert machine.counters()["failed_other_splits"] == 1
        assert machine.counters()["warnings"] >= 1
        assert total(machine, "split_pud") == 0


# tables spent and leaves split when somebody else changes a range in an untouched 1 GB (4K) or
# contPMD (16K, 64K) leaf; the range starts one page into a pin of the largest order
@pytest.mark.parametrize(
    ("page_size", "nr_pages", "tables", "splits"),
    [
        # start and end in one contPTE group: PUD, contPMD, PMD, contPTE at the start
        ("4K", 1, 2, (1, 1, 1, 1)),
        ("4K", 2, 2, (1, 1, 1, 1)),
        # both ends in one PMD but in two contPTE groups
        ("4K", 32, 2, (1, 1, 1, 2)),
        ("16K", 1, 1, (0, 1, 1, 1)),
        ("16K", 200, 1, (0, 1, 1, 2)),
        # 64K: with RAM at 1 GB no 16 GB group is aligned before 16 GB, so there is no contPMD
        ("64K", 1, 1, (0, 0, 1, 1)),
        ("64K", 100, 1, (0, 0, 1, 2)),
    ],
)
def test_other_split_costs_what_the_geometry_says(page_size, nr_pages, tables, splits):
    with booted(page_size=page_size, ram=16 * GB) as machine:
        order = machine.geometry.max_page_order
        # leave the leaf in which the first refill lies
        geometry = machine.geometry
        leaf_order = geometry.pud_order or geometry.cont_pmd_order
        if page_size == "64K":
            leaf_order = geometry.pmd_order
        first = machine.slot_pfns().size
        machine.set_slots(first + 2048)
        nr_pins = min(2048, (1 << max(leaf_order - order, 0)) + 2)
        ops = np.zeros(nr_pins, dtype=OP_DTYPE)
        ops["kind"], ops["slot"], ops["arg"] = PIN, first + np.arange(nr_pins), order
        machine.replay(ops)
        before = machine.map_counters()["other"]
        machine.replay(operations((SPLIT_OTHER, first + nr_pins - 1, 1, nr_pages)))
        after = machine.map_counters()["other"]
        names = ("split_pud", "split_contpmd", "split_pmd", "split_contpte")
        assert tuple(after[n] - before[n] for n in names) == splits
        assert after["split_ptps"] - before["split_ptps"] == tables
        machine.check()


def test_shrink_of_a_whole_free_block_splits_nothing_and_keeps_the_block_size():
    with booted(ram=4 * GB) as machine:
        # a second block, all of it free again
        ops = np.zeros(600, dtype=OP_DTYPE)
        ops["slot"] = np.arange(600)
        machine.replay(ops)
        ops["kind"] = FREE
        machine.replay(ops)
        before = machine.map_counters()["release"]
        machine.replay(operations((SHRINK, 512)))
        after = machine.map_counters()["release"]
        assert machine.counters()["released_pages"] == 512
        assert after["set_pkey_calls"] - before["set_pkey_calls"] == 1
        assert after["split_pmd"] == before["split_pmd"]
        machine.check()


def test_noblock_on_a_pte_map_never_splits_and_protects_each_page():
    with booted(strategy=Strategy("noblock"), ram=4 * GB) as machine:
        machine.replay(operations((ALLOC, 0), (ALLOC, 1), (FREE, 0)))
        assert machine.pkeys([machine.slot_pfns()[1]]).tolist() == [1]
        assert total(machine, "split_ptps") == 0
        assert machine.map_counters()["refill"]["set_pkey_pages"] == 2
        assert machine.map_counters()["release"]["set_pkey_pages"] == 1
        state = machine.state()
        assert state["map_pte_kb"] == 4 * MB
        # one PUD table, one PMD table per GB, one PTE table per 2 MB
        assert state["ptps_for_linear_map"] == 1 + 4 + 2048
        machine.check()


def test_deadlock_of_a_drained_reserve_stops_the_machine_and_keeps_the_counts():
    # a list that ends in 0 never fills the reserve by more than it takes
    strategy = Strategy("pba", (0,), allow_any_orders=True)
    with Machine(strategy, ram=4 * GB) as machine:
        machine.hardened_init()
        with pytest.raises(
            MachineError, match=r"deadlock: task 0 wants pba\.alloc_mutex, which it holds"
        ):
            machine.init_late()
        assert "deadlock" in machine.stopped()
        assert machine.counters()["warnings"] > 0
        with pytest.raises(MachineError, match="deadlock"):
            machine.set_slots(16)


@pytest.mark.parametrize(
    ("ops", "why"),
    [
        ([(ALLOC, 0), (ALLOC, 0)], "operation 1"),
        ([(FREE, 0)], "operation 0"),
        ([(ALLOC, 4096)], "operation 0"),
        ([(ALLOC, 0), (UNPIN, 0)], "operation 1"),
        ([(PIN, 0, 3, 0)], "operation 0"),
        ([(PIN, 0, 0, 11)], "operation 0"),
        ([(PIN, 0, 0, 0), (FREE, 0)], "operation 1"),
        ([(PIN, 0, 0, 2), (SPLIT_OTHER, 0, 3, 2)], "operation 1"),
        ([(SHRINK, 1, 0, 13)], "operation 0"),
        ([(99, 0)], "operation 0"),
    ],
)
def test_operation_without_sense_is_refused_by_its_number(ops, why):
    with booted(ram=64 * MB) as machine, pytest.raises(MachineError, match=why):
        machine.replay(operations(*ops))


@pytest.mark.parametrize(
    ("kwargs", "why"),
    [
        ({"ram": 63 * MB}, "64M to 1T"),
        ({"ram": 2 << 40}, "64M to 1T"),
        ({"ram": 64 * MB + 1}, "multiple of the page size"),
        ({"phys_base": 4096}, "multiple of 1 GB"),
        ({"page_size": "8K"}, "4K, 16K, 64K"),
        ({"strategy": Strategy("pba", (9, 4))}, "must be 2"),
        ({"strategy": Strategy("pba", (9, 9, 2))}, "strictly decreasing"),
        ({"strategy": Strategy("pba", (11, 2))}, "largest order is 10"),
        ({"strategy": Strategy("pba", (12, 2)), "page_size": "16K"}, "largest order is 11"),
    ],
)
def test_machine_that_cannot_be_is_refused_with_the_reason(kwargs, why):
    with pytest.raises(ConfigError, match=why):
        Machine(**kwargs)


def test_list_that_v6_could_not_work_with_is_taken_when_asked_for():
    strategy = Strategy("pba", (2, 9, 4), allow_any_orders=True)
    with booted(strategy=strategy, ram=4 * GB) as machine:
        assert machine.counters()["refills_order"][2] >= 1


def test_closed_machine_says_so():
    machine = Machine(ram=64 * MB)
    machine.close()
    machine.close()
    with pytest.raises(MachineError, match="closed"):
        machine.state()


def test_boot_step_out_of_order_is_refused():
    with Machine(ram=64 * MB) as machine:
        with pytest.raises(MachineError, match="out of order"):
            machine.init_late()
        machine.boot()
        with pytest.raises(MachineError, match="out of order"):
            machine.hardened_init()


@pytest.mark.parametrize(
    "ops",
    [
        [1, 2],
        np.zeros(2, dtype=np.uint64),
        np.zeros((2, 2), dtype=OP_DTYPE),
        np.zeros(4, dtype=OP_DTYPE)[::2],
    ],
    ids=["list", "dtype", "shape", "stride"],
)
def test_array_that_is_no_operation_array_is_refused(ops):
    with Machine(ram=64 * MB) as machine, pytest.raises(ConfigError, match=r"oper"):
        machine.replay(ops)


def test_second_thread_is_refused_while_the_first_is_inside():
    ops = np.zeros(2, dtype=OP_DTYPE)
    ops["kind"] = (ALLOC, FREE)
    with booted(ram=64 * MB) as machine:
        inside = threading.Thread(target=machine.replay, args=(ops, 20_000_000))
        inside.start()
        refused = False
        while inside.is_alive() and not refused:
            try:
                machine.state()
                time.sleep(0)
            except MachineBusyError:
                refused = True
        inside.join()
        assert refused
        # and afterwards it is free again
        assert machine.state()["ops"] == 40_000_000


def test_machine_is_not_closed_while_a_thread_is_inside():
    ops = np.zeros(2, dtype=OP_DTYPE)
    ops["kind"] = (ALLOC, FREE)
    machine = booted(ram=64 * MB)
    inside = threading.Thread(target=machine.replay, args=(ops, 20_000_000))
    inside.start()
    refused = False
    while inside.is_alive() and not refused:
        try:
            machine.state()
        except MachineBusyError:
            with pytest.raises(MachineBusyError):
                machine.close()
            refused = True
    inside.join()
    assert refused
    assert machine.state()["ops"] == 40_000_000
    machine.close()


def test_empty_array_is_replayed_at_once_however_often():
    with booted(ram=64 * MB) as machine:
        machine.replay(np.zeros(0, dtype=OP_DTYPE), 2**63)
        assert machine.state()["ops"] == 0


@pytest.mark.parametrize("every", [2, 3, 1000])
def test_every_nth_operation_is_timed_whatever_the_arrays(every):
    ops = operations((ALLOC, 0), (FREE, 0))
    with booted(ram=64 * MB) as machine:
        times = new_times()
        for _ in range(10):
            machine.replay(ops, 300, timing="sample", every=every, times=times)
        assert times["count"].sum() == 6000 // every
        if every == 3:
            assert abs(int(times["count"][0]) - int(times["count"][3])) <= 1


def test_aged_pages_of_neighbouring_blocks_are_independent():
    # 2048 blocks with one page each: two neighbours share an offset by chance in 4 of them
    for seed in (0, 1, 2, 12345):
        aged = State(aged_share=1.0, pins=1)
        with Machine(ram=4 * GB, state=aged, seed=seed) as machine:
            free = np.zeros(1 << 20, dtype=bool)
            for order in range(10):
                for pfn in machine.free_pfns(order, 1).astype(int) - 0x40000:
                    free[pfn : pfn + (1 << order)] = True
            pins = np.flatnonzero(~free[: 2000 * 512])
            assert len(pins) == 2000
            offsets = pins % 512
            for lag in (1, 2, 4):
                assert np.count_nonzero(offsets[lag:] == offsets[:-lag]) < 20
            assert 230 < offsets.mean() < 282


def test_refill_of_a_single_page_by_pba_is_a_refill_that_fell_back():
    aged = State(aged_share=1.0, pins=1)
    strategy = Strategy("pba", (9, 4, 0), allow_any_orders=True)
    with booted(strategy=strategy, ram=64 * MB, state=aged) as machine:
        machine.set_slots(20_000)
        ops = np.zeros(20_000, dtype=OP_DTYPE)
        ops["slot"] = np.arange(len(ops))
        machine.replay(ops)
        counters = machine.counters()
        assert counters["refills_order"][0] > 0
        assert counters["refills"] == sum(counters["refills_order"])
        assert counters["refill_fallbacks"] == counters["refills"]
        assert counters["failed_refills"] == counters["failed_allocs"] > 0
        # a failed allocation is no path's time
        assert sum(counters["path_ops"]) == counters["allocs"] - counters["failed_allocs"]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"ram": -1},
        {"ram": 1.5},
        {"ram": 1 << 70},
        {"seed": -1},
        {"phys_base": -5},
        {"state": State(1.0, 1 << 40)},
        {"strategy": Strategy("pba", (9.5, 2))},
    ],
    ids=str,
)
def test_number_out_of_range_is_a_configuration_error(kwargs):
    with pytest.raises(ConfigError, match="give"):
        Machine(**kwargs)


@pytest.mark.parametrize("kwargs", [{"repeat": -1}, {"timing": "sample", "every": 0}])
def test_replay_parameter_out_of_range_is_a_configuration_error(kwargs):
    with booted(ram=64 * MB) as machine, pytest.raises(ConfigError, match="give"):
        machine.replay(operations((ALLOC, 0)), times=new_times(), **kwargs)


def test_generator_does_not_write_into_what_is_read_only():
    generator = _ffi.GeneratorHandle("lifo", [], 1)
    with pytest.raises(ConfigError, match="writable"):
        generator.fill(np.frombuffer(bytes(80), dtype=OP_DTYPE))


@pytest.mark.parametrize("timing", ["none", "chained", "bracket", "sample", "model"])
def test_counts_do_not_depend_on_how_time_is_taken(timing):
    rng = np.random.default_rng(5)
    ops = np.zeros(20_000, dtype=OP_DTYPE)
    live = []
    free = list(range(4096))
    for op in ops:
        if free and (not live or rng.random() < 0.55):
            op["kind"], op["slot"] = ALLOC, free.pop()
            live.append(op["slot"])
        else:
            op["kind"], op["slot"] = FREE, live.pop(rng.integers(len(live)))
            free.append(op["slot"])

    def counts(mode):
        with booted(ram=1 * GB) as machine:
            times = new_times()
            costs = {"tlbi_single": 1000}
            machine.replay(ops, timing=mode, every=7, costs_ps=costs, times=times)
            return machine.counters(), machine.map_counters(), machine.state(), times

    first = counts("none")
    other = counts(timing)
    assert first[:3] == other[:3]
    timed = {"none": 0, "sample": len(ops) // 7}.get(timing, len(ops))
    assert other[3]["count"].sum() == other[3]["hist"].sum() == timed
    if timing not in {"none", "sample"}:
        assert other[3]["count"].tolist() == first[0]["path_ops"]


def test_modelled_time_is_the_stated_cost_of_what_was_counted():
    ops = operations(*((ALLOC, i) for i in range(700)))
    with booted(strategy=Strategy("noblock"), ram=1 * GB) as machine:
        times = new_times()
        costs = {"tlbi_single": 80_000, "descriptor_write": 5_000, "zeroed_page": 100_000}
        machine.replay(ops, timing="model", costs_ps=costs, times=times)
        # each: one PTE, one invalidation, one page cleared by the buddy
        assert times["sum_ticks"].sum() == 700 * 185_000
        assert times["max_ticks"].max() == 185_000


def test_zeroing_is_real_only_when_asked_for():
    # a machine that clears pages touches them: its memory grows by what it handed out
    def grown(*, zero_pages):
        with Machine(ram=4 * GB, zero_pages=zero_pages) as machine:
            machine.boot()
            machine.set_slots(20_000)
            ops = np.zeros(20_000, dtype=OP_DTYPE)
            ops["slot"] = np.arange(20_000)
            before = resident()
            machine.replay(ops)
            assert machine.counters()["zeroed_pages"] == 20_000
            return resident() - before

    def resident():
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096

    assert grown(zero_pages=True) > 60 * MB
    assert grown(zero_pages=False) < 20 * MB
