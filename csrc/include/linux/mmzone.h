/* SPDX-License-Identifier: GPL-2.0-only */
/* The zone, its free lists and per-CPU lists; namesake of linux/mmzone.h. */
#ifndef _LINUX_MMZONE_H
#define _LINUX_MMZONE_H

#include <asm/page-def.h>
#include <linux/list.h>

/* DUPLICATED: above it an allocation may fail, up to it one tries hard */
#define PAGE_ALLOC_COSTLY_ORDER 3

/* DUPLICATED; STUB: no HIGHATOMIC, CMA or ISOLATE */
enum migratetype {
	MIGRATE_UNMOVABLE,
	MIGRATE_MOVABLE,
	MIGRATE_RECLAIMABLE,
	MIGRATE_PCPTYPES, /* how many have per-CPU lists */
	MIGRATE_TYPES = MIGRATE_PCPTYPES,
};

/* DUPLICATED: one list for each small order and type, and two for THP */
#define NR_LOWORDER_PCP_LISTS (MIGRATE_PCPTYPES * (PAGE_ALLOC_COSTLY_ORDER + 1))
#define NR_PCP_THP 2
#define NR_PCP_LISTS (NR_LOWORDER_PCP_LISTS + NR_PCP_THP)

/* DUPLICATED */
enum zone_watermarks {
	WMARK_MIN,
	WMARK_LOW,
	WMARK_HIGH,
	NR_WMARK,
};

struct free_area {
	struct list_head free_list[MIGRATE_TYPES];
	unsigned long nr_free;
};

/*
 * CUSTOM: what one CPU keeps of the zone. STUB: no lock, and nothing that
 * adapts @high and @batch to the load.
 */
struct per_cpu_pages {
	int count; /* pages on the lists */
	int high;  /* so many, and a batch goes to the buddy */
	int batch; /* pages that come or go at once */
	struct list_head lists[NR_PCP_LISTS];
} __aligned(64);

/* CUSTOM: one zone, one node */
struct zone {
	struct free_area free_area[NR_PAGE_ORDERS];
	unsigned long _watermark[NR_WMARK];
	unsigned long zone_start_pfn;
	unsigned long zone_end_pfn;
	unsigned long managed_pages;
	/* frames from here on were never given to the buddy, but for pieces */
	unsigned long first_deferred_pfn;
	unsigned long deferred_end_pfn;
	unsigned long nr_deferred_pages; /* of kpb_machine.deferred */
	unsigned long nr_free_pages;
	/* compaction that failed is not tried again at once */
	unsigned int compact_considered;
	unsigned int compact_defer_shift;
	int compact_order_failed;
	/* pg_data_t's in the kernel: what kswapd was woken for, and how often in
	 * a row it got nothing */
	unsigned int kswapd_order;
	int kswapd_failures;
	/* ours: pages in use that compaction could move */
	unsigned long nr_movable_pages;
};

#define min_wmark_pages(z) ((z)->_watermark[WMARK_MIN])
#define low_wmark_pages(z) ((z)->_watermark[WMARK_LOW])
#define high_wmark_pages(z) ((z)->_watermark[WMARK_HIGH])
#define wmark_pages(z, i) ((z)->_watermark[i])

#endif
