// SPDX-License-Identifier: GPL-2.0-only
/* The books about the pages of the rest of the system: see system.h. */

#include <linux/mm.h>

#include "machine.h"
#include "system.h"

static bool kpb_system_is_movable(enum kpb_system_kind kind)
{
	return kind == KPB_SYSTEM_FILE || kind == KPB_SYSTEM_ANON;
}

/**
 * kpb_system_init() - nothing yet
 * @system: the machine's
 */
void kpb_system_init(struct kpb_system *system)
{
	int kind;

	for (kind = 0; kind < KPB_NR_SYSTEM_KINDS; kind++)
		INIT_LIST_HEAD(&system->pages[kind]);
}

/**
 * kpb_system_is_head() - does an allocation of the rest of the system begin here?
 * @page: any page of RAM
 */
bool kpb_system_is_head(const struct page *page)
{
	u8 type = *kpb_page_type(page_to_pfn(page));

	return !(type & KPB_PG_BUDDY) &&
	       (type & (KPB_PG_SYSTEM | KPB_PG_TAIL)) == KPB_PG_SYSTEM &&
	       type & (KPB_PG_LRU | KPB_PG_AGED);
}

static void kpb_system_mark(struct page *page, unsigned int order,
			    enum kpb_system_kind kind)
{
	u8 *type = kpb_page_type(page_to_pfn(page));
	u8 first = KPB_PG_SYSTEM |
		   (kpb_system_is_movable(kind) ? KPB_PG_LRU : KPB_PG_AGED);

	memset(type, first | KPB_PG_TAIL, 1UL << order);
	*type = first;
	set_page_private(page,
			 KPB_SYSTEM_PRIVATE |
				 (unsigned long)kind << KPB_SYSTEM_KIND_SHIFT |
				 order);
}

static void kpb_system_count(enum kpb_system_kind kind, long nr_pages)
{
	struct kpb_machine *m = kpb_this;

	m->system.nr_pages[kind] += (unsigned long)nr_pages;
	if (kpb_system_is_movable(kind))
		m->zone.nr_movable_pages += (unsigned long)nr_pages;
}

/**
 * kpb_system_add() - pages that were taken from the buddy are the system's now
 * @page: the first of them
 * @order: how many
 * @kind: what they are used for; they are its youngest
 */
void kpb_system_add(struct page *page, unsigned int order,
		    enum kpb_system_kind kind)
{
	kpb_system_mark(page, order, kind);
	list_add_tail(&page->lru, &kpb_this->system.pages[kind]);
	kpb_system_count(kind, 1L << order);
}

/**
 * kpb_system_del() - they are the caller's, who gives them to the buddy
 * @page: the first page, as it was added
 */
void kpb_system_del(struct page *page)
{
	unsigned int order = kpb_system_order(page);

	VM_BUG_ON(!kpb_system_is_head(page));
	list_del(&page->lru);
	memset(kpb_page_type(page_to_pfn(page)), 0, 1UL << order);
	kpb_system_count(kpb_system_kind(page), -(1L << order));
	page->mapping = NULL;
}

/**
 * kpb_system_move() - compaction has a new place for an allocation
 * @page: the first page where it was, which is the caller's afterwards
 * @dst: where it is to be; its age stays
 */
void kpb_system_move(struct page *page, struct page *dst)
{
	unsigned int order = kpb_system_order(page);

	VM_BUG_ON(!kpb_system_is_head(page));
	kpb_system_mark(dst, order, kpb_system_kind(page));
	list_add(&dst->lru, &page->lru);
	list_del(&page->lru);
	memset(kpb_page_type(page_to_pfn(page)), 0, 1UL << order);
	kpb_background_moved(page, dst);
}
