# SPDX-License-Identifier: GPL-2.0-only
"""Memory of which only numbers are known: places are drawn.

Ranges of the largest order are dealt to the migratetypes, and halved order by order. Of two halves
at most one becomes a free block, so none merge; the other keeps at least one page in use. In the
end the numbers of free blocks are those asked for, of each type, exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kpkeys_bench.errors import StateError
from kpkeys_bench.geometry import Geometry
from kpkeys_bench.states.image import (
    ANON,
    FILE,
    FREE,
    KERNEL,
    MIGRATETYPES,
    MOVABLE,
    RECLAIMABLE,
    RESERVED,
    SLAB,
    UNMOVABLE,
)

#: Ranges that are halved further: so many times what smaller orders need at least.
_SPREAD = 4

Frames = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Drawn:
    """Frames, free blocks and pageblocks of a machine."""

    codes: npt.NDArray[np.uint8]
    first: Frames
    order: npt.NDArray[np.uint8]
    types: npt.NDArray[np.uint8]


def draw_memory(
    *,
    nr_frames: int,
    wanted: Sequence[Sequence[int]],
    blocks: Sequence[int],
    reserved_pages: int,
    anon_pages: int,
    file_pages: int,
    facts: Geometry,
    rng: np.random.Generator,
) -> Drawn:
    """Draw places.

    Parameters
    ----------
    nr_frames : int
        A multiple of the largest block.
    wanted : (3, orders) of int
        Free blocks of each migratetype by order.
    blocks : (3,) of int
        Pageblocks of each type; zeros if unknown.
    reserved_pages : int
        At the top, never the buddy's; made whole blocks of the largest order.
    anon_pages, file_pages : int
        Movable pages in use, as far as movable blocks have room.
    facts : Geometry
        Of the page size.
    rng : numpy.random.Generator
        What is drawn from.

    Raises
    ------
    StateError
        If the free blocks need more memory than there is.
    """
    top = facts.max_page_order
    wanted = [_padded(counts, top) for counts in wanted]
    need = [counts[top] + _mixed_needed(counts[:top]) for counts in wanted]
    nr_ranges = nr_frames >> top
    nr_reserved = min(max(reserved_pages, 1) >> top, nr_ranges - sum(need))
    if nr_reserved < 0:
        raise StateError(
            f"free blocks need {sum(need)} blocks of the largest order, RAM has {nr_ranges}: the "
            "files are not of one machine"
        )
    ranges = rng.permutation(nr_ranges - nr_reserved)
    dealt = _deal(len(ranges), need, blocks, top - facts.block_order)
    codes = np.full(nr_frames, KERNEL, np.uint8)
    codes[(nr_ranges - nr_reserved) << top :] = RESERVED
    types = np.full(nr_frames >> facts.block_order, MOVABLE, np.uint8)
    per_range = 1 << (top - facts.block_order)
    firsts, orders = [], []
    at = 0
    for kind in (UNMOVABLE, RECLAIMABLE, MOVABLE):
        mine = np.sort(ranges[at : at + dealt[kind]]).astype(np.int64)
        at += dealt[kind]
        types.reshape(-1, per_range)[mine] = kind
        first, order = _halve(mine << top, wanted[kind], top, rng)
        firsts.append(first)
        orders.append(order)
        if kind != MOVABLE:
            use = np.array([KERNEL if kind == UNMOVABLE else SLAB], np.uint8)
            codes.reshape(-1, 1 << top)[mine] = use
            continue
        in_use = (dealt[kind] << top) - int((1 << order.astype(np.int64)).sum())
        chance = [anon_pages / max(in_use, 1), file_pages / max(in_use, 1)]
        chance = [share / max(1.0, sum(chance)) for share in chance]
        for i in mine:
            codes[i << top : (i + 1) << top] = rng.choice(
                np.array([ANON, FILE, KERNEL], np.uint8),
                size=1 << top,
                p=[*chance, max(0.0, 1 - sum(chance))],
            )
    first, order = np.concatenate(firsts), np.concatenate(orders)
    for one in np.unique(order):
        for frame in first[order == one]:
            codes[frame : frame + (1 << one)] = FREE
    rising = np.argsort(first, kind="stable")
    return Drawn(codes, first[rising], order[rising].astype(np.uint8), types)


def _mixed_needed(counts: Sequence[int]) -> int:
    """Ranges of the next order that hold free blocks of these orders, none beside its buddy."""
    ranges = 0
    for nr in counts:
        # each range has at most one half free, and what is in use has room for smaller ones
        ranges = max(nr, -(-(ranges + nr) // 2))
    return ranges


def _padded(counts: Sequence[int], top: int) -> list[int]:
    return [*counts, *([0] * (top + 1 - len(counts)))]


def _deal(nr: int, need: Sequence[int], blocks: Sequence[int], shift: int) -> list[int]:
    """How many ranges each type gets: what it needs, and its share of the rest."""
    dealt = [max(n, b >> shift) for n, b in zip(need, blocks, strict=True)]
    # movable is what is left
    for kind in (UNMOVABLE, RECLAIMABLE):
        spare = nr - need[MOVABLE] - sum(dealt[k] for k in (UNMOVABLE, RECLAIMABLE) if k != kind)
        dealt[kind] = max(need[kind], min(dealt[kind], spare))
    dealt[MOVABLE] = nr - dealt[UNMOVABLE] - dealt[RECLAIMABLE]
    if dealt[MOVABLE] < need[MOVABLE]:
        raise StateError(f"no room for the free blocks of {MIGRATETYPES[MOVABLE]} pageblocks")
    return dealt


def _halve(
    ranges: Frames, counts: Sequence[int], top: int, rng: np.random.Generator
) -> tuple[Frames, npt.NDArray[np.int64]]:
    """Free blocks within ranges of the largest order."""
    firsts, orders = [], []
    mixed = rng.permutation(ranges)
    for order in range(top, -1, -1):
        if order < top:
            mixed = _to_be_halved(mixed, counts[: order + 1])
            lower = mixed + (rng.integers(2, size=len(mixed)) << order)
            other = lower ^ (1 << order)
            taken, mixed = lower[: counts[order]], np.concatenate((other, lower[counts[order] :]))
            mixed = rng.permutation(mixed)
        else:
            taken, mixed = mixed[: counts[order]], mixed[counts[order] :]
        firsts.append(taken)
        orders.append(np.full(len(taken), order))
    return np.concatenate(firsts), np.concatenate(orders)


def _to_be_halved(mixed: Frames, wanted: Sequence[int]) -> Frames:
    """Of ranges in drawn order as many as may matter; the others are in use as a whole."""
    return mixed[: max(_SPREAD * max(wanted), _mixed_needed(wanted))]
