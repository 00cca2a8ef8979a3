/* SPDX-License-Identifier: GPL-2.0-only */
/* Namesake of asm/tlbflush.h. */
#ifndef __ASM_TLBFLUSH_H
#define __ASM_TLBFLUSH_H

#include <linux/mm.h>

/* CUSTOM: what the kernel would invalidate is counted */
static inline void flush_tlb_kernel_range(unsigned long start,
					  unsigned long end)
{
	unsigned long nr_pages = (end - start) >> PAGE_SHIFT;
	bool full = nr_pages >= PTRS_PER_PTE;

	if (full)
		kpb_map_counters()->tlbi_full++;
	else
		kpb_map_counters()->tlbi_single += nr_pages;
	kpb_event(KPB_EVENT_TLBI, __pa((void *)start) >> PAGE_SHIFT,
		  (u32)nr_pages, full);
}

#endif
