# SPDX-License-Identifier: GPL-2.0-only
"""Pictures of a comparison; needs the extra ``plot`` (matplotlib)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from kpkeys_bench.boot_report import size_names, title
from kpkeys_bench.errors import ConfigError, ResultError
from kpkeys_bench.report import median_of_repeats, with_labels
from kpkeys_bench.results import SPLITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from kpkeys_bench.boot import Boot
    from kpkeys_bench.workloads.distance import Ints

#: Colours that stay apart for the colour-blind (Okabe and Ito), and marks that do without colour.
_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#444444")
_MARKS: Final = ("o", "s", "^", "D", "v", "P", "X")
_FEATURES: Final = {
    "life_PTE": "Life of PTE tables, operations",
    "alloc_burst": "Allocations in a row on a CPU",
    "free_burst": "Frees in a row on a CPU",
    "live": "Live tables",
}
_NEEDED: Final = (
    "allocator",
    "refill_orders",
    "page_size",
    "state",
    "workload",
    "seed",
    "ns_per_op",
    "null_ns_per_op",
    "error",
    *SPLITS,
    "cached_mean_pages",
    "service_ns_p50",
    "service_ns_p99",
    "service_ns_p999",
    "clock_floor_ns",
)


def load_runs(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the runs that ``compare --csv`` wrote.

    Raises
    ------
    ResultError
        If the file cannot be read or lacks a column that the picture needs.
    """
    try:
        runs = pd.read_csv(path, dtype={"refill_orders": "str", "error": "str"})
    except (OSError, ValueError) as error:
        raise ResultError(
            f"cannot read {os.fspath(path)}: {error}; give a file from compare --csv"
        ) from None
    missing = [column for column in _NEEDED if column not in runs.columns]
    if missing or runs.empty:
        what = f"has no column {missing[0]!r}" if missing else "has no rows"
        raise ResultError(f"{os.fspath(path)} {what}: give a file from compare --csv")
    numbers = [c for c in _NEEDED if "_ns_" in c or c.endswith("_pages") or c in SPLITS]
    wrong = [column for column in numbers if not pd.api.types.is_numeric_dtype(runs[column])]
    if wrong:
        raise ResultError(
            f"{os.fspath(path)}: column {wrong[0]!r} holds something else than numbers: give a "
            "file from compare --csv"
        )
    return runs.assign(
        error=runs["error"].fillna(""), refill_orders=runs["refill_orders"].fillna("")
    )


def _pyplot_figure(rows: float) -> Figure:
    try:
        from matplotlib.figure import Figure as MplFigure  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError("pictures need matplotlib: pip install 'kpkeys_bench[plot]'") from None
    return MplFigure(figsize=(12, 1.6 + 0.62 * rows), layout="constrained")


def _rows(ax: Axes, labels: list[str]) -> None:
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    for y in range(len(labels)):
        if y % 2:
            ax.axhspan(y - 0.5, y + 0.5, color="#f3f3f3", zorder=0)
    ax.grid(axis="x", color="#dddddd", zorder=0)
    ax.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)


def _log_axis(ax: Axes) -> None:
    """A log scale whose ticks are plain numbers that do not collide."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _offset(i: int, n: int) -> float:
    """Where in its row the i-th of n strategies stands."""
    return (i - (n - 1) / 2) * 0.8 / max(n, 1)


def comparison_figure(runs: pd.DataFrame) -> Figure:
    """Splits and tail latency per strategy, a row per workload and state.

    Parameters
    ----------
    runs : DataFrame
        Rows of `kpkeys_bench.results.Results.runs`.

    Returns
    -------
    matplotlib Figure
        On the left all splits of the linear map (log scale), on the right service times from p50
        to p99.9 with a mark at p99.
    """
    runs = median_of_repeats(with_labels(runs[runs["error"] == ""]))
    if runs.empty:
        raise ResultError("no run without an error: there is nothing to draw")
    titles = (
        runs["workload"] + runs["state"].where(runs["state"] != "fresh", "").radd("\n").str.rstrip()
    )
    runs = runs.assign(row=titles)
    labels = list(dict.fromkeys(runs["row"]))
    strategies = list(dict.fromkeys(runs["strategy"]))
    figure = _pyplot_figure(len(labels) * (0.5 + 0.12 * len(strategies)))
    timed = bool(runs["service_ns_p50"].notna().any())
    axes = figure.subplots(1, 2 if timed else 1, sharey=True, squeeze=False)[0]
    left, right = axes[0], axes[-1]
    for i, strategy in enumerate(strategies):
        own = runs[runs["strategy"] == strategy]
        y = [labels.index(row) + _offset(i, len(strategies)) for row in own["row"]]
        colour, mark = _COLOURS[i % len(_COLOURS)], _MARKS[i % len(_MARKS)]
        if (own["allocator"] != "noblock").all():
            left.scatter(
                own["splits"], y, color=colour, marker=mark, s=34, zorder=3, label=strategy
            )
        if not timed:
            continue
        right.hlines(y, own["service_ns_p50"], own["service_ns_p999"], color=colour, lw=2, zorder=2)
        right.scatter(
            own["service_ns_p99"], y, color=colour, marker=mark, s=34, zorder=3, label=strategy
        )
    for ax in axes:
        _rows(ax, labels)
        _log_axis(ax)
    left.set_title("Splits of the linear map", loc="left")
    left.set_xlabel("PUD + contPMD + PMD + contPTE splits since boot (noblock: map is PTEs)")
    figure.legend(
        *right.get_legend_handles_labels(), loc="outside upper center", ncols=7, frameon=False
    )
    if not timed:
        return figure
    right.set_title("Service time: p50 to p99.9, mark at p99", loc="left")
    floor = float(runs["clock_floor_ns"].dropna().iloc[0]) if runs["clock_floor_ns"].any() else 0.0
    right.set_xlabel(f"host ns, closed loop, clock floor of {floor:.0f} ns included")
    if floor:
        right.axvline(floor, color="#888888", ls=":", lw=1)
    return figure


#: What is drawn of a phase's tables: label and causes.
_BOOT_PARTS: Final = (
    ("linear map's own", ("linear_map",)),
    ("IRQ stacks", ("irq_stack",)),
    ("thread stacks", ("idle_thread", "percpu_thread")),
    ("ioremap", ("ioremap",)),
    ("per-CPU memory", ("percpu",)),
    ("map to PTEs", ("linear_map_split",)),
    ("other splits", ("other_split",)),
)


def _bars(ax: Axes, parts: dict[str, list[float]], nr_rows: int) -> None:
    """Stacked horizontal bars, the first row on top; labels in the legend only where not empty."""
    left = [0.0] * nr_rows
    for (label, values), colour in zip(parts.items(), _COLOURS, strict=False):
        if any(values):
            ax.barh(range(nr_rows), values, left=left, color=colour, label=label, zorder=3)
        left = [a + b for a, b in zip(left, values, strict=True)]


def _say(ax: Axes, y: float, value: float, text: str) -> None:
    ax.annotate(text, (value, y), xytext=(4, 0), textcoords="offset points", va="center", zorder=4)


def boot_figure(boot: Boot) -> Figure:
    """Tables asked for, unprotected pages and the linear map, a row per phase of a boot.

    Parameters
    ----------
    boot : kpkeys_bench.boot.Boot
        What `kpkeys_bench.boot.boot` returned, with at least one phase.

    Returns
    -------
    matplotlib Figure
        Three panels that share the phases as their rows.
    """
    if not boot.phases:
        raise ResultError("no phase of this boot was completed: there is nothing to draw")
    rows = boot.phases
    labels = [row["phase"].replace("_", " ") for row in rows]
    figure = _pyplot_figure(1.5 + len(rows))
    figure.set_figwidth(13)
    left, middle, right = figure.subplots(1, 3, sharey=True)
    asked = {
        label: [float(sum(row[f"ptps_{cause}"] for cause in causes)) for row in rows]
        for label, causes in _BOOT_PARTS
    }
    _bars(left, asked, len(rows))
    unprotected = [row["unprotected_pages"] for row in rows]
    middle.barh(range(len(rows)), unprotected, color="#d55e00", zorder=3)
    for y, row in enumerate(rows):
        total = sum(values[y] for values in asked.values())
        _say(left, y, total, f"{total:,.0f}")
        room = row["early_capacity_pages"]
        note = f"{unprotected[y]:,}" + (f"   ({room:,} left)" if room is not None else "")
        _say(middle, y, unprotected[y], note)
    names = size_names(boot.setup.page_size)
    total_kb = [sum(row[column] for column in names) or 1 for row in rows]
    _bars(
        right,
        {
            name: [100 * row[column] / kb for row, kb in zip(rows, total_kb, strict=True)]
            for column, name in names.items()
        },
        len(rows),
    )
    for ax, heading, unit in (
        (left, "Page tables asked for", "tables in this phase"),
        (middle, "Unprotected pages", "pages after it (early region: requests left)"),
        (right, "Linear map", "% of mapped memory after it"),
    ):
        _rows(ax, labels)
        ax.set_title(heading, loc="left")
        ax.set_xlabel(unit)
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        ax.xaxis.set_major_locator(_few_ticks())
    for ax, most in (
        (left, max(map(sum, zip(*asked.values(), strict=True)))),
        (middle, max(unprotected)),
    ):
        ax.set_xlim(0, max(most, 1) * (1.15 if ax is left else 1.5))
    right.set_xlim(0, 100)
    for ax in (left, right):
        if ax.get_legend_handles_labels()[0]:
            ax.legend(loc="upper left", bbox_to_anchor=(0, -0.14), ncols=2, frameon=False)
    for ax in (left, middle):
        ax.grid(visible=False)
    figure.suptitle(title(boot), x=0.01, ha="left", fontsize=10)
    return figure


def _few_ticks() -> MaxNLocator:
    from matplotlib.ticker import MaxNLocator as Locator  # noqa: PLC0415

    return Locator(5, integer=True)


def distance_figure(
    samples: Mapping[str, tuple[Mapping[str, Ints], Mapping[str, Ints]]], model: str
) -> Figure:
    """Distribution functions of recordings and of a fitted model, a row per recording.

    Parameters
    ----------
    samples : mapping
        Of each recording by name, the features that `kpkeys_bench.match.sampled` finds.
    model : str
        Name of the model.

    Returns
    -------
    matplotlib Figure
        A column for each of `_FEATURES`; the recording is drawn solid, the model dashed.
    """
    figure = _pyplot_figure(1.5 * len(samples))
    grid = figure.subplots(len(samples), len(_FEATURES), squeeze=False, sharex="col", sharey=True)
    for row, (name, sides) in zip(grid, samples.items(), strict=True):
        for ax, (feature, heading) in zip(row, _FEATURES.items(), strict=True):
            for values, label, colour, style in (
                (sides[0][feature], "recording", _COLOURS[0], "-"),
                (sides[1][feature], model, _COLOURS[4], "--"),
            ):
                if len(values):
                    x, count = np.unique(values, return_counts=True)
                    share = np.cumsum(count) / len(values)
                    ax.step(x, share, style, color=colour, lw=1.4, label=label, where="post")
            ax.set_xscale("log", base=2)
            ax.grid(visible=True, color="#dddddd", lw=0.6)
            if ax in grid[0]:
                ax.set_title(heading, loc="left", fontsize=9)
        row[0].set_ylabel(name.replace(", ", "\n"), fontsize=8)
    grid[0][0].legend(fontsize=7, loc="upper left")
    return figure


def check_target(target: str | os.PathLike[str]) -> str:
    """The kind of picture that a file name asks for; fail before any work is done.

    Raises
    ------
    ResultError
        If the suffix is unknown.
    ConfigError
        If matplotlib is not installed.
    """
    path = Path(target)
    kind = path.suffix.removeprefix(".").lower()
    known = _pyplot_figure(1).canvas.get_supported_filetypes()
    if kind not in known:
        raise ResultError(f"picture {path}: no such kind; use {', '.join(sorted(known))}")
    return kind


def save_figure(figure: Figure, target: str | os.PathLike[str]) -> Path:
    """Write a picture, atomically; the suffix says what kind (png, svg, pdf).

    Raises
    ------
    ResultError
        If it cannot be written, or the suffix is unknown.
    """
    kind = check_target(target)
    path = Path(target).resolve()
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            figure.savefig(file, format=kind, dpi=110)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise ResultError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return Path(target)
