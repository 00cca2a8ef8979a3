// SPDX-License-Identifier: GPL-2.0-only
/*
 * The allocator that does nothing: the same page every time, nothing kept,
 * nothing freed, no pkey. What a replay costs on it is the cost of the replay.
 * Everything that happens at boot is the mirror's (on a PTE map).
 */

#include "allocators.h"

static struct page *null_pgtable_alloc(gfp_t gfp)
{
	(void)gfp;
	return pfn_to_page(kpb_this->zone.zone_start_pfn);
}

static void null_pgtable_free(struct page *page)
{
	(void)page;
}

static const struct kpb_allocator_ops kpb_null_ops = {
	.alloc = null_pgtable_alloc,
	.free = null_pgtable_free,
	.prepare_direct_map_split = v6_prepare_direct_map_split,
	.ready_for_direct_map_split = v6_ready_for_direct_map_split,
	.init = v6_hardened_pgtables_init,
	.init_late = v6_hardened_pgtables_init_late,
	.register_shrinker = pba_shrinker_init,
	.physmem_alloc = v6_physmem_pgtable_alloc,
	.nr_cached = v6_nr_cached,
	.for_each_cached = v6_for_each_cached,
	.check = v6_check,
};
