# SPDX-License-Identifier: GPL-2.0-only
"""Slices, shifted copies and merges of traces."""

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpkeys_bench.errors import ConfigError
from kpkeys_bench.workloads.edit import amplify_trace, event_at_ns, merge_traces, slice_trace
from kpkeys_bench.workloads.ops import ALLOC, FREE, OP_DTYPE
from kpkeys_bench.workloads.trace import (
    Integrity,
    Trace,
    load_trace,
    shipped_traces,
)

COUNTED = Integrity("csv", "csv", {"lines": 3, "lost_events": 1}, {"lost_events": "a:2"})


@st.composite
def traces(draw: st.DrawFn, page_size: int = 4096) -> Trace:
    """Any trace with the lowest free slots, as the importer makes them."""
    live: list[int] = []
    rows = []
    nr_pre = draw(st.integers(0, 4))
    for i in range(nr_pre + draw(st.integers(1, 30))):
        if i >= nr_pre and live and draw(st.booleans()):
            slot = live.pop(draw(st.integers(0, len(live) - 1)))
            level = next(row[3] for row in reversed(rows) if row[0] == slot)
            rows.append((slot, FREE, draw(st.integers(0, 3)), level, 0))
        else:
            slot = min(set(range(len(live) + 1)) - set(live))
            live.append(slot)
            rows.append((slot, ALLOC, draw(st.integers(0, 3)), draw(st.integers(0, 3)), 0))
    gaps = draw(st.lists(st.sampled_from([0, 1, 700]), min_size=len(rows), max_size=len(rows)))
    ts_ns = np.cumsum(np.array([0] * (nr_pre + 1) + gaps[nr_pre + 1 :], np.int64)) + 1000
    return Trace(np.array(rows, OP_DTYPE), ts_ns, nr_pre, page_size, "t", "any", COUNTED)


def live_at(trace: Trace, ts_ns: int, level: int) -> int:
    """Live pages of a level after all events up to a time; slow."""
    pages = 0
    for op, ts in zip(trace.ops.tolist(), trace.ts_ns.tolist(), strict=True):
        if ts <= ts_ns and op[3] == level:
            pages += 1 if op[1] == ALLOC else -1
    return pages


def pages_of(trace: Trace) -> Counter[tuple[tuple[int, ...], ...]]:
    """The life of each page (kind, CPU, level, arg, time), however its slot is called."""
    open_slots: dict[int, list[tuple[int, ...]]] = {}
    lives = []
    rows = zip(trace.ops.tolist(), trace.ts_ns.tolist(), strict=True)
    for (slot, kind, *rest), ts in rows:
        open_slots.setdefault(slot, []).append((kind, *rest, ts))
        if kind == FREE:
            lives.append(tuple(open_slots.pop(slot)))
    return Counter([*lives, *(tuple(life) for life in open_slots.values())])


def same_ops(a: Trace, b: Trace) -> bool:
    return a.ops.tolist() == b.ops.tolist() and a.ts_ns.tolist() == b.ts_ns.tolist()


# slice


@settings(deadline=None)
@given(traces())
def test_slice_of_all_is_the_trace(trace: Trace) -> None:
    whole = slice_trace(trace, 0, trace.nr_ops - trace.nr_pre, name="all")
    assert same_ops(whole, trace)
    assert whole.nr_pre == trace.nr_pre
    assert whole.workload_sha256 == trace.workload_sha256
    assert whole.integrity == trace.integrity


@pytest.mark.parametrize("name", ["boot", "many", "redis"])
def test_slice_of_all_of_a_shipped_trace_is_the_trace(name: str) -> None:
    trace = load_trace(shipped_traces()[name])
    whole = slice_trace(trace, 0, trace.nr_ops - trace.nr_pre, name=name)
    assert whole.workload_sha256 == trace.workload_sha256


@settings(deadline=None)
@given(traces(), st.data())
def test_slice_has_the_live_pages_of_the_trace_at_every_event(
    trace: Trace, data: st.DataObject
) -> None:
    nr_events = trace.nr_ops - trace.nr_pre
    begin = data.draw(st.integers(0, nr_events - 1))
    end = data.draw(st.integers(begin + 1, nr_events))
    part = slice_trace(trace, begin, end, name="part")
    first = trace.nr_pre + begin
    signs = np.where(trace.ops["kind"] == FREE, -1, 1)
    part_signs = np.where(part.ops["kind"] == FREE, -1, 1)
    assert part.nr_pre == signs[:first].sum()
    for level in range(4):
        of = np.cumsum(signs * (trace.ops["level"] == level))[first : trace.nr_pre + end]
        own = np.cumsum(part_signs * (part.ops["level"] == level))[part.nr_pre :]
        assert own.tolist() == of.tolist()
    assert part.ts_ns[part.nr_pre :].tolist() == trace.ts_ns[first : trace.nr_pre + end].tolist()
    kept = trace.ops[first : trace.nr_pre + end]
    for field in ("kind", "cpu", "level", "arg"):
        assert part.ops[field][part.nr_pre :].tolist() == kept[field].tolist()
    assert part.nr_slots == np.cumsum(part_signs).max()


@settings(deadline=None)
@given(traces(), st.data())
def test_slices_of_a_slice_are_slices_of_the_trace(trace: Trace, data: st.DataObject) -> None:
    nr_events = trace.nr_ops - trace.nr_pre
    begin = data.draw(st.integers(0, nr_events - 1))
    inner = data.draw(st.integers(begin, nr_events - 1))
    outer = slice_trace(trace, begin, nr_events, name="s")
    twice = slice_trace(outer, inner - begin, nr_events - begin, name="s")
    once = slice_trace(trace, inner, nr_events, name="s")
    # Pages of the two prologues may stand in another order, which names slots otherwise.
    assert pages_of(twice) == pages_of(once)


@pytest.mark.parametrize(("begin", "end"), [(0, 0), (3, 2), (-1, 2), (0, 1810), (1809, 1810)])
def test_slice_without_events_is_refused(begin: int, end: int) -> None:
    trace = load_trace(shipped_traces()["redis"])
    with pytest.raises(ConfigError, match="in trace 'redis', which has 1809; give"):
        slice_trace(trace, begin, end, name="none")


@settings(deadline=None)
@given(traces(), st.integers(0, 5000))
def test_event_at_a_time_is_the_first_not_before_it(trace: Trace, after_ns: int) -> None:
    at = event_at_ns(trace, after_ns)
    events_ns = (trace.ts_ns[trace.nr_pre :] - trace.ts_ns[0]).tolist()
    assert at == sum(ts < after_ns for ts in events_ns)


# amplify and merge


def curve(trace: Trace, times_ns: list[int]) -> npt.NDArray[np.int64]:
    return np.array([[live_at(trace, ts, level) for level in range(4)] for ts in times_ns])


@settings(deadline=None, max_examples=50)
@given(traces(), st.integers(1, 4), st.sampled_from([None, 0, 1, 333, 5000]))
def test_amplified_live_curve_is_the_sum_of_shifted_ones(
    trace: Trace, copies: int, shift_ns: int | None
) -> None:
    many = amplify_trace(trace, copies, name="many", shift_ns=shift_ns)
    shift = trace.duration_ns // copies if shift_ns is None else shift_ns
    assert many.nr_ops == copies * trace.nr_ops
    assert many.nr_slots == copies * trace.nr_slots
    assert many.live_end == copies * trace.live_end
    assert many.nr_pre == copies * trace.nr_pre
    assert many.duration_ns == trace.duration_ns + (copies - 1) * shift
    times = sorted(set(many.ts_ns.tolist()))
    start = int(trace.ts_ns[0])
    # a copy's prologue is there from the beginning
    total = sum(
        curve(trace, [max(ts - k * shift, start - 1) for ts in times]) for k in range(copies)
    )
    before = np.zeros((len(times), 4), np.int64)
    for k in range(copies):
        early = np.array(times) < start + k * shift
        for level in trace.ops["level"][: trace.nr_pre].tolist():
            before[early, level] += 1
    assert (curve(many, times) == total + before).all()


@settings(deadline=None)
@given(traces())
def test_one_copy_is_the_trace(trace: Trace) -> None:
    assert amplify_trace(trace, 1, name="one").workload_sha256 == trace.workload_sha256


@settings(deadline=None)
@given(traces(), traces(), st.sampled_from(["start", "clock"]))
def test_merge_keeps_every_page_of_both(a: Trace, b: Trace, align: str) -> None:
    later = Trace(b.ops, b.ts_ns + 500, b.nr_pre, b.page_size, b.name, b.source, b.integrity)
    both = merge_traces([a, later], name="both", align=align)
    moved = b if align == "start" else later
    assert both.nr_pre == a.nr_pre + b.nr_pre
    in_a = both.ops["slot"] < a.nr_slots
    for own, part in ((in_a, a), (~in_a, moved)):
        ops = both.ops[own].copy()
        ops["slot"] -= 0 if part is a else np.uint32(a.nr_slots)
        assert ops.tolist() == part.ops.tolist()
        assert both.ts_ns[own][part.nr_pre :].tolist() == part.ts_ns[part.nr_pre :].tolist()
    assert both.live_end == a.live_end + b.live_end


def test_merge_at_one_time_lets_the_first_trace_go_first() -> None:
    ops = np.array([(0, ALLOC, 0, 0, 0), (0, FREE, 0, 0, 0)], OP_DTYPE)
    a = Trace(ops, np.array([10, 20]), 0, 4096, "a", "x")
    b = Trace(ops, np.array([15, 25]), 0, 4096, "b", "y")
    both = merge_traces([a, b], name="both")
    assert both.ops["slot"].tolist() == [0, 1, 0, 1]
    assert both.ts_ns.tolist() == [10, 10, 20, 20]
    assert both.source == "Merged by start: a: x; b: y"
    assert both.integrity is None
    assert merge_traces([a, b], name="c", align="clock").ts_ns.tolist() == [10, 15, 20, 25]


def test_merge_adds_up_what_the_imports_counted() -> None:
    trace = load_trace(shipped_traces()["redis"])
    parts = [
        Trace(trace.ops, trace.ts_ns, 0, 4096, "a", "x", integrity)
        for integrity in (COUNTED, Integrity("perf", "kmem", {"lines": 4}, {}))
    ]
    merged = merge_traces(parts, name="m").integrity
    assert merged == Integrity("mixed", "mixed", {"lines": 7, "lost_events": 1}, {})


@pytest.mark.parametrize(
    ("names", "arguments", "message"),
    [
        (["redis"], {}, "1 traces to merge"),
        (["redis", "fork_exact_16k"], {}, "pages of 4096 and 16384 bytes"),
        (["redis", "boot"], {"align": "end"}, "alignment 'end'"),
        (["mmap"] * 30, {}, "8652330 operations together, the limit is 8388608"),
    ],
)
def test_merge_of_what_does_not_fit_is_refused(
    names: list[str], arguments: dict[str, str], message: str
) -> None:
    loaded = {name: load_trace(shipped_traces()[name]) for name in set(names)}
    with pytest.raises(ConfigError, match=message):
        merge_traces([loaded[name] for name in names], name="m", **arguments)


@pytest.mark.parametrize(
    ("copies", "shift_ns", "message"),
    [
        (0, None, "0 copies .* are outside 1 to 4637"),
        (4638, None, "4638 copies .* at most 8388608 operations"),
        (2, -1, "shift of -1 ns is outside 0 to"),
        (2, 1 << 61, "shift of 2305843009213693952 ns is outside"),
    ],
)
def test_amplify_out_of_range_is_refused(copies: int, shift_ns: int | None, message: str) -> None:
    trace = load_trace(shipped_traces()["redis"])
    with pytest.raises(ConfigError, match=message):
        amplify_trace(trace, copies, name="m", shift_ns=shift_ns)


def test_edits_of_a_long_source_keep_within_its_limit() -> None:
    trace = load_trace(shipped_traces()["redis"])
    wordy = Trace(trace.ops, trace.ts_ns, 0, 4096, "w", "x" * 4096)
    for made in (
        slice_trace(wordy, 0, 9, name="a"),
        amplify_trace(wordy, 2, name="b"),
        merge_traces([wordy, wordy], name="c"),
    ):
        assert len(made.source) == 4096
        assert made.source.endswith("...")
