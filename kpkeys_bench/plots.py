# SPDX-License-Identifier: GPL-2.0-only
"""Pictures of a comparison; needs the extra ``plot`` (matplotlib)."""

from __future__ import annotations

import os
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from kpkeys_bench.background import NONE
from kpkeys_bench.boot_report import size_names, title
from kpkeys_bench.errors import ConfigError, ResultError
from kpkeys_bench.report import PLAIN, median_of_repeats, with_labels
from kpkeys_bench.results import SPLITS
from kpkeys_bench.workloads.ops import ALLOC, FREE, LEVEL_NAMES
from kpkeys_bench.workloads.recording import FAULTS
from kpkeys_bench.workloads.trace import (
    BURST_GAP_NS,
    RATE_WINDOWS,
    burst_sizes,
    page_lives,
    window_counts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from kpkeys_bench.boot import Boot
    from kpkeys_bench.workloads.distance import Ints
    from kpkeys_bench.workloads.trace import Trace

#: Colours that stay apart for the colour-blind (Okabe and Ito), and marks that do without colour.
_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#444444")
_MARKS: Final = ("o", "s", "^", "D", "v", "P", "X")
#: Points of a curve; a panel is some 600 pixels wide.
_LIVE_POINTS: Final = 1500
_LIFE_POINTS: Final = 1000
#: What fits into one line above the picture of a boot.
_TITLE_CHARS: Final = 150
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
    # files from before there were backgrounds do not name them
    background = runs["background"].fillna(NONE) if "background" in runs.columns else NONE
    return runs.copy().assign(
        error=runs["error"].fillna(""),
        refill_orders=runs["refill_orders"].fillna(""),
        background=background,
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


def _log_axis(ax: Axes, *, subs: tuple[int, ...] = (1, 2, 5)) -> None:
    """A log scale, of what is drawn so far, whose ticks are plain numbers that do not collide."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415

    ax.set_xscale("log")
    low, high = ax.get_xlim()
    if len(subs) > 2 and high > 1000 * low:
        subs = (1, 3)
    ax.xaxis.set_major_locator(LogLocator(subs=subs))
    ax.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    )
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
    around = list(dict.fromkeys(runs["around"]))
    runs = runs.assign(
        row=runs["workload"] if len(around) == 1 else runs["workload"] + "\n" + runs["around"]
    )
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
    if len(around) == 1 and around[0] != PLAIN:
        figure.supxlabel(f"On {around[0]}", fontsize="medium")
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
    figure.suptitle(textwrap.fill(title(boot), _TITLE_CHARS), x=0.01, ha="left", fontsize=10)
    return figure


def _few_ticks() -> MaxNLocator:
    from matplotlib.ticker import MaxNLocator as Locator  # noqa: PLC0415

    return Locator(5, integer=True)


def trace_figure(trace: Trace) -> Figure:
    """What a recording looks like: live pages, rates, lifetimes and bursts of frees.

    Parameters
    ----------
    trace : kpkeys_bench.workloads.trace.Trace
        The trace.

    Returns
    -------
    matplotlib Figure
        Four panels; times are recorded ones.
    """
    figure = _pyplot_figure(9)
    (live, rates), (lives, bursts) = figure.subplots(2, 2)
    _live_panel(live, trace)
    _rate_panel(rates, trace)
    _life_panel(lives, trace)
    _burst_panel(bursts, trace)
    for ax in (live, rates, lives, bursts):
        ax.grid(color="#dddddd", zorder=0)
        if ax is not lives:
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    counts = trace.integrity.counts if trace.integrity else None
    lost = "no counts of its import" if counts is None else f"{_faults(counts):,} faults"
    figure.suptitle(
        f"{trace.name}: {trace.nr_ops - trace.nr_pre:,} events, prologue of {trace.nr_pre:,},"
        f" {lost}",
        x=0.01,
        ha="left",
    )
    return figure


def _faults(counts: dict[str, int]) -> int:
    return sum(counts.get(name, 0) for name in FAULTS)


def _seconds(trace: Trace) -> npt.NDArray[np.float64]:
    seconds: npt.NDArray[np.float64] = (trace.ts_ns - trace.ts_ns[0]) / 1e9
    return seconds


def _live_panel(ax: Axes, trace: Trace) -> None:
    """Stacked by level, at no more points than the picture can show."""
    seconds = _seconds(trace)
    step = np.where(trace.ops["kind"] == FREE, -1, 1)
    at = np.unique(
        np.concatenate(
            [
                np.searchsorted(seconds, np.linspace(0, seconds[-1], _LIVE_POINTS), "right") - 1,
                [np.argmax(np.cumsum(step))],
            ]
        )
    )
    curves = [
        np.cumsum(np.where(trace.ops["level"] == level, step, 0))[at]
        for level in range(len(LEVEL_NAMES))
    ]
    ax.stackplot(seconds[at], *curves, labels=LEVEL_NAMES, colors=_COLOURS, step="post", zorder=2)
    ax.set_title(f"Live page tables (peak {int(np.cumsum(step).max()):,})", loc="left")
    ax.set_xlabel("recorded time in s")
    ax.set_ylabel("pages")
    ax.set_xlim(0, seconds[-1] or 1)
    ax.legend(loc="upper left", ncols=4, frameon=False)
    ax.set_ylim(0, max(int(np.cumsum(step).max()), 1) * 1.18)


def _rate_panel(ax: Axes, trace: Trace) -> None:
    seconds = float(_seconds(trace)[-1])
    edges = np.linspace(0, seconds or 1, RATE_WINDOWS + 1)
    width = edges[1]
    for kind, label, colour in ((ALLOC, "allocs", _COLOURS[0]), (FREE, "frees", _COLOURS[4])):
        ax.stairs(
            window_counts(trace, kind, RATE_WINDOWS) / width,
            edges,
            color=colour,
            label=label,
            zorder=2,
        )
    ax.set_title("Rates", loc="left")
    ax.set_xlabel("recorded time in s")
    ax.set_ylabel(f"events per s, over {width:.3g} s")
    ax.set_xlim(0, seconds or 1)
    ax.set_ylim(0, ax.get_ylim()[1] * 1.12)
    ax.legend(loc="upper right", ncols=2, frameon=False)


def _life_panel(ax: Axes, trace: Trace) -> None:
    level, life_ns = page_lives(trace)
    for number, name in enumerate(LEVEL_NAMES):
        own = np.sort(life_ns[level == number])
        if not own.size:
            continue
        picked = np.unique(np.linspace(0, own.size - 1, _LIFE_POINTS).astype(np.int64))
        ax.plot(
            np.maximum(own[picked], 1) / 1e6,
            100 * (picked + 1) / own.size,
            color=_COLOURS[number],
            label=f"{name} ({own.size:,})",
            drawstyle="steps-post",
        )
    ax.set_title("Lifetimes of pages allocated and freed in it", loc="left")
    ax.set_xlabel("recorded time in ms")
    ax.set_ylabel("% that lived no longer")
    ax.set_ylim(0, 100)
    if life_ns.size:
        _log_axis(ax, subs=(1,))
        ax.legend(loc="lower right", frameon=False)


def _burst_panel(ax: Axes, trace: Trace) -> None:
    """How many of the frees come in bursts of which size."""
    sizes = burst_sizes(trace)
    ax.set_title(
        f"Bursts of frees on one CPU (gaps up to {BURST_GAP_NS / 1e3:,.0f} us)", loc="left"
    )
    ax.set_xlabel("frees in the burst")
    ax.set_ylabel("% of all frees")
    if not sizes.size:
        return
    bins = np.arange(int(np.log2(sizes.max())) + 1)
    shares = np.bincount(np.log2(sizes).astype(np.int64), weights=sizes, minlength=len(bins))
    ax.bar(bins, 100 * shares / sizes.sum(), width=0.9, color=_COLOURS[2], zorder=2)
    ax.set_xticks(
        bins,
        [f"{1 << b}" if b == 0 else f"{1 << b:,}-{(2 << b) - 1:,}" for b in bins],
        rotation=0 if len(bins) < 7 else 30,
    )


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
