# SPDX-License-Identifier: GPL-2.0-only
"""Fit a `Model` to recordings.

A group is what one burst frees: FREEs of one CPU with no ALLOC of that CPU in between and at most
`BURST_GAP_NS` apart. The recording is taken as it loops (`kpkeys_bench.workloads.loop`), so that
every table has an end, and time is counted in operations. Nothing is drawn by chance: the same
recordings give the same model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kpkeys_bench.errors import ConfigError
from kpkeys_bench.geometry import PAGE_SHIFTS
from kpkeys_bench.workloads.fitted import (
    BORN_UNITS,
    MAX_CLASSES,
    MAX_LIFE_OPS,
    NR_PLACES,
    NR_QUANTILES,
    TABLE_UNITS,
    FittedOn,
    GroupClass,
    Model,
)
from kpkeys_bench.workloads.loop import iteration
from kpkeys_bench.workloads.ops import ALLOC, FREE, LEVEL_NAMES, OpArray
from kpkeys_bench.workloads.trace import BURST_GAP_NS, Trace

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

WEIGHT_OPS: Final = 1_000_000
"""Weights of several recordings are groups in so many operations of all of them."""
#: Lives of one class differ by at most this factor, unless there are too few groups.
_LIFE_FACTOR: Final = 4
#: Fewer groups than that get no class of their own.
_FEW_GROUPS: Final = 8


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of a recording, one table an element, ordered by group and then by allocation.

    Attributes
    ----------
    period : int
        Operations of one iteration of the recording.
    first : (g + 1,) array of int
        Where each group begins in the arrays below, and the number of tables.
    age : (n,) array of int
        Operations from the table's allocation to the first free of its group, at least 1.
    level : (n,) array of int
        Of the table.
    died : (g,) array of int
        Position of the first free of the group.
    crossed : (g,) array of bool
        Whether the CPU that frees is not the one that allocated the first table.
    cpus : int
        CPUs that the recording has.
    """

    period: int
    first: Ints
    age: Ints
    level: Ints
    died: Ints
    crossed: npt.NDArray[np.bool_]
    cpus: int

    @property
    def tables(self) -> Ints:
        """Tables of each group."""
        return np.diff(self.first)

    @property
    def life(self) -> Ints:
        """Age of the first table of each group."""
        return self.age[self.first[:-1]]


def find_groups(trace: Trace) -> Groups:
    """Take a recording apart.

    Parameters
    ----------
    trace : Trace
        The recording.
    """
    ops, at_ns, _ = iteration(trace)
    period = len(ops)
    at = np.arange(period)
    is_free = ops["kind"] == FREE

    # of a slot, each free belongs to the allocation before it
    by_slot = np.argsort(ops["slot"], kind="stable")
    free_of = np.flatnonzero(is_free[by_slot])
    slot = ops["slot"][by_slot]
    begins = np.append(True, slot[1:] != slot[:-1])
    ends = np.append(begins[1:], True)
    before = by_slot[free_of - 1]
    # a slot that begins with a free was left over: its page is the slot's last
    wrapped = begins[free_of]
    last_of_slot = by_slot[np.flatnonzero(ends)]
    before[wrapped] = last_of_slot[np.cumsum(begins)[free_of[wrapped]] - 1]
    alloc_at = np.empty(period, np.int64)
    alloc_at[by_slot[free_of]] = before

    # bursts, CPU by CPU
    by_cpu = np.argsort(ops["cpu"], kind="stable")
    cpu, kind, ns = ops["cpu"][by_cpu], is_free[by_cpu], at_ns[by_cpu]
    new = np.append(
        True,
        (cpu[1:] != cpu[:-1]) | (kind[1:] != kind[:-1]) | (np.diff(ns) > BURST_GAP_NS),
    )
    burst = np.empty(period, np.int64)
    burst[by_cpu] = np.cumsum(new) - 1

    frees = at[is_free]
    _, group = np.unique(burst[frees], return_inverse=True)
    died = np.full(group.max() + 1, period, np.int64)
    np.minimum.at(died, group, frees)
    # what is allocated after the burst began, by another CPU, has no age yet
    age = np.maximum((frees - alloc_at[frees]) % period - (frees - died[group]), 1)
    order = np.lexsort((-age, group))
    first = np.append(np.flatnonzero(np.append(True, np.diff(group[order]) > 0)), len(frees))
    ordered = frees[order]
    heads = ordered[first[:-1]]
    return Groups(
        period=period,
        first=first.astype(np.int64),
        age=age[order],
        level=ops["level"][ordered].astype(np.int64),
        died=died,
        crossed=ops["cpu"][heads] != ops["cpu"][alloc_at[heads]],
        cpus=int(ops["cpu"].max()) + 1,
    )


def _quantiles(values: Floats, least: int, most: int) -> tuple[int, ...]:
    """Rising quantiles, times what gives them the mean of the values."""
    q = np.quantile(values, np.linspace(0, 1, NR_QUANTILES))
    mean = (q[1:-1].sum() + (q[0] + q[-1]) / 2) / (NR_QUANTILES - 1)
    if mean > 0:
        q *= values.mean() / mean
    return tuple(int(x) for x in np.clip(np.rint(q), least, most))


def _classes_of(groups: Groups) -> list[Ints]:
    """The groups of each class: sizes within a power of two, lives within one of four."""
    size = np.floor(np.log2(groups.tables)).astype(np.int64)
    life = np.floor(np.log(groups.life) / np.log(_LIFE_FACTOR)).astype(np.int64)
    classes: list[Ints] = []
    for number in np.unique(size):
        of_size: list[Ints] = []
        for bucket in np.unique(life[size == number]):
            members = np.flatnonzero((size == number) & (life == bucket)).astype(np.int64)
            if of_size and min(len(members), len(of_size[-1])) < _FEW_GROUPS:
                of_size[-1] = np.concatenate([of_size[-1], members])
            else:
                of_size.append(members)
        classes += of_size
    return classes


def _class(groups: Groups, members: Ints, share: float, weight_scale: float) -> GroupClass:
    """Summarise some of the groups; lives are divided by the recording's share of operations."""
    tables, life = groups.tables[members], groups.life[members]
    rows = np.concatenate([np.arange(groups.first[m], groups.first[m + 1]) for m in members])
    group_life = np.repeat(life, tables)
    rank = np.concatenate([np.arange(n) for n in tables])
    place = rank * NR_PLACES // np.repeat(tables, tables)
    born = 1 - groups.age[rows] / group_life
    # the first is allocated at the beginning, whatever is drawn
    others = born[rank > 0]
    born_64k = (
        _quantiles(others * BORN_UNITS, 0, BORN_UNITS) if len(others) else (0,) * NR_QUANTILES
    )
    levels = np.zeros((NR_PLACES, len(LEVEL_NAMES)), np.int64)
    np.add.at(levels, (place, groups.level[rows]), 1)
    empty = levels.sum(axis=1) == 0
    levels[empty] = levels.sum(axis=0)
    # lives and sizes go together: what is drawn apart must give the same sum of lives
    drawn = life.mean() * (len(members) + (1 - others).sum())
    life_ops = life * (groups.age[rows].sum() / drawn) / share
    return GroupClass(
        weight=max(1, round(len(members) * weight_scale)),
        tables_256=_quantiles(tables * float(TABLE_UNITS), TABLE_UNITS, 1 << 34),
        life_ops=_quantiles(life_ops, 1, MAX_LIFE_OPS),
        born_64k=born_64k,
        level_weight=tuple(tuple(int(x) for x in row) for row in levels),
        cross_cpu_64k=round(float(groups.crossed[members].mean()) * BORN_UNITS),
    )


def fit(
    traces: Sequence[Trace],
    name: str,
    *,
    part: str = "all",
    recordings: Sequence[Trace] | None = None,
) -> Model:
    """Fit a model to recordings.

    Parameters
    ----------
    traces : sequence of Trace
        At least one, all of one page size. Of several, each gets the same share of the operations,
        as if their machines stood side by side.
    name : str
        Of the model.
    part : str
        What part of its recording each trace is, for the record.
    recordings : sequence of Trace, optional
        The recordings that they are parts of, for the record; by default, themselves.

    Returns
    -------
    Model
        Classes in the order of recording, size and life.

    Raises
    ------
    ConfigError
        If recordings differ in page size or there are too many classes.
    """
    if not traces or len({trace.page_size for trace in traces}) > 1:
        raise ConfigError(
            f"cannot fit to {len(traces)} recordings of "
            f"{len({trace.page_size for trace in traces})} page sizes: give one or more of one size"
        )
    share = 1 / len(traces)
    classes: list[GroupClass] = []
    on: list[FittedOn] = []
    cpus = 1
    for trace, whole in zip(traces, recordings or traces, strict=True):
        groups = find_groups(trace)
        cpus = max(cpus, groups.cpus)
        # so many groups in as many operations: weights of several recordings must compare
        scale = WEIGHT_OPS * share / groups.period if len(traces) > 1 else 1.0
        classes += [_class(groups, members, share, scale) for members in _classes_of(groups)]
        on.append(FittedOn(whole.name, whole.workload_sha256, part, trace.nr_ops - trace.nr_pre))
    if len(classes) > MAX_CLASSES:
        raise ConfigError(
            f"model {name!r}: {len(classes)} classes of {len(traces)} recordings: a model has at "
            f"most {MAX_CLASSES}, so fit to fewer recordings at once"
        )
    shift = traces[0].page_size.bit_length() - 1
    return Model(
        name=name,
        help="fitted to " + ", ".join(f"{o.name} ({o.part})" for o in on),
        page_size=next(size for size, known in PAGE_SHIFTS.items() if known == shift),
        nr_cpus=cpus,
        classes=tuple(classes),
        fitted_on=tuple(on),
    )


def halves(trace: Trace) -> tuple[Trace, Trace]:
    """Cut a recording into two with as many events each.

    What is live at the cut becomes the prologue of the second.

    Parameters
    ----------
    trace : Trace
        At least two events.
    """
    cut = trace.nr_pre + (trace.nr_ops - trace.nr_pre) // 2
    ops, ts_ns = trace.ops, trace.ts_ns
    _, from_end = np.unique(ops["slot"][:cut][::-1], return_index=True)
    last_of_slot = cut - 1 - from_end
    pre = np.sort(last_of_slot[ops["kind"][last_of_slot] == ALLOC])
    second = np.concatenate([ops[pre], ops[cut:]])
    second_ns = np.concatenate([np.full(len(pre), ts_ns[cut]), ts_ns[cut:]])
    # slots are numbered without holes, in the order of their first use
    first_half, second = _renumbered(ops[:cut]), _renumbered(second)
    return (
        replace(trace, ops=first_half, ts_ns=ts_ns[:cut]),
        replace(trace, ops=second, ts_ns=second_ns, nr_pre=len(pre)),
    )


def _renumbered(ops: OpArray) -> OpArray:
    _, first, inverse = np.unique(ops["slot"], return_index=True, return_inverse=True)
    order = np.empty(len(first), np.uint32)
    order[np.argsort(first)] = np.arange(len(first), dtype=np.uint32)
    renumbered = ops.copy()
    renumbered["slot"] = order[inverse]
    return renumbered
