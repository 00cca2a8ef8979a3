# SPDX-License-Identifier: GPL-2.0-only
"""One boot, phase by phase: who asks for page tables, and what stays unprotected.

Counts are exact and the same each time. The few times (what a running machine costs after a CPU
without BBML2 has turned the linear map into PTEs) are measured on the host, in a closed loop.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Final

import numpy as np

from kpkeys_bench import _ffi, isolate, sysinfo
from kpkeys_bench.errors import ConfigError, MachineError
from kpkeys_bench.geometry import VA_BITS, format_bytes, geometry, parse_bytes
from kpkeys_bench.machine import (
    ALLOCATOR_PARAMS,
    BOOT_CAUSES,
    CAUSES,
    DEFAULT_PHYS_BASE,
    LEVELS,
    MAX_POSSIBLE_CPUS,
    PHASES,
    BootConfig,
    Counts,
    Machine,
    Region,
    new_times,
)
from kpkeys_bench.results import Row
from kpkeys_bench.strategy import Strategy
from kpkeys_bench.workloads.ops import ALLOC, ARG_KERNEL, FREE, LEVEL_NAMES, OpArray
from kpkeys_bench.workloads.trace import Trace, load_trace, shipped_traces
from kpkeys_bench.workloads.workload import Workload, parse_workload

CLAIM_PTES: Final = 16
"""How many PTE tables the patch expects in the early window at most."""
DEFAULT_RAM: Final = 12 << 30
MIN_CPUS: Final = 2
MAX_THREADS_PER_CPU: Final = 64
DEFAULT_OPS: Final = 200_000
RECORDING: Final = "boot"
"""The recorded boot that the package ships."""

ORDERS: Final = ("block", "middle", "last")
"""What v6's refill orders are called, whatever the page size."""
SIZES: Final = ("pud", "contpmd", "pmd", "contpte", "pte")
"""Leaves of the linear map, largest first."""
MAP_COLUMNS: Final = tuple(f"map_{size}_kb" for size in SIZES)

#: Times a comparison of speed is repeated; the fastest pass without a clock counts.
_SPEED_REPEATS: Final = 3
_PGD: Final = 3
#: Phases after which pages are fetched whose pkey has to wait.
_IN_WINDOW: Final = ("buddy", "window", "smp")


@dataclass(frozen=True)
class Layout:
    """Where memory is, so that the first refill gets what a real machine would give it.

    Attributes
    ----------
    name : str
        As ``--layout`` takes it.
    what : str
        One sentence for people.
    ram : int, optional
        Bytes; None if any size will do.
    holes, reserved : tuple of (int, int)
        Offsets from the start of RAM and sizes, rising: no RAM at all; RAM that nobody may use.
    """

    name: str
    what: str
    ram: int | None = None
    holes: tuple[Region, ...] = ()
    reserved: tuple[Region, ...] = ()


_M: Final = 1 << 20


def _scattered(ram: int, nr: int, start: int, size: int) -> tuple[Region, ...]:
    """`nr` small ranges at equal distances."""
    return tuple((ram // nr * i + start, size) for i in range(nr))


LAYOUTS: Final[dict[str, Layout]] = {
    layout.name: layout
    for layout in (
        Layout("plain", "RAM without holes, as much as --ram says"),
        Layout(
            "crash-64M",
            "a crash kernel's 64 MB: image below, initial RAM disk above, no whole 32 MB left",
            64 * _M,
            reserved=((2 * _M, 22 * _M), (40 * _M, 12 * _M)),
        ),
        Layout(
            "firmware-64M",
            "64 MB in which firmware keeps 64 KB of every 2 MB",
            64 * _M,
            reserved=_scattered(64 * _M, 32, _M, 64 << 10),
        ),
        Layout(
            "firmware-128M",
            "128 MB in which firmware keeps 64 KB of every second 2 MB and every other has a hole",
            128 * _M,
            holes=_scattered(128 * _M, 32, 3 * _M, 64 << 10),
            reserved=_scattered(128 * _M, 32, _M, 64 << 10),
        ),
        Layout(
            "firmware-1G",
            "1 GB in which firmware keeps 64 KB of every 32 MB",
            1024 * _M,
            reserved=_scattered(1024 * _M, 32, 15 * _M, 64 << 10),
        ),
        Layout(
            "crashkernel-1G",
            "1 GB with crashkernel=512M, CMA of 256 MB and a hole for the framebuffer",
            1024 * _M,
            holes=((48 * _M, 2 * _M),),
            reserved=((2 * _M, 30 * _M), (224 * _M, 512 * _M), (752 * _M, 256 * _M)),
        ),
    )
}


@dataclass(frozen=True)
class BootSetup:
    """All that one boot depends on.

    Attributes
    ----------
    page_size : str
        ``"4K"``, ``"16K"`` or ``"64K"``.
    nr_cpus : int
        Possible CPUs, 2 to 4096.
    ram : int
        Bytes of RAM; a layout that has a size of its own decides instead.
    bbml2 : str
        Which CPUs tolerate splitting: ``"all"``, ``"none"``, ``"boot-only"``, ``"late-cpu"``.
    kasan, debug_pagealloc : bool
        As in `BootConfig`.
    rodata : str
        As in `BootConfig`.
    threads_per_cpu, nr_ioremap, ioremap_bytes, percpu_chunks, percpu_unit_bytes : int
        What asks for address space in the early window, as in `BootConfig`.
    percpu_populated_bytes, vmalloc_offset_bytes, va_bits : int
        As in `BootConfig`.
    allocator : str
        A name, or a C file.
    variant_param : int
        Of an allocator that has a parameter; 0 for its default.
    first_refill_order : int
        Larger refill orders are left out; 0 for v6's whole list.
    layout : str
        One of `LAYOUTS`.
    holes, reserved : tuple of (int, int)
        Offset from the start of RAM and size of further ranges; see `Layout`.
    static_pgtables : int
        Pages at the start of RAM that are page tables of the kernel image.
    workload : str
        What is replayed once the machine runs; empty for nothing.
    ops : int
        How many operations of it.
    seed : int
        Of the workload.
    """

    page_size: str = "4K"
    nr_cpus: int = 512
    ram: int = DEFAULT_RAM
    bbml2: str = "all"
    kasan: bool = False
    debug_pagealloc: bool = False
    rodata: str = "full"
    threads_per_cpu: int = 4
    nr_ioremap: int = 16
    ioremap_bytes: int = 4096
    percpu_chunks: int = 0
    percpu_unit_bytes: int = 65536
    percpu_populated_bytes: int = 0
    vmalloc_offset_bytes: int = 0
    va_bits: int = 0
    allocator: str = "pba"
    variant_param: int = 0
    first_refill_order: int = 0
    layout: str = "plain"
    holes: tuple[Region, ...] = ()
    reserved: tuple[Region, ...] = ()
    static_pgtables: int = 0
    workload: str = ""
    ops: int = DEFAULT_OPS
    seed: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "page_size", geometry(self.page_size).page_size)
        if self.layout not in LAYOUTS:
            raise ConfigError(f"layout {self.layout!r}: there are {', '.join(LAYOUTS)}")
        if self.place.ram is not None:
            object.__setattr__(self, "ram", self.place.ram)
        if self.allocator == "null":
            raise ConfigError("allocator 'null' has no pages to boot with: name another one")
        if self.va_bits and self.va_bits not in VA_BITS[self.page_size]:
            raise ConfigError(
                f"{self.va_bits} VA bits: with {self.page_size} pages give "
                f"{', '.join(map(str, VA_BITS[self.page_size]))}"
            )
        if self.ops < 1:
            raise ConfigError(f"{self.ops} operations: give at least 1")
        if not MIN_CPUS <= self.nr_cpus <= MAX_POSSIBLE_CPUS:
            raise ConfigError(f"{self.nr_cpus} CPUs: give {MIN_CPUS} to {MAX_POSSIBLE_CPUS}")
        if not 0 <= self.threads_per_cpu <= MAX_THREADS_PER_CPU:
            raise ConfigError(
                f"{self.threads_per_cpu} threads per CPU: give at most {MAX_THREADS_PER_CPU}"
            )
        orders = geometry(self.page_size).refill_orders
        if self.first_refill_order and self.first_refill_order not in orders:
            raise ConfigError(
                f"first refill order {self.first_refill_order}: with {self.page_size} pages v6 "
                f"tries {', '.join(map(str, orders))}"
            )
        if self.workload:
            self.load_workload()

    @property
    def place(self) -> Layout:
        """The named layout."""
        return LAYOUTS[self.layout]

    def strategy(self, allocator: str | None = None) -> Strategy:
        """The allocator with its refill orders spelled out."""
        strategy = Strategy(allocator or self.allocator)
        if self.first_refill_order and strategy.refills and not strategy.is_file:
            orders = geometry(self.page_size).refill_orders
            left = tuple(order for order in orders if order <= self.first_refill_order)
            strategy = Strategy(strategy.allocator, left)
        return strategy.for_page_size(self.page_size)

    def with_first_order(self, order: str) -> "BootSetup":
        """The same with refill orders above one of v6's left out.

        Parameters
        ----------
        order : str
            ``"block"``, ``"middle"``, ``"last"`` or a number.

        Raises
        ------
        ConfigError
            If v6 has no such order with this page size.
        """
        orders = dict(zip(ORDERS, geometry(self.page_size).refill_orders, strict=True))
        if order not in orders and not order.isdecimal():
            raise ConfigError(f"first refill order {order!r}: give {', '.join(ORDERS)} or a number")
        number = orders[order] if order in orders else int(order)
        return replace(self, first_refill_order=0 if number == orders["block"] else number)

    def load_workload(self) -> Workload:
        """What is replayed.

        Raises
        ------
        ConfigError
            If there is no such workload.
        """
        return parse_workload(self.workload)

    def config(self) -> BootConfig:
        """What the C core boots."""
        names = {field.name for field in fields(BootConfig)} - {"nr_possible_cpus"}
        values = {name: getattr(self, name) for name in names}
        return BootConfig(nr_possible_cpus=self.nr_cpus, **values)

    def machine(self, allocator: str | None = None) -> Machine:
        """A machine that has not begun to boot; of another allocator if one is named.

        Raises
        ------
        ConfigError
            If something is out of range.
        """

        def absolute(regions: Sequence[Region]) -> list[Region]:
            return sorted((DEFAULT_PHYS_BASE + offset, size) for offset, size in regions)

        own = allocator in {None, self.allocator}
        return Machine(
            self.strategy(allocator),
            page_size=self.page_size,
            ram=self.ram,
            holes=absolute(self.place.holes + self.holes),
            reserved=absolute(self.place.reserved + self.reserved),
            nr_static_pgtables=self.static_pgtables,
            boot=self.config(),
            variant_param=self.variant_param if own else 0,
        )

    def identity(self) -> Row:
        """The columns that say what was booted."""
        strategy = self.strategy()
        row = asdict(self)
        del row["holes"], row["reserved"], row["first_refill_order"], row["variant_param"]
        return row | {
            "holes": _regions_text(self.holes),
            "reserved": _regions_text(self.reserved),
            "ram_bytes": row.pop("ram"),
            "va_bits": self.va_bits or VA_BITS[self.page_size][0],
            "kasan": int(self.kasan),
            "debug_pagealloc": int(self.debug_pagealloc),
            "ops": self.ops if self.workload else 0,
            "allocator": strategy.name,
            "variant": self.variant,
            "refill_orders": strategy.orders_text,
        }

    @property
    def variant(self) -> str:
        """The allocator's parameter in words, or which file it is; empty if there is neither."""
        if self.allocator not in ALLOCATOR_PARAMS:
            return self.strategy().variant
        what, default = ALLOCATOR_PARAMS[self.allocator]
        return f"{what}={self.variant_param or default}"


def parse_region(text: str) -> Region:
    """Read a range of RAM: ``"48M+2M"`` is 2 MB that begin 48 MB after the start of RAM.

    Raises
    ------
    ConfigError
        If it is none.
    """
    offset, plus, size = text.partition("+")
    if not plus:
        raise ConfigError(f"range {text[:40]!r}: give OFFSET+SIZE, such as 48M+2M")
    return parse_bytes(offset), parse_bytes(size)


def _regions_text(regions: Sequence[Region]) -> str:
    return " ".join(
        f"{format_bytes(offset) if offset else 0}+{format_bytes(size)}" for offset, size in regions
    )


@dataclass(frozen=True)
class Boot:
    """What one boot did.

    Attributes
    ----------
    setup : BootSetup
        What was booted.
    row : dict
        The result: one row, see docs/boot.md.
    phases : list of dict
        One row for each phase that was completed.
    causes : list of dict
        One row for each phase, cause and level with tables that were asked for.
    warnings : list of dict
        ``file``, ``line``, ``what`` and ``count`` of each warning site.
    recorded : list of dict
        Tables by level: recorded and modelled; empty without a recording.
    speed : list of dict
        ns per operation and p99 of the running machine, of this allocator and of noblock; empty
        unless it was asked for.
    broken : str
        The first invariant that does not hold at the end; empty if all hold.
    """

    setup: BootSetup
    row: Row
    phases: list[Row]
    causes: list[Row]
    warnings: list[Row]
    recorded: list[Row]
    speed: list[Row]
    broken: str


def boot(setup: BootSetup, *, recorded: bool = False, speed: bool = False) -> Boot:
    """Boot once, phase by phase.

    Parameters
    ----------
    setup : BootSetup
        What to boot.
    recorded : bool
        Replay the shipped recording of a real boot as well: what comes before the first user
        process in the window, the rest in the running phase.
    speed : bool
        Measure what the running machine costs, against noblock on the same linear map.

    Returns
    -------
    Boot
        A kernel that panics leaves what it did until then, and the reason in the column ``error``.

    Raises
    ------
    ConfigError
        If the setup makes no sense.
    IsolationError
        If an allocator that is a file crashes or loops.
    """
    if setup.strategy().is_file:
        return isolate.run(_boot, setup, recorded=recorded, speed=speed)
    return _boot(setup, recorded=recorded, speed=speed)


def _boot(setup: BootSetup, *, recorded: bool, speed: bool) -> Boot:
    run = _Run(setup, _Recorded(setup) if recorded else None)
    with setup.machine() as machine:
        error = run.to_the_end(machine)
        row = setup.identity() | run.columns(machine) | {"error": error}
        broken = "" if error else _broken(machine)
        row["check"] = broken
        warnings = [dict(warning) for warning in machine.warnings()]
        causes = list(_cause_rows(machine))
        in_window = _window_tables(machine)
    return Boot(
        setup=setup,
        row=row,
        phases=run.phases,
        causes=causes,
        warnings=warnings,
        recorded=run.recorded.rows(in_window) if run.recorded else [],
        speed=measure_speed(setup) if speed and not error and _has_regions(setup, row) else [],
        broken=broken,
    )


def _has_regions(setup: BootSetup, row: Row) -> bool:
    """Does the allocator keep pages together? On a map of PTEs from the start v6 is noblock."""
    return row["early_regions"] > 0 or setup.strategy().is_file


def _broken(machine: Machine) -> str:
    try:
        machine.check()
    except MachineError as error:
        return str(error)
    return ""


def _window_tables(machine: Machine) -> list[int]:
    """Tables asked for in the window, by level."""
    causes = machine.boot_counters()["ptps"]["window"].values()
    return [sum(by_level[level] for by_level in causes) for level in LEVELS]


def _cause_rows(machine: Machine) -> Iterator[Row]:
    for phase, causes in machine.boot_counters()["ptps"].items():
        for cause, by_level in causes.items():
            for level, ptps in by_level.items():
                if ptps:
                    yield {"phase": phase, "cause": cause, "level": level, "ptps": ptps}


class _Run:
    """The phases of one boot, and what each leaves."""

    def __init__(self, setup: BootSetup, recorded: "_Recorded | None") -> None:
        self.setup = setup
        self.recorded = recorded
        self.phases: list[Row] = []

    def to_the_end(self, machine: Machine) -> str:
        """Run all phases; why the machine stopped, empty if it did not."""
        try:
            for phase in PHASES:
                machine.boot_phase(phase)
                if phase == "window" and self.recorded:
                    self.recorded.replay_window(machine)
                if phase == "running":
                    self._work(machine)
                self.phases.append(phase_row(machine, phase))
        except MachineError as error:
            if not machine.stopped():
                raise
            return str(error).removeprefix("the machine stopped: ")
        return ""

    def _work(self, machine: Machine) -> None:
        if self.recorded:
            self.recorded.replay_rest(machine)
        if self.setup.workload:
            workload = self.setup.load_workload()
            machine.set_slots(
                max(workload.nr_slots, self.recorded.nr_slots if self.recorded else 0)
            )
            if self.recorded:
                self.recorded.free_all(machine)
            for ops, repeat in workload.batches(self.setup.ops, self.setup.seed):
                machine.replay(ops, repeat)

    def _unprotected_elsewhere(self, boot_counters: Counts) -> int | None:
        """Pages outside the regions of the window that have no pkey after late initialisation."""
        for row in self.phases:
            if row["phase"] == "late_init":
                return int(row["unprotected_pages"]) - int(boot_counters["untracked_region_pages"])
        return None

    def columns(self, machine: Machine) -> Row:
        """The columns of the result row that are counted."""
        counters = machine.counters()
        boot_counters = machine.boot_counters()
        state = machine.state()
        window = boot_counters["ptps"]["window"]
        ptes = sum(by_level["pte"] for by_level in window.values())
        row: Row = {
            "phases": boot_counters["phases"],
            "ptes_irq_stacks": window["irq_stack"]["pte"],
            "ptes_early_window": ptes,
            "ptps_early_window": sum(sum(by_level.values()) for by_level in window.values()),
            "ptps_linear_map_split": boot_counters["atomic_ptps"],
            "first_refill_order": boot_counters["first_refill_order"],
            "early_region_capacity_pages": boot_counters["early_capacity_start_pages"],
            "early_regions": boot_counters["early_regions"],
            "early_region_pages": boot_counters["early_region_pages"],
            "regions_tracked": boot_counters["tracked_regions"],
            "regions_untracked": boot_counters["untracked_regions"],
            "deferred_ranges": boot_counters["early_ranges"],
            "deferred_span_pages": boot_counters["early_span_pages"],
            "unprotected_end_pages": state["unprotected_pages"],
            "unprotected_region_pages": boot_counters["untracked_region_pages"],
            "unprotected_other_pages": self._unprotected_elsewhere(boot_counters),
            "unprotected_page_ptps": boot_counters["unprotected_page_ptps"],
            "unprotected_page_ops": counters["unprotected_page_ops"],
            "unprotected_page_ns": self.recorded.page_ns if self.recorded else None,
            "warnings": counters["warnings"],
            "sleeps_in_atomic": counters["sleeps_in_atomic"],
            "failed_ptps": boot_counters["failed_ptps"],
            "split_ptps": _split_ptps(machine),
            "held_end_pages": state["held_pages"],
            "cached_end_pages": state["cached_pages"],
        }
        for phase in PHASES:
            found = next((p for p in self.phases if p["phase"] == phase), {})
            row |= {f"{name}_{phase}": found.get(name) for name in MAP_COLUMNS}
        return row


def _split_ptps(machine: Machine) -> int:
    """Tables spent on splits: those of single leaves, and those of the whole map at once."""
    by_cause = machine.map_counters()
    return sum(int(by_cause[cause]["split_ptps"]) for cause in CAUSES)


def phase_row(machine: Machine, phase: str) -> Row:
    """The state of a machine after a phase, and what was counted up to then.

    ``ptps_CAUSE`` and ``ptps_pte`` and so on are of this phase alone.
    """
    counters = machine.counters()
    boot_counters = machine.boot_counters()
    state = machine.state()
    causes = boot_counters["ptps"][phase]
    splits = machine.map_counters().values()
    row: Row = {"phase": phase}
    row |= {f"ptps_{cause}": sum(causes[cause].values()) for cause in BOOT_CAUSES}
    row |= {
        f"ptps_{level}": sum(by_level[level] for by_level in causes.values()) for level in LEVELS
    }
    return row | {
        "early_capacity_pages": (
            boot_counters["early_capacity_pages"] if phase in _IN_WINDOW else None
        ),
        "regions_early": boot_counters["early_regions"],
        "regions_tracked": boot_counters["tracked_regions"],
        "regions_untracked": boot_counters["untracked_regions"],
        "unprotected_pages": state["unprotected_pages"],
        "unprotected_page_ptps": boot_counters["unprotected_page_ptps"],
        "unprotected_page_ops": counters["unprotected_page_ops"],
        "warnings": counters["warnings"],
        "sleeps_in_atomic": counters["sleeps_in_atomic"],
        "splits": sum(
            int(cause[name])
            for cause in splits
            for name in ("split_pud", "split_contpmd", "split_pmd", "split_contpte")
        ),
        "split_ptps": _split_ptps(machine),
        "held_pages": state["held_pages"],
        "cached_pages": state["cached_pages"],
        **{name: state[name] for name in MAP_COLUMNS},
        "map_leaves": state["map_leaves"],
    }


class _Recorded:
    """The recorded boot of a real kernel, replayed on top of what the model asks for."""

    def __init__(self, setup: BootSetup) -> None:
        trace = load_trace(shipped_traces()[RECORDING])
        if trace.page_size != 1 << geometry(setup.page_size).page_shift:
            raise ConfigError(
                f"--recorded: that kernel had {trace.page_size >> 10}K pages, not "
                f"{setup.page_size}: it would have asked for other tables"
            )
        self.trace: Trace = trace
        self.nr_slots = trace.nr_slots
        self.first_user = _first_user(trace.ops)
        self.page_ns = 0

    def _replay(self, machine: Machine, start: int, stop: int) -> None:
        """One operation at a time, which a short recording can afford, to know when was what."""
        ops, ts_ns = self.trace.ops, self.trace.ts_ns
        for i in range(start, stop):
            machine.replay(ops[i : i + 1])
            if i + 1 < len(ops):
                lasts_ns = int(ts_ns[i + 1] - ts_ns[i])
                self.page_ns += machine.state()["unprotected_pages"] * lasts_ns

    def replay_window(self, machine: Machine) -> None:
        """Everything before the first user process: more than the real window has."""
        machine.set_slots(self.nr_slots)
        self._replay(machine, 0, self.first_user)

    def replay_rest(self, machine: Machine) -> None:
        """What comes after it."""
        self._replay(machine, self.first_user, self.trace.nr_ops)

    def free_all(self, machine: Machine) -> None:
        """Empty the slots, which another workload needs."""
        # not by what a slot holds: one whose allocation failed has to be given back too
        _, first = np.unique(self.trace.ops["slot"][::-1], return_index=True)
        last = self.trace.ops[::-1][first]
        ops = last[last["kind"] == ALLOC].copy()
        ops["kind"] = FREE
        if len(ops):
            machine.replay(ops)

    def rows(self, modelled: Sequence[int]) -> list[Row]:
        """Tables by level, recorded and modelled."""
        early = self.trace.ops[: self.first_user]
        asked = dict(zip(LEVELS, modelled, strict=True))
        rows = []
        for i, level in enumerate(name.lower() for name in LEVEL_NAMES):
            rows.append(
                {
                    "level": level,
                    "model_window_ptps": asked.get(level, 0),
                    "recorded_before_user_ptps": _nr_allocs(early, i),
                    "recorded_kernel_ptps": _nr_allocs(self.trace.ops, i, kernel=True),
                    "recorded_all_ptps": _nr_allocs(self.trace.ops, i),
                }
            )
        return rows


def _first_user(ops: OpArray) -> int:
    """Index of the first PGD, which is the first user process's."""
    found = np.flatnonzero((ops["kind"] == ALLOC) & (ops["level"] == _PGD))
    return int(found[0]) if len(found) else len(ops)


def _nr_allocs(ops: OpArray, level: int, *, kernel: bool = False) -> int:
    chosen = (ops["kind"] == ALLOC) & (ops["level"] == level)
    if kernel:
        chosen &= (ops["arg"] & ARG_KERNEL) != 0
    return int(np.count_nonzero(chosen))


def measure_speed(setup: BootSetup) -> list[Row]:
    """What the running machine costs: this allocator, and noblock on the same linear map.

    Each is replayed without a clock (the fastest of a few passes counts) and once with two clock
    reads an operation, on machines of their own, in turns.

    Returns
    -------
    list of dict
        ``allocator``, ``workload``, ``ops``, ``ns_per_op``, ``service_ns_p50``,
        ``service_ns_p99``; pages that the allocator has from the buddy (``held``; noblock's map has
        its tables from memblock instead) and those of them that are not in use (``cached``), after
        boot and at the end; ``cached_mean_pages`` and ``map_pte_kb``.
    """
    names = list(dict.fromkeys((setup.allocator, "noblock")))
    passes: dict[str, list[Row]] = {name: [] for name in names}
    for repeat in range(_SPEED_REPEATS + 1):
        for name in names:
            passes[name].append(_pass(setup, name, timed=repeat == _SPEED_REPEATS))
    rows = []
    for name, (*plain, timed) in passes.items():
        best = min(row["ns_per_op"] for row in plain)
        rows.append({"allocator": setup.strategy(name).name} | timed | {"ns_per_op": best})
    return rows


def _pass(setup: BootSetup, allocator: str, *, timed: bool) -> Row:
    workload = parse_workload(setup.workload or "random")
    times = new_times()
    elapsed = 0
    with setup.machine(allocator) as machine:
        machine.boot_phases()
        before = machine.state()
        machine.set_slots(workload.nr_slots)
        for ops, repeat in workload.batches(setup.ops, setup.seed):
            start = time.perf_counter_ns()
            machine.replay(
                ops,
                repeat,
                timing="bracket" if timed else "none",
                times=times if timed else None,
            )
            elapsed += time.perf_counter_ns() - start
        state, counters = machine.state(), machine.counters()
    row: Row = {
        "workload": workload.name,
        "ops": setup.ops,
        "ns_per_op": elapsed / setup.ops,
        "service_ns_p50": None,
        "service_ns_p99": None,
        "held_boot_pages": before["held_pages"],
        "cached_boot_pages": before["cached_pages"],
        "held_end_pages": state["held_pages"],
        "cached_end_pages": state["cached_pages"],
        "cached_mean_pages": counters["cached_page_ops"] / setup.ops,
        "map_pte_kb": state["map_pte_kb"],
    }
    if timed:
        scale = float(sysinfo.clock_facts()["ns_per_tick"])
        hist = times["hist"].sum(axis=0)
        p50, p99 = _ffi.hist_quantiles(hist, [0.5, 0.99]) * scale
        row |= {"service_ns_p50": float(p50), "service_ns_p99": float(p99)}
    return row
