# SPDX-License-Identifier: GPL-2.0-only
"""Options of the benchmarks, what their JSON says of the host, and the project's own CSV tables.

Nothing of kpkeys_bench is imported before a benchmark needs it: plain pytest reads this file too.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from measuring import Benchmark

    from kpkeys_bench.experiment import Setup
    from kpkeys_bench.results import Results

RESULTS: pytest.StashKey[Results] = pytest.StashKey()
NOTES: pytest.StashKey[list[tuple[str, str]]] = pytest.StashKey()
WRITTEN: pytest.StashKey[list[Path]] = pytest.StashKey()

MEASURED = ("ns_per_tick", "clock_floor_ns", "clock_quantum_ns")
"""Facts of the host that differ a little each time they are measured."""


def _number_of_ops(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} operations: give a whole number, at least 1")
    return int(text)


def _bytes_of_ram(text: str) -> int:
    from kpkeys_bench.errors import ConfigError
    from kpkeys_bench.geometry import parse_bytes

    try:
        return parse_bytes(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kpkeys_bench", "benchmarks of kpkeys_bench")
    group.addoption(
        "--kpb-csv",
        metavar="FILE",
        type=Path,
        help="write one row per replay benchmark, with all its counts, to FILE and the tables by "
        "path and by cause beside it (write --kpb-csv=FILE unless benchmarks is named, too)",
    )
    group.addoption(
        "--kpb-ops",
        metavar="N",
        type=_number_of_ops,
        default=os.environ.get("KPB_BENCH_OPS", "1000000"),
        help="operations of one replay; default: $KPB_BENCH_OPS or 1000000",
    )
    group.addoption(
        "--kpb-ram",
        metavar="SIZE",
        type=_bytes_of_ram,
        help="simulated RAM of the replays, such as 64G; default: as in a run of the program",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NOTES] = []
    if config.pluginmanager.hasplugin("benchmark"):
        _let_pytest_benchmark_warn(config)
    else:  # then it is its fixture that is missed, by name
        config.addinivalue_line("markers", "benchmark: of pytest-benchmark")
    target = config.getoption("--kpb-csv")
    if target is None:
        return
    from kpkeys_bench.errors import ResultError
    from kpkeys_bench.results import check_writable

    if config.getoption("dist", default="no") != "no":
        raise pytest.UsageError("--kpb-csv: pytest-xdist keeps the rows from it; leave out -n")
    if str(target) == "-":
        raise pytest.UsageError("--kpb-csv=-: standard output is pytest's own; name a file")
    try:
        check_writable(target)
    except ResultError as error:
        raise pytest.UsageError(f"--kpb-csv: {error}") from None


def _let_pytest_benchmark_warn(config: pytest.Config) -> None:
    """Nothing to save, another host to compare with: to be said, but no reason to fail."""
    from pytest_benchmark.logger import PytestBenchmarkWarning

    # The first is for the moments for which pytest sets filters of its own, the second for others.
    name = f"{PytestBenchmarkWarning.__module__}.{PytestBenchmarkWarning.__name__}"
    config.addinivalue_line("filterwarnings", f"default::{name}")
    warnings.filterwarnings("default", category=PytestBenchmarkWarning)


@pytest.fixture(scope="session")
def setup(pytestconfig: pytest.Config) -> Setup:
    """What all replays share: 4K pages, fresh memory, seed 1."""
    from kpkeys_bench.experiment import DEFAULT_RAM, Setup

    ram = pytestconfig.getoption("--kpb-ram") or DEFAULT_RAM
    return Setup(ops=pytestconfig.getoption("--kpb-ops"), ram=ram)


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> Results:
    """Where benchmarks put the rows of --kpb-csv."""
    from kpkeys_bench.results import Results

    return pytestconfig.stash.setdefault(RESULTS, Results())


@pytest.fixture
def note(
    pytestconfig: pytest.Config, request: pytest.FixtureRequest, benchmark: Benchmark
) -> Callable[[str], None]:
    """Print a line at the end of the run, with the benchmark's name before it."""

    def add(text: str) -> None:
        if benchmark.stats is not None:  # --benchmark-disable: a single round says nothing
            pytestconfig.stash[NOTES].append((request.node.name, text))

    return add


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    target = config.getoption("--kpb-csv")
    if target is None or config.getoption("collectonly"):
        return
    from kpkeys_bench.errors import ResultError
    from kpkeys_bench.results import Results

    try:
        config.stash[WRITTEN] = config.stash.get(RESULTS, Results()).to_csv(target)
    except ResultError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.INTERNAL_ERROR)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    notes = config.stash[NOTES]
    if notes:
        terminalreporter.section("kpkeys_bench: what the table above does not show")
    width = max((len(name) for name, _ in notes), default=0)
    for name, text in notes:
        terminalreporter.write_line(f"{name:{width}}  {text}")
    for path in config.stash.get(WRITTEN, []):
        terminalreporter.write_line(f"kpkeys_bench: wrote {path}")


# Hooks of pytest-benchmark, which may be absent.


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Add the facts that are the same in each run: --benchmark-compare wants them to be equal."""
    from kpkeys_bench import sysinfo

    facts = sysinfo.info()
    machine_info["kpkeys_bench"] = {k: v for k, v in facts.items() if k not in MEASURED}


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Add what was measured of the host, and what this run was asked for."""
    from kpkeys_bench import sysinfo

    facts = sysinfo.info()
    output_json["kpkeys_bench"] = {
        **{name: facts[name] for name in MEASURED},
        "load_average": os.getloadavg()[0],
        "ops": config.getoption("--kpb-ops"),
    }
