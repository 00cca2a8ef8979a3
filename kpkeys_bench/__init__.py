# SPDX-License-Identifier: GPL-2.0-only
"""A laboratory for the allocation of page table pages that carry a protection key.

>>> from kpkeys_bench import Setup, Strategy, compare, parse_workload
>>> results = compare([Strategy("pba", (9, 4, 2)), Strategy("pba", (2,))],
...                   [parse_workload("forkexec:copies=8")], Setup(ops=100_000))
>>> results.runs[["refill_orders", "split_pmd", "split_contpte"]]  # doctest: +SKIP
"""

from kpkeys_bench.background import Background, parse_background
from kpkeys_bench.errors import (
    ConfigError,
    KpbError,
    MachineBusyError,
    MachineError,
    ResultError,
    TraceError,
)
from kpkeys_bench.experiment import Setup, compare, run
from kpkeys_bench.geometry import Geometry, geometry
from kpkeys_bench.machine import Machine
from kpkeys_bench.results import Results
from kpkeys_bench.strategy import State, Strategy, parse_state
from kpkeys_bench.workloads.workload import Workload, parse_workload, trace_workload

__all__ = [
    "Background",
    "ConfigError",
    "Geometry",
    "KpbError",
    "Machine",
    "MachineBusyError",
    "MachineError",
    "ResultError",
    "Results",
    "Setup",
    "State",
    "Strategy",
    "TraceError",
    "Workload",
    "compare",
    "geometry",
    "parse_background",
    "parse_state",
    "parse_workload",
    "run",
    "trace_workload",
]
