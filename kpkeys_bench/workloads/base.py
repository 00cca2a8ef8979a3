# SPDX-License-Identifier: GPL-2.0-only
"""What every workload is: a stream of operations that repeats."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final

from kpkeys_bench.workloads.ops import OpArray

#: Operations of a generated array: 512 kB, which a second-level cache holds.
CHUNK_OPS: Final = 1 << 16
#: At most so many operations in one call, so that Ctrl-C and progress are prompt.
CALL_OPS: Final = 1 << 21

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

    @property
    def live_pages(self) -> int:
        """Tables that are alive on average, as far as it is known beforehand; else 0."""
        return 0

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
