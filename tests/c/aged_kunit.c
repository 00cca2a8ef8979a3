// SPDX-License-Identifier: GPL-2.0-only
/* The aged state (csrc/lab/aged.c): unmovable pages over movable pageblocks. */

#include "box.h"

#define NR_BLOCKS 512
#define AGED_BYTES ((u64)NR_BLOCKS << (pageblock_order + PAGE_SHIFT))

static struct kpb_config aged_config(u32 ppm, u32 pins, u64 seed)
{
	struct kpb_config config = box_config(BOX_PBA, AGED_BYTES);

	/* a small chunk, so that all blocks but the last are whole */
	box_refill_orders(&config, BOX_MIN_ORDER, 0, 0);
	config.aged_ppm = ppm;
	config.aged_pins = pins;
	config.aged_seed = seed;
	return config;
}

static unsigned long aged_in_block(unsigned long block)
{
	unsigned long pfn = box_start_pfn() + block * pageblock_nr_pages;
	unsigned long nr = 0, i;

	for (i = 0; i < pageblock_nr_pages; i++)
		nr += *kpb_page_type(pfn + i) == KPB_PG_AGED;
	return nr;
}

/* Is it free as a whole, alone or as a part of something larger? */
static bool aged_is_whole(unsigned long block)
{
	unsigned long pfn = box_start_pfn() + block * pageblock_nr_pages;
	unsigned int order;

	for (order = pageblock_order; order <= MAX_PAGE_ORDER; order++) {
		struct page *page = pfn_to_page(ALIGN_DOWN(pfn, 1UL << order));

		if (PageBuddy(page) && buddy_order(page) >= order)
			return true;
	}
	return false;
}

struct aged_share {
	const char *name;
	u32 ppm;
	u32 pins;
	unsigned long lowest, highest;
};

/*
 * Of 511 whole blocks a share p is Bernoulli: the standard deviation of the
 * number is sqrt(511 p (1 - p)), 11.3 at one half and 6.8 at one tenth. Four
 * of them are allowed, 256 +- 46 and 51 +- 28.
 */
static const struct aged_share aged_shares[] = {
	{ "none", 0, 0, 0, 0 },
	{ "one tenth", 100000, 8, 51 - 28, 51 + 28 },
	{ "half", 500000, 1, 256 - 46, 256 + 46 },
	{ "half, with many pages", 500000, 64, 256 - 46, 256 + 46 },
	{ "nine tenths", 900000, 8, 460 - 28, 460 + 28 },
	{ "all", 1000000, 3, 511, 511 },
};

KUNIT_ARRAY_PARAM(aged_shares, aged_shares)

static void aged_share_of_blocks_is_not_whole(struct kunit *test)
{
	const struct aged_share *param = test->param_value;
	struct kpb_config config = aged_config(param->ppm, param->pins, 42);
	struct kpb_machine *m = box_create(test, &config);
	unsigned long nr_aged = 0, most = 0, nr_frames = 0, block;

	box_grow_all();
	for (block = 0; block < NR_BLOCKS - 1; block++) {
		unsigned long nr = aged_in_block(block);

		nr_aged += nr != 0;
		nr_frames += nr;
		most = max(most, nr);
		KUNIT_EXPECT_LE(test, nr, param->pins);
		KUNIT_EXPECT_EQ(test, aged_is_whole(block), nr == 0);
		KUNIT_EXPECT_EQ(test, m->pageblock_migratetype[block],
				MIGRATE_MOVABLE);
	}
	KUNIT_EXPECT_GE(test, nr_aged, param->lowest);
	KUNIT_EXPECT_LE(test, nr_aged, param->highest);
	/* with as many blocks nearly the largest number occurs */
	KUNIT_EXPECT_GE(test, most, param->pins * 9 / 10);
	nr_frames += aged_in_block(NR_BLOCKS - 1);
	KUNIT_EXPECT_EQ(test, box_nr_free_pages() + nr_frames,
			(config.ram_bytes -
			 kpb_memblock_bytes(&m->memblock.reserved)) >>
				PAGE_SHIFT);
	BOX_EXPECT_CLEAN(test);
}

/* 1 to pins pages: each number about as often. */
static void aged_pages_of_a_block_are_spread(struct kunit *test)
{
	struct kpb_config config = aged_config(1000000, 4, 7);
	unsigned long nr_of[5] = { 0 }, block, i;

	box_create(test, &config);
	box_grow_all();
	for (block = 0; block < NR_BLOCKS - 1; block++)
		nr_of[min(aged_in_block(block), 4UL)]++;
	KUNIT_EXPECT_EQ(test, nr_of[0], 0);
	/* a quarter of 511 is 128; its deviation is 9.8, two hits are rare */
	for (i = 1; i <= 4; i++) {
		KUNIT_EXPECT_GE(test, nr_of[i], 128 - 40);
		KUNIT_EXPECT_LE(test, nr_of[i], 128 + 40);
	}
}

static u64 aged_fingerprint(void)
{
	const struct zone *zone = &kpb_this->zone;
	u64 hash = 14695981039346656037ULL;
	unsigned long pfn;

	for (pfn = zone->zone_start_pfn; pfn < zone->zone_end_pfn; pfn++)
		if (*kpb_page_type(pfn) == KPB_PG_AGED)
			hash = (hash ^ pfn) * 1099511628211ULL;
	return hash;
}

static void aged_same_seed_gives_the_same_state(struct kunit *test)
{
	struct kpb_config config = aged_config(300000, 16, 5);
	unsigned long counts[NR_PAGE_ORDERS];
	unsigned int order;
	u64 fingerprint;

	box_create(test, &config);
	box_grow_all();
	fingerprint = aged_fingerprint();
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		counts[order] = kpb_this->zone.free_area[order].nr_free;

	box_create(test, &config);
	box_grow_all();
	KUNIT_EXPECT_EQ(test, aged_fingerprint(), fingerprint);
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		KUNIT_EXPECT_EQ(test, kpb_this->zone.free_area[order].nr_free,
				counts[order]);

	config.aged_seed = 6;
	box_create(test, &config);
	box_grow_all();
	KUNIT_EXPECT_NE(test, aged_fingerprint(), fingerprint);
}

/* What a section looks like does not depend on when it is initialised. */
static void aged_state_is_the_same_when_deferred(struct kunit *test)
{
	struct kpb_config config = aged_config(300000, 16, 5);
	u64 fingerprint;

	box_create(test, &config);
	box_grow_all();
	fingerprint = aged_fingerprint();
	box_create(test, &config);
	KUNIT_EXPECT_NE(test, aged_fingerprint(), fingerprint);
	box_drain();
	KUNIT_EXPECT_EQ(test, aged_fingerprint(), fingerprint);
}

/* And so are allocations that cannot be moved, whatever the share. */
static void
aged_unmovable_allocations_are_the_same_when_deferred(struct kunit *test)
{
	static const u32 ppms[] = { 20000, 100000, 300000, 700000, 1000000 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ppms); i++) {
		struct kpb_config config = aged_config(ppms[i], 8, 3);

		config.ram_bytes = 4ULL << SECTION_SIZE_BITS;
		box_compare_with_eager(test, &config, 1, MAX_PAGE_ORDER);
		box_compare_with_eager(test, &config, 2, 3);
	}
}

/* Where every block has a page in use, the first refill must fall back. */
static void aged_memory_makes_the_first_refill_fall_back(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m;

	box_refill_orders(&config, BLOCK_ORDER, BOX_CONT_PTE_ORDER, 2);
	config.aged_ppm = 1000000;
	config.aged_pins = 2;
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_EQ(test, m->counters.refills_order[BLOCK_ORDER], 0);
	KUNIT_EXPECT_EQ(test, m->counters.refills_order[BOX_CONT_PTE_ORDER], 1);
	KUNIT_EXPECT_EQ(test, m->counters.refill_fallbacks, 1);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 1UL << BOX_CONT_PTE_ORDER);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	/* it has looked everywhere */
	KUNIT_EXPECT_EQ(test, m->zone.first_deferred_pfn,
			m->zone.deferred_end_pfn);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	BOX_EXPECT_CLEAN(test);
}

static const struct kunit_case aged_test_cases[] = {
	KUNIT_CASE_PARAM(aged_share_of_blocks_is_not_whole,
			 aged_shares_gen_params),
	KUNIT_CASE(aged_pages_of_a_block_are_spread),
	KUNIT_CASE(aged_same_seed_gives_the_same_state),
	KUNIT_CASE(aged_state_is_the_same_when_deferred),
	KUNIT_CASE(aged_unmovable_allocations_are_the_same_when_deferred),
	KUNIT_CASE(aged_memory_makes_the_first_refill_fall_back),
	{ 0 }
};

static struct kunit_suite aged_test_suite = {
	.name = BOX_SUITE("aged"),
	.test_cases = aged_test_cases,
};
kunit_test_suite(aged_test_suite);

#undef NR_BLOCKS
#undef AGED_BYTES
