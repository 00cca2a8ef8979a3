# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own allocator file: compile it for the laboratory, and say what it lacks.

The file is compiled unmodified against ``csrc/include``, once for each page size, together with
``csrc/door/door.c``. The result is kept under the hash of everything that it depends on.
"""

import contextlib
import functools
import hashlib
import os
import platform
import re
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kpkeys_bench import _ffi, isolate, sysinfo
from kpkeys_bench.errors import AllocatorError
from kpkeys_bench.geometry import PAGE_SHIFTS, geometry

COMPILERS: Final = ("cc", "gcc", "clang")
"""Tried in this order where ``$CC`` is not set."""
COMPILE_TIMEOUT_S: Final = 120.0

REQUIRED: Final = ("kpkeys_pgtable_alloc", "kpkeys_pgtable_free")
"""What a file has to define to be an allocator."""
SPLITS: Final = "kpkeys_prepare_direct_map_split"
"""A file that defines this is made for a linear map with blocks."""

_LAB: Final = ("include", "lab", "door", "allocators")
_WARNINGS: Final = (
    "implicit-function-declaration",
    "implicit-int",
    "int-conversion",
    "incompatible-pointer-types",
)
_FLAGS: Final = (
    "-DKPB_DOOR",
    "-D_GNU_SOURCE",
    "-O2",
    "-std=gnu11",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-strict-aliasing",
    "-fdiagnostics-color=never",
    "-Wall",
    *(f"-Werror={name}" for name in _WARNINGS),
    "-shared",
    "-Wl,-z,defs",
)


# --- where things are -----------------------------------------------------------------------------


@functools.cache
def csrc() -> Path:
    """The folder with the headers: inside an installed package, or beside it in a source tree."""
    package = Path(__file__).resolve().parent
    installed = package / "csrc"
    return installed if installed.is_dir() else package.parent / "csrc"


def mirror_source() -> Path:
    """The laboratory's own mirror of v6: a file to copy, patch and bring back."""
    return csrc() / "mm" / "kpkeys_hardened_pgtables.c"


def _lab_sources() -> list[Path]:
    """What a compiled file depends on besides itself."""
    top = csrc()
    found = [path for folder in _LAB for path in (top / folder).rglob("*.[ch]")]
    return sorted({*found, top / "kpb_api.h", top / "kpb_api.cdef.h"})


def _is_lab(path: Path) -> bool:
    top = csrc()
    return path.parent == top or any(path.is_relative_to(top / folder) for folder in _LAB)


@functools.cache
def _temporary_cache() -> Path:
    """For this process, where no other folder can be written to."""
    folder = tempfile.TemporaryDirectory(prefix="kpkeys_bench-")
    _TEMPORARY.append(folder)
    return Path(folder.name)


#: Removed with the process.
_TEMPORARY: Final[list[tempfile.TemporaryDirectory[str]]] = []


def cache_dir() -> Path:
    """Where compiled files are kept: ``$KPB_CACHE``, or below ``$XDG_CACHE_HOME`` or ``~/.cache``.

    A folder that cannot be written to, or that others may write to, is replaced by a temporary
    one: what is in it gets executed.
    """
    if chosen := os.environ.get("KPB_CACHE"):
        folder = Path(chosen)
    elif base := os.environ.get("XDG_CACHE_HOME"):
        folder = Path(base) / "kpkeys_bench"
    else:
        try:
            folder = Path.home() / ".cache" / "kpkeys_bench"
        except RuntimeError:
            return _temporary_cache()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return _temporary_cache()
    private = status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    usable = private and os.access(folder, os.W_OK | os.X_OK)
    return folder.absolute() if usable else _temporary_cache()


# --- the compiler ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compiler:
    """A C compiler.

    Attributes
    ----------
    command : tuple of str
        The program, in full, and arguments that came with it.
    version : str
        First line of ``--version``.
    """

    command: tuple[str, ...]
    version: str


def find_compiler() -> Compiler:
    """The compiler in ``$CC``, or the first of `COMPILERS` that is installed.

    Raises
    ------
    AllocatorError
        If there is none.
    """
    return _find_compiler(os.environ.get("CC", ""), os.environ.get("PATH", ""))


@functools.lru_cache(maxsize=8)
def _find_compiler(chosen: str, path: str) -> Compiler:
    try:
        words = shlex.split(chosen)
    except ValueError:
        words = [chosen]
    for name in [words[0]] if words else COMPILERS:
        program = shutil.which(name, path=path or None)
        if program:
            command = (str(Path(program).absolute()), *words[1:])
            lines = _call([*command, "--version"], Path("/")).output.splitlines()
            return Compiler(command, lines[0] if lines else "")
    if words:
        raise AllocatorError(
            f"the C compiler {chosen!r} of $CC is not there: install it or unset CC"
        )
    raise AllocatorError(
        "no C compiler (cc, gcc or clang) is installed: an allocator file needs one; install the "
        "package gcc, or name a compiler in $CC"
    )


@dataclass(frozen=True)
class _Called:
    status: int
    output: str


def _call(command: Sequence[str], folder: Path) -> _Called:
    """Run the compiler; its own children go with it if it takes too long."""
    env = {**os.environ, "LC_ALL": "C", "LANGUAGE": "C"}
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise AllocatorError(
            f"cannot run the C compiler {command[0]}: {error.strerror or error}"
        ) from None
    with process:
        try:
            output, _ = process.communicate(timeout=COMPILE_TIMEOUT_S)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise AllocatorError(
                f"the C compiler {command[0]} did not end within {COMPILE_TIMEOUT_S:g} s: try the "
                "same by hand, or name another compiler in $CC"
            ) from None
    return _Called(process.returncode, output.decode("utf-8", "replace"))


# --- compiling ------------------------------------------------------------------------------------


def read_source(source: Path) -> bytes:
    """The content of an allocator file.

    Raises
    ------
    AllocatorError
        If it cannot be read, or is no regular file.
    """
    try:
        if source.is_dir():
            raise AllocatorError(f"{source} is a folder: name the allocator's C file in it")
        if source.exists() and not source.is_file():
            raise AllocatorError(f"{source} is no regular file: name an allocator's C file")
        return source.read_bytes()
    except OSError as error:
        raise AllocatorError(
            f"cannot read {source}: {error.strerror}; name an allocator's C file"
        ) from None


def content_sha256(source: Path) -> str:
    """SHA-256 of an allocator file, with what it includes from beside it, in hex."""
    digest = hashlib.sha256(read_source(source))
    # the file alone has the hash that sha256sum prints
    for path in _included(source):
        digest.update(b"\0" + path.name.encode() + b"\0" + read_source(path))
    return digest.hexdigest()


_INCLUDE: Final = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.MULTILINE)


def _included(source: Path) -> list[Path]:
    """Files that are included with quotes, directly or not, and exist."""
    found: dict[Path, None] = {}
    todo = [source]
    while todo:
        path = todo.pop()
        for name in _INCLUDE.findall(read_source(path)):
            # beside the file that includes it, or else beside the source (-iquote)
            for folder in (path.parent, source.parent):
                other = Path(os.path.normpath(folder / os.fsdecode(name)))
                if other.is_file() and other not in found and other != source:
                    found[other] = None
                    todo.append(other)
    return sorted(found)


@dataclass(frozen=True)
class Compiled:
    """One allocator file, compiled for one page size.

    Attributes
    ----------
    path : Path
        The shared object.
    output : str
        What the compiler said about it, warnings at most.
    cached : bool
        It was there already.
    """

    path: Path
    output: str
    cached: bool


def compile_file(source: Path, page_size: str) -> Compiled:
    """Compile an allocator file for one page size, unless that has been done before.

    Parameters
    ----------
    source : Path
        The C file.
    page_size : str
        ``"4K"``, ``"16K"`` or ``"64K"``.

    Raises
    ------
    AllocatorError
        If it cannot be read or does not compile; the message names what is missing, and where.
    """
    shift = PAGE_SHIFTS[geometry(page_size).page_size]
    sha256 = content_sha256(source)
    compiler = find_compiler()
    key = _key(source, sha256, compiler, shift)
    folder = cache_dir()
    target = folder / f"{key}.so"
    said = folder / f"{key}.txt"
    if target.exists():
        with contextlib.suppress(OSError):
            return Compiled(target, said.read_text(encoding="utf-8"), cached=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="compiling-") as scratch:
        result = Path(scratch) / target.name
        called = _call(_command(compiler, source, shift, result), source.absolute().parent)
        if called.status:
            raise _failure(source, called.output, compiler, shift)
        if content_sha256(source) != sha256:
            raise AllocatorError(f"{source} changed while it was compiled: start again")
        lacking = [name for name in REQUIRED if not defined(result)[name]]
        if lacking:
            raise AllocatorError(
                f"{source} defines no {' and no '.join(f'{name}()' for name in lacking)}: it is "
                "no page table allocator, or all of it is behind an #ifdef"
            )
        text = Path(scratch) / said.name
        text.write_text(called.output, encoding="utf-8")
        text.replace(said)
        result.replace(target)
    return Compiled(target, called.output, cached=False)


def _key(source: Path, sha256: str, compiler: Compiler, shift: int) -> str:
    parts = [
        sha256,
        source.name,
        platform.machine(),
        sysinfo.package_version(),
        *compiler.command,
        compiler.version,
        *_FLAGS,
        str(shift),
    ]
    digest = hashlib.sha256("\0".join(parts).encode())
    top = csrc()
    for path in _lab_sources():
        digest.update(b"\0" + str(path.relative_to(top)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:40]


def _command(compiler: Compiler, source: Path, shift: int, result: Path) -> list[str]:
    top = csrc()
    return [
        *compiler.command,
        *_FLAGS,
        f"-DPAGE_SHIFT={shift}",
        f"-I{top}",
        f"-I{top / 'include'}",
        # for what its own headers include with quotes
        "-iquote",
        ".",
        "-o",
        str(result.absolute()),
        # the name is in warnings, by way of __FILE__
        f"./{source.name}" if source.name.startswith("-") else source.name,
        str(top / "door" / "door.c"),
    ]


@functools.lru_cache(maxsize=256)
def defined(compiled: Path) -> dict[str, bool]:
    """What a compiled file defines of the names that the laboratory calls.

    Loading it runs code of the file, if only its constructors: that happens in another process.
    """
    return isolate.run(_ffi.door_defines, str(compiled))


# --- what the compiler says -----------------------------------------------------------------------


@dataclass(frozen=True)
class Diagnostic:
    """One thing that is wrong with an allocator file.

    Attributes
    ----------
    file : str
        As the user named it, or a header.
    line, column : int
        From 1; 0 where it is not known.
    kind : str
        ``"function"``, ``"type"``, ``"name"``, ``"member"``, ``"header"``: missing in
        ``csrc/include``; ``"symbol"``: declared and never defined; ``"error"``: anything else.
    name : str
        What is missing; empty for ``"error"``.
    message : str
        In words.
    """

    file: str
    line: int
    column: int
    kind: str
    name: str
    message: str

    @property
    def where(self) -> str:
        """``FILE:LINE``."""
        return f"{self.file}:{self.line}" if self.line else self.file


_WORDS: Final = {
    "function": "{}() is needed, but csrc/include has no such function",
    "type": "{} is needed, but csrc/include has no such type",
    "name": "{} is needed, but csrc/include has no such name",
    "member": "{} is needed, but csrc/include has no such member",
    "header": "{} is needed, but csrc/include has no such header",
    "symbol": "{} is declared, but nothing defines it",
}
_WAY_OUT: Final = "; define it in the file below #ifdef KPB_DOOR, or add it to csrc/include"

_LINE: Final = re.compile(
    r"^(?P<file>[^\s:][^:\n]*):(?P<line>\d+):(?:(?P<column>\d+):)? "
    r"(?P<severity>fatal error|error|warning|note): (?P<text>.*)$"
)
_FROM: Final = re.compile(r"^(?:In file included|\s+) from (?P<file>[^:\n]+):(?P<line>\d+)")
_Q: Final = r"['\"]"
#: gcc's words and clang's, by kind.
_MISSING: Final = tuple(
    (kind, re.compile(pattern.replace("'", _Q)))
    for kind, pattern in (
        ("function", r"implicit declaration of function '(\w+)'"),
        ("function", r"call to undeclared (?:library )?function '(\w+)'"),
        ("header", r"^(\S+): No such file or directory$"),
        ("header", r"^'(\S+)' file not found"),
        ("member", r"'((?:struct|union) \w+)' has no member named '(\w+)'"),
        ("member", r"'(\w+)' has no member named '(\w+)'"),
        ("member", r"no member named '(?P<member>\w+)' in '(?P<of>[\w ]+)'"),
        ("member", r"field designator '(?P<member>\w+)' .* in type '(?P<of>[\w ]+)'"),
        ("type", r"unknown type name '(\w+)'"),
        ("type", r"must use '(?:struct|union|enum)' tag to refer to type '(\w+)'"),
        ("type", r"'((?:struct|union|enum) \w+)' that is never completed"),
        ("type", r"(?:incomplete|undefined) type '((?:struct|union|enum) \w+)'"),
        ("type", r"incomplete definition of type '((?:struct|union|enum) \w+)'"),
        ("name", r"'(\w+)' undeclared"),
        ("name", r"use of undeclared identifier '(\w+)'"),
        ("name", r"type defaults to 'int' in declaration of '(\w+)'"),
    )
)  # fmt: skip
#: ld's words and lld's.
_UNDEFINED: Final = re.compile(r"undefined (?:reference to|symbol:) [`']?(\w+)")
_TWICE: Final = re.compile(r"multiple definition of [`'](\w+)|duplicate symbol: (\w+)")
_GUARD: Final = re.compile(r"^kpb_guard_(\w+?)_(?:t|lock|unlock)$")
#: Not errors of the file, but their echo.
_ECHO: Final = re.compile(
    r"makes (?:pointer|integer) from|incompatible (?:integer|pointer)|^expected |storage size of"
    r"|parameter names \(without types\)|too many errors|type specifier missing|declared void"
    r"|undeclared identifier|data definition has no type|a type specifier is required"
    r"|argument not a function|^expected|parameter list without types|incomplete type 'void'"
)
_ANNOTATION: Final = re.compile(r"\b_[a-z_]\w+\b")
#: A macro that stands where declarations do, such as ``MODULE_LICENSE("GPL")``.
_MACRO_CALL: Final = re.compile(r"^\s*(?:(?:static|extern)\s+)*([A-Z][A-Z0-9_]+)\s*\(")
#: gcc does not say which type that is.
_INCOMPLETE: Final = re.compile(r"storage size of|has incomplete type|initializer but incomplete")
_TAG: Final = re.compile(r"\b(?:struct|union|enum) \w+")
_IMPLICIT_INT: Final = re.compile(r"type specifier (?:missing|is required)")


@dataclass
class _Said:
    """An error as the compiler put it, and where it lies for the user."""

    file: str
    line: int
    column: int
    text: str


class _Reader:
    """Turns the compiler's output into diagnostics of the user's file."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.folder = source.absolute().parent
        try:
            self.lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            self.lines = []

    def own(self, file: str) -> bool:
        """Whether a file is the user's, and none of the laboratory's headers or the system's."""
        path = Path(os.path.normpath(self.folder / file))
        if path == Path(os.path.normpath(self.source.absolute())):
            return True
        return path.is_relative_to(self.folder) and not _is_lab(path)

    def named(self, file: str) -> str:
        """A file as the user would name it."""
        if not self.own(file):
            return file
        return os.path.normpath(self.source.parent / file)

    def errors(self, output: str) -> list[_Said]:
        """Errors, each moved to the user's line where it lies in the expansion of a macro."""
        found: list[_Said] = []
        included: tuple[str, int] | None = None
        for text in output.splitlines():
            if match := _FROM.match(text):
                if text.startswith("In file"):
                    included = None
                if self.own(match["file"]):
                    included = (match["file"], int(match["line"]))
                continue
            match = _LINE.match(text)
            if not match:
                continue
            place = (match["file"], int(match["line"]), int(match["column"] or 0))
            if "error" in match["severity"]:
                if not self.own(place[0]) and included:
                    found.append(_Said(*included, 0, match["text"]))
                else:
                    found.append(_Said(*place, match["text"]))
                included = None if self.own(place[0]) else included
            elif (
                match["severity"] == "note"
                and found
                and "in expansion of macro" in match["text"]
                and self.own(place[0])
                and not (self.own(found[-1].file) and found[-1].column)
            ):
                found[-1].file, found[-1].line, found[-1].column = place[0], place[1], 0
        return found

    def diagnostics(self, output: str) -> list[Diagnostic]:
        """What is wrong, each thing once, what is missing first."""
        found: dict[tuple[str, str], Diagnostic] = {}
        lines: set[tuple[str, int]] = set()
        # a loop that is no macro makes names of its members
        loops: set[tuple[str, int]] = set()
        others: list[_Said] = []
        for said in self.errors(output):
            kind, name = self.missing(said)
            if not kind:
                others.append(said)
                continue
            lines.add((said.file, said.line))
            if kind == "function" and "for_each" in name:
                loops.add((said.file, said.line))
            elif kind == "name" and (said.file, said.line) in loops:
                continue
            found.setdefault((kind, name), self.diagnostic(said, kind, name))
        for said in others:
            if _ECHO.search(said.text) and (said.file, said.line) in lines:
                continue
            diagnostic = self.diagnostic(said, "error", "", said.text)
            found.setdefault(("error", f"{said.file}:{said.line}:{said.text}"), diagnostic)
        for diagnostic in self.linker(output):
            found.setdefault((diagnostic.kind, diagnostic.name), diagnostic)
        return sorted(found.values(), key=lambda d: (d.kind == "error", d.file, d.line, d.column))

    def missing(self, said: _Said) -> tuple[str, str]:
        """Kind and name of what is missing; empty if the error is another one."""
        if word := self.macro_call(said):
            return "name", word
        for kind, pattern in _MISSING:
            if not (match := pattern.search(said.text)):
                continue
            if kind == "member":
                groups = match.groupdict()
                of, member = (groups["of"], groups["member"]) if groups else match.groups()
                return kind, f"{of}.{member}"
            if guard := _GUARD.match(match[1]):
                return "name", f"guard({guard[1]})"
            return kind, match[1]
        word = ""
        if _INCOMPLETE.search(said.text) and (match := _TAG.search(self.text_of(said))):
            return "type", match[0]
        if _IMPLICIT_INT.search(said.text):
            word = self.word_at(said)
        elif said.text.startswith("expected "):
            word = self.annotation(said)
        return ("name", word) if word else ("", "")

    def macro_call(self, said: _Said) -> str:
        """An unknown macro that stands where the compiler expects a declaration."""
        if not (said.text.startswith("expected ") or "unknown type" in said.text):
            return ""
        match = _MACRO_CALL.match(self.text_of(said))
        return match[1] if match and self.unknown(match[1]) else ""

    def text_of(self, said: _Said) -> str:
        """The line that an error names."""
        own = self.named(said.file) == os.path.normpath(self.source)
        return self.lines[said.line - 1] if own and 0 < said.line <= len(self.lines) else ""

    def word_at(self, said: _Said) -> str:
        """The word that an error points at."""
        match = re.match(r"\w+", self.text_of(said)[max(said.column - 1, 0) :])
        return str(match[0]) if match else ""

    def annotation(self, said: _Said) -> str:
        """An unknown attribute such as ``__init``: the compiler trips over what follows it."""
        for word in map(str, _ANNOTATION.findall(self.text_of(said))):
            builtin = word.startswith(("__builtin", "__attribute", "__asm", "__typeof", "__func"))
            if not builtin and self.unknown(word):
                return word
        return ""

    def unknown(self, word: str) -> bool:
        """Whether no header has this word, and the file does not define it."""
        return word not in _known_words() and not any(f"define {word}" in s for s in self.lines)

    def diagnostic(self, said: _Said, kind: str, name: str, text: str = "") -> Diagnostic:
        message = _WORDS[kind].format(name) if kind in _WORDS else text
        return Diagnostic(self.named(said.file), said.line, said.column, kind, name, message)

    def linker(self, output: str) -> Iterable[Diagnostic]:
        """What the linker misses; it knows no lines, so the first use is looked up."""
        for match in _UNDEFINED.finditer(output):
            yield self.diagnostic(self.first_use(match[1]), "symbol", match[1])
        for match in _TWICE.finditer(output):
            name = match[1] or match[2]
            text = f"{name} is the laboratory's own function: make it static or rename it"
            yield self.diagnostic(self.first_use(name), "error", name, text)

    def first_use(self, name: str) -> _Said:
        pattern = re.compile(rf"\b{re.escape(name)}\b")
        for number, line in enumerate(self.lines, 1):
            if match := pattern.search(line):
                return _Said(self.source.name, number, match.start() + 1, "")
        return _Said(self.source.name, 0, 0, "")


@functools.cache
def _known_words() -> frozenset[str]:
    """Every word of the laboratory's headers."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in _lab_sources())
    return frozenset(re.findall(r"\w+", text))


def diagnose(source: Path, output: str) -> list[Diagnostic]:
    """Read the output of gcc or clang on an allocator file.

    Parameters
    ----------
    source : Path
        The file.
    output : str
        What the compiler and the linker printed, in the C locale.

    Returns
    -------
    list of Diagnostic
        Each thing once, what is missing first; empty if no line could be read.
    """
    return _Reader(source).diagnostics(output)


def _failure(source: Path, output: str, compiler: Compiler, shift: int) -> AllocatorError:
    diagnostics = tuple(diagnose(source, output))
    if not diagnostics:
        lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no reason"]
        page_size = next(name for name, value in PAGE_SHIFTS.items() if value == shift)
        return AllocatorError(
            f"{source}: {compiler.command[0]} fails on it for {page_size} pages: {lines[-1]}; "
            f"'kpkeys-bench allocator check --verbose {source}' shows all of it",
            output=output,
        )
    first, *rest = diagnostics
    message = f"{first.where}: {first.message}"
    if first.kind != "error":
        message += _WAY_OUT
    if rest:
        message += f" ({len(rest)} more: 'kpkeys-bench allocator check {source}' lists them)"
    return AllocatorError(message, diagnostics, output)
