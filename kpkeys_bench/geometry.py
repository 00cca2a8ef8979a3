# SPDX-License-Identifier: GPL-2.0-only
"""Page sizes and what follows from them, as the C core was compiled."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from kpkeys_bench import _ffi
from kpkeys_bench.errors import ConfigError

PAGE_SHIFTS: Final = {"4K": 12, "16K": 14, "64K": 16}
"""Page sizes by the name that results carry."""

VA_BITS: Final = {"4K": (48, 39, 52), "16K": (47, 36, 48, 52), "64K": (48, 42, 52)}
"""Widths of addresses that arm64 can be configured for, in bits; the first is the default."""

_UNITS: Final = {"K": 10, "M": 20, "G": 30, "T": 40}


@dataclass(frozen=True)
class Geometry:
    """One page size; orders are powers of two of pages.

    Attributes
    ----------
    page_size : str
        ``"4K"``, ``"16K"`` or ``"64K"``.
    page_shift, max_page_order, block_order : int
        ``PAGE_SHIFT``, ``MAX_PAGE_ORDER`` and ``pageblock_order``.
    ptrs_per_table : int
        Entries of a table.
    cont_pte_order, pmd_order, cont_pmd_order, pud_order : int
        Orders of the linear map's leaves; `pud_order` is 0 where there is no PUD leaf.
    refill_orders : tuple of int
        What v6 uses with this page size.
    """

    page_size: str
    page_shift: int
    max_page_order: int
    block_order: int
    ptrs_per_table: int
    cont_pte_order: int
    pmd_order: int
    cont_pmd_order: int
    pud_order: int
    refill_orders: tuple[int, ...]


@cache
def geometry(page_size: str) -> Geometry:
    """Look up a page size.

    Parameters
    ----------
    page_size : str
        ``"4K"``, ``"16K"`` or ``"64K"``; lower case will do.

    Raises
    ------
    ConfigError
        If there is no such page size on arm64.
    """
    name = page_size.upper()
    if name not in PAGE_SHIFTS:
        raise ConfigError(f"page size {page_size!r}: arm64 has {', '.join(PAGE_SHIFTS)}")
    return Geometry(page_size=name, **_ffi.geometry(PAGE_SHIFTS[name]))


def parse_bytes(text: str) -> int:
    """Read a size such as ``"12G"`` or ``"64M"``; a bare number is in bytes.

    Raises
    ------
    ConfigError
        If it is no size.
    """
    digits, unit = text.strip().upper().removesuffix("B").removesuffix("I"), 0
    if digits and digits[-1] in _UNITS:
        digits, unit = digits[:-1], _UNITS[digits[-1]]
    if not digits.isdecimal() or len(digits) > 18:
        raise ConfigError(f"size {text[:40]!r}: give a whole number with K, M, G or T, such as 16G")
    return int(digits) << unit


def format_bytes(size: int) -> str:
    """Write a size with the largest unit that divides it: ``"12G"``."""
    for unit, shift in reversed(_UNITS.items()):
        if size and not size % (1 << shift):
            return f"{size >> shift}{unit}"
    return str(size)
