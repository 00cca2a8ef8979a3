# SPDX-License-Identifier: GPL-2.0-only
"""The shipped scripts: what v6 shows, what others do not, and the commands."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from kpkeys_bench.errors import ConfigError
from kpkeys_bench.scenario.behaviours import FAILED, REFUTED, SHOWN, judge, shipped, verdicts
from kpkeys_bench.scenario.language import load
from kpkeys_bench.scenario.run import run_script

ALLOCATOR_FILES = Path(__file__).parent / "allocators"
IDS = {*(f"D{n}" for n in range(1, 11)), "D12", "D13", "D14", "D15", "D18", "D19"}


def kpkeys_bench(*args, cwd):
    return subprocess.run(
        [sys.executable, "-m", "kpkeys_bench", *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_there_is_a_script_for_each_behaviour():
    scripts = [load(path) for path in shipped().values()]
    assert {script.behaviour for script in scripts} == IDS
    assert all(script.claim and script.about for script in scripts)


@pytest.mark.parametrize("name", shipped())
def test_shipped_script_holds_on_v6(name):
    outcome = run_script(load(shipped()[name]))
    assert outcome.failed == []
    assert outcome.held > 0
    assert outcome.shown is True
    assert outcome.figures


def test_allocator_without_cache_shows_none_of_them():
    table = verdicts(["noblock"])
    assert {v.verdict for v in table} == {REFUTED}
    assert len(table) == len(shipped())


def test_unknown_allocator_is_an_error_and_no_verdict():
    with pytest.raises(ConfigError, match="nope"):
        verdicts(["nope"])


def test_file_that_is_v6_shows_what_v6_shows():
    file = str(ALLOCATOR_FILES / "v6" / "kpkeys_hardened_pgtables.c")
    for name in ("D1", "D3", "D5", "D13"):
        script = load(shipped()[name])
        ours, theirs = judge(script, "pba"), judge(script, file)
        assert (theirs.verdict, theirs.figures) == (SHOWN, ours.figures)


def test_file_that_looks_again_under_the_mutex_is_cured_of_d3_alone():
    file = str(ALLOCATOR_FILES / "patched" / "recheck.c")
    by_name = {name: judge(load(shipped()[name]), file).verdict for name in ("D3", "D1", "D18")}
    assert by_name == {"D3": REFUTED, "D1": SHOWN, "D18": SHOWN}


#: What cures one behaviour: lines of v6's file, and others in their place.
CURES = {
    "D1": ("\t\t\tcache_push(page);\n\t\t\tbreak;", "\t\t\tcache_push(page);\n\t\t\tcontinue;"),
    "D5": ("PBA_NR_RESERVED_PAGES\t4", "PBA_NR_RESERVED_PAGES\t8"),
    "D6": ("nr_best >= PBA_SHRINK_BLOCK_MIN_PAGES", "nr_best >= 8"),
    "D14": ("\tif (WARN_ON_ONCE(!page))\n\t\treturn NULL;", "\tif (!page)\n\t\treturn NULL;"),
}


@pytest.mark.parametrize("cured", CURES)
def test_file_that_is_cured_of_one_is_refuted_there_and_nowhere_else(cured, tmp_path):
    source = (ALLOCATOR_FILES / "v6" / "kpkeys_hardened_pgtables.c").read_text(encoding="utf-8")
    before, after = CURES[cured]
    assert source.count(before) == 1
    file = tmp_path / "cured.c"
    file.write_text(source.replace(before, after), encoding="utf-8")
    table = verdicts([str(file)])
    assert [v.script for v in table if v.verdict != SHOWN] == [cured]


def test_file_that_crashes_loses_no_other_verdict():
    file = str(ALLOCATOR_FILES / "broken" / "crashes.c")
    table = verdicts([file])
    assert len(table) == len(shipped())
    assert any(v.verdict == FAILED and "SIG" in v.error for v in table)


def test_file_that_loops_is_given_up():
    file = str(ALLOCATOR_FILES / "broken" / "loops.c")
    verdict = judge(load(shipped()["D1"]), file, timeout_s=0.5)
    assert verdict.verdict == FAILED
    assert "loops" in verdict.error


def test_behaviours_prints_a_table_and_writes_files(tmp_path):
    done = kpkeys_bench("behaviours", "--json", "out.json", "--csv", "out.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "D14-charge" in done.stdout
    assert "refuted" not in done.stdout
    table = json.loads((tmp_path / "out.json").read_text())
    assert {row["id"] for row in table} == IDS
    d1 = next(row for row in table if row["id"] == "D1")
    assert (d1["verdict"], d1["figures"]) == ("shown", {"lost": 53})
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["script"] for row in rows] == [row["script"] for row in table]


def test_scenario_explains_its_steps_and_says_whether_it_held(tmp_path):
    good = kpkeys_bench("scenario", "D3", cwd=tmp_path)
    assert good.returncode == 0, good.stderr
    assert "stopped at alloc_pages" in good.stdout
    assert "3 of 3 expectations held" in good.stdout
    other = kpkeys_bench("scenario", "--allocator", "noblock", "D3", cwd=tmp_path)
    assert other.returncode == 1
    assert other.stderr.startswith("kpkeys-bench: expectations that did not hold")


def test_scenario_jsonl_is_one_object_a_step(tmp_path):
    done = kpkeys_bench("scenario", "D9", "D10", "--jsonl", cwd=tmp_path)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {record["file"].rpartition("/")[2] for record in records} == {"D9.kpb", "D10.kpb"}
    assert set(records[0]) >= {"statement", "result", "pfns", "counters", "events", "words"}


def test_scenario_writes_outcomes_as_json_and_csv(tmp_path):
    done = kpkeys_bench("scenario", "D1", "--csv", "-", "--json", "out.json", cwd=tmp_path)
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert (row["behaviour"], row["shown"], row["held"]) == ("D1", "True", "4")
    (outcome,) = json.loads((tmp_path / "out.json").read_text())
    assert outcome["figures"] == {"lost": 53}


def test_scenario_that_makes_no_sense_is_one_line_with_its_place(tmp_path):
    (tmp_path / "bad.kpb").write_text("boot\nalloc p 3 gfp=GFP_KERNEL|LUNCH\n")
    done = kpkeys_bench("scenario", "bad.kpb", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("kpkeys-bench: bad.kpb:2:26: 'LUNCH' is no gfp flag")
    assert done.stderr.count("\n") == 1


def test_search_that_finds_nothing_says_so(tmp_path):
    done = kpkeys_bench("scenario", "search", "deadlock", "--depth", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert "try a larger --depth" in done.stderr
