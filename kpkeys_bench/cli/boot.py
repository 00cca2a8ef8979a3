# SPDX-License-Identifier: GPL-2.0-only
"""``boot``: one, or a sweep of thousands."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kpkeys_bench import boot as booting
from kpkeys_bench import boot_report, boot_sweep
from kpkeys_bench.boot import LAYOUTS
from kpkeys_bench.cli.base import (
    EXIT_INTERRUPTED,
    MAX_DIGITS,
    Command,
    check_targets,
    count,
    nr_bytes,
    outputs,
)
from kpkeys_bench.errors import ConfigError, KpbError
from kpkeys_bench.geometry import format_bytes, parse_bytes
from kpkeys_bench.machine import BBML2_CASES, RODATA_CASES
from kpkeys_bench.report import wide_console
from kpkeys_bench.strategy import is_allocator_file

if TYPE_CHECKING:
    from pathlib import Path


def _split_commas(_: click.Context, __: click.Parameter, value: Sequence[str]) -> list[str]:
    """What a repeatable option names, each time one or several with commas in between."""
    return [part.strip() for text in value for part in text.split(",") if part.strip()]


def _whole(texts: Sequence[str], option: str) -> tuple[int, ...]:
    for text in texts:
        if not text.isdecimal() or len(text) > MAX_DIGITS:
            raise ConfigError(f"{option} {text[:40]!r}: give whole numbers")
    return tuple(int(text) for text in texts)


def _one(values: Sequence[Any], default: Any, option: str) -> Any:  # noqa: ANN401 - of any option
    """The value of an option that may name several things only in a sweep."""
    if len(values) > 1:
        raise ConfigError(f"{option} names {len(values)} things: several need --sweep")
    return values[0] if values else default


def _axis(option: str, what: str, metavar: str) -> Callable[[Command], Command]:
    """An option that a sweep varies: repeatable, or with commas."""
    return click.option(option, multiple=True, metavar=metavar, callback=_split_commas, help=what)


@click.command("boot")
@_axis("--page-size", "4K, 16K or 64K.  [default: 4K; sweep: all]", "SIZE")
@_axis(
    "--va-bits",
    "Of the kernel's addresses: 4K: 39, 48, 52; 16K: 36, 47, 48, 52; 64K: 42, 48, 52.  "
    "[default: 48; 16K: 47]",
    "N",
)
@_axis("--nr-cpus", "Possible CPUs, 2 to 4096.  [default: 512; sweep: 2,512,1024,4096]", "N")
@click.option(
    "--kasan/--no-kasan",
    default=None,
    help="Stacks of twice the size, but for 64K pages.  [default: no; sweep: both]",
)
@_axis(
    "--bbml2",
    f"CPUs that tolerate splitting: {', '.join(BBML2_CASES)}.  [default: all; sweep: all,late-cpu]",
    "CASE",
)
@_axis(
    "--allocator",
    "pba, noblock, a variant, or a C file; NAME=N sets a variant's parameter.  "
    "[default: pba; sweep: pba and its variants]",
    "NAME[=N]|FILE.c",
)
@click.option(
    "--variant-param",
    type=click.IntRange(0),
    default=0,
    help="Of a variant: early regions, ranges, or stacks of a CPU; 0: its own.",
)
@_axis(
    "--first-refill-order",
    "Leave larger ones out: block, middle, last or a number.  [default: block; sweep: all three]",
    "ORDER",
)
@_axis("--layout", f"{', '.join(LAYOUTS)}.  [default: plain]", "NAME")
@_axis("--threads-per-cpu", "Stacks of each CPU beyond its IRQ stack.  [default: 4]", "N")
@_axis(
    "--ram",
    f"Unless the layout says.  [default: {format_bytes(booting.DEFAULT_RAM)}]",
    "SIZE",
)
@click.option(
    "--hole", "holes", multiple=True, metavar="OFFSET+SIZE", help="No RAM there; repeatable."
)
@click.option(
    "--reserved", multiple=True, metavar="OFFSET+SIZE", help="Nobody's RAM, such as crashkernel."
)
@click.option(
    "--nr-ioremap",
    default=16,
    show_default=True,
    type=click.IntRange(0, 4096),
    help="Devices that are mapped early.",
)
@click.option(
    "--ioremap-bytes", default="4K", show_default=True, callback=nr_bytes, help="Of each device."
)
@click.option(
    "--percpu-chunks",
    default=0,
    show_default=True,
    type=click.IntRange(0, 64),
    help="Chunks of per-CPU memory beyond the first.",
)
@click.option(
    "--percpu-unit",
    default="64K",
    show_default=True,
    callback=nr_bytes,
    help="Of each CPU in a chunk.",
)
@click.option(
    "--percpu-populated",
    default="0",
    show_default=True,
    callback=nr_bytes,
    help="How much of each unit gets pages; 0: all.",
)
@click.option(
    "--vmalloc-offset",
    default="0",
    show_default=True,
    callback=nr_bytes,
    help="Where the free part of the vmalloc area begins.",
)
@click.option(
    "--static-pgtables",
    default=0,
    show_default=True,
    type=click.IntRange(0, 1 << 16),
    help="Tables in the kernel image.",
)
@click.option("--debug-pagealloc", is_flag=True, help="Forces a linear map of PTEs.")
@click.option(
    "--rodata",
    type=click.Choice(RODATA_CASES),
    default="full",
    show_default=True,
    help="On the kernel's command line; changes nothing: kpkeys alone ask for what full does.",
)
@click.option("--workload", default="", metavar="NAME", help="Replayed by the running machine.")
@click.option("--ops", default="200k", show_default=True, callback=count, help="Of the workload.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Of it.")
@click.option("--recorded", is_flag=True, help="Replay the shipped recording of a real boot too.")
@click.option("--plot", "plot_file", metavar="FILE", help="A picture (png, svg or pdf).")
@click.option("--sweep", is_flag=True, help="All combinations of what the options list, to a CSV.")
@click.option(
    "--jobs", default=0, type=click.IntRange(0, 1024), help="Processes of a sweep; 0: one a CPU."
)
@outputs
def boot_command(
    *,
    page_size: list[str],
    va_bits: list[str],
    nr_cpus: list[str],
    kasan: bool | None,
    bbml2: list[str],
    allocator: list[str],
    variant_param: int,
    first_refill_order: list[str],
    layout: list[str],
    threads_per_cpu: list[str],
    ram: list[str],
    holes: tuple[str, ...],
    reserved: tuple[str, ...],
    nr_ioremap: int,
    ioremap_bytes: int,
    percpu_chunks: int,
    percpu_unit: int,
    percpu_populated: int,
    vmalloc_offset: int,
    static_pgtables: int,
    debug_pagealloc: bool,
    rodata: str,
    workload: str,
    ops: int,
    seed: int,
    recorded: bool,
    plot_file: str | None,
    sweep: bool,
    jobs: int,
    json_file: str | None,
    csv_file: str | None,
) -> None:
    """Boot phase by phase: which page tables the early window takes, and what stays unprotected.

    With a CPU that lacks BBML2 (--bbml2 boot-only or late-cpu) the running machine is measured as
    well, against noblock on the same linear map.

    --sweep boots all combinations of page sizes, numbers of CPUs and so on. Interrupted, it leaves
    what it has in its CSV (boot-sweep.csv unless --csv names one); the same command continues.
    """
    if json_file == "-" and csv_file == "-":
        raise ConfigError("--json - and --csv - both want standard output: name a file for one")
    base = booting.BootSetup(
        debug_pagealloc=debug_pagealloc,
        rodata=rodata,
        nr_ioremap=nr_ioremap,
        ioremap_bytes=ioremap_bytes,
        percpu_chunks=percpu_chunks,
        percpu_unit_bytes=percpu_unit,
        percpu_populated_bytes=percpu_populated,
        vmalloc_offset_bytes=vmalloc_offset,
        holes=tuple(map(booting.parse_region, holes)),
        reserved=tuple(map(booting.parse_region, reserved)),
        static_pgtables=static_pgtables,
        workload=workload,
        ops=ops,
        seed=seed,
    )
    cpus = _whole(nr_cpus, "--nr-cpus")
    threads = _whole(threads_per_cpu, "--threads-per-cpu")
    bits = _whole(va_bits, "--va-bits")
    rams = tuple(map(parse_bytes, ram))
    if sweep:
        if recorded or plot_file or variant_param:
            raise ConfigError(
                "--recorded, --plot and --variant-param are for one boot: leave --sweep out, or "
                "write --allocator NAME=N"
            )
        axes: dict[str, Any] = {
            "page_sizes": tuple(page_size),
            "va_bits": bits,
            "rams": rams,
            "kasan": () if kasan is None else (kasan,),
            "layouts": tuple(layout),
            "first_orders": tuple(first_refill_order),
            "threads_per_cpu": threads,
            "bbml2": tuple(bbml2),
            "nr_cpus": cpus,
            "allocators": tuple(allocator),
        }
        given = {name: values for name, values in axes.items() if values}
        _run_sweep(boot_sweep.Sweep(base=base, **given), jobs, csv_file, json_file)
        return
    name = _one(allocator, "pba", "--allocator")
    if "=" in name and not is_allocator_file(name):
        if variant_param:
            raise ConfigError(f"--allocator {name} and --variant-param {variant_param}: give one")
        name, variant_param = boot_sweep.split_allocator(name)
    if jobs:
        raise ConfigError(f"--jobs {jobs}: one boot is one process, add --sweep")
    setup = replace(
        base,
        page_size=_one(page_size, "4K", "--page-size"),
        va_bits=_one(bits, 0, "--va-bits"),
        ram=_one(rams, booting.DEFAULT_RAM, "--ram"),
        nr_cpus=_one(cpus, 512, "--nr-cpus"),
        bbml2=_one(bbml2, "all", "--bbml2"),
        kasan=bool(kasan),
        threads_per_cpu=_one(threads, 4, "--threads-per-cpu"),
        allocator=name,
        variant_param=variant_param,
        layout=_one(layout, "plain", "--layout"),
    )
    setup = setup.with_first_order(_one(first_refill_order, "block", "--first-refill-order"))
    check_targets(csv_file, json_file, plot_file)
    one = booting.boot(setup, recorded=recorded, speed=setup.bbml2 in {"boot-only", "late-cpu"})
    _save_boot(one, csv_file, json_file, plot_file)


def _run_sweep(
    sweep: boot_sweep.Sweep, jobs: int, csv_file: str | None, json_file: str | None
) -> None:
    """All boots of a sweep, with progress; Ctrl-C leaves what is done in the CSV."""
    csv_file = csv_file or boot_sweep.DEFAULT_CSV
    check_targets(csv_file, json_file, None)
    errors = wide_console(stderr=True)
    counted = [0, len(sweep.setups)]
    booted = False
    try:
        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=errors,
            transient=True,
            disable=not errors.is_terminal,
        ) as progress:
            task = progress.add_task("boots", total=counted[1])

            def on_boots(done: int, total: int) -> None:
                nonlocal booted
                booted = True
                counted[:] = done, total
                progress.update(task, completed=done)

            rows = boot_sweep.run(sweep, csv_file, jobs=jobs, progress=on_boots)
    except KeyboardInterrupt:
        where = "" if csv_file == "-" else f", which are in {csv_file}: the same command continues"
        errors.print(f"interrupted after {counted[0]:,} of {counted[1]:,} boots{where}")
        sys.exit(EXIT_INTERRUPTED)
    text, document = boot_sweep.page(sweep, rows)
    if json_file:
        boot_sweep.to_json(document, json_file)
    if "-" not in (csv_file, json_file):
        wide_console().print(text)
    if not booted:
        errors.print(f"{csv_file} has all {counted[1]:,} boots already: nothing was booted")
    written = [name for name in (csv_file if booted else None, json_file) if name and name != "-"]
    if written:
        errors.print(f"wrote {', '.join(written)}")


def _save_boot(
    one: booting.Boot, csv_file: str | None, json_file: str | None, plot_file: str | None
) -> None:
    """Print a boot, or give it to machines."""
    written: list[Path] = []
    if "-" not in (json_file, csv_file):
        wide_console().print(boot_report.page(one))
    if json_file:
        written += boot_report.to_json(one, json_file)
    if csv_file:
        written += boot_report.to_csv(one, csv_file)
    if plot_file:
        from kpkeys_bench import plots  # noqa: PLC0415 - matplotlib is an extra and slow to import

        written.append(plots.save_figure(plots.boot_figure(one), plot_file))
    if written:
        wide_console(stderr=True).print(f"wrote {', '.join(map(str, written))}")
    if one.row["error"]:
        raise KpbError(f"the boot did not get to its end: {one.row['error']}")
