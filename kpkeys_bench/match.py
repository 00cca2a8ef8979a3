# SPDX-License-Identifier: GPL-2.0-only
"""Fitted models against recordings: what an allocator counts on both, and how they are distributed.

The model is scaled to the recording by one figure, the mean number of live tables of the amplified
recording once all its copies run. Nothing about refills, splits or bursts is taken from it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kpkeys_bench.experiment import Setup
from kpkeys_bench.results import SPLITS
from kpkeys_bench.strategy import Strategy
from kpkeys_bench.workloads import distance
from kpkeys_bench.workloads.base import Batch, Workload
from kpkeys_bench.workloads.fit import halves
from kpkeys_bench.workloads.fitted import FittedWorkload, Model
from kpkeys_bench.workloads.loop import amplify
from kpkeys_bench.workloads.ops import ALLOC
from kpkeys_bench.workloads.trace import Trace
from kpkeys_bench.workloads.workload import TraceWorkload

MIN_LIVE: Final = 8192
"""A recording is amplified to so many live tables, 16 blocks, so that one more counts little."""
COPIES: Final = (16, 128)
"""But by no fewer and no more copies than these."""
JUDGED: Final = ("refills", "splits")
"""What must be within `TOLERANCE` of the recording's."""
TOLERANCE: Final = 0.2
PARTS: Final = ("all", "first half", "second half")


@dataclass(frozen=True)
class HeldBack:
    """A recording, or a part of one.

    Attributes
    ----------
    trace : Trace
        What is compared.
    part : str
        One of `PARTS`.
    """

    trace: Trace
    part: str = "all"

    @classmethod
    def of(cls, trace: Trace, part: str) -> "HeldBack":
        """A part of a recording."""
        if part == "all":
            return cls(trace)
        return cls(halves(trace)[PARTS.index(part) - 1], part)


def held_back(model: Model, traces: dict[str, Trace]) -> list[HeldBack]:
    """What of some recordings a model was not fitted on.

    Parameters
    ----------
    model : Model
        Says what it was fitted on.
    traces : dict of str to Trace
        Recordings by name.

    Returns
    -------
    list of HeldBack
        The second half of what it saw the first half of; all of what it did not see.
    """
    seen = {on.sha256: on.part for on in model.fitted_on}
    found = []
    for trace in traces.values():
        part = seen.get(trace.workload_sha256)
        if part is None:
            found.append(HeldBack(trace))
        elif part == "first half":
            found.append(HeldBack.of(trace, "second half"))
    return found


def _live(batches: Iterator[Batch]) -> Iterator[npt.NDArray[np.int64]]:
    live = 0
    for ops, repeat in batches:
        for _ in range(repeat):
            curve = live + np.cumsum(np.where(ops["kind"] == ALLOC, 1, -1))
            live = int(curve[-1])
            yield curve


def copies_for(trace: Trace) -> int:
    """How many copies of a recording have `MIN_LIVE` live tables, within `COPIES`."""
    looped = amplify(trace, 1)
    begin = sum(int(curve[-1]) for curve in _live(iter([(looped.first, 1)])))
    curves = _live(iter([(looped.second, 1), (looped.steady, 1)]))
    mean = begin + float(np.mean(list(curves)[1]))
    return min(max(math.ceil(MIN_LIVE / mean), COPIES[0]), COPIES[1])


def _cut(batches: Iterator[Batch], first: int) -> tuple[Iterator[Batch], Iterator[Batch]]:
    """The first operations of a stream, and the rest, to be taken in this order."""
    rest: list[Batch] = []

    def begin() -> Iterator[Batch]:
        left = first
        for ops, repeat in batches:
            for _ in range(repeat):
                if left:
                    yield ops[:left], 1
                if left < len(ops):
                    rest.append((ops[left:].copy(), 1))
                left -= min(left, len(ops))
            if not left:
                return

    def end() -> Iterator[Batch]:
        yield from rest
        yield from batches

    return begin(), end()


def _counts(workload: Workload, setup: Setup, strategy: Strategy, last: int) -> dict[str, float]:
    """What is counted in `setup.ops` operations; means are of those from the `last`-th on."""
    live = np.concatenate(list(_live(workload.batches(setup.ops, setup.seed))))
    with setup.machine(strategy) as machine:
        machine.boot()
        machine.set_slots(workload.nr_slots)
        before = 0
        for part in _cut(workload.batches(setup.ops, setup.seed), last):
            before = machine.counters()["cached_page_ops"]
            for ops, repeat in part:
                machine.replay(ops, repeat)
        counters = machine.counters()
        causes = machine.map_counters().values()
    splits = {name: sum(cause[name] for cause in causes) for name in SPLITS}
    return {
        "refills": counters["refills"],
        "splits": sum(splits.values()),
        **splits,
        "live_peak_pages": counters["live_peak_pages"],
        "live_mean_pages": float(live[last:].mean()),
        "live_sd_pages": float(live[last:].std()),
        "cached_mean_pages": (counters["cached_page_ops"] - before) / (setup.ops - last),
    }


def match(
    held: HeldBack, model: Model, *, seed: int = 1, copies: int | None = None
) -> list[dict[str, Any]]:
    """Count the same on an amplified recording and on a model scaled to its size.

    Parameters
    ----------
    held : HeldBack
        The recording.
    model : Model
        What is judged.
    seed : int
        Of the model's stream.
    copies : int, optional
        Of the recording; `copies_for` it by default.

    Returns
    -------
    list of dict
        One row for each count: recording, part, model, copies, ops, count, recorded, generated,
        ratio. Fresh memory, pba with v6's refill orders, three periods of the amplified recording.
    """
    recorded = TraceWorkload(held.trace, copies or copies_for(held.trace))
    looped = recorded.looped
    last = len(looped.first) + len(looped.second)
    page_size = recorded.page_size or "4K"
    setup = Setup(page_size=page_size, ops=last + len(looped.steady), timing="none", seed=seed)
    strategy = Strategy("pba").for_page_size(page_size)
    one = _counts(recorded, setup, strategy, last)
    generated = FittedWorkload(model, {}, one["live_mean_pages"] / model.mean_live)
    other = _counts(generated, setup, strategy, last)
    return [
        {
            "recording": held.trace.name,
            "part": held.part,
            "model": model.name,
            "copies": recorded.copies,
            "ops": setup.ops,
            "count": count,
            "recorded": value,
            "generated": other[count],
            "ratio": other[count] / value if value else None,
        }
        for count, value in one.items()
    ]


def distances(held: HeldBack, model: Model, *, seed: int = 1) -> list[dict[str, Any]]:
    """Compare the distributions of one recorded machine and of a model scaled to its size.

    Parameters
    ----------
    held : HeldBack
        The recording, as it loops.
    model : Model
        What is judged.
    seed : int
        Of the model's stream and of the bootstrap.

    Returns
    -------
    list of dict
        One row for each of `distance.features` that both have: quantiles of both, distances and
        their intervals.
    """
    one, other = sampled(held, model, seed)
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for name, values in one.items():
        if not len(values) or not len(other[name]):
            continue
        found = distance.distance(values, other[name], rng)
        rows.append(
            {
                "recording": held.trace.name,
                "part": held.part,
                "model": model.name,
                "feature": name,
                "values": len(values),
                **{f"recorded_{q}": x for q, x in distance.quantiles(values).items()},
                **{f"generated_{q}": x for q, x in distance.quantiles(other[name]).items()},
                **_with_interval("ks", found.ks, found.ks_interval),
                **_with_interval("octaves", found.octaves, found.octaves_interval),
            }
        )
    return rows


def _with_interval(
    name: str, value: float, interval: tuple[float, float] | None
) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def sampled(
    held: HeldBack, model: Model, seed: int = 1
) -> tuple[dict[str, npt.NDArray[np.int64]], dict[str, npt.NDArray[np.int64]]]:
    """The features of one period of a recording, and of as many operations of a model."""
    looped = amplify(held.trace, 1)
    history = len(looped.first) + len(looped.second)
    ops = np.concatenate([looped.first, looped.second, looped.steady])
    one = distance.features(ops, history)
    workload = FittedWorkload(model, {}, float(np.mean(one["live"])) / model.mean_live)
    stream = [made.copy() for made, _ in workload.batches(len(ops), seed)]
    return one, distance.features(np.concatenate(stream), history)
