// SPDX-License-Identifier: GPL-2.0-only
/* Memory before the buddy allocator works (csrc/mm/memblock.c). */

#include "box.h"

#define CHUNK (PAGE_SIZE << BOX_LARGEST_ORDER)

/* A machine, and the top of what is free below the PPA's chunk. */
static phys_addr_t memblock_top(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);

	KUNIT_EXPECT_EQ(test, m->memblock_end,
			config.phys_base + config.ram_bytes - CHUNK);
	return m->memblock_end;
}

static void memblock_alloc_goes_from_the_top_down(struct kunit *test)
{
	phys_addr_t top = memblock_top(test);

	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(PAGE_SIZE, PAGE_SIZE, 0, 0),
			top - PAGE_SIZE);
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(3 * PAGE_SIZE, PAGE_SIZE, 0,
						  0),
			top - 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, kpb_this->memblock_end, top - 4 * PAGE_SIZE);
}

static void memblock_alloc_is_aligned(struct kunit *test)
{
	phys_addr_t top = memblock_top(test);

	memblock_phys_alloc_range(PAGE_SIZE, PAGE_SIZE, 0, 0);
	/* 8 pages end at top - 1 page at the highest: aligned, at top - 16 */
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(8 * PAGE_SIZE, 8 * PAGE_SIZE,
						  0, 0),
			top - 16 * PAGE_SIZE);
	/* what lies between is not lost: the highest aligned place of all */
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(PAGE_SIZE, 8 * PAGE_SIZE, 0,
						  0),
			top - 8 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(6 * PAGE_SIZE, PAGE_SIZE, 0,
						  0),
			top - 7 * PAGE_SIZE);
	/* now that is full: below everything again */
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(PAGE_SIZE, PAGE_SIZE, 0, 0),
			top - 17 * PAGE_SIZE);
}

/* Three pages of four, again and again: each leaves one, up to a limit. */
static void memblock_alloc_keeps_a_few_gaps(struct kunit *test)
{
	phys_addr_t top = memblock_top(test);
	unsigned int i;

	for (i = 1; i <= KPB_NR_MEMBLOCK_GAPS; i++)
		KUNIT_EXPECT_EQ(test,
				memblock_phys_alloc_range(3 * PAGE_SIZE,
							  4 * PAGE_SIZE, 0, 0),
				top - 4 * i * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, kpb_this->counters.warnings, 0);
	memblock_phys_alloc_range(3 * PAGE_SIZE, 4 * PAGE_SIZE, 0, 0);
	KUNIT_EXPECT_EQ(test, kpb_this->counters.warnings, 1);
	/* single pages fill them, the highest first */
	for (i = 0; i < KPB_NR_MEMBLOCK_GAPS; i++)
		KUNIT_EXPECT_EQ(test,
				memblock_phys_alloc_range(PAGE_SIZE, PAGE_SIZE,
							  0, 0),
				top - (4 * i + 1) * PAGE_SIZE);
}

static void memblock_alloc_stays_in_its_limits(struct kunit *test)
{
	phys_addr_t top = memblock_top(test);

	/* too high a start: nothing, and nothing is taken */
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(2 * PAGE_SIZE, PAGE_SIZE,
						  top - PAGE_SIZE, 0),
			0);
	KUNIT_EXPECT_EQ(test, kpb_this->memblock_end, top);
	/* just enough */
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(2 * PAGE_SIZE, PAGE_SIZE,
						  top - 2 * PAGE_SIZE, 0),
			top - 2 * PAGE_SIZE);
	/* alignment does not lead below the start */
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(PAGE_SIZE, 8 * PAGE_SIZE,
						  top - 7 * PAGE_SIZE, 0),
			0);
	/* an end below the top */
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(PAGE_SIZE, PAGE_SIZE, 0,
						  top - 10 * PAGE_SIZE),
			top - 11 * PAGE_SIZE);
	/* what lies above it can still be had */
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(PAGE_SIZE, PAGE_SIZE, 0, 0),
			top - 3 * PAGE_SIZE);
}

static void memblock_alloc_fails_when_ram_is_used_up(struct kunit *test)
{
	phys_addr_t start = BOX_PHYS_BASE;

	memblock_top(test);
	kpb_this->memblock_end = start + 2 * PAGE_SIZE;
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(3 * PAGE_SIZE, PAGE_SIZE, 0,
						  0),
			0);
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(2 * PAGE_SIZE, PAGE_SIZE, 0,
						  0),
			start);
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(PAGE_SIZE, PAGE_SIZE, 0, 0),
			0);
	/* a size beyond everything does not wrap around */
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(1ULL << 50, PAGE_SIZE, 0, 0),
			0);
}

/* Late memory comes page by page and merges; pages go to the lists' tails. */
static void memblock_free_late_gives_pages_to_the_buddy(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	unsigned long p = box_block_pfn(2);

	box_drain();
	memblock_free_late((phys_addr_t)(p + 8) << PAGE_SHIFT, 0);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 0);
	/* 5, 6-7, 8-11 of [5, 12) */
	memblock_free_late((phys_addr_t)(p + 5) << PAGE_SHIFT, 7 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 7);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 0), p + 5);
	KUNIT_EXPECT_EQ(test, box_free_pfn(1, MIGRATE_MOVABLE, 0), p + 6);
	KUNIT_EXPECT_EQ(test, box_free_pfn(2, MIGRATE_MOVABLE, 0), p + 8);
	/* behind what is there */
	memblock_free_late((phys_addr_t)(p + 33) << PAGE_SHIFT, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 1), p + 33);
	box_expect_buddy_clean(test);
}

/* RAM that ends between the places where a PPA chunk can. */
struct memblock_end {
	const char *name;
	u64 extra_bytes;
};

static const struct memblock_end memblock_ends[] = {
	{ "aligned to a chunk", 0 },
	{ "one page more", PAGE_SIZE },
	{ "half a chunk more", CHUNK / 2 },
	{ "one page less than a chunk more", CHUNK - PAGE_SIZE },
};

KUNIT_ARRAY_PARAM(memblock_ends, memblock_ends)

/* Wherever RAM ends, every page of it has an owner after boot. */
static void memblock_any_end_of_ram_loses_nothing(struct kunit *test)
{
	const struct memblock_end *param = test->param_value;
	struct kpb_config config =
		box_config(BOX_PBA, BOX_SMALL_BYTES + param->extra_bytes);
	struct kpb_machine *m = box_create(test, &config);

	BOX_EXPECT_CLEAN(test);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_EQ(test,
			box_nr_free_pages() + m->nr_held + m->nr_early_ptps,
			config.ram_bytes >> PAGE_SHIFT);
	BOX_EXPECT_CLEAN(test);
}

static const struct kunit_case memblock_test_cases[] = {
	KUNIT_CASE(memblock_alloc_goes_from_the_top_down),
	KUNIT_CASE(memblock_alloc_is_aligned),
	KUNIT_CASE(memblock_alloc_keeps_a_few_gaps),
	KUNIT_CASE(memblock_alloc_stays_in_its_limits),
	KUNIT_CASE(memblock_alloc_fails_when_ram_is_used_up),
	KUNIT_CASE(memblock_free_late_gives_pages_to_the_buddy),
	KUNIT_CASE_PARAM(memblock_any_end_of_ram_loses_nothing,
			 memblock_ends_gen_params),
	{ 0 }
};

static struct kunit_suite memblock_test_suite = {
	.name = BOX_SUITE("memblock"),
	.test_cases = memblock_test_cases,
};
kunit_test_suite(memblock_test_suite);

#undef CHUNK
