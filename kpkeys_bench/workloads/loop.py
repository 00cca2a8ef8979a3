# SPDX-License-Identifier: GPL-2.0-only
"""Looping and amplification: an endless stream of operations out of one recorded trace.

K copies of a trace run side by side, each repeated for ever with period T = duration + gap. Copy k
is shifted by k*T/K of recorded time and has its own slots, ``slot + k * nr_slots``. Operations are
in order of time; ties go to the lower copy number, then to the trace's order.

A recording leaves pages live. The page that iteration i left in a slot is freed directly before
the first ALLOC of that slot in iteration i+1 (level and ``arg`` of the page, time and CPU of that
ALLOC), so from the second iteration on every period has as many ALLOCs as FREEs and the level of
live pages is stationary. The prologue is part of every iteration.

Cut into periods of length T, the stream has three kinds of period:

- period 0 (`LoopedOps.first`): each copy starts at its shift, nothing is left over yet;
- period 1 (`LoopedOps.second`): the tails of the first iterations, without leftover frees, and the
  heads of the second iterations, with them;
- periods 2, 3, ... (`LoopedOps.steady`): all alike, with all leftover frees.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final

import numpy as np
import numpy.typing as npt

from kpkeys_bench.errors import ConfigError
from kpkeys_bench.workloads.ops import ALLOC, FREE, OP_DTYPE, OpArray
from kpkeys_bench.workloads.trace import MAX_TS_NS, Trace

MAX_PERIOD_OPS: Final = 1 << 26
"""Most operations of one period over all copies: 512 MiB per array."""


@dataclass(frozen=True, eq=False)
class LoopedOps:
    """An endless stream: `first`, `second`, then `steady` for ever.

    Attributes
    ----------
    first, second, steady : (n,) arrays of `OP_DTYPE`
        The operations of period 0, of period 1 and of every later one. Read-only.
    nr_slots : int
        Slots of all copies together.
    copies : int
        Copies of the trace that run side by side.
    gap_ns : int
        Recorded time between the last event of an iteration and the first of the next, in ns.
    period_ns : int
        Recorded time of one iteration with its gap, in ns.
    """

    first: OpArray
    second: OpArray
    steady: OpArray
    nr_slots: int
    copies: int
    gap_ns: int
    period_ns: int

    def take(self, nr_ops: int) -> Iterator[OpArray]:
        """Yield the beginning of the stream as whole periods, the last one cut where `nr_ops` ends.

        Parameters
        ----------
        nr_ops : int
            Operations to yield in total, at least 0.

        Returns
        -------
        iterator of (n,) arrays of `OP_DTYPE`
            Views of `first`, `second` and `steady`, none of them empty.

        Raises
        ------
        ConfigError
            If `nr_ops` is negative.
        """
        if nr_ops < 0:
            raise ConfigError(f"cannot take {nr_ops} operations; ask for 0 or more")
        return self._take(nr_ops)

    def _take(self, left: int) -> Iterator[OpArray]:
        for period in chain((self.first, self.second), repeat(self.steady)):
            if left <= 0:
                return
            yield period[:left]
            left -= len(period)


def amplify(trace: Trace, copies: int, *, gap_ns: int | None = None) -> LoopedOps:
    """Loop a trace, with several copies side by side.

    Parameters
    ----------
    trace : Trace
        What to repeat.
    copies : int
        Number of copies, at least 1; 1 is plain looping.
    gap_ns : int, optional
        Recorded time between an iteration's last event and the next one's first, at least 1 ns.
        By default the trace's mean time between events.

    Returns
    -------
    LoopedOps
        The stream.

    Raises
    ------
    ConfigError
        If a parameter is out of range or the period would be too long.
    """
    if gap_ns is None:
        gap_ns = max(trace.duration_ns // trace.nr_ops, 1)
    if not 1 <= gap_ns <= MAX_TS_NS:
        raise ConfigError(f"gap of {gap_ns} ns is outside 1 to {MAX_TS_NS} ns")
    ops, at_ns, is_leftover = iteration(trace)
    # A slot has at least one operation, so this bounds the slots too.
    limit = MAX_PERIOD_OPS // len(ops)
    if not 1 <= copies <= limit:
        raise ConfigError(
            f"{copies} copies of trace {trace.name!r} are outside 1 to {limit};"
            " choose a number in between"
        )

    period_ns = trace.duration_ns + gap_ns
    shift_ns = np.array([[k * period_ns // copies] for k in range(copies)], np.int64)
    phase_ns = shift_ns + at_ns
    wraps = phase_ns >= period_ns
    phase_ns[wraps] -= period_ns
    order = np.argsort(phase_ns, axis=None, kind="stable")

    steady = np.tile(ops, (copies, 1))
    steady["slot"] += np.arange(copies, dtype=np.uint32)[:, None] * np.uint32(trace.nr_slots)
    steady = _pick(steady.reshape(-1), order)
    wraps = wraps.reshape(-1)[order]
    is_leftover = np.tile(is_leftover, copies)[order]
    periods = (
        _pick(steady, ~(wraps | is_leftover)),
        _pick(steady, ~(wraps & is_leftover)),
        steady,
    )
    for period in periods:
        period.flags.writeable = False
    return LoopedOps(*periods, trace.nr_slots * copies, copies, gap_ns, period_ns)


def iteration(
    trace: Trace,
) -> tuple[OpArray, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return operations, time since the first one in ns, and which of them free a leftover."""
    ops = trace.ops
    at_ns = trace.ts_ns - trace.ts_ns[0]
    _, first_of_slot = np.unique(ops["slot"], return_index=True)
    _, from_end = np.unique(ops["slot"][::-1], return_index=True)
    last_of_slot = len(ops) - 1 - from_end
    left = ops["kind"][last_of_slot] == ALLOC
    before, page = first_of_slot[left], last_of_slot[left]
    in_order = np.argsort(before)
    before, page = before[in_order], page[in_order]

    is_leftover = np.zeros(len(ops) + len(before), np.bool_)
    is_leftover[before + np.arange(len(before))] = True
    looped = np.empty(len(is_leftover), OP_DTYPE)
    looped[~is_leftover] = ops
    frees = ops[page]
    frees["kind"] = FREE
    frees["cpu"] = ops["cpu"][before]
    looped[is_leftover] = frees
    looped_ns = np.empty(len(is_leftover), np.int64)
    looped_ns[~is_leftover] = at_ns
    looped_ns[is_leftover] = at_ns[before]
    return looped, looped_ns, is_leftover


def _pick(ops: OpArray, which: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> OpArray:
    # An 8-byte integer is copied several times faster than a structure of the same size.
    picked: OpArray = ops.view(np.uint64)[which].view(OP_DTYPE)
    return picked
