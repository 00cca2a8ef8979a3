// SPDX-License-Identifier: GPL-2.0-only
/*
 * Variants of v6's mirror (csrc/allocators/): what each of them does about
 * regions that v6 forgets, and that it does nothing else.
 */

#include "box.h"

static const enum box_allocator variants[] = {
	BOX_EARLY_REGIONS,
	BOX_DEFERRED_LIST,
	BOX_DEFERRED_MARKS,
	BOX_SIZED_REFILL,
};

/* 512 CPUs with five stacks each, in 2 GB: 80 MB of addresses, 320 MB at 64K. */
static struct kpb_config variant_config(enum box_allocator allocator)
{
	struct kpb_config config = box_config(allocator, 2ULL << 30);

	config.boot.nr_possible_cpus = 512;
	config.boot.threads_per_cpu = 4;
	return config;
}

static struct kpb_machine *variant_boot(struct kunit *test,
					const struct kpb_config *config)
{
	struct kpb_machine *m = box_create(test, config);
	u32 phase;

	box_granule.record(0);
	for (phase = 0; phase < KPB_NR_PHASES; phase++)
		KUNIT_ASSERT_EQ(test, box_granule.boot_phase(phase), 0);
	return m;
}

static u64 variant_unprotected(void)
{
	struct kpb_state state;

	box_granule.state(&state);
	return state.unprotected_pages;
}

static u64 variant_untracked_regions(void)
{
	struct kpb_boot_counters counters;

	box_granule.boot_counters(&counters);
	return counters.untracked_regions;
}

/* A boot and a workload with splits and shrinks; what all of it comes to. */
static u64 variant_digest(struct kunit *test, const struct kpb_config *config)
{
	struct kpb_rng rng = kpb_rng_seed(3);
	struct kpb_machine *m = variant_boot(test, config);
	u64 digest;
	u32 i;

	KUNIT_ASSERT_EQ(test, box_granule.set_slots(3000), 0);
	for (i = 0; i < 20000; i++) {
		u32 slot = (u32)kpb_rng_below(&rng, 3000);
		u8 kind = m->slots[slot].kind == KPB_SLOT_EMPTY ? KPB_OP_ALLOC :
								  KPB_OP_FREE;

		KUNIT_ASSERT_EQ(test, box_op(kind, slot, 0, 0), 0);
		if (i % 2000 == 0) {
			box_op(KPB_OP_SHRINK, 100, 0, 0);
			box_op(KPB_OP_SET_MEMORY,
			       (u32)kpb_rng_below(&rng, 8192), 0, 3);
		}
	}
	BOX_EXPECT_CLEAN(test);
	box_granule.digest(&digest);
	return digest;
}

/* With one early region there is nothing to do in another way. */
static void variant_with_one_region_is_pba(struct kunit *test)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(variants); i++) {
		struct kpb_config config = variant_config(BOX_PBA);
		u64 of_pba;

		/* what sized-refill asks for: 48, 9, 7 pages and more */
		if (variants[i] == BOX_SIZED_REFILL)
			box_refill_orders(&config, BOX_PICK(6, 4, 3), 2, 0);
		of_pba = variant_digest(test, &config);
		config.allocator = variants[i];
		KUNIT_EXPECT_EQ(test, variant_digest(test, &config), of_pba);
		KUNIT_EXPECT_EQ(test, variant_untracked_regions(), 0);
	}
}

/* v6 forgets all regions but one, a list of 12 or of 2, 1 and marks none. */
static void variant_protects_what_v6_forgets(struct kunit *test)
{
	size_t i;
	u32 bbml2;

	for (bbml2 = KPB_BBML2_ALL; bbml2 < KPB_NR_BBML2; bbml2++)
		for (i = 0; i < ARRAY_SIZE(variants); i++) {
			struct kpb_config config = variant_config(variants[i]);

			box_refill_orders(&config, 2, 0, 0);
			config.ram_bytes = bbml2 ? BOX_SMALL_BYTES : 2ULL << 30;
			if (bbml2)
				config.boot.nr_possible_cpus = 2;
			config.boot.bbml2 = bbml2;
			variant_boot(test, &config);
			/* sized for stacks, and not for a split of the map */
			if (variants[i] == BOX_SIZED_REFILL && bbml2 >= 2)
				continue;
			KUNIT_EXPECT_EQ(test, variant_untracked_regions(), 0);
			KUNIT_EXPECT_EQ(test, variant_unprotected(), 0);
			BOX_EXPECT_CLEAN(test);
		}
}

/* 42, 4 and 2 PTPs from regions of 4, of which the first serves none. */
#define NR_REGIONS (1 + BOX_PICK(11, 1, 1))

static void variant_early_regions_are_so_many(struct kunit *test)
{
	u32 nr;

	for (nr = 1; nr <= NR_REGIONS + 1; nr++) {
		struct kpb_config config = variant_config(BOX_EARLY_REGIONS);
		u64 nr_lost = nr < NR_REGIONS ? NR_REGIONS - nr : 0;
		struct kpb_machine *m;

		box_refill_orders(&config, 2, 0, 0);
		config.variant_param = nr;
		m = variant_boot(test, &config);
		KUNIT_EXPECT_EQ(test, variant_untracked_regions(), nr_lost);
		KUNIT_EXPECT_EQ(test, variant_unprotected(), 4 * nr_lost);
		KUNIT_EXPECT_EQ(test, m->counters.warnings, nr_lost);
	}
}

/* Neighbours are one range, whichever comes first; a third place is one more. */
static void variant_deferred_list_joins_neighbours(struct kunit *test)
{
	struct kpb_config config = variant_config(BOX_DEFERRED_LIST);
	struct kpb_machine *m;
	struct deferred_list_state *list;
	struct page *page;

	config.variant_param = 2;
	m = box_create(test, &config);
	list = m->variant;
	page = pfn_to_page(box_pfn(0));
	deferred_list_pba_register_early_region(page + 8, 2);
	deferred_list_pba_register_early_region(page + 12, 2);
	deferred_list_pba_register_early_region(page + 4, 2);
	KUNIT_EXPECT_EQ(test, list->nr_ranges, 1);
	KUNIT_EXPECT_EQ(test, list->ranges[0].start_pfn, box_pfn(0) + 4);
	KUNIT_EXPECT_EQ(test, list->ranges[0].end_pfn, box_pfn(0) + 16);
	deferred_list_pba_register_early_region(page + 32, 2);
	KUNIT_EXPECT_EQ(test, list->nr_ranges, 2);
	BOX_EXPECT_WARNINGS(test, 1,
			    deferred_list_pba_register_early_region(page + 64,
								    2));
	KUNIT_EXPECT_EQ(test, list->nr_ranges, 2);
	/* full, but what touches the last one costs no place */
	BOX_EXPECT_WARNINGS(test, 0,
			    deferred_list_pba_register_early_region(page + 36,
								    2));
	KUNIT_EXPECT_EQ(test, list->ranges[1].end_pfn, box_pfn(0) + 40);
}

/* What is not marked keeps its pkey, also between two regions. */
static void variant_deferred_marks_are_walked(struct kunit *test)
{
	struct kpb_config config = variant_config(BOX_DEFERRED_MARKS);
	struct kpb_machine *m = box_create(test, &config);
	struct page *page = pfn_to_page(box_block_pfn(BOX_PICK(8, 8, 2)));
	unsigned long pfn = page_to_pfn(page);
	u64 nr_before;

	m->late_init_done = true;
	deferred_marks_kpkeys_hardened_pgtables_init();
	deferred_marks_pba_register_early_region(page + 64, 2);
	deferred_marks_pba_register_early_region(page + 68, 2);
	deferred_marks_pba_register_early_region(page, 4);
	nr_before = box_map_counters().set_pkey_calls;
	deferred_marks_pba_init_late();
	KUNIT_EXPECT_EQ(test, box_nr_pkey(pfn, 16, 1), 16);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(pfn + 16, 48, 1), 0);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(pfn + 64, 8, 1), 8);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(pfn + 72, 8, 1), 0);
	/* two runs, and that of the first refill */
	KUNIT_EXPECT_EQ(test, box_map_counters().set_pkey_calls - nr_before, 3);
	KUNIT_EXPECT_FALSE(test, *deferred_mark(pfn));
}

/* Regions come in any order, and the walk has to pass all of them. */
static void variant_deferred_marks_begin_at_the_lowest(struct kunit *test)
{
	struct kpb_config config = variant_config(BOX_DEFERRED_MARKS);
	const struct deferred_marks_state *marks =
		box_create(test, &config)->variant;
	struct page *page = pfn_to_page(box_pfn(0));

	deferred_marks_pba_register_early_region(page + 64, 2);
	deferred_marks_pba_register_early_region(page, 2);
	deferred_marks_pba_register_early_region(page + 32, 2);
	KUNIT_EXPECT_EQ(test, marks->start_pfn, box_pfn(0));
	KUNIT_EXPECT_EQ(test, marks->end_pfn, box_pfn(0) + 68);
}

/*
 * 5 x 512 stacks, 64 or 128 KB apart with KASAN or 64K pages: 80 MB, 160 MB
 * with KASAN, 320 MB: 40, 80; 3, 5; 1, 1 tables, 2 or 1 above, 2 more for the
 * borders, and the reserve: 48, 88; 9 (80 MB is 2.5 tables), 12; 7, 7 pages.
 * With 4096 CPUs eight times the tables: 328, 648; 27, 47; 12, 12. With two
 * CPUs the rest: 8, 7, 7.
 */
static void variant_first_refill_is_sized(struct kunit *test)
{
	static const struct {
		u32 nr_cpus;
		u32 kasan;
		u32 order;
	} cases[] = {
		{ 2, 0, 3 },
		{ 512, 0, BOX_PICK(6, 4, 3) },
		{ 512, 1, BOX_PICK(7, 4, 3) },
		{ 4096, 0, BOX_PICK(9, 5, 4) },
		{ 4096, 1, BOX_PICK(10, 6, 4) },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kpb_config config = variant_config(BOX_SIZED_REFILL);
		struct kpb_boot_counters counters;

		config.ram_bytes = 8ULL << 30;
		config.boot.nr_possible_cpus = cases[i].nr_cpus;
		config.boot.kasan = cases[i].kasan;
		variant_boot(test, &config);
		box_granule.boot_counters(&counters);
		KUNIT_EXPECT_EQ(test, counters.first_refill_order,
				cases[i].order);
		KUNIT_EXPECT_EQ(test, counters.early_regions, 1);
		KUNIT_EXPECT_EQ(test, variant_unprotected(), 0);
		BOX_EXPECT_CLEAN(test);
	}
}

/* The buddy has no such block: what follows is smaller. */
static void variant_first_refill_falls_back(struct kunit *test)
{
	const struct kpb_fault fault = {
		.mode = KPB_FAULT_EVERY,
		.n = 1,
		.orders = ~0x1fu,
	};
	struct kpb_config config = variant_config(BOX_SIZED_REFILL);
	struct kpb_boot_counters counters;

	box_refill_orders(&config, 9, 3, 2);
	config.variant_param = 64;
	box_create(test, &config);
	box_granule.set_fault(KPB_POINT_ALLOC_PAGES, &fault);
	box_granule.boot_phase(KPB_PHASE_LINEAR_MAP);
	box_granule.boot_phase(KPB_PHASE_BUDDY);
	box_granule.boot_counters(&counters);
	/* 64 stacks at 64K are 8 tables: order 4, which is there */
	KUNIT_EXPECT_EQ(test, counters.first_refill_order, BOX_PICK(3, 3, 4));
}

static const struct kunit_case variant_cases[] = {
	KUNIT_CASE(variant_with_one_region_is_pba),
	KUNIT_CASE(variant_protects_what_v6_forgets),
	KUNIT_CASE(variant_early_regions_are_so_many),
	KUNIT_CASE(variant_deferred_list_joins_neighbours),
	KUNIT_CASE(variant_deferred_marks_are_walked),
	KUNIT_CASE(variant_deferred_marks_begin_at_the_lowest),
	KUNIT_CASE(variant_first_refill_is_sized),
	KUNIT_CASE(variant_first_refill_falls_back),
	{ 0 },
};

static struct kunit_suite variant_suite = {
	.name = BOX_SUITE("variant"),
	.test_cases = variant_cases,
};
kunit_test_suite(variant_suite);

#undef NR_REGIONS
