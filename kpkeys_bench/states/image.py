# SPDX-License-Identifier: GPL-2.0-only
"""Memory images: `MemoryImage` and the ``.kps`` file (``docs/states.md``).

A ``.kps`` file is untrusted input: sizes are checked against limits and against the size of the
file before anything is read or decompressed.
"""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kpkeys_bench import _ffi
from kpkeys_bench.errors import StateError
from kpkeys_bench.geometry import PAGE_SHIFTS, Geometry, geometry
from kpkeys_bench.results import write_atomically

SUFFIX: Final = ".kps"
MAGIC: Final = b"\x89KPS\r\n\x1a\n"
VERSION: Final = 1
MAX_RUNS: Final = 1 << 24
"""Most runs, and most places, of one file."""
MAX_META_BYTES: Final = 1 << 16
MAX_RAM_BYTES: Final = 1 << 40
MAX_NAME_CHARS: Final = 64

RUN_DTYPE: Final = _ffi.RUN_DTYPE
PLACE_DTYPE: Final = _ffi.PLACE_DTYPE
KINDS: Final[tuple[str, ...]] = _ffi.RUN_KINDS
"""What a run's ``kind`` means."""
HOLE, RESERVED, KERNEL, PGTABLE, SLAB, FILE, ANON = range(7)
PCP, FREE = KINDS.index("pcp"), KINDS.index("free")
MIGRATETYPES: Final = ("unmovable", "movable", "reclaimable")
UNMOVABLE, MOVABLE, RECLAIMABLE = range(3)

_HEADER: Final = struct.Struct("<8sIIQQQQQQ3Q3IIQ32s")  # of _Header
_CRC: Final = struct.Struct("<I")
# In the payload: byte planes of runs, then of places, then the types.
_FILE_RUN: Final = np.dtype([("nr", "<u4"), ("kind", "u1"), ("order", "u1")])
_FILE_PLACE: Final = np.dtype([("first", "<u4"), ("cpu", "<u2"), ("type", "u1")])
_DEFLATE_MAX_RATIO: Final = 1032
# 9 takes ten times as long for a tenth of the size
_DEFLATE_LEVEL: Final = 6

Array = npt.NDArray[Any]


class _Header(NamedTuple):
    magic: bytes
    version: int
    page_size: int
    phys_base: int
    ram_bytes: int
    nr_runs: int
    nr_places: int
    nr_blocks: int
    managed_pages: int
    watermark_min: int
    watermark_low: int
    watermark_high: int
    compact_considered: int
    compact_defer_shift: int
    compact_order_failed: int
    meta_bytes: int
    payload_bytes: int
    sha256: bytes


@dataclass(frozen=True, eq=False)
class MemoryImage:
    """What every frame of a machine is used for; two are equal if their `sha256` are.

    Attributes
    ----------
    page_size : str
        ``"4K"``, ``"16K"`` or ``"64K"``.
    phys_base, ram_bytes : int
        The first byte, a multiple of 1 GB, and how many there are, holes included.
    runs : (n,) array of `RUN_DTYPE`
        Blocks of one kind and order, in frame order and without gaps; see ``struct kpb_run``.
    block_types : (nr_pageblocks,) array of uint8
        Migratetype of each pageblock.
    places : (m,) array of `PLACE_DTYPE`
        Order of the lists, where it is known; see ``struct kpb_place``.
    managed_pages : int
        Pages that the buddy has at all; 0 if unknown.
    watermarks : (int, int, int)
        min, low, high in pages; zeros if unknown.
    compact : (int, int, int)
        Compaction that failed lately: ``compact_considered``, ``compact_defer_shift``,
        ``compact_order_failed``.
    meta : mapping
        What else is known: ``name`` and ``source`` (one line each), and the keys that
        ``docs/states.md`` lists.

    Raises
    ------
    StateError
        If the runs do not cover RAM exactly.
    """

    page_size: str
    phys_base: int
    ram_bytes: int
    runs: Array
    block_types: Array
    places: Array
    managed_pages: int
    watermarks: tuple[int, int, int]
    compact: tuple[int, int, int]
    meta: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in ("runs", "block_types", "places"):
            array = np.ascontiguousarray(getattr(self, name)).view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        _validate(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MemoryImage) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    @property
    def name(self) -> str:
        """Short name, as results carry it."""
        return str(self.meta["name"])

    @property
    def source(self) -> str:
        """One line: where it is from."""
        return str(self.meta["source"])

    @property
    def geometry(self) -> Geometry:
        """Of its page size."""
        return geometry(self.page_size)

    @property
    def nr_frames(self) -> int:
        """Frames, holes included."""
        return self.ram_bytes >> self.geometry.page_shift

    @cached_property
    def sha256(self) -> str:
        """Identity of the state (hex): all that the machine gets, not the metadata."""
        return _digest(_header_of(self), _encode(self)).hex()

    def frames_of(self, *kinds: int) -> int:
        """How many frames are of one of these kinds."""
        runs = self.runs[np.isin(self.runs["kind"], kinds)]
        return int((runs["nr"].astype(np.int64) << runs["order"]).sum())

    def free_blocks(self) -> npt.NDArray[np.int64]:
        """Free blocks by order, ``(max_page_order + 1,)``: a line of ``/proc/buddyinfo``."""
        free = self.runs[self.runs["kind"] == FREE]
        counts = np.bincount(
            free["order"], weights=free["nr"], minlength=self.geometry.max_page_order + 1
        )
        return counts.astype(np.int64)

    def as_config(self) -> dict[str, Any]:
        """What the C core wants to know."""
        considered, shift, failed = self.compact
        return {
            "runs": self.runs,
            "places": self.places,
            "block_types": self.block_types,
            "managed_pages": self.managed_pages,
            "watermarks": self.watermarks,
            "compact_considered": considered,
            "compact_defer_shift": shift,
            "compact_order_failed": failed,
        }


def image_of_machine(
    config: Mapping[str, Any],
    *,
    page_size: str,
    phys_base: int,
    ram_bytes: int,
    meta: Mapping[str, Any],
) -> MemoryImage:
    """Wrap what the C core says of its memory; `config` as `MemoryImage.as_config` has it."""
    low, middle, high = config["watermarks"]
    return MemoryImage(
        page_size=page_size,
        phys_base=phys_base,
        ram_bytes=ram_bytes,
        runs=config["runs"],
        block_types=config["block_types"],
        places=config["places"],
        managed_pages=config["managed_pages"],
        watermarks=(low, middle, high),
        compact=(
            config["compact_considered"],
            config["compact_defer_shift"],
            config["compact_order_failed"],
        ),
        meta=meta,
    )


def load_image(path: str | os.PathLike[str]) -> MemoryImage:
    """Read and verify a ``.kps`` file.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    MemoryImage
        Equal to what was saved.

    Raises
    ------
    StateError
        If the file cannot be read, is damaged or lies about itself. Whatever it claims, memory
        stays below 96 bytes for each run and place that a file of its size can hold, and below
        1.5 GiB (at `MAX_RUNS` runs and places).
    """
    try:
        with Path(path).open("rb") as file:
            return _read(file)
    except OSError as error:
        raise StateError(f"{path}: cannot read: {error.strerror}; check the path") from error
    except StateError as error:
        raise StateError(f"{path}: {error}; take the snapshot, or save the state, again") from error


def save_image(image: MemoryImage, path: str | os.PathLike[str]) -> None:
    """Write a ``.kps`` file, all at once.

    Raises
    ------
    ResultError
        If the file cannot be written.
    StateError
        If the state is larger than a file may be.
    """
    raw = _encode(image)
    meta = json.dumps(dict(image.meta), ensure_ascii=False, sort_keys=True).encode()
    if len(meta) > MAX_META_BYTES:
        raise StateError(
            f"{len(meta)} bytes of metadata: a state file has room for {MAX_META_BYTES}"
        )
    payload = zlib.compress(raw, _DEFLATE_LEVEL)
    header = _header_of(image)._replace(
        meta_bytes=len(meta), payload_bytes=len(payload), sha256=bytes.fromhex(image.sha256)
    )
    body = _HEADER.pack(*header) + meta + payload
    write_atomically(Path(path), body + _CRC.pack(zlib.crc32(body)))


def _header_of(image: MemoryImage) -> _Header:
    return _Header(
        MAGIC,
        VERSION,
        1 << image.geometry.page_shift,
        image.phys_base,
        image.ram_bytes,
        len(image.runs),
        len(image.places),
        len(image.block_types),
        image.managed_pages,
        *image.watermarks,
        *image.compact,
        meta_bytes=0,
        payload_bytes=0,
        sha256=bytes(32),
    )


def _planes(records: Array) -> bytes:
    """All first bytes, then all second bytes: mostly constant, so deflate eats them."""
    return records.view(np.uint8).reshape(-1, records.dtype.itemsize).T.tobytes()


def _unplanes(raw: memoryview, dtype: np.dtype[Any], nr: int) -> Array:
    planes = np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, nr)
    return np.ascontiguousarray(planes.T).view(dtype)[:, 0] if nr else np.zeros(0, dtype)


def _copy_fields(records: Array, dtype: np.dtype[Any]) -> Array:
    out = np.zeros(len(records), dtype)
    for name in set(dtype.names or ()) & set(records.dtype.names or ()):
        out[name] = records[name]
    return out


def _encode(image: MemoryImage) -> bytes:
    return (
        _planes(_copy_fields(image.runs, _FILE_RUN))
        + _planes(_copy_fields(image.places, _FILE_PLACE))
        + image.block_types.tobytes()
    )


def _digest(header: _Header, raw: bytes) -> bytes:
    """Of the header without what only the file has, and of the payload."""
    bare = header._replace(meta_bytes=0, payload_bytes=0, sha256=bytes(32))
    return hashlib.sha256(_HEADER.pack(*bare) + raw).digest()


def _read(file: BinaryIO) -> MemoryImage:
    packed = file.read(_HEADER.size)
    header = _check_header(packed, os.fstat(file.fileno()).st_size)
    rest = file.read(header.meta_bytes + header.payload_bytes + _CRC.size)
    body, crc = rest[: -_CRC.size], rest[-_CRC.size :]
    if _CRC.pack(zlib.crc32(body, zlib.crc32(packed))) != crc:
        raise StateError("has a wrong checksum, so bytes are damaged or missing")
    try:
        meta = json.loads(body[: header.meta_bytes].decode())
    except (ValueError, RecursionError) as error:
        raise StateError(f"has metadata that is not JSON ({type(error).__name__})") from error
    raw = _inflate(header, body[header.meta_bytes :])
    runs_end = header.nr_runs * _FILE_RUN.itemsize
    places_end = runs_end + header.nr_places * _FILE_PLACE.itemsize
    view = memoryview(raw)
    runs = _copy_fields(_unplanes(view[:runs_end], _FILE_RUN, header.nr_runs), RUN_DTYPE)
    frames = runs["nr"].astype(np.uint64) << np.minimum(runs["order"], 31).astype(np.uint64)
    ends = np.cumsum(frames)
    if (frames > 1 << 32).any() or int(ends[-1]) > 1 << 32 or (ends[1:] < ends[:-1]).any():
        raise StateError("has runs of more frames than RAM can have")
    runs["first"] = ends - frames
    return MemoryImage(
        page_size=_page_size(header.page_size),
        phys_base=header.phys_base,
        ram_bytes=header.ram_bytes,
        runs=runs,
        block_types=np.frombuffer(view[places_end:], np.uint8),
        places=_copy_fields(
            _unplanes(view[runs_end:places_end], _FILE_PLACE, header.nr_places), PLACE_DTYPE
        ),
        managed_pages=header.managed_pages,
        watermarks=(header.watermark_min, header.watermark_low, header.watermark_high),
        compact=(
            header.compact_considered,
            header.compact_defer_shift,
            header.compact_order_failed,
        ),
        meta=meta,
    )


def _page_size(size: int) -> str:
    for name, shift in PAGE_SHIFTS.items():
        if size == 1 << shift:
            return name
    raise StateError(f"has pages of {size} bytes; there are {', '.join(PAGE_SHIFTS)}")


def _check_header(packed: bytes, file_bytes: int) -> _Header:
    """Return the header if its sizes are possible, agree with the file's and bound the memory."""
    if not packed.startswith(MAGIC):
        raise StateError(f"does not begin with the magic of a {SUFFIX} file")
    if len(packed) < _HEADER.size:
        raise StateError(f"has {file_bytes} bytes, less than the header's {_HEADER.size}")
    header = _Header._make(_HEADER.unpack(packed))
    if header.version != VERSION:
        raise StateError(f"has format version {header.version}, this reader knows {VERSION}")
    facts = geometry(_page_size(header.page_size))
    if not 0 < header.ram_bytes <= MAX_RAM_BYTES:
        raise StateError(f"claims {header.ram_bytes} bytes of RAM, the limit is {MAX_RAM_BYTES}")
    blocks = -(-header.ram_bytes >> facts.page_shift + facts.block_order)
    if header.nr_blocks != blocks:
        raise StateError(f"claims {header.nr_blocks} pageblocks where its RAM has {blocks}")
    most = min(MAX_RUNS, header.ram_bytes >> facts.page_shift)
    if not 1 <= header.nr_runs <= most or header.nr_places > most:
        raise StateError(
            f"claims {header.nr_runs} runs and {header.nr_places} places, outside 1 to {most}"
        )
    if header.meta_bytes > MAX_META_BYTES:
        raise StateError(
            f"claims {header.meta_bytes} bytes of metadata, the limit is {MAX_META_BYTES}"
        )
    raw_bytes = _raw_bytes(header)
    low, high = raw_bytes // _DEFLATE_MAX_RATIO, raw_bytes + raw_bytes // 1000 + 64
    if not low <= header.payload_bytes <= high:
        raise StateError(
            f"claims {header.payload_bytes} bytes of payload, outside {low} to {high} for what it "
            "claims to hold"
        )
    expected = _HEADER.size + header.meta_bytes + header.payload_bytes + _CRC.size
    if file_bytes != expected:
        raise StateError(f"has {file_bytes} bytes where its header says {expected}")
    return header


def _raw_bytes(header: _Header) -> int:
    return (
        header.nr_runs * _FILE_RUN.itemsize
        + header.nr_places * _FILE_PLACE.itemsize
        + header.nr_blocks
    )


def _inflate(header: _Header, payload: bytes) -> bytes:
    raw_bytes = _raw_bytes(header)
    inflate = zlib.decompressobj()
    try:
        # Room for one byte more shows a stream that is too long.
        raw = inflate.decompress(payload, raw_bytes + 1)
    except zlib.error as error:
        raise StateError(f"has a payload that is not a zlib stream ({error})") from error
    if len(raw) != raw_bytes or not inflate.eof or inflate.unused_data:
        raise StateError(f"does not decompress to exactly the {raw_bytes} bytes of its content")
    if _digest(header, raw) != header.sha256:
        raise StateError("has a payload that does not match its sha256")
    return raw


def _is_text(value: object, limit: int = 4096) -> bool:
    return isinstance(value, str) and len(value) <= limit and value.isprintable()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 63


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and len(value) <= 64 and all(map(_is_count, value))


def _are_named_counts(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        _is_text(key, 64) and _is_count(count) for key, count in value.items()
    )


def _is_zone(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and _is_text(value.get("zone"), 64)
        and _are_counts(value.get("buddyinfo"))
        and all(_is_count(value.get(key)) for key in _ZONE_COUNTS)
    )


_ZONE_COUNTS: Final = ("node", "start_pfn", "spanned", "present", "managed", "pcp_pages")

#: What the metadata may tell beyond name and source, and whether it makes sense.
_META: Final[Mapping[str, Callable[[Any], bool]]] = {
    "variant": _is_text,
    "kernel": _is_text,
    "date": _is_text,
    "buddyinfo": _are_counts,
    "blocks_by_type": _are_counts,
    "free_by_type": lambda value: (
        isinstance(value, Mapping)
        and set(value) <= set(MIGRATETYPES)
        and all(map(_are_counts, value.values()))
    ),
    "zones": lambda value: isinstance(value, list) and all(map(_is_zone, value)),
    "direct_map_kb": _are_named_counts,
    "page_tables_kb": _is_count,
    "adjusted_pages": _is_count,
    "seed": _is_count,
    "unread": lambda value: (
        isinstance(value, list)
        and all(
            isinstance(pair, list) and len(pair) == 2 and all(map(_is_text, pair)) for pair in value
        )
    ),
    "notes": lambda value: isinstance(value, list) and all(map(_is_text, value)),
}


def _check_meta(meta: object) -> None:
    """Everything that is printed or compared later is what it should be."""
    if not isinstance(meta, Mapping):
        raise StateError("has metadata that is no object")
    for key, limit in (("name", MAX_NAME_CHARS), ("source", 4096)):
        text = meta.get(key)
        if not text or not _is_text(text, limit):
            raise StateError(f"{key} {str(text)[:40]!r} is not one line of 1 to {limit} characters")
    for key, makes_sense in _META.items():
        value = meta.get(key)
        if value is not None and not makes_sense(value):
            raise StateError(f"has metadata whose {key} makes no sense: {str(value)[:40]!r}")


def _validate(image: MemoryImage) -> None:
    _check_meta(image.meta)
    runs, facts = image.runs, image.geometry
    if runs.dtype != RUN_DTYPE or image.places.dtype != PLACE_DTYPE or not len(runs):
        raise StateError("needs runs and places as C has them, and at least one run")
    if (runs["kind"] >= len(KINDS)).any() or (runs["order"] > facts.max_page_order).any():
        raise StateError(
            f"has a run of a kind above {len(KINDS) - 1} or an order above {facts.max_page_order}, "
            f"the largest with {image.page_size} pages"
        )
    if (runs["nr"] == 0).any():
        raise StateError("has a run without a frame")
    frames = runs["nr"].astype(np.int64) << runs["order"]
    ends = np.cumsum(frames)
    if int(ends[-1]) != image.nr_frames or (runs["first"] != ends - frames).any():
        raise StateError(f"has runs of {ends[-1]} frames where its RAM has {image.nr_frames}")
    if image.phys_base % (1 << 30):
        raise StateError(f"has RAM at {image.phys_base:#x}, which is no multiple of 1 GB")


def scatter(image: MemoryImage) -> dict[str, dict[str, int]]:
    """How page tables are scattered: what would be split without grouping.

    Returns
    -------
    dict
        By size of area (``"64K"``, ``"2M"``, ``"32M"``, ``"1G"``): ``areas`` that hold at least one
        page table, the ``least`` that could hold them all, and how many there are (``total``).
        Sizes below the page size are left out.
    """
    runs = image.runs[image.runs["kind"] == PGTABLE]
    shift = image.geometry.page_shift
    base = image.phys_base >> shift
    nr_tables = int(runs["nr"].sum())
    result = {}
    for name, bits in (("64K", 16), ("2M", 21), ("32M", 25), ("1G", 30)):
        order = bits - shift
        if order < 0:
            continue
        low = (base + runs["first"].astype(np.int64)) >> order
        high = (base + runs["first"].astype(np.int64) + runs["nr"] - 1) >> order
        # runs rise, so an area is counted twice only where one ends and the next begins
        areas = int((high - low + 1).sum()) - int((low[1:] == high[:-1]).sum())
        result[name] = {
            "areas": areas,
            "least": -(-nr_tables >> order),
            "total": -(-image.nr_frames >> order),
        }
    return result
