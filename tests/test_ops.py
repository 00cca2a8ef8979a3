# SPDX-License-Identifier: GPL-2.0-only
"""The operation record and its checker."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpkeys_bench.errors import TraceError
from kpkeys_bench.workloads.ops import (
    ALLOC,
    COMPACT,
    FREE,
    OP_DTYPE,
    PGD,
    PIN,
    SHRINK,
    SPLIT_OTHER,
    UNPIN,
    OpArray,
    check_ops,
)


def ops_of(*kinds_and_slots: tuple[int, int]) -> OpArray:
    return np.array([(slot, kind, 0, 0, 0) for kind, slot in kinds_and_slots], OP_DTYPE)


def test_op_dtype_in_memory_is_the_eight_bytes_of_the_c_record() -> None:
    op = np.array([(0x04030201, 5, 6, 7, 8)], OP_DTYPE)
    assert op.tobytes() == bytes([1, 2, 3, 4, 5, 6, 7, 8])


def test_check_ops_valid_stream_returns_slots_left_live() -> None:
    live = check_ops(ops_of((ALLOC, 2), (ALLOC, 0), (FREE, 2), (ALLOC, 2), (FREE, 0)), 4)
    assert live.tolist() == [False, False, True, False]


def test_check_ops_no_operations_returns_initial_live_as_copy() -> None:
    before = np.array([True, False])
    after = check_ops(ops_of(), 2, before)
    assert after.tolist() == [True, False]
    assert not np.shares_memory(before, after)


def test_check_ops_stream_cut_in_two_accepts_second_half_only_with_live() -> None:
    first, second = ops_of((ALLOC, 1)), ops_of((FREE, 1), (ALLOC, 0))
    assert check_ops(second, 2, check_ops(first, 2)).tolist() == [True, False]
    with pytest.raises(TraceError, match="operation 0 frees an empty slot 1"):
        check_ops(second, 2)


def test_check_ops_initial_live_is_not_modified() -> None:
    live = np.array([True, False])
    check_ops(ops_of((FREE, 0), (ALLOC, 1)), 2, live)
    assert live.tolist() == [True, False]


@pytest.mark.parametrize(
    ("kinds_and_slots", "message"),
    [
        ([(ALLOC, 0), (ALLOC, 0)], "operation 1 allocates into a live slot 0"),
        ([(ALLOC, 0), (FREE, 0), (FREE, 0)], "operation 2 frees an empty slot 0"),
        ([(ALLOC, 3), (FREE, 1)], "operation 1 frees an empty slot 1"),
        ([(ALLOC, 0), (ALLOC, 4)], "operation 1 has slot 4, above the limit 3"),
        ([(COMPACT + 1, 0)], "operation 0 has kind 10, above the limit 9"),
    ],
)
def test_check_ops_broken_rule_names_first_operation(
    kinds_and_slots: list[tuple[int, int]], message: str
) -> None:
    with pytest.raises(TraceError, match=message):
        check_ops(ops_of(*kinds_and_slots), 4)


def test_check_ops_two_broken_slots_names_the_earlier_operation() -> None:
    stream = ops_of((ALLOC, 3), (ALLOC, 0), (FREE, 2), (ALLOC, 0))
    with pytest.raises(TraceError, match="operation 2 "):
        check_ops(stream, 4)


def test_check_ops_level_above_pgd_is_refused() -> None:
    ops = ops_of((ALLOC, 0))
    ops["level"] = PGD + 1
    with pytest.raises(TraceError, match="operation 0 has level 4, above the limit 3"):
        check_ops(ops, 1)


@pytest.mark.parametrize("kind", [PIN, UNPIN, SPLIT_OTHER, SHRINK])
def test_check_ops_other_kind_leaves_slots_alone(kind: int) -> None:
    ops = ops_of((ALLOC, 0), (kind, 99), (FREE, 0))
    ops["level"][1] = 77
    assert check_ops(ops, 1).tolist() == [False]


@pytest.mark.parametrize(
    "ops", [np.zeros(3, np.uint64), np.zeros((1, 1), OP_DTYPE)], ids=["dtype", "shape"]
)
def test_check_ops_other_array_is_refused(ops: OpArray) -> None:
    with pytest.raises(TraceError, match="not a 1-dimensional one of OP_DTYPE"):
        check_ops(ops, 4)


@pytest.mark.parametrize("live", [np.zeros(3, np.bool_), np.zeros(4, np.uint8)])
def test_check_ops_live_of_another_shape_or_dtype_is_refused(live: np.ndarray) -> None:
    with pytest.raises(TraceError, match="not bool of shape"):
        check_ops(ops_of((ALLOC, 0)), 4, live)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([ALLOC, FREE, PIN]), st.integers(0, 3)), max_size=12),
    st.sets(st.integers(0, 3)),
)
def test_check_ops_any_stream_agrees_with_a_set_of_slots(
    kinds_and_slots: list[tuple[int, int]], initial: set[int]
) -> None:
    live, wrong = set(initial), None
    for at, (kind, slot) in enumerate(kinds_and_slots):
        if kind == PIN:
            continue
        if (kind == FREE) != (slot in live):
            wrong = at
            break
        live ^= {slot}
    mask = np.isin(np.arange(4), list(initial))
    if wrong is None:
        assert set(np.flatnonzero(check_ops(ops_of(*kinds_and_slots), 4, mask))) == live
    else:
        with pytest.raises(TraceError, match=f"operation {wrong} "):
            check_ops(ops_of(*kinds_and_slots), 4, mask)
