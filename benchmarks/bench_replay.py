# SPDX-License-Identifier: GPL-2.0-only
"""Replays without clock reads, by workload and strategy.

What is measured is one replay on a machine that has just booted. The counts of all rounds must be
the same, and those of a run of the program as well, from which the service times come.
"""

from dataclasses import replace

import numpy as np
import pytest
from measuring import STRATEGIES, Benchmark, Facts, Replay, prepared

from kpkeys_bench.experiment import Setup, run
from kpkeys_bench.results import CLOCK, COUNTS, IDENTITY, SERVICE, Results
from kpkeys_bench.workloads.workload import parse_workload

WORKLOADS = {
    "forkexec-x8": "forkexec:copies=8",
    "mmap-x8": "mmap:copies=8",
    "many-x8": "many:copies=8",
    "random": "random",
    "fork_storm": "fork_storm",
}
ROUNDS = 7


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def bench_replay(
    benchmark: Benchmark, setup: Setup, results: Results, workload: str, strategy: str
) -> None:
    benchmark.group = f"replay {workload}"
    replay = Replay(setup, STRATEGIES[strategy], prepared(workload, setup.ops, setup.seed))
    benchmark.pedantic(replay.run, setup=replay.prepare, rounds=ROUNDS, warmup_rounds=1)
    replay.finish()

    reference = run(
        STRATEGIES[strategy], parse_workload(workload), replace(setup, timing="bracket")
    )
    (row,) = reference.run_rows
    counted = {name: row[name] for name in COUNTS if name in replay.counts}
    assert counted == {name: replay.counts[name] for name in counted}

    if benchmark.stats is not None:  # --benchmark-disable
        row["ns_per_op"] = benchmark.stats.stats.median * 1e9 / setup.ops
        row["throughput_ops_s"] = 1e9 / row["ns_per_op"]
    benchmark.extra_info |= _extra(row)
    results.add(reference)


def _extra(row: Facts) -> Facts:
    refills = [name for name in row if name.startswith("refills_order_") and row[name]]
    columns = (*IDENTITY, *COUNTS, *refills, "ns_per_op", "null_ns_per_op", *SERVICE, *CLOCK)
    # numpy's numbers are no JSON
    return {
        name: row[name].item() if isinstance(row[name], np.generic) else row[name]
        for name in columns
        if name in row
    }
