# SPDX-License-Identifier: GPL-2.0-only
"""Allocation flags by name, with the values of ``csrc/include/linux/gfp.h``."""

from typing import Final

_RECLAIM: Final = 0x400 | 0x800
_KERNEL: Final = _RECLAIM | 0x40 | 0x80

GFP_FLAGS: Final[dict[str, int]] = {
    "__GFP_MOVABLE": 0x08,
    "__GFP_RECLAIMABLE": 0x10,
    "__GFP_HIGH": 0x20,
    "__GFP_IO": 0x40,
    "__GFP_FS": 0x80,
    "__GFP_ZERO": 0x100,
    "__GFP_DIRECT_RECLAIM": 0x400,
    "__GFP_KSWAPD_RECLAIM": 0x800,
    "__GFP_RECLAIM": _RECLAIM,
    "__GFP_NOWARN": 0x2000,
    "__GFP_RETRY_MAYFAIL": 0x4000,
    "__GFP_NORETRY": 0x10000,
    "__GFP_COMP": 0x40000,
    "__GFP_ACCOUNT": 0x400000,
    "__GFP_PGTABLE_SPLIT": 0x8000000,
    "GFP_ATOMIC": 0x20 | 0x800,
    "GFP_NOWAIT": 0x800 | 0x2000,
    "GFP_KERNEL": _KERNEL,
    "GFP_KERNEL_ACCOUNT": _KERNEL | 0x400000,
    "GFP_PGTABLE_KERNEL": _KERNEL | 0x100,
    "GFP_PGTABLE_USER": _KERNEL | 0x100 | 0x400000,
}
