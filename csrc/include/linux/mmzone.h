/* SPDX-License-Identifier: GPL-2.0-only */
/* The zone and its free lists; namesake of linux/mmzone.h. */
#ifndef _LINUX_MMZONE_H
#define _LINUX_MMZONE_H

#include <asm/page-def.h>
#include <linux/list.h>

/* DUPLICATED; STUB: no HIGHATOMIC, CMA or ISOLATE */
enum migratetype {
	MIGRATE_UNMOVABLE,
	MIGRATE_MOVABLE,
	MIGRATE_RECLAIMABLE,
	MIGRATE_TYPES,
};

struct free_area {
	struct list_head free_list[MIGRATE_TYPES];
	unsigned long nr_free;
};

/* CUSTOM: one zone, one node; the per-CPU lists will hang here */
struct zone {
	struct free_area free_area[NR_PAGE_ORDERS];
	unsigned long zone_start_pfn;
	unsigned long zone_end_pfn;
	/* frames from here on were never given to the buddy */
	unsigned long first_deferred_pfn;
	unsigned long deferred_end_pfn;
	unsigned long nr_free_pages;
};

#endif
