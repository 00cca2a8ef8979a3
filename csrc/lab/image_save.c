// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory as it is, as an image that another machine can begin with: the owners
 * that the checker finds, as runs, and the order of the lists.
 */

#include <linux/mm.h>

#include "../allocators/allocators.h"
#include "../mm/internal.h"
#include "machine.h"

/* In the checker's array, once owners are known: an order is in the low bits. */
#define KPB_OWNER_HAS_ORDER 0x80
#define KPB_OWNER_IS_PIN 0x40
#define KPB_OWNER_ORDER 0x1f
static_assert(KPB_NR_OWNERS <= KPB_OWNER_IS_PIN,
	      "owners do not reach the bits");

/* Runs collected into a caller's array, of which some may not fit. */
struct kpb_run_list {
	struct kpb_run *out;
	u64 nr;
	u64 found;
	struct kpb_run last;
};

/* An aged section looks as it does only once it has been looked at. */
static void kpb_grow_aged(void)
{
	unsigned long start, end;

	while (kpb_this->config.aged_ppm && kpb_this->zone.nr_deferred_pages) {
		kpb_next_deferred_section(&start, &end);
		kpb_free_memory(start, end);
	}
}

static void kpb_run_list_flush(struct kpb_run_list *list)
{
	if (!list->last.nr)
		return;
	if (list->found < list->nr)
		list->out[list->found] = list->last;
	list->found++;
	list->last.nr = 0;
}

static void kpb_run_list_add(struct kpb_run_list *list, unsigned long pfn,
			     u8 kind, unsigned int order, unsigned long nr)
{
	struct kpb_run *last = &list->last;

	if (last->nr && last->kind == kind && last->order == order) {
		last->nr += (u32)nr;
		return;
	}
	kpb_run_list_flush(list);
	last->first = (u32)(pfn - kpb_this->zone.zone_start_pfn);
	last->nr = (u32)nr;
	last->kind = kind;
	last->order = (u8)order;
}

/* Of what a CPU keeps and of pins the owner alone does not tell the order. */
static void kpb_image_mark_orders(struct kpb_check *check)
{
	struct kpb_machine *m = kpb_this;
	unsigned int pindex;
	struct page *page;
	u32 i;

	for (i = 0; i < m->config.nr_cpus; i++)
		for (pindex = 0; pindex < NR_PCP_LISTS; pindex++)
			list_for_each_entry(page, &m->pcp[i].lists[pindex],
					    pcp_list)
				check->owner[page_to_pfn(page) -
					     m->zone.zone_start_pfn] =
					(u8)(KPB_OWNER_HAS_ORDER |
					     kpb_pcp_list_order(pindex));
	for (i = 0; i < m->nr_slots; i++)
		if (m->slots[i].kind == KPB_SLOT_PIN)
			check->owner[page_to_pfn(m->slots[i].page) -
				     m->zone.zone_start_pfn] =
				(u8)(KPB_OWNER_HAS_ORDER | KPB_OWNER_IS_PIN |
				     m->slots[i].order);
}

/* null has pins and a linear map, and nothing else that is real. */
static void kpb_image_null_owners(struct kpb_check *check)
{
	const struct kpb_machine *m = kpb_this;
	u32 i;

	for (i = 0; i < m->nr_slots; i++)
		if (m->slots[i].kind == KPB_SLOT_PIN)
			kpb_check_own(check, page_to_pfn(m->slots[i].page),
				      1UL << m->slots[i].order, KPB_OWNER_PIN);
	kpb_check_map(check, false);
}

static u8 kpb_image_kind_of_owner(u8 owner, unsigned long pfn)
{
	switch (owner) {
	case KPB_OWNER_HOLE:
		return KPB_RUN_HOLE;
	case KPB_OWNER_IMAGE:
		return kpb_image_find(
			       (u32)(pfn - kpb_this->zone.zone_start_pfn))
			->kind;
	case KPB_OWNER_LINEAR_MAP:
		return kpb_is_memblock_reserved(pfn) ? KPB_RUN_RESERVED :
						       KPB_RUN_PGTABLE;
	case KPB_OWNER_SLOT:
	case KPB_OWNER_VMALLOC_TABLE:
		return KPB_RUN_PGTABLE;
	case KPB_OWNER_NONE: /* memblock's */
	case KPB_OWNER_RESERVED:
	case KPB_OWNER_STATIC:
		return KPB_RUN_RESERVED;
	default:
		return KPB_RUN_KERNEL;
	}
}

/* What begins at a frame; how many frames it has. */
static unsigned long kpb_image_add_frame(struct kpb_run_list *list,
					 const struct kpb_check *check,
					 unsigned long pfn)
{
	const struct page *page = pfn_to_page(pfn);
	u8 owner = kpb_owner_of(check, pfn), type = *kpb_page_type(pfn);
	unsigned int order = owner & KPB_OWNER_ORDER;

	if (owner & KPB_OWNER_HAS_ORDER) {
		if (!(owner & KPB_OWNER_IS_PIN))
			kpb_run_list_add(list, pfn, KPB_RUN_PCP, order, 1);
		else if (type & KPB_PG_LRU)
			kpb_run_list_add(list, pfn, KPB_RUN_ANON, order, 1);
		else
			kpb_run_list_add(list, pfn, KPB_RUN_KERNEL, 0,
					 1UL << order);
		return 1UL << order;
	}
	if (owner == KPB_OWNER_BUDDY) {
		order = buddy_order(page);
		kpb_run_list_add(list, pfn, KPB_RUN_FREE, order, 1);
		return 1UL << order;
	}
	if (owner == KPB_OWNER_SYSTEM) {
		order = kpb_system_order(page);
		kpb_run_list_add(list, pfn,
				 (u8)(KPB_RUN_FILE + kpb_system_kind(page)),
				 order, 1);
		return 1UL << order;
	}
	kpb_run_list_add(list, pfn, kpb_image_kind_of_owner(owner, pfn), 0, 1);
	return 1;
}

static void kpb_image_add_all(struct kpb_run_list *list,
			      const struct kpb_check *check)
{
	const struct zone *zone = &kpb_this->zone;
	unsigned long pfn = zone->zone_start_pfn, i = 0, next;

	while (pfn < zone->zone_end_pfn) {
		next = kpb_skip_deferred(pfn, &i);
		if (next != pfn) {
			kpb_run_list_add(list, pfn, KPB_RUN_FREE,
					 MAX_PAGE_ORDER,
					 (next - pfn) >> MAX_PAGE_ORDER);
			pfn = next;
			continue;
		}
		pfn += kpb_image_add_frame(list, check, pfn);
	}
	kpb_run_list_flush(list);
}

static int64_t kpb_granule_runs(struct kpb_run *out, uint64_t nr)
{
	char msg[KPB_MSG_BYTES] = "";
	struct kpb_run_list list = { .out = out, .nr = nr };
	struct kpb_check check = { .msg = msg };

	if (kpb_task_under_way() >= 0)
		return -EBUSY;
	kpb_grow_aged();
	check.owner = kpb_alloc_owners();
	if (!check.owner)
		return -ENOMEM;
	kpb_check_memory_owners(&check);
	if (kpb_this->ops == &kpb_null_ops)
		kpb_image_null_owners(&check);
	else
		kpb_check_allocator_owners(&check);
	if (!check.failed) {
		kpb_image_mark_orders(&check);
		kpb_image_add_all(&list, &check);
	}
	free(check.owner);
	return check.failed ? -EUCLEAN : (int64_t)list.found;
}

/* Places collected likewise. */
struct kpb_place_list {
	struct kpb_place *out;
	u64 nr;
	u64 found;
};

static void kpb_place_list_add(struct kpb_place_list *list,
			       const struct page *page, unsigned int cpu,
			       unsigned int type)
{
	if (list->found < list->nr)
		list->out[list->found] = (struct kpb_place){
			.first = (u32)(page_to_pfn(page) -
				       kpb_this->zone.zone_start_pfn),
			.cpu = (u16)cpu,
			.type = (u8)type,
		};
	list->found++;
}

static int64_t kpb_granule_places(struct kpb_place *out, uint64_t nr)
{
	struct kpb_place_list list = { .out = out, .nr = nr };
	struct kpb_machine *m = kpb_this;
	unsigned int order, i, cpu;
	struct page *page;

	kpb_grow_aged();
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		for (i = 0; i < MIGRATE_TYPES; i++)
			list_for_each_entry(page,
					    &m->zone.free_area[order]
						     .free_list[i],
					    buddy_list)
				kpb_place_list_add(&list, page, 0, 0);
	for (cpu = 0; cpu < m->config.nr_cpus; cpu++)
		for (i = 0; i < NR_PCP_LISTS; i++)
			list_for_each_entry(page, &m->pcp[cpu].lists[i],
					    pcp_list)
				kpb_place_list_add(
					&list, page, cpu,
					i < NR_LOWORDER_PCP_LISTS ?
						i % MIGRATE_PCPTYPES :
						i - NR_LOWORDER_PCP_LISTS);
	for (i = 0; i < KPB_NR_SYSTEM_KINDS; i++)
		list_for_each_entry(page, &m->system.pages[i], lru)
			kpb_place_list_add(&list, page, 0, 0);
	return (int64_t)list.found;
}

static void kpb_granule_image(struct kpb_image *out)
{
	const struct zone *zone = &kpb_this->zone;
	unsigned int i;

	out->managed_pages = zone->managed_pages;
	for (i = 0; i < NR_WMARK; i++)
		out->watermarks[i] = zone->_watermark[i];
	out->compact_considered = zone->compact_considered;
	out->compact_defer_shift = zone->compact_defer_shift;
	out->compact_order_failed = (u32)zone->compact_order_failed;
}

static void kpb_granule_buddyinfo(uint64_t *out)
{
	const struct zone *zone = &kpb_this->zone;
	unsigned int order, type;
	struct page *page;

	kpb_grow_aged();
	memset(out, 0, sizeof(*out) * KPB_MAX_ORDERS * KPB_MIGRATE_TYPES);
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		for (type = 0; type < MIGRATE_TYPES; type++)
			list_for_each_entry(page,
					    &zone->free_area[order]
						     .free_list[type],
					    buddy_list)
				out[order * KPB_MIGRATE_TYPES + type]++;
	out[MAX_PAGE_ORDER * KPB_MIGRATE_TYPES + MIGRATE_MOVABLE] +=
		zone->nr_deferred_pages >> MAX_PAGE_ORDER;
}
