# SPDX-License-Identifier: GPL-2.0-only
"""A machine's memory as an image: `snapshot` of what `/proc` says.

Three variants, by what could be read: ``kpageflags`` (each frame is known), ``pagetypeinfo`` (how
many free blocks of each order and type, not where) and ``buddyinfo`` (of each order). Where places
are not known they are drawn, with a seed. In all of them the free blocks of the image are those of
buddyinfo, order by order.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kpkeys_bench.errors import StateError
from kpkeys_bench.geometry import Geometry, geometry
from kpkeys_bench.states.draw import draw_memory
from kpkeys_bench.states.fit import FreeBlocks, fit_heads, pieces, runs_of, stretches
from kpkeys_bench.states.image import (
    ANON,
    FILE,
    FREE,
    HOLE,
    KERNEL,
    MAX_RAM_BYTES,
    MAX_RUNS,
    MIGRATETYPES,
    MOVABLE,
    PGTABLE,
    PLACE_DTYPE,
    RECLAIMABLE,
    RESERVED,
    SLAB,
    UNMOVABLE,
    MemoryImage,
)
from kpkeys_bench.states.procfs import PROC, TAIL, Codes, ProcFiles, Zone, read_proc

#: So many holes the C core takes; smaller ones become reserved memory.
MAX_HOLES: Final = 64
BASE_ALIGN: Final = 1 << 30


@dataclass(frozen=True)
class _Memory:
    """What the variants have in common, in frames from the base on."""

    base_pfn: int
    codes: Codes
    blocks: FreeBlocks | None
    first: npt.NDArray[np.int64]
    order: npt.NDArray[np.uint8]
    types: npt.NDArray[np.uint8]
    variant: str
    adjusted_pages: int | None = None
    notes: tuple[str, ...] = ()


def snapshot(
    folder: Path = PROC,
    *,
    name: str,
    source: str = "",
    kpageflags: Path | None = None,
    page_size: str | None = None,
    zone: str | None = None,
    seed: int = 1,
) -> MemoryImage:
    """Read ``/proc``, or copies of its files, and make an image of it.

    All zones become one, unless one is picked: its buddyinfo is the sum of theirs, and no block
    crosses a border between them.

    Parameters
    ----------
    folder, kpageflags, page_size, zone
        See `kpkeys_bench.states.procfs.read_proc`.
    name, source : str
        What the state is called, and where it is from (one line each).
    seed : int
        Of places that are drawn, where they are not known.

    Returns
    -------
    MemoryImage
        ``meta["variant"]`` says what is known, ``meta["adjusted_pages"]`` how many pages were made
        free or used so that buddyinfo agrees, ``meta["unread"]`` what could not be read.

    Raises
    ------
    StateError
        If the files cannot be read or make no sense, or the machine is larger than one that can be
        simulated.
    """
    files = read_proc(folder, kpageflags=kpageflags, page_size=page_size, zone=zone)
    facts = geometry(files.page_size)
    memory = _known_places(files, facts) if files.codes is not None else _drawn(files, facts, seed)
    runs = runs_of(memory.codes, memory.first, memory.order, facts)
    if len(runs) > MAX_RUNS:
        raise StateError(
            f"{len(runs)} runs of frames, {MAX_RUNS} is the limit: take one zone with --zone"
        )
    marks = [sum(z.watermarks[i] for z in files.zones) for i in range(3)]
    where = "this machine" if folder.resolve() == PROC else folder.name
    meta = _meta(files, memory) | {
        "name": name,
        "source": source or ", ".join(filter(None, (f"snapshot of {where}", files.kernel))),
        "seed": seed if memory.variant != "kpageflags" else None,
    }
    return MemoryImage(
        page_size=files.page_size,
        phys_base=memory.base_pfn << facts.page_shift,
        ram_bytes=len(memory.codes) << facts.page_shift,
        runs=runs,
        block_types=memory.types,
        places=np.zeros(0, PLACE_DTYPE),
        managed_pages=_managed_pages(files, memory.codes),
        watermarks=(marks[0], marks[1], marks[2]),
        compact=(0, 0, 0),
        meta=meta,
    )


def _meta(files: ProcFiles, memory: _Memory) -> dict[str, Any]:
    counts: dict[str, list[int]] = {}
    if files.knows_types:
        counts = {
            kind: [
                sum(z.free_by_type[i][order] for z in files.zones if order < len(z.free_by_type[i]))
                for order in range(len(files.free))
            ]
            for i, kind in enumerate(MIGRATETYPES)
        }
    return {
        "variant": memory.variant,
        "kernel": files.kernel,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds") if files.kernel else None,
        "buddyinfo": files.free,
        "free_by_type": counts,
        "blocks_by_type": [sum(z.blocks[i] for z in files.zones if z.blocks) for i in range(3)],
        "zones": [
            {
                "node": z.node,
                "zone": z.name,
                "start_pfn": z.start_pfn,
                "spanned": z.spanned,
                "present": z.present,
                "managed": z.managed,
                "pcp_pages": z.pcp_pages,
                "buddyinfo": z.free,
            }
            for z in files.zones[:256]
        ],
        "direct_map_kb": {k: v for k, v in files.meminfo.items() if k.startswith("DirectMap")},
        "page_tables_kb": files.meminfo.get("PageTables"),
        "adjusted_pages": memory.adjusted_pages,
        "unread": [list(pair) for pair in files.unread],
        "notes": list(memory.notes),
    }


def _ram_of(files: ProcFiles, nr_frames: int) -> npt.NDArray[np.bool_]:
    """Frames that are RAM, as far as iomem and zones tell."""
    ram = np.ones(nr_frames, bool)
    spans = [(z.start_pfn, z.start_pfn + z.spanned) for z in files.zones if z.spanned]
    for ranges in filter(None, (files.ram, spans)):
        inside = np.zeros(nr_frames, bool)
        for low, high in ranges:
            inside[low:high] = True
        ram &= inside
    return ram


def _known_places(files: ProcFiles, facts: Geometry) -> _Memory:
    """Of a machine whose frames are known one by one."""
    codes = files.codes
    assert codes is not None  # noqa: S101 - the caller has looked
    codes[~_ram_of(files, len(codes))] = HOLE
    codes, base = _cut_to_ram(codes, facts)
    if files.heads_only:
        fit_heads(codes, files.free, facts)
    notes = _fill_small_holes(codes)
    borders = [z.start_pfn - base for z in files.zones if z.start_pfn > base]
    blocks = FreeBlocks(codes, borders, facts)
    adjusted = None
    if any(files.free):
        blocks.fit(files.free)
        adjusted = blocks.adjusted_pages
    else:
        notes += ("no buddyinfo: the free blocks are what the frames give",)
        first, order = blocks.blocks()
        _only_zone(files, np.bincount(order, minlength=facts.max_page_order + 1).tolist())
    first, order = blocks.blocks()
    return _Memory(
        base_pfn=base,
        codes=codes,
        blocks=blocks,
        first=first,
        order=order,
        types=_types_of(codes, files, facts, first, order),
        variant="kpageflags",
        adjusted_pages=adjusted,
        notes=notes,
    )


def _only_zone(files: ProcFiles, counts: list[int]) -> None:
    """Without buddyinfo, what was found is what was recorded."""
    if files.zones:
        for zone in files.zones:
            zone.free = []
        files.zones[0].free = counts
    else:
        files.zones = [Zone(0, "all", counts)]


def _cut_to_ram(codes: Codes, facts: Geometry) -> tuple[Codes, int]:
    """From the gigabyte that RAM begins in to its last frame."""
    used = codes != HOLE
    if not used.any():
        raise StateError("no frame is RAM: kpageflags and zoneinfo or iomem are of two machines")
    align = BASE_ALIGN >> facts.page_shift
    base = int(used.argmax()) // align * align
    end = len(codes) - int(used[::-1].argmax())
    if (end - base) << facts.page_shift > MAX_RAM_BYTES:
        raise StateError(
            f"RAM spans {(end - base) << facts.page_shift} bytes with its holes, the limit is "
            f"{MAX_RAM_BYTES}: take one zone with --zone"
        )
    return codes[base:end].copy(), base


def _fill_small_holes(codes: Codes) -> tuple[str, ...]:
    """Keep the largest holes; the others become reserved memory."""
    starts, ends = stretches(codes, HOLE)
    if len(starts) <= MAX_HOLES:
        return ()
    small = np.argsort(ends - starts, kind="stable")[: len(starts) - MAX_HOLES]
    for i in small:
        codes[starts[i] : ends[i]] = RESERVED
    pages = int((ends - starts)[small].sum())
    return (f"{len(small)} small holes, {pages} pages, count as reserved memory",)


def _types_of_large(
    types: npt.NDArray[np.uint8],
    files: ProcFiles,
    facts: Geometry,
    first: npt.NDArray[np.int64],
    order: npt.NDArray[np.uint8],
) -> dict[int, int]:
    """Free blocks of a pageblock and more get their type, the lowest first; pageblocks of each."""
    done = {UNMOVABLE: 0, RECLAIMABLE: 0}
    for size in range(facts.block_order, facts.max_page_order + 1):
        pageblocks = 1 << (size - facts.block_order)
        at = 0
        found = first[order == size] >> facts.block_order
        for kind in done:
            nr = sum(
                z.free_by_type[kind][size]
                for z in files.zones
                if len(z.free_by_type) > kind and len(z.free_by_type[kind]) > size
            )
            for block in found[at : at + nr]:
                types[block : block + pageblocks] = kind
                done[kind] += pageblocks
            at += nr
    return done


def _types_of(
    codes: Codes,
    files: ProcFiles,
    facts: Geometry,
    first: npt.NDArray[np.int64],
    order: npt.NDArray[np.uint8],
) -> npt.NDArray[np.uint8]:
    """Migratetypes, which no file gives by place: inferred from what is in each pageblock.

    A block is unmovable if more of its pages are kernel pages than movable ones. Where pagetypeinfo
    tells how many there are of each type, so many get it: first those of free blocks that are a
    pageblock or more, then those with most such pages; of these, the reclaimable ones are those
    with most slab.
    """
    size = 1 << facts.block_order
    kernel, slab, movable = (_per_block(codes, kinds, size) for kinds in _KINDS_OF_BLOCKS)
    score = kernel + slab - movable
    types = np.full(len(score), MOVABLE, np.uint8)
    nr_unmovable, _, nr_reclaimable = (
        sum(z.blocks[i] for z in files.zones if z.blocks) for i in range(3)
    )
    left = _types_of_large(types, files, facts, first, order)
    nr_unmovable = max(0, nr_unmovable - left[UNMOVABLE])
    nr_reclaimable = max(0, nr_reclaimable - left[RECLAIMABLE])
    candidates = np.argsort(-score, kind="stable")
    candidates = candidates[(kernel + slab)[candidates] > 0]
    if not nr_unmovable + nr_reclaimable:
        types[score > 0] = UNMOVABLE
        return types
    picked = candidates[: nr_unmovable + nr_reclaimable]
    types[picked] = UNMOVABLE
    by_slab = picked[np.argsort((kernel - slab)[picked], kind="stable")]
    types[by_slab[:nr_reclaimable]] = RECLAIMABLE
    return types


_KINDS_OF_BLOCKS: Final = ((KERNEL, PGTABLE), (SLAB,), (FILE, ANON, FILE | TAIL, ANON | TAIL))


def _per_block(codes: Codes, kinds: Sequence[int], size: int) -> npt.NDArray[np.int64]:
    """How many frames of each pageblock are of one of these kinds."""
    counts = []
    for low, high in pieces(len(codes)):
        found = np.isin(codes[low:high], kinds)
        counts.append(np.add.reduceat(found, np.arange(0, len(found), size), dtype=np.int64))
    return np.concatenate(counts)


def _drawn(files: ProcFiles, facts: Geometry, seed: int) -> _Memory:
    """Of a machine of which only numbers are known."""
    base, nr_frames = _size_of(files, facts)
    if files.knows_types:
        wanted = [
            [
                sum(z.free_by_type[i][order] for z in files.zones if z.free_by_type)
                for order in range(len(files.free))
            ]
            for i in range(3)
        ]
        sums = [sum(column) for column in zip(*wanted, strict=True)]
        # read a moment apart: what differs is movable
        wanted[MOVABLE] = [
            max(0, n + total - summed)
            for n, total, summed in zip(wanted[MOVABLE], files.free, sums, strict=True)
        ]
        rest = [
            total - sum(kind[order] for kind in wanted) for order, total in enumerate(files.free)
        ]
        if any(rest):
            raise StateError("pagetypeinfo and buddyinfo are not of one machine: copy both again")
    else:
        wanted = [[0] * len(files.free), list(files.free), [0] * len(files.free)]
    drawn = draw_memory(
        nr_frames=nr_frames,
        wanted=wanted,
        blocks=[sum(z.blocks[i] for z in files.zones if z.blocks) for i in range(3)],
        reserved_pages=_reserved_pages(files, nr_frames),
        anon_pages=files.meminfo.get("AnonPages", 0) * 1024 >> facts.page_shift,
        file_pages=_file_kb(files.meminfo) * 1024 >> facts.page_shift,
        facts=facts,
        rng=np.random.default_rng(seed),
    )
    return _Memory(
        base_pfn=base,
        codes=drawn.codes,
        blocks=None,
        first=drawn.first,
        order=drawn.order,
        types=drawn.types,
        variant="pagetypeinfo" if files.knows_types else "buddyinfo",
        notes=(f"places are drawn with seed {seed}: only the numbers are the machine's",),
    )


def _managed_pages(files: ProcFiles, codes: Codes) -> int:
    """Pages that are the buddy's, in use or not; watermarks follow from them."""
    managed = sum(z.managed for z in files.zones)
    never = sum(int(np.isin(codes[a:b], (HOLE, RESERVED)).sum()) for a, b in pieces(len(codes)))
    return managed or len(codes) - never


def _reserved_pages(files: ProcFiles, nr_frames: int) -> int:
    """Pages that are never the buddy's."""
    managed = sum(z.managed for z in files.zones)
    return nr_frames - managed if managed else nr_frames >> 6


def _file_kb(meminfo: dict[str, int]) -> int:
    cached = meminfo.get("Cached", 0) + meminfo.get("Buffers", 0) - meminfo.get("Shmem", 0)
    return max(0, cached)


def _size_of(files: ProcFiles, facts: Geometry) -> tuple[int, int]:
    """First frame and number of frames of memory without its holes, in whole largest blocks."""
    align = 1 << facts.max_page_order
    total = sum(z.present or z.managed for z in files.zones)
    free = sum(z.free_pages for z in files.zones)
    if not total:
        total = files.meminfo.get("MemTotal", 0) * 1024 >> facts.page_shift or 2 * free
        # what is in no zone's count: struct page takes so much where pages are small
        total += total >> 6
    # with what the linear map's own tables may take, should nothing else be in use
    total = max(total, free + align)
    total = max(-(-total // align) * align, (64 << 20) >> facts.page_shift)
    if total << facts.page_shift > MAX_RAM_BYTES:
        raise StateError(
            f"RAM of {total << facts.page_shift} bytes, the limit is {MAX_RAM_BYTES}: take one "
            "zone with --zone"
        )
    gigabyte = BASE_ALIGN >> facts.page_shift
    start = min((z.start_pfn for z in files.zones if z.present), default=0)
    return start // gigabyte * gigabyte, total


def free_by_type(image: MemoryImage) -> npt.NDArray[np.int64]:
    """Free blocks of an image by order and migratetype, ``(max_page_order + 1, 3)``."""
    facts = image.geometry
    free = image.runs[image.runs["kind"] == FREE]
    counts = np.zeros((facts.max_page_order + 1, 3), np.int64)
    for order in range(facts.max_page_order + 1):
        runs = free[free["order"] == order]
        for low in range(0, len(runs), 1 << 16):
            part = runs[low : low + (1 << 16)]
            nr = part["nr"].astype(np.int64)
            within = np.arange(int(nr.sum())) - np.repeat(np.cumsum(nr) - nr, nr)
            first = np.repeat(part["first"].astype(np.int64), nr) + (within << order)
            types = image.block_types[first >> facts.block_order]
            counts[order] += np.bincount(types, minlength=3)
    return counts
