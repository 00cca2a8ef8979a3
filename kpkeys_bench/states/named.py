# SPDX-License-Identifier: GPL-2.0-only
"""States of memory that come with the package, by name."""

import importlib.resources
from functools import cache
from pathlib import Path
from typing import Final

from kpkeys_bench.errors import StateError
from kpkeys_bench.states.image import SUFFIX, MemoryImage, load_image

AGED_SEED: Final = 1
"""Of the degrees of age, whatever the seed of the run."""
AGED_PINS: Final = 8
AGED_DEGREES: Final = {f"aged-{percent}": percent / 100 for percent in (10, 25, 50, 75, 90, 100)}
"""Share of the pageblocks with an unmovable page, by name."""


def recorded_states() -> dict[str, Path]:
    """Find the recorded states: name to path of the ``.kps`` file, sorted by name."""
    folder = importlib.resources.files("kpkeys_bench.states") / "recorded"
    paths = (Path(str(entry)) for entry in folder.iterdir())
    return {path.stem: path for path in sorted(paths) if path.suffix == SUFFIX}


@cache
def recorded_state(name: str) -> MemoryImage:
    """Load a recorded state, once."""
    return load_image(recorded_states()[name])


def state_help() -> dict[str, str]:
    """All named states and what each is."""
    text = {
        "fresh": "all of memory is free, in blocks of the largest order",
        "aged:share=S,pins=N": "a share S of the pageblocks hold 1 to N unmovable pages, by --seed",
    }
    text |= {
        name: f"aged:share={share:g},pins={AGED_PINS} with seed {AGED_SEED}, whatever --seed"
        for name, share in AGED_DEGREES.items()
    }
    return text | {name: load_image(path).source for name, path in recorded_states().items()}


def is_state_file(text: str) -> bool:
    """Whether a state is named by the path of its file, and not by a name."""
    return "/" in text or text.endswith(SUFFIX)


def load_state_file(text: str) -> MemoryImage:
    """Read the file of a state, or a recorded state by its name.

    Raises
    ------
    StateError
        If there is none, or it is malformed.
    """
    if is_state_file(text):
        return load_image(text)
    if text in recorded_states():
        return recorded_state(text)
    raise StateError(
        f"state {text[:60]!r}: there are {', '.join(recorded_states())}, or name a {SUFFIX} file"
    )
