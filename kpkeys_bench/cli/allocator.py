# SPDX-License-Identifier: GPL-2.0-only
"""``allocator``: a kernel's own file."""

from pathlib import Path

import click

from kpkeys_bench import checkup, diff, door
from kpkeys_bench.cli.base import check_outputs, count, emit, linear_map_option, nr_bytes, outputs
from kpkeys_bench.errors import KpbError
from kpkeys_bench.geometry import PAGE_SHIFTS, format_bytes, geometry
from kpkeys_bench.report import plain_table
from kpkeys_bench.strategy import (
    Strategy,
    is_allocator_file,
)


@click.group()
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
@linear_map_option
@click.option("--verbose", is_flag=True, help="Print what the compiler says as well.")
@outputs
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
    check_outputs(json_file, csv_file)
    found = checkup.check(file, page_sizes, linear_map)
    if verbose:
        for output in dict.fromkeys(filter(None, found.outputs.values())):
            click.echo(output, err=True)
    emit(found.rows, plain_table(checkup.merged(found.rows)), json_file, csv_file)
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
@linear_map_option
@click.option(
    "--ops", default="1M", show_default=True, callback=count, help="Operations for a page size."
)
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0), help="Of the programs."
)
@click.option(
    "--ram",
    default=format_bytes(diff.DEFAULT_RAM),
    show_default=True,
    callback=nr_bytes,
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
@outputs
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
    check_outputs(json_file, csv_file)
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
    emit(details, plain_table(rows), json_file, csv_file)
    for outcome in outcomes:
        told = "-" not in (json_file, csv_file) and outcome.difference is None
        if told and outcome.not_reached:
            click.echo(f"{outcome.page_size}: not reached: {', '.join(outcome.not_reached)}")
    found = [outcome.difference for outcome in outcomes if outcome.difference]
    for difference in found:
        click.echo("\n".join(difference.lines()), err=True)
    if found:
        raise KpbError(f"{other.label} and {subject.label} differ: {found[0].where}")
