/* SPDX-License-Identifier: GPL-2.0-only */
/* Allocation flags and the buddy's interface; namesake of linux/gfp.h. */
#ifndef _LINUX_GFP_H
#define _LINUX_GFP_H

#include <linux/mm_types.h>

typedef unsigned int gfp_t;

/* DUPLICATED, as far as the mirrors use them */
#define __GFP_MOVABLE 0x08u
#define __GFP_RECLAIMABLE 0x10u
#define __GFP_HIGH 0x20u
#define __GFP_IO 0x40u
#define __GFP_FS 0x80u
#define __GFP_ZERO 0x100u
#define __GFP_DIRECT_RECLAIM 0x400u
#define __GFP_KSWAPD_RECLAIM 0x800u
#define __GFP_NOWARN 0x2000u
#define __GFP_RETRY_MAYFAIL 0x4000u
#define __GFP_NORETRY 0x10000u
#define __GFP_COMP 0x40000u
#define __GFP_ACCOUNT 0x400000u
/* added by the kpkeys series: a PTP for a split of the linear map */
#define __GFP_PGTABLE_SPLIT 0x8000000u

#define __GFP_RECLAIM (__GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM)
#define GFP_ATOMIC (__GFP_HIGH | __GFP_KSWAPD_RECLAIM)
#define GFP_NOWAIT (__GFP_KSWAPD_RECLAIM | __GFP_NOWARN)
#define GFP_KERNEL (__GFP_RECLAIM | __GFP_IO | __GFP_FS)
#define GFP_PGTABLE_KERNEL (GFP_KERNEL | __GFP_ZERO)
#define GFP_KERNEL_ACCOUNT (GFP_KERNEL | __GFP_ACCOUNT)
#define GFP_PGTABLE_USER (GFP_PGTABLE_KERNEL | __GFP_ACCOUNT)

/* CUSTOM: counts what the page table allocator fetches, then the mirror */
KPB_LOCAL struct page *alloc_pages_noprof(gfp_t gfp, unsigned int order);
KPB_LOCAL void __free_pages(struct page *page, unsigned int order);
KPB_LOCAL void split_page(struct page *page, unsigned int order);

/* DUPLICATED: STUB of the allocation profiling behind _noprof */
#define alloc_pages(gfp, order) alloc_pages_noprof(gfp, order)
#define alloc_page_noprof(gfp) alloc_pages_noprof(gfp, 0)
#define alloc_page(gfp) alloc_pages(gfp, 0)
#define __free_page(page) __free_pages(page, 0)

#endif
