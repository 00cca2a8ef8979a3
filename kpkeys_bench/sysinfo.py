# SPDX-License-Identifier: GPL-2.0-only
"""The host and the build, as every result names them."""

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kpkeys_bench import _ffi


@cache
def package_version() -> str:
    """Version of the installed package."""
    try:
        return version("kpkeys-bench")
    except PackageNotFoundError:
        return "unknown"


@cache
def core_sources() -> str:
    """SHA-256 of the C files that the core was built from, in hex."""
    sources: str = _ffi.sources()
    return sources


@cache
def host_cpu() -> str:
    """The processor's name, or its architecture where the kernel tells none."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in {"model name", "Model"}:
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def host_facts() -> dict[str, str]:
    """The columns `kpkeys_bench.results.HOST`."""
    return {
        "host_cpu": host_cpu(),
        "host_kernel": f"{platform.system()} {platform.release()}",
        "version": package_version(),
        "compiler": _ffi.compiler(),
    }


@cache
def clock_facts() -> dict[str, str | float]:
    """Clock of the timed passes: name, ns per tick, floor and quantum in ns; measured once."""
    facts: dict[str, str | float] = _ffi.clock_info()
    return facts


def info() -> dict[str, str | float | int]:
    """Everything about this host that a result depends on."""
    return {
        **host_facts(),
        **clock_facts(),
        "python": platform.python_version(),
        "cpus": len(os.sched_getaffinity(0)),
        "ram_bytes_host": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
