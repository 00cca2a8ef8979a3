// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mirrors mm/memblock.c (6.18) as far as very early page tables need it: one
 * region of memory, allocated from its top downward.
 *
 * kpb: one free range instead of two arrays of regions. Nothing but page
 * tables is allocated this early, so what is free stays contiguous.
 */

#include <linux/memblock.h>
#include <linux/mm.h>

#include "internal.h"

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
	phys_addr_t lowest = (phys_addr_t)kpb_this->zone.zone_start_pfn
			     << PAGE_SHIFT;
	phys_addr_t base = kpb_this->memblock_end;

	lowest = max(lowest, start);
	if (end)
		base = min(base, end);
	if (base < lowest + size)
		return 0;
	base = ALIGN_DOWN(base - size, align);
	if (base < lowest)
		return 0;
	kpb_this->memblock_end = base;
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
