# SPDX-License-Identifier: GPL-2.0-only
"""Fitted workloads: the C generator against a slow one, what it conserves, files, refusals."""

import hashlib
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from fitted_model import Slow
from hypothesis import given, settings
from hypothesis import strategies as st

from kpkeys_bench import ConfigError, _ffi, parse_workload
from kpkeys_bench.workloads.fitted import (
    NR_PLACES,
    NR_QUANTILES,
    FittedOn,
    FittedWorkload,
    GroupClass,
    Model,
    dump_model,
    load_model,
    parse_model,
    save_model,
    shipped_models,
)
from kpkeys_bench.workloads.ops import ALLOC, FREE, OP_DTYPE, check_ops


def group_class(weight=1, tables=(4, 4), life=(100, 100), born=(0, 0), levels=(1, 0, 0, 0)):
    """A class whose quantiles are straight lines."""

    def line(ends, unit):
        return tuple(int(x * unit) for x in np.linspace(*ends, NR_QUANTILES))

    return GroupClass(
        weight, line(tables, 256), line(life, 1), line(born, 65536), (levels,) * NR_PLACES, 0
    )


def model(*classes, nr_cpus=2):
    return Model("mine", "a test", None, nr_cpus, classes)


def stream(workload, nr_ops, seed=1):
    return np.concatenate([ops.copy() for ops, _ in workload.batches(nr_ops, seed)])


def raw(fields, nr_ops, seed):
    handle = _ffi.FittedHandle("mine", fields, seed)
    ops = np.zeros(nr_ops, OP_DTYPE)
    handle.fill(ops)
    return ops, handle.nr_cut()


def rising(least, most):
    return st.lists(st.integers(least, most), min_size=NR_QUANTILES, max_size=NR_QUANTILES).map(
        sorted
    )


classes = st.fixed_dictionaries(
    {
        "weight": st.integers(1, 5),
        "cross_cpu_64k": st.integers(0, 65536),
        "jitter_64k": st.integers(0, 65536),
        "tables_256": rising(256, 256 * 12),
        "life_ops": rising(1, 3000),
        "born_64k": rising(0, 65536),
        "level_weight": st.lists(
            st.lists(st.integers(0, 9), min_size=4, max_size=4).filter(any),
            min_size=NR_PLACES,
            max_size=NR_PLACES,
        ),
    }
)


@settings(max_examples=60, deadline=None)
@given(
    chosen=st.lists(classes, min_size=1, max_size=4),
    nr_cpus=st.integers(1, 5),
    nr_slots=st.integers(1, 4000),
    seed=st.integers(0, 2**64 - 1),
)
def test_generator_agrees_with_the_slow_one_in_every_operation(chosen, nr_cpus, nr_slots, seed):
    fields = {
        "nr_classes": len(chosen),
        "nr_cpus": nr_cpus,
        "nr_slots": nr_slots,
        "classes": chosen,
    }
    ops, cut = raw(fields, 3000, seed)
    slow = Slow(fields, seed)
    expected = list(islice(iter(slow), 3000))
    assert [tuple(int(op[f]) for f in ("kind", "slot", "level", "cpu")) for op in ops] == expected
    # the last burst may have ended in one of them and not yet in the other
    assert abs(slow.cut - cut) <= 1
    live = check_ops(ops, nr_slots)
    assert live.sum() == (ops["kind"] == ALLOC).sum() - (ops["kind"] == FREE).sum()


@pytest.mark.parametrize("name", sorted(shipped_models()))
def test_shipped_model_agrees_with_the_slow_one(name):
    scaled = load_model(shipped_models()[name]).scaled(3)
    fields = scaled.fields(nr_slots=scaled.nr_slots)
    ops, cut = raw(fields, 20_000, 5)
    expected = list(islice(iter(Slow(fields, 5)), 20_000))
    assert [tuple(int(op[f]) for f in ("kind", "slot", "level", "cpu")) for op in ops] == expected
    assert cut == 0


@pytest.mark.parametrize("name", [*sorted(shipped_models()), "like-mmap:tables=300", "phone"])
def test_stream_is_replayable_and_does_not_depend_on_chunks(name):
    workload = parse_workload(name)
    ops = stream(workload, 150_000)
    check_ops(ops, workload.nr_slots)
    assert np.array_equal(stream(parse_workload(name), 70_001), ops[:70_001])
    handle = _ffi.FittedHandle("x", workload.scaled.fields(nr_slots=workload.nr_slots), 1)
    parts = []
    for size in range(1, 300):
        parts.append(np.zeros(size, OP_DTYPE))
        handle.fill(parts[-1])
    joined = np.concatenate(parts)
    assert np.array_equal(joined, ops[: len(joined)])


def test_stream_is_the_same_on_every_machine():
    # counted once; a change of the generator or of the model changes it, and results with it
    ops = stream(parse_workload("like-forkexec:machines=4"), 100_000, seed=7)
    assert hashlib.sha256(ops.tobytes()).hexdigest()[:16] == "4341c01202e41fb7"


def test_live_level_is_what_the_model_says():
    # 4 tables for 100 operations and 2 for 1,000, as many groups of each: in 12 operations 2,400
    # table lives begin, so 2,400 / 12 = 200 are live
    mine = model(
        group_class(tables=(4, 4), life=(100, 100)), group_class(tables=(2, 2), life=(1000, 1000))
    )
    assert mine.mean_live == pytest.approx((4 * 100 + 2 * 1000) / 12)
    live = np.cumsum(np.where(stream(FittedWorkload(mine), 50_000)["kind"] == ALLOC, 1, -1))
    assert live[5000:].mean() == pytest.approx(200, rel=0.03)
    # it begins there: nothing overshoots
    assert live.max() < 230
    assert live[250:].min() > 170


def test_scale_multiplies_lives_and_the_live_level():
    mine = model(group_class(life=(50, 150)))
    assert mine.scaled(8).mean_live == pytest.approx(8 * mine.mean_live)
    workload = FittedWorkload(mine, {}, 8.0)
    live = np.cumsum(np.where(stream(workload, 50_000)["kind"] == ALLOC, 1, -1))
    assert live[5000:].mean() == pytest.approx(400, rel=0.03)
    assert workload.sha256(1) != FittedWorkload(mine).sha256(1)
    assert workload.sha256(1) != workload.sha256(2)


def test_classes_come_as_often_as_their_weights():
    # levels tell the classes apart; of 8 groups of one table 5 are PTE and 3 are PGD
    mine = model(
        group_class(5, (1, 1), levels=(1, 0, 0, 0)), group_class(3, (1, 1), levels=(0, 0, 0, 1))
    )
    ops = stream(FittedWorkload(mine), 40_000)
    levels = ops["level"][ops["kind"] == ALLOC][1000:9000]
    # rounds of 8 groups: no run of rounds is off by more than what is cut at its ends
    assert abs(int((levels == 0).sum()) - 5000) <= 5
    assert set(np.unique(levels)) == {0, 3}


def test_group_is_freed_in_one_burst_in_order_of_allocation():
    mine = model(group_class(tables=(6, 6), life=(500, 500), born=(0, 1)), nr_cpus=1)
    ops = stream(FittedWorkload(mine), 20_000)
    born = {}
    runs = 0
    groups: list[list[int]] = []
    for at, op in enumerate(ops):
        if op["kind"] == ALLOC:
            born[int(op["slot"])] = at
            continue
        if runs == 0:
            groups.append([])
            runs = 6
        groups[-1].append(born.pop(int(op["slot"])))
        runs -= 1
    assert len(groups) > 1000
    assert all(group == sorted(group) for group in groups)


def test_model_file_holds_what_was_written(tmp_path):
    mine = replace(
        load_model(shipped_models()["like-mmap"]),
        name="mine",
        fitted_on=(FittedOn('a "b"', "ab" * 32, "all", 7),),
    )
    save_model(mine, tmp_path / "mine.toml")
    assert load_model(tmp_path / "mine.toml") == mine
    assert parse_model(dump_model(mine), "mine") == mine
    text = f"{tmp_path / 'mine.toml'}:machines=3"
    assert parse_workload(text).name == "mine:machines=3"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("format = 1", "format = 2", "format 2"),
        ("format = 1", "format = [", "not TOML"),
        ("nr_cpus = 2", "nr_cpus = 0", "nr_cpus of 0: give 1 to 256"),
        ("nr_cpus = 2", "nr_cpus = true", "whole number"),
        ("nr_cpus = 2", "nr_cpus = -1", "whole number"),
        ('page_size = "4K"', 'page_size = "8K"', "give any, 4K"),
        ("weight = 276", "weight = 99999999999", "whole number"),
        ("weight = 276", "weight = 99999999", "sum of the weights"),
        ("life_ops = [1, ", "life_ops = [0, ", "class 0, quantile 0: life_ops of 0: give 1 to"),
        ("life_ops = [1, ", "life_ops = [1, 9999, ", "18, 17"),
        ("born_64k = [0, ", "born_64k = [70000, ", "born_64k"),
        ("born_64k = [0, ", "born_64k = [1, ", "quantile 1: born_64k of 0: give 1 to 65536"),
        ("tables_256 = [256", "tables_256 = [255", "tables_256 of 255: give 256 to"),
        ("[[class]]", "[class]", "class"),
        ("level_weight = [[4, 0, 0, 272]", "level_weight = [[0, 0, 0, 0]", "sum of level_weight"),
        ("level_weight = [[4, 0, 0, 272]", "level_weight = [[4, 0, 0]", "level_weight"),
    ],
)
def test_model_file_that_is_wrong_is_refused_by_name(tmp_path, old, new, why):
    good = shipped_models()["like-forkexec"].read_text(encoding="utf-8")
    assert old in good
    bad = tmp_path / "bad.toml"
    bad.write_text(good.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad") as caught:
        load_model(bad)
    if new != "[class]":
        assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("like-mmap:machines=0", "at least 1"),
        ("like-mmap:machines=2,tables=2", "machines=N or tables=N"),
        ("like-mmap:copies=2", "machines=N or tables=N"),
        ("like-mmap:tables=99999999999999", "give 1 to|must become|limit"),
        ("absent.toml", "cannot read"),
        ("nosuch", "fitted are like-both"),
    ],
)
def test_fitted_workload_that_cannot_be_is_refused(name, why):
    with pytest.raises(ConfigError, match=why):
        parse_workload(name)
