// SPDX-License-Identifier: GPL-2.0-only
/*
 * The buddy allocator (csrc/mm/page_alloc.c). Most cases take all of memory
 * first and then free what they need, so that the lists hold nothing else.
 */

#include "box.h"

#define BLOCK MAX_ORDER_NR_PAGES
#define PAGEBLOCK pageblock_nr_pages

static struct kpb_machine *page_alloc_drained(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);

	box_drain();
	KUNIT_ASSERT_EQ(test, m->zone.nr_free_pages, 0);
	KUNIT_ASSERT_EQ(test, m->zone.first_deferred_pfn,
			m->zone.deferred_end_pfn);
	return m;
}

static unsigned long page_alloc_pfn(int migratetype, unsigned int order)
{
	struct page *page = box_alloc_mt(migratetype, order);

	return page ? page_to_pfn(page) : 0;
}

static void page_alloc_set_type(unsigned long pfn, unsigned long nr,
				int migratetype)
{
	unsigned long end = pfn + nr;

	for (; pfn < end; pfn += PAGEBLOCK)
		set_pageblock_migratetype(pfn_to_page(pfn), migratetype);
}

/*
 * The PPA's chunk (2 MB, 32 MB, 32 MB) is gone from the top of 64 MB, 512 MB,
 * 8 GB, which leaves 15 blocks of the largest order, and 2 MB, nothing, 480 MB.
 * Of the blocks the first section (128 MB, 128 MB, 512 MB) is on the lists.
 */
static void page_alloc_fresh_memory_is_in_largest_blocks(struct kunit *test)
{
	const unsigned long nr_blocks = BOX_PICK(15, 4, 1);
	const unsigned long nr_deferred =
		BOX_PICK(0, (480 - 128) << 6, (14 * 512) << 4);
	const unsigned long nr_pieces = BOX_PICK(512, 0, 480 << 4);
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	unsigned long i;

	KUNIT_EXPECT_EQ(test, box_nr_free(MAX_PAGE_ORDER, MIGRATE_MOVABLE),
			nr_blocks);
	for (i = 0; i < nr_blocks; i++)
		KUNIT_EXPECT_EQ(test,
				box_free_pfn(MAX_PAGE_ORDER, MIGRATE_MOVABLE,
					     i),
				box_block_pfn(i));
	KUNIT_EXPECT_EQ(test,
			m->zone.deferred_end_pfn - m->zone.first_deferred_pfn,
			nr_deferred);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages,
			nr_blocks * BLOCK + nr_pieces);
	for (i = 0; i < BOX_SMALL_BYTES >> (PAGE_SHIFT + pageblock_order); i++)
		KUNIT_EXPECT_EQ(test, m->pageblock_migratetype[i],
				MIGRATE_MOVABLE);
	BOX_EXPECT_CLEAN(test);
}

/* However a block's pages come back, they end as one block. */
static void page_alloc_free_merges_up_to_the_largest(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_drained(test);
	unsigned long rising = box_block_pfn(1), falling = box_block_pfn(4);
	unsigned long odd_first = box_block_pfn(7), i;

	for (i = 0; i < BLOCK; i++)
		box_free(rising + i, 0);
	for (i = BLOCK; i--;)
		box_free(falling + i, 0);
	for (i = 0; i < BLOCK; i++)
		box_free(odd_first + (2 * i + 1) % (BLOCK + 1), 0);

	KUNIT_EXPECT_EQ(test, m->zone.free_area[MAX_PAGE_ORDER].nr_free, 3);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 3 * BLOCK);
	/* the last one that came is the head */
	KUNIT_EXPECT_EQ(test, box_free_pfn(MAX_PAGE_ORDER, MIGRATE_MOVABLE, 0),
			odd_first);
	KUNIT_EXPECT_EQ(test, box_free_pfn(MAX_PAGE_ORDER, MIGRATE_MOVABLE, 1),
			falling);
	KUNIT_EXPECT_EQ(test, box_free_pfn(MAX_PAGE_ORDER, MIGRATE_MOVABLE, 2),
			rising);
	box_expect_buddy_clean(test);
}

static void
page_alloc_free_stops_below_the_largest_with_a_hole(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_drained(test);
	unsigned long p = box_block_pfn(1), i;
	unsigned int order;

	/* all but the first page: one block of each order is left */
	for (i = 1; i < BLOCK; i++)
		box_free(p + i, 0);
	for (order = 0; order < MAX_PAGE_ORDER; order++) {
		KUNIT_EXPECT_EQ(test, m->zone.free_area[order].nr_free, 1);
		KUNIT_EXPECT_EQ(test, box_free_pfn(order, MIGRATE_MOVABLE, 0),
				p + (1UL << order));
	}
	KUNIT_EXPECT_EQ(test, m->zone.free_area[MAX_PAGE_ORDER].nr_free, 0);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, BLOCK - 1);
}

static void
page_alloc_free_blocks_of_different_order_stay_apart(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_drained(test);
	unsigned long p = box_block_pfn(1);

	/* the buddy of the order-1 block at 0 is at 2: free, but of order 0 */
	box_free(p + 2, 0);
	box_free(p, 1);
	KUNIT_EXPECT_EQ(test, m->zone.free_area[0].nr_free, 1);
	KUNIT_EXPECT_EQ(test, m->zone.free_area[1].nr_free, 1);
	KUNIT_EXPECT_EQ(test, m->zone.free_area[2].nr_free, 0);
	/* with page 3 it is of order 1, and all of it merges */
	box_free(p + 3, 0);
	KUNIT_EXPECT_EQ(test, m->zone.free_area[0].nr_free, 0);
	KUNIT_EXPECT_EQ(test, m->zone.free_area[1].nr_free, 0);
	KUNIT_EXPECT_EQ(test, m->zone.free_area[2].nr_free, 1);
	/* pages 5 and 6 are neighbours and no buddies */
	box_free(p + 5, 0);
	box_free(p + 6, 0);
	KUNIT_EXPECT_EQ(test, m->zone.free_area[0].nr_free, 2);
}

/* At pageblock_order and above types meet: only 4K has such an order. */
static void
page_alloc_free_merge_of_types_takes_the_freed_one(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_drained(test);
	unsigned long p = box_block_pfn(1);

	if (pageblock_order == MAX_PAGE_ORDER)
		return;
	page_alloc_set_type(p, PAGEBLOCK, MIGRATE_UNMOVABLE);
	box_free(p + PAGEBLOCK, pageblock_order);
	KUNIT_EXPECT_EQ(test, box_nr_free(pageblock_order, MIGRATE_MOVABLE), 1);
	box_free(p, pageblock_order);
	KUNIT_EXPECT_EQ(test, m->zone.free_area[pageblock_order].nr_free, 0);
	KUNIT_EXPECT_EQ(test,
			box_free_pfn(MAX_PAGE_ORDER, MIGRATE_UNMOVABLE, 0), p);
	KUNIT_EXPECT_EQ(test, get_pfnblock_migratetype(p), MIGRATE_UNMOVABLE);
	KUNIT_EXPECT_EQ(test, get_pfnblock_migratetype(p + PAGEBLOCK),
			MIGRATE_UNMOVABLE);
	box_expect_buddy_clean(test);
}

static void page_alloc_free_goes_to_the_head(struct kunit *test)
{
	unsigned long p;

	page_alloc_drained(test);
	p = box_block_pfn(1);
	box_free(p + 16, 0);
	box_free(p + 24, 0);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 0), p + 24);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 1), p + 16);
	/* and the head is what an allocation takes */
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 0), p + 24);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 0), p + 16);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 0), 0);
}

/* buddy_merge_likely(): pages 2 and 3 are free, so 0 may soon be four pages. */
static void
page_alloc_free_goes_to_the_tail_if_a_merge_is_likely(struct kunit *test)
{
	unsigned long p;

	page_alloc_drained(test);
	p = box_block_pfn(1);
	box_free(p + 16, 0);
	box_free(p + 2, 1);
	box_free(p, 0);
	/* the same from the upper half: 33 waits for 32, beside 34 and 35 */
	box_free(p + 34, 1);
	box_free(p + 33, 0);
	/* 48 and 49 free, but of order 0 each has no say: 51's pair is 50 */
	box_free(p + 48, 0);
	box_free(p + 51, 0);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 0), p + 51);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 1), p + 48);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 2), p + 16);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 3), p);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 4), p + 33);
}

static void
page_alloc_free_merged_block_is_placed_by_its_own_order(struct kunit *test)
{
	unsigned long p;

	page_alloc_drained(test);
	p = box_block_pfn(1);
	box_free(p + 64, 2);
	/* pages 0 and 1 merge; beside them an order-1 block decides nothing ... */
	box_free(p + 5, 0);
	box_free(p + 4, 0);
	KUNIT_EXPECT_EQ(test, box_free_pfn(1, MIGRATE_MOVABLE, 0), p + 4);
	/* ... but 12-15 free makes the merged 8-9 the tail of order 1 */
	box_free(p + 12, 2);
	box_free(p + 9, 0);
	box_free(p + 8, 0);
	KUNIT_EXPECT_EQ(test, box_free_pfn(1, MIGRATE_MOVABLE, 0), p + 4);
	KUNIT_EXPECT_EQ(test, box_free_pfn(1, MIGRATE_MOVABLE, 1), p + 8);
}

/* The two largest orders have no next-higher buddy worth waiting for. */
static void
page_alloc_free_near_the_largest_order_goes_to_the_head(struct kunit *test)
{
	unsigned int half = MAX_PAGE_ORDER - 1, quarter = MAX_PAGE_ORDER - 2;
	unsigned long p2, p5, p6;

	page_alloc_drained(test);
	p2 = box_block_pfn(2);
	p5 = box_block_pfn(5);
	p6 = box_block_pfn(6);

	/* blocks 2 and 3 would be buddies if the order were not the largest */
	box_free(p2 + BLOCK, MAX_PAGE_ORDER);
	box_free(p5, half);
	box_free(p2, half);
	KUNIT_EXPECT_EQ(test, box_free_pfn(half, MIGRATE_MOVABLE, 0), p2);
	KUNIT_EXPECT_EQ(test, box_free_pfn(half, MIGRATE_MOVABLE, 1), p5);

	/* one order below that the rule applies */
	box_free(p5 + BLOCK / 2, quarter);
	box_free(p6 + BLOCK / 2, half);
	box_free(p6, quarter);
	KUNIT_EXPECT_EQ(test, box_free_pfn(quarter, MIGRATE_MOVABLE, 0),
			p5 + BLOCK / 2);
	KUNIT_EXPECT_EQ(test, box_free_pfn(quarter, MIGRATE_MOVABLE, 1), p6);
}

/* Boot memory: largest aligned pieces in rising order, each to the tail. */
static void
page_alloc_boot_memory_is_freed_in_aligned_pieces(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_drained(test);
	unsigned long p = box_block_pfn(1);

	/* 3, 4-7, 8-15, 16-23, 24, and 40, 41 whose pairs are in use */
	__free_pages_memory(p + 3, p + 25);
	__free_pages_memory(p + 41, p + 42);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 0), p + 3);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 1), p + 24);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 2), p + 41);
	KUNIT_EXPECT_EQ(test, box_free_pfn(2, MIGRATE_MOVABLE, 0), p + 4);
	KUNIT_EXPECT_EQ(test, box_free_pfn(3, MIGRATE_MOVABLE, 0), p + 8);
	KUNIT_EXPECT_EQ(test, box_free_pfn(3, MIGRATE_MOVABLE, 1), p + 16);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 23);
	/* an empty range is nothing */
	__free_pages_memory(p + 60, p + 60);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 23);
}

/* Frame 0 is as aligned as can be. */
static void page_alloc_memory_from_frame_zero_is_usable(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct page *page;

	config.phys_base = 0;
	box_create(test, &config);
	page = box_alloc_mt(MIGRATE_MOVABLE, MAX_PAGE_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, page_to_pfn(page), 0);
	___free_pages(page, MAX_PAGE_ORDER, FPI_NONE);
	BOX_EXPECT_CLEAN(test);
}

static void page_alloc_expand_keeps_one_block_of_each_order(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_drained(test);
	unsigned long p = box_block_pfn(1);
	unsigned int order;

	box_free(p, MAX_PAGE_ORDER);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 0), p);
	for (order = 0; order < MAX_PAGE_ORDER; order++) {
		KUNIT_EXPECT_EQ(test, m->zone.free_area[order].nr_free, 1);
		KUNIT_EXPECT_EQ(test, box_free_pfn(order, MIGRATE_MOVABLE, 0),
				p + (1UL << order));
	}
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, BLOCK - 1);

	/* the smallest that suffices: 1, then 2 of the pair 2-3, then 4-7 */
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 0), p + 1);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 0), p + 2);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 2), p + 4);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 0), p + 3);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 1), p + 8);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, BLOCK - 10);
	box_expect_buddy_clean(test);
}

/* A block of the largest order is taken over whole: at 4K two pageblocks. */
static void page_alloc_claim_takes_whole_blocks(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_drained(test);
	unsigned long p = box_block_pfn(1), i;

	box_free(p, MAX_PAGE_ORDER);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_UNMOVABLE, 0), p);
	for (i = 0; i < BLOCK; i += PAGEBLOCK)
		KUNIT_EXPECT_EQ(test, get_pfnblock_migratetype(p + i),
				MIGRATE_UNMOVABLE);
	KUNIT_EXPECT_EQ(test, get_pfnblock_migratetype(p - 1), MIGRATE_MOVABLE);
	KUNIT_EXPECT_EQ(test, get_pfnblock_migratetype(p + BLOCK),
			MIGRATE_MOVABLE);
	KUNIT_EXPECT_EQ(test, m->counters.buddy_claims, 1);
	KUNIT_EXPECT_EQ(test, m->counters.buddy_steals, 0);
	KUNIT_EXPECT_EQ(test, box_nr_free(0, MIGRATE_UNMOVABLE), 1);
	KUNIT_EXPECT_EQ(test,
			box_nr_free(MAX_PAGE_ORDER - 1, MIGRATE_UNMOVABLE), 1);
	box_expect_buddy_clean(test);
}

static void page_alloc_claim_takes_the_largest(struct kunit *test)
{
	unsigned long large;

	page_alloc_drained(test);
	large = box_block_pfn(4);
	/* half a pageblock is claimable, too, but it is the smaller one */
	box_free(box_block_pfn(1), pageblock_order - 1);
	box_free(large, pageblock_order);
	box_free(box_block_pfn(6), pageblock_order - 1);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_UNMOVABLE, 0), large);
	KUNIT_EXPECT_EQ(test, get_pfnblock_migratetype(large),
			MIGRATE_UNMOVABLE);
	if (PAGEBLOCK < BLOCK)
		KUNIT_EXPECT_EQ(test,
				get_pfnblock_migratetype(large + PAGEBLOCK),
				MIGRATE_MOVABLE);
	box_expect_buddy_clean(test);
}

/*
 * A part of a pageblock of N pages, of which some are free, some movable and
 * in use, the rest in use and unmovable. It is claimed if free pages and
 * pages of alike type are at least N / 2.
 */
struct page_alloc_claim {
	const char *name;
	int start_type;
	int block_type;
	unsigned long nr_free;
	unsigned long nr_movable;
	bool claimed;
};

#define N PAGEBLOCK

static const struct page_alloc_claim page_alloc_claims[] = {
	/* a movable block: alike are those that cannot move, N - free - movable */
	{ "unmovable from movable, exactly half", MIGRATE_UNMOVABLE,
	  MIGRATE_MOVABLE, N / 4, N / 2, true },
	{ "unmovable from movable, one below half", MIGRATE_UNMOVABLE,
	  MIGRATE_MOVABLE, N / 4, N / 2 + 1, false },
	{ "reclaimable from movable, exactly half", MIGRATE_RECLAIMABLE,
	  MIGRATE_MOVABLE, 1, N / 2, true },
	{ "reclaimable from movable, one below half", MIGRATE_RECLAIMABLE,
	  MIGRATE_MOVABLE, 1, N / 2 + 1, false },
	/* a movable request: alike are those that can */
	{ "movable from unmovable, exactly half", MIGRATE_MOVABLE,
	  MIGRATE_UNMOVABLE, N / 4, N / 4, true },
	{ "movable from unmovable, one below half", MIGRATE_MOVABLE,
	  MIGRATE_UNMOVABLE, N / 4, N / 4 - 1, false },
	{ "movable from reclaimable, exactly half", MIGRATE_MOVABLE,
	  MIGRATE_RECLAIMABLE, N / 4, N / 4, true },
	{ "movable from reclaimable, one below half", MIGRATE_MOVABLE,
	  MIGRATE_RECLAIMABLE, N / 4, N / 4 - 1, false },
	/* between the other two nothing is known about pages in use */
	{ "unmovable from reclaimable, exactly half", MIGRATE_UNMOVABLE,
	  MIGRATE_RECLAIMABLE, N / 2, 0, true },
	{ "unmovable from reclaimable, one below half", MIGRATE_UNMOVABLE,
	  MIGRATE_RECLAIMABLE, N / 2 - 1, 0, false },
	{ "reclaimable from unmovable, exactly half", MIGRATE_RECLAIMABLE,
	  MIGRATE_UNMOVABLE, N / 2, 0, true },
	{ "reclaimable from unmovable, one below half", MIGRATE_RECLAIMABLE,
	  MIGRATE_UNMOVABLE, N / 2 - 1, N / 2 + 1, false },
	/* movable requests do not bother with pieces below half the order */
	{ "movable, a piece of half the order", MIGRATE_MOVABLE,
	  MIGRATE_UNMOVABLE, 1UL << (pageblock_order / 2), N / 2, true },
	{ "movable, a piece below half the order", MIGRATE_MOVABLE,
	  MIGRATE_UNMOVABLE, 1UL << (pageblock_order / 2 - 1), N / 2, false },
};
#undef N

KUNIT_ARRAY_PARAM(page_alloc_claims, page_alloc_claims)

static void page_alloc_claim_of_a_part_needs_half(struct kunit *test)
{
	const struct page_alloc_claim *param = test->param_value;
	struct kpb_machine *m = page_alloc_drained(test);
	unsigned long p = box_block_pfn(2), pfn;
	int type = param->claimed ? param->start_type : param->block_type;

	page_alloc_set_type(p, PAGEBLOCK, param->block_type);
	__free_pages_memory(p, p + param->nr_free);
	memset(kpb_page_type(p + PAGEBLOCK - param->nr_movable), KPB_PG_LRU,
	       param->nr_movable);

	pfn = page_alloc_pfn(param->start_type, 0);
	KUNIT_EXPECT_GE(test, pfn, p);
	KUNIT_EXPECT_LT(test, pfn, p + param->nr_free);
	KUNIT_EXPECT_EQ(test, m->counters.buddy_claims, param->claimed);
	KUNIT_EXPECT_EQ(test, m->counters.buddy_steals, !param->claimed);
	KUNIT_EXPECT_EQ(test, get_pfnblock_migratetype(p), type);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, param->nr_free - 1);
	/* all free pages are on the lists of the block's type now */
	box_expect_buddy_clean(test);
}

/* Pages that change type go to the tail of the lists. */
static void page_alloc_claim_moves_to_the_tail(struct kunit *test)
{
	unsigned long own, p;

	page_alloc_drained(test);
	own = box_block_pfn(1);
	p = box_block_pfn(2);
	/* an unmovable order-0 page is there, but the request is of order 1 */
	page_alloc_set_type(own, BLOCK, MIGRATE_UNMOVABLE);
	box_free(own, 0);
	box_free(p + 2, 0);
	box_free(p + 4, 1);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_UNMOVABLE, 1), p + 4);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_UNMOVABLE, 0), own);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_UNMOVABLE, 1), p + 2);
}

/* The last pageblock of the zone is only half there: nobody claims it. */
static void page_alloc_claim_leaves_a_cut_pageblock_alone(struct kunit *test)
{
	struct kpb_config config =
		box_config(BOX_PBA,
			   BOX_SMALL_BYTES + PAGEBLOCK / 2 * PAGE_SIZE);
	struct kpb_machine *m;
	unsigned long p;

	box_refill_orders(&config, BOX_MIN_ORDER, 0, 0);
	m = box_create(test, &config);
	box_drain();
	p = box_block_pfn(16);
	/* a whole pageblock with these pages would be claimed: see above */
	box_free(p, pageblock_order - 2);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_UNMOVABLE, 0), p);
	KUNIT_EXPECT_EQ(test, m->counters.buddy_claims, 0);
	KUNIT_EXPECT_EQ(test, m->counters.buddy_steals, 1);
	KUNIT_EXPECT_EQ(test, get_pfnblock_migratetype(p), MIGRATE_MOVABLE);
	box_expect_buddy_clean(test);
}

/* The first pageblock of the zone is whole, and so is the last one. */
static void page_alloc_claim_takes_the_outermost_pageblocks(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_drained(test);
	const unsigned long places[] = { m->zone.zone_start_pfn,
					 m->zone.zone_end_pfn - PAGEBLOCK };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		box_free(places[i], pageblock_order - 1);
		KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_UNMOVABLE, 0),
				places[i]);
		KUNIT_EXPECT_EQ(test, m->counters.buddy_claims, i + 1);
		KUNIT_EXPECT_EQ(test, get_pfnblock_migratetype(places[i]),
				MIGRATE_UNMOVABLE);
		box_drain();
	}
}

static void page_alloc_steal_takes_the_smallest(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_drained(test);
	unsigned long p1 = box_block_pfn(1), p2 = box_block_pfn(2);

	/* everything in use can move, so nothing can be claimed */
	memset(kpb_page_type(p1), KPB_PG_LRU, BLOCK);
	memset(kpb_page_type(p2), KPB_PG_LRU, BLOCK);
	memset(kpb_page_type(p1), 0, 32);
	memset(kpb_page_type(p2), 0, 4);
	box_free(p1, 5);
	box_free(p2, 2);

	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_UNMOVABLE, 1), p2);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_UNMOVABLE, 3), p1);
	KUNIT_EXPECT_EQ(test, m->counters.buddy_steals, 2);
	KUNIT_EXPECT_EQ(test, m->counters.buddy_claims, 0);
	KUNIT_EXPECT_EQ(test, get_pfnblock_migratetype(p1), MIGRATE_MOVABLE);
	KUNIT_EXPECT_EQ(test, get_pfnblock_migratetype(p2), MIGRATE_MOVABLE);
	/* what is not needed stays with its type */
	KUNIT_EXPECT_EQ(test, box_free_pfn(1, MIGRATE_MOVABLE, 0), p2 + 2);
	KUNIT_EXPECT_EQ(test, box_free_pfn(3, MIGRATE_MOVABLE, 0), p1 + 8);
	KUNIT_EXPECT_EQ(test, box_free_pfn(4, MIGRATE_MOVABLE, 0), p1 + 16);
	box_expect_buddy_clean(test);
}

struct page_alloc_fallback {
	const char *name;
	int type;
	int first;
	int second;
};

static const struct page_alloc_fallback page_alloc_fallbacks[] = {
	{ "unmovable", MIGRATE_UNMOVABLE, MIGRATE_RECLAIMABLE,
	  MIGRATE_MOVABLE },
	{ "movable", MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE },
	{ "reclaimable", MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE,
	  MIGRATE_MOVABLE },
};

KUNIT_ARRAY_PARAM(page_alloc_fallbacks, page_alloc_fallbacks)

static void page_alloc_fallback_asks_in_order(struct kunit *test)
{
	const struct page_alloc_fallback *param = test->param_value;
	unsigned long p1, p2, p3;

	page_alloc_drained(test);
	p1 = box_block_pfn(1);
	p2 = box_block_pfn(2);
	p3 = box_block_pfn(3);
	page_alloc_set_type(p1, BLOCK, param->first);
	page_alloc_set_type(p2, BLOCK, param->second);
	page_alloc_set_type(p3, BLOCK, param->type);
	box_free(p1, MAX_PAGE_ORDER);
	box_free(p2, MAX_PAGE_ORDER);
	box_free(p3, MAX_PAGE_ORDER);
	/* one's own first */
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(param->type, MAX_PAGE_ORDER), p3);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(param->type, MAX_PAGE_ORDER), p1);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(param->type, MAX_PAGE_ORDER), p2);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(param->type, MAX_PAGE_ORDER), 0);
	KUNIT_EXPECT_EQ(test, get_pfnblock_migratetype(p1), param->type);
	KUNIT_EXPECT_EQ(test, get_pfnblock_migratetype(p2), param->type);
}

/* Claiming looks at orders first and at types second. */
static void page_alloc_fallback_prefers_the_larger_order(struct kunit *test)
{
	unsigned long p1, p2;

	page_alloc_drained(test);
	p1 = box_block_pfn(1);
	p2 = box_block_pfn(2);
	page_alloc_set_type(p1, BLOCK, MIGRATE_RECLAIMABLE);
	box_free(p1, pageblock_order - 1);
	box_free(p2, pageblock_order);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_UNMOVABLE, 0), p2);
}

/* Own blocks are no fallback, nor is a list that is empty. */
static void page_alloc_fallback_is_another_type(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_drained(test);
	struct free_area *area = &m->zone.free_area[pageblock_order];
	const unsigned int order = pageblock_order;

	KUNIT_EXPECT_EQ(test,
			find_suitable_fallback(area, order, MIGRATE_MOVABLE,
					       false),
			-1);
	box_free(box_block_pfn(1), order);
	KUNIT_EXPECT_EQ(test,
			find_suitable_fallback(area, order, MIGRATE_MOVABLE,
					       false),
			-1);
	KUNIT_EXPECT_EQ(test,
			find_suitable_fallback(area, order, MIGRATE_UNMOVABLE,
					       true),
			MIGRATE_MOVABLE);
	/* not worth claiming, whatever there is */
	KUNIT_EXPECT_EQ(test,
			find_suitable_fallback(&m->zone.free_area[0], 0,
					       MIGRATE_MOVABLE, true),
			-2);
}

static void page_alloc_refuses_more_than_the_largest_order(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct page *page;

	box_create(test, &config);
	BOX_EXPECT_WARNINGS(test, 1,
			    page = box_alloc_mt(MIGRATE_MOVABLE,
						MAX_PAGE_ORDER + 1));
	KUNIT_EXPECT_NULL(test, page);
	BOX_EXPECT_WARNINGS(test, 0,
			    page = box_alloc_mt(MIGRATE_MOVABLE,
						MAX_PAGE_ORDER));
	KUNIT_EXPECT_NOT_NULL(test, page);
}

static void page_alloc_empty_zone_fails_quietly(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_drained(test);

	KUNIT_EXPECT_NULL(test, box_alloc_mt(MIGRATE_UNMOVABLE, 0));
	KUNIT_EXPECT_NULL(test, box_alloc_mt(MIGRATE_MOVABLE, 2));
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

static void page_alloc_gfp_decides_the_type(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, gfp_migratetype(GFP_KERNEL), MIGRATE_UNMOVABLE);
	KUNIT_EXPECT_EQ(test, gfp_migratetype(GFP_ATOMIC), MIGRATE_UNMOVABLE);
	KUNIT_EXPECT_EQ(test, gfp_migratetype(GFP_KERNEL | __GFP_MOVABLE),
			MIGRATE_MOVABLE);
	KUNIT_EXPECT_EQ(test, gfp_migratetype(GFP_KERNEL | __GFP_RECLAIMABLE),
			MIGRATE_RECLAIMABLE);
}

static void page_alloc_prepares_the_page(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m;
	struct page *page;
	u8 *bytes;

	config.zero_pages = 1;
	m = box_create(test, &config);
	page = box_alloc_mt(MIGRATE_UNMOVABLE, 1);
	KUNIT_ASSERT_NOT_NULL(test, page);
	bytes = page_address(page);
	memset(bytes, 0xff, 2 * PAGE_SIZE);
	page->mapping = page;
	set_page_private(page, 7);
	___free_pages(page, 1, FPI_NONE);

	KUNIT_EXPECT_EQ(test, m->counters.zeroed_pages, 0);
	KUNIT_EXPECT_PTR_EQ(test,
			    __alloc_pages_noprof(GFP_KERNEL | __GFP_ZERO, 1),
			    page);
	KUNIT_EXPECT_NULL(test, page->mapping);
	KUNIT_EXPECT_EQ(test, page_private(page), 0);
	KUNIT_EXPECT_EQ(test, m->counters.zeroed_pages, 2);
	KUNIT_EXPECT_EQ(test, bytes[0], 0);
	KUNIT_EXPECT_EQ(test, bytes[2 * PAGE_SIZE - 1], 0);

	/* without the option zeroing is only counted */
	m->config.zero_pages = 0;
	bytes[0] = 0xff;
	___free_pages(page, 1, FPI_NONE);
	KUNIT_EXPECT_PTR_EQ(test,
			    __alloc_pages_noprof(GFP_KERNEL | __GFP_ZERO, 1),
			    page);
	KUNIT_EXPECT_EQ(test, m->counters.zeroed_pages, 4);
	KUNIT_EXPECT_EQ(test, bytes[0], 0xff);
}

static void page_alloc_charges_and_uncharges(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	struct page *page = __alloc_pages_noprof(GFP_KERNEL | __GFP_ACCOUNT, 0);

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_charges, 1);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_uncharges, 0);
	___free_pages(page, 0, FPI_NONE);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_uncharges, 1);
	/* a page that was not charged is not uncharged */
	___free_pages(box_alloc_mt(MIGRATE_UNMOVABLE, 0), 0, FPI_NONE);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_uncharges, 1);
}

/* VM_BUG_ON() is for debug builds. */
#ifdef KPB_DEBUG
static void page_alloc_free_twice_is_a_bug(struct kunit *test)
{
	unsigned long p;

	page_alloc_drained(test);
	p = box_block_pfn(1);
	box_free(p, 0);
	BOX_EXPECT_STOP(test, box_free(p, 0), "BUG");
}

static void page_alloc_free_unaligned_is_a_bug(struct kunit *test)
{
	unsigned long p;

	page_alloc_drained(test);
	p = box_block_pfn(1);
	BOX_EXPECT_STOP(test, box_free(p + 1, 1), "BUG");
}
#endif

/* Sections come one by one, when the last large movable block has gone. */
static void page_alloc_deferred_sections_come_when_needed(struct kunit *test)
{
	struct kpb_config config =
		box_config(BOX_PBA, 4ULL << SECTION_SIZE_BITS);
	struct kpb_machine *m = box_create(test, &config);
	unsigned long nr_blocks = PAGES_PER_SECTION / BLOCK, i;

	KUNIT_EXPECT_EQ(test, m->zone.first_deferred_pfn,
			box_start_pfn() + PAGES_PER_SECTION);
	for (i = 0; i < nr_blocks; i++)
		KUNIT_EXPECT_EQ(test,
				page_alloc_pfn(MIGRATE_MOVABLE, MAX_PAGE_ORDER),
				box_block_pfn(i));
	KUNIT_EXPECT_EQ(test, m->zone.first_deferred_pfn,
			box_start_pfn() + PAGES_PER_SECTION);
	/* whoever asks next, for whatever */
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_UNMOVABLE, 0),
			box_block_pfn(nr_blocks));
	KUNIT_EXPECT_EQ(test, m->zone.first_deferred_pfn,
			box_start_pfn() + 2 * PAGES_PER_SECTION);
}

/*
 * "Every allocation finds what it would find on a machine that was
 * initialised at once."
 */
static void page_alloc_deferred_equals_eager(struct kunit *test)
{
	struct kpb_config config =
		box_config(BOX_PBA, 4ULL << SECTION_SIZE_BITS);
	u64 seed;

	for (seed = 1; seed <= 8; seed++) {
		box_compare_with_eager(test, &config, seed, MAX_PAGE_ORDER);
		box_compare_with_eager(test, &config, seed, MAX_PAGE_ORDER - 2);
		box_compare_with_eager(test, &config, seed, 3);
	}
}

/* --- watermarks ----------------------------------------------------------- */

struct page_alloc_wmarks {
	const char *name;
	unsigned long nr_pages;
	unsigned long min, low, high;
};

/*
 * min_free_kbytes is the root of 16 times the kilobytes, from 128 to 262144;
 * the gap is a quarter of it or a thousandth of the zone.
 */
static const struct page_alloc_wmarks page_alloc_wmarks[] = {
	/* sqrt(16 * 256) = 64 is too little */
	{ "256 KB", 0x40000 >> PAGE_SHIFT, 128 >> (PAGE_SHIFT - 10),
	  BOX_PICK(40, 10, 2), BOX_PICK(48, 12, 2) },
	/* sqrt(16 * 63488) = 1007; 491520: 2804; 8355840: 11562 */
	{ "the small box", BOX_PICK(15872, 30720, 130560),
	  BOX_PICK(251, 175, 180), BOX_PICK(313, 218, 310),
	  BOX_PICK(375, 261, 440) },
	/* sqrt(16 * 2^20) = 4096 */
	{ "1 GB", 1UL << (30 - PAGE_SHIFT), 4096 >> (PAGE_SHIFT - 10),
	  BOX_PICK(1286, 321, 80), BOX_PICK(1548, 386, 96) },
	/* sqrt(16 * 2^30) = 2^17 */
	{ "1 TB", 1UL << (40 - PAGE_SHIFT), 131072 >> (PAGE_SHIFT - 10),
	  BOX_PICK(301203, 75300, 18825), BOX_PICK(569638, 142408, 35602) },
	/* sqrt(16 * 2^34) = 2^19 is too much */
	{ "16 TB", 1UL << (44 - PAGE_SHIFT), 262144 >> (PAGE_SHIFT - 10),
	  BOX_PICK(65536 + 4294967, 16384 + 1073741, 4096 + 268435),
	  BOX_PICK(65536 + 2 * 4294967, 16384 + 2 * 1073741,
		   4096 + 2 * 268435) },
};

KUNIT_ARRAY_PARAM(page_alloc_wmarks, page_alloc_wmarks)

static void page_alloc_watermarks_follow_the_size(struct kunit *test)
{
	const struct page_alloc_wmarks *param = test->param_value;
	struct zone zone = { .managed_pages = param->nr_pages };

	__setup_per_zone_wmarks(&zone);
	KUNIT_EXPECT_EQ(test, min_wmark_pages(&zone), param->min);
	KUNIT_EXPECT_EQ(test, low_wmark_pages(&zone), param->low);
	KUNIT_EXPECT_EQ(test, high_wmark_pages(&zone), param->high);
}

/* What the page tables of the linear map took is not managed. */
static void page_alloc_watermarks_are_set_at_boot(struct kunit *test)
{
	const struct page_alloc_wmarks *param = &page_alloc_wmarks[1];
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	struct kpb_state state;

	KUNIT_EXPECT_EQ(test, m->zone.managed_pages, param->nr_pages);
	box_granule.state(&state);
	KUNIT_EXPECT_EQ(test, state.watermark_min, param->min);
	KUNIT_EXPECT_EQ(test, state.watermark_low, param->low);
	KUNIT_EXPECT_EQ(test, state.watermark_high, param->high);
	/* what comes later does not change them */
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_EQ(test, m->zone.managed_pages, param->nr_pages);
	KUNIT_EXPECT_EQ(test, min_wmark_pages(&m->zone), param->min);
}

struct page_alloc_mark {
	const char *name;
	unsigned long mark;
	unsigned int alloc_flags;
	unsigned int order;
	long enough; /* one page less is not */
};

static const struct page_alloc_mark page_alloc_marks[] = {
	{ "a page above the mark", 100, 0, 0, 101 },
	{ "an order above the mark", 100, 0, 3, 108 },
	{ "half of it", 100, ALLOC_MIN_RESERVE, 0, 51 },
	{ "half of an odd one", 101, ALLOC_MIN_RESERVE, 0, 52 },
	{ "not sleeping is no claim", 100, ALLOC_NON_BLOCK, 0, 101 },
	/* 100 - 50 - 12 */
	{ "GFP_ATOMIC", 100, ALLOC_MIN_RESERVE | ALLOC_NON_BLOCK, 0, 39 },
	/* 101 - 50 - 12, and 7 pages */
	{ "GFP_ATOMIC, order 3", 101, ALLOC_MIN_RESERVE | ALLOC_NON_BLOCK, 3,
	  47 },
	{ "the victim of the OOM killer", 100, ALLOC_OOM, 0, 51 },
	{ "the same in a hurry", 100, ALLOC_MIN_RESERVE | ALLOC_OOM, 0, 26 },
	{ "no mark", 0, 0, 0, 1 },
};

KUNIT_ARRAY_PARAM(page_alloc_marks, page_alloc_marks)

static void page_alloc_watermark_is_not_reached(struct kunit *test)
{
	const struct page_alloc_mark *param = test->param_value;
	struct kpb_machine *m = page_alloc_drained(test);

	box_free(box_block_pfn(1), MAX_PAGE_ORDER);
	KUNIT_EXPECT_TRUE(test,
			  __zone_watermark_ok(&m->zone, param->order,
					      param->mark, param->alloc_flags,
					      param->enough));
	KUNIT_EXPECT_FALSE(test,
			   __zone_watermark_ok(&m->zone, param->order,
					       param->mark, param->alloc_flags,
					       param->enough - 1));
}

/* Single pages are many enough; for more there must be a block, of any type. */
static void page_alloc_watermark_wants_a_block(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_drained(test);
	struct zone *zone = &m->zone;
	unsigned long p = box_block_pfn(1);
	unsigned int order;

	page_alloc_set_type(p, BLOCK, MIGRATE_RECLAIMABLE);
	KUNIT_EXPECT_TRUE(test, __zone_watermark_ok(zone, 0, 0, 0, 10000));
	KUNIT_EXPECT_FALSE(test, __zone_watermark_ok(zone, 1, 0, 0, 10000));
	box_free(p, 2);
	for (order = 1; order <= MAX_PAGE_ORDER; order++)
		KUNIT_EXPECT_EQ(test,
				__zone_watermark_ok(zone, order, 0, 0, 10000),
				order <= 2);
}

/* Memory that the buddy has not seen yet counts, pages on the lists do not. */
static void page_alloc_watermark_counts_what_is_free(struct kunit *test)
{
	struct kpb_config config =
		box_config(BOX_PBA, 4ULL << SECTION_SIZE_BITS);
	struct kpb_machine *m = box_create(test, &config);
	long nr_free = (long)m->zone.managed_pages;

	KUNIT_EXPECT_GE(test, m->zone.nr_deferred_pages, 1);
	KUNIT_EXPECT_EQ(test, kpb_nr_free_pages(&m->zone), nr_free);
	setup_per_cpu_pageset();
	KUNIT_EXPECT_NOT_NULL(test, box_alloc_mt(MIGRATE_MOVABLE, 0));
	KUNIT_EXPECT_EQ(test, kpb_nr_free_pages(&m->zone),
			nr_free - m->pcp[0].batch);
	KUNIT_EXPECT_EQ(test, m->pcp[0].count, m->pcp[0].batch - 1);
	drain_all_pages();
	KUNIT_EXPECT_EQ(test, kpb_nr_free_pages(&m->zone), nr_free - 1);
}

/* --- per-CPU lists -------------------------------------------------------- */

struct page_alloc_batch {
	const char *name;
	unsigned long nr_pages;
	int batch;
};

/* A quarter of a thousandth, at most of 1 MB, and half of it more: 2^n - 1. */
static const struct page_alloc_batch page_alloc_batches[] = {
	{ "hardly any memory", 1023, 0 },
	{ "one", 4096, 0 },
	{ "two", 8192, 1 },
	{ "three", 12288, 3 },
	{ "four", 16384, 3 },
	{ "small box", BOX_PICK(15872, 30720, 130560), BOX_PICK(3, 7, 3) },
	{ "1 GB at 4K", 1 << 18, BOX_PICK(63, 15, 3) },
	{ "large", 1UL << 28, BOX_PICK(63, 15, 3) },
};

KUNIT_ARRAY_PARAM(page_alloc_batches, page_alloc_batches)

static void page_alloc_batch_follows_the_size(struct kunit *test)
{
	const struct page_alloc_batch *param = test->param_value;
	struct zone zone = { .managed_pages = param->nr_pages };

	KUNIT_EXPECT_EQ(test, zone_batchsize(&zone), param->batch);
}

/* The low watermark is spread over the CPUs: 313 / 4, 218 / 4, 310 / 4. */
static void page_alloc_pageset_follows_the_low_watermark(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	u32 cpu;

	KUNIT_EXPECT_EQ(test, m->config.nr_cpus, 4);
	for (cpu = 0; cpu < 4; cpu++) {
		KUNIT_EXPECT_EQ(test, m->pcp[cpu].batch, 1);
		KUNIT_EXPECT_EQ(test, m->pcp[cpu].high, 0);
	}
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	for (cpu = 0; cpu < 4; cpu++) {
		KUNIT_EXPECT_EQ(test, m->pcp[cpu].batch, BOX_PICK(3, 7, 3));
		KUNIT_EXPECT_EQ(test, m->pcp[cpu].high, BOX_PICK(78, 54, 77));
	}
	/* four batches at least, however many CPUs there are */
	config.nr_cpus = 256;
	m = box_create(test, &config);
	setup_per_cpu_pageset();
	KUNIT_EXPECT_EQ(test, m->pcp[255].high, BOX_PICK(12, 28, 12));
	/* and one page where the zone is too small for more */
	m->zone.managed_pages = 100;
	setup_per_cpu_pageset();
	KUNIT_EXPECT_EQ(test, m->pcp[255].batch, 1);
	KUNIT_EXPECT_EQ(test, m->pcp[255].high, 4);
}

/* Pages by order; never fewer than two blocks, not even of the THP order. */
static void page_alloc_batch_is_scaled_by_order(struct kunit *test)
{
	struct per_cpu_pages pcp = { .high = 252, .batch = 63 };

	KUNIT_EXPECT_EQ(test, nr_pcp_alloc(&pcp, 0), 63);
	KUNIT_EXPECT_EQ(test, nr_pcp_alloc(&pcp, 1), 31);
	KUNIT_EXPECT_EQ(test, nr_pcp_alloc(&pcp, 2), 15);
	KUNIT_EXPECT_EQ(test, nr_pcp_alloc(&pcp, 3), 7);
	KUNIT_EXPECT_EQ(test, nr_pcp_alloc(&pcp, PMD_ORDER), 2);
	KUNIT_EXPECT_EQ(test, nr_pcp_free(&pcp), 63);
	pcp = (struct per_cpu_pages){ .high = 12, .batch = 3 };
	KUNIT_EXPECT_EQ(test, nr_pcp_alloc(&pcp, 0), 3);
	KUNIT_EXPECT_EQ(test, nr_pcp_alloc(&pcp, 1), 2);
	KUNIT_EXPECT_EQ(test, nr_pcp_alloc(&pcp, 3), 2);
	/* a batch of one has no second block */
	pcp = (struct per_cpu_pages){ .high = 4, .batch = 1 };
	KUNIT_EXPECT_EQ(test, nr_pcp_alloc(&pcp, 0), 1);
	KUNIT_EXPECT_EQ(test, nr_pcp_alloc(&pcp, 3), 1);
	KUNIT_EXPECT_EQ(test, nr_pcp_free(&pcp), 1);
	/* room for just one batch */
	pcp = (struct per_cpu_pages){ .high = 3, .batch = 3 };
	KUNIT_EXPECT_EQ(test, nr_pcp_alloc(&pcp, 0), 3);
	KUNIT_EXPECT_EQ(test, nr_pcp_free(&pcp), 3);
	/* the boot pageset */
	pcp = (struct per_cpu_pages){ .high = 0, .batch = 1 };
	KUNIT_EXPECT_EQ(test, nr_pcp_alloc(&pcp, 2), 1);
	KUNIT_EXPECT_EQ(test, nr_pcp_free(&pcp), 1);
}

static void page_alloc_index_and_order_agree(struct kunit *test)
{
	unsigned int order, pindex = 0;
	int mt;

	for (order = 0; order <= 3; order++)
		for (mt = 0; mt < MIGRATE_PCPTYPES; mt++, pindex++) {
			KUNIT_EXPECT_EQ(test, order_to_pindex(mt, order),
					pindex);
			KUNIT_EXPECT_EQ(test, pindex_to_order(pindex), order);
		}
	KUNIT_EXPECT_EQ(test, order_to_pindex(MIGRATE_UNMOVABLE, PMD_ORDER),
			12);
	KUNIT_EXPECT_EQ(test, order_to_pindex(MIGRATE_RECLAIMABLE, PMD_ORDER),
			12);
	KUNIT_EXPECT_EQ(test, order_to_pindex(MIGRATE_MOVABLE, PMD_ORDER), 13);
	KUNIT_EXPECT_EQ(test, pindex_to_order(12), PMD_ORDER);
	KUNIT_EXPECT_EQ(test, pindex_to_order(13), PMD_ORDER);
}

/* A drained zone whose CPUs keep up to @high pages. */
static struct kpb_machine *page_alloc_with_lists(struct kunit *test, int batch,
						 int high)
{
	struct kpb_machine *m = page_alloc_drained(test);
	u32 cpu;

	for (cpu = 0; cpu < m->config.nr_cpus; cpu++) {
		m->pcp[cpu].batch = batch;
		m->pcp[cpu].high = high;
	}
	memset(&m->counters, 0, sizeof(m->counters));
	return m;
}

static void page_alloc_lists_are_for_small_orders_and_thp(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_with_lists(test, 1, 1 << 20);
	unsigned int order;
	int kept = 0;

	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		box_free(box_block_pfn(order), order);
		if (order <= 3 || order == PMD_ORDER)
			kept += 1 << order;
		KUNIT_EXPECT_EQ(test, m->pcp[0].count, kept);
	}
	m->config.no_pcp = 1;
	box_free(box_block_pfn(14), 0);
	KUNIT_EXPECT_EQ(test, m->pcp[0].count, kept);
	KUNIT_EXPECT_EQ(test, m->zone.free_area[0].nr_free, 1);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 0),
			box_block_pfn(14));
	KUNIT_EXPECT_EQ(test, m->counters.pcp_bulk_allocs, 0);
	box_expect_buddy_clean(test);
}

/* Last in, first out; four neighbours are no block before a drain. */
static void page_alloc_pages_on_lists_do_not_merge(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_with_lists(test, 3, 100);
	unsigned long p = box_block_pfn(1), i;
	struct kpb_state state;

	for (i = 0; i < 4; i++)
		box_free(p + i, 0);
	KUNIT_EXPECT_EQ(test, m->pcp[0].count, 4);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 0);
	KUNIT_EXPECT_EQ(test, *kpb_page_type(p), 0);
	box_granule.state(&state);
	KUNIT_EXPECT_EQ(test, state.pcp_pages, 4);
	KUNIT_EXPECT_EQ(test, state.free_pages, 0);

	drain_all_pages();
	KUNIT_EXPECT_EQ(test, m->pcp[0].count, 0);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 4);
	KUNIT_EXPECT_EQ(test, box_free_pfn(2, MIGRATE_MOVABLE, 0), p);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_drains, 1);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_bulk_free_pages, 4);

	/* three pages come at once, in rising order */
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 0), p);
	KUNIT_EXPECT_EQ(test, m->pcp[0].count, 2);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 1);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_bulk_allocs, 1);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_bulk_alloc_pages, 3);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 0), p + 1);
	box_free(p, 0);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 0), p);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 0), p + 2);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_bulk_allocs, 1);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 0), p + 3);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_bulk_allocs, 2);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_bulk_alloc_pages, 4);
}

/*
 * A huge page is fetched with another one, which stays on this CPU. The buddy
 * has none left, and that is all the watermark looks at: the next request
 * finds nothing, although a block lies there.
 */
static void page_alloc_second_huge_page_is_parked(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_with_lists(test, 3, 1 << 20);
	unsigned long p1 = box_block_pfn(1), p2 = box_block_pfn(3);

	free_one_page(&m->zone, pfn_to_page(p2), p2, PMD_ORDER, FPI_NONE);
	free_one_page(&m->zone, pfn_to_page(p1), p1, PMD_ORDER, FPI_NONE);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_UNMOVABLE, PMD_ORDER), p1);
	KUNIT_EXPECT_EQ(test, m->pcp[0].count, 1 << PMD_ORDER);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 0);
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_UNMOVABLE, PMD_ORDER), 0);
	/* not even a page of it, but for those who look past watermarks */
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_UNMOVABLE, 0), 0);
	m->curr->flags |= PF_MEMALLOC;
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_UNMOVABLE, PMD_ORDER), p2);
	m->curr->flags = 0;
	KUNIT_EXPECT_EQ(test, m->pcp[0].count, 0);
	KUNIT_EXPECT_EQ(test, m->counters.memalloc_allocs, 1);
}

/* With a third one in the buddy the parked one is handed out first. */
static void page_alloc_parked_huge_page_goes_next(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_with_lists(test, 3, 1 << 20);
	unsigned long n;

	for (n = 3; n--;) {
		unsigned long p = box_block_pfn(2 * n + 1);

		free_one_page(&m->zone, pfn_to_page(p), p, PMD_ORDER, FPI_NONE);
	}
	for (n = 1; n <= 5; n += 2)
		KUNIT_EXPECT_EQ(test,
				page_alloc_pfn(MIGRATE_MOVABLE, PMD_ORDER),
				box_block_pfn(n));
	KUNIT_EXPECT_EQ(test, m->counters.pcp_bulk_allocs, 2);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_bulk_alloc_pages,
			3UL << PMD_ORDER);
}

/* What the zone has for one CPU another one does not see. */
static void page_alloc_lists_belong_to_cpus(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_with_lists(test, 3, 100);
	unsigned long p = box_block_pfn(1), q = box_block_pfn(2);

	m->cpu = 1;
	box_free(p, 0);
	m->cpu = 3;
	box_free(q, 0);
	KUNIT_EXPECT_EQ(test, m->pcp[1].count, 1);
	KUNIT_EXPECT_EQ(test, m->pcp[3].count, 1);
	m->cpu = 2;
	KUNIT_EXPECT_EQ(test, page_alloc_pfn(MIGRATE_MOVABLE, 0), 0);
	/* in the order of their numbers, each to the head */
	drain_all_pages();
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 0), q);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 1), p);
}

/* A batch leaves full lists: oldest first, list after list, and around. */
static void page_alloc_full_lists_give_a_batch_back(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_with_lists(test, 3, 8);
	struct per_cpu_pages *pcp = &m->pcp[0];
	unsigned long p = box_block_pfn(1), u = box_block_pfn(3), i;

	page_alloc_set_type(u, BLOCK, MIGRATE_UNMOVABLE);
	/* index 1: three pages; index 0: two; index 4: a pair */
	for (i = 0; i < 6; i += 2)
		box_free(p + i, 0);
	box_free(u, 0);
	box_free(u + 2, 0);
	box_free(p + 16, 1);
	KUNIT_EXPECT_EQ(test, pcp->count, 7);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 0);
	/* the eighth: three of its list, without it */
	box_free(p + 6, 0);
	KUNIT_EXPECT_EQ(test, pcp->count, 5);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_bulk_free_pages, 3);
	for (i = 0; i < 6; i += 2)
		KUNIT_EXPECT_TRUE(test, PageBuddy(pfn_to_page(p + i)));
	/* p + 6; then 4, the next that is not empty: the pair; then 0 */
	free_pcppages_bulk(&m->zone, 4, pcp, 1);
	KUNIT_EXPECT_EQ(test, pcp->count, 1);
	KUNIT_EXPECT_TRUE(test, PageBuddy(pfn_to_page(p + 6)));
	KUNIT_EXPECT_EQ(test, box_free_pfn(1, MIGRATE_MOVABLE, 0), p + 16);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_UNMOVABLE, 0), u);
	KUNIT_EXPECT_FALSE(test, PageBuddy(pfn_to_page(u + 2)));
	/* more than there is */
	free_pcppages_bulk(&m->zone, 100, pcp, 7);
	KUNIT_EXPECT_EQ(test, pcp->count, 0);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 8);
	box_expect_buddy_clean(test);
}

/* A block is not cut: a batch may be exceeded. */
static void page_alloc_bulk_free_takes_blocks_whole(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_with_lists(test, 3, 100);
	unsigned long p = box_block_pfn(1);

	box_free(p, 3);
	box_free(p + 16, 3);
	box_free(p + 32, 3);
	free_pcppages_bulk(&m->zone, 9, &m->pcp[0], 10);
	KUNIT_EXPECT_EQ(test, m->pcp[0].count, 8);
	KUNIT_EXPECT_EQ(test, box_free_pfn(3, MIGRATE_MOVABLE, 0), p + 16);
	KUNIT_EXPECT_EQ(test, box_free_pfn(3, MIGRATE_MOVABLE, 1), p);
}

/* The list is chosen when the page comes, its type when it goes on. */
static void page_alloc_listed_page_follows_its_block(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_with_lists(test, 3, 100);
	unsigned long p = box_block_pfn(1);

	box_free(p, 0);
	page_alloc_set_type(p, BLOCK, MIGRATE_UNMOVABLE);
	KUNIT_EXPECT_FALSE(test, list_empty(&m->pcp[0].lists[1]));
	drain_all_pages();
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_UNMOVABLE, 0), p);
}

/* Sections come as if each page of a batch had been asked for alone. */
static void page_alloc_batch_crosses_into_deferred_memory(struct kunit *test)
{
	struct kpb_config config =
		box_config(BOX_PBA, 4ULL << SECTION_SIZE_BITS);
	struct kpb_machine *m = box_create(test, &config);
	unsigned long nr_blocks = PAGES_PER_SECTION / BLOCK, i;

	if (PMD_ORDER != MAX_PAGE_ORDER)
		return;
	setup_per_cpu_pageset();
	/* two at a time: the last one of a section comes with the next one */
	for (i = 0; i <= nr_blocks; i++)
		KUNIT_EXPECT_EQ(test,
				page_alloc_pfn(MIGRATE_MOVABLE, MAX_PAGE_ORDER),
				box_block_pfn(i));
	KUNIT_EXPECT_EQ(test, m->counters.slowpath_entries, 0);
}

/* What a refill of a whole block leaves on the CPU. */
static void page_alloc_refill_parks_a_block(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_machine *m;

	box_refill_orders(&config, PMD_ORDER, BOX_CONT_PTE_ORDER, 2);
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	/* the boot pageset: one block, nothing parked */
	KUNIT_EXPECT_EQ(test, m->counters.pcp_bulk_alloc_pages,
			1UL << PMD_ORDER);
	KUNIT_EXPECT_EQ(test, m->pcp[0].count, 0);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_NOT_NULL(test, pba_refill(false));
	KUNIT_EXPECT_EQ(test, m->counters.pcp_bulk_alloc_pages,
			3UL << PMD_ORDER);
	KUNIT_EXPECT_EQ(test, m->pcp[0].count, 1 << PMD_ORDER);
	KUNIT_EXPECT_NOT_NULL(test, pba_refill(false));
	KUNIT_EXPECT_EQ(test, m->counters.pcp_bulk_alloc_pages,
			3UL << PMD_ORDER);
	KUNIT_EXPECT_EQ(test, m->pcp[0].count, 0);
	BOX_EXPECT_CLEAN(test);
}

/* --- slow path ------------------------------------------------------------ */

/* A cache that gives what a test wants it to give. */
static struct {
	unsigned long returns;
	void (*scan)(unsigned int call);
	unsigned int nr_calls;
} page_alloc_cache;

static unsigned long page_alloc_cache_count(struct shrinker *shrinker,
					    struct shrink_control *sc)
{
	(void)shrinker;
	(void)sc;
	return 1000;
}

static unsigned long page_alloc_cache_scan(struct shrinker *shrinker,
					   struct shrink_control *sc)
{
	(void)shrinker;
	(void)sc;
	page_alloc_cache.nr_calls++;
	if (page_alloc_cache.scan)
		page_alloc_cache.scan(page_alloc_cache.nr_calls);
	return page_alloc_cache.returns;
}

static void page_alloc_cache_register(unsigned long returns,
				      void (*scan)(unsigned int call))
{
	memset(&page_alloc_cache, 0, sizeof(page_alloc_cache));
	page_alloc_cache.returns = returns;
	page_alloc_cache.scan = scan;
	kpb_this->shrinker = (struct shrinker){
		.count_objects = page_alloc_cache_count,
		.scan_objects = page_alloc_cache_scan,
		.batch = 500, /* one call a round */
		.registered = true,
	};
}

/* Marks 8, 10, 12, and so many single pages that are no neighbours. */
static struct kpb_machine *page_alloc_low(struct kunit *test, unsigned long nr)
{
	struct kpb_machine *m = page_alloc_drained(test);
	unsigned long p = box_block_pfn(1);

	m->zone._watermark[WMARK_MIN] = 8;
	m->zone._watermark[WMARK_LOW] = 10;
	m->zone._watermark[WMARK_HIGH] = 12;
	while (nr--)
		box_free(p + 2 * nr, 0);
	memset(&m->counters, 0, sizeof(m->counters));
	return m;
}

/* How many single pages such a request gets before it fails. */
static unsigned int page_alloc_nr_pages(gfp_t gfp)
{
	unsigned int nr = 0;

	while (__alloc_pages_noprof(gfp, 0))
		nr++;
	return nr;
}

struct page_alloc_reserve {
	const char *name;
	gfp_t gfp;
	unsigned int left; /* pages that it may not have */
	u64 kswapd_wakes;
	u64 allocstall;
	u64 oom_kills;
	u64 alloc_failures;
};

/*
 * Of 14 pages four leave the low watermark behind them; each try after that
 * goes the slow way, the last one in vain.
 */
static const struct page_alloc_reserve page_alloc_reserves[] = {
	/* from 8 on as a victim, down to 4: the fifth time it has nothing */
	{ "GFP_KERNEL", GFP_KERNEL, 4, 7, 5, 5, 1 },
	/* half, 4, from 4 on as a victim, which has 4, too */
	{ "GFP_KERNEL, high", GFP_KERNEL | __GFP_HIGH, 4, 7, 1, 1, 1 },
	/* 8 - 4 - 1 */
	{ "GFP_ATOMIC", GFP_ATOMIC, 3, 8, 0, 0, 1 },
	{ "GFP_NOWAIT", GFP_NOWAIT, 8, 3, 0, 0, 0 },
	{ "no reclaim", 0, 8, 0, 0, 0, 1 },
	{ "once", GFP_KERNEL | __GFP_NORETRY, 8, 3, 1, 0, 1 },
	{ "once, quiet", GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, 8, 3, 1, 0,
	  0 },
	{ "no killing", GFP_KERNEL | __GFP_RETRY_MAYFAIL, 8, 3, 1, 0, 1 },
};

KUNIT_ARRAY_PARAM(page_alloc_reserves, page_alloc_reserves)

static void page_alloc_reserve_is_for_some(struct kunit *test)
{
	const struct page_alloc_reserve *param = test->param_value;
	struct kpb_machine *m = page_alloc_low(test, 14);
	const struct kpb_counters *c = &m->counters;

	KUNIT_EXPECT_EQ(test, page_alloc_nr_pages(param->gfp),
			14 - param->left);
	/* 10 is the low watermark: down to it nobody is slow */
	KUNIT_EXPECT_EQ(test, c->slowpath_entries, 10 - param->left + 1);
	KUNIT_EXPECT_EQ(test, c->slowpath_order[0], 10 - param->left + 1);
	KUNIT_EXPECT_EQ(test, c->kswapd_wakes, param->kswapd_wakes);
	KUNIT_EXPECT_EQ(test, c->allocstall, param->allocstall);
	KUNIT_EXPECT_EQ(test, c->oom_kills, param->oom_kills);
	KUNIT_EXPECT_EQ(test, c->alloc_failures, param->alloc_failures);
	KUNIT_EXPECT_EQ(test, c->compact_stall, 0);
	KUNIT_EXPECT_EQ(test, c->pcp_drains, 0);
	KUNIT_EXPECT_EQ(test, c->memalloc_allocs, 0);
	KUNIT_EXPECT_EQ(test, c->warnings, 0);
}

/* Inside reclaim: everything, and no reclaim within reclaim. */
static void page_alloc_memalloc_takes_the_last_page(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_low(test, 14);

	m->curr->flags |= PF_MEMALLOC;
	KUNIT_EXPECT_EQ(test, page_alloc_nr_pages(GFP_KERNEL), 14);
	/* to 8 by the min watermark */
	KUNIT_EXPECT_EQ(test, m->counters.memalloc_allocs, 8);
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 0);
	KUNIT_EXPECT_EQ(test, m->counters.oom_kills, 0);
	KUNIT_EXPECT_EQ(test, m->counters.alloc_failures, 1);
}

struct page_alloc_attempt {
	const char *name;
	gfp_t gfp;
	unsigned int order;
	u64 compact_fail, compact_deferred, allocstall, oom_kills, failures;
};

/* Nothing is free, nothing can be moved, nothing can be reclaimed. */
static const struct page_alloc_attempt page_alloc_attempts[] = {
	{ "a page", GFP_KERNEL, 0, 0, 0, 1, 1, 1 },
	/* before reclaim, and after it, when it has just failed */
	{ "order 2", GFP_KERNEL, 2, 1, 1, 1, 1, 1 },
	/* movable: after reclaim only */
	{ "order 2, movable", GFP_KERNEL | __GFP_MOVABLE, 2, 1, 0, 1, 1, 1 },
	{ "order 2, no retry", GFP_KERNEL | __GFP_NORETRY, 2, 1, 0, 1, 0, 1 },
	{ "order 2, may fail", GFP_KERNEL | __GFP_RETRY_MAYFAIL, 2, 1, 1, 1, 0,
	  1 },
	{ "the last cheap one", GFP_KERNEL, 3, 1, 1, 1, 1, 1 },
	/* costly: one round */
	{ "the first costly one", GFP_KERNEL, 4, 1, 0, 1, 0, 1 },
	{ "a block", GFP_KERNEL, PMD_ORDER, 1, 0, 1, 0, 1 },
	{ "a movable block", GFP_KERNEL | __GFP_MOVABLE, PMD_ORDER, 1, 0, 1, 0,
	  1 },
	{ "a block, quiet", GFP_KERNEL | __GFP_NOWARN, PMD_ORDER, 1, 0, 1, 0,
	  0 },
	/* no second round, of either */
	{ "a block, no retry", GFP_KERNEL | __GFP_NORETRY, PMD_ORDER, 1, 0, 1,
	  0, 1 },
	{ "a block, may fail", GFP_KERNEL | __GFP_RETRY_MAYFAIL, PMD_ORDER, 1,
	  1, 1, 0, 1 },
	{ "a block, atomic", GFP_ATOMIC, PMD_ORDER, 0, 0, 0, 0, 1 },
	{ "a block, no wait", GFP_NOWAIT, PMD_ORDER, 0, 0, 0, 0, 0 },
};

KUNIT_ARRAY_PARAM(page_alloc_attempts, page_alloc_attempts)

static void page_alloc_slow_path_tries_by_order(struct kunit *test)
{
	const struct page_alloc_attempt *param = test->param_value;
	struct kpb_machine *m = page_alloc_low(test, 0);
	const struct kpb_counters *c = &m->counters;

	KUNIT_EXPECT_NULL(test, __alloc_pages_noprof(param->gfp, param->order));
	KUNIT_EXPECT_EQ(test, c->slowpath_order[param->order], 1);
	KUNIT_EXPECT_EQ(test, c->compact_stall, param->compact_fail);
	KUNIT_EXPECT_EQ(test, c->compact_fail, param->compact_fail);
	KUNIT_EXPECT_EQ(test, c->compact_deferred, param->compact_deferred);
	KUNIT_EXPECT_EQ(test, c->compact_success, 0);
	KUNIT_EXPECT_EQ(test, c->compact_migrate_scanned, 0);
	KUNIT_EXPECT_EQ(test, c->allocstall, param->allocstall);
	KUNIT_EXPECT_EQ(test, c->oom_kills, param->oom_kills);
	KUNIT_EXPECT_EQ(test, c->alloc_failures, param->failures);
	KUNIT_EXPECT_EQ(test, c->warnings, 0);
	KUNIT_EXPECT_EQ(test, m->curr->flags, 0);
}

/* As long as reclaim finds something, but not for ever: 1 + 16 times. */
static void page_alloc_progress_is_tried_again(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_low(test, 0);

	page_alloc_cache_register(100, NULL);
	KUNIT_EXPECT_NULL(test, __alloc_pages_noprof(GFP_KERNEL, 0));
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 17);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_drains, 17);
	KUNIT_EXPECT_EQ(test, m->counters.pgsteal_direct, 1700);
	KUNIT_EXPECT_EQ(test, m->counters.oom_kills, 1);
	KUNIT_EXPECT_EQ(test, m->counters.alloc_failures, 1);
	/* a costly request has one round, whatever the progress */
	KUNIT_EXPECT_NULL(test, __alloc_pages_noprof(GFP_KERNEL, 4));
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 18);
	/* unless it asks for more, and then it is not worth a life */
	KUNIT_EXPECT_NULL(test,
			  __alloc_pages_noprof(GFP_KERNEL | __GFP_RETRY_MAYFAIL,
					       4));
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 18 + 17);
	KUNIT_EXPECT_EQ(test, m->counters.oom_kills, 1);
}

/* The third round of reclaim frees enough: 9 pages, one above the mark. */
static void page_alloc_free_in_third_call(unsigned int call)
{
	unsigned long i;

	for (i = 0; call == 3 && i < 9; i++)
		free_one_page(&kpb_this->zone,
			      pfn_to_page(box_block_pfn(2) + 2 * i),
			      box_block_pfn(2) + 2 * i, 0, FPI_NONE);
}

static void page_alloc_reclaim_ends_with_a_page(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_low(test, 0);

	page_alloc_cache_register(32, page_alloc_free_in_third_call);
	KUNIT_EXPECT_NOT_NULL(test, __alloc_pages_noprof(GFP_KERNEL, 0));
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 3);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_drains, 2);
	KUNIT_EXPECT_EQ(test, m->counters.oom_kills, 0);
	KUNIT_EXPECT_EQ(test, m->counters.alloc_failures, 0);
}

/* What reclaim frees may lie on the lists of another CPU. */
static void page_alloc_free_on_cpu_one(unsigned int call)
{
	unsigned long i;

	(void)call;
	kpb_this->cpu = 1;
	kpb_this->pcp[1].high = 100;
	for (i = 0; i < 9; i++)
		box_free(box_block_pfn(2) + 2 * i, 0);
	kpb_this->cpu = 0;
}

static void page_alloc_reclaim_drains_the_lists(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_low(test, 0);

	page_alloc_cache_register(32, page_alloc_free_on_cpu_one);
	KUNIT_EXPECT_NOT_NULL(test, __alloc_pages_noprof(GFP_KERNEL, 0));
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 1);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_drains, 1);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 8);
}

/* Before anybody is killed: is there more than the high watermark by now? */
static void page_alloc_free_thirteen(unsigned int call)
{
	unsigned long i;

	for (i = 0; call == 1 && i < 13; i++)
		free_one_page(&kpb_this->zone,
			      pfn_to_page(box_block_pfn(2) + 2 * i),
			      box_block_pfn(2) + 2 * i, 0, FPI_NONE);
}

static void page_alloc_last_look_before_oom(struct kunit *test)
{
	struct kpb_machine *m = page_alloc_low(test, 0);

	/* no progress is reported, so nobody looks earlier */
	page_alloc_cache_register(0, page_alloc_free_thirteen);
	KUNIT_EXPECT_NOT_NULL(test, __alloc_pages_noprof(GFP_KERNEL, 0));
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 1);
	KUNIT_EXPECT_EQ(test, m->counters.oom_kills, 0);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 12);
}

/* What a reader of the events sees of one costly failure. */
static void page_alloc_slow_path_tells(struct kunit *test)
{
	static const u8 kinds[] = {
		KPB_EVENT_SLOWPATH,	 KPB_EVENT_COMPACT,
		KPB_EVENT_RECLAIM,	 KPB_EVENT_RECLAIM_END,
		KPB_EVENT_ALLOC_FAILURE,
	};
	struct kpb_event events[8];
	size_t i;

	page_alloc_low(test, 0);
	KUNIT_ASSERT_EQ(test, box_granule.record(8), 0);
	KUNIT_EXPECT_NULL(test, __alloc_pages_noprof(GFP_KERNEL, PMD_ORDER));
	KUNIT_ASSERT_EQ(test, box_granule.events(events, 8), ARRAY_SIZE(kinds));
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		KUNIT_EXPECT_EQ(test, events[i].kind, kinds[i]);
		KUNIT_EXPECT_EQ(test, events[i].b,
				i == 3 ? 0 : (unsigned int)PMD_ORDER);
		KUNIT_EXPECT_EQ(test, events[i].a, 0);
	}
	KUNIT_EXPECT_NULL(test, __alloc_pages_noprof(GFP_KERNEL, 0));
	KUNIT_ASSERT_EQ(test, box_granule.events(events, 8), 5);
	KUNIT_EXPECT_EQ(test, events[3].kind, KPB_EVENT_OOM);
	drain_all_pages();
	KUNIT_ASSERT_EQ(test, box_granule.events(events, 8), 1);
	KUNIT_EXPECT_EQ(test, events[0].kind, KPB_EVENT_DRAIN);
}

/* Whoever may reclaim may sleep, whether there is need or not. */
static void page_alloc_in_atomic_context_is_reported(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);

	m->preempt_count = 1;
	KUNIT_EXPECT_NOT_NULL(test, __alloc_pages_noprof(GFP_ATOMIC, 0));
	KUNIT_EXPECT_NOT_NULL(test, __alloc_pages_noprof(GFP_NOWAIT, 0));
	KUNIT_EXPECT_EQ(test, m->counters.sleeps_in_atomic, 0);
	KUNIT_EXPECT_NOT_NULL(test, __alloc_pages_noprof(GFP_KERNEL, 0));
	KUNIT_EXPECT_EQ(test, m->counters.sleeps_in_atomic, 1);
	m->preempt_count = 0;
}

static void page_alloc_random_use_leaves_no_trace(struct kunit *test)
{
	static struct box_held held;
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	unsigned long nr_free = box_nr_free_pages();
	struct kpb_rng rng = kpb_rng_seed(2);
	unsigned int i, order;

	memset(&held, 0, sizeof(held));
	for (i = 0; i < 20000; i++) {
		box_step(&held, kpb_rng_next(&rng), MAX_PAGE_ORDER);
		if (i % 1000 == 0)
			box_expect_buddy_clean(test);
	}
	box_free_held(&held);
	BOX_EXPECT_CLEAN(test);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, nr_free);
	/* 62 MB are 15 and 480 MB 15 largest blocks, 8160 MB 15 and pieces */
	KUNIT_EXPECT_EQ(test, m->zone.free_area[MAX_PAGE_ORDER].nr_free, 15);
	for (order = 0; order < BOX_CONT_PTE_ORDER; order++)
		KUNIT_EXPECT_EQ(test, m->zone.free_area[order].nr_free, 0);
}

static const struct kunit_case page_alloc_test_cases[] = {
	KUNIT_CASE(page_alloc_fresh_memory_is_in_largest_blocks),
	KUNIT_CASE(page_alloc_free_merges_up_to_the_largest),
	KUNIT_CASE(page_alloc_free_stops_below_the_largest_with_a_hole),
	KUNIT_CASE(page_alloc_free_blocks_of_different_order_stay_apart),
	KUNIT_CASE(page_alloc_free_merge_of_types_takes_the_freed_one),
	KUNIT_CASE(page_alloc_free_goes_to_the_head),
	KUNIT_CASE(page_alloc_free_goes_to_the_tail_if_a_merge_is_likely),
	KUNIT_CASE(page_alloc_free_merged_block_is_placed_by_its_own_order),
	KUNIT_CASE(page_alloc_free_near_the_largest_order_goes_to_the_head),
	KUNIT_CASE(page_alloc_boot_memory_is_freed_in_aligned_pieces),
	KUNIT_CASE(page_alloc_memory_from_frame_zero_is_usable),
	KUNIT_CASE(page_alloc_expand_keeps_one_block_of_each_order),
	KUNIT_CASE(page_alloc_claim_takes_whole_blocks),
	KUNIT_CASE(page_alloc_claim_takes_the_largest),
	KUNIT_CASE_PARAM(page_alloc_claim_of_a_part_needs_half,
			 page_alloc_claims_gen_params),
	KUNIT_CASE(page_alloc_claim_moves_to_the_tail),
	KUNIT_CASE(page_alloc_claim_leaves_a_cut_pageblock_alone),
	KUNIT_CASE(page_alloc_claim_takes_the_outermost_pageblocks),
	KUNIT_CASE(page_alloc_steal_takes_the_smallest),
	KUNIT_CASE_PARAM(page_alloc_fallback_asks_in_order,
			 page_alloc_fallbacks_gen_params),
	KUNIT_CASE(page_alloc_fallback_prefers_the_larger_order),
	KUNIT_CASE(page_alloc_fallback_is_another_type),
	KUNIT_CASE(page_alloc_refuses_more_than_the_largest_order),
	KUNIT_CASE(page_alloc_empty_zone_fails_quietly),
	KUNIT_CASE(page_alloc_gfp_decides_the_type),
	KUNIT_CASE(page_alloc_prepares_the_page),
	KUNIT_CASE(page_alloc_charges_and_uncharges),
#ifdef KPB_DEBUG
	KUNIT_CASE(page_alloc_free_twice_is_a_bug),
	KUNIT_CASE(page_alloc_free_unaligned_is_a_bug),
#endif
	KUNIT_CASE(page_alloc_deferred_sections_come_when_needed),
	KUNIT_CASE(page_alloc_deferred_equals_eager),
	KUNIT_CASE_PARAM(page_alloc_watermarks_follow_the_size,
			 page_alloc_wmarks_gen_params),
	KUNIT_CASE(page_alloc_watermarks_are_set_at_boot),
	KUNIT_CASE_PARAM(page_alloc_watermark_is_not_reached,
			 page_alloc_marks_gen_params),
	KUNIT_CASE(page_alloc_watermark_wants_a_block),
	KUNIT_CASE(page_alloc_watermark_counts_what_is_free),
	KUNIT_CASE_PARAM(page_alloc_batch_follows_the_size,
			 page_alloc_batches_gen_params),
	KUNIT_CASE(page_alloc_pageset_follows_the_low_watermark),
	KUNIT_CASE(page_alloc_batch_is_scaled_by_order),
	KUNIT_CASE(page_alloc_index_and_order_agree),
	KUNIT_CASE(page_alloc_lists_are_for_small_orders_and_thp),
	KUNIT_CASE(page_alloc_pages_on_lists_do_not_merge),
	KUNIT_CASE(page_alloc_second_huge_page_is_parked),
	KUNIT_CASE(page_alloc_parked_huge_page_goes_next),
	KUNIT_CASE(page_alloc_lists_belong_to_cpus),
	KUNIT_CASE(page_alloc_full_lists_give_a_batch_back),
	KUNIT_CASE(page_alloc_bulk_free_takes_blocks_whole),
	KUNIT_CASE(page_alloc_listed_page_follows_its_block),
	KUNIT_CASE(page_alloc_batch_crosses_into_deferred_memory),
	KUNIT_CASE(page_alloc_refill_parks_a_block),
	KUNIT_CASE_PARAM(page_alloc_reserve_is_for_some,
			 page_alloc_reserves_gen_params),
	KUNIT_CASE(page_alloc_memalloc_takes_the_last_page),
	KUNIT_CASE_PARAM(page_alloc_slow_path_tries_by_order,
			 page_alloc_attempts_gen_params),
	KUNIT_CASE(page_alloc_progress_is_tried_again),
	KUNIT_CASE(page_alloc_reclaim_ends_with_a_page),
	KUNIT_CASE(page_alloc_reclaim_drains_the_lists),
	KUNIT_CASE(page_alloc_last_look_before_oom),
	KUNIT_CASE(page_alloc_slow_path_tells),
	KUNIT_CASE(page_alloc_in_atomic_context_is_reported),
	KUNIT_CASE(page_alloc_random_use_leaves_no_trace),
	{ 0 }
};

static struct kunit_suite page_alloc_test_suite = {
	.name = BOX_SUITE("page_alloc"),
	.test_cases = page_alloc_test_cases,
};
kunit_test_suite(page_alloc_test_suite);

#undef BLOCK
#undef PAGEBLOCK
