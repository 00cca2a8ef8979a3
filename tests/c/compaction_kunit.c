// SPDX-License-Identifier: GPL-2.0-only
/*
 * Compaction (csrc/mm/compaction.c): which window is emptied, where its pages
 * go, and when one does not even try. All of memory is taken first, by nobody
 * who could move, and then a case lays out what it needs.
 */

#include "box.h"

#define BLOCK MAX_ORDER_NR_PAGES

static struct kpb_machine *compaction_box(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NULL, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);

	KUNIT_ASSERT_EQ(test, box_granule.set_slots(64), 0);
	box_drain();
	memset(&m->counters, 0, sizeof(m->counters));
	return m;
}

/* Somebody's pages at a place of our choice, while nothing else is free. */
static void compaction_pin(struct kunit *test, u32 slot, u8 migratetype,
			   unsigned long pfn, unsigned int order)
{
	KUNIT_ASSERT_EQ(test, kpb_this->zone.nr_free_pages, 0);
	box_free(pfn, order);
	KUNIT_ASSERT_EQ(test, box_op(KPB_OP_PIN, slot, migratetype, (u8)order),
			0);
	KUNIT_ASSERT_EQ(test, page_to_pfn(kpb_this->slots[slot].page), pfn);
}

static unsigned long compaction_slot(u32 slot)
{
	return page_to_pfn(kpb_this->slots[slot].page);
}

static void compaction_free_pages(unsigned long pfn, unsigned long nr)
{
	for (; nr; nr--, pfn++)
		box_free(pfn, 0);
}

static enum compact_result compaction_run(unsigned int order)
{
	return compact_zone_order(&kpb_this->zone, order);
}

/*
 * Eight pages: one and a pair in use, the rest free. Above it four free pages
 * and, higher, one.
 */
static void compaction_empties_a_window(struct kunit *test)
{
	struct kpb_machine *m = compaction_box(test);
	unsigned long p = box_block_pfn(1), q = box_block_pfn(2);
	const struct kpb_event *last;

	compaction_pin(test, 0, MIGRATE_MOVABLE, p + 1, 0);
	compaction_pin(test, 1, MIGRATE_MOVABLE, p + 4, 1);
	KUNIT_EXPECT_EQ(test, m->zone.nr_movable_pages, 3);
	box_free(p, 0);
	compaction_free_pages(p + 2, 2);
	compaction_free_pages(p + 6, 2);
	box_free(q, 2);
	box_free(q + 8, 0);

	KUNIT_EXPECT_EQ(test, box_granule.record(16), 0);
	KUNIT_EXPECT_EQ(test, compaction_run(3), COMPACT_SUCCESS);
	/* the single page goes highest; the pair to the upper half of the four */
	KUNIT_EXPECT_EQ(test, compaction_slot(0), q + 8);
	KUNIT_EXPECT_EQ(test, compaction_slot(1), q + 2);
	KUNIT_EXPECT_EQ(test, box_free_pfn(3, MIGRATE_MOVABLE, 0), p);
	KUNIT_EXPECT_EQ(test, box_free_pfn(1, MIGRATE_MOVABLE, 0), q);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 10);
	KUNIT_EXPECT_EQ(test, m->zone.nr_movable_pages, 3);
	KUNIT_EXPECT_EQ(test, *kpb_page_type(q + 8), KPB_PG_LRU);
	KUNIT_EXPECT_EQ(test, *kpb_page_type(q + 2), KPB_PG_LRU);
	KUNIT_EXPECT_EQ(test, *kpb_page_type(q + 3), KPB_PG_LRU);
	KUNIT_EXPECT_EQ(test, *kpb_page_type(p + 1), 0);
	KUNIT_EXPECT_EQ(test, m->counters.pgmigrate_success, 3);
	/* the first page of each window below tells enough */
	KUNIT_EXPECT_EQ(test, m->counters.compact_migrate_scanned,
			BLOCK / 8 + 8);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_drains, 1);
	/* a caller who looks in vain would count these */
	KUNIT_EXPECT_EQ(test, m->counters.compact_stall, 0);
	box_expect_buddy_clean(test);

	/* they are whose they were, and can be given back */
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_UNPIN, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_UNPIN, 1, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, m->zone.nr_movable_pages, 0);
	KUNIT_EXPECT_EQ(test, box_free_pfn(2, MIGRATE_MOVABLE, 0), q);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 13);
	box_expect_buddy_clean(test);
	/* what a reader of the events is told: three pages, and success */
	last = &m->recorder.events[m->recorder.nr - 1];
	KUNIT_EXPECT_EQ(test, last->kind, KPB_EVENT_COMPACT);
	KUNIT_EXPECT_EQ(test, last->a, 3);
	KUNIT_EXPECT_EQ(test, last->b, 3);
	KUNIT_EXPECT_EQ(test, last->c, 1);
}

/* As expand() the other way round: the highest of sixteen, the rest is kept. */
static void compaction_splits_from_the_top(struct kunit *test)
{
	struct kpb_machine *m = compaction_box(test);
	unsigned long p = box_block_pfn(1), q = box_block_pfn(2);

	compaction_pin(test, 0, MIGRATE_MOVABLE, p, 0);
	compaction_free_pages(p + 1, 31);
	box_free(q, 4);
	/* the type of the block above decides where the rest goes */
	set_pageblock_migratetype(pfn_to_page(q), MIGRATE_RECLAIMABLE);
	list_move(&pfn_to_page(q)->buddy_list,
		  &m->zone.free_area[4].free_list[MIGRATE_RECLAIMABLE]);

	KUNIT_EXPECT_EQ(test, compaction_run(5), COMPACT_SUCCESS);
	KUNIT_EXPECT_EQ(test, compaction_slot(0), q + 15);
	KUNIT_EXPECT_EQ(test, box_free_pfn(3, MIGRATE_RECLAIMABLE, 0), q);
	KUNIT_EXPECT_EQ(test, box_free_pfn(2, MIGRATE_RECLAIMABLE, 0), q + 8);
	KUNIT_EXPECT_EQ(test, box_free_pfn(1, MIGRATE_RECLAIMABLE, 0), q + 12);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_RECLAIMABLE, 0), q + 14);
	KUNIT_EXPECT_EQ(test, box_free_pfn(5, MIGRATE_MOVABLE, 0), p);
	box_expect_buddy_clean(test);
}

/* The highest block that is large enough, not the best fitting one. */
static void compaction_takes_the_highest_target(struct kunit *test)
{
	unsigned long p, q;

	compaction_box(test);
	p = box_block_pfn(1);
	q = box_block_pfn(2);
	compaction_pin(test, 0, MIGRATE_MOVABLE, p, 0);
	compaction_pin(test, 1, MIGRATE_MOVABLE, p + 2, 1);
	compaction_pin(test, 2, MIGRATE_MOVABLE, p + 5, 0);
	box_free(p + 1, 0);
	box_free(p + 4, 0);
	compaction_free_pages(p + 6, 2);
	/* rising: a pair, a single page, four; then two single pages */
	box_free(q, 1);
	box_free(q + 4, 0);
	box_free(q + 8, 2);
	box_free(q + 16, 0);

	KUNIT_EXPECT_EQ(test, compaction_run(3), COMPACT_SUCCESS);
	KUNIT_EXPECT_EQ(test, compaction_slot(0), q + 16);
	KUNIT_EXPECT_EQ(test, compaction_slot(1), q + 10);
	/* what is left of the four lies above the single page */
	KUNIT_EXPECT_EQ(test, compaction_slot(2), q + 9);
	KUNIT_EXPECT_EQ(test, box_free_pfn(0, MIGRATE_MOVABLE, 0), q + 8);
	box_expect_buddy_clean(test);
}

/* Free pages below the window, or in it, are no target: nothing goes down. */
static void compaction_moves_upward_only(struct kunit *test)
{
	struct kpb_machine *m = compaction_box(test);
	unsigned long p = box_block_pfn(1);

	compaction_pin(test, 0, MIGRATE_MOVABLE, p + 1, 0);
	box_free(p, 0);
	compaction_free_pages(p + 2, 6);
	box_free(box_block_pfn(0), 2);
	KUNIT_EXPECT_EQ(test, compaction_run(3), COMPACT_COMPLETE);
	KUNIT_EXPECT_EQ(test, compaction_slot(0), p + 1);
	KUNIT_EXPECT_EQ(test, m->counters.pgmigrate_success, 0);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 11);
}

/* What has been moved stays moved, even if that was in vain. */
static void compaction_without_room_fails_half_way(struct kunit *test)
{
	struct kpb_machine *m = compaction_box(test);
	unsigned long p = box_block_pfn(1), q = box_block_pfn(2);

	compaction_pin(test, 0, MIGRATE_MOVABLE, p + 1, 0);
	compaction_pin(test, 1, MIGRATE_MOVABLE, p + 4, 1);
	box_free(p, 0);
	compaction_free_pages(p + 2, 2);
	compaction_free_pages(p + 6, 2);
	/* two pages, but no pair */
	box_free(q, 0);
	box_free(q + 2, 0);

	KUNIT_EXPECT_EQ(test, compaction_run(3), COMPACT_COMPLETE);
	KUNIT_EXPECT_EQ(test, compaction_slot(0), q + 2);
	KUNIT_EXPECT_EQ(test, compaction_slot(1), p + 4);
	KUNIT_EXPECT_EQ(test, m->counters.pgmigrate_success, 1);
	KUNIT_EXPECT_EQ(test, box_free_pfn(2, MIGRATE_MOVABLE, 0), p);
	box_expect_buddy_clean(test);
	/* with room for the pair there is a second chance */
	box_free(q + 4, 1);
	KUNIT_EXPECT_EQ(test, compaction_run(3), COMPACT_SUCCESS);
	KUNIT_EXPECT_EQ(test, compaction_slot(1), q + 4);
	KUNIT_EXPECT_EQ(test, m->counters.pgmigrate_success, 3);
	box_expect_buddy_clean(test);
}

/* The first window has a page that cannot move; the second one is taken. */
static void compaction_passes_unmovable_pages(struct kunit *test)
{
	struct kpb_machine *m = compaction_box(test);
	unsigned long p = box_block_pfn(1), q = box_block_pfn(2);

	compaction_pin(test, 0, MIGRATE_MOVABLE, p + 1, 0);
	compaction_pin(test, 1, MIGRATE_MOVABLE, p + 10, 0);
	/* p + 5 belongs to nobody who could move */
	box_free(p, 0);
	compaction_free_pages(p + 2, 3);
	compaction_free_pages(p + 6, 2);
	compaction_free_pages(p + 8, 2);
	compaction_free_pages(p + 11, 5);
	box_free(q, 0);
	KUNIT_EXPECT_EQ(test, compaction_run(3), COMPACT_SUCCESS);
	KUNIT_EXPECT_EQ(test, compaction_slot(0), p + 1);
	KUNIT_EXPECT_EQ(test, compaction_slot(1), q);
	KUNIT_EXPECT_EQ(test, box_free_pfn(3, MIGRATE_MOVABLE, 0), p + 8);
	/* six pages of the first one, the unmovable one included */
	KUNIT_EXPECT_EQ(test, m->counters.compact_migrate_scanned,
			BLOCK / 8 + 6 + 8);
	box_expect_buddy_clean(test);
}

/* Half of a larger allocation cannot be moved, from whichever half one looks. */
static void compaction_leaves_larger_allocations(struct kunit *test)
{
	struct kpb_machine *m = compaction_box(test);
	unsigned long p = box_block_pfn(1);

	compaction_pin(test, 0, MIGRATE_MOVABLE, p, 4);
	box_free(box_block_pfn(2), 2);
	KUNIT_EXPECT_EQ(test, compaction_run(3), COMPACT_COMPLETE);
	KUNIT_EXPECT_EQ(test, compaction_slot(0), p);
	KUNIT_EXPECT_EQ(test, m->counters.pgmigrate_success, 0);
	/* what lies in the tail pages must not be taken for an owner */
	set_page_private(pfn_to_page(p + 8), 0);
	KUNIT_EXPECT_EQ(test, compaction_run(3), COMPACT_COMPLETE);
	KUNIT_EXPECT_EQ(test, compaction_slot(0), p);
	/* the number of a slot that there is just not, or far from it */
	set_page_private(pfn_to_page(p + 8), m->nr_slots);
	KUNIT_EXPECT_EQ(test, compaction_run(3), COMPACT_COMPLETE);
	set_page_private(pfn_to_page(p + 8), ~0UL);
	KUNIT_EXPECT_EQ(test, compaction_run(3), COMPACT_COMPLETE);
	KUNIT_EXPECT_EQ(test, compaction_slot(0), p);
	/* one that fills the window is moved to make a larger one */
	box_free(box_block_pfn(3), 4);
	box_free(p + 16, 4);
	KUNIT_EXPECT_EQ(test, compaction_run(5), COMPACT_SUCCESS);
	KUNIT_EXPECT_EQ(test, compaction_slot(0), box_block_pfn(3));
	box_expect_buddy_clean(test);
}

/* Windows that the end of the zone cuts are not looked at. */
static void compaction_skips_cut_windows(struct kunit *test)
{
	struct kpb_config config =
		box_config(BOX_NULL, BOX_SMALL_BYTES + 4 * PAGE_SIZE);
	struct kpb_machine *m = box_create(test, &config);
	unsigned long end = m->zone.zone_end_pfn;

	KUNIT_ASSERT_EQ(test, box_granule.set_slots(4), 0);
	box_drain();
	m->counters.compact_migrate_scanned = 0;
	compaction_pin(test, 0, MIGRATE_MOVABLE, end - 4, 0);
	KUNIT_EXPECT_EQ(test, compaction_run(3), COMPACT_COMPLETE);
	KUNIT_EXPECT_EQ(test, m->counters.compact_migrate_scanned,
			16 * BLOCK / 8);
}

/* What CPUs keep may be all that is missing. */
static void compaction_drains_first(struct kunit *test)
{
	struct kpb_machine *m = compaction_box(test);
	unsigned long p = box_block_pfn(1);

	compaction_pin(test, 0, MIGRATE_MOVABLE, box_block_pfn(3), 0);
	m->pcp[0].high = 100;
	m->pcp[0].batch = 3;
	compaction_free_pages(p, 8);
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 0);
	KUNIT_EXPECT_EQ(test, compaction_run(3), COMPACT_SUCCESS);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_drains, 1);
	KUNIT_EXPECT_EQ(test, m->counters.compact_migrate_scanned, 0);
	KUNIT_EXPECT_EQ(test, box_free_pfn(3, MIGRATE_MOVABLE, 0), p);
}

/* Without movable pages nothing is looked at, nor drained. */
static void compaction_without_movable_pages_costs_nothing(struct kunit *test)
{
	struct kpb_machine *m = compaction_box(test);

	compaction_pin(test, 0, MIGRATE_UNMOVABLE, box_block_pfn(1), 0);
	compaction_pin(test, 1, MIGRATE_RECLAIMABLE, box_block_pfn(2), 0);
	box_free(box_block_pfn(4), 3);
	KUNIT_EXPECT_EQ(test, m->zone.nr_movable_pages, 0);
	KUNIT_EXPECT_EQ(test, compaction_run(3), COMPACT_COMPLETE);
	KUNIT_EXPECT_EQ(test, m->counters.compact_migrate_scanned, 0);
	KUNIT_EXPECT_EQ(test, m->counters.pcp_drains, 0);
}

/* A block that deferred memory has is a block. */
static void compaction_finds_blocks_on_deferred_memory(struct kunit *test)
{
	struct kpb_config config =
		box_config(BOX_NULL, 4ULL << SECTION_SIZE_BITS);
	struct kpb_machine *m = box_create(test, &config);
	unsigned long nr_blocks = PAGES_PER_SECTION / BLOCK, i;

	KUNIT_ASSERT_EQ(test, box_granule.set_slots((u32)nr_blocks), 0);
	for (i = 0; i < nr_blocks; i++)
		KUNIT_ASSERT_EQ(test,
				box_op(KPB_OP_PIN, (u32)i, MIGRATE_MOVABLE,
				       MAX_PAGE_ORDER),
				0);
	KUNIT_EXPECT_FALSE(test, kpb_has_free_block(&m->zone, MAX_PAGE_ORDER));
	KUNIT_EXPECT_EQ(test, compaction_run(MAX_PAGE_ORDER), COMPACT_SUCCESS);
	KUNIT_EXPECT_EQ(test, m->counters.compact_migrate_scanned, 0);
}

/* Each failure doubles what is skipped: 1, 3, 7, 15, 31, and 63 from then on. */
static void compaction_is_deferred_after_failures(struct kunit *test)
{
	static const u64 skipped[] = { 0, 1, 3, 7, 15, 31, 63, 63 };
	struct kpb_machine *m = compaction_box(test);
	u64 deferred = 0;
	size_t i, n;

	for (i = 0; i < ARRAY_SIZE(skipped); i++) {
		for (n = 0; n < skipped[i]; n++)
			KUNIT_EXPECT_EQ(test,
					try_to_compact_pages(GFP_KERNEL, 5),
					COMPACT_DEFERRED);
		KUNIT_EXPECT_EQ(test, try_to_compact_pages(GFP_KERNEL, 5),
				COMPACT_COMPLETE);
		deferred += skipped[i];
		KUNIT_EXPECT_EQ(test, m->counters.compact_deferred, deferred);
	}
	KUNIT_EXPECT_EQ(test, m->zone.compact_defer_shift, 6);
	KUNIT_EXPECT_EQ(test, m->zone.compact_order_failed, 5);
	/* smaller orders are another matter; larger ones are not */
	KUNIT_EXPECT_EQ(test, try_to_compact_pages(GFP_KERNEL, 6),
			COMPACT_DEFERRED);
	KUNIT_EXPECT_EQ(test, try_to_compact_pages(GFP_KERNEL, 4),
			COMPACT_COMPLETE);
	KUNIT_EXPECT_EQ(test, m->zone.compact_order_failed, 4);
	KUNIT_EXPECT_EQ(test, try_to_compact_pages(GFP_KERNEL, 4),
			COMPACT_DEFERRED);
}

static void compaction_success_ends_the_deferral(struct kunit *test)
{
	struct kpb_machine *m = compaction_box(test);
	struct zone *zone = &m->zone;

	compaction_pin(test, 0, MIGRATE_MOVABLE, box_block_pfn(1), 0);
	KUNIT_EXPECT_EQ(test, zone->compact_order_failed, KPB_MAX_ORDERS);
	KUNIT_EXPECT_EQ(test, try_to_compact_pages(GFP_KERNEL, 5),
			COMPACT_COMPLETE);
	box_free(box_block_pfn(3), 6);
	/* once it is skipped */
	KUNIT_EXPECT_EQ(test, try_to_compact_pages(GFP_KERNEL, 6),
			COMPACT_DEFERRED);
	KUNIT_EXPECT_EQ(test, zone->compact_considered, 1);
	/* a smaller order resets the count, but says nothing about larger ones */
	KUNIT_EXPECT_EQ(test, try_to_compact_pages(GFP_KERNEL, 4),
			COMPACT_SUCCESS);
	KUNIT_EXPECT_EQ(test, zone->compact_considered, 0);
	KUNIT_EXPECT_EQ(test, zone->compact_defer_shift, 0);
	KUNIT_EXPECT_EQ(test, zone->compact_order_failed, 5);
	/* shift 0: the first look is let through */
	KUNIT_EXPECT_EQ(test, try_to_compact_pages(GFP_KERNEL, 6),
			COMPACT_SUCCESS);
	KUNIT_EXPECT_EQ(test, zone->compact_order_failed, 7);
	/* it counts no further than to the try that is let through */
	zone->compact_order_failed = 5;
	zone->compact_defer_shift = 1;
	zone->compact_considered = 0;
	KUNIT_EXPECT_TRUE(test, compaction_deferred(zone, 5));
	KUNIT_EXPECT_FALSE(test, compaction_deferred(zone, 5));
	KUNIT_EXPECT_FALSE(test, compaction_deferred(zone, 5));
	KUNIT_EXPECT_EQ(test, zone->compact_considered, 2);
	KUNIT_EXPECT_FALSE(test, compaction_deferred(zone, 4));
	/* success at the very order that failed takes the blame from it */
	zone->compact_order_failed = 7;
	compaction_defer_reset(zone, 7);
	KUNIT_EXPECT_EQ(test, zone->compact_order_failed, 8);
}

/* From an allocation: it gets the block, and its slot mate has moved. */
static void compaction_serves_an_allocation(struct kunit *test)
{
	struct kpb_machine *m = compaction_box(test);
	unsigned long p = box_block_pfn(1), q = box_block_pfn(2);
	unsigned int order = BOX_CONT_PTE_ORDER;

	compaction_pin(test, 0, MIGRATE_MOVABLE, p + 3, 0);
	compaction_free_pages(p, 3);
	compaction_free_pages(p + 4, (1UL << order) - 4);
	/* not enough to pass a watermark, were there one: the mark is 0 */
	box_free(q, 1);
	KUNIT_EXPECT_EQ(test,
			box_op(KPB_OP_PIN, 1, MIGRATE_UNMOVABLE, (u8)order), 0);
	KUNIT_EXPECT_EQ(test, compaction_slot(1), p);
	KUNIT_EXPECT_EQ(test, compaction_slot(0), q + 1);
	KUNIT_EXPECT_EQ(test, m->counters.slowpath_order[order], 1);
	KUNIT_EXPECT_EQ(test, m->counters.compact_stall, 1);
	KUNIT_EXPECT_EQ(test, m->counters.compact_success, 1);
	KUNIT_EXPECT_EQ(test, m->counters.compact_fail, 0);
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 0);
	KUNIT_EXPECT_EQ(test, m->counters.alloc_failures, 0);
	KUNIT_EXPECT_EQ(test, m->counters.failed_pins, 0);
}

/* The block is there, but below the watermark nobody gets it. */
static void compaction_success_may_be_below_the_mark(struct kunit *test)
{
	struct kpb_machine *m = compaction_box(test);

	compaction_pin(test, 0, MIGRATE_MOVABLE, box_block_pfn(3), 0);
	box_free(box_block_pfn(1), 4);
	m->zone._watermark[WMARK_MIN] = 1;
	m->zone._watermark[WMARK_LOW] = 1;
	KUNIT_EXPECT_NULL(test, __alloc_pages_noprof(GFP_KERNEL, 4));
	KUNIT_EXPECT_EQ(test, m->counters.compact_success, 1);
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 1);
	KUNIT_EXPECT_EQ(test, m->counters.alloc_failures, 1);
	/* with NORETRY too: it was not deferred and has not failed */
	KUNIT_EXPECT_NULL(test,
			  __alloc_pages_noprof(GFP_KERNEL | __GFP_NORETRY, 4));
	KUNIT_EXPECT_EQ(test, m->counters.compact_success, 2);
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 2);
}

/* On demand: whatever failed before, and without consequences. */
static void compaction_on_demand_is_not_deferred(struct kunit *test)
{
	struct kpb_machine *m = compaction_box(test);
	struct kpb_event events[4];
	int i;

	KUNIT_ASSERT_EQ(test, box_granule.record(4), 0);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, box_op(KPB_OP_COMPACT, 0, 0, 5), 0);
	KUNIT_EXPECT_EQ(test, box_granule.events(events, 4), 3);
	KUNIT_EXPECT_EQ(test, events[2].kind, KPB_EVENT_COMPACT);
	KUNIT_EXPECT_EQ(test, events[2].b, 5);
	KUNIT_EXPECT_EQ(test, events[2].c, 0);
	KUNIT_EXPECT_EQ(test, m->counters.compact_stall, 0);
	KUNIT_EXPECT_EQ(test, m->counters.compact_fail, 0);
	KUNIT_EXPECT_EQ(test, m->counters.compact_deferred, 0);
	KUNIT_EXPECT_EQ(test, m->zone.compact_defer_shift, 0);
	KUNIT_EXPECT_EQ(test, m->zone.compact_order_failed, KPB_MAX_ORDERS);
}

/* Every slot knows its pages, and they are nobody else's. */
static void compaction_expect_slots(struct kunit *test)
{
	unsigned long nr_movable = 0, i;
	u32 slot;

	for (slot = 0; slot < kpb_this->nr_slots; slot++) {
		const struct kpb_slot *s = &kpb_this->slots[slot];

		if (s->kind != KPB_SLOT_PIN ||
		    !(*kpb_page_type(page_to_pfn(s->page)) & KPB_PG_LRU))
			continue;
		KUNIT_EXPECT_EQ(test, page_private(s->page), slot);
		for (i = 0; i < 1UL << s->order; i++)
			KUNIT_EXPECT_EQ(test,
					*kpb_page_type(page_to_pfn(s->page) +
						       i),
					KPB_PG_LRU);
		nr_movable += 1UL << s->order;
	}
	KUNIT_EXPECT_EQ(test, kpb_this->zone.nr_movable_pages, nr_movable);
}

#define COMPACTION_SLOTS 2048

/* Memory that is nearly full of small things, and somebody who wants blocks. */
static void compaction_random_use_stays_sound(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_rng rng = kpb_rng_seed(11);
	struct kpb_machine *m;
	unsigned int i;
	u32 slot;

	box_refill_orders(&config, BOX_MIN_ORDER, 0, 0);
	m = box_boot(test, &config);
	KUNIT_ASSERT_EQ(test, box_granule.set_slots(COMPACTION_SLOTS), 0);
	for (i = 0; i < 30000; i++) {
		u64 random = kpb_rng_next(&rng);
		u8 max_order = random >> 63 ? 3 : MAX_PAGE_ORDER - 1;
		u8 order = (u8)((random >> 16) % (max_order + 1u));
		/* mostly movable */
		u8 type = (random >> 32) % 8 ? MIGRATE_MOVABLE :
					       MIGRATE_UNMOVABLE;

		slot = (u32)(random % COMPACTION_SLOTS);
		if (m->slots[slot].kind == KPB_SLOT_EMPTY)
			box_op(KPB_OP_PIN, slot, type, order);
		else
			box_op(KPB_OP_UNPIN, slot, 0, 0);
		if (random >> 56 == 0)
			box_op(KPB_OP_COMPACT, 0, 0, pageblock_order);
		if (i % 1000 == 0) {
			compaction_expect_slots(test);
			BOX_EXPECT_CLEAN(test);
		}
	}
	KUNIT_EXPECT_GE(test, m->counters.pgmigrate_success, 1);
	KUNIT_EXPECT_GE(test, m->counters.compact_success, 1);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	for (slot = 0; slot < COMPACTION_SLOTS; slot++)
		if (m->slots[slot].kind != KPB_SLOT_EMPTY)
			box_op(KPB_OP_UNPIN, slot, 0, 0);
	KUNIT_EXPECT_EQ(test, m->zone.nr_movable_pages, 0);
	BOX_EXPECT_CLEAN(test);
}

static const struct kunit_case compaction_test_cases[] = {
	KUNIT_CASE(compaction_empties_a_window),
	KUNIT_CASE(compaction_splits_from_the_top),
	KUNIT_CASE(compaction_takes_the_highest_target),
	KUNIT_CASE(compaction_moves_upward_only),
	KUNIT_CASE(compaction_without_room_fails_half_way),
	KUNIT_CASE(compaction_passes_unmovable_pages),
	KUNIT_CASE(compaction_leaves_larger_allocations),
	KUNIT_CASE(compaction_skips_cut_windows),
	KUNIT_CASE(compaction_drains_first),
	KUNIT_CASE(compaction_without_movable_pages_costs_nothing),
	KUNIT_CASE(compaction_finds_blocks_on_deferred_memory),
	KUNIT_CASE(compaction_is_deferred_after_failures),
	KUNIT_CASE(compaction_success_ends_the_deferral),
	KUNIT_CASE(compaction_serves_an_allocation),
	KUNIT_CASE(compaction_success_may_be_below_the_mark),
	KUNIT_CASE(compaction_on_demand_is_not_deferred),
	KUNIT_CASE(compaction_random_use_stays_sound),
	{ 0 }
};

static struct kunit_suite compaction_test_suite = {
	.name = BOX_SUITE("compaction"),
	.test_cases = compaction_test_cases,
};
kunit_test_suite(compaction_test_suite);

#undef BLOCK
#undef COMPACTION_SLOTS
