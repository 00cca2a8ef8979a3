# SPDX-License-Identifier: GPL-2.0-only
"""Import of recorded page table events from CSV."""

import csv
import gzip
import heapq
import lzma
import os
import zlib
from array import array
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TextIO

import numpy as np

from kpkeys_bench.errors import TraceError
from kpkeys_bench.workloads.ops import (
    ALLOC,
    ARG_KERNEL,
    FREE,
    LEVEL_NAMES,
    OP_DTYPE,
    PTE,
)
from kpkeys_bench.workloads.trace import MAX_OPS, MAX_TS_NS, Trace

COLUMNS: Final = ("ts_ns", "cpu", "op", "level", "pfn", "caller")
"""Columns that the importer reads; others, such as pid and comm, may be there in any order."""
PRE: Final = "PRE"
"""Level in a free whose page was allocated before the recording began."""

_MAX_LINE_CHARS: Final = 4096
_MAX_CPU: Final = 255
_KERNEL_CALLER: Final = "__pte_alloc_kernel"
_LEVELS: Final = {name: level for level, name in enumerate(LEVEL_NAMES)}
_FREED: Final = -1


def import_csv(path: str | os.PathLike[str], *, page_size: int, name: str, source: str) -> Trace:
    """Convert a recording to a `Trace`.

    A free belongs to the live allocation of the same pfn. Slots are the lowest free ones, so their
    number is the peak of live pages. A FREE carries level and ``arg`` of its page's ALLOC. Pages
    freed as `PRE` get ALLOCs in the trace's prologue.

    Parameters
    ----------
    path : path
        CSV with a header line that names `COLUMNS`; compressed if it ends in ``.xz`` or ``.gz``.
        ``ts_ns`` in ns, decimal ``pfn``, ``op`` alloc or free, ``level`` PTE, PMD, PUD or PGD.
        Read as a stream.
    page_size, name, source
        See `Trace`.

    Returns
    -------
    Trace
        With one operation per line in the file's order, after the prologue.

    Raises
    ------
    TraceError
        On unreadable, truncated or contradicting input, with the number of the line.
    """
    path = Path(path)
    events = _Events()
    try:
        with _open(path) as file:
            # Limiting each read bounds the memory that a line without end can take.
            reader = csv.reader(iter(partial(file.readline, _MAX_LINE_CHARS), ""))
            try:
                for event in _parse(reader):
                    events.add(event)
            except (TraceError, csv.Error) as error:
                raise TraceError(
                    f"{path}:{reader.line_num}: {error}; correct the recording or its conversion"
                ) from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise TraceError(
            f"{path}: cannot read: {error}; check the path or copy it again"
        ) from error
    try:
        return events.trace(page_size, name, source)
    except TraceError as error:
        raise TraceError(f"{path}: {error}; correct the recording or the arguments") from error


class _Event(NamedTuple):
    ts_ns: int
    cpu: int
    op: str
    level: str
    pfn: int
    caller: str


class _Events:
    """The events so far; pages are numbered in the order of their first event."""

    def __init__(self) -> None:
        self._live: dict[int, int] = {}  # pfn -> page, or _FREED
        self._page_level = bytearray()
        self._page_arg = bytearray()
        self._pre_pages: list[int] = []
        self._ts_ns = array("q")
        self._cpu = bytearray()
        self._kind = bytearray()
        self._page = array("q")

    def add(self, event: _Event) -> None:
        if self._ts_ns and event.ts_ns < self._ts_ns[-1]:
            raise TraceError(
                f"ts_ns {event.ts_ns} runs backwards, the line before has {self._ts_ns[-1]}"
            )
        if not 0 <= event.ts_ns <= MAX_TS_NS or not 0 <= event.cpu <= _MAX_CPU:
            raise TraceError(
                f"ts_ns {event.ts_ns} or cpu {event.cpu} is outside 0 to {MAX_TS_NS} or"
                f" 0 to {_MAX_CPU}"
            )
        if len(self._page) == MAX_OPS:
            raise TraceError(f"more than {MAX_OPS} events")
        if event.op == "alloc":
            kind, page = ALLOC, self._alloc(event)
        elif event.op == "free":
            kind, page = FREE, self._free(event)
        else:
            raise TraceError(f"op {event.op!r} is not alloc or free")
        self._ts_ns.append(event.ts_ns)
        self._cpu.append(event.cpu)
        self._kind.append(kind)
        self._page.append(page)

    def _alloc(self, event: _Event) -> int:
        level = _LEVELS.get(event.level)
        if level is None:
            raise TraceError(
                f"level {event.level!r} of an alloc is not one of {', '.join(LEVEL_NAMES)}"
            )
        if self._live.get(event.pfn, _FREED) != _FREED:
            raise TraceError(f"alloc of pfn {event.pfn}, which is live")
        is_kernel = event.caller.partition("+")[0] == _KERNEL_CALLER
        return self._new_page(event.pfn, level, ARG_KERNEL if is_kernel else 0)

    def _free(self, event: _Event) -> int:
        pfn, is_pre = event.pfn, event.level == PRE
        if is_pre and pfn not in self._live:
            self._pre_pages.append(self._new_page(pfn, PTE, 0))
        page = self._live.get(pfn, _FREED)
        if page == _FREED:
            raise TraceError(f"free of pfn {pfn}, which is not live")
        level = LEVEL_NAMES[self._page_level[page]]
        if not is_pre and event.level != level:
            raise TraceError(f"free of pfn {pfn} as {event.level!r}, allocated as {level}")
        self._live[pfn] = _FREED
        return page

    def _new_page(self, pfn: int, level: int, arg: int) -> int:
        page = len(self._page_level)
        self._page_level.append(level)
        self._page_arg.append(arg)
        self._live[pfn] = page
        return page

    def trace(self, page_size: int, name: str, source: str) -> Trace:
        if not self._page:
            raise TraceError("no events")
        nr_pre = len(self._pre_pages)
        page = np.concatenate([self._pre_pages, self._page]).astype(np.int64)
        ops = np.zeros(len(page), OP_DTYPE)
        ops["kind"][nr_pre:] = self._kind
        ops["cpu"][nr_pre:] = self._cpu
        ops["level"] = np.frombuffer(self._page_level, np.uint8)[page]
        ops["arg"] = np.frombuffer(self._page_arg, np.uint8)[page]
        ops["slot"] = _lowest_free_slots(ops["kind"].tolist(), page.tolist())
        ts_ns = np.concatenate([[self._ts_ns[0]] * nr_pre, self._ts_ns]).astype(np.int64)
        return Trace(ops, ts_ns, nr_pre, page_size, name, source)


def _lowest_free_slots(kinds: list[int], pages: list[int]) -> list[int]:
    free: list[int] = []
    nr_slots = 0
    slot_of: dict[int, int] = {}
    slots = []
    for kind, page in zip(kinds, pages, strict=True):
        if kind == FREE:
            slot = slot_of.pop(page)
            heapq.heappush(free, slot)
        elif free:
            slot = slot_of[page] = heapq.heappop(free)
        else:
            slot = slot_of[page] = nr_slots
            nr_slots += 1
        slots.append(slot)
    return slots


def _open(path: Path) -> TextIO:
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8", errors="replace", newline="")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", errors="replace", newline="")
    return path.open(encoding="utf-8", errors="replace", newline="")


def _parse(reader: Iterator[list[str]]) -> Iterator[_Event]:
    header = next(reader, [])
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise TraceError(f"column {missing[0]!r} is missing, the header line has {header}")
    ts_ns, cpu, op, level, pfn, caller = (header.index(column) for column in COLUMNS)
    for row in reader:
        if len(row) != len(header):
            raise TraceError(f"{len(row)} fields where the header line has {len(header)}")
        try:
            numbers = int(row[ts_ns]), int(row[cpu]), int(row[pfn])
        except ValueError:
            raise TraceError(
                f"ts_ns {row[ts_ns]!r}, cpu {row[cpu]!r} or pfn {row[pfn]!r} is not a number"
            ) from None
        yield _Event(numbers[0], numbers[1], row[op], row[level], numbers[2], row[caller])
