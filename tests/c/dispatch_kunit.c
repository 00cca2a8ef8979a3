// SPDX-License-Identifier: GPL-2.0-only
/*
 * Between the mirrors and the laboratory (csrc/lab/dispatch.c): refills are
 * counted from outside, warnings are kept by site, a machine can stop.
 */

#include "box.h"

#include <stdio.h>

static struct kpb_machine *dispatch_machine(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);

	return box_create(test, &config);
}

static void dispatch_counts_refills_by_order(struct kunit *test)
{
	struct kpb_machine *m = dispatch_machine(test);
	struct page *block, *page;

	block = alloc_pages(GFP_KERNEL, 3);
	KUNIT_EXPECT_EQ(test, m->nr_held, 8);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 1);
	KUNIT_EXPECT_EQ(test, m->counters.refills_order[3], 1);
	KUNIT_EXPECT_EQ(test, m->counters.refilled_pages, 8);
	/* a single page is a refill of PBA as well */
	page = alloc_page(GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, m->nr_held, 9);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 2);
	KUNIT_EXPECT_EQ(test, m->counters.refills_order[0], 1);
	KUNIT_EXPECT_EQ(test, m->counters.refilled_pages, 9);
	__free_page(page);
	__free_pages(block, 3);
	KUNIT_EXPECT_EQ(test, m->nr_held, 0);
	KUNIT_EXPECT_EQ(test, m->counters.released_pages, 9);
	BOX_EXPECT_CLEAN(test);
}

/*
 * Of a free page the same bits are its order: those of orders 4 to 7 must stay
 * when a region without the pkey is written off as one that will never have it.
 */
static void dispatch_landing_leaves_free_pages_alone(struct kunit *test)
{
	struct kpb_machine *m = dispatch_machine(test);
	struct page *below = alloc_pages(GFP_KERNEL, 5);
	struct page *page = alloc_pages(GFP_KERNEL, 4);

	KUNIT_ASSERT_TRUE(test, below && page > below);
	__free_pages(below, 5);
	kpb_note_landed(page_to_pfn(below), 32);
	KUNIT_EXPECT_EQ(test, m->nr_in_flight, 16);
	box_expect_buddy_clean(test);
	kpb_note_landed(m->zone.zone_start_pfn,
			m->zone.zone_end_pfn - m->zone.zone_start_pfn);
	KUNIT_EXPECT_EQ(test, m->nr_in_flight, 0);
	box_expect_buddy_clean(test);
}

/* One page is what noblock does: fetched, but no refill, failed or not. */
static void dispatch_counts_no_refill_for_noblock(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);

	KUNIT_EXPECT_NOT_NULL(test, alloc_page(GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, m->counters.refills, 0);
	KUNIT_EXPECT_EQ(test, m->counters.refills_order[0], 1);
	box_drain();
	m->op_events = 0;
	KUNIT_EXPECT_NULL(test, alloc_page(GFP_KERNEL));
	KUNIT_EXPECT_TRUE(test, m->op_events & KPB_EV_REFILL_FAILED);
}

/* A refill fell back if an attempt before it, in the same operation, failed. */
static void dispatch_counts_fallbacks(struct kunit *test)
{
	struct kpb_machine *m = dispatch_machine(test);
	unsigned long p = box_block_pfn(1);

	box_drain();
	box_free(p, 3);
	m->op_events = 0;
	KUNIT_EXPECT_NULL(test, alloc_pages(GFP_KERNEL, 5));
	KUNIT_EXPECT_NULL(test, alloc_pages(GFP_KERNEL, 4));
	KUNIT_EXPECT_NOT_NULL(test, alloc_pages(GFP_KERNEL, 2));
	KUNIT_EXPECT_EQ(test, m->counters.refill_fallbacks, 1);
	KUNIT_EXPECT_FALSE(test, m->op_events & KPB_EV_REFILL_FAILED);
	KUNIT_EXPECT_NOT_NULL(test, alloc_pages(GFP_KERNEL, 2));
	KUNIT_EXPECT_EQ(test, m->counters.refill_fallbacks, 1);
	/* what fails to the end stays an event of the operation */
	KUNIT_EXPECT_NULL(test, alloc_pages(GFP_KERNEL, 2));
	KUNIT_EXPECT_TRUE(test, m->op_events & KPB_EV_REFILL_FAILED);
}

static void dispatch_keeps_warnings_by_site(struct kunit *test)
{
	struct kpb_machine *m = dispatch_machine(test);
	struct kpb_warning warnings[4];
	int i;

	KUNIT_EXPECT_EQ(test, box_granule.warnings(warnings, 4), 0);
	for (i = 0; i < 3; i++)
		kpb_warn("/some/where/csrc/mm/a.c", 10, "first");
	kpb_warn("/some/where/csrc/mm/a.c", 11, "second");
	kpb_warn("/some/where/csrc/mm/b.c", 10, "third");
	kpb_warn("elsewhere.c", 10, "fourth");
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 6);
	KUNIT_EXPECT_EQ(test, box_granule.warnings(warnings, 4), 4);
	/* the path begins below csrc/, wherever that is */
	KUNIT_EXPECT_STREQ(test, warnings[0].file, "mm/a.c");
	KUNIT_EXPECT_STREQ(test, warnings[0].what, "first");
	KUNIT_EXPECT_EQ(test, warnings[0].line, 10);
	KUNIT_EXPECT_EQ(test, warnings[0].count, 3);
	KUNIT_EXPECT_STREQ(test, warnings[1].what, "second");
	KUNIT_EXPECT_EQ(test, warnings[1].count, 1);
	KUNIT_EXPECT_STREQ(test, warnings[2].file, "mm/b.c");
	KUNIT_EXPECT_STREQ(test, warnings[3].file, "elsewhere.c");
	/* a short array gets what fits, and the number there is */
	memset(warnings, 0, sizeof(warnings));
	KUNIT_EXPECT_EQ(test, box_granule.warnings(warnings, 1), 4);
	KUNIT_EXPECT_EQ(test, warnings[0].count, 3);
	KUNIT_EXPECT_EQ(test, warnings[1].count, 0);
	KUNIT_EXPECT_EQ(test, box_granule.warnings(warnings, 0), 4);
}

/* However the compiler was called, a path is that below csrc/. */
static void dispatch_shortens_paths(struct kunit *test)
{
	static const char *const paths[][2] = {
		{ "csrc/mm/a.c", "mm/a.c" },
		{ "/some/where/csrc/mm/a.c", "mm/a.c" },
		{ "csrc/allocators/../mm/a.c", "mm/a.c" },
		{ "../../csrc/mm/a.c", "mm/a.c" },
		{ "../../csrc/allocators/../mm/a.c", "mm/a.c" },
		{ "a.c", "a.c" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(paths); i++)
		KUNIT_EXPECT_STREQ(test, kpb_short_file(paths[i][0]),
				   paths[i][1]);
}

static void dispatch_survives_too_many_warning_sites(struct kunit *test)
{
	struct kpb_machine *m = dispatch_machine(test);
	char what[200];
	int i;

	memset(what, 'x', sizeof(what) - 1);
	what[sizeof(what) - 1] = '\0';
	for (i = 0; i < KPB_NR_WARN_SITES + 10; i++)
		kpb_warn("csrc/a.c", i + 1, what);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, KPB_NR_WARN_SITES + 10);
	KUNIT_EXPECT_EQ(test, m->nr_warn_sites, KPB_NR_WARN_SITES);
	KUNIT_EXPECT_EQ(test, strlen(m->warnings[0].what),
			sizeof(m->warnings[0].what) - 1);
	/* those that are known are still counted */
	kpb_warn("csrc/a.c", 1, what);
	KUNIT_EXPECT_EQ(test, m->warnings[0].count, 2);
}

/* WARN_ON() says where it stands and what was wrong, and yields it. */
static void dispatch_warn_on_is_counted(struct kunit *test)
{
	struct kpb_machine *m = dispatch_machine(test);
	int one = 1;

	KUNIT_EXPECT_FALSE(test, WARN_ON(one == 2));
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	KUNIT_EXPECT_TRUE(test, WARN_ON(one == 1));
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 1);
	KUNIT_EXPECT_STREQ(test, m->warnings[0].what, "one == 1");
	KUNIT_EXPECT_CONTAINS(test, m->warnings[0].file, "dispatch_kunit.c");
	/* every hit is counted, also where the kernel prints one */
	for (one = 0; one < 3; one++)
		WARN_ON_ONCE(one >= 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 4);
}

static void dispatch_stop_leaves_with_a_reason(struct kunit *test)
{
	struct kpb_machine *m = dispatch_machine(test);
	char expected[64];

	m->nr_ops = 12;
	m->replay_start = 5;
	snprintf(expected, sizeof(expected), "what happened (lab/some.c:7)");
	BOX_EXPECT_STOP(test, kpb_stop("x/csrc/lab/some.c", 7, "what happened"),
			expected);
	KUNIT_EXPECT_STREQ(test, m->border.msg, expected);
	/* the operation at which it stopped, counted in this replay */
	KUNIT_EXPECT_EQ(test, m->border.failed_op, 7);
}

/* A page that the allocator does not hold, or that it left marks on. */
static void dispatch_notices_bad_frees(struct kunit *test)
{
	struct kpb_machine *m = dispatch_machine(test);
	struct page *page = alloc_page(GFP_KERNEL);

	BOX_EXPECT_WARNINGS(test, 0, __free_page(page));
	page = alloc_page(GFP_KERNEL);
	page->mapping = page;
	BOX_EXPECT_WARNINGS(test, 1, __free_page(page));
	KUNIT_EXPECT_CONTAINS(test, m->warnings[0].what, "bad page state");
	BOX_EXPECT_STOP(test, __free_page(page), "not the allocator's");
}

/* min() and the like are no functions, and yet look at each argument once. */
static void dispatch_min_evaluates_once(struct kunit *test)
{
	int a = 1, b = 5;

	KUNIT_EXPECT_EQ(test, min(a++, b++), 1);
	KUNIT_EXPECT_EQ(test, max(a++, b++), 6);
	KUNIT_EXPECT_EQ(test, a, 3);
	KUNIT_EXPECT_EQ(test, b, 7);
	KUNIT_EXPECT_EQ(test, clamp(min(9, b), max(a, 2), 4), 4);
	KUNIT_EXPECT_EQ(test, min_t(u8, 257, 3), 1);
}

static const struct kunit_case dispatch_test_cases[] = {
	KUNIT_CASE(dispatch_counts_refills_by_order),
	KUNIT_CASE(dispatch_landing_leaves_free_pages_alone),
	KUNIT_CASE(dispatch_counts_no_refill_for_noblock),
	KUNIT_CASE(dispatch_counts_fallbacks),
	KUNIT_CASE(dispatch_keeps_warnings_by_site),
	KUNIT_CASE(dispatch_shortens_paths),
	KUNIT_CASE(dispatch_survives_too_many_warning_sites),
	KUNIT_CASE(dispatch_warn_on_is_counted),
	KUNIT_CASE(dispatch_stop_leaves_with_a_reason),
	KUNIT_CASE(dispatch_notices_bad_frees),
	KUNIT_CASE(dispatch_min_evaluates_once),
	{ 0 }
};

static struct kunit_suite dispatch_test_suite = {
	.name = BOX_SUITE("dispatch"),
	.test_cases = dispatch_test_cases,
};
kunit_test_suite(dispatch_test_suite);
