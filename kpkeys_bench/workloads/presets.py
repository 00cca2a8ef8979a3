# SPDX-License-Identifier: GPL-2.0-only
"""Presets: machines that nobody recorded, made of populations of processes.

A population is so many processes at a time, of which each lives so long and maps so much memory.
Three rules make a `Model` of populations:

- A process of R bytes has one PTE table for each ``ptrs_per_table * page_size`` bytes, one PMD
  table for ``ptrs_per_table`` of those, and the tables that every process has (`BASE_TABLES`).
- So many begin per second as are alive, divided by their life (Little). A table is allocated and
  freed once, so the machine makes ``2 * sum(rate * tables)`` operations a second.
- A life in operations is the life in seconds times that.

Where every number is from stands in ``docs/generators.md``.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from kpkeys_bench.errors import ConfigError
from kpkeys_bench.geometry import geometry
from kpkeys_bench.workloads.fitted import (
    BORN_UNITS,
    NR_PLACES,
    NR_QUANTILES,
    TABLE_UNITS,
    GroupClass,
    Model,
)
from kpkeys_bench.workloads.ops import PGD, PMD, PTE, PUD

MIB: Final = 1 << 20
GIB: Final = 1 << 30
#: Tables of each level that a process has whatever it does: PTE, PMD, PUD, PGD. As many to a PGD as
#: in forkexec; with larger pages as in fork_exact_16k.
BASE_TABLES: Final = {"4K": (5, 3, 2, 1), "16K": (4, 2, 0, 1), "64K": (4, 2, 0, 1)}
#: Share of groups that another CPU frees, in 1/65536: as in forkexec.
CROSS_CPU_64K: Final = 16_072
#: Weights are rates in so many parts of the lowest one.
_WEIGHT_PARTS: Final = 8
_MAX_WEIGHTS: Final = 1 << 24
_MAX_PARAM: Final = 1 << 20


@dataclass(frozen=True)
class Population:
    """Processes of one kind.

    Attributes
    ----------
    alive : int
        At a time, at least 1.
    life_ms : int
        Mean life of one.
    mapped_bytes : int
        Memory that one maps with page tables of its own, densely, in the end.
    base : bool
        Whether it has the tables that every process has; a mapping that comes and goes has none.
    grown_percent : int
        Part of its life, 0 to 100, over which it gets its tables evenly; 0 is all at once, as by
        fork.
    stays : bool
        Whether all live equally long, so that the number alive stays. If not, lives are
        exponential.
    """

    alive: int
    life_ms: int
    mapped_bytes: int
    base: bool = True
    grown_percent: int = 0
    stays: bool = False

    def tables(self, page_size: str) -> tuple[int, int, int, int]:
        """Tables of one process by level: PTE, PMD, PUD, PGD."""
        facts = geometry(page_size)
        pte = -(-self.mapped_bytes // (facts.ptrs_per_table << facts.page_shift))
        pmd = pte // facts.ptrs_per_table
        if not self.base:
            return pte, pmd, 0, 0
        base = BASE_TABLES[page_size]
        return base[0] + pte, base[1] + pmd, base[2], base[3]


@dataclass(frozen=True)
class Preset:
    """A machine by name.

    Attributes
    ----------
    help : str
        One line.
    params : dict of str to int
        Parameters and their defaults; `page_kb` is one of all presets.
    populations : callable
        Makes the populations of the parameters.
    cpus : int
        That allocate and free.
    """

    help: str
    params: Mapping[str, int]
    populations: Callable[[Mapping[str, int]], list[Population]]
    cpus: int


def model_of(
    name: str, populations: list[Population], *, page_size: str, cpus: int, what: str
) -> Model:
    """Make a model of populations.

    Parameters
    ----------
    name, what : str
        Of the model.
    populations : list of Population
        At least one.
    page_size : str
        ``"4K"``, ``"16K"`` or ``"64K"``.
    cpus : int
        That allocate and free.

    Raises
    ------
    ConfigError
        If the rates of two populations are too far apart.
    """
    rates = [Fraction(p.alive, p.life_ms) for p in populations]
    tables = [p.tables(page_size) for p in populations]
    ops_per_ms = sum(2 * rate * sum(t) for rate, t in zip(rates, tables, strict=True))
    weights = [max(1, round(rate / min(rates) * _WEIGHT_PARTS)) for rate in rates]
    if sum(weights) > _MAX_WEIGHTS:
        raise ConfigError(
            f"preset {name!r}: one kind of process begins {float(max(rates) / min(rates)):.0f} "
            f"times as often as another: give at most {_MAX_WEIGHTS // _WEIGHT_PARTS}"
        )
    classes = [
        GroupClass(
            weight=weight,
            tables_256=(sum(t) * TABLE_UNITS,) * NR_QUANTILES,
            life_ops=_lives(p.life_ms * ops_per_ms, stays=p.stays),
            born_64k=_evenly(p.grown_percent),
            level_weight=_levels(t),
            cross_cpu_64k=CROSS_CPU_64K,
            jitter_64k=0 if p.stays else BORN_UNITS,
        )
        for p, t, weight in zip(populations, tables, weights, strict=True)
    ]
    return Model(name, what, page_size, cpus, tuple(classes))


def _lives(mean_ops: Fraction | int, *, stays: bool) -> tuple[int, ...]:
    """Quantiles of lives: all the same, or exponential with that mean."""
    parts = NR_QUANTILES - 1
    if stays:
        return (max(1, round(mean_ops)),) * NR_QUANTILES
    q = [-math.log1p(-i / parts) for i in range(parts)]
    # what is linear between quantiles has this mean only with the right last one
    q.append(2 * (parts - sum(q[1:])))
    return tuple(max(1, round(x * float(mean_ops))) for x in q)


def _evenly(percent: int) -> tuple[int, ...]:
    """Quantiles of moments that are spread evenly over the first part of a life."""
    parts = NR_QUANTILES - 1
    return tuple(i * percent * BORN_UNITS // (100 * parts) for i in range(NR_QUANTILES))


def _levels(tables: tuple[int, int, int, int]) -> tuple[tuple[int, ...], ...]:
    """How many tables of each level are in each eighth, PGD first and PTE last, times 8."""
    places = [[0, 0, 0, 0] for _ in range(NR_PLACES)]
    total, done = sum(tables), 0
    for level in (PGD, PUD, PMD, PTE):
        # in units of 1/8 table, an eighth of the group is `total` long
        end = done + tables[level] * NR_PLACES
        for place in range(NR_PLACES):
            low, high = max(done, place * total), min(end, (place + 1) * total)
            places[place][level] += max(0, high - low)
        done = end
    return tuple(tuple(place) for place in places)


def _phone(params: Mapping[str, int]) -> list[Population]:
    minute = 60_000
    return [
        Population(params["apps"], 30 * minute, params["app_mb"] * MIB, grown_percent=10),
        Population(params["services"], 24 * 60 * minute, 32 * MIB, grown_percent=1, stays=True),
        # what a runtime maps and unmaps while an app is used
        Population(8, 1_000, 4 * MIB, base=False),
        # a command, and before its exec the copy of its parent
        Population(1, 200, 0),
        Population(1, 200, 0),
    ]


def _build_server(params: Mapping[str, int]) -> list[Population]:
    jobs, compile_ms = params["jobs"], params["compile_ms"]
    return [
        # the compiler proper, behind a shell and a driver that wait for it
        Population(jobs, compile_ms, params["compiler_mb"] * MIB, grown_percent=100),
        Population(2 * jobs, compile_ms, 0),
        # each of these three, and an assembler, is first a copy of its parent
        Population(jobs, max(1, compile_ms // 4), 0),
        # make, a page cache's daemons, an indexer
        Population(4, 60 * 60_000, 512 * MIB, grown_percent=1, stays=True),
    ]


def _database(params: Mapping[str, int]) -> list[Population]:
    hour = 3_600_000
    buffer = params["buffer_gb"] * GIB
    touched = buffer * params["touched_permille"] // 1000
    return [
        Population(params["sessions"], hour, touched + 64 * MIB, grown_percent=10),
        # checkpointer and background writer come by every page
        Population(2, 24 * hour, buffer, grown_percent=1, stays=True),
        # three vacuum workers
        Population(3, hour // 6, buffer // 20, grown_percent=100),
        # commands of a backup or of monitoring
        Population(2, 1_000, 0),
        Population(1, 500, 0),
    ]


PRESETS: Final[dict[str, Preset]] = {
    "phone": Preset(
        "40 apps and 80 services on 8 CPUs; assumed, see docs/generators.md",
        {"apps": 40, "app_mb": 160, "services": 80},
        _phone,
        8,
    ),
    "build-server": Preset(
        "64 compilers at a time, each behind small processes; assumed, see docs/generators.md",
        {"jobs": 64, "compile_ms": 2000, "compiler_mb": 128},
        _build_server,
        64,
    ),
    "database-1t": Preset(
        "200 sessions on a shared buffer of 600 GB; assumed, see docs/generators.md",
        {"buffer_gb": 600, "sessions": 200, "touched_permille": 10},
        _database,
        64,
    ),
}


def preset_model(name: str, params: Mapping[str, int] | None = None) -> Model:
    """The model of a preset.

    Parameters
    ----------
    name : str
        One of `PRESETS`.
    params : mapping, optional
        Parameters that are not the default; `page_kb` is 4, 16 or 64.

    Raises
    ------
    ConfigError
        If there is no such preset or parameter, or a value makes no sense.
    """
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r}: there are {', '.join(PRESETS)}")
    preset = PRESETS[name]
    known = {**preset.params, "page_kb": 4}
    for key, value in (params or {}).items():
        if key not in known:
            raise ConfigError(
                f"preset {name!r} has no parameter {key!r}: it has {', '.join(known)}"
            )
        if not 1 <= value <= _MAX_PARAM:
            raise ConfigError(f"preset {name!r}: {key} of {value}: give 1 to {_MAX_PARAM}")
    values = known | dict(params or {})
    page_size = geometry(f"{values['page_kb']}K").page_size
    return model_of(
        name,
        preset.populations(values),
        page_size=page_size,
        cpus=preset.cpus,
        what=preset.help,
    )
