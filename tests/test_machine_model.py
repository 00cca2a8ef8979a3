# SPDX-License-Identifier: GPL-2.0-only
"""The C core against the reference model, after every operation of a random program.

Both were written from the same description by different hands. Frames, lists, counters, leaves and
pkeys must agree for ever, and both must stop at the same deadlock.

How many examples there are is for ``KPB_LOCKSTEP_EXAMPLES`` to say, which also makes them new ones
each time; a failure prints a program for ``tests/traces/``, where it is run for ever.
"""

import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from lockstep import GFPS, KB, MB, TRACES, TYPES, Box, Difference, Lockstep, read, run

#: How much memory there is, by page size. Most of them are small, so that it runs out.
LAYOUTS = {
    "4K": {
        "plain": {"ram": 64 * MB},
        # 8 MB and 2 MB
        "tight": {"ram": 64 * MB, "holes": ((8 * MB, 54 * MB),)},
        # 4 MB in one piece
        "tiny": {"ram": 64 * MB, "holes": ((4 * MB, 60 * MB),)},
        # nothing is aligned to anything
        "odd": {
            "ram": 64 * MB,
            "holes": ((9 * MB + 12 * KB, 40 * MB), (55 * MB - 4 * KB, 5 * MB)),
            "reserved": ((3 * MB + 20 * KB, 28 * KB), (52 * MB, 2 * MB)),
        },
        # the first chunk of the PPA may end 2 MB below the end of RAM
        "uneven": {"ram": 66 * MB, "reserved": ((MB, 49 * MB),)},
        "large": {"ram": 3072 * MB, "reserved": ((16 * MB, 1000 * MB), (1100 * MB, 1972 * MB))},
    },
    "16K": {
        "plain": {"ram": 128 * MB},
        "tight": {"ram": 64 * MB, "reserved": ((20 * MB, 30 * MB),)},
        "tiny": {"ram": 64 * MB, "holes": ((8 * MB, 56 * MB),)},
        "odd": {
            "ram": 128 * MB,
            "holes": ((33 * MB + 48 * KB, 40 * MB),),
            "reserved": ((5 * MB + 16 * KB, 112 * KB), (80 * MB, 20 * MB)),
        },
    },
    "64K": {
        "plain": {"ram": 512 * MB},
        "tight": {"ram": 512 * MB, "holes": ((64 * MB, 440 * MB),)},
        "tiny": {"ram": 512 * MB, "holes": ((40 * MB, 472 * MB),)},
        "odd": {
            "ram": 512 * MB,
            "holes": ((101 * MB + 64 * KB, 300 * MB),),
            "reserved": ((7 * MB + 64 * KB, 448 * KB), (420 * MB, 50 * MB)),
        },
    },
}
REFILL_ORDERS = {
    "4K": [(), (4, 2), (2,), (10, 9, 2), (9, 2)],
    "16K": [(), (7, 2), (2,), (10, 3, 2)],
    "64K": [(), (5, 2), (2,), (10, 2)],
}
#: Allocators that should do what the built-in mirror does: its own source, and another hand's.
ROOT = Path(__file__).parents[1]
FILES = (
    ROOT / "csrc" / "mm" / "kpkeys_hardened_pgtables.c",
    ROOT / "tests" / "allocators" / "v6" / "kpkeys_hardened_pgtables.c",
)
MEMBLOCK_FAULTS = [None] * 5 + [("nth", 1, 0), ("nth", 2, 0), ("every", 2, 0), ("share", 500000, 7)]
LARGEST = {"4K": 10, "16K": 11, "64K": 13}


@st.composite
def boxes(draw, page_size, orders=None):
    linear_map = draw(st.sampled_from(["block", "block", "pte"]))
    layouts = LAYOUTS[page_size]
    names = [name for name in layouts if linear_map == "block" or name != "large"]
    refill_orders = draw(st.sampled_from(orders or REFILL_ORDERS[page_size]))
    return Box(
        page_size=page_size,
        # of noblock they are the size of the PPA's chunks, which is not for the user to say
        refill_orders=() if linear_map == "pte" else refill_orders,
        linear_map=linear_map,
        nr_cpus=draw(st.sampled_from([1, 2, 4])),
        no_pcp=draw(st.booleans()),
        memcg_limit_pages=draw(st.sampled_from([0, 0, 3, 40])),
        nr_static_pgtables=draw(st.sampled_from([0, 0, 1, 9])),
        memblock_fault=draw(st.sampled_from(MEMBLOCK_FAULTS)),
        **layouts[draw(st.sampled_from(names))],
    )


#: How a program begins: most of them after boot, some in the early window, some with a fault.
BOOTS = st.sampled_from(
    [
        *[("init", "init_late")] * 4,
        *[("init",)] * 3,
        ("fault alloc_pages every n=1", "init", "fault alloc_pages off"),
        ("fault alloc_pages nth n=1", "init"),
        ("fault set_pkey nth n=1", "init", "init_late"),
        ("fault set_pkey nth n=2 half", "init", "init_late"),
        ("fault set_pkey nth n=3", "init", "init_late"),
    ]
)
CPUS = st.integers(0, 4)
#: Replayed mostly, else stepped.
TASKS = st.sampled_from([None, None, None, 0, 3])
HOW_MANY = st.sampled_from([1, 1, 1, 2, 5, 20, 100, 400])


class Programs(RuleBasedStateMachine):
    """Random programs over everything that can be done, before and after late initialisation.

    Subclasses begin with `start`.
    """

    files = ()

    def __init__(self):
        super().__init__()
        self.pair = None

    def start(self, box, boot):
        self.pair = Lockstep(box, self.files)
        self.largest = LARGEST[box.page_size]
        self.next_slot = 0
        for text in boot:
            if self.is_alive:
                self.do(text)

    @property
    def is_alive(self):
        return not (self.pair.is_stillborn or self.pair.is_dead)

    def do(self, text, cpu=None, task=None):
        text += f" cpu={cpu}" if cpu else ""
        text += f" task={task}" if task is not None else ""
        self.pair.do(text)

    def slots(self, how_many):
        """Slots which nobody uses."""
        first = self.next_slot
        self.next_slot += how_many
        return f"{first}-{first + how_many - 1}" if how_many > 1 else str(first)

    @staticmethod
    def some(used, pick, how_many):
        """Slots of which some are in use."""
        slots = sorted(used)
        at = pick % len(slots)
        last = slots[min(at + how_many, len(slots)) - 1]
        return f"{slots[at]}-{last}" if last > slots[at] else str(last)

    @rule()
    @precondition(lambda self: not self.is_alive)
    def nothing(self):
        pass

    @rule()
    @precondition(lambda self: self.is_alive and not self.pair.is_late)
    def init_late(self):
        self.do("init_late")

    @rule(
        gfp=st.sampled_from(["user", "kernel", "user", "kernel", *GFPS]),
        split=st.sampled_from([False, False, True]),
        memalloc=st.sampled_from([False, False, False, True]),
        how_many=HOW_MANY,
        cpu=CPUS,
        task=TASKS,
    )
    @precondition(lambda self: self.is_alive and self.next_slot < 12000)
    def alloc(self, gfp, split, memalloc, how_many, cpu, task):
        flags = " split" * split + " memalloc" * memalloc
        self.do(f"alloc {self.slots(how_many)} {gfp}{flags}", cpu, task)

    @rule(pick=st.integers(0, 4000), how_many=HOW_MANY, cpu=CPUS, task=TASKS)
    @precondition(lambda self: self.is_alive and self.pair.tables)
    def free(self, pick, how_many, cpu, task):
        self.do(f"free {self.some(self.pair.tables, pick, how_many)}", cpu, task)

    @rule(
        order=st.sampled_from([0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 99]),
        kind=st.sampled_from([*TYPES, "movable", "movable"]),
        how_many=HOW_MANY,
        cpu=CPUS,
        task=TASKS,
    )
    @precondition(lambda self: self.is_alive and self.next_slot < 12000)
    def pin(self, order, kind, how_many, cpu, task):
        order = min(order, self.largest)
        self.do(f"pin {self.slots(how_many)} order={order} {kind}", cpu, task)

    @rule(pick=st.integers(0, 4000), how_many=HOW_MANY, cpu=CPUS, task=TASKS)
    @precondition(lambda self: self.is_alive and self.pair.pins)
    def unpin(self, pick, how_many, cpu, task):
        self.do(f"unpin {self.some(self.pair.pins, pick, how_many)}", cpu, task)

    @rule(pick=st.integers(0, 4000), step=st.sampled_from([2, 3]), how_many=st.integers(2, 40))
    @precondition(lambda self: self.is_alive and self.pair.pins)
    def unpin_every_second(self, pick, step, how_many):
        slots = sorted(self.pair.pins)
        for slot in slots[pick % len(slots) :: step][:how_many]:
            self.do(f"unpin {slot}")

    @rule(
        pick=st.integers(0, 4000),
        first=st.integers(0, 255),
        pages=st.integers(1, 255),
        cpu=CPUS,
        task=TASKS,
    )
    @precondition(lambda self: self.is_alive and self.pair.pins)
    def split_other(self, pick, first, pages, cpu, task):
        slots = sorted(self.pair.pins)
        slot = slots[pick % len(slots)]
        nr_pages = 1 << self.pair.pins[slot]
        first = min(first, nr_pages - 1)
        pages = min(pages, nr_pages - first)
        self.do(f"split_other {slot} first={first} pages={pages}", cpu, task)

    @rule(
        first=st.integers(0, 1 << 20),
        order=st.integers(0, 9),
        pages=st.one_of(st.integers(1, 40), st.integers(1, 65535)),
        cpu=CPUS,
        task=TASKS,
    )
    @precondition(lambda self: self.is_alive)
    def set_memory(self, first, order, pages, cpu, task):
        nr_pages = self.pair.nr_pages
        first = first % nr_pages >> order << order
        pages = min(pages, nr_pages - first)
        self.do(f"set_memory first={first} pages={pages}", cpu, task)

    @rule(nr=st.sampled_from([1, 2, 5, 16, 64, 100, 512, 2048]), cpu=CPUS, task=TASKS)
    @precondition(lambda self: self.is_alive)
    def shrink(self, nr, cpu, task):
        self.do(f"shrink {nr}", cpu, task)

    @rule(priority=st.sampled_from([12, 12, 3, 1, 0]), cpu=CPUS, task=TASKS)
    @precondition(lambda self: self.is_alive)
    def shrink_slab(self, priority, cpu, task):
        self.do(f"shrink_slab priority={priority}", cpu, task)

    @rule(task=TASKS)
    @precondition(lambda self: self.is_alive)
    def drain(self, task):
        self.do("drain", task=task)

    @rule(cpu=CPUS, task=TASKS)
    @precondition(lambda self: self.is_alive)
    def reclaim(self, cpu, task):
        self.do("reclaim", cpu, task)

    @rule(order=st.integers(0, 13), cpu=CPUS, task=TASKS)
    @precondition(lambda self: self.is_alive)
    def compact(self, order, cpu, task):
        self.do(f"compact order={min(order, self.largest)}", cpu, task)

    @rule(
        point=st.sampled_from(["alloc_pages", "set_pkey", "set_pkey", "charge"]),
        mode=st.sampled_from(["nth", "nth", "every", "share", "off"]),
        n=st.integers(1, 30),
        pkey=st.sampled_from([-1, 0, 1]),
        half=st.booleans(),
        orders=st.sampled_from([0, 0, 1 << 9, 1 << 2, 0x3FF0]),
    )
    @precondition(lambda self: self.is_alive)
    def fault(self, point, mode, n, pkey, half, orders):
        text = f"fault {point} {mode}"
        if mode != "off":
            text += f" n={n * 30000 if mode == 'share' else n}"
            text += f" seed={n}" if mode == "share" else ""
            text += f" orders={orders:#x}" if point == "alloc_pages" and orders else ""
            text += f" pkey={pkey}" if point == "set_pkey" and pkey >= 0 else ""
            text += " half" if point == "set_pkey" and half else ""
        self.do(text)

    def teardown(self):
        if self.pair is not None:
            if self.is_alive:
                self.pair.model.check()
            self.pair.close()


NR_EXAMPLES = int(os.environ.get("KPB_LOCKSTEP_EXAMPLES", "0"))


def run_random(programs, nr_examples):
    """Random programs, the same ones each time unless more of them are asked for."""
    run_state_machine_as_test(
        programs,
        settings=settings(
            max_examples=NR_EXAMPLES or nr_examples,
            derandomize=not NR_EXAMPLES,
            database=None,
            stateful_step_count=40,
            deadline=None,
            # what would be explained is the program, which is short by then
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("page_size", list(LAYOUTS))
def test_random_programs_do_the_same_in_machine_and_model(page_size):
    class SamePrograms(Programs):
        @initialize(box=boxes(page_size), boot=BOOTS)
        def create(self, box, boot):
            self.start(box, boot)

    run_random(SamePrograms, 80)


@pytest.mark.parametrize("page_size", list(LAYOUTS))
def test_random_programs_do_the_same_through_allocator_files(page_size):
    class SameFiles(Programs):
        files = FILES

        @initialize(box=boxes(page_size, orders=[()]), boot=BOOTS)
        def create(self, box, boot):
            self.start(box, boot)

    run_random(SameFiles, 12)


@pytest.mark.parametrize("path", sorted(TRACES.glob("*.txt")), ids=lambda path: path.stem)
def test_trace_does_the_same_in_machine_and_model(path):
    text = path.read_text()
    # an allocator file has its own refill orders, which are those of v6
    files = FILES if read(text)[0].has_default_orders else ()
    run(text, files).close()


def test_program_survives_printing_and_reading():
    box = Box(
        page_size="16K",
        ram=96 * MB,
        refill_orders=(7, 2),
        no_pcp=True,
        holes=((MB, 48 * KB), (3 * MB, 16)),
        memblock_fault=("nth", 2, 0),
    )
    assert read(f"# what it shows\n{box}\ninit\nalloc 0-3 user # why\n\n") == (
        box,
        ["init", "alloc 0-3 user"],
    )


def test_difference_prints_a_program_that_shows_it():
    pair = run("nr_cpus=2\ninit\nalloc 0-3 user\n")
    pair.model.counters["frees"] += 1
    with pytest.raises(Difference) as caught:
        pair.do("free 2")
    pair.close()
    message, program = str(caught.value).split("\n", 1)
    assert message == "counters: machine {'frees': 1}, model {'frees': 2}"
    assert read(program) == (Box(nr_cpus=2), ["init", "alloc 0-3 user", "free 2"])
