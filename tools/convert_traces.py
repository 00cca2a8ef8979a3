# SPDX-License-Identifier: GPL-2.0-only
"""Convert the recordings NAME.csv.xz of a folder to the ``.kpt`` files that the package ships.

Usage: python tools/convert_traces.py DIR

Each trace is compared with the recorder's own summary, NAME.json in the same folder, before it is
written.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from kpkeys_bench.errors import TraceError
from kpkeys_bench.workloads.recording import import_recording
from kpkeys_bench.workloads.trace import SUFFIX, TraceInfo, load_trace, save_trace, trace_info

OUT: Final = Path(__file__).parents[1] / "kpkeys_bench" / "workloads" / "traces"

WORKLOADS: Final = {
    "boot": "kernel start and a tiny init (tables that memblock gave the linear map are absent)",
    "compile": "gcc -j2 on a small interpreter, then python compileall",
    "fork_exact": "300 times /bin/true, and python",
    "fork_exact_16k": "300 times /bin/true, and python",
    "forkexec": "2,000 times /bin/true, pipelines, command substitutions",
    "many": "200 python processes at once, half of them killed, then the rest",
    "mmap": "stress-ng mmap, vm, mremap, munmap, mmapfork, fork and clone",
    "redis": "redis-benchmark with two background saves (fork), then a flush",
    "sparse": "synthetic: one touch per 2 MB over 16 GB, unmapped in random order",
}
MACHINE: Final = (
    "Debian arm64 kernel 6.18.15, {pages} pages, QEMU virt (neoverse-n1, 2 CPUs, 4 GB), THP always,"
    " no KASLR, no KPTI. Recorded with {method}, no event lost. Emulated,"
    " about 28 times slower than hardware: counts, order, levels and bursts are genuine, rates and"
    " lifetimes are not, and RCU grace periods did not slow down with the rest."
)


METHOD: Final = "a kprobe on the kernel's NR_PAGETABLE accounting"
BOOT_METHOD: Final = "kmem page events and their stacks"


def convert(folder: Path, name: str) -> TraceInfo:
    """Convert and verify one recording; return its summary."""
    pages = 16 if name.endswith("_16k") else 4
    machine = MACHINE.format(pages=f"{pages}K", method=BOOT_METHOD if name == "boot" else METHOD)
    trace = import_recording(
        [folder / f"{name}.csv.xz"],
        strict=True,
        page_size=pages * 1024,
        name=name,
        source=f"{WORKLOADS[name]}. {machine}",
    )
    info = trace_info(trace)
    compare(info, json.loads((folder / f"{name}.json").read_text()))
    path = OUT / f"{name}{SUFFIX}"
    save_trace(trace, path)
    if load_trace(path).workload_sha256 != trace.workload_sha256:
        raise TraceError(f"{path}: reads back differently; do not ship it")
    return info


def compare(info: TraceInfo, summary: dict[str, Any]) -> None:
    """Raise TraceError where a trace contradicts the recorder's summary."""
    found: dict[str, object] = {
        "allocs": info["allocs"],
        "frees": info["frees"],
        "live": info["live_end"],
    }
    if "stats" in summary:  # the boot recording has a summary of its own form
        said: dict[str, object] = {
            "allocs": summary["stats"]["alloc"],
            "frees": summary["stats"]["free"],
            "live": summary["live_at_end"],
        }
        shares = {level: n / said["allocs"] for level, n in summary["levels"].items()}
    else:
        found |= {
            "peak": info["peak_live"],
            "cross": info["cross_cpu_frees"],
            "pre": info["pre_pages"],
        }
        said = {
            "allocs": summary["allocs"],
            "frees": summary["frees"] + summary["frees_of_pre_trace"],
            "live": summary["live_at_end"],
            "peak": summary["peak_live_in_trace"],
            "cross": summary["cross_cpu_free"],
            "pre": summary["frees_of_pre_trace"],
        }
        shares = summary["level_share"]
    found["levels"] = {level: round(share, 4) for level, share in info["level_share"].items()}
    said["levels"] = {level: round(shares.get(level, 0), 4) for level in info["level_share"]}
    if found != said:
        raise TraceError(
            f"{info['name']}: converted to {found}, its summary has {said}; not written"
        )


def main() -> int:
    """Convert all recordings and print what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with NAME.csv.xz")
    folder: Path = parser.parse_args().folder
    OUT.mkdir(exist_ok=True)
    try:
        for name in WORKLOADS:
            info = convert(folder, name)
            size = (OUT / f"{name}{SUFFIX}").stat().st_size
            sys.stdout.write(
                f"{name:15} {size:8,} bytes {info['events']:8,} events"
                f" peak {info['peak_live']:6,} end {info['live_end']:3}\n"
            )
    except TraceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
