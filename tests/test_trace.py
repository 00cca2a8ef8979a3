# SPDX-License-Identifier: GPL-2.0-only
"""The trace file and the shipped recordings."""

import dataclasses
import hashlib
import json
import os
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpkeys_bench.errors import TraceError
from kpkeys_bench.workloads.ops import ALLOC, FREE, OP_DTYPE, PGD, PMD, PTE, PUD, check_ops
from kpkeys_bench.workloads.recording import import_recording
from kpkeys_bench.workloads.trace import (
    MAX_OPS,
    Trace,
    load_trace,
    save_trace,
    shipped_traces,
    trace_info,
)

HEADER = struct.Struct("<8sIIQIIIIQII32s")
MIB = 1 << 20

EVENTS = """\
ts_ns,cpu,pid,comm,op,level,pfn,caller
1000,0,1,"a,""b",alloc,PGD,70,pgd_alloc
2000,0,1,sh,alloc,PTE,71,__pte_alloc_kernel+0x12/0x40
2000,1,0,<idle>,free,PRE,90,pgd_free
5000,1,0,<idle>,free,PTE,71,tlb_remove_table_rcu
6000,0,1,sh,alloc,PMD,71,__pmd_alloc
9000,0,1,sh,free,PMD,71,tlb_remove_table_rcu
"""


def import_text(
    folder: Path, text: str, *, page_size: int = 4096, name: str = "tiny", source: str = "a test"
) -> Trace:
    path = folder / "events.csv"
    path.write_text(text)
    return import_recording([path], page_size=page_size, name=name, source=source)


def in_csv(*rows: str) -> str:
    return "\n".join(["ts_ns,cpu,pid,comm,op,level,pfn,caller", *rows, ""])


@pytest.fixture
def tiny(tmp_path: Path) -> Trace:
    return import_text(tmp_path, EVENTS)


@pytest.fixture
def tiny_path(tiny: Trace, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.kpt"
    save_trace(tiny, path)
    return path


def contents(trace: Trace) -> tuple[object, ...]:
    rest = (trace.nr_pre, trace.page_size, trace.name, trace.source)
    return trace.ops.tolist(), trace.ts_ns.tolist(), *rest


# Recordings


A = "1,0,1,sh,alloc,PTE,7,__pte_alloc"


class Row(NamedTuple):
    ts_ns: int
    cpu: int
    op: str
    level: str
    pfn: int


@st.composite
def recordings(draw: st.DrawFn) -> list[Row]:
    live: dict[int, str] = {}
    seen: set[int] = set()
    rows = []
    ts_ns = draw(st.integers(0, 1 << 40))
    for _ in range(draw(st.integers(1, 25))):
        ts_ns += draw(st.sampled_from([0, 1, 1000, 1 << 33]))
        pfn, cpu = draw(st.integers(0, 5)), draw(st.integers(0, 3))
        if pfn in live:
            rows.append(Row(ts_ns, cpu, "free", live.pop(pfn), pfn))
        elif pfn not in seen and draw(st.booleans()):
            rows.append(Row(ts_ns, cpu, "free", "PRE", pfn))
        else:
            live[pfn] = draw(st.sampled_from(["PTE", "PMD", "PUD", "PGD"]))
            rows.append(Row(ts_ns, cpu, "alloc", live[pfn], pfn))
        seen.add(pfn)
    return rows


@settings(deadline=None)
@given(recordings())
def test_import_save_load_any_recording_keeps_every_event(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> None:
    folder = tmp_path_factory.mktemp("recording")
    text = in_csv(*(f"{r.ts_ns},{r.cpu},1,sh,{r.op},{r.level},{r.pfn},f" for r in rows))
    trace = import_text(folder, text)
    save_trace(trace, folder / "t.kpt")
    loaded = load_trace(folder / "t.kpt")
    assert contents(loaded) == contents(trace)
    assert loaded.workload_sha256 == trace.workload_sha256

    pre = [r.pfn for r in rows if r.level == "PRE"]
    ops = [(int(s), int(k), int(c), int(v)) for s, k, c, v, _ in loaded.ops.tolist()]
    assert loaded.nr_pre == len(pre)
    assert [k for _, k, _, _ in ops[: len(pre)]] == [ALLOC] * len(pre)
    pfn_in = dict(zip((slot for slot, *_ in ops), pre, strict=False))
    level_of = {"PTE": PTE, "PMD": PMD, "PUD": PUD, "PGD": PGD, "PRE": PTE}
    events = zip(ops[len(pre) :], loaded.ts_ns[len(pre) :].tolist(), rows, strict=True)
    for (slot, kind, cpu, level), ts_ns, row in events:
        assert (ts_ns, cpu, level) == (row.ts_ns, row.cpu, level_of[row.level])
        if row.op == "alloc":
            assert kind == ALLOC
            assert slot == min(set(range(len(pfn_in) + 1)) - set(pfn_in))
            pfn_in[slot] = row.pfn
        else:
            assert kind == FREE
            assert pfn_in.pop(slot) == row.pfn


# Trace


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ts_ns": np.array([3, 2, 1])}, "times run backwards"),
        ({"ts_ns": np.array([1, 1, (1 << 61) + 1])}, "times run backwards or leave"),
        ({"ts_ns": np.array([-1, 1, 1])}, "times run backwards or leave"),
        ({"ts_ns": np.array([1, 1])}, "times are int64 of shape"),
        ({"ts_ns": np.array([1.0, 1, 1])}, "times are float64"),
        ({"nr_pre": 3}, "3 operations with a prologue of 3"),
        ({"nr_pre": -1}, "prologue of -1"),
        ({"nr_pre": 2}, "prologue of 2 is not made of ALLOCs"),
        ({"nr_pre": 1, "ts_ns": np.array([1, 2, 2])}, "prologue of 1 is not made of ALLOCs"),
        ({"page_size": 8192}, "page size 8192"),
    ],
)
def test_trace_broken_rule_is_refused(changes: dict[str, object], message: str) -> None:
    ops = np.array([(0, ALLOC, 0, 0, 0), (0, FREE, 0, 0, 0), (0, ALLOC, 0, 0, 0)], OP_DTYPE)
    good = Trace(ops, np.array([1, 1, 1]), 0, 4096, "t", "a test")
    with pytest.raises(TraceError, match=message):
        dataclasses.replace(good, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ((5, ALLOC, 0, 0, 0), "slot 5 in 1 operations"),
        ((0, FREE, 0, 0, 0), "frees an empty"),
        ((0, 2, 0, 0, 0), "not ALLOC or FREE"),
        ((0, ALLOC, 0, 0, 2), "unknown bit in arg"),
    ],
)
def test_trace_broken_operation_is_refused(op: tuple[int, ...], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        Trace(np.array([op], OP_DTYPE), np.array([1]), 0, 4096, "t", "a test")


def test_trace_arrays_cannot_be_written(tiny: Trace) -> None:
    for array in (tiny.ops, tiny.ts_ns):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_trace_identity_depends_on_page_size_time_and_ops_but_not_on_texts(tiny: Trace) -> None:
    slots = tiny.ops.copy()
    slots["cpu"][1] = 1
    others = [
        dataclasses.replace(tiny, page_size=16384),
        dataclasses.replace(tiny, ts_ns=tiny.ts_ns * 2),
        dataclasses.replace(tiny, ops=slots),
    ]
    assert len({t.workload_sha256 for t in [tiny, *others]}) == 4
    renamed = dataclasses.replace(tiny, name="other", source="another")
    assert renamed.workload_sha256 == tiny.workload_sha256


def test_info_tiny_trace_has_the_figures_counted_by_hand(tiny: Trace) -> None:
    info = trace_info(tiny)
    sha256 = info.pop("workload_sha256")  # type: ignore[misc]
    assert sha256 == tiny.workload_sha256
    assert info.pop("integrity")["counts"]["never_freed"] == 1  # type: ignore[misc]
    life = {"p10": 3000, "p50": 3000, "p90": 3000, "p99": 3000}
    assert info == {
        "name": "tiny",
        "source": "a test",
        "page_size": 4096,
        "events": 6,
        "allocs": 3,
        "frees": 3,
        "pre_pages": 1,
        "slots": 3,
        "peak_live": 3,
        "mean_live": (2 * 4000 + 1 * 1000 + 2 * 3000) / 8000,
        "live_end": 1,
        "level_share": {"PTE": 1 / 3, "PMD": 1 / 3, "PUD": 0.0, "PGD": 1 / 3},
        "lifetime_ns": {"all": life, "PTE": life, "PMD": life},
        "free_bursts": {
            "gap_ns": 200_000,
            "count": 2,
            "mean": 1.5,
            "max": 2,
            "p50": 1,
            "p90": 2,
            "p99": 2,
        },
        "cross_cpu_frees": 1,
        "duration_ns": 8000,
        "allocs_per_s": pytest.approx(3 / 8e-6),
        "frees_per_s": pytest.approx(3 / 8e-6),
        # no two events of a kind in one of 100 windows of 80 ns
        "busiest_allocs_per_s": pytest.approx(1 / 80e-9),
        "busiest_frees_per_s": pytest.approx(1 / 80e-9),
    }


def test_info_trace_of_one_event_has_no_rates_lifetimes_or_bursts(tmp_path: Path) -> None:
    info = trace_info(import_text(tmp_path, in_csv(A)))
    assert (info["allocs_per_s"], info["frees_per_s"], info["lifetime_ns"]) == (None, None, {})
    bursts = {"count": 0, "mean": 0.0, "max": 0, "p50": 0, "p90": 0, "p99": 0}
    assert info["free_bursts"] == {"gap_ns": 200_000} | bursts
    assert info["mean_live"] == 1.0


def test_info_lifetimes_are_nearest_rank_percentiles(tmp_path: Path) -> None:
    allocs = [f"0,0,1,sh,alloc,PTE,{pfn},f" for pfn in range(200)]
    frees = [f"{pfn + 1},0,1,sh,free,PTE,{pfn},f" for pfn in range(200)]
    info = trace_info(import_text(tmp_path, in_csv(*allocs, *frees)))
    assert info["lifetime_ns"]["PTE"] == {"p10": 20, "p50": 100, "p90": 180, "p99": 198}


def test_info_free_burst_ends_after_its_gap_and_at_its_cpu(tmp_path: Path) -> None:
    allocs = [f"0,0,1,sh,alloc,PTE,{pfn},f" for pfn in range(6)]
    times = [(0, 0), (100_000, 1), (200_000, 0), (400_000, 0), (600_001, 0), (600_001, 1)]
    frees = [f"{ts},{cpu},1,sh,free,PTE,{pfn},f" for pfn, (ts, cpu) in enumerate(times)]
    bursts = trace_info(import_text(tmp_path, in_csv(*allocs, *frees)))["free_bursts"]
    assert (bursts["count"], bursts["max"]) == (4, 3)  # CPU 0: 3 and 1; CPU 1: 1 and 1


# File format


def test_save_tiny_trace_has_the_documented_layout(tiny: Trace, tiny_path: Path) -> None:
    data = tiny_path.read_bytes()
    fields = HEADER.unpack(data[:88])
    meta_bytes, payload_bytes, sha256 = fields[9:]
    assert fields[:9] == (b"\x89KPT\r\n\x1a\n", 1, 4096, 7, 3, 1, 1, 1000, 8000)
    assert len(data) == 88 + meta_bytes + payload_bytes + 4
    meta = json.loads(data[88 : 88 + meta_bytes])
    assert (meta.pop("name"), meta.pop("source")) == ("tiny", "a test")
    assert list(meta) == ["integrity"]
    assert sorted(meta["integrity"]) == ["counts", "first", "format", "origin"]
    assert meta["integrity"]["counts"]["pre_frees"] == 1
    raw = zlib.decompress(data[88 + meta_bytes : -4])
    assert sha256 == hashlib.sha256(struct.pack("<II", 4096, 1000) + raw).digest()
    assert sha256.hex() == tiny.workload_sha256
    assert data[-4:] == struct.pack("<I", zlib.crc32(data[:-4]))
    records = [struct.unpack("<QI4B", raw[i::7]) for i in range(7)]
    assert [record[1:] for record in records] == tiny.ops.tolist()
    assert [record[0] for record in records] == [1, 0, 1, 0, 3, 1, 3]


def test_load_saved_trace_is_equal(tiny: Trace, tiny_path: Path) -> None:
    assert contents(load_trace(tiny_path)) == contents(tiny)


@pytest.mark.parametrize(("ts_ns", "unit"), [(0, 1), (1 << 40, 1), (3 << 20, 3 << 20)])
def test_save_one_time_has_a_unit_that_fits_its_field(
    tmp_path: Path, ts_ns: int, unit: int
) -> None:
    path = tmp_path / "t.kpt"
    save_trace(import_text(tmp_path, in_csv(f"{ts_ns},0,1,sh,alloc,PTE,7,f")), path)
    assert HEADER.unpack(path.read_bytes()[:88])[7] == unit
    assert load_trace(path).ts_ns.tolist() == [ts_ns]


def test_save_replaces_old_file_and_leaves_nothing_else(tiny: Trace, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "t.kpt"
    path.write_bytes(b"old")
    save_trace(tiny, path)
    assert contents(load_trace(path)) == contents(tiny)
    assert [p.name for p in path.parent.iterdir()] == ["t.kpt"]


def test_save_failing_keeps_old_file_and_leaves_nothing_else(
    tiny: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "t.kpt"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(TraceError, match=r"t\.kpt: cannot write: No space left"):
        save_trace(tiny, path)
    assert [(p.name, p.read_bytes()) for p in path.parent.iterdir()] == [("t.kpt", b"old")]


def assert_refused(path: Path, message: str | None = None) -> None:
    """One line, with file and way out, in a few MiB whatever the file claims."""
    tracemalloc.start()
    try:
        with pytest.raises(TraceError, match=message) as caught:
            load_trace(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith("fetch the file again or convert its recording anew")
    assert "\n" not in text


def test_load_truncated_at_any_byte_is_refused(tiny_path: Path) -> None:
    data = tiny_path.read_bytes()
    for length in range(len(data)):
        tiny_path.write_bytes(data[:length])
        assert_refused(tiny_path)


def test_load_any_flipped_bit_is_refused(tiny_path: Path) -> None:
    data = bytearray(tiny_path.read_bytes())
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        tiny_path.write_bytes(data)
        assert_refused(tiny_path)
        data[bit // 8] ^= 1 << bit % 8


def test_load_appended_byte_is_refused(tiny_path: Path) -> None:
    tiny_path.write_bytes(tiny_path.read_bytes() + b"\0")
    assert_refused(tiny_path, "bytes where its header says")


def test_load_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"none\.kpt: cannot read: No such file"):
        load_trace(tmp_path / "none.kpt")


FIELDS = (
    *("magic", "version", "page_size", "nr_ops", "nr_slots", "nr_pre", "live_end", "ts_unit_ns"),
    *("duration_ns", "meta_bytes", "payload_bytes", "sha256"),
)


def forge(
    path: Path, *, meta: bytes | None = None, payload: bytes | None = None, **fields: object
) -> None:
    """Change a valid file and make its lengths, digest and checksum fit, unless given."""
    data = path.read_bytes()
    header = dict(zip(FIELDS, HEADER.unpack(data[:88]), strict=True))
    end = 88 + header["meta_bytes"]
    meta = data[88:end] if meta is None else meta
    payload = data[end:-4] if payload is None else payload
    header |= {"meta_bytes": len(meta), "payload_bytes": len(payload)} | fields
    if "sha256" not in fields:
        try:
            raw = zlib.decompress(payload)
        except zlib.error:
            raw = b""
        parameters = struct.pack("<II", header["page_size"], header["ts_unit_ns"])
        header["sha256"] = hashlib.sha256(parameters + raw).digest()
    body = HEADER.pack(*header.values()) + meta + payload
    path.write_bytes(body + struct.pack("<I", zlib.crc32(body)))


def test_forge_without_changes_gives_the_same_file(tiny_path: Path) -> None:
    data = tiny_path.read_bytes()
    forge(tiny_path)
    assert tiny_path.read_bytes() == data


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"magic": b"\x89PNG\r\n\x1a\n"}, "does not begin with the magic"),
        ({"version": 2}, "has format version 2, this reader knows 1"),
        ({"page_size": 8192}, "page size 8192 is not one of"),
        ({"nr_ops": 10**12}, "claims 1000000000000 operations"),
        ({"nr_ops": 6}, "does not decompress to exactly the 96 bytes"),
        ({"nr_ops": 8}, "does not decompress to exactly the 128 bytes"),
        ({"nr_ops": 0}, "claims 0 operations, outside 1 to"),
        ({"nr_slots": 4}, r"says slots, .* \(4, 1, 8000\) where .* give \(3, 1, 8000\)"),
        ({"live_end": 0}, r"\(3, 0, 8000\) where .* give \(3, 1, 8000\)"),
        ({"duration_ns": 9}, r"\(3, 1, 9\) where .* give \(3, 1, 8000\)"),
        ({"nr_pre": 7}, "7 operations with a prologue of 7"),
        ({"nr_pre": 0xFFFFFFFF}, "7 operations with a prologue of 4294967295"),
        ({"ts_unit_ns": 0}, "0 ns as their unit"),
        ({"meta_bytes": 65537}, "claims 65537 bytes of metadata, the limit is 65536"),
        ({"payload_bytes": 1}, "bytes where its header says"),
        ({"sha256": bytes(32)}, "payload that does not match its sha256"),
    ],
)
def test_load_lying_header_is_refused(
    tiny_path: Path, fields: dict[str, object], message: str
) -> None:
    forge(tiny_path, **fields)  # type: ignore[arg-type]
    assert_refused(tiny_path, message)


@pytest.mark.parametrize(
    "meta",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b'{"name": "tiny"}',
        b'{"name": 1, "source": "x"}',
        b'{"name": "two\\nlines", "source": "x"}',
        b'{"name": "\\ud800", "source": "x"}',
        b"[" * 65536,
        b'{"name": "tiny", "source": "' + b"x" * 5000 + b'"}',
        b'{"name": ' + b"1" * 60000 + b"}",
        b'{"name": "tiny", "source": "x", "integrity": []}',
        *(
            b'{"name": "tiny", "source": "x", "integrity": {%s}}' % body
            for body in (
                b"",
                b'"format": "csv", "origin": "csv", "counts": {}',
                b'"format": "csv", "origin": "csv", "counts": [], "first": {}',
                b'"format": "csv", "origin": "csv", "counts": {"a": -1}, "first": {}',
                b'"format": "csv", "origin": "csv", "counts": {"a": true}, "first": {}',
                b'"format": "csv", "origin": "csv", "counts": {"a": 1e3}, "first": {}',
                b'"format": "x", "origin": "x", "counts": {"a": 18446744073709551616}, "first": {}',
                b'"format": "csv", "origin": "csv", "counts": {"A b": 1}, "first": {}',
                b'"format": "csv", "origin": "csv", "counts": {}, "first": {"a": "two\\nlines"}',
                b'"format": "csv", "origin": 7, "counts": {}, "first": {}',
                b'"format": "csv", "origin": "csv", "counts": {}, "first": {}, "more": 1',
                b'"format": "csv", "origin": "csv", "first": {}, "counts": {'
                + b", ".join(b'"c%d": 1' % i for i in range(65))
                + b"}",
            )
        ),
    ],
)
def test_load_bad_metadata_is_refused(tiny_path: Path, meta: bytes) -> None:
    forge(tiny_path, meta=meta)
    assert_refused(tiny_path, "metadata|name|source|integrity")


def raw_of(*records: tuple[int, int, int, int, int, int]) -> bytes:
    rows = [struct.pack("<QI4B", *record) for record in records]
    return bytes(row[plane] for plane in range(16) for row in rows)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([(1, 0, FREE, 0, 0, 0)], "frees an empty slot"),
        ([(1, 0xFFFFFFFF, ALLOC, 0, 0, 0)], "slot 4294967295 in 1 operations"),
        ([(1, 0, 3, 0, 0, 0)], "not ALLOC or FREE"),
        ([(1, 0, ALLOC, 0, 4, 0)], "level 4"),
        ([(1 << 61, 0, ALLOC, 0, 0, 0)], "has times above"),
        ([(9, 0, ALLOC, 0, 0, 0), ((1 << 64) - 1, 0, FREE, 0, 0, 0)], "has times above"),
    ],
)
def test_load_consistent_file_with_impossible_operations_is_refused(
    tiny_path: Path, records: list[tuple[int, int, int, int, int, int]], message: str
) -> None:
    payload = zlib.compress(raw_of(*records))
    forge(tiny_path, payload=payload, nr_ops=len(records), nr_pre=0)
    assert_refused(tiny_path, message)


@pytest.mark.parametrize("cut", [b"", b"\0" * 9], ids=["truncated stream", "bytes after stream"])
def test_load_payload_that_is_not_exactly_one_stream_is_refused(
    tiny_path: Path, cut: bytes
) -> None:
    payload = zlib.compress(raw_of((1, 0, ALLOC, 0, 0, 0)))
    forge(tiny_path, payload=payload + cut if cut else payload[:-1], nr_ops=1, nr_pre=0)
    assert_refused(tiny_path, "does not decompress to exactly the 16 bytes")


def test_load_payload_that_is_not_deflated_is_refused(tiny_path: Path) -> None:
    forge(tiny_path, payload=b"nothing that zlib knows")
    assert_refused(tiny_path, "payload that is not a zlib stream")


def test_load_decompression_bomb_is_refused_in_bounded_memory(tiny_path: Path) -> None:
    bomb = zlib.compress(bytes(64 * MIB), 9)
    forge(tiny_path, payload=bomb, nr_ops=len(bomb) // 16 + 16)
    assert_refused(tiny_path, "does not decompress to exactly")


def test_load_most_operations_and_no_payload_is_refused_in_bounded_memory(tiny_path: Path) -> None:
    forge(tiny_path, nr_ops=MAX_OPS)
    assert_refused(tiny_path, f"claims {MAX_OPS} operations")


@pytest.mark.parametrize("field", ["meta_bytes", "payload_bytes"])
def test_load_huge_part_is_refused_without_reading_it(tiny_path: Path, field: str) -> None:
    huge = (1 << 32) - 1
    forge(tiny_path, **{field: huge})  # type: ignore[arg-type]
    header = HEADER.unpack(tiny_path.read_bytes()[:88])
    os.truncate(tiny_path, 88 + header[9] + header[10] + 4)  # sparse: takes no disk space
    assert_refused(tiny_path, f"claims {huge} bytes")


# Shipped recordings

SHIPPED = {
    # events, peak live, live at end, PTE/PMD/PUD/PGD in %
    "boot": (1_407, 82, 41, (47, 27, 17, 9)),
    "compile": (4_449, 125, 13, (68, 17, 10, 5)),
    "fork_exact": (6_881, 58, 3, (46, 27, 18, 9)),
    "fork_exact_16k": (4_387, 50, 1, (58, 28, 0, 14)),
    "forkexec": (100_654, 159, 30, (46, 28, 17, 8)),
    "many": (14_124, 3_435, 15, (55, 24, 14, 7)),
    "mmap": (288_411, 1_454, 9, (84, 9, 5, 2)),
    "redis": (1_809, 232, 1, (66, 17, 11, 5)),
    "sparse": (65_859, 8_224, 11, (100, 0, 0, 0)),
}


def test_shipped_traces_are_the_nine_recordings() -> None:
    assert list(shipped_traces()) == sorted(SHIPPED)


def test_shipped_traces_together_stay_small() -> None:
    assert sum(path.stat().st_size for path in shipped_traces().values()) < 600_000


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_trace_has_the_recorders_figures(name: str) -> None:
    trace = load_trace(shipped_traces()[name])
    info = trace_info(trace)
    events, peak_live, live_end, shares = SHIPPED[name]
    assert (info["events"], info["live_end"]) == (events, live_end)
    assert info["peak_live"] == info["slots"] == peak_live
    assert tuple(round(100 * share) for share in info["level_share"].values()) == shares
    assert trace.name == name
    assert trace.page_size == (16384 if name == "fork_exact_16k" else 4096)
    assert info["pre_pages"] == (1 if name == "many" else 0)
    assert int(check_ops(trace.ops, trace.nr_slots).sum()) == live_end


@pytest.mark.parametrize(
    ("name", "cross_cpu_frees", "bursts", "burst_max", "p10_us", "p99_us"),
    [
        ("compile", 127, 344, 33, 36_701, 11_154_231),
        ("fork_exact", 132, 610, 22, 15_636, 57_002),
        ("mmap", 41_588, 8_346, 120, 6_893, 10_069_805),
        ("redis", 387, 111, 81, 18_292, 17_325_685),
        ("sparse", 48, 41, 3_586, 101_622, 350_131),
    ],
)
def test_shipped_trace_has_the_recorders_lifetimes_and_bursts(
    name: str, cross_cpu_frees: int, bursts: int, burst_max: int, p10_us: int, p99_us: int
) -> None:
    info = trace_info(load_trace(shipped_traces()[name]))
    assert info["cross_cpu_frees"] == cross_cpu_frees
    assert (info["free_bursts"]["count"], info["free_bursts"]["max"]) == (bursts, burst_max)
    life = info["lifetime_ns"]["all"]
    assert (life["p10"], life["p99"]) == (p10_us * 1000, p99_us * 1000)


def test_shipped_boot_has_the_kernel_tables_of_the_early_boot() -> None:
    ops = load_trace(shipped_traces()["boot"]).ops
    kernel = ops[(ops["arg"] == 1) & (ops["kind"] == ALLOC)]
    assert len(kernel) == 16
    assert set(kernel["level"].tolist()) == {PTE}
