# SPDX-License-Identifier: GPL-2.0-only
"""Workloads by name: recorded traces that loop, and synthetic streams.

A workload is written ``NAME`` or ``NAME:KEY=VALUE,...``: ``forkexec:copies=8`` is a recording that
eight shifted copies replay, ``random:tables=4096`` a generator with a parameter.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from kpkeys_bench import _ffi
from kpkeys_bench.errors import ConfigError
from kpkeys_bench.geometry import PAGE_SHIFTS
from kpkeys_bench.workloads.base import CALL_OPS, CHUNK_OPS, Batch, Workload
from kpkeys_bench.workloads.fitted import (
    SUFFIX as MODEL_SUFFIX,
)
from kpkeys_bench.workloads.fitted import (
    FittedWorkload,
    Model,
    load_model,
    shipped_models,
)
from kpkeys_bench.workloads.loop import LoopedOps, amplify
from kpkeys_bench.workloads.ops import OP_DTYPE
from kpkeys_bench.workloads.presets import PRESETS, preset_model
from kpkeys_bench.workloads.trace import Trace, load_trace, shipped_traces

__all__ = [
    "CALL_OPS",
    "CHUNK_OPS",
    "DEFAULT_MACHINES",
    "GENERATORS",
    "GENERATOR_HELP",
    "Batch",
    "SyntheticWorkload",
    "TraceWorkload",
    "Workload",
    "model_workload",
    "parse_workload",
    "trace_workload",
]

GENERATORS: Final[tuple[str, ...]] = _ffi.GENERATORS
"""Synthetic workloads by name."""
GENERATOR_HELP: Final[dict[str, str]] = _ffi.GENERATOR_HELP

DEFAULT_MACHINES: Final = 8
"""A fitted model stands for so many of its machine, unless its parameters say otherwise."""
#: So many of a generator's first operations are part of its identity.
_IDENTITY_OPS: Final = 1 << 12


@dataclass(frozen=True)
class TraceWorkload(Workload):
    """A recording that repeats for ever, with shifted copies side by side.

    Attributes
    ----------
    trace : Trace
        The recording.
    copies : int
        How many run at the same time, each with its own slots.
    """

    trace: Trace
    copies: int = 1

    def __post_init__(self) -> None:
        # refuse bad parameters now, not at the first operation
        _ = self.looped

    @cached_property
    def looped(self) -> LoopedOps:
        """The stream as three periods."""
        return amplify(self.trace, self.copies)

    @property
    def name(self) -> str:
        return self.trace.name + (f":copies={self.copies}" if self.copies != 1 else "")

    @property
    def nr_slots(self) -> int:
        return self.looped.nr_slots

    @property
    def page_size(self) -> str | None:
        shift = self.trace.page_size.bit_length() - 1
        return next(name for name, known in PAGE_SHIFTS.items() if known == shift)

    def sha256(self, seed: int) -> str:
        del seed
        looped = self.looped
        text = f"{self.trace.workload_sha256} copies={looped.copies} gap_ns={looped.gap_ns}"
        return hashlib.sha256(text.encode()).hexdigest()

    def batches(self, nr_ops: int, seed: int) -> Iterator[Batch]:
        del seed
        left = nr_ops
        for ops in (self.looped.first, self.looped.second):
            if left and len(ops):
                yield ops[:left], 1
                left -= min(left, len(ops))
        steady = self.looped.steady
        most = max(1, CALL_OPS // len(steady))
        while left >= len(steady):
            repeat = min(most, left // len(steady))
            yield steady, repeat
            left -= repeat * len(steady)
        if left:
            yield steady[:left], 1


@dataclass(frozen=True)
class SyntheticWorkload(Workload):
    """A seeded stream that the C core generates.

    Attributes
    ----------
    generator : str
        One of `GENERATORS`.
    params : mapping of str to int
        Parameters that are not the default.
    """

    generator: str
    params: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.generator not in GENERATORS:
            raise ConfigError(f"workload {self.generator!r}: {_known()}")
        known = _ffi.generator_params(self.generator)
        for key in self.params:
            if key not in known:
                raise ConfigError(
                    f"workload {self.generator!r} has no parameter {key!r}: it has "
                    f"{', '.join(known) or 'none'}"
                )
        # refuse bad values now, not at the first operation
        _ = self.nr_slots

    def _values(self) -> list[int]:
        return list((_ffi.generator_params(self.generator) | dict(self.params)).values())

    def _start(self, seed: int) -> _ffi.GeneratorHandle:
        return _ffi.GeneratorHandle(self.generator, self._values(), seed)

    @property
    def name(self) -> str:
        defaults = _ffi.generator_params(self.generator)
        changed = [f"{k}={v}" for k, v in self.params.items() if v != defaults[k]]
        return self.generator + (":" + ",".join(changed) if changed else "")

    @cached_property
    def nr_slots(self) -> int:
        return int(self._start(0).nr_slots())

    def sha256(self, seed: int) -> str:
        params = zip(_ffi.generator_params(self.generator), self._values(), strict=True)
        text = f"{self.generator} {' '.join(f'{k}={v}' for k, v in params)} seed={seed}"
        ops, _ = next(self.batches(_IDENTITY_OPS, seed))
        return hashlib.sha256(text.encode() + ops.tobytes()).hexdigest()

    def batches(self, nr_ops: int, seed: int) -> Iterator[Batch]:
        generator = self._start(seed)
        buffer = np.zeros(min(nr_ops, CHUNK_OPS), dtype=OP_DTYPE)
        left = nr_ops
        while left:
            ops = buffer[:left]
            generator.fill(ops)
            yield ops, 1
            left -= len(ops)


def _known() -> str:
    return (
        f"recordings are {', '.join(shipped_traces())}; generators are {', '.join(GENERATORS)}; "
        f"fitted are {', '.join(shipped_models())}; presets are {', '.join(PRESETS)}"
    )


def _params(text: str, rest: str) -> dict[str, int]:
    params = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if not value.isdecimal() or len(value) > 18:
            raise ConfigError(
                f"workload {text[:60]!r}: write parameters as KEY=NUMBER, not {part!r}"
            )
        params[key] = int(value)
    return params


def parse_workload(text: str) -> Workload:
    """Find a workload by name.

    Parameters
    ----------
    text : str
        ``NAME`` or ``NAME:KEY=NUMBER,...`` of a shipped recording, a generator, a fitted model or a
        preset; or ``FILE.toml`` or ``FILE.toml:KEY=NUMBER,...`` of a fitted model.

    Raises
    ------
    ConfigError
        If there is no such workload or parameter.
    """
    name, _, rest = text.partition(":")
    if name in GENERATORS:
        return SyntheticWorkload(name, _params(text, rest))
    if name in PRESETS:
        params = _params(text, rest)
        return FittedWorkload(preset_model(name, params), params)
    models = shipped_models()
    if name in models or name.endswith(MODEL_SUFFIX):
        return model_workload(load_model(models.get(name, Path(name))), _params(text, rest))
    shipped = shipped_traces()
    if name not in shipped:
        raise ConfigError(f"workload {name!r}: {_known()}")
    return trace_workload(shipped[name], _params(text, rest))


def model_workload(model: Model, params: Mapping[str, int] | None = None) -> FittedWorkload:
    """A fitted model as a workload.

    Parameters
    ----------
    model : Model
        What to draw from.
    params : mapping, optional
        ``machines``, how many of the recorded machine stand side by side, or ``tables``, how many
        tables are live on average. By default `DEFAULT_MACHINES`.

    Raises
    ------
    ConfigError
        If there is another parameter, both, or a value that makes no sense.
    """
    params = dict(params or {})
    wrong = set(params) - {"machines", "tables"}
    if wrong or len(params) > 1 or 0 in params.values():
        raise ConfigError(
            f"workload {model.name!r}: {', '.join(f'{k}={v}' for k, v in params.items())}: "
            "give machines=N or tables=N of at least 1"
        )
    scale: float = params.get("machines", DEFAULT_MACHINES)
    if "tables" in params:
        scale = params["tables"] / model.mean_live
    return FittedWorkload(model, params, scale)


def trace_workload(path: str | Path, params: Mapping[str, int] | None = None) -> TraceWorkload:
    """Load a ``.kpt`` file as a workload.

    Parameters
    ----------
    path : path
        The file.
    params : mapping, optional
        ``copies``, at least 1.

    Raises
    ------
    TraceError
        If the file is not what it says.
    ConfigError
        If there is another parameter.
    """
    wrong = set(params or ()) - {"copies"}
    if wrong:
        raise ConfigError(f"{path} has no parameter {wrong.pop()!r}: a recording has copies")
    return TraceWorkload(load_trace(path), **dict(params or {}))
