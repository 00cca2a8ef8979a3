# SPDX-License-Identifier: GPL-2.0-only
"""The benchmarks as a user starts them, with few operations."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kpkeys_bench.experiment import Setup, run
from kpkeys_bench.results import COUNTS, IDENTITY, SERVICE
from kpkeys_bench.strategy import Strategy
from kpkeys_bench.workloads.workload import parse_workload

pytest.importorskip("pytest_benchmark", reason="needs pytest-benchmark: pip install .[bench]")

ROOT = Path(__file__).parents[1]
NR_OPS = 2000
STRATEGIES = {
    "null": Strategy("null"),
    "noblock": Strategy("noblock"),
    "pba-9-4-2": Strategy("pba", (9, 4, 2)),
    "pba-9-2": Strategy("pba", (9, 2)),
    "pba-4-2": Strategy("pba", (4, 2)),
    "pba-2": Strategy("pba", (2,)),
}


class Session(NamedTuple):
    rows: list[dict[str, str]]
    json: dict[str, Any]
    output: str


def run_pytest(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *args],
        cwd=ROOT,
        # safe path: the package under test stays the one that this process has
        env=os.environ | {"KPB_BENCH_OPS": str(NR_OPS), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_benchmarks(folder: Path, select: str) -> Session:
    csv_file, json_file = folder / "bench.csv", folder / "bench.json"
    done = run_pytest(
        "--benchmark-only",
        "benchmarks",
        "-k",
        select,
        "--kpb-csv",
        str(csv_file),
        "--benchmark-json",
        str(json_file),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with csv_file.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return Session(rows, json.loads(json_file.read_text(encoding="utf-8")), done.stdout)


@pytest.fixture(scope="module")
def replays(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return run_benchmarks(tmp_path_factory.mktemp("replays"), "bench_replay and random-")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Session:
    select = "bench_replay_to_null or 4K-refill-split or bench_timing"
    return run_benchmarks(tmp_path_factory.mktemp("others"), select)


def test_csv_of_replays_has_one_row_per_strategy(replays: Session) -> None:
    assert set(IDENTITY) <= set(replays.rows[0])
    found = [(row["allocator"], row["refill_orders"]) for row in replays.rows]
    assert found == [(s.allocator, s.orders_text) for s in STRATEGIES.values()]
    assert {row["ops"] for row in replays.rows} == {str(NR_OPS)}


@pytest.mark.parametrize("name", STRATEGIES)
def test_csv_of_replays_counts_what_a_run_counts(replays: Session, name: str) -> None:
    workload = parse_workload("random")
    reference = run(STRATEGIES[name], workload, Setup(ops=NR_OPS, timing="none")).runs.iloc[0]
    (row,) = (
        row
        for row in replays.rows
        if (row["allocator"], row["refill_orders"])
        == (reference["allocator"], reference["refill_orders"])
    )
    assert row["workload_sha256"] == reference["workload_sha256"]
    assert {name: float(row[name]) for name in COUNTS} == {
        name: float(reference[name]) for name in COUNTS
    }


def test_json_of_replays_has_counts_and_times(replays: Session) -> None:
    benchmarks = {bench["param"]: bench for bench in replays.json["benchmarks"]}
    assert list(benchmarks) == [f"random-{name}" for name in STRATEGIES]
    for bench, row in zip(benchmarks.values(), replays.rows, strict=True):
        extra = bench["extra_info"]
        assert {*IDENTITY, *COUNTS, *SERVICE, "ns_per_op", "clock_floor_ns"} <= set(extra)
        assert {name: float(row[name]) for name in COUNTS} == {
            name: float(extra[name]) for name in COUNTS
        }


def test_json_has_machine_facts(replays: Session) -> None:
    facts = replays.json["machine_info"]["kpkeys_bench"]
    assert {"host_cpu", "host_kernel", "version", "compiler", "clock", "cpus"} <= set(facts)
    assert {"clock_floor_ns", "clock_quantum_ns", "ops"} <= set(replays.json["kpkeys_bench"])


def test_json_of_ratios_has_ratios(others: Session) -> None:
    benchmarks = {bench["name"]: bench["extra_info"] for bench in others.json["benchmarks"]}
    assert benchmarks["bench_replay_to_null[noblock]"]["ratio_to_null"] > 0
    assert benchmarks["bench_timing[bracket]"]["ratio_to_none"] > 0
    assert "bench_replay_to_null[noblock]" in others.output


def test_json_of_slow_paths_has_counts_of_one_operation(others: Session) -> None:
    benchmarks = {bench["name"]: bench["extra_info"] for bench in others.json["benchmarks"]}
    extra = benchmarks["bench_slow_path[4K-refill-split]"]
    assert extra["path_alloc_refill_split"] == 1
    assert extra["refilled_pages"] == 512
    assert extra["split_pud"] == 1


def test_csv_without_replays_has_only_a_header(others: Session) -> None:
    assert others.rows == []


def test_plain_pytest_collects_no_benchmarks() -> None:
    # without tests there is nothing left
    done = run_pytest("--collect-only", "-q", f"--ignore-glob={ROOT}/tests/*")
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout + done.stderr


def test_benchmark_only_collects_no_tests() -> None:
    done = run_pytest("--collect-only", "-q", "--benchmark-only")
    assert done.returncode == 0, done.stdout + done.stderr
    found = [line for line in done.stdout.splitlines() if "::" in line]
    assert found
    assert all(line.startswith("benchmarks/bench_") for line in found)


def test_csv_target_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "bench.csv"
    done = run_pytest("--benchmark-only", "benchmarks", "--kpb-csv", str(target))
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert str(target) in done.stderr


@pytest.mark.parametrize("option", ["--kpb-ops=0", "--kpb-ram=16X"])
def test_option_without_meaning_is_refused(option: str) -> None:
    done = run_pytest("--benchmark-only", "benchmarks", "--collect-only", option)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert option.split("=")[1] in done.stderr
