// SPDX-License-Identifier: GPL-2.0-only
/*
 * The invariants that hold at every moment between two operations. Every frame
 * that was ever given to the buddy belongs to exactly one owner; the owners,
 * the pkeys and the leaves are counted again from the structures themselves
 * and compared with the counters that are kept on the way.
 */

#include <asm/pgtable.h>
#include <linux/kpkeys.h>

#include "../allocators/allocators.h"
#include "../mm/internal.h"
#include "machine.h"

enum kpb_owner {
	KPB_OWNER_NONE,
	KPB_OWNER_BUDDY,
	KPB_OWNER_CACHED,
	KPB_OWNER_SLOT,
	KPB_OWNER_PIN,
	KPB_OWNER_AGED,
	KPB_OWNER_LINEAR_MAP,
	KPB_NR_OWNERS,
};

static const char *const kpb_owner_names[KPB_NR_OWNERS] = {
	[KPB_OWNER_NONE] = "nobody",
	[KPB_OWNER_BUDDY] = "the buddy",
	[KPB_OWNER_CACHED] = "the cache",
	[KPB_OWNER_SLOT] = "a slot",
	[KPB_OWNER_PIN] = "a pin",
	[KPB_OWNER_AGED] = "the aged state",
	[KPB_OWNER_LINEAR_MAP] = "the linear map",
};

struct kpb_check {
	u8 *owner; /* by frame - zone_start_pfn */
	u64 nr_of[KPB_NR_OWNERS];
	u64 nr_leaves[KPB_NR_LEAVES];
	u64 mapped_bytes;
	u64 nr_pkey_pages;
	u64 nr_stray_pkeys; /* frames with the pkey that are no PTP */
	char *msg;
	bool failed;
};

__attribute__((__format__(__printf__, 2, 3))) static void
kpb_check_fail(struct kpb_check *check, const char *fmt, ...)
{
	va_list args;

	if (check->failed)
		return;
	check->failed = true;
	va_start(args, fmt);
	vsnprintf(check->msg, KPB_MSG_BYTES, fmt, args);
	va_end(args);
}

static void kpb_check_own(struct kpb_check *check, unsigned long pfn,
			  unsigned long nr, enum kpb_owner owner)
{
	struct zone *zone = &kpb_this->zone;

	check->nr_of[owner] += nr;
	for (; nr; nr--, pfn++) {
		u8 *slot;

		if (pfn < zone->zone_start_pfn || pfn >= zone->zone_end_pfn) {
			kpb_check_fail(check, "frame %#lx of %s is not RAM",
				       pfn, kpb_owner_names[owner]);
			return;
		}
		slot = &check->owner[pfn - zone->zone_start_pfn];
		if (*slot != KPB_OWNER_NONE)
			kpb_check_fail(check,
				       "frame %#lx belongs to %s and to %s",
				       pfn, kpb_owner_names[*slot],
				       kpb_owner_names[owner]);
		*slot = (u8)owner;
	}
}

static void kpb_check_free_list(struct kpb_check *check, unsigned int order,
				int mt, u64 *nr_free)
{
	struct zone *zone = &kpb_this->zone;
	struct page *page;

	list_for_each_entry(page, &zone->free_area[order].free_list[mt],
			    buddy_list) {
		unsigned long pfn = page_to_pfn(page);

		(*nr_free)++;
		if (!PageBuddy(page) || buddy_order(page) != order)
			kpb_check_fail(
				check,
				"frame %#lx is on the list of order %u but marked %#x",
				pfn, order, *kpb_page_type(pfn));
		if (!IS_ALIGNED(pfn, 1UL << order))
			kpb_check_fail(check,
				       "frame %#lx is not aligned to order %u",
				       pfn, order);
		if (get_pfnblock_migratetype(pfn) != mt)
			kpb_check_fail(
				check,
				"frame %#lx is on the list of type %d, its pageblock has type %d",
				pfn, mt, get_pfnblock_migratetype(pfn));
		if (order < MAX_PAGE_ORDER &&
		    page_is_buddy(__find_buddy_pfn(pfn, order), order) &&
		    order < pageblock_order)
			kpb_check_fail(
				check,
				"frame %#lx and its buddy are free at order %u and did not merge",
				pfn, order);
		kpb_check_own(check, pfn, 1UL << order, KPB_OWNER_BUDDY);
	}
}

static void kpb_check_buddy(struct kpb_check *check)
{
	struct zone *zone = &kpb_this->zone;
	unsigned int order;
	int mt;

	for (order = 0; order < NR_PAGE_ORDERS; order++) {
		u64 nr_free = 0;

		for (mt = 0; mt < MIGRATE_TYPES; mt++)
			kpb_check_free_list(check, order, mt, &nr_free);
		if (nr_free != zone->free_area[order].nr_free)
			kpb_check_fail(
				check,
				"order %u: nr_free is %lu, the lists hold %llu",
				order, zone->free_area[order].nr_free,
				(unsigned long long)nr_free);
	}
	if (check->nr_of[KPB_OWNER_BUDDY] != zone->nr_free_pages)
		kpb_check_fail(check, "%lu free pages counted, %llu on lists",
			       zone->nr_free_pages,
			       (unsigned long long)
				       check->nr_of[KPB_OWNER_BUDDY]);
}

static int kpb_check_cached_page(struct page *page, void *data)
{
	kpb_check_own(data, page_to_pfn(page), 1, KPB_OWNER_CACHED);
	return 0;
}

static void kpb_check_slots(struct kpb_check *check)
{
	struct kpb_machine *m = kpb_this;
	u32 i;

	for (i = 0; i < m->nr_slots; i++) {
		const struct kpb_slot *slot = &m->slots[i];

		if (slot->kind == KPB_SLOT_PTP)
			kpb_check_own(check, page_to_pfn(slot->page), 1,
				      KPB_OWNER_SLOT);
		else if (slot->kind == KPB_SLOT_PIN)
			kpb_check_own(check, page_to_pfn(slot->page),
				      1UL << slot->order, KPB_OWNER_PIN);
	}
}

static void kpb_check_aged(struct kpb_check *check)
{
	struct zone *zone = &kpb_this->zone;
	unsigned long pfn;

	if (!kpb_this->config.aged_ppm)
		return;
	for (pfn = zone->zone_start_pfn; pfn < zone->zone_end_pfn; pfn++)
		if (*kpb_page_type(pfn) == KPB_PG_AGED)
			kpb_check_own(check, pfn, 1, KPB_OWNER_AGED);
}

/* Is it a page table page? Only frames with an owner are asked. */
static bool kpb_is_ptp(u8 owner)
{
	return owner == KPB_OWNER_CACHED || owner == KPB_OWNER_SLOT ||
	       owner == KPB_OWNER_LINEAR_MAP;
}

static void kpb_check_leaf(struct kpb_check *check, enum kpb_leaf leaf,
			   u64 desc, unsigned long addr, unsigned long size)
{
	unsigned long pfn = kpb_desc_phys(desc) >> PAGE_SHIFT;
	unsigned long nr = size >> PAGE_SHIFT;
	unsigned long start_pfn = kpb_this->zone.zone_start_pfn;

	if (kpb_desc_phys(desc) != __pa((void *)addr))
		kpb_check_fail(check, "linear address of %#llx maps %#llx",
			       (unsigned long long)__pa((void *)addr),
			       (unsigned long long)kpb_desc_phys(desc));
	check->nr_leaves[leaf]++;
	check->mapped_bytes += size;
	if (kpb_desc_pkey(desc) != KPKEYS_PKEY_PGTABLES)
		return;
	check->nr_pkey_pages += nr;
	for (; nr; nr--, pfn++)
		if (!kpb_is_ptp(check->owner[pfn - start_pfn]))
			check->nr_stray_pkeys++;
}

static void kpb_check_pte_table(struct kpb_check *check, pmd_t *pmdp,
				unsigned long addr)
{
	int i;

	for (i = 0; i < PTRS_PER_PTE; i++, addr += PAGE_SIZE) {
		u64 desc = pte_val(*pte_offset_kernel(pmdp, addr));

		if (kpb_desc_present(desc))
			kpb_check_leaf(check,
				       desc & PTE_CONT ? KPB_LEAF_CONT_PTE :
							 KPB_LEAF_PTE,
				       desc, addr, PAGE_SIZE);
	}
}

static void kpb_check_pmd_table(struct kpb_check *check, pud_t *pudp,
				unsigned long addr)
{
	int i;

	for (i = 0; i < PTRS_PER_PMD; i++, addr += PMD_SIZE) {
		pmd_t *pmdp = pmd_offset(pudp, addr);
		u64 desc = pmd_val(*pmdp);

		if (desc & KPB_PMD_DEFERRED) {
			check->nr_leaves[KPB_LEAF_PTE] += PTRS_PER_PTE;
			check->mapped_bytes += PMD_SIZE;
		}
		if (pmd_leaf(*pmdp))
			kpb_check_leaf(check,
				       desc & PTE_CONT ? KPB_LEAF_CONT_PMD :
							 KPB_LEAF_PMD,
				       desc, addr, PMD_SIZE);
		else if (kpb_desc_present(desc))
			kpb_check_pte_table(check, pmdp, addr);
	}
}

/* Tables first: their frames must have an owner before pkeys are judged. */
static void kpb_check_tables(struct kpb_check *check, pud_t *pudp,
			     unsigned long addr)
{
	int i;

	for (i = 0; i < PTRS_PER_PMD; i++, addr += PMD_SIZE) {
		pmd_t pmd = *pmd_offset(pudp, addr);

		if ((pmd_present(pmd) && !pmd_leaf(pmd)) ||
		    pmd_val(pmd) & KPB_PMD_DEFERRED)
			kpb_check_own(check,
				      kpb_desc_phys(pmd_val(pmd)) >> PAGE_SHIFT,
				      1, KPB_OWNER_LINEAR_MAP);
	}
}

static void kpb_check_pud(struct kpb_check *check, pud_t *pudp,
			  unsigned long addr, bool leaves)
{
	u64 desc = pud_val(*pudp);

	if (!kpb_desc_present(desc))
		return;
	if (pud_leaf(*pudp)) {
		if (leaves)
			kpb_check_leaf(check, KPB_LEAF_PUD, desc, addr,
				       PUD_SIZE);
		return;
	}
	if (leaves) {
		kpb_check_pmd_table(check, pudp, addr);
		return;
	}
	kpb_check_own(check, kpb_desc_phys(desc) >> PAGE_SHIFT, 1,
		      KPB_OWNER_LINEAR_MAP);
	kpb_check_tables(check, pudp, addr);
}

static void kpb_check_map(struct kpb_check *check, bool leaves)
{
	unsigned long addr = kpb_this->linear_start;
	int i, j;

	for (i = 0; i < PTRS_PER_PGD; i++) {
		pgd_t *pgdp = (pgd_t *)kpb_this->swapper_pg_dir + i;

		if (!pgd_present(*pgdp)) {
			addr += PGDIR_SIZE;
			continue;
		}
		if (CONFIG_PGTABLE_LEVELS > 3 && !leaves)
			kpb_check_own(check,
				      kpb_desc_phys(pgd_val(*pgdp)) >>
					      PAGE_SHIFT,
				      1, KPB_OWNER_LINEAR_MAP);
		for (j = 0; j < PTRS_PER_PUD; j++, addr += PUD_SIZE)
			kpb_check_pud(check, pud_offset(pgdp, addr), addr,
				      leaves);
	}
}

static void kpb_check_counts(struct kpb_check *check)
{
	struct kpb_machine *m = kpb_this;
	const u64 *nr_of = check->nr_of;
	unsigned long nr_ptps = nr_of[KPB_OWNER_CACHED] +
				nr_of[KPB_OWNER_SLOT] +
				nr_of[KPB_OWNER_LINEAR_MAP];
	unsigned long nr_unprotected;
	int leaf;

	if (check->mapped_bytes != m->config.ram_bytes)
		kpb_check_fail(check, "the leaves map %llu bytes of %llu",
			       (unsigned long long)check->mapped_bytes,
			       (unsigned long long)m->config.ram_bytes);
	for (leaf = 0; leaf < KPB_NR_LEAVES; leaf++)
		if (check->nr_leaves[leaf] != m->nr_leaves[leaf])
			kpb_check_fail(
				check,
				"leaf size %d: %llu counted, %llu in the map",
				leaf, (unsigned long long)m->nr_leaves[leaf],
				(unsigned long long)check->nr_leaves[leaf]);
	if (check->nr_pkey_pages != m->nr_pkey_pages)
		kpb_check_fail(check,
			       "%lu frames with the pkey counted, %llu in the map",
			       m->nr_pkey_pages,
			       (unsigned long long)check->nr_pkey_pages);
	if (nr_of[KPB_OWNER_CACHED] != kpb_cached_pages(m))
		kpb_check_fail(check,
			       "%lu pages cached by the balance, %llu in the cache",
			       kpb_cached_pages(m),
			       (unsigned long long)nr_of[KPB_OWNER_CACHED]);
	if (nr_of[KPB_OWNER_LINEAR_MAP] != m->nr_early_ptps + m->nr_split_ptps)
		kpb_check_fail(check,
			       "%lu tables of the linear map counted, %llu found",
			       m->nr_early_ptps + m->nr_split_ptps,
			       (unsigned long long)nr_of[KPB_OWNER_LINEAR_MAP]);
	if (check->nr_stray_pkeys)
		kpb_check_fail(
			check,
			"%llu frames carry the page table pkey and are no PTP",
			(unsigned long long)check->nr_stray_pkeys);
	nr_unprotected = nr_ptps - check->nr_pkey_pages;
	if (nr_unprotected != m->nr_unprotected)
		kpb_check_fail(check, "%lu unprotected PTPs counted, %lu found",
			       m->nr_unprotected, nr_unprotected);
}

/* Frames without an owner: not given to the buddy yet, or left in the PPA. */
static void kpb_check_conservation(struct kpb_check *check)
{
	struct zone *zone = &kpb_this->zone;
	unsigned long pfn, end = zone->zone_end_pfn;

	for (pfn = zone->zone_start_pfn; pfn < end; pfn++) {
		u8 owner;

		if (pfn == zone->first_deferred_pfn)
			pfn = zone->deferred_end_pfn;
		if (pfn >= end)
			break;
		owner = check->owner[pfn - zone->zone_start_pfn];
		if (owner != KPB_OWNER_NONE)
			continue;
		/* before late initialisation the PPA keeps its unused pages */
		if (pfn >= kpb_this->memblock_end >> PAGE_SHIFT &&
		    !kpb_this->late_init_done)
			continue;
		kpb_check_fail(check, "frame %#lx is lost", pfn);
		return;
	}
}

static int kpb_granule_check(char *msg)
{
	struct kpb_machine *m = kpb_this;
	unsigned long nr = m->zone.zone_end_pfn - m->zone.zone_start_pfn;
	struct kpb_check check = { .msg = msg };
	const char *wrong;

	check.owner = calloc(nr, 1);
	if (!check.owner)
		return -ENOMEM;
	wrong = m->ops->check();
	if (wrong)
		kpb_check_fail(&check, "%s", wrong);
	kpb_check_buddy(&check);
	kpb_check_aged(&check);
	/* null has handed out what is not its own */
	if (m->ops != &kpb_null_ops) {
		m->ops->for_each_cached(kpb_check_cached_page, &check);
		kpb_check_slots(&check);
		kpb_check_map(&check, false);
		kpb_check_map(&check, true);
		kpb_check_counts(&check);
		kpb_check_conservation(&check);
	}
	free(check.owner);
	return check.failed ? -EUCLEAN : 0;
}
