# SPDX-License-Identifier: GPL-2.0-only
"""``kpkeys-bench trace`` as a user runs it."""

import csv
import io
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from kpkeys_bench.cli import main
from kpkeys_bench.workloads.howto import WAYS
from kpkeys_bench.workloads.recording import COUNTS, FAULTS
from kpkeys_bench.workloads.trace import load_trace, shipped_traces

REDIS: Final = Path(__file__).parent / "traces" / "import" / "redis.trace.xz"

DOUBLE: Final = """\
ts_ns,cpu,op,level,pfn
1000,0,alloc,PTE,71
2000,1,alloc,PMD,71
9000,0,free,PMD,71
"""


class Ran:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)

    def trace(*args: object) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(["trace", *map(str, args)])
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return trace


def test_import_of_a_genuine_recording_says_that_nothing_is_wrong(run: Any) -> None:
    done = run("import", REDIS, "-o", "r.kpt", "--strict")
    assert done.code == 0
    assert done.err == "wrote r.kpt: 1,809 operations\n"
    assert "lost_events          0       " in done.out
    trace = load_trace("r.kpt")
    assert trace.workload_sha256 == load_trace(shipped_traces()["redis"]).workload_sha256
    assert trace.source == "Imported from redis.trace.xz (tracefs, kprobe)"


def test_import_json_and_csv_have_every_count(run: Any, tmp_path: Path) -> None:
    done = run("import", REDIS, "-o", "r.kpt", "--json", "r.json", "--csv", "-")
    assert done.code == 0
    document = json.loads((tmp_path / "r.json").read_text())
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["count"] for row in rows] == list(COUNTS)
    assert {row["count"]: int(row["found"]) for row in rows} == document["counts"]
    assert {row["count"] for row in rows if row["kind"] == "fault"} == set(FAULTS)
    assert (document["format"], document["events"]) == ("tracefs", "kprobe")
    assert (document["ops"], document["faults"]) == (1809, 0)


def test_import_with_a_fault_warns_and_info_shows_it(run: Any, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(DOUBLE)
    done = run("import", "d.csv", "-o", "d.kpt")
    assert done.code == 0
    assert "warning: double_allocs: repaired" in done.err
    assert "d.csv:3" in done.out
    assert "integrity (csv, csv): 1 double_allocs" in run("info", "d.kpt").out
    info = json.loads(run("info", "d.kpt", "--json", "-").out)
    assert info["integrity_counts_double_allocs"] == 1


def test_import_strict_refuses_a_fault_and_writes_nothing(run: Any, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(DOUBLE)
    done = run("import", "d.csv", "-o", "d.kpt", "--strict")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "1 double_allocs (first at d.csv:3); record again" in done.err
    assert not (tmp_path / "d.kpt").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no line is of tracefs"),
        (b"\x7fELF" + bytes(99_999), "a line of more than 65536 bytes"),
        (lzma.compress(DOUBLE.encode())[:-20], "cannot read"),
    ],
)
def test_import_of_garbage_ends_in_one_line(
    run: Any, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "x").write_bytes(content)
    done = run("import", "x", "-o", "x.kpt")
    assert (done.code, done.out) == (1, "")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_import_of_two_files_in_order_and_merged(run: Any, tmp_path: Path) -> None:
    head, *rows = DOUBLE.splitlines(keepends=True)
    (tmp_path / "a.csv").write_text(head + rows[0] + rows[2])
    (tmp_path / "b.csv").write_text(head + rows[1])
    assert json.loads(run("import", "a.csv", "b.csv", "-o", "x.kpt", "--json", "-").out)["counts"][
        "cpu_disorder"
    ]
    merged = run("import", "a.csv", "b.csv", "-o", "y.kpt", "--merge", "--json", "-")
    assert json.loads(merged.out)["counts"]["cpu_disorder"] == 0
    assert load_trace("y.kpt").ops["kind"].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--vmemmap", "here"), "--vmemmap 'here' is not a hexadecimal address"),
        (("--page-size", "5K"), "5K"),
        (("--csv", "-", "--json", "-"), "both want standard output"),
    ],
)
def test_import_bad_option_is_one_line(
    run: Any, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "d.csv").write_text(DOUBLE)
    done = run("import", "d.csv", "-o", "d.kpt", *options)
    assert done.code == 1
    assert message in done.err
    assert not (tmp_path / "d.kpt").exists()


def test_import_into_a_folder_that_is_not_there_fails_before_reading(run: Any) -> None:
    done = run("import", "none.txt", "-o", "no/where.kpt")
    assert done.code == 1
    assert "no/where.kpt" in done.err


def test_how_to_prints_the_commands_of_one_way_and_of_all(run: Any) -> None:
    everything = run("how-to").out
    for way in WAYS:
        one = run("how-to", way.name).out
        for line in way.commands.splitlines():
            assert f"    {line}\n" in one
            assert f"    {line}\n" in everything
        assert way.title in one
    assert run("how-to", "no-way").code == 2
    rows = json.loads(run("how-to", "perf", "--json", "-").out)
    assert rows[0]["commands"] == next(w for w in WAYS if w.name == "perf").commands


def test_csv_of_the_how_to_is_imported(run: Any, tmp_path: Path) -> None:
    way = next(way for way in WAYS if way.name == "csv")
    text = way.commands.split("<<EOF\n")[1].split("EOF")[0]
    (tmp_path / "rec.csv").write_text(text)
    done = run("import", "rec.csv", "-o", "rec.kpt", "--strict")
    assert done.code == 0, done.err
    trace = load_trace("rec.kpt")
    assert (trace.nr_pre, trace.ops["arg"].tolist()) == (1, [0, 0, 1, 1, 0])


@pytest.mark.parametrize(
    ("options", "events", "prologue"),
    [
        ((), 1809, 0),
        (("--from", "100", "--to", "1k"), 900, 44),
        (("--from", "2.5s"), None, None),
        (("--to", "2500ms"), None, 0),
        (("--from", "2s", "--to", "999_999"), None, None),
    ],
)
def test_slice_keeps_what_was_asked_for(
    run: Any, options: tuple[str, ...], events: int | None, prologue: int | None
) -> None:
    done = run("slice", "redis", "-o", "s.kpt", *options)
    assert done.code == 0, done.err
    whole, part = load_trace(shipped_traces()["redis"]), load_trace("s.kpt")
    if events is not None:
        assert part.nr_ops - part.nr_pre == events
    if prologue is not None:
        assert part.nr_pre == prologue
    if options[:2] == ("--from", "100"):
        assert prologue == 100 - 2 * int(whole.ops["kind"][:100].sum())
    start = int(whole.ts_ns[0])
    if options[:2] == ("--from", "2.5s"):
        kept = whole.ts_ns[whole.ts_ns - start >= 2_500_000_000]
        assert part.ts_ns[part.nr_pre :].tolist() == kept.tolist()
    if options == ("--to", "2500ms"):
        kept = whole.ts_ns[whole.ts_ns - start < 2_500_000_000]
        assert part.ts_ns.tolist() == kept.tolist()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("slice", "redis", "-o", "x.kpt", "--from", "soon"), "--from 'soon' is no time"),
        (("slice", "redis", "-o", "x.kpt", "--from", "99s"), "which has 1809; give"),
        (("slice", "redis", "-o", "x.kpt", "--to", "9" * 18 + "s"), "is above the limit"),
        (("amplify", "redis", "-o", "x.kpt", "--copies", "9999999"), "outside 1 to 4637"),
        (("slice", "redis", "-o", "x" * 65 + ".kpt"), "the file's name is the trace's"),
        (("merge", "redis", "-o", "x.kpt"), "1 traces to merge"),
        (("merge", "redis", "fork_exact_16k", "-o", "x.kpt"), "pages of 4096 and 16384"),
        (("info", "redis", "--plot", "x.doc"), "no such kind"),
    ],
)
def test_edit_out_of_range_is_one_line(
    run: Any, tmp_path: Path, args: tuple[str, ...], message: str
) -> None:
    done = run(*args)
    assert done.code == 1
    assert message in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_amplify_and_merge_write_what_can_be_merged_again(run: Any) -> None:
    assert run("amplify", "redis", "-o", "a.kpt", "--copies", "3", "--shift", "20ms").code == 0
    assert run("merge", "a.kpt", "boot", "-o", "m.kpt").code == 0
    info = json.loads(run("info", "m.kpt", "--json", "-").out)
    assert info["events"] == 3 * 1809 + 1407
    assert info["live_end"] == 3 * 1 + 41


def test_info_draws_a_picture(run: Any, tmp_path: Path) -> None:
    done = run("info", "boot", "--plot", "boot.png")
    assert done.code == 0, done.err
    assert (tmp_path / "boot.png").read_bytes().startswith(b"\x89PNG")
    assert "wrote boot.png" in done.err


def test_info_draws_a_trace_of_one_event(run: Any, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("\n".join(DOUBLE.splitlines()[:2]))
    assert run("import", "one.csv", "-o", "one.kpt").code == 0
    done = run("info", "one.kpt", "--plot", "one.svg")
    assert done.code == 0, done.err
    assert (tmp_path / "one.svg").read_text().startswith("<?xml")
