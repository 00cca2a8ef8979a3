# SPDX-License-Identifier: GPL-2.0-only
"""Presets: the arithmetic by hand, the constants by the recordings, the streams by counting."""

import numpy as np
import pytest

from kpkeys_bench import ConfigError, _ffi, parse_workload
from kpkeys_bench.cli import main
from kpkeys_bench.workloads.fit import find_groups
from kpkeys_bench.workloads.fitted import FittedWorkload
from kpkeys_bench.workloads.ops import ALLOC, OP_DTYPE, check_ops
from kpkeys_bench.workloads.presets import (
    BASE_TABLES,
    CROSS_CPU_64K,
    GIB,
    MIB,
    PRESETS,
    Population,
    model_of,
    preset_model,
)
from kpkeys_bench.workloads.trace import load_trace, shipped_traces


@pytest.mark.parametrize(
    ("page_size", "mapped", "expected"),
    [
        # 512 entries of 4 kB are 2 MB a table: 1 GB is 512 tables, which one PMD table holds
        ("4K", GIB, (5 + 512, 3 + 1, 2, 1)),
        ("4K", 600 * GIB, (5 + 307_200, 3 + 600, 2, 1)),
        ("4K", 0, (5, 3, 2, 1)),
        ("4K", 1, (5 + 1, 3, 2, 1)),
        ("4K", 2 * MIB + 1, (5 + 2, 3, 2, 1)),
        # 2,048 entries of 16 kB are 32 MB
        ("16K", GIB, (4 + 32, 2, 0, 1)),
        ("16K", 600 * GIB, (4 + 19_200, 2 + 9, 0, 1)),
        # 8,192 entries of 64 kB are 512 MB
        ("64K", GIB, (4 + 2, 2, 0, 1)),
        ("64K", 600 * GIB, (4 + 1_200, 2, 0, 1)),
    ],
)
def test_tables_of_a_process_by_hand(page_size, mapped, expected):
    assert Population(1, 1, mapped).tables(page_size) == expected


def test_fork_of_a_gigabyte_allocates_512_tables_and_its_exit_frees_them_in_a_burst():
    # one such process at a time, and nothing else
    population = Population(1, 1000, GIB, base=False, stays=True)
    model = model_of("x", [population], page_size="4K", cpus=1, what="x")
    ops = np.concatenate([o.copy() for o, _ in FittedWorkload(model).batches(20_000, 1)])
    changes = np.flatnonzero(np.diff(ops["kind"])) + 1
    runs = np.diff(changes)
    assert len(runs) > 20
    # 512 PTE tables and the PMD table above them
    assert set(runs % 513) == {0}
    levels = np.bincount(ops["level"][ops["kind"] == ALLOC], minlength=4)
    assert levels[1] / levels[0] == pytest.approx(1 / 512, rel=0.4)


def test_live_level_is_that_of_the_populations():
    # 100 forks of 11 tables, 50 ms each, and 2 of 512 tables that grow over all of their life:
    # 1,100 live tables, and half of 2 * (11 + 512)
    populations = [
        Population(100, 50, 0),
        Population(2, 10_000, GIB - 2 * MIB, grown_percent=100, stays=True),
    ]
    model = model_of("x", populations, page_size="4K", cpus=2, what="x")
    assert model.mean_live == pytest.approx(1100 + 522, rel=0.01)
    # 2,000 forks a second and 1/5 of the others: 10,000 to 1 as often
    assert model.classes[0].weight / model.classes[1].weight == 10_000
    # operations a second: 2 * (2,000 * 11 + 0.2 * 522) = 44,208.8; a fork lives 50 ms of it
    lives = model.classes[0].life_ops
    mean = (sum(lives[1:-1]) + (lives[0] + lives[-1]) / 2) / 16
    assert mean == pytest.approx(0.05 * 44_208.8, rel=0.01)


@pytest.mark.parametrize("page_size", ["4K", "16K", "64K"])
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_preset_stream_has_the_live_level_of_its_populations(name, page_size):
    preset = PRESETS[name]
    expected = sum(
        p.alive
        * (
            sum(p.tables(page_size)) * (1 - p.grown_percent / 200)
            # the first table is there from the beginning
            + p.grown_percent / 200
        )
        for p in preset.populations(preset.params)
    )
    model = preset_model(name, {"page_kb": int(page_size[:-1])})
    assert model.page_size == page_size
    assert model.mean_live == pytest.approx(expected, rel=0.02)
    workload = FittedWorkload(model)
    handle = _ffi.FittedHandle(name, workload.scaled.fields(nr_slots=workload.nr_slots), 1)
    handle.fill(np.zeros(200_000, OP_DTYPE))
    assert handle.nr_cut() == 0
    nr = min(int(3 * expected) + 200_000, 4_500_000)
    ops = np.concatenate([o.copy() for o, _ in workload.batches(nr, 1)])
    check_ops(ops, workload.nr_slots)
    live = np.cumsum(np.where(ops["kind"] == ALLOC, 1, -1))
    begin = int(1.3 * expected) + 10_000
    assert live[begin:].mean() == pytest.approx(expected, rel=0.15)
    assert ops["cpu"].max() == preset.cpus - 1


def test_database_host_has_more_than_a_million_tables_and_little_memory():
    workload = parse_workload("database-1t")
    assert 1_000_000 < workload.scaled.mean_live < 1_500_000
    # a sixteenth of the limit, 68 bytes each at most: 272 MB that are not touched
    assert workload.nr_slots < 1 << 22


def test_preset_parameters_change_what_they_say():
    few = parse_workload("database-1t:sessions=100,buffer_gb=60")
    assert few.name == "database-1t:sessions=100,buffer_gb=60"
    assert few.scaled.mean_live < parse_workload("database-1t").scaled.mean_live / 5
    assert few.sha256(1) != parse_workload("database-1t:sessions=101,buffer_gb=60").sha256(1)
    assert parse_workload("phone:page_kb=16").page_size == "16K"


@pytest.mark.parametrize(("page_size", "name"), [("4K", "forkexec"), ("16K", "fork_exact_16k")])
def test_base_tables_are_those_of_the_recordings(page_size, name):
    trace = load_trace(shipped_traces()[name])
    levels = np.bincount(trace.ops["level"][trace.ops["kind"] == ALLOC], minlength=4)
    assert tuple(int(x) for x in np.round(levels / levels[3])) == BASE_TABLES[page_size]


def test_share_of_other_cpus_is_that_of_forkexec():
    groups = find_groups(load_trace(shipped_traces()["forkexec"]))
    assert round(float(groups.crossed.mean()) * 65536) == CROSS_CPU_64K


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("phone:jobs=3", "has no parameter 'jobs'"),
        ("phone:apps=0", "apps of 0: give 1 to"),
        ("phone:page_kb=8", "page size"),
        ("database-1t:buffer_gb=1000000", "tables_256 of 131328002816"),
        ("database-1t:sessions=9999999", "give 1 to"),
    ],
)
def test_preset_that_cannot_be_is_refused(name, why):
    with pytest.raises(ConfigError, match=why):
        parse_workload(name)


def test_preset_that_memory_cannot_hold_is_warned_of(capsys):
    options = ["--workload", "database-1t", "--ops", "1k", "--allocator", "noblock"]
    with pytest.raises(SystemExit):
        main(["compare", *options, "--timing", "none", "--background", "none", "--csv", "-"])
    told = " ".join(capsys.readouterr().err.split())
    assert "warning: database-1t has 1," in told
    assert "4.7 GB of RAM of 4G" in told
