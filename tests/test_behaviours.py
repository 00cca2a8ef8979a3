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
from kpkeys_bench.scenario.behaviours import judge, shipped, verdicts
from kpkeys_bench.scenario.language import load
from kpkeys_bench.scenario.run import FAILED, NOT_REACHED, REFUTED, SHOWN, run_script

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
    assert outcome.verdict == SHOWN
    assert outcome.figures


def test_allocator_without_cache_shows_none_of_them():
    table = verdicts(["noblock"])
    assert {v.verdict for v in table} == {REFUTED, NOT_REACHED}
    assert {v.script for v in table if v.verdict == REFUTED} >= {"D3", "D14", "D15", "D18"}
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


V6 = ALLOCATOR_FILES / "v6" / "kpkeys_hardened_pgtables.c"

#: Changes of v6's file, and what the verdicts are then where they are not "shown".
CHANGES = {
    "single page errors go on": (
        ("\t\t\tcache_push(page);\n\t\t\tbreak;", "\t\t\tcache_push(page);\n\t\t\tcontinue;"),
        {"D1": REFUTED},
    ),
    "single page errors stop the machine": (
        ("\t\t\tcache_push(page);\n\t\t\tbreak;", "\t\t\tBUG();"),
        {"D1": FAILED},
    ),
    "reserve of 5": (
        ("PBA_NR_RESERVED_PAGES\t4", "PBA_NR_RESERVED_PAGES\t5"),
        {"D5": NOT_REACHED},
    ),
    "reserve of 8": (
        ("PBA_NR_RESERVED_PAGES\t4", "PBA_NR_RESERVED_PAGES\t8"),
        {"D5": NOT_REACHED, "D5-fallback": REFUTED},
    ),
    "smaller shares of a block": (
        ("PBA_SHRINK_BLOCK_MIN_PAGES\t(BLOCK_NR_PAGES / 8)", "PBA_SHRINK_BLOCK_MIN_PAGES\t1"),
        {"D6": REFUTED},
    ),
    "600 pages stay": (
        ("PBA_UNSHRINKABLE_PAGES\t\t16", "PBA_UNSHRINKABLE_PAGES\t\t600"),
        {"D8": NOT_REACHED, "D10": NOT_REACHED},
    ),
    "blocks only as a whole": (
        ("nr_best >= PBA_SHRINK_BLOCK_MIN_PAGES", "0"),
        {"D8": NOT_REACHED, "D10": NOT_REACHED},
    ),
    "what was freed first is handed out first": (
        ("list_add(&page->lru, &pba.cached_list)", "list_add_tail(&page->lru, &pba.cached_list)"),
        None,
    ),
    "order 2 only": (
        ("{ PBA_ORDER_MAX, PBA_ORDER_CONTPTE, PBA_ORDER_MIN }", "{ PBA_ORDER_MIN }"),
        {
            "D2": NOT_REACHED,
            "D4": REFUTED,
            "D5": NOT_REACHED,
            "D6": NOT_REACHED,
            "D6-lone": NOT_REACHED,
            "D8": NOT_REACHED,
            "D10": NOT_REACHED,
        },
    ),
    "no warning": (
        ("\tif (WARN_ON_ONCE(!page))\n\t\treturn NULL;", "\tif (!page)\n\t\treturn NULL;"),
        {"D14": REFUTED},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_file_is_refuted_only_where_the_situation_came_about(change, tmp_path):
    (before, after), expected = CHANGES[change]
    source = V6.read_text(encoding="utf-8")
    assert source.count(before) == 1
    file = tmp_path / "changed.c"
    file.write_text(source.replace(before, after), encoding="utf-8")
    table = verdicts([str(file)])
    found = {v.script: v.verdict for v in table if v.verdict != SHOWN}
    if expected is None:
        assert REFUTED not in found.values()
    else:
        assert found == expected
    assert all(bool(v.error) == (v.verdict in {NOT_REACHED, FAILED}) for v in table)


def test_file_cannot_be_asked_about_blocks():
    script = load(shipped()["D8"])
    ours, theirs = judge(script, "pba"), judge(script, str(V6))
    assert theirs.verdict == SHOWN
    assert ours.figures["believed_blocks"] == 2
    assert theirs.figures["believed_blocks"] is None
    assert "believed_blocks" not in theirs.row()["figures"]
    assert theirs.figures["fetched_again"] == 1


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
    assert "not reached" not in done.stdout
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
    assert (row["behaviour"], row["verdict"], row["held"]) == ("D1", "shown", "4")
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


def test_behaviours_fails_if_one_could_not_be_judged_and_only_then(tmp_path):
    crashes = ALLOCATOR_FILES / "broken" / "crashes.c"
    done = kpkeys_bench("behaviours", "--allocator", crashes, "--json", "out.json", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("kpkeys-bench: scripts that could not be judged: ")
    assert done.stderr.count("\n") == 1
    assert FAILED in {row["verdict"] for row in json.loads((tmp_path / "out.json").read_text())}
    other = kpkeys_bench("behaviours", "--allocator", "noblock", cwd=tmp_path)
    assert other.returncode == 0
    assert "not reached" in other.stdout


@pytest.mark.parametrize("command", [("scenario", "D7"), ("behaviours",), ("list",), ("info",)])
@pytest.mark.parametrize("option", ["--json", "--csv"])
def test_file_that_cannot_be_written_is_refused_before_anything_is_done(command, option, tmp_path):
    done = kpkeys_bench(*command, option, "/nope/x", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("kpkeys-bench: cannot write /nope/x: ")
