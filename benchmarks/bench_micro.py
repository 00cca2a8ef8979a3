# SPDX-License-Identifier: GPL-2.0-only
"""What it costs to take time: the same replay in each timing mode.

Each mode takes turns with a replay without clock reads; "none" against itself shows the noise.
"""

from collections.abc import Callable

import numpy as np
import pytest
from measuring import STRATEGIES, Benchmark, Replay, interleave, prepared, service_facts

from kpkeys_bench import sysinfo
from kpkeys_bench.experiment import Setup
from kpkeys_bench.machine import new_times

MODES = {"none": 1, "chained": 1, "bracket": 1, "sample": 100}


@pytest.mark.benchmark(group="timing modes")
@pytest.mark.parametrize("mode", MODES)
def bench_timing(
    benchmark: Benchmark, setup: Setup, note: Callable[[str], None], mode: str
) -> None:
    ops = prepared("forkexec", setup.ops, setup.seed)
    strategy = STRATEGIES["pba-9-4-2"]
    times = None if mode == "none" else new_times()
    subject = Replay(setup, strategy, ops, timing=mode, every=MODES[mode], times=times)
    untimed = Replay(setup, strategy, ops)
    taken = interleave(benchmark, subject, {"none": untimed}, rounds=11)
    assert subject.counts == untimed.counts

    extra_ns = np.subtract(taken.subject.wall_ns, taken.references["none"].wall_ns) / setup.ops
    facts = {
        **taken.facts(),
        "ops": setup.ops,
        "ns_per_op": taken.subject.median_ns / setup.ops,
        "none_ns_per_op": taken.references["none"].median_ns / setup.ops,
        "timing_ns_per_op": float(np.median(extra_ns)),
        "sample_every": MODES[mode],
        **(sysinfo.clock_facts() if times is None else service_facts(times)),
    }
    benchmark.extra_info |= facts
    note(
        f"{taken.text()}: {facts['timing_ns_per_op']:+.1f} ns an operation; clock floor "
        f"{facts['clock_floor_ns']:.1f} ns, quantum {facts['clock_quantum_ns']:.2f} ns"
    )
