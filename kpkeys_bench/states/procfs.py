# SPDX-License-Identifier: GPL-2.0-only
"""What ``/proc`` says of a machine's memory, from this machine or from copies of its files.

Every file is optional but for ``buddyinfo`` or ``kpageflags``; what could not be read is kept with
the reason. Text files are read up to `MAX_TEXT_BYTES`, flags in pieces, so that memory stays at a
byte for each page of the machine.
"""

import lzma
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from kpkeys_bench.errors import StateError
from kpkeys_bench.geometry import PAGE_SHIFTS, geometry
from kpkeys_bench.states.image import (
    ANON,
    FILE,
    FREE,
    HOLE,
    KERNEL,
    MAX_RAM_BYTES,
    PGTABLE,
    RESERVED,
    SLAB,
)

PROC: Final = Path("/proc")
MAX_TEXT_BYTES: Final = 1 << 24
PIECE_PAGES: Final = 1 << 20
"""Flags that are looked at at once; a multiple of every block of the buddy."""
TAIL: Final = 0x80
"""In a code: not the first page of a large folio."""

# include/uapi/linux/kernel-page-flags.h, and three of fs/proc/page.c
_LRU, _SLAB, _BUDDY, _ANON, _SWAPBACKED = 5, 7, 10, 12, 14
_COMPOUND_TAIL, _HUGE, _HWPOISON, _NOPAGE = 16, 17, 19, 20
_OFFLINE, _ZERO_PAGE, _PGTABLE, _RESERVED = 23, 24, 26, 32

#: Migratetypes of pagetypeinfo, and what the simulated zone has instead.
TYPE_OF: Final = {
    "Unmovable": 0,
    "Movable": 1,
    "Reclaimable": 2,
    "HighAtomic": 0,
    "CMA": 1,
    "Isolate": 1,
}

Counts = list[int]
Codes = npt.NDArray[np.uint8]


@dataclass
class Zone:
    """One zone of the recorded machine; 0 or an empty list for what is not known.

    Attributes
    ----------
    node, name : int, str
        As buddyinfo has them.
    free : list of int
        Free blocks by order.
    free_by_type : list of list of int
        The same for each of the three migratetypes of the simulated zone.
    blocks : list of int
        Pageblocks of each type.
    start_pfn, spanned, present, managed : int
        In pages.
    watermarks : list of int
        min, low, high, in pages.
    pcp_pages : int
        On the lists of all CPUs.
    """

    node: int
    name: str
    free: Counts = field(default_factory=list)
    free_by_type: list[Counts] = field(default_factory=list)
    blocks: Counts = field(default_factory=list)
    start_pfn: int = 0
    spanned: int = 0
    present: int = 0
    managed: int = 0
    watermarks: Counts = field(default_factory=lambda: [0, 0, 0])
    pcp_pages: int = 0

    @property
    def free_pages(self) -> int:
        """Pages in the buddy."""
        return sum(nr << order for order, nr in enumerate(self.free))


@dataclass
class ProcFiles:
    """All that could be read.

    Attributes
    ----------
    page_size : str
        ``"4K"``, ``"16K"`` or ``"64K"``.
    zones : list of Zone
        In the order of buddyinfo; without those that are empty.
    ram : list of (int, int)
        Frames that are RAM, as iomem has them; empty if it hides addresses or cannot be read.
    meminfo : dict
        In kB.
    codes : array of uint8, optional
        What each frame from 0 on is used for: a kind of `kpkeys_bench.states.image`, and `TAIL`.
    heads_only : bool
        ``codes`` show the first page of a free block alone, as old kernels do.
    unread : list of (str, str)
        Files, and why they could not be read.
    kernel : str
        Of the recorded machine, if known.
    """

    page_size: str = "4K"
    zones: list[Zone] = field(default_factory=list)
    ram: list[tuple[int, int]] = field(default_factory=list)
    meminfo: dict[str, int] = field(default_factory=dict)
    codes: Codes | None = None
    heads_only: bool = False
    unread: list[tuple[str, str]] = field(default_factory=list)
    kernel: str = ""

    @property
    def free(self) -> Counts:
        """Free blocks by order, all zones together."""
        width = max((len(zone.free) for zone in self.zones), default=0)
        return [
            sum(zone.free[order] for zone in self.zones if order < len(zone.free))
            for order in range(width)
        ]

    @property
    def knows_types(self) -> bool:
        """Whether pagetypeinfo was read."""
        return any(zone.free_by_type for zone in self.zones)


def read_proc(
    folder: Path = PROC,
    *,
    kpageflags: Path | None = None,
    page_size: str | None = None,
    zone: str | None = None,
) -> ProcFiles:
    """Read what there is.

    Parameters
    ----------
    folder : Path
        ``/proc``, or a folder with copies of its files.
    kpageflags : Path, optional
        Of another name than ``kpageflags`` or ``kpageflags.xz`` in the folder.
    page_size : str, optional
        Of the recorded machine; None: this one's, or what the files let one conclude.
    zone : str, optional
        ``"Normal"`` or ``"1:Normal"``: only zones of this name (and node).

    Raises
    ------
    StateError
        If nothing can be read, a file makes no sense, or a limit is exceeded; the message names
        file and line.
    """
    files = ProcFiles()
    live = folder.resolve() == PROC
    flags = kpageflags or _first_that_exists(folder, ("kpageflags", "kpageflags.xz"))
    # the flags take long: what changes meanwhile is read after them
    try:
        files.codes = read_codes(flags)
    except OSError as error:
        if kpageflags is not None:
            raise StateError(f"{flags}: cannot read: {error.strerror}; check the path") from None
        files.unread.append(("kpageflags", error.strerror or str(error)))
    by_name = _parse_all(files, folder)
    if files.codes is None and not any(z.free for z in by_name.values()):
        raise StateError(
            f"{folder}: neither buddyinfo nor kpageflags can be read: name a folder with a copy of "
            "one of them"
        )
    files.zones = [z for z in by_name.values() if z.free_pages or z.present]
    if zone is not None:
        files.zones = _pick_zone(files.zones, zone)
    if page_size is not None:
        files.page_size = geometry(page_size).page_size
    elif live:
        files.page_size = _page_size_name(os.sysconf("SC_PAGE_SIZE"))
    else:
        files.page_size = _guess_page_size(by_name.values(), files.meminfo)
    files.ram = _whole_pages(files.ram, geometry(files.page_size).page_shift)
    _check_limits(files, folder)
    if files.codes is not None:
        files.heads_only = _shows_heads_only(files)
    if live:
        files.kernel = " ".join(os.uname()[i] for i in (0, 2, 4))
    return files


def _parse_all(files: ProcFiles, folder: Path) -> "Zones":
    zones: Zones = {}
    for name, parse in (
        ("buddyinfo", _parse_buddyinfo),
        ("pagetypeinfo", _parse_pagetypeinfo),
        ("zoneinfo", _parse_zoneinfo),
        ("meminfo", _parse_meminfo),
        ("iomem", _parse_iomem),
    ):
        text = _read_text(files, folder / name)
        if text is not None:
            parse(files, zones, _Lines(folder / name, text))
            if not _says_something(name, zones):
                files.unread.append((name, "it says nothing of a zone: copy it again"))
    return zones


def _says_something(name: str, zones: "Zones") -> bool:
    """Whether a file that was read had what it is read for; iomem speaks for itself."""
    if name == "pagetypeinfo":
        return any(zone.free_by_type for zone in zones.values())
    if name == "zoneinfo":
        return any(zone.spanned for zone in zones.values())
    return True


def read_codes(path: Path) -> Codes:
    """Read page flags, a 64-bit word for each frame from 0 on, also through xz.

    Returns
    -------
    array of uint8
        One code a frame.

    Raises
    ------
    StateError
        If there are more frames than a simulated machine can have, or it is no xz file.
    """
    most = MAX_RAM_BYTES >> PAGE_SHIFTS["4K"]
    pieces = []
    nr = 0
    try:
        with _open(path) as file:
            while data := _read_piece(file):
                if len(data) % 8:
                    raise StateError(f"{path}: ends within a word: copy it again")
                nr += len(data) // 8
                if nr > most:
                    raise StateError(f"{path}: more than {most} frames, the limit of a machine")
                pieces.append(_classify(np.frombuffer(data, "<u8")))
    except (lzma.LZMAError, EOFError) as error:
        raise StateError(f"{path}: no xz file, or cut short ({error}): copy it again") from None
    if not pieces:
        raise StateError(f"{path}: it is empty: copy it again")
    return np.concatenate(pieces)


def _open(path: Path) -> BinaryIO:
    if path.suffix == ".xz":
        return lzma.open(path)  # type: ignore[return-value]
    return path.open("rb", buffering=0)


def _read_piece(file: BinaryIO) -> bytes:
    """A whole piece; procfs gives less at once than what is asked for."""
    parts = []
    left = PIECE_PAGES * 8
    while left and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _classify(flags: npt.NDArray[np.uint64]) -> Codes:
    def has(*bits: int) -> npt.NDArray[np.bool_]:
        mask = sum(1 << bit for bit in bits)
        found: npt.NDArray[np.bool_] = (flags & np.uint64(mask)) != 0
        return found

    codes = np.full(len(flags), KERNEL, np.uint8)
    codes[has(_LRU)] = FILE
    codes[has(_ANON) | (has(_LRU) & has(_SWAPBACKED))] = ANON
    # in use for good, as far as anybody here could know
    codes[has(_HUGE, _ZERO_PAGE)] = KERNEL
    tails = has(_COMPOUND_TAIL) & ((codes == FILE) | (codes == ANON))
    codes[tails] |= TAIL
    codes[has(_SLAB)] = SLAB
    codes[has(_RESERVED, _HWPOISON, _OFFLINE)] = RESERVED
    codes[has(_PGTABLE)] = PGTABLE
    codes[has(_BUDDY)] = FREE
    codes[has(_NOPAGE)] = HOLE
    return codes


def _first_that_exists(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).exists():
            return folder / name
    return folder / names[0]


def _read_text(files: ProcFiles, path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        files.unread.append((path.name, error.strerror or str(error)))
        return None
    if len(data) > MAX_TEXT_BYTES:
        raise StateError(f"{path}: more than {MAX_TEXT_BYTES} bytes: this is no file of /proc")
    return data.decode("utf-8", "replace")


class _Lines:
    """The lines of a file, and where one is wrong."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines = text.splitlines()
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(self.lines, 1):
            self.number = number
            yield line

    @contextmanager
    def reading(self, line: str) -> Iterator[None]:
        """Turn what goes wrong into one line that names the place."""
        try:
            yield
        except (ValueError, IndexError, KeyError):
            raise StateError(
                f"{self.path}:{self.number}: {line.strip()[:60]!r} is not what the kernel writes: "
                "copy the file again"
            ) from None


_ZONE: Final = re.compile(r"Node\s+(\d+), zone\s+(\w+)(.*)")
Zones = dict[tuple[int, str], Zone]


def _number(text: str) -> int:
    """A count of pages or blocks, as large as a machine can have."""
    if not text.isdecimal() or len(text) > 15:
        raise ValueError(text)
    return int(text)


def _zone_of(zones: Zones, match: re.Match[str]) -> Zone:
    key = (_number(match[1]), match[2])
    if len(zones) > 4096:
        raise ValueError("more zones than nodes could have")
    return zones.setdefault(key, Zone(*key))


def _parse_buddyinfo(_: ProcFiles, zones: Zones, lines: _Lines) -> None:
    for line in lines:
        with lines.reading(line):
            match = _ZONE.match(line)
            if match is None:
                raise ValueError(line)
            counts = [_number(word) for word in match[3].split()]
            if not 1 <= len(counts) <= 20:
                raise ValueError(line)
            _zone_of(zones, match).free = counts


def _parse_pagetypeinfo(_: ProcFiles, zones: Zones, lines: _Lines) -> None:
    types: list[str] = []
    for line in lines:
        with lines.reading(line):
            match = _ZONE.match(line)
            if line.startswith("Number of blocks type"):
                types = line.split()[4:]
            elif match is None:
                continue
            elif match[3].startswith(", type"):
                name, *counts = match[3].split()[2:]
                zone = _zone_of(zones, match)
                zone.free_by_type = zone.free_by_type or [[0] * len(counts) for _ in range(3)]
                target = zone.free_by_type[TYPE_OF[name]]
                # "more than 100000 free pages" is all that a slow list tells
                for order, text in enumerate(counts):
                    target[order] += _number(text.lstrip(">"))
            elif types:
                zone = _zone_of(zones, match)
                zone.blocks = [0, 0, 0]
                for name, text in zip(types, match[3].split(), strict=True):
                    zone.blocks[TYPE_OF[name]] += _number(text)


def _parse_zoneinfo(_: ProcFiles, zones: Zones, lines: _Lines) -> None:
    zone = None
    marks = {"min": 0, "low": 1, "high": 2}
    seen: set[str] = set()
    for line in lines:
        with lines.reading(line):
            match = _ZONE.match(line)
            words = line.split()
            if match is not None:
                zone, seen = _zone_of(zones, match), set()
            elif zone is None or len(words) < 2:
                continue
            elif words[0] in marks and words[0] not in seen:
                zone.watermarks[marks[words[0]]] = _number(words[1])
                seen.add(words[0])
            elif words[0] in {"spanned", "present", "managed"}:
                setattr(zone, words[0], _number(words[1]))
            elif words[0] == "start_pfn:":
                zone.start_pfn = _number(words[1])
            elif words[0] == "count:":
                zone.pcp_pages += _number(words[1])


def _parse_meminfo(files: ProcFiles, _: Zones, lines: _Lines) -> None:
    for line in lines:
        with lines.reading(line):
            key, _colon, rest = line.partition(":")
            files.meminfo[key] = _number(rest.split()[0])


def _parse_iomem(files: ProcFiles, _: Zones, lines: _Lines) -> None:
    for line in lines:
        if line.startswith(" ") or not line.endswith(": System RAM"):
            continue
        with lines.reading(line):
            low, high = (int(part, 16) for part in line.split(" : ")[0].split("-"))
            if low > high:
                raise ValueError(line)
            files.ram.append((low, high + 1))
    if not any(high > 1 for _, high in files.ram):
        files.ram = []
        files.unread.append(("iomem", "it hides addresses from all but root"))


def _whole_pages(ram: list[tuple[int, int]], shift: int) -> list[tuple[int, int]]:
    """Ranges of bytes as ranges of frames."""
    frames = [(-(-low >> shift), high >> shift) for low, high in ram]
    return [(low, high) for low, high in frames if low < high]


def _pick_zone(zones: list[Zone], wanted: str) -> list[Zone]:
    node, _, name = wanted.rpartition(":")
    picked = [z for z in zones if z.name == name and node in {"", str(z.node)}]
    if not picked:
        names = ", ".join(f"{z.node}:{z.name}" for z in zones)
        raise StateError(f"zone {wanted[:40]!r}: there are {names}")
    return picked


def _page_size_name(size: int) -> str:
    for name, shift in PAGE_SHIFTS.items():
        if size == 1 << shift:
            return name
    raise StateError(f"pages of {size} bytes: arm64 has {', '.join(PAGE_SHIFTS)}")


def _guess_page_size(zones: Iterable[Zone], meminfo: dict[str, int]) -> str:
    """Free pages of buddyinfo are MemFree of meminfo, in another unit."""
    pages = sum(zone.free_pages for zone in zones)
    free_kb = meminfo.get("MemFree", 0)
    if not pages or not free_kb:
        return "4K"
    return min(PAGE_SHIFTS, key=lambda name: abs(free_kb / pages - (1 << PAGE_SHIFTS[name] - 10)))


def _check_limits(files: ProcFiles, folder: Path) -> None:
    facts = geometry(files.page_size)
    most = MAX_RAM_BYTES >> facts.page_shift
    for zone in files.zones:
        where = f"{folder}: zone {zone.node}:{zone.name}"
        for order, nr in enumerate(zone.free):
            if nr and order > facts.max_page_order:
                raise StateError(
                    f"{where} has free blocks of order {order}: the simulated buddy's largest is "
                    f"{facts.max_page_order} with {files.page_size} pages"
                )
        if max(zone.free_pages, zone.present, zone.spanned, zone.start_pfn) > most << 6:
            raise StateError(f"{where} has more pages than a machine of 1 TB, the largest there is")
        del zone.free[facts.max_page_order + 1 :]


def _shows_heads_only(files: ProcFiles) -> bool:
    """Current kernels flag every free page, old ones the first of a block."""
    assert files.codes is not None  # noqa: S101 - the caller asks only then
    flagged = int((files.codes == FREE).sum())
    blocks = sum(files.free)
    pages = sum(zone.free_pages for zone in files.zones)
    return pages > 0 and abs(flagged - blocks) < abs(flagged - pages)
