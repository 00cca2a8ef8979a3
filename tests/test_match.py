# SPDX-License-Identifier: GPL-2.0-only
"""Models against recordings: counts by other means, and the commands as a user runs them."""

import csv
import io
import json

import numpy as np
import pytest
from test_cli import kpkeys_bench

from kpkeys_bench import ConfigError, Machine, Setup, Strategy, experiment, parse_workload
from kpkeys_bench.match import HeldBack, distances, held_back, match
from kpkeys_bench.workloads.fit import fit
from kpkeys_bench.workloads.fitted import FittedWorkload, load_model, shipped_models
from kpkeys_bench.workloads.ops import ALLOC
from kpkeys_bench.workloads.trace import load_trace, shipped_traces
from kpkeys_bench.workloads.workload import TraceWorkload

REDIS = load_trace(shipped_traces()["redis"])
LIKE = load_model(shipped_models()["like-forkexec"])


@pytest.fixture(scope="module")
def rows():
    return {row["count"]: row for row in match(HeldBack(REDIS), LIKE, copies=40)}


def test_counts_are_those_of_a_run(rows):
    ops = rows["refills"]["ops"]
    setup = Setup(ops=ops, timing="none")
    workloads = {
        "recorded": TraceWorkload(REDIS, 40),
        "generated": FittedWorkload(LIKE, {}, rows["live_mean_pages"]["recorded"] / LIKE.mean_live),
    }
    for side, workload in workloads.items():
        run = experiment.run(Strategy("pba", (9, 4, 2)), workload, setup).run_rows[0]
        for count in ("refills", "split_pud", "split_contpmd", "split_pmd", "live_peak_pages"):
            assert rows[count][side] == run[count]
        assert rows["splits"][side] == sum(
            run[name] for name in ("split_pud", "split_contpmd", "split_pmd", "split_contpte")
        )


def test_refills_on_fresh_memory_follow_from_the_peak(rows):
    # nothing is given back, so a block is fetched whenever the peak needs one: what is live, the
    # tables of splits, and four that stay in reserve
    for side in ("recorded", "generated"):
        needed = rows["live_peak_pages"][side] + 3
        assert needed / 512 <= rows["refills"][side] <= (needed + 4) / 512 + 1


def test_ratio_is_generated_to_recorded(rows):
    for row in rows.values():
        if row["recorded"]:
            assert row["ratio"] == pytest.approx(row["generated"] / row["recorded"])
        else:
            assert row["ratio"] is None
        assert (row["recording"], row["part"], row["copies"]) == ("redis", "all", 40)


def test_means_are_of_the_last_period(rows):
    looped = TraceWorkload(REDIS, 40).looped
    ops = np.concatenate([looped.first, looped.second, looped.steady])
    live = np.cumsum(np.where(ops["kind"] == ALLOC, 1, -1))[-len(looped.steady) :]
    assert rows["live_mean_pages"]["recorded"] == pytest.approx(live.mean())
    assert rows["live_sd_pages"]["recorded"] == pytest.approx(live.std())
    # all that was fetched, less what is live, what is spent on splits
    fetched = rows["refills"]["recorded"] * 512
    assert rows["cached_mean_pages"]["recorded"] == pytest.approx(fetched - live.mean() - 3, abs=1)


def test_model_of_all_of_a_recording_has_nothing_of_it_held_back():
    mine = fit([REDIS], "mine")
    assert held_back(mine, {"redis": REDIS}) == []
    assert [h.part for h in held_back(LIKE, {"redis": REDIS})] == ["all"]


def test_distance_of_a_model_to_its_own_recording_is_small():
    trace = load_trace(shipped_traces()["forkexec"])
    found = {row["feature"]: row for row in distances(HeldBack(trace), fit([trace], "mine"))}
    # the lives that were fitted come out again, within a third of an octave on average
    for level in ("PTE", "PMD", "PUD", "PGD"):
        assert found[f"life_{level}"]["octaves"] < 0.5, found[f"life_{level}"]
    assert found["live"]["octaves"] < 0.35


def test_other_kind_of_recording_is_further_away():
    mmap = load_trace(shipped_traces()["mmap"])
    own = load_model(shipped_models()["like-mmap"])
    held = HeldBack.of(mmap, "second half")
    near = {r["feature"]: r["octaves"] for r in distances(held, own)}
    far = {r["feature"]: r["octaves"] for r in distances(held, LIKE)}
    assert near["life_PTE"] < far["life_PTE"]
    assert near["free_burst"] < far["free_burst"]


def test_fit_makes_a_file_that_compare_takes(tmp_path):
    done = kpkeys_bench("trace", "fit", "redis", "compile", "-o", "mine.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wrote mine.toml" in done.stderr
    done = kpkeys_bench(
        "compare", "--ops", "20k", "--workload", "mine.toml:machines=3", "--workload", "phone",
        "--timing", "none", "--csv", "-", cwd=tmp_path,
    )  # fmt: skip
    names = [row["workload"] for row in csv.DictReader(io.StringIO(done.stdout))]
    assert set(names) == {"mine:machines=3", "phone"}


def test_match_prints_a_table_and_writes_each_count(tmp_path):
    done = kpkeys_bench(
        "trace", "match", "like-both", "redis", "--copies", "20", "--csv", "out.csv", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "within 20%" in done.stdout
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = {row["count"]: row for row in csv.DictReader(file)}
    assert int(float(rows["refills"]["recorded"])) == 5
    assert rows["splits"]["copies"] == "20"


def test_distance_writes_json_and_a_picture(tmp_path):
    done = kpkeys_bench(
        "trace", "distance", "like-mmap", "redis", "boot", "--json", "-", "--plot", "d.png",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["recording"] for row in rows} == {"redis", "boot"}
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")
    few = next(r for r in rows if (r["recording"], r["feature"]) == ("boot", "life_PGD"))
    assert few["values"] == 62
    assert few["ks_low"] is None


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("fit", "redis", "-o", "mine.kpt"), "ends in .toml"),
        (("fit", "absent.kpt", "-o", "mine.toml"), "absent.kpt"),
        (("fit", "fork_exact", "fork_exact_16k", "-o", "mine.toml"), "page sizes"),
        (("match", "absent.toml"), "absent.toml"),
        (("match", "mine.toml"), "not TOML"),
        (("match", "like-mmap", "--part", "second half"), "name the recordings"),
        (("distance", "like-mmap", "redis", "--plot", "x.nosuch"), "x.nosuch"),
    ],
)
def test_trace_commands_refuse_in_one_line(tmp_path, args, why):
    (tmp_path / "mine.toml").write_text("[")
    done = kpkeys_bench("trace", *args, cwd=tmp_path)
    assert done.returncode == 1
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_list_names_models_and_presets(tmp_path):
    done = kpkeys_bench("list", "--json", "-", cwd=tmp_path)
    rows = json.loads(done.stdout)
    kinds = {row["name"]: row["kind"] for row in rows}
    assert kinds["like-both"] == "fitted"
    assert kinds["database-1t"] == "preset"
    for name, kind in kinds.items():
        if kind in {"fitted", "preset"}:
            assert parse_workload(name).nr_slots > 0


def test_fitted_workload_replays_without_a_failed_allocation():
    workload = parse_workload("build-server")
    with Machine(Strategy("pba")) as machine:
        machine.boot()
        machine.set_slots(workload.nr_slots)
        for ops, _ in workload.batches(200_000, 1):
            machine.replay(ops)
        counters = machine.counters()
        live = machine.state()["live_pages"]
    assert counters["failed_allocs"] == 0
    assert counters["allocs"] - counters["frees"] == live


def test_part_of_a_recording_that_was_seen_must_be_named(tmp_path):
    kpkeys_bench("trace", "fit", "redis", "-o", "mine.toml", cwd=tmp_path)
    done = kpkeys_bench("trace", "match", "mine.toml", "redis", cwd=tmp_path)
    assert done.returncode == 1
    assert "--part" in done.stderr
    with pytest.raises(ConfigError, match="nosuch"):
        parse_workload("nosuch")


def test_halves_are_parts_of_a_whole():
    parts = [HeldBack.of(REDIS, part).trace for part in ("first half", "second half")]
    events = sum(part.nr_ops - part.nr_pre for part in parts)
    assert events == REDIS.nr_ops - REDIS.nr_pre
    assert np.array_equal(HeldBack.of(REDIS, "all").trace.ops, REDIS.ops)
