# SPDX-License-Identifier: GPL-2.0-only
"""Workloads: what they ask for, that they can be replayed, and that they repeat."""

import numpy as np
import pytest

from kpkeys_bench import ConfigError, TraceError, parse_workload, trace_workload
from kpkeys_bench.workloads.ops import ALLOC, FREE, OP_DTYPE, check_ops
from kpkeys_bench.workloads.trace import shipped_traces
from kpkeys_bench.workloads.workload import GENERATORS

NR = 150_000


def stream(workload, nr_ops=NR, seed=1):
    parts = [
        np.tile(ops, repeat) if repeat > 1 else ops.copy()
        for ops, repeat in workload.batches(nr_ops, seed)
    ]
    return np.concatenate(parts)


def live_curve(ops):
    return np.cumsum(np.where(ops["kind"] == ALLOC, 1, -1))


@pytest.mark.parametrize("name", [*GENERATORS, "redis", "redis:copies=3", "many:copies=2"])
def test_workload_yields_exactly_what_was_asked_and_can_be_replayed(name):
    workload = parse_workload(name)
    ops = stream(workload)
    assert ops.dtype == OP_DTYPE
    assert len(ops) == NR
    assert set(np.unique(ops["kind"])) <= {ALLOC, FREE}
    check_ops(ops, workload.nr_slots)


@pytest.mark.parametrize("name", [*GENERATORS, "redis:copies=3"])
@pytest.mark.parametrize("nr_ops", [1, 1000, 65_537])
def test_workload_begins_the_same_whatever_its_length(name, nr_ops):
    workload = parse_workload(name)
    assert np.array_equal(stream(workload, nr_ops), stream(workload)[:nr_ops])


@pytest.mark.parametrize("name", sorted(set(GENERATORS) - {"lifo"}))
def test_generator_repeats_with_its_seed_and_differs_with_another(name):
    workload = parse_workload(name)
    again = parse_workload(name)
    assert np.array_equal(stream(workload), stream(again))
    assert workload.sha256(1) == again.sha256(1)
    assert not np.array_equal(stream(workload), stream(workload, seed=2))
    assert workload.sha256(1) != workload.sha256(2)


def test_recording_does_not_depend_on_the_seed_but_on_its_copies():
    one, two = parse_workload("redis"), parse_workload("redis:copies=2")
    assert one.sha256(1) == one.sha256(2)
    assert one.sha256(1) != two.sha256(1)
    assert two.nr_slots == 2 * one.nr_slots


def test_random_stays_within_an_eighth_of_its_level():
    live = live_curve(stream(parse_workload("random:tables=800")))
    assert live.max() <= 900
    assert live[2000:].min() >= 700


def test_random_lifetimes_are_geometric():
    # each of about 800 live tables is as likely to be freed: mean life of about 1600 operations,
    # and a standard deviation as large as the mean
    ops = stream(parse_workload("random:tables=800"))
    born = {}
    lives = []
    for i, op in enumerate(ops):
        if op["kind"] == ALLOC:
            born[int(op["slot"])] = i
        else:
            lives.append(i - born.pop(int(op["slot"])))
    lives = np.array(lives[20_000:])
    assert 1300 < lives.mean() < 1900
    assert 0.85 < lives.std() / lives.mean() < 1.15


def test_burst_exit_frees_all_512_tables_of_a_process_in_a_row():
    ops = stream(parse_workload("burst_exit"))
    changes = np.flatnonzero(np.diff(ops["kind"])) + 1
    runs = np.split(ops, changes)
    frees = [run for run in runs[:-1] if run["kind"][0] == FREE]
    assert len(frees) > 50
    assert {len(run) % 512 for run in frees} == {0}
    assert len(np.unique(frees[0]["slot"] // 512)) == 1


def test_fork_storm_processes_have_one_pgd_and_8_to_15_tables():
    ops = stream(parse_workload("fork_storm"))
    per_process = 15
    allocs = ops[ops["kind"] == ALLOC]
    pgds = allocs[allocs["level"] == 3]
    assert np.all(pgds["slot"] % per_process == 0)
    # between two forks of process 0 all its tables are allocated once
    mine = allocs[allocs["slot"] // per_process == 0]
    starts = np.flatnonzero(mine["level"] == 3)
    sizes = np.diff(starts)
    assert sizes.min() >= 8
    assert sizes.max() <= 15
    assert set(np.unique(ops["cpu"])) == {0, 1}


def test_slow_growth_rises_by_one_table_per_16_operations():
    live = live_curve(stream(parse_workload("slow_growth")))
    for position in (40_000, 100_000, NR - 1):
        level = 1024 + position / 16
        assert 0.87 * level <= live[position] <= 1.13 * level


def test_sparse_touch_fills_in_order_and_empties_at_random():
    ops = stream(parse_workload("sparse_touch:tables=1000"), 2000)
    assert np.all(ops["kind"][:1000] == ALLOC)
    assert np.all(ops["kind"][1000:] == FREE)
    freed = ops["slot"][1000:].astype(int)
    assert sorted(freed) == list(range(1000))
    assert np.abs(np.diff(freed)).mean() > 200


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nosuch", "recordings are"),
        ("random:x=1", "it has tables"),
        ("random:tables", "KEY=NUMBER"),
        ("random:tables=0", "give 1 to"),
        ("random:tables=99999999", "give 1 to"),
        ("fork_storm:processes=3", "even number"),
        ("fork_storm:min_tables=9,max_tables=8", "min_tables"),
        ("slow_growth:from_tables=70000", "above to_tables"),
        ("burst_exit:tables=1000000,processes=1000", "the limit"),
        ("redis:copies=0", "copies"),
        ("redis:speed=2", "copies"),
    ],
)
def test_workload_that_cannot_be_is_refused(name, why):
    with pytest.raises(ConfigError, match=why):
        parse_workload(name)


def test_trace_file_is_a_workload_and_a_missing_one_is_named(tmp_path):
    copy = tmp_path / "mine.kpt"
    copy.write_bytes(shipped_traces()["redis"].read_bytes())
    assert trace_workload(copy).sha256(0) == parse_workload("redis").sha256(0)
    with pytest.raises(TraceError, match=r"absent\.kpt"):
        trace_workload(tmp_path / "absent.kpt")
