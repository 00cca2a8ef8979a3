# SPDX-License-Identifier: GPL-2.0-only
"""What is compared: a page table allocator with its refill orders, and the state of memory."""

from dataclasses import dataclass, replace
from typing import Final

from kpkeys_bench import _ffi
from kpkeys_bench.errors import ConfigError
from kpkeys_bench.geometry import geometry

ALLOCATORS: Final[tuple[str, ...]] = _ffi.ALLOCATORS
"""Allocators compiled in, by name."""
ALLOCATOR_HELP: Final[dict[str, str]] = _ffi.ALLOCATOR_HELP

PPM: Final = 1_000_000


@dataclass(frozen=True)
class Strategy:
    """One allocator and how it refills.

    Attributes
    ----------
    allocator : str
        One of `ALLOCATORS`.
    refill_orders : tuple of int, optional
        Orders tried from the left by a refill. None: what v6 uses with the page size. Only PBA
        refills; for the others it must be None.
    allow_any_orders : bool
        Accept a list that v6 could not work with: not strictly decreasing or not ending in 2.

    Raises
    ------
    ConfigError
        If the allocator is unknown or has no refill orders.
    """

    allocator: str = "pba"
    refill_orders: tuple[int, ...] | None = None
    allow_any_orders: bool = False

    def __post_init__(self) -> None:
        if self.allocator not in ALLOCATORS:
            raise ConfigError(
                f"allocator {self.allocator!r}: there are {', '.join(sorted(ALLOCATORS))}"
            )
        if self.refill_orders is not None and not self.refills:
            raise ConfigError(
                f"allocator {self.allocator!r} takes pages one by one: it has no refill orders"
            )
        if self.refill_orders is not None:
            _check_orders(self.refill_orders)

    @property
    def refills(self) -> bool:
        """Whether the allocator fetches more than a page at a time."""
        return self.linear_map == "block"

    @property
    def linear_map(self) -> str:
        """The linear map it needs: ``"block"`` or ``"pte"``."""
        return str(_ffi.allocator_linear_map(self.allocator))

    def for_page_size(self, page_size: str) -> "Strategy":
        """The same with the refill orders spelled out."""
        if self.refill_orders is not None or not self.refills:
            return self
        return replace(self, refill_orders=geometry(page_size).refill_orders)

    @property
    def orders_text(self) -> str:
        """Refill orders as results carry them: ``"9-4-2"``, empty where there are none."""
        return "-".join(map(str, self.refill_orders or ()))

    @property
    def label(self) -> str:
        """Short name for people: ``"pba 9-4-2"``."""
        return f"{self.allocator} {self.orders_text}".strip()


def _check_orders(orders: tuple[int, ...]) -> None:
    if not 1 <= len(orders) <= _ffi.MAX_REFILL_ORDERS:
        raise ConfigError(
            f"{len(orders)} refill orders: give 1 to {_ffi.MAX_REFILL_ORDERS}, such as 9,4,2"
        )
    for order in orders:
        if not 0 <= order < _ffi.MAX_ORDERS:
            raise ConfigError(f"refill order {order}: give 0 to {_ffi.MAX_ORDERS - 1}")


def parse_refill_orders(text: str) -> tuple[int, ...]:
    """Read ``"9,4,2"`` or ``"9-4-2"``.

    Raises
    ------
    ConfigError
        If it is no list of orders.
    """
    parts = text.replace("-", ",").split(",")
    if not all(part.strip().isdecimal() and len(part) < 9 for part in parts):
        raise ConfigError(
            f"refill orders {text[:40]!r}: give whole numbers with commas, such as 9,4,2"
        )
    orders = tuple(int(part) for part in parts)
    _check_orders(orders)
    return orders


@dataclass(frozen=True)
class State:
    """What memory is like when the machine starts.

    ``fresh``: all of it is free, in blocks of the largest order.

    ``aged``: a share of the pageblocks (chosen by a seeded hash) hold 1 to `pins` unmovable pages
    at seeded places, so that they have no free page of ``pageblock_order``; the rest is free.

    Attributes
    ----------
    aged_share : float
        Share of the pageblocks, 0 (fresh) to 1.
    pins : int
        Most unmovable pages in one such block.
    """

    aged_share: float = 0.0
    pins: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.aged_share <= 1:
            raise ConfigError(f"state aged: share {self.aged_share}: give 0 to 1")
        if self.pins < 1:
            raise ConfigError(f"state aged: pins {self.pins}: give at least 1")

    @property
    def aged_ppm(self) -> int:
        """The share in millionths, as the C core counts it."""
        return round(self.aged_share * PPM)

    @property
    def name(self) -> str:
        """As results carry it and `parse_state` reads it."""
        if not self.aged_ppm:
            return "fresh"
        return f"aged:share={self.aged_share:g},pins={self.pins}"


def parse_state(text: str) -> State:
    """Read ``"fresh"``, ``"aged"`` or ``"aged:share=0.9,pins=8"``.

    Raises
    ------
    ConfigError
        If there is no such state.
    """
    name, _, rest = text.partition(":")
    if name not in {"fresh", "aged"} or (name == "fresh" and rest):
        raise ConfigError(f"state {text!r}: give fresh or aged:share=0.9,pins=8")
    if name == "fresh":
        return State()
    values = {"share": "0.9", "pins": "8"}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key not in values:
            raise ConfigError(f"state {text!r}: {key!r} is not one of share, pins")
        values[key] = value
    try:
        return State(aged_share=float(values["share"]), pins=int(values["pins"]))
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"state {text!r}: share is a number from 0 to 1, pins a count") from None
