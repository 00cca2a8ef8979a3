# SPDX-License-Identifier: GPL-2.0-only
"""Do two allocators do the same? Random programs, replayed on both and compared all along.

A program is a stream of legal operations on a machine of its own: page tables come and go in
phases (so that a cache refills, drains and shrinks), somebody else pins pages of all orders and
types, permissions of arbitrary ranges change, memory is shrunk, reclaimed and compacted, on several
CPUs, in fresh and in aged memory. On request, some calls fail in one program of four. Every program
follows from its seed and number alone.

Before them run the programs of `kpkeys_bench.directed`, which reach the borders and error paths
that random ones miss.
"""

import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from kpkeys_bench import directed, isolate
from kpkeys_bench.directed import Directed
from kpkeys_bench.errors import ConfigError, IsolationError, MachineError
from kpkeys_bench.geometry import PAGE_SHIFTS, Geometry, geometry
from kpkeys_bench.machine import (
    CAUSES,
    DEFAULT_PHYS_BASE,
    EVENT_KINDS,
    LEAF_SIZES,
    POINTS,
    Counts,
    Machine,
    StepResult,
)
from kpkeys_bench.strategy import State, Strategy
from kpkeys_bench.workloads.ops import (
    ALLOC,
    COMPACT,
    DRAIN,
    FREE,
    KIND_NAMES,
    LEVEL_NAMES,
    OP_DTYPE,
    PIN,
    RECLAIM,
    SET_MEMORY,
    SHRINK,
    SPLIT_OTHER,
    UNPIN,
    OpArray,
)

DEFAULT_OPS: Final = 1_000_000
DEFAULT_RAM: Final = 1 << 30
DEFAULT_PROGRAMS: Final = 16
TIMEOUT_S: Final = 60.0
_SEARCH_TIMEOUT_S: Final = 5.0

CHUNK_OPS: Final = 1 << 18
"""Operations between two comparisons of everything; what is made at a time."""
_PIECES: Final = (1 << 9, 1)
"""Pieces in which the first operation that differs is looked for."""
_NR_EVENTS: Final = 1 << 16
#: Of what each side did, lines that are alike before the first that is not, and lines in all.
_CONTEXT: Final = 2
_NR_LINES: Final = 8

NOT_COMPARED: Final = ("log_lines", "lock_hold_max_steps")
"""Counters that are about how a file is written: what it logs, and how it walks its list."""

FAULTS_BY_POINT: Final = dict(enumerate(POINTS, 1))
BOOT: Final = ("boot", "late_init")
"""Causes that are compared together."""

TYPES: Final = ("unmovable", "movable", "reclaimable")
_SYSTEM: Final = (SHRINK, SET_MEMORY, DRAIN, RECLAIM, COMPACT)
_MAX_PRIORITY: Final = 12
_POSITION_BITS: Final = 24
_GOLDEN: Final = (np.sqrt(5) - 1) / 2
#: Of pins of more than 64 pages, so many are made: each may cost a walk over memory.
_LARGE_SHARE: Final = 0.03
_LARGE_ORDER: Final = 6
_FAULTS: Final = {"alloc_pages": 200, "set_pkey": 300, "charge": 100}
"""Calls of a million that fail in a program with faults, by point."""


# --- programs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Program:
    """What one random program is made of.

    Attributes
    ----------
    page_size : str
        ``"4K"``, ``"16K"`` or ``"64K"``.
    ram : int
        Bytes.
    seed, number : int
        What everything else follows from.
    nr_ops : int
        Operations.
    faults : bool
        In one program of four, some calls fail.
    """

    page_size: str
    ram: int
    seed: int
    number: int
    nr_ops: int
    faults: bool = False

    def rng(self) -> np.random.Generator:
        """A fresh stream of random numbers."""
        shift = PAGE_SHIFTS[self.page_size]
        return np.random.default_rng([self.seed, self.number, shift])

    @property
    def with_faults(self) -> bool:
        """Whether some calls fail."""
        return self.faults and self.number % 4 == 3

    @property
    def state(self) -> State:
        """Of memory at the start: fresh and aged by turns."""
        if self.number % 2 == 0:
            return State()
        shares = (0.2, 0.9, 1.0)
        return State(aged_share=shares[self.number // 2 % 3], pins=1 + self.number % 8)

    def machine(self, strategy: Strategy, nr_slots: int, nr_events: int = 0) -> Machine:
        """A machine that has booted and keeps a digest."""
        limit = (self.ram >> PAGE_SHIFTS[self.page_size]) // 8 if self.number % 5 == 4 else 0
        machine = Machine(
            strategy,
            page_size=self.page_size,
            ram=self.ram,
            state=self.state,
            seed=self.seed % (1 << 32) + self.number,
            nr_cpus=1 + self.number * 3 % 8,
            memcg_limit_pages=limit,
        )
        machine.record(nr_events)
        machine.boot()
        machine.set_slots(nr_slots)
        if self.with_faults:
            for point, share in _FAULTS.items():
                half = self.number % 8 == 7 and point == "set_pkey"
                machine.set_fault(point, "share", share, seed=self.number, half=half)
        return machine


@dataclass
class Operations:
    """The operations of a program, made chunk by chunk with the slots kept in mind.

    Attributes
    ----------
    program : Program
        What is made.
    nr_slots : int
        Slots that its operations name: page tables first, then pins.
    """

    program: Program
    nr_slots: int = field(init=False)

    def __post_init__(self) -> None:
        rng = self.rng = self.program.rng()
        self.geometry: Geometry = geometry(self.program.page_size)
        self.nr_frames = self.program.ram >> self.geometry.page_shift
        # from a handful to more than fits beside the pins, evenly over the programs
        most = max(self.nr_frames * 6 // 10, 128)
        size = (self.program.number * _GOLDEN + rng.uniform(0, 0.2)) % 1
        self.nr_tables = int(64 * (most / 64) ** size)
        self.orders = self._pin_orders(rng)
        self.small = np.flatnonzero(self.orders <= _LARGE_ORDER)
        self.nr_slots = self.nr_tables + len(self.orders)
        self.live = np.zeros(self.nr_slots, np.bool_)
        self.system_share = float(np.exp(rng.uniform(np.log(5e-5), np.log(1e-3))))
        weights = rng.dirichlet((4, 3, 1, 0.5, 0.5))
        self.system_kinds = np.cumsum(weights)[:-1]
        self.pin_share = float(rng.uniform(0.02, 0.3))
        self.look_share = float(rng.uniform(0.0, 0.05))
        self.any_range = bool(rng.random() < 0.5)

    def _pin_orders(self, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """An order for each pin slot: each order once, small ones often, up to a share of RAM."""
        largest = self.geometry.max_page_order
        orders = np.concatenate(
            [np.arange(largest + 1), np.minimum(rng.geometric(0.45, 500) - 1, largest)]
        )
        room = self.nr_frames * rng.uniform(0.1, 0.5)
        fits = np.cumsum(1 << orders[::-1])[::-1] < room
        fits[: largest + 1] = True
        return orders[fits].astype(np.uint8)

    def __iter__(self) -> Iterator[OpArray]:
        """Chunks of `CHUNK_OPS` operations, the last one shorter; to be used up before the next."""
        left = self.program.nr_ops
        while left:
            size = min(left, CHUNK_OPS)
            ops = np.zeros(size, dtype=OP_DTYPE)
            at = 0
            while at < size:
                at += self._phase(ops[at:])
            yield ops
            left -= size

    def _phase(self, out: OpArray) -> int:
        """Fill the beginning of an array; how much of it."""
        rng = self.rng
        length = min(len(out), int(np.exp2(rng.uniform(6, 16))))
        kind = rng.random()
        if kind < 0.6:
            return self._churn(out[:length])
        tables = self.live[: self.nr_tables]
        grow = kind < 0.8
        slots = np.flatnonzero(~tables if grow else tables)[: length * 4]
        if rng.random() < 0.7:
            slots = rng.permutation(slots)
        slots = slots[:length]
        if not len(slots):
            return self._churn(out[:length])
        ops = out[: len(slots)]
        ops["slot"] = slots
        ops["kind"] = ALLOC if grow else FREE
        self._decorate(ops)
        self.live[slots] = grow
        return len(slots)

    def _churn(self, ops: OpArray) -> int:
        """Slots of a window, at random: those in use are freed, the others filled."""
        rng, n = self.rng, len(ops)
        width = int(np.exp2(rng.uniform(3, np.log2(self.nr_tables))))
        first = int(rng.integers(0, self.nr_tables - width + 1))
        slots = rng.integers(first, first + width, n, dtype=np.uint32)
        kind = rng.random(n, dtype=np.float32)
        pins = np.flatnonzero(kind < self.pin_share)
        choice = rng.integers(0, len(self.orders), len(pins))
        large = self.orders[choice] > _LARGE_ORDER
        again = np.flatnonzero(large & (rng.random(len(pins)) > _LARGE_SHARE))
        choice[again] = self.small[rng.integers(0, len(self.small), len(again))]
        slots[pins] = self.nr_tables + choice
        toggles = np.ones(n, np.bool_)
        looks = pins[kind[pins] < self.pin_share * self.look_share]
        toggles[looks] = False
        system = np.flatnonzero(kind > 1 - self.system_share)
        toggles[system] = False

        was_live = self._follow(slots, toggles)
        is_pin = slots >= self.nr_tables
        ops["slot"] = slots
        ops["kind"] = was_live.view(np.uint8) + 2 * is_pin.view(np.uint8)
        self._decorate(ops)
        pinned = np.flatnonzero(is_pin)
        ops["level"][pinned] = rng.integers(0, len(TYPES), len(pinned))
        ops["arg"][pinned] = self.orders[slots[pinned] - self.nr_tables]
        on_pins = looks[is_pin[looks]]
        self._look(ops, on_pins[was_live[on_pins]])
        # nothing there to look at
        ops["kind"][on_pins[~was_live[on_pins]]] = DRAIN
        ops["kind"][looks[~is_pin[looks]]] = DRAIN
        self._do_system(ops, system)
        return n

    def _follow(
        self, slots: npt.NDArray[np.uint32], toggles: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Whether each operation's slot is in use just before it; notes what is in the end."""
        n = len(slots)
        keys = slots.astype(np.uint64) << _POSITION_BITS | np.arange(n, dtype=np.uint64)
        keys.sort()
        position = (keys & np.uint64((1 << _POSITION_BITS) - 1)).astype(np.intp)
        slot = (keys >> np.uint64(_POSITION_BITS)).astype(np.intp)
        toggled = toggles[position]
        before = np.cumsum(toggled, dtype=np.int32) - toggled
        first = np.flatnonzero(np.append(True, slot[1:] != slot[:-1]))
        sizes = np.diff(np.append(first, n))
        odd = (before - np.repeat(before[first], sizes)) & 1
        live = self.live[slot] ^ odd.astype(np.bool_)
        last = first + sizes - 1
        result = np.empty(n, np.bool_)
        result[position] = live
        self.live[slot[last]] = live[last] ^ toggled[last]
        return result

    def _decorate(self, ops: OpArray) -> None:
        """CPU, table level and kind of table."""
        rng, n = self.rng, len(ops)
        random = rng.integers(0, 256, n, dtype=np.uint8)
        # one CPU alone, or all of them by turns
        ops["cpu"] = random if rng.random() < 0.5 else int(rng.integers(0, 256))
        ops["level"] = random & 3
        ops["arg"] = random >> 2 & 1

    def _look(self, ops: OpArray, index: npt.NDArray[np.intp]) -> None:
        """Permission changes on some pages of a pin."""
        rng = self.rng
        pages = 1 << ops["arg"][index].astype(np.int64)
        start = rng.integers(0, np.minimum(pages, 256))
        ops["kind"][index] = SPLIT_OTHER
        ops["level"][index] = start
        ops["arg"][index] = 1 + rng.integers(0, np.minimum(pages - start, 255))

    def _do_system(self, ops: OpArray, index: npt.NDArray[np.intp]) -> None:
        """Operations that name no slot."""
        rng = self.rng
        kinds = np.searchsorted(self.system_kinds, rng.random(len(index)))
        largest, block = self.geometry.max_page_order, 1 << self.geometry.pmd_order
        scans = np.array([0, 0, 1, 2, 7, 64, 128, block // 8, block, 2 * block])
        for at, kind in zip(index.tolist(), kinds.tolist(), strict=True):
            op = ops[at]
            op["kind"] = _SYSTEM[kind]
            op["slot"] = op["level"] = 0
            op["arg"] = rng.integers(0, largest + 1)
            if op["kind"] == SHRINK:
                op["slot"] = rng.choice(scans)
                op["arg"] = rng.integers(0, _MAX_PRIORITY + 1)
            elif op["kind"] == SET_MEMORY:
                first, nr = self._range()
                op["slot"], op["level"], op["arg"] = first, nr >> 8, nr & 255

    def _range(self) -> tuple[int, int]:
        """Some frames: anywhere, or a naturally aligned power of two."""
        rng = self.rng
        if self.any_range and rng.random() < 0.5:
            nr = min(int(np.exp2(rng.uniform(0, 12))), self.nr_frames)
            return int(rng.integers(0, self.nr_frames - nr + 1)), nr
        most = min(self.geometry.pmd_order, 12, self.nr_frames.bit_length() - 1)
        nr = 1 << int(rng.integers(0, most + 1))
        return int(rng.integers(0, self.nr_frames // nr)) * nr, nr


# --- comparing ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """What one machine did, operation by operation, to be printed."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """Where two allocators part.

    Attributes
    ----------
    page_size : str
        Of the machines.
    program : int or str
        Number of the program; of a directed one, its name and round.
    first, last : int
        The operation, or the first and the last of those among which it is; `first` is above `last`
        where it is none: after boot, or at the end.
    what : tuple of str
        What differs, in words.
    op : str
        The operation in words; empty if it is not one alone.
    sides : tuple of Side
        What each did.
    """

    page_size: str
    program: int | str
    first: int
    last: int
    what: tuple[str, ...]
    op: str = ""
    sides: tuple[Side, ...] = ()

    @property
    def where(self) -> str:
        """``"operation 1234 of program 3"``."""
        if self.first > self.last:
            when = "at the end" if self.first else "at boot, before any operation"
            return f"{when} of program {self.program}"
        span = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        return f"operation{'' if self.first == self.last else 's'} {span} of program {self.program}"

    def lines(self) -> list[str]:
        """All of it, for people."""
        lines = [f"{self.page_size}: they differ, {self.where}"]
        if self.op:
            lines.append(f"  {self.op}")
        alike = _nr_alike([side.lines for side in self.sides])
        for side in self.sides:
            lines.append(f"  {side.name}:")
            shown = side.lines[max(alike - _CONTEXT, 0) :]
            if alike > _CONTEXT:
                lines.append(f"    ({alike - _CONTEXT} events alike)")
            lines += [f"    {line}" for line in shown[:_NR_LINES]]
            if len(shown) > _NR_LINES:
                lines.append(f"    ({len(shown) - _NR_LINES} more)")
        return lines + [f"  {what}" for what in self.what]


def _nr_alike(sides: Sequence[Sequence[str]]) -> int:
    """Lines at the beginning that are the same."""
    nr = 0
    for lines in zip(*sides, strict=False):
        if len(set(lines)) > 1:
            break
        nr += 1
    return nr


@dataclass(frozen=True)
class Totals:
    """What both did alike."""

    ops: int = 0
    digest: int = 0
    refills: int = 0
    splits: int = 0
    shrinks: int = 0
    warnings: int = 0
    stopped: str = ""
    reached: Mapping[str, int] = field(default_factory=dict)


_NAMES: Final = re.compile(r"(wants|waits for|waiting for) .+?(?=,|;|$)")
"""What a file calls its mutexes."""


def _why_stopped(machine: Machine) -> str:
    """As far as it must be the same: not where in a file, nor what it calls its locks."""
    message = machine.stopped()
    if message.startswith(("deadlock", "livelock")):
        return _NAMES.sub(r"\1 a mutex", message)
    return "stopped" if message else ""


def _snapshot(machine: Machine) -> dict[str, Any]:
    """Everything that is counted, in one flat table."""
    facts: dict[str, Any] = {"digest": machine.digest(), "stopped": _why_stopped(machine)}
    facts |= {f"counter {k}": v for k, v in machine.counters().items() if k not in NOT_COMPARED}
    facts |= {f"state {k}": v for k, v in machine.state().items()}
    causes = machine.map_counters()
    # without late init, what is left to it by v6 happens earlier in boot
    early = {name: causes[BOOT[0]][name] + causes[BOOT[1]][name] for name in causes[BOOT[0]]}
    causes = {"boot": early, **{k: v for k, v in causes.items() if k not in BOOT}}
    for cause, counters in causes.items():
        facts |= {f"{k}, cause {cause}": v for k, v in counters.items()}
    return facts


def _differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Names and both values of what is not the same."""
    names = [name for name in a if a[name] != b[name]]
    return [
        "events, paths or pages handed out (the digest)"
        if name == "digest"
        else f"{name}: {a[name]} and {b[name]}"
        for name in names
    ]


def _whole_map(machine: Machine) -> dict[str, npt.NDArray[Any]]:
    """Every frame and every list."""
    nr = machine.state()["ram_pages"]
    first = DEFAULT_PHYS_BASE >> machine.geometry.page_shift
    found: dict[str, npt.NDArray[Any]] = {
        "pkeys": machine.pkeys(np.arange(first, first + nr, dtype=np.uint64)),
        "pageblock types": machine.pageblock_types(),
    }
    for order in range(machine.geometry.max_page_order + 1):
        for number, name in enumerate(TYPES):
            found[f"free list, order {order}, {name}"] = machine.free_pfns(order, number)
    return found


def _differing_arrays(a: dict[str, npt.NDArray[Any]], b: dict[str, npt.NDArray[Any]]) -> list[str]:
    lines = []
    for name, mine in a.items():
        other = b[name]
        if len(mine) != len(other):
            lines.append(f"{name}: {len(mine)} and {len(other)} entries")
        elif (mine != other).any():
            at = int(np.flatnonzero(mine != other)[0])
            lines.append(f"{name}: entry {at} is {mine[at]} and {other[at]}")
    return lines


def _differing_checks(machines: tuple[Machine, Machine]) -> list[str]:
    """Invariants that hold for one alone; a file cannot be asked about its own."""
    broken = [_broken(machine) for machine in machines]
    files = [machine.strategy.is_file for machine in machines]
    if bool(broken[0]) == bool(broken[1]):
        return []
    if files[0] != files[1] and not broken[files.index(True)]:
        return []
    return [f"invariants: {broken[0] or 'all hold'} and {broken[1] or 'all hold'}"]


def _broken(machine: Machine) -> str:
    try:
        machine.check()
    except MachineError as error:
        return str(error)
    return ""


def compare_program(
    program: Program,
    strategies: Sequence[Strategy],
    *,
    piece: int = CHUNK_OPS,
    start: int = 0,
    nr_events: int = 0,
    beat: Callable[..., None] = lambda *_: None,
) -> Difference | Totals:
    """Replay one program on two machines, in this process.

    Parameters
    ----------
    program : Program
        What to replay.
    strategies : two strategies
        Whom to compare.
    piece : int
        Operations between two comparisons, from operation `start` on; before it nothing is
        compared.
    start : int
        See `piece`.
    nr_events : int
        Events to keep, so that a difference of one operation can be told.
    beat : callable
        Called with operations done, upcoming, and which of the two.

    Returns
    -------
    Difference or Totals
        The first difference, or what both did.
    """
    operations = Operations(program)
    beat(0, 0, 0)
    with program.machine(strategies[0], operations.nr_slots, nr_events) as a:
        beat(0, 0, 1)
        with program.machine(strategies[1], operations.nr_slots, nr_events) as b:
            pair = _Pair(program, (a, b), nr_events > 0)
            return pair.replay(operations, piece, start, beat)


@dataclass
class _Pair:
    """Two machines on their way through one program."""

    program: Program
    machines: tuple[Machine, Machine]
    told: bool
    done: int = 0

    def replay(
        self, operations: Operations, piece: int, start: int, beat: Callable[..., None]
    ) -> Difference | Totals:
        """See `compare_program`."""
        a, b = self.machines
        if what := _differing(_snapshot(a), _snapshot(b)):
            sides = tuple(_told(machine) for machine in self.machines) if self.told else ()
            return self.difference(0, what, "boot", sides)
        for chunk in operations:
            for ops in _pieces(chunk, self.done, start, piece):
                self.advance(ops, beat)
                if self.done <= start:
                    continue
                if found := self.compare(ops):
                    return found
                if a.stopped():
                    return _totals(a)
        beat(self.done, 0, 0)
        what = _differing_arrays(_whole_map(a), _whole_map(b))
        what += _differing_checks(self.machines)
        return self.difference(0, what) if what else _totals(a)

    def advance(self, ops: OpArray, beat: Callable[..., None]) -> None:
        """Replay some operations on both; a machine that stops has stopped, and says so."""
        for number, machine in enumerate(self.machines):
            if self.told:
                # those of the operations before are of no interest
                machine.events()
            beat(self.done, len(ops), number)
            try:
                machine.replay(ops)
            except MachineError:
                if not machine.stopped():
                    raise
        self.done += len(ops)

    def compare(self, ops: OpArray) -> Difference | None:
        """What differs after some operations."""
        a, b = self.machines
        what = _differing(_snapshot(a), _snapshot(b))
        if not what and len(ops) > 1 and (a.slot_pfns() != b.slot_pfns()).any():
            what = ["pages in slots"]
        if not what:
            return None
        if not self.told:
            return self.difference(len(ops), what)
        sides = tuple(_told(machine, ops[-1]) for machine in self.machines)
        return self.difference(len(ops), what, op_in_words(ops[-1], a.geometry), sides)

    def difference(
        self, nr_ops: int, what: Sequence[str], op: str = "", sides: tuple[Side, ...] = ()
    ) -> Difference:
        """A difference that lies in the last `nr_ops` operations."""
        first, last = self.done - nr_ops, self.done - 1
        program = self.program
        return Difference(program.page_size, program.number, first, last, tuple(what), op, sides)


def _pieces(chunk: OpArray, done: int, start: int, piece: int) -> Iterator[OpArray]:
    """A chunk that begins at operation `done`, in pieces from operation `start` on."""
    at = min(max(start - done, 0), len(chunk))
    if at:
        yield chunk[:at]
    for begin in range(at, len(chunk), piece):
        yield chunk[begin : begin + piece]


def _totals(machine: Machine) -> Totals:
    counters, causes = machine.counters(), machine.map_counters()
    reached = {name: counters[key] for name, key in _REACHED_COUNTERS.items()}
    reached["deadlocks"] = int(machine.stopped().startswith("deadlock"))
    return Totals(
        ops=machine.state()["ops"],
        digest=machine.digest(),
        refills=counters["refills"],
        splits=sum(causes[cause][f"split_{size}"] for cause in CAUSES for size in LEAF_SIZES),
        shrinks=counters["shrink_scans"],
        warnings=counters["warnings"],
        stopped=machine.stopped(),
        reached=reached,
    )


_REACHED_COUNTERS: Final = {
    "refills": "refills",
    "refills of a smaller order": "refill_fallbacks",
    "refills inside a shrinker": "refills_in_shrink",
    "failed refills": "failed_refills",
    "failed allocations": "failed_allocs",
    "memcg refusals": "memcg_failures",
    "waits for a mutex": "mutex_waits",
    "out-of-memory kills": "oom_kills",
}
"""What can be told by counters, of any program."""


# --- directed programs ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Round:
    """One round of a directed program.

    Attributes
    ----------
    directed : Directed
        The program.
    number : int
        Which round.
    page_size : str
        ``"4K"``, ``"16K"`` or ``"64K"``.
    seed : int
        What everything else follows from.
    """

    directed: Directed
    number: int
    page_size: str
    seed: int

    @property
    def name(self) -> str:
        """As differences are reported."""
        return f"{self.directed.name}/{self.number}"

    def rng(self) -> np.random.Generator:
        """A fresh stream of random numbers."""
        name = zlib.crc32(self.directed.name.encode())
        return np.random.default_rng([self.seed, name, self.number, PAGE_SHIFTS[self.page_size]])


class _DifferError(Exception):
    """The two machines are not alike any more."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(difference.where)
        self.difference = difference


class _OverError(Exception):
    """Nothing more can be done with these machines: both have stopped."""


def compare_round(
    program: Round,
    strategies: Sequence[Strategy],
    *,
    single: bool = False,
    upto: int = -1,
    beat: Callable[..., None] = lambda *_: None,
) -> Difference | Totals | str:
    """Run one round of a directed program on two machines, in this process.

    Parameters
    ----------
    program : Round
        What to run.
    strategies : two strategies
        Whom to compare.
    single : bool
        Compare after each operation, not after each action, which may be several.
    upto : int
        Go no further than this action, and return it in words.
    beat : callable
        As in `compare_program`.
    """
    with _DirectedPair(program, strategies, beat, single=single, upto=upto) as pair:
        try:
            program.directed.run(pair)
        except _OverError:
            pass
        except _DifferError as found:
            return found.difference
        if upto >= 0:
            return pair.in_words
        return pair.totals()


class _DirectedPair:
    """Two machines, led through a directed program; see `directed.Pair`."""

    def __init__(
        self,
        program: Round,
        strategies: Sequence[Strategy],
        beat: Callable[..., None],
        *,
        single: bool,
        upto: int,
    ) -> None:
        self.program = program
        self.strategies = strategies
        self.geometry = geometry(program.page_size)
        self.rng = program.rng()
        self.beat = beat
        self.single = single or upto >= 0
        self.upto = upto
        self.done = 0
        self.in_words = ""
        self.reached: Counter[str] = Counter()
        self._both: list[Machine] = []
        self._stack = ExitStack()
        self._late = False
        self._half = False
        #: Of each task, the last operation and where it is.
        self._tasks: dict[int, tuple[int, StepResult]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # what programs do

    def machines(self, *, pte_map: bool = False, **options: Any) -> None:  # noqa: ANN401
        """Make both; a memory that is too small for its own map must be so for both."""
        strategies = [_on_ptes(strategy) if pte_map else strategy for strategy in self.strategies]
        if None in strategies:
            raise _OverError
        options.setdefault("seed", self.program.number)
        with_fault = options.get("memblock_fault") is not None

        def make(number: int) -> None:
            machine = Machine(strategies[number], page_size=self.geometry.page_size, **options)
            self._both.append(self._stack.enter_context(machine))
            machine.record(_NR_EVENTS)
            machine.set_slots(directed.NR_SLOTS)

        refused = self._each("make the machine", make)
        if refused and with_fault and not self._both:
            self.reached["memblock errors"] += 1
        if refused:
            raise _OverError
        if with_fault:
            self.reached["memblock errors"] += self._both[0].counters()["faults_injected"]
        self._look(-1)

    def hardened_init(self) -> None:
        """See `directed.Pair`."""
        self._act("init", lambda machine: machine.hardened_init())

    def init_late(self) -> None:
        """See `directed.Pair`."""
        self._late = True
        self._act("init_late", lambda machine: machine.init_late())

    def replay(self, ops: OpArray) -> None:
        """See `directed.Pair`."""
        size = 1 if self.single else len(ops)
        for at in range(0, len(ops), size):
            self._replay(ops[at : at + size])

    def _replay(self, ops: OpArray) -> None:
        words = op_in_words(ops[-1], self.geometry)
        self._act(words, lambda m: m.replay(ops), int(ops["kind"][0]), len(ops))

    def step(
        self,
        op: np.void,
        *,
        task: int = 0,
        gfp: int = 0,
        **options: Any,  # noqa: ANN401
    ) -> StepResult | None:
        """See `directed.Pair`."""
        state = self.state()
        kind = int(op["kind"])
        if kind == ALLOC and gfp & directed.GFP_SPLIT and not state["cached_pages"]:
            self.reached["split requests with nothing cached"] += 1
        known = directed.GFP_KERNEL | directed.GFP_ZERO | directed.GFP_ACCOUNT | directed.GFP_SPLIT
        needed = directed.GFP_KERNEL
        if kind == ALLOC and gfp and (gfp & ~known or gfp & needed != needed):
            self.reached["odd gfp flags"] += 1
        how = "".join(f", {name} {value}" for name, value in options.items())
        words = f"task {task}, gfp {gfp:#x}{how}: {op_in_words(op, self.geometry)}"
        return self._act(
            words,
            lambda machine: machine.step(op, task=task, gfp=gfp, **options),
            kind,
            task=task,
        )

    def resume(self, task: int, **options: Any) -> StepResult | None:  # noqa: ANN401
        """See `directed.Pair`."""
        how = "".join(f", {name} {value}" for name, value in options.items())
        kind = self._tasks[task][0] if task in self._tasks else -1
        return self._act(
            f"task {task} goes on{how}",
            lambda machine: machine.resume(task, **options),
            kind,
            task=task,
        )

    def set_fault(self, point: str, mode: str = "nth", n: int = 1, **options: Any) -> None:  # noqa: ANN401
        """See `directed.Pair`."""
        if point == "set_pkey":
            self._half = bool(options.get("half"))
        for machine in self._both:
            machine.set_fault(point, mode, n, **options)

    def state(self) -> Counts:
        """See `directed.Pair`."""
        return self._both[0].state()

    def slot_pfns(self) -> npt.NDArray[np.uint64]:
        """See `directed.Pair`."""
        return self._both[0].slot_pfns()

    # how it is done

    def _act(
        self,
        words: str,
        work: Callable[[Machine], Any],
        kind: int = -1,
        nr: int = 1,
        task: int = 0,
    ) -> StepResult | None:
        """Let both do something, and compare them."""
        self.in_words = words
        if self.done == self.upto:
            raise _OverError
        cached = self.state()["cached_pages"]
        results: list[Any] = []
        refused = self._each(
            words, lambda number: results.append(work(self._both[number])), upcoming=nr
        )
        self.done += nr
        told = [result for result in results if isinstance(result, StepResult)]
        texts = [_where_is(result) for result in told]
        if len(told) == 2 and texts[0] != texts[1]:
            self._differ([f"the task: {texts[0]} and {texts[1]}"], nr)
        self._look(kind, nr, cached, task)
        if refused or not told:
            return None
        self._tasks[task] = (kind, told[0])
        return told[0]

    def _each(self, words: str, work: Callable[[int], None], upcoming: int = 0) -> bool:
        """Whether both refused; that one did is a difference, unless it stopped."""
        errors = []
        for number in range(2):
            self.beat(self.done, upcoming, number)
            try:
                work(number)
            except (MachineError, ConfigError) as error:
                errors.append((number, str(error)))
        if len(errors) == 1:
            number, message = errors[0]
            running = number < len(self._both) and not self._both[number].stopped()
            if running or len(self._both) < 2:
                name = self.strategies[number].label
                self.in_words = words
                self._differ([f"{name} alone: {message}"], max(upcoming, 1))
        return bool(errors)

    def _look(self, kind: int, nr: int = 1, cached: int = 0, task: int = 0) -> None:
        """Compare everything, and note what was reached."""
        a, b = self._both
        what = _differing(_snapshot(a), _snapshot(b))
        if what:
            self._differ(what, nr)
        self._note(a.events(), kind, cached, task)
        b.events()
        if a.stopped():
            raise _OverError

    def _differ(self, what: Sequence[str], nr: int) -> None:
        sides = tuple(_told(machine) for machine in self._both)
        first, last = self.done - nr, self.done - 1
        if not self._both or first < 0:
            first, last = 0, -1
        raise _DifferError(
            Difference(
                self.geometry.page_size,
                self.program.name,
                first,
                last,
                tuple(what),
                self.in_words if nr == 1 else "",
                sides,
            )
        )

    def _note(self, events: npt.NDArray[np.void], kind: int, cached: int, task: int) -> None:
        """What the first machine reached, by its events."""
        reached, block = self.reached, 1 << self.geometry.pmd_order
        kinds, causes, sizes = events["kind"], events["cause"], events["b"]

        def count(name: str, cause: str = "", size: int = -1) -> int:
            found = kinds == EVENT_KINDS.index(name)
            if cause:
                found = found & (causes == CAUSES.index(cause))
            if size >= 0:
                found = found & (sizes == size)
            return int(found.sum())

        refills = count("refill")
        if kind in {SET_MEMORY, SPLIT_OTHER}:
            reached["refills for a split"] += refills
        else:
            reached["refills for a split"] += count("refill", "refill") + count("refill", "release")
        if not self._late:
            reached["refills before late init"] += refills
        reached["refill errors"] += count("set_failed", "refill")
        if self._half:
            reached["half way errors"] += count("set_failed") if count("fault") else 0
        if cached < directed.RESERVE:
            reached["splits in a refill below the reserve"] += count("split_ptp", "refill")
        errors = count("set_failed", "release", block)
        reached["whole-block errors"] += errors
        reached["whole blocks released"] += count("set_pkey", "release", block) - errors
        errors = count("set_failed", "release", 1)
        reached["single-page errors"] += errors
        reached["single pages released"] += count("set_pkey", "release", 1) - errors
        chunk = 1 << self.geometry.refill_orders[0]
        pieces = kinds == EVENT_KINDS.index("set_pkey")
        pieces &= causes == CAUSES.index("late_init")
        reached["tables from several chunks"] += int((pieces & (sizes > chunk)).sum())
        before = self._tasks.get(task)
        if before is not None and kind == SET_MEMORY and "split" in before[1].lock and refills:
            reached["not ready under the lock"] += 1

    def totals(self) -> Difference | Totals:
        """What both did alike; what was left to compare is compared."""
        if not self._both:
            return Totals(reached=dict(self.reached))
        a, b = self._both
        what = _differing_arrays(_whole_map(a), _whole_map(b))
        if not a.stopped() and not any(found.state != "idle" for _, found in self._tasks.values()):
            what += _differing_checks((a, b))
        if what:
            return Difference(
                self.geometry.page_size, self.program.name, self.done, self.done - 1, tuple(what)
            )
        found = _totals(a)
        reached = directed.merged([found.reached, self.reached])
        return replace(found, ops=self.done, reached=reached)


def _where_is(found: StepResult) -> str:
    """A task's state, whatever its file calls the mutex."""
    lock = " (a mutex)" if found.lock else ""
    words = f"{found.state} {found.point or found.path or ''}{lock}"
    return words + (f", owner {found.owner}" if found.state == "blocked" else "")


def _on_ptes(strategy: Strategy) -> Strategy | None:
    """The same allocator on a linear map of PTEs; None if there is no such thing."""
    if strategy.linear_map == "pte":
        return strategy
    if strategy.is_file:
        return Strategy(strategy.allocator, linear_map="pte")
    return Strategy("noblock") if strategy.allocator == "pba" else None


# --- words ----------------------------------------------------------------------------------------


def op_in_words(op: np.void, geo: Geometry) -> str:
    """One operation, as people would put it."""
    slot, level, arg = int(op["slot"]), int(op["level"]), int(op["arg"])
    kind = int(op["kind"])
    words = {
        ALLOC: f"{LEVEL_NAMES[level & 3]} table{' of the kernel' * (arg & 1)} into slot {slot}",
        FREE: f"the table in slot {slot}",
        PIN: f"order {arg}, {TYPES[level % len(TYPES)]}, into slot {slot}",
        UNPIN: f"slot {slot}",
        SPLIT_OTHER: f"pages {level} to {level + arg - 1} of the pin in slot {slot}",
        SHRINK: f"nr_to_scan {slot}" if slot else f"do_shrink_slab(), priority {arg}",
        SET_MEMORY: f"frames {slot} to {slot + level * 256 + arg - 1} of RAM",
        DRAIN: "all per-CPU lists",
        RECLAIM: f"for order {arg}",
        COMPACT: f"for order {arg}",
    }
    return f"{KIND_NAMES[kind]}: {words[kind]}, CPU {int(op['cpu'])} ({geo.page_size} pages)"


def _event_in_words(event: np.void, warnings: Sequence[Any]) -> str:
    kind = EVENT_KINDS[int(event["kind"])]
    a, b, c = int(event["a"]), int(event["b"]), int(event["c"])
    where = f"pfn {a:#x}"
    words = {
        "refill": f"{where}, order {b}",
        "refill_failed": f"order {b}",
        "release": f"{where}, order {b}",
        "set_pkey": f"{where}, {b} page(s) to pkey {c}",
        "set_memory": f"{where}, {b} page(s)",
        "set_failed": f"{where}, {b} page(s), errno {c}",
        "split": f"{LEAF_SIZES[b] if b < len(LEAF_SIZES) else b} leaf at {where}",
        "split_ptp": f"table at {where}",
        "tlbi": "everything" if c else f"{where}, {b} page(s)",
        "warn": f"{warnings[a]['file']}:{warnings[a]['line']} {warnings[a]['what']}"
        if a < len(warnings)
        else "",
        "mutex_wait": f"task {a} owns it",
        "fault": FAULTS_BY_POINT.get(a, f"point {a}"),
        "slowpath": f"order {b}",
        "compact": f"order {b}, {a} page(s) moved, {'a block' if c else 'nothing'} gained",
        "reclaim": f"order {b}",
        "reclaim_end": f"{a} page(s) reclaimed",
        "oom": f"order {b}",
        "alloc_failure": f"order {b}",
        "drain": f"{a} page(s)",
        "shrink": f"nr_to_scan {a}",
        "shrink_end": "SHRINK_STOP" if a == (1 << 64) - 1 else f"{a} page(s) freed",
        "zero": where,
    }
    return f"{kind} {words.get(kind, f'a={a} b={b} c={c}')}".rstrip()


def _told(machine: Machine, op: np.void | None = None) -> Side:
    """What an operation did: the events since they were last asked for, and what it got."""
    events = machine.events()
    warnings = machine.warnings()
    lines = [_event_in_words(event, warnings) for event in events]
    if op is not None and op["kind"] in {ALLOC, PIN}:
        pfn = int(machine.slot_pfns()[op["slot"]])
        lines.append(f"got pfn {pfn:#x}" if pfn else "got nothing")
    if stopped := machine.stopped():
        lines.append(f"stopped: {stopped}")
    return Side(machine.strategy.label, tuple(lines or ["no event"]))


# --- all programs ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """All programs of one page size.

    Attributes
    ----------
    page_size : str
        Of the machines.
    programs, ops : int
        How many were run.
    digest : str
        Of all digests, in hex.
    refills, splits, shrinks, warnings, stopped : int
        What both did; `stopped` counts programs that ended with both machines stopped.
    directed : int
        Operations of the directed programs that were run before.
    reached : mapping
        How often the first one came to each of `directed.REACHED`.
    difference : Difference, optional
        Where they part.
    """

    page_size: str
    programs: int
    ops: int
    digest: str
    refills: int
    splits: int
    shrinks: int
    warnings: int
    stopped: int
    directed: int = 0
    reached: Mapping[str, int] = field(default_factory=dict)
    difference: Difference | None = None

    @property
    def not_reached(self) -> list[str]:
        """What the comparison says nothing about."""
        return [name for name in directed.REACHED if not self.reached.get(name)]

    def row(self) -> dict[str, str | int]:
        """For tables."""
        result = "equal" if self.difference is None else f"differ: {self.difference.where}"
        return {
            "page_size": self.page_size,
            "directed": self.directed,
            "programs": self.programs,
            "ops": self.ops,
            "refills": self.refills,
            "splits": self.splits,
            "shrinks": self.shrinks,
            "warnings": self.warnings,
            "stopped": self.stopped,
            "digest": self.digest,
            "result": result,
        }


def compare_all(
    strategies: Sequence[Strategy],
    page_size: str,
    *,
    ops: int = DEFAULT_OPS,
    seed: int = 1,
    ram: int = DEFAULT_RAM,
    programs: int = DEFAULT_PROGRAMS,
    faults: bool = False,
    with_directed: bool = True,
    timeout_s: float = TIMEOUT_S,
    progress: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Run programs on two allocators until they differ or `ops` operations are done.

    The directed ones come first; after them, programs at random share the operations. Each runs in
    a process of its own. One in which both machines stop ends there, and if it was one at random,
    another one makes up for it.

    Parameters
    ----------
    strategies : two strategies
        Whom to compare; on linear maps of the same kind.
    page_size : str
        ``"4K"``, ``"16K"`` or ``"64K"``.
    ops : int
        Operations of all programs together.
    seed : int
        Of the programs.
    ram : int
        Bytes of each machine.
    programs : int
        How many programs share the operations.
    faults : bool
        In one program of four, let some calls of ``alloc_pages()``, ``set_memory_pkey()`` and
        ``memcg_kmem_charge_page()`` fail.
    with_directed : bool
        Run the directed programs, too.
    timeout_s : float
        How long nothing may happen.
    progress : callable
        Called with the operations done, after each program.

    Raises
    ------
    ConfigError
        If the two do not fit together.
    """
    first, second = strategies
    page_size = geometry(page_size).page_size
    if first.linear_map != second.linear_map:
        raise ConfigError(
            f"{first.label} is for a {first.linear_map} map and {second.label} for a "
            f"{second.linear_map} map: choose with --linear-map, or compare with another one"
        )
    if ops < 1 or programs < 1:
        raise ConfigError(f"{ops} operations in {programs} programs: give at least 1 of each")
    _compile(strategies, page_size)
    share = max(1, -(-ops // programs))
    digest = hashlib.sha256()
    all_found: list[Totals] = []
    # those found until then are directed ones
    nr_directed: int | None = None

    def outcome(difference: Difference | None = None, first: int = 0) -> Outcome:
        before = all_found[:nr_directed]
        at_random = all_found[len(before) :]
        return Outcome(
            page_size=page_size,
            programs=number,
            ops=sum(found.ops for found in at_random) + first,
            digest=digest.hexdigest()[:16],
            refills=sum(found.refills for found in all_found),
            splits=sum(found.splits for found in all_found),
            shrinks=sum(found.shrinks for found in all_found),
            warnings=sum(found.warnings for found in all_found),
            stopped=sum(bool(found.stopped) for found in all_found),
            directed=sum(found.ops for found in before),
            reached=directed.merged([found.reached for found in all_found]),
            difference=difference,
        )

    number = done = 0
    for this in _rounds(page_size, seed) if with_directed else ():
        found = _run_round(this, strategies, timeout_s)
        if isinstance(found, Difference):
            return outcome(found)
        all_found.append(found)
        digest.update(found.digest.to_bytes(8, "little"))
    nr_directed = len(all_found)
    while done < ops and number < 8 * programs:
        at_random = Program(page_size, ram, seed, number, min(share, ops - done), faults)
        found = _run_program(at_random, strategies, timeout_s)
        number += 1
        if isinstance(found, Difference):
            return outcome(found, min(found.first, at_random.nr_ops))
        done += found.ops
        all_found.append(found)
        digest.update(found.digest.to_bytes(8, "little"))
        progress(done)
    return outcome()


def _compile(strategies: Sequence[Strategy], page_size: str) -> None:
    """Once, and not in each of the processes to come."""
    for strategy in strategies:
        if strategy.is_file:
            strategy.compiled(page_size)


def _rounds(page_size: str, seed: int) -> Iterator[Round]:
    for program in directed.DIRECTED:
        for number in range(program.rounds):
            yield Round(program, number, page_size, seed)


def _run_round(
    program: Round, strategies: Sequence[Strategy], timeout_s: float
) -> Difference | Totals:
    """One round in a process of its own; a difference is narrowed down to one operation."""
    found = _attempt_round(program, strategies, timeout_s)
    if isinstance(found, Difference) and found.first < found.last:
        timeout_s = min(timeout_s, _SEARCH_TIMEOUT_S)
        again = _attempt_round(program, strategies, timeout_s, single=True)
        if isinstance(again, Difference):
            return again
    return found


def _attempt_round(
    program: Round, strategies: Sequence[Strategy], timeout_s: float, *, single: bool = False
) -> Difference | Totals:
    try:
        found = isolate.run(compare_round, program, strategies, timeout_s=timeout_s, single=single)
    except IsolationError as lost:
        op = ""
        if single or lost.upcoming == 1:
            # the other one can tell what it was
            sound = strategies[1 - lost.part]
            told = isolate.run(
                compare_round, program, [sound, sound], timeout_s=timeout_s, upto=lost.done
            )
            op = told if isinstance(told, str) else ""
        return Difference(
            program.page_size,
            program.name,
            lost.done,
            lost.done + max(lost.upcoming, 1) - 1,
            (f"{strategies[lost.part].label} {lost}",),
            op,
        )
    assert not isinstance(found, str)  # noqa: S101 - for the type checker: no upto
    return found


def _run_program(
    program: Program, strategies: Sequence[Strategy], timeout_s: float
) -> Difference | Totals:
    """One program in a process of its own; a difference is narrowed down to one operation."""
    found = _attempt(program, strategies, timeout_s)
    if isinstance(found, Totals):
        return found
    for piece in _PIECES:
        if found.first >= found.last and found.sides:
            break
        again = _attempt(
            program,
            strategies,
            min(timeout_s, _SEARCH_TIMEOUT_S),
            piece=piece,
            start=found.first,
            nr_events=_NR_EVENTS if piece == 1 else 0,
        )
        if not isinstance(again, Difference):
            break
        found = again
    return found


def _attempt(
    program: Program,
    strategies: Sequence[Strategy],
    timeout_s: float,
    **options: int,
) -> Difference | Totals:
    try:
        return isolate.run(compare_program, program, strategies, timeout_s=timeout_s, **options)
    except IsolationError as lost:
        op = ""
        if lost.upcoming == 1:
            op = op_in_words(_operation(program, lost.done), geometry(program.page_size))
        name = strategies[lost.part].label
        return Difference(
            program.page_size,
            program.number,
            lost.done,
            lost.done + max(lost.upcoming, 1) - 1,
            (f"{name} {lost}",),
            op,
        )


def _operation(program: Program, index: int) -> np.void:
    for chunk in Operations(program):
        if index < len(chunk):
            found: np.void = chunk[index]
            return found
        index -= len(chunk)
    raise IndexError(index)
