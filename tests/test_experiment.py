# SPDX-License-Identifier: GPL-2.0-only
"""Runs and their tables: the same counts every time, all columns, nothing lost."""

import json
import os
import threading
from dataclasses import replace

import pandas as pd
import pytest

from kpkeys_bench import (
    ConfigError,
    ResultError,
    Setup,
    State,
    Strategy,
    compare,
    experiment,
    parse_workload,
    report,
    run,
)
from kpkeys_bench.results import COUNTS, HOST, IDENTITY, SERVICE, THROUGHPUT, Results

SETUP = Setup(ram=4 << 30, ops=60_000)
PBA = Strategy("pba", (9, 4, 2))
SMALLEST = Strategy("pba", (2,))
NOBLOCK = Strategy("noblock")

# what others rely on; written down here once more, so that a renamed column is noticed
SCHEMA = [
    "allocator",
    "variant",
    "refill_orders",
    "page_size",
    "ram_bytes",
    "state",
    "workload",
    "workload_sha256",
    "seed",
    "repeat",
    "ops",
    "allocs",
    "frees",
    "failed_allocs",
    "live_peak_pages",
    "live_end_pages",
    "refills",
    "refill_fallbacks",
    "refilled_pages",
    "released_pages",
    "split_pud",
    "split_contpmd",
    "split_pmd",
    "split_contpte",
    "split_ptps",
    "ptps_for_linear_map",
    "set_pkey_calls",
    "set_pkey_pages",
    "tlbi_single",
    "tlbi_full",
    "descriptor_writes",
    "cached_peak_pages",
    "cached_mean_pages",
    "cached_end_pages",
    "reserve_low_water_pages",
    "unshrinkable_end_pages",
    "unprotected_end_pages",
    "unprotected_page_ops",
    "warnings",
    "map_pud_kb",
    "map_contpmd_kb",
    "map_pmd_kb",
    "map_contpte_kb",
    "map_pte_kb",
    "map_leaves",
    "throughput_ops_s",
    "ns_per_op",
    "null_ns_per_op",
    "service_ns_p50",
    "service_ns_p90",
    "service_ns_p99",
    "service_ns_p999",
    "service_ns_p9999",
    "service_ns_max",
    "service_ns_mean",
    "clock",
    "clock_floor_ns",
    "clock_quantum_ns",
    "model_ns_per_op",
    "model_ns_p50",
    "model_ns_p99",
    "model_ns_p999",
    "model_ns_max",
    "host_cpu",
    "host_kernel",
    "version",
    "compiler",
]


@pytest.fixture(scope="module")
def compared():
    workloads = [parse_workload("many:copies=4"), parse_workload("random")]
    return compare([NOBLOCK, PBA, SMALLEST], workloads, SETUP)


def test_runs_have_the_columns_that_others_rely_on(compared):
    runs = compared.runs
    assert set(SCHEMA) <= set(runs.columns)
    assert {"refills_order_0", "refills_order_2", "refills_order_9"} <= set(runs.columns)
    assert "refills_order_4" not in runs.columns
    assert len(runs) == 6
    assert not runs[[*IDENTITY, *COUNTS, *THROUGHPUT, *SERVICE, *HOST]].isna().any(axis=None)


def test_paths_and_causes_add_up_to_the_runs(compared):
    keys = ["workload", "allocator", "refill_orders"]
    runs = compared.runs.set_index(keys)
    by_path = compared.paths.groupby(keys)["count"].sum()
    assert (by_path.loc[runs.index] == runs["ops"]).all()
    by_cause = compared.causes.groupby(keys)[["split_pmd", "split_contpte", "tlbi_single"]].sum()
    assert (by_cause.loc[runs.index] == runs[by_cause.columns]).all(axis=None)


def test_larger_refills_split_the_map_less(compared):
    runs = compared.runs.set_index(["workload", "allocator", "refill_orders"])
    splits = runs[["split_pud", "split_contpmd", "split_pmd", "split_contpte"]].sum(axis=1)
    for workload in ("many:copies=4", "random"):
        assert splits[workload, "pba", "9-4-2"] * 10 < splits[workload, "pba", "2"]
        assert splits[workload, "noblock", ""] == 0


def test_pages_balance_in_every_run(compared):
    runs = compared.runs
    held = runs["refilled_pages"] - runs["released_pages"]
    assert (held == runs["live_end_pages"] + runs["cached_end_pages"] + runs["split_ptps"]).all()
    assert (runs["allocs"] - runs["frees"] == runs["live_end_pages"]).all()
    mapped = runs.filter(regex="^map_.*_kb$").sum(axis=1)
    assert (mapped == SETUP.ram >> 10).all()


def test_counts_repeat_exactly_and_do_not_depend_on_timing(compared):
    for timing in ("none", "chained", "sample"):
        setup = replace(SETUP, timing=timing, sample_every=10)
        again = run(SMALLEST, parse_workload("random"), setup).runs
        first = compared.runs.query("workload == 'random' and refill_orders == '2'")
        columns = list(COUNTS)
        pd.testing.assert_frame_equal(
            again[columns].reset_index(drop=True), first[columns].reset_index(drop=True)
        )


def test_pass_that_counts_differently_is_reported_as_a_bug(monkeypatch):
    counts = experiment._count_columns
    drift = iter(range(10))
    monkeypatch.setattr(
        experiment, "_count_columns", lambda machine: counts(machine) | {"frees": next(drift)}
    )
    with pytest.raises(experiment.MachineError, match="frees is 0 without and 1 with"):
        run(PBA, parse_workload("lifo"), replace(SETUP, ops=1000))


def test_machine_that_stops_leaves_its_counts_and_the_other_runs():
    # a refill of one page cannot serve the splits that it causes itself
    broken = Strategy("pba", (0,), allow_any_orders=True)
    runs = compare([broken, PBA], [parse_workload("random")], SETUP).runs.set_index("refill_orders")
    assert "deadlock" in runs.loc["0", "error"]
    assert runs.loc["0", "warnings"] > 0
    assert pd.isna(runs.loc["0", "ns_per_op"])
    assert runs.loc["9-4-2", "error"] == ""
    assert runs.loc["9-4-2", "ops"] == SETUP.ops


def test_out_of_memory_shows_as_failed_allocations_and_warnings():
    setup = Setup(ram=64 << 20, ops=60_000)
    row = run(PBA, parse_workload("random:tables=20000"), setup).runs.iloc[0]
    assert row["failed_allocs"] > 0
    assert row["warnings"] >= row["failed_allocs"]
    assert row["failed_refills"] == row["failed_allocs"]


def test_aged_memory_without_blocks_falls_back_and_splits_more():
    workload = parse_workload("random")
    states = [State(), State(1.0, 4)]
    runs = compare([PBA], [workload], SETUP, states=states).runs.set_index("state")
    aged = runs.loc["aged:share=1,pins=4"]
    assert aged["refill_fallbacks"] == aged["refills"] > runs.loc["fresh", "refills"]
    assert aged["split_pmd"] > runs.loc["fresh", "split_pmd"]


@pytest.mark.parametrize(("samples", "ops"), [(10, 60_000), (7, 20_000)])
def test_samples_follow_the_run_and_end_where_it_ends(samples, ops):
    setup = replace(SETUP, ops=ops, samples=samples)
    results = run(SMALLEST, parse_workload("redis:copies=2"), setup)
    table, row = results.samples, results.runs.iloc[0]
    assert table["op"].tolist() == [k * ops // samples for k in range(1, samples + 1)]
    last = table.iloc[-1]
    assert last["op"] == ops
    assert last["cached_pages"] == row["cached_end_pages"]
    assert last["split_contpte"] == row["split_contpte"]
    assert table["split_contpte"].is_monotonic_increasing


def test_modelled_columns_are_filled_from_stated_costs_alone():
    costs = {"tlbi_single": 100.0, "descriptor_write": 10.0}
    setup = replace(SETUP, costs_ns=costs, ops=10_000)
    rows = [run(NOBLOCK, parse_workload("lifo"), setup).runs.iloc[0] for _ in range(2)]
    assert rows[0]["model_ns_per_op"] == rows[1]["model_ns_per_op"] == 110.0
    assert rows[0]["model_ns_max"] == 110.0
    assert rows[0]["model_costs"] == "descriptor_write_ns=10 tlbi_single_ns=100"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ops": 0}, "at least 1"),
        ({"seed": -1}, "2\\*\\*64"),
        ({"timing": "often"}, "bracket"),
        ({"page_size": "8K"}, "4K, 16K, 64K"),
        ({"samples": 99_999_999}, "samples"),
        ({"costs_ns": {"luck": 1.0}}, "tlbi_single"),
        ({"costs_ns": {"tlbi_full": -1.0}}, "give 0"),
    ],
)
def test_setup_that_cannot_be_is_refused(changes, why):
    with pytest.raises(ConfigError, match=why):
        replace(SETUP, **changes)


def test_summary_leaves_out_workloads_that_not_every_strategy_finished():
    # the strategy that stopped would look best if its other runs alone were added up
    broken = Strategy("pba", (0,), allow_any_orders=True)
    results = compare([broken, PBA, SMALLEST], [parse_workload("lifo")], replace(SETUP, ops=1000))
    lines = report.summary(results)
    assert not [line for line in lines if line.startswith("Splits")]
    assert "Left out of these sums: 1 where not every strategy finished." in lines


def test_summary_keeps_recordings_and_generators_apart(compared):
    lines = [line for line in report.summary(compared) if line.startswith("Splits")]
    assert lines[0].startswith("Splits on 1 recording, fresh memory: pba 9-4-2 ")
    assert lines[1].startswith("Splits on 1 generator, fresh memory: pba 9-4-2 ")


@pytest.mark.parametrize("what", ["link", "pipe"])
def test_csv_goes_through_a_link_and_into_a_pipe(compared, tmp_path, what):
    target = tmp_path / "target.csv"
    if what == "link":
        (tmp_path / "real.csv").write_text("old")
        target.symlink_to(tmp_path / "real.csv")
        compared.to_csv(target)
        assert target.is_symlink()
        assert (tmp_path / "real.csv").read_text().startswith("allocator,")
        return
    os.mkfifo(target)
    got = []
    reader = threading.Thread(target=lambda: got.append(target.read_text()))
    reader.start()
    compared.to_csv(target)
    reader.join()
    assert got[0].startswith("allocator,")
    assert target.is_fifo()
    assert [p.name for p in tmp_path.iterdir()] == ["target.csv"]


def test_interrupted_comparison_leaves_what_was_computed():
    results = Results()

    def interrupt(_label):
        if len(results.run_rows) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(
            [NOBLOCK, PBA, SMALLEST],
            [parse_workload("lifo")],
            replace(SETUP, ops=1000),
            results=results,
            progress=interrupt,
        )
    assert results.runs["allocator"].tolist() == ["noblock", "pba"]


def test_csv_is_tidy_and_reads_back(compared, tmp_path):
    written = compared.to_csv(tmp_path / "out.csv")
    assert [p.name for p in written] == ["out.csv", "out-paths.csv", "out-causes.csv"]
    runs = pd.read_csv(written[0], dtype={"refill_orders": str}, keep_default_na=False)
    assert list(runs.columns) == list(compared.runs.columns)
    assert runs["refill_orders"].tolist() == ["", "9-4-2", "2"] * 2
    assert runs["split_contpte"].tolist() == compared.runs["split_contpte"].tolist()
    for path in written[1:]:
        table = pd.read_csv(path)
        assert set(IDENTITY) <= set(table.columns)
        assert not [name for name in table.columns if name.startswith("Unnamed")]


def test_json_has_every_table_with_null_for_what_is_missing(compared, tmp_path):
    (path,) = compared.to_json(tmp_path / "out.json")
    document = json.loads(path.read_text())
    assert document["schema"] == 1
    assert len(document["runs"]) == 6
    assert len(document["paths"]) == 36
    assert document["runs"][0]["model_ns_per_op"] is None


@pytest.mark.parametrize("where", ["absent/out.csv", "."])
def test_result_that_cannot_be_written_is_named_and_leaves_nothing(compared, tmp_path, where):
    target = tmp_path / where
    with pytest.raises(ResultError, match="cannot write"):
        compared.to_csv(target)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_keeps_the_old_file(compared, tmp_path, monkeypatch):
    target = tmp_path / "out.csv"
    target.write_text("old")

    def no_space(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(ResultError, match="No space left"):
        compared.to_csv(target)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]
