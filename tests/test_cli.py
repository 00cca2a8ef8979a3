# SPDX-License-Identifier: GPL-2.0-only
"""The command as a user runs it: in a process of its own."""

import csv
import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kpkeys_bench import experiment
from kpkeys_bench.cli import main
from kpkeys_bench.workloads.trace import shipped_traces


def kpkeys_bench(*args, cwd):
    return subprocess.run(
        [sys.executable, "-m", "kpkeys_bench", *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


SMALL = ("--ops", "20k", "--ram", "4G", "--copies", "2")


def test_compare_prints_a_table_says_by_how_much_and_writes_the_csv(tmp_path):
    done = kpkeys_bench("compare", *SMALL, "--plot", "out.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pba 9-4-2" in done.stdout
    assert "times as many" in done.stdout
    with (tmp_path / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # noblock and four lists on eight recordings and two generators
    assert len(rows) == 5 * 10
    recorded = [r for r in rows if r["workload"].endswith("copies=2")]

    def splits(orders):
        return sum(int(r["split_contpte"]) for r in recorded if r["refill_orders"] == orders)

    assert splits("9-4-2") < splits("2")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "compare-paths.csv").exists()


def test_csv_on_standard_output_is_nothing_but_csv(tmp_path):
    done = kpkeys_bench("compare", *SMALL, "--workload", "lifo", "--csv", "-", cwd=tmp_path)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [r["refill_orders"] for r in rows] == ["", "9-4-2", "9-2", "4-2", "2"]
    assert list(tmp_path.iterdir()) == []


def test_json_on_standard_output_is_nothing_but_json(tmp_path):
    done = kpkeys_bench(
        *("compare", *SMALL, "--workload", "lifo", "--refill-orders", "9,2"),
        *("--json", "-", "--csv", "out.csv"),
        cwd=tmp_path,
    )
    document = json.loads(done.stdout)
    assert [r["refill_orders"] for r in document["runs"]] == ["9-2"]
    assert (tmp_path / "out.csv").exists()


def test_options_that_repeat_are_all_combined(tmp_path):
    done = kpkeys_bench(
        *("compare", "--ops", "5000", "--ram", "1G", "--csv", "-", "--page-size", "16k"),
        *("--allocator", "pba", "--allocator", "noblock"),
        *("--refill-orders", "11,2", "--refill-orders", "7-2"),
        *("--workload", "lifo", "--trace", shipped_traces()["fork_exact_16k"]),
        *("--state", "fresh", "--state", "aged:share=0.5", "--repeats", "2"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 3 * 2 * 2 * 2
    assert {r["page_size"] for r in rows} == {"16K"}
    assert {r["repeat"] for r in rows} == {"0", "1"}


def test_default_is_aged_memory_that_others_use(tmp_path):
    done = kpkeys_bench(
        *("compare", "--ops", "2000", "--workload", "lifo", "--csv", "-"), cwd=tmp_path
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {r["ram_bytes"] for r in rows} == {str(4 << 30)}
    assert {r["state"] for r in rows} == {"aged:share=0.9,pins=8"}
    assert {r["background"] for r in rows} == {"desktop"}
    assert all(int(r["file_end_pages"]) > 500_000 for r in rows)


def test_backgrounds_are_listed_with_their_parameters(tmp_path):
    done = kpkeys_bench("list", "--csv", "-", cwd=tmp_path)
    rows = {(r["kind"], r["name"]) for r in csv.DictReader(io.StringIO(done.stdout))}
    assert {("background", "none"), ("background", "pressure")} <= rows
    assert ("parameter of a background", "read") in rows


def test_recording_of_another_page_size_is_replayed_with_a_note(tmp_path):
    done = kpkeys_bench(
        "compare", *SMALL, "--page-size", "64K", "--workload", "redis", "--csv", "-", cwd=tmp_path
    )
    assert done.returncode == 0
    assert "is of 4K pages" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--allocator", "slab"), "allocator 'slab'"),
        (("--refill-orders", "9,4"), "the last must be 2"),
        (("--refill-orders", "4,9,2"), "strictly decreasing"),
        (("--refill-orders", "11,2"), "largest order is 10"),
        (("--refill-orders", "nine"), "whole numbers"),
        (("--allocator", "noblock", "--refill-orders", "9,2"), "one by one"),
        (("--page-size", "8K"), "4K, 16K, 64K"),
        (("--ram", "1M"), "64M to 1T"),
        (("--ram", "lots"), "16G"),
        (("--ops", "0"), "at least 1"),
        (("--ops", "x"), "whole number"),
        (("--trace", "absent.kpt"), "absent.kpt"),
        (("--trace", "bad.kpt"), "bad.kpt"),
        (("--trace", "cut.kpt"), "cut.kpt"),
        (("--workload", "nosuch"), "recordings are"),
        (("--state", "old"), "fresh"),
        (("--background", "night"), "none, light, desktop"),
        (("--background", "desktop:read=x"), "whole number"),
        (("--background", "desktop:resident=99"), "give 0 to 95"),
        (("--timing", "often"), "bracket"),
        (("--costs", "x"), "NAME=NS"),
        (("--csv", "absent/out.csv"), "absent/out.csv"),
        (("--json", "."), "folder"),
        (("--csv", "-", "--json", "-"), "standard output"),
        (("--nosuch",), "--nosuch"),
        (("--ram", "9" * 30 + "T"), "whole number"),
        (("--ops", "9" * 5000), "whole number"),
        (("--refill-orders", "9" * 5000), "whole numbers"),
        (("--workload", "random:tables=" + "9" * 30), "KEY=NUMBER"),
        (("--state", "aged:share=1,pins=99999999999999"), "pins"),
        (("--plot", "x.docx"), "no such kind"),
        (("--csv", "x", "--json", "x"), "same file"),
    ],
)
def test_bad_input_ends_in_one_line_and_a_status(tmp_path, args, why):
    (tmp_path / "bad.kpt").write_bytes(b"not a recording" * 100)
    (tmp_path / "cut.kpt").write_bytes(shipped_traces()["redis"].read_bytes()[:2000])
    done = kpkeys_bench("compare", *SMALL, *args, cwd=tmp_path)
    assert done.returncode not in {0, -6, -11}
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert why in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "compare.csv").exists()


def test_interrupt_ends_with_its_status_and_without_a_traceback(tmp_path):
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "kpkeys_bench", "compare", "--ops", "1G"),
            *("--workload", "fork_exact_16k", "--refill-orders", "9,2"),
        ],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    # the note about the page size is printed when everything is ready to run
    assert process.stderr.readline().startswith("note:")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted after 0 of 1 runs" in errors
    assert "Traceback" not in errors


def test_interrupt_saves_what_was_computed(tmp_path, monkeypatch, capsys):
    whole = experiment.run

    def interrupted(strategy, *args, **kwargs):
        if strategy.orders_text == "4-2":
            raise KeyboardInterrupt
        return whole(strategy, *args, **kwargs)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiment, "run", interrupted)
    with pytest.raises(SystemExit) as end:
        main(
            ["compare", *SMALL, "--workload", "lifo", "--json", "out.json", "--csv", "compare.csv"]
        )
    assert end.value.code == 130
    assert "interrupted after 3 of 5 runs" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "out.json").read_text())["runs"]) == 3
    with (tmp_path / "compare.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 3


def test_info_names_host_clock_and_version(tmp_path):
    facts = json.loads(kpkeys_bench("info", "--json", "-", cwd=tmp_path).stdout)
    assert facts["clock_floor_ns"] > 0
    assert {"host_cpu", "host_kernel", "version", "compiler", "clock"} <= set(facts)
    assert facts["clock"] in kpkeys_bench("info", cwd=tmp_path).stdout


def test_table_is_a_list_however_many_rows_it_has(tmp_path):
    file = Path(__file__).parent / "allocators" / "v6" / "kpkeys_hardened_pgtables.c"
    small = ("--ops", "2000", "--programs", "2", "--page-size", "4K", "--json", "-")
    (row,) = json.loads(kpkeys_bench("allocator", "diff", file, *small, cwd=tmp_path).stdout)
    assert row["page_size"] == "4K"


def test_list_names_everything_that_compare_takes(tmp_path):
    done = kpkeys_bench("list", "--csv", "-", cwd=tmp_path)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {"pba", "noblock", "null", "forkexec", "random"} <= {r["name"] for r in rows}


def test_trace_info_takes_a_file_or_a_shipped_name(tmp_path):
    by_name = json.loads(kpkeys_bench("trace", "info", "redis", "--json", "-", cwd=tmp_path).stdout)
    path = shipped_traces()["redis"]
    by_file = json.loads(kpkeys_bench("trace", "info", path, "--json", "-", cwd=tmp_path).stdout)
    assert by_name == by_file
    assert by_name["events"] == 1809
    assert by_name["peak_live"] == 232


def test_trace_import_makes_a_file_that_compare_takes(tmp_path):
    (tmp_path / "mine.csv").write_text(
        "ts_ns,cpu,op,level,pfn,caller\n"
        "0,0,alloc,PGD,100,pgd_alloc\n"
        "1000,1,alloc,PTE,101,__pte_alloc\n"
        "2000,0,free,PTE,101,tlb_remove_table_rcu\n"
    )
    done = kpkeys_bench(
        "trace", "import", "mine.csv", "-o", "mine.kpt", "--source", "by hand", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    done = kpkeys_bench("compare", *SMALL, "--trace", "mine.kpt", "--csv", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mine:copies=2" in done.stdout


def test_text_of_a_user_is_printed_as_it_is(tmp_path):
    (tmp_path / "mine.csv").write_text(
        "ts_ns,cpu,op,level,pfn,caller\n0,0,alloc,PGD,100,pgd_alloc\n"
    )
    args = ("trace", "import", "mine.csv", "-o", "[red].kpt", "--source", "[/x] hi")
    done = kpkeys_bench(*args, cwd=tmp_path)
    assert done.returncode == 0
    assert "[red].kpt" in done.stderr
    assert "[/x] hi" in kpkeys_bench("trace", "info", "[red].kpt", cwd=tmp_path).stdout


def test_plot_without_times_shows_the_splits(tmp_path):
    done = kpkeys_bench(
        *("compare", *SMALL, "--workload", "random", "--timing", "none", "--plot", "out.png"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.png").stat().st_size > 5000


def test_command_without_arguments_prints_its_help(tmp_path):
    done = kpkeys_bench(cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) > 10


def test_sample_timing_fills_the_columns_of_a_long_run(tmp_path):
    done = kpkeys_bench(
        *("compare", "--ops", "300k", "--workload", "random", "--timing", "sample=70000"),
        *("--refill-orders", "9,2", "--csv", "-"),
        cwd=tmp_path,
    )
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert float(row["service_ns_max"]) > 0


def test_plot_draws_from_the_csv_and_refuses_other_files(tmp_path):
    kpkeys_bench("compare", *SMALL, "--workload", "random", cwd=tmp_path)
    done = kpkeys_bench("plot", "compare.csv", "-o", "out.svg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "</svg>" in (tmp_path / "out.svg").read_text()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for args in (
        ("other.csv", "-o", "x.png"),
        ("absent.csv", "-o", "x.png"),
        ("compare.csv", "-o", "x.docx"),
    ):
        done = kpkeys_bench("plot", *args, cwd=tmp_path)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
