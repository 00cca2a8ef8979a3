# SPDX-License-Identifier: GPL-2.0-only
"""Choose between tests and benchmarks, and say which kpkeys_bench is being tested."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out benchmarks/, or tests/ under --benchmark-only, unless named on the command line."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return None
    # The option has no value where pytest-benchmark is not installed.
    only_benchmarks = config.getoption("benchmark_only", default=False)
    left_out = config.rootpath / ("tests" if only_benchmarks else "benchmarks")
    # The folder itself stays, empty: pytest insists on finding each of its testpaths.
    return True if left_out in collection_path.parents else None


def _package_file() -> Path | None:
    spec = importlib.util.find_spec("kpkeys_bench")
    return Path(spec.origin).resolve() if spec and spec.origin else None


def pytest_configure(config: pytest.Config) -> None:
    """With KPB_TEST_INSTALLED set, refuse to test the package of this very tree."""
    if not os.environ.get("KPB_TEST_INSTALLED"):
        return
    found = _package_file()
    if found is None or found.is_relative_to(config.rootpath.resolve() / "kpkeys_bench"):
        msg = (
            f"KPB_TEST_INSTALLED is set, but kpkeys_bench is {found or 'not installed'}: "
            "install the wheel, set PYTHONSAFEPATH=1, do not use `python -m pytest`"
        )
        raise pytest.UsageError(msg)


def pytest_report_header() -> str:
    """Name the file that `import kpkeys_bench` finds."""
    return f"kpkeys_bench: {_package_file() or 'not installed: run make test'}"
