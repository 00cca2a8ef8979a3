// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mirror of v6's mm/kpkeys_hardened_pgtables.c behind the ops table: PBA
 * where the linear map has blocks, noblock where it is PTE-mapped. The
 * kernel's names belong to the dispatcher (lab/dispatch.c), so those of the
 * mirror get a prefix while it is compiled.
 */

#include "allocators.h"

#define kpkeys_pgtable_alloc v6_pgtable_alloc
#define kpkeys_pgtable_free v6_pgtable_free
#define kpkeys_prepare_direct_map_split v6_prepare_direct_map_split
#define kpkeys_ready_for_direct_map_split v6_ready_for_direct_map_split
#define kpkeys_hardened_pgtables_init v6_hardened_pgtables_init
#define kpkeys_hardened_pgtables_init_late v6_hardened_pgtables_init_late
#define kpkeys_physmem_pgtable_alloc v6_physmem_pgtable_alloc

KPB_LOCAL struct page *kpkeys_pgtable_alloc(gfp_t gfp);
KPB_LOCAL void kpkeys_pgtable_free(struct page *page);
KPB_LOCAL int kpkeys_prepare_direct_map_split(void);
KPB_LOCAL bool kpkeys_ready_for_direct_map_split(void);
KPB_LOCAL void kpkeys_hardened_pgtables_init(void);
KPB_LOCAL void kpkeys_hardened_pgtables_init_late(void);
KPB_LOCAL phys_addr_t kpkeys_physmem_pgtable_alloc(void);

#include "../mm/kpkeys_hardened_pgtables.c"

#undef kpkeys_pgtable_alloc
#undef kpkeys_pgtable_free
#undef kpkeys_prepare_direct_map_split
#undef kpkeys_ready_for_direct_map_split
#undef kpkeys_hardened_pgtables_init
#undef kpkeys_hardened_pgtables_init_late
#undef kpkeys_physmem_pgtable_alloc

static unsigned long v6_nr_cached(void)
{
	return get_pba()->nr_cached;
}

static int v6_for_each_cached(kpb_cached_fn fn, void *data)
{
	struct page *page;

	if (!pba_enabled())
		return 0;
	list_for_each_entry(page, &get_pba()->cached_list, lru) {
		int ret = fn(page, data);

		if (ret)
			return ret;
	}
	return 0;
}

/* The block around a page, counted from the start of the zone. */
static unsigned long v6_block_index(unsigned long pfn)
{
	return (pfn - kpb_this->zone.zone_start_pfn) >> BLOCK_ORDER;
}

/* Each marked block knows how many of its pages are cached, even if none is. */
static const char *v6_check_blocks(const u32 *nr_free)
{
	const struct zone *zone = &kpb_this->zone;
	unsigned long pfn = zone->zone_start_pfn;

	for (; pfn < zone->zone_end_pfn; pfn += BLOCK_NR_PAGES) {
		const struct pba_page_data *head =
			pba_page_data(pfn_to_page(pfn));

		/* the first page of a block is cached or in use */
		if (kpb_is_held(pfn) && head->in_block &&
		    head->block_nr_free != nr_free[v6_block_index(pfn)])
			return "block_nr_free is not the number of cached pages";
	}
	return NULL;
}

static const char *v6_check(void)
{
	const struct zone *zone = &kpb_this->zone;
	const char *wrong;
	struct page *page;
	unsigned long nr = 0;
	u32 *nr_free;

	if (!pba_enabled())
		return NULL;
	nr_free = calloc(v6_block_index(zone->zone_end_pfn - 1) + 1,
			 sizeof(*nr_free));
	if (!nr_free)
		return "out of memory";
	list_for_each_entry(page, &get_pba()->cached_list, lru) {
		nr_free[v6_block_index(page_to_pfn(page))]++;
		nr++;
	}
	wrong = v6_check_blocks(nr_free);
	free(nr_free);
	if (!wrong && nr != get_pba()->nr_cached)
		wrong = "nr_cached is not the length of the list";
	return wrong;
}

static bool v6_in_block(const struct page *page)
{
	return pba_enabled() && pba_page_data((struct page *)page)->in_block;
}

static const struct kpb_allocator_ops kpb_v6_ops = {
	.alloc = v6_pgtable_alloc,
	.free = v6_pgtable_free,
	.prepare_direct_map_split = v6_prepare_direct_map_split,
	.ready_for_direct_map_split = v6_ready_for_direct_map_split,
	.init = v6_hardened_pgtables_init,
	.init_late = v6_hardened_pgtables_init_late,
	.register_shrinker = pba_shrinker_init,
	.physmem_alloc = v6_physmem_pgtable_alloc,
	.nr_cached = v6_nr_cached,
	.for_each_cached = v6_for_each_cached,
	.check = v6_check,
	.in_block = v6_in_block,
};
