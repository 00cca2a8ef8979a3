# SPDX-License-Identifier: GPL-2.0-only
"""Import of recordings: text of tracefs, trace-cmd and perf, and CSV, become a `Trace`.

The lines are read in C (``csrc/lab/import_text.c``); this file opens, decompresses and feeds.
"""

import bz2
import gzip
import importlib
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol, Self

from kpkeys_bench._ffi import (
    IMPORT_COUNT_HELP,
    IMPORT_COUNTS,
    IMPORT_FAULTS,
    IMPORT_MAX_FEED,
    IMPORT_MAX_SOURCES,
    IMPORT_ORIGINS,
    ImportHandle,
)
from kpkeys_bench.errors import ConfigError, TraceError
from kpkeys_bench.workloads.trace import MAX_OPS, Integrity, Trace

ORIGINS: Final[tuple[str, ...]] = IMPORT_ORIGINS[:4]
"""What page table events can be taken from; ``auto`` is where the first one comes from."""
COUNTS: Final[tuple[str, ...]] = IMPORT_COUNTS
FAULTS: Final[tuple[str, ...]] = IMPORT_FAULTS
"""The counts that mean loss or contradiction: `strict` refuses what has one."""
COUNT_HELP: Final[dict[str, str]] = IMPORT_COUNT_HELP
STDIN: Final = "-"

Progress = Callable[[int, int], None]
"""Called with the bytes of the files that were read, and of all of them."""

# Pieces while files are merged: what waits for another file stays small.
_MERGE_FEED: Final = 1 << 16
_MAGIC_BYTES: Final = 6
_BINARY: Final = {
    b"\x17\x08Dtra": "a file of trace-cmd; import what trace-cmd report prints of it",
    b"PERFIL": "a file of perf; import what perf script prints of it",
    b"\x89KPT\r\n": "a .kpt file already; see trace info, slice and merge",
}
_WAY_OUT: Final = "correct the recording or its conversion"


def import_recording(
    paths: Sequence[str | os.PathLike[str]],
    *,
    page_size: int,
    name: str,
    source: str = "",
    merge: bool = False,
    strict: bool = False,
    origin: str = "auto",
    item: int | None = None,
    vmemmap: int = 0,
    max_ops: int = MAX_OPS,
    progress: Progress | None = None,
) -> Trace:
    """Convert recorded page table events to a `Trace`.

    A free belongs to the live allocation of the same page. Slots are the lowest free ones, so
    their number is the peak of live pages. A FREE carries level and ``arg`` of its page's ALLOC.
    Pages that are freed without having been allocated get ALLOCs in the trace's prologue. What
    contradicts itself is counted and repaired as ``docs/traces.md`` says.

    Parameters
    ----------
    paths : sequence of path
        Files, plain or compressed (xz, gzip, bzip2, zstd; told by their first bytes); ``"-"`` is
        standard input. Text of ``trace``, ``trace_pipe``, ``trace-cmd report`` or ``perf script``,
        or CSV with a header line that names ``ts_ns,cpu,op,level,pfn`` and perhaps ``caller``.
        Read as a stream. Several are the parts of one recording in order of time.
    page_size, name
        See `Trace`.
    source : str
        See `Trace`; by default it says which files were read and how.
    merge : bool
        The files are of one time, such as one per CPU: merge them by time.
    strict : bool
        Refuse what has one of `FAULTS`.
    origin : str
        One of `ORIGINS`.
    item : int, optional
        Number of NR_PAGETABLE in the recorded kernel; by default the callers show it.
    vmemmap : int
        Where the recorded kernel has its struct pages; by default the pages show it.
    max_ops : int
        Operations of the result at most, prologue included; this bounds the memory.
    progress : callable, optional
        Told how many bytes of the files are read.

    Returns
    -------
    Trace
        With its `integrity`.

    Raises
    ------
    TraceError
        On unreadable, truncated or foreign input, with the number of the line where there is one;
        or if `strict` and there is loss or contradiction.
    ConfigError
        If a parameter is out of range.
    """
    if not paths:
        raise ConfigError("no file to import; name one or more")
    if merge and len(paths) > IMPORT_MAX_SOURCES:
        raise ConfigError(
            f"{len(paths)} files to merge, the limit is {IMPORT_MAX_SOURCES}; merge their traces"
        )
    if origin not in ORIGINS:
        raise ConfigError(f"origin {origin!r} is not one of {', '.join(ORIGINS)}")
    names = [os.fspath(path) for path in paths]
    reader = _Reader(names, progress)
    handle = ImportHandle(
        max_ops=max_ops,
        origin=origin,
        item=item,
        vmemmap=vmemmap,
        nr_sources=len(names) if merge else 1,
    )
    try:
        (reader.merged if merge else reader.parts)(handle)
        reader.check(handle.finish(), whole=True)
        state = handle.state()
        integrity = Integrity(
            format=state["format"],
            origin=state["origin"],
            counts=state["count"],
            first={
                name: f"{_shown(names[file])}:{line}"
                for name, (file, line) in state["first"].items()
                if name in FAULTS
            },
        )
        if strict:
            refuse_faults(integrity, names[0])
        ts_ns, ops = handle.take()
    finally:
        handle.close()
    try:
        return Trace(
            ops,
            ts_ns,
            state["nr_pre"],
            page_size,
            name,
            source or _source(names, integrity),
            integrity,
        )
    except TraceError as error:
        raise TraceError(f"{names[0]}: {error}; correct the recording or the arguments") from error


def faults(integrity: Integrity) -> dict[str, int]:
    """Those of `FAULTS` that are not 0."""
    return {name: n for name in FAULTS if (n := integrity.counts.get(name, 0))}


def refuse_faults(integrity: Integrity, path: str) -> None:
    """Raise TraceError if the recording lost something or contradicts itself."""
    found = [
        f"{n} {name}" + (f" (first at {at})" if (at := integrity.first.get(name)) else "")
        for name, n in faults(integrity).items()
    ]
    if found:
        raise TraceError(f"{path}: {', '.join(found)}; record again, or import without --strict")


def _source(names: list[str], integrity: Integrity) -> str:
    files = ", ".join(_shown(name) for name in names[:8])
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"Imported from {files}{more} ({integrity.format}, {integrity.origin})"


def _shown(path: str) -> str:
    """A file's name as one printable word; a system's limit is 255 bytes."""
    return "".join(c if c.isprintable() else "?" for c in Path(path).name)[:255]


class _Reader:
    """Feeds files to an import and says of what went wrong where it was."""

    def __init__(self, names: list[str], progress: Progress | None) -> None:
        self._names = names
        self._progress = progress
        self._total = sum(Path(n).stat().st_size for n in names if Path(n).is_file())
        self._before = 0

    def check(self, refused: tuple[int, int, str] | None, *, whole: bool = False) -> None:
        if refused is not None:
            file, line, message = refused
            where = f"{self._names[file]}:{line}" if line else self._names[file]
            raise TraceError(f"{where}: {message}" + ("" if whole else f"; {_WAY_OUT}"))

    def parts(self, handle: ImportHandle) -> None:
        """One file after the other."""
        for name in self._names:
            with self._open(name) as (stream, raw):
                self.check(handle.begin(0))
                while data := self._read(name, stream, IMPORT_MAX_FEED):
                    self.check(handle.feed(0, data))
                    self._tell(raw)
                self.check(handle.end(0))
            self._before += Path(name).stat().st_size if Path(name).is_file() else 0

    def merged(self, handle: ImportHandle) -> None:
        """All files at once, each as far as its times are needed."""
        with ExitStack() as stack:
            opened = [stack.enter_context(self._open(name)) for name in self._names]
            for i in range(len(opened)):
                self.check(handle.begin(i))
            while (i := handle.next()) >= 0:
                data = self._read(self._names[i], opened[i][0], _MERGE_FEED)
                self.check(handle.feed(i, data) if data else handle.end(i))
                self._tell(*(raw for _, raw in opened))

    def _tell(self, *raws: IO[bytes]) -> None:
        if self._progress is not None:
            here = sum(raw.tell() for raw in raws if raw is not sys.stdin.buffer)
            self._progress(self._before + here, self._total)

    @staticmethod
    def _read(name: str, stream: "_Stream", size: int) -> bytes:
        try:
            return stream.read(size)
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise TraceError(
                f"{name}: cannot read: {error}; check the path or copy it again"
            ) from error
        except Exception as error:  # ZstdError, of whichever package there is
            if type(error).__name__ != "ZstdError":
                raise
            raise TraceError(
                f"{name}: cannot read: {error}; check the path or copy it again"
            ) from error

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple["_Stream", IO[bytes]]]:
        """The content, and the file for its position."""
        with ExitStack() as stack:
            try:
                raw: Any = (
                    sys.stdin.buffer
                    if name == STDIN
                    else stack.enter_context(Path(name).open("rb"))
                )
                magic = raw.peek(_MAGIC_BYTES)[:_MAGIC_BYTES]
            except OSError as error:
                raise TraceError(
                    f"{name}: cannot read: {error.strerror}; check the path or copy it again"
                ) from error
            yield _decompressed(name, magic, raw, stack), raw


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""


def _decompressed(name: str, magic: bytes, raw: IO[bytes], stack: ExitStack) -> _Stream:
    stream: _Stream = raw
    for begins, what in _BINARY.items():
        if magic.startswith(begins):
            raise TraceError(f"{name}: is {what}")
    if magic.startswith(b"\xfd7zXZ\0"):
        stream = stack.enter_context(lzma.LZMAFile(raw))  # noqa: SIM115 - the stack closes it
    elif magic.startswith(b"\x1f\x8b"):
        stream = stack.enter_context(gzip.GzipFile(fileobj=raw))
    elif magic.startswith(b"BZh"):
        stream = stack.enter_context(bz2.BZ2File(raw))
    elif magic.startswith(b"\x28\xb5\x2f\xfd"):
        stream = _zstd(name, raw, stack)
    return stream


def _zstd(name: str, raw: IO[bytes], stack: ExitStack) -> "_Stream":
    """Decompress with Python 3.14's module, a package, or the program, whichever there is."""
    stream: _Stream
    for module in ("compression.zstd", "pyzstd"):
        try:
            stream = importlib.import_module(module).ZstdFile(raw)
        except ImportError:
            continue
        return stream
    try:
        decompressor = importlib.import_module("zstandard").ZstdDecompressor()
    except ImportError:
        pass
    else:
        stream = decompressor.stream_reader(raw, read_across_frames=True)
        return stream
    program = shutil.which("zstd")
    if program is None:
        raise TraceError(
            f"{name}: is compressed with zstd; install the program zstd or the package zstandard"
        )
    if not raw.seekable():
        raise TraceError(f"{name}: is compressed with zstd and cannot be read twice; use zstd -dc")
    return stack.enter_context(_ZstdProgram(program, raw))


class _ZstdProgram:
    """``zstd -dc`` as a stream; a failure of it is an error of the read at its end."""

    def __init__(self, program: str, raw: IO[bytes]) -> None:
        # peek() has read ahead; the program reads the file itself.
        os.lseek(raw.fileno(), 0, os.SEEK_SET)
        # What it says is a line or none: no pipe that could fill up.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [program, "-dcq"], stdin=raw, stdout=subprocess.PIPE, stderr=self._said
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end."""
        data = self._process.stdout.read(size) if self._process.stdout else b""
        if not data and self._process.wait():
            self._said.seek(0)
            said = self._said.read(400).decode(errors="replace").partition("\n")[0]
            raise OSError(said or f"zstd ended with {self._process.returncode}")
        return data
