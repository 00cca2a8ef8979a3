# SPDX-License-Identifier: GPL-2.0-only
"""What is compared: a page table allocator with its refill orders, and the state of memory."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from kpkeys_bench import _ffi, door
from kpkeys_bench.errors import AllocatorError, ConfigError
from kpkeys_bench.geometry import geometry
from kpkeys_bench.states import named
from kpkeys_bench.states.image import MemoryImage

ALLOCATORS: Final[tuple[str, ...]] = _ffi.ALLOCATORS
"""Allocators compiled in, by name."""
ALLOCATOR_HELP: Final[dict[str, str]] = _ffi.ALLOCATOR_HELP

LINEAR_MAPS: Final[tuple[str, ...]] = _ffi.LINEAR_MAPS

PPM: Final = 1_000_000
VARIANT_DIGITS: Final = 12
#: What the file is called in every kernel tree, so that its name alone says nothing.
_KERNEL_STEM: Final = "kpkeys_hardened_pgtables"


def is_allocator_file(name: str) -> bool:
    """Whether an allocator is named by the path of its C file, and not by a name."""
    return "/" in name or name.endswith(".c")


@dataclass(frozen=True)
class Strategy:
    """One allocator and how it refills.

    Attributes
    ----------
    allocator : str
        One of `ALLOCATORS`, or the path of an allocator's C file (with a ``/`` in it, or ending in
        ``.c``). A file is compiled once to find out what it defines.
    refill_orders : tuple of int, optional
        Orders tried from the left by a refill. None: what v6 uses with the page size. Only PBA
        refills; for the others it must be None. So it must for a file, which has its own.
    allow_any_orders : bool
        Accept a list that v6 could not work with: not strictly decreasing or not ending in 2.
    linear_map : str
        The linear map it needs: ``"block"`` or ``"pte"``. None stands for what the allocator is
        made for; of a file, ``"block"`` if it defines ``kpkeys_prepare_direct_map_split()``.
    sha256 : str
        Of a file's content, in hex; empty otherwise.

    Raises
    ------
    ConfigError
        If the allocator is unknown, has no refill orders, or needs another linear map.
    AllocatorError
        If it is a file that cannot be read or does not compile.
    """

    allocator: str = "pba"
    refill_orders: tuple[int, ...] | None = None
    allow_any_orders: bool = False
    linear_map: str | None = None
    sha256: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if not self.is_file and self.allocator not in ALLOCATORS:
            raise ConfigError(
                f"allocator {self.allocator!r}: there are {', '.join(sorted(ALLOCATORS))}, or name "
                "an allocator's C file"
            )
        if self.linear_map not in {None, *LINEAR_MAPS}:
            raise ConfigError(f"linear map {self.linear_map!r}: give {', '.join(LINEAR_MAPS)}")
        if self.is_file:
            self._look_into_file()
        else:
            needed = str(_ffi.allocator_linear_map(self.allocator))
            if self.linear_map not in {None, needed}:
                raise ConfigError(
                    f"allocator {self.allocator!r} works on a linear map of kind {needed!r}: only "
                    "a file's can be chosen"
                )
            object.__setattr__(self, "linear_map", needed)
        if self.refill_orders is not None and self.is_file:
            raise ConfigError(
                f"{self.allocator}: its refill orders are in the file, change them there"
            )
        if self.refill_orders is not None and not self.refills:
            raise ConfigError(
                f"allocator {self.allocator!r} takes pages one by one: it has no refill orders"
            )
        if self.refill_orders is not None:
            _check_orders(self.refill_orders)

    def _look_into_file(self) -> None:
        object.__setattr__(self, "sha256", door.content_sha256(self.source))
        if self.linear_map is None:
            splits = door.defined(self.compiled("4K"))[door.SPLITS]
            object.__setattr__(self, "linear_map", "block" if splits else "pte")

    @property
    def is_file(self) -> bool:
        """Whether the allocator is a C file."""
        return is_allocator_file(self.allocator)

    @property
    def source(self) -> Path:
        """The C file of an allocator that is one."""
        return Path(self.allocator)

    def compiled(self, page_size: str) -> Path:
        """The shared object made of the file, for one page size; at once if it was made before.

        Raises
        ------
        AllocatorError
            If it does not compile, or is not the file any more that it was.
        """
        if door.content_sha256(self.source) != self.sha256:
            raise AllocatorError(f"{self.source} has changed since this run began: start again")
        return door.compile_file(self.source, page_size).path

    @property
    def name(self) -> str:
        """The column ``allocator``.

        Of a file, its name without ``.c``, after that of its folder where every kernel tree has a
        file of that name.
        """
        if not self.is_file:
            return self.allocator
        stem = self.source.name.removesuffix(".c")
        folder = self.source.absolute().parent.name
        return f"{folder}/{stem}" if stem == _KERNEL_STEM and folder else stem

    @property
    def variant(self) -> str:
        """The column ``variant``: of a file, the first digits of the SHA-256 of its content."""
        return self.sha256[:VARIANT_DIGITS]

    @property
    def refills(self) -> bool:
        """Whether the allocator fetches more than a page at a time.

        Taken for granted of a file that works on blocks.
        """
        return self.linear_map == "block"

    def mirror(self) -> "Strategy":
        """What is built in and works on the same linear map: ``pba`` or ``noblock``."""
        return Strategy("pba" if self.linear_map == "block" else "noblock")

    def for_page_size(self, page_size: str) -> "Strategy":
        """The same with the refill orders spelled out."""
        if self.refill_orders is not None or not self.refills or self.is_file:
            return self
        return replace(self, refill_orders=geometry(page_size).refill_orders)

    @property
    def orders_text(self) -> str:
        """Refill orders as results carry them: ``"9-4-2"``, empty where there are none."""
        return "-".join(map(str, self.refill_orders or ()))

    @property
    def label(self) -> str:
        """Short name for people: ``"pba 9-4-2"``."""
        return f"{self.name} {self.orders_text}".strip()


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

    An `image`: memory as it was, on another machine or in another simulation. It has a page size,
    a first byte and a size of its own.

    Attributes
    ----------
    aged_share : float
        Share of the pageblocks, 0 (fresh) to 1.
    pins : int
        Most unmovable pages in one such block.
    seed : int, optional
        Of the aged state; None: that of the run.
    label : str
        The name, of a state that has one.
    image : MemoryImage, optional
        Instead of all that.
    """

    aged_share: float = 0.0
    pins: int = 8
    seed: int | None = None
    label: str = ""
    image: MemoryImage | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.aged_share <= 1:
            raise ConfigError(f"state aged: share {self.aged_share}: give 0 to 1")
        if self.pins < 1:
            raise ConfigError(f"state aged: pins {self.pins}: give at least 1")
        if self.image is not None and self.aged_share:
            raise ConfigError("a state that was recorded cannot be aged: leave the share out")

    @property
    def aged_ppm(self) -> int:
        """The share in millionths, as the C core counts it."""
        return round(self.aged_share * PPM)

    @property
    def name(self) -> str:
        """As results carry it; `parse_state` reads it, unless it came from a file."""
        if self.label:
            return self.label
        if self.image is not None:
            return self.image.name
        if not self.aged_ppm:
            return "fresh"
        return f"aged:share={self.aged_share:g},pins={self.pins}"

    @property
    def sha256(self) -> str:
        """Identity of the image, in hex; empty without one: then the name says all."""
        return self.image.sha256 if self.image is not None else ""

    def check_page_size(self, page_size: str) -> None:
        """Refuse pages of another size than the image has.

        Raises
        ------
        ConfigError
            If they differ.
        """
        if self.image is not None and self.image.page_size != page_size:
            raise ConfigError(
                f"state {self.name}: it is of a machine with {self.image.page_size} pages, not "
                f"{page_size}: give --page-size {self.image.page_size}"
            )


def parse_state(text: str) -> State:
    """Read ``"fresh"``, ``"aged:share=0.9,pins=8"``, the name of a state, or that of a file.

    Raises
    ------
    ConfigError
        If there is no such state.
    StateError
        If it is a file that cannot be read or is damaged.
    """
    if named.is_state_file(text):
        return State(image=named.load_state_file(text))
    if text in named.AGED_DEGREES:
        return State(named.AGED_DEGREES[text], named.AGED_PINS, named.AGED_SEED, text)
    if text in named.recorded_states():
        return State(label=text, image=named.load_state_file(text))
    name, _, rest = text.partition(":")
    if name not in {"fresh", "aged"} or (name == "fresh" and rest):
        names = ", ".join((*named.AGED_DEGREES, *named.recorded_states()))
        raise ConfigError(
            f"state {text!r}: give fresh, aged:share=0.9,pins=8, one of {names}, or a .kps file"
        )
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
