// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mirrors mm/vmscan.c (6.18) as far as page cache and the shrinker are
 * concerned: direct reclaim and kswapd.
 */

/**
 * DOC: theory of operation
 *
 * Reclaim goes over the page cache and the caches of the kernel with rising
 * pressure: at priority 12 it looks at a 4096th of the page cache, at priority
 * 0 at all of it, and asks every shrinker each time. A task that finds no memory
 * stops once it has 32 pages; kswapd, which is woken when an allocation does
 * not succeed at the low watermark, goes on up to the high one. Both reclaim
 * more for the sake of compaction when an order above 3 is wanted.
 *
 * What is not here: the active list, references and workingset detection,
 * dirty pages and writeback, swap, memcg reclaim, throttling, MGLRU, watermark
 * boosts, kcompactd.
 *
 * kpb: the page cache is one list of clean pages that nobody looks at again
 * (lab/system.h), so a page that is scanned is a page reclaimed, the oldest
 * first. Without such pages what shrinkers say they freed is all the progress
 * there is. kswapd runs where a background is (lab/background.c), between two
 * operations, at once and to its end: it never sleeps to find out whether it was
 * enough. Elsewhere it never gets to run, as if every CPU were busy.
 */

#include <linux/mm.h>
#include <linux/shrinker.h>

#include "../lab/system.h"
#include "internal.h"

/* DUPLICATED: where the pressure begins, and how much at once is enough */
#define DEF_PRIORITY 12
#define SWAP_CLUSTER_MAX 32UL

/**
 * struct scan_control - one direct reclaim, or one round of kswapd
 * @gfp_mask: of the allocation that wants memory
 * @order: of it
 * @priority: DEF_PRIORITY, least pressure, down to 0
 * @kswapd: who it is
 * @nr_to_reclaim: enough
 * @nr_scanned: pages of the page cache looked at
 * @nr_reclaimed: so far, shrinkers included
 */
struct scan_control {
	gfp_t gfp_mask;
	unsigned int order;
	int priority;
	bool kswapd;
	unsigned long nr_to_reclaim;
	unsigned long nr_scanned;
	unsigned long nr_reclaimed;
};

/* Pages that compaction needs free to make a block. */
static inline unsigned long compact_gap(unsigned int order)
{
	return 2UL << order;
}

/* The oldest @nr_pages of one kind to the buddy, whole allocations. */
static unsigned long kpb_take_oldest(enum kpb_system_kind kind,
				     unsigned long nr_pages)
{
	struct list_head *list = &kpb_this->system.pages[kind];
	unsigned long nr_taken = 0;

	while (nr_taken < nr_pages && !list_empty(list)) {
		struct page *page = list_first_entry(list, struct page, lru);
		unsigned int order = kpb_system_order(page);

		kpb_system_del(page);
		___free_pages(page, order, FPI_NONE);
		nr_taken += 1UL << order;
	}
	return nr_taken;
}

/* kpb: every page is clean and idle, so none is put back */
static unsigned long shrink_inactive_list(unsigned long nr_to_scan,
					  struct scan_control *sc)
{
	struct kpb_counters *c = &kpb_this->counters;
	unsigned long nr_taken = kpb_take_oldest(KPB_SYSTEM_FILE, nr_to_scan);

	sc->nr_scanned += nr_taken;
	if (sc->kswapd)
		c->pgscan_kswapd += nr_taken;
	else
		c->pgscan_direct += nr_taken;
	c->pgsteal_file += nr_taken;
	return nr_taken;
}

/*
 * A share of the page cache, by priority. A task in direct reclaim takes all
 * of it under the least pressure, and otherwise stops when it has enough.
 */
static void shrink_lruvec(struct scan_control *sc)
{
	unsigned long nr = kpb_this->system.nr_pages[KPB_SYSTEM_FILE] >>
			   sc->priority;
	bool proportional_reclaim = !sc->kswapd && sc->priority == DEF_PRIORITY;
	unsigned long nr_reclaimed = 0;

	while (nr) {
		unsigned long nr_to_scan = min(nr, SWAP_CLUSTER_MAX);

		nr -= nr_to_scan;
		nr_reclaimed += shrink_inactive_list(nr_to_scan, sc);
		if (nr_reclaimed >= sc->nr_to_reclaim && !proportional_reclaim)
			break;
	}
	sc->nr_reclaimed += nr_reclaimed;
}

/*
 * kpb: the slab caches of the rest of the system, as one cache of two seeks
 * whose objects are pages: the kernel frees objects, and a page only once its
 * last one has gone.
 */
static unsigned long kpb_shrink_system_slab(int priority)
{
	unsigned long freeable = kpb_this->system.nr_pages[KPB_SYSTEM_SLAB];
	unsigned long freed =
		kpb_take_oldest(KPB_SYSTEM_SLAB,
				(freeable >> priority) * 4 / DEFAULT_SEEKS);

	kpb_this->counters.pgsteal_slab += freed;
	return freed;
}

/*
 * Ask every cache once. kpb: there is one shrinker, or none before
 * late_initcalls, and the slab caches of the rest of the system
 */
static unsigned long shrink_slab(gfp_t gfp_mask, int priority)
{
	struct shrink_control sc = { .gfp_mask = gfp_mask };
	struct shrinker *shrinker = &kpb_this->shrinker;
	unsigned long freed = 0, ret;

	KPB_FRAME();
	if (shrinker->registered) {
		kpb_this->counters.slab_shrinks++;
		ret = do_shrink_slab(&sc, shrinker, priority);
		freed = ret == SHRINK_EMPTY ? 0 : ret;
	}
	return freed + kpb_shrink_system_slab(priority);
}

/* Is this for a block, so that compaction has to be thought of? */
static bool in_reclaim_compaction(const struct scan_control *sc)
{
	return sc->order && (sc->order > PAGE_ALLOC_COSTLY_ORDER ||
			     sc->priority < DEF_PRIORITY - 2);
}

/* kpb: compaction_suitable(), which the model of compaction does not ask */
static bool kpb_compaction_suitable(struct zone *zone, unsigned int order)
{
	unsigned long mark = order > PAGE_ALLOC_COSTLY_ORDER ?
				     low_wmark_pages(zone) :
				     min_wmark_pages(zone);

	return zone_watermark_ok(zone, 0, mark + compact_gap(order), 0);
}

/* Another round at the same priority, so that compaction has room? */
static bool should_continue_reclaim(unsigned long nr_reclaimed,
				    const struct scan_control *sc)
{
	struct zone *zone = &kpb_this->zone;

	if (!in_reclaim_compaction(sc) || !nr_reclaimed)
		return false;
	if (zone_watermark_ok(zone, sc->order, min_wmark_pages(zone), 0) ||
	    kpb_compaction_suitable(zone, sc->order))
		return false;
	return kpb_this->system.nr_pages[KPB_SYSTEM_FILE] >
	       compact_gap(sc->order);
}

static void shrink_node(struct scan_control *sc)
{
	unsigned long before;

	do {
		before = sc->nr_reclaimed;
		shrink_lruvec(sc);
		sc->nr_reclaimed += shrink_slab(sc->gfp_mask, sc->priority);
		/* so there is hope for kswapd, too */
		if (sc->nr_reclaimed != before)
			kpb_this->zone.kswapd_failures = 0;
	} while (should_continue_reclaim(sc->nr_reclaimed - before, sc));
}

/* With more and more pressure until it is enough. */
static unsigned long do_try_to_free_pages(struct scan_control *sc)
{
	kpb_this->counters.allocstall++;
	do {
		shrink_node(sc);
		if (sc->nr_reclaimed >= sc->nr_to_reclaim)
			break;
	} while (--sc->priority >= 0);
	kpb_this->counters.pgsteal_direct += sc->nr_reclaimed;
	return sc->nr_reclaimed;
}

/**
 * try_to_free_pages() - direct reclaim
 * @order: of the allocation that wants memory
 * @gfp_mask: of it
 *
 * Context: with PF_MEMALLOC, see __perform_reclaim().
 * Return: how many pages came free.
 */
unsigned long try_to_free_pages(unsigned int order, gfp_t gfp_mask)
{
	struct scan_control sc = {
		.gfp_mask = gfp_mask,
		.order = order,
		.priority = DEF_PRIORITY,
		.nr_to_reclaim = SWAP_CLUSTER_MAX,
	};

	return do_try_to_free_pages(&sc);
}

/* Is there enough, and a block of this order? */
static bool pgdat_balanced(struct zone *zone, unsigned int order)
{
	return zone_watermark_ok(zone, order, high_wmark_pages(zone), 0);
}

/* One round; true if there was enough to look at for this priority to stay. */
static bool kswapd_shrink_node(struct zone *zone, struct scan_control *sc)
{
	unsigned long before = sc->nr_reclaimed;

	sc->nr_to_reclaim = max(high_wmark_pages(zone), SWAP_CLUSTER_MAX);
	shrink_node(sc);
	/* twice the block has come free: what is missing now is compaction */
	if (sc->order && sc->nr_reclaimed >= compact_gap(sc->order))
		sc->order = 0;
	return max(sc->nr_scanned, sc->nr_reclaimed - before) >=
	       sc->nr_to_reclaim;
}

/* Up to the high watermark, or until more pressure is of no use. */
static void balance_pgdat(struct zone *zone, unsigned int order)
{
	struct scan_control sc = {
		.gfp_mask = GFP_KERNEL,
		.order = order,
		.priority = DEF_PRIORITY,
		.kswapd = true,
	};

	kpb_this->counters.pageoutrun++;
	do {
		unsigned long nr_reclaimed = sc.nr_reclaimed;
		bool raise_priority = true;

		if (pgdat_balanced(zone, sc.order))
			goto out;
		sc.nr_scanned = 0;
		if (kswapd_shrink_node(zone, &sc))
			raise_priority = false;
		if (raise_priority || sc.nr_reclaimed == nr_reclaimed)
			sc.priority--;
	} while (sc.priority >= 1);
	if (!sc.nr_reclaimed)
		zone->kswapd_failures++;
out:
	kpb_this->counters.pgsteal_kswapd += sc.nr_reclaimed;
}

/**
 * wakeup_kswapd() - somebody did not get memory at the low watermark
 * @zone: the zone
 * @order: of the allocation
 *
 * kpb: the woken thread does not run before the operation is over, see
 * kpb_background_wake(). Without a background nobody is there to be woken.
 */
static void wakeup_kswapd(struct zone *zone, unsigned int order)
{
	if (!kpb_this->background.on)
		return;
	zone->kswapd_order = max(zone->kswapd_order, order);
	/* hopeless: direct reclaim has to show that something can be freed */
	if (zone->kswapd_failures >= MAX_RECLAIM_RETRIES ||
	    pgdat_balanced(zone, order))
		return;
	kpb_background_wake();
}

/**
 * kpb_kswapd_run() - what kswapd does from being woken to falling asleep
 *
 * Context: as a task of its own, on the last CPU, whose lists get the pages.
 */
static void kpb_kswapd_run(void)
{
	struct kpb_machine *m = kpb_this;
	struct zone *zone = &m->zone;
	unsigned int order = zone->kswapd_order;
	unsigned int noreclaim_flag = current->flags & PF_MEMALLOC;

	KPB_FRAME();
	zone->kswapd_order = 0;
	m->cpu = (u8)(m->config.nr_cpus - 1);
	current->flags |= PF_MEMALLOC;
	balance_pgdat(zone, order);
	current->flags = (current->flags & ~PF_MEMALLOC) | noreclaim_flag;
}
