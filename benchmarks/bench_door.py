# SPDX-License-Identifier: GPL-2.0-only
"""What the way through the door costs: the mirror's own file against the mirror built in.

Ratios as in bench_ratios.py, of replays without any clock read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from measuring import Benchmark, Replay, interleave, prepared

from kpkeys_bench import diff, door
from kpkeys_bench.experiment import Setup
from kpkeys_bench.strategy import Strategy

Note = Callable[[str], None]

pytestmark = pytest.mark.benchmark(group="door")

WORKLOADS = ("forkexec:copies=8", "random", "slow_growth")


@pytest.fixture(scope="module", autouse=True)
def _compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that is measured compiles, or finds what the user has compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KPB_CACHE", str(tmp_path_factory.mktemp("compiled")))
        yield


def _comparable(counts: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in counts.items() if name not in diff.NOT_COMPARED}


@pytest.mark.parametrize("linear_map", ["block", "pte"])
@pytest.mark.parametrize("workload", WORKLOADS)
def bench_door_to_built_in(
    benchmark: Benchmark, setup: Setup, note: Note, workload: str, linear_map: str
) -> None:
    """The same operations, the same source, compiled apart and called through two tables."""
    file = Strategy(str(door.mirror_source()), linear_map=linear_map)
    setup = replace(setup, ram=min(setup.ram, 4 << 30))
    ops = prepared(workload, setup.ops, setup.seed)
    subject, reference = Replay(setup, file, ops), Replay(setup, file.mirror(), ops)
    taken = interleave(benchmark, subject, {"built_in": reference}, rounds=15)
    if _comparable(subject.counts) != _comparable(reference.counts):
        pytest.fail("the mirror counts otherwise through the door")
    ns_per_op = taken.subject.median_ns / setup.ops
    benchmark.extra_info |= {
        **taken.facts(),
        "workload": workload,
        "linear_map": linear_map,
        "ops": setup.ops,
        "ns_per_op": ns_per_op,
    }
    note(f"{taken.text()}: {ns_per_op:.1f} ns an operation")


@dataclass
class _Load:
    """What a machine of a file costs more than one of the mirror: a private copy of the code."""

    strategy: Strategy
    setup: Setup

    def prepare(self) -> None:
        pass

    def run(self) -> None:
        self.setup.machine(self.strategy).close()

    def finish(self) -> None:
        pass


def bench_load_to_built_in(benchmark: Benchmark, setup: Setup, note: Note) -> None:
    """Make and destroy a machine of 1 GB, the file compiled before."""
    file = Strategy(str(door.mirror_source()))
    small = replace(setup, ram=1 << 30)
    subject, reference = _Load(file, small), _Load(file.mirror(), small)
    taken = interleave(benchmark, subject, {"built_in": reference}, rounds=25)
    benchmark.extra_info |= taken.facts()
    note(f"{taken.text()}: {taken.subject.median_ns / 1e3:.0f} us")


@dataclass
class _Compile:
    """All page sizes, into an empty cache."""

    source: Path
    cache: Path
    patch: pytest.MonkeyPatch
    nr: int = 0

    def prepare(self) -> None:
        self.nr += 1
        self.patch.setenv("KPB_CACHE", str(self.cache / str(self.nr)))

    def run(self) -> None:
        for page_size in ("4K", "16K", "64K"):
            door.compile_file(self.source, page_size)

    def finish(self) -> None:
        pass


@dataclass
class _Find(_Compile):
    """All page sizes, compiled before."""

    def prepare(self) -> None:
        self.patch.setenv("KPB_CACHE", str(self.cache / "full"))


def bench_compile_to_cached(
    benchmark: Benchmark, note: Note, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compile for three page sizes, against finding the results."""
    subject = _Compile(door.mirror_source(), tmp_path, monkeypatch)
    cached = _Find(door.mirror_source(), tmp_path, monkeypatch)
    taken = interleave(benchmark, subject, {"cached": cached}, rounds=5)
    benchmark.extra_info |= taken.facts()
    cached_ms = taken.references["cached"].median_ns / 1e6
    note(f"{taken.text()}: {taken.subject.median_ns / 1e6:.0f} ms and {cached_ms:.1f} ms")
