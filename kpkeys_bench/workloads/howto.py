# SPDX-License-Identifier: GPL-2.0-only
"""How to record page table events, way by way: shown by ``trace how-to``, repeated in the docs."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Way:
    """One way to record.

    Attributes
    ----------
    name : str
        As ``trace how-to NAME`` takes it.
    title : str
        One line.
    needs : str
        What kernel it works on, and how far it was tried.
    commands : str
        Shell, as root; ``WORKLOAD`` stands for what is recorded.
    notes : str
        What to look out for.
    """

    name: str
    title: str
    needs: str
    commands: str
    notes: str


_STATS: Final = "grep -H . per_cpu/cpu*/stats   # overrun and dropped events must be 0"

WAYS: Final = (
    Way(
        "kmem",
        "page allocator events with stacks, through tracefs",
        "Any kernel since 3.14, any architecture; CONFIG_STACKTRACE. Tried on arm64"
        " 6.18: the same events as the kprobe way gives.",
        f"""\
cd /sys/kernel/tracing
echo 0 > tracing_on
echo nop > current_tracer
echo mono > trace_clock
echo 100000 > buffer_size_kb
echo 'stacktrace if order <= 1' > events/kmem/mm_page_alloc/trigger
echo 1 > events/kmem/mm_page_alloc/enable
echo 1 > events/kmem/mm_page_free/enable
echo > trace
echo 1 > tracing_on
WORKLOAD
echo 0 > tracing_on
cat trace > rec.trace
{_STATS}
echo 0 > events/kmem/enable
echo '!stacktrace' > events/kmem/mm_page_alloc/trigger
kpkeys-bench trace import rec.trace -o rec.kpt""",
        "An alloc is a page table's if the function below the page allocator's own is one that"
        " allocates tables; a free counts if its page is live as a table. Order 1 is for x86 with"
        " PTI, whose PGDs have two pages. Most events are of other pages (a recording of fork and"
        " exec: 34,225 entries, 6,881 events of tables): make the buffer (per CPU, in kB) large.",
    ),
    Way(
        "kmem-boot",
        "the same from the first moment of the boot",
        "As kmem; the parameter trace_trigger= since 6.2. Tried on arm64 6.18.",
        """\
# kernel command line:
trace_buf_size=100M trace_event=kmem:mm_page_alloc,kmem:mm_page_free \
trace_trigger="mm_page_alloc.stacktrace if order == 0 && migratetype == 0"
# when the boot is over:
echo 0 > /sys/kernel/tracing/tracing_on
cat /sys/kernel/tracing/trace > boot.trace
kpkeys-bench trace import boot.trace -o boot.kpt""",
        "Tables that memblock gave the linear map before the page allocator was up are in no trace."
        " The first events have no time (0.000000).",
    ),
    Way(
        "trace-pipe",
        "longer than the buffer: one reader per CPU",
        "As kmem.",
        """\
cd /sys/kernel/tracing
# set the events and the trigger as for kmem, then
echo 1 > tracing_on
for cpu in per_cpu/cpu*; do
        cat $cpu/trace_pipe > ~/rec.${cpu##*/}.txt &
done
WORKLOAD
echo 0 > tracing_on
sleep 2; kill $(jobs -p)
kpkeys-bench trace import --merge ~/rec.cpu*.txt -o rec.kpt""",
        "--merge: the files are of one time and are merged by it. Without it, several files are the"
        " parts of one recording, in order. A reader that is too slow leaves"
        " 'CPU:1 [LOST 7 EVENTS]' lines, which are counted.",
    ),
    Way(
        "trace-cmd",
        "page allocator events with stacks, through trace-cmd",
        "As kmem. Tried with trace-cmd 3.1.6 report of kprobe events.",
        """\
trace-cmd record -b 100000 -C mono -e kmem:mm_page_alloc -R 'stacktrace if order <= 1' \\
        -e kmem:mm_page_free WORKLOAD
trace-cmd report -i trace.dat > rec.txt
kpkeys-bench trace import rec.txt -o rec.kpt""",
        "What report prints is read, not trace.dat. 'CPU:1 [7 EVENTS DROPPED]' lines are counted.",
    ),
    Way(
        "perf",
        "page allocator events with call chains, through perf",
        "Any kernel and architecture that perf unwinds. Tried with perf 6.1 on x86-64"
        " 6.18, where perf loses a few of a hundred events and says nothing: see the counts of"
        " the import, and prefer kmem.",
        """\
perf record -a -g -m 16M -e kmem:mm_page_alloc -e kmem:mm_page_free -o rec.data WORKLOAD
perf script -i rec.data --show-lost-events -F comm,pid,cpu,time,event,trace,ip,sym > rec.txt
kpkeys-bench trace import rec.txt -o rec.kpt""",
        "-a and the cpu field are needed: an event without its CPU is no event here.",
    ),
    Way(
        "kprobe-6.18",
        "a kprobe on the counter of page tables: arm64 6.18",
        "arm64 6.18, as Debian builds it: the struct page is in a callee-saved register that"
        " depends on the call site. Eight of the nine recordings of the package were made so.",
        f"""\
cd /sys/kernel/tracing
regs=$(for r in $(seq 19 28); do printf ' x%d=%%x%d' $r $r; done)
echo "p:ptp mod_node_page_state item=%x1:s32 delta=%x2:s64 caller=%x30:symbol$regs" > kprobe_events
item=$(awk '/^nr_inactive_anon /{{a=NR}} /^nr_page_table_pages /{{print NR-a}}' /proc/vmstat)
echo "item == $item" > events/kprobes/ptp/filter
echo mono > trace_clock
echo 100000 > buffer_size_kb
echo 1 > events/kprobes/ptp/enable
echo > trace
echo 1 > tracing_on
WORKLOAD
echo 0 > tracing_on
cat trace > rec.trace
{_STATS}
cat kprobe_profile             # the last column, missed, must be 0
kpkeys-bench trace import rec.trace -o rec.kpt""",
        "One line per event and nothing else (fork and exec: 6,895 lines where kmem has 111,768)."
        " On another build of"
        " the kernel the registers may differ: where the known one holds no struct page, the only"
        " register that does is taken; ambiguous_pages and unresolved_pages say if that failed.",
    ),
    Way(
        "kprobe",
        "a kprobe on a counter function that takes the page: 5.11 to 7.x",
        "lruvec_stat_mod_folio (7.2), __lruvec_stat_mod_folio, __mod_lruvec_page_state: the first"
        " that the kernel has and that page tables pass (not so on 6.18). The text is read; it was"
        " not tried on a recording of ours.",
        """\
cd /sys/kernel/tracing
for f in lruvec_stat_mod_folio __lruvec_stat_mod_folio __mod_lruvec_page_state; do
        grep -qw $f /proc/kallsyms && break
done
case $(uname -m) in
aarch64) caller=%x30 ;;
x86_64)  caller='+0($stack)' ;;
esac
echo "p:ptp $f page=\\$arg1 item=\\$arg2:s32 delta=\\$arg3:s32 caller=$caller:symbol" \\
        > kprobe_events
# filter, record and import as for kprobe-6.18""",
        "The level comes from the caller. An event whose caller is no known function is counted as"
        " ambiguous_levels.",
    ),
    Way(
        "level",
        "probes that name the level: any kernel with functions of your own",
        "Any kernel and architecture. For a patched kernel whose allocator of page tables has a"
        " function per level.",
        """\
cd /sys/kernel/tracing
echo 'p:ptp_alloc_pte my_pte_ctor page=$arg1' > kprobe_events
echo 'p:ptp_alloc_pmd my_pmd_ctor page=$arg1' >> kprobe_events
echo 'p:ptp_alloc_pud my_pud_ctor page=$arg1' >> kprobe_events
echo 'p:ptp_alloc_pgd my_pgd_ctor page=$arg1' >> kprobe_events
echo 'p:ptp_free my_table_dtor page=$arg1' >> kprobe_events
echo 1 > events/kprobes/enable
# record and import as for kprobe-6.18""",
        "An event (kprobe or tracepoint, any group) named ptp_alloc_LEVEL, ptp_free or"
        " ptp_free_LEVEL; its field page=, pfn=, folio=, ptdesc=, table=, pt=, addr= or arg1= names"
        " the page: anything that is the same at alloc and free. kernel=1 marks a kernel table.",
    ),
    Way(
        "csv",
        "events that you have classified yourself",
        "Anything.",
        """\
cat > rec.csv <<EOF
ts_ns,cpu,op,level,pfn,caller
1000,0,alloc,PGD,70,pgd_alloc
2000,0,alloc,PTE,71,__pte_alloc_kernel
9000,1,free,PTE,71,
9500,1,free,PRE,90,
EOF
kpkeys-bench trace import rec.csv -o rec.kpt""",
        "The header names the columns, in any order; others are ignored, caller may be absent. PRE"
        " or nothing as the level of a free: not known. A caller __pte_alloc_kernel marks a kernel"
        " table.",
    ),
)
