# SPDX-License-Identifier: GPL-2.0-only
"""Runs: one strategy on one workload, and all strategies on all workloads.

A run has three passes over the same operations, each on a fresh machine: one without a clock read
for any operation (counts, throughput), one on the allocator that does nothing (what the loop itself
costs), and one with clock reads (service times). Neither throughput nor service time is ever
derived from the other; the counts of the first and the third pass must agree.

A background works in all three, between operations. The clock is read before and after it, and what
it takes is taken off the time of the pass: ``ns_per_op`` is of operations, on what memory and the
host's caches are like when others have used them; ``background_ns_per_op`` is the rest.

An allocator that came from a file runs in a process of its own: if it crashes or loops, its row
says so in the column ``error``, and the other rows stay.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from kpkeys_bench import _ffi, isolate, sysinfo
from kpkeys_bench.background import Background
from kpkeys_bench.errors import ConfigError, IsolationError, MachineError
from kpkeys_bench.geometry import geometry
from kpkeys_bench.machine import CAUSES, COSTS, PATHS, Machine, PathTimes, new_times
from kpkeys_bench.results import (
    QUANTILES,
    SPLITS,
    Results,
    Row,
    refill_order_columns,
)
from kpkeys_bench.strategy import State, Strategy
from kpkeys_bench.workloads.ops import OP_DTYPE, SHRINK, OpArray
from kpkeys_bench.workloads.workload import Batch, Workload

DEFAULT_RAM: Final = 16 << 30
DEFAULT_OPS: Final = 1_000_000
MAX_COST_NS: Final = 1e9

SYSTEM_KINDS: Final = ("file", "anon", "slab", "kernel")
"""What pages of the rest of the system are used for."""

TIMED: Final = ("none", "chained", "bracket", "sample")
"""Ways to take time in the timed pass."""

Progress = Callable[[str], None]
"""Called before each run with its label."""

PIECE_OPS: Final = 1 << 20
"""A file's allocator gives a sign of life at least once in so many operations."""
LOOP_TIMEOUT_S: Final = 60.0
"""How long it may go without one."""
#: Pieces in which to look for the operation that crashed, and how long one may take.
_SEARCH_OPS: Final = (1 << 11, 1)
_SEARCH_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True)
class Setup:
    """What all runs of an experiment share.

    Attributes
    ----------
    page_size : str
        ``"4K"``, ``"16K"`` or ``"64K"``.
    ram : int
        Bytes of simulated RAM; a state with an image has its own, which it then is.
    state : State
        Of memory at the start.
    ops : int
        Operations of one pass, at least 1.
    seed : int
        Of the workload, the state and the background.
    timing : str
        Of the timed pass: ``"bracket"``, ``"chained"``, ``"sample"``, or ``"none"`` for no such
        pass.
    sample_every : int
        For ``"sample"``: every how many operations the clock is read.
    samples : int
        Moments along the first pass at which the state is recorded; 0 for none.
    background : Background
        Who else uses memory; nobody, unless one is named.
    costs_ns : mapping of str to float
        For the columns ``model_*``: ns that one of each of `COSTS` takes; empty: no such columns.
    """

    page_size: str = "4K"
    ram: int = DEFAULT_RAM
    state: State = field(default_factory=State)
    ops: int = DEFAULT_OPS
    seed: int = 1
    timing: str = "bracket"
    sample_every: int = 100
    samples: int = 0
    costs_ns: Mapping[str, float] = field(default_factory=dict)
    background: Background = field(default_factory=Background)

    def __post_init__(self) -> None:
        object.__setattr__(self, "page_size", geometry(self.page_size).page_size)
        self.state.check_page_size(self.page_size)
        if self.state.image is not None:
            object.__setattr__(self, "ram", self.state.image.ram_bytes)
        if self.ops < 1:
            raise ConfigError(f"{self.ops} operations: give at least 1")
        if not 0 <= self.seed < 1 << 64:
            raise ConfigError(f"seed {self.seed}: give 0 to 2**64 - 1")
        if self.timing not in TIMED:
            raise ConfigError(f"timing {self.timing!r}: give {', '.join(TIMED)}")
        for name, cost in self.costs_ns.items():
            if name not in COSTS or not 0 <= cost <= MAX_COST_NS:
                raise ConfigError(
                    f"cost {name}={cost:g}: give 0 to {MAX_COST_NS:g} ns of {', '.join(COSTS)}"
                )
        if not 1 <= self.sample_every < 1 << 32:
            raise ConfigError(f"a clock read every {self.sample_every} operations: give 1 or more")
        if not 0 <= self.samples <= self.ops:
            raise ConfigError(f"{self.samples} samples: give 0 to the number of operations")

    def machine(self, strategy: Strategy) -> Machine:
        """A fresh machine that has not booted yet."""
        return Machine(
            strategy,
            page_size=self.page_size,
            ram=self.ram,
            state=self.state,
            seed=self.seed,
            background=self.background,
        )


@dataclass(frozen=True)
class _Pass:
    """What one pass over the operations left behind.

    Attributes
    ----------
    elapsed_ns : float
        Of the operations, without the background.
    error : str
        Why the machine stopped; empty if it did not.
    background_ns : float
        What the background took.
    """

    elapsed_ns: float
    error: str
    background_ns: float = 0.0


@dataclass(frozen=True)
class _Watch:
    """How a pass gives signs of life.

    Attributes
    ----------
    beat : isolate.Beat
        What to call before each piece.
    piece : int
        Most operations of one, from operation `start` on; before that, `PIECE_OPS`.
    """

    beat: isolate.Beat
    piece: int = PIECE_OPS
    start: int = 0

    def pieces(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same operations in pieces, each announced."""
        done = 0
        for ops, repeat in batches:
            for piece in self._split(ops, repeat, done):
                size = len(piece[0]) * piece[1]
                self.beat(done, size)
                yield piece
                done += size
        self.beat(done)

    def _split(self, ops: OpArray, repeat: int, done: int) -> Iterator[Batch]:
        end = done + len(ops) * repeat
        while done < end:
            # repeats in one go, as long as they are neither too long nor cut in two
            most = self.start - done if done < self.start else self.piece
            most = min(most, PIECE_OPS)
            offset = (done - end) % len(ops)
            if offset == 0 and most >= len(ops):
                whole = min((end - done) // len(ops), most // len(ops))
                yield ops, whole
                done += whole * len(ops)
            else:
                stop = min(len(ops), offset + most)
                yield ops[offset:stop], 1
                done += stop - offset


def _replay(
    machine: Machine,
    workload: Workload,
    setup: Setup,
    *,
    timing: str = "none",
    costs_ps: Mapping[str, int] | None = None,
    times: PathTimes | None = None,
    on_sample: Callable[[], None] | None = None,
    watch: _Watch | None = None,
) -> _Pass:
    """Boot and replay; only the time of the replay counts, not that of making operations."""
    elapsed = 0
    if watch is not None:
        watch.beat()
    try:
        machine.boot()
    except MachineError as error:
        if not machine.stopped():
            raise
        return _Pass(elapsed, str(error))
    machine.set_slots(workload.nr_slots)
    batches = workload.batches(setup.ops, setup.seed)
    marks = [k * setup.ops // setup.samples for k in range(1, setup.samples + 1)]
    if on_sample is not None:
        batches = _cut(batches, marks)
    if watch is not None:
        batches = watch.pieces(batches)
    done = 0
    for ops, repeat in batches:
        start = time.perf_counter_ns()
        try:
            machine.replay(
                ops,
                repeat,
                timing=timing,
                every=setup.sample_every,
                costs_ps=costs_ps,
                times=times,
            )
        except MachineError as error:
            if not machine.stopped():
                raise
            return _Pass(elapsed + time.perf_counter_ns() - start, str(error))
        elapsed += time.perf_counter_ns() - start
        done += len(ops) * repeat
        if on_sample is not None and marks and done == marks[0]:
            marks.pop(0)
            on_sample()
    background = _background_ns(machine)
    return _Pass(elapsed - background, "", background)


def _background_ns(machine: Machine) -> float:
    """What the background took so far; no clock is looked at if there is none."""
    ticks: int = machine.state()["background_ticks"]
    return ticks * float(sysinfo.clock_facts()["ns_per_tick"]) if ticks else 0.0


def _cut(batches: Iterator[Batch], marks: Sequence[int]) -> Iterator[Batch]:
    """The same operations in pieces, one of which ends at each of the rising `marks`."""
    ends = iter(list(marks))
    end = next(ends, None)
    position = 0
    for ops, repeat in batches:
        for _ in range(repeat):
            start = 0
            while start < len(ops):
                stop = len(ops) if end is None else min(len(ops), start + end - position)
                yield ops[start:stop], 1
                position += stop - start
                start = stop
                if position == end:
                    end = next(ends, None)


def _drain(machine: Machine) -> int:
    """Shrink until nothing more is given back; the pages that are still cached then."""
    ops = np.zeros(1, dtype=OP_DTYPE)
    ops["kind"] = SHRINK
    ops["slot"] = 1 << machine.geometry.pmd_order
    while True:
        cached: int = machine.state()["cached_pages"]
        if not cached:
            return 0
        machine.replay(ops)
        if machine.state()["cached_pages"] == cached:
            return cached


def _identity(strategy: Strategy, workload: Workload, setup: Setup, repeat: int) -> Row:
    return {
        "allocator": strategy.name,
        "variant": strategy.variant,
        "refill_orders": strategy.orders_text,
        "page_size": setup.page_size,
        "ram_bytes": setup.ram,
        "state": setup.state.name,
        "state_sha256": setup.state.sha256,
        "background": setup.background.name,
        "background_sha256": setup.background.sha256,
        "workload": workload.name,
        "workload_sha256": workload.sha256(setup.seed),
        "seed": setup.seed,
        "repeat": repeat,
        "ops": setup.ops,
    }


def _count_columns(machine: Machine) -> Row:
    counters = machine.counters()
    state = machine.state()
    causes = machine.map_counters()
    row: Row = {name: counters[name] for name in counters if isinstance(counters[name], int)}
    row |= {name: sum(c[name] for c in causes.values()) for name in causes[CAUSES[0]]}
    row |= {name: value for name, value in state.items() if name.startswith("map_")}
    row |= dict(zip(refill_order_columns(_ffi.MAX_ORDERS), counters["refills_order"], strict=True))
    row |= {
        "ops": state["ops"],
        "live_end_pages": state["live_pages"],
        "cached_mean_pages": counters["cached_page_ops"] / max(state["ops"], 1),
        "cached_end_pages": state["cached_pages"],
        "unprotected_end_pages": state["unprotected_pages"],
        "ptps_for_linear_map": state["ptps_for_linear_map"],
    }
    row |= {f"{kind}_end_pages": state[f"{kind}_pages"] for kind in SYSTEM_KINDS}
    return row


def _sample_columns(machine: Machine) -> Row:
    state = machine.state()
    causes = machine.map_counters().values()
    orders = geometry(machine.geometry.page_size).max_page_order + 1
    row: Row = {"op": state["ops"]}
    row |= {name: state[name] for name in ("live_pages", "cached_pages", "unprotected_pages")}
    row |= {f"{kind}_pages": state[f"{kind}_pages"] for kind in SYSTEM_KINDS}
    row |= {name: value for name, value in state.items() if name.startswith("map_")}
    row |= {name: sum(cause[name] for cause in causes) for name in (*SPLITS, "split_ptps")}
    row |= {f"free_pages_order_{n}": state["free_pages_order"][n] for n in range(orders)}
    return row


def _service_columns(count: int, total: int, most: int, hist: npt.NDArray[np.uint64]) -> Row:
    """Service times in ns; empty where nothing was timed."""
    if not count:
        return {}
    scale = float(sysinfo.clock_facts()["ns_per_tick"])
    values = _ffi.hist_quantiles(hist, list(QUANTILES.values())) * scale
    row: Row = {f"service_ns_{name}": float(v) for name, v in zip(QUANTILES, values, strict=True)}
    return row | {"service_ns_max": most * scale, "service_ns_mean": total * scale / count}


def _clock_columns(setup: Setup) -> Row:
    facts = sysinfo.clock_facts()
    timing = setup.timing
    if timing == "sample":
        timing = f"sample={setup.sample_every}"
    return {
        "timing": timing,
        "clock": facts["clock"],
        "clock_floor_ns": facts["clock_floor_ns"],
        "clock_quantum_ns": facts["clock_quantum_ns"],
    }


def run(
    strategy: Strategy,
    workload: Workload,
    setup: Setup | None = None,
    *,
    repeat: int = 0,
    timeout_s: float = LOOP_TIMEOUT_S,
) -> Results:
    """Measure one strategy on one workload.

    Parameters
    ----------
    strategy : Strategy
        Allocator and refill orders.
    workload : Workload
        What is replayed.
    setup : Setup, optional
        Machine, length and seed.
    repeat : int
        Number that the rows carry.
    timeout_s : float
        How long an allocator from a file may work on `PIECE_OPS` operations before it is said to
        loop.

    Returns
    -------
    Results
        One run row and its path, cause, sample and warning rows. A machine that stops (a deadlock)
        leaves what it counted, and the reason in the column ``error``. A file that crashes or loops
        leaves a row with no more than that.

    Raises
    ------
    ConfigError
        If the parameters do not fit together.
    MachineError
        If the passes of the run count differently, which would be a bug of this program.
    """
    setup = setup or Setup()
    strategy = strategy.for_page_size(setup.page_size)
    if not strategy.is_file:
        return _run(strategy, workload, setup, repeat)
    strategy.compiled(setup.page_size)
    # measured once, here: every child would measure its own
    sysinfo.host_facts()
    sysinfo.clock_facts()
    try:
        return isolate.run(_run_watched, strategy, workload, setup, repeat, timeout_s=timeout_s)
    except IsolationError as lost:
        error = _search(lost, strategy, workload, setup, min(timeout_s, _SEARCH_TIMEOUT_S))
        row = _identity(strategy, workload, setup, repeat) | {"error": str(error)}
        return Results(run_rows=[row | sysinfo.host_facts()])


def _run_watched(
    strategy: Strategy, workload: Workload, setup: Setup, repeat: int, *, beat: isolate.Beat
) -> Results:
    return _run(strategy, workload, setup, repeat, _Watch(beat))


def _search(
    lost: IsolationError,
    strategy: Strategy,
    workload: Workload,
    setup: Setup,
    timeout_s: float,
) -> IsolationError:
    """The same end once more, in smaller pieces, until one operation is left."""
    for piece in _SEARCH_OPS:
        if lost.upcoming <= 1:
            break
        try:
            isolate.run(
                _replay_watched,
                strategy,
                workload,
                setup,
                piece,
                lost.done,
                timeout_s=timeout_s,
            )
        except IsolationError as found:
            if found.upcoming:
                lost = found
    return lost


def _replay_watched(
    strategy: Strategy,
    workload: Workload,
    setup: Setup,
    piece: int,
    start: int,
    *,
    beat: isolate.Beat,
) -> None:
    with setup.machine(strategy) as machine:
        _replay(machine, workload, setup, watch=_Watch(beat, piece, start))


def _run(
    strategy: Strategy,
    workload: Workload,
    setup: Setup,
    repeat: int,
    watch: _Watch | None = None,
) -> Results:
    """All passes of a run, in this process."""
    identity = _identity(strategy, workload, setup, repeat)
    host = sysinfo.host_facts()
    results = Results()

    with setup.machine(strategy) as machine:

        def on_sample() -> None:
            results.sample_rows.append(identity | _sample_columns(machine))

        first = _replay(
            machine,
            workload,
            setup,
            on_sample=on_sample if setup.samples else None,
            watch=watch,
        )
        counts = _count_columns(machine)
        path_counts = machine.counters()["path_ops"]
        causes = machine.map_counters()
        results.warning_rows += [identity | dict(warning) for warning in machine.warnings()]
        if not first.error:
            counts["unshrinkable_end_pages"] = _drain(machine)

    ops_done = counts.pop("ops")
    row = identity | counts | {"error": first.error} | host
    if not first.error:
        row |= {
            "ns_per_op": first.elapsed_ns / ops_done,
            "throughput_ops_s": ops_done * 1e9 / max(first.elapsed_ns, 1),
            "null_ns_per_op": _null_ns_per_op(workload, setup, watch),
            "background_ns_per_op": first.background_ns / ops_done,
        }
    times = new_times()
    clock: Row = {}
    if setup.timing != "none":
        clock = _clock_columns(setup)
        with setup.machine(strategy) as machine:
            _replay(machine, workload, setup, timing=setup.timing, times=times, watch=watch)
            _compare_counts(counts, _count_columns(machine))
        row |= clock | _service_columns(
            int(times["count"].sum()),
            int(times["sum_ticks"].sum()),
            int(times["max_ticks"].max()),
            times["hist"].sum(axis=0),
        )
    if setup.costs_ns:
        row |= _model_columns(strategy, workload, setup, watch)
    results.run_rows.append(row)
    for i, path in enumerate(PATHS):
        t = times[i]
        service = _service_columns(
            int(t["count"]), int(t["sum_ticks"]), int(t["max_ticks"]), t["hist"]
        )
        extra = {"path": path, "count": path_counts[i]}
        results.path_rows.append(identity | extra | service | clock | host)
    for cause in CAUSES:
        results.cause_rows.append(identity | {"cause": cause} | causes[cause] | host)
    return results


def _null_ns_per_op(workload: Workload, setup: Setup, watch: _Watch | None) -> float:
    """The same operations on the allocator that does nothing."""
    with setup.machine(Strategy("null")) as machine:
        return _replay(machine, workload, setup, watch=watch).elapsed_ns / setup.ops


def _model_columns(
    strategy: Strategy, workload: Workload, setup: Setup, watch: _Watch | None
) -> Row:
    """What the counted work would take at the stated costs; no clock is read."""
    times = new_times()
    costs_ps = {name: round(cost * 1000) for name, cost in setup.costs_ns.items()}
    with setup.machine(strategy) as machine:
        _replay(
            machine,
            workload,
            setup,
            timing="model",
            costs_ps=costs_ps,
            times=times,
            watch=watch,
        )
    p50, p99, p999 = _ffi.hist_quantiles(times["hist"].sum(axis=0), [0.5, 0.99, 0.999]) / 1000
    return {
        "model_ns_per_op": int(times["sum_ticks"].sum()) / 1000 / max(int(times["count"].sum()), 1),
        "model_ns_p50": p50,
        "model_ns_p99": p99,
        "model_ns_p999": p999,
        "model_ns_max": int(times["max_ticks"].max()) / 1000,
        "model_costs": " ".join(f"{n}_ns={setup.costs_ns[n]:g}" for n in sorted(setup.costs_ns)),
    }


def _compare_counts(first: Row, other: Row) -> None:
    """Taking time must not change what is counted."""
    for name, value in first.items():
        if name in other and other[name] != value:
            raise MachineError(
                f"{name} is {value} without and {other[name]} with clock reads: this is a bug, "
                "please report it"
            )


def compare(
    strategies: Sequence[Strategy],
    workloads: Sequence[Workload],
    setup: Setup | None = None,
    *,
    states: Sequence[State] | None = None,
    backgrounds: Sequence[Background] | None = None,
    repeats: int = 1,
    results: Results | None = None,
    progress: Progress | None = None,
    timeout_s: float = LOOP_TIMEOUT_S,
) -> Results:
    """Measure every strategy on every workload.

    Parameters
    ----------
    strategies, workloads : sequences
        What to combine.
    setup : Setup, optional
        What all runs share.
    states : sequence of State, optional
        Memory states to combine with them, instead of the setup's.
    backgrounds : sequence of Background, optional
        The same for the background.
    repeats : int
        How often each run is made. Counts are the same each time; times are not.
    results : Results, optional
        Where rows are added, so that the caller has what was computed if this is interrupted.
    progress : callable, optional
        Called with the label of each run before it starts.
    timeout_s : float
        See `run`.

    Returns
    -------
    Results
        `results`, with rows in the order workload, state, background, strategy, repeat.
    """
    setup = setup or Setup()
    results = results if results is not None else Results()
    if repeats < 1:
        raise ConfigError(f"{repeats} repeats: give at least 1")
    strategies = [strategy.for_page_size(setup.page_size) for strategy in strategies]
    surroundings = [
        replace(setup, state=state, background=background)
        for state in states or [setup.state]
        for background in backgrounds or [setup.background]
    ]
    for strategy in strategies:
        # refuse what cannot be before anything is measured
        if strategy.is_file:
            strategy.compiled(setup.page_size)
        for around in surroundings:
            around.machine(strategy.mirror() if strategy.is_file else strategy).close()
    for workload in workloads:
        for around in surroundings:
            for strategy in strategies:
                for repeat in range(repeats):
                    if progress is not None:
                        progress(f"{workload.name}, {around.state.name}: {strategy.label}")
                    results.add(run(strategy, workload, around, repeat=repeat, timeout_s=timeout_s))
    return results
