# SPDX-License-Identifier: GPL-2.0-only
"""The command ``kpkeys-bench``."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
import pandas as pd
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kpkeys_bench import boot as booting
from kpkeys_bench import boot_report, boot_sweep, checkup, diff, door, experiment, sysinfo
from kpkeys_bench.boot import LAYOUTS
from kpkeys_bench.errors import ConfigError, KpbError
from kpkeys_bench.geometry import PAGE_SHIFTS, format_bytes, geometry, parse_bytes
from kpkeys_bench.machine import BBML2_CASES, COSTS, RODATA_CASES
from kpkeys_bench.report import comparison, key_value_table, plain_table, wide_console
from kpkeys_bench.results import Results, check_writable, csv_text, write_text
from kpkeys_bench.scenario import behaviours as judgement
from kpkeys_bench.scenario import search as searching
from kpkeys_bench.scenario import show
from kpkeys_bench.scenario.language import load
from kpkeys_bench.scenario.run import FAILED, strategy_of
from kpkeys_bench.strategy import (
    ALLOCATOR_HELP,
    ALLOCATORS,
    LINEAR_MAPS,
    Strategy,
    is_allocator_file,
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


def _linear_map(command: Command) -> Command:
    """The option ``--linear-map`` of every command that takes an allocator file."""
    return click.option(
        "--linear-map",
        type=click.Choice(LINEAR_MAPS),
        help="For a file: block, or pte.  [default: block if it prepares splits]",
    )(command)


def _check_outputs(json_file: str | None, csv_file: str | None) -> None:
    """Refuse what could not be written in the end, before anything is done."""
    if json_file == "-" and csv_file == "-":
        raise ConfigError("--json - and --csv - both want standard output: name a file for one")
    targets = [target for target in (csv_file, json_file) if target]
    if len({os.path.realpath(target) for target in targets}) < len(targets):
        raise ConfigError("--csv and --json want the same file: name one for each")
    for target in targets:
        check_writable(target)


def _emit(
    rows: list[dict[str, Any]],
    text: RenderableType | None,
    json_file: str | None,
    csv_file: str | None,
    *,
    document: list[dict[str, Any]] | dict[str, Any] | None = None,
) -> None:
    """Print a table, or give it to machines; both if the machines' copy goes to a file.

    The JSON is a list of the rows, also where there is one, unless there is a `document` instead.
    """
    if json_file:
        write_text(json_file, json.dumps(rows if document is None else document, indent=1) + "\n")
    if csv_file:
        write_text(csv_file, csv_text(pd.DataFrame.from_records(rows)))
    if text is not None and "-" not in (json_file, csv_file):
        wide_console().print(text)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(sysinfo.package_version(), prog_name=PROGRAM)
def cli() -> None:
    """Measure how page table pages that carry a protection key should be allocated.

    Replays page table workloads on mirrors of the kernel's allocators, over a linear map that
    really splits, and counts what each refill strategy does to it.
    """


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
    metavar="NAME|FILE.c",
    help=f"{', '.join(sorted(ALLOCATORS))}, or a kernel's C file; repeatable.",
)
@_linear_map
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
    linear_map: str | None,
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
    chosen = _strategies(
        allocators,
        orders,
        setup.page_size,
        allow_any=allow_any_orders,
        linear_map=linear_map,
    )
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
    _check_outputs(json_file, csv_file)
    facts = dict(sysinfo.info())
    _emit([facts], key_value_table(facts), json_file, csv_file, document=facts)


@cli.command("list")
@_outputs
def list_names(*, json_file: str | None, csv_file: str | None) -> None:
    """Allocators, recordings and generators by name."""
    _check_outputs(json_file, csv_file)
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
    _check_outputs(json_file, csv_file)
    facts = _flatten(dict(trace_info(load_trace(shipped_traces().get(file, Path(file))))))
    _emit([facts], key_value_table(facts), json_file, csv_file, document=facts)


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


@cli.group()
def allocator() -> None:
    """A kernel's own mm/kpkeys_hardened_pgtables.c, compiled unmodified."""


def _page_sizes(_: click.Context, __: click.Parameter, value: str) -> list[str]:
    return list(PAGE_SHIFTS) if value.lower() == "all" else [geometry(value).page_size]


_page_size_or_all = click.option(
    "--page-size",
    "page_sizes",
    default="all",
    show_default=True,
    metavar="SIZE",
    callback=_page_sizes,
    help=f"{', '.join(PAGE_SHIFTS)} or all.",
)


@allocator.command("path")
def allocator_path() -> None:
    """Where the laboratory's own mirror of v6 is: a file to copy and to patch."""
    click.echo(door.mirror_source())


@allocator.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@_page_size_or_all
@_linear_map
@click.option("--verbose", is_flag=True, help="Print what the compiler says as well.")
@_outputs
def allocator_check(
    *,
    file: Path,
    page_sizes: list[str],
    linear_map: str | None,
    verbose: bool,
    json_file: str | None,
    csv_file: str | None,
) -> None:
    """Compile a file; list what it defines and what it lacks, with the line; let it work a little.

    The status is 0 if it compiles for all page sizes and survives 3000 operations on each.
    """
    _check_outputs(json_file, csv_file)
    found = checkup.check(file, page_sizes, linear_map)
    if verbose:
        for output in dict.fromkeys(filter(None, found.outputs.values())):
            click.echo(output, err=True)
    _emit(found.rows, plain_table(checkup.merged(found.rows)), json_file, csv_file)
    if found.failures:
        first, *rest = dict.fromkeys(found.failures)
        raise KpbError(first + (f" (and {len(rest)} more failures)" if rest else ""))


@allocator.command("diff")
@click.argument("name", metavar="FILE")
@click.option(
    "--against",
    metavar="NAME|FILE.c",
    help="The other one.  [default: pba on a block map, noblock on a PTE map]",
)
@_page_size_or_all
@_linear_map
@click.option(
    "--ops", default="1M", show_default=True, callback=_count, help="Operations for a page size."
)
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0), help="Of the programs."
)
@click.option(
    "--ram",
    default=format_bytes(diff.DEFAULT_RAM),
    show_default=True,
    callback=_bytes,
    help="Of each machine, 64M to 1T.",
)
@click.option(
    "--programs",
    type=click.IntRange(1),
    default=diff.DEFAULT_PROGRAMS,
    show_default=True,
    help="Programs that share the operations.",
)
@click.option("--faults", is_flag=True, help="Let some calls fail in one random program of four.")
@_outputs
def allocator_diff(
    *,
    name: str,
    against: str | None,
    page_sizes: list[str],
    linear_map: str | None,
    ops: int,
    seed: int,
    ram: int,
    programs: int,
    faults: bool,
    json_file: str | None,
    csv_file: str | None,
) -> None:
    """Replay programs, directed and random, on two allocators and compare all that they do.

    Events, pages handed out, paths, counters, the final map and the free lists have to be equal;
    if they are not, the first operation that differs is printed, and the status is 1.
    """
    _check_outputs(json_file, csv_file)
    subject = Strategy(name, linear_map=linear_map)
    other = subject.mirror()
    if against is not None:
        same_map = subject.linear_map if is_allocator_file(against) else None
        other = Strategy(against, linear_map=same_map)
    outcomes = [
        diff.compare_all(
            [other.for_page_size(page_size), subject.for_page_size(page_size)],
            page_size,
            ops=ops,
            seed=seed,
            ram=ram,
            programs=programs,
            faults=faults,
        )
        for page_size in page_sizes
    ]
    rows = [outcome.row() for outcome in outcomes]
    details = [
        row | {name.replace(" ", "_").replace("-", "_"): nr for name, nr in outcome.reached.items()}
        for row, outcome in zip(rows, outcomes, strict=True)
    ]
    _emit(details, plain_table(rows), json_file, csv_file)
    for outcome in outcomes:
        told = "-" not in (json_file, csv_file) and outcome.difference is None
        if told and outcome.not_reached:
            click.echo(f"{outcome.page_size}: not reached: {', '.join(outcome.not_reached)}")
    found = [outcome.difference for outcome in outcomes if outcome.difference]
    for difference in found:
        click.echo("\n".join(difference.lines()), err=True)
    if found:
        raise KpbError(f"{other.label} and {subject.label} differ: {found[0].where}")


class _RunByDefault(click.Group):
    """A group whose first argument may be a file, which is then run."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args.insert(0, "run")
        return super().parse_args(ctx, args)


@cli.group(cls=_RunByDefault, subcommand_metavar="[OPTIONS] FILE... | COMMAND [ARGS]...")
def scenario() -> None:
    """Run scenario scripts and explain each step: scenario FILE..., see also 'scenario run -h'.

    A FILE may be the name of a shipped script, such as D3. docs/scenarios.md describes the
    language.
    """


@scenario.command("run")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--allocator",
    "name",
    metavar="NAME|FILE.c",
    help="Instead of the one that the script names.",
)
@click.option("--jsonl", is_flag=True, help="One JSON object per step, and nothing else.")
@_outputs
def scenario_run(
    *,
    files: tuple[str, ...],
    name: str | None,
    jsonl: bool,
    json_file: str | None,
    csv_file: str | None,
) -> None:
    """Run scripts; the exit status says whether all expectations held."""
    if [json_file, csv_file, "-" if jsonl else ""].count("-") > 1:
        raise ConfigError("--jsonl, --json - and --csv - all want standard output: keep one")
    _check_outputs(json_file, csv_file)
    scripts = [load(judgement.find(file)) for file in files]
    quiet = "-" in (json_file, csv_file)
    printer = show.Printer(lambda line: None if quiet or jsonl else click.echo(line))
    outcomes = []
    for script in scripts:
        strategy = strategy_of(script.setup, name).for_page_size(script.setup.page_size)
        printer.title(script, strategy.label)
        on_step = (lambda step: click.echo(json.dumps(step.record()))) if jsonl else printer.step
        outcome = judgement.run_isolated(script, name, None if quiet else on_step)
        printer.end(outcome)
        outcomes.append(outcome)
    rows = [show.outcome_row(outcome) for outcome in outcomes]
    document = [
        {**row, "failed": o.failed, "figures": o.figures}
        for row, o in zip(rows, outcomes, strict=True)
    ]
    _emit(rows, None, json_file, csv_file, document=document)
    failed = [line for outcome in outcomes for line in outcome.failed]
    if failed:
        raise KpbError(f"expectations that did not hold: {len(failed)}, first {failed[0]}")


@scenario.command("search")
@click.argument("what", type=click.Choice(["deadlock"]))
@click.option(
    "--page-size",
    default="4K",
    show_default=True,
    metavar="SIZE",
    help=f"{', '.join(PAGE_SHIFTS)}.",
)
@click.option(
    "--depth",
    default=searching.DEFAULT_DEPTH,
    show_default=True,
    type=click.IntRange(1, searching.MAX_DEPTH),
    help="Statements of the longest script to try.",
)
@click.option("--allocator", "name", metavar="NAME|FILE.c", help="Instead of pba.")
@click.option("-o", "--output", default="-", metavar="FILE", help="Where the script goes.")
def scenario_search(
    *, what: str, page_size: str, depth: int, name: str | None, output: str
) -> None:
    """Search for the shortest script whose machine stops with a deadlock."""
    check_writable(output)
    errors = wide_console(stderr=True)
    found = searching.search_isolated(
        page_size,
        depth,
        name,
        lambda length, nr: errors.print(f"length {length}: up to {nr:,} strings"),
    )
    if not found.statements:
        raise KpbError(
            f"no {what} with {geometry(page_size).page_size} pages in {found.tried:,} strings of "
            f"up to {depth} statements: try a larger --depth"
        )
    for path in write_text(output, found.script):
        errors.print(f"wrote {path}")


@cli.command()
@click.option(
    "--allocator",
    "names",
    multiple=True,
    default=("pba",),
    show_default=True,
    metavar="NAME|FILE.c",
    help="Whom to judge; repeatable.",
)
@_outputs
def behaviours(*, names: tuple[str, ...], json_file: str | None, csv_file: str | None) -> None:
    """Judge allocators by each shipped scenario: which behaviours they show, with figures.

    The status is 1 if one could not be judged ("failed"); "not reached", where a script did not
    get to what it asks about, is a verdict.
    """
    _check_outputs(json_file, csv_file)
    table = judgement.verdicts(names)
    rows = [verdict.row() for verdict in table]
    document = [{**row, "figures": v.figures} for row, v in zip(rows, table, strict=True)]
    _emit(rows, show.verdict_table(table), json_file, csv_file, document=document)
    failed = [verdict for verdict in table if verdict.verdict == FAILED]
    if failed:
        raise KpbError(
            f"scripts that could not be judged: {len(failed)}, first {failed[0].script} on "
            f"{failed[0].allocator}: {failed[0].error}"
        )


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


@cli.command("boot")
@_axis("--page-size", "4K, 16K or 64K.  [default: 4K; sweep: all]", "SIZE")
@_axis("--nr-cpus", "Possible CPUs, 2 to 4096.  [default: 512; sweep: 2,512,1024,4096]", "N")
@click.option(
    "--kasan/--no-kasan", default=None, help="Stacks of twice the size.  [default: no; sweep: both]"
)
@_axis(
    "--bbml2",
    f"CPUs that tolerate splitting: {', '.join(BBML2_CASES)}.  [default: all; sweep: all,late-cpu]",
    "CASE",
)
@_axis(
    "--allocator",
    "pba, noblock, a variant, or a C file; in a sweep NAME=N sets a variant's parameter.  "
    "[default: pba; sweep: pba and its variants]",
    "NAME|FILE.c",
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
@click.option(
    "--ram",
    default=format_bytes(booting.DEFAULT_RAM),
    show_default=True,
    callback=_bytes,
    help="Unless the layout says.",
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
    type=click.IntRange(0, 1 << 16),
    help="Devices that are mapped early.",
)
@click.option(
    "--ioremap-bytes", default="4K", show_default=True, callback=_bytes, help="Of each device."
)
@click.option(
    "--percpu-chunks",
    default=0,
    show_default=True,
    type=click.IntRange(0, 1 << 12),
    help="Chunks of per-CPU memory beyond the first.",
)
@click.option(
    "--percpu-unit",
    default="64K",
    show_default=True,
    callback=_bytes,
    help="Of each CPU in a chunk.",
)
@click.option(
    "--vmalloc-offset",
    default="0",
    show_default=True,
    callback=_bytes,
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
    help="On the kernel's command line.",
)
@click.option("--workload", default="", metavar="NAME", help="Replayed by the running machine.")
@click.option("--ops", default="200k", show_default=True, callback=_count, help="Of the workload.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Of it.")
@click.option("--recorded", is_flag=True, help="Replay the shipped recording of a real boot too.")
@click.option("--plot", "plot_file", metavar="FILE", help="A picture (png, svg or pdf).")
@click.option("--sweep", is_flag=True, help="All combinations of what the options list, to a CSV.")
@click.option(
    "--jobs", default=0, type=click.IntRange(0, 1024), help="Processes of a sweep; 0: one a CPU."
)
@_outputs
def boot_command(
    *,
    page_size: list[str],
    nr_cpus: list[str],
    kasan: bool | None,
    bbml2: list[str],
    allocator: list[str],
    variant_param: int,
    first_refill_order: list[str],
    layout: list[str],
    threads_per_cpu: list[str],
    ram: int,
    holes: tuple[str, ...],
    reserved: tuple[str, ...],
    nr_ioremap: int,
    ioremap_bytes: int,
    percpu_chunks: int,
    percpu_unit: int,
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
        ram=ram,
        debug_pagealloc=debug_pagealloc,
        rodata=rodata,
        nr_ioremap=nr_ioremap,
        ioremap_bytes=ioremap_bytes,
        percpu_chunks=percpu_chunks,
        percpu_unit_bytes=percpu_unit,
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
    if sweep:
        if recorded or plot_file or variant_param:
            raise ConfigError(
                "--recorded, --plot and --variant-param are for one boot: leave --sweep out, or "
                "write --allocator NAME=N"
            )
        axes: dict[str, Any] = {
            "page_sizes": tuple(page_size),
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
    setup = replace(
        base,
        page_size=_one(page_size, "4K", "--page-size"),
        nr_cpus=_one(cpus, 512, "--nr-cpus"),
        bbml2=_one(bbml2, "all", "--bbml2"),
        kasan=bool(kasan),
        threads_per_cpu=_one(threads, 4, "--threads-per-cpu"),
        allocator=_one(allocator, "pba", "--allocator"),
        variant_param=variant_param,
        layout=_one(layout, "plain", "--layout"),
    )
    setup = setup.with_first_order(_one(first_refill_order, "block", "--first-refill-order"))
    _check_targets(csv_file, json_file, plot_file)
    one = booting.boot(setup, recorded=recorded, speed=setup.bbml2 in {"boot-only", "late-cpu"})
    _save_boot(one, csv_file, json_file, plot_file)


def _run_sweep(
    sweep: boot_sweep.Sweep, jobs: int, csv_file: str | None, json_file: str | None
) -> None:
    """All boots of a sweep, with progress; Ctrl-C leaves what is done in the CSV."""
    csv_file = csv_file or boot_sweep.DEFAULT_CSV
    _check_targets(csv_file, json_file, None)
    errors = wide_console(stderr=True)
    counted = [0, len(sweep.setups)]
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
    written = [name for name in (csv_file, json_file) if name and name != "-"]
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
