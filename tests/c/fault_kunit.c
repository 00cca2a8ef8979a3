// SPDX-License-Identifier: GPL-2.0-only
/*
 * Injected faults (csrc/lab/fault.c): the call that was asked for fails, and
 * no other; what follows from it is for the suites of those who are hit.
 */

#include "box.h"

static struct kpb_machine *fault_machine(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_SMALL_BYTES);

	KUNIT_ASSERT_EQ(test, box_granule.set_slots(64), 0);
	return m;
}

static int fault_set(u32 point, u32 mode, u64 n)
{
	const struct kpb_fault fault = {
		.mode = mode,
		.n = n,
		.seed = 7,
		.pkey = -1,
	};

	return box_granule.set_fault(point, &fault);
}

/* Which of the next 10 charges fail: a bit for each. */
static unsigned int fault_charges(void)
{
	struct page *page = pfn_to_page(box_start_pfn());
	unsigned int failed = 0, i;

	for (i = 0; i < 10; i++) {
		if (memcg_kmem_charge_page(page, GFP_KERNEL, 0))
			failed |= 1u << i;
		else
			memcg_kmem_uncharge_page(page, 0);
	}
	return failed;
}

static void fault_nth_call_fails_once(struct kunit *test)
{
	struct kpb_machine *m = fault_machine(test);

	KUNIT_EXPECT_EQ(test, fault_charges(), 0);
	KUNIT_EXPECT_EQ(test, fault_set(KPB_POINT_CHARGE, KPB_FAULT_NTH, 3), 0);
	KUNIT_EXPECT_EQ(test, fault_charges(), 1u << 2);
	KUNIT_EXPECT_EQ(test, fault_charges(), 0);
	KUNIT_EXPECT_EQ(test, m->counters.faults_injected, 1);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_failures, 1);
	/* set again, it counts from there */
	KUNIT_EXPECT_EQ(test, fault_set(KPB_POINT_CHARGE, KPB_FAULT_NTH, 1), 0);
	KUNIT_EXPECT_EQ(test, fault_charges(), 1u << 0);
}

static void fault_every_nth_call_fails(struct kunit *test)
{
	fault_machine(test);
	fault_set(KPB_POINT_CHARGE, KPB_FAULT_EVERY, 4);
	/* calls 4 and 8, then 12, 16 and 20 */
	KUNIT_EXPECT_EQ(test, fault_charges(), 1u << 3 | 1u << 7);
	KUNIT_EXPECT_EQ(test, fault_charges(), 1u << 1 | 1u << 5 | 1u << 9);
	fault_set(KPB_POINT_CHARGE, KPB_FAULT_OFF, 0);
	KUNIT_EXPECT_EQ(test, fault_charges(), 0);
}

static void fault_share_is_seeded(struct kunit *test)
{
	unsigned int first, other, nr = 0, i;

	fault_machine(test);
	fault_set(KPB_POINT_CHARGE, KPB_FAULT_SHARE, 500000);
	first = fault_charges();
	other = fault_charges();
	fault_set(KPB_POINT_CHARGE, KPB_FAULT_SHARE, 500000);
	KUNIT_EXPECT_EQ(test, fault_charges(), first);
	KUNIT_EXPECT_EQ(test, fault_charges(), other);
	KUNIT_EXPECT_NE(test, first, other);
	/* a quarter of 4,000 calls, within five standard deviations */
	fault_set(KPB_POINT_CHARGE, KPB_FAULT_SHARE, 250000);
	for (i = 0; i < 400; i++)
		nr += (unsigned int)__builtin_popcount(fault_charges());
	KUNIT_EXPECT_GT(test, nr, 1000 - 137);
	KUNIT_EXPECT_LT(test, nr, 1000 + 137);
}

/* The first two draws of the stream with seed 7, computed elsewhere. */
static void fault_share_follows_its_rule(struct kunit *test)
{
	struct kpb_rng rng = { 7 };
	u64 first = kpb_rng_next(&rng) % 1000000;
	u64 second = kpb_rng_next(&rng) % 1000000;

	fault_machine(test);
	KUNIT_EXPECT_EQ(test, first, 374487);
	KUNIT_EXPECT_EQ(test, second, 955804);
	fault_set(KPB_POINT_CHARGE, KPB_FAULT_SHARE, first + 1);
	KUNIT_EXPECT_TRUE(test, fault_charges() & 1);
	fault_set(KPB_POINT_CHARGE, KPB_FAULT_SHARE, first);
	KUNIT_EXPECT_FALSE(test, fault_charges() & 1);
	fault_set(KPB_POINT_CHARGE, KPB_FAULT_SHARE, second + 1);
	KUNIT_EXPECT_TRUE(test, fault_charges() & 2);
}

/* Only orders of the mask count as calls; nobody but the allocator is hit. */
static void fault_of_pages_goes_by_order(struct kunit *test)
{
	const struct kpb_fault fault = {
		.mode = KPB_FAULT_EVERY,
		.n = 1,
		.orders = 1u << 3 | 1u << 5,
		.pkey = -1,
	};
	struct kpb_machine *m = fault_machine(test);
	struct page *page;

	box_granule.set_fault(KPB_POINT_ALLOC_PAGES, &fault);
	page = alloc_pages(GFP_KERNEL, 2);
	KUNIT_EXPECT_NOT_NULL(test, page);
	KUNIT_EXPECT_NULL(test, alloc_pages(GFP_KERNEL, 3));
	KUNIT_EXPECT_NULL(test, alloc_pages(GFP_KERNEL, 5));
	KUNIT_EXPECT_EQ(test, m->counters.faults_injected, 2);
	/* nothing was tried, so nothing is in the log */
	KUNIT_EXPECT_EQ(test, m->counters.slowpath_entries, 0);
	KUNIT_EXPECT_EQ(test, m->counters.alloc_failures, 0);
	KUNIT_EXPECT_NOT_NULL(test, __alloc_pages_noprof(GFP_KERNEL, 3));
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_PIN, 0, MIGRATE_MOVABLE, 3), 0);
	KUNIT_EXPECT_EQ(test, m->counters.failed_pins, 0);
}

static void fault_of_pkeys_goes_by_pkey(struct kunit *test)
{
	const struct kpb_fault fault = {
		.mode = KPB_FAULT_EVERY,
		.n = 1,
		.pkey = KPKEYS_PKEY_DEFAULT,
	};
	struct kpb_machine *m = fault_machine(test);
	unsigned long addr = box_addr(0);

	box_granule.set_fault(KPB_POINT_SET_PKEY, &fault);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(addr, 1, KPKEYS_PKEY_PGTABLES),
			0);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(addr, 1, KPKEYS_PKEY_DEFAULT),
			-ENOMEM);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(0)), KPKEYS_PKEY_PGTABLES);
	KUNIT_EXPECT_EQ(test, m->counters.faults_injected, 1);
}

/* Memblock is done with before a machine can be told: by configuration. */
static void fault_of_memblock_hits_the_linear_map(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = NULL;
	char msg[KPB_MSG_BYTES] = "";

	/* no chunk for the PPA: single pages, which nobody will protect */
	config.memblock_fault.mode = KPB_FAULT_NTH;
	config.memblock_fault.n = 1;
	m = box_boot(test, &config);
	KUNIT_EXPECT_EQ(test, m->counters.faults_injected, 1);
	KUNIT_EXPECT_GT(test, m->nr_unprotected, 0);
	/* no memory at all: there is no machine, and a reason */
	config.memblock_fault.mode = KPB_FAULT_EVERY;
	KUNIT_EXPECT_EQ(test, box_granule.create(&config, &m, msg), -ENOMEM);
	KUNIT_EXPECT_CONTAINS(test, msg, "no memory for the linear map");
}

static void fault_refuses_what_makes_no_sense(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = NULL;
	char msg[KPB_MSG_BYTES] = "";

	fault_machine(test);
	KUNIT_EXPECT_EQ(test, fault_set(KPB_POINT_SPLIT, KPB_FAULT_NTH, 1),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, fault_set(KPB_POINT_CHARGE, KPB_FAULT_NTH, 0),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, fault_set(KPB_POINT_CHARGE, 4, 1), -EINVAL);
	config.memblock_fault.mode = KPB_FAULT_NTH;
	KUNIT_EXPECT_EQ(test, box_granule.create(&config, &m, msg), -EINVAL);
	KUNIT_EXPECT_CONTAINS(test, msg, "memblock_fault");
}

static const struct kunit_case fault_test_cases[] = {
	KUNIT_CASE(fault_nth_call_fails_once),
	KUNIT_CASE(fault_every_nth_call_fails),
	KUNIT_CASE(fault_share_is_seeded),
	KUNIT_CASE(fault_share_follows_its_rule),
	KUNIT_CASE(fault_of_pages_goes_by_order),
	KUNIT_CASE(fault_of_pkeys_goes_by_pkey),
	KUNIT_CASE(fault_of_memblock_hits_the_linear_map),
	KUNIT_CASE(fault_refuses_what_makes_no_sense),
	{ 0 }
};

static struct kunit_suite fault_test_suite = {
	.name = BOX_SUITE("fault"),
	.test_cases = fault_test_cases,
};
kunit_test_suite(fault_test_suite);
