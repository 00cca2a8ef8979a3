// SPDX-License-Identifier: GPL-2.0-only
/*
 * The invariants that hold at every moment between two operations. Every frame
 * of RAM belongs to exactly one owner; the owners, the pkeys and the leaves are
 * counted again from the structures themselves and compared with the counters
 * that are kept on the way. The audit is the same walk, for those who want the
 * numbers rather than the first of them that is wrong.
 */

#include <asm/pgtable.h>
#include <linux/kpkeys.h>
#include <linux/vmalloc.h>

#include "../allocators/allocators.h"
#include "../mm/internal.h"
#include "machine.h"

enum kpb_owner {
	KPB_OWNER_NONE,
	KPB_OWNER_HOLE,
	KPB_OWNER_RESERVED,
	KPB_OWNER_STATIC,
	KPB_OWNER_BUDDY,
	KPB_OWNER_PCP,
	KPB_OWNER_CACHED,
	KPB_OWNER_SLOT,
	KPB_OWNER_PIN,
	KPB_OWNER_AGED,
	KPB_OWNER_LINEAR_MAP,
	KPB_OWNER_VMALLOC_TABLE,
	KPB_OWNER_VMALLOC,
	KPB_OWNER_LOST,
	KPB_NR_OWNERS,
};

static const char *const kpb_owner_names[KPB_NR_OWNERS] = {
	[KPB_OWNER_NONE] = "nobody",
	[KPB_OWNER_HOLE] = "a hole",
	[KPB_OWNER_RESERVED] = "reserved memory",
	[KPB_OWNER_STATIC] = "the kernel image",
	[KPB_OWNER_BUDDY] = "the buddy",
	[KPB_OWNER_PCP] = "a per-CPU list",
	[KPB_OWNER_CACHED] = "the cache",
	[KPB_OWNER_SLOT] = "a slot",
	[KPB_OWNER_PIN] = "a pin",
	[KPB_OWNER_AGED] = "the aged state",
	[KPB_OWNER_LINEAR_MAP] = "the linear map",
	[KPB_OWNER_VMALLOC_TABLE] = "the tables of the vmalloc area",
	[KPB_OWNER_VMALLOC] = "the vmalloc area",
	[KPB_OWNER_LOST] = "an allocator that has lost it",
};

struct kpb_check {
	u8 *owner; /* by frame - zone_start_pfn */
	u64 nr_of[KPB_NR_OWNERS];
	u64 nr_leaves[KPB_NR_LEAVES];
	u64 mapped_bytes;
	u64 nr_held; /* frames that say so */
	u64 nr_in_flight;
	u64 nr_pkey_of[KPB_NR_OWNERS]; /* frames that carry the pkey */
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

static unsigned int kpb_pcp_list_order(unsigned int pindex)
{
	return pindex < NR_LOWORDER_PCP_LISTS ? pindex / MIGRATE_PCPTYPES :
						PMD_ORDER;
}

/* Pages that one CPU keeps do not look free, and are what it counts. */
static void kpb_check_pcp(struct kpb_check *check, u32 cpu)
{
	const struct per_cpu_pages *pcp = &kpb_this->pcp[cpu];
	unsigned int pindex;
	struct page *page;
	int count = 0;

	for (pindex = 0; pindex < NR_PCP_LISTS; pindex++) {
		unsigned int order = kpb_pcp_list_order(pindex);

		list_for_each_entry(page, &pcp->lists[pindex], pcp_list) {
			unsigned long pfn = page_to_pfn(page);

			if (*kpb_page_type(pfn))
				kpb_check_fail(
					check,
					"frame %#lx is on a list of CPU %u but marked %#x",
					pfn, cpu, *kpb_page_type(pfn));
			kpb_check_own(check, pfn, 1UL << order, KPB_OWNER_PCP);
			count += 1 << order;
		}
	}
	if (count != pcp->count)
		kpb_check_fail(check,
			       "CPU %u counts %d pages, its lists hold %d", cpu,
			       pcp->count, count);
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

static void kpb_check_regions_own(struct kpb_check *check,
				  const struct kpb_region *regions, u32 nr,
				  enum kpb_owner owner)
{
	for (; nr; nr--, regions++)
		kpb_check_own(check, regions->base >> PAGE_SHIFT,
			      regions->size >> PAGE_SHIFT, owner);
}

/* What the machine was told about its memory. */
static void kpb_check_config_owners(struct kpb_check *check)
{
	const struct kpb_config *config = &kpb_this->config;

	kpb_check_regions_own(check, config->holes, config->nr_holes,
			      KPB_OWNER_HOLE);
	kpb_check_regions_own(check, config->reserved, config->nr_reserved,
			      KPB_OWNER_RESERVED);
	kpb_check_own(check, kpb_this->zone.zone_start_pfn,
		      config->nr_static_pgtables, KPB_OWNER_STATIC);
}

static u8 kpb_owner_of(const struct kpb_check *check, unsigned long pfn)
{
	return check->owner[pfn - kpb_this->zone.zone_start_pfn];
}

/* Is it a page table page? Only frames with an owner are asked. */
static bool kpb_is_ptp(u8 owner)
{
	return owner == KPB_OWNER_CACHED || owner == KPB_OWNER_SLOT ||
	       owner == KPB_OWNER_LINEAR_MAP || owner == KPB_OWNER_STATIC ||
	       owner == KPB_OWNER_VMALLOC_TABLE || owner == KPB_OWNER_LOST;
}

/* The next frame from @pfn on that was not left for later; @i: how far so far. */
static unsigned long kpb_skip_deferred(unsigned long pfn, unsigned long *i)
{
	const struct memblock_type *deferred = &kpb_this->deferred;

	while (*i < deferred->cnt &&
	       pfn >= deferred->regions[*i].base >> PAGE_SHIFT) {
		pfn = max(pfn, (unsigned long)(deferred->regions[*i].base +
					       deferred->regions[*i].size) >>
				       PAGE_SHIFT);
		(*i)++;
	}
	return pfn;
}

/*
 * Pages that the allocator fetched and that are neither in use nor, as far as
 * it was asked, in its cache.
 */
static int kpb_for_each_unowned(struct kpb_check *check, kpb_cached_fn fn,
				void *data)
{
	struct zone *zone = &kpb_this->zone;
	unsigned long pfn, i = 0;

	for (pfn = zone->zone_start_pfn;; pfn++) {
		int ret;

		pfn = kpb_skip_deferred(pfn, &i);
		if (pfn >= zone->zone_end_pfn)
			break;
		if (!kpb_is_held(pfn))
			continue;
		check->nr_held++;
		check->nr_in_flight += !!(*kpb_page_type(pfn) & KPB_PG_FLIGHT);
		if (kpb_owner_of(check, pfn) != KPB_OWNER_NONE)
			continue;
		ret = fn(pfn_to_page(pfn), data);
		if (ret)
			return ret;
	}
	return 0;
}

static int kpb_check_lost_page(struct page *page, void *data)
{
	kpb_check_own(data, page_to_pfn(page), 1, KPB_OWNER_LOST);
	return 0;
}

static void kpb_check_leaf(struct kpb_check *check, enum kpb_leaf leaf,
			   u64 desc, unsigned long addr, unsigned long size)
{
	unsigned long pfn = kpb_desc_phys(desc) >> PAGE_SHIFT;
	unsigned long nr = size >> PAGE_SHIFT;

	if (kpb_desc_phys(desc) != __pa((void *)addr))
		kpb_check_fail(check, "linear address of %#llx maps %#llx",
			       (unsigned long long)__pa((void *)addr),
			       (unsigned long long)kpb_desc_phys(desc));
	check->nr_leaves[leaf]++;
	check->mapped_bytes += size;
	pfn = __pa((void *)addr) >> PAGE_SHIFT;
	if (kpb_owner_of(check, pfn) == KPB_OWNER_HOLE ||
	    kpb_owner_of(check, pfn + nr - 1) == KPB_OWNER_HOLE)
		kpb_check_fail(check,
			       "a leaf of %lu pages at frame %#lx maps a hole",
			       nr, pfn);
	if (kpb_desc_pkey(desc) != KPKEYS_PKEY_PGTABLES)
		return;
	for (; nr; nr--, pfn++)
		check->nr_pkey_of[kpb_owner_of(check, pfn)]++;
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
				unsigned long addr, unsigned long end)
{
	for (; addr != end; addr += PMD_SIZE) {
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
			     unsigned long addr, unsigned long end)
{
	for (; addr != end; addr += PMD_SIZE) {
		pmd_t pmd = *pmd_offset(pudp, addr);

		if ((pmd_present(pmd) && !pmd_leaf(pmd)) ||
		    pmd_val(pmd) & KPB_PMD_DEFERRED)
			kpb_check_own(check,
				      kpb_desc_phys(pmd_val(pmd)) >> PAGE_SHIFT,
				      1, KPB_OWNER_LINEAR_MAP);
	}
}

/* The table that an entry above PMD level leads to, if the level is there. */
static void kpb_check_upper(struct kpb_check *check, bool is_there, u64 desc,
			    enum kpb_owner owner)
{
	if (is_there && kpb_desc_present(desc))
		kpb_check_own(check, kpb_desc_phys(desc) >> PAGE_SHIFT, 1,
			      owner);
}

static void kpb_check_pud(struct kpb_check *check, pud_t *pudp,
			  unsigned long addr, unsigned long end, bool leaves)
{
	if (!pud_present(*pudp))
		return;
	if (pud_leaf(*pudp)) {
		if (leaves)
			kpb_check_leaf(check, KPB_LEAF_PUD, pud_val(*pudp),
				       addr, PUD_SIZE);
		return;
	}
	if (leaves) {
		kpb_check_pmd_table(check, pudp, addr, end);
		return;
	}
	kpb_check_upper(check, kpb_pgtable_l3_enabled(), pud_val(*pudp),
			KPB_OWNER_LINEAR_MAP);
	kpb_check_tables(check, pudp, addr, end);
}

/*
 * Call @fn for the PUD entries of half of the addresses; the tables above them
 * are @owner's, unless @owner is KPB_OWNER_NONE.
 */
static void kpb_check_half(struct kpb_check *check, unsigned long start,
			   enum kpb_owner owner,
			   void (*fn)(struct kpb_check *check, pud_t *pudp,
				      unsigned long addr, unsigned long end))
{
	unsigned long end = start + (1UL << (VA_BITS - 1));
	bool tables = owner != KPB_OWNER_NONE;
	unsigned long addr, addr4, addr3, next, next4, next3;

	for (addr = start; addr != end; addr = next) {
		pgd_t *pgdp = pgd_offset_k(addr);

		next = pgd_addr_end(addr, end);
		kpb_check_upper(check, tables && pgtable_l5_enabled(),
				pgd_val(*pgdp), owner);
		if (!pgd_present(*pgdp))
			continue;
		for (addr4 = addr; addr4 != next; addr4 = next4) {
			p4d_t *p4dp = p4d_offset(pgdp, addr4);

			next4 = p4d_addr_end(addr4, next);
			kpb_check_upper(check, tables && pgtable_l4_enabled(),
					p4d_val(*p4dp), owner);
			if (!p4d_present(*p4dp))
				continue;
			for (addr3 = addr4; addr3 != next4; addr3 = next3) {
				next3 = pud_addr_end(addr3, next4);
				fn(check, pud_offset(p4dp, addr3), addr3,
				   next3);
			}
		}
	}
}

static void kpb_check_pud_tables(struct kpb_check *check, pud_t *pudp,
				 unsigned long addr, unsigned long end)
{
	kpb_check_pud(check, pudp, addr, end, false);
}

static void kpb_check_pud_leaves(struct kpb_check *check, pud_t *pudp,
				 unsigned long addr, unsigned long end)
{
	kpb_check_pud(check, pudp, addr, end, true);
}

static void kpb_check_map(struct kpb_check *check, bool leaves)
{
	kpb_check_half(check, kpb_this->linear_start,
		       leaves ? KPB_OWNER_NONE : KPB_OWNER_LINEAR_MAP,
		       leaves ? kpb_check_pud_leaves : kpb_check_pud_tables);
}

/* What a table of the vmalloc area maps; a device is not the buddy's. */
static void kpb_check_vmalloc_pte_table(struct kpb_check *check, pmd_t *pmdp)
{
	const pte_t *ptep = __va(kpb_desc_phys(pmd_val(*pmdp)));
	const struct zone *zone = &kpb_this->zone;
	int i;

	for (i = 0; i < PTRS_PER_PTE; i++, ptep++) {
		unsigned long pfn = kpb_desc_phys(pte_val(*ptep)) >> PAGE_SHIFT;

		if (pte_present(*ptep) && pfn >= zone->zone_start_pfn &&
		    pfn < zone->zone_end_pfn)
			kpb_check_own(check, pfn, 1, KPB_OWNER_VMALLOC);
	}
}

static void kpb_check_vmalloc_pud(struct kpb_check *check, pud_t *pudp,
				  unsigned long addr, unsigned long end)
{
	if (!pud_present(*pudp))
		return;
	kpb_check_upper(check, kpb_pgtable_l3_enabled(), pud_val(*pudp),
			KPB_OWNER_VMALLOC_TABLE);
	for (; addr != end; addr += PMD_SIZE) {
		pmd_t *pmdp = pmd_offset(pudp, addr);

		if (!pmd_present(*pmdp))
			continue;
		kpb_check_own(check,
			      kpb_desc_phys(pmd_val(*pmdp)) >> PAGE_SHIFT, 1,
			      KPB_OWNER_VMALLOC_TABLE);
		kpb_check_vmalloc_pte_table(check, pmdp);
	}
}

/* Tables of the vmalloc area, and the pages that they map. */
static void kpb_check_vmalloc(struct kpb_check *check)
{
	kpb_check_half(check, VMALLOC_START, KPB_OWNER_VMALLOC_TABLE,
		       kpb_check_vmalloc_pud);
}

/* Frames that carry the pkey: of PTPs, of free pages, of anybody else. */
struct kpb_pkey_sums {
	u64 ptps;
	u64 free;
	u64 others;
};

static struct kpb_pkey_sums kpb_sum_pkeys(const struct kpb_check *check)
{
	struct kpb_pkey_sums sums = { 0 };
	u8 owner;

	for (owner = 0; owner < KPB_NR_OWNERS; owner++) {
		u64 nr = check->nr_pkey_of[owner];

		if (kpb_is_ptp(owner))
			sums.ptps += nr;
		else if (owner == KPB_OWNER_BUDDY || owner == KPB_OWNER_PCP)
			sums.free += nr;
		else
			sums.others += nr;
	}
	return sums;
}

static u64 kpb_nr_ptps(const struct kpb_check *check)
{
	u64 nr_ptps = 0;
	u8 owner;

	for (owner = 0; owner < KPB_NR_OWNERS; owner++)
		if (kpb_is_ptp(owner))
			nr_ptps += check->nr_of[owner];
	return nr_ptps;
}

static void kpb_check_map_counts(struct kpb_check *check)
{
	struct kpb_machine *m = kpb_this;
	u64 memory_bytes = kpb_memblock_bytes(&m->memblock.memory);
	int leaf;

	if (check->mapped_bytes != memory_bytes)
		kpb_check_fail(check, "the leaves map %llu bytes of %llu",
			       (unsigned long long)check->mapped_bytes,
			       (unsigned long long)memory_bytes);
	for (leaf = 0; leaf < KPB_NR_LEAVES; leaf++)
		if (check->nr_leaves[leaf] != m->nr_leaves[leaf])
			kpb_check_fail(
				check,
				"leaf size %d: %llu counted, %llu in the map",
				leaf, (unsigned long long)m->nr_leaves[leaf],
				(unsigned long long)check->nr_leaves[leaf]);
}

/* What the allocator holds: what it lost (D1) first, that has a name. */
static void kpb_check_held_counts(struct kpb_check *check)
{
	struct kpb_machine *m = kpb_this;
	const u64 *nr_of = check->nr_of;

	if (nr_of[KPB_OWNER_LOST])
		kpb_check_fail(
			check,
			"%llu pages are lost: the allocator holds them, but they are neither cached nor in use",
			(unsigned long long)nr_of[KPB_OWNER_LOST]);
	if (check->nr_held != m->nr_held)
		kpb_check_fail(check,
			       "%lu pages held by the balance, %llu say so",
			       m->nr_held, (unsigned long long)check->nr_held);
	if (check->nr_in_flight != m->nr_in_flight)
		kpb_check_fail(check,
			       "%lu pages in flight counted, %llu say so",
			       m->nr_in_flight,
			       (unsigned long long)check->nr_in_flight);
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
	if (nr_of[KPB_OWNER_VMALLOC_TABLE] != m->nr_vmalloc_ptps)
		kpb_check_fail(check,
			       "%lu tables of the vmalloc area counted, %llu found",
			       m->nr_vmalloc_ptps,
			       (unsigned long long)
				       nr_of[KPB_OWNER_VMALLOC_TABLE]);
	if (nr_of[KPB_OWNER_VMALLOC] != m->nr_vmalloc_pages)
		kpb_check_fail(check,
			       "%lu pages mapped in the vmalloc area, %llu found",
			       m->nr_vmalloc_pages,
			       (unsigned long long)nr_of[KPB_OWNER_VMALLOC]);
}

/* Who carries the pkey and who does not: D9 and D18 are named by number. */
static void kpb_check_pkey_counts(struct kpb_check *check)
{
	struct kpb_machine *m = kpb_this;
	struct kpb_pkey_sums sums = kpb_sum_pkeys(check);
	u64 nr_pkey_pages = sums.ptps + sums.free + sums.others;
	u64 nr_unprotected = kpb_nr_ptps(check) - sums.ptps;

	if (nr_pkey_pages != m->nr_pkey_pages)
		kpb_check_fail(check,
			       "%lu frames with the pkey counted, %llu in the map",
			       m->nr_pkey_pages,
			       (unsigned long long)nr_pkey_pages);
	if (sums.free)
		kpb_check_fail(check,
			       "%llu free pages carry the page table pkey",
			       (unsigned long long)sums.free);
	if (sums.others)
		kpb_check_fail(
			check,
			"%llu frames carry the page table pkey and are no PTP",
			(unsigned long long)sums.others);
	if (nr_unprotected != m->nr_unprotected)
		kpb_check_fail(check,
			       "%lu unprotected PTPs counted, %llu found",
			       m->nr_unprotected,
			       (unsigned long long)nr_unprotected);
	/* until late initialisation nobody can do anything about it */
	if (nr_unprotected && m->late_init_done)
		kpb_check_fail(check,
			       "%llu PTPs do not carry the page table pkey",
			       (unsigned long long)nr_unprotected);
}

static bool kpb_is_memblock_reserved(unsigned long pfn)
{
	const struct memblock_type *reserved = &kpb_this->memblock.reserved;
	phys_addr_t addr = (phys_addr_t)pfn << PAGE_SHIFT;
	unsigned long i;

	for (i = 0; i < reserved->cnt; i++)
		if (addr >= reserved->regions[i].base &&
		    addr - reserved->regions[i].base <
			    reserved->regions[i].size)
			return true;
	return false;
}

/* Frames without an owner: not given to the buddy yet, or left in the PPA. */
static void kpb_check_conservation(struct kpb_check *check)
{
	struct zone *zone = &kpb_this->zone;
	unsigned long pfn, i = 0;

	for (pfn = zone->zone_start_pfn;; pfn++) {
		pfn = kpb_skip_deferred(pfn, &i);
		if (pfn >= zone->zone_end_pfn)
			break;
		if (kpb_owner_of(check, pfn) != KPB_OWNER_NONE ||
		    kpb_is_memblock_reserved(pfn))
			continue;
		kpb_check_fail(check, "frame %#lx is lost", pfn);
		return;
	}
}

/* Who has what on the side of the buddy. */
static void kpb_check_memory_owners(struct kpb_check *check)
{
	u32 cpu;

	kpb_check_config_owners(check);
	kpb_check_buddy(check);
	for (cpu = 0; cpu < kpb_this->config.nr_cpus; cpu++)
		kpb_check_pcp(check, cpu);
	kpb_check_aged(check);
}

/*
 * And on the allocator's. One that cannot be asked what is in its cache has
 * everything there that it holds and that is not in use.
 */
static void kpb_check_allocator_owners(struct kpb_check *check)
{
	const struct kpb_allocator_ops *ops = kpb_this->ops;

	if (ops->for_each_cached)
		ops->for_each_cached(kpb_check_cached_page, check);
	/* null has handed out what is not its own */
	if (ops != &kpb_null_ops)
		kpb_check_slots(check);
	kpb_check_map(check, false);
	kpb_check_vmalloc(check);
	kpb_for_each_unowned(check,
			     ops->for_each_cached ? kpb_check_lost_page :
						    kpb_check_cached_page,
			     check);
	kpb_check_map(check, true);
}

static u8 *kpb_alloc_owners(void)
{
	const struct zone *zone = &kpb_this->zone;

	return calloc(zone->zone_end_pfn - zone->zone_start_pfn, 1);
}

/**
 * kpb_for_each_cached() - walk over the pages in the allocator's cache
 * @fn: called for each page; a nonzero return ends the walk
 * @data: for @fn
 *
 * Return: 0, what @fn returned, or -ENOMEM.
 */
int kpb_for_each_cached(kpb_cached_fn fn, void *data)
{
	char msg[KPB_MSG_BYTES];
	struct kpb_check check = { .msg = msg };
	int ret;

	if (kpb_this->ops->for_each_cached)
		return kpb_this->ops->for_each_cached(fn, data);
	check.owner = kpb_alloc_owners();
	if (!check.owner)
		return -ENOMEM;
	kpb_check_slots(&check);
	kpb_check_map(&check, false);
	kpb_check_vmalloc(&check);
	ret = kpb_for_each_unowned(&check, fn, data);
	free(check.owner);
	return ret;
}

static int kpb_granule_check(char *msg)
{
	struct kpb_machine *m = kpb_this;
	struct kpb_check check = { .msg = msg };
	int task = kpb_task_under_way();
	const char *wrong;

	check.owner = kpb_alloc_owners();
	if (!check.owner)
		return -ENOMEM;
	kpb_check_memory_owners(&check);
	if (task >= 0)
		kpb_check_fail(
			&check,
			"task %d is under way: what it has in its hands belongs to nobody, let it finish first",
			task);
	wrong = !check.failed && m->ops->check ? m->ops->check() : NULL;
	if (wrong)
		kpb_check_fail(&check, "%s", wrong);
	if (task < 0 && m->ops != &kpb_null_ops) {
		kpb_check_allocator_owners(&check);
		kpb_check_map_counts(&check);
		kpb_check_held_counts(&check);
		kpb_check_pkey_counts(&check);
		kpb_check_conservation(&check);
	}
	free(check.owner);
	return check.failed ? -EUCLEAN : 0;
}

static unsigned int kpb_leaf_order(unsigned long pfn)
{
	unsigned long addr = (unsigned long)page_address(pfn_to_page(pfn));
	pud_t *pudp = kpb_pud_of(addr);

	if (pud_leaf(pudp_get(pudp)))
		return PUD_SHIFT - PAGE_SHIFT;
	return pmd_leaf(*pmd_offset(pudp, addr)) ? PMD_ORDER : 0;
}

/* Blocks that the allocator takes for whole ones: what are they really? */
static void kpb_audit_blocks(const struct kpb_check *check,
			     struct kpb_audit *out)
{
	const struct zone *zone = &kpb_this->zone;
	unsigned long nr_pages = 1UL << PMD_ORDER;
	unsigned long pfn, i;

	for (pfn = ALIGN(zone->zone_start_pfn, nr_pages);
	     pfn + nr_pages <= zone->zone_end_pfn; pfn += nr_pages) {
		bool in_use = false;

		if (!kpb_is_held(pfn) ||
		    !kpb_this->ops->in_block(pfn_to_page(pfn)))
			continue;
		for (i = 0; i < nr_pages && !in_use; i++) {
			u8 owner = kpb_owner_of(check, pfn + i);

			in_use = owner == KPB_OWNER_SLOT ||
				 owner == KPB_OWNER_LINEAR_MAP ||
				 owner == KPB_OWNER_VMALLOC_TABLE;
		}
		out->marked_blocks++;
		out->mapped_blocks += kpb_leaf_order(pfn) >= PMD_ORDER;
		out->idle_blocks += !in_use;
	}
}

/**
 * kpb_granule_audit() - the numbers behind the invariants
 * @out: filled
 *
 * While a task is under way what it has in its hands is not counted as lost.
 *
 * Return: 0 or -ENOMEM.
 */
static int kpb_granule_audit(struct kpb_audit *out)
{
	const struct kpb_allocator_ops *ops = kpb_this->ops;
	char msg[KPB_MSG_BYTES];
	struct kpb_check check = { .msg = msg };
	struct kpb_pkey_sums sums;

	memset(out, 0, sizeof(*out));
	check.owner = kpb_alloc_owners();
	if (!check.owner)
		return -ENOMEM;
	kpb_check_memory_owners(&check);
	kpb_check_allocator_owners(&check);
	sums = kpb_sum_pkeys(&check);
	out->free_pkey_pages = sums.free;
	out->unprotected_pages = kpb_nr_ptps(&check) - sums.ptps;
	if (kpb_task_under_way() < 0)
		out->lost_pages = check.nr_of[KPB_OWNER_LOST];
	out->knows_blocks = ops->for_each_cached && ops->in_block;
	if (out->knows_blocks)
		kpb_audit_blocks(&check, out);
	free(check.owner);
	return 0;
}
