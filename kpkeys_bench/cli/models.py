# SPDX-License-Identifier: GPL-2.0-only
"""``trace fit``, ``match`` and ``distance``: models of recordings."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.progress import track

from kpkeys_bench.cli.base import check_outputs, check_targets, emit, outputs
from kpkeys_bench.errors import ConfigError
from kpkeys_bench.match import (
    JUDGED,
    PARTS,
    TOLERANCE,
    HeldBack,
    distances,
    held_back,
    match,
    sampled,
)
from kpkeys_bench.report import plain_table, wide_console
from kpkeys_bench.results import check_writable
from kpkeys_bench.workloads.fit import fit
from kpkeys_bench.workloads.fitted import SUFFIX, Model, load_model, save_model, shipped_models
from kpkeys_bench.workloads.trace import (
    Trace,
    load_trace,
    shipped_traces,
)

#: What the table of ``match`` shows, by heading.
_SHOWN: Final = {
    "refills": "refills",
    "splits": "splits",
    "live_peak_pages": "live peak",
    "live_mean_pages": "live mean",
    "live_sd_pages": "live s.d.",
    "cached_mean_pages": "cached mean",
}


def _load(name: str) -> Trace:
    return load_trace(shipped_traces().get(name, Path(name)))


def _model(name: str) -> Model:
    return load_model(shipped_models().get(name, Path(name)))


def _held(model: Model, files: Sequence[str], part: str | None) -> list[HeldBack]:
    """What to compare with: by default, all that is shipped and that the model did not see."""
    if files:
        traces = [_load(name) for name in files]
        if part is None:
            found = held_back(model, {str(number): t for number, t in enumerate(traces)})
            if len(found) < len(traces):
                raise ConfigError(
                    f"model {model.name!r} was fitted on all of a recording: say which part of it "
                    "to compare with, by --part"
                )
            return found
        return [HeldBack.of(trace, part) for trace in traces]
    if part is not None:
        raise ConfigError(f"--part {part!r}: name the recordings that it is a part of")
    return held_back(model, {name: _load(name) for name in shipped_traces()})


def _progress(held: Sequence[HeldBack]) -> Iterable[HeldBack]:
    errors = wide_console(stderr=True)
    return track(held, "comparing", console=errors, transient=True, disable=not errors.is_terminal)


@click.command("fit")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", required=True, metavar="FILE", help="The model, a .toml file.")
@click.option(
    "--part",
    type=click.Choice(PARTS),
    default="all",
    show_default=True,
    help="What to fit; the other half is left for a test.",
)
def trace_fit(*, files: tuple[str, ...], output: str, part: str) -> None:
    """Fit a workload to recordings (.kpt files, or shipped ones by name).

    The model is a workload: compare --workload FILE.toml:machines=8 (docs/generators.md).
    """
    if not output.endswith(SUFFIX):
        raise ConfigError(f"{output}: the name of a model ends in {SUFFIX}")
    check_writable(output)
    recordings = [_load(name) for name in files]
    parts = [HeldBack.of(recording, part).trace for recording in recordings]
    model = fit(parts, Path(output).stem, part=part, recordings=recordings)
    save_model(model, output)
    wide_console(stderr=True).print(
        f"wrote {output}: {len(model.classes)} classes, {model.mean_live:.0f} tables live"
    )


@click.command("match")
@click.argument("model")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--part", type=click.Choice(PARTS), help="Of the recordings.")
@click.option(
    "--copies", type=click.IntRange(1, 4096), help="Of each recording.  [default: by its size]"
)
@click.option("--seed", default=1, show_default=True, help="Of the model's stream.")
@outputs
def trace_match(
    *,
    model: str,
    files: tuple[str, ...],
    part: str | None,
    copies: int | None,
    seed: int,
    json_file: str | None,
    csv_file: str | None,
) -> None:
    """Count the same on recordings and on a MODEL scaled to their live level.

    By default on what is shipped and was not used to fit it. Each cell: recorded, generated, ratio.
    Means and the standard deviation are of the last of three periods.
    """
    check_outputs(json_file, csv_file)
    loaded = _model(model)
    rows: list[dict[str, Any]] = []
    table: list[dict[str, Any]] = []
    for held in _progress(_held(loaded, files, part)):
        found = match(held, loaded, seed=seed, copies=copies)
        rows += found
        cells: dict[str, Any] = {
            "recording": _name(held.trace.name, held.part),
            "copies": found[0]["copies"],
        }
        by_count = {row["count"]: row for row in found}
        cells |= {title: _cell(by_count[count]) for count, title in _SHOWN.items()}
        judged = [by_count[count]["ratio"] for count in JUDGED]
        within = all(abs(ratio - 1) <= TOLERANCE for ratio in judged)
        table.append(cells | {f"within {TOLERANCE:.0%}": "yes" if within else "no"})
    emit(rows, plain_table(table), json_file, csv_file)


def _name(recording: str, part: str) -> str:
    return recording if part == "all" else f"{recording}, {part}"


def _cell(row: dict[str, Any]) -> str:
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
    return f"{row['recorded']:.0f} {row['generated']:.0f} {ratio}"


@click.command("distance")
@click.argument("model")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--part", type=click.Choice(PARTS), help="Of the recordings.")
@click.option("--seed", default=1, show_default=True, help="Of the stream and the bootstrap.")
@click.option("--plot", "plot_file", metavar="FILE", help="A picture (png, svg or pdf).")
@outputs
def trace_distance(
    *,
    model: str,
    files: tuple[str, ...],
    part: str | None,
    seed: int,
    plot_file: str | None,
    json_file: str | None,
    csv_file: str | None,
) -> None:
    """Compare lives, bursts and live level of recordings with those of a MODEL.

    Quantiles (recorded / generated), the Kolmogorov-Smirnov distance, and the Wasserstein distance
    of log2, in octaves, each with a bootstrap interval that holds nine of ten.
    """
    check_outputs(json_file, csv_file)
    check_targets(csv_file, json_file, plot_file)
    loaded = _model(model)
    everything = _held(loaded, files, part)
    rows: list[dict[str, Any]] = []
    for held in _progress(everything):
        rows += distances(held, loaded, seed=seed)
    emit(rows, plain_table([_distance_cells(row) for row in rows]), json_file, csv_file)
    if plot_file:
        from kpkeys_bench import plots  # noqa: PLC0415 - matplotlib is an extra and slow to import

        samples = {_name(h.trace.name, h.part): sampled(h, loaded, seed) for h in everything}
        saved = plots.save_figure(plots.distance_figure(samples, loaded.name), plot_file)
        wide_console(stderr=True).print(f"wrote {saved}")


def _distance_cells(row: dict[str, Any]) -> dict[str, Any]:
    cells = {
        "recording": _name(row["recording"], row["part"]),
        "feature": row["feature"],
        "values": f"{row['values']:,}",
    }
    cells |= {
        q: f"{row[f'recorded_{q}']:,} / {row[f'generated_{q}']:,}"
        for q in ("p10", "p50", "p90", "p99")
    }
    for name in ("ks", "octaves"):
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        interval = "" if low is None else f" ({low:.2f}-{high:.2f})"
        cells[name] = f"{row[name]:.2f}{interval}"
    return cells
