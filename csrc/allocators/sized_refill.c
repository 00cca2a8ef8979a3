// SPDX-License-Identifier: GPL-2.0-only
/*
 * v6 whose first refill is as large as boot needs it, which a kernel can tell
 * from NR_CPUS: the tables for the stacks of all CPUs, those above them, and
 * the reserve, rounded up to a power of two. Where the buddy does not have it
 * the smaller ones of the refill orders follow. There is one early region.
 */

#include <asm/cpufeature.h>
#include <asm/memory.h>

#define KPB_VARIANT sized_refill
#define KPB_OWN_REFILL

#include "variant_begin.h"

/* The parameter is the number of stacks that each CPU has. */
static unsigned int sized_refill_order(void)
{
	unsigned long stacks_bytes = num_possible_cpus() *
				     kpb_this->config.variant_param *
				     THREAD_ALIGN;
	/* they need not begin on the border of a table */
	unsigned long nr_pages = stacks_bytes / PMD_SIZE + 2 +
				 (kpb_this->pgtable_levels - 2) +
				 PBA_NR_RESERVED_PAGES;
	unsigned int order = get_refill_orders()[nr_refill_orders() - 1];

	while (1UL << order < nr_pages && order < MAX_PAGE_ORDER)
		order++;
	return order;
}

static struct page *refill_alloc_region(unsigned int *order)
{
	bool is_first = !pba_can_set_pkey() && !get_pba()->early_region.head;
	unsigned int limit = MAX_PAGE_ORDER + 1, i;
	struct page *page;

	if (is_first) {
		limit = *order = sized_refill_order();
		page = alloc_pages(PBA_GFP_ALLOC, *order);
		if (page)
			return page;
	}
	for (i = 0; i < nr_refill_orders(); i++) {
		*order = get_refill_orders()[i];
		if (*order >= limit)
			continue;
		page = alloc_pages(PBA_GFP_ALLOC, *order);
		if (page)
			return page;
	}
	return NULL;
}

#include "../mm/kpkeys_hardened_pgtables.c"

static const struct kpb_allocator_ops kpb_sized_refill_ops = {
	KPB_VARIANT_OPS,
};

#include "variant_end.h"
