# SPDX-License-Identifier: GPL-2.0-only
"""``compare`` and ``plot``."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kpkeys_bench import experiment
from kpkeys_bench.background import parse_background
from kpkeys_bench.cli.base import (
    DEFAULT_BACKGROUND,
    DEFAULT_COPIES,
    DEFAULT_CSV,
    DEFAULT_RAM,
    DEFAULT_STATE,
    DEFAULT_SYNTHETIC,
    EXIT_INTERRUPTED,
    check_targets,
    count,
    linear_map_option,
    nr_bytes,
)
from kpkeys_bench.errors import ConfigError, KpbError
from kpkeys_bench.geometry import PAGE_SHIFTS, format_bytes, geometry
from kpkeys_bench.machine import COSTS
from kpkeys_bench.report import comparison, wide_console
from kpkeys_bench.results import Results
from kpkeys_bench.strategy import (
    ALLOCATORS,
    State,
    Strategy,
    is_allocator_file,
    parse_refill_orders,
    parse_state,
)
from kpkeys_bench.workloads.trace import load_trace, shipped_traces
from kpkeys_bench.workloads.workload import (
    TraceWorkload,
    Workload,
    parse_workload,
    trace_workload,
)

if TYPE_CHECKING:
    from pathlib import Path


def _strategies(
    allocators: Sequence[str],
    orders: Sequence[str],
    page_size: str,
    *,
    allow_any: bool,
    linear_map: str | None = None,
) -> list[Strategy]:
    """What the options ask for; without any, noblock and PBA with v6's list and shorter ones."""
    names = allocators or (("pba",) if orders else ("noblock", "pba"))
    built_in = [name for name in names if not is_allocator_file(name)]
    if orders and not any(Strategy(name).refills for name in built_in):
        raise ConfigError(
            f"--refill-orders: {', '.join(names)} takes pages one by one, or has orders of its own"
        )
    if linear_map and len(built_in) == len(names):
        raise ConfigError("--linear-map is for allocators that are files: name one")
    lists = [parse_refill_orders(text) for text in orders] or _default_orders(page_size)
    strategies = []
    for name in names:
        if is_allocator_file(name):
            strategies.append(Strategy(name, linear_map=linear_map))
        elif Strategy(name).refills:
            strategies += [Strategy(name, o, allow_any_orders=allow_any) for o in lists]
        else:
            strategies.append(Strategy(name))
    return list(dict.fromkeys(strategies))


def _default_orders(page_size: str) -> list[tuple[int, ...]]:
    """v6's list; without its middle; without its block; the smallest alone."""
    block, middle, last = geometry(page_size).refill_orders
    return [(block, middle, last), (block, last), (middle, last), (last,)]


def _workloads(
    names: Sequence[str], traces: Sequence[str], copies: int, page_size: str
) -> list[Workload]:
    """What the options ask for; without any, all recordings that fit and two generators."""
    shipped = shipped_traces()
    workloads: list[Workload] = [
        trace_workload(shipped[name], {"copies": copies})
        if name in shipped
        else parse_workload(name)
        for name in names
    ]
    workloads += [trace_workload(path, {"copies": copies}) for path in traces]
    if workloads:
        return workloads
    size = 1 << geometry(page_size).page_shift
    recorded = [load_trace(path) for path in shipped.values()]
    fitting = [TraceWorkload(trace, copies) for trace in recorded if trace.page_size == size]
    return [*fitting, *(parse_workload(name) for name in DEFAULT_SYNTHETIC)]


def _timing(text: str) -> tuple[str, int]:
    mode, _, every = text.partition("=")
    if mode == "sample" and every.isdecimal() and int(every):
        return mode, int(every)
    if mode not in experiment.TIMED or every or mode == "sample":
        raise ConfigError(f"timing {text!r}: give bracket, chained, sample=N or none")
    return mode, 1


def _costs(text: str | None) -> dict[str, float]:
    costs: dict[str, float] = {}
    for part in (text or "").split(",") if text else ():
        name, _, value = part.partition("=")
        try:
            costs[name.strip().removesuffix("_ns")] = float(value)
        except ValueError:
            raise ConfigError(f"costs {part!r}: write NAME=NS with {', '.join(COSTS)}") from None
    return costs


def _save(
    results: Results, csv_file: str | None, json_file: str | None, plot_file: str | None
) -> None:
    """Write what there is; a file that cannot be written does not lose the others."""
    if not results.run_rows:
        return
    console = wide_console(stderr=True)
    written: list[Path] = []
    failure: KpbError | None = None
    for write, target in ((results.to_csv, csv_file), (results.to_json, json_file)):
        try:
            written += write(target) if target else []
        except KpbError as error:
            failure = error
    if plot_file:
        from kpkeys_bench import plots  # noqa: PLC0415 - matplotlib is an extra and slow to import

        try:
            written.append(plots.save_figure(plots.comparison_figure(results.runs), plot_file))
        except KpbError as error:
            failure = error
    if written:
        console.print(f"wrote {', '.join(map(str, written))}")
    if failure is not None:
        raise failure


def _check_ram(states: Sequence[State]) -> None:
    """A machine's size is given once: by --ram, or by its state."""
    source = click.get_current_context().get_parameter_source("ram")
    own = [state for state in states if state.image is not None]
    if own and source is not ParameterSource.DEFAULT:
        image = own[0].image
        size = format_bytes(image.ram_bytes) if image is not None else ""
        raise ConfigError(
            f"--ram: state {own[0].name} is of a machine with RAM of {size}: leave --ram out"
        )


@click.command()
@click.option(
    "--allocator",
    "allocators",
    multiple=True,
    metavar="NAME|FILE.c",
    help=f"{', '.join(sorted(ALLOCATORS))}, or a kernel's C file; repeatable.",
)
@linear_map_option
@click.option(
    "--refill-orders",
    "orders",
    multiple=True,
    metavar="ORDERS",
    help="Such as 9,4,2, for pba; repeatable.",
)
@click.option(
    "--allow-any-orders",
    is_flag=True,
    help="Accept lists that do not decrease or do not end in 2, which v6 could not work with.",
)
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    metavar="NAME[:KEY=N,...]",
    help="A shipped recording or a generator, see 'kpkeys-bench list'; repeatable.",
)
@click.option(
    "--trace", "traces", multiple=True, metavar="FILE", help="A .kpt recording; repeatable."
)
@click.option(
    "--copies",
    type=click.IntRange(1, 4096),
    default=DEFAULT_COPIES,
    show_default=True,
    help="Shifted copies of each recording that run side by side.",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    metavar="NAME|FILE",
    help="fresh, aged:share=0.9,pins=8, another name (see 'kpkeys-bench list') or a .kps file; "
    f"repeatable.  [default: {DEFAULT_STATE}]",
)
@click.option(
    "--background",
    "backgrounds",
    multiple=True,
    metavar="NAME[:KEY=N,...]",
    help="Who else uses memory: none, or a mix, see 'kpkeys-bench list'; repeatable.  "
    f"[default: {DEFAULT_BACKGROUND}]",
)
@click.option(
    "--page-size",
    default="4K",
    show_default=True,
    metavar="SIZE",
    help=f"{', '.join(PAGE_SHIFTS)}.",
)
@click.option(
    "--ram",
    default=DEFAULT_RAM,
    show_default=True,
    callback=nr_bytes,
    help="Of the simulated machine, 64M to 1T.",
)
@click.option(
    "--ops",
    default="1M",
    show_default=True,
    callback=count,
    help="Operations of one pass.",
)
@click.option("--seed", default=1, show_default=True, help="Of generators and the aged state.")
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Runs of each combination; of times the table shows the median.",
)
@click.option(
    "--timing",
    default="bracket",
    show_default=True,
    metavar="MODE",
    help="Of the timed pass: bracket, chained, sample=N or none.",
)
@click.option(
    "--samples", default=0, metavar="N", help="Record the state N times along the first pass."
)
@click.option(
    "--costs",
    metavar="NAME=NS,...",
    help=f"Fill the columns model_*: ns of one {', '.join(COSTS)}.",
)
@click.option(
    "--csv",
    "csv_file",
    metavar="FILE",
    help="Runs; other tables go beside it. - is standard output.  "
    f"[default: {DEFAULT_CSV}, unless --json is given]",
)
@click.option("--json", "json_file", metavar="FILE", help="All tables. - is standard output.")
@click.option("--plot", "plot_file", metavar="FILE", help="A picture (png, svg or pdf).")
def compare(
    *,
    allocators: tuple[str, ...],
    linear_map: str | None,
    orders: tuple[str, ...],
    allow_any_orders: bool,
    workloads: tuple[str, ...],
    traces: tuple[str, ...],
    copies: int,
    states: tuple[str, ...],
    backgrounds: tuple[str, ...],
    page_size: str,
    ram: int,
    ops: int,
    seed: int,
    repeats: int,
    timing: str,
    samples: int,
    costs: str | None,
    csv_file: str | None,
    json_file: str | None,
    plot_file: str | None,
) -> None:
    """Compare allocators and refill orders on recorded and synthetic workloads.

    Without options: noblock on a PTE map, and PBA with four lists of refill orders, on all
    recordings and two generators; on memory that has aged, while others use it. For nothing but
    page tables on a fresh machine: --state fresh --background none.
    """
    if json_file == "-" and csv_file == "-":
        raise ConfigError("--json - and --csv - both want standard output: name a file for one")
    mode, every = _timing(timing)
    setup = experiment.Setup(
        page_size=page_size,
        ram=ram,
        ops=ops,
        seed=seed,
        timing=mode,
        sample_every=every,
        samples=samples,
        costs_ns=_costs(costs),
    )
    chosen = _strategies(
        allocators,
        orders,
        setup.page_size,
        allow_any=allow_any_orders,
        linear_map=linear_map,
    )
    streams = _workloads(workloads, traces, copies, setup.page_size)
    memory = [parse_state(text) for text in states or (DEFAULT_STATE,)]
    others = [parse_background(text) for text in backgrounds or (DEFAULT_BACKGROUND,)]
    _check_ram(memory)
    csv_file = csv_file or (None if json_file else DEFAULT_CSV)
    check_targets(csv_file, json_file, plot_file)
    errors = wide_console(stderr=True)
    results = Results()
    total = len(streams) * len(memory) * len(others) * len(chosen) * repeats
    try:
        for workload in streams:
            if workload.page_size not in (None, setup.page_size):
                errors.print(
                    f"note: {workload.name} is of {workload.page_size} pages; a kernel "
                    f"with {setup.page_size} pages would ask for other tables"
                )
            needs = workload.live_pages << geometry(setup.page_size).page_shift
            if needs > setup.ram // 2:
                errors.print(
                    f"warning: {workload.name} has {workload.live_pages:,} tables alive, "
                    f"{needs / (1 << 30):,.1f} GB of RAM of {format_bytes(setup.ram)}: what is "
                    "measured is a machine out of memory; give more --ram"
                )
        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=errors,
            transient=True,
            disable=not errors.is_terminal,
        ) as progress:
            task = progress.add_task("starting", total=total)

            def on_run(label: str) -> None:
                done = len(results.run_rows)
                progress.update(task, description=f"{label:44}", completed=done)

            experiment.compare(
                chosen,
                streams,
                setup,
                states=memory,
                backgrounds=others,
                repeats=repeats,
                results=results,
                progress=on_run,
            )
    except KeyboardInterrupt:
        _save(results, csv_file, json_file, plot_file)
        errors.print(f"interrupted after {len(results.run_rows)} of {total} runs")
        sys.exit(EXIT_INTERRUPTED)
    except KpbError:
        _save(results, csv_file, json_file, plot_file)
        raise
    if "-" not in (csv_file, json_file):
        wide_console().print(comparison(results))
    _save(results, csv_file, json_file, plot_file)
    failed = [row for row in results.run_rows if row["error"]]
    if failed:
        raise KpbError(f"{len(failed)} of {total} runs stopped early, see the column 'error'")


@click.command()
@click.argument("csv_file", metavar="RESULTS.csv")
@click.option("-o", "--output", required=True, metavar="FILE", help="A png, svg or pdf file.")
def plot(*, csv_file: str, output: str) -> None:
    """Draw what 'compare --csv' wrote: splits and tail latency per strategy."""
    from kpkeys_bench import plots  # noqa: PLC0415 - matplotlib is an extra and slow to import

    path = plots.save_figure(plots.comparison_figure(plots.load_runs(csv_file)), output)
    wide_console(stderr=True).print(f"wrote {path}")
