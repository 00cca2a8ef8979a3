# SPDX-License-Identifier: GPL-2.0-only
"""From what each frame is used for to free blocks whose numbers equal those of buddyinfo.

Free frames alone give the blocks: free buddies have merged. But two files are read at two moments,
and blocks of different types do not merge at ``pageblock_order`` and above. So the blocks are
adjusted, from the largest order down, and the pages that this takes are counted.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from kpkeys_bench.errors import StateError
from kpkeys_bench.geometry import Geometry
from kpkeys_bench.states.image import ANON, FILE, FREE, KERNEL, RUN_DTYPE
from kpkeys_bench.states.procfs import PIECE_PAGES, TAIL, Codes

Frames = npt.NDArray[np.int64]
Orders = npt.NDArray[np.uint8]

#: More pages than any window has: what must not become free.
_NEVER: Final = 1 << 24


def pieces(nr_frames: int) -> Iterator[tuple[int, int]]:
    """Ranges of frames to look at one after the other; no block crosses their ends."""
    for start in range(0, nr_frames, PIECE_PAGES):
        yield start, min(start + PIECE_PAGES, nr_frames)


def _edges(same: npt.NDArray[np.bool_]) -> tuple[Frames, Frames]:
    """Where stretches of True begin and end."""
    padded = np.zeros(len(same) + 2, np.int8)
    padded[1:-1] = same
    steps = np.diff(padded)
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)


def stretches(codes: Codes, kind: int) -> tuple[Frames, Frames]:
    """Where stretches of frames of one kind begin and end, as far as they go."""
    starts, ends = [], []
    for low, high in pieces(len(codes)):
        start, end = _edges(codes[low:high] == kind)
        starts.append(start + low)
        ends.append(end + low)
    start, end = np.concatenate(starts), np.concatenate(ends)
    # one that goes on in the next piece
    apart = np.ones(len(start) + 1, bool)
    apart[1:-1] = end[:-1] != start[1:]
    return start[apart[:-1]], end[apart[1:]]


def natural_blocks(start: Frames, end: Frames, max_order: int) -> tuple[Frames, Orders]:
    """Cut stretches of free frames into the largest aligned blocks.

    Parameters
    ----------
    start, end : arrays of int64
        First frame of each stretch, and the one after its last.
    max_order : int
        Of the largest block.

    Returns
    -------
    first, order : arrays
        Of each block, in frame order.
    """
    at, end = start.astype(np.int64), end.astype(np.int64)
    firsts: list[Frames] = []
    orders: list[int] = []
    for order in range(max_order):
        size = 1 << order
        fits = ((at & size) != 0) & (at + size <= end)
        firsts.append(at[fits])
        orders.append(order)
        at = np.where(fits, at + size, at)
    count = np.where(at & ((1 << max_order) - 1), 0, (end - at) >> max_order)
    firsts.append(
        np.repeat(at - (np.cumsum(count) - count << max_order), count)
        + (np.arange(int(count.sum()), dtype=np.int64) << max_order)
    )
    orders.append(max_order)
    at += count << max_order
    for order in range(max_order - 1, -1, -1):
        size = 1 << order
        fits = at + size <= end
        firsts.append(at[fits])
        orders.append(order)
        at = np.where(fits, at + size, at)
    first = np.concatenate(firsts)
    order_of = np.repeat(np.array(orders, np.uint8), [len(f) for f in firsts])
    rising = np.argsort(first, kind="stable")
    return first[rising], order_of[rising]


class FreeBlocks:
    """The free blocks of a machine, and how they are made to fit what was recorded.

    Parameters
    ----------
    codes : array of uint8
        What each frame is used for; changed where a block is made or taken.
    borders : sequence of int
        Frames that no block crosses: where zones begin.
    facts : Geometry
        Of the page size.
    """

    def __init__(self, codes: Codes, borders: Sequence[int], facts: Geometry) -> None:
        self.codes = codes
        self.adjusted_pages = 0
        self._facts = facts
        self._borders = np.array(sorted(set(borders)), np.int64)
        self._first, self._order = self._decompose()
        self._alive = np.ones(len(self._first), bool)
        self._added: dict[int, int] = {}
        self._counts = np.bincount(self._order, minlength=facts.max_page_order + 1).tolist()

    def _decompose(self) -> tuple[Frames, Orders]:
        firsts, orders = [], []
        for low, high in pieces(len(self.codes)):
            start, end = _edges(self.codes[low:high] == FREE)
            start, end = self._cut(start + low, end + low)
            first, order = natural_blocks(start, end, self._facts.max_page_order)
            firsts.append(first)
            orders.append(order)
        return np.concatenate(firsts), np.concatenate(orders)

    def _cut(self, start: Frames, end: Frames) -> tuple[Frames, Frames]:
        """No stretch crosses a border."""
        inside = [b for b in self._borders if ((start < b) & (b < end)).any()]
        return np.sort(np.append(start, inside)).astype(np.int64), np.sort(
            np.append(end, inside)
        ).astype(np.int64)

    def fit(self, wanted: Sequence[int]) -> None:
        """Make the numbers of blocks by order what they should be.

        A block too many is cut: into two that have not merged, where types may keep them apart, or
        into those smaller ones that are missing and pages in use. One that is missing is made where
        the fewest pages are in its way. Each page that becomes free or used by this counts.

        Raises
        ------
        StateError
            If there is no room for a block.
        """
        missing = [
            (wanted[order] if order < len(wanted) else 0) - nr
            for order, nr in enumerate(self._counts)
        ]
        for order in range(self._facts.max_page_order, -1, -1):
            if missing[order] < 0:
                self._take(order, missing)
            elif missing[order] > 0:
                self._make(order, missing)

    def blocks(self) -> tuple[Frames, Orders]:
        """First frame and order of each free block, in frame order."""
        first = np.append(self._first[self._alive], list(self._added)).astype(np.int64)
        order = np.append(self._order[self._alive], list(self._added.values())).astype(np.uint8)
        rising = np.argsort(first, kind="stable")
        return first[rising], order[rising]

    def _take(self, order: int, missing: list[int]) -> None:
        for first in self._pop(order, -missing[order]):
            missing[order] += 1
            if order > self._facts.block_order and missing[order - 1] >= 2:
                half = 1 << (order - 1)
                self._added |= {first: order - 1, first + half: order - 1}
                missing[order - 1] -= 2
                continue
            self._carve(first, order, missing)

    def _pop(self, order: int, nr: int) -> list[int]:
        """Take the `nr` highest blocks of an order off the books."""
        found = np.flatnonzero(self._alive & (self._order == order))
        both = [(int(self._first[i]), int(i)) for i in found]
        both += [(first, -1) for first, o in self._added.items() if o == order]
        picked = sorted(both, reverse=True)[:nr]
        for first, i in picked:
            if i >= 0:
                self._alive[i] = False
            else:
                del self._added[first]
        return [first for first, _ in picked]

    def _carve(self, first: int, order: int, missing: list[int]) -> None:
        """Keep of a block what is missing elsewhere; it must not stay whole."""
        if order == 0 or max(missing[:order]) <= 0:
            self.codes[first : first + (1 << order)] = KERNEL
            self.adjusted_pages += 1 << order
            return
        half = 1 << (order - 1)
        if missing[order - 1] > 0:
            missing[order - 1] -= 1
            self._added[first] = order - 1
        else:
            self._carve(first, order - 1, missing)
        self._carve(first + half, order - 1, missing)

    def _make(self, order: int, missing: list[int]) -> None:
        while missing[order] > 0:
            windows = self._cheapest(order, missing[order])
            if not len(windows):
                raise StateError(
                    f"buddyinfo has {missing[order]} more free blocks of order {order} than fit "
                    "into RAM: the files are not of one machine"
                )
            made: set[int] = set()
            for cost, first in windows:
                # two that are buddies would merge
                if first ^ (1 << order) in made:
                    continue
                made.add(first)
                self._swallow(first, order, missing)
                self.adjusted_pages += cost
                missing[order] -= 1

    def _swallow(self, first: int, order: int, missing: list[int]) -> None:
        """A window becomes one block; those that were in it are missing now."""
        end = first + (1 << order)
        low, high = np.searchsorted(self._first, (first, end))
        for i in range(int(low), int(high)):
            if self._alive[i]:
                self._alive[i] = False
                missing[int(self._order[i])] += 1
        if order:
            for inside in [f for f in self._added if first <= f < end]:
                missing[self._added.pop(inside)] += 1
        self.codes[first:end] = FREE
        self._added[first] = order

    def _cheapest(self, order: int, nr: int) -> list[tuple[int, int]]:
        """Pages in the way, and first frame, of the `nr` windows where a block is made best."""
        size = 1 << order
        best: list[tuple[int, int]] = []
        for low, high in pieces(len(self.codes)):
            codes = self.codes[low : high - (high - low) % (2 * size)]
            if not len(codes):
                continue
            cost = np.full(len(codes), _NEVER, np.int32)
            cost[(codes == KERNEL) | (codes & ~np.uint8(TAIL) == FILE)] = 1
            cost[codes & ~np.uint8(TAIL) == ANON] = 1
            cost[codes == FREE] = 0
            sums = cost.reshape(-1, size).sum(axis=1, dtype=np.int64)
            buddies = sums.reshape(-1, 2)[:, ::-1].reshape(-1)
            good = (sums > 0) & (sums < _NEVER) & (buddies > 0)
            for border in self._borders:
                if low < border < high:
                    good[(border - low) >> order :][:1] &= border % size == 0
            found = np.flatnonzero(good)
            if len(found) > nr:
                found = found[np.argpartition(sums[found], nr - 1)[:nr]]
            best += [(int(sums[i]), low + (int(i) << order)) for i in found]
            best = sorted(best)[:nr]
        return best


def fit_heads(codes: Codes, wanted: Sequence[int], facts: Geometry) -> None:
    """Where only the first frame of a free block is flagged, mark the others.

    How large a block can be: what is aligned, and not used for anything that would show. Of those
    that could be of an order, the ones with most room get it.
    """
    heads = np.flatnonzero(codes == FREE)
    if not len(heads):
        return
    shown = np.append(np.flatnonzero(codes != KERNEL), len(codes))
    room = shown[np.searchsorted(shown, heads, side="right")] - heads
    order = np.minimum(np.log2(room).astype(np.int64), facts.max_page_order)
    aligned = np.log2(np.where(heads, heads & -heads, 1 << facts.max_page_order)).astype(np.int64)
    most = np.minimum(order, aligned)
    left = np.lexsort((heads, -room))
    for size in range(min(len(wanted) - 1, facts.max_page_order), 0, -1):
        fits = most[left] >= size
        picked = left[fits][: wanted[size]]
        for first in heads[picked]:
            codes[first : first + (1 << size)] = FREE
        left = left[~np.isin(left, picked)]


def runs_of(codes: Codes, first: Frames, order: Orders, facts: Geometry) -> npt.NDArray[np.void]:
    """Runs of a machine: its free blocks, and what the other frames are used for.

    Movable frames keep the large folios that they are part of, where these are aligned.
    """
    parts = []
    for low, high in pieces(len(codes)):
        between = slice(*np.searchsorted(first, (low, high)))
        parts.append(_runs_of_piece(codes[low:high], low, first[between], order[between], facts))
    return _join(np.concatenate(parts))


def _runs_of_piece(
    codes: Codes, base: int, first: Frames, order: Orders, facts: Geometry
) -> npt.NDArray[np.void]:
    kinds = codes & ~np.uint8(TAIL)
    movable = (kinds == FILE) | (kinds == ANON)
    begins = np.ones(len(codes), bool)
    begins[1:] = (kinds[1:] != kinds[:-1]) | (movable[1:] & ((codes[1:] & TAIL) == 0))
    begins &= kinds != FREE
    used = np.flatnonzero(begins)
    # free blocks end what is before them
    every = np.sort(np.concatenate((used, first - base, [len(codes)])))
    length = every[np.searchsorted(every, used, side="right")] - used
    log = np.log2(np.maximum(length, 1)).astype(np.int64)
    folio = (
        movable[used]
        & (length == 1 << log)
        & (log <= facts.max_page_order)
        & (used & (length - 1) == 0)
    )
    runs = np.zeros(len(used) + len(first), RUN_DTYPE)
    runs["first"] = np.concatenate((used, first - base)) + base
    runs["nr"] = np.concatenate((np.where(folio, 1, length), np.ones(len(first), np.int64)))
    runs["kind"] = np.concatenate((kinds[used], np.full(len(first), FREE, np.uint8)))
    runs["order"] = np.concatenate((np.where(folio, log, 0), order))
    return _join(runs[np.argsort(runs["first"], kind="stable")])


def _join(runs: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Neighbours of one kind and order become one run."""
    new = np.ones(len(runs), bool)
    new[1:] = (runs["kind"][1:] != runs["kind"][:-1]) | (runs["order"][1:] != runs["order"][:-1])
    starts = np.flatnonzero(new)
    joined = runs[starts]
    joined["nr"] = np.add.reduceat(runs["nr"], starts)
    return joined
