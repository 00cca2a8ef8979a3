# SPDX-License-Identifier: GPL-2.0-only
"""Backgrounds: who else uses memory while page tables come and go.

Actors, parameters, defaults and where they are from: ``docs/background.md``.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Final

from kpkeys_bench.errors import ConfigError

DIGEST_DIGITS: Final = 12
NONE: Final = "none"


def _parameter(default: int, most: int, what: str) -> int:
    value: int = field(default=default, metadata={"most": most, "what": what})
    return value


@dataclass(frozen=True)
class Background:
    """What the rest of the system does; without arguments nothing at all.

    Rates are for operations of the replay, on page tables or whatever else it holds.

    Attributes
    ----------
    every : int
        Operations between two turns of the background, 1 to 1024.
    resident : int
        Anonymous memory of processes that stay, in percent of RAM, 0 to 95.
    cache : int
        Page cache at the beginning, in percent of what is then above the high watermark.
    table : int
        Anonymous pages that come and go with each user PTE table, 0 to 512.
    read : int
        Pages of files read for 1000 operations, in windows of 128 KB.
    slab : int
        Pages of reclaimable slab made for 1000 operations; they stay until they are reclaimed.
    kernel : int
        Unmovable allocations made for 1000 operations.
    thp : int
        Huge pages for a million operations.
    life : int
        Shortest life of an unmovable allocation or a huge page, in operations.
    burst : int
        Pages read at once.
    burst_every : int
        Operations between two bursts.

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """

    every: int = _parameter(256, 1024, "operations between two turns")
    resident: int = _parameter(0, 95, "percent of RAM that processes keep")
    cache: int = _parameter(0, 100, "percent of what is left that caches files at the start")
    table: int = _parameter(0, 512, "anonymous pages with each PTE table")
    read: int = _parameter(0, 100_000, "pages of files read, for 1000 operations")
    slab: int = _parameter(0, 10_000, "pages of reclaimable slab, for 1000 operations")
    kernel: int = _parameter(0, 10_000, "unmovable allocations, for 1000 operations")
    thp: int = _parameter(0, 10_000, "huge pages, for 1000000 operations")
    life: int = _parameter(2_000, 1_000_000_000, "operations that kernel and thp live at least")
    burst: int = _parameter(0, 1 << 24, "pages read at once")
    burst_every: int = _parameter(250_000, 1_000_000_000, "operations between two bursts")

    def __post_init__(self) -> None:
        for parameter in fields(self):
            value, most = getattr(self, parameter.name), parameter.metadata["most"]
            least = 1 if parameter.name in {"every", "life", "burst_every"} else 0
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ConfigError(
                    f"background {parameter.name}={value}: give {least} to {most} "
                    f"({parameter.metadata['what']})"
                )

    @property
    def is_none(self) -> bool:
        """Whether nothing happens at all: not even kswapd runs."""
        return self == BACKGROUNDS[NONE]

    @property
    def name(self) -> str:
        """As results carry it and `parse_background` reads it.

        The mix that it differs least from, and in what.
        """
        mix = min(BACKGROUNDS, key=lambda name: len(_differences(self, BACKGROUNDS[name])))
        changes = _differences(self, BACKGROUNDS[mix])
        return mix + (":" + ",".join(f"{k}={v}" for k, v in changes.items()) if changes else "")

    @property
    def sha256(self) -> str:
        """The first digits of a SHA-256 of all parameters, so that mixes that change are noticed.

        Empty for no background.
        """
        if self.is_none:
            return ""
        text = ",".join(f"{key}={value}" for key, value in self.parameters().items())
        return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_DIGITS]

    def parameters(self) -> dict[str, int]:
        """All parameters by name."""
        return {parameter.name: getattr(self, parameter.name) for parameter in fields(self)}


def _differences(one: Background, other: Background) -> dict[str, int]:
    theirs = other.parameters()
    return {key: value for key, value in one.parameters().items() if value != theirs[key]}


BACKGROUNDS: Final[Mapping[str, Background]] = {
    NONE: Background(),
    "light": Background(resident=10, cache=100, table=1, read=125, slab=1, kernel=10, thp=5),
    "desktop": Background(
        resident=40, cache=100, table=4, read=500, slab=5, kernel=40, thp=20, burst=8192
    ),
    "server": Background(
        resident=60, cache=100, table=4, read=4000, slab=40, kernel=40, thp=100, burst=32768
    ),
    "pressure": Background(
        resident=90, cache=100, table=4, read=500, slab=5, kernel=40, thp=20, burst=8192
    ),
}
"""Named mixes; what each stands for is in ``BACKGROUND_HELP``."""

BACKGROUND_HELP: Final[Mapping[str, str]] = {
    NONE: "no other memory is used, and kswapd never runs",
    "light": "an idle machine: page cache everywhere, a quarter of desktop's rates",
    "desktop": "a build: processes read 500 pages of files and make 40 slabs for 1000 operations",
    "server": "much is read, with bursts of 128 MB; 100 huge pages for a million operations",
    "pressure": "desktop where processes that stay hold 90 % of RAM",
}

PARAMETER_HELP: Final[Mapping[str, str]] = {
    parameter.name: str(parameter.metadata["what"]) for parameter in fields(Background)
}


def parse_background(text: str) -> Background:
    """Read ``"none"``, ``"desktop"`` or ``"desktop:read=500,thp=0"``.

    Raises
    ------
    ConfigError
        If there is no such mix or parameter, or a value is no whole number in its range.
    """
    name, _, rest = text.partition(":")
    if name not in BACKGROUNDS:
        raise ConfigError(
            f"background {text!r}: give {', '.join(BACKGROUNDS)}, with :KEY=VALUE,... to change one"
        )
    changes: dict[str, int] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key not in PARAMETER_HELP:
            raise ConfigError(
                f"background {text!r}: {key!r} is not one of {', '.join(PARAMETER_HELP)}"
            )
        if not value.isdecimal() or len(value) > len(str(1 << 32)):
            raise ConfigError(f"background {text!r}: {part!r}: give a whole number")
        changes[key] = int(value)
    return replace(BACKGROUNDS[name], **changes)
