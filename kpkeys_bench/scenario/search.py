# SPDX-License-Identifier: GPL-2.0-only
"""Searches for the shortest script that stops a machine: every string of a few statements.

Each string runs on a machine of its own. A statement that changes nothing where it stands makes
the string equal to a shorter one, which was tried before, so nothing that begins like it is tried.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kpkeys_bench import isolate
from kpkeys_bench.errors import ConfigError
from kpkeys_bench.geometry import geometry
from kpkeys_bench.scenario.language import Script, parse_script
from kpkeys_bench.scenario.run import Runner, make_machine
from kpkeys_bench.strategy import is_allocator_file

DEFAULT_DEPTH: Final = 4
MAX_DEPTH: Final = 6
SEARCH_TIMEOUT_S: Final = 600.0

_USE_UP: Final = "A: alloc p cached_pages+1 stop at alloc_pages"
_GO_ON: Final = "A: continue"
_FREE: Final = "free p"
#: By page size: RAM, the largest order of a refill, and ranges that need one table and more.
_BOXES: Final = {
    "4K": (
        "8G",
        9,
        {
            "set_memory first=4G+5 pages=1": "one page",
            "set_memory first=4G+17 pages=3": "both ends inside one leaf",
            "set_memory first=4G+2M-1 pages=2": "across two 2 MB leaves",
            "set_memory first=5G-1 pages=2": "across two 1 GB leaves",
        },
    ),
    "16K": (
        "8G",
        11,
        {
            "set_memory first=4G+5 pages=1": "one page",
            "set_memory first=4G+129 pages=3": "both ends inside one leaf",
            "set_memory first=4G+32M-1 pages=2": "across two 32 MB leaves",
        },
    ),
    "64K": (
        "8G",
        9,
        {
            "set_memory first=4G+5 pages=1": "one page",
            "set_memory first=4G+33 pages=3": "both ends inside one leaf",
            "set_memory first=5G-1 pages=2": "across two 512 MB leaves",
        },
    ),
}
#: What somebody else takes: more than the leaf that the first refill has split.
_PIN_BYTES: Final = 5 << 28


@dataclass(frozen=True)
class Found:
    """The outcome of a search.

    Attributes
    ----------
    statements : tuple of str
        The shortest string whose machine stops; empty if there is none.
    tried : int
        Strings that were run.
    depth : int
        The longest length that was tried.
    stopped : str
        Why the machine stopped.
    script : str
        The text of a script that shows it; empty if there is none.
    """

    statements: tuple[str, ...]
    tried: int
    depth: int
    stopped: str
    script: str


def alphabet(page_size: str) -> dict[str, str]:
    """The statements that strings are made of, and what each is for."""
    facts = geometry(page_size)
    _, order, ranges = _BOXES[facts.page_size]
    pins = _PIN_BYTES >> (facts.page_shift + order)
    return {
        _USE_UP: "use up all but the reserve",
        "alloc p": "one page table page",
        **ranges,
        f"pin u {pins} order={order}": "1.25 GB for somebody else",
        _FREE: "all of them back",
        "shrink 64": "a round of the shrinker",
    }


def machine_line(page_size: str) -> str:
    """The box: fresh memory, and enough of it for leaves that nobody has split yet."""
    size = geometry(page_size).page_size
    return f"machine page_size={size} ram={_BOXES[size][0]}"


def search(
    page_size: str = "4K",
    depth: int = DEFAULT_DEPTH,
    allocator: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Find the shortest string of statements after which the machine deadlocks.

    Parameters
    ----------
    page_size : str
        Of the machines.
    depth : int
        Longest string to try.
    allocator : str, optional
        Instead of ``pba``.
    progress : function, optional
        Is told the length and the number of strings before each length.

    Raises
    ------
    ConfigError
        If `depth` is out of range.
    """
    if not 1 <= depth <= MAX_DEPTH:
        raise ConfigError(f"depth {depth}: give 1 to {MAX_DEPTH}")
    tried = 0
    strings: list[tuple[str, ...]] = [()]
    for length in range(1, depth + 1):
        if progress is not None:
            progress(length, len(strings) * len(alphabet(page_size)))
        longer = []
        for prefix in strings:
            for statement in alphabet(page_size):
                if statement == _FREE and not any("alloc p" in one for one in prefix):
                    continue
                if statement == _USE_UP and _USE_UP in prefix:
                    # A is still before its refill
                    continue
                string = (*prefix, statement)
                tried += 1
                stopped, changed = _try(_script(string, page_size), allocator)
                if "deadlock" in stopped:
                    text = _text(string, page_size, tried)
                    return Found(string, tried, length, stopped, text)
                if changed:
                    longer.append(string)
        strings = longer
    return Found((), tried, depth, "", "")


def search_isolated(
    page_size: str = "4K",
    depth: int = DEFAULT_DEPTH,
    allocator: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """As `search`; an allocator file is tried in a process of its own, without progress.

    Raises
    ------
    IsolationError
        If the allocator crashed or loops.
    """
    if allocator is None or not is_allocator_file(allocator):
        return search(page_size, depth, allocator, progress)
    return isolate.run(search, page_size, depth, allocator, timeout_s=SEARCH_TIMEOUT_S)


def _script(string: tuple[str, ...], page_size: str) -> Script:
    *before, last = string
    lines = [machine_line(page_size), "boot", *before, f"mark {_MARK}", last]
    return parse_script("\n".join(lines), "search")


def _try(script: Script, allocator: str | None) -> tuple[str, bool]:
    """Why the machine stopped, and whether the last statement did anything."""
    with make_machine(script.setup, allocator) as machine:
        runner = Runner(script, machine)
        stopped = runner.run(leave_tasks=True).stopped
        return stopped, bool(runner.changed_since(_MARK) - _NO_CHANGE)


_MARK: Final = "last"
#: Counters that move although nothing happens.
_NO_CHANGE: Final = frozenset(
    {"ops", "shrinks", "shrink_scans", "path_ops", "cached_page_ops", "unprotected_page_ops"}
)


def _text(string: tuple[str, ...], page_size: str, tried: int) -> str:
    """A script that anyone can run, which says how it was found."""
    meaning = alphabet(page_size)
    lines = [
        f"# Found by 'kpkeys-bench scenario search deadlock --page-size {page_size}', not by hand:",
        f"# string {tried} of those that were tried, and no shorter one stops a machine.",
        'behaviour D5 "the 2 reserved pages do not cover an arbitrary range, which can need 4"',
        machine_line(page_size),
        "",
        "boot",
    ]
    lines += [f"{statement:<45}  # {meaning[statement]}" for statement in string]
    if _USE_UP in string:
        lines.append(f"{_GO_ON:<45}  # where the machine still runs")
    lines += [
        "figure tables_taken = other.split_ptps + refill.split_ptps",
        # a refill that splits a large leaf for a part of a smaller one takes two
        'given stopped("deadlock") or refill.split_ptps >= 2',
        'expect stopped "deadlock"',
        'shown if stopped("deadlock")',
    ]
    return "\n".join(lines) + "\n"
