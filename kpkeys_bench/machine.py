# SPDX-License-Identifier: GPL-2.0-only
"""One simulated box, driven with whole arrays of operations."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from kpkeys_bench import _ffi
from kpkeys_bench.geometry import PAGE_SHIFTS, geometry
from kpkeys_bench.strategy import State, Strategy
from kpkeys_bench.workloads.ops import OpArray

PATHS: Final[tuple[str, ...]] = _ffi.PATHS
"""What an operation turned out to do; the rows of the table by path."""
CAUSES: Final[tuple[str, ...]] = _ffi.CAUSES
"""Why the linear map was touched; the rows of the table by cause."""
TIMING_MODES: Final[tuple[str, ...]] = _ffi.TIMING_MODES
COSTS: Final[tuple[str, ...]] = _ffi.COSTS
POINTS: Final[tuple[str, ...]] = _ffi.POINTS[1:]
"""Where a task that is stepped can be stopped."""
FAULT_POINTS: Final[tuple[str, ...]] = _ffi.FAULT_POINTS
"""What can be made to fail."""
EVENT_KINDS: Final[tuple[str, ...]] = _ffi.EVENT_KINDS
"""What the field ``kind`` of an event means."""
LEAF_SIZES: Final[tuple[str, ...]] = _ffi.LEAF_SIZES
"""What was split: the field ``b`` of a split event."""
"""What can be given a cost, for the modelled pass."""

BBML2_CASES: Final[tuple[str, ...]] = _ffi.BBML2
"""Which CPUs tolerate live changes of block size."""
RODATA_CASES: Final[tuple[str, ...]] = _ffi.RODATA
PHASES: Final[tuple[str, ...]] = _ffi.PHASES
"""Boot, step by step: see `Machine.boot_phase`."""
BOOT_CAUSES: Final[tuple[str, ...]] = _ffi.BOOT_CAUSES
"""What boot asks for page tables for."""
LEVELS: Final[tuple[str, ...]] = _ffi.LEVELS
"""Levels of page tables, lowest first."""
ALLOCATOR_PARAMS: Final[dict[str, tuple[str, int]]] = _ffi.ALLOCATOR_PARAMS
"""What the parameter of a variant is, and its default, by allocator; most have none."""
MAX_POSSIBLE_CPUS: Final[int] = _ffi.MAX_POSSIBLE_CPUS

DEFAULT_PHYS_BASE: Final = 1 << 30
"""Where RAM starts, in bytes: as on QEMU's ``virt``, where the traces were recorded."""

Counts = dict[str, Any]
"""Counters and state by name: int, or a list of int where there is one for each order or path."""

PathTimes = npt.NDArray[np.void]
"""(6,) array from `new_times`: counts and histograms of service times by path, in ticks."""


Region = tuple[int, int]
"""A range of physical memory: its first byte and how many."""


@dataclass(frozen=True)
class StepResult:
    """Where a task that was stepped is now.

    Attributes
    ----------
    state : str
        ``"idle"``: it has finished; ``"stopped"`` at `point`; ``"blocked"``: it waits for `lock`.
    point : str or None
        One of `POINTS`.
    path : str or None
        Of `PATHS`, once it has finished.
    failed : bool
        It has finished, and did not get what it wanted.
    owner : int
        The task that holds `lock`, if it is blocked.
    lock : str
        The mutex, where the point or the wait is about one.
    """

    state: str
    point: str | None
    path: str | None
    failed: bool
    owner: int
    lock: str


@dataclass(frozen=True)
class BootConfig:
    """What there is to boot, for a boot in phases.

    Attributes
    ----------
    nr_possible_cpus : int
        CPUs that may ever come online, 2 to 4096: each has an IRQ stack. Per-CPU lists of pages are
        another matter (``nr_cpus`` of `Machine`).
    kasan : bool
        Stacks of twice the size.
    bbml2 : str
        One of `BBML2_CASES`.
    rodata : str
        One of `RODATA_CASES`. It decides nothing while kpkeys are on.
    debug_pagealloc : bool
        Forces a linear map of PTEs.
    threads_per_cpu : int
        Stacks of each CPU beyond its IRQ stack, that of the idle thread among them.
    nr_ioremap, ioremap_bytes : int
        Devices that are mapped early, and how large each is.
    percpu_chunks, percpu_unit_bytes, percpu_populated_bytes : int
        Chunks of per-CPU memory beyond the first one (which is not in the vmalloc area), bytes of
        each CPU in one, and how many of these get pages; 0 for all.
    vmalloc_offset_bytes : int
        Where in the vmalloc area the first free address is.
    va_bits : int
        ``CONFIG_ARM64_VA_BITS``, see `kpkeys_bench.geometry.VA_BITS`; 0 for the page size's
        default. It decides how many levels of tables there are.
    """

    nr_possible_cpus: int = 512
    kasan: bool = False
    bbml2: str = "all"
    rodata: str = "full"
    debug_pagealloc: bool = False
    threads_per_cpu: int = 4
    nr_ioremap: int = 16
    ioremap_bytes: int = 4096
    percpu_chunks: int = 0
    percpu_unit_bytes: int = 65536
    percpu_populated_bytes: int = 0
    vmalloc_offset_bytes: int = 0
    va_bits: int = 0


def new_times() -> PathTimes:
    """Empty service times for `Machine.replay`."""
    times: PathTimes = _ffi.new_times()
    return times


class Machine:
    """A simulated arm64 box with one page table allocator under test.

    A context manager; after `close` every method raises `MachineError`. A machine may move between
    threads, but while one thread is inside, another gets `MachineBusyError`.

    Parameters
    ----------
    strategy : Strategy
        Allocator and refill orders.
    page_size : str
        ``"4K"``, ``"16K"`` or ``"64K"``.
    ram : int
        Bytes of RAM, 64 MB to 1 TB. Memory is used only for what is touched.
    state : State
        What memory is like at the start.
    seed : int
        Of the state; 0 to 2**64 - 1.
    phys_base : int
        Physical address of the first byte, a multiple of 1 GB.
    zero_pages : bool
        Really clear pages on ``__GFP_ZERO`` instead of counting it.
    nr_cpus : int
        CPUs, each with per-CPU lists of its own, 1 to 256. A recording's CPU is taken modulo it.
    no_pcp : bool
        No per-CPU lists: every order goes to the zone.
    memcg_limit_pages : int
        Limit of the one memory cgroup; 0 for none.
    nr_static_pgtables : int
        Pages at the start of RAM that are page tables of the kernel image.
    holes, reserved : sequence of (int, int)
        Ranges of bytes (base, size), rising: not RAM at all; RAM that nobody may use.
    memblock_fault : (str, int, int), optional
        Mode, n and seed as in `set_fault`: which calls of memblock fail. Memblock is done with
        before a machine exists.

    boot : BootConfig, optional
        For `boot_phase`. What it says of the CPUs and of debugging also decides what the linear map
        consists of.
    variant_param : int
        Of an allocator that has one (`ALLOCATOR_PARAMS`); 0 for its default.

    Raises
    ------
    ConfigError
        If the parameters do not fit together; the message says why.
    MachineError
        If the host has no memory or address space for it.
    """

    def __init__(
        self,
        strategy: Strategy | None = None,
        *,
        page_size: str = "4K",
        ram: int = 16 << 30,
        state: State | None = None,
        seed: int = 0,
        phys_base: int = DEFAULT_PHYS_BASE,
        zero_pages: bool = False,
        nr_cpus: int = 4,
        no_pcp: bool = False,
        memcg_limit_pages: int = 0,
        nr_static_pgtables: int = 0,
        holes: Sequence[Region] = (),
        reserved: Sequence[Region] = (),
        memblock_fault: tuple[str, int, int] | None = None,
        boot: BootConfig | None = None,
        variant_param: int = 0,
    ) -> None:
        self.geometry = geometry(page_size)
        self.strategy = (strategy or Strategy()).for_page_size(self.geometry.page_size)
        self.state_at_start = state or State()
        self._handle = _ffi.MachineHandle(
            page_shift=PAGE_SHIFTS[self.geometry.page_size],
            ram_bytes=ram,
            phys_base=phys_base,
            allocator=self.strategy.allocator,
            linear_map=self.strategy.linear_map,
            refill_orders=self.strategy.refill_orders or self.geometry.refill_orders,
            allow_any_orders=self.strategy.allow_any_orders,
            zero_pages=zero_pages,
            aged_ppm=self.state_at_start.aged_ppm,
            aged_pins=self.state_at_start.pins,
            aged_seed=seed,
            nr_cpus=nr_cpus,
            no_pcp=no_pcp,
            memcg_limit_pages=memcg_limit_pages,
            nr_static_pgtables=nr_static_pgtables,
            holes=holes,
            reserved=reserved,
            memblock_fault=memblock_fault,
            boot=asdict(boot) if boot else None,
            variant_param=variant_param,
            allocator_file=(
                str(self.strategy.compiled(self.geometry.page_size))
                if self.strategy.is_file
                else None
            ),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""
        self._handle.close()

    def hardened_init(self) -> None:
        """``kpkeys_hardened_pgtables_init()``: the early window begins, no pkey can be set."""
        self._handle.init()

    def init_late(self) -> None:
        """``kpkeys_hardened_pgtables_init_late()``: splits are allowed, deferred pkeys are set."""
        self._handle.init_late()

    def boot(self) -> None:
        """Both steps, one after the other, with nothing in between."""
        self.hardened_init()
        self.init_late()

    def boot_phase(self, phase: str) -> None:
        """Run one phase of a boot that is stepped through, instead of `boot`.

        Parameters
        ----------
        phase : str
            The next one of `PHASES`: ``"linear_map"`` (nothing is left to do), ``"buddy"``
            (`hardened_init`), ``"window"`` (stacks, devices and per-CPU memory through vmalloc),
            ``"smp"`` (all CPUs online, capabilities final, the map split to PTEs if one of them
            lacks BBML2), ``"late_init"`` (`init_late`), ``"running"``.

        Raises
        ------
        MachineError
            Out of order, or the kernel would panic: `stopped` then says why.
        """
        self._handle.boot_phase(phase)

    def boot_phases(self, last: str = "running") -> None:
        """All phases that are left, up to and including `last`."""
        done = int(self.boot_counters()["phases"])
        for phase in PHASES[done : PHASES.index(last) + 1]:
            self.boot_phase(phase)

    def boot_counters(self) -> Counts:
        """What boot asked for, and what became of the regions of the early window.

        ``ptps`` is a dict by phase, cause and level (`PHASES`, `BOOT_CAUSES`, `LEVELS`), all others
        are whole numbers: see ``struct kpb_boot_counters``. Pages without their pkey, warnings and
        the map are in `state`, `counters` and `map_counters`.
        """
        result: Counts = self._handle.boot_counters()
        return result

    def set_slots(self, nr_slots: int) -> None:
        """Make room for slots 0 to ``nr_slots - 1``; slots in use stay as they are."""
        self._handle.set_slots(nr_slots)

    def replay(
        self,
        ops: OpArray,
        repeat: int = 1,
        *,
        timing: str = "none",
        every: int = 1,
        costs_ps: Mapping[str, int] | None = None,
        times: PathTimes | None = None,
    ) -> None:
        """Replay a whole array, several times if asked to.

        Counts are the same in every timing mode.

        Parameters
        ----------
        ops : (n,) array of ``OP_DTYPE``
            Operations, in order.
        repeat : int
            How often.
        timing : str
            ``"none"``, ``"chained"`` (one clock read an operation), ``"bracket"`` (two),
            ``"sample"`` (two, every `every`-th operation), or ``"model"`` (no clock: what was
            counted, times its stated cost).
        every : int
            For ``"sample"``.
        costs_ps : mapping, optional
            For ``"model"``: picoseconds by name, of `COSTS`; 0 for those that are absent.
        times : array from `new_times`, optional
            Where service times are added up; needed unless `timing` is ``"none"``.

        Raises
        ------
        MachineError
            If an operation makes no sense, or the machine stops (a deadlock). Operations before it
            have been carried out and counted.
        """
        self._handle.replay(ops, repeat, timing, every, costs_ps, times)

    def step(
        self,
        op: np.void,
        *,
        task: int = 0,
        gfp: int = 0,
        context: str = "process",
        stop_at: str | None = None,
        stop_nth: int = 1,
    ) -> StepResult:
        """Let one task do one operation, up to a point.

        Parameters
        ----------
        op : record of ``OP_DTYPE``
            The operation.
        task : int
            Who does it, 0 to 15; a replay is task 0.
        gfp : int
            Of an allocation, in the kernel's bits; 0: as a replay does it.
        context : str
            ``"process"``, ``"atomic"`` (must not sleep) or ``"memalloc"`` (PF_MEMALLOC).
        stop_at : str, optional
            One of `POINTS`.
        stop_nth : int
            The how-many-eth time it gets there.

        Raises
        ------
        MachineError
            If the operation makes no sense, the task is still busy, or the machine stops.
        """
        return StepResult(**self._handle.step(op, task, gfp, context, stop_at, stop_nth))

    def resume(self, task: int, *, stop_at: str | None = None, stop_nth: int = 1) -> StepResult:
        """Let a stopped or waiting task go on.

        Raises
        ------
        MachineError
            If it does nothing, or the machine stops.
        """
        return StepResult(**self._handle.resume(task, stop_at, stop_nth))

    def set_fault(
        self,
        point: str,
        mode: str = "nth",
        n: int = 1,
        *,
        seed: int = 0,
        orders: int = 0,
        half: bool = False,
        pkey: int = -1,
    ) -> None:
        """Make calls of one point fail, counted from now.

        Parameters
        ----------
        point : str
            One of `FAULT_POINTS`.
        mode : str
            ``"nth"``: call `n`, once; ``"every"`` `n`-th; ``"share"``: `n` of a million, by a
            seeded hash of the call's number; ``"off"``.
        n : int
            At least 1.
        seed : int
            For ``"share"``.
        orders : int
            ``alloc_pages``: a bit for each order that counts; 0 for all.
        half : bool
            ``set_pkey``: fail half way through the range, with what was changed left changed.
        pkey : int
            ``set_pkey``: only changes to this key; -1 for any.
        """
        self._handle.set_fault(point, mode, n, seed, orders, half, pkey)

    def record(self, capacity: int = 0) -> None:
        """Keep the last `capacity` events, and a digest of all of them, from now on."""
        self._handle.record(capacity)

    def events(self) -> npt.NDArray[np.void]:
        """Events since the last call, oldest first; fields ``a b c op kind task cause depth``.

        What ``a``, ``b`` and ``c`` mean for each kind is in ``csrc/kpb_api.cdef.h``.
        """
        result: npt.NDArray[np.void] = self._handle.events()
        return result

    def digest(self) -> int:
        """Of all events, paths and frames handed out since `record`; equal if all are equal."""
        result: int = self._handle.digest()
        return result

    def log(self) -> list[str]:
        """Lines that the allocator logged, the last 64, oldest first."""
        result: list[str] = self._handle.log()
        return result

    def audit(self) -> Counts:
        """What a walk over all of memory finds: lost pages, stray pkeys, blocks.

        It takes time with the size of RAM.
        """
        result: Counts = self._handle.audit()
        return result

    def counters(self) -> Counts:
        """Everything that was counted since the machine was made."""
        result: Counts = self._handle.counters()
        return result

    def map_counters(self) -> dict[str, dict[str, int]]:
        """Splits, pkey changes, TLB invalidations and descriptor writes, by cause."""
        result: dict[str, dict[str, int]] = self._handle.map_counters()
        return result

    def state(self) -> Counts:
        """Pages and leaves at this moment, in pages and kB."""
        result: Counts = self._handle.state()
        return result

    def warnings(self) -> list[Mapping[str, str | int]]:
        """Each ``WARN_ON()`` that fired: file, line, condition and how often."""
        result: list[Mapping[str, str | int]] = self._handle.warnings()
        return result

    def stopped(self) -> str:
        """Why the machine stopped; empty while it runs."""
        reason: str = self._handle.stopped()
        return reason

    def check(self) -> None:
        """Check all invariants.

        Raises
        ------
        MachineError
            Naming the first one that is broken.
        """
        self._handle.check()

    def slot_pfns(self) -> npt.NDArray[np.uint64]:
        """Frame number of the page in each slot, 0 where there is none; (nr_slots,)."""
        result: npt.NDArray[np.uint64] = self._handle.slot_pfns()
        return result

    def cached_pfns(self) -> npt.NDArray[np.uint64]:
        """The allocator's list, the next page to be handed out first; (n,)."""
        result: npt.NDArray[np.uint64] = self._handle.cached_pfns()
        return result

    def free_pfns(self, order: int, migratetype: int) -> npt.NDArray[np.uint64]:
        """One of the buddy's free lists, head first; (n,)."""
        result: npt.NDArray[np.uint64] = self._handle.free_pfns(order, migratetype)
        return result

    def pageblock_types(self) -> npt.NDArray[np.uint8]:
        """Migratetype of each pageblock, rising; (nr_pageblocks,)."""
        result: npt.NDArray[np.uint8] = self._handle.pageblock_types()
        return result

    def pkeys(self, pfns: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """The pkey that the linear map gives each frame, 255 where nothing is mapped."""
        result: npt.NDArray[np.uint8] = self._handle.pkeys(pfns)
        return result
