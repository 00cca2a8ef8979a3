// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mirrors mm/memblock.c (6.18) as far as very early page tables need it: one
 * region of memory, allocated from its top downward.
 *
 * kpb: one free range and a few gaps instead of two arrays of regions. Nothing
 * but page tables is allocated this early, in chunks of one size, so alignment
 * leaves at most one gap between the first chunk and the end of RAM.
 */

#include <linux/memblock.h>
#include <linux/mm.h>

#include "internal.h"

/* Keep what an aligned allocation left above itself. */
static void memblock_add_gap(phys_addr_t start, phys_addr_t end)
{
	struct kpb_machine *m = kpb_this;

	if (start == end)
		return;
	if (WARN_ON(m->nr_memblock_gaps == KPB_NR_MEMBLOCK_GAPS))
		return;
	m->memblock_gaps[m->nr_memblock_gaps].start = start;
	m->memblock_gaps[m->nr_memblock_gaps].end = end;
	m->nr_memblock_gaps++;
}

/* The highest aligned place in [lowest, highest), or 0. */
static phys_addr_t memblock_find(phys_addr_t size, phys_addr_t align,
				 phys_addr_t lowest, phys_addr_t highest)
{
	phys_addr_t base;

	if (highest < lowest || highest - lowest < size)
		return 0;
	base = ALIGN_DOWN(highest - size, align);
	return base < lowest ? 0 : base;
}

/**
 * memblock_phys_alloc_range() - memory before the buddy allocator works
 * @size: in bytes
 * @align: of the start, a power of two
 * @start: lowest address that will do
 * @end: highest address that will do; 0 means any
 *
 * Return: the physical address, or 0.
 */
phys_addr_t memblock_phys_alloc_range(phys_addr_t size, phys_addr_t align,
				      phys_addr_t start, phys_addr_t end)
{
	struct kpb_machine *m = kpb_this;
	phys_addr_t lowest = (phys_addr_t)m->zone.zone_start_pfn << PAGE_SHIFT;
	phys_addr_t *free_end = &m->memblock_end;
	phys_addr_t base, old_end;
	unsigned int i;

	if (!end)
		end = ~(phys_addr_t)0;
	base = memblock_find(size, align, max(lowest, start),
			     min(m->memblock_end, end));
	for (i = 0; i < m->nr_memblock_gaps; i++) {
		struct kpb_memblock_gap *gap = &m->memblock_gaps[i];
		phys_addr_t in_gap = memblock_find(size, align,
						   max(gap->start, start),
						   min(gap->end, end));

		if (in_gap > base) {
			base = in_gap;
			free_end = &gap->end;
		}
	}
	if (!base)
		return 0;
	old_end = *free_end;
	*free_end = base;
	memblock_add_gap(base + size, old_end);
	return base;
}

/* Give early memory to the buddy, page by page, in rising order. */
void memblock_free_late(phys_addr_t base, phys_addr_t size)
{
	unsigned long pfn = base >> PAGE_SHIFT;
	unsigned long end = (base + size) >> PAGE_SHIFT;

	for (; pfn < end; pfn++)
		free_one_page(&kpb_this->zone, pfn_to_page(pfn), pfn, 0,
			      FPI_TO_TAIL);
}
