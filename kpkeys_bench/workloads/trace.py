# SPDX-License-Identifier: GPL-2.0-only
"""Recorded traces: the `Trace` in memory and the ``.kpt`` file (``docs/trace-format.md``).

A ``.kpt`` file is untrusted input: sizes are checked against limits and against the size of the
file before anything is read or decompressed.
"""

import hashlib
import importlib.resources
import json
import os
import re
import struct
import zlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

from kpkeys_bench.errors import TraceError
from kpkeys_bench.workloads.ops import (
    ALLOC,
    ARG_KERNEL,
    FREE,
    LEVEL_NAMES,
    OP_DTYPE,
    OpArray,
    check_ops,
)

SUFFIX: Final = ".kpt"
MAGIC: Final = b"\x89KPT\r\n\x1a\n"
VERSION: Final = 1
PAGE_SIZES: Final = (4096, 16384, 65536)
MAX_OPS: Final = 1 << 23
"""Most operations of a trace: 128 MiB decompressed."""
MAX_TS_NS: Final = 1 << 61
MAX_META_BYTES: Final = 1 << 16
MAX_NAME_CHARS: Final = 64
MAX_SOURCE_CHARS: Final = 4096
MAX_COUNT: Final = (1 << 64) - 1
MAX_COUNTS: Final = 64
BURST_GAP_NS: Final = 200_000
"""Frees on one CPU that are at most this far apart in recorded time are one burst."""

RATE_WINDOWS: Final = 100
"""The busiest rates are those of a hundredth of the duration."""

_HEADER: Final = struct.Struct("<8sIIQIIIIQII32s")  # of _Header
_CRC: Final = struct.Struct("<I")
_NAME: Final = re.compile(r"[a-z0-9_-]{1,64}")
_RECORD: Final = np.dtype([("dt", "<u8"), ("op", OP_DTYPE)])
# No deflate stream expands further: 258 bytes from 2 bits.
_DEFLATE_MAX_RATIO: Final = 1032


class _Header(NamedTuple):
    magic: bytes
    version: int
    page_size: int
    nr_ops: int
    nr_slots: int
    nr_pre: int
    live_end: int
    ts_unit_ns: int
    duration_ns: int
    meta_bytes: int
    payload_bytes: int
    sha256: bytes


@dataclass(frozen=True)
class Integrity:
    """What the import of a recording counted: kept in the file, shown by ``trace info``.

    Attributes
    ----------
    format, origin : str
        Which text it was, and what its events were taken from: short lower-case names.
    counts : dict of str to int
        How often what was found; ``docs/traces.md`` says what each means.
    first : dict of str to str
        File and line where it was found first, for some of `counts`.

    Raises
    ------
    TraceError
        If a name, a number or a text is not what a file may hold.
    """

    format: str
    origin: str
    counts: dict[str, int]
    first: dict[str, str]

    def __post_init__(self) -> None:
        names: tuple[object, ...] = (self.format, self.origin, *self.counts, *self.first)
        if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
            raise TraceError("integrity has a name that is not of a-z, 0-9, _ and -")
        if not all(
            type(count) is int and 0 <= count <= MAX_COUNT for count in self.counts.values()
        ):
            raise TraceError(f"integrity has a count outside 0 to {MAX_COUNT}")
        places: list[object] = list(self.first.values())
        if not all(
            isinstance(at, str) and len(at) <= MAX_SOURCE_CHARS and at.isprintable()
            for at in places
        ):
            raise TraceError("integrity has a place that is not one printable line")
        if max(len(self.counts), len(self.first)) > MAX_COUNTS:
            raise TraceError(f"integrity has more than {MAX_COUNTS} counts")


@dataclass(frozen=True, eq=False)
class Trace:
    """A recorded sequence of PTP allocations and frees, valid by construction.

    Attributes
    ----------
    ops : (n,) array of `OP_DTYPE`
        Only ALLOC and FREE, replayable from empty slots. Read-only.
    ts_ns : (n,) array of int64
        Recorded time of each operation in ns, not decreasing. Read-only.
    nr_pre : int
        The first `nr_pre` operations are the prologue: ALLOCs of pages that were allocated before
        the recording began and freed in it. Their level is not known (PTE is written) nor their
        CPU (0); their time is that of the first recorded event. A slice's has all pages that are
        live at its start, with level and CPU.
    page_size : int
        In bytes: 4096, 16384 or 65536.
    name : str
        Short name, as the file's stem.
    source : str
        One line: machine, kernel, how it was recorded and how far its times can be trusted.
    integrity : Integrity, optional
        What the import of the recording counted, if it kept that.

    Raises
    ------
    TraceError
        If any of the above does not hold.
    """

    ops: OpArray
    ts_ns: npt.NDArray[np.int64]
    nr_pre: int
    page_size: int
    name: str
    source: str
    integrity: Integrity | None = None

    def __post_init__(self) -> None:
        for field in ("ops", "ts_ns"):
            array = getattr(self, field).view()
            array.flags.writeable = False
            object.__setattr__(self, field, array)
        _validate(self)

    @property
    def nr_ops(self) -> int:
        """Operations, prologue included."""
        return len(self.ops)

    @cached_property
    def nr_slots(self) -> int:
        """Slots that a replay needs."""
        return int(self.ops["slot"].max()) + 1

    @property
    def live_end(self) -> int:
        """PTPs that the trace leaves live."""
        return self.nr_ops - 2 * int(np.count_nonzero(self.ops["kind"] == FREE))

    @property
    def duration_ns(self) -> int:
        """Recorded time from the first event to the last, in ns."""
        return int(self.ts_ns[-1] - self.ts_ns[0])

    @cached_property
    def workload_sha256(self) -> str:
        """Identity of the workload (hex): page size, times and operations, not the texts."""
        return _digest(self.page_size, *_encode(self)).hex()


class Percentiles(TypedDict):
    """Nearest-rank percentiles in ns of recorded time."""

    p10: int
    p50: int
    p90: int
    p99: int


class Bursts(TypedDict):
    """Runs of frees on one CPU with gaps of at most `gap_ns` of recorded time.

    The percentiles are sizes of bursts, nearest rank; 0 without a burst.
    """

    gap_ns: int
    count: int
    mean: float
    max: int
    p50: int
    p90: int
    p99: int


class TraceInfo(TypedDict):
    """What `trace_info` returns. Allocs exclude the prologue; slots and live counts include it."""

    name: str
    source: str
    page_size: int
    events: int
    allocs: int
    frees: int
    pre_pages: int
    slots: int
    peak_live: int
    mean_live: float
    live_end: int
    level_share: dict[str, float]
    lifetime_ns: dict[str, Percentiles]
    free_bursts: Bursts
    cross_cpu_frees: int
    duration_ns: int
    allocs_per_s: float | None
    frees_per_s: float | None
    busiest_allocs_per_s: float | None
    busiest_frees_per_s: float | None
    workload_sha256: str
    integrity: dict[str, Any] | None


def load_trace(path: str | os.PathLike[str]) -> Trace:
    """Read and verify a ``.kpt`` file.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    Trace
        Equal to what was saved.

    Raises
    ------
    TraceError
        If the file cannot be read, is damaged or lies about itself. Whatever it claims, memory
        stays below a multiple of its size, and below 0.5 GiB (at `MAX_OPS`).
    """
    try:
        with Path(path).open("rb") as file:
            return _read(file)
    except OSError as error:
        raise TraceError(f"{path}: cannot read: {error.strerror}; check the path") from error
    except TraceError as error:
        raise TraceError(
            f"{path}: {error}; fetch the file again or convert its recording anew"
        ) from error


def save_trace(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write a ``.kpt`` file; the old file or the new one is in place at any time, never a part.

    Parameters
    ----------
    trace : Trace
        What to write.
    path : path
        Where; an existing file is replaced.

    Raises
    ------
    TraceError
        If the file cannot be written.
    """
    ts_unit_ns, raw = _encode(trace)
    texts: dict[str, Any] = {"name": trace.name, "source": trace.source}
    if trace.integrity is not None:
        texts["integrity"] = asdict(trace.integrity)
    meta = json.dumps(texts, ensure_ascii=False).encode()
    if len(meta) > MAX_META_BYTES:
        raise TraceError(
            f"{path}: {len(meta)} bytes of name, source and integrity, the limit is"
            f" {MAX_META_BYTES}; shorten the source"
        )
    payload = zlib.compress(raw, 9)
    header = _Header(
        magic=MAGIC,
        version=VERSION,
        page_size=trace.page_size,
        nr_ops=trace.nr_ops,
        nr_slots=trace.nr_slots,
        nr_pre=trace.nr_pre,
        live_end=trace.live_end,
        ts_unit_ns=ts_unit_ns,
        duration_ns=trace.duration_ns,
        meta_bytes=len(meta),
        payload_bytes=len(payload),
        sha256=_digest(trace.page_size, ts_unit_ns, raw),
    )
    body = _HEADER.pack(*header) + meta + payload
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(body + _CRC.pack(zlib.crc32(body)))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TraceError(
            f"{path}: cannot write: {error.strerror}; check that the folder exists and is writable"
        ) from error


def trace_info(trace: Trace) -> TraceInfo:
    """Summarise a trace.

    Parameters
    ----------
    trace : Trace
        The trace.

    Returns
    -------
    TraceInfo
        ``level_share`` (of the recorded allocations, sums to 1) has all four levels;
        ``lifetime_ns`` has ``all`` and each level that has a page both allocated and freed by the
        trace. Rates are per second of recorded time, None if the trace has no duration; the
        busiest ones are those of the best of `RATE_WINDOWS` equal parts of it. ``mean_live`` is
        over time.
    """
    ops, ts_ns, nr_pre = trace.ops, trace.ts_ns, trace.nr_pre
    is_free = ops["kind"] == FREE
    frees = int(np.count_nonzero(is_free))
    allocs = trace.nr_ops - nr_pre - frees
    levels = np.bincount(ops["level"][nr_pre:][~is_free[nr_pre:]], minlength=len(LEVEL_NAMES))
    alloc_at, free_at = _pair(trace)
    life_ns = ts_ns[free_at] - ts_ns[alloc_at]
    level = ops["level"][alloc_at]
    lives = {"all": life_ns} | {
        name: life_ns[level == number] for number, name in enumerate(LEVEL_NAMES)
    }
    seconds = trace.duration_ns / 1e9
    live = live_curve(trace)
    return {
        "name": trace.name,
        "source": trace.source,
        "page_size": trace.page_size,
        "events": trace.nr_ops - nr_pre,
        "allocs": allocs,
        "frees": frees,
        "pre_pages": nr_pre,
        "slots": trace.nr_slots,
        "peak_live": int(live.max()),
        "mean_live": float(live[:-1] @ np.diff(ts_ns) / trace.duration_ns)
        if seconds
        else float(live[-1]),
        "live_end": trace.live_end,
        "level_share": {
            name: int(count) / max(allocs, 1)
            for name, count in zip(LEVEL_NAMES, levels, strict=True)
        },
        "lifetime_ns": {name: _percentiles(life) for name, life in lives.items() if life.size},
        "free_bursts": _bursts(burst_sizes(trace)),
        "cross_cpu_frees": int(np.count_nonzero(ops["cpu"][alloc_at] != ops["cpu"][free_at])),
        "duration_ns": trace.duration_ns,
        "allocs_per_s": allocs / seconds if seconds else None,
        "frees_per_s": frees / seconds if seconds else None,
        "busiest_allocs_per_s": _busiest(trace, ALLOC),
        "busiest_frees_per_s": _busiest(trace, FREE),
        "workload_sha256": trace.workload_sha256,
        "integrity": None if trace.integrity is None else asdict(trace.integrity),
    }


def live_curve(trace: Trace) -> npt.NDArray[np.int64]:
    """Live pages after each operation, ``(n,)``; the prologue counts one by one."""
    return np.cumsum(np.where(trace.ops["kind"] == FREE, -1, 1))


def page_lives(trace: Trace) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Level, and recorded time from ALLOC to FREE in ns, of each page that has both."""
    alloc_at, free_at = _pair(trace)
    return trace.ops["level"][alloc_at], trace.ts_ns[free_at] - trace.ts_ns[alloc_at]


def burst_sizes(trace: Trace) -> npt.NDArray[np.int64]:
    """Frees in each run of frees on one CPU with gaps of at most `BURST_GAP_NS`."""
    is_free = trace.ops["kind"] == FREE
    cpu, ts_ns = trace.ops["cpu"][is_free], trace.ts_ns[is_free]
    if not len(cpu):
        return np.zeros(0, np.int64)
    by_cpu = np.argsort(cpu, kind="stable")
    cpu, ts_ns = cpu[by_cpu], ts_ns[by_cpu]
    begins = np.flatnonzero((cpu[1:] != cpu[:-1]) | (np.diff(ts_ns) > BURST_GAP_NS)) + 1
    return np.diff(begins, prepend=0, append=len(cpu))


def window_counts(trace: Trace, kind: int, windows: int) -> npt.NDArray[np.int64]:
    """Recorded events of a kind in equal parts of the duration, ``(windows,)``."""
    ts_ns = trace.ts_ns[trace.nr_pre :][trace.ops["kind"][trace.nr_pre :] == kind]
    at = (ts_ns - trace.ts_ns[0]) * (windows / max(trace.duration_ns, 1))
    return np.bincount(np.minimum(at.astype(np.int64), windows - 1), minlength=windows)


def shipped_traces() -> dict[str, Path]:
    """Find the recordings that come with the package.

    Returns
    -------
    dict
        Name to path of the ``.kpt`` file, sorted by name.
    """
    folder = importlib.resources.files("kpkeys_bench.workloads") / "traces"
    paths = (Path(str(entry)) for entry in folder.iterdir())
    return {path.stem: path for path in sorted(paths) if path.suffix == SUFFIX}


def _validate(trace: Trace) -> None:
    ops, ts_ns, nr_pre = trace.ops, trace.ts_ns, trace.nr_pre
    if not (nr_pre >= 0 and nr_pre < len(ops) <= MAX_OPS):
        raise TraceError(
            f"{len(ops)} operations with a prologue of {nr_pre}; there must be an event after the"
            f" prologue and at most {MAX_OPS} operations"
        )
    if trace.nr_slots > len(ops):
        raise TraceError(
            f"slot {trace.nr_slots - 1} in {len(ops)} operations; slots are numbered without holes"
        )
    check_ops(ops, trace.nr_slots)
    if (ops["kind"] > FREE).any() or (ops["arg"] > ARG_KERNEL).any():
        raise TraceError("an operation is not ALLOC or FREE, or has an unknown bit in arg")
    if ts_ns.dtype != np.int64 or ts_ns.shape != ops.shape:
        raise TraceError(f"times are {ts_ns.dtype} of shape {ts_ns.shape}, not int64 per operation")
    if ts_ns[0] < 0 or ts_ns[-1] > MAX_TS_NS or (ts_ns[1:] < ts_ns[:-1]).any():
        raise TraceError(f"times run backwards or leave 0 to {MAX_TS_NS} ns")
    if (ops["kind"][:nr_pre] != ALLOC).any() or ts_ns[0] != ts_ns[nr_pre]:
        raise TraceError(
            f"the prologue of {nr_pre} is not made of ALLOCs at the first event's time"
        )
    if trace.page_size not in PAGE_SIZES:
        raise TraceError(f"page size {trace.page_size} is not one of {PAGE_SIZES}")
    for field, limit in (("name", MAX_NAME_CHARS), ("source", MAX_SOURCE_CHARS)):
        text = getattr(trace, field)
        if not (0 < len(text) <= limit and text.isprintable()):
            raise TraceError(f"{field} {text[:limit]!r} is not one line of 1 to {limit} characters")


def _encode(trace: Trace) -> tuple[int, bytes]:
    """Return the time unit in ns and the payload before compression."""
    unit = int(np.gcd.reduce(trace.ts_ns))
    if not 0 < unit < 1 << 32:
        unit = 1
    record = np.empty(trace.nr_ops, _RECORD)
    record["dt"] = np.diff(trace.ts_ns, prepend=0) // unit
    record["op"] = trace.ops
    # Byte planes: all first bytes, then all second bytes; mostly constant, so deflate eats them.
    return unit, record.view(np.uint8).reshape(-1, _RECORD.itemsize).T.tobytes()


def _digest(page_size: int, ts_unit_ns: int, raw: bytes) -> bytes:
    return hashlib.sha256(struct.pack("<II", page_size, ts_unit_ns) + raw).digest()


def _read(file: BinaryIO) -> Trace:
    packed = file.read(_HEADER.size)
    header = _check_header(packed, os.fstat(file.fileno()).st_size)
    rest = file.read(header.meta_bytes + header.payload_bytes + _CRC.size)
    body, crc = rest[: -_CRC.size], rest[-_CRC.size :]
    if _CRC.pack(zlib.crc32(body, zlib.crc32(packed))) != crc:
        raise TraceError("has a wrong checksum, so bytes are damaged or missing")
    try:
        meta = json.loads(body[: header.meta_bytes].decode())
    except (ValueError, RecursionError) as error:
        raise TraceError(f"has metadata that is not JSON ({type(error).__name__})") from error
    if not isinstance(meta, dict) or not all(
        isinstance(meta.get(key), str) for key in ("name", "source")
    ):
        raise TraceError("has metadata without the strings name and source")
    ops, ts_ns = _decode(header, body[header.meta_bytes :])
    trace = Trace(
        ops,
        ts_ns,
        header.nr_pre,
        header.page_size,
        meta["name"],
        meta["source"],
        _integrity(meta.get("integrity")),
    )
    said = (header.nr_slots, header.live_end, header.duration_ns)
    found = (trace.nr_slots, trace.live_end, trace.duration_ns)
    if said != found:
        raise TraceError(
            f"says slots, live at the end, duration {said} where the operations give {found}"
        )
    return trace


def _integrity(meta: object) -> Integrity | None:
    """Return what the metadata has of it; whatever it is, it is checked."""
    if meta is None:
        return None
    keys = ("format", "origin", "counts", "first")
    if not isinstance(meta, dict) or sorted(meta) != sorted(keys):
        raise TraceError(f"has metadata whose integrity is not an object of {', '.join(keys)}")
    if not isinstance(meta["counts"], dict) or not isinstance(meta["first"], dict):
        raise TraceError("has metadata whose integrity counts are no objects")
    return Integrity(**meta)


def _check_header(packed: bytes, file_bytes: int) -> _Header:
    """Return the header if its sizes are possible, agree with the file's and bound the memory."""
    if not packed.startswith(MAGIC):
        raise TraceError("does not begin with the magic of a .kpt file")
    if len(packed) < _HEADER.size:
        raise TraceError(f"has {file_bytes} bytes, less than the header's {_HEADER.size}")
    header = _Header._make(_HEADER.unpack(packed))
    if header.version != VERSION:
        raise TraceError(f"has format version {header.version}, this reader knows {VERSION}")
    raw_bytes = header.nr_ops * _RECORD.itemsize
    limit = min(MAX_OPS, header.payload_bytes * _DEFLATE_MAX_RATIO // _RECORD.itemsize)
    if not 1 <= header.nr_ops <= limit:
        raise TraceError(
            f"claims {header.nr_ops} operations, outside 1 to {limit} for a payload of"
            f" {header.payload_bytes} bytes"
        )
    if header.meta_bytes > MAX_META_BYTES:
        raise TraceError(
            f"claims {header.meta_bytes} bytes of metadata, the limit is {MAX_META_BYTES}"
        )
    # Deflate stores what it cannot compress, so no honest payload is much longer than its content.
    limit = raw_bytes + raw_bytes // 1000 + 64
    if header.payload_bytes > limit:
        raise TraceError(f"claims {header.payload_bytes} bytes of payload, the limit is {limit}")
    expected = _HEADER.size + header.meta_bytes + header.payload_bytes + _CRC.size
    if file_bytes != expected:
        raise TraceError(f"has {file_bytes} bytes where its header says {expected}")
    return header


def _decode(header: _Header, payload: bytes) -> tuple[OpArray, npt.NDArray[np.int64]]:
    """Return the operations and their times in ns."""
    raw_bytes = header.nr_ops * _RECORD.itemsize
    inflate = zlib.decompressobj()
    try:
        # Room for one byte more shows a stream that is too long.
        raw = inflate.decompress(payload, raw_bytes + 1)
    except zlib.error as error:
        raise TraceError(f"has a payload that is not a zlib stream ({error})") from error
    if len(raw) != raw_bytes or not inflate.eof or inflate.unused_data:
        raise TraceError(f"does not decompress to exactly the {raw_bytes} bytes of its operations")
    if _digest(header.page_size, header.ts_unit_ns, raw) != header.sha256:
        raise TraceError("has a payload that does not match its sha256")

    planes = np.frombuffer(raw, np.uint8).reshape(_RECORD.itemsize, header.nr_ops)
    record = np.ascontiguousarray(planes.T).view(_RECORD)[:, 0]
    units = np.cumsum(record["dt"])
    # An unsigned sum that wraps becomes smaller than the one before.
    wraps = (units[1:] < units[:-1]).any()
    if wraps or not 0 < header.ts_unit_ns * max(int(units[-1]), 1) <= MAX_TS_NS:
        raise TraceError(f"has times above {MAX_TS_NS} ns or 0 ns as their unit")
    ts_ns = (units * np.uint64(header.ts_unit_ns)).astype(np.int64)
    return np.ascontiguousarray(record["op"]), ts_ns


def _pair(trace: Trace) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the indices of the ALLOC and the FREE of each page that the recording saw both of."""
    by_slot = np.argsort(trace.ops["slot"], kind="stable")
    free = np.flatnonzero(trace.ops["kind"][by_slot] == FREE)
    alloc_at, free_at = by_slot[free - 1], by_slot[free]
    recorded = alloc_at >= trace.nr_pre
    return alloc_at[recorded], free_at[recorded]


def _percentiles(life_ns: npt.NDArray[np.int64]) -> Percentiles:
    p10, p50, p90, p99 = np.percentile(life_ns, (10, 50, 90, 99), method="inverted_cdf").tolist()
    return {"p10": p10, "p50": p50, "p90": p90, "p99": p99}


def _bursts(sizes: npt.NDArray[np.int64]) -> Bursts:
    some = sizes if len(sizes) else np.zeros(1, np.int64)
    p50, p90, p99 = np.percentile(some, (50, 90, 99), method="inverted_cdf").tolist()
    return {
        "gap_ns": BURST_GAP_NS,
        "count": len(sizes),
        "mean": float(some.mean()),
        "max": int(some.max()),
        "p50": p50,
        "p90": p90,
        "p99": p99,
    }


def _busiest(trace: Trace, kind: int) -> float | None:
    if not trace.duration_ns:
        return None
    most = int(window_counts(trace, kind, RATE_WINDOWS).max())
    return most / (trace.duration_ns / 1e9 / RATE_WINDOWS)
