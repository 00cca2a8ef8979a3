// SPDX-License-Identifier: GPL-2.0-only
/*
 * The aged state: unmovable pages scattered over movable pageblocks.
 *
 * Of every million pageblocks, aged_ppm (chosen by a seeded hash of the
 * block's number) hold 1 to aged_pins unmovable pages at hashed places, so
 * that no free page of pageblock_order is left in them. The rest of memory is
 * free. The outcome depends on the seed and the frame numbers alone, not on
 * the moment a section is initialised.
 */

#include <linux/mm.h>

#include "../mm/internal.h"
#include "rng.h"

static void kpb_aged_free_block(unsigned long start_pfn, unsigned long end_pfn)
{
	const struct kpb_config *config = &kpb_this->config;
	unsigned long block = pfn_to_pageblock(start_pfn);
	/* mixed twice: the streams of neighbouring blocks have nothing in common */
	struct kpb_rng of_block = { block };
	struct kpb_rng rng =
		kpb_rng_seed(config->aged_seed ^ kpb_rng_next(&of_block));
	unsigned long pfn, run = start_pfn;
	u64 nr_pins, i;

	if (kpb_rng_below(&rng, 1000000) >= config->aged_ppm) {
		__free_pages_memory(start_pfn, end_pfn);
		return;
	}

	nr_pins = 1 + kpb_rng_below(&rng, config->aged_pins);
	for (i = 0; i < nr_pins; i++) {
		pfn = start_pfn + kpb_rng_below(&rng, end_pfn - start_pfn);
		*kpb_page_type(pfn) = KPB_PG_AGED;
	}
	for (pfn = start_pfn; pfn < end_pfn; pfn++) {
		if (*kpb_page_type(pfn) != KPB_PG_AGED)
			continue;
		__free_pages_memory(run, pfn);
		run = pfn + 1;
	}
	__free_pages_memory(run, end_pfn);
}

void kpb_aged_free_memory(unsigned long start_pfn, unsigned long end_pfn)
{
	while (start_pfn < end_pfn) {
		unsigned long next =
			min(ALIGN(start_pfn + 1, pageblock_nr_pages), end_pfn);

		kpb_aged_free_block(start_pfn, next);
		start_pfn = next;
	}
}
