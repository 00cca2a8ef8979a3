# SPDX-License-Identifier: GPL-2.0-only
"""Carries out a scenario script on a machine of its own, one statement after the other."""

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from kpkeys_bench.errors import ConfigError, KpbError, MachineError, ScenarioError
from kpkeys_bench.machine import (
    CAUSES,
    DEFAULT_PHYS_BASE,
    Machine,
    Region,
    StepResult,
)
from kpkeys_bench.scenario.books import Books, Page
from kpkeys_bench.scenario.expr import (
    Expression,
    Place,
    Target,
    Value,
    evaluate,
    functions,
    names,
    parts,
    whole,
)
from kpkeys_bench.scenario.language import MachineSetup, Script, Statement, StopAt
from kpkeys_bench.scenario.words import Event, Teller, as_dicts
from kpkeys_bench.strategy import Strategy, is_allocator_file
from kpkeys_bench.workloads import ops

MAX_OPS: Final = 200_000
MAX_STATEMENTS: Final = 20_000
MAX_PAGES: Final = 1 << 20
#: SET_MEMORY has 16 bits for the number of pages.
MAX_RANGE: Final = (1 << 16) - 1
#: Room for pages that are asked for while tasks are stopped.
SPARE_SLOTS: Final = 4096
MAX_LOCK_STOPS: Final = 10_000
EVENTS_KEPT: Final = 1 << 18
#: So many operations between two looks at the events.
BATCH: Final = 4096
MAIN: Final = "main"

SHOWN: Final = "shown"
REFUTED: Final = "refuted"
NOT_REACHED: Final = "not reached"
FAILED: Final = "failed"

#: Statements that do something to the machine, and so do nothing once it has stopped.
_MACHINE_VERBS: Final = frozenset(
    {
        *("boot", "init", "late_init", "alloc", "free", "pin", "unpin", "split", "set_memory"),
        *("shrink", "reclaim", "compact", "drain", "fault", "continue"),
    }
)


@dataclass(frozen=True)
class Step:
    """One statement that was carried out.

    Attributes
    ----------
    number : int
        From 1.
    file, line, text, task : str, int, str, str or None
        The statement.
    depth : int
        Loops around it.
    result : str
        ``"done"``, ``"failed"``, ``"stopped at ..."``, ``"waits for ..."``, ``"held"``,
        ``"not held"``, ``"skipped"``, ``"machine stopped"``.
    words : tuple of str
        What happened.
    pfns : tuple of int
        Frames that were handed out.
    counters : dict
        What changed, and by how much.
    events : tuple of dict
        In order; what ``a``, ``b`` and ``c`` mean is in ``csrc/kpb_api.cdef.h``.
    """

    number: int
    file: str
    line: int
    text: str
    task: str | None
    depth: int
    result: str
    words: tuple[str, ...]
    pfns: tuple[int, ...]
    counters: dict[str, int]
    events: tuple[Event, ...]

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "step": self.number,
            "file": self.file,
            "line": self.line,
            "task": self.task,
            "statement": self.text,
            "result": self.result,
            "pfns": list(self.pfns),
            "counters": self.counters,
            "events": list(self.events),
            "words": list(self.words),
        }


@dataclass
class Outcome:
    """How a script ended.

    Attributes
    ----------
    name, file, behaviour, claim : str
        Of the script.
    allocator, page_size : str
        What it ran on.
    shown : bool or None
        Whether the behaviour was shown; None if the script does not say.
    unmet : str
        What was given and does not hold: the first one and what it is worth; empty if all do.
    expects_stop : bool
        Whether ``shown if`` asks for a stop; otherwise a machine that stopped shows nothing.
    figures : dict
        By name, in the script's order; None where the allocator cannot be asked.
    held : int
        Expectations that held.
    failed : list of str
        Those that did not, each with its place.
    stopped : str
        Why the machine stopped; empty if it did not.
    seconds : float
        Host time.
    """

    name: str
    file: str
    behaviour: str
    claim: str
    allocator: str
    page_size: str
    shown: bool | None = None
    unmet: str = ""
    expects_stop: bool = False
    figures: dict[str, int | float | None] = field(default_factory=dict)
    held: int = 0
    failed: list[str] = field(default_factory=list)
    stopped: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether all expectations held."""
        return not self.failed

    @property
    def verdict(self) -> str:
        """Shown, refuted, not reached, or failed; empty if the script does not say."""
        if self.stopped and not (self.expects_stop and self.shown):
            return FAILED if self.shown is not None or self.unmet or self.behaviour else ""
        if self.unmet:
            return NOT_REACHED
        if self.shown is None:
            return ""
        return SHOWN if self.shown else REFUTED

    @property
    def reason(self) -> str:
        """Why the verdict is neither shown nor refuted; empty if it is."""
        if self.verdict == FAILED:
            return f"the machine stopped: {self.stopped}"
        return f"it takes {self.unmet}" if self.verdict == NOT_REACHED else ""


@dataclass
class _Actor:
    """A task and what it still has to do."""

    nr: int
    name: str
    queue: deque[tuple[np.void, Callable[[bool], None]]] = field(default_factory=deque)
    running: bool = False
    gfp: int = 0
    context: str = "process"
    statement: Statement | None = None
    where: str = ""
    ever: bool = False

    @property
    def busy(self) -> bool:
        return self.running or bool(self.queue)


def strategy_of(setup: MachineSetup, allocator: str | None = None) -> Strategy:
    """What a script runs on; `allocator` takes the place of the one it names.

    Refill orders are passed on only to built-in allocators that refill, a linear map only to files.
    """
    name = allocator or setup.allocator
    try:
        if is_allocator_file(name):
            return Strategy(name, linear_map=setup.linear_map)
        plain = Strategy(name)
    except ConfigError as error:
        # the command line's has no place in the script
        if allocator is None and (located := setup.error("allocator", str(error))):
            raise located from None
        raise
    if setup.refill_orders is None or not plain.refills:
        return plain
    return Strategy(name, setup.refill_orders, allow_any_orders=setup.allow_any_orders)


def _physical(regions: tuple[Region, ...]) -> tuple[Region, ...]:
    """Scripts count from the start of RAM."""
    return tuple((DEFAULT_PHYS_BASE + base, size) for base, size in regions)


def make_machine(setup: MachineSetup, allocator: str | None = None) -> Machine:
    """The machine that a script asks for.

    Raises
    ------
    ScenarioError
        If there can be no such machine; at the option that is to blame.
    """
    strategy = strategy_of(setup, allocator)
    if strategy.is_file:
        # its errors are about that file
        strategy.compiled(setup.page_size)
    try:
        return Machine(
            strategy,
            page_size=setup.page_size,
            ram=_ram(setup),
            state=setup.state,
            seed=setup.seed,
            nr_cpus=setup.cpus,
            no_pcp=setup.no_pcp,
            memcg_limit_pages=setup.memcg_limit,
            nr_static_pgtables=setup.static_pgtables,
            holes=_physical(setup.holes),
            reserved=_physical(setup.reserved),
            memblock_fault=setup.memblock_fault,
        )
    except KpbError as error:
        located = setup.error(_option_to_blame(setup, str(error)), str(error))
        if located is None:
            raise
        raise located from None


def _ram(setup: MachineSetup) -> int:
    """What the script asks for; without a word, what its state has."""
    if setup.state.image is not None and "ram" not in setup.places:
        return setup.state.image.ram_bytes
    return setup.ram


#: Words of the machine's errors, and the option that each is about; the first that fits counts.
_BLAME: Final = (
    ("refill_orders", "refill_orders"),
    ("refill order", "refill_orders"),
    ("reserved region", "reserved"),
    ("reserved", "reserved"),
    ("hole", "holes"),
    ("memblock_fault", "memblock_fault"),
    ("fault", "memblock_fault"),
    ("static", "static_pgtables"),
    ("kernel image", "static_pgtables"),
    ("own tables", "memblock_fault"),
    ("CPUs", "cpus"),
    ("aged", "state"),
    ("memcg", "memcg_limit"),
    ("seed", "seed"),
    ("page-size", "page_size"),
    ("ram", "ram"),
    ("RAM", "ram"),
)


def _option_to_blame(setup: MachineSetup, message: str) -> str:
    """The option of the machine line that an error of the machine is about."""
    there = (option for words, option in _BLAME if words in message and option in setup.places)
    return next(there, "machine")


def run_script(
    script: Script, allocator: str | None = None, on_step: Callable[[Step], None] | None = None
) -> Outcome:
    """Carry out a script.

    Parameters
    ----------
    script : Script
        From `load` or `parse_script`.
    allocator : str, optional
        Run it on this allocator instead of the one that it names.
    on_step : function, optional
        Is given each statement as soon as it was carried out.

    Raises
    ------
    ScenarioError
        If a statement makes no sense where it stands; the message names its place.
    ConfigError
        If there can be no such machine.
    """
    started = time.perf_counter()
    with make_machine(script.setup, allocator) as machine:
        outcome = Runner(script, machine, on_step).run()
    outcome.seconds = time.perf_counter() - started
    return outcome


class Runner:
    """One run of one script on one machine."""

    def __init__(
        self, script: Script, machine: Machine, on_step: Callable[[Step], None] | None = None
    ) -> None:
        self._script = script
        self._machine = machine
        self._on_step = on_step
        self._facts = machine.geometry
        self.outcome = Outcome(
            script.name,
            script.file,
            script.behaviour,
            script.claim,
            machine.strategy.label,
            self._facts.page_size,
        )
        self.outcome.expects_stop = any(
            _asks_for_stop(s) for s in script.statements() if s.verb == "shown"
        )
        self._books = Books(machine, _ram(script.setup))
        self._books.under_way = self._is_under_way
        self._actors: dict[str | None, _Actor] = {None: _Actor(0, MAIN)}
        self._nr_slots = 0
        self._nr_slots_made = SPARE_SLOTS
        machine.set_slots(SPARE_SLOTS)
        self._free_slots: list[int] = []
        self._nr_ops = 0
        self._nr_statements = 0
        self._nr_steps = 0
        self._depth = 0
        self._rng = np.random.default_rng(script.setup.seed)
        self._nr_numbers = 0
        self._events: list[Any] = []
        self._result = ""
        self._words: list[str] = []
        self._pfns: list[int] = []
        self._got: list[Page] = []
        self._last_words: tuple[str, ...] = ()
        machine.record(EVENTS_KEPT)
        self._teller = Teller(self._facts, {0: MAIN}, machine.warnings, self._log_line)
        self._before = self._books.flat_counts()

    # the run

    def run(self, *, leave_tasks: bool = False) -> Outcome:
        """Carry out all statements; with `leave_tasks`, some tasks need not have finished."""
        self._check_names()
        self._execute(self._script.body)
        self._finish(leave_tasks=leave_tasks)
        return self.outcome

    def _check_names(self) -> None:
        """Refuse names that nothing in the script or the machine gives a meaning to."""
        known = {*self._books.counts(), *CAUSES, "audit", *self._books.constants()}
        statements = list(self._script.statements())
        for statement in statements:
            name = statement.args.get("name")
            if statement.verb in {"mark", "let", "figure", "alloc", "pin"} and name in known:
                raise statement.place.error(f"{name} is a counter: choose another name")
        known |= {s.args["name"] for s in statements if "name" in s.args}
        for statement in statements:
            for name, place in _names_of(statement):
                if name not in known:
                    close = [k for k in sorted(known) if name.lower() in k.lower()][:4]
                    hint = (
                        f": did you mean {', '.join(close)}?"
                        if close
                        else ": see docs/scenarios.md"
                    )
                    raise place.error(f"{name} is not known{hint}")

    def _is_under_way(self, task: str) -> bool:
        if task not in self._actors:
            raise ValueError(f"there is no task {task!r} so far")
        return self._actors[task].busy

    def _finish(self, *, leave_tasks: bool) -> None:
        if self._books.stopped:
            if not any(_asks_for_stop(s) for s in self._script.statements()):
                self.outcome.failed.append(
                    f"{self._script.file}: the machine stopped: {self._books.stopped}"
                )
            self.outcome.stopped = self._books.stopped
            return
        for actor in self._actors.values():
            if actor.busy and actor.statement is not None and not leave_tasks:
                raise actor.statement.place.error(
                    f"task {actor.name} is left {actor.where}: add '{actor.name}: continue'"
                )

    def _execute(self, body: tuple[Statement, ...]) -> None:
        for statement in body:
            self._nr_statements += 1
            if self._nr_statements > MAX_STATEMENTS:
                raise statement.place.error(
                    f"more than {MAX_STATEMENTS:,} statements were carried out: use smaller loops"
                )
            if statement.verb in {"repeat", "until"}:
                self._depth += 1
                getattr(self, f"_do_{statement.verb}")(statement)
                self._depth -= 1
            else:
                self._carry_out(statement)

    def _carry_out(self, statement: Statement) -> None:
        self._result, self._words, self._pfns, self._events = "done", [], [], []
        self._got, self._last_words = [], ()
        if self._books.stopped and statement.verb in _MACHINE_VERBS:
            self._result = "skipped"
        else:
            try:
                getattr(self, f"_do_{statement.verb}")(statement)
                if self._got:
                    self._find_frames()
                if statement.verb in _MACHINE_VERBS:
                    self._take_events()
            except ScenarioError:
                raise
            except KpbError as error:
                raise statement.place.error(str(error)) from None
        if self._on_step is not None:
            self._report(statement, self._on_step)

    def _report(self, statement: Statement, on_step: Callable[[Step], None]) -> None:
        events = [event for array in self._events for event in as_dicts(array)]
        after = self._books.flat_counts() if statement.verb in _MACHINE_VERBS else self._before
        changes = {k: v - self._before[k] for k, v in after.items() if v != self._before[k]}
        self._before = after
        self._nr_steps += 1
        on_step(
            Step(
                self._nr_steps,
                self._script.file,
                statement.place.line,
                statement.text,
                statement.task,
                self._depth,
                self._result,
                (*self._words, *self._teller.tell(events), *self._last_words),
                tuple(self._pfns),
                changes,
                tuple(events),
            )
        )

    def _take_events(self) -> None:
        """Read the machine's events, and note what they say about blocks."""
        self._books.forget_counts()
        events = self._machine.events()
        if not len(events):
            return
        if len(events) >= EVENTS_KEPT:
            raise KpbError(
                f"{EVENTS_KEPT:,} events or more at once: some are lost, and counts with them; "
                "ask for less in one statement"
            )
        if self._on_step is not None:
            self._events.append(events)
        self._books.note(events)

    # loops

    def _do_repeat(self, statement: Statement) -> None:
        for _ in range(whole(statement.args["count"], self._books, MAX_STATEMENTS)):
            if self._books.stopped:
                break
            self._execute(statement.body)

    def _do_until(self, statement: Statement) -> None:
        limit = whole(statement.args["limit"], self._books, MAX_STATEMENTS)
        for _ in range(limit):
            if self._books.stopped or evaluate(statement.args["condition"], self._books):
                break
            self._execute(statement.body)

    # boot

    def _boot_step(self, step: Callable[[], None]) -> None:
        try:
            step()
        except MachineError as error:
            self._note_stop(error)

    def _do_boot(self, _: Statement) -> None:
        self._boot_step(self._machine.boot)

    def _do_init(self, _: Statement) -> None:
        self._boot_step(self._machine.hardened_init)

    def _do_late_init(self, _: Statement) -> None:
        self._boot_step(self._machine.init_late)

    def _note_stop(self, error: MachineError) -> None:
        """The machine stopped; any other error goes on its way."""
        self._books.stopped = self._machine.stopped()
        if not self._books.stopped:
            raise error
        self._result = "machine stopped"
        self._last_words = (f"THE MACHINE STOPPED: {self._books.stopped}",)

    # operations

    def _actor(self, statement: Statement) -> _Actor:
        name = statement.task
        if name not in self._actors:
            actor = _Actor(len(self._actors), name or MAIN)
            self._actors[name] = actor
            self._teller.task_names = {a.nr: a.name for a in self._actors.values()}
        return self._actors[name]

    def _perform(
        self,
        statement: Statement,
        operations: np.ndarray[Any, np.dtype[np.void]],
        finish: Callable[[int, bool], None],
        *,
        gfp: int = 0,
        context: str = "process",
    ) -> None:
        """Let a task do operations; `finish` is told the index of each that is over."""
        actor = self._actor(statement)
        if actor.busy:
            raise statement.place.error(
                f"task {actor.name} is {actor.where} in line "
                f"{actor.statement.place.line if actor.statement else 0}: let it go on with "
                f"'{actor.name}: continue' first"
            )
        self._nr_ops += len(operations)
        if self._nr_ops > MAX_OPS:
            raise statement.place.error(f"more than {MAX_OPS:,} operations in all: use fewer")
        actor.statement, actor.gfp, actor.context, actor.ever = statement, gfp, context, True
        if (
            statement.task is None
            and len(operations) > 1
            and not gfp
            and context == "process"
            and not any(a.busy for a in self._actors.values())
        ):
            self._replay(operations, finish)
            return
        for i, op in enumerate(operations):
            actor.queue.append((op, lambda failed, i=i: finish(i, failed)))  # type: ignore[misc]
        self._advance(actor, statement)

    def _replay(
        self,
        operations: np.ndarray[Any, np.dtype[np.void]],
        finish: Callable[[int, bool], None],
    ) -> None:
        """Many operations with nobody else about: as arrays."""
        try:
            for start in range(0, len(operations), BATCH):
                self._machine.replay(operations[start : start + BATCH])
                self._take_events()
        except MachineError as error:
            self._note_stop(error)
        gets = np.isin(operations["kind"], (ops.ALLOC, ops.PIN))
        empty = np.zeros(len(operations), np.bool_)
        if gets.any():
            empty[gets] = self._machine.slot_pfns()[operations["slot"][gets]] == 0
        for i, failed in enumerate(empty.tolist()):
            finish(i, failed)

    def _advance(self, actor: _Actor, statement: Statement) -> None:
        """Let a task go on until it is done, stopped or waiting."""
        stop = statement.stop
        point, nth = (stop.point, stop.nth) if stop else (None, 1)
        while actor.busy:
            op, finish = actor.queue[0]
            try:
                if actor.running:
                    result = self._machine.resume(actor.nr, stop_at=point, stop_nth=nth)
                else:
                    result = self._machine.step(
                        op,
                        task=actor.nr,
                        gfp=actor.gfp,
                        context=actor.context,
                        stop_at=point,
                        stop_nth=nth,
                    )
                if stop is not None:
                    result = self._until_lock(actor, stop, result)
            except MachineError as error:
                self._note_stop(error)
                return
            if result.state != "idle":
                self._note_unfinished(actor, statement, result)
                return
            actor.running = False
            actor.queue.popleft()
            finish(result.failed)
        actor.where = ""

    def _until_lock(self, actor: _Actor, stop: StopAt, result: StepResult) -> StepResult:
        """Go on past stops at other locks."""
        left = stop.nth
        for _ in range(MAX_LOCK_STOPS):
            if result.state != "stopped" or stop.lock is None:
                return result
            left -= _lock_name(result.lock) == stop.lock
            if not left:
                return result
            result = self._machine.resume(actor.nr, stop_at=stop.point, stop_nth=1)
        raise MachineError(f"{MAX_LOCK_STOPS} stops at other locks than {stop.lock}")

    def _note_unfinished(self, actor: _Actor, statement: Statement, result: StepResult) -> None:
        actor.running = True
        lock = _lock_name(result.lock)
        if result.state == "blocked":
            names_by_nr = {a.nr: a.name for a in self._actors.values()}
            actor.where = f"waiting for {lock}, which {names_by_nr.get(result.owner, '?')} holds"
        else:
            actor.where = f"stopped at {result.point}" + (f"({lock})" if lock else "")
        if statement.task is None:
            raise statement.place.error(
                f"this is {actor.where}, and nothing can go on: give it a task of its own, such as "
                f"'B: {statement.text}'"
            )
        self._result = actor.where

    def _do_continue(self, statement: Statement) -> None:
        actor = self._actor(statement)
        if not actor.ever:
            raise statement.place.error(
                f"task {actor.name} has done nothing so far: begin with '{actor.name}: alloc x'"
            )
        if not actor.busy:
            self._words.append(f"{actor.name} had finished already")
            return
        self._advance(actor, statement)

    # pages by name

    def _new_slots(self, statement: Statement, number: int) -> list[int]:
        slots = [self._free_slots.pop() for _ in range(min(number, len(self._free_slots)))]
        fresh = number - len(slots)
        slots += range(self._nr_slots, self._nr_slots + fresh)
        self._nr_slots += fresh
        if self._nr_slots > self._nr_slots_made:
            # a task that is stopped may be about to write into the array of slots
            if any(actor.busy for actor in self._actors.values()):
                raise statement.place.error(
                    f"{number} more pages while a task is under way: at most {SPARE_SLOTS} fit, "
                    "get them before it begins"
                )
            self._nr_slots_made = self._nr_slots + SPARE_SLOTS
            self._machine.set_slots(self._nr_slots_made)
        return slots

    def _pages(self, statement: Statement, *, is_pin: bool) -> list[Page]:
        """The list of a name that gets more pages; a list of which nothing is left starts over."""
        name = statement.args["name"]
        pages = self._books.lists.setdefault(name, [])
        if pages and pages[0].is_pin != is_pin:
            raise statement.place.error(
                f"{name} holds {'pages' if is_pin else 'pins'}: choose another name"
            )
        if not any(page.live or page.pending for page in pages):
            pages.clear()
        return pages

    def _get(
        self,
        statement: Statement,
        count: int,
        template: tuple[int, int, int, int],
        *,
        is_pin: bool,
        **how: Any,  # noqa: ANN401 - passed on
    ) -> None:
        """Allocate or pin `count` times."""
        pages = self._pages(statement, is_pin=is_pin)
        slots = self._new_slots(statement, count)
        operations = np.zeros(count, ops.OP_DTYPE)
        kind, cpu, level, arg = template
        operations["slot"] = slots
        operations["kind"], operations["cpu"] = kind, cpu
        operations["level"], operations["arg"] = level, arg
        order = arg if is_pin else 0
        entries: list[Page] = []
        for slot in slots:
            entries.append(Page(slot, 0, is_pin, order, self._nr_numbers))
            self._nr_numbers += 1
        pages += entries
        tally = Counter[str]()

        def finish(i: int, failed: bool) -> None:  # noqa: FBT001 - what became of one of them
            page = entries[i]
            page.pending, page.obtained, page.live = False, not failed, not failed
            if not failed:
                self._got.append(page)
            tally["failed" if failed else "got"] += 1
            if not failed and not is_pin:
                self._books.requests.append((False, page.number))
            if i == count - 1 and tally["failed"]:
                self._result = "failed"
                self._words.append(f"{tally['failed']} of {count} got nothing")

        self._perform(statement, operations, finish, **how)

    def _find_frames(self) -> None:
        """Ask for the frames of what the statement got."""
        frames = self._machine.slot_pfns()
        for page in self._got:
            page.pfn = int(frames[page.slot])
            self._pfns.append(page.pfn)

    def _do_alloc(self, statement: Statement) -> None:
        args = statement.args
        count = whole(args["count"], self._books, MAX_PAGES) if args["count"] else 1
        template = (ops.ALLOC, args["cpu"], ops.PTE, ops.ARG_KERNEL if args["kernel"] else 0)
        self._get(
            statement, count, template, is_pin=False, gfp=args["gfp"], context=args["context"]
        )
        if count > 1 and self._result == "done":
            self._words.append(f"got {count} pages")

    def _do_pin(self, statement: Statement) -> None:
        args = statement.args
        self._check_order(statement)
        template = (ops.PIN, args["cpu"], args["type"], args["order"])
        if not args["all"]:
            count = whole(args["count"], self._books, MAX_PAGES) if args["count"] else 1
            self._get(statement, count, template, is_pin=True)
            return
        total = 0
        while (count := self._nr_easy_pins(args["order"])) and not self._books.stopped:
            self._get(statement, count, template, is_pin=True)
            total += count
        self._words.append(f"pinned {total} times order {args['order']}")

    def _nr_easy_pins(self, order: int) -> int:
        """How many pins there can be for sure before the low watermark, that is, for nothing."""
        state = self._machine.state()
        above = state["free_pages"] - state["watermark_low"] - (1 << order)
        there = sum(
            (pages >> o) << (o - order)
            for o, pages in enumerate(state["free_pages_order"])
            if o >= order
        )
        there += state["deferred_pages"] >> order
        # per-CPU lists fetch more than was asked for
        return int(max(0, min(there, above >> order))) if there and above > 0 else 0

    def _resolve(self, statement: Statement, *, is_pin: bool) -> list[Page]:
        """The pages that a statement names, those that are gone left out."""
        target: Target = statement.args["target"]
        pages = self._books.lists.get(target.name)
        if pages is None:
            raise target.place.error(f"{target.name} is nothing yet: begin with alloc or pin")
        if pages and pages[0].is_pin != is_pin:
            verb = "unpin" if pages[0].is_pin else "free"
            raise target.place.error(
                f"{target.name} holds {'pins' if pages[0].is_pin else 'pages'}: use {verb}"
            )
        if target.any_of is not None:
            live = [page for page in pages if page.is_here]
            count = min(whole(target.any_of, self._books, MAX_PAGES), len(live))
            return (
                [live[i] for i in self._rng.choice(len(live), count, replace=False)]
                if count
                else []
            )
        if target.index is not None:
            page = self._books.one(target)
            if page.obtained and not page.is_here:
                raise target.place.error(
                    f"{target.text} is in the hands of a task: let that go on first"
                    if page.live
                    else f"{target.text} was given back already"
                )
            return [page] if page.is_here else []
        if target.is_slice:
            pages = pages[self._books.cut(target)]
        return [page for page in pages if page.is_here]

    def _give_back(self, statement: Statement, kind: int, *, is_pin: bool) -> None:
        pages = self._resolve(statement, is_pin=is_pin)
        operations = np.zeros(len(pages), ops.OP_DTYPE)
        operations["slot"] = [page.slot for page in pages]
        operations["kind"] = kind
        for page in pages:
            page.pending = True

        def finish(i: int, failed: bool) -> None:  # noqa: ARG001, FBT001 - it cannot fail
            page = pages[i]
            page.live = page.pending = False
            self._free_slots.append(page.slot)
            if not is_pin:
                self._books.requests.append((True, page.number))

        self._perform(statement, operations, finish)
        if len(pages) != 1:
            self._words.append(f"{len(pages)} {'pins' if is_pin else 'pages'} given back")

    def _do_free(self, statement: Statement) -> None:
        self._give_back(statement, ops.FREE, is_pin=False)

    def _do_unpin(self, statement: Statement) -> None:
        self._give_back(statement, ops.UNPIN, is_pin=True)

    # everything else that happens to a machine

    def _single(
        self,
        statement: Statement,
        slot: int,
        kind: int,
        level: int,
        arg: int,
        *,
        busy: Page | None = None,
    ) -> None:
        operations = np.zeros(1, ops.OP_DTYPE)
        operations[0] = (slot, kind, 0, level, arg)

        def finish(_: int, failed: bool) -> None:  # noqa: FBT001 - what became of it
            if busy is not None:
                busy.pending = False
            if failed:
                self._result = "failed"
                self._words.append("it failed")

        self._perform(statement, operations, finish)

    def _do_split(self, statement: Statement) -> None:
        pages = self._resolve(statement, is_pin=True)
        if len(pages) != 1:
            target = statement.args["target"]
            raise target.place.error(f"{target.text} stands for {len(pages)} pins: name one")
        first = whole(statement.args["first"], self._books, 255)
        count = whole(statement.args["pages"], self._books, 255, least=1)
        if first + count > 1 << pages[0].order:
            raise statement.args["pages"].place.error(
                f"pages {first} to {first + count - 1} are not in a pin of {1 << pages[0].order}"
            )
        # nobody can give it back meanwhile
        pages[0].pending = True
        self._single(statement, pages[0].slot, ops.SPLIT_OTHER, first, count, busy=pages[0])

    def _do_set_memory(self, statement: Statement) -> None:
        nr_frames = self._script.setup.ram >> self._facts.page_shift
        first = whole(statement.args["first"], self._books, nr_frames - 1)
        count = whole(
            statement.args["pages"], self._books, min(MAX_RANGE, nr_frames - first), least=1
        )
        self._single(statement, first, ops.SET_MEMORY, count >> 8, count & 255)

    def _do_shrink(self, statement: Statement) -> None:
        count = statement.args["count"]
        pages = whole(count, self._books, MAX_PAGES, least=1) if count is not None else 0
        self._single(statement, pages, ops.SHRINK, 0, statement.args["priority"])

    def _do_reclaim(self, statement: Statement) -> None:
        self._order_op(statement, ops.RECLAIM)

    def _do_compact(self, statement: Statement) -> None:
        self._order_op(statement, ops.COMPACT)

    def _order_op(self, statement: Statement, kind: int) -> None:
        self._check_order(statement)
        self._single(statement, 0, kind, 0, statement.args["order"])

    def _check_order(self, statement: Statement) -> None:
        order = statement.args["order"]
        if order > self._facts.max_page_order:
            raise statement.place.error(
                f"order {order}: the largest is {self._facts.max_page_order} with "
                f"{self._facts.page_size} pages"
            )

    def _do_drain(self, statement: Statement) -> None:
        self._single(statement, 0, ops.DRAIN, 0, 0)

    def _do_fault(self, statement: Statement) -> None:
        args = statement.args
        n = args["n"]
        self._machine.set_fault(
            args["point"],
            args["mode"],
            n if isinstance(n, int) else whole(n, self._books, 1 << 40, least=1),
            seed=args["seed"],
            orders=args["orders"],
            half=args["half"],
            pkey=args["pkey"],
        )

    # names and verdicts

    def _do_mark(self, statement: Statement) -> None:
        self._books.marks[statement.args["name"]] = dict(self._books.counts())

    def _do_let(self, statement: Statement) -> None:
        self._set(statement)

    def _do_figure(self, statement: Statement) -> None:
        value = self._set(statement)
        self.outcome.figures[statement.args["name"]] = None if math.isnan(value) else value

    def _do_given(self, statement: Statement) -> None:
        if evaluate(statement.args["value"], self._books):
            self._result = "holds"
            return
        self._result = "not reached"
        actual = self._actual(statement.args["value"])
        self._words.append(f"NOT REACHED: {actual}")
        if not self.outcome.unmet:
            expression = statement.args["value"].text.strip()
            self.outcome.unmet = f"{expression}: {actual}" if actual else expression

    def _set(self, statement: Statement) -> int | float:
        value = evaluate(statement.args["value"], self._books)
        if not isinstance(value, (int, float)):
            raise statement.args["value"].place.error("a name stands for one number")
        self._books.variables[statement.args["name"]] = value
        self._words.append(f"{statement.args['name']} is {_short(value)}")
        return value

    def _do_expect(self, statement: Statement) -> None:
        if "stopped" in statement.args:
            held = statement.args["stopped"] in self._books.stopped and bool(self._books.stopped)
            stopped = self._books.stopped
            actual = f"the machine stopped: {stopped}" if stopped else "the machine runs"
        else:
            held = bool(evaluate(statement.args["value"], self._books))
            actual = self._actual(statement.args["value"])
        if held:
            self.outcome.held += 1
            self._result = "held"
            return
        self._result = "not held"
        self._words.append(f"NOT HELD: {actual}")
        place = statement.place
        self.outcome.failed.append(
            f"{place.file}:{place.line}:{place.column}: {statement.text}: {actual}"
        )

    def _actual(self, expression: Expression) -> str:
        """What the names in an expectation are worth."""
        return ", ".join(
            f"{part.text} is {_short(evaluate(part, self._books))}" for part in parts(expression)
        )

    def _do_shown(self, statement: Statement) -> None:
        self.outcome.shown = bool(evaluate(statement.args["value"], self._books))
        self._words.append("shown" if self.outcome.shown else "refuted")

    def changed_since(self, mark: str) -> set[str]:
        """Names of counters and state that are not what they were at a mark."""
        before = self._books.marks.get(mark, {})
        return {name for name, value in self._books.counts().items() if before.get(name) != value}

    def _log_line(self, number: int) -> str:
        lines = self._machine.log()
        at = number - (int(self._machine.counters()["log_lines"]) - len(lines))
        return lines[at] if 0 <= at < len(lines) else "(line not kept)"


_JUDGES: Final = frozenset({"expect", "shown", "given"})


def _asks_for_stop(statement: Statement) -> bool:
    """Whether it says that the machine stops, so that a stop is no surprise."""
    if statement.verb not in _JUDGES:
        return False
    return "stopped" in statement.args or "stopped" in functions(statement.args["value"])


def _lock_name(name: str) -> str:
    """``&pba->alloc_mutex`` as scripts write it: ``alloc_mutex``."""
    return name.replace("->", ".").rpartition(".")[2].lstrip("&")


def _short(value: Value) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "not known"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _names_of(statement: Statement) -> list[tuple[str, Place]]:
    """Names in all expressions of a statement."""
    found: list[tuple[str, Place]] = []
    for value in statement.args.values():
        if isinstance(value, Expression):
            found += names(value)
        elif isinstance(value, Target):
            found.append((value.name, value.place))
            for part in (value.index, value.low, value.high, value.step, value.any_of):
                if part is not None:
                    found += names(part)
    return found
