// SPDX-License-Identifier: GPL-2.0-only
/* Import of recordings (csrc/lab/import_*.c). */

#include "kunit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "kpb_api.h"
#include "lab/import.h"

#define MAX_OPS 64

/* A task's head of an event line, as tracefs prints it. */
#define HEAD(cpu, us) \
	"            bash-164     [00" #cpu "] d....     1.0000" #us ": "
#define ALLOC(cpu, us, pfn)                              \
	HEAD(cpu, us)                                    \
	"mm_page_alloc: page=00000000fffffdff pfn=" #pfn \
	" order=0 migratetype=0 gfp_flags=GFP_KERNEL_ACCOUNT|__GFP_ZERO\n"
#define FREE(cpu, us, pfn) \
	HEAD(cpu, us)      \
	"mm_page_free: page=00000000fffffdff pfn=" #pfn " order=0\n"
#define STACK(cpu, us, fn)                               \
	HEAD(cpu, us)                                    \
	"<stack trace>\n => __traceiter_mm_page_alloc\n" \
	" => alloc_pages_noprof\n => " fn "\n => do_syscall\n"
#define PROBE(cpu, us, delta, rest)                                          \
	HEAD(cpu, us)                                                        \
	"ptp: (mod_node_page_state+0x0/0x30) item=37 delta=" #delta " " rest \
	"\n"

struct import {
	struct kpb_import *imp;
	struct kpb_import_state state;
	struct kpb_op ops[MAX_OPS];
	int64_t ts_ns[MAX_OPS];
};

static void import_destroy(void *imp)
{
	kpb_import_destroy(imp);
}

static struct kpb_import *import_open(struct kunit *test, uint32_t nr_sources,
				      uint32_t origin)
{
	struct kpb_import_options options = {
		.max_ops = MAX_OPS,
		.item = -1,
		.origin = origin,
		.nr_sources = nr_sources,
	};
	char msg[KPB_MSG_BYTES] = "?";
	struct kpb_import *imp = NULL;

	KUNIT_ASSERT_EQ(test, kpb_import_create(&options, &imp, msg), 0);
	KUNIT_EXPECT_STREQ(test, msg, "");
	kunit_add_action(test, import_destroy, imp);
	return imp;
}

/* Feed @text in pieces of @step bytes. */
static int import_text(struct kpb_import *imp, uint32_t source,
		       const char *text, size_t step)
{
	size_t left = strlen(text);
	int ret = kpb_import_begin(imp, source);

	while (!ret && left) {
		size_t nr = left < step ? left : step;

		ret = kpb_import_feed(imp, source, text, nr);
		text += nr;
		left -= nr;
	}
	return ret ? ret : kpb_import_end(imp, source);
}

static void import_result(struct kunit *test, struct import *out)
{
	KUNIT_ASSERT_EQ(test, kpb_import_finish(out->imp), 0);
	kpb_import_state(out->imp, &out->state);
	KUNIT_ASSERT_TRUE(test, out->state.nr_ops <= MAX_OPS);
	KUNIT_ASSERT_EQ(test,
			kpb_import_take(out->imp, out->ts_ns, out->ops,
					out->state.nr_ops),
			0);
}

static void import_one(struct kunit *test, const char *text, struct import *out)
{
	memset(out, 0, sizeof(*out));
	out->imp = import_open(test, 1, KPB_IMPORT_AUTO);
	KUNIT_ASSERT_EQ(test, import_text(out->imp, 0, text, 1 << 16), 0);
	import_result(test, out);
}

static void expect_op(struct kunit *test, const struct import *in, uint64_t at,
		      uint32_t slot, uint8_t kind, uint8_t cpu, uint8_t level,
		      uint8_t arg)
{
	const struct kpb_op *op = &in->ops[at];

	KUNIT_EXPECT_EQ(test, op->slot, slot);
	KUNIT_EXPECT_EQ(test, op->kind, kind);
	KUNIT_EXPECT_EQ(test, op->cpu, cpu);
	KUNIT_EXPECT_EQ(test, op->level, level);
	KUNIT_EXPECT_EQ(test, op->arg, arg);
}

static void import_counts_have_names(struct kunit *test)
{
	uint32_t i, k;

	for (i = 0; i < KPB_NR_IMPORT_COUNTS; i++) {
		KUNIT_ASSERT_NOT_NULL(test, kpb_import_count_name(i));
		KUNIT_EXPECT_TRUE(test, strlen(kpb_import_count_help(i)) > 3);
		for (k = 0; k < i; k++)
			KUNIT_EXPECT_TRUE(test,
					  strcmp(kpb_import_count_name(i),
						 kpb_import_count_name(k)));
	}
	KUNIT_EXPECT_NULL(test, kpb_import_count_name(i));
	KUNIT_EXPECT_NULL(test, kpb_import_count_help(i));
}

static void import_options_out_of_range_are_refused(struct kunit *test)
{
	static const struct kpb_import_options bad[] = {
		{ .max_ops = 0, .item = -1, .nr_sources = 1 },
		{ .max_ops = 1 << 24, .item = -1, .nr_sources = 1 },
		{ .max_ops = 1, .item = -1, .nr_sources = 0 },
		{ .max_ops = 1, .item = -1, .nr_sources = 257 },
		{ .max_ops = 1, .item = 1LL << 31, .nr_sources = 1 },
		{ .max_ops = 1, .nr_sources = 1, .origin = 5 },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct kpb_import *imp = NULL;
		char msg[KPB_MSG_BYTES];

		KUNIT_EXPECT_EQ(test, kpb_import_create(&bad[i], &imp, msg),
				-EINVAL);
		KUNIT_EXPECT_CONTAINS(test, msg, "the limits are");
		KUNIT_EXPECT_NULL(test, imp);
	}
}

static const char kmem_text[] =
	"# tracer: nop\n"
	"# entries-in-buffer/entries-written: 12/12   #P:2\n" FREE(0, 01, 0x70)
	/* an alloc on another CPU between an alloc and its stack */
	ALLOC(0, 02, 0x70) ALLOC(1, 03, 0x71) STACK(0, 04, "pgd_alloc")
		STACK(1, 05, "__pte_alloc_kernel")
	/* do_fault() allocates for users too, but below another function */
	ALLOC(0, 06, 0x72) STACK(0, 07, "vma_alloc_folio_noprof\n => do_fault")
		ALLOC(0, 08, 0x73) STACK(0, 09, "pte_alloc_one\n => __do_fault")
			FREE(1, 10, 0x71) FREE(0, 11, 0x72) FREE(0, 12, 0x70);

static void import_kmem_takes_levels_from_stacks(struct kunit *test)
{
	static struct import in;

	import_one(test, kmem_text, &in);
	KUNIT_EXPECT_EQ(test, in.state.origin, KPB_IMPORT_KMEM);
	KUNIT_EXPECT_EQ(test, in.state.format, KPB_IMPORT_TRACEFS);
	KUNIT_ASSERT_EQ(test, in.state.nr_ops, 5);
	KUNIT_EXPECT_EQ(test, in.state.nr_pre, 0);
	expect_op(test, &in, 0, 0, KPB_OP_ALLOC, 0, 3, 0);
	expect_op(test, &in, 1, 1, KPB_OP_ALLOC, 1, 0, 1);
	expect_op(test, &in, 2, 2, KPB_OP_ALLOC, 0, 0, 0);
	expect_op(test, &in, 3, 1, KPB_OP_FREE, 1, 0, 1);
	expect_op(test, &in, 4, 0, KPB_OP_FREE, 0, 3, 0);
	KUNIT_EXPECT_EQ(test, in.ts_ns[0], 1000002000);
	KUNIT_EXPECT_EQ(test, in.ts_ns[4], 1000012000);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_NEVER_FREED], 1);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_MISSING_ENTRIES], 0);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_MISSING_STACKS], 0);
}

/* Wherever the pieces are cut, the result is the same. */
static void import_in_any_pieces_is_the_same(struct kunit *test)
{
	static struct import whole, pieces;
	size_t step;

	import_one(test, kmem_text, &whole);
	for (step = 1; step < 40; step++) {
		pieces.imp = import_open(test, 1, KPB_IMPORT_AUTO);
		KUNIT_ASSERT_EQ(test,
				import_text(pieces.imp, 0, kmem_text, step), 0);
		import_result(test, &pieces);
		KUNIT_ASSERT_EQ(test,
				memcmp(pieces.ops, whole.ops,
				       sizeof(whole.ops)),
				0);
		KUNIT_EXPECT_EQ(test,
				memcmp(&pieces.state.count, &whole.state.count,
				       sizeof(whole.state.count)),
				0);
	}
}

static void import_kmem_without_stacks_says_so(struct kunit *test)
{
	struct kpb_import *imp = import_open(test, 1, KPB_IMPORT_AUTO);

	KUNIT_EXPECT_EQ(test,
			import_text(imp, 0,
				    ALLOC(0, 01, 0x70) FREE(0, 02, 0x70), 99),
			0);
	KUNIT_EXPECT_EQ(test, kpb_import_finish(imp), -EINVAL);
	KUNIT_EXPECT_CONTAINS(test, kpb_import_message(imp),
			      "mm_page_alloc without stacks");
}

static void
import_kmem_page_for_somebody_else_frees_the_table(struct kunit *test)
{
	static struct import in;

	import_one(test,
		   ALLOC(0, 01, 0x70) STACK(0, 02, "pgd_alloc")
			   ALLOC(1, 03, 0x70) STACK(1, 04, "new_slab"),
		   &in);
	KUNIT_ASSERT_EQ(test, in.state.nr_ops, 2);
	expect_op(test, &in, 1, 0, KPB_OP_FREE, 1, 3, 0);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_MISSED_FREES], 1);
}

/* What an unknown function did before the item was known is lost, and said. */
static void
import_probe_of_unknown_callers_before_the_item_is_counted(struct kunit *test)
{
	static const char text[] = PROBE(0, 01, 1, "caller=mystery+1 page=0x40")
		PROBE(0, 02, 1, "caller=pte_alloc_one+1 page=0x80")
			PROBE(0, 03, -1, "caller=pte_free+1 page=0x80");
	static struct import in;

	import_one(test, text, &in);
	KUNIT_ASSERT_EQ(test, in.state.nr_ops, 2);
	expect_op(test, &in, 0, 0, KPB_OP_ALLOC, 0, 0, 0);
	expect_op(test, &in, 1, 0, KPB_OP_FREE, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_UNRESOLVED_PAGES], 1);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_AMBIGUOUS_LEVELS], 0);
}

#define OTHER_TASK                                            \
	"            bash-165     [000] d....     1.000004: " \
	"<stack trace>\n => __pte_alloc\n"

/* The task's own comes late, and once. */
static void import_stack_of_another_task_belongs_to_nobody(struct kunit *test)
{
	static const char text[] = ALLOC(0, 01, 0x70) STACK(0, 02, "pgd_alloc")
		ALLOC(0, 03, 0x71) OTHER_TASK STACK(0, 05, "__pmd_alloc")
			STACK(0, 06, "__pud_alloc");
	static struct import in;

	import_one(test, text, &in);
	KUNIT_ASSERT_EQ(test, in.state.nr_ops, 2);
	expect_op(test, &in, 1, 1, KPB_OP_ALLOC, 0, 1, 0);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_STRAY_STACKS], 2);
}

#define HUGE(us, pfn, order)                                              \
	HEAD(0, us)                                                       \
	"mm_page_alloc: page=00000000fffffdff pfn=" #pfn " order=" #order \
	" migratetype=0 gfp_flags=GFP_KERNEL_ACCOUNT|__GFP_ZERO\n"

static void
import_pages_of_higher_order_are_tables_only_as_pgd(struct kunit *test)
{
	static struct import in;

	import_one(test,
		   HUGE(01, 0x200, 9) STACK(0, 02, "do_huge_pmd_anonymous_page")
			   HUGE(03, 0x70, 1) STACK(0, 04, "pgd_alloc"),
		   &in);
	KUNIT_ASSERT_EQ(test, in.state.nr_ops, 1);
	expect_op(test, &in, 0, 0, KPB_OP_ALLOC, 0, 3, 0);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_HIGHER_ORDERS], 1);
}

#define ITEM(us, item, caller, page) \
	HEAD(0, us)                  \
	"ptp: (f) item=" #item " delta=1 caller=" #caller "+1 page=" #page "\n"

/* do_fault() maps pages, too: what it did before the item was known. */
static void
import_events_of_other_items_that_waited_are_dropped(struct kunit *test)
{
	static const char text[] = ITEM(01, 18, do_fault, 0x40)
		ITEM(02, 37, do_fault, 0x80) ITEM(03, 37, pgd_alloc, 0xc0)
			ITEM(04, 18, do_fault, 0x40);
	static struct import in;

	import_one(test, text, &in);
	KUNIT_ASSERT_EQ(test, in.state.nr_ops, 2);
	expect_op(test, &in, 0, 0, KPB_OP_ALLOC, 0, 0, 0);
	expect_op(test, &in, 1, 1, KPB_OP_ALLOC, 0, 3, 0);
}

static void import_probe_finds_the_page_by_its_caller(struct kunit *test)
{
	static struct import in;

	import_one(
		test,
		/* waits: this caller changes other counters too */
		PROBE(0, 01, 1,
		      "caller=do_fault+0x504/0x580 x19=0x1c0 x21=0xfffffdffc00d3d40")
			PROBE(0, 02, 1,
			      "caller=pgd_alloc+0x94/0x130 x19=0xfffffdffc00d3d80 x21=0xffff0000c2569b80")
		/* not the register that is known: the only page there is */
		PROBE(0, 03, 1,
		      "caller=__pmd_alloc+0xa0 x19=0xffff0000c2569b80 x24=0xfffffdffc00d3dc0")
			PROBE(1, 04, -1,
			      "caller=pgd_free+0x118/0x130 x19=0x3c00036eedc0 x21=0xfffffdffc00d3d80")
				PROBE(1, 05, -1,
				      "caller=tlb_remove_table_rcu+0x7c/0xc0 x19=0xfffffdffc00d3d40")
		/* no page at all */
		PROBE(1, 06, -1,
		      "caller=tlb_remove_table_rcu+0x7c/0xc0 x19=0x10"),
		&in);
	KUNIT_EXPECT_EQ(test, in.state.item, 37);
	KUNIT_ASSERT_EQ(test, in.state.nr_ops, 5);
	expect_op(test, &in, 0, 0, KPB_OP_ALLOC, 0, 0, 0);
	expect_op(test, &in, 1, 1, KPB_OP_ALLOC, 0, 3, 0);
	expect_op(test, &in, 2, 2, KPB_OP_ALLOC, 0, 1, 0);
	expect_op(test, &in, 3, 1, KPB_OP_FREE, 1, 3, 0);
	expect_op(test, &in, 4, 0, KPB_OP_FREE, 1, 0, 0);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_UNRESOLVED_PAGES], 1);
}

/* More than 64 GB of RAM: struct pages on both sides of a multiple of 2^40. */
static void import_probe_knows_pages_of_large_machines(struct kunit *test)
{
	static struct import in;

	import_one(
		test,
		PROBE(0, 01, 1, "caller=pgd_alloc+0x94 x19=0xfffffdffc00d3d40")
			PROBE(0, 02, 1,
			      "caller=__pud_alloc+0x98 x19=0xfffffe0000000040")
				PROBE(0, 03, 1,
				      "caller=__pud_alloc+0x98 x19=0xffffc1ffc0000000"),
		&in);
	KUNIT_EXPECT_EQ(test, in.state.nr_ops, 2);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_UNRESOLVED_PAGES], 1);
	/* 4K pages and 52-bit addresses: not VMEMMAP_START itself */
	import_one(test,
		   PROBE(0, 01, 1,
			 "caller=pgd_alloc+0x94 x19=0xffffc1ffc0000000")
			   PROBE(0, 02, 1,
				 "caller=pgd_alloc+0x94 x19=0xffffc1ffc0000040"),
		   &in);
	KUNIT_EXPECT_EQ(test, in.state.nr_ops, 1);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_UNRESOLVED_PAGES], 1);
}

static void import_contradictions_are_counted_and_repaired(struct kunit *test)
{
	static struct import in;

	import_one(test,
		   "ts_ns,cpu,op,level,pfn\n"
		   "10,0,alloc,PTE,7\n"
		   "20,1,alloc,PMD,7\n"	 /* a free was missed */
		   "30,0,free,PUD,7\n"	 /* of another level */
		   "40,0,free,PMD,7\n"	 /* freed twice */
		   "35,1,free,PRE,9\n"	 /* before another CPU's event */
		   "30,1,alloc,PTE,9\n", /* before its own CPU's */
		   &in);
	KUNIT_ASSERT_EQ(test, in.state.nr_ops, 7);
	KUNIT_EXPECT_EQ(test, in.state.nr_pre, 1);
	expect_op(test, &in, 0, 0, KPB_OP_ALLOC, 0, 0, 0);
	expect_op(test, &in, 1, 1, KPB_OP_ALLOC, 0, 0, 0);
	expect_op(test, &in, 2, 1, KPB_OP_FREE, 1, 0, 0);
	expect_op(test, &in, 3, 1, KPB_OP_ALLOC, 1, 1, 0);
	expect_op(test, &in, 4, 1, KPB_OP_FREE, 0, 1, 0);
	expect_op(test, &in, 5, 0, KPB_OP_FREE, 1, 0, 0);
	expect_op(test, &in, 6, 0, KPB_OP_ALLOC, 1, 0, 0);
	KUNIT_EXPECT_EQ(test, in.ts_ns[0], 10);
	KUNIT_EXPECT_EQ(test, in.ts_ns[5], 40);
	KUNIT_EXPECT_EQ(test, in.ts_ns[6], 40);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_DOUBLE_ALLOCS], 1);
	KUNIT_EXPECT_EQ(test, in.state.first_line[KPB_IMPORT_DOUBLE_ALLOCS], 3);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_LEVEL_MISMATCHES], 1);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_UNKNOWN_FREES], 1);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_PRE_FREES], 1);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_CPU_DISORDER], 1);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_CLOCK_STEPS], 1);
}

static void import_lost_events_are_added_up(struct kunit *test)
{
	static struct import in;

	import_one(test,
		   "CPU:1 [LOST 12 EVENTS]\n" ALLOC(0, 01, 0x70) STACK(
			   0, 02,
			   "pgd_alloc") "CPU:0 [3 EVENTS DROPPED]\n"
					"CPU:0 [LOST EVENTS]\n"
					"# entries-in-buffer/entries-written: 9/20   #P:2\n",
		   &in);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_LOST_EVENTS], 16);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_OVERWRITTEN_EVENTS],
			11);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_MISSING_ENTRIES], 9);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_UNPARSED_LINES], 0);
}

/* A stack behind a gap is of an alloc that was lost, not of the one before. */
static void import_stack_after_lost_events_belongs_to_nobody(struct kunit *test)
{
	static struct import in;

	import_one(test,
		   ALLOC(0, 01, 0x70) STACK(0, 02, "pgd_alloc")
			   ALLOC(1, 03, 0x71) "CPU:1 [LOST 2 EVENTS]\n" STACK(
				   1, 04, "__pte_alloc"),
		   &in);
	KUNIT_EXPECT_EQ(test, in.state.nr_ops, 1);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_MISSING_STACKS], 1);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_STRAY_STACKS], 1);
}

static void import_line_without_end_is_refused(struct kunit *test)
{
	static char text[KPB_IMPORT_MAX_LINE];
	struct kpb_import *imp = import_open(test, 1, KPB_IMPORT_AUTO);
	struct kpb_import_state state;

	memset(text, 'x', sizeof(text));
	KUNIT_EXPECT_EQ(test, kpb_import_begin(imp, 0), 0);
	KUNIT_EXPECT_EQ(test, kpb_import_feed(imp, 0, text, sizeof(text)), 0);
	KUNIT_EXPECT_EQ(test, kpb_import_feed(imp, 0, text, 1), -EINVAL);
	KUNIT_EXPECT_CONTAINS(test, kpb_import_message(imp),
			      "a line of more than 65536 bytes");
	kpb_import_state(imp, &state);
	KUNIT_EXPECT_EQ(test, state.line, 1);
	/* and stays so */
	KUNIT_EXPECT_EQ(test, kpb_import_feed(imp, 0, "\n", 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, kpb_import_finish(imp), -EINVAL);
}

static void
import_more_operations_than_the_limit_are_refused(struct kunit *test)
{
	struct kpb_import *imp = import_open(test, 1, KPB_IMPORT_AUTO);
	char line[64];
	int i, ret;

	KUNIT_ASSERT_EQ(test, kpb_import_begin(imp, 0), 0);
	ret = kpb_import_feed(imp, 0, "ts_ns,cpu,op,level,pfn\n", 23);
	for (i = 0; !ret && i <= MAX_OPS; i++) {
		int len = snprintf(line, sizeof(line), "%d,0,alloc,PTE,%d\n", i,
				   i);

		ret = kpb_import_feed(imp, 0, line, (uint64_t)len);
	}
	KUNIT_EXPECT_EQ(test, i, MAX_OPS + 1);
	KUNIT_EXPECT_EQ(test, ret, -E2BIG);
	KUNIT_EXPECT_CONTAINS(test, kpb_import_message(imp),
			      "more than 64 operations");
}

static void import_sources_are_merged_by_time(struct kunit *test)
{
	static const char *const texts[] = {
		"ts_ns,cpu,op,level,pfn\n10,0,alloc,PTE,1\n40,0,free,PTE,2\n",
		"ts_ns,cpu,op,level,pfn\n20,1,alloc,PMD,2\n30,1,free,PTE,1\n",
	};
	static struct import in;
	size_t at[2] = { 0, 0 };
	int64_t source;
	int i;

	in.imp = import_open(test, 2, KPB_IMPORT_AUTO);
	for (i = 0; i < 2; i++)
		KUNIT_ASSERT_EQ(test, kpb_import_begin(in.imp, (uint32_t)i), 0);
	/* a byte at a time: only what is asked for */
	while ((source = kpb_import_next(in.imp)) >= 0) {
		const char *next = texts[source] + at[source]++;

		if (*next)
			KUNIT_ASSERT_EQ(test,
					kpb_import_feed(in.imp,
							(uint32_t)source, next,
							1),
					0);
		else
			KUNIT_ASSERT_EQ(test,
					kpb_import_end(in.imp,
						       (uint32_t)source),
					0);
	}
	import_result(test, &in);
	KUNIT_ASSERT_EQ(test, in.state.nr_ops, 4);
	expect_op(test, &in, 0, 0, KPB_OP_ALLOC, 0, 0, 0);
	expect_op(test, &in, 1, 1, KPB_OP_ALLOC, 1, 1, 0);
	expect_op(test, &in, 2, 0, KPB_OP_FREE, 1, 0, 0);
	expect_op(test, &in, 3, 1, KPB_OP_FREE, 0, 1, 0);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_CPU_DISORDER], 0);
	KUNIT_EXPECT_EQ(test, in.state.count[KPB_IMPORT_LEVEL_MISMATCHES], 1);
}

/* The file that tells the item comes after the one that needs it. */
static void import_merged_file_that_ended_waits_for_the_item(struct kunit *test)
{
	static const char first[] = ITEM(01, 18, do_fault, 0x40)
		ITEM(02, 37, do_fault, 0x80);
	static const char second[] = ITEM(03, 37, pgd_alloc, 0xc0);
	static struct import in;

	in.imp = import_open(test, 2, KPB_IMPORT_AUTO);
	KUNIT_ASSERT_EQ(test, import_text(in.imp, 0, first, 99), 0);
	KUNIT_ASSERT_EQ(test, import_text(in.imp, 1, second, 99), 0);
	import_result(test, &in);
	KUNIT_ASSERT_EQ(test, in.state.nr_ops, 2);
	expect_op(test, &in, 0, 0, KPB_OP_ALLOC, 0, 0, 0);
	expect_op(test, &in, 1, 1, KPB_OP_ALLOC, 0, 3, 0);
}

static void import_calls_out_of_order_are_refused(struct kunit *test)
{
	struct kpb_import *imp = import_open(test, 1, KPB_IMPORT_AUTO);
	static char big[KPB_IMPORT_MAX_FEED + 1];
	struct kpb_op op;
	int64_t ts_ns;

	KUNIT_EXPECT_EQ(test, kpb_import_feed(imp, 0, "x\n", 2), -EINVAL);
	KUNIT_EXPECT_EQ(test, kpb_import_end(imp, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, kpb_import_begin(imp, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, kpb_import_begin(imp, 0), 0);
	KUNIT_EXPECT_EQ(test, kpb_import_begin(imp, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, kpb_import_feed(imp, 0, big, sizeof(big)),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kpb_import_finish(imp), -EINVAL);
	KUNIT_EXPECT_EQ(test, kpb_import_take(imp, &ts_ns, &op, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, kpb_import_next(imp), 0);
}

static void
import_functions_are_found_with_what_stands_behind(struct kunit *test)
{
	static const struct {
		const char *text;
		const char *name;
	} cases[] = {
		{ "pgd_alloc+0x94/0x130", "pgd_alloc" },
		{ "alloc_pages_noprof", "alloc_pages" },
		{ "__pte_alloc.isra.0+0x10", "__pte_alloc" },
		{ "do_fault (ffff8000803f0a18)", "do_fault" },
		{ "alloc_pages_mpol_noprof.constprop.0", "alloc_pages_mpol" },
		{ "", NULL },
		{ "+0x10", NULL },
		{ "_noprof", NULL },
		{ "my_pgd_alloc", NULL },
		{ "pgd_alloc_x", NULL },
		{ "0xffff800080123456", NULL },
	};
	static const char zeros[] = "pgd_alloc\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
	size_t i;

	for (i = 10; i < sizeof(zeros); i++)
		KUNIT_EXPECT_NULL(test, kpb_import_fn(zeros, i));
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct kpb_import_fn *fn =
			kpb_import_fn(cases[i].text, strlen(cases[i].text));

		KUNIT_EXPECT_STREQ(test, fn ? fn->name : "",
				   cases[i].name ? cases[i].name : "");
	}
}

static void renumber_gives_lowest_free_slots(struct kunit *test)
{
	struct kpb_op ops[] = {
		{ .slot = 900, .kind = KPB_OP_ALLOC },
		{ .slot = 5, .kind = KPB_OP_ALLOC },
		{ .slot = 900, .kind = KPB_OP_FREE },
		{ .slot = 77, .kind = KPB_OP_ALLOC },
		{ .slot = 5, .kind = KPB_OP_FREE },
		{ .slot = 77, .kind = KPB_OP_FREE },
	};
	static const uint32_t expected[] = { 0, 1, 0, 0, 1, 0 };
	size_t i;

	KUNIT_EXPECT_EQ(test, kpb_import_renumber(ops, 6, 901), 0);
	for (i = 0; i < 6; i++)
		KUNIT_EXPECT_EQ(test, ops[i].slot, expected[i]);
}

static void renumber_refuses_what_cannot_be_replayed(struct kunit *test)
{
	struct kpb_op twice[] = { { .kind = KPB_OP_ALLOC },
				  { .kind = KPB_OP_ALLOC } };
	struct kpb_op empty[] = { { .kind = KPB_OP_FREE } };
	struct kpb_op pin[] = { { .kind = KPB_OP_PIN } };

	KUNIT_EXPECT_EQ(test, kpb_import_renumber(twice, 2, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, kpb_import_renumber(empty, 1, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, kpb_import_renumber(pin, 1, 1), -EINVAL);
	twice[0].slot = 3;
	KUNIT_EXPECT_EQ(test, kpb_import_renumber(twice, 1, 3), -EINVAL);
	KUNIT_EXPECT_EQ(test, kpb_import_renumber(twice, 0, 0), -EINVAL);
}

static const struct kunit_case import_cases[] = {
	KUNIT_CASE(import_counts_have_names),
	KUNIT_CASE(import_options_out_of_range_are_refused),
	KUNIT_CASE(import_kmem_takes_levels_from_stacks),
	KUNIT_CASE(import_in_any_pieces_is_the_same),
	KUNIT_CASE(import_kmem_without_stacks_says_so),
	KUNIT_CASE(import_kmem_page_for_somebody_else_frees_the_table),
	KUNIT_CASE(import_probe_of_unknown_callers_before_the_item_is_counted),
	KUNIT_CASE(import_stack_of_another_task_belongs_to_nobody),
	KUNIT_CASE(import_pages_of_higher_order_are_tables_only_as_pgd),
	KUNIT_CASE(import_events_of_other_items_that_waited_are_dropped),
	KUNIT_CASE(import_probe_finds_the_page_by_its_caller),
	KUNIT_CASE(import_probe_knows_pages_of_large_machines),
	KUNIT_CASE(import_contradictions_are_counted_and_repaired),
	KUNIT_CASE(import_lost_events_are_added_up),
	KUNIT_CASE(import_stack_after_lost_events_belongs_to_nobody),
	KUNIT_CASE(import_line_without_end_is_refused),
	KUNIT_CASE(import_more_operations_than_the_limit_are_refused),
	KUNIT_CASE(import_sources_are_merged_by_time),
	KUNIT_CASE(import_merged_file_that_ended_waits_for_the_item),
	KUNIT_CASE(import_calls_out_of_order_are_refused),
	KUNIT_CASE(import_functions_are_found_with_what_stands_behind),
	KUNIT_CASE(renumber_gives_lowest_free_slots),
	KUNIT_CASE(renumber_refuses_what_cannot_be_replayed),
	{ 0 },
};

static struct kunit_suite import_suite = {
	.name = "import",
	.test_cases = import_cases,
};
kunit_test_suite(import_suite);
