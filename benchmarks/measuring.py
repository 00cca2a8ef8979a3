# SPDX-License-Identifier: GPL-2.0-only
"""What the benchmarks share: replays on fresh machines, and comparisons that interleave.

Nothing here judges a time. Counts are judged: whatever replays the same operations on the same
machine has to count the same.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol

import numpy as np
import pytest

from kpkeys_bench import _ffi, sysinfo
from kpkeys_bench.experiment import Setup
from kpkeys_bench.machine import Machine, PathTimes
from kpkeys_bench.results import QUANTILES
from kpkeys_bench.strategy import Strategy
from kpkeys_bench.workloads.workload import Batch, parse_workload

STRATEGIES: Final = {
    "null": Strategy("null"),
    "noblock": Strategy("noblock"),
    "pba-9-4-2": Strategy("pba", (9, 4, 2)),
    "pba-9-2": Strategy("pba", (9, 2)),
    "pba-4-2": Strategy("pba", (4, 2)),
    "pba-2": Strategy("pba", (2,)),
}
"""Strategies for 4K pages by the ids of benchmarks."""

Facts = dict[str, Any]


class Benchmark(Protocol):
    """The part of pytest-benchmark's fixture that is used here."""

    extra_info: Facts
    group: str | None
    stats: Any

    def pedantic(
        self,
        target: Callable[[], None],
        *,
        setup: Callable[[], None] | None = None,
        rounds: int = 1,
        warmup_rounds: int = 0,
    ) -> None:
        """Measure `target`, and not `setup`, `rounds` times."""


class Side(Protocol):
    """Something that can be measured again and again."""

    def prepare(self) -> None:
        """What comes before and is not measured."""

    def run(self) -> None:
        """What is measured."""

    def finish(self) -> None:
        """What comes after and is not measured."""


@dataclass(frozen=True)
class Prepared:
    """The operations of one workload, all of them in memory."""

    nr_slots: int
    nr_ops: int
    batches: tuple[Batch, ...]


@lru_cache(maxsize=4)
def prepared(workload: str, nr_ops: int, seed: int) -> Prepared:
    """Make the operations of a workload once for the benchmarks that follow each other."""
    found = parse_workload(workload)
    # a generator uses its array again
    batches = tuple((ops.copy(), repeat) for ops, repeat in found.batches(nr_ops, seed))
    return Prepared(found.nr_slots, nr_ops, batches)


def booted(setup: Setup, strategy: Strategy) -> Machine:
    """A fresh machine that has booted."""
    machine = setup.machine(strategy)
    machine.boot()
    return machine


def snapshot(machine: Machine) -> Facts:
    """Everything that a machine counts, by the names of the result columns where there is one."""
    causes = machine.map_counters().values()
    sums = {name: sum(cause[name] for cause in causes) for name in next(iter(causes))}
    facts = {**machine.state(), **machine.counters(), **sums}
    # of a clock, and no count
    del facts["background_ticks"]
    return facts


def difference(before: Facts, after: Facts) -> Facts:
    """What changed, by name."""
    return {name: after[name] for name in after if after[name] != before[name]}


@dataclass
class Replay:
    """A replay of prepared operations; each on a fresh machine, booted outside what is measured.

    Host memory behind the simulated RAM and its ``struct page`` is touched inside, for the first
    time on each machine, as in a run of the program.
    """

    setup: Setup
    strategy: Strategy
    ops: Prepared
    timing: str = "none"
    every: int = 1
    times: PathTimes | None = None
    counts: Facts = field(default_factory=dict)
    _machine: Machine | None = None

    def prepare(self) -> None:
        self.finish()
        self._machine = booted(self.setup, self.strategy)
        self._machine.set_slots(self.ops.nr_slots)

    def run(self) -> None:
        machine = self._machine
        assert machine is not None
        for ops, repeat in self.ops.batches:
            machine.replay(ops, repeat, timing=self.timing, every=self.every, times=self.times)

    def finish(self) -> None:
        """Close the machine; fail if it counted otherwise than the ones before."""
        if self._machine is None:
            return
        with self._machine as machine:
            counts = snapshot(machine)
        self._machine = None
        changed = difference(self.counts or counts, counts)
        if changed:
            before = {name: self.counts[name] for name in changed}
            pytest.fail(f"counts differ between rounds: {before} became {changed}")
        self.counts = counts


@dataclass
class Taken:
    """Times of one side, one element a round, in ns."""

    wall_ns: list[int] = field(default_factory=list)
    cpu_ns: list[int] = field(default_factory=list)

    def take(self, side: Side) -> None:
        """Run a side that is prepared."""
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        side.run()
        self.wall_ns.append(time.perf_counter_ns() - wall)
        self.cpu_ns.append(time.thread_time_ns() - cpu)

    @property
    def median_ns(self) -> float:
        """Median of the wall clock times."""
        return float(np.median(self.wall_ns))


@dataclass
class Interleaved:
    """A subject and its references that took turns."""

    subject: Taken
    references: dict[str, Taken]

    def ratio(self, name: str) -> float:
        """Median over the rounds of subject to reference."""
        return float(np.median(np.divide(self.subject.wall_ns, self.references[name].wall_ns)))

    def facts(self) -> Facts:
        """Ratios to each reference, as ``extra_info`` keeps them: the median and the quartiles.

        ``cpu_ratio_to_`` is the median for CPU time, which is what is left of the claim where
        something else keeps the host busy.
        """
        facts: Facts = {}
        for name, reference in self.references.items():
            ratios = np.divide(self.subject.wall_ns, reference.wall_ns)
            low, high = np.quantile(ratios, (0.25, 0.75)).tolist()
            # a coarse clock may have seen nothing
            cpu_ratios = np.divide(self.subject.cpu_ns, np.maximum(reference.cpu_ns, 1))
            facts |= {
                f"ratio_to_{name}": self.ratio(name),
                f"ratio_to_{name}_p25": low,
                f"ratio_to_{name}_p75": high,
                f"cpu_ratio_to_{name}": float(np.median(cpu_ratios)),
            }
        return facts

    def text(self) -> str:
        """The ratios for people."""
        facts = self.facts()
        return ", ".join(
            f"{facts[key]:.3g} x {name} ({facts[f'{key}_p25']:.3g} to {facts[f'{key}_p75']:.3g}; "
            f"CPU time {facts[f'cpu_{key}']:.3g})"
            for name, key in ((name, f"ratio_to_{name}") for name in self.references)
        )


def interleave(
    benchmark: Benchmark, subject: Side, references: Mapping[str, Side], *, rounds: int
) -> Interleaved:
    """Measure a subject and its references in turn, so that a drift of the host hits all of them.

    The order is S R, R S, S R, ...: what changes at a constant rate cancels out. Each side has run
    once before the first round. The ratio of a round is that of two neighbours in time.
    """
    taken = Interleaved(Taken(), {name: Taken() for name in references})
    owed = False

    def measure_references() -> None:
        for name, side in references.items():
            side.prepare()
            taken.references[name].take(side)
            side.finish()

    def before() -> None:
        nonlocal owed
        subject.finish()
        if owed:
            measure_references()
        owed = len(taken.subject.wall_ns) % 2 == 0
        if not owed:
            measure_references()
        subject.prepare()

    for side in (subject, *references.values()):
        side.prepare()
        side.run()
        side.finish()
    benchmark.pedantic(lambda: taken.subject.take(subject), setup=before, rounds=rounds)
    subject.finish()
    if owed:
        measure_references()
    return taken


def service_facts(times: PathTimes) -> Facts:
    """Service times over all paths in ns, with the clock that took them."""
    clock = dict(sysinfo.clock_facts())
    scale = float(clock.pop("ns_per_tick"))
    count = int(times["count"].sum())
    quantiles = _ffi.hist_quantiles(times["hist"].sum(axis=0), list(QUANTILES.values())) * scale
    facts = {f"service_ns_{k}": float(v) for k, v in zip(QUANTILES, quantiles, strict=True)}
    facts["service_ns_max"] = int(times["max_ticks"].max()) * scale
    facts["service_ns_mean"] = int(times["sum_ticks"].sum()) * scale / max(count, 1)
    return facts | clock
