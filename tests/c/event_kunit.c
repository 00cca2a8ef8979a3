// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happened, in order (csrc/lab/event.c), and lines that were logged
 * (csrc/lab/dispatch.c).
 */

#include "box.h"

static struct kpb_machine *event_machine(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);

	KUNIT_ASSERT_EQ(test, box_granule.set_slots(16), 0);
	return m;
}

static void event_nothing_unless_asked(struct kunit *test)
{
	struct kpb_machine *m = event_machine(test);
	u64 digest = 1;

	box_op(KPB_OP_ALLOC, 0, 0, 1);
	KUNIT_EXPECT_EQ(test, m->recorder.nr, 0);
	KUNIT_EXPECT_EQ(test, box_granule.events(NULL, 0), 0);
	box_granule.digest(&digest);
	KUNIT_EXPECT_EQ(test, digest, 0);
}

static void event_order_is_that_of_what_happened(struct kunit *test)
{
	struct kpb_machine *m = event_machine(test);
	struct kpb_event ev[8];
	unsigned long pfn;
	struct page *page;

	KUNIT_ASSERT_EQ(test, box_granule.record(16), 0);
	page = alloc_pages(GFP_KERNEL, 3);
	pfn = page_to_pfn(page);
	__free_pages(page, 3);
	kpb_warn("a.c", 1, "x");
	KUNIT_EXPECT_EQ(test, box_granule.events(NULL, 0), 3);
	KUNIT_EXPECT_EQ(test, box_granule.events(ev, 8), 3);
	KUNIT_EXPECT_EQ(test, ev[0].kind, KPB_EVENT_REFILL);
	KUNIT_EXPECT_EQ(test, ev[0].a, pfn);
	KUNIT_EXPECT_EQ(test, ev[0].b, 3);
	KUNIT_EXPECT_EQ(test, ev[0].op, m->nr_ops);
	KUNIT_EXPECT_EQ(test, ev[1].kind, KPB_EVENT_RELEASE);
	KUNIT_EXPECT_EQ(test, ev[1].a, pfn);
	KUNIT_EXPECT_EQ(test, ev[2].kind, KPB_EVENT_WARN);
	/* read once */
	KUNIT_EXPECT_EQ(test, box_granule.events(ev, 8), 0);
}

static void event_ring_keeps_the_last(struct kunit *test)
{
	struct kpb_event ev[8];
	u64 i;

	event_machine(test);
	KUNIT_ASSERT_EQ(test, box_granule.record(4), 0);
	for (i = 0; i < 10; i++)
		kpb_event(KPB_EVENT_ZERO, i, 0, 0);
	KUNIT_EXPECT_EQ(test, box_granule.events(ev, 2), 2);
	KUNIT_EXPECT_EQ(test, ev[0].a, 6);
	KUNIT_EXPECT_EQ(test, ev[1].a, 7);
	KUNIT_EXPECT_EQ(test, box_granule.events(ev, 8), 2);
	KUNIT_EXPECT_EQ(test, ev[1].a, 9);
}

static u64 event_digest_of(struct kunit *test, u64 a, u32 b,
			   enum kpb_event_kind kind)
{
	u64 digest;

	KUNIT_ASSERT_EQ(test, box_granule.record(0), 0);
	kpb_event(KPB_EVENT_ZERO, 5, 6, 7);
	kpb_event(kind, a, b, 0);
	box_granule.digest(&digest);
	return digest;
}

static void event_digest_tells_events_apart(struct kunit *test)
{
	u64 digest;

	event_machine(test);
	digest = event_digest_of(test, 1, 2, KPB_EVENT_REFILL);
	KUNIT_EXPECT_EQ(test, event_digest_of(test, 1, 2, KPB_EVENT_REFILL),
			digest);
	KUNIT_EXPECT_NE(test, event_digest_of(test, 2, 2, KPB_EVENT_REFILL),
			digest);
	KUNIT_EXPECT_NE(test, event_digest_of(test, 1, 3, KPB_EVENT_REFILL),
			digest);
	KUNIT_EXPECT_NE(test, event_digest_of(test, 1, 2, KPB_EVENT_RELEASE),
			digest);
	/* where it was written is the allocator's own affair */
	digest = event_digest_of(test, 1, 0, KPB_EVENT_WARN);
	KUNIT_EXPECT_EQ(test, event_digest_of(test, 2, 0, KPB_EVENT_WARN),
			digest);
	digest = event_digest_of(test, 1, 0, KPB_EVENT_LOG);
	KUNIT_ASSERT_EQ(test, box_granule.record(0), 0);
	kpb_event(KPB_EVENT_ZERO, 5, 6, 7);
	KUNIT_EXPECT_EQ(test, kpb_this->recorder.digest, digest);
}

/* The frame that an operation got is part of it, though it is no event. */
static void event_digest_covers_frames(struct kunit *test)
{
	u64 first, second;

	event_machine(test);
	KUNIT_ASSERT_EQ(test, box_granule.record(0), 0);
	box_op(KPB_OP_ALLOC, 0, 0, 1);
	box_op(KPB_OP_FREE, 0, 0, 1);
	first = kpb_this->recorder.digest;
	KUNIT_ASSERT_EQ(test, box_granule.record(0), 0);
	/* the same page again, by the same path */
	box_op(KPB_OP_ALLOC, 0, 0, 1);
	box_op(KPB_OP_FREE, 0, 0, 1);
	KUNIT_EXPECT_EQ(test, kpb_this->recorder.digest, first);
	box_op(KPB_OP_ALLOC, 0, 0, 1);
	KUNIT_ASSERT_EQ(test, box_granule.record(0), 0);
	/* another one */
	box_op(KPB_OP_ALLOC, 1, 0, 1);
	box_op(KPB_OP_FREE, 1, 0, 1);
	second = kpb_this->recorder.digest;
	KUNIT_EXPECT_NE(test, second, first);
}

static void event_refuses_too_long_a_ring(struct kunit *test)
{
	event_machine(test);
	KUNIT_EXPECT_EQ(test, box_granule.record((1ULL << 32) + 1), -EINVAL);
}

static void event_log_knows_the_conversions(struct kunit *test)
{
	static char log[KPB_LOG_LINES][KPB_LOG_BYTES];
	phys_addr_t phys = 0x40000000;
	gfp_t gfp = GFP_KERNEL;
	const char *name = "pba";

	event_machine(test);
	pr_warn("at %pa with %pGg\n", &phys, &gfp);
	pr_info("%s: %lu of %#x, %d, %5u%%|%llx|%c\n", name, 512UL, 0x10, -3,
		42u, 0x123456789aULL, 'x');
	pr_debug("never %d\n", 1);
	KUNIT_EXPECT_EQ(test, box_granule.log(log[0]), 2);
	KUNIT_EXPECT_STREQ(test, log[0],
			   "warning: at 0x0000000040000000 with 0xcc0");
	KUNIT_EXPECT_STREQ(test, log[1],
			   "info: pba: 512 of 0x10, -3,    42%|123456789a|x");
	KUNIT_EXPECT_EQ(test, kpb_this->counters.log_lines, 2);
}

static void event_log_keeps_the_last_lines(struct kunit *test)
{
	static char log[KPB_LOG_LINES][KPB_LOG_BYTES];
	char longer[KPB_LOG_BYTES + 40];
	int i;

	event_machine(test);
	for (i = 0; i < KPB_LOG_LINES + 3; i++)
		pr_info("line %d", i);
	KUNIT_EXPECT_EQ(test, box_granule.log(log[0]), KPB_LOG_LINES);
	KUNIT_EXPECT_STREQ(test, log[0], "info: line 3");
	KUNIT_EXPECT_STREQ(test, log[KPB_LOG_LINES - 1], "info: line 66");
	/* a long one is cut */
	memset(longer, 'a', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	pr_err("%s", longer);
	box_granule.log(log[0]);
	KUNIT_EXPECT_EQ(test, strlen(log[KPB_LOG_LINES - 1]),
			KPB_LOG_BYTES - 1);
}

static const struct kunit_case event_test_cases[] = {
	KUNIT_CASE(event_nothing_unless_asked),
	KUNIT_CASE(event_order_is_that_of_what_happened),
	KUNIT_CASE(event_ring_keeps_the_last),
	KUNIT_CASE(event_digest_tells_events_apart),
	KUNIT_CASE(event_digest_covers_frames),
	KUNIT_CASE(event_refuses_too_long_a_ring),
	KUNIT_CASE(event_log_knows_the_conversions),
	KUNIT_CASE(event_log_keeps_the_last_lines),
	{ 0 }
};

static struct kunit_suite event_test_suite = {
	.name = BOX_SUITE("event"),
	.test_cases = event_test_cases,
};
kunit_test_suite(event_test_suite);
