# SPDX-License-Identifier: GPL-2.0-only
"""Many boots: order, continuation, interruption, and what is said in the end."""

import csv
import json
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from kpkeys_bench import boot_sweep
from kpkeys_bench.boot import BootSetup, boot
from kpkeys_bench.boot_sweep import Sweep
from kpkeys_bench.cli import main
from kpkeys_bench.errors import ConfigError, ResultError

SMALL = Sweep(
    page_sizes=("4K",),
    layouts=("plain",),
    nr_cpus=(2, 64, 256),
    allocators=("pba", "early-regions=2", "deferred-list"),
    base=BootSetup(ram=256 << 20),
)


def interrupt_after(boots):
    def progress(done, total):
        assert done <= total
        if done >= boots:
            raise KeyboardInterrupt

    return progress


def test_sweep_boots_every_combination_in_order(tmp_path):
    target = tmp_path / "sweep.csv"
    rows = boot_sweep.run(SMALL, str(target), jobs=1)
    # both kinds of stacks, three orders, two BBML2 cases
    assert len(rows) == 2 * 3 * 2 * 3 * 3
    assert [row["boot"] for row in rows] == [str(i) for i in range(len(rows))]
    assert [row["nr_cpus"] for row in rows[:9]] == ["2"] * 3 + ["64"] * 3 + ["256"] * 3
    assert {row["variant"] for row in rows} == {"", "early regions=2", "ranges=128"}
    with target.open(newline="") as file:
        assert list(csv.DictReader(file)) == rows


def test_sweep_is_the_same_with_any_number_of_processes(tmp_path):
    for jobs in (1, 2, 3):
        boot_sweep.run(SMALL, str(tmp_path / f"{jobs}.csv"), jobs=jobs)
    texts = {(tmp_path / f"{jobs}.csv").read_bytes() for jobs in (1, 2, 3)}
    assert len(texts) == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_sweep_that_was_interrupted_continues(tmp_path, monkeypatch, jobs):
    whole, cut = tmp_path / "whole.csv", tmp_path / "cut.csv"
    boot_sweep.run(SMALL, str(whole), jobs=1)
    with pytest.raises(KeyboardInterrupt):
        boot_sweep.run(SMALL, str(cut), jobs=jobs, progress=interrupt_after(24))
    kept = cut.read_text().count("\n") - 1
    assert 24 <= kept < 108
    booted = []
    real = boot_sweep.boot

    def count(setup):
        booted.append(setup)
        return real(setup)

    monkeypatch.setattr(boot_sweep, "boot", count)
    boot_sweep.run(SMALL, str(cut), jobs=1)
    # one more boot tells the columns
    assert len(booted) == 108 - kept + 1
    assert cut.read_bytes() == whole.read_bytes()


def test_sweep_that_is_complete_is_not_done_again(tmp_path):
    target = tmp_path / "sweep.csv"
    boot_sweep.run(SMALL, str(target), jobs=1)
    before = target.stat().st_ino
    boot_sweep.run(SMALL, str(target), jobs=1, progress=interrupt_after(0))
    assert target.stat().st_ino == before


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("sweep,boot,", "sweep,number,", 1),
        lambda text: text + text.splitlines()[1] + "\n",
        lambda text: text + "short,1\n",
        lambda _: "a,b\n1,2\n",
    ],
)
def test_sweep_does_not_touch_a_file_that_holds_something_else(tmp_path, change):
    target = tmp_path / "sweep.csv"
    boot_sweep.run(SMALL, str(target), jobs=1)
    wrong = change(target.read_text())
    target.write_text(wrong)
    with pytest.raises(ResultError, match=r"sweep\.csv"):
        boot_sweep.run(SMALL, str(target), jobs=1)
    assert target.read_text() == wrong


@pytest.mark.parametrize(
    ("column", "cell", "complaint"),
    [
        ("held_end_pages", "1x", "held_end_pages '1x' is no count"),
        ("regions_untracked", "", "regions_untracked '' is no count"),
        ("bbml2", "none", "bbml2 'none', but boot 3 has 'all'"),
        ("boot", "2", "boot 2 is there twice"),
        ("boot", "108", "not 0 to 107"),
        ("check", None, "columns, not "),
    ],
)
def test_row_that_was_damaged_is_named(tmp_path, column, cell, complaint):
    target = tmp_path / "sweep.csv"
    boot_sweep.run(SMALL, str(target), jobs=1)
    with target.open(newline="") as file:
        rows = list(csv.reader(file))
    if cell is None:
        rows[4].pop()
    else:
        rows[4][rows[0].index(column)] = cell
    with target.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    wrong = target.read_bytes()
    with pytest.raises(ResultError, match=rf"sweep\.csv:5: .*{complaint}.*remove the line"):
        boot_sweep.run(SMALL, str(target), jobs=1)
    assert target.read_bytes() == wrong


def test_sweep_of_another_core_is_not_mixed_in(tmp_path, monkeypatch):
    target = tmp_path / "sweep.csv"
    boot_sweep.run(SMALL, str(target), jobs=1)
    monkeypatch.setattr(boot_sweep.sysinfo, "core_sources", lambda: "of an edited mirror")
    with pytest.raises(ResultError, match="of another build"):
        boot_sweep.run(SMALL, str(target), jobs=1)


def test_sweep_of_another_definition_is_not_mixed_in(tmp_path):
    target = tmp_path / "sweep.csv"
    boot_sweep.run(SMALL, str(target), jobs=1)
    other = Sweep(page_sizes=("4K",), nr_cpus=(2,), base=BootSetup(ram=256 << 20))
    with pytest.raises(ResultError, match="holds another sweep"):
        boot_sweep.run(other, str(target), jobs=1)


@pytest.mark.parametrize(
    ("axes", "complaint"),
    [
        ({"nr_cpus": (1,)}, "2 to 4096"),
        ({"bbml2": ("some",)}, "late-cpu"),
        ({"layouts": ("moon",)}, "plain"),
        ({"page_sizes": ("8K",)}, "4K, 16K, 64K"),
        ({"first_orders": ("largest",)}, "block"),
        ({"page_sizes": ("4K",), "first_orders": ("7",)}, "no boot"),
        ({"allocators": ("null",)}, "pba"),
        ({"allocators": ("pba=3",)}, "early-regions"),
        ({"allocators": ("mm/x.c",)}, "built in"),
        ({"nr_cpus": tuple(range(2, 4097)), "threads_per_cpu": tuple(range(9))}, "at most"),
    ],
)
def test_definition_that_makes_no_sense_is_refused(axes, complaint):
    with pytest.raises(ConfigError, match=complaint):
        Sweep(**axes)


def test_order_by_number_is_for_the_page_sizes_that_have_it():
    sweep = Sweep(
        first_orders=("7", "9"),
        nr_cpus=(2,),
        allocators=("pba",),
        kasan=(False,),
        layouts=("plain",),
    )
    found = [(s.page_size, s.strategy().orders_text) for s in sweep.setups if s.bbml2 == "all"]
    assert found == [("4K", "9-4-2"), ("16K", "7-2"), ("64K", "9-5-2")]


def test_va_bits_are_for_the_page_sizes_that_have_them():
    sweep = Sweep(va_bits=(39, 47, 52), nr_cpus=(2,), allocators=("pba",), kasan=(False,))
    found = [(setup.page_size, setup.va_bits) for setup in sweep.setups]
    assert sorted(set(found)) == [("16K", 47), ("16K", 52), ("4K", 39), ("4K", 52), ("64K", 52)]
    with pytest.raises(ConfigError, match="no boot"):
        Sweep(va_bits=(40,))


def test_ram_is_an_axis_but_for_layouts_that_have_a_size():
    sweep = Sweep(
        page_sizes=("4K",),
        rams=(1 << 30, 2 << 30),
        kasan=(False,),
        layouts=("plain", "firmware-64M"),
        first_orders=("block",),
        bbml2=("all",),
        nr_cpus=(2,),
        allocators=("pba",),
    )
    found = [(setup.layout, setup.ram >> 20) for setup in sweep.setups]
    assert found == [("plain", 1024), ("firmware-64M", 64), ("plain", 2048)]


def test_layouts_say_what_the_first_refill_got(tmp_path):
    sweep = replace(
        SMALL, layouts=("plain", "firmware-64M"), bbml2=("all",), kasan=(False,), nr_cpus=(2, 64)
    )
    rows = boot_sweep.run(sweep, str(tmp_path / "sweep.csv"), jobs=1)
    plain, firmware = boot_sweep.fallbacks(sweep, rows)
    assert (plain["first_refill_orders"], plain["boots"], plain["boots_forgetting"]) == ("9", 2, 0)
    # order 4 is good for 12, and 64 CPUs with 5 stacks of 32 KB each need 5 PTE tables and 2 above
    assert firmware["first_refill_orders"] == "4"
    assert firmware["boots"] == 2
    assert firmware["panics"] == 0
    assert firmware["boots_forgetting"] == 0


def test_borders_are_where_the_arithmetic_says():
    (row,) = boot_sweep.borders(Sweep(page_sizes=("4K",), kasan=(False,)))
    # 64 stacks of 32 KB in 2 MB: 16 tables for 1,024; for five each, 16 * 64 / 5, rounded
    assert (row["claim_irq_cpus"], row["claim_all_cpus"]) == (1024, 205)
    # room for 12: ten PTE tables for five stacks of 128 CPUs, a PMD and a PUD table
    assert (row["fits_block_cpus"], row["fits_middle_cpus"], row["fits_last_cpus"]) == (
        4096,
        128,
        0,
    )


def test_remedies_say_what_is_left_and_what_it_costs(tmp_path):
    rows = boot_sweep.run(SMALL, str(tmp_path / "sweep.csv"), jobs=1)
    costs = {(row["bbml2"], row["allocator"]): row for row in boot_sweep.remedies(SMALL, rows)}
    assert costs["all", "pba"]["boots_forgetting"] > 0
    assert costs["all", "early-regions"]["boots_forgetting"] > 0
    assert costs["late-cpu", "deferred-list"]["boots_forgetting"] == 0
    lines = boot_sweep.answer(SMALL, boot_sweep.borders(SMALL), list(costs.values()))
    assert lines[0].startswith("4K pages: 16 PTE tables do for the IRQ stacks of up to 1,024 CPUs")
    assert "none of 18 boots forgets a region" in lines[-1]


def test_command_writes_rows_and_the_answer(tmp_path, capsys):
    files = [str(tmp_path / name) for name in ("sweep.csv", "sweep.json")]
    options = ["--page-size", "4K", "--nr-cpus", "2,4096", "--bbml2", "all", "--no-kasan"]
    options += ["--allocator", "pba", "--first-refill-order", "block", "--jobs", "1"]
    options += ["--layout", "plain"]
    with pytest.raises(SystemExit) as ended:
        main(["boot", "--sweep", *options, "--csv", files[0], "--json", files[1]])
    assert ended.value.code == 0
    assert "none of 2 boots forgets a region" in " ".join(capsys.readouterr().out.split())
    document = json.loads((tmp_path / "sweep.json").read_text())
    assert [row["ptes_irq_stacks"] for row in document["boots"]] == [1, 64]
    one = boot(BootSetup(nr_cpus=4096)).row
    keys = {"sweep": document["sweep"], "boot": 1}
    assert document["boots"][1] == keys | one
    with pytest.raises(SystemExit):
        main(["boot", "--sweep", *options, "--csv", files[0]])
    assert "has all 2 boots already: nothing was booted" in capsys.readouterr().err


def test_command_refuses_what_is_for_one_boot(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["boot", "--sweep", "--recorded"])
    assert ended.value.code == 1
    assert "for one boot" in capsys.readouterr().err


def test_ctrl_c_leaves_a_file_from_which_the_command_continues(tmp_path):
    command = [sys.executable, "-m", "kpkeys_bench", "boot", "--sweep", "--csv", "sweep.csv"]
    command += ["--nr-cpus", "2048,4096", "--jobs", "2"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    target = tmp_path / "sweep.csv"
    while not target.exists() and process.poll() is None:
        pass
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in said
    lines = target.read_text().splitlines()
    assert 1 < len(lines) < 361
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweep.csv"]
