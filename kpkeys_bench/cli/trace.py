# SPDX-License-Identifier: GPL-2.0-only
"""``trace``: recordings of page table events."""

import re
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Group, RenderableType
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from kpkeys_bench.cli.base import check_outputs, check_targets, emit, outputs, whole_number
from kpkeys_bench.cli.models import trace_distance, trace_fit, trace_match
from kpkeys_bench.errors import ConfigError
from kpkeys_bench.geometry import geometry
from kpkeys_bench.report import key_value_table, plain_table, wide_console
from kpkeys_bench.results import check_writable
from kpkeys_bench.workloads.edit import (
    ALIGNMENTS,
    amplify_trace,
    event_at_ns,
    merge_traces,
    slice_trace,
)
from kpkeys_bench.workloads.howto import WAYS
from kpkeys_bench.workloads.recording import (
    COUNT_HELP,
    COUNTS,
    FAULTS,
    ORIGINS,
    STDIN,
    faults,
    import_recording,
)
from kpkeys_bench.workloads.trace import (
    MAX_NAME_CHARS,
    MAX_TS_NS,
    Integrity,
    Trace,
    TraceInfo,
    load_trace,
    save_trace,
    shipped_traces,
    trace_info,
)

_UNITS_NS: Final = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
_output = click.option(
    "-o", "--output", required=True, metavar="FILE", help="The .kpt file to write."
)


@click.group()
def trace() -> None:
    """Recordings of page table events."""


@trace.command("info")
@click.argument("file")
@click.option("--plot", "plot_file", metavar="FILE", help="Draw it: .png, .svg or .pdf.")
@outputs
def trace_info_command(
    *, file: str, plot_file: str | None, json_file: str | None, csv_file: str | None
) -> None:
    """What a .kpt file (or a shipped recording, by name) holds."""
    check_outputs(json_file, csv_file)
    check_targets(csv_file, json_file, plot_file)
    loaded = _load(file)
    info = trace_info(loaded)
    facts = _flatten(dict(info))
    emit([facts], _info_text(info), json_file, csv_file, document=facts)
    if plot_file:
        from kpkeys_bench import plots  # noqa: PLC0415 - matplotlib is an extra and slow to import

        plots.save_figure(plots.trace_figure(loaded), plot_file)
        wide_console(stderr=True).print(f"wrote {plot_file}")


def _load(file: str) -> Trace:
    return load_trace(shipped_traces().get(file, Path(file)))


def _flatten(facts: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in facts.items():
        name = f"{prefix}{key}"
        flat |= _flatten(value, f"{name}_") if isinstance(value, dict) else {name: value}
    return flat


def _info_text(info: TraceInfo) -> RenderableType:
    """Facts, then a row per level, then what the import found."""
    apart = ("level_share", "lifetime_ns", "integrity")
    facts = {key: value for key, value in info.items() if key not in apart}
    lives = info["lifetime_ns"]
    rows = [
        {"level": level, "share": "" if level == "all" else f"{info['level_share'][level]:.3f}"}
        | {
            f"life_{p}_us": f"{lives[level][p] / 1000:,.0f}" if level in lives else ""
            for p in ("p10", "p50", "p90", "p99")
        }
        for level in ("all", *info["level_share"])
    ]
    integrity = info["integrity"]
    if integrity is None:
        last: RenderableType = Text("integrity: the file keeps no counts of its import")
    else:
        found = {n: c for n in FAULTS if (c := integrity["counts"].get(n, 0))}
        last = Text(
            f"integrity ({integrity['format']}, {integrity['origin']}): "
            + (", ".join(f"{c} {n}" for n, c in found.items()) or "nothing lost, no contradiction")
        )
    return Group(key_value_table(_flatten(facts)), plain_table(rows), last)


@trace.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_output
@click.option(
    "--page-size",
    default="4K",
    show_default=True,
    metavar="SIZE",
    help="Of the kernel that was recorded.",
)
@click.option("--source", default="", metavar="TEXT", help="Machine, kernel, how recorded.")
@click.option("--merge", is_flag=True, help="The files are of one time (per CPU): merge them.")
@click.option("--strict", is_flag=True, help="Refuse loss and contradiction.")
@click.option(
    "--events",
    "origin",
    type=click.Choice(ORIGINS),
    default="auto",
    show_default=True,
    help="Which events are those of tables; auto: as the first.",
)
@click.option(
    "--item", type=click.IntRange(0, 2**31 - 1), help="Number of NR_PAGETABLE.  [default: found]"
)
@click.option("--vmemmap", default="0", metavar="ADDRESS", help="Of the kernel.  [default: found]")
@outputs
def trace_import(
    *,
    files: tuple[str, ...],
    output: str,
    page_size: str,
    source: str,
    merge: bool,
    strict: bool,
    origin: str,
    item: int | None,
    vmemmap: str,
    json_file: str | None,
    csv_file: str | None,
) -> None:
    """Convert recordings to a .kpt file and say what is wrong with them.

    FILE is text of tracefs (trace, trace_pipe), trace-cmd report or perf script, or CSV; plain or
    compressed (xz, gz, bz2, zst); - is standard input. Several are parts in order of time, or with
    --merge of the same time. `trace how-to` says how to record.
    """
    check_outputs(json_file, csv_file)
    name = _name(output)
    size = 1 << geometry(page_size).page_shift
    errors = wide_console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal or STDIN in files,
    ) as progress:
        task = progress.add_task("reading", total=None)
        imported = import_recording(
            files,
            page_size=size,
            name=name,
            source=source,
            merge=merge,
            strict=strict,
            origin=origin,
            item=item,
            vmemmap=_address(vmemmap),
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    save_trace(imported, output)
    integrity = imported.integrity or Integrity("unknown", origin, {}, {})
    rows = _integrity_rows(integrity)
    shown = [row for row in rows if row["found"] or row["count"] in FAULTS]
    document = {
        "name": imported.name,
        "format": integrity.format,
        "events": integrity.origin,
        "ops": imported.nr_ops,
        "pre_pages": imported.nr_pre,
        "faults": sum(faults(integrity).values()),
        "counts": integrity.counts,
        "first": integrity.first,
        "workload_sha256": imported.workload_sha256,
    }
    emit(rows, plain_table(shown), json_file, csv_file, document=document)
    if document["faults"]:
        names = ", ".join(faults(integrity))
        errors.print(f"warning: {names}: repaired as the table says, so it is not what happened")
    errors.print(f"wrote {output}: {imported.nr_ops:,} operations")


def _integrity_rows(integrity: Integrity) -> list[dict[str, Any]]:
    return [
        {
            "count": name,
            "found": integrity.counts.get(name, 0),
            "first": integrity.first.get(name),
            "kind": "fault" if name in FAULTS else "fact",
            "meaning": COUNT_HELP[name],
        }
        for name in COUNTS
    ]


def _address(text: str) -> int:
    if not re.fullmatch(r"0|0[xX][0-9a-fA-F]{1,16}", text):
        raise ConfigError(
            f"--vmemmap {text[:40]!r} is not a hexadecimal address such as 0xfffffdff"
        )
    return int(text, 16)


@trace.command("how-to")
@click.argument("way", required=False, type=click.Choice([way.name for way in WAYS]))
@outputs
def trace_how_to(*, way: str | None, json_file: str | None, csv_file: str | None) -> None:
    """How to record: all ways, or one with its commands."""
    check_outputs(json_file, csv_file)
    chosen = [w for w in WAYS if way in (None, w.name)]
    rows = [
        {
            "way": w.name,
            "title": w.title,
            "needs": w.needs,
            "commands": w.commands,
            "notes": w.notes,
        }
        for w in chosen
    ]
    emit(rows, None, json_file, csv_file)
    if "-" in (json_file, csv_file):
        return
    for w in chosen:
        # Commands are to be copied: no console folds their lines.
        commands = "".join(f"    {line}\n" for line in w.commands.splitlines())
        click.echo(f"{w.name}: {w.title}\n\n{_folded(w.needs)}\n\n{commands}\n{_folded(w.notes)}\n")


def _folded(text: str) -> str:
    return click.wrap_text(text, 100, "  ", "  ")


@trace.command("slice")
@click.argument("file")
@_output
@click.option("--from", "begin", default="0", metavar="AT", help="First event.  [default: 0]")
@click.option("--to", "end", metavar="AT", help="First event that is out.  [default: all]")
def trace_slice(*, file: str, output: str, begin: str, end: str | None) -> None:
    """Cut a piece out of a .kpt file; pages live at its start become its prologue.

    AT is the number of an event (0 is the first after the prologue; 10k) or a time since the first
    event (1500ms, 2.5s).
    """
    name = _name(output)
    whole = _load(file)
    nr_events = whole.nr_ops - whole.nr_pre
    first = _event(whole, "--from", begin)
    last = nr_events if end is None else min(_event(whole, "--to", end), nr_events)
    _save(slice_trace(whole, first, last, name=name), output)


@trace.command("amplify")
@click.argument("file")
@_output
@click.option("--copies", required=True, type=click.IntRange(1), help="Copies side by side.")
@click.option(
    "--shift", metavar="TIME", help="Between copies, as 20ms.  [default: duration / copies]"
)
def trace_amplify(*, file: str, output: str, copies: int, shift: str | None) -> None:
    """Let shifted copies of a .kpt file run side by side, each with its own pages."""
    name = _name(output)
    shift_ns = None if shift is None else _time_ns("--shift", shift)
    _save(amplify_trace(_load(file), copies, name=name, shift_ns=shift_ns), output)


@trace.command("merge")
@click.argument("files", nargs=-1, required=True, metavar="FILE FILE...")
@_output
@click.option(
    "--align",
    type=click.Choice(ALIGNMENTS),
    default=ALIGNMENTS[0],
    show_default=True,
    help="Let the first events meet, or keep the recorded times.",
)
def trace_merge(*, files: tuple[str, ...], output: str, align: str) -> None:
    """Let several .kpt files happen at once, each with its own pages."""
    name = _name(output)
    _save(merge_traces([_load(f) for f in files], name=name, align=align), output)


def _name(output: str) -> str:
    """The trace's name: the file's. Fail before any work is done."""
    check_writable(output)
    name = Path(output).stem
    if not (1 <= len(name) <= MAX_NAME_CHARS and name.isprintable()):
        raise ConfigError(
            f"-o {output[:80]!r}: the file's name is the trace's, up to {MAX_NAME_CHARS} printable"
            " characters; choose another"
        )
    return name


def _save(made: Trace, output: str) -> None:
    save_trace(made, output)
    wide_console(stderr=True).print(
        f"wrote {output}: {made.nr_ops:,} operations, {made.nr_pre:,} of them prologue"
    )


def _time_ns(option: str, text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?(ns|us|ms|s)", text.strip())
    if match is None:
        raise ConfigError(f"{option} {text[:40]!r} is no time; write 1500ms or 2.5s")
    whole, fraction, unit = match[1], match[2] or "", _UNITS_NS[match[3]]
    time_ns: int = int(whole) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
    if time_ns > MAX_TS_NS:
        raise ConfigError(f"{option} {text[:40]!r} is above the limit of {MAX_TS_NS} ns")
    return time_ns


def _event(whole: Trace, option: str, text: str) -> int:
    if re.fullmatch(r"[0-9][0-9_]*[kKmMgG]?", text.strip()):
        return whole_number(text)
    return event_at_ns(whole, _time_ns(option, text))


for _command in (trace_fit, trace_match, trace_distance):
    trace.add_command(_command)
