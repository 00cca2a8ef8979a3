# SPDX-License-Identifier: GPL-2.0-only
"""Claims about speed, as ratios within one run.

Both sides of a ratio take turns, so that whatever else the host does hits both. A ratio is the
median over the rounds; above 1 the subject takes longer than what it is compared with.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from measuring import STRATEGIES, Benchmark, Facts, Replay, Side, interleave, prepared

from kpkeys_bench.background import BACKGROUNDS
from kpkeys_bench.experiment import Setup, compare
from kpkeys_bench.machine import Machine
from kpkeys_bench.results import csv_text
from kpkeys_bench.strategy import Strategy
from kpkeys_bench.workloads.fitted import shipped_models
from kpkeys_bench.workloads.presets import PRESETS
from kpkeys_bench.workloads.workload import GENERATORS, Workload, parse_workload

Note = Callable[[str], None]

pytestmark = pytest.mark.benchmark(group="ratios")

GIB = 1 << 30
COMPARED = ("null", "noblock", "pba-9-4-2", "pba-4-2")
COMPARED_ON = ("forkexec:copies=8", "random", "fork_storm")


@pytest.mark.parametrize("strategy", ["pba-9-4-2", "noblock"])
def bench_replay_to_null(benchmark: Benchmark, setup: Setup, note: Note, strategy: str) -> None:
    """The same records in the same loop on an allocator that does nothing."""
    ops = prepared("forkexec", setup.ops, setup.seed)
    subject = Replay(setup, STRATEGIES[strategy], ops)
    null = Replay(setup, STRATEGIES["null"], ops)
    taken = interleave(benchmark, subject, {"null": null}, rounds=15)
    ns_per_op = taken.subject.median_ns / setup.ops
    null_ns_per_op = taken.references["null"].median_ns / setup.ops
    benchmark.extra_info |= {
        **taken.facts(),
        "workload": "forkexec",
        "workload_sha256": parse_workload("forkexec").sha256(setup.seed),
        "ops": setup.ops,
        "ns_per_op": ns_per_op,
        "null_ns_per_op": null_ns_per_op,
    }
    note(f"{taken.text()}: {ns_per_op:.1f} and {null_ns_per_op:.1f} ns an operation")


def bench_background_to_none(benchmark: Benchmark, setup: Setup, note: Note) -> None:
    """A replay beside the default background, what that does included, and one without."""
    alone = replace(setup, ram=4 * GIB)
    ops = prepared("forkexec", setup.ops, setup.seed)
    strategy = STRATEGIES["pba-9-4-2"]
    subject = Replay(replace(alone, background=BACKGROUNDS["desktop"]), strategy, ops)
    taken = interleave(benchmark, subject, {"none": Replay(alone, strategy, ops)}, rounds=5)
    benchmark.extra_info |= {**taken.facts(), "workload": "forkexec", "ops": setup.ops}
    note(f"{taken.text()}: {taken.subject.median_ns / setup.ops:.0f} ns an operation")


@dataclass
class _Generate:
    """All operations of a synthetic workload, made and forgotten."""

    workload: Workload
    setup: Setup

    def prepare(self) -> None:
        pass

    def run(self) -> None:
        for _ in self.workload.batches(self.setup.ops, self.setup.seed):
            pass

    def finish(self) -> None:
        pass


@pytest.mark.parametrize("generator", [*GENERATORS, *shipped_models(), *PRESETS])
def bench_generate_to_replay(
    benchmark: Benchmark, setup: Setup, note: Note, generator: str
) -> None:
    """Making operations against consuming them."""
    ops = prepared(generator, setup.ops, setup.seed)
    replays: dict[str, Side] = {
        name: Replay(setup, STRATEGIES[name], ops) for name in ("null", "pba-9-4-2")
    }
    taken = interleave(benchmark, _Generate(parse_workload(generator), setup), replays, rounds=11)
    mops_s = setup.ops * 1e3 / taken.subject.median_ns
    benchmark.extra_info |= {
        **taken.facts(),
        **{f"generated_per_replayed_{name}": 1 / taken.ratio(name) for name in replays},
        "generated_mops_s": mops_s,
        "ops": setup.ops,
    }
    note(f"{taken.text()}: {mops_s:.0f} M operations/s made")


@dataclass
class _Compare:
    """A whole comparison: generate, replay in all passes, tabulate."""

    setup: Setup
    cpu_s: list[float] = field(default_factory=list)
    nr_ops: int = 0

    def prepare(self) -> None:
        pass

    def run(self) -> None:
        start = time.process_time()
        strategies = [STRATEGIES[name] for name in COMPARED]
        workloads = [parse_workload(name) for name in COMPARED_ON]
        results = compare(strategies, workloads, self.setup)
        for table in results.tables().values():
            csv_text(table)
        self.cpu_s.append(time.process_time() - start)
        # without clock reads, on null, and with clock reads
        self.nr_ops = 3 * self.setup.ops * len(results.run_rows)

    def finish(self) -> None:
        pass


@dataclass
class _Together:
    """Several sides one after the other."""

    sides: list[Replay]

    def prepare(self) -> None:
        for side in self.sides:
            side.prepare()

    def run(self) -> None:
        for side in self.sides:
            side.run()

    def finish(self) -> None:
        for side in self.sides:
            side.finish()


def bench_compare_end_to_end(benchmark: Benchmark, setup: Setup, note: Note) -> None:
    """A comparison from names to tables against the bare replays: one pass, nothing generated."""
    subject = _Compare(setup)
    replays = _Together(
        [
            Replay(setup, STRATEGIES[strategy], ops)
            for ops in (prepared(workload, setup.ops, setup.seed) for workload in COMPARED_ON)
            for strategy in COMPARED
        ]
    )
    taken = interleave(benchmark, subject, {"bare_replays": replays}, rounds=3)
    seconds = taken.subject.median_ns / 1e9
    cpu_s = float(np.median(subject.cpu_s))
    facts: Facts = {
        "runs": len(COMPARED) * len(COMPARED_ON),
        "ops": setup.ops,
        "replayed_ops_all_passes": subject.nr_ops,
        "mops_s": subject.nr_ops / seconds / 1e6,
        "mops_s_core": subject.nr_ops / cpu_s / 1e6,
        "cores": cpu_s / seconds,
    }
    benchmark.extra_info |= {**taken.facts(), **facts}
    note(
        f"{taken.text()}: {facts['mops_s']:.1f} M operations/s over all passes, "
        f"{facts['mops_s_core']:.1f} per second of one core"
    )


def _resident_bytes() -> int | None:
    """Memory of this process, page by page: the counter in /proc/self/statm may be behind."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss:"))


@dataclass
class _Boot:
    """Create and boot a machine."""

    strategy: Strategy
    ram: int
    grown: list[int] = field(default_factory=list)
    _before: int | None = None
    _machine: Machine | None = None

    def prepare(self) -> None:
        self._before = _resident_bytes()

    def run(self) -> None:
        self._machine = Machine(self.strategy, ram=self.ram)
        self._machine.boot()

    def finish(self) -> None:
        if self._machine is None:
            return
        # nothing is given back on the way here: this is the peak
        after = _resident_bytes()
        if after is not None and self._before is not None:
            self.grown.append(after - self._before)
        self._machine.close()
        self._machine = None


@pytest.mark.parametrize("linear_map", ["block", "pte"])
def bench_create_64g(benchmark: Benchmark, note: Note, linear_map: str) -> None:
    """Creation and boot of 64 GB, against 1 GB and, of the PTE map, against the block map."""
    strategy = STRATEGIES["pba-9-4-2" if linear_map == "block" else "noblock"]
    subject = _Boot(strategy, 64 * GIB)
    references: dict[str, Side] = {"1g": _Boot(strategy, GIB)}
    if linear_map == "pte":
        references["block"] = _Boot(STRATEGIES["pba-9-4-2"], 64 * GIB)
    taken = interleave(benchmark, subject, references, rounds=25)
    # the first one brings code and the heap with it
    grown = max(subject.grown[1:], default=None)
    benchmark.extra_info |= {
        **taken.facts(),
        "ram_bytes": subject.ram,
        "linear_map": strategy.linear_map,
        "peak_rss_growth_bytes": grown,
    }
    note(
        f"{taken.text()}: {taken.subject.median_ns / 1e3:.0f} us, "
        f"{'unknown' if grown is None else grown >> 10} kB of host memory"
    )
