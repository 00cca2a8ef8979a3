# SPDX-License-Identifier: GPL-2.0-only
"""How far two streams of operations are apart: quantiles, distances, bootstrap intervals.

Distributions are compared on a grid of `BINS_PER_OCTAVE` bins for each power of two: the values
span six orders of magnitude, and a factor is what matters. Whole numbers up to 23 have bins of
their own.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from kpkeys_bench.workloads.ops import ALLOC, FREE, LEVEL_NAMES, OpArray

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BINS_PER_OCTAVE: Final = 16
_NR_BINS: Final = 44 * BINS_PER_OCTAVE
QUANTILES: Final = {"p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99}
#: Consecutive values depend on each other, so they are drawn again in so many blocks.
BLOCKS: Final = 40
REPLICATES: Final = 400
INTERVAL: Final = (0.05, 0.95)
_FEW_VALUES: Final = 2 * BLOCKS


def features(ops: OpArray, begin: int = 0) -> dict[str, Ints]:
    """What there is to compare, of the operations from `begin` on.

    Parameters
    ----------
    ops : (n,) array of `OP_DTYPE`
        ALLOC and FREE, from empty slots on.
    begin : int
        What comes before is a history: lives begin in it, but nothing of it is counted.

    Returns
    -------
    dict
        ``life_PTE`` to ``life_PGD``: operations from ALLOC to FREE; ``alloc_burst`` and
        ``free_burst``: ALLOCs or FREEs in a row on one CPU; ``live``: live tables after each
        operation. In the order of the stream.
    """
    is_free = ops["kind"] == FREE
    by_slot = np.argsort(ops["slot"], kind="stable")
    free_at = np.flatnonzero(is_free[by_slot])
    born, died = by_slot[free_at - 1], by_slot[free_at]
    in_order = np.argsort(died)
    born, died = born[in_order], died[in_order]
    counted = died >= begin
    born, died = born[counted], died[counted]
    level = ops["level"][born]
    found: dict[str, Ints] = {
        f"life_{name}": (died - born)[level == number] for number, name in enumerate(LEVEL_NAMES)
    }
    found |= _bursts(ops[begin:])
    live = np.cumsum(np.where(ops["kind"] == ALLOC, 1, -1))[begin:]
    found["live"] = np.maximum(live, 1)
    return found


def _bursts(ops: OpArray) -> dict[str, Ints]:
    by_cpu = np.argsort(ops["cpu"], kind="stable")
    cpu, kind = ops["cpu"][by_cpu], ops["kind"][by_cpu]
    new = np.append(True, (cpu[1:] != cpu[:-1]) | (kind[1:] != kind[:-1]))
    begins = np.flatnonzero(new)
    sizes = np.diff(np.append(begins, len(ops)))
    in_order = np.argsort(by_cpu[begins])
    sizes, freeing = sizes[in_order], (kind[begins] == FREE)[in_order]
    return {"alloc_burst": sizes[~freeing], "free_burst": sizes[freeing]}


@dataclass(frozen=True)
class Distance:
    """How far two samples are apart.

    Attributes
    ----------
    ks : float
        Kolmogorov and Smirnov: the largest difference of the distribution functions, 0 to 1.
    octaves : float
        Wasserstein, of log2: how many powers of two a value must move on average.
    ks_interval, octaves_interval : tuple of float or None
        Between which a bootstrap finds nine of ten; None of fewer than `_FEW_VALUES` values.
    """

    ks: float
    octaves: float
    ks_interval: tuple[float, float] | None
    octaves_interval: tuple[float, float] | None


def quantiles(values: Ints) -> dict[str, int]:
    """The `QUANTILES` of whole numbers, each one of them."""
    found = np.quantile(values, list(QUANTILES.values()), method="inverted_cdf")
    return dict(zip(QUANTILES, (int(x) for x in found), strict=True))


def distance(one: Ints, other: Ints, rng: np.random.Generator) -> Distance:
    """Compare two samples of positive whole numbers.

    Parameters
    ----------
    one, other : (n,), (m,) arrays of int
        At least one value each, in the order of time.
    rng : numpy.random.Generator
        Draws the blocks of the bootstrap.
    """
    blocks = (_block_counts(one), _block_counts(other))
    ks, octaves = _distances(*(counts.sum(axis=0, keepdims=True) for counts in blocks))
    if min(len(one), len(other)) < _FEW_VALUES:
        return Distance(float(ks[0]), float(octaves[0]), None, None)
    again = []
    for counts in blocks:
        draws = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), REPLICATES)
        again.append(draws @ counts)
    ks_again, octaves_again = _distances(*again)
    return Distance(
        float(ks[0]),
        float(octaves[0]),
        _interval(ks_again),
        _interval(octaves_again),
    )


def _block_counts(values: Ints) -> Floats:
    """How many values of each of `BLOCKS` consecutive blocks are in each bin."""
    bins = np.minimum(np.floor(np.log2(values) * BINS_PER_OCTAVE), _NR_BINS - 1).astype(np.int64)
    block = np.arange(len(values)) * BLOCKS // len(values)
    flat = np.bincount(block * _NR_BINS + bins, minlength=BLOCKS * _NR_BINS)
    return flat.reshape(BLOCKS, _NR_BINS).astype(np.float64)


def _distances(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Both distances, row by row of the counts."""
    apart = np.abs(
        np.cumsum(one, axis=1) / one.sum(axis=1, keepdims=True)
        - np.cumsum(other, axis=1) / other.sum(axis=1, keepdims=True)
    )
    return apart.max(axis=1), apart.sum(axis=1) / BINS_PER_OCTAVE


def _interval(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, INTERVAL)
    return float(low), float(high)
