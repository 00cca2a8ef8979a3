// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stands for mm/compaction.c (6.18): the deferral is mirrored, compaction
 * itself is a model of it.
 */

/**
 * DOC: theory of operation
 *
 * Compaction makes a free block by moving pages in use out of its way. The
 * kernel has two scanners that walk towards each other, one for pages to be
 * moved and one for free pages to move them to, and stops when a block of the
 * order exists.
 *
 * kpb: the model keeps that, and leaves out all that makes the scanners take
 * short cuts: skip bits, cached positions, sync and async modes, migratetypes
 * of pageblocks, contention. It looks at aligned windows of the order, from
 * the start of the zone upward. The first window in which every page is free
 * or movable is emptied, whole allocations at a time, into the highest free
 * blocks that lie above it. It moves real allocations: their owners' slots
 * show the new frames.
 */

#include <linux/mm.h>
#include <linux/mmzone.h>

#include "../lab/system.h"
#include "internal.h"

#define COMPACT_MAX_DEFER_SHIFT 6

/**
 * struct compact_control - one run of compact_zone()
 * @zone: the zone
 * @order: what somebody wants
 * @migrate_pfn: where the window begins
 * @free_pfn: by order: no free block of it or above begins here or higher
 * @nr_migratepages: moved so far
 */
struct compact_control {
	struct zone *zone;
	unsigned int order;
	unsigned long migrate_pfn;
	unsigned long free_pfn[NR_PAGE_ORDERS];
	unsigned long nr_migratepages;
};

static void kpb_mark_movable(struct page *page, unsigned int order, u8 type)
{
	memset(kpb_page_type(page_to_pfn(page)), type, 1UL << order);
}

/* The slot's number is where the kernel finds who maps the page. */
void kpb_movable_add(struct page *page, unsigned int order, u32 slot)
{
	kpb_mark_movable(page, order, KPB_PG_LRU);
	set_page_private(page, slot);
	kpb_this->zone.nr_movable_pages += 1UL << order;
}

/* Pages of other types are left alone. */
void kpb_movable_del(struct page *page, unsigned int order)
{
	if (!(*kpb_page_type(page_to_pfn(page)) & KPB_PG_LRU))
		return;
	kpb_mark_movable(page, order, 0);
	kpb_this->zone.nr_movable_pages -= 1UL << order;
}

/* The owner of the movable allocation that begins here, or NULL. */
static struct kpb_slot *kpb_movable_slot(const struct page *page)
{
	unsigned long slot = page_private(page);

	/* within an allocation page->private may be anything */
	if (slot >= kpb_this->nr_slots || kpb_this->slots[slot].page != page)
		return NULL;
	return &kpb_this->slots[slot];
}

/* Has it failed so lately that it is not worth trying? */
static bool compaction_deferred(struct zone *zone, int order)
{
	unsigned int defer_limit = 1u << zone->compact_defer_shift;

	if (order < zone->compact_order_failed)
		return false;
	if (++zone->compact_considered >= defer_limit) {
		zone->compact_considered = defer_limit;
		return false;
	}
	return true;
}

/* It failed: skip twice as many tries as last time. */
static void defer_compaction(struct zone *zone, int order)
{
	zone->compact_considered = 0;
	if (zone->compact_defer_shift < COMPACT_MAX_DEFER_SHIFT)
		zone->compact_defer_shift++;
	if (order < zone->compact_order_failed)
		zone->compact_order_failed = order;
}

/* kpb: the block exists; the kernel waits until it has been allocated, too */
static void compaction_defer_reset(struct zone *zone, int order)
{
	zone->compact_considered = 0;
	zone->compact_defer_shift = 0;
	if (order >= zone->compact_order_failed)
		zone->compact_order_failed = order + 1;
}

/* The order of the movable allocation that begins here; none: -1. */
static int kpb_movable_order(const struct page *page)
{
	const struct kpb_slot *slot;

	if (kpb_system_is_head(page))
		return (int)kpb_system_order(page);
	/* a tail of the system's has the private of whoever was there before */
	if (*kpb_page_type(page_to_pfn(page)) & KPB_PG_SYSTEM)
		return -1;
	slot = kpb_movable_slot(page);
	return slot ? slot->order : -1;
}

/* Could the window be emptied? Looks until it knows. */
static bool isolate_migratepages_block(struct compact_control *cc)
{
	unsigned long pfn = cc->migrate_pfn;
	unsigned long end = pfn + (1UL << cc->order);
	unsigned long nr_scanned = 0, nr_movable = 0;
	int order;

	while (pfn < end) {
		u8 type = *kpb_page_type(pfn);
		unsigned long nr = 1;

		if (type & KPB_PG_BUDDY)
			nr = 1UL << (type & KPB_PG_ORDER);
		else if (type & KPB_PG_LRU)
			nr_movable++;
		nr_scanned += nr;
		if (!(type & (KPB_PG_BUDDY | KPB_PG_LRU)))
			break;
		pfn += nr;
	}
	kpb_this->counters.compact_migrate_scanned += nr_scanned;
	if (pfn < end || !nr_movable)
		return false;
	if (!(*kpb_page_type(cc->migrate_pfn) & KPB_PG_LRU))
		return true;
	/* what is larger than the window begins with it, or before it */
	order = kpb_movable_order(pfn_to_page(cc->migrate_pfn));
	return order >= 0 && order <= (int)cc->order;
}

/* The next window that could be emptied; the zone's ends cut none. */
static bool isolate_migratepages(struct compact_control *cc)
{
	unsigned long nr = 1UL << cc->order;

	for (cc->migrate_pfn = ALIGN(cc->zone->zone_start_pfn, nr);
	     cc->migrate_pfn + nr <= cc->zone->zone_end_pfn;
	     cc->migrate_pfn += nr)
		if (isolate_migratepages_block(cc))
			return true;
	return false;
}

/* Take the upper end of a free block, put the lower halves back. */
static struct page *kpb_split_free_block(struct zone *zone, unsigned long pfn,
					 unsigned int low)
{
	struct page *page = pfn_to_page(pfn);
	unsigned int high = buddy_order(page);
	int migratetype = get_pfnblock_migratetype(pfn);

	del_page_from_free_list(page, zone, high);
	while (high > low) {
		high--;
		page = pfn_to_page(pfn);
		__add_to_free_list(page, zone, high, migratetype, false);
		set_buddy_order(page, high);
		account_freepages(zone, 1L << high);
		pfn += 1UL << high;
	}
	return pfn_to_page(pfn);
}

/* Where to move an allocation of @order: as high as possible, or NULL. */
static struct page *isolate_freepages(struct compact_control *cc,
				      unsigned int order)
{
	unsigned long low_pfn = cc->migrate_pfn + (1UL << cc->order);
	unsigned long pfn = cc->free_pfn[order];
	struct page *page;

	while (pfn > low_pfn) {
		/* no other type has the highest bit, so larger means larger */
		if (*kpb_page_type(--pfn) < (KPB_PG_BUDDY | order))
			continue;
		page = kpb_split_free_block(cc->zone, pfn, order);
		cc->free_pfn[order] = page_to_pfn(page);
		return page;
	}
	cc->free_pfn[order] = low_pfn;
	return NULL;
}

/* Move one allocation. kpb: nobody reads what is in it, so that stays behind */
static bool migrate_page(struct compact_control *cc, struct page *page)
{
	unsigned int order = (unsigned int)kpb_movable_order(page);
	unsigned long pfn = page_to_pfn(page);
	struct page *dst = isolate_freepages(cc, order);

	if (!dst)
		return false;
	dst->mapping = page->mapping;
	if (kpb_system_is_head(page)) {
		kpb_system_move(page, dst);
	} else {
		struct kpb_slot *slot = kpb_movable_slot(page);

		kpb_movable_del(page, order);
		kpb_movable_add(dst, order, (u32)page_private(page));
		slot->page = dst;
	}
	free_one_page(cc->zone, page, pfn, order, FPI_NONE);
	cc->nr_migratepages += 1UL << order;
	kpb_this->counters.pgmigrate_success += 1UL << order;
	return true;
}

/* Empty the window; false: there is no room above it. */
static bool migrate_pages(struct compact_control *cc)
{
	unsigned long pfn = cc->migrate_pfn;
	unsigned long end = pfn + (1UL << cc->order);

	/* what is free changes its shape meanwhile, so page by page */
	for (; pfn < end; pfn++)
		if ((*kpb_page_type(pfn) & KPB_PG_LRU) &&
		    !migrate_page(cc, pfn_to_page(pfn)))
			return false;
	return true;
}

/* kpb: on deferred memory, too, there are such blocks */
static bool compact_finished(struct compact_control *cc)
{
	return kpb_has_free_block(cc->zone, cc->order) ||
	       (deferred_grow_zone(cc->zone) &&
		kpb_has_free_block(cc->zone, cc->order));
}

static enum compact_result compact_zone(struct compact_control *cc)
{
	unsigned int order;

	/* kpb: nothing could move, so do not look */
	if (!cc->zone->nr_movable_pages)
		return COMPACT_COMPLETE;
	drain_all_pages();
	if (compact_finished(cc))
		return COMPACT_SUCCESS;
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		cc->free_pfn[order] = cc->zone->zone_end_pfn;
	if (!isolate_migratepages(cc) || !migrate_pages(cc))
		return COMPACT_COMPLETE;
	VM_BUG_ON(!compact_finished(cc));
	return COMPACT_SUCCESS;
}

static enum compact_result compact_zone_order(struct zone *zone,
					      unsigned int order)
{
	struct compact_control cc = { .zone = zone, .order = order };
	enum compact_result result = compact_zone(&cc);

	kpb_event(KPB_EVENT_COMPACT, cc.nr_migratepages, order,
		  result == COMPACT_SUCCESS);
	return result;
}

/**
 * try_to_compact_pages() - direct compaction
 * @gfp: of the allocation that wants a block
 * @order: of it
 *
 * Return: what came of it; COMPACT_SUCCESS if the block is there.
 */
enum compact_result try_to_compact_pages(gfp_t gfp, unsigned int order)
{
	struct zone *zone = &kpb_this->zone;
	enum compact_result result;

	(void)gfp;
	if (compaction_deferred(zone, (int)order)) {
		kpb_this->counters.compact_deferred++;
		return COMPACT_DEFERRED;
	}
	result = compact_zone_order(zone, order);
	if (result == COMPACT_SUCCESS)
		compaction_defer_reset(zone, (int)order);
	else
		defer_compaction(zone, (int)order);
	return result;
}

/* Whatever failed before, and without consequences for the next time. */
void kpb_compact_node(unsigned int order)
{
	compact_zone_order(&kpb_this->zone, order);
}
