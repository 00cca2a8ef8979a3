# SPDX-License-Identifier: GPL-2.0-only
"""Looping and amplification, against a simulation that is slow and obvious."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpkeys_bench.errors import ConfigError
from kpkeys_bench.workloads.loop import LoopedOps, amplify
from kpkeys_bench.workloads.ops import ALLOC, FREE, OP_DTYPE, check_ops
from kpkeys_bench.workloads.trace import Trace, load_trace, shipped_traces


class Op(NamedTuple):
    slot: int
    kind: int
    cpu: int
    level: int
    arg: int


def trace_of(ops: list[Op], ts_ns: list[int], nr_pre: int = 0) -> Trace:
    return Trace(
        np.array(ops, OP_DTYPE), np.array(ts_ns, np.int64), nr_pre, 4096, "tiny", "made by a test"
    )


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Up to 12 events on up to 4 slots; many leave pages live and have equal times."""
    live: dict[int, tuple[int, int]] = {}
    ops = []
    for _ in range(draw(st.integers(1, 12))):
        slot = draw(st.integers(0, 3))
        cpu = draw(st.integers(0, 1))
        if slot in live:
            ops.append(Op(slot, FREE, cpu, *live.pop(slot)))
        else:
            live[slot] = draw(st.tuples(st.integers(0, 3), st.integers(0, 1)))
            ops.append(Op(slot, ALLOC, cpu, *live[slot]))
    number = {slot: i for i, slot in enumerate(sorted({op.slot for op in ops}))}
    steps = draw(st.lists(st.integers(0, 5), min_size=len(ops), max_size=len(ops)))
    return trace_of([op._replace(slot=number[op.slot]) for op in ops], np.cumsum(steps).tolist())


def simulate(trace: Trace, copies: int, gap_ns: int, iterations: int) -> list[list[Op]]:
    """Return the stream's operations by period, out of one event after the other."""
    period = trace.duration_ns + gap_ns
    start = int(trace.ts_ns[0])
    events = sorted(
        (i * period + copy * period // copies + ts - start, copy, i, j)
        for copy in range(copies)
        for i in range(iterations)
        for j, ts in enumerate(trace.ts_ns.tolist())
    )
    recorded = [Op(*op) for op in trace.ops.tolist()]
    holds: dict[int, Op] = {}
    stream: list[list[Op]] = [[] for _ in range(iterations + 1)]
    for time, copy, _, j in events:
        op = recorded[j]._replace(slot=recorded[j].slot + copy * trace.nr_slots)
        if op.kind == ALLOC:
            if op.slot in holds:
                leftover = holds[op.slot]
                stream[time // period].append(leftover._replace(kind=FREE, cpu=op.cpu))
            holds[op.slot] = op
        else:
            del holds[op.slot]
        stream[time // period].append(op)
    return stream[:iterations]


def as_ops(array: np.ndarray) -> list[Op]:
    return [Op(*op) for op in array.tolist()]


@settings(deadline=None)
@given(traces(), st.integers(1, 4), st.integers(1, 9))
def test_amplify_any_trace_equals_simulation_of_five_periods(
    trace: Trace, copies: int, gap_ns: int
) -> None:
    looped = amplify(trace, copies, gap_ns=gap_ns)
    periods = [looped.first, looped.second, looped.steady, looped.steady, looped.steady]
    assert [as_ops(p) for p in periods] == simulate(trace, copies, gap_ns, 5)


@settings(deadline=None)
@given(traces(), st.integers(1, 4))
def test_amplify_any_trace_can_be_replayed_and_is_stationary(trace: Trace, copies: int) -> None:
    looped = amplify(trace, copies)
    live = check_ops(looped.first, looped.nr_slots)
    live = check_ops(looped.second, looped.nr_slots, live)
    for _ in range(2):
        before, live = live, check_ops(looped.steady, looped.nr_slots, live)
        assert live.tolist() == before.tolist()


@settings(deadline=None)
@given(traces(), st.integers(1, 3), st.integers(0, 120))
def test_take_any_length_yields_exactly_the_beginning(
    trace: Trace, copies: int, nr_ops: int
) -> None:
    looped = amplify(trace, copies)
    parts = list(looped.take(nr_ops))
    whole = np.concatenate([looped.first, looped.second, *[looped.steady] * 120])
    assert as_ops(np.concatenate([*parts, whole[:0]])) == as_ops(whole[:nr_ops])
    assert all(len(part) for part in parts)


def leaky() -> Trace:
    """Slot 0 is freed, slot 1 stays live, slot 2 stays live in its second page."""
    ops = [
        Op(0, ALLOC, 0, 3, 0),
        Op(1, ALLOC, 0, 0, 1),
        Op(2, ALLOC, 1, 1, 0),
        Op(0, FREE, 1, 3, 0),
        Op(2, FREE, 0, 1, 0),
        Op(2, ALLOC, 0, 2, 0),
    ]
    return trace_of(ops, [100, 110, 110, 120, 130, 140])


def test_amplify_leftover_is_freed_directly_before_its_slot_is_taken_again() -> None:
    trace = leaky()
    looped = amplify(trace, 1)
    a, b, c, *rest = as_ops(trace.ops)
    again = [a, Op(1, FREE, 0, 0, 1), b, Op(2, FREE, 1, 2, 0), c, *rest]
    assert as_ops(looped.first) == as_ops(trace.ops)
    assert as_ops(looped.second) == as_ops(looped.steady) == again


def kinds_and_slots(array: np.ndarray) -> list[tuple[int, int]]:
    return [(op.kind, op.slot) for op in as_ops(array)]


def test_amplify_two_copies_interleaves_by_time_then_copy() -> None:
    # T = 60, so copy 1 starts at 30 and its last two events, at 60 and 70, fall into period 1.
    looped = amplify(leaky(), 2, gap_ns=20)
    assert looped.period_ns == 60
    assert kinds_and_slots(looped.first) == [
        *[(ALLOC, 0), (ALLOC, 1), (ALLOC, 2), (FREE, 0)],
        *[(FREE, 2), (ALLOC, 3), (ALLOC, 2), (ALLOC, 4), (ALLOC, 5), (FREE, 3)],
    ]


def test_amplify_tail_of_first_iteration_has_no_leftover_frees() -> None:
    # T = 20: the second event of copy 1 falls into period 1, where its slot 3 is still empty.
    two_leaks = trace_of([Op(0, ALLOC, 0, 0, 0), Op(1, ALLOC, 0, 0, 0)], [0, 10])
    looped = amplify(two_leaks, 2, gap_ns=10)
    head = [(FREE, 1), (ALLOC, 1), (FREE, 2), (ALLOC, 2)]
    assert kinds_and_slots(looped.first) == [(ALLOC, 0), (ALLOC, 1), (ALLOC, 2)]
    assert kinds_and_slots(looped.second) == [(FREE, 0), (ALLOC, 0), (ALLOC, 3), *head]
    assert kinds_and_slots(looped.steady) == [(FREE, 0), (ALLOC, 0), (FREE, 3), (ALLOC, 3), *head]


def test_amplify_prologue_is_part_of_every_iteration() -> None:
    ops = [Op(0, ALLOC, 0, 0, 0), Op(1, ALLOC, 0, 0, 0), Op(0, FREE, 0, 0, 0)]
    looped = amplify(trace_of(ops, [5, 5, 9], nr_pre=1), 1)
    assert kinds_and_slots(looped.steady) == [(ALLOC, 0), (FREE, 1), (ALLOC, 1), (FREE, 0)]


def test_amplify_default_gap_is_mean_time_between_events() -> None:
    looped = amplify(leaky(), 1)
    assert (looped.gap_ns, looped.period_ns) == (40 // 6, 40 + 40 // 6)


def test_amplify_trace_without_duration_still_has_a_period() -> None:
    looped = amplify(trace_of([Op(0, ALLOC, 0, 0, 0)], [7]), 2)
    assert looped.period_ns == 1
    assert [op.slot for op in as_ops(looped.steady)] == [0, 0, 1, 1]


@pytest.mark.parametrize("copies", [0, -1, 1 << 32])
def test_amplify_copies_out_of_range_is_refused(copies: int) -> None:
    with pytest.raises(ConfigError, match=f"{copies} copies of trace 'tiny' are outside 1 to"):
        amplify(leaky(), copies)


@pytest.mark.parametrize("gap_ns", [0, -5, 1 << 62])
def test_amplify_gap_out_of_range_is_refused(gap_ns: int) -> None:
    with pytest.raises(ConfigError, match=f"gap of {gap_ns} ns"):
        amplify(leaky(), 1, gap_ns=gap_ns)


def test_take_negative_length_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="cannot take -1 operations"):
        amplify(leaky(), 1).take(-1)


def test_take_yields_read_only_views() -> None:
    looped = amplify(leaky(), 1)
    sources = (looped.first, looped.second, looped.steady)
    for part, source in zip(looped.take(20), sources, strict=True):
        assert np.shares_memory(part, source)
        with pytest.raises(ValueError, match="read-only"):
            part["slot"] = 0


@pytest.fixture(scope="module")
def eight_times_mmap() -> LoopedOps:
    return amplify(load_trace(shipped_traces()["mmap"]), 8)


def test_amplify_largest_shipped_trace_has_the_counts_that_follow_from_it(
    eight_times_mmap: LoopedOps,
) -> None:
    looped = eight_times_mmap
    assert looped.nr_slots == 8 * 1454
    assert np.bincount(looped.steady["kind"]).tolist() == [8 * 144_210, 8 * 144_210]


def test_amplify_largest_shipped_trace_can_be_replayed(eight_times_mmap: LoopedOps) -> None:
    live = np.zeros(eight_times_mmap.nr_slots, np.bool_)
    for part in eight_times_mmap.take(6_000_000):
        live = check_ops(part, eight_times_mmap.nr_slots, live)
    assert live.sum() >= 8 * 9
