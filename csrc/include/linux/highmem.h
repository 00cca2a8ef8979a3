/* SPDX-License-Identifier: GPL-2.0-only */
/* Namesake of linux/highmem.h. */
#ifndef _LINUX_HIGHMEM_H
#define _LINUX_HIGHMEM_H

#include <linux/mm.h>

/*
 * CUSTOM: counted; the bytes are cleared only if the machine was asked to,
 * because nobody reads a replayed table and zeroing would hide the rest.
 */
static inline void clear_highpage(struct page *page)
{
	kpb_this->counters.zeroed_pages++;
	kpb_event(KPB_EVENT_ZERO, page_to_pfn(page), 0, 0);
	if (unlikely(kpb_this->config.zero_pages))
		memset(page_address(page), 0, PAGE_SIZE);
}

#endif
