# SPDX-License-Identifier: GPL-2.0-only
"""Import of recordings: genuine ones, any ones, and files that lie."""

import bz2
import gzip
import lzma
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_model import Books, Event, read_kmem

from kpkeys_bench.errors import ConfigError, TraceError
from kpkeys_bench.workloads.howto import WAYS
from kpkeys_bench.workloads.ops import ALLOC, FREE, PMD, PTE, PUD
from kpkeys_bench.workloads.recording import COUNTS, FAULTS, faults, import_recording
from kpkeys_bench.workloads.trace import Trace, load_trace, save_trace, shipped_traces

GENUINE: Final = Path(__file__).parent / "traces" / "import"
DOCS: Final = Path(__file__).parents[1] / "docs" / "traces.md"

EVENTS = """\
ts_ns,cpu,pid,comm,op,level,pfn,caller
1000,0,1,"a,""b",alloc,PGD,70,pgd_alloc
2000,0,1,sh,alloc,PTE,71,__pte_alloc_kernel+0x12/0x40
2000,1,0,<idle>,free,PRE,90,pgd_free
5000,1,0,<idle>,free,PTE,71,tlb_remove_table_rcu
"""


def import_files(*paths: Path, merge: bool = False, strict: bool = False) -> Trace:
    return import_recording(paths, page_size=4096, name="t", merge=merge, strict=strict)


def import_text(folder: Path, text: str | bytes, *, strict: bool = False) -> Trace:
    path = folder / "rec.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return import_files(path, strict=strict)


def genuine(name: str) -> list[bytes]:
    """Lines of a genuine recording."""
    return lzma.decompress((GENUINE / name).read_bytes()).splitlines(keepends=True)


def counts_of(trace: Trace) -> dict[str, int]:
    assert trace.integrity is not None
    return trace.integrity.counts


def faults_of(trace: Trace) -> dict[str, int]:
    assert trace.integrity is not None
    return faults(trace.integrity)


def contents(trace: Trace) -> tuple[object, ...]:
    return trace.ops.tolist(), trace.ts_ns.tolist(), trace.nr_pre


# Genuine recordings. The shipped traces were converted from another importer's output.


def test_genuine_kprobe_recording_is_the_shipped_trace() -> None:
    trace = import_files(GENUINE / "redis.trace.xz", strict=True)
    assert trace.integrity is not None
    assert (trace.integrity.format, trace.integrity.origin) == ("tracefs", "kprobe")
    assert trace.workload_sha256 == load_trace(shipped_traces()["redis"]).workload_sha256
    assert (counts_of(trace)["events"], counts_of(trace)["table_events"]) == (1815, 1809)


def test_genuine_trace_cmd_report_is_the_beginning_of_the_shipped_trace() -> None:
    trace = import_files(GENUINE / "fork_exact_head.report.txt.xz", strict=True)
    shipped = load_trace(shipped_traces()["fork_exact"])
    assert trace.integrity is not None
    assert trace.integrity.format == "trace-cmd"
    assert trace.nr_ops == 700
    assert trace.ops.tolist() == shipped.ops[:700].tolist()
    assert trace.ts_ns.tolist() == shipped.ts_ns[:700].tolist()


def test_genuine_kmem_recording_gives_what_the_slow_reader_finds() -> None:
    path = GENUINE / "fork_exact_head.kmem.trace.xz"
    trace = import_files(path)
    events = read_kmem(b"".join(genuine(path.name)).decode())
    books = Books()
    for event in events:
        books.add(event)
    assert len(events) > 300
    assert (trace.ops.tolist(), trace.ts_ns.tolist()) == books.result()
    # The excerpt has the header of the whole.
    assert list(faults_of(trace)) == ["missing_entries"]


def test_genuine_recording_of_x86_counts_what_grep_counts() -> None:
    """From the middle of a recording of an x86-64 kernel, whose functions are not inlined."""
    path = GENUINE / "x86_middle.kmem.trace.xz"
    trace = import_files(path)
    text = b"".join(genuine(path.name)).decode()
    asked = {PTE: " => pte_alloc_one\n", PMD: " => __pmd_alloc\n", PUD: " => __pud_alloc\n"}
    for level, line in asked.items():
        found = (trace.ops["kind"] == ALLOC) & (trace.ops["level"] == level)
        assert np.count_nonzero(found[trace.nr_pre :]) == text.count(line) > 0
    books = Books()
    for event in read_kmem(text):
        books.add(event)
    assert (trace.ops.tolist(), trace.ts_ns.tolist()) == books.result()
    assert faults_of(trace) == {}


def test_genuine_recording_cut_into_parts_misses_nothing(tmp_path: Path) -> None:
    lines = genuine("redis.trace.xz")
    whole = import_text(tmp_path, b"".join(lines))
    third = len(lines) // 3
    parts = []
    for i, cut in enumerate((lines[:third], lines[third : 2 * third], lines[2 * third :])):
        parts.append(tmp_path / f"part{i}.txt")
        parts[-1].write_bytes(b"".join(cut))
    trace = import_files(*parts, strict=True)
    assert trace.workload_sha256 == whole.workload_sha256
    assert faults_of(import_files(*parts[:2])) == {"missing_entries": len(lines) - 2 * third}


def test_genuine_recording_cut_short_is_found_out(tmp_path: Path) -> None:
    lines = genuine("redis.trace.xz")
    trace = import_text(tmp_path, b"".join(lines[:-5]))
    assert faults_of(trace) == {"missing_entries": 5}
    with pytest.raises(TraceError, match=r"rec\.txt: 5 missing_entries \(first at .*record again"):
        import_text(tmp_path, b"".join(lines[:-5]), strict=True)


def test_genuine_recording_with_events_taken_out_shows_it(tmp_path: Path) -> None:
    lines = genuine("redis.trace.xz")
    at = next(i for i, line in enumerate(lines) if b"delta=-1" in line)
    trace = import_text(tmp_path, b"".join(lines[:at] + lines[at + 1 :]))
    assert faults_of(trace)["missing_entries"] == 1
    assert counts_of(trace)["never_freed"] + faults_of(trace).get("double_allocs", 0) == 2


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_parts_in_order_are_one_recording(tmp_path: Path, parts: int) -> None:
    lines = genuine("redis.trace.xz")[12:]
    paths = []
    for i in range(parts):
        paths.append(tmp_path / f"{i}.txt")
        begin, end = (len(lines) * k // parts for k in (i, i + 1))
        paths[-1].write_bytes(b"".join(lines[begin:end]))
    whole = load_trace(shipped_traces()["redis"])
    assert import_files(*paths, strict=True).workload_sha256 == whole.workload_sha256


def test_files_per_cpu_merge_into_the_recording(tmp_path: Path) -> None:
    lines = genuine("redis.trace.xz")[12:]
    paths = [tmp_path / f"cpu{cpu}.txt" for cpu in range(3)]
    for cpu, path in enumerate(paths):
        path.write_bytes(b"".join(line for line in lines if b"[00%d]" % cpu in line[:40]))
    paths[2].write_bytes(b"# tracer: nop\n")  # a CPU on which nothing happened
    merged = import_files(*paths, merge=True, strict=True)
    # At one microsecond nobody knows who was first: the first file goes first.
    key = re.compile(rb"\[(\d+)\] \S+ +([\d.]+):")

    def time_then_cpu(line: bytes) -> tuple[float, int]:
        match = key.search(line)
        assert match is not None
        return float(match[2]), int(match[1])

    order = sorted(lines, key=time_then_cpu)
    assert contents(merged) == contents(import_text(tmp_path, b"".join(order)))
    assert merged.nr_ops == load_trace(shipped_traces()["redis"]).nr_ops
    # In order instead of merged, the second file begins before the first one ends.
    assert faults_of(import_files(*paths))["cpu_disorder"] > 0


KMEM_LINE: Final = re.compile(
    r"^ *(.+)-(\d+) +\[(\d+)\] \S{5} +(\d+\.\d{6}): (\S+:|<stack trace>) ?(.*)$"
)


def as_trace_cmd(text: str) -> str:
    """What trace-cmd report makes of the events of a tracefs text."""
    lines = ["cpus=2"]
    for line in text.splitlines():
        if match := KMEM_LINE.match(line):
            comm, pid, cpu, ts, name, body = match.groups()
            name = "kernel_stack:" if name == "<stack trace>" else name
            body = body or "<stack trace >"
            lines.append(f"{comm:>16}-{pid:<5} [{cpu}] {ts:>12}: {name:<21} {body}")
        elif line.startswith(" => "):
            lines.append(f"=> {line[4:]} (ffff8000803f0a18)")
    return "\n".join([*lines, ""])


def as_perf_script(text: str) -> str:
    """What perf script would: the stack of an event right below it, frees have one too."""
    events: list[list[str]] = []
    waiting: dict[str, list[str]] = {}
    target: list[str] = []
    for line in text.splitlines():
        if match := KMEM_LINE.match(line):
            comm, pid, cpu, ts, name, body = match.groups()
            if name == "<stack trace>":
                target = waiting.pop(cpu)
                continue
            events.append([f"{comm:>16} {pid:>6} [{cpu}] {ts:>12}: {'kmem:' + name:>24} {body}"])
            if name == "mm_page_alloc:":
                waiting[cpu] = events[-1]
            else:
                events[-1].append("\tffff8000803f0a18 free_frozen_pages+0x1c ([kernel.kallsyms])")
        elif line.startswith(" => "):
            target.append(f"\tffff8000803f0a18 {line[4:]}+0x1c ([kernel.kallsyms])")
    return "\n".join("\n".join(event) + "\n" for event in events)


@pytest.mark.parametrize("dress", [as_trace_cmd, as_perf_script])
def test_genuine_kmem_recording_in_another_recorders_form_is_the_same(
    tmp_path: Path, dress: Callable[[str], str]
) -> None:
    text = b"".join(genuine("fork_exact_head.kmem.trace.xz")).decode()
    trace = import_text(tmp_path, text)
    other = import_text(tmp_path, dress(text), strict=True)
    assert contents(other) == contents(trace)
    assert other.integrity is not None
    assert other.integrity.format == {as_trace_cmd: "trace-cmd", as_perf_script: "perf"}[dress]


def test_file_with_a_strange_name_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "a\nb\x1b\udcff.csv"
    path.write_text(EVENTS.replace("5000,1", "50,1"))
    trace = import_files(path)
    assert trace.source == "Imported from a?b??.csv (csv, csv)"
    assert trace.integrity is not None
    assert trace.integrity.first == {"clock_steps": "a?b??.csv:5"}


# Any recording, against the slow model, in every dress


def in_csv(events: list[Event]) -> str:
    rows = [
        f"{e.ts_ns},{e.cpu},{e.op},{e.level or 'PRE'},{e.page},"
        f"{'__pte_alloc_kernel' if e.kernel else ''}"
        for e in events
    ]
    return "\n".join(["ts_ns,cpu,op,level,pfn,caller", *rows, ""])


def stamp(event: Event) -> str:
    return f"{event.ts_ns // 10**9}.{event.ts_ns // 1000 % 10**6:06d}"


def level_body(event: Event) -> tuple[str, str]:
    level = "" if event.level is None else f"_{event.level.lower()}"
    kernel = f" kernel={int(event.kernel)}" if event.op == "alloc" else ""
    return f"ptp_{event.op}{level}", f"(f+0x0/0x30) page=0x{event.page << 6:x}{kernel}"


def in_tracefs(events: list[Event]) -> str:
    lines = [
        f"{'some [000] task':>16}-{e.page:<7d} [{e.cpu:03d}] d..1. {stamp(e):>12}: {name}: {body}"
        for e in events
        for name, body in [level_body(e)]
    ]
    return "\n".join(
        [
            "# tracer: nop",
            "#",
            f"# entries-in-buffer/entries-written: {len(lines)}/{len(lines)}   #P:4",
            *lines,
            "",
        ]
    )


def in_trace_cmd(events: list[Event]) -> str:
    lines = [
        f"ptp: {'task':>16}-{e.page:<5d} [{e.cpu:03d}] {stamp(e):>12}: {name + ':':<21} {body}"
        for e in events
        for name, body in [level_body(e)]
    ]
    return "\n".join(["cpus=4", *lines, ""])


def in_perf(events: list[Event]) -> str:
    lines = [
        f"{'a task':>16} {e.page:5d} [{e.cpu:03d}] {stamp(e):>12}: probe:{name}: {body}\r"
        for e in events
        for name, body in [level_body(e)]
    ]
    return "\n".join(["# ========", "#", *lines, ""])


DRESSES: Final[dict[str, Callable[[list[Event]], str]]] = {
    "csv": in_csv,
    "tracefs": in_tracefs,
    "trace-cmd": in_trace_cmd,
    "perf": in_perf,
}


@st.composite
def any_events(draw: st.DrawFn) -> list[Event]:
    events = []
    ts_us = draw(st.integers(100, 1 << 30))
    for _ in range(draw(st.integers(1, 30))):
        ts_us += draw(st.sampled_from([0, 0, 1, 1000, 1 << 30, -3]))
        op = draw(st.sampled_from(["alloc", "free"]))
        known = draw(st.booleans()) or op == "alloc"
        level = draw(st.sampled_from(["PTE", "PMD", "PUD", "PGD"])) if known else None
        kernel = op == "alloc" and draw(st.booleans())
        cpu, page = draw(st.integers(0, 3)), draw(st.integers(1, 6))
        events.append(Event(max(ts_us, 0) * 1000, cpu, op, level, page, kernel))
    return events


@pytest.mark.parametrize("dress", DRESSES)
@settings(deadline=None, max_examples=60)
@given(events=any_events())
def test_any_events_become_what_the_slow_model_says(
    tmp_path_factory: pytest.TempPathFactory, dress: str, events: list[Event]
) -> None:
    books = Books()
    for event in events:
        # PRE in a CSV says more than "unknown": such a page must not be live.
        if dress == "csv" and event.level is None:
            books.add(Event(**{**vars(event), "level": "PRE"}))
        else:
            books.add(event)
    trace = import_text(tmp_path_factory.mktemp("any"), DRESSES[dress](events))
    assert (trace.ops.tolist(), trace.ts_ns.tolist()) == books.result()
    found = {name: n for name, n in counts_of(trace).items() if n}
    told = ("lines", "events", "table_events", "never_freed")
    assert {name: n for name, n in found.items() if name not in told} == books.counts
    assert found["events"] == found["table_events"] == len(events)
    assert found.get("never_freed", 0) == trace.live_end
    assert trace.integrity is not None
    assert trace.integrity.format == dress


# kmem and perf, by hand


def perf_event(ts: str, name: str, pfn: int, *stack: str) -> str:
    head = f"{'bash':>16}   164 [000] {ts}: kmem:{name}: page=0x1 pfn=0x{pfn:x} order=0"
    frames = [f"\tffff80008021a2b4 {fn} ([kernel.kallsyms])" for fn in stack]
    flags = " migratetype=0 gfp_flags=GFP_KERNEL|__GFP_ZERO" if name == "mm_page_alloc" else ""
    return "\n".join([head + flags, *frames, "", ""])


def test_perf_call_chains_give_the_levels(tmp_path: Path) -> None:
    text = (
        perf_event("1.000001", "mm_page_alloc", 7, "__alloc_pages", "pte_alloc_one", "__pte_alloc")
        + perf_event("1.000002", "mm_page_alloc", 8, "__alloc_pages+0x1c", "__pmd_alloc+0x4")
        + perf_event("1.000003", "mm_page_alloc", 9, "__alloc_pages", "new_slab")
        + perf_event("1.000004", "mm_page_free", 9, "free_unref_page")
        + perf_event("1.000005", "mm_page_free", 7, "free_unref_page")
        + f"{'swapper':>16}     0 [000] 1.000006: PERF_RECORD_LOST lost 45\n"
    )
    trace = import_text(tmp_path, text)
    assert trace.ops.tolist() == [
        (0, ALLOC, 0, PTE, 0),
        (1, ALLOC, 0, PMD, 0),
        (0, FREE, 0, PTE, 0),
    ]
    assert faults_of(trace) == {"lost_events": 45}


def test_perf_text_as_perf_prints_it_is_read(tmp_path: Path) -> None:
    """Names as short as they are, user space in the chain, and what could not be unwound."""
    text = (
        "cc1 20720 [000] 26766.758622:  kmem:mm_page_free: page=0x7 pfn=0x7 order=0\n"
        "\tffffffff8161deb4 free_unref_folios+0x454 ([kernel.kallsyms])\n"
        "\t           149d33 [unknown] (/usr/bin/perf)\n"
        "\t               0 [unknown] ([unknown])\n"
        "\n"
        "[x] y 7 [001] 26766.758700: kmem:mm_page_alloc: page=0x8 pfn=0x8 order=0 migratetype=0"
        " gfp_flags=GFP_KERNEL|__GFP_ZERO\n"
        "\tffffffff8162184b __alloc_frozen_pages_noprof+0x26b ([kernel.kallsyms])\n"
        "\tffffffff8128a2f4 pte_alloc_one+0x14 ([kernel.kallsyms])\n"
        "\tffffffff815ec4d0 __pte_alloc+0x20 ([kernel.kallsyms])\n"
        "\t           d4ad7 __GI___execve+0x7 (/usr/lib/x86_64-linux-gnu/libc.so.6)\n"
        "\n"
    )
    trace = import_text(tmp_path, text)
    assert trace.ops.tolist() == [(0, ALLOC, 1, PTE, 0)]
    assert faults_of(trace) == {}
    assert trace.integrity.counts["unparsed_lines"] == 0
    assert trace.integrity.counts["events"] == 2


PROBE = "            bash-164     [000] d....     {us}: ptp: ({fn}+0x0/0x30) {rest}\n"


def test_probe_that_records_the_page_needs_no_register(tmp_path: Path) -> None:
    rest = "page=0xffffea0000001{n} item={item} delta={delta} caller={caller}"
    rows = [
        ("040", 37, 1, "__pte_alloc+0x20/0x90"),
        ("040", 12, 1, "folio_add_lru+0x20/0x90"),  # another counter
        ("080", 37, 1, "pgd_alloc+0x20/0x90"),
        ("040", 37, -1, "tlb_remove_table_rcu+0x7c/0xc0"),
        ("0c0", 37, 1, "no_such_function+0x7c/0xc0"),
    ]
    text = "".join(
        PROBE.format(
            us=f"1.00000{i}",
            fn="lruvec_stat_mod_folio",
            rest=rest.format(n=n, item=item, delta=delta, caller=caller),
        )
        for i, (n, item, delta, caller) in enumerate(rows)
    )
    trace = import_text(tmp_path, text)
    assert [tuple(op)[:2] for op in trace.ops.tolist()] == [(0, 0), (1, 0), (0, 1), (0, 0)]
    assert trace.ops["level"].tolist() == [0, 3, 0, 0]
    assert faults_of(trace) == {"ambiguous_levels": 1}


def test_probe_events_of_two_possible_items_ask_for_the_number(tmp_path: Path) -> None:
    text = "".join(
        PROBE.format(us=f"1.00000{i}", fn="f", rest=f"page=0x40 item={i} delta=1 caller=do_fault+1")
        for i in range(2)
    )
    with pytest.raises(TraceError, match="items 0 and 1 both may be NR_PAGETABLE; give --item"):
        import_text(tmp_path, text)
    given_item = import_recording([tmp_path / "rec.txt"], page_size=4096, name="t", item=1)
    assert given_item.nr_ops == 1


# Compressed, damaged, absent, hostile


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


PACKERS = {
    "plain": bytes,
    "xz": lzma.compress,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "zst": pytest.param(
        zstd,
        marks=pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd here to pack with"),
    ),
}


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_import_compressed_equals_plain_whatever_its_name(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    plain = import_text(tmp_path, EVENTS)
    assert contents(import_text(tmp_path, pack(EVENTS.encode()))) == contents(plain)


@pytest.mark.parametrize("pack", list(PACKERS.values())[1:], ids=list(PACKERS)[1:])
def test_import_compressed_file_cut_short_is_refused(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(TraceError, match=r"rec\.txt: cannot read: .*; check the path or copy"):
        import_text(tmp_path, pack(EVENTS.encode())[:-9])


def test_import_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"none\.csv: cannot read: No such file"):
        import_files(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x17\x08Dtracing6\0", "is a file of trace-cmd; import what trace-cmd report prints"),
        (b"PERFILE2" + bytes(99), "is a file of perf; import what perf script prints"),
        (shipped_traces()["redis"].read_bytes(), r"is a \.kpt file already"),
    ],
)
def test_import_binary_of_a_recorder_names_the_way_to_text(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(TraceError, match=rf"rec\.txt: {message}"):
        import_text(tmp_path, content)


def test_import_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot read: Is a directory"):
        import_files(tmp_path)


A = "1,0,1,sh,alloc,PTE,7,__pte_alloc"


@pytest.mark.parametrize(
    ("rows", "line", "message"),
    [
        ([A, "2,0,1,sh,split,PTE,7,x"], 3, "op 'split' is not alloc or free"),
        (["1,0,1,sh,alloc,PRE,7,x"], 2, "level 'PRE' is not PTE, PMD, PUD or PGD"),
        ([A, "2,0,1,sh,free,PTS,7,x"], 3, "level 'PTS' is not PTE, .* or PRE or empty"),
        ([A, "x,0,1,sh,free,PTE,7,x"], 3, "ts_ns 'x' is not a number of 0 to 2"),
        ([A, "2,0,1,sh,free,PTE"], 3, "6 fields where the header line has 8"),
        (["-1,0,1,sh,alloc,PTE,7,x"], 2, "ts_ns '-1' is not a number"),
        ([f"{(1 << 61) + 1},0,1,sh,alloc,PTE,7,x"], 2, "ts_ns '2305843009213693953' is not"),
        (["1,256,1,sh,alloc,PTE,7,x"], 2, "cpu '256' is not a number of 0 to 255"),
        (["1,0,1,sh,alloc,PTE,18446744073709551616,x"], 2, "pfn '18446744073709551616' is not"),
        (["1,0,1,sh,alloc,PTE,,x"], 2, "pfn '' is not a number"),
        ([A, "2,0,1," + "c" * 4096 + ",free,PTE,7,x,y"], 3, "9 fields"),
        ([A, "2,0,1,sh," + "\x1b[31m" * 99 + ",PTE,7,x"], 3, r"op '\?\[31m.{34}[^']*' is not"),
        ([A, '2,0,1,"sh', "x"], 4, "a quote that is never closed"),
        ([A, '2,0,1,"sh', *["c" * 4000] * 40], 20, "a line of more than 65536 bytes"),
    ],
)
def test_import_bad_row_names_file_line_and_value(
    tmp_path: Path, rows: list[str], line: int, message: str
) -> None:
    text = "\n".join(["ts_ns,cpu,pid,comm,op,level,pfn,caller", *rows, ""])
    with pytest.raises(TraceError, match=message) as caught:
        import_text(tmp_path, text)
    assert f"rec.txt:{line}: " in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("column", ["ts_ns", "cpu", "op", "level", "pfn"])
def test_import_missing_column_is_named(tmp_path: Path, column: str) -> None:
    with pytest.raises(TraceError, match=rf"rec\.txt:1: column '{column}' is missing"):
        import_text(tmp_path, EVENTS.replace(column, "other", 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", r"rec\.txt: no line is of tracefs"),
        (b"\0" * 100_000, r"rec\.txt:1: a line of more than 65536 bytes"),
        (b"\n" * 100_000, r"rec\.txt:4096: no line so far is of tracefs"),
        (b"a lot of words\n" * 10_000, r"rec\.txt:4096: no line so far is of tracefs"),
        (bytes(range(256)) * 4, r"rec\.txt: no line is of tracefs"),
        (b"\x7fELF" + bytes(70_000), r"rec\.txt:1: a line of more than 65536 bytes"),
        (b"# tracer: nop\n" + b"junk\n" * 9, r"rec\.txt: no page table event in 10 lines"),
        (EVENTS.encode()[:39], r"rec\.txt: no page table event in 1 lines"),
        (b"ts_ns,cpu,op,level,pfn" + b",x" * 60 + b"\n", r"rec\.txt:1: 65 columns, the limit"),
    ],
    ids=["empty", "zeros", "blank", "prose", "bytes", "elf", "tracefs", "header", "columns"],
)
def test_import_what_is_no_recording_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        import_text(tmp_path, text)
    assert str(caught.value).isprintable()


def test_import_more_operations_than_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rec.csv"
    path.write_text(EVENTS)
    assert import_recording([path], page_size=4096, name="t", max_ops=5).nr_ops == 5
    with pytest.raises(TraceError, match=r"rec\.csv:5: more than 4 operations; import a shorter"):
        import_recording([path], page_size=4096, name="t", max_ops=4)


def test_import_counter_clock_is_refused(tmp_path: Path) -> None:
    line = "            bash-164     [000] d....  123456789: ptp_alloc_pte: (f) page=0x40\n"
    with pytest.raises(TraceError, match=r"rec\.txt:1: the time is not in seconds"):
        import_text(tmp_path, line)


def test_time_that_was_damaged_among_good_ones_is_left_out(tmp_path: Path) -> None:
    events = [Event(1000 * us, 0, "alloc", "PTE", us) for us in (1, 2, 3)]
    lines = in_tracefs(events).splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if "0.000002:" in line)
    lines[at] = lines[at].replace("0.000002:", "0.0M%002:")
    trace = import_text(tmp_path, "".join(lines))
    assert trace.nr_ops == 2
    assert faults_of(trace)["malformed_lines"] == 1


def test_import_header_with_hostile_counts_is_counted_not_believed(tmp_path: Path) -> None:
    huge = (1 << 63) - 1
    text = in_tracefs([Event(1000, 0, "alloc", "PTE", 7)]).replace("1/1 ", f"{huge}/{huge * 2} ")
    assert faults_of(import_text(tmp_path, text)) == {
        "missing_entries": huge - 1,
        "overwritten_events": huge,
    }
    text = text.replace(f"{huge}/", f"{huge * 9}/")
    assert faults_of(import_text(tmp_path, text)) == {"malformed_lines": 1}


BOMB = """
import resource, sys
from kpkeys_bench.workloads.recording import import_recording
from kpkeys_bench.errors import TraceError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    import_recording([sys.argv[1]], page_size=4096, name="t")
except TraceError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("unit", [b"\0", b"junk\n"], ids=["one line", "many lines"])
def test_import_decompression_bomb_is_refused_in_little_memory(tmp_path: Path, unit: bytes) -> None:
    path = tmp_path / "bomb.xz"
    body = unit * ((64 << 20) // len(unit))
    path.write_bytes(lzma.compress(b"# tracer: nop\n" + body, preset=0))
    done = subprocess.run(
        [sys.executable, "-c", BOMB, path], capture_output=True, text=True, check=True
    )
    message, kilobytes = done.stdout.splitlines()
    assert "a line of more than 65536 bytes" in message or "no page table event" in message
    assert int(kilobytes) < 32 << 10


def test_memory_of_an_import_is_bounded_by_its_operations() -> None:
    """The same recording of 2^17 events of 64 pages, once and eight times as long."""
    code = BOMB.replace("sys.argv[1]", "'-'")
    grown = []
    for copies in (1, 8):
        rows = b"".join(
            b"%d,0,%s,PTE,%d,\n" % (i, b"alloc" if i % 128 < 64 else b"free", i % 64)
            for i in range(copies << 17)
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=b"ts_ns,cpu,op,level,pfn,caller\n" + rows,
            capture_output=True,
            check=True,
        )
        grown.append(int(done.stdout.split()[-1]))
    # C's columns (16 bytes, doubling), the arrays of the result and of its check
    assert grown[1] - grown[0] < (7 << 17) * 150 >> 10


# Options and what is kept


def test_strict_import_says_how_often_and_where(tmp_path: Path) -> None:
    rows = "2000,0,alloc,PTE,71,\n2500,0,alloc,PTE,71,\n1000,0,free,PTE,71,\n"
    text = "ts_ns,cpu,op,level,pfn,caller\n" + rows
    with pytest.raises(TraceError) as caught:
        import_text(tmp_path, text, strict=True)
    assert str(caught.value) == (
        f"{tmp_path / 'rec.txt'}: 1 double_allocs (first at rec.txt:3), 1 clock_steps (first at"
        " rec.txt:4); record again, or import without --strict"
    )


def test_integrity_survives_the_file(tmp_path: Path) -> None:
    trace = import_text(tmp_path, EVENTS.replace("5000,1", "50,1"))
    save_trace(trace, tmp_path / "t.kpt")
    loaded = load_trace(tmp_path / "t.kpt")
    assert loaded.integrity == trace.integrity
    assert loaded.integrity is not None
    assert loaded.integrity.first == {"clock_steps": "rec.txt:5"}
    assert list(loaded.integrity.counts) == list(COUNTS)


def test_integrity_is_no_part_of_the_identity(tmp_path: Path) -> None:
    same = in_csv([Event(1000, 0, "alloc", "PTE", 7)])
    first = import_text(tmp_path, same)
    assert counts_of(import_text(tmp_path, same + "\n\n")) != counts_of(first)
    assert import_text(tmp_path, same + "\n\n").workload_sha256 == first.workload_sha256


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("origin", "ftrace", "origin 'ftrace' is not one of auto, kmem"),
        ("item", 1 << 31, "item"),
        ("vmemmap", -1, "vmemmap"),
        ("max_ops", 1 << 24, "the limits are"),
        ("max_ops", 0, "the limits are"),
    ],
)
def test_import_argument_out_of_range_is_refused(
    tmp_path: Path, argument: str, value: object, message: str
) -> None:
    (tmp_path / "rec.csv").write_text(EVENTS)
    with pytest.raises((ConfigError, ValueError), match=message):
        import_recording(
            [tmp_path / "rec.csv"],
            page_size=4096,
            name="t",
            **{argument: value},  # type: ignore[arg-type]
        )


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("page_size", 8192),
        ("name", ""),
        ("name", "n" * 65),
        ("source", "two\nlines"),
        ("source", "\ud800"),
    ],
)
def test_import_bad_text_is_refused_with_its_value(
    tmp_path: Path, argument: str, value: object
) -> None:
    (tmp_path / "rec.csv").write_text(EVENTS)
    arguments: dict[str, object] = {"page_size": 4096, "name": "t", argument: value}
    with pytest.raises(TraceError, match=r"rec\.csv: (page size 8192|name|source)"):
        import_recording([tmp_path / "rec.csv"], **arguments)  # type: ignore[arg-type]


def test_import_tells_its_progress(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(EVENTS)
    import_recording(
        [tmp_path / "a.csv", tmp_path / "b.csv"],
        page_size=4096,
        name="t",
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(len(EVENTS), 2 * len(EVENTS)), (2 * len(EVENTS), 2 * len(EVENTS))]


def test_docs_have_the_commands_of_every_way() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for way in WAYS:
        assert way.commands in text, way.name
        assert way.title in text


def test_docs_explain_every_count() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in COUNTS)
    assert set(FAULTS) < set(COUNTS)
    assert np.intersect1d(FAULTS, COUNTS).size == len(FAULTS)
