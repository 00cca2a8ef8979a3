# SPDX-License-Identifier: GPL-2.0-only
"""Fitted workloads: a small table of how page tables come and go, and the stream made of it.

A `Model` says of groups of tables that are freed in one burst (an exit, an unmap, an RCU batch) how
many there are, how many tables each has, how long it lives in operations, when in its life its
tables are allocated, and of which levels they are. ``csrc/lab/fitted.c`` makes operations of it;
`kpkeys_bench.workloads.fit` makes it of recordings. ``docs/generators.md`` has the reasons.
"""

import hashlib
import importlib.resources
import json
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from kpkeys_bench import _ffi
from kpkeys_bench.errors import ConfigError
from kpkeys_bench.geometry import PAGE_SHIFTS
from kpkeys_bench.results import write_text
from kpkeys_bench.workloads.base import CHUNK_OPS, Batch, Workload
from kpkeys_bench.workloads.ops import LEVEL_NAMES, OP_DTYPE

SUFFIX: Final = ".toml"
FORMAT: Final = 1
NR_QUANTILES: Final[int] = _ffi.FIT_LIMITS["quantiles"]
NR_PLACES: Final[int] = _ffi.FIT_LIMITS["places"]
MAX_CLASSES: Final[int] = _ffi.FIT_LIMITS["classes"]
MAX_SLOTS: Final[int] = _ffi.FIT_LIMITS["slots"]

TABLE_UNITS: Final = 256
"""Sizes of groups are in 1/256 tables."""
BORN_UNITS: Final = 1 << 16
"""Moments within a life, and shares of groups, are in 1/65536."""
MAX_LIFE_OPS: Final = 1 << 42
MAX_FILE_BYTES: Final = 1 << 20
#: Spare slots above the expected level: as much again, and the largest group twice.
_SPARE: Final = 2
_MAX_NUMBER: Final = (1 << 32) - 1
_FORMAT_HINT: Final = "see docs/generators.md; made by 'kpkeys-bench trace fit'"
_FITTED_ON_KEYS: Final = ("name", "sha256", "part", "events")
_NUMBER_KEYS: Final = ("weight", "cross_cpu_64k", "jitter_64k")
_QUANTILE_KEYS: Final = ("tables_256", "life_ops", "born_64k")


@dataclass(frozen=True)
class GroupClass:
    """Groups of one kind.

    Attributes
    ----------
    weight : int
        How many such groups begin, relative to the other classes.
    tables_256 : tuple of int
        Quantiles 0, 1/16, ... 1 of the tables of a group, in 1/256.
    life_ops : tuple of int
        Quantiles of the life of its first table, in operations.
    born_64k : tuple of int
        Quantiles over its tables of the moment of allocation, in 1/65536 of that life.
    level_weight : tuple of tuple of int
        For each eighth of the tables, in the order of allocation: weights of `LEVEL_NAMES`.
    cross_cpu_64k : int
        Share of groups that are freed by another CPU, in 1/65536.
    jitter_64k : int
        Groups begin evenly, each anywhere within so much of its part of the time, in 1/65536. With
        0 and lives that are all alike, the number alive stays.
    """

    weight: int
    tables_256: tuple[int, ...]
    life_ops: tuple[int, ...]
    born_64k: tuple[int, ...]
    level_weight: tuple[tuple[int, ...], ...]
    cross_cpu_64k: int
    jitter_64k: int = BORN_UNITS

    @property
    def mean_tables(self) -> float:
        """Expected tables of a group."""
        return _mean(self.tables_256) / TABLE_UNITS

    @property
    def mean_table_life_ops(self) -> float:
        """Expected life of one of its tables, in operations."""
        return _mean(self.life_ops) * (1 - _mean(self.born_64k) / BORN_UNITS)


def _mean(quantiles: tuple[int, ...]) -> float:
    """Mean of what is linear between quantiles."""
    middle = sum(quantiles[1:-1]) + (quantiles[0] + quantiles[-1]) / 2
    return middle / (len(quantiles) - 1)


@dataclass(frozen=True)
class FittedOn:
    """A recording, or a part of one, that a model was fitted on."""

    name: str
    sha256: str
    part: str
    events: int


@dataclass(frozen=True)
class Model:
    """What a fitted workload draws from.

    Attributes
    ----------
    name : str
        As results name it.
    help : str
        One line.
    page_size : str or None
        Of the recordings; None if it suits any.
    nr_cpus : int
        CPUs that allocate and free.
    classes : tuple of GroupClass
        What groups there are.
    fitted_on : tuple of FittedOn
        Where the numbers are from.
    """

    name: str
    help: str
    page_size: str | None
    nr_cpus: int
    classes: tuple[GroupClass, ...]
    fitted_on: tuple[FittedOn, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.classes) <= MAX_CLASSES:
            raise ConfigError(
                f"model {self.name!r}: {len(self.classes)} classes: give 1 to {MAX_CLASSES}"
            )
        for number, c in enumerate(self.classes):
            lengths = [len(c.tables_256), len(c.life_ops), len(c.born_64k)]
            if lengths != [NR_QUANTILES] * 3:
                raise ConfigError(
                    f"model {self.name!r}: class {number} has {lengths} quantiles: "
                    f"give {NR_QUANTILES} of each"
                )
            levels = [len(place) for place in c.level_weight]
            if levels != [len(LEVEL_NAMES)] * NR_PLACES:
                raise ConfigError(
                    f"model {self.name!r}: class {number} has level_weight of {levels}: give "
                    f"{NR_PLACES} places with {len(LEVEL_NAMES)} weights each"
                )
        # what the values may be is checked where they are used
        _ = _ffi.FittedHandle(f"model {self.name!r}", self.fields(nr_slots=1), 0)

    @property
    def mean_live(self) -> float:
        """Expected live tables: half of what one lives, as half of all operations free one."""
        tables = lives = 0.0
        for c in self.classes:
            share = c.weight * c.mean_tables
            tables += share
            lives += share * c.mean_table_life_ops
        return lives / tables / 2

    @property
    def nr_slots(self) -> int:
        """Most live tables that the stream may have; growth beyond them is cut short."""
        largest = max(c.tables_256[-1] for c in self.classes) // TABLE_UNITS + 1
        wanted = math.ceil(_SPARE * (self.mean_live + largest)) + 64
        if wanted > MAX_SLOTS:
            raise ConfigError(
                f"model {self.name!r}: needs {wanted} live tables at once; the limit is {MAX_SLOTS}"
            )
        return wanted

    def fields(self, *, nr_slots: int) -> dict[str, Any]:
        """The fields of ``struct kpb_fit``."""
        return {
            "nr_classes": len(self.classes),
            "nr_cpus": self.nr_cpus,
            "nr_slots": nr_slots,
            "classes": [
                {
                    "weight": c.weight,
                    "tables_256": list(c.tables_256),
                    "life_ops": list(c.life_ops),
                    "born_64k": list(c.born_64k),
                    "level_weight": [list(place) for place in c.level_weight],
                    "cross_cpu_64k": c.cross_cpu_64k,
                    "jitter_64k": c.jitter_64k,
                }
                for c in self.classes
            ],
        }

    def scaled(self, factor: float) -> "Model":
        """As many machines side by side: every group lives as many times as long, in operations.

        Parameters
        ----------
        factor : float
            Above 0; 2.5 are two machines and a half.

        Raises
        ------
        ConfigError
            If no life of 1 to `MAX_LIFE_OPS` comes of it.
        """
        longest = max(c.life_ops[-1] for c in self.classes)
        if not 0 < factor * longest <= MAX_LIFE_OPS:
            raise ConfigError(
                f"model {self.name!r} times {factor:g}: the longest life of {longest} operations "
                f"must become at most {MAX_LIFE_OPS}"
            )
        return replace(
            self,
            classes=tuple(
                replace(c, life_ops=tuple(max(1, round(x * factor)) for x in c.life_ops))
                for c in self.classes
            ),
        )


@dataclass(frozen=True)
class FittedWorkload(Workload):
    """A seeded stream of a `Model`.

    Attributes
    ----------
    model : Model
        Not scaled yet.
    params : mapping of str to int
        Parameters as the user wrote them; part of the name.
    scale : float
        Machines side by side.
    """

    model: Model
    params: Mapping[str, int] = field(default_factory=dict)
    scale: float = 1.0

    def __post_init__(self) -> None:
        # refuse what cannot be now, not at the first operation
        object.__setattr__(self, "_scaled", self.model.scaled(self.scale))
        _ = self.nr_slots

    @property
    def scaled(self) -> Model:
        """The model as it is used."""
        scaled: Model = self.__dict__["_scaled"]
        return scaled

    @property
    def name(self) -> str:
        """See `Workload`."""
        return self.model.name + (
            ":" + ",".join(f"{k}={v}" for k, v in self.params.items()) if self.params else ""
        )

    @property
    def nr_slots(self) -> int:
        """See `Workload`."""
        return self.scaled.nr_slots

    @property
    def live_pages(self) -> int:
        """See `Workload`."""
        return round(self.scaled.mean_live)

    @property
    def page_size(self) -> str | None:
        """See `Workload`."""
        return self.model.page_size

    def sha256(self, seed: int) -> str:
        """See `Workload`."""
        fields = self.scaled.fields(nr_slots=self.nr_slots)
        text = json.dumps(fields, sort_keys=True) + f" seed={seed}"
        return hashlib.sha256(text.encode()).hexdigest()

    def batches(self, nr_ops: int, seed: int) -> Iterator[Batch]:
        """See `Workload`."""
        handle = _ffi.FittedHandle(self.name, self.scaled.fields(nr_slots=self.nr_slots), seed)
        buffer = np.zeros(min(nr_ops, CHUNK_OPS), dtype=OP_DTYPE)
        left = nr_ops
        while left:
            ops = buffer[:left]
            handle.fill(ops)
            yield ops, 1
            left -= len(ops)


def dump_model(model: Model) -> str:
    """Write a model as TOML; `parse_model` reads it."""
    lines = [
        "# SPDX-License-Identifier: GPL-2.0-only",
        f"# A fitted workload of kpkeys-bench: {_FORMAT_HINT}",
        f"format = {FORMAT}",
        f"help = {json.dumps(model.help)}",
        f"page_size = {json.dumps(model.page_size or 'any')}",
        f"nr_cpus = {model.nr_cpus}",
    ]
    for on in model.fitted_on:
        lines += ["", "[[fitted_on]]"]
        lines += [f"{key} = {json.dumps(getattr(on, key))}" for key in _FITTED_ON_KEYS]
    for c in model.classes:
        lines += ["", "[[class]]"]
        lines += [f"{key} = {getattr(c, key)}" for key in _NUMBER_KEYS]
        lines += [f"{key} = {list(getattr(c, key))}" for key in _QUANTILE_KEYS]
        lines += [f"level_weight = {[list(place) for place in c.level_weight]}"]
    return "\n".join(lines) + "\n"


def save_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model to a file, atomically."""
    write_text(path, dump_model(model))


def parse_model(text: str, name: str) -> Model:
    """Read what `dump_model` wrote.

    Parameters
    ----------
    text : str
        TOML.
    name : str
        Of the model.

    Raises
    ------
    ConfigError
        If it is no model; the message says where.
    """
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"model {name!r} is not TOML: {error}") from None
    where = f"model {name!r}"
    if data.get("format") != FORMAT:
        raise ConfigError(
            f"{where} has format {data.get('format')!r}, this version reads {FORMAT}: "
            "fit it again with 'kpkeys-bench trace fit'"
        )
    page_size = _text(data, "page_size", where)
    if page_size != "any" and page_size not in PAGE_SHIFTS:
        raise ConfigError(f"{where}: page_size {page_size!r}: give any, {', '.join(PAGE_SHIFTS)}")
    return Model(
        name=name,
        help=_text(data, "help", where),
        page_size=None if page_size == "any" else page_size,
        nr_cpus=_whole(data, "nr_cpus", where),
        classes=tuple(
            _parse_class(entry, f"{where}, class {number}")
            for number, entry in enumerate(_tables(data, "class", where))
        ),
        fitted_on=tuple(
            FittedOn(
                _text(entry, "name", where),
                _text(entry, "sha256", where),
                _text(entry, "part", where),
                _whole(entry, "events", where),
            )
            for entry in _tables(data, "fitted_on", where)
        ),
    )


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model from a file, whose name without suffix is the model's.

    Raises
    ------
    ConfigError
        If it cannot be read or is no model.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        text = raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(
            f"{path}: cannot read: {reason}; give a file that 'kpkeys-bench trace fit' wrote"
        ) from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: more than {MAX_FILE_BYTES} bytes, which no model has")
    try:
        return parse_model(text, path.stem)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def shipped_models() -> dict[str, Path]:
    """Find the models that come with the package: name to path, sorted."""
    folder = importlib.resources.files("kpkeys_bench.workloads") / "models"
    paths = sorted(Path(str(entry)) for entry in folder.iterdir())
    return {path.stem: path for path in paths if path.suffix == SUFFIX}


def _parse_class(entry: dict[str, Any], where: str) -> GroupClass:
    places = entry.get("level_weight")
    if not isinstance(places, list):
        raise ConfigError(f"{where}: level_weight is no list of lists")
    return GroupClass(
        weight=_whole(entry, "weight", where),
        tables_256=_wholes(entry.get("tables_256"), f"{where}: tables_256"),
        life_ops=_wholes(entry.get("life_ops"), f"{where}: life_ops"),
        born_64k=_wholes(entry.get("born_64k"), f"{where}: born_64k"),
        level_weight=tuple(_wholes(place, f"{where}: level_weight") for place in places),
        cross_cpu_64k=_whole(entry, "cross_cpu_64k", where),
        jitter_64k=_whole(entry, "jitter_64k", where),
    )


def _text(data: dict[str, Any], key: str, where: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value.isprintable():
        raise ConfigError(f"{where}: {key} is {str(value)[:40]!r}: give one line of text")
    return value


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_NUMBER


def _whole(data: dict[str, Any], key: str, where: str) -> int:
    value = data.get(key)
    if not _is_whole(value):
        raise ConfigError(f"{where}: {key} is {str(value)[:40]}: give a whole number")
    return int(value)  # type: ignore[arg-type]


def _wholes(values: object, where: str) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(_is_whole(value) for value in values):
        raise ConfigError(f"{where} is {str(values)[:40]}: give a list of whole numbers")
    return tuple(values)


def _tables(data: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    entries = data.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{where}: {key} is no list of tables: write [[{key}]]")
    return entries
