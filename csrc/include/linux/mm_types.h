/* SPDX-License-Identifier: GPL-2.0-only */
/* struct page and where it lives; namesake of linux/mm_types.h. */
#ifndef _LINUX_MM_TYPES_H
#define _LINUX_MM_TYPES_H

#include <asm/page-def.h>
#include <linux/list.h>

/*
 * CUSTOM: 32 bytes. lru, mapping and private are the kernel's; flags, type
 * and order of a free page live in a byte of their own (page_type below), so
 * that looking at a buddy reads a dense array.
 */
struct page {
	union {
		struct list_head lru;
		struct list_head buddy_list;
		struct list_head pcp_list;
	};
	void *mapping;
	unsigned long private;
};
/* DUPLICATED: the same page, seen as a page table */
struct ptdesc {
	struct list_head pt_list;
	unsigned long __page_mapping;
	unsigned long ptl_space; /* the page table lock, over page->private */
};
_Static_assert(sizeof(struct ptdesc) <= sizeof(struct page),
	       "struct ptdesc lies over struct page");

#define ptdesc_page(pt)                                            \
	(_Generic((pt),                                            \
		 const struct ptdesc *: (const struct page *)(pt), \
		 struct ptdesc *: (struct page *)(pt)))
#define page_ptdesc(p)                                            \
	(_Generic((p),                                            \
		 const struct page *: (const struct ptdesc *)(p), \
		 struct page *: (struct ptdesc *)(p)))

_Static_assert(sizeof(struct page) == 32, "struct page is 32 bytes");

/* CUSTOM: bits of page_type; the low four hold the order of a buddy page */
#define KPB_PG_BUDDY 0x80  /* PageBuddy() */
#define KPB_PG_LRU 0x40	   /* movable and in use, as PageLRU() */
#define KPB_PG_AGED 0x20   /* unmovable, scattered by the aged state */
#define KPB_PG_MEMCG 0x10  /* charged, as PageMemcgKmem() */
#define KPB_PG_HELD 0x08   /* in use, fetched by the page table allocator */
#define KPB_PG_FLIGHT 0x04 /* and not given the pkey yet */
#define KPB_PG_TAIL 0x02   /* with SYSTEM: not the first page */
#define KPB_PG_SYSTEM 0x01 /* with LRU or AGED: see lab/system.h */
#define KPB_PG_ORDER 0x0f

#endif
