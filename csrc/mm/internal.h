/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of mm/ and lab/ share; namesake of mm/internal.h. */
#ifndef __MM_INTERNAL_H
#define __MM_INTERNAL_H

#include <linux/gfp.h>

/* The buddy without the accounting of the allocator under test. */
KPB_LOCAL struct page *__alloc_pages_noprof(gfp_t gfp, unsigned int order);
KPB_LOCAL void ___free_pages(struct page *page, unsigned int order,
			     unsigned int fpi_flags);

/* lab/aged.c: free a section the way an aged machine left it */
KPB_LOCAL void kpb_aged_free_memory(unsigned long start_pfn,
				    unsigned long end_pfn);

#endif
