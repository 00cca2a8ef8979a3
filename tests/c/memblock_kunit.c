// SPDX-License-Identifier: GPL-2.0-only
/* Memory before the buddy allocator works (csrc/mm/memblock.c). */

#include "box.h"

#define CHUNK (PAGE_SIZE << BOX_LARGEST_ORDER)
#define P PAGE_SIZE

static unsigned long memblock_nr_reserved(void)
{
	return kpb_this->memblock.reserved.cnt;
}

/* A machine, and the top of what is free below the PPA's chunk. */
static phys_addr_t memblock_top(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);

	KUNIT_EXPECT_EQ(test, m->memblock.memory.cnt, 1);
	KUNIT_EXPECT_EQ(test, m->memblock.memory.regions[0].base,
			config.phys_base);
	KUNIT_EXPECT_EQ(test, m->memblock.memory.regions[0].size,
			config.ram_bytes);
	KUNIT_ASSERT_EQ(test, m->memblock.reserved.cnt, 1);
	KUNIT_EXPECT_EQ(test, m->memblock.reserved.regions[0].base,
			config.phys_base + config.ram_bytes - CHUNK);
	KUNIT_EXPECT_EQ(test, m->memblock.reserved.regions[0].size, CHUNK);
	return m->memblock.reserved.regions[0].base;
}

static phys_addr_t memblock_alloc_any(phys_addr_t size, phys_addr_t align)
{
	return memblock_phys_alloc_range(size, align, 0,
					 MEMBLOCK_ALLOC_ACCESSIBLE);
}

static void memblock_alloc_goes_from_the_top_down(struct kunit *test)
{
	phys_addr_t top = memblock_top(test);

	KUNIT_EXPECT_EQ(test, memblock_alloc_any(P, P), top - P);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(3 * P, P), top - 4 * P);
	/* merged with the chunk above them */
	KUNIT_EXPECT_EQ(test, memblock_nr_reserved(), 1);
	KUNIT_EXPECT_EQ(test, kpb_this->memblock.reserved.regions[0].base,
			top - 4 * P);
	KUNIT_EXPECT_EQ(test, kpb_this->memblock.reserved.regions[0].size,
			CHUNK + 4 * P);
}

static void memblock_alloc_is_aligned(struct kunit *test)
{
	phys_addr_t top = memblock_top(test);

	memblock_alloc_any(P, P);
	/* 8 pages end at top - 1 page at the highest: aligned, at top - 16 */
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(8 * P, 8 * P), top - 16 * P);
	KUNIT_EXPECT_EQ(test, memblock_nr_reserved(), 2);
	/* what lies between is not lost: the highest aligned place of all */
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(P, 8 * P), top - 8 * P);
	KUNIT_EXPECT_EQ(test, memblock_nr_reserved(), 2);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(6 * P, P), top - 7 * P);
	/* now that is full: one range, and below everything again */
	KUNIT_EXPECT_EQ(test, memblock_nr_reserved(), 1);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(P, P), top - 17 * P);
}

/*
 * Three pages of four, again and again: each leaves one and takes a place in
 * the array. When that is full an allocation fails, unless it needs no place.
 */
static void memblock_alloc_fails_when_the_array_is_full(struct kunit *test)
{
	phys_addr_t top = memblock_top(test);
	unsigned int i;

	KUNIT_ASSERT_EQ(test, INIT_MEMBLOCK_REGIONS, 128);
	for (i = 1; i < 128; i++)
		KUNIT_EXPECT_EQ(test, memblock_alloc_any(3 * P, 4 * P),
				top - 4 * i * P);
	KUNIT_EXPECT_EQ(test, memblock_nr_reserved(), 128);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(3 * P, 4 * P), 0);
	/* single pages fill the gaps, the highest first */
	for (i = 0; i < 127; i++) {
		KUNIT_EXPECT_EQ(test, memblock_alloc_any(P, P),
				top - (4 * i + 1) * P);
		KUNIT_EXPECT_EQ(test, memblock_nr_reserved(), 127 - i);
	}
	KUNIT_EXPECT_EQ(test, kpb_this->counters.warnings, 0);
}

/* What is removed from the inside of a range needs places for the pieces. */
static void memblock_remove_needs_room_in_the_array(struct kunit *test)
{
	struct memblock_type *reserved;
	phys_addr_t base;
	unsigned int i;

	memblock_top(test);
	reserved = &kpb_this->memblock.reserved;
	for (i = 1; i < 126; i++)
		memblock_alloc_any(3 * P, 4 * P);
	KUNIT_EXPECT_EQ(test, memblock_nr_reserved(), 126);
	/* the middle of three: two places, of which one is free again */
	base = reserved->regions[5].base;
	KUNIT_EXPECT_EQ(test, memblock_remove_range(reserved, base + P, P), 0);
	KUNIT_EXPECT_EQ(test, memblock_nr_reserved(), 127);
	KUNIT_EXPECT_EQ(test, reserved->regions[5].base, base);
	KUNIT_EXPECT_EQ(test, reserved->regions[5].size, P);
	KUNIT_EXPECT_EQ(test, reserved->regions[6].base, base + 2 * P);
	KUNIT_EXPECT_EQ(test, reserved->regions[6].size, P);
	/* the first of three needs the last place for a moment */
	base = reserved->regions[9].base;
	KUNIT_EXPECT_EQ(test, memblock_remove_range(reserved, base, P), 0);
	KUNIT_EXPECT_EQ(test, memblock_nr_reserved(), 127);
	KUNIT_EXPECT_EQ(test, reserved->regions[9].base, base + P);
	KUNIT_EXPECT_EQ(test, reserved->regions[9].size, 2 * P);

	memblock_alloc_any(3 * P, 4 * P);
	KUNIT_EXPECT_EQ(test, memblock_nr_reserved(), 128);
	base = reserved->regions[12].base;
	KUNIT_EXPECT_EQ(test, memblock_remove_range(reserved, base + P, P),
			-ENOMEM);
	KUNIT_EXPECT_EQ(test, memblock_remove_range(reserved, base, P),
			-ENOMEM);
	KUNIT_EXPECT_EQ(test, memblock_nr_reserved(), 128);
	KUNIT_EXPECT_EQ(test, reserved->regions[12].size, 3 * P);
	/* late memory that cannot be removed warns */
	BOX_EXPECT_WARNINGS(test, 1, memblock_free_late(base + P, P));
	KUNIT_EXPECT_EQ(test, memblock_nr_reserved(), 128);
	/* what goes whole needs no place */
	KUNIT_EXPECT_EQ(test, memblock_remove_range(reserved, base, 3 * P), 0);
	KUNIT_EXPECT_EQ(test, memblock_nr_reserved(), 127);
	KUNIT_EXPECT_GE(test, reserved->regions[12].base, base + 3 * P);
}

static void memblock_alloc_stays_in_its_limits(struct kunit *test)
{
	phys_addr_t top = memblock_top(test);

	/* too high a start: nothing, and nothing is taken */
	KUNIT_EXPECT_EQ(test, memblock_phys_alloc_range(2 * P, P, top - P, 0),
			0);
	KUNIT_EXPECT_EQ(test, kpb_this->memblock.reserved.regions[0].base, top);
	/* just enough */
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(2 * P, P, top - 2 * P, 0),
			top - 2 * P);
	/* alignment does not lead below the start */
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(P, 8 * P, top - 7 * P, 0), 0);
	/* an end below the top */
	KUNIT_EXPECT_EQ(test, memblock_phys_alloc_range(P, P, 0, top - 10 * P),
			top - 11 * P);
	/* an end that is no place for it: below the start, or too close */
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(P, P, top - 9 * P,
						  top - 10 * P),
			0);
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(2 * P, P, top - 10 * P,
						  top - 9 * P),
			0);
	/* what lies above it can still be had */
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(P, P), top - 3 * P);
}

/* These say "anywhere", and are no addresses. */
static void memblock_alloc_end_can_mean_any(struct kunit *test)
{
	static const phys_addr_t ends[] = { 0, 1, ~(phys_addr_t)0 };
	phys_addr_t top = memblock_top(test);
	size_t i;

	KUNIT_EXPECT_EQ(test, MEMBLOCK_ALLOC_ACCESSIBLE, 0);
	KUNIT_EXPECT_EQ(test, MEMBLOCK_ALLOC_NOLEAKTRACE, 1);
	for (i = 0; i < ARRAY_SIZE(ends); i++)
		KUNIT_EXPECT_EQ(test,
				memblock_phys_alloc_range(P, P, 0, ends[i]),
				top - (i + 1) * P);
}

static void memblock_alloc_fails_when_ram_is_used_up(struct kunit *test)
{
	phys_addr_t start = BOX_PHYS_BASE;

	memblock_top(test);
	box_memblock_leave(2);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(3 * P, P), 0);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(2 * P, P), start);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(P, P), 0);
	/* a size beyond everything does not wrap around */
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(1ULL << 50, P), 0);
}

/* The first page of all could not be told from an error. */
static void memblock_alloc_never_gives_address_zero(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);

	config.phys_base = 0;
	box_create(test, &config);
	box_memblock_leave(2);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(P, P), P);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(P, P), 0);
}

static void memblock_alloc_can_be_made_to_fail(struct kunit *test)
{
	const struct kpb_fault fault = { .mode = KPB_FAULT_NTH, .n = 2 };
	phys_addr_t top = memblock_top(test);

	KUNIT_EXPECT_EQ(test, box_granule.set_fault(KPB_POINT_MEMBLOCK, &fault),
			0);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(P, P), top - P);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(P, P), 0);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(P, P), top - 2 * P);
	KUNIT_EXPECT_EQ(test, kpb_this->counters.faults_injected, 1);
}

/* Free ranges */

/*
 * 16 blocks of the largest order (N pages each), P is a page:
 *
 *	block	0 .. 3		4 .. 5	6 .. 11		12	13 .. 15
 *		free		hole	free		reserved free
 *
 * and three pages are reserved at the start of block 8, two in the kernel
 * image.
 */
#define BLOCK ((u64)PAGE_SIZE << MAX_PAGE_ORDER)
#define BASE BOX_PHYS_BASE

static struct kpb_config memblock_ranges_config(enum box_allocator allocator)
{
	struct kpb_config config = box_config(allocator, BOX_SMALL_BYTES);

	config.nr_holes = 1;
	config.holes[0] = (struct kpb_region){ BASE + 4 * BLOCK, 2 * BLOCK };
	config.nr_reserved = 2;
	config.reserved[0] = (struct kpb_region){ BASE + 8 * BLOCK, 3 * P };
	config.reserved[1] = (struct kpb_region){ BASE + 12 * BLOCK, BLOCK };
	config.nr_static_pgtables = 2;
	return config;
}

static void memblock_ranges_are_memory_less_reserved(struct kunit *test)
{
	struct kpb_config config = memblock_ranges_config(BOX_PBA);
	/* the PPA's chunk at the end of RAM is taken already */
	const struct kpb_region free[] = {
		{ BASE + 2 * P, 4 * BLOCK - 2 * P },
		{ BASE + 6 * BLOCK, 2 * BLOCK },
		{ BASE + 8 * BLOCK + 3 * P, 4 * BLOCK - 3 * P },
		{ BASE + 13 * BLOCK, 3 * BLOCK - CHUNK },
	};
	size_t nr = ARRAY_SIZE(free), i = 0;
	phys_addr_t start, end;

	box_create(test, &config);
	KUNIT_EXPECT_EQ(test, kpb_this->memblock.memory.cnt, 2);
	for_each_free_mem_range(start, end) {
		KUNIT_ASSERT_TRUE(test, i < nr);
		KUNIT_EXPECT_EQ(test, start, free[i].base);
		KUNIT_EXPECT_EQ(test, end, free[i].base + free[i].size);
		i++;
	}
	KUNIT_EXPECT_EQ(test, i, nr);
	for_each_free_mem_range_reverse(start, end)
	{
		i--;
		KUNIT_EXPECT_EQ(test, start, free[i].base);
		KUNIT_EXPECT_EQ(test, end, free[i].base + free[i].size);
	}
	KUNIT_EXPECT_EQ(test, i, 0);
}

/* The highest range that has room, and the highest place in it. */
static void memblock_alloc_takes_the_highest_range_that_fits(struct kunit *test)
{
	struct kpb_config config = memblock_ranges_config(BOX_PBA);

	box_create(test, &config);
	/* above the reserved block 12 there are less than 3 blocks */
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(3 * BLOCK, BLOCK),
			BASE + 9 * BLOCK);
	/* but two, even beside the PPA's chunk */
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(2 * BLOCK, BLOCK),
			BASE + 13 * BLOCK);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(2 * BLOCK, BLOCK),
			BASE + 6 * BLOCK);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(2 * BLOCK, BLOCK),
			BASE + 2 * BLOCK);
	KUNIT_EXPECT_EQ(test, memblock_alloc_any(2 * BLOCK, BLOCK), 0);
	/* limits may cut ranges */
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(P, P, BASE + 8 * BLOCK,
						  BASE + 8 * BLOCK + 5 * P),
			BASE + 8 * BLOCK + 4 * P);
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(P, P, BASE + 3 * BLOCK,
						  BASE + 7 * BLOCK),
			0);
	KUNIT_EXPECT_EQ(test,
			memblock_phys_alloc_range(P, P, BASE, BASE + 3 * P),
			BASE + 2 * P);
}

/* Nobody gets what is a hole, reserved, or the kernel image's. */
static void memblock_free_all_gives_free_ranges_only(struct kunit *test)
{
	struct kpb_config config = memblock_ranges_config(BOX_PBA);
	struct kpb_machine *m = box_create(test, &config);
	unsigned long nr_pages = 16 * MAX_ORDER_NR_PAGES;
	struct kpb_state state;
	unsigned long pfn;

	/* without holes, reserved blocks and pages, and the chunk */
	nr_pages -= 2 * MAX_ORDER_NR_PAGES;
	box_granule.state(&state);
	KUNIT_EXPECT_EQ(test, state.ram_pages, nr_pages);
	KUNIT_EXPECT_EQ(test, state.reserved_pages, 3 + MAX_ORDER_NR_PAGES + 2);
	nr_pages -= 3 + MAX_ORDER_NR_PAGES + 2 + (CHUNK >> PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, state.free_pages, nr_pages);
	KUNIT_EXPECT_EQ(test, state.unprotected_pages, m->nr_early_ptps + 2);
	BOX_EXPECT_CLEAN(test);
	box_grow_all();
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, nr_pages);
	for (pfn = box_block_pfn(4); pfn < box_block_pfn(6); pfn++)
		KUNIT_ASSERT_EQ(test, *kpb_page_type(pfn), 0);
	for (pfn = box_block_pfn(12); pfn < box_block_pfn(13); pfn++)
		KUNIT_ASSERT_EQ(test, *kpb_page_type(pfn), 0);
	BOX_EXPECT_CLEAN(test);
}

/* Rising, each range in the largest aligned pieces. */
static void memblock_free_all_goes_up_range_by_range(struct kunit *test)
{
	struct kpb_config config = memblock_ranges_config(BOX_PBA);
	/* 0 and 8 are broken, 4, 5 and 12 not free; the PPA has of 15 */
	static const u8 blocks[] = { 1, 2, 3, 6, 7, 9, 10, 11, 13, 14 };
	unsigned int order;
	size_t i;

	box_create(test, &config);
	box_grow_all();
	KUNIT_EXPECT_EQ(test, box_nr_free(MAX_PAGE_ORDER, MIGRATE_MOVABLE),
			ARRAY_SIZE(blocks));
	for (i = 0; i < ARRAY_SIZE(blocks); i++)
		KUNIT_EXPECT_EQ(test,
				box_free_pfn(MAX_PAGE_ORDER, MIGRATE_MOVABLE,
					     i),
				box_block_pfn(blocks[i]));
	/* from page 2 on: one piece each of orders 1, 2, 3 and so on */
	for (order = 1; order < MAX_PAGE_ORDER; order++)
		KUNIT_EXPECT_EQ(test, box_free_pfn(order, MIGRATE_MOVABLE, 0),
				box_start_pfn() + (1UL << order));
	/* from page 3 of block 8 on: order 0 at 3, then 2, 3 and so on */
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 0),
			box_block_pfn(8) + 3);
	KUNIT_EXPECT_EQ(test, box_nr_free(1, MIGRATE_MOVABLE), 1);
	for (order = 2; order < MAX_PAGE_ORDER; order++)
		KUNIT_EXPECT_EQ(test, box_free_pfn(order, MIGRATE_MOVABLE, 1),
				box_block_pfn(8) + (1UL << order));
}

/* On demand or at once: an allocation finds the same. */
static void memblock_deferred_ranges_equal_eager_ones(struct kunit *test)
{
	struct kpb_config config =
		box_config(BOX_PBA, 6ULL << SECTION_SIZE_BITS);
	u64 section = 1ULL << SECTION_SIZE_BITS, seed;

	config.nr_holes = 2;
	config.holes[0] = (struct kpb_region){ BASE + section / 2, section };
	config.holes[1] = (struct kpb_region){ BASE + 3 * section + 5 * P, P };
	config.nr_reserved = 2;
	config.reserved[0] = (struct kpb_region){ BASE, 7 * P };
	config.reserved[1] =
		(struct kpb_region){ BASE + 5 * section, section / 2 };
	for (seed = 1; seed <= 4; seed++) {
		box_compare_with_eager(test, &config, seed, MAX_PAGE_ORDER);
		box_compare_with_eager(test, &config, seed, 3);
	}
}

/* What was not looked at yet stays in the ranges that it lies in. */
static void memblock_deferred_sections_skip_what_is_not_free(struct kunit *test)
{
	struct kpb_config config =
		box_config(BOX_PBA, 4ULL << SECTION_SIZE_BITS);
	u64 section = 1ULL << SECTION_SIZE_BITS;
	unsigned long start, end, pages = PAGES_PER_SECTION;
	struct kpb_machine *m;

	/* with 64K pages a section is but one largest block */
	if (pages == MAX_ORDER_NR_PAGES)
		return;
	/* half of the second section and a quarter of the third */
	config.nr_holes = 1;
	config.holes[0] =
		(struct kpb_region){ BASE + 3 * section / 2, 3 * section / 4 };
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, m->deferred.cnt, 2);
	KUNIT_EXPECT_EQ(test, m->zone.first_deferred_pfn,
			box_start_pfn() + pages);
	/* the last section lacks the block of which the PPA has a chunk */
	KUNIT_EXPECT_EQ(test, m->zone.nr_deferred_pages,
			pages * 9 / 4 - MAX_ORDER_NR_PAGES);
	kpb_next_deferred_section(&start, &end);
	KUNIT_EXPECT_EQ(test, start, box_start_pfn() + pages);
	KUNIT_EXPECT_EQ(test, end, box_start_pfn() + pages * 3 / 2);
	kpb_next_deferred_section(&start, &end);
	KUNIT_EXPECT_EQ(test, start, box_start_pfn() + pages * 9 / 4);
	KUNIT_EXPECT_EQ(test, end, box_start_pfn() + pages * 3);
	KUNIT_EXPECT_EQ(test, m->zone.first_deferred_pfn, end);
	kpb_next_deferred_section(&start, &end);
	KUNIT_EXPECT_EQ(test, start, box_start_pfn() + pages * 3);
	KUNIT_EXPECT_EQ(test, end,
			box_start_pfn() + pages * 4 - MAX_ORDER_NR_PAGES);
	KUNIT_EXPECT_EQ(test, m->zone.nr_deferred_pages, 0);
	KUNIT_EXPECT_EQ(test, m->zone.first_deferred_pfn,
			m->zone.deferred_end_pfn);
}

/* What config says is refused with the number of the region. */
struct memblock_config {
	const char *name;
	struct kpb_region hole[2];
	struct kpb_region reserved[2];
	u32 nr_static;
	const char *msg; /* NULL: it is all right */
};

static const struct memblock_config memblock_configs[] = {
	{ "touching regions",
	  { { BASE + BLOCK, BLOCK }, { BASE + 2 * BLOCK, BLOCK } },
	  { { BASE + P, BLOCK - P }, { BASE + 3 * BLOCK, P } },
	  1,
	  NULL },
	{ "hole that is no page",
	  { { BASE + P / 2, P } },
	  { { 0, 0 } },
	  0,
	  "holes region 0, 0x" },
	{ "reserved part of a page",
	  { { 0, 0 } },
	  { { BASE + P, P / 2 } },
	  0,
	  "give whole pages" },
	{ "hole below RAM",
	  { { BASE - P, 2 * P } },
	  { { 0, 0 } },
	  0,
	  "must lie within RAM" },
	{ "reserved beyond RAM",
	  { { 0, 0 } },
	  { { BASE + 16 * BLOCK - P, 2 * P } },
	  0,
	  "must lie within RAM" },
	{ "reserved to the last byte of all",
	  { { 0, 0 } },
	  { { BASE + P, ~(u64)P + 1 } },
	  0,
	  "must lie within RAM" },
	{ "holes out of order",
	  { { BASE + 2 * BLOCK, P }, { BASE + BLOCK, P } },
	  { { 0, 0 } },
	  0,
	  "holes region 1" },
	{ "reserved regions that overlap",
	  { { 0, 0 } },
	  { { BASE + BLOCK, 2 * P }, { BASE + BLOCK + P, P } },
	  0,
	  "must begin where the one before it ends, or above" },
	{ "reserved hole",
	  { { BASE + BLOCK, BLOCK } },
	  { { BASE + 2 * BLOCK - P, 2 * P } },
	  0,
	  "reserved region 0 at 0x" },
	{ "image in a hole",
	  { { BASE + P, P } },
	  { { 0, 0 } },
	  2,
	  "nr_static_pgtables 2: they are the first pages of RAM" },
	{ "image in reserved memory",
	  { { 0, 0 } },
	  { { BASE, P } },
	  1,
	  "nr_static_pgtables 1: they are the first pages of RAM" },
	{ "an image as large as RAM",
	  { { 0, 0 } },
	  { { 0, 0 } },
	  16 << MAX_PAGE_ORDER,
	  "give fewer pages than RAM has" },
	{ "nothing but a hole",
	  { { BASE, 16 * BLOCK } },
	  { { 0, 0 } },
	  0,
	  "all of ram: leave some" },
};

KUNIT_ARRAY_PARAM(memblock_configs, memblock_configs)

static u32 memblock_nr_regions(const struct kpb_region *regions)
{
	return regions[1].size ? 2 : regions[0].size != 0;
}

static void memblock_config_is_checked(struct kunit *test)
{
	const struct memblock_config *param = test->param_value;
	struct kpb_config config = box_config(BOX_PBA, 16 * BLOCK);
	char msg[KPB_MSG_BYTES] = "";

	config.nr_holes = memblock_nr_regions(param->hole);
	memcpy(config.holes, param->hole, sizeof(param->hole));
	config.nr_reserved = memblock_nr_regions(param->reserved);
	memcpy(config.reserved, param->reserved, sizeof(param->reserved));
	config.nr_static_pgtables = param->nr_static;
	if (!param->msg) {
		box_create(test, &config);
		BOX_EXPECT_CLEAN(test);
		return;
	}
	KUNIT_EXPECT_EQ(test, kpb_check_memory(&config, msg), -EINVAL);
	KUNIT_EXPECT_CONTAINS(test, msg, param->msg);
}

static void memblock_config_has_few_regions(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	char msg[KPB_MSG_BYTES] = "";

	config.nr_reserved = KPB_MAX_REGIONS + 1;
	KUNIT_EXPECT_EQ(test, kpb_check_memory(&config, msg), -EINVAL);
	KUNIT_EXPECT_STREQ(test, msg, "33 reserved regions: give at most 32");
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
	KUNIT_CASE(memblock_alloc_fails_when_the_array_is_full),
	KUNIT_CASE(memblock_remove_needs_room_in_the_array),
	KUNIT_CASE(memblock_alloc_stays_in_its_limits),
	KUNIT_CASE(memblock_alloc_end_can_mean_any),
	KUNIT_CASE(memblock_alloc_fails_when_ram_is_used_up),
	KUNIT_CASE(memblock_alloc_never_gives_address_zero),
	KUNIT_CASE(memblock_alloc_can_be_made_to_fail),
	KUNIT_CASE(memblock_ranges_are_memory_less_reserved),
	KUNIT_CASE(memblock_alloc_takes_the_highest_range_that_fits),
	KUNIT_CASE(memblock_free_all_gives_free_ranges_only),
	KUNIT_CASE(memblock_free_all_goes_up_range_by_range),
	KUNIT_CASE(memblock_deferred_ranges_equal_eager_ones),
	KUNIT_CASE(memblock_deferred_sections_skip_what_is_not_free),
	KUNIT_CASE_PARAM(memblock_config_is_checked,
			 memblock_configs_gen_params),
	KUNIT_CASE(memblock_config_has_few_regions),
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
#undef P
#undef BLOCK
#undef BASE
