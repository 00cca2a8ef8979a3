# SPDX-License-Identifier: GPL-2.0-only
"""Import of recordings, slow and obvious: the oracle of test_recording.py.

Nothing here is shared with the importer: regular expressions, dicts and lists.
"""

import re
from dataclasses import dataclass, field
from typing import Final

LEVELS: Final = {"PTE": 0, "PMD": 1, "PUD": 2, "PGD": 3}
LINE: Final = re.compile(
    r"^.{16}-(\d+) +\[(\d+)\] \S{5} +(\d+)\.(\d{6}): (\S+?):? (.*)$", re.DOTALL
)


@dataclass
class Event:
    """What happened; `level` None: not known."""

    ts_ns: int
    cpu: int
    op: str
    level: str | None
    page: int
    kernel: bool = False


@dataclass
class Books:
    """Operations ``(slot, kind, cpu, level, arg)`` and times, with the documented repairs."""

    counts: dict[str, int] = field(default_factory=dict)
    _log: list[tuple[int, str, int, int]] = field(default_factory=list)  # ts, op, cpu, page id
    _pages: list[tuple[int, bool]] = field(default_factory=list)
    _live: dict[int, int] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)
    _pre: list[int] = field(default_factory=list)
    _last: int = 0
    _cpus: dict[int, int] = field(default_factory=dict)

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def add(self, event: Event) -> None:
        if event.ts_ns < self._cpus.get(event.cpu, 0):
            self.count("clock_steps")
        elif event.ts_ns < self._last:
            self.count("cpu_disorder")
        self._cpus[event.cpu] = event.ts_ns
        self._last = ts_ns = max(self._last, event.ts_ns)
        if event.op == "alloc":
            if event.page in self._live:
                self.count("double_allocs")
                self._log.append((ts_ns, "free", event.cpu, self._live.pop(event.page)))
            self._pages.append((LEVELS[event.level or "PTE"], event.kernel))
            self._live[event.page] = len(self._pages) - 1
            self._log.append((ts_ns, "alloc", event.cpu, self._live[event.page]))
        elif event.page in self._live:
            page = self._live.pop(event.page)
            if event.level is not None and LEVELS.get(event.level) != self._pages[page][0]:
                self.count("level_mismatches")
            self._log.append((ts_ns, "free", event.cpu, page))
        elif event.page in self._seen:
            self.count("unknown_frees")
        else:
            self.count("pre_frees")
            self._pages.append((0, False))
            self._pre.append(len(self._pages) - 1)
            self._log.append((ts_ns, "free", event.cpu, len(self._pages) - 1))
        self._seen.add(event.page)

    def result(self) -> tuple[list[tuple[int, int, int, int, int]], list[int]]:
        """Operations with the lowest free slots, and their times."""
        first = self._log[0][0]
        log = [(first, "alloc", 0, page) for page in self._pre] + self._log
        slot_of: dict[int, int] = {}
        ops = []
        for _, op, cpu, page in log:
            if op == "alloc":
                slot_of[page] = min(set(range(len(slot_of) + 1)) - set(slot_of.values()))
            level, kernel = self._pages[page]
            ops.append((slot_of[page], int(op == "free"), cpu, level, int(kernel)))
            if op == "free":
                del slot_of[page]
        return ops, [ts for ts, *_ in log]


ALLOCATORS: Final = {
    "pgd_alloc": "PGD",
    "__pud_alloc": "PUD",
    "__pmd_alloc": "PMD",
    "__pte_alloc": "PTE",
    "__pte_alloc_kernel": "PTE",
    "do_fault": "PTE",
    "__do_fault": "PTE",
}
LAYERS: Final = ("trace", "__trace", "alloc_", "__alloc_", "get_free", "__get_free", "pte_alloc_")


def read_kmem(text: str) -> list[Event]:
    """Page table events of tracefs text with stacks behind ``mm_page_alloc``."""
    events: list[Event] = []
    waiting: dict[int, Event] = {}
    target: Event | None = None
    for line in text.splitlines():
        if line.startswith(" => "):
            name = line[4:].removesuffix("_noprof")
            if target is not None and not name.startswith(LAYERS):
                target.level, target.kernel = ALLOCATORS.get(name), name == "__pte_alloc_kernel"
                target = None
            continue
        match = LINE.match(line)
        if match is None:
            continue
        _, cpu_text, seconds, micros, name, body = match.groups()
        cpu, ts_ns = int(cpu_text), (int(seconds) * 10**6 + int(micros)) * 1000
        if name == "<stack":
            target = waiting.pop(cpu, None)
        elif name in ("mm_page_alloc", "mm_page_free"):
            pfn = int(re.findall(r"pfn=(\S+)", body)[0], 16)
            events.append(Event(ts_ns, cpu, name.removeprefix("mm_page_"), None, pfn))
            if events[-1].op == "alloc":
                waiting[cpu] = events[-1]
    return _tables(events)


def _tables(events: list[Event]) -> list[Event]:
    """Allocs with a level, and the frees of their pages."""
    live = set()
    tables = []
    for event in events:
        if event.op == "alloc" and event.level:
            live.add(event.page)
        elif event.op == "free" and event.page in live:
            live.remove(event.page)
        else:
            continue
        tables.append(event)
    return tables
