# SPDX-License-Identifier: GPL-2.0-only
"""What people read of a boot: the timeline, the answer in words, and what goes to files."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from rich import box
from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from kpkeys_bench.boot import CLAIM_PTES, LAYOUTS, MAP_COLUMNS, SIZES, Boot
from kpkeys_bench.geometry import format_bytes, geometry
from kpkeys_bench.machine import LEVELS
from kpkeys_bench.report import strategy_label
from kpkeys_bench.results import SCHEMA_VERSION, Row, csv_text, is_special, write_text

#: Causes of tables that share a column of the timeline: heading and causes.
_CAUSE_COLUMNS: Final = (
    ("IRQ\nstacks", ("irq_stack",)),
    ("thread\nstacks", ("idle_thread", "percpu_thread")),
    ("ioremap", ("ioremap",)),
    ("percpu", ("percpu",)),
    ("map to\nPTEs", ("linear_map_split",)),
    ("other\nsplits", ("other_split",)),
)
#: Columns of the timeline after those: column of a phase row, heading.
_COLUMNS: Final = (
    ("early_capacity_pages", "early\nleft"),
    ("regions_early", "early\nregions"),
    ("regions_tracked", "tracked"),
    ("regions_untracked", "un-\ntracked"),
    ("unprotected_pages", "unpro-\ntected"),
    ("warnings", "warn-\nings"),
    ("sleeps_in_atomic", "sleeps in\natomic"),
    ("splits", "splits"),
    ("split_ptps", "tables\nspent"),
)


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def _number(value: Any) -> str:  # noqa: ANN401 - a cell holds what a column holds
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def timeline(boot: Boot) -> RenderableType:
    """One line per phase: tables asked for in it by cause, and the state after it."""
    table = _table()
    table.add_column("phase", no_wrap=True)
    shown = [c for c in _CAUSE_COLUMNS if _asked(boot.phases, c[1]) or c[0] == "IRQ\nstacks"]
    for heading in [c[0] for c in shown] + [c[1] for c in _COLUMNS]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in boot.phases:
        cells = [sum(row[f"ptps_{cause}"] for cause in causes) for _, causes in shown]
        cells += [row[column] for column, _ in _COLUMNS]
        table.add_row(row["phase"], *map(_number, cells))
    return table


def _asked(phases: Sequence[Row], causes: Sequence[str]) -> int:
    return sum(row[f"ptps_{cause}"] for row in phases for cause in causes)


def size_names(page_size: str) -> dict[str, str]:
    """``DirectMap`` names of the linear map's leaves, by the column that counts them."""
    geo = geometry(page_size)
    orders = {
        "pud": geo.pud_order,
        "contpmd": geo.cont_pmd_order,
        "pmd": geo.pmd_order,
        "contpte": geo.cont_pte_order,
        "pte": 0,
    }
    hint = {"contpmd": " contPMD", "contpte": " contPTE"}
    return {
        f"map_{size}_kb": f"DirectMap{format_bytes(1 << geo.page_shift + orders[size])}"
        f"{hint.get(size, '')}"
        for size in SIZES
        if size == "pte" or orders[size]
    }


def direct_map(boot: Boot) -> RenderableType:
    """The linear map after each phase, under the names of /proc/meminfo."""
    names = size_names(boot.setup.page_size)
    table = _table()
    table.add_column("phase", no_wrap=True)
    for column in reversed(MAP_COLUMNS):
        if column in names:
            table.add_column(names[column].replace(" ", "\n"), justify="right", no_wrap=True)
    table.add_column("leaves", justify="right")
    for row in boot.phases:
        cells = [f"{row[c]:,} kB" for c in reversed(MAP_COLUMNS) if c in names]
        table.add_row(row["phase"], *cells, _number(row["map_leaves"]))
    return table


def rows_table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Rows with the same keys; numbers to the right, with separators."""
    table = _table()
    numeric = {k for k in rows[0] if any(isinstance(row[k], int | float) for row in rows)}
    for key in rows[0]:
        justify: JustifyMethod = "right" if key in numeric else "left"
        heading = key.replace("_", "\n", 1)
        table.add_column(heading, justify=justify, no_wrap=key != "what")
    for row in rows:
        table.add_row(*(Text(_number(value)) for value in row.values()))
    return table


def plural(number: int, what: str) -> str:
    """``"1 page"``, ``"2 pages"``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def answer(boot: Boot) -> list[str]:
    """What happened, in sentences."""
    row = boot.row
    lines = []
    if row["error"]:
        done = boot.phases[-1]["phase"] if boot.phases else "nothing"
        lines.append(f"The boot ends after {done}: {row['error']}.")
    if row["phases"] >= 3:
        lines += _window_in_words(boot)
    if row["ptps_linear_map_split"] or _hints_lost(boot):
        lines.append(_split_in_words(boot))
    if not row["error"]:
        lines += _end_in_words(boot)
    if boot.speed:
        lines += _speed_in_words(boot)
    if boot.recorded:
        lines.append(_recorded_in_words(boot))
    return lines


def _window_in_words(boot: Boot) -> list[str]:
    row = boot.row
    ptes, limit = row["ptes_early_window"], CLAIM_PTES
    irq = row["ptes_irq_stacks"]
    holds = "holds" if ptes <= limit else f"fails by {ptes - limit:,}"
    if irq <= limit < ptes:
        holds = f"holds for IRQ stacks alone and fails by {ptes - limit:,} for all"
    elif limit < irq < ptes:
        holds += f" (for IRQ stacks alone by {irq - limit:,})"
    first = (
        f"The early window asks for {plural(row['ptps_early_window'], 'table')}: "
        f"{plural(ptes, 'PTE table')}, {irq:,} of them for IRQ stacks. The claim of at most "
        f"{limit} PTE tables {holds}."
    )
    lines = [first]
    if not row["early_regions"]:
        lines.append("Pages come one by one: there is no early region that could overflow.")
        return lines
    capacity = row["early_region_capacity_pages"]
    # the recorded kernel frees none of them
    recorded = sum(r["recorded_before_user_ptps"] for r in boot.recorded)
    over = row["ptps_early_window"] + recorded - capacity
    fits = f"so they fit, and {-over:,} are left" if over <= 0 else f"which is {over:,} too few"
    lines.append(
        f"The first refill got order {row['first_refill_order']}, good for {capacity:,} ordinary "
        f"requests{_with_recorded(recorded)}, {fits}."
    )
    return lines


def _with_recorded(tables: int) -> str:
    return f"; with the {plural(tables, 'table')} of the recorded kernel" if tables else ""


def _hints_lost(boot: Boot) -> int:
    """Splits of the phase in which secondary CPUs come online."""
    splits = {phase["phase"]: int(phase["splits"]) for phase in boot.phases}
    return splits["smp"] - splits["window"] if "smp" in splits else 0


def _split_in_words(boot: Boot) -> str:
    row, setup = boot.row, boot.setup
    geo = geometry(setup.page_size)
    split = [r for r in boot.causes if r["cause"] == "linear_map_split"]
    by_level = {level: sum(r["ptps"] for r in split if r["level"] == level) for level in LEVELS}
    parts = ", ".join(f"{n:,} {level.upper()}" for level, n in by_level.items() if n)
    smp = next((p for p in boot.phases if p["phase"] == "smp"), None)
    if smp is None:
        return (
            f"A CPU without BBML2 comes online: {_mapped(boot)} of linear map are to become PTEs, "
            f"but after {plural(row['ptps_linear_map_split'], 'table')} with GFP_ATOMIC ({parts}) "
            "there is none left."
        )
    before = next(p for p in boot.phases if p["phase"] == "window")
    if not row["ptps_linear_map_split"]:
        return (
            f"A CPU without BBML2 comes online: {_mapped(boot)} of linear map are in tables of "
            f"PTEs already, so that takes no table; {plural(_hints_lost(boot), 'contPTE group')} "
            "become PTEs."
        )
    return (
        f"A CPU without BBML2 comes online: {_mapped(boot)} of linear map become PTEs, "
        f"which takes {row['ptps_linear_map_split']:,} tables with GFP_ATOMIC ({parts}; a PTE "
        f"table maps {format_bytes(1 << geo.page_shift + geo.pmd_order)}), before any pkey can be "
        f"set: {smp['warnings'] - before['warnings']:,} warnings, "
        f"{smp['sleeps_in_atomic'] - before['sleeps_in_atomic']:,} sleeps in atomic context, "
        f"{plural(smp['regions_early'] - before['regions_early'], 'more region')} fetched."
    )


def _mapped(boot: Boot) -> str:
    """RAM without its holes."""
    first = boot.phases[0]
    return format_bytes(sum(first[column] for column in MAP_COLUMNS) << 10)


def _end_in_words(boot: Boot) -> list[str]:
    row = boot.row
    lines = []
    if row["unprotected_end_pages"]:
        parts = []
        if row["unprotected_region_pages"]:
            regions = plural(row["regions_untracked"], "region")
            parts.append(
                f"{row['unprotected_region_pages']:,} in {regions} that {row['allocator']} forgot"
            )
        if row["unprotected_other_pages"]:
            parts.append(
                f"{plural(row['unprotected_other_pages'], 'table')} of the linear map for which "
                "memblock had no whole chunk"
            )
        lines.append(
            f"{plural(row['unprotected_end_pages'], 'page')} "
            f"{'stays' if row['unprotected_end_pages'] == 1 else 'stay'} unprotected for good: "
            f"{' and '.join(parts) or 'since the workload began'}."
        )
    else:
        lines.append("After late initialisation every table is protected.")
    lines.append(
        f"Functional: no, {boot.broken}." if boot.broken else "Functional: all invariants hold."
    )
    if row["deferred_ranges"] and row["early_regions"] > 1:
        lines.append(
            f"To remember it all takes {row['early_regions']:,} early regions, or a list of "
            f"{plural(row['deferred_ranges'], 'range')}, or marks and a walk over "
            f"{row['deferred_span_pages']:,} frames; {row['early_region_pages']:,} pages were "
            "fetched."
        )
    return lines


def _speed_in_words(boot: Boot) -> list[str]:
    own, other = boot.speed
    memory = (
        f"Suboptimal in memory: on this map of PTEs nothing needs to be kept together, but of the "
        f"{own['held_boot_pages']:,} pages that {own['allocator']} has after boot "
        f"{own['cached_boot_pages']:,} are in nobody's use, and {own['cached_mean_pages']:,.0f} on "
        f"average during {own['workload']}; noblock keeps {other['cached_mean_pages']:,.0f}."
    )
    speed = (
        f"In time: {own['ns_per_op']:.1f} ns an operation against {other['ns_per_op']:.1f}, p99 "
        f"{own['service_ns_p99']:.0f} ns against {other['service_ns_p99']:.0f} (host nanoseconds "
        "of a closed loop, clock reads in p99)."
    )
    return [memory, speed]


def _recorded_in_words(boot: Boot) -> str:
    early = sum(r["recorded_before_user_ptps"] for r in boot.recorded)
    everything = sum(r["recorded_all_ptps"] for r in boot.recorded)
    seconds = boot.row["unprotected_page_ns"] / 1e9
    return (
        f"The recorded kernel (2 CPUs, 4 GB) asks for {early:,} tables before its first user "
        f"process and for {everything:,} in all; the former are replayed in the window, which is "
        f"more than belongs there. Unprotected pages x recorded time: {seconds:,.1f} page seconds "
        f"(emulated, about 28 times slower than hardware), and "
        f"{boot.row['unprotected_page_ops']:,} page operations."
    )


def title(boot: Boot) -> str:
    """What was booted, in one line."""
    setup, row = boot.setup, boot.row
    parts = [
        f"{setup.page_size} pages",
        f"{setup.nr_cpus:,} CPUs",
        f"{format_bytes(setup.ram)} RAM",
        f"BBML2 {setup.bbml2}",
        *(["KASAN"] if setup.kasan else []),
        *([f"layout {setup.layout} ({LAYOUTS[setup.layout].what})"] * (setup.layout != "plain")),
        f"{1 + setup.threads_per_cpu} stacks a CPU",
        strategy_label(row) + (f" ({row['variant']})" if row["variant"] else ""),
    ]
    return ", ".join(parts)


def page(boot: Boot) -> RenderableType:
    """Everything that people read of one boot."""
    parts: list[RenderableType] = [
        Text(title(boot), style="bold"),
        Text("Tables asked for in each phase, and the state after it", style="italic"),
        timeline(boot),
        direct_map(boot),
    ]
    if boot.recorded:
        parts += [Text("A real boot beside the model's window", style="italic")]
        parts += [rows_table(boot.recorded)]
    if boot.speed:
        parts += [Text("The running machine", style="italic"), rows_table(boot.speed)]
    if boot.warnings:
        shown = [{**w, "file": f"{w['file']}:{w['line']}"} for w in boot.warnings]
        shown = [{k: w[k] for k in ("file", "what", "count")} for w in shown]
        parts += [Text("Warnings", style="italic"), rows_table(shown)]
    return Group(*parts, *(Text(line) for line in answer(boot)))


def tables(boot: Boot) -> dict[str, list[Row]]:
    """All tables by name, those that are empty left out; rows say which boot they belong to."""
    return {name: rows for name, rows in _tables(boot).items() if rows}


def _tables(boot: Boot) -> dict[str, list[Row]]:
    key = {
        name: boot.row[name]
        for name in ("allocator", "variant", "page_size", "nr_cpus", "kasan", "bbml2", "ram_bytes")
    }
    return {
        "boots": [boot.row],
        "phases": [key | row for row in boot.phases],
        "causes": [key | row for row in boot.causes],
        "warnings": [key | row for row in boot.warnings],
        "recorded": [key | row for row in boot.recorded],
        "speed": [key | row for row in boot.speed],
    }


def to_json(boot: Boot, target: str) -> list[Path]:
    """One document with all tables as lists of objects, and the answer."""
    document: dict[str, Any] = {"schema": SCHEMA_VERSION, **tables(boot), "answer": answer(boot)}
    return write_text(target, json.dumps(document, indent=1) + "\n")


def to_csv(boot: Boot, target: str) -> list[Path]:
    """The result row to `target` and the other tables beside it; ``-`` takes the row alone.

    The file of a table that this boot does not have is removed: it would be of another boot.
    """
    written = []
    base = Path(target)
    beside = os.fspath(target) != "-" and not is_special(base)
    for name, rows in _tables(boot).items():
        text = csv_text(pd.DataFrame.from_records(rows))
        path = base.with_name(f"{base.stem}-{name}{base.suffix}")
        if name == "boots":
            written += write_text(target, text)
        elif beside and rows:
            written += write_text(path, text)
        elif beside:
            path.unlink(missing_ok=True)
    return written
