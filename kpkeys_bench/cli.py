# SPDX-License-Identifier: GPL-2.0-only
"""The command ``kpkeys-bench``."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import pandas as pd
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kpkeys_bench import experiment, sysinfo
from kpkeys_bench.errors import ConfigError, KpbError
from kpkeys_bench.geometry import PAGE_SHIFTS, format_bytes, geometry, parse_bytes
from kpkeys_bench.machine import COSTS
from kpkeys_bench.report import comparison, key_value_table, plain_table, wide_console
from kpkeys_bench.results import Results, check_writable, csv_text, write_text
from kpkeys_bench.strategy import (
    ALLOCATOR_HELP,
    ALLOCATORS,
    Strategy,
    parse_refill_orders,
    parse_state,
)
from kpkeys_bench.workloads.import_csv import import_csv
from kpkeys_bench.workloads.trace import load_trace, save_trace, shipped_traces, trace_info
from kpkeys_bench.workloads.workload import (
    GENERATOR_HELP,
    TraceWorkload,
    Workload,
    parse_workload,
    trace_workload,
)

PROGRAM: Final = "kpkeys-bench"
DEFAULT_COPIES: Final = 8
DEFAULT_SYNTHETIC: Final = ("random", "fork_storm")
DEFAULT_CSV: Final = "compare.csv"
#: A number with more is a slip, and int() refuses very long ones in its own words.
MAX_DIGITS: Final = 18
EXIT_ERROR: Final = 1
EXIT_INTERRUPTED: Final = 130

Command = Callable[..., Any]


def _count(_: click.Context, __: click.Parameter, value: str) -> int:
    """A number of operations: ``1000000``, ``500k``, ``10M``."""
    digits, factor = value.strip().replace("_", "").lower(), 1
    for suffix, power in (("k", 10**3), ("m", 10**6), ("g", 10**9)):
        if digits.endswith(suffix):
            digits, factor = digits[:-1], power
    if not digits.isdecimal() or len(digits) > MAX_DIGITS:
        raise click.BadParameter(f"{value[:40]!r}: give a whole number, or one with k, M or G")
    return int(digits) * factor


def _bytes(_: click.Context, __: click.Parameter, value: str) -> int:
    try:
        return parse_bytes(value)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None


def _outputs(command: Command) -> Command:
    """The options ``--json`` and ``--csv`` of every command that prints a table."""
    command = click.option(
        "--json", "json_file", metavar="FILE", help="Write it as JSON; - is standard output."
    )(command)
    return click.option(
        "--csv", "csv_file", metavar="FILE", help="Write it as CSV; - is standard output."
    )(command)


def _emit(
    rows: list[dict[str, Any]], text: RenderableType, json_file: str | None, csv_file: str | None
) -> None:
    """Print a table, or give it to machines; both if the machines' copy goes to a file."""
    if json_file == "-" and csv_file == "-":
        raise ConfigError("--json - and --csv - both want standard output: name a file for one")
    if json_file:
        write_text(json_file, json.dumps(rows if len(rows) > 1 else rows[0], indent=1) + "\n")
    if csv_file:
        write_text(csv_file, csv_text(pd.DataFrame.from_records(rows)))
    if "-" not in (json_file, csv_file):
        wide_console().print(text)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(sysinfo.package_version(), prog_name=PROGRAM)
def cli() -> None:
    """Measure how page table pages that carry a protection key should be allocated.

    Replays page table workloads on mirrors of the kernel's allocators, over a linear map that
    really splits, and counts what each refill strategy does to it.
    """


def _strategies(
    allocators: Sequence[str], orders: Sequence[str], page_size: str, *, allow_any: bool
) -> list[Strategy]:
    """What the options ask for; without any, noblock and PBA with v6's list and shorter ones."""
    names = allocators or (("pba",) if orders else ("noblock", "pba"))
    if orders and not any(Strategy(name).refills for name in names):
        raise ConfigError(f"--refill-orders: {', '.join(names)} takes pages one by one")
    lists = [parse_refill_orders(text) for text in orders] or _default_orders(page_size)
    strategies = []
    for name in names:
        if Strategy(name).refills:
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


def _check_targets(csv_file: str | None, json_file: str | None, plot_file: str | None) -> None:
    """Refuse what could not be written in the end, before anything is measured."""
    targets = [target for target in (csv_file, json_file, plot_file) if target]
    if len({os.path.realpath(target) for target in targets}) < len(targets):
        raise ConfigError("--csv, --json and --plot want the same file: name one for each")
    for target in targets:
        check_writable(target)
    if plot_file:
        from kpkeys_bench import plots  # noqa: PLC0415 - matplotlib is an extra and slow to import

        plots.check_target(plot_file)


@cli.command()
@click.option(
    "--allocator",
    "allocators",
    multiple=True,
    metavar="NAME",
    help=f"{', '.join(sorted(ALLOCATORS))}; repeatable.",
)
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
    metavar="STATE",
    help="fresh, or aged:share=0.9,pins=8; repeatable.  [default: fresh]",
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
    default=format_bytes(experiment.DEFAULT_RAM),
    show_default=True,
    callback=_bytes,
    help="Of the simulated machine, 64M to 1T.",
)
@click.option(
    "--ops",
    default="1M",
    show_default=True,
    callback=_count,
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
    orders: tuple[str, ...],
    allow_any_orders: bool,
    workloads: tuple[str, ...],
    traces: tuple[str, ...],
    copies: int,
    states: tuple[str, ...],
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
    recordings and two generators.
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
    chosen = _strategies(allocators, orders, setup.page_size, allow_any=allow_any_orders)
    streams = _workloads(workloads, traces, copies, setup.page_size)
    memory = [parse_state(text) for text in states or ("fresh",)]
    csv_file = csv_file or (None if json_file else DEFAULT_CSV)
    _check_targets(csv_file, json_file, plot_file)
    errors = wide_console(stderr=True)
    results = Results()
    total = len(streams) * len(memory) * len(chosen) * repeats
    try:
        for workload in streams:
            if workload.page_size not in (None, setup.page_size):
                errors.print(
                    f"note: {workload.name} was recorded with {workload.page_size} pages; a kernel "
                    f"with {setup.page_size} pages would ask for other tables"
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


@cli.command()
@_outputs
def info(*, json_file: str | None, csv_file: str | None) -> None:
    """Host, clock and build, as results name them."""
    facts = sysinfo.info()
    _emit([dict(facts)], key_value_table(facts), json_file, csv_file)


@cli.command("list")
@_outputs
def list_names(*, json_file: str | None, csv_file: str | None) -> None:
    """Allocators, recordings and generators by name."""
    recordings = {name: load_trace(path).source for name, path in shipped_traces().items()}
    rows = [
        {"kind": kind, "name": name, "what": what}
        for kind, things in (
            ("allocator", ALLOCATOR_HELP),
            ("recording", recordings),
            ("generator", GENERATOR_HELP),
        )
        for name, what in things.items()
    ]
    _emit(rows, plain_table(rows), json_file, csv_file)


@cli.group()
def trace() -> None:
    """Recordings of page table events."""


@trace.command("info")
@click.argument("file")
@_outputs
def trace_info_command(*, file: str, json_file: str | None, csv_file: str | None) -> None:
    """What a .kpt file (or a shipped recording, by name) holds."""
    facts = _flatten(dict(trace_info(load_trace(shipped_traces().get(file, Path(file))))))
    _emit([facts], key_value_table(facts), json_file, csv_file)


def _flatten(facts: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in facts.items():
        name = f"{prefix}{key}"
        flat |= _flatten(value, f"{name}_") if isinstance(value, dict) else {name: value}
    return flat


@trace.command("import")
@click.argument("file", type=click.Path())
@click.option("-o", "--output", required=True, metavar="FILE", help="The .kpt file to write.")
@click.option(
    "--page-size",
    default="4K",
    show_default=True,
    metavar="SIZE",
    help="Of the kernel that was recorded.",
)
@click.option("--source", required=True, metavar="TEXT", help="Machine, kernel, how recorded.")
def trace_import(*, file: str, output: str, page_size: str, source: str) -> None:
    """Convert CSV (ts_ns,cpu,op,level,pfn,caller; plain, .xz or .gz) to a .kpt file."""
    size = 1 << geometry(page_size).page_shift
    name = Path(output).stem
    imported = import_csv(file, page_size=size, name=name, source=source)
    save_trace(imported, output)
    wide_console(stderr=True).print(f"wrote {output}: {imported.nr_ops:,} operations")


@cli.command()
@click.argument("csv_file", metavar="RESULTS.csv")
@click.option("-o", "--output", required=True, metavar="FILE", help="A png, svg or pdf file.")
def plot(*, csv_file: str, output: str) -> None:
    """Draw what 'compare --csv' wrote: splits and tail latency per strategy."""
    from kpkeys_bench import plots  # noqa: PLC0415 - matplotlib is an extra and slow to import

    path = plots.save_figure(plots.comparison_figure(plots.load_runs(csv_file)), output)
    wide_console(stderr=True).print(f"wrote {path}")


def _fail(message: str) -> None:
    """One line on standard error, whatever the message holds."""
    click.echo(f"{PROGRAM}: {' '.join(message.split())}", err=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; every error is one line on standard error and a status that is not 0."""
    try:
        status = cli.main(args=argv, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help(), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message())
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except KpbError as error:
        _fail(str(error))
        sys.exit(EXIT_ERROR)
    except BrokenPipeError:
        # whoever reads has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_ERROR)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}")
        sys.exit(EXIT_ERROR)
    except MemoryError:
        _fail("the host is out of memory: use less --ram or --ops")
        sys.exit(EXIT_ERROR)
    sys.exit(status if isinstance(status, int) else 0)
