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
	};
	void *mapping;
	unsigned long private;
};
_Static_assert(sizeof(struct page) == 32, "struct page is 32 bytes");

/* CUSTOM: bits of page_type; the low four hold the order of a buddy page */
#define KPB_PG_BUDDY 0x80 /* PageBuddy() */
#define KPB_PG_LRU 0x40	  /* movable and in use, as PageLRU() */
#define KPB_PG_AGED 0x20  /* unmovable, scattered by the aged state */
#define KPB_PG_MEMCG 0x10 /* charged, as PageMemcgKmem() */
#define KPB_PG_ORDER 0x0f

#endif
