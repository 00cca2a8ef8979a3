# SPDX-License-Identifier: GPL-2.0-only
"""``snapshot`` and ``state``: memory as it was."""

from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource
from rich.console import Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from kpkeys_bench.cli.base import check_outputs, check_targets, count, emit, nr_bytes, outputs
from kpkeys_bench.errors import ConfigError
from kpkeys_bench.geometry import format_bytes
from kpkeys_bench.machine import DEFAULT_RAM, Machine
from kpkeys_bench.report import plain_table, wide_console
from kpkeys_bench.results import check_writable
from kpkeys_bench.states.image import (
    KINDS,
    MIGRATETYPES,
    PGTABLE,
    SUFFIX,
    MemoryImage,
    save_image,
    scatter,
)
from kpkeys_bench.states.procfs import PROC
from kpkeys_bench.states.snapshot import snapshot as take_snapshot
from kpkeys_bench.strategy import ALLOCATORS, Strategy, parse_state
from kpkeys_bench.workloads.workload import Workload, parse_workload

#: What the command ``state show`` makes its machine with: it needs the fewest tables of its own.
_SHOWN_WITH: Final = "pba"
_KNOWN: Final = "kpageflags"


def _scatter_rows(image: MemoryImage) -> list[dict[str, Any]]:
    """One row for each size of area; areas are None where places are not known."""
    tables: int | None = image.frames_of(PGTABLE)
    known = image.meta.get("variant") in {_KNOWN, "simulation", None}
    if not known:
        size_kb = image.meta.get("page_tables_kb")
        tables = None if size_kb is None else size_kb >> image.geometry.page_shift - 10
    return [
        {
            "area": name,
            "page_tables": tables,
            "areas": row["areas"] if known else None,
            "least": row["least"] if known else None,
            "total": row["total"],
        }
        for name, row in scatter(image).items()
    ]


def _said(image: MemoryImage) -> list[str]:
    """What is known of a state, in sentences."""
    meta = image.meta
    kinds = ", ".join(
        f"{KINDS[kind]} {pages:,}" for kind in range(len(KINDS)) if (pages := image.frames_of(kind))
    )
    lines = [
        f"{image.name}: {image.source}",
        f"{image.page_size} pages, RAM of {format_bytes(image.ram_bytes)} at {image.phys_base:#x}",
        f"sha256 {image.sha256}",
        f"pages: {kinds}",
    ]
    lines += [
        f"zone {z['node']}:{z['zone']} from frame {z['start_pfn']}: {z['managed']:,} pages, "
        f"{z['pcp_pages']:,} on per-CPU lists; {' '.join(map(str, z['buddyinfo']))}"
        for z in meta.get("zones") or ()
    ]
    what = {
        _KNOWN: "kpageflags: the use of every frame is known",
        "pagetypeinfo": "pagetypeinfo: numbers by order and type are known, places are drawn",
        "buddyinfo": "buddyinfo: numbers by order are known, types and places are drawn",
        "simulation": "simulation: every frame and the order of the lists are known",
    }
    lines.append(f"variant {what.get(str(meta.get('variant')), 'unknown')}")
    if meta.get("variant") == _KNOWN and meta.get("adjusted_pages") is not None:
        lines.append(
            f"{meta.get('adjusted_pages')} pages changed between free and used, so that the blocks "
            "are those of buddyinfo (its files are read one after the other)"
        )
    lines += [f"not read: {name}: {why}" for name, why in meta.get("unread") or ()]
    lines += [f"note: {note}" for note in meta.get("notes") or ()]
    mapped = meta.get("direct_map_kb") or {}
    if mapped:
        lines.append("its linear map: " + ", ".join(f"{k} {v} kB" for k, v in mapped.items()))
    return lines


def _text_of(lines: list[str], *tables: RenderableType) -> RenderableType:
    return Group(*(Text(line) for line in lines), *tables)


@click.command()
@click.option("-o", "--output", metavar="FILE", help=f"The {SUFFIX} file to write.")
@click.option(
    "--proc",
    "folder",
    default="/proc",
    show_default=True,
    metavar="DIR",
    help="A folder with copies of another machine's files, as they are called in /proc.",
)
@click.option(
    "--kpageflags",
    metavar="FILE",
    help="Page flags of another name; .xz will do.  [default: kpageflags or kpageflags.xz in DIR]",
)
@click.option(
    "--page-size",
    metavar="SIZE",
    help="Of that machine.  [default: this one's, or what the files tell]",
)
@click.option("--zone", metavar="[NODE:]NAME", help="One zone alone, such as Normal.")
@click.option(
    "--name", metavar="NAME", help="What the state is called.  [default: that of FILE or DIR]"
)
@click.option("--source", metavar="TEXT", help="Where it is from, one line.")
@click.option("--seed", default=1, show_default=True, help="Of places that are not known.")
@outputs
def snapshot(
    *,
    output: str | None,
    folder: str,
    kpageflags: str | None,
    page_size: str | None,
    zone: str | None,
    name: str | None,
    source: str | None,
    seed: int,
    json_file: str | None,
    csv_file: str | None,
) -> None:
    """Memory of this machine: how its page tables are scattered, and a state to start from.

    Reads buddyinfo, pagetypeinfo, kpageflags, zoneinfo, iomem and meminfo, as available: root sees
    all of them, other users know how many free blocks there are but not where.
    """
    check_outputs(json_file, csv_file)
    if output:
        check_writable(output)
    if seed < 0:
        raise ConfigError(f"seed {seed}: give 0 or more")
    called = name or (Path(output).stem if output else Path(folder).resolve().name)
    if not name and not output and Path(folder).resolve() == PROC:
        called = "this-machine"
    with wide_console(stderr=True).status("reading page flags"):
        image = take_snapshot(
            Path(folder),
            name=called,
            source=source or "",
            kpageflags=Path(kpageflags) if kpageflags else None,
            page_size=page_size,
            zone=zone,
            seed=seed,
        )
    if output:
        save_image(image, output)
    rows = _scatter_rows(image)
    lines = _said(image)
    if rows[0]["areas"] is None:
        lines.append("where page tables are is not known: kpageflags could not be read")
    document = {"state": _document(image), "scatter": rows}
    emit(rows, _text_of(lines, plain_table(rows)), json_file, csv_file, document=document)
    if output:
        wide_console(stderr=True).print(f"wrote {output}: {Path(output).stat().st_size:,} bytes")


def _document(image: MemoryImage) -> dict[str, Any]:
    return {
        "sha256": image.sha256,
        "page_size": image.page_size,
        "phys_base": image.phys_base,
        "ram_bytes": image.ram_bytes,
        "pages": {kind: image.frames_of(i) for i, kind in enumerate(KINDS)},
        **dict(image.meta),
    }


@click.group()
def state() -> None:
    """States of memory that a simulated machine can begin with."""


@state.command("show")
@click.argument("name", metavar="NAME|FILE")
@click.option(
    "--ram",
    default=format_bytes(DEFAULT_RAM),
    show_default=True,
    callback=nr_bytes,
    help="Of the machine, where the state has none.",
)
@click.option("--page-size", default="4K", show_default=True, metavar="SIZE", help="Likewise.")
@click.option("--seed", default=1, show_default=True, help="Of an aged state.")
@click.option("--plot", "plot_file", metavar="FILE", help="A picture (png, svg or pdf).")
@outputs
def state_show(
    *,
    name: str,
    ram: int,
    page_size: str,
    seed: int,
    plot_file: str | None,
    json_file: str | None,
    csv_file: str | None,
) -> None:
    """Make a machine of a state and show its buddyinfo beside the recorded one."""
    check_outputs(json_file, csv_file)
    check_targets(csv_file, json_file, plot_file)
    chosen = parse_state(name)
    image = chosen.image
    if image is not None:
        _refuse_given(image, "ram", "page_size")
    with Machine(
        Strategy(_SHOWN_WITH),
        page_size=image.page_size if image else page_size,
        ram=None if image else ram,
        state=chosen,
        seed=seed,
    ) as machine:
        simulated = machine.buddyinfo()
        shown = image or machine.image(chosen.name, f"{chosen.name} on {format_bytes(ram)}")
    rows = _order_rows(image, simulated)
    areas = _scatter_rows(shown)
    lines = _said(shown)
    differ = [row["order"] for row in rows if row["recorded"] not in {None, row["simulated"]}]
    if image is not None:
        lines.append(
            f"buddyinfo differs from the recorded one at orders {', '.join(map(str, differ))}: the "
            "linear map's own tables take free memory where too little is in use for good"
            if differ
            else "buddyinfo of the simulated machine is the recorded one"
        )
    document = {"state": _document(shown), "buddyinfo": rows, "scatter": areas}
    text = _text_of(lines, plain_table(_short(rows)), plain_table(areas))
    emit(rows, text, json_file, csv_file, document=document)
    if plot_file:
        from kpkeys_bench import plots  # noqa: PLC0415 - matplotlib is an extra and slow to import
        from kpkeys_bench.states.figure import state_figure  # noqa: PLC0415 - the same

        path = plots.save_figure(state_figure(shown), plot_file)
        wide_console(stderr=True).print(f"wrote {path}")


def _refuse_given(image: MemoryImage, *options: str) -> None:
    """A state that is of a machine has its size and its page size."""
    context = click.get_current_context()
    for option in options:
        if context.get_parameter_source(option) is not ParameterSource.DEFAULT:
            raise ConfigError(
                f"--{option.replace('_', '-')}: state {image.name} is of a machine with RAM of "
                f"{format_bytes(image.ram_bytes)} and {image.page_size} pages: leave it out"
            )


def _order_rows(image: MemoryImage | None, simulated: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """One row an order: free blocks recorded and simulated, all and by migratetype."""
    meta = image.meta if image is not None else {}
    recorded = meta.get("buddyinfo")
    by_type = meta.get("free_by_type") or {}
    rows = []
    for order, counts in enumerate(simulated.tolist()):
        row: dict[str, Any] = {
            "order": order,
            "recorded": _at(recorded, order),
            "simulated": sum(counts),
        }
        for kind, nr in zip(MIGRATETYPES, counts, strict=True):
            row |= {f"recorded_{kind}": _at(by_type.get(kind), order), f"simulated_{kind}": nr}
        rows.append(row)
    return rows


def _short(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with the recorded number of a type in brackets, where it is known."""
    return [
        {key: row[key] for key in ("order", "recorded", "simulated")}
        | {
            kind: f"{row[f'simulated_{kind}']}"
            + ("" if row[f"recorded_{kind}"] is None else f" ({row[f'recorded_{kind}']})")
            for kind in MIGRATETYPES
        }
        for row in rows
    ]


def _at(counts: object, order: int) -> int | None:
    if not isinstance(counts, list):
        return None
    return counts[order] if order < len(counts) else 0


@state.command("make")
@click.option("-o", "--output", required=True, metavar="FILE", help=f"The {SUFFIX} file to write.")
@click.option(
    "--workload", required=True, metavar="NAME[:KEY=N,...]", help="What leads to the state."
)
@click.option("--ops", default="1M", show_default=True, callback=count, help="How much of it.")
@click.option(
    "--allocator",
    default="pba",
    show_default=True,
    type=click.Choice(sorted(ALLOCATORS)),
    help="That the workload runs on.",
)
@click.option(
    "--state", "start", default="fresh", show_default=True, help="What memory is like before."
)
@click.option(
    "--page-size",
    metavar="SIZE",
    help="4K, 16K or 64K.  [default: that of the state before, or 4K]",
)
@click.option(
    "--ram",
    callback=lambda c, p, v: nr_bytes(c, p, v) if v else None,
    metavar="SIZE",
    help="64M to 1T.  [default: that of the state before, or 16G]",
)
@click.option("--seed", default=1, show_default=True, help="Of the workload and an aged state.")
@outputs
def state_make(
    *,
    output: str,
    workload: str,
    ops: int,
    allocator: str,
    start: str,
    page_size: str | None,
    ram: int | None,
    seed: int,
    json_file: str | None,
    csv_file: str | None,
) -> None:
    """Run a workload and save the memory that it leaves behind.

    Page tables that are in use then stay so for good, as tables of somebody else.
    """
    check_outputs(json_file, csv_file)
    check_writable(output)
    before = parse_state(start)
    with Machine(
        Strategy(allocator),
        page_size=page_size or (before.image.page_size if before.image else "4K"),
        ram=ram,
        state=before,
        seed=seed,
    ) as machine:
        _run(machine, parse_workload(workload), ops, seed)
        machine.check()
        image = machine.image(
            Path(output).stem,
            f"simulated: {ops} operations of {workload} with seed {seed} on {allocator}, "
            f"from {before.name}",
        )
    save_image(image, output)
    rows = _scatter_rows(image)
    document = {"state": _document(image), "scatter": rows}
    emit(rows, _text_of(_said(image), plain_table(rows)), json_file, csv_file, document=document)
    wide_console(stderr=True).print(f"wrote {output}: {Path(output).stat().st_size:,} bytes")


def _run(machine: Machine, workload: Workload, ops: int, seed: int) -> None:
    machine.boot()
    machine.set_slots(workload.nr_slots)
    console = wide_console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(workload.name, total=ops)
        for batch, repeat in workload.batches(ops, seed):
            machine.replay(batch, repeat)
            progress.advance(task, len(batch) * repeat)
