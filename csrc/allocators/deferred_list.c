// SPDX-License-Identifier: GPL-2.0-only
/*
 * v6 with a bounded list of ranges whose pkey is to be set later, as the PPA
 * has one: a region that touches the last range makes it longer. Regions that
 * the buddy hands out one after the other are neighbours more often than not.
 */

#define KPB_VARIANT deferred_list
#define KPB_OWN_DEFERRAL

#include "variant_begin.h"

struct deferred_range {
	unsigned long start_pfn;
	unsigned long end_pfn;
};

struct deferred_list_state {
	unsigned int nr_ranges;
	struct deferred_range ranges[KPB_MAX_EARLY_REGIONS];
};

static void pba_register_early_region(struct page *head, unsigned int order)
{
	struct deferred_list_state *list = kpb_this->variant;
	struct deferred_range *last = &list->ranges[list->nr_ranges];
	unsigned long start = page_to_pfn(head), end = start + (1UL << order);

	if (list->nr_ranges) {
		last--;
		if (start == last->end_pfn) {
			last->end_pfn = end;
			return;
		}
		if (end == last->start_pfn) {
			last->start_pfn = start;
			return;
		}
		last++;
	}
	/* one more works, but is never protected */
	if (WARN_ON(list->nr_ranges == kpb_this->config.variant_param))
		return;
	last->start_pfn = start;
	last->end_pfn = end;
	list->nr_ranges++;
}

static void pba_init_late(void)
{
	const struct deferred_list_state *list = kpb_this->variant;
	unsigned int i;

	static_branch_enable(&kpb_state()->pba_can_set_pkey);
	for (i = 0; i < list->nr_ranges; i++) {
		const struct deferred_range *range = &list->ranges[i];

		set_memory_pkey((unsigned long)page_address(
					pfn_to_page(range->start_pfn)),
				(int)(range->end_pfn - range->start_pfn),
				KPKEYS_PKEY_PGTABLES);
	}
}

#include "../mm/kpkeys_hardened_pgtables.c"

static const struct kpb_allocator_ops kpb_deferred_list_ops = {
	KPB_VARIANT_OPS,
	.variant_bytes = sizeof(struct deferred_list_state),
};

#include "variant_end.h"
