# SPDX-License-Identifier: GPL-2.0-only
"""Traces out of traces: a slice of one, shifted copies of one, several at once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from kpkeys_bench import _ffi
from kpkeys_bench.errors import ConfigError
from kpkeys_bench.workloads.ops import ALLOC, OpArray
from kpkeys_bench.workloads.trace import (
    MAX_OPS,
    MAX_SOURCE_CHARS,
    MAX_TS_NS,
    Integrity,
    Trace,
)

ALIGNMENTS: Final = ("start", "clock")
"""`merge_traces`: the first events meet, or the recorded times are of one clock."""


def event_at_ns(trace: Trace, after_ns: int) -> int:
    """Number of the first event that is not earlier than a time.

    Parameters
    ----------
    trace : Trace
        The trace.
    after_ns : int
        Time since the first event, in ns.

    Returns
    -------
    int
        0 to the number of events; events are numbered from 0 after the prologue.
    """
    events_ns = trace.ts_ns[trace.nr_pre :]
    return int(np.searchsorted(events_ns, events_ns[0] + after_ns, side="left"))


def slice_trace(trace: Trace, begin: int, end: int, *, name: str) -> Trace:
    """Cut events out of a trace.

    Parameters
    ----------
    trace : Trace
        The trace.
    begin, end : int
        The events ``begin`` to ``end - 1`` are kept, numbered from 0 after the prologue.
    name : str
        Of the result.

    Returns
    -------
    Trace
        Its prologue has all pages that are live before event `begin`, in the order of their ALLOCs
        and with the level, ``arg`` and CPU of these; its slots are the lowest free ones; its times
        are the recorded ones. A slice of all events has the operations of the trace, provided that
        those had the lowest free slots.

    Raises
    ------
    ConfigError
        If there is no event in the slice.
    """
    nr_events = trace.nr_ops - trace.nr_pre
    if not 0 <= begin < end <= nr_events:
        raise ConfigError(
            f"no events {begin} to {end} in trace {trace.name!r}, which has {nr_events}; give a"
            " beginning before the end, both inside"
        )
    first = trace.nr_pre + begin
    live = _live_before(trace.ops, first)
    ops = np.concatenate([trace.ops[live], trace.ops[first : trace.nr_pre + end]])
    ts_ns = trace.ts_ns[first : trace.nr_pre + end]
    _ffi.renumber(ops, trace.nr_slots)
    return Trace(
        ops,
        np.concatenate([np.full(len(live), ts_ns[0]), ts_ns]),
        len(live),
        trace.page_size,
        name,
        _source(f"Events {begin} to {end - 1} of {trace.name}. {trace.source}"),
        trace.integrity,
    )


def amplify_trace(trace: Trace, copies: int, *, name: str, shift_ns: int | None = None) -> Trace:
    """Let copies of a trace run side by side, once.

    `kpkeys_bench.workloads.loop.amplify` makes an endless stream instead, and no file.

    Parameters
    ----------
    trace : Trace
        The trace.
    copies : int
        How many, at least 1.
    name : str
        Of the result.
    shift_ns : int, optional
        Copy ``k`` is ``k * shift_ns`` later, at least 0; by default the duration is divided by the
        number of copies.

    Returns
    -------
    Trace
        Copy ``k`` has its own slots, ``slot + k * nr_slots``; at one time the lower copy goes
        first. All prologues come first.

    Raises
    ------
    ConfigError
        If a number is out of range, or the result would be too long.
    """
    limit = MAX_OPS // trace.nr_ops
    if not 1 <= copies <= limit:
        raise ConfigError(
            f"{copies} copies of trace {trace.name!r} are outside 1 to {limit}: a trace has at most"
            f" {MAX_OPS} operations"
        )
    if shift_ns is None:
        shift_ns = trace.duration_ns // copies
    limit = (MAX_TS_NS - int(trace.ts_ns[-1])) // max(copies - 1, 1)
    if not 0 <= shift_ns <= limit:
        raise ConfigError(f"shift of {shift_ns} ns is outside 0 to {limit} ns")
    ops, ts_ns, nr_pre = _interleave([(trace, k * shift_ns) for k in range(copies)])
    return Trace(
        ops,
        ts_ns,
        nr_pre,
        trace.page_size,
        name,
        _source(f"{copies} copies of {trace.name}, each {shift_ns} ns later. {trace.source}"),
        trace.integrity,
    )


def merge_traces(traces: Sequence[Trace], *, name: str, align: str = "start") -> Trace:
    """Let several traces happen at once.

    Parameters
    ----------
    traces : sequence of Trace
        Two or more, of one page size.
    name : str
        Of the result.
    align : str
        ``"start"``: each is shifted so that its first event is at the time of the first trace's.
        ``"clock"``: the times are of one clock and stay.

    Returns
    -------
    Trace
        Each trace has its own slots, after those of the ones before; at one time the earlier trace
        goes first. All prologues come first. Counts of the imports are added up if all traces have
        them.

    Raises
    ------
    ConfigError
        If the traces do not fit together.
    """
    if len(traces) < 2:
        raise ConfigError(f"{len(traces)} traces to merge; name two or more")
    if align not in ALIGNMENTS:
        raise ConfigError(f"alignment {align!r} is not one of {', '.join(ALIGNMENTS)}")
    sizes = {trace.page_size for trace in traces}
    if len(sizes) > 1:
        raise ConfigError(
            f"traces of pages of {' and '.join(str(size) for size in sorted(sizes))} bytes cannot"
            " be of one machine; merge traces of one page size"
        )
    if sum(trace.nr_ops for trace in traces) > MAX_OPS:
        raise ConfigError(
            f"{sum(trace.nr_ops for trace in traces)} operations together, the limit is {MAX_OPS};"
            " slice the traces first"
        )
    start_ns = int(traces[0].ts_ns[0])
    shifts_ns = [start_ns - int(t.ts_ns[0]) if align == "start" else 0 for t in traces]
    ops, ts_ns, nr_pre = _interleave(list(zip(traces, shifts_ns, strict=True)))
    if ts_ns[-1] > MAX_TS_NS:
        raise ConfigError(f"times above {MAX_TS_NS} ns; merge with the latest trace first")
    return Trace(
        ops,
        ts_ns,
        nr_pre,
        traces[0].page_size,
        name,
        _source(
            f"Merged by {align}: " + "; ".join(f"{trace.name}: {trace.source}" for trace in traces)
        ),
        _sum([trace.integrity for trace in traces]),
    )


def _live_before(ops: OpArray, end: int) -> npt.NDArray[np.intp]:
    """Indices of the ALLOCs whose pages are live before operation `end`, rising."""
    reversed_slots = ops["slot"][:end][::-1]
    _, from_end = np.unique(reversed_slots, return_index=True)
    last = end - 1 - from_end
    return np.sort(last[ops["kind"][last] == ALLOC])


def _interleave(
    parts: list[tuple[Trace, int]],
) -> tuple[OpArray, npt.NDArray[np.int64], int]:
    """Return operations, times and length of the prologue of shifted traces with own slots."""
    prologues, events, times = [], [], []
    slots = 0
    for trace, shift_ns in parts:
        ops = trace.ops.copy()
        ops["slot"] += np.uint32(slots)
        slots += trace.nr_slots
        prologues.append(ops[: trace.nr_pre])
        events.append(ops[trace.nr_pre :])
        times.append(trace.ts_ns[trace.nr_pre :] + shift_ns)
    ts_ns = np.concatenate(times)
    order = np.argsort(ts_ns, kind="stable")
    nr_pre = sum(len(prologue) for prologue in prologues)
    ts_ns = ts_ns[order]
    all_ns = np.concatenate([np.full(nr_pre, ts_ns[0]), ts_ns])
    return np.concatenate([*prologues, np.concatenate(events)[order]]), all_ns, nr_pre


def _sum(parts: Sequence[Integrity | None]) -> Integrity | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    counts: dict[str, int] = {}
    for part in known:
        for name, count in part.counts.items():
            counts[name] = counts.get(name, 0) + count
    one = known[0]
    return replace(
        one,
        format=one.format if len({part.format for part in known}) == 1 else "mixed",
        origin=one.origin if len({part.origin for part in known}) == 1 else "mixed",
        counts=counts,
        first={},
    )


def _source(text: str) -> str:
    return text if len(text) <= MAX_SOURCE_CHARS else text[: MAX_SOURCE_CHARS - 3] + "..."
