// SPDX-License-Identifier: GPL-2.0-only
/*
 * v6 that marks every page whose pkey is to be set later, and looks for the
 * marks at late initialisation. Nothing is bounded: the price is a walk over
 * the frames between the lowest and the highest that are marked.
 *
 * kpb: the mark is in page->mapping, which nobody else uses in the model. In a
 * kernel it has to be a flag or a type: the walk passes slab and other pages,
 * whose owners keep pointers there.
 */

#define KPB_VARIANT deferred_marks
#define KPB_OWN_DEFERRAL

#include "variant_begin.h"

/* The mark is in what struct pba_page_data leaves free of page->mapping. */
struct marked_page_data {
	bool in_block;
	u8 deferred;
	u32 block_nr_free;
};
static_assert(offsetof(struct marked_page_data, in_block) ==
		      offsetof(struct pba_page_data, in_block) &&
	      offsetof(struct marked_page_data, block_nr_free) ==
		      offsetof(struct pba_page_data, block_nr_free) &&
	      sizeof(struct marked_page_data) == sizeof(struct pba_page_data));

struct deferred_marks_state {
	unsigned long start_pfn;
	unsigned long end_pfn;
};

static inline u8 *deferred_mark(unsigned long pfn)
{
	return (u8 *)&pfn_to_page(pfn)->mapping +
	       offsetof(struct marked_page_data, deferred);
}

static void pba_register_early_region(struct page *head, unsigned int order)
{
	struct deferred_marks_state *marks = kpb_this->variant;
	unsigned long start = page_to_pfn(head), end = start + (1UL << order);
	unsigned long pfn;

	if (!marks->end_pfn || start < marks->start_pfn)
		marks->start_pfn = start;
	marks->end_pfn = max(marks->end_pfn, end);
	for (pfn = start; pfn < end; pfn++)
		*deferred_mark(pfn) = 1;
}

static void pba_init_late(void)
{
	const struct deferred_marks_state *marks = kpb_this->variant;
	unsigned long pfn = marks->start_pfn, end = marks->end_pfn;

	static_branch_enable(&kpb_state()->pba_can_set_pkey);
	while (pfn < end) {
		unsigned long first = pfn;

		for (; pfn < end && *deferred_mark(pfn); pfn++)
			*deferred_mark(pfn) = 0;
		if (pfn == first) {
			pfn++;
			continue;
		}
		set_memory_pkey((unsigned long)page_address(pfn_to_page(first)),
				(int)(pfn - first), KPKEYS_PKEY_PGTABLES);
	}
}

#include "../mm/kpkeys_hardened_pgtables.c"

static const struct kpb_allocator_ops kpb_deferred_marks_ops = {
	KPB_VARIANT_OPS,
	.variant_bytes = sizeof(struct deferred_marks_state),
};

#include "variant_end.h"
