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
 * In front of the zone each CPU has lists of its own for small orders and for
 * huge pages: filled and emptied in batches, last in, first out. Pages on them
 * do not merge, and watermarks do not count them.
 *
 * An allocation that would push the zone below its low watermark takes the slow
 * path: down to the min watermark, then compaction (compaction.c) and reclaim
 * (vmscan.c), again and again for small orders and once for costly ones, and
 * in the end the OOM killer or a failure that is reported in the log.
 *
 * What is not here: CMA, HIGHATOMIC, isolation, several zones and nodes,
 * and whatever adapts the size of per-CPU lists to the load.
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
#include <linux/mutex.h>

#include "internal.h"

typedef unsigned int fpi_t;

#define FPI_NONE 0u
#define FPI_TO_TAIL 1u

/* One list per CPU and nothing kept on it, until setup_per_cpu_pageset(). */
#define BOOT_PAGESET_HIGH 0
#define BOOT_PAGESET_BATCH 1

static __cold bool deferred_grow_zone(struct zone *zone);

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

/*
 * kpb: are more than half of the pageblock's pages in use and movable? Eight
 * pages at a time: of a free page that bit is not part of the order.
 */
static bool kpb_block_is_mostly_movable(unsigned long pfn)
{
	const u8 *type = kpb_page_type(ALIGN_DOWN(pfn, pageblock_nr_pages));
	unsigned long nr = 0, i;

	static_assert(!(KPB_PG_LRU & (KPB_PG_BUDDY | KPB_PG_ORDER)),
		      "of a free page the bit is clear");
	for (i = 0; i < pageblock_nr_pages; i += sizeof(u64)) {
		u64 types;

		memcpy(&types, type + i, sizeof(types));
		/* one bit in each byte: the sum of all ends up in the highest */
		types = types / KPB_PG_LRU & 0x0101010101010101ULL;
		nr += types * 0x0101010101010101ULL >> 56;
	}
	return nr > pageblock_nr_pages / 2;
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

	/* kpb: what the sum below comes to then; decided at once, as it is often */
	if (start_type != MIGRATE_MOVABLE && block_type == MIGRATE_MOVABLE &&
	    kpb_block_is_mostly_movable(page_to_pfn(page)))
		return NULL;
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

/* kpb: has the last movable block of the largest order gone? */
static inline bool kpb_should_grow_zone(struct zone *zone)
{
	return unlikely(free_area_empty(&zone->free_area[MAX_PAGE_ORDER],
					MIGRATE_MOVABLE) &&
			zone->first_deferred_pfn < zone->deferred_end_pfn);
}

static inline struct page *__rmqueue(struct zone *zone, unsigned int order,
				     int migratetype)
{
	struct page *page;

	if (kpb_should_grow_zone(zone))
		deferred_grow_zone(zone);
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
static __cold bool deferred_grow_zone(struct zone *zone)
{
	unsigned long first = zone->first_deferred_pfn;

	while (kpb_should_grow_zone(zone)) {
		unsigned long start, end;

		kpb_next_deferred_section(&start, &end);
		kpb_free_memory(start, end);
	}
	return zone->first_deferred_pfn != first;
}

/* Which orders go through the per-CPU lists? */
static inline bool pcp_allowed_order(unsigned int order)
{
	if (order <= PAGE_ALLOC_COSTLY_ORDER || order == PMD_ORDER)
		return likely(!kpb_this->config.no_pcp);
	return false;
}

static inline unsigned int order_to_pindex(int migratetype, unsigned int order)
{
	if (order > PAGE_ALLOC_COSTLY_ORDER) {
		VM_BUG_ON(order != PMD_ORDER);
		return NR_LOWORDER_PCP_LISTS + (migratetype == MIGRATE_MOVABLE);
	}
	return MIGRATE_PCPTYPES * order + (unsigned int)migratetype;
}

static inline unsigned int pindex_to_order(unsigned int pindex)
{
	if (pindex >= NR_LOWORDER_PCP_LISTS)
		return PMD_ORDER;
	return pindex / MIGRATE_PCPTYPES;
}

static inline struct per_cpu_pages *kpb_this_cpu_pcp(void)
{
	return &kpb_this->pcp[kpb_this->cpu];
}

/* How many blocks an empty list asks for. */
static inline int nr_pcp_alloc(const struct per_cpu_pages *pcp,
			       unsigned int order)
{
	int batch = pcp->batch;

	/* the boot pageset */
	if (unlikely(pcp->high < batch))
		return 1;
	/* kpb: no alloc_factor, which doubles it while a CPU only allocates */
	if (batch > 1)
		batch = max(batch >> order, 2);
	return batch;
}

/* How many pages leave lists that are full. */
static inline int nr_pcp_free(const struct per_cpu_pages *pcp)
{
	/* kpb: no free_count, no free_high: the same however long it goes on */
	return unlikely(pcp->high < pcp->batch) ? 1 : pcp->batch;
}

/* kpb: no autotuning, and no low high while the zone is being reclaimed */
static inline int nr_pcp_high(const struct per_cpu_pages *pcp)
{
	return pcp->high;
}

/*
 * Give @count pages back, oldest first, list after list, beginning with
 * @pindex. A larger block than what is left goes whole.
 */
static noinline void free_pcppages_bulk(struct zone *zone, int count,
					struct per_cpu_pages *pcp,
					unsigned int pindex)
{
	int freed = pcp->count;

	count = min(pcp->count, count);
	/* the first step of the search below leads to the list asked for */
	pindex = pindex ? pindex - 1 : NR_PCP_LISTS - 1;

	while (count > 0) {
		struct list_head *list;
		unsigned int order;

		do {
			if (++pindex == NR_PCP_LISTS)
				pindex = 0;
			list = &pcp->lists[pindex];
		} while (list_empty(list));

		order = pindex_to_order(pindex);
		do {
			struct page *page =
				list_last_entry(list, struct page, pcp_list);
			unsigned long pfn = page_to_pfn(page);

			list_del(&page->pcp_list);
			count -= 1 << order;
			pcp->count -= 1 << order;
			/* the type of its block now, not of the list */
			free_one_page(zone, page, pfn, order, FPI_NONE);
		} while (count > 0 && !list_empty(list));
	}
	freed -= pcp->count;
	kpb_this->counters.pcp_bulk_free_pages += (u64)freed;
}

/* Up to @count blocks, as one after the other would get them. */
static noinline int rmqueue_bulk(struct zone *zone, unsigned int order,
				 int count, struct list_head *list,
				 int migratetype)
{
	int i;

	for (i = 0; i < count; i++) {
		struct page *page = __rmqueue(zone, order, migratetype);

		if (unlikely(!page))
			break;
		/* in the order in which they came, so that frames rise */
		list_add_tail(&page->pcp_list, list);
	}
	kpb_this->counters.pcp_bulk_allocs++;
	kpb_this->counters.pcp_bulk_alloc_pages += (u64)i << order;
	return i;
}

static inline struct page *
__rmqueue_pcplist(struct zone *zone, unsigned int order, int migratetype,
		  struct per_cpu_pages *pcp, struct list_head *list)
{
	struct page *page;

	if (unlikely(list_empty(list))) {
		int batch = nr_pcp_alloc(pcp, order);
		int alloced =
			rmqueue_bulk(zone, order, batch, list, migratetype);

		pcp->count += alloced << order;
		if (unlikely(!alloced))
			return NULL;
	}
	page = list_first_entry(list, struct page, pcp_list);
	list_del(&page->pcp_list);
	pcp->count -= 1 << order;
	return page;
}

static inline struct page *rmqueue_pcplist(struct zone *zone,
					   unsigned int order, int migratetype)
{
	struct per_cpu_pages *pcp = kpb_this_cpu_pcp();

	return __rmqueue_pcplist(zone, order, migratetype, pcp,
				 &pcp->lists[order_to_pindex(migratetype,
							     order)]);
}

static noinline struct page *rmqueue_buddy(struct zone *zone,
					   unsigned int order, int migratetype)
{
	return __rmqueue(zone, order, migratetype);
}

static inline struct page *rmqueue(struct zone *zone, unsigned int order,
				   int migratetype)
{
	if (likely(pcp_allowed_order(order))) {
		struct page *page = rmqueue_pcplist(zone, order, migratetype);

		if (likely(page))
			return page;
	}
	return rmqueue_buddy(zone, order, migratetype);
}

/* To the list of the running CPU, whatever became of the page's block. */
static inline void free_frozen_page_commit(struct zone *zone,
					   struct per_cpu_pages *pcp,
					   struct page *page, int migratetype,
					   unsigned int order)
{
	unsigned int pindex = order_to_pindex(migratetype, order);

	VM_BUG_ON(PageBuddy(page));
	list_add(&page->pcp_list, &pcp->lists[pindex]);
	pcp->count += 1 << order;
	if (unlikely(pcp->count >= nr_pcp_high(pcp)))
		free_pcppages_bulk(zone, nr_pcp_free(pcp), pcp, pindex);
}

static inline void __free_frozen_pages(struct page *page, unsigned int order,
				       fpi_t fpi_flags)
{
	struct zone *zone = &kpb_this->zone;
	unsigned long pfn = page_to_pfn(page);

	if (unlikely(!pcp_allowed_order(order))) {
		free_one_page(zone, page, pfn, order, fpi_flags);
		return;
	}
	free_frozen_page_commit(zone, kpb_this_cpu_pcp(), page,
				get_pfnblock_migratetype(pfn), order);
}

/**
 * drain_all_pages() - what every CPU keeps back to the zone
 *
 * Context: the kernel sends work to each CPU and waits for it; here it is done
 * at once, in the order of their numbers.
 */
void drain_all_pages(void)
{
	struct kpb_machine *m = kpb_this;
	u64 before = m->counters.pcp_bulk_free_pages;
	u32 cpu;

	m->counters.pcp_drains++;
	for (cpu = 0; cpu < m->config.nr_cpus; cpu++)
		free_pcppages_bulk(&m->zone, m->pcp[cpu].count, &m->pcp[cpu],
				   0);
	kpb_event(KPB_EVENT_DRAIN, m->counters.pcp_bulk_free_pages - before, 0,
		  0);
}

/* NR_FREE_PAGES; kpb: with what the buddy has not been given yet */
static inline long kpb_nr_free_pages(const struct zone *zone)
{
	return (long)(zone->nr_free_pages + zone->nr_deferred_pages);
}

/* Does the buddy have a block of this order or of a larger one? */
static inline bool kpb_has_free_block(const struct zone *zone,
				      unsigned int order)
{
	for (; order < NR_PAGE_ORDERS; order++)
		if (zone->free_area[order].nr_free)
			return true;
	return false;
}

static bool __zone_watermark_ok(struct zone *zone, unsigned int order,
				unsigned long mark, unsigned int alloc_flags,
				long free_pages)
{
	long min = (long)mark;

	/* what the request itself takes, but for the last page */
	free_pages -= (1L << order) - 1;
	if (alloc_flags & ALLOC_MIN_RESERVE) {
		min -= min / 2;
		if (alloc_flags & ALLOC_NON_BLOCK)
			min -= min / 4;
	}
	if (alloc_flags & ALLOC_OOM)
		min -= min / 2;

	if (free_pages <= min)
		return false;
	return !order || kpb_has_free_block(zone, order);
}

static bool zone_watermark_ok(struct zone *zone, unsigned int order,
			      unsigned long mark, unsigned int alloc_flags)
{
	return __zone_watermark_ok(zone, order, mark, alloc_flags,
				   kpb_nr_free_pages(zone));
}

/* The same; single pages without a claim to reserves are decided at once. */
static inline bool zone_watermark_fast(struct zone *zone, unsigned int order,
				       unsigned long mark,
				       unsigned int alloc_flags)
{
	if (!order && !(alloc_flags & ALLOC_RESERVES))
		return kpb_nr_free_pages(zone) > (long)mark;
	return zone_watermark_ok(zone, order, mark, alloc_flags);
}

static __always_inline struct page *
get_page_from_freelist(gfp_t gfp, unsigned int order, unsigned int alloc_flags)
{
	struct zone *zone = &kpb_this->zone;
	unsigned long mark;

	if (!(alloc_flags & ALLOC_NO_WATERMARKS)) {
		mark = wmark_pages(zone, alloc_flags & ALLOC_WMARK_MASK);
		if (unlikely(!zone_watermark_fast(zone, order, mark,
						  alloc_flags)) &&
		    !(deferred_grow_zone(zone) &&
		      zone_watermark_ok(zone, order, mark, alloc_flags)))
			return NULL;
	}
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

/* Every try but the first: out of the way of the fast path. */
static noinline __cold struct page *
kpb_retry_freelist(gfp_t gfp, unsigned int order, unsigned int alloc_flags)
{
	return get_page_from_freelist(gfp, order, alloc_flags);
}

/* What this request may dig into. */
static unsigned int gfp_to_alloc_flags(gfp_t gfp)
{
	unsigned int alloc_flags = ALLOC_WMARK_MIN;

	if (gfp & __GFP_HIGH)
		alloc_flags |= ALLOC_MIN_RESERVE;
	if (!(gfp & __GFP_DIRECT_RECLAIM))
		alloc_flags |= ALLOC_NON_BLOCK;
	return alloc_flags;
}

/* A report in the log. kpb: every one, the kernel limits their rate */
static void warn_alloc(gfp_t gfp, unsigned int order)
{
	if (gfp & __GFP_NOWARN)
		return;
	kpb_this->counters.alloc_failures++;
	kpb_event(KPB_EVENT_ALLOC_FAILURE, 0, order, 0);
}

static void wake_all_kswapds(unsigned int order)
{
	kpb_this->counters.kswapd_wakes++;
	wakeup_kswapd(&kpb_this->zone, order);
}

static struct page *
__alloc_pages_direct_compact(gfp_t gfp, unsigned int order,
			     unsigned int alloc_flags,
			     enum compact_result *compact_result)
{
	*compact_result = try_to_compact_pages(gfp, order);
	if (*compact_result == COMPACT_DEFERRED)
		return NULL;
	kpb_this->counters.compact_stall++;
	if (*compact_result != COMPACT_SUCCESS) {
		kpb_this->counters.compact_fail++;
		return NULL;
	}
	kpb_this->counters.compact_success++;
	return kpb_retry_freelist(gfp, order, alloc_flags);
}

/**
 * __perform_reclaim() - reclaim on behalf of the running task
 * @gfp: of the allocation that needs memory
 * @order: of it
 *
 * What the task allocates meanwhile may use the last page.
 *
 * Return: how many pages came free.
 */
unsigned long __perform_reclaim(gfp_t gfp, unsigned int order)
{
	unsigned long progress;
	unsigned int noreclaim_flag;

	kpb_event(KPB_EVENT_RECLAIM, 0, order, 0);
	kpb_point(KPB_POINT_RECLAIM, NULL);
	noreclaim_flag = current->flags & PF_MEMALLOC;
	current->flags |= PF_MEMALLOC;
	progress = try_to_free_pages(order, gfp);
	current->flags = (current->flags & ~PF_MEMALLOC) | noreclaim_flag;
	kpb_event(KPB_EVENT_RECLAIM_END, progress, 0, 0);
	return progress;
}

static struct page *
__alloc_pages_direct_reclaim(gfp_t gfp, unsigned int order,
			     unsigned int alloc_flags,
			     unsigned long *did_some_progress)
{
	struct page *page;

	KPB_FRAME();
	*did_some_progress = __perform_reclaim(gfp, order);
	if (unlikely(!*did_some_progress))
		return NULL;
	page = kpb_retry_freelist(gfp, order, alloc_flags);
	if (page)
		return page;
	/* it may be there, but on the lists of other CPUs */
	drain_all_pages();
	return kpb_retry_freelist(gfp, order, alloc_flags);
}

/* kpb: progress is enough; the kernel also asks whether it could suffice */
static bool should_reclaim_retry(unsigned long did_some_progress,
				 unsigned int *nr_retries)
{
	return did_some_progress && (*nr_retries)++ < MAX_RECLAIM_RETRIES;
}

static struct page *__alloc_pages_may_oom(gfp_t gfp, unsigned int order)
{
	/* somebody may have been killed already: only if that freed a lot */
	struct page *page = kpb_retry_freelist(gfp, order, ALLOC_WMARK_HIGH);

	if (page)
		return page;
	if ((gfp & __GFP_RETRY_MAYFAIL) || order > PAGE_ALLOC_COSTLY_ORDER)
		return NULL;
	/*
	 * kpb: nobody else is there to be killed, so the caller is the victim,
	 * which may go below the watermark and ends in failure otherwise.
	 */
	kpb_this->counters.oom_kills++;
	kpb_event(KPB_EVENT_OOM, 0, order, 0);
	return kpb_retry_freelist(gfp, order, ALLOC_WMARK_MIN | ALLOC_OOM);
}

/* A task inside reclaim: no watermark holds it back. */
static struct page *kpb_alloc_memalloc(gfp_t gfp, unsigned int order)
{
	struct zone *zone = &kpb_this->zone;
	bool wmark_ok =
		zone_watermark_ok(zone, order, min_wmark_pages(zone), 0);
	struct page *page = kpb_retry_freelist(gfp, order, ALLOC_NO_WATERMARKS);

	if (page && !wmark_ok)
		kpb_this->counters.memalloc_allocs++;
	return page;
}

static noinline __cold struct page *__alloc_pages_slowpath(gfp_t gfp,
							   unsigned int order)
{
	const bool can_direct_reclaim = gfp & __GFP_DIRECT_RECLAIM;
	const bool costly_order = order > PAGE_ALLOC_COSTLY_ORDER;
	const bool memalloc = current->flags & PF_MEMALLOC;
	const unsigned int alloc_flags = gfp_to_alloc_flags(gfp);
	enum compact_result compact_result;
	unsigned long did_some_progress;
	unsigned int nr_retries = 0;
	struct page *page;

	KPB_FRAME();
	kpb_this->counters.slowpath_entries++;
	kpb_this->counters.slowpath_order[order]++;
	kpb_event(KPB_EVENT_SLOWPATH, 0, order, 0);
	if (gfp & __GFP_KSWAPD_RECLAIM)
		wake_all_kswapds(order);

	page = kpb_retry_freelist(gfp, order, alloc_flags);
	if (page)
		return page;

	/* what reclaim is unlikely to give, or what would fragment: compact */
	if (can_direct_reclaim && !memalloc &&
	    (costly_order ||
	     (order > 0 && gfp_migratetype(gfp) != MIGRATE_MOVABLE))) {
		page = __alloc_pages_direct_compact(gfp, order, alloc_flags,
						    &compact_result);
		if (page)
			return page;
		if (costly_order && (gfp & __GFP_NORETRY) &&
		    compact_result == COMPACT_DEFERRED)
			goto nopage;
	}

	do {
		page = memalloc ? kpb_alloc_memalloc(gfp, order) :
				  kpb_retry_freelist(gfp, order, alloc_flags);
		if (page)
			return page;
		if (!can_direct_reclaim || memalloc)
			goto nopage;

		page = __alloc_pages_direct_reclaim(gfp, order, alloc_flags,
						    &did_some_progress);
		if (page)
			return page;
		if (gfp & __GFP_NORETRY)
			goto nopage;
		if (costly_order && !(gfp & __GFP_RETRY_MAYFAIL))
			goto nopage;
		if (order > 0)
			page = __alloc_pages_direct_compact(gfp, order,
							    alloc_flags,
							    &compact_result);
		if (page)
			return page;
	} while (should_reclaim_retry(did_some_progress, &nr_retries));

	page = __alloc_pages_may_oom(gfp, order);
	if (page)
		return page;
nopage:
	warn_alloc(gfp, order);
	return NULL;
}

/**
 * __alloc_pages_noprof() - 2^order contiguous, naturally aligned pages
 * @gfp: where from (migratetype), how hard to try, whether to clear them
 * @order: up to MAX_PAGE_ORDER
 *
 * Context: may sleep if @gfp has __GFP_DIRECT_RECLAIM.
 * Return: the first page, or NULL.
 */
struct page *__alloc_pages_noprof(gfp_t gfp, unsigned int order)
{
	struct page *page;

	if (WARN_ON_ONCE(order > MAX_PAGE_ORDER))
		return NULL;
	if (gfp & __GFP_DIRECT_RECLAIM)
		might_sleep();
	page = get_page_from_freelist(gfp, order, ALLOC_WMARK_LOW);
	if (unlikely(!page)) {
		page = __alloc_pages_slowpath(gfp, order);
		if (!page)
			return NULL;
	}
	prep_new_page(page, order, gfp);
	if ((gfp & __GFP_ACCOUNT) &&
	    unlikely(memcg_kmem_charge_page(page, gfp, (int)order))) {
		___free_pages(page, order, FPI_NONE);
		return NULL;
	}
	return page;
}

/**
 * ___free_pages() - give pages back
 * @page: the first one
 * @order: as it was allocated
 * @fpi_flags: FPI_TO_TAIL counts where there are no per-CPU lists in between
 */
void ___free_pages(struct page *page, unsigned int order, fpi_t fpi_flags)
{
	VM_BUG_ON(PageBuddy(page));
	VM_BUG_ON(page_to_pfn(page) & ((1UL << order) - 1));
	memcg_kmem_uncharge_page(page, (int)order);
	__free_frozen_pages(page, order, fpi_flags);
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

static unsigned long int_sqrt(unsigned long x)
{
	unsigned long root = 0, bit;

	for (bit = 1UL << 31; bit; bit >>= 1)
		if ((root | bit) * (root | bit) <= x)
			root |= bit;
	return root;
}

/*
 * The marks between which kswapd would work. kpb: without the larger
 * recommendation of khugepaged, and without lowmem_reserve: one zone.
 */
static void __setup_per_zone_wmarks(struct zone *zone)
{
	unsigned long page_kbytes = PAGE_SIZE >> 10;
	unsigned long lowmem_kbytes = zone->managed_pages * page_kbytes;
	unsigned long min_free_kbytes =
		clamp(int_sqrt(lowmem_kbytes * 16), 128UL, 262144UL);
	unsigned long min_pages = min_free_kbytes / page_kbytes;
	/* watermark_scale_factor: a thousandth of the zone */
	unsigned long gap =
		max(min_pages / 4, zone->managed_pages * 10 / 10000);

	zone->_watermark[WMARK_MIN] = min_pages;
	zone->_watermark[WMARK_LOW] = min_pages + gap;
	zone->_watermark[WMARK_HIGH] = min_pages + 2 * gap;
}

/* How many pages go to or come from the zone at once: 2^n - 1. */
static int zone_batchsize(const struct zone *zone)
{
	unsigned long batch =
		min(zone->managed_pages >> 10, (1UL << 20) / PAGE_SIZE);

	batch = max(batch / 4, 1UL);
	batch += batch / 2;
	/* not a power of two, lest all caches of the kernel march in step */
	return (1 << (63 - __builtin_clzl(batch))) - 1;
}

static void per_cpu_pages_init(struct per_cpu_pages *pcp)
{
	unsigned int pindex;

	pcp->count = 0;
	pcp->high = BOOT_PAGESET_HIGH;
	pcp->batch = BOOT_PAGESET_BATCH;
	for (pindex = 0; pindex < NR_PCP_LISTS; pindex++)
		INIT_LIST_HEAD(&pcp->lists[pindex]);
}

/* The boot pagesets, under which every page goes straight to the zone. */
static void zone_pcp_init(void)
{
	u32 cpu;

	for (cpu = 0; cpu < kpb_this->config.nr_cpus; cpu++)
		per_cpu_pages_init(&kpb_this->pcp[cpu]);
}

/**
 * setup_per_cpu_pageset() - from now on CPUs keep pages
 *
 * The low watermark is spread over the CPUs, so that what they keep does not
 * make the zone look empty.
 */
void setup_per_cpu_pageset(void)
{
	struct zone *zone = &kpb_this->zone;
	u32 nr_cpus = kpb_this->config.nr_cpus, cpu;
	int batch = max(zone_batchsize(zone), 1);
	int high = max((int)(low_wmark_pages(zone) / nr_cpus), batch * 4);

	for (cpu = 0; cpu < nr_cpus; cpu++) {
		kpb_this->pcp[cpu].high = high;
		kpb_this->pcp[cpu].batch = batch;
	}
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
	/* larger than every order: none has failed yet */
	zone->compact_order_failed = KPB_MAX_ORDERS;
	zone_pcp_init();
}
