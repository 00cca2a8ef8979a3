# SPDX-License-Identifier: GPL-2.0-only
"""Import of recordings: lines per second on one core, from a plain file that the host caches."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from measuring import Benchmark

from kpkeys_bench.experiment import Setup
from kpkeys_bench.workloads.recording import import_recording
from kpkeys_bench.workloads.trace import Trace

Note = Callable[[str], None]

pytestmark = pytest.mark.benchmark(group="import")

PAGES: Final = 2000
_HEAD: Final = "            bash-164     [00{cpu}] d....   {s}.{us:06d}: "
_PROBE: Final = (
    "ptp: (mod_node_page_state+0x0/0x30) item=37 delta={delta} caller={caller}"
    " x19=0xfffffdff{page:08x} x20=0xffff80008264c240 x21=0xffff0000c2582100"
    " x22=0xffff8000829d6de0 x23=0xffff8000829d6de0 x24=0xffff0000c2582100"
    " x25=0xffff0000eabdaee0 x26=0xffff800082530000 x27=0xffff0000c2582640 x28=0x0\n"
)
_ALLOC: Final = (
    "mm_page_alloc: page=fffffdff{page:08x} pfn=0x{pfn:x} order=0 migratetype=0"
    " gfp_flags=GFP_KERNEL_ACCOUNT|__GFP_ZERO|__GFP_COMP\n"
)
_FREE: Final = "mm_page_free: page=fffffdff{page:08x} pfn=0x{pfn:x} order=0\n"
_STACK: Final = (
    "<stack trace>\n => trace_event_raw_event_mm_page_alloc\n => __traceiter_mm_page_alloc\n"
    " => __alloc_frozen_pages_noprof\n => alloc_pages_mpol\n => alloc_frozen_pages_noprof\n"
    " => alloc_pages_noprof\n => __pte_alloc\n => copy_page_range\n => dup_mmap\n"
    " => copy_process\n => kernel_clone\n => __do_sys_clone\n => el0_svc\n => el0t_64_sync\n"
)


def _line(event: int, body: str, **fields: object) -> str:
    s, us = divmod(event * 7, 10**6)
    return (_HEAD + body).format(cpu=event % 2, s=100 + s, us=us, **fields)


def _text(way: str, events: int) -> str:
    """A recording of `events` events: pages live in turn, `PAGES` at once."""
    lines = ["ts_ns,cpu,op,level,pfn,caller\n"] if way == "csv" else []
    for i in range(events):
        number = i % (2 * PAGES)
        alloc = number < PAGES
        pfn = 0x40000 + number % PAGES
        page = 0xC0000000 + (number % PAGES << 6)
        if way == "csv":
            lines.append(
                f"{i * 7000},{i % 2},{'alloc' if alloc else 'free'},PTE,{pfn},__pte_alloc\n"
            )
        elif way == "kprobe":
            caller = "__pte_alloc+0xa0/0x148" if alloc else "tlb_remove_table_rcu+0x7c/0xc0"
            lines.append(_line(i, _PROBE, delta=1 if alloc else -1, caller=caller, page=page))
        elif alloc:
            lines += [_line(i, _ALLOC, page=page, pfn=pfn), _line(i, _STACK)]
        else:
            lines.append(_line(i, _FREE, page=page, pfn=pfn))
    return "".join(lines)


@pytest.mark.parametrize("way", ["kprobe", "kmem", "csv"])
def bench_import(benchmark: Benchmark, setup: Setup, note: Note, tmp_path: Path, way: str) -> None:
    """All of `import_recording`: reading, books, slots, and the check of the result."""
    events = min(setup.ops, 100_000)
    path = tmp_path / "rec.txt"
    path.write_text(_text(way, events))
    made: list[Trace] = []

    def run() -> None:
        made.append(import_recording([path], page_size=4096, name="t", strict=True))

    benchmark.pedantic(run, rounds=15, warmup_rounds=1)
    trace = made[-1]
    assert trace.integrity is not None
    assert trace.nr_ops == events
    lines = trace.integrity.counts["lines"]
    # Nothing here takes turns: what else the host does only adds to a round.
    seconds = float(benchmark.stats["min"])
    benchmark.extra_info |= {
        "lines": lines,
        "bytes": path.stat().st_size,
        "lines_per_s": lines / seconds,
    }
    note(
        f"{lines / seconds / 1e6:.1f} million lines a second"
        f" ({path.stat().st_size / seconds / 1e6:,.0f} MB/s)"
    )
