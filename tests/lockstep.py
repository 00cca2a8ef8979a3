# SPDX-License-Identifier: GPL-2.0-only
"""The C machine and the reference model, led through the same program side by side.

A program is text, which `tests/traces/` keeps and a failure prints: its first line describes the
box, each further line is one operation. After each line both sides must agree in everything that
can be seen of both.

The box: ``key=value``, all of them optional. ``page_size``, ``ram``, ``refill_orders``,
``linear_map``, ``nr_cpus``, ``no_pcp``, ``memcg_limit_pages``, ``nr_static_pgtables``; ``holes``
and ``reserved`` as ``offset+size`` with commas between, an offset counting from the start of RAM;
``memblock_fault`` as ``mode:n:seed``. Sizes are bytes, or end in K or M.

The operations; what is in brackets may be left out, and CPU 0 is meant where ``cpu=`` is::

    init                                   kpkeys_hardened_pgtables_init()
    init_late
    alloc SLOTS [GFP] [split] [memalloc]   a page table in each of the slots
    free SLOTS
    pin SLOTS order=N [TYPE]               somebody else's memory: unmovable, movable, reclaimable
    unpin SLOTS
    split_other SLOT first=N pages=N       a permission change within a pin
    set_memory first=N pages=N             ... within RAM, counted from its start
    shrink N                               one scan_objects()
    shrink_slab priority=N                 one do_shrink_slab()
    drain
    reclaim
    compact order=N
    fault POINT MODE [n=N] [seed=N] [orders=MASK] [half] [pkey=N]
    expect deadlock                        the line before ended the machine, and so the program
    expect no_memory                       there never was one: the linear map got no tables
    expect NAME=N [NAME>=N] [NAME<=N]      counters, or numbers of the state or the audit

SLOTS is a number, or two as in ``3-17``: those slots of them that the operation makes sense for,
rising. GFP is user, kernel, atomic, noretry, mayfail or nowarn. All but the first two, fault and
expect take ``cpu=N``, and ``task=N`` to be stepped on a task of its own instead of being replayed.
"""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from kpkeys_bench import Machine, MachineError, Strategy
from kpkeys_bench.model import Fault, Model, ModelDeadlock
from kpkeys_bench.workloads.ops import (
    ALLOC,
    ARG_KERNEL,
    COMPACT,
    DRAIN,
    FREE,
    OP_DTYPE,
    PIN,
    RECLAIM,
    SET_MEMORY,
    SHRINK,
    SPLIT_OTHER,
    UNPIN,
)

TRACES = Path(__file__).parent / "traces"

KB, MB, GB = 1 << 10, 1 << 20, 1 << 30
NR_SLOTS = 16384
PHYS_BASE = GB

TYPES = {"unmovable": 0, "movable": 1, "reclaimable": 2}
#: GFP_KERNEL and what changes it, in the kernel's bits.
GFP_KERNEL, GFP_ZERO, GFP_ACCOUNT, GFP_SPLIT = 0xCC0, 0x100, 0x400000, 0x8000000
GFPS = {
    "user": GFP_KERNEL | GFP_ACCOUNT,
    "kernel": GFP_KERNEL,
    "atomic": 0x820,
    "noretry": GFP_KERNEL | 0x10000,
    "mayfail": GFP_KERNEL | 0x4000,
    "nowarn": GFP_KERNEL | 0x2000,
}

#: Model counters that the machine keeps elsewhere.
IN_STATE = {"ptps_for_linear_map"}
COMPARE = {"=": operator.eq, ">=": operator.ge, "<=": operator.le}


class Difference(AssertionError):  # noqa: N818 - what it is, not that it is wrong
    """The two sides do not agree; the message ends in the program that shows it."""


def size_of(text: str) -> int:
    """Bytes of ``64M``, ``12K`` or ``4096``."""
    return int(text.rstrip("KM")) << {"K": 10, "M": 20}.get(text[-1], 0)


def size_text(size: int) -> str:
    for unit, text in ((MB, "M"), (KB, "K")):
        if size and size % unit == 0:
            return f"{size // unit}{text}"
    return str(size)


def _orders(text: str) -> tuple[int, ...]:
    return tuple(int(order) for order in text.split(","))


def _ranges(text: str) -> tuple[tuple[int, int], ...]:
    pairs = [piece.split("+") for piece in text.split(",") if piece]
    return tuple((size_of(offset), size_of(size)) for offset, size in pairs)


def _memblock_fault(text: str) -> tuple[str, int, int]:
    mode, n, seed = text.split(":")
    return mode, int(n), int(seed)


@dataclass(frozen=True)
class Box:
    """What the first line of a program says."""

    page_size: str = "4K"
    ram: int = 64 * MB
    refill_orders: tuple[int, ...] = ()
    linear_map: str = "block"
    nr_cpus: int = 4
    no_pcp: bool = False
    memcg_limit_pages: int = 0
    nr_static_pgtables: int = 0
    holes: tuple[tuple[int, int], ...] = ()
    reserved: tuple[tuple[int, int], ...] = ()
    memblock_fault: tuple[str, int, int] | None = None

    @staticmethod
    def parse(line: str) -> "Box":
        readers = {
            "ram": size_of,
            "refill_orders": _orders,
            "no_pcp": lambda text: bool(int(text)),
            "holes": _ranges,
            "reserved": _ranges,
            "memblock_fault": _memblock_fault,
            "page_size": str,
            "linear_map": str,
        }
        values = dict(word.split("=", 1) for word in line.split())
        return Box(**{key: readers.get(key, int)(text) for key, text in values.items()})

    def __str__(self) -> str:
        words = []
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value == entry.default:
                continue
            if entry.name == "ram":
                value = size_text(value)
            elif entry.name in {"holes", "reserved"}:
                value = ",".join(f"{size_text(at)}+{size_text(size)}" for at, size in value)
            elif entry.name == "refill_orders":
                value = ",".join(map(str, value))
            elif entry.name == "memblock_fault":
                value = ":".join(map(str, value))
            words.append(f"{entry.name}={int(value) if value is True else value}")
        return " ".join(words) or "page_size=4K"

    @property
    def has_default_orders(self) -> bool:
        """Whether the refill orders are those of v6, as an allocator file has them."""
        return not self.refill_orders

    @property
    def strategy(self) -> Strategy:
        if self.linear_map == "pte":
            return Strategy("noblock")
        return Strategy("pba", self.refill_orders or None)

    def _options(self) -> dict[str, Any]:
        return {
            "page_size": self.page_size,
            "ram": self.ram,
            "phys_base": PHYS_BASE,
            "nr_cpus": self.nr_cpus,
            "no_pcp": self.no_pcp,
            "memcg_limit_pages": self.memcg_limit_pages,
            "nr_static_pgtables": self.nr_static_pgtables,
            "holes": [(PHYS_BASE + at, size) for at, size in self.holes],
            "reserved": [(PHYS_BASE + at, size) for at, size in self.reserved],
        }

    def machine(self, strategy: Strategy | None = None) -> Machine:
        return Machine(
            strategy or self.strategy, memblock_fault=self.memblock_fault, **self._options()
        )

    def model(self) -> Model:
        default = Strategy().for_page_size(self.page_size).refill_orders
        faults = []
        if self.memblock_fault is not None:
            mode, n, seed = self.memblock_fault
            faults.append(Fault("memblock", mode, n, seed))
        return Model(
            refill_orders=self.refill_orders or default,
            linear_map=self.linear_map,
            faults=faults,
            **self._options(),
        )


@dataclass
class Line:
    """One operation, taken apart."""

    word: str
    bare: list[str]
    values: dict[str, int]

    @staticmethod
    def parse(text: str) -> "Line":
        word, *rest = text.split()
        values = dict(part.split("=", 1) for part in rest if "=" in part)
        return Line(
            word,
            [part for part in rest if "=" not in part],
            {key: int(value, 0) for key, value in values.items()},
        )

    def slots(self) -> range:
        first, _, last = self.bare[0].partition("-")
        return range(int(first), int(last or first) + 1)

    def one_of(self, names: Iterable[str], default: str) -> str:
        return next((name for name in self.bare if name in names), default)

    def get(self, key: str, default: int = 0) -> int:
        return self.values.get(key, default)


@dataclass
class Call:
    """One operation as a machine gets it."""

    kind: int
    slot: int = 0
    level: int = 0
    arg: int = 0
    gfp: int = 0
    context: str = "process"
    #: What can be said of a step alone.
    task: int | None = None
    cpu: int = 0

    def run(self, machine: Machine) -> bool | None:
        """Return whether it failed; None if a replay does not tell."""
        ops = np.zeros(1, dtype=OP_DTYPE)
        ops[0] = (self.slot, self.kind, self.cpu, self.level, self.arg)
        if self.task is None and not self.gfp and self.context == "process":
            machine.replay(ops)
            return None
        result = machine.step(ops[0], task=self.task or 0, gfp=self.gfp, context=self.context)
        assert result.state == "idle"
        return result.failed


@dataclass
class Lockstep:
    """A machine, or several with allocators that should do the same, and the model."""

    box: Box
    files: Sequence[Path] = ()
    program: list[str] = field(default_factory=list)
    is_dead: bool = False
    is_late: bool = False

    def __post_init__(self) -> None:
        self.machines: list[Machine] = []
        #: What the model says is in each slot, and what it is: table, or order of a pin.
        self.frames = np.zeros(NR_SLOTS, dtype=np.uint64)
        self.tables: set[int] = set()
        self.pins: dict[int, int] = {}
        self._slot_of_pin: dict[int, int] = {}
        self._nr_followed = 0
        #: There was no memory for the linear map's tables: nothing can be done.
        self.is_stillborn = False
        try:
            self.model = self.box.model()
        except MemoryError:
            self.is_stillborn = True
        self._create_machines()

    def _create_machines(self) -> None:
        strategies = [self.box.strategy]
        strategies += [Strategy(str(file), linear_map=self.box.linear_map) for file in self.files]
        for strategy in strategies:
            try:
                self.machines.append(self.box.machine(strategy))
            except MachineError as error:
                if not self.is_stillborn:
                    raise Difference(
                        f"only the machine has no memory: {error}\n{self.text}"
                    ) from None
                continue
            if self.is_stillborn:
                raise Difference(f"only the model has no memory\n{self.text}")
            self.machines[-1].set_slots(NR_SLOTS)
            self.machines[-1].record()
        if not self.is_stillborn:
            self._check("nothing but memblock")

    @property
    def machine(self) -> Machine:
        return self.machines[0]

    @property
    def text(self) -> str:
        """The program so far, as a file in `TRACES` has it."""
        return "\n".join([str(self.box), *self.program, ""])

    @property
    def nr_pages(self) -> int:
        return self.box.ram >> self.machine.geometry.page_shift

    def close(self) -> None:
        for machine in self.machines:
            machine.close()

    # Doing

    def do(self, text: str) -> None:
        """Do what one line says on all sides, and compare."""
        is_over = self.is_dead or self.is_stillborn
        assert not is_over or text.startswith("expect"), f"nothing more can be done\n{self.text}"
        self.program.append(text)
        line = Line.parse(text)
        try:
            getattr(self, f"_do_{line.word}")(line)
        except Difference:
            raise
        except Exception as error:
            error.add_note(f"--- the program:\n{self.text}")
            raise
        if not self.is_dead and line.word != "expect":
            self._check(text)

    def _both(self, in_model: Any, call: Call) -> Any:
        """Return what the model returned; None after a deadlock."""
        try:
            result = in_model()
        except ModelDeadlock:
            self.is_dead = True
            result = None
        for machine in self.machines:
            try:
                failed = call.run(machine)
            except MachineError as error:
                if self.is_dead and "deadlock" in str(error):
                    continue
                raise Difference(f"the model goes on, the machine: {error}\n{self.text}") from None
            if self.is_dead:
                raise Difference(f"only the model deadlocks\n{self.text}")
            if failed is not None and call.kind in {ALLOC, PIN}:
                self._same(failed, result is None, "failed")
            elif failed is not None and call.kind in {SET_MEMORY, SPLIT_OTHER}:
                self._same(failed, result != 0, "failed")
        return result

    def _where(self, line: Line) -> dict[str, int | None]:
        return {"cpu": line.get("cpu"), "task": line.values.get("task")}

    def _do_init(self, _: Line) -> None:
        self._boot("hardened_init")

    def _do_init_late(self, _: Line) -> None:
        self._boot("init_late")
        self.is_late = True

    def _boot(self, step: str) -> None:
        try:
            getattr(self.model, step)()
        except ModelDeadlock:
            self.is_dead = True
        for machine in self.machines:
            try:
                getattr(machine, step)()
            except MachineError as error:
                if not self.is_dead:
                    raise Difference(f"{step}: {error}\n{self.text}") from None

    def _do_alloc(self, line: Line) -> None:
        gfp = line.one_of(GFPS, "user")
        split, memalloc = "split" in line.bare, "memalloc" in line.bare
        for slot in line.slots():
            if self.frames[slot]:
                continue
            call = Call(ALLOC, slot, **self._where(line))
            call.context = "memalloc" if memalloc else "process"
            call.arg = ARG_KERNEL if gfp == "kernel" else 0
            if split or gfp not in {"user", "kernel"}:
                call.gfp = GFPS[gfp] | GFP_ZERO | (GFP_SPLIT if split else 0)
            pfn = self._both(
                lambda: self.model.alloc(
                    gfp=gfp, split=split, memalloc=memalloc, cpu=line.get("cpu")
                ),
                call,
            )
            if self.is_dead:
                return
            self._follow()
            if pfn is None:
                self._clear(FREE, slot)
                continue
            self.frames[slot] = pfn
            self.tables.add(slot)

    def _clear(self, kind: int, slot: int) -> None:
        """Let a machine forget that an allocation failed."""
        for machine in self.machines:
            Call(kind, slot).run(machine)

    def _do_free(self, line: Line) -> None:
        for slot in line.slots():
            if slot not in self.tables:
                continue
            pfn = int(self.frames[slot])
            self._both(
                lambda pfn=pfn: self.model.free(pfn, cpu=line.get("cpu")),
                Call(FREE, slot, **self._where(line)),
            )
            self.tables.remove(slot)
            self.frames[slot] = 0

    def _do_pin(self, line: Line) -> None:
        order, kind = line.get("order"), TYPES[line.one_of(TYPES, "unmovable")]
        for slot in line.slots():
            if self.frames[slot]:
                continue
            pfn = self._both(
                lambda: self.model.pin(order, kind, cpu=line.get("cpu")),
                Call(PIN, slot, kind, order, **self._where(line)),
            )
            if self.is_dead:
                return
            # what was moved for it may have lain where it is now
            self._follow()
            if pfn is None:
                self._clear(UNPIN, slot)
                continue
            self.frames[slot] = pfn
            self.pins[slot] = order
            self._slot_of_pin[pfn] = slot

    def _follow(self) -> None:
        """Learn where compaction moved the pins."""
        for old, new, _ in self.model.migrations[self._nr_followed :]:
            slot = self._slot_of_pin.pop(old)
            self._slot_of_pin[new] = slot
            self.frames[slot] = new
        self._nr_followed = len(self.model.migrations)

    def _do_unpin(self, line: Line) -> None:
        for slot in line.slots():
            if slot not in self.pins:
                continue
            pfn, order = int(self.frames[slot]), self.pins.pop(slot)
            self._both(
                lambda pfn=pfn, order=order: self.model.unpin(pfn, order, cpu=line.get("cpu")),
                Call(UNPIN, slot, **self._where(line)),
            )
            del self._slot_of_pin[pfn]
            self.frames[slot] = 0

    def _do_split_other(self, line: Line) -> None:
        (slot,) = line.slots()
        first, pages = line.get("first"), line.get("pages")
        if slot not in self.pins or first + pages > 1 << self.pins[slot]:
            return
        pfn = int(self.frames[slot])
        self._both(
            lambda: self.model.split_other(pfn + first, pages, cpu=line.get("cpu")),
            Call(SPLIT_OTHER, slot, first, pages, **self._where(line)),
        )

    def _do_set_memory(self, line: Line) -> None:
        first, pages = line.get("first"), line.get("pages")
        self._both(
            lambda: self.model.set_memory(first, pages, cpu=line.get("cpu")),
            Call(SET_MEMORY, first, *divmod(pages, 256), **self._where(line)),
        )

    def _do_shrink(self, line: Line) -> None:
        nr_to_scan = int(line.bare[0])
        self._both(
            lambda: self.model.shrink(nr_to_scan, cpu=line.get("cpu")),
            Call(SHRINK, nr_to_scan, **self._where(line)),
        )

    def _do_shrink_slab(self, line: Line) -> None:
        priority = line.get("priority")
        self._both(
            lambda: self.model.shrink_slab(priority, cpu=line.get("cpu")),
            Call(SHRINK, arg=priority, **self._where(line)),
        )

    def _do_drain(self, line: Line) -> None:
        self._both(self.model.drain_all_pages, Call(DRAIN, **self._where(line)))

    def _do_reclaim(self, line: Line) -> None:
        self._both(
            lambda: self.model.reclaim(cpu=line.get("cpu")), Call(RECLAIM, **self._where(line))
        )

    def _do_compact(self, line: Line) -> None:
        order = line.get("order")
        self._both(
            lambda: self.model.compact(order, cpu=line.get("cpu")),
            Call(COMPACT, arg=order, **self._where(line)),
        )

    def _do_fault(self, line: Line) -> None:
        point, mode = line.bare[:2]
        options = {key: line.get(key) for key in ("seed", "orders")}
        options |= {"half": "half" in line.bare, "pkey": line.get("pkey", -1)}
        self.model.set_fault(point, mode, line.get("n", 1), **options)
        for machine in self.machines:
            machine.set_fault(point, mode, line.get("n", 1), **options)

    def _do_expect(self, line: Line) -> None:
        if line.bare:
            ends = {"deadlock": self.is_dead, "no_memory": self.is_stillborn}
            assert ends[line.bare[0]], f"no {line.bare[0]}\n{self.text}"
            return
        numbers = self.machine.counters() | self.machine.state() | self.machine.audit()
        for counts in self.machine.map_counters().values():
            for name, count in counts.items():
                numbers[name] = numbers.get(name, 0) + count
        for key, wanted in line.values.items():
            name = key.rstrip("<>")
            sign = key[len(name) :] + "="
            found = numbers[name]
            assert COMPARE[sign](found, wanted), (
                f"{name} is {found}, not {sign} {wanted}\n{self.text}"
            )

    # Comparing

    def _same(self, found: Any, wanted: Any, what: str) -> None:
        if found != wanted:
            if isinstance(found, dict) and isinstance(wanted, dict):
                keys = [k for k in found | wanted if found.get(k) != wanted.get(k)]
                found = {key: found.get(key) for key in keys}
                wanted = {key: wanted.get(key) for key in keys}
            raise Difference(f"{what}: machine {found}, model {wanted}\n{self.text}")

    def _check(self, after: str) -> None:
        self._follow()
        machine, model = self.machine, self.model
        state = machine.state()
        self._check_counters(machine.counters(), state)
        self._check_state(state)
        self._check_lists(state)
        self._same(machine.pageblock_types().tolist(), model.pageblock_types(), "types of blocks")
        slots = machine.slot_pfns()
        if not np.array_equal(slots, self.frames):
            at = np.flatnonzero(slots != self.frames).tolist()
            found = {slot: (int(slots[slot]), int(self.frames[slot])) for slot in at}
            raise Difference(f"frames of slots (machine, model): {found}\n{self.text}")
        self._check_pkeys()
        self._check_audit()
        for other in self.machines[1:]:
            self._check_other(other, after)

    def _check_counters(self, found: dict[str, Any], state: dict[str, Any]) -> None:
        by_cause = self.machine.map_counters()
        self._same(
            {(c, n): v for c, counts in by_cause.items() for n, v in counts.items()},
            {(c, n): v for c, counts in self.model.map_counters.items() for n, v in counts.items()},
            "map counters by cause",
        )
        refills = {f"refills_order_{order}": n for order, n in enumerate(found["refills_order"])}
        here = found | refills | {name: state[name] for name in IN_STATE}
        for name in by_cause["boot"]:
            here[name] = sum(counts[name] for counts in by_cause.values())
        self._same({n: here[n] for n in self.model.counters}, self.model.counters, "counters")
        orders = len(self.model.slowpath_order)
        self._same(found["slowpath_order"][:orders], self.model.slowpath_order, "slowpath_order")
        self._same(found["sleeps_in_atomic"], 0, "sleeps_in_atomic")

    def _check_state(self, state: dict[str, Any]) -> None:
        model = self.model
        geometry = self.machine.geometry
        kb = 1 << geometry.page_shift >> 10
        leaves = model.leaf_counts()
        low_min, low, high = model.watermarks
        wanted = {
            "unprotected_pages": model.unprotected_pages,
            "free_pages": model.nr_free_pages,
            "pcp_pages": sum(model.pcp_counts()),
            "memcg_pages": model.charged_pages,
            "cached_pages": len(model.cached_pfns()) + model.lost_pages,
            "live_pages": len(self.tables),
            "pinned_pages": sum(1 << order for order in self.pins.values()),
            "shrinkable_pages": model.nr_shrinkable,
            "watermark_min": low_min,
            "watermark_low": low,
            "watermark_high": high,
            "map_pud_kb": leaves["pud"] * kb << (geometry.pud_order or 0),
            "map_contpmd_kb": leaves["contpmd"] * kb << geometry.pmd_order,
            "map_pmd_kb": leaves["pmd"] * kb << geometry.pmd_order,
            "map_contpte_kb": leaves["contpte"] * kb,
            "map_pte_kb": leaves["pte"] * kb,
        }
        self._same({name: state[name] for name in wanted}, wanted, "state")

    def _check_lists(self, state: dict[str, Any]) -> None:
        machine = self.machine
        self._same(machine.cached_pfns().tolist(), self.model.cached_pfns(), "cached pages")
        wanted = self.model.free_lists()
        largest = machine.geometry.max_page_order
        deferred = state["deferred_pages"] >> largest
        for order, pages in enumerate(state["free_pages_order"][: largest + 1]):
            if not pages and not deferred:
                here = [kind for kind in TYPES.values() if (order, kind) in wanted]
                self._same([], here, f"free lists of order {order}")
                continue
            for kind in TYPES.values():
                found = machine.free_pfns(order, kind).tolist()
                there = wanted.get((order, kind), [])
                if order == largest and kind == TYPES["movable"] and deferred:
                    # what was never touched is not on the list yet
                    self._same(len(found) + deferred, len(there), "blocks of the largest order")
                    there = there[: len(found)]
                self._same(found, there, f"free list of order {order}, type {kind}")

    def _check_pkeys(self) -> None:
        first = PHYS_BASE >> self.machine.geometry.page_shift
        keyed = self.model.keyed_pfns()
        if self.nr_pages <= NR_SLOTS:
            pkeys = self.machine.pkeys(np.arange(first, first + self.nr_pages))
            found = set((np.flatnonzero(pkeys == 1) + first).tolist())
            others = set(np.unique(pkeys).tolist()) - {0, 1, 255}
            self._same(others, set(), "pkeys")
        else:
            near = {pfn + by for pfn in keyed for by in (-1, 0, 1)}
            near.update(self.model.cached_pfns(), self.frames[self.frames > 0].tolist())
            pfns = np.array(sorted(near), dtype=np.uint64)
            found = set(pfns[self.machine.pkeys(pfns) == 1].tolist())
        if found != keyed:
            only = sorted(found - keyed)[:8], sorted(keyed - found)[:8]
            raise Difference(f"pages with the pkey (only machine, only model): {only}\n{self.text}")

    def _check_audit(self) -> None:
        model = self.model
        blocks = model.blocks()
        audit = self.machine.audit()
        free_pkey_pages = model.free_pkey_pages
        wanted = {
            "lost_pages": model.lost_pages,
            "free_pkey_pages": free_pkey_pages,
            "unprotected_pages": model.unprotected_pages,
            "marked_blocks": blocks["marked"],
            "mapped_blocks": blocks["mapped"],
            "idle_blocks": blocks["idle"],
        }
        self._same({name: audit[name] for name in wanted}, wanted, "audit")
        # the checker names what D1, D9 and D18 leave behind: then it is of no use here
        if not (
            model.lost_pages or model.stray_pkey_pages or (self.is_late and model.unprotected_pages)
        ):
            self.machine.check()

    def _check_other(self, other: Machine, after: str) -> None:
        """An allocator that should do the same did the same."""
        name = other.strategy.name

        def same(found: Any, wanted: Any, what: str) -> None:
            self._same(found, wanted, f"{name} after {after!r}, {what} (the mirror is the model)")

        # what it writes into the log is its own
        same(
            other.counters() | {"log_lines": 0},
            self.machine.counters() | {"log_lines": 0},
            "counters",
        )
        same(other.map_counters(), self.machine.map_counters(), "map counters")
        # it cannot be asked what is in its cache, nor how long that is
        skipped = {"shrinkable_pages"} if self.machine.audit()["lost_pages"] else set()
        state = {n: v for n, v in self.machine.state().items() if n not in skipped}
        same({n: other.state()[n] for n in state}, state, "state")
        same(
            sum(warning["count"] for warning in other.warnings()),
            sum(warning["count"] for warning in self.machine.warnings()),
            "warnings",
        )
        assert np.array_equal(other.slot_pfns(), self.machine.slot_pfns())
        same(other.digest(), self.machine.digest(), "digest")


def read(text: str) -> tuple[Box, list[str]]:
    """Take a program's text apart; ``#`` begins a comment."""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    box, *program = [line for line in lines if line]
    return Box.parse(box), program


def run(text: str, files: Sequence[Path] = ()) -> Lockstep:
    """Run a program to its end; the caller closes what is returned."""
    box, program = read(text)
    pair = Lockstep(box, files)
    try:
        for line in program:
            pair.do(line)
        if not pair.is_dead and not pair.is_stillborn:
            pair.model.check()
    except BaseException:
        pair.close()
        raise
    return pair
