# SPDX-License-Identifier: GPL-2.0-only
"""Workloads by name: recorded traces that loop, and synthetic streams.

A workload is written ``NAME`` or ``NAME:KEY=VALUE,...``: ``forkexec:copies=8`` is a recording that
eight shifted copies replay, ``random:tables=4096`` a generator with a parameter.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from kpkeys_bench import _ffi
from kpkeys_bench.errors import ConfigError
from kpkeys_bench.geometry import PAGE_SHIFTS
from kpkeys_bench.workloads.loop import LoopedOps, amplify
from kpkeys_bench.workloads.ops import OP_DTYPE, OpArray
from kpkeys_bench.workloads.trace import Trace, load_trace, shipped_traces

GENERATORS: Final[tuple[str, ...]] = _ffi.GENERATORS
"""Synthetic workloads by name."""
GENERATOR_HELP: Final[dict[str, str]] = _ffi.GENERATOR_HELP

#: Operations of a generated array: 512 kB, which a second-level cache holds.
CHUNK_OPS: Final = 1 << 16
#: At most so many operations in one call, so that Ctrl-C and progress are prompt.
CALL_OPS: Final = 1 << 21
#: So many of a generator's first operations are part of its identity.
_IDENTITY_OPS: Final = 1 << 12

Batch = tuple[OpArray, int]
"""An array of operations and how often it is replayed in a row."""


class Workload(ABC):
    """A stream of operations that is the same each time it is asked for."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name with the parameters that are not the default; `parse_workload` reads it."""

    @property
    @abstractmethod
    def nr_slots(self) -> int:
        """Slots that a replay needs."""

    @abstractmethod
    def sha256(self, seed: int) -> str:
        """Identity of the stream: 64 hexadecimal digits."""

    @abstractmethod
    def batches(self, nr_ops: int, seed: int) -> Iterator[Batch]:
        """The first `nr_ops` operations as whole arrays.

        An array is valid until the next one is asked for.

        Parameters
        ----------
        nr_ops : int
            Operations in total, repeats included.
        seed : int
            0 to 2**64 - 1; a recording does not depend on it.
        """

    @property
    def page_size(self) -> str | None:
        """Page size it was recorded with; None if it suits any."""
        return None


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
    return f"recordings are {', '.join(shipped_traces())}; generators are {', '.join(GENERATORS)}"


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
        ``NAME`` or ``NAME:KEY=NUMBER,...`` of a shipped recording or a generator.

    Raises
    ------
    ConfigError
        If there is no such workload or parameter.
    """
    name, _, rest = text.partition(":")
    if name in GENERATORS:
        return SyntheticWorkload(name, _params(text, rest))
    shipped = shipped_traces()
    if name not in shipped:
        raise ConfigError(f"workload {name!r}: {_known()}")
    return trace_workload(shipped[name], _params(text, rest))


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
