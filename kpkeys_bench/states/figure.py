# SPDX-License-Identifier: GPL-2.0-only
"""A picture of a state: memory by frame, and free pages by order. Needs the extra ``plot``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from kpkeys_bench.errors import ConfigError
from kpkeys_bench.geometry import format_bytes
from kpkeys_bench.states.image import (
    ANON,
    FILE,
    FREE,
    HOLE,
    KERNEL,
    KINDS,
    MIGRATETYPES,
    PCP,
    PGTABLE,
    RESERVED,
    SLAB,
    MemoryImage,
)
from kpkeys_bench.states.snapshot import free_by_type

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Rows and columns of the map, at most.
_ROWS, _COLUMNS = 96, 128

#: What is shown as one, its colour and its name; free memory is the paper's.
_GROUPS: Final = (
    ((FREE, PCP), (1.0, 1.0, 1.0), "free"),
    ((ANON,), (0.34, 0.71, 0.91), "anonymous (movable)"),
    ((FILE,), (0.0, 0.62, 0.45), "page cache (movable)"),
    ((SLAB, KINDS.index("system_slab")), (0.90, 0.62, 0.0), "slab"),
    ((KERNEL, KINDS.index("system_kernel")), (0.84, 0.37, 0.0), "kernel"),
    ((PGTABLE,), (0.6, 0.0, 0.25), "page tables (framed)"),
    ((RESERVED,), (0.55, 0.55, 0.55), "reserved"),
    ((HOLE,), (0.86, 0.86, 0.86), "no RAM"),
)
_TYPE_COLOURS: Final = ("#d55e00", "#56b4e9", "#e69f00")


def frames_before(
    image: MemoryImage, kinds: tuple[int, ...], at: npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """How many frames of these kinds lie below each of some frames.

    Parameters
    ----------
    image : MemoryImage
        Of the machine.
    kinds : tuple of int
        Of `kpkeys_bench.states.image.KINDS`.
    at : (n,) array of int
        Frames, counted from the first one of RAM.
    """
    at = np.asarray(at, np.int64)
    runs = image.runs[np.isin(image.runs["kind"], kinds)]
    if not len(runs):
        return np.zeros(len(at), np.int64)
    first = runs["first"].astype(np.int64)
    frames = runs["nr"].astype(np.int64) << runs["order"]
    before = np.cumsum(frames) - frames
    i = np.searchsorted(first, at, side="right") - 1
    inside = before[i] + np.minimum(at - first[i], frames[i])
    return np.where(i >= 0, inside, 0)


def shares(image: MemoryImage, cell_frames: int) -> npt.NDArray[np.float64]:
    """Share of each group of kinds in each cell of so many frames, ``(cells, groups)``."""
    edges = np.append(np.arange(0, image.nr_frames, cell_frames), image.nr_frames)
    size = np.diff(edges)
    return np.stack(
        [np.diff(frames_before(image, kinds, edges)) / size for kinds, _, _ in _GROUPS], axis=1
    )


def _cell_frames(image: MemoryImage) -> int:
    """A power of two: at least a pageblock, and as many as the map has room for."""
    cell = 1 << image.geometry.block_order
    while -(-image.nr_frames // cell) > _ROWS * _COLUMNS:
        cell *= 2
    return cell


def cell_colours(
    share: npt.NDArray[np.float64], colours: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Mix the colours of what is in use; the less there is, the paler, by the cube root.

    One page in 512 would not be seen if it were as pale as it is rare.

    Parameters
    ----------
    share : (cells, groups) array
        From `shares`; the first group is free memory.
    colours : (groups, 3) array
        Of each group, 0 to 1.
    """
    used = share[:, 1:].sum(axis=1, keepdims=True)
    mixed = share[:, 1:] @ colours[1:] / np.maximum(used, 1e-12)
    depth = np.cbrt(np.clip(used, 0, 1))
    pixels: npt.NDArray[np.float64] = np.clip(1 - depth * (1 - mixed), 0, 1)
    return pixels


def _draw_map(ax: Axes, image: MemoryImage) -> None:
    cell = _cell_frames(image)
    share = shares(image, cell)
    nr_cells = len(share)
    columns = min(_COLUMNS, 1 << max(4, (nr_cells // 2).bit_length() // 2 + 1))
    rows = -(-nr_cells // columns)
    colours = np.array([colour for _, colour, _ in _GROUPS])
    pixels = np.ones((rows * columns, 3))
    pixels[:nr_cells] = cell_colours(share, colours)
    ax.imshow(
        pixels.reshape(rows, columns, 3), interpolation="nearest", aspect="auto", origin="upper"
    )
    tables = [kinds for kinds, _, _ in _GROUPS].index((PGTABLE,))
    has = np.flatnonzero(share[:, tables] > 0)
    ax.scatter(
        has % columns,
        has // columns,
        s=max(4.0, 2200 / max(rows, columns)),
        marker="s",
        facecolors="none",
        edgecolors="black",
        linewidths=1.1,
    )
    shift = image.geometry.page_shift
    step = max(1, rows // 16)
    ticks = range(0, rows, step)
    ax.set_yticks(
        ticks, [f"{(image.phys_base + (row * columns * cell << shift)) / 2**30:g}" for row in ticks]
    )
    ax.set_ylabel("physical address, GB")
    ax.set_xticks([])
    ax.set_title(
        f"{image.name}: a cell is {format_bytes(cell << shift)}, framed where it holds a page table"
        f" ({len(has):,} of {nr_cells:,}); depth of colour: cube root of what is in use",
        loc="left",
        fontsize=10,
    )


def _draw_orders(ax: Axes, image: MemoryImage) -> None:
    from matplotlib.ticker import LogLocator  # noqa: PLC0415

    pages = free_by_type(image) << np.arange(image.geometry.max_page_order + 1)[:, None]
    megabytes = pages * (1 << image.geometry.page_shift) / 2**20
    orders = np.arange(len(megabytes))
    for kind, colour in zip(range(3), _TYPE_COLOURS, strict=True):
        # three thin bars: on a log scale lengths do not add up
        ax.barh(
            orders + (1 - kind) * 0.26,
            megabytes[:, kind],
            height=0.26,
            color=colour,
            label=MIGRATETYPES[kind],
        )
    smallest = megabytes[megabytes > 0].min(initial=1.0)
    most = max(float(megabytes.max()), 2 * smallest)
    ax.set_xscale("log")
    ax.set_xlim(smallest / 2, most * 12)
    for order, total in enumerate(megabytes.sum(axis=1)):
        if total:
            longest = float(megabytes[order].max())
            ax.text(longest, order, f"  {total:,.1f}", va="center", fontsize=8)
    ax.set_yticks(orders)
    ax.set_ylabel("order")
    ax.xaxis.set_major_locator(LogLocator(numticks=5))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    ax.set_xlabel("MB free in blocks of this order\n(log scale; the sum beside them)", fontsize=9)
    ax.set_title("free memory by order and migratetype", loc="left", fontsize=10)
    ax.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.45, -0.08), ncols=3)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def state_figure(image: MemoryImage) -> Figure:
    """Draw a state.

    Returns
    -------
    matplotlib Figure
        On the left a map of memory, a cell for so many frames, see `cell_colours`; on the right
        free memory by order and migratetype.

    Raises
    ------
    ConfigError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure as MplFigure  # noqa: PLC0415 - an extra
        from matplotlib.patches import Patch  # noqa: PLC0415 - the same
    except ImportError:
        raise ConfigError("pictures need matplotlib: pip install 'kpkeys_bench[plot]'") from None
    figure = MplFigure(figsize=(13, 7), layout="constrained")
    grid = figure.add_gridspec(1, 2, width_ratios=(2.3, 1))
    left, right = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    _draw_map(left, image)
    _draw_orders(right, image)
    megabytes = shares(image, image.nr_frames)[0] * image.ram_bytes / 2**20
    left.legend(
        handles=[
            Patch(facecolor=colour, edgecolor="#888888", label=f"{name} {size:,.1f} MB")
            for (_, colour, name), size in zip(_GROUPS, megabytes, strict=True)
            if size
        ],
        loc="upper center",
        bbox_to_anchor=(0.47, -0.01),
        ncols=4,
        frameon=False,
        fontsize=8,
    )
    return figure
