# SPDX-License-Identifier: GPL-2.0-only
"""Many boots: all combinations of what a boot depends on, on all cores, to one CSV.

The CSV is its own checkpoint. It is replaced as a whole every few seconds and in the end; its
column ``sweep`` is a digest of the definition, so that a second run knows whether it may continue.
Rows are in the order of the definition, whoever computed them and when.
"""

import csv
import hashlib
import io
import json
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from kpkeys_bench import boot as booting
from kpkeys_bench import sysinfo
from kpkeys_bench.boot import CLAIM_PTES, LAYOUTS, MIN_CPUS, ORDERS, BootSetup, boot
from kpkeys_bench.boot_report import plural, rows_table
from kpkeys_bench.errors import ConfigError, MachineError, ResultError
from kpkeys_bench.geometry import PAGE_SHIFTS, VA_BITS, geometry
from kpkeys_bench.machine import ALLOCATOR_PARAMS, BBML2_CASES, MAX_POSSIBLE_CPUS
from kpkeys_bench.results import SCHEMA_VERSION, Row, write_text
from kpkeys_bench.strategy import ALLOCATORS, is_allocator_file

MAX_BOOTS: Final = 1_000_000
DEFAULT_CSV: Final = "boot-sweep.csv"
CHUNK: Final = 8
"""Boots that a process does in one go."""
SAVE_S: Final = 5.0
"""So often, in seconds, the CSV is replaced."""

#: RAM that all stacks of 4096 CPUs leave mostly free.
_BORDER_RAM: Final = 64 << 30
_KEYS: Final = ("sweep", "boot")
_TEXTS: Final = ("error", "check")
#: Columns that hold words, even if those are digits.
_NAMES: Final = frozenset(
    {name for name, value in BootSetup().identity().items() if isinstance(value, str)}
    | {"sweep", *_TEXTS}
)
#: Counts that are not known of every boot, even if it gets to its end.
_MAY_BE_EMPTY: Final = ("deferred_ranges", "deferred_span_pages", "unprotected_page_ns")
Progress = Callable[[int, int], None]
"""Called with the number of boots done, and of all."""


@dataclass(frozen=True)
class Sweep:
    """What is combined with what; the last of these axes varies fastest.

    Attributes
    ----------
    page_sizes, layouts, bbml2, first_orders : tuple of str
        As in `BootSetup`; orders by name (`ORDERS`) or number. Numbers that a page size does not
        have are left out for it.
    nr_cpus, threads_per_cpu, va_bits : tuple of int
        As in `BootSetup`. Numbers of bits that a page size does not have are left out for it.
    rams : tuple of int
        Bytes of RAM; `base` has them if there are none. A layout with a size of its own comes once.
    kasan : tuple of bool
        As in `BootSetup`.
    allocators : tuple of str
        ``NAME`` or ``NAME=N`` with a variant's parameter.
    base : BootSetup
        Everything else.
    """

    page_sizes: tuple[str, ...] = tuple(PAGE_SHIFTS)
    va_bits: tuple[int, ...] = (0,)
    rams: tuple[int, ...] = ()
    kasan: tuple[bool, ...] = (False, True)
    layouts: tuple[str, ...] = ("plain", "crashkernel-1G", "firmware-64M")
    first_orders: tuple[str, ...] = ORDERS
    threads_per_cpu: tuple[int, ...] = (4,)
    bbml2: tuple[str, ...] = ("all", "late-cpu")
    nr_cpus: tuple[int, ...] = (2, 512, 1024, 4096)
    allocators: tuple[str, ...] = ("pba", *sorted((*ALLOCATOR_PARAMS, "deferred-marks")))
    base: BootSetup = field(default_factory=BootSetup)

    def __post_init__(self) -> None:
        sizes = tuple(geometry(size).page_size for size in self.page_sizes)
        object.__setattr__(self, "page_sizes", sizes)
        for axis in fields(self):
            values = getattr(self, axis.name)
            if isinstance(values, tuple):
                object.__setattr__(self, axis.name, tuple(dict.fromkeys(values)))
        _check_names("layout", self.layouts, LAYOUTS)
        _check_names("bbml2", self.bbml2, BBML2_CASES)
        for number in self.nr_cpus:
            if not MIN_CPUS <= number <= MAX_POSSIBLE_CPUS:
                raise ConfigError(f"{number} CPUs: give {MIN_CPUS} to {MAX_POSSIBLE_CPUS}")
        for name in self.allocators:
            split_allocator(name)
        nr_boots = math.prod(
            len(getattr(self, axis.name) or (0,)) for axis in fields(self) if axis.name != "base"
        )
        if nr_boots > MAX_BOOTS:
            raise ConfigError(f"{nr_boots:,} boots: give at most {MAX_BOOTS:,}, split the sweep")
        if not self.setups:
            raise ConfigError(
                "this sweep has no boot: no page size has such a first refill order, or VA bits"
            )

    @cached_property
    def setups(self) -> list[BootSetup]:
        """All boots, in order."""
        return list(self._setups())

    def _setups(self) -> Iterator[BootSetup]:
        axes = (
            self.page_sizes,
            self.va_bits,
            self.rams or (self.base.ram,),
            self.kasan,
            self.layouts,
            self.first_orders,
            self.threads_per_cpu,
        )
        for page_size, va_bits, ram, kasan, layout, order, threads in product(*axes):
            if va_bits and va_bits not in VA_BITS[page_size]:
                continue
            if LAYOUTS[layout].ram is not None and ram != axes[2][0]:
                continue
            orders = geometry(page_size).refill_orders
            if order not in ORDERS and not (order.isdecimal() and int(order) in orders):
                if not order.isdecimal():
                    raise ConfigError(
                        f"first refill order {order!r}: give {', '.join(ORDERS)} or a number"
                    )
                continue
            fixed = replace(
                self.base,
                page_size=page_size,
                va_bits=va_bits,
                ram=ram,
                kasan=kasan,
                layout=layout,
                threads_per_cpu=threads,
                first_refill_order=0,
            ).with_first_order(order)
            for bbml2, nr_cpus, name in product(self.bbml2, self.nr_cpus, self.allocators):
                allocator, param = split_allocator(name)
                yield replace(
                    fixed, bbml2=bbml2, nr_cpus=nr_cpus, allocator=allocator, variant_param=param
                )

    def digest(self) -> str:
        """What the column ``sweep`` holds: different for every definition, and for other code."""
        code = f"{SCHEMA_VERSION} {sysinfo.package_version()} {sysinfo.core_sources()}"
        digest = hashlib.sha256("\n".join([code, *map(repr, self.setups)]).encode())
        # where memory is, and what is counted
        digest.update(Path(booting.__file__).read_bytes())
        return digest.hexdigest()[:16]


def _check_names(what: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{what} {name!r}: there are {', '.join(known)}")


def split_allocator(text: str) -> tuple[str, int]:
    """A name and the parameter of a variant: ``"early-regions=4"``; 0 for its own.

    Raises
    ------
    ConfigError
        If there is no such allocator, or it has no parameter.
    """
    name, equals, number = text.partition("=")
    if is_allocator_file(name):
        raise ConfigError(f"allocator {name}: a sweep is for those that are built in")
    if name not in ALLOCATORS or name == "null":
        known = ", ".join(sorted(set(ALLOCATORS) - {"null"}))
        raise ConfigError(f"allocator {name!r}: there are {known}")
    if not equals:
        return name, 0
    if name not in ALLOCATOR_PARAMS or not number.isdecimal() or len(number) > 9:
        raise ConfigError(
            f"allocator {text[:40]!r}: give NAME=N for {', '.join(sorted(ALLOCATOR_PARAMS))}"
        )
    return name, int(number)


def _text(value: Any) -> str:  # noqa: ANN401 - a cell holds what a column holds
    return "" if value is None else str(value)


def _columns(sweep: Sweep) -> list[str]:
    """The header: every boot has the same columns."""
    small = replace(sweep.setups[0], nr_cpus=2, allocator="pba", variant_param=0, bbml2="all")
    return [*_KEYS, *boot(small).row]


def _boots(first: int, setups: Sequence[BootSetup]) -> list[tuple[int, list[str]]]:
    """Boot some in a row; what the processes do."""
    done = []
    for i, setup in enumerate(setups):
        done.append((first + i, [_text(value) for value in boot(setup).row.values()]))
    return done


def _ignore_interrupts() -> None:
    """Ctrl-C is for the process that collects."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Table:
    """The CSV, as far as it has been computed."""

    def __init__(self, sweep: Sweep, target: str) -> None:
        self.target = target
        self.setups = sweep.setups
        self.digest = sweep.digest()
        self.nr_boots = len(sweep.setups)
        self.columns = _columns(sweep)
        self.rows: dict[int, list[str]] = {}
        self.saved = -SAVE_S

    def load(self) -> None:
        """Continue what is in the file.

        Raises
        ------
        ResultError
            If it cannot be read or holds something else.
        """
        path = Path(self.target)
        if self.target == "-" or not path.is_file():
            return
        try:
            with path.open(newline="", encoding="utf-8") as file:
                lines = list(csv.reader(file))
        except (OSError, ValueError, csv.Error) as error:
            raise ResultError(f"cannot read {self.target}: {error}; name another file") from None
        if not lines:
            return
        header, *rows = lines
        if header != self.columns:
            raise ResultError(f"{self.target} holds no such sweep: name another file or remove it")
        for line, row in enumerate(rows, 2):
            if row and row[0] != self.digest:
                raise ResultError(
                    f"{self.target} holds another sweep, or one of another build "
                    f"({row[0][:16]}, this one is {self.digest}): name another file or remove it"
                )
            wrong = self._take(row)
            if wrong:
                raise ResultError(
                    f"{self.target}:{line}: {wrong}: remove the line, and it is booted again"
                )

    def _take(self, row: Sequence[str]) -> str:
        """Keep a row of the file, unless it cannot be what a boot of this sweep wrote: why not."""
        if len(row) != len(self.columns):
            return f"{len(row)} columns, not {len(self.columns)}"
        number = int(row[1]) if row[1].isdecimal() and len(row[1]) <= len(str(MAX_BOOTS)) else -1
        if not 0 <= number < self.nr_boots:
            return f"boot {row[1][:20]!r}, not 0 to {self.nr_boots - 1}"
        if number in self.rows:
            return f"boot {number} is there twice"
        cells = dict(zip(self.columns[len(_KEYS) :], row[len(_KEYS) :], strict=True))
        identity = self.setups[number].identity()
        for column, cell in cells.items():
            if column in identity:
                if cell != _text(identity[column]):
                    return f"{column} {cell[:20]!r}, but boot {number} has {identity[column]!r}"
            elif column in _TEXTS or cell.isdecimal():
                continue
            elif cell or not (cells["error"] or column in _MAY_BE_EMPTY):
                return f"{column} {cell[:20]!r} is no count"
        self.rows[number] = list(row[len(_KEYS) :])
        return ""

    def add(self, done: Sequence[tuple[int, list[str]]]) -> None:
        """Take what a process has computed; write it now and then."""
        self.rows.update(done)
        if self.target != "-" and time.monotonic() - self.saved > SAVE_S:
            self.save()

    def save(self) -> None:
        """Replace the file."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([self.digest, i, *self.rows[i]] for i in sorted(self.rows))
        write_text(self.target, buffer.getvalue())
        self.saved = time.monotonic()

    def missing(self) -> list[int]:
        """Boots that are still to be done."""
        return [i for i in range(self.nr_boots) if i not in self.rows]

    def records(self) -> list[dict[str, str]]:
        """Rows by column, in order."""
        return [
            dict(zip(self.columns, [self.digest, str(i), *self.rows[i]], strict=True))
            for i in sorted(self.rows)
        ]


def run(
    sweep: Sweep, target: str, *, jobs: int = 0, progress: Progress | None = None
) -> list[dict[str, str]]:
    """Do all boots that the CSV does not have yet.

    Parameters
    ----------
    sweep : Sweep
        The definition.
    target : str
        The CSV; ``"-"`` for standard output, which cannot be continued.
    jobs : int
        Processes; 0 for one a CPU, 1 for this one alone.
    progress : callable, optional
        Called after every few boots.

    Returns
    -------
    list of dict
        All rows, in order, as they are in the CSV.

    Raises
    ------
    ResultError
        If the CSV holds something else, or cannot be written.
    KeyboardInterrupt
        After what has been done was written.
    """
    table = _Table(sweep, target)
    table.load()
    setups = sweep.setups
    jobs = jobs or len(os.sched_getaffinity(0))
    chunks = list(_chunks(table.missing(), CHUNK))
    try:
        for done in _results([(c[0], [setups[i] for i in c]) for c in chunks], jobs):
            table.add(done)
            if progress is not None:
                progress(len(table.rows), table.nr_boots)
    finally:
        # standard output cannot be continued: it takes a whole sweep or nothing
        if chunks if target != "-" else not table.missing():
            table.save()
    return table.records()


def _chunks(numbers: Sequence[int], size: int) -> Iterator[list[int]]:
    """Runs of consecutive numbers, each at most so long."""
    chunk: list[int] = []
    for number in numbers:
        if chunk and (len(chunk) == size or number != chunk[-1] + 1):
            yield chunk
            chunk = []
        chunk.append(number)
    if chunk:
        yield chunk


def _results(
    work: Sequence[tuple[int, list[BootSetup]]], jobs: int
) -> Iterator[list[tuple[int, list[str]]]]:
    """Chunks as they are done, in any order."""
    if jobs == 1 or len(work) < 2:
        for first, setups in work:
            yield _boots(first, setups)
        return
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(
        min(jobs, len(work)), mp_context=context, initializer=_ignore_interrupts
    )
    try:
        futures: list[Future[list[tuple[int, list[str]]]]] = [
            pool.submit(_boots, first, setups) for first, setups in work
        ]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise MachineError(
            "a process that boots was killed (is the host out of memory?): run the same again to "
            "continue, with fewer --jobs"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def border(setup: BootSetup, holds: Callable[[Row], bool]) -> int:
    """The largest number of CPUs, 2 to 4096, up to which something holds; 0 if it never does.

    Found by booting, on the premise that more CPUs do not make it better.
    """
    low, high = MIN_CPUS - 1, MAX_POSSIBLE_CPUS
    while low < high:
        middle = (low + high + 1) // 2
        if holds(_to_window(replace(setup, nr_cpus=middle))):
            low = middle
        else:
            high = middle - 1
    return low if low >= MIN_CPUS else 0


def _to_window(setup: BootSetup) -> Row:
    """What the early window asks for; the boot goes no further."""
    with setup.machine() as machine:
        machine.boot_phases("window")
        counters = machine.boot_counters()
    causes = counters["ptps"]["window"].values()
    return {
        "ptes_early_window": sum(by_level["pte"] for by_level in causes),
        "early_regions": counters["early_regions"],
    }


def borders(sweep: Sweep) -> list[Row]:
    """Up to how many CPUs the claim holds, and the early region does, where RAM is no limit."""

    def claim(row: Row) -> bool:
        return bool(row["ptes_early_window"] <= CLAIM_PTES)

    def fits(row: Row) -> bool:
        return bool(row["early_regions"] <= 1)

    rows = []
    threads = sweep.threads_per_cpu[-1]
    for page_size, kasan in product(sweep.page_sizes, sweep.kasan):
        plain = replace(
            sweep.base,
            page_size=page_size,
            kasan=kasan,
            threads_per_cpu=threads,
            first_refill_order=0,
            allocator="pba",
            variant_param=0,
            bbml2="all",
            ram=max(sweep.base.ram, _BORDER_RAM),
            layout="plain",
            holes=(),
            reserved=(),
        )
        alone = replace(plain, threads_per_cpu=0, nr_ioremap=0, percpu_chunks=0)
        row: Row = {
            "page_size": page_size,
            "kasan": int(kasan),
            "claim_irq_cpus": border(alone, claim),
            "claim_all_cpus": border(plain, claim),
        }
        for order in sweep.first_orders:
            if order in ORDERS or int(order) in geometry(page_size).refill_orders:
                row[f"fits_{order}_cpus"] = border(plain.with_first_order(order), fits)
        rows.append(row)
    return rows


def remedies(sweep: Sweep, rows: Sequence[Mapping[str, str]]) -> list[Row]:
    """What each allocator left unprotected and what it had to hold, by BBML2 case.

    ``held_over_pba_pages`` is a mean over the boots that this allocator and pba both finished.
    """
    nr = len(sweep.allocators)
    groups: dict[tuple[str, str, str], list[Mapping[str, str]]] = {}
    pba = {}
    for row in rows:
        groups.setdefault((row["bbml2"], row["allocator"], row["variant"]), []).append(row)
        if row["allocator"] == "pba" and not row["error"]:
            # allocators are the axis that varies fastest
            pba[int(row["boot"]) // nr] = int(row["held_end_pages"])
    found = []
    for (bbml2, allocator, variant), own in groups.items():
        good = [row for row in own if not row["error"]]
        held = {int(row["boot"]) // nr: int(row["held_end_pages"]) for row in good}
        over = [pages - pba[i] for i, pages in held.items() if i in pba]
        found.append(
            {
                "bbml2": bbml2,
                "allocator": allocator,
                "variant": variant,
                "boots": len(own),
                "panics": len(own) - len(good),
                "boots_forgetting": sum(row["regions_untracked"] != "0" for row in good),
                "forgotten_max_pages": _most(good, "unprotected_region_pages"),
                "other_max_pages": _most(good, "unprotected_other_pages"),
                "held_mean_pages": sum(held.values()) / len(held) if held else None,
                "held_over_pba_pages": sum(over) / len(over) if over else None,
                "regions_max": _most(good, "early_regions"),
                "ranges_max": _most(good, "deferred_ranges"),
                "span_max_pages": _most(good, "deferred_span_pages"),
            }
        )
    return found


def fallbacks(sweep: Sweep, rows: Sequence[Mapping[str, str]]) -> list[Row]:
    """What each layout did to the first refill of pba with v6's whole list of orders."""
    found = []
    for page_size, layout in product(sweep.page_sizes, sweep.layouts):
        whole = "-".join(map(str, geometry(page_size).refill_orders))
        own = [
            row
            for row in rows
            if (row["page_size"], row["layout"], row["allocator"], row["refill_orders"])
            == (page_size, layout, "pba", whole)
        ]
        good = [row for row in own if not row["error"]]
        orders = sorted({int(row["first_refill_order"]) for row in good}, reverse=True)
        if own:
            found.append(
                {
                    "page_size": page_size,
                    "layout": layout,
                    "first_refill_orders": " ".join(map(str, orders)),
                    "boots": len(own),
                    "panics": len(own) - len(good),
                    "boots_forgetting": sum(row["regions_untracked"] != "0" for row in good),
                    "forgotten_max_pages": _most(good, "unprotected_region_pages"),
                }
            )
    return found


def _most(rows: Sequence[Mapping[str, str]], column: str) -> int | None:
    return max((int(row[column]) for row in rows if row[column]), default=None)


def _up_to(cpus: int) -> str:
    if cpus >= MAX_POSSIBLE_CPUS:
        return f"all {MAX_POSSIBLE_CPUS:,} CPUs"
    return f"up to {cpus:,} CPUs" if cpus else "not even 2 CPUs"


def answer(sweep: Sweep, limits: Sequence[Row], costs: Sequence[Row]) -> list[str]:
    """What the sweep says, in sentences."""
    threads = sweep.threads_per_cpu[-1]
    lines = []
    for row in limits:
        what = f"{row['page_size']} pages{' with KASAN' if row['kasan'] else ''}"
        orders = dict(zip(ORDERS, geometry(row["page_size"]).refill_orders, strict=True))
        room = [
            f"{_up_to(row[key])} (order {orders.get(order, order)})"
            for key, order in ((key, key.split("_")[1]) for key in row if key.startswith("fits_"))
        ]
        lines.append(
            f"{what}: {CLAIM_PTES} PTE tables do for the IRQ stacks of "
            f"{_up_to(row['claim_irq_cpus'])}, and for {1 + threads} stacks each of "
            f"{_up_to(row['claim_all_cpus'])}; one early region does for {', '.join(room)}."
        )
    if len(sweep.first_orders) > 1 and any(r["allocator"] == "sized-refill" for r in costs):
        lines.append(
            "A first refill that is left out by --first-refill-order does not bind sized-refill: "
            "what real layouts do to it is seen with --layout."
        )
    for row in costs:
        name = row["allocator"] + (f" ({row['variant']})" if row["variant"] else "")
        lines.append(f"BBML2 {row['bbml2']}, {name}: {_cost_in_words(row)}.")
    other = max((row["other_max_pages"] or 0 for row in costs), default=0)
    if other:
        lines.append(
            f"Whatever the allocator, up to {plural(other, 'table')} of the linear map itself "
            "never get the pkey where memblock has no whole chunk for them."
        )
    return lines


def _cost_in_words(row: Row) -> str:
    good = row["boots"] - row["panics"]
    if not good:
        return "no boot gets to its end"
    if row["boots_forgetting"]:
        text = (
            f"{row['boots_forgetting']:,} of {plural(good, 'boot')} forget regions, which leaves "
            f"up to {plural(row['forgotten_max_pages'], 'page')} unprotected for good"
        )
    else:
        text = f"none of {plural(good, 'boot')} forgets a region"
    text += f"; it holds {row['held_mean_pages']:,.0f} pages on average"
    if row["allocator"] != "pba" and row["held_over_pba_pages"] is not None:
        text += f" ({row['held_over_pba_pages']:+,.1f} against pba)"
    return text + _memory_in_words(row)


def _memory_in_words(row: Row) -> str:
    """What the remedy has to remember in the worst case."""
    if not row["regions_max"]:
        return ""
    if row["allocator"] == "early-regions":
        return f", and {row['regions_max']:,} regions would have to be remembered at most"
    if row["allocator"] == "deferred-list":
        return f", and {row['ranges_max'] or 0:,} ranges would have to be in the list at most"
    if row["allocator"] == "deferred-marks":
        return f", and late initialisation walks over {row['span_max_pages'] or 0:,} frames at most"
    return ""


def page(sweep: Sweep, rows: Sequence[Mapping[str, str]]) -> tuple[RenderableType, dict[str, Any]]:
    """Tables and sentences for people, and the same as a document for machines."""
    limits, costs, layouts = borders(sweep), remedies(sweep, rows), fallbacks(sweep, rows)
    lines = answer(sweep, limits, costs)
    shown = Group(
        Text("Up to how many CPUs (found by bisection, pba, 64 GB or more)", style="italic"),
        rows_table(limits),
        Text(
            "The first refill of pba, by layout of RAM (v6's whole list of orders)", style="italic"
        ),
        rows_table(layouts),
        Text("What is left, and what it costs", style="italic"),
        rows_table([_short(row) for row in costs]),
        *(Text(line) for line in lines),
    )
    document = {
        "schema": SCHEMA_VERSION,
        "sweep": sweep.digest(),
        "borders": limits,
        "layouts": layouts,
        "remedies": costs,
        "answer": lines,
        "boots": [_typed(row) for row in rows],
    }
    return shown, document


def _typed(row: Mapping[str, str]) -> Row:
    """A row of the CSV with numbers as such; what is not known is None, as for one boot."""
    typed: Row = {}
    for column, cell in row.items():
        if column in _NAMES:
            typed[column] = cell
        else:
            typed[column] = int(cell) if cell else None
    return typed


def _short(row: Row) -> Row:
    """A row of the second table, with an allocator's parameter beside its name."""
    _, equals, number = row["variant"].rpartition("=")
    name = row["allocator"] + equals + (number if equals else "")
    return {k: v for k, v in row.items() if k != "variant"} | {"allocator": name}


def to_json(document: Mapping[str, Any], target: str) -> list[Path]:
    """Write the document of `page`."""
    return write_text(target, json.dumps(document, indent=1) + "\n")
