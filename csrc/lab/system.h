/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rest of the system: pages that neither the allocator under test nor a
 * slot of the replay owns. A loaded state leaves them, background actors come
 * and go with them, compaction moves them and reclaim takes page cache.
 */
#ifndef KPB_LAB_SYSTEM_H
#define KPB_LAB_SYSTEM_H

#include <linux/mm_types.h>

enum kpb_system_kind {
	KPB_SYSTEM_FILE, /* page cache, clean: movable, and reclaim takes it */
	KPB_SYSTEM_ANON, /* movable; stays, as there is no swap */
	KPB_SYSTEM_SLAB, /* of caches that can shrink: MIGRATE_RECLAIMABLE */
	KPB_SYSTEM_KERNEL, /* unmovable for as long as it lives */
	KPB_NR_SYSTEM_KINDS,
};

/* Allocations by kind, the oldest first, linked through the first page's lru. */
struct kpb_system {
	struct list_head pages[KPB_NR_SYSTEM_KINDS];
	unsigned long nr_pages[KPB_NR_SYSTEM_KINDS];
};

/* page->private of the first page; no slot has so high a number */
#define KPB_SYSTEM_PRIVATE (1UL << 31)
#define KPB_SYSTEM_KIND_SHIFT 8

static inline unsigned int kpb_system_order(const struct page *page)
{
	return page->private & 0xff;
}

static inline enum kpb_system_kind kpb_system_kind(const struct page *page)
{
	return (enum kpb_system_kind)(page->private >> KPB_SYSTEM_KIND_SHIFT &
				      0xff);
}

KPB_LOCAL void kpb_system_init(struct kpb_system *system);
KPB_LOCAL bool kpb_system_is_head(const struct page *page);
KPB_LOCAL void kpb_system_add(struct page *page, unsigned int order,
			      enum kpb_system_kind kind);
KPB_LOCAL void kpb_system_del(struct page *page);
KPB_LOCAL void kpb_system_move(struct page *page, struct page *dst);

#endif
