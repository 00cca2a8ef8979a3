# SPDX-License-Identifier: GPL-2.0-only
"""Replay operations: the 8-byte record that the C simulator executes."""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from kpkeys_bench.errors import TraceError

OP_DTYPE: Final = np.dtype(
    [("slot", "<u4"), ("kind", "u1"), ("cpu", "u1"), ("level", "u1"), ("arg", "u1")]
)
"""One operation. ``slot`` names a live page table page (PTP); ``arg`` depends on ``kind``."""

OpArray: TypeAlias = npt.NDArray[np.void]
"""Array of `OP_DTYPE`."""

ALLOC: Final = 0
FREE: Final = 1
PIN: Final = 2
UNPIN: Final = 3
SPLIT_OTHER: Final = 4
SHRINK: Final = 5
SET_MEMORY: Final = 6
"""A permission change on any range: ``slot`` its first frame, ``level * 256 + arg`` its pages."""
DRAIN: Final = 7
RECLAIM: Final = 8
COMPACT: Final = 9
KIND_NAMES: Final = (
    "alloc",
    "free",
    "pin",
    "unpin",
    "split_other",
    "shrink",
    "set_memory",
    "drain",
    "reclaim",
    "compact",
)
"""What an operation does, by ``kind``."""

PTE: Final = 0
PMD: Final = 1
PUD: Final = 2
PGD: Final = 3
LEVEL_NAMES: Final = ("PTE", "PMD", "PUD", "PGD")

ARG_KERNEL: Final = 1
"""Bit of ``arg`` in ALLOC and FREE: the table maps kernel addresses (``__pte_alloc_kernel``)."""


def check_ops(
    ops: OpArray, nr_slots: int, live: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.bool_]:
    """Check that a stream of operations can be replayed.

    ALLOC must name an empty slot and FREE a live one. The slot and level of the other kinds are
    not looked at: their meaning belongs to the machine.

    Parameters
    ----------
    ops : (n,) array of `OP_DTYPE`
        The stream, in replay order.
    nr_slots : int
        Slots of the machine; valid slots are 0 to ``nr_slots - 1``.
    live : (nr_slots,) array of bool, optional
        Slots that hold a PTP before the first operation; none by default. It is not modified.

    Returns
    -------
    (nr_slots,) array of bool
        Slots that hold a PTP after the last operation: the `live` of the stream's next array.

    Raises
    ------
    TraceError
        On another dtype or shape, or at the first operation that breaks a rule.
    """
    if ops.dtype != OP_DTYPE or ops.ndim != 1:
        raise TraceError(
            f"operations are a {ops.ndim}-dimensional array of {ops.dtype}, not a"
            " 1-dimensional one of OP_DTYPE; build it with np.zeros(n, OP_DTYPE)"
        )
    if live is None:
        occupied = np.zeros(nr_slots, np.bool_)
    elif live.dtype == np.bool_ and live.shape == (nr_slots,):
        occupied = live.copy()
    else:
        raise TraceError(
            f"live is {live.dtype} of shape {live.shape}, not bool of shape ({nr_slots},);"
            " pass what the previous check_ops returned"
        )

    _refuse_above(ops, np.arange(len(ops)), "kind", COMPACT)
    index = np.flatnonzero(ops["kind"] <= FREE)
    _refuse_above(ops, index, "slot", nr_slots - 1)
    _refuse_above(ops, index, "level", PGD)
    if not index.size:
        return occupied

    # Sorted by slot, the operations of one slot are neighbours and still in replay order.
    index = index[np.argsort(ops["slot"][index], kind="stable")]
    slot = ops["slot"][index]
    is_free = ops["kind"][index] == FREE
    new_slot = np.append(True, slot[1:] != slot[:-1])
    was_live = np.append(False, ~is_free[:-1])
    was_live[new_slot] = occupied[slot[new_slot]]
    wrong = index[was_live != is_free]
    if wrong.size:
        at = int(wrong.min())
        state = "frees an empty" if ops["kind"][at] == FREE else "allocates into a live"
        raise TraceError(
            f"operation {at} {state} slot {ops['slot'][at]}; a slot alternates between ALLOC and"
            " FREE, so check the generator or the initial live set"
        )
    last_of_slot = np.append(new_slot[1:], True)
    occupied[slot[last_of_slot]] = ~is_free[last_of_slot]
    return occupied


def _refuse_above(ops: OpArray, index: npt.NDArray[np.intp], field: str, limit: int) -> None:
    above = index[ops[field][index] > limit]
    if above.size:
        at = int(above[0])
        raise TraceError(
            f"operation {at} has {field} {ops[field][at]}, above the limit {limit};"
            " see kpkeys_bench/workloads/ops.py for the record"
        )
