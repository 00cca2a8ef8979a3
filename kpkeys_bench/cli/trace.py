# SPDX-License-Identifier: GPL-2.0-only
"""``trace``: recordings of page table events."""

from pathlib import Path
from typing import Any

import click

from kpkeys_bench.cli.base import check_outputs, emit, outputs
from kpkeys_bench.geometry import geometry
from kpkeys_bench.report import key_value_table, wide_console
from kpkeys_bench.workloads.import_csv import import_csv
from kpkeys_bench.workloads.trace import load_trace, save_trace, shipped_traces, trace_info


@click.group()
def trace() -> None:
    """Recordings of page table events."""


@trace.command("info")
@click.argument("file")
@outputs
def trace_info_command(*, file: str, json_file: str | None, csv_file: str | None) -> None:
    """What a .kpt file (or a shipped recording, by name) holds."""
    check_outputs(json_file, csv_file)
    facts = _flatten(dict(trace_info(load_trace(shipped_traces().get(file, Path(file))))))
    emit([facts], key_value_table(facts), json_file, csv_file, document=facts)


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
