// SPDX-License-Identifier: GPL-2.0-only
/*
 * v6 that remembers several regions of the early window, as many as its
 * parameter says: an array in place of one struct pba_early_region.
 */

#define KPB_VARIANT early_regions
#define KPB_OWN_DEFERRAL

#include "variant_begin.h"

struct early_regions_state {
	unsigned int nr_regions;
	struct pba_early_region regions[KPB_MAX_EARLY_REGIONS];
};

static void pba_register_early_region(struct page *head, unsigned int order)
{
	struct early_regions_state *early = kpb_this->variant;

	/* one more works, but is never protected */
	if (WARN_ON(early->nr_regions == kpb_this->config.variant_param))
		return;
	early->regions[early->nr_regions].head = head;
	early->regions[early->nr_regions].order = order;
	early->nr_regions++;
}

static void pba_init_late(void)
{
	const struct early_regions_state *early = kpb_this->variant;
	unsigned int i;

	static_branch_enable(&kpb_state()->pba_can_set_pkey);
	for (i = 0; i < early->nr_regions; i++)
		set_memory_pkey((unsigned long)page_address(
					early->regions[i].head),
				1 << early->regions[i].order,
				KPKEYS_PKEY_PGTABLES);
}

#include "../mm/kpkeys_hardened_pgtables.c"

static const struct kpb_allocator_ops kpb_early_regions_ops = {
	KPB_VARIANT_OPS,
	.variant_bytes = sizeof(struct early_regions_state),
};

#include "variant_end.h"
