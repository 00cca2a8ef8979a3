# SPDX-License-Identifier: GPL-2.0-only
"""``scenario`` and ``behaviours``."""

import json

import click

from kpkeys_bench.cli.base import check_outputs, emit, outputs
from kpkeys_bench.errors import ConfigError, KpbError
from kpkeys_bench.geometry import PAGE_SHIFTS, geometry
from kpkeys_bench.report import wide_console
from kpkeys_bench.results import check_writable, write_text
from kpkeys_bench.scenario import behaviours as judgement
from kpkeys_bench.scenario import search as searching
from kpkeys_bench.scenario import show
from kpkeys_bench.scenario.language import load
from kpkeys_bench.scenario.run import FAILED, strategy_of


class _RunByDefault(click.Group):
    """A group whose first argument may be a file, which is then run."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args.insert(0, "run")
        return super().parse_args(ctx, args)


@click.group(cls=_RunByDefault, subcommand_metavar="[OPTIONS] FILE... | COMMAND [ARGS]...")
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
@outputs
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
    check_outputs(json_file, csv_file)
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
    emit(rows, None, json_file, csv_file, document=document)
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


@click.command()
@click.option(
    "--allocator",
    "names",
    multiple=True,
    default=("pba",),
    show_default=True,
    metavar="NAME|FILE.c",
    help="Whom to judge; repeatable.",
)
@outputs
def behaviours(*, names: tuple[str, ...], json_file: str | None, csv_file: str | None) -> None:
    """Judge allocators by each shipped scenario: which behaviours they show, with figures.

    The status is 1 if one could not be judged ("failed"); "not reached", where a script did not
    get to what it asks about, is a verdict.
    """
    check_outputs(json_file, csv_file)
    table = judgement.verdicts(names)
    rows = [verdict.row() for verdict in table]
    document = [{**row, "figures": v.figures} for row, v in zip(rows, table, strict=True)]
    emit(rows, show.verdict_table(table), json_file, csv_file, document=document)
    failed = [verdict for verdict in table if verdict.verdict == FAILED]
    if failed:
        raise KpbError(
            f"scripts that could not be judged: {len(failed)}, first {failed[0].script} on "
            f"{failed[0].allocator}: {failed[0].error}"
        )
