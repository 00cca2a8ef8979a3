# SPDX-License-Identifier: GPL-2.0-only
"""What a run knows: pages by name, counters, what events said; the meaning of an expression."""

import builtins
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kpkeys_bench.machine import (
    CAUSES,
    DEFAULT_PHYS_BASE,
    EVENT_KINDS,
    LEAF_SIZES,
    Machine,
)
from kpkeys_bench.scenario.expr import FUNCTIONS, Expression, Target, Value, evaluate
from kpkeys_bench.scenario.placement import Placement

FRAMES_AT_ONCE: Final = 1 << 18
PKEY_PGTABLES: Final = 1
#: What only an allocator that can be asked about its blocks has in its audit.
ABOUT_BLOCKS: Final = ("marked_blocks", "mapped_blocks", "idle_blocks")

_REFILL: Final = EVENT_KINDS.index("refill")
_RELEASE: Final = EVENT_KINDS.index("release")
_SPLIT: Final = EVENT_KINDS.index("split")
_SPLIT_PTP: Final = EVENT_KINDS.index("split_ptp")
_PMD: Final = LEAF_SIZES.index("pmd")


@dataclass
class Page:
    """A page, or a pin, by name."""

    slot: int
    pfn: int
    is_pin: bool
    order: int
    number: int
    obtained: bool = False
    live: bool = False
    pending: bool = True

    @property
    def is_here(self) -> bool:
        """Whether it is in use, and nobody is giving it back."""
        return self.live and not self.pending


class Books:
    """The state of one run that expressions can see.

    Parameters
    ----------
    machine : Machine
        It is asked whenever an expression is evaluated.
    ram : int
        Its bytes.

    Attributes
    ----------
    lists : dict of str to list of Page
        What each name stands for.
    variables, marks : dict
        Numbers, and counters remembered, by name.
    requests : list of (bool, int)
        What the placement simulations are fed with: whether it was a free, and of which page.
    stopped : str
        Why the machine stopped.
    under_way : function
        Whether the task of a name has not finished what it does.
    """

    def __init__(self, machine: Machine, ram: int) -> None:
        self.lists: dict[str, list[Page]] = {}
        self.variables: dict[str, int | float] = {}
        self.marks: dict[str, dict[str, Value]] = {}
        self.requests: list[tuple[bool, int]] = []
        self.stopped = ""
        self.under_way: Callable[[str], bool] = lambda _: False
        self._machine = machine
        self._ram = ram
        self._facts = machine.geometry
        self._placements: dict[str, tuple[Placement, int]] = {}
        # what events say about blocks, by number from the start of RAM
        self._start_pfn = DEFAULT_PHYS_BASE >> self._facts.page_shift
        self._held: Counter[int] = Counter()
        self._split_blocks: set[int] = set()
        self._split_ptps: set[int] = set()
        self._nr_split_refills = 0
        self._kinds = np.zeros(len(EVENT_KINDS), np.int64)
        self._snapshot: dict[str, Value] | None = None
        self._causes: dict[str, dict[str, Value]] = {}

    # events

    def forget_counts(self) -> None:
        """Ask the machine again before the next use of a counter."""
        self._snapshot = None

    def note(self, events: Any) -> None:  # noqa: ANN401 - a structured array has no static fields
        """Remember what events say, by kind and about blocks."""
        kinds = events["kind"]
        self._kinds += np.bincount(kinds, minlength=len(EVENT_KINDS))
        wanted = np.isin(kinds, (_REFILL, _RELEASE, _SPLIT, _SPLIT_PTP))
        for event in events[wanted]:
            self._note_block(int(event["kind"]), int(event["a"]), int(event["b"]))

    def _note_block(self, kind: int, pfn: int, arg: int) -> None:
        shift = self._facts.pmd_order
        block = (pfn - self._start_pfn) >> shift
        if kind == _SPLIT:
            if arg == _PMD:
                self._split_blocks.add(block)
            return
        if kind == _SPLIT_PTP:
            self._split_ptps.add(pfn)
            return
        if kind == _REFILL and arg >= shift and block in self._split_blocks:
            self._nr_split_refills += 1
        if arg >= shift:
            pages = 1 << shift if kind == _REFILL else -(1 << shift)
            for one in range(block, block + (1 << (arg - shift))):
                self._held[one] += pages
        else:
            self._held[block] += 1 << arg if kind == _REFILL else -(1 << arg)

    # pages by name

    def one(self, target: Target) -> Page:
        """The page that is named; in use or not."""
        pages = self.lists.get(target.name)
        if pages is None:
            raise target.place.error(f"{target.name} is nothing yet: begin with alloc or pin")
        if target.index is None:
            at = 0
            if target.is_slice or len(pages) > 1:
                raise target.place.error(
                    f"{target.name} stands for several: write {target.name}[N]"
                )
        else:
            value = evaluate(target.index, self)
            at = value if isinstance(value, int) else len(pages)
        if not -len(pages) <= at < len(pages):
            raise target.place.error(
                f"{target.name} has {len(pages)} pages: give 0 to {len(pages) - 1}"
            )
        return pages[at]

    def cut(self, target: Target) -> slice:
        """The slice that is named, in today's numbers."""

        def bound(expression: Expression | None) -> int | None:
            if expression is None:
                return None
            value = evaluate(expression, self)
            if not isinstance(value, int):
                raise expression.place.error(f"{value!r} is no whole number")
            return value

        step = bound(target.step)
        if step == 0:
            raise target.place.error("a step of 0 goes nowhere: give 1 or more")
        return slice(bound(target.low), bound(target.high), step)

    # what expressions can see

    def counts(self) -> dict[str, Value]:
        """Counters, sums over causes, and state, by name."""
        if self._snapshot is None:
            by_cause = self._machine.map_counters()
            self._causes = {cause: dict(fields) for cause, fields in by_cause.items()}
            sums = {
                name: sum(fields[name] for fields in by_cause.values())
                for name in by_cause[CAUSES[0]]
            }
            self._snapshot = {**self._machine.counters(), **sums, **self._machine.state()}
        return self._snapshot

    def flat_counts(self) -> dict[str, int]:
        """`counts` with one name for each number, such as ``refills_order[9]``."""
        flat: dict[str, int] = {}
        for name, value in self.counts().items():
            if isinstance(value, list):
                flat |= {f"{name}[{i}]": item for i, item in enumerate(value)}
            elif isinstance(value, int):
                flat[name] = value
        return flat

    def constants(self) -> dict[str, int]:
        """Names that depend on nothing but the machine."""
        orders = self._machine.strategy.refill_orders or (0,)
        return {
            "page_kb": 1 << (self._facts.page_shift - 10),
            "block_pages": 1 << self._facts.pmd_order,
            "refill_pages": 1 << orders[0],
        }

    def value(self, name: str) -> Value | Mapping[str, Value] | None:
        """See `Scope`."""
        if name in self.variables:
            return self.variables[name]
        if name in self.marks:
            return self.marks[name]
        counts = self.counts()
        if name in counts:
            return counts[name]
        if name in CAUSES:
            return self._causes[name]
        if name == "audit":
            audit: dict[str, Value] = dict(self._machine.audit())
            if not audit["knows_blocks"]:
                # what nobody can say is no number, and so not 0 either
                audit |= dict.fromkeys(ABOUT_BLOCKS, math.nan)
            return audit
        return self.constants().get(name)

    def pages_of(self, size: int) -> int:
        """See `Scope`."""
        return size >> self._facts.page_shift

    def call(self, name: str, args: list[Value | Target]) -> Value:
        """See `Scope`."""
        function: Callable[..., Value] = _FUNCTIONS[name]
        return function(self, *args)

    def _fn_len(self, target: Target) -> int:
        pages = self.lists.get(target.name, [])
        if target.is_slice:
            pages = pages[self.cut(target)]
        return sum(page.live for page in pages)

    def _fn_pfn(self, target: Target) -> int:
        page = self.one(target)
        # compaction moves pins; of a page that is being given back, the last that was known
        return int(self._machine.slot_pfns()[page.slot]) if page.is_here else page.pfn

    def _fn_pkey(self, target: Target) -> int:
        return int(self._machine.pkeys([self._fn_pfn(target)])[0])

    def _fn_unprotected(self, target: Target) -> int:
        """Pages of a list that do not carry the page tables' key."""
        pages = self.lists.get(target.name, [])
        frames = [page.pfn for page in pages if page.live]
        return int((self._machine.pkeys(frames) != PKEY_PGTABLES).sum())

    def _fn_events(self, kind: str) -> int:
        if kind not in EVENT_KINDS:
            raise ValueError(f"{kind!r} is no kind of event: there are {', '.join(EVENT_KINDS)}")
        return int(self._kinds[EVENT_KINDS.index(kind)])

    def _fn_warned(self, text: str) -> int:
        sites = self._machine.warnings()
        return sum(int(s["count"]) for s in sites if text in f"{s['file']}:{s['line']} {s['what']}")

    def _fn_logged(self, text: str) -> int:
        return sum(text in line for line in self._machine.log())

    def _fn_under_way(self, task: str) -> int:
        return int(self.under_way(task))

    def _fn_stopped(self, text: str = "") -> int:
        return int(bool(self.stopped) and text in self.stopped)

    def _fn_frames_with_pkey(self, pkey: int) -> int:
        end = self._start_pfn + (self._ram >> self._facts.page_shift)
        found = 0
        for start in range(self._start_pfn, end, FRAMES_AT_ONCE):
            frames = np.arange(start, min(start + FRAMES_AT_ONCE, end), dtype=np.uint64)
            found += int((self._machine.pkeys(frames) == pkey).sum())
        return found

    def _fn_free_in_split(self, order: int) -> int:
        """Free chunks of an order that lie in blocks whose leaf is split already."""
        if not 0 <= order <= self._facts.max_page_order:
            raise ValueError(f"order {order}: give 0 to {self._facts.max_page_order}")
        found = 0
        for larger in range(order, self._facts.max_page_order + 1):
            for migratetype in range(3):
                for pfn in self._machine.free_pfns(larger, migratetype).tolist():
                    block = (pfn - self._start_pfn) >> self._facts.pmd_order
                    if block in self._split_blocks:
                        found += 1 << (min(larger, self._facts.pmd_order) - order)
        return found

    def _fn_split_refills(self) -> int:
        return self._nr_split_refills

    def _fn_idle_blocks(self, policy: str = "") -> int:
        if policy:
            return self._placement(policy).idle_blocks()
        shift = self._facts.pmd_order
        frames = {p.pfn for pages in self.lists.values() for p in pages if p.live and not p.is_pin}
        used = {(pfn - self._start_pfn) >> shift for pfn in frames | self._split_ptps}
        return sum(n == 1 << shift and block not in used for block, n in self._held.items())

    def _placement(self, policy: str) -> Placement:
        """A simulation, brought up to what was asked for so far."""
        placement, done = self._placements.get(policy, (None, 0))
        if placement is None:
            placement = Placement(policy, 1 << self._facts.pmd_order)
        for is_free, number in self.requests[done:]:
            (placement.free if is_free else placement.alloc)(number)
        self._placements[policy] = (placement, len(self.requests))
        return placement


def _best(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of numbers, named as in Python."""

    def call(_: Books, *args: Value) -> Any:  # noqa: ANN401 - as the function itself
        return function(*args)

    return call


_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    name: getattr(Books, f"_fn_{name}", None) or _best(getattr(builtins, name))
    for name in FUNCTIONS
}
