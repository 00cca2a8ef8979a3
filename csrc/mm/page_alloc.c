// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mirrors mm/page_alloc.c (6.18): the buddy allocator of one zone.
 */

/**
 * DOC: theory of operation
 *
 * Free memory is kept in naturally aligned blocks of 2^order pages, on one
 * list per order and migratetype. An allocation takes the smallest block that
 * suffices and puts the halves that it does not need back (expand()); a free
 * joins its buddy, whose frame number differs in one bit, for as long as that
 * is free too. Each pageblock has a migratetype, so that unmovable pages
 * gather in few of them. A type that runs out first claims whole pageblocks
 * from another, looking for the largest free block, and only then steals the
 * smallest block that will do.
 *
 * What is not here: per-CPU lists and the slow path (no watermarks, no
 * reclaim, no compaction: an allocation that finds nothing fails), CMA,
 * HIGHATOMIC, isolation, several zones and nodes.
 *
 * kpb: frames are given to the free lists section by section, see
 * deferred_grow_zone(), so that a machine of any size costs what it touches.
 */

#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/memblock.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mmzone.h>

#include "internal.h"

typedef unsigned int fpi_t;

#define FPI_NONE 0u
#define FPI_TO_TAIL 1u

static inline bool PageBuddy(const struct page *page)
{
	return *kpb_page_type(page_to_pfn(page)) & KPB_PG_BUDDY;
}

static inline unsigned int buddy_order(const struct page *page)
{
	return *kpb_page_type(page_to_pfn(page)) & KPB_PG_ORDER;
}

static inline void set_buddy_order(struct page *page, unsigned int order)
{
	*kpb_page_type(page_to_pfn(page)) = (u8)(KPB_PG_BUDDY | order);
}

static inline void __ClearPageBuddy(struct page *page)
{
	*kpb_page_type(page_to_pfn(page)) = 0;
}

static inline unsigned long pfn_to_pageblock(unsigned long pfn)
{
	return (pfn - kpb_this->zone.zone_start_pfn) >> pageblock_order;
}

static inline int get_pfnblock_migratetype(unsigned long pfn)
{
	return kpb_this->pageblock_migratetype[pfn_to_pageblock(pfn)];
}

static inline void set_pageblock_migratetype(struct page *page, int migratetype)
{
	unsigned long block = pfn_to_pageblock(page_to_pfn(page));

	kpb_this->pageblock_migratetype[block] = (u8)migratetype;
}

/* kpb: every type of the zone is ordinary, so any two may merge */
static inline bool migratetype_is_mergeable(int mt)
{
	return mt < MIGRATE_TYPES;
}

static inline int gfp_migratetype(gfp_t gfp)
{
	return (gfp & (__GFP_MOVABLE | __GFP_RECLAIMABLE)) >> 3;
}

static inline struct page *get_page_from_free_area(struct free_area *area,
						   int migratetype)
{
	return list_first_entry_or_null(&area->free_list[migratetype],
					struct page, buddy_list);
}

static inline bool free_area_empty(struct free_area *area, int migratetype)
{
	return list_empty(&area->free_list[migratetype]);
}

static inline void account_freepages(struct zone *zone, long nr_pages)
{
	zone->nr_free_pages += (unsigned long)nr_pages;
}

static inline void __add_to_free_list(struct page *page, struct zone *zone,
				      unsigned int order, int migratetype,
				      bool tail)
{
	struct free_area *area = &zone->free_area[order];

	if (tail)
		list_add_tail(&page->buddy_list, &area->free_list[migratetype]);
	else
		list_add(&page->buddy_list, &area->free_list[migratetype]);
	area->nr_free++;
}

static inline void move_to_free_list(struct page *page, struct zone *zone,
				     unsigned int order, int new_mt)
{
	struct free_area *area = &zone->free_area[order];

	list_move_tail(&page->buddy_list, &area->free_list[new_mt]);
}

static inline void __del_page_from_free_list(struct page *page,
					     struct zone *zone,
					     unsigned int order)
{
	list_del(&page->buddy_list);
	__ClearPageBuddy(page);
	zone->free_area[order].nr_free--;
}

static inline void del_page_from_free_list(struct page *page, struct zone *zone,
					   unsigned int order)
{
	__del_page_from_free_list(page, zone, order);
	account_freepages(zone, -(1L << order));
}

/* The frame that makes a block of order + 1 with the block at page_pfn. */
static inline unsigned long __find_buddy_pfn(unsigned long page_pfn,
					     unsigned int order)
{
	return page_pfn ^ (1UL << order);
}

/*
 * Free, of the same order and in the zone. page_type is zero for frames
 * beyond the zone and for those that are still deferred.
 */
static inline bool page_is_buddy(unsigned long buddy_pfn, unsigned int order)
{
	return *kpb_page_type(buddy_pfn) == (KPB_PG_BUDDY | order);
}

static inline struct page *find_buddy_page_pfn(unsigned long pfn,
					       unsigned int order,
					       unsigned long *buddy_pfn)
{
	unsigned long __buddy_pfn = __find_buddy_pfn(pfn, order);

	if (buddy_pfn)
		*buddy_pfn = __buddy_pfn;
	if (page_is_buddy(__buddy_pfn, order))
		return pfn_to_page(__buddy_pfn);
	return NULL;
}

/*
 * Will the merged pair soon merge once more? Then keep this block for last,
 * which gives its neighbour time to come free.
 */
static inline bool buddy_merge_likely(unsigned long pfn,
				      unsigned long buddy_pfn,
				      unsigned int order)
{
	if (order >= MAX_PAGE_ORDER - 1)
		return false;
	return find_buddy_page_pfn(buddy_pfn & pfn, order + 1, NULL) != NULL;
}

static inline void __free_one_page(struct page *page, unsigned long pfn,
				   struct zone *zone, unsigned int order,
				   int migratetype, fpi_t fpi_flags)
{
	unsigned long buddy_pfn = 0;
	unsigned long combined_pfn;
	struct page *buddy;
	bool to_tail;

	VM_BUG_ON(pfn & ((1UL << order) - 1));
	VM_BUG_ON(PageBuddy(page));
	account_freepages(zone, 1L << order);

	while (order < MAX_PAGE_ORDER) {
		int buddy_mt = migratetype;

		buddy = find_buddy_page_pfn(pfn, order, &buddy_pfn);
		if (!buddy)
			goto done_merging;

		if (unlikely(order >= pageblock_order)) {
			buddy_mt = get_pfnblock_migratetype(buddy_pfn);
			if (migratetype != buddy_mt &&
			    (!migratetype_is_mergeable(migratetype) ||
			     !migratetype_is_mergeable(buddy_mt)))
				goto done_merging;
		}

		__del_page_from_free_list(buddy, zone, order);
		/* so that a later expand() finds the type of the list */
		if (unlikely(buddy_mt != migratetype))
			set_pageblock_migratetype(buddy, migratetype);

		combined_pfn = buddy_pfn & pfn;
		pfn = combined_pfn;
		page = pfn_to_page(pfn);
		order++;
	}

done_merging:
	set_buddy_order(page, order);

	if (fpi_flags & FPI_TO_TAIL)
		to_tail = true;
	else
		to_tail = buddy_merge_likely(pfn, buddy_pfn, order);

	__add_to_free_list(page, zone, order, migratetype, to_tail);
}

static inline void free_one_page(struct zone *zone, struct page *page,
				 unsigned long pfn, unsigned int order,
				 fpi_t fpi_flags)
{
	__free_one_page(page, pfn, zone, order, get_pfnblock_migratetype(pfn),
			fpi_flags);
}

/* Put the upper halves of a block of order high back, largest first. */
static inline void expand(struct zone *zone, unsigned long pfn,
			  unsigned int low, unsigned int high, int migratetype)
{
	unsigned long size = 1UL << high;

	while (high > low) {
		struct page *page;

		high--;
		size >>= 1;
		page = pfn_to_page(pfn + size);
		__add_to_free_list(page, zone, high, migratetype, false);
		set_buddy_order(page, high);
		account_freepages(zone, (long)size);
	}
}

static inline void page_del_and_expand(struct zone *zone, struct page *page,
				       unsigned int low, unsigned int high,
				       int migratetype)
{
	del_page_from_free_list(page, zone, high);
	expand(zone, page_to_pfn(page), low, high, migratetype);
}

static inline struct page *
__rmqueue_smallest(struct zone *zone, unsigned int order, int migratetype)
{
	unsigned int current_order;

	for (current_order = order; current_order < NR_PAGE_ORDERS;
	     ++current_order) {
		struct free_area *area = &zone->free_area[current_order];
		struct page *page = get_page_from_free_area(area, migratetype);

		if (!page)
			continue;
		page_del_and_expand(zone, page, order, current_order,
				    migratetype);
		return page;
	}
	return NULL;
}

/* Whom to ask when a type has run out, in this order [M]. */
static const u8 fallbacks[MIGRATE_TYPES][MIGRATE_TYPES - 1] = {
	[MIGRATE_UNMOVABLE] = { MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE },
	[MIGRATE_MOVABLE] = { MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE },
	[MIGRATE_RECLAIMABLE] = { MIGRATE_UNMOVABLE, MIGRATE_MOVABLE },
};

/*
 * The whole pageblock around @page, and what is in it: pages on the free
 * lists and pages that could be moved. False if the zone cuts the block.
 */
static bool prep_move_freepages_block(struct zone *zone, struct page *page,
				      unsigned long *start_pfn,
				      unsigned long *num_free,
				      unsigned long *num_movable)
{
	unsigned long start = ALIGN_DOWN(page_to_pfn(page), pageblock_nr_pages);
	unsigned long end = start + pageblock_nr_pages;
	unsigned long pfn = start;

	if (start < zone->zone_start_pfn || end > zone->zone_end_pfn)
		return false;

	*start_pfn = start;
	*num_free = 0;
	*num_movable = 0;
	while (pfn < end) {
		u8 type = *kpb_page_type(pfn);

		if (type & KPB_PG_BUDDY) {
			unsigned long nr = 1UL << (type & KPB_PG_ORDER);

			*num_free += nr;
			pfn += nr;
			continue;
		}
		if (type & KPB_PG_LRU)
			(*num_movable)++;
		pfn++;
	}
	return true;
}

/* Move the free pages of one pageblock to another type's lists. */
static void __move_freepages_block(struct zone *zone, unsigned long start_pfn,
				   int new_mt)
{
	unsigned long pfn = start_pfn;
	unsigned long end = start_pfn + pageblock_nr_pages;

	while (pfn < end) {
		struct page *page = pfn_to_page(pfn);
		unsigned int order;

		if (!PageBuddy(page)) {
			pfn++;
			continue;
		}
		order = buddy_order(page);
		move_to_free_list(page, zone, order, new_mt);
		pfn += 1UL << order;
	}
}

static void change_pageblock_range(struct page *pageblock_page,
				   unsigned int start_order, int migratetype)
{
	unsigned long nr_pageblocks = 1UL << (start_order - pageblock_order);

	while (nr_pageblocks--) {
		set_pageblock_migratetype(pageblock_page, migratetype);
		pageblock_page += pageblock_nr_pages;
	}
}

/* Is a free block of this order a reason to claim its whole pageblock? */
static bool should_try_claim_block(unsigned int order, int start_mt)
{
	if (order >= pageblock_order)
		return true;
	if (order >= pageblock_order / 2)
		return true;
	return start_mt == MIGRATE_RECLAIMABLE || start_mt == MIGRATE_UNMOVABLE;
}

/* A foreign type with free blocks of this order; -1: none; -2: give up. */
static int find_suitable_fallback(struct free_area *area, unsigned int order,
				  int migratetype, bool claimable)
{
	unsigned int i;

	if (claimable && !should_try_claim_block(order, migratetype))
		return -2;
	if (area->nr_free == 0)
		return -1;
	for (i = 0; i < MIGRATE_TYPES - 1; i++) {
		int fallback_mt = fallbacks[migratetype][i];

		if (!free_area_empty(area, fallback_mt))
			return fallback_mt;
	}
	return -1;
}

static struct page *try_to_claim_block(struct zone *zone, struct page *page,
				       unsigned int current_order,
				       unsigned int order, int start_type,
				       int block_type)
{
	unsigned long free_pages, movable_pages, alike_pages, start_pfn;

	/* blocks and more are taken over whole */
	if (current_order >= pageblock_order) {
		del_page_from_free_list(page, zone, current_order);
		change_pageblock_range(page, current_order, start_type);
		expand(zone, page_to_pfn(page), order, current_order,
		       start_type);
		return page;
	}

	if (!prep_move_freepages_block(zone, page, &start_pfn, &free_pages,
				       &movable_pages))
		return NULL;

	/*
	 * Which of the pages in use are of our kind? For a movable request
	 * those that can move. For others, in a movable block, those that
	 * cannot; in any other block nothing is known about them.
	 */
	if (start_type == MIGRATE_MOVABLE)
		alike_pages = movable_pages;
	else if (block_type == MIGRATE_MOVABLE)
		alike_pages = pageblock_nr_pages - (free_pages + movable_pages);
	else
		alike_pages = 0;

	if (free_pages + alike_pages >= (1UL << (pageblock_order - 1))) {
		__move_freepages_block(zone, start_pfn, start_type);
		set_pageblock_migratetype(pfn_to_page(start_pfn), start_type);
		return __rmqueue_smallest(zone, order, start_type);
	}
	return NULL;
}

/* Take whole blocks over, the largest first: that fragments least. */
static struct page *__rmqueue_claim(struct zone *zone, unsigned int order,
				    int start_migratetype)
{
	int current_order;

	for (current_order = MAX_PAGE_ORDER; current_order >= (int)order;
	     --current_order) {
		unsigned int co = (unsigned int)current_order;
		struct free_area *area = &zone->free_area[co];
		struct page *page;
		int fallback_mt;

		fallback_mt = find_suitable_fallback(area, co,
						     start_migratetype, true);
		if (fallback_mt == -1)
			continue;
		if (fallback_mt == -2)
			break;

		page = get_page_from_free_area(area, fallback_mt);
		page = try_to_claim_block(zone, page, co, order,
					  start_migratetype, fallback_mt);
		if (page) {
			kpb_this->counters.buddy_claims++;
			return page;
		}
	}
	return NULL;
}

/* Steal one block from another type, the smallest that will do. */
static struct page *__rmqueue_steal(struct zone *zone, unsigned int order,
				    int start_migratetype)
{
	unsigned int current_order;

	for (current_order = order; current_order < NR_PAGE_ORDERS;
	     current_order++) {
		struct free_area *area = &zone->free_area[current_order];
		struct page *page;
		int fallback_mt;

		fallback_mt = find_suitable_fallback(area, current_order,
						     start_migratetype, false);
		if (fallback_mt == -1)
			continue;

		page = get_page_from_free_area(area, fallback_mt);
		page_del_and_expand(zone, page, order, current_order,
				    fallback_mt);
		kpb_this->counters.buddy_steals++;
		return page;
	}
	return NULL;
}

static inline struct page *__rmqueue(struct zone *zone, unsigned int order,
				     int migratetype)
{
	struct page *page;

	page = __rmqueue_smallest(zone, order, migratetype);
	if (unlikely(!page)) {
		page = __rmqueue_claim(zone, order, migratetype);
		if (!page)
			page = __rmqueue_steal(zone, order, migratetype);
	}
	return page;
}

/* Free [start_pfn, end_pfn) in the largest aligned pieces, in rising order. */
static void __free_pages_memory(unsigned long start_pfn, unsigned long end_pfn)
{
	while (start_pfn < end_pfn) {
		unsigned int order = MAX_PAGE_ORDER;

		if (start_pfn)
			order = min_t(unsigned int, MAX_PAGE_ORDER,
				      __ffs(start_pfn));
		while (start_pfn + (1UL << order) > end_pfn)
			order--;
		free_one_page(&kpb_this->zone, pfn_to_page(start_pfn),
			      start_pfn, order, FPI_TO_TAIL);
		start_pfn += 1UL << order;
	}
}

/* kpb: for the first time, as the state of the machine wants it */
static void kpb_free_memory(unsigned long start_pfn, unsigned long end_pfn)
{
	if (kpb_this->config.aged_ppm)
		kpb_aged_free_memory(start_pfn, end_pfn);
	else
		__free_pages_memory(start_pfn, end_pfn);
}

/*
 * kpb: give the next section to the free lists. The kernel does so when a
 * zone is low on memory; here it happens as soon as the last movable block of
 * the largest order is taken, so that an allocation finds what it would find
 * on a machine that was initialised at once (movable ones on aged memory do
 * not: small blocks further up are missing). In an aged machine without
 * such blocks that means looking at all of memory, as a search would.
 */
static __cold void deferred_grow_zone(struct zone *zone)
{
	struct list_head *largest =
		&zone->free_area[MAX_PAGE_ORDER].free_list[MIGRATE_MOVABLE];

	while (list_empty(largest) &&
	       zone->first_deferred_pfn < zone->deferred_end_pfn) {
		unsigned long start = zone->first_deferred_pfn;
		unsigned long end = min(ALIGN(start + 1, PAGES_PER_SECTION),
					zone->deferred_end_pfn);

		zone->first_deferred_pfn = end;
		kpb_free_memory(start, end);
	}
}

/* The place of per-CPU lists: orders up to 3 and the THP order would ask them. */
static inline struct page *rmqueue(struct zone *zone, unsigned int order,
				   int migratetype)
{
	return __rmqueue(zone, order, migratetype);
}

static inline struct page *get_page_from_freelist(gfp_t gfp, unsigned int order)
{
	struct zone *zone = &kpb_this->zone;

	if (unlikely(free_area_empty(&zone->free_area[MAX_PAGE_ORDER],
				     MIGRATE_MOVABLE) &&
		     zone->first_deferred_pfn < zone->deferred_end_pfn))
		deferred_grow_zone(zone);
	return rmqueue(zone, order, gfp_migratetype(gfp));
}

static inline void prep_new_page(struct page *page, unsigned int order,
				 gfp_t gfp)
{
	unsigned int i;

	page->mapping = NULL;
	set_page_private(page, 0);
	if (gfp & __GFP_ZERO)
		for (i = 0; i < 1u << order; i++)
			clear_highpage(page + i);
}

/**
 * __alloc_pages_noprof() - 2^order contiguous, naturally aligned pages
 * @gfp: where from (migratetype) and whether to clear them
 * @order: up to MAX_PAGE_ORDER
 *
 * Return: the first page, or NULL. The slow path does not exist yet: what the
 * fast path does not find is not there.
 */
struct page *__alloc_pages_noprof(gfp_t gfp, unsigned int order)
{
	struct page *page;

	if (WARN_ON_ONCE(order > MAX_PAGE_ORDER))
		return NULL;
	page = get_page_from_freelist(gfp, order);
	if (unlikely(!page))
		return NULL;
	prep_new_page(page, order, gfp);
	if ((gfp & __GFP_ACCOUNT) &&
	    unlikely(memcg_kmem_charge_page(page, gfp, (int)order))) {
		___free_pages(page, order, FPI_NONE);
		return NULL;
	}
	return page;
}

/* The place of per-CPU lists: see rmqueue(). */
void ___free_pages(struct page *page, unsigned int order, fpi_t fpi_flags)
{
	memcg_kmem_uncharge_page(page, (int)order);
	free_one_page(&kpb_this->zone, page, page_to_pfn(page), order,
		      fpi_flags);
}

/**
 * split_page() - make each page of a block an allocation of its own
 * @page: the first one
 * @order: of the block
 *
 * kpb: pages have no reference count here, so there is nothing to write.
 */
void split_page(struct page *page, unsigned int order)
{
	VM_BUG_ON(PageBuddy(page));
	(void)page;
	(void)order;
}

/*
 * The whole of memblock's free memory, to be initialised on demand: all but
 * the gaps and what is left at its end of a block of the largest order, which
 * would be on the lists of smaller ones from the start.
 */
void memblock_free_all(void)
{
	struct zone *zone = &kpb_this->zone;
	const struct kpb_memblock_gap *gaps = kpb_this->memblock_gaps;
	unsigned long end = kpb_this->memblock_end >> PAGE_SHIFT;
	unsigned int i;

	zone->first_deferred_pfn = zone->zone_start_pfn;
	zone->deferred_end_pfn = ALIGN_DOWN(end, MAX_ORDER_NR_PAGES);
	kpb_free_memory(zone->deferred_end_pfn, end);
	for (i = 0; i < kpb_this->nr_memblock_gaps; i++)
		kpb_free_memory(gaps[i].start >> PAGE_SHIFT,
				gaps[i].end >> PAGE_SHIFT);
	deferred_grow_zone(zone);
}

static void free_area_init(struct zone *zone)
{
	unsigned int order, mt;

	for (order = 0; order < NR_PAGE_ORDERS; order++) {
		for (mt = 0; mt < MIGRATE_TYPES; mt++)
			INIT_LIST_HEAD(&zone->free_area[order].free_list[mt]);
		zone->free_area[order].nr_free = 0;
	}
	/* a fresh machine: every block is movable until somebody claims it */
	memset(kpb_this->pageblock_migratetype, MIGRATE_MOVABLE,
	       pfn_to_pageblock(zone->zone_end_pfn - 1) + 1);
}
