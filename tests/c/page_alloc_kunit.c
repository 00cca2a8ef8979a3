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

static void page_alloc_random_use_leaves_no_trace(struct kunit *test)
{
	static struct box_held held;
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	unsigned long nr_free =
		(m->memblock_end >> PAGE_SHIFT) - m->zone.zone_start_pfn;
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
	KUNIT_CASE(page_alloc_steal_takes_the_smallest),
	KUNIT_CASE_PARAM(page_alloc_fallback_asks_in_order,
			 page_alloc_fallbacks_gen_params),
	KUNIT_CASE(page_alloc_fallback_prefers_the_larger_order),
	KUNIT_CASE(page_alloc_refuses_more_than_the_largest_order),
	KUNIT_CASE(page_alloc_empty_zone_fails_quietly),
	KUNIT_CASE(page_alloc_gfp_decides_the_type),
	KUNIT_CASE(page_alloc_prepares_the_page),
	KUNIT_CASE(page_alloc_charges_and_uncharges),
	KUNIT_CASE(page_alloc_free_twice_is_a_bug),
	KUNIT_CASE(page_alloc_free_unaligned_is_a_bug),
	KUNIT_CASE(page_alloc_deferred_sections_come_when_needed),
	KUNIT_CASE(page_alloc_deferred_equals_eager),
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
