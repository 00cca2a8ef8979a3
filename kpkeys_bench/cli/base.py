# SPDX-License-Identifier: GPL-2.0-only
"""What the commands share: options, outputs, checks."""

import json
import os
from collections.abc import Callable
from typing import Any, Final

import click
import pandas as pd
from rich.console import RenderableType

from kpkeys_bench.errors import ConfigError
from kpkeys_bench.geometry import parse_bytes
from kpkeys_bench.report import wide_console
from kpkeys_bench.results import check_writable, csv_text, write_text
from kpkeys_bench.strategy import (
    LINEAR_MAPS,
)

PROGRAM: Final = "kpkeys-bench"
DEFAULT_COPIES: Final = 8
DEFAULT_RAM: Final = "4G"
DEFAULT_STATE: Final = "aged:share=0.9,pins=8"
DEFAULT_BACKGROUND: Final = "desktop"
DEFAULT_SYNTHETIC: Final = ("random", "fork_storm")
DEFAULT_CSV: Final = "compare.csv"
#: A number with more is a slip, and int() refuses very long ones in its own words.
MAX_DIGITS: Final = 18
EXIT_ERROR: Final = 1
EXIT_INTERRUPTED: Final = 130

Command = Callable[..., Any]


def count(_: click.Context, __: click.Parameter, value: str) -> int:
    """An option that is a number of operations."""
    return whole_number(value)


def whole_number(value: str) -> int:
    """A number of operations: ``1000000``, ``500k``, ``10M``."""
    digits, factor = value.strip().replace("_", "").lower(), 1
    for suffix, power in (("k", 10**3), ("m", 10**6), ("g", 10**9)):
        if digits.endswith(suffix):
            digits, factor = digits[:-1], power
    if not digits.isdecimal() or len(digits) > MAX_DIGITS:
        raise click.BadParameter(f"{value[:40]!r}: give a whole number, or one with k, M or G")
    return int(digits) * factor


def nr_bytes(_: click.Context, __: click.Parameter, value: str) -> int:
    """A size: ``16G``, ``512M``."""
    try:
        return parse_bytes(value)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None


def outputs(command: Command) -> Command:
    """The options ``--json`` and ``--csv`` of every command that prints a table."""
    command = click.option(
        "--json", "json_file", metavar="FILE", help="Write it as JSON; - is standard output."
    )(command)
    return click.option(
        "--csv", "csv_file", metavar="FILE", help="Write it as CSV; - is standard output."
    )(command)


def linear_map_option(command: Command) -> Command:
    """The option ``--linear-map`` of every command that takes an allocator file."""
    return click.option(
        "--linear-map",
        type=click.Choice(LINEAR_MAPS),
        help="For a file: block, or pte.  [default: block if it prepares splits]",
    )(command)


def check_outputs(json_file: str | None, csv_file: str | None) -> None:
    """Refuse what could not be written in the end, before anything is done."""
    if json_file == "-" and csv_file == "-":
        raise ConfigError("--json - and --csv - both want standard output: name a file for one")
    targets = [target for target in (csv_file, json_file) if target]
    if len({os.path.realpath(target) for target in targets}) < len(targets):
        raise ConfigError("--csv and --json want the same file: name one for each")
    for target in targets:
        check_writable(target)


def emit(
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


def check_targets(csv_file: str | None, json_file: str | None, plot_file: str | None) -> None:
    """Refuse what could not be written in the end, before anything is measured."""
    targets = [target for target in (csv_file, json_file, plot_file) if target]
    if len({os.path.realpath(target) for target in targets}) < len(targets):
        raise ConfigError("--csv, --json and --plot want the same file: name one for each")
    for target in targets:
        check_writable(target)
    if plot_file:
        from kpkeys_bench import plots  # noqa: PLC0415 - matplotlib is an extra and slow to import

        plots.check_target(plot_file)
