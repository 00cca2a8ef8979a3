# SPDX-License-Identifier: GPL-2.0-only
"""What people read: the comparison as a table, and in words."""

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from kpkeys_bench.background import NONE
from kpkeys_bench.results import SPLITS, Results
from kpkeys_bench.workloads.fitted import shipped_models
from kpkeys_bench.workloads.presets import PRESETS
from kpkeys_bench.workloads.workload import GENERATORS

#: Columns of the comparison: result column, heading, how to print it.
_COLUMNS: Final = (
    ("refills", "refills", "count"),
    ("refill_fallbacks", "fell\nback", "count"),
    ("split_pud", "PUD", "count"),
    ("split_contpmd", "cont\nPMD", "count"),
    ("split_pmd", "PMD", "count"),
    ("split_contpte", "cont\nPTE", "count"),
    ("split_ptps", "tables\nspent", "count"),
    ("map_leaves", "leaves\nat end", "count"),
    ("cached_mean_pages", "cached\nmean", "count"),
    ("unshrinkable_end_pages", "never\nshrinks", "count"),
    ("ns_per_op", "ns/op", "time"),
    ("times_null", "x null", "ratio"),
    ("service_ns_p50", "p50\nns", "time"),
    ("service_ns_p99", "p99\nns", "time"),
    ("service_ns_p999", "p99.9\nns", "time"),
)
#: Columns of a terminal that the comparison needs, and of output that is no terminal.
MIN_WIDTH: Final = 112
WIDTH: Final = 140
#: The surroundings that need no words: nothing but page tables on a fresh machine.
PLAIN: Final = "fresh memory"
_GROUP: Final = ["page_size", "state", "background", "workload"]


def strategy_label(row: Mapping[str, Any]) -> str:
    """The strategy of a row: ``"pba 9-4-2"``."""
    return f"{row['allocator']} {row['refill_orders'] or ''}".strip()


def with_labels(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with columns ``strategy``, ``splits`` (all sizes), ``times_null`` and ``around``.

    The last says what the workload ran on: ``"fresh memory"``, ``"aged:share=0.9,pins=8 memory,
    background desktop"``.
    """
    runs = runs.assign(refill_orders=runs["refill_orders"].fillna("").astype(str))
    variants = runs["variant"].fillna("").astype(str)
    # files of the same name are told apart by their content
    several = variants.groupby(runs["allocator"]).transform("nunique") > 1
    name = runs["allocator"] + ("@" + variants.str[:6]).where(several, "")
    strategy = (name + " " + runs["refill_orders"]).str.strip()
    return runs.assign(
        strategy=strategy,
        splits=runs[list(SPLITS)].sum(axis=1),
        times_null=runs["ns_per_op"] / runs["null_ns_per_op"],
        around=runs["state"]
        + " memory"
        + (", background " + runs["background"]).where(runs["background"] != NONE, ""),
    )


def median_of_repeats(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per run and seed: counts do not vary, of times the median of the repeats is taken."""
    keys = [*_GROUP, "strategy", "seed"]
    times = [c for c in runs.columns if "_ns" in c or c in {"ns_per_op", "times_null"}]
    medians = runs.groupby(keys, sort=False)[times].median()
    first = runs.drop_duplicates(keys).set_index(keys)
    first[times] = medians[times]
    return first.reset_index()[runs.columns]


def _cell(value: Any, how: str) -> str:  # noqa: ANN401 - a cell holds what a column holds
    if pd.isna(value):
        return "-"
    if how == "count":
        return f"{value:,.0f}"
    return f"{value:.1f}" if value < 100 or how == "ratio" else f"{value:,.0f}"


def comparison_table(results: Results) -> RenderableType:
    """One section per workload, state and background, one line per strategy."""
    runs = median_of_repeats(with_labels(results.runs))
    around = list(dict.fromkeys(runs["around"]))
    # what is the same everywhere is said once
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title=Text(around[0]) if len(around) == 1 and around[0] != PLAIN else None,
        title_justify="left",
    )
    table.add_column("strategy", no_wrap=True)
    for _, heading, _how in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for (*_, workload), group in runs.groupby(_GROUP, sort=False):
        table.add_row(Text(str(workload), style="bold"))
        if len(around) > 1:
            for part in group["around"].iloc[0].split(", "):
                table.add_row(Text(f" on {part}", style="italic"))
        for row in group.to_dict("records"):
            cells = [_cell(row[column], how) for column, _, how in _COLUMNS]
            table.add_row(f" {row['strategy']}", *cells)
    return table


def _errors_in_words(runs: pd.DataFrame) -> list[str]:
    """Why runs stopped early."""
    failed = runs[runs["error"] != ""]
    return [
        f"{row['strategy']} on {row['workload']}, {row['around']}: {row['error']}."
        for row in failed.to_dict("records")
    ]


def _splits_in_words(runs: pd.DataFrame) -> list[str]:
    """How often each PBA strategy splits the map, against the one that does so least."""
    pba = runs[runs["allocator"] == "pba"]
    if pba["strategy"].nunique() < 2:
        return []
    made = {*GENERATORS, *shipped_models(), *PRESETS}
    kind = pba["workload"].str.partition(":")[0].isin(made)
    kind = kind.map({True: "generator", False: "recording"})
    lines = []
    for (what, around), group in pba.groupby([kind, "around"], sort=False):
        sums = group.groupby("strategy", sort=False)["splits"].sum().to_dict()
        (least, fewest), *others = sorted(sums.items(), key=lambda item: item[1])
        parts = [f"{least} {fewest:,}"]
        parts += [
            f"{strategy} {splits:,} ({splits / max(fewest, 1):.1f} times as many)"
            for strategy, splits in others
        ]
        nr = group["workload"].nunique()
        plural = "" if nr == 1 else "s"
        lines.append(f"Splits on {nr} {what}{plural}, {around}: {', '.join(parts)}.")
    return lines


def _pressure_in_words(runs: pd.DataFrame) -> list[str]:
    """What refills have to do for their pages where others want memory, too."""
    pba = runs[(runs["allocator"] == "pba") & (runs["background"] != NONE)]
    lines = []
    for around, group in pba.groupby("around", sort=False):
        sums = group.groupby("strategy", sort=False).sum(numeric_only=True)
        parts = [
            f"{strategy} {row['refills']:,} refills, {row['refill_fallbacks']:,} not of the first "
            f"order, {row['allocstall'] - row['background_allocstall']:,} direct reclaims, "
            f"{row['released_pages']:,} pages given back"
            for strategy, row in sums.to_dict("index").items()
        ]
        lines.append(f"On {around}: {'; '.join(parts)}.")
    return lines


def _comparable(runs: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The runs of those workloads and states that every strategy finished; how many are not."""
    nr_failed = runs["error"].ne("").groupby([runs[key] for key in _GROUP]).transform("sum")
    whole = runs[nr_failed == 0]
    return whole, runs[nr_failed != 0].groupby(_GROUP).ngroups


def _price_in_words(runs: pd.DataFrame) -> list[str]:
    """What fewer splits cost in cached pages."""
    pba = runs[runs["allocator"] == "pba"]
    if pba["strategy"].nunique() < 2:
        return []
    mean = pba.groupby("strategy", sort=False)["cached_mean_pages"].mean().sort_values()
    parts = [f"{strategy} {pages:,.0f}" for strategy, pages in mean.items()]
    return [f"Pages cached on average: {', '.join(parts)}."]


def _clock_in_words(runs: pd.DataFrame) -> list[str]:
    timed = runs.dropna(subset=["service_ns_p50"])
    if timed.empty:
        return []
    row = timed.iloc[0]
    sentence = (
        f"p50 to p99.9 are service times of a closed loop ({row['timing']}), read with "
        f"{row['clock']}, whose floor of {row['clock_floor_ns']:.0f} ns and step of "
        f"{row['clock_quantum_ns']:.0f} ns are in them; ns/op is from a pass without a clock. "
        "Host nanoseconds are not kernel nanoseconds. Counts are exact."
    )
    return [sentence]


def summary(results: Results) -> list[str]:
    """The comparison in sentences."""
    runs = median_of_repeats(with_labels(results.runs))
    good, nr_left_out = _comparable(runs)
    lines = _splits_in_words(good) + _price_in_words(good) + _pressure_in_words(good)
    lines += _clock_in_words(good)
    if nr_left_out:
        lines.append(f"Left out of these sums: {nr_left_out} where not every strategy finished.")
    warnings = int(results.runs["warnings"].sum())
    if warnings:
        keys = ["file", "line", "what"]
        sites = results.warnings.groupby(keys, sort=False)["count"].sum().reset_index()
        first = ", ".join(
            f"{s['file']}:{s['line']} {s['what']} ({s['count']}x)"
            for s in sites.head(3).to_dict("records")
        )
        lines.append(f"{warnings} kernel warnings: {first}.")
    return lines


def comparison(results: Results) -> RenderableType:
    """Table and sentences."""
    lines = [Text(line) for line in summary(results)]
    errors = _errors_in_words(with_labels(results.runs))
    return Group(comparison_table(results), *lines, *(Text(line, style="red") for line in errors))


def key_value_table(values: Mapping[str, Any]) -> RenderableType:
    """Facts, one a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for key, value in values.items():
        table.add_row(key, Text(f"{value:.3f}" if isinstance(value, float) else str(value)))
    return table


def plain_table(rows: list[dict[str, Any]]) -> RenderableType:
    """Rows with the same keys as a table."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for key in rows[0]:
        table.add_column(key, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    return table


def wide_console(*, stderr: bool = False) -> Console:
    """A console that does not fold tables where the output is no terminal."""
    console = Console(stderr=stderr, highlight=False, markup=False)
    # a terminal that is too narrow wraps lines, which loses less than cells cut short
    width = max(console.width, MIN_WIDTH) if console.is_terminal else WIDTH
    return Console(stderr=stderr, highlight=False, markup=False, width=width)
