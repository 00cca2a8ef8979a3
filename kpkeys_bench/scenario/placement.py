# SPDX-License-Identifier: GPL-2.0-only
"""Where pages would lie under another order of handing them out.

A simulation of placement only: the same requests and frees, blocks that are fetched whole when
nothing but the reserve is left, and a choice of the page to hand out. No pkeys, no splits.
"""

from typing import Final

POLICIES: Final = {
    "lifo": "the page that was freed last, as v6 does",
    "fullest": "a page of the block with the fewest free ones",
    "lowest": "the page with the lowest address",
}
RESERVE: Final = 4


class Placement:
    """One hand-out order, fed with the operations of a run.

    Parameters
    ----------
    policy : str
        One of `POLICIES`.
    block_pages : int
        Pages of a block.
    """

    def __init__(self, policy: str, block_pages: int) -> None:
        if policy not in POLICIES:
            raise ValueError(f"{policy!r} is no hand-out order: there are {', '.join(POLICIES)}")
        self._policy = policy
        self._block_pages = block_pages
        # free pages by block; the newest last
        self._free: list[list[int]] = []
        # of all blocks, the newest last; only for lifo
        self._stack: list[int] = []
        self._nr_free = 0
        self._page_of: dict[int, int] = {}
        self._refill(take_page=False)

    def _refill(self, *, take_page: bool) -> int:
        """Fetch a block; its first page is the caller's, the rest is free in rising order."""
        first = len(self._free) * self._block_pages
        pages = list(range(first + take_page, first + self._block_pages))
        self._free.append([] if self._policy == "lifo" else pages)
        self._stack += pages
        self._nr_free += len(pages)
        return first

    def alloc(self, number: int) -> None:
        """Hand out a page for request `number`."""
        if self._nr_free <= RESERVE:
            self._page_of[number] = self._refill(take_page=True)
            return
        # which of a block's pages makes no difference to the blocks
        page = (self._stack if self._policy == "lifo" else self._free[self._choose()]).pop()
        self._nr_free -= 1
        self._page_of[number] = page

    def _choose(self) -> int:
        with_free = [block for block, free in enumerate(self._free) if free]
        if self._policy == "lowest":
            return with_free[0]
        return min(with_free, key=lambda block: len(self._free[block]))

    def free(self, number: int) -> None:
        """Take back the page of request `number`."""
        page = self._page_of.pop(number)
        if self._policy == "lifo":
            self._stack.append(page)
        else:
            self._free[page // self._block_pages].append(page)
        self._nr_free += 1

    def idle_blocks(self) -> int:
        """Blocks of which no page is in use."""
        used = {page // self._block_pages for page in self._page_of.values()}
        return len(self._free) - len(used)
