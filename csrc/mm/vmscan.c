// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mirrors mm/vmscan.c (6.18) as far as direct reclaim reaches a shrinker.
 *
 * What is not here: LRU lists and everything about them, kswapd, memcg
 * reclaim, throttling.
 *
 * kpb: there are no LRU pages to reclaim, so what shrinkers say they freed is
 * all the progress there is. In the kernel it would come on top of page cache
 * and anonymous pages, and reclaim would press the shrinkers less.
 */

#include <linux/mm.h>
#include <linux/shrinker.h>

#include "internal.h"

/* DUPLICATED: where the pressure begins, and how much at once is enough */
#define DEF_PRIORITY 12
#define SWAP_CLUSTER_MAX 32UL

/**
 * struct scan_control - one direct reclaim
 * @gfp_mask: of the allocation that wants memory
 * @order: of it
 * @priority: DEF_PRIORITY, least pressure, down to 0
 * @nr_to_reclaim: enough
 * @nr_reclaimed: so far
 */
struct scan_control {
	gfp_t gfp_mask;
	unsigned int order;
	int priority;
	unsigned long nr_to_reclaim;
	unsigned long nr_reclaimed;
};

/* Ask every cache once. kpb: there is one, or none before late_initcalls */
static unsigned long shrink_slab(gfp_t gfp_mask, int priority)
{
	struct shrink_control sc = { .gfp_mask = gfp_mask };
	struct shrinker *shrinker = &kpb_this->shrinker;
	unsigned long ret;

	KPB_FRAME();
	if (!shrinker->registered)
		return 0;
	kpb_this->counters.slab_shrinks++;
	ret = do_shrink_slab(&sc, shrinker, priority);
	return ret == SHRINK_EMPTY ? 0 : ret;
}

/* With more and more pressure until it is enough. */
static unsigned long do_try_to_free_pages(struct scan_control *sc)
{
	kpb_this->counters.allocstall++;
	do {
		sc->nr_reclaimed += shrink_slab(sc->gfp_mask, sc->priority);
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
