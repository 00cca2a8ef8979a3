# SPDX-License-Identifier: GPL-2.0-only
"""Distances against their definitions, and features against a walk over the operations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpkeys_bench.workloads.distance import distance, features, quantiles
from kpkeys_bench.workloads.ops import ALLOC, FREE, OP_DTYPE


def rng():
    return np.random.default_rng(1)


def slow_ks(one, other):
    return max(
        abs(np.mean([x <= v for x in one]) - np.mean([x <= v for x in other]))
        for v in {*one, *other}
    )


small = st.lists(st.integers(1, 23), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(one=small, other=small)
def test_ks_of_small_numbers_is_its_definition(one, other):
    # numbers up to 23 have bins of their own, so nothing is lost
    found = distance(np.array(one), np.array(other), rng())
    assert found.ks == pytest.approx(slow_ks(one, other))


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.integers(1, 1 << 20), min_size=1, max_size=40), shift=st.integers(1, 6))
def test_octaves_of_a_multiple_are_the_logarithm_of_the_factor(values, shift):
    one = np.array(values)
    found = distance(one, one << shift, rng())
    # moving everything by a power of two moves it by as many octaves, bins or not
    assert found.octaves == pytest.approx(shift)
    assert distance(one, one, rng()).octaves == 0


def test_wasserstein_of_two_points_by_hand():
    # half of 4 stays, half moves to 16: one octave on average
    found = distance(np.array([4, 4]), np.array([4, 16]), rng())
    assert found.octaves == pytest.approx(1)
    assert found.ks == pytest.approx(0.5)
    assert found.ks_interval is None


def test_interval_holds_the_distance_and_repeats_with_its_seed():
    source = np.random.default_rng(3)
    one, other = source.integers(1, 500, 4000), source.integers(1, 700, 3000)
    found = distance(one, other, rng())
    low, high = found.octaves_interval
    assert low <= found.octaves <= high
    assert 0 < high - low < 0.2
    assert found == distance(one, other, rng())


def test_interval_is_wider_where_values_depend_on_each_other():
    source = np.random.default_rng(4)
    loose = source.integers(1, 500, 4000)
    # the same values, but alike ones come together
    tight = np.concatenate([np.sort(part) for part in np.array_split(np.sort(loose), 10)])
    other = source.integers(1, 500, 4000)

    def width(values):
        low, high = distance(values, other, rng()).ks_interval
        return high - low

    assert width(tight) > 3 * width(loose)


def test_quantiles_are_values_that_occur():
    assert quantiles(np.arange(1, 101)) == {"p10": 10, "p50": 50, "p90": 90, "p99": 99}
    assert quantiles(np.array([7])) == {"p10": 7, "p50": 7, "p90": 7, "p99": 7}


@st.composite
def streams(draw):
    ops = np.zeros(draw(st.integers(2, 80)), OP_DTYPE)
    live = set()
    for op in ops:
        slot = draw(st.integers(0, 5))
        op["slot"], op["cpu"] = slot, draw(st.integers(0, 1))
        op["level"] = slot % 4
        op["kind"] = FREE if slot in live else ALLOC
        live ^= {slot}
    return ops


@settings(max_examples=100, deadline=None)
@given(ops=streams(), share=st.floats(0, 0.9))
def test_features_are_what_a_walk_finds(ops, share):
    begin = int(share * len(ops))
    lives: dict[str, list[int]] = {f"life_{name}": [] for name in ("PTE", "PMD", "PUD", "PGD")}
    born, live, curve = {}, 0, []
    runs: dict[int, list[int]] = {0: [], 1: []}
    for at, op in enumerate(ops):
        slot = int(op["slot"])
        live += 1 if op["kind"] == ALLOC else -1
        if op["kind"] == ALLOC:
            born[slot] = at
        elif at >= begin:
            name = ("PTE", "PMD", "PUD", "PGD")[op["level"]]
            lives[f"life_{name}"].append(at - born[slot])
        if at >= begin:
            curve.append(max(live, 1))
            runs[int(op["cpu"])].append(int(op["kind"]))
    found = features(ops, begin)
    for name, expected in lives.items():
        assert found[name].tolist() == expected
    assert found["live"].tolist() == curve
    bursts: dict[int, list[int]] = {ALLOC: [], FREE: []}
    for kinds in runs.values():
        text = "".join(map(str, kinds))
        bursts[ALLOC] += [len(part) for part in text.split("1") if part]
        bursts[FREE] += [len(part) for part in text.split("0") if part]
    assert sorted(found["alloc_burst"].tolist()) == sorted(bursts[ALLOC])
    assert sorted(found["free_burst"].tolist()) == sorted(bursts[FREE])
