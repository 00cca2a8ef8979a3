# SPDX-License-Identifier: GPL-2.0-only
"""What all tests share."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _compiled_allocators_stay_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a test compiles gets into the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KPB_CACHE", str(tmp_path_factory.mktemp("compiled")))
        yield
