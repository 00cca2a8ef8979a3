/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of mm/ and lab/ share; namesake of mm/internal.h. */
#ifndef __MM_INTERNAL_H
#define __MM_INTERNAL_H

#include <linux/gfp.h>
#include <linux/mmzone.h>

/* The buddy without the accounting of the allocator under test. */
KPB_LOCAL struct page *__alloc_pages_noprof(gfp_t gfp, unsigned int order);
KPB_LOCAL void ___free_pages(struct page *page, unsigned int order,
			     unsigned int fpi_flags);

/*
 * DUPLICATED: how far an allocation may go. The lowest bits are the watermark's
 * index (enum zone_watermarks).
 */
#define ALLOC_WMARK_MIN WMARK_MIN
#define ALLOC_WMARK_LOW WMARK_LOW
#define ALLOC_WMARK_HIGH WMARK_HIGH
#define ALLOC_NO_WATERMARKS 0x04u
#define ALLOC_WMARK_MASK (ALLOC_NO_WATERMARKS - 1)
#define ALLOC_OOM 0x08u		/* the victim of the OOM killer */
#define ALLOC_NON_BLOCK 0x10u	/* cannot sleep, and so cannot reclaim */
#define ALLOC_MIN_RESERVE 0x20u /* __GFP_HIGH: half of the min watermark */
#define ALLOC_RESERVES (ALLOC_NON_BLOCK | ALLOC_MIN_RESERVE | ALLOC_OOM)

/* DUPLICATED; STUB: three of nine */
enum compact_result {
	COMPACT_DEFERRED, /* not tried, it has failed lately */
	COMPACT_COMPLETE, /* the whole zone was scanned in vain */
	COMPACT_SUCCESS,
};

/* page_alloc.c */
KPB_LOCAL void drain_all_pages(void);
KPB_LOCAL void setup_per_cpu_pageset(void);
KPB_LOCAL unsigned long __perform_reclaim(gfp_t gfp, unsigned int order);

/* compaction.c */
KPB_LOCAL enum compact_result try_to_compact_pages(gfp_t gfp,
						   unsigned int order);
/* ours: one round, as a write to compact_memory, for one order */
KPB_LOCAL void kpb_compact_node(unsigned int order);
/* ours: somebody's movable pages, which compaction may move under him */
KPB_LOCAL void kpb_movable_add(struct page *page, unsigned int order, u32 slot);
KPB_LOCAL void kpb_movable_del(struct page *page, unsigned int order);

/*
 * DUPLICATED: so often reclaim is tried for one allocation if it always frees
 * something, and so often kswapd may fail in a row
 */
#define MAX_RECLAIM_RETRIES 16

/* vmscan.c */
KPB_LOCAL unsigned long try_to_free_pages(unsigned int order, gfp_t gfp);
KPB_LOCAL void wakeup_kswapd(struct zone *zone, unsigned int order);
/* ours: the thread, from being woken to falling asleep */
KPB_LOCAL void kpb_kswapd_run(void);

/* memblock.c: what the buddy gets next; something must be left */
KPB_LOCAL void kpb_next_deferred_section(unsigned long *start_pfn,
					 unsigned long *end_pfn);

/* lab/image.c: instead of memblock's, where a machine begins with an image */
KPB_LOCAL int kpb_image_add_memory(const struct kpb_config *config,
				   struct memblock_type *memory);
KPB_LOCAL void kpb_image_next_section(unsigned long *start_pfn,
				      unsigned long *end_pfn);

/* lab/aged.c: free a section the way an aged machine left it */
KPB_LOCAL void kpb_aged_free_memory(unsigned long start_pfn,
				    unsigned long end_pfn);

#endif
