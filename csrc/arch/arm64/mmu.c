// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mirrors arch/arm64/mm/mmu.c (6.18, with the changes of "pkeys-based page
 * table hardening" v6): how the linear map is built, and how it is split.
 */

/**
 * DOC: theory of operation
 *
 * The linear map is made of the largest leaves that alignment and size allow:
 * PUD blocks (4K pages only), PMD blocks in contiguous groups (contPMD), PMD
 * blocks, PTEs in contiguous groups (contPTE), PTEs. Where something about a
 * part of a leaf must change, the leaf is replaced by a table of the next
 * smaller ones, or the contiguous hint is cleared on its group. Both ends of
 * a range are treated; what is inside stays as it is. Nothing is ever joined
 * again.
 *
 * A new table is itself a page table page, so it comes from the allocator
 * that asked for the split: before pgtable_split_lock is taken, that
 * allocator makes sure that it has pages for it.
 *
 * kpb: linear addresses are host addresses, see linux/mm.h. With a PTE map
 * the PTE tables have their pages from the start, but are written when they
 * are first walked: a large machine costs what it touches.
 */

#include <asm/cpufeature.h>
#include <asm/pgtable.h>
#include <asm/tlbflush.h>
#include <linux/kpkeys.h>
#include <linux/memblock.h>
#include <linux/mutex.h>
#include <linux/set_memory.h>

#define INVALID_PHYS_ADDR (~(phys_addr_t)0)

#define NO_BLOCK_MAPPINGS BIT(0)
#define NO_CONT_MAPPINGS BIT(1)

/* kpb: how often a split is prepared before somebody has to be told */
#define KPB_MAX_SPLIT_TRIES 1000

/* kpb: leaves by size, kept in step so that they need no walk */
static inline void kpb_count_leaves(enum kpb_leaf leaf, long nr)
{
	kpb_this->nr_leaves[leaf] += (u64)nr;
}

static inline void __set_desc(u64 *descp, u64 desc)
{
	WRITE_ONCE(*descp, desc);
}

static inline bool rodata_full(void)
{
	return kpb_this->config.boot.rodata == KPB_RODATA_FULL;
}

/*
 * Must nothing of the linear map ever have to be split? kpb: the user's choice
 * of a map stands for late KFENCE and realms. That kpkeys are a reason of
 * their own is a reading of the series [M]: they need a map that can change,
 * whatever rodata= says.
 */
static inline bool force_pte_mapping(void)
{
	const bool bbml2 = system_capabilities_finalized() ?
				   system_supports_bbml2_noabort() :
				   cpu_supports_bbml2_noabort();

	if (kpb_this->config.boot.debug_pagealloc ||
	    kpb_this->config.linear_map == KPB_MAP_PTE)
		return true;
	if (bbml2)
		return false;
	return rodata_full() || arch_supports_kpkeys();
}

/* Does this box need BBML2, because the linear map has larger leaves? */
static inline bool linear_map_requires_bbml2(void)
{
	return kpb_this->boot.linear_map_requires_bbml2;
}

/* Building the map */

static phys_addr_t early_pgtable_alloc(enum pgtable_type pgtable_type)
{
	phys_addr_t phys = kpkeys_physmem_pgtable_alloc();

	kpb_this->nr_early_ptps += phys != 0;
	kpb_note_boot_ptp((enum kpb_level)pgtable_type, !phys);
	return phys;
}

static inline u64 kpb_table_desc(phys_addr_t phys)
{
	return phys | PTE_TYPE_TABLE;
}

static void init_pte(pte_t *ptep, unsigned long addr, unsigned long end,
		     phys_addr_t phys, u64 attrs)
{
	for (; addr < end; addr += PAGE_SIZE, phys += PAGE_SIZE, ptep++)
		__set_desc(&ptep->pte, phys | attrs | PTE_TYPE_PAGE);
}

void kpb_populate_deferred(pmd_t *pmdp, unsigned long addr)
{
	phys_addr_t table = kpb_desc_phys(pmd_val(*pmdp));

	addr &= PMD_MASK;
	init_pte(__va(table), addr, addr + PMD_SIZE, __pa((void *)addr),
		 PAGE_KERNEL_ATTRS);
	__set_desc(&pmdp->pmd, kpb_table_desc(table));
}

static int alloc_init_cont_pte(pmd_t *pmdp, unsigned long addr,
			       unsigned long end, phys_addr_t phys, int flags)
{
	unsigned long next;

	/* a table that is shared with the region before this one is there */
	if (!pmd_present(READ_ONCE(*pmdp))) {
		phys_addr_t table = early_pgtable_alloc(TABLE_PTE);

		if (!table)
			return -ENOMEM;
		/* kpb: a whole table of PTEs without hints can wait */
		if ((flags & NO_CONT_MAPPINGS) && end - addr == PMD_SIZE) {
			__set_desc(&pmdp->pmd, table | KPB_PMD_DEFERRED);
			kpb_count_leaves(KPB_LEAF_PTE, PTRS_PER_PTE);
			return 0;
		}
		__set_desc(&pmdp->pmd, kpb_table_desc(table));
	}

	do {
		enum kpb_leaf leaf = KPB_LEAF_PTE;
		u64 attrs = PAGE_KERNEL_ATTRS;

		next = pte_cont_addr_end(addr, end);
		if (((addr | next | phys) & ~CONT_PTE_MASK) == 0 &&
		    !(flags & NO_CONT_MAPPINGS)) {
			attrs |= PTE_CONT;
			leaf = KPB_LEAF_CONT_PTE;
		}
		init_pte(pte_offset_kernel(pmdp, addr), addr, next, phys,
			 attrs);
		kpb_count_leaves(leaf, (long)((next - addr) >> PAGE_SHIFT));
		phys += next - addr;
	} while (addr = next, addr != end);
	return 0;
}

static int init_pmd(pmd_t *pmdp, unsigned long addr, unsigned long end,
		    phys_addr_t phys, u64 attrs, int flags)
{
	unsigned long next;

	do {
		next = pmd_addr_end(addr, end);
		if (((addr | next | phys) & ~PMD_MASK) == 0 &&
		    !(flags & NO_BLOCK_MAPPINGS)) {
			__set_desc(&pmdp->pmd, phys | attrs | PTE_TYPE_BLOCK);
			kpb_count_leaves(attrs & PTE_CONT ? KPB_LEAF_CONT_PMD :
							    KPB_LEAF_PMD,
					 1);
		} else {
			int ret = alloc_init_cont_pte(pmdp, addr, next, phys,
						      flags);

			if (ret)
				return ret;
		}
		phys += next - addr;
	} while (pmdp++, addr = next, addr != end);
	return 0;
}

static int alloc_init_cont_pmd(pud_t *pudp, unsigned long addr,
			       unsigned long end, phys_addr_t phys, int flags)
{
	unsigned long next;

	/* a table that is shared with the region before this one is there */
	if (!pud_present(pudp_get(pudp))) {
		phys_addr_t table = early_pgtable_alloc(TABLE_PMD);

		if (!table)
			return -ENOMEM;
		__set_desc(&pudp->pud, kpb_table_desc(table));
	}

	do {
		u64 attrs = PAGE_KERNEL_ATTRS;
		int ret;

		next = pmd_cont_addr_end(addr, end);
		if (((addr | next | phys) & ~CONT_PMD_MASK) == 0 &&
		    !(flags & NO_CONT_MAPPINGS))
			attrs |= PTE_CONT;
		ret = init_pmd(pmd_offset(pudp, addr), addr, next, phys, attrs,
			       flags);
		if (ret)
			return ret;
		phys += next - addr;
	} while (addr = next, addr != end);
	return 0;
}

static int alloc_init_pud(p4d_t *p4dp, unsigned long addr, unsigned long end,
			  phys_addr_t phys, int flags)
{
	unsigned long next;
	pud_t *pudp;

	if (!p4d_present(p4dp_get(p4dp))) {
		phys_addr_t table = early_pgtable_alloc(TABLE_PUD);

		if (!table)
			return -ENOMEM;
		__set_desc(&p4dp->p4d, kpb_table_desc(table));
	}
	pudp = pud_offset(p4dp, addr);
	do {
		int ret;

		next = pud_addr_end(addr, end);
		if (pud_sect_supported() &&
		    ((addr | next | phys) & ~PUD_MASK) == 0 &&
		    !(flags & NO_BLOCK_MAPPINGS)) {
			__set_desc(&pudp->pud,
				   phys | PAGE_KERNEL_ATTRS | PTE_TYPE_BLOCK);
			kpb_count_leaves(KPB_LEAF_PUD, 1);
			phys += next - addr;
			continue;
		}
		ret = alloc_init_cont_pmd(pudp, addr, next, phys, flags);
		if (ret)
			return ret;
		phys += next - addr;
	} while (pudp++, addr = next, addr != end);
	return 0;
}

static int alloc_init_p4d(pgd_t *pgdp, unsigned long addr, unsigned long end,
			  phys_addr_t phys, int flags)
{
	unsigned long next;
	p4d_t *p4dp;

	if (!pgd_present(pgdp_get(pgdp))) {
		phys_addr_t table = early_pgtable_alloc(TABLE_P4D);

		if (!table)
			return -ENOMEM;
		__set_desc(&pgdp->pgd, kpb_table_desc(table));
	}
	p4dp = p4d_offset(pgdp, addr);
	do {
		int ret;

		next = p4d_addr_end(addr, end);
		ret = alloc_init_pud(p4dp, addr, next, phys, flags);
		if (ret)
			return ret;
		phys += next - addr;
	} while (p4dp++, addr = next, addr != end);
	return 0;
}

static int __create_pgd_mapping(phys_addr_t phys, unsigned long virt,
				phys_addr_t size, int flags)
{
	unsigned long addr = virt, end = virt + size, next;
	pgd_t *pgdp = pgd_offset_k(addr);

	do {
		int ret;

		next = pgd_addr_end(addr, end);
		ret = alloc_init_p4d(pgdp, addr, next, phys, flags);
		if (ret)
			return ret;
		phys += next - addr;
	} while (pgdp++, addr = next, addr != end);
	return 0;
}

/**
 * map_mem() - build the linear map of all memory, region by region
 *
 * kpb: the alias of the kernel image and the KFENCE pool are not part of it.
 */
void map_mem(void)
{
	const struct memblock_type *memory = &kpb_this->memblock.memory;
	unsigned long i;
	int flags = 0;

	if (force_pte_mapping())
		flags = NO_BLOCK_MAPPINGS | NO_CONT_MAPPINGS;
	/* kpkeys make can_set_direct_map() true */
	kpb_this->boot.linear_map_requires_bbml2 = !force_pte_mapping();
	for (i = 0; i < memory->cnt; i++) {
		const struct memblock_region *rgn = &memory->regions[i];

		if (__create_pgd_mapping(rgn->base,
					 (unsigned long)__va(rgn->base),
					 rgn->size, flags))
			kpb_stop(__FILE__, __LINE__,
				 "no memory for the linear map's own tables");
	}
}

/* Splitting the map */

static phys_addr_t pgd_pgtable_alloc_init_mm_gfp(enum pgtable_type pgtable_type,
						 gfp_t gfp)
{
	/* every entry is about to be written */
	struct page *page;

	KPB_FRAME();
	page = kpkeys_pgtable_alloc(gfp & ~__GFP_ZERO);
	if (!page) {
		kpb_note_boot_ptp((enum kpb_level)pgtable_type, true);
		return INVALID_PHYS_ADDR;
	}
	kpb_this->nr_split_ptps++;
	kpb_note_boot_ptp((enum kpb_level)pgtable_type, false);
	kpb_map_counters()->split_ptps++;
	kpb_event(KPB_EVENT_SPLIT_PTP, page_to_pfn(page), 0, 0);
	kpb_note_reserve();
	return page_to_phys(page);
}

/* kpb: a leaf at @phys is no more */
static inline void kpb_note_split(phys_addr_t phys, enum kpb_leaf_size size)
{
	kpb_this->op_events |= KPB_EV_SPLIT;
	kpb_event(KPB_EVENT_SPLIT, phys >> PAGE_SHIFT, size, 0);
}

static void split_contpte(pte_t *ptep)
{
	phys_addr_t phys;
	int i;

	ptep = (pte_t *)ALIGN_DOWN((uintptr_t)ptep, sizeof(*ptep) * CONT_PTES);
	phys = kpb_desc_phys(pte_val(ptep_get(ptep)));
	for (i = 0; i < CONT_PTES; i++, ptep++)
		__set_desc(&ptep->pte, pte_val(ptep_get(ptep)) & ~PTE_CONT);

	kpb_count_leaves(KPB_LEAF_CONT_PTE, -CONT_PTES);
	kpb_count_leaves(KPB_LEAF_PTE, CONT_PTES);
	kpb_map_counters()->split_contpte++;
	kpb_map_counters()->descriptor_writes += CONT_PTES;
	kpb_note_split(phys, KPB_SIZE_CONTPTE);
}

static int split_pmd(pmd_t *pmdp, pmd_t pmd, gfp_t gfp, bool to_cont)
{
	u64 attrs = pmd_val(pmd) & PTE_ATTR_MASK & ~PTE_CONT;
	phys_addr_t phys = kpb_desc_phys(pmd_val(pmd));
	phys_addr_t pte_phys;
	pte_t *ptep;
	int i;

	pte_phys = pgd_pgtable_alloc_init_mm_gfp(TABLE_PTE, gfp);
	if (pte_phys == INVALID_PHYS_ADDR)
		return -ENOMEM;

	if (to_cont)
		attrs |= PTE_CONT;
	/* kpb: a whole table of PTEs without hints can wait */
	if (attrs == PAGE_KERNEL_ATTRS) {
		__set_desc(&pmdp->pmd, pte_phys | KPB_PMD_DEFERRED);
	} else {
		ptep = __va(pte_phys);
		for (i = 0; i < PTRS_PER_PTE; i++, ptep++, phys += PAGE_SIZE)
			__set_desc(&ptep->pte, phys | attrs | PTE_TYPE_PAGE);
		/* the table must be visible before what leads to it */
		__set_desc(&pmdp->pmd, kpb_table_desc(pte_phys));
	}

	kpb_count_leaves(KPB_LEAF_PMD, -1);
	kpb_count_leaves(to_cont ? KPB_LEAF_CONT_PTE : KPB_LEAF_PTE,
			 PTRS_PER_PTE);
	kpb_map_counters()->split_pmd++;
	kpb_map_counters()->descriptor_writes += PTRS_PER_PTE + 1;
	kpb_note_split(kpb_desc_phys(pmd_val(pmd)), KPB_SIZE_PMD);
	return 0;
}

static void split_contpmd(pmd_t *pmdp)
{
	phys_addr_t phys;
	int i;

	pmdp = (pmd_t *)ALIGN_DOWN((uintptr_t)pmdp, sizeof(*pmdp) * CONT_PMDS);
	phys = kpb_desc_phys(pmd_val(*pmdp));
	for (i = 0; i < CONT_PMDS; i++, pmdp++)
		__set_desc(&pmdp->pmd, pmd_val(*pmdp) & ~PTE_CONT);

	kpb_count_leaves(KPB_LEAF_CONT_PMD, -CONT_PMDS);
	kpb_count_leaves(KPB_LEAF_PMD, CONT_PMDS);
	kpb_map_counters()->split_contpmd++;
	kpb_map_counters()->descriptor_writes += CONT_PMDS;
	kpb_note_split(phys, KPB_SIZE_CONTPMD);
}

#if PAGE_SHIFT == 12
static int split_pud(pud_t *pudp, pud_t pud, gfp_t gfp, bool to_cont)
{
	u64 attrs = pud_val(pud) & PTE_ATTR_MASK;
	phys_addr_t phys = kpb_desc_phys(pud_val(pud));
	phys_addr_t pmd_phys;
	pmd_t *pmdp;
	int i;

	pmd_phys = pgd_pgtable_alloc_init_mm_gfp(TABLE_PMD, gfp);
	if (pmd_phys == INVALID_PHYS_ADDR)
		return -ENOMEM;

	if (to_cont)
		attrs |= PTE_CONT;
	pmdp = __va(pmd_phys);
	for (i = 0; i < PTRS_PER_PMD; i++, pmdp++, phys += PMD_SIZE)
		__set_desc(&pmdp->pmd, phys | attrs | PTE_TYPE_BLOCK);

	/* the table must be visible before the entry that leads to it */
	__set_desc(&pudp->pud, kpb_table_desc(pmd_phys));

	kpb_count_leaves(KPB_LEAF_PUD, -1);
	kpb_count_leaves(to_cont ? KPB_LEAF_CONT_PMD : KPB_LEAF_PMD,
			 PTRS_PER_PMD);
	kpb_map_counters()->split_pud++;
	kpb_map_counters()->descriptor_writes += PTRS_PER_PMD + 1;
	kpb_note_split(kpb_desc_phys(pud_val(pud)), KPB_SIZE_PUD);
	return 0;
}
#else
static int split_pud(pud_t *pudp, pud_t pud, gfp_t gfp, bool to_cont)
{
	(void)pudp;
	(void)pud;
	(void)gfp;
	(void)to_cont;
	return -EINVAL;
}
#endif

/* Make addr the boundary of a leaf, by as few splits as that takes. */
static int split_kernel_leaf_mapping_locked(unsigned long addr)
{
	gfp_t gfp = GFP_PGTABLE_KERNEL | __GFP_PGTABLE_SPLIT;
	pgd_t *pgdp;
	p4d_t *p4dp;
	pud_t *pudp, pud;
	pmd_t *pmdp, pmd;
	pte_t *ptep, pte;
	int ret;

	if (ALIGN_DOWN(kpb_linear_index(addr), PGDIR_SIZE) ==
	    kpb_linear_index(addr))
		return 0;
	pgdp = pgd_offset_k(addr);
	if (!pgd_present(pgdp_get(pgdp)))
		return 0;

	if (ALIGN_DOWN(kpb_linear_index(addr), P4D_SIZE) ==
	    kpb_linear_index(addr))
		return 0;
	p4dp = p4d_offset(pgdp, addr);
	if (!p4d_present(p4dp_get(p4dp)))
		return 0;

	if (ALIGN_DOWN(kpb_linear_index(addr), PUD_SIZE) ==
	    kpb_linear_index(addr))
		return 0;
	pudp = pud_offset(p4dp, addr);
	pud = pudp_get(pudp);
	if (!pud_present(pud))
		return 0;
	if (pud_leaf(pud)) {
		ret = split_pud(pudp, pud, gfp, true);
		if (ret)
			return ret;
	}

	if (ALIGN_DOWN(addr, CONT_PMD_SIZE) == addr)
		return 0;
	pmdp = pmd_offset(pudp, addr);
	pmd = pmdp_get(pmdp, addr);
	if (!pmd_present(pmd))
		return 0;
	if (pmd_leaf(pmd)) {
		if (pmd_cont(pmd))
			split_contpmd(pmdp);
		if (ALIGN_DOWN(addr, PMD_SIZE) == addr)
			return 0;
		pmd = pmdp_get(pmdp, addr);
		ret = split_pmd(pmdp, pmd, gfp, true);
		if (ret)
			return ret;
	}

	if (ALIGN_DOWN(addr, CONT_PTE_SIZE) == addr)
		return 0;
	ptep = pte_offset_kernel(pmdp, addr);
	pte = ptep_get(ptep);
	if (!pte_present(pte))
		return 0;
	if (pte_cont(pte))
		split_contpte(ptep);
	return 0;
}

/*
 * Until capabilities are final the boot CPU may be alone in tolerating it,
 * which does not matter as long as it is alone.
 */
static bool split_leaf_mapping_possible(void)
{
	if (!system_capabilities_finalized() && num_online_cpus() > 1)
		return false;
	/* kpb: as slab_is_available(): is there a buddy allocator? */
	return kpb_this->zone.managed_pages != 0;
}

/**
 * split_kernel_leaf_mapping() - make start and end boundaries of leaves
 * @start: linear address
 * @end: linear address
 *
 * Return: 0 or -errno; -EBUSY while splitting is not allowed yet.
 * Context: may sleep; takes pgtable_split_lock.
 */
int split_kernel_leaf_mapping(unsigned long start, unsigned long end)
{
	unsigned int nr_tries = 0;
	int ret;

	/* whoever changes a leaf that is too large will say so */
	if (!linear_map_requires_bbml2() || (system_capabilities_finalized() &&
					     !system_supports_bbml2_noabort()))
		return 0;
	if (WARN_ON(!split_leaf_mapping_possible()))
		return -EBUSY;
	if (start != (start & PAGE_MASK) || end != (end & PAGE_MASK))
		return -EINVAL;

	KPB_FRAME();
retry:
	ret = kpkeys_prepare_direct_map_split();
	if (ret)
		return ret;

	mutex_lock(&kpb_this->pgtable_split_lock);
	if (!kpkeys_ready_for_direct_map_split()) {
		mutex_unlock(&kpb_this->pgtable_split_lock);
		/* kpb: what would hang a kernel ends the machine */
		if (++nr_tries == KPB_MAX_SPLIT_TRIES)
			kpb_stop(__FILE__, __LINE__,
				 "livelock: kpkeys_prepare_direct_map_split() succeeds but ready never does");
		goto retry;
	}
	kpb_point(KPB_POINT_SPLIT, NULL);

	/*
	 * A single page: once its less aligned end is a boundary, the leaf
	 * below is a page or a group that was cut there, and so is the other.
	 */
	if (end - start == PAGE_SIZE) {
		start = __ffs(start) < __ffs(end) ? start : end;
		ret = split_kernel_leaf_mapping_locked(start);
	} else {
		ret = split_kernel_leaf_mapping_locked(start);
		if (!ret)
			ret = split_kernel_leaf_mapping_locked(end);
	}

	mutex_unlock(&kpb_this->pgtable_split_lock);
	return ret;
}

/* Splitting all of it */

static int split_to_ptes_pte_entry(pmd_t *pmdp, unsigned long addr,
				   unsigned long end)
{
	pte_t *ptep = pte_offset_kernel(pmdp, addr);

	for (; addr != end; addr += PAGE_SIZE, ptep++)
		if (pte_present(ptep_get(ptep)) && pte_cont(ptep_get(ptep)))
			split_contpte(ptep);
	return 0;
}

static int split_to_ptes_pmd_entry(pud_t *pudp, unsigned long addr,
				   unsigned long end, gfp_t gfp)
{
	pmd_t *pmdp = pmd_offset(pudp, addr);
	unsigned long next;
	int ret = 0;

	for (; addr != end && !ret; addr = next, pmdp++) {
		/* a table that is not written yet has no hints */
		pmd_t pmd = READ_ONCE(*pmdp);

		next = pmd_addr_end(addr, end);
		if (pmd_leaf(pmd)) {
			if (pmd_cont(pmd))
				split_contpmd(pmdp);
			ret = split_pmd(pmdp, READ_ONCE(*pmdp), gfp, false);
		} else if (pmd_present(pmd)) {
			ret = split_to_ptes_pte_entry(pmdp, addr, next);
		}
	}
	return ret;
}

static int split_to_ptes_pud_entry(p4d_t *p4dp, unsigned long addr,
				   unsigned long end, gfp_t gfp)
{
	pud_t *pudp = pud_offset(p4dp, addr);
	unsigned long next;
	int ret = 0;

	for (; addr != end && !ret; addr = next, pudp++) {
		pud_t pud = pudp_get(pudp);

		next = pud_addr_end(addr, end);
		if (!pud_present(pud))
			continue;
		if (pud_leaf(pud))
			ret = split_pud(pudp, pud, gfp, false);
		if (!ret)
			ret = split_to_ptes_pmd_entry(pudp, addr, next, gfp);
	}
	return ret;
}

static int split_to_ptes_p4d_entry(pgd_t *pgdp, unsigned long addr,
				   unsigned long end, gfp_t gfp)
{
	p4d_t *p4dp = p4d_offset(pgdp, addr);
	unsigned long next;
	int ret = 0;

	for (; addr != end && !ret; addr = next, p4dp++) {
		next = p4d_addr_end(addr, end);
		if (p4d_present(p4dp_get(p4dp)))
			ret = split_to_ptes_pud_entry(p4dp, addr, next, gfp);
	}
	return ret;
}

/* kpb: the walk of walk_kernel_page_table_range_lockless(), written out */
static int range_split_to_ptes(unsigned long start, unsigned long end,
			       gfp_t gfp)
{
	pgd_t *pgdp = pgd_offset_k(start);
	unsigned long addr, next;
	int ret = 0;

	for (addr = start; addr != end && !ret; addr = next, pgdp++) {
		next = pgd_addr_end(addr, end);
		if (pgd_present(pgdp_get(pgdp)))
			ret = split_to_ptes_p4d_entry(pgdp, addr, next, gfp);
	}
	return ret;
}

/*
 * Only the boot CPU is known to have BBML2, so it does it, while all others
 * wait where the linear map is not in use.
 */
static void linear_map_split_to_ptes(void)
{
	const struct kpb_config *config = &kpb_this->config;
	unsigned long lstart = kpb_this->linear_start;
	unsigned long lend = lstart + config->ram_bytes;
	/* kpb: the image is what there is of it, its static page tables */
	unsigned long kstart = lstart;
	unsigned long kend = kstart + config->nr_static_pgtables * PAGE_SIZE;
	int ret;

	KPB_FRAME();
	/* the alias of the image is never changed, and may stay as it is */
	ret = range_split_to_ptes(lstart, kstart, GFP_ATOMIC);
	if (!ret)
		ret = range_split_to_ptes(kend, lend, GFP_ATOMIC);
	if (ret)
		kpb_stop(__FILE__, __LINE__,
			 "kernel panic: Failed to split linear map");
	flush_tlb_kernel_range(lstart, lend);
}

/**
 * linear_map_maybe_split_to_ptes() - if some CPU does not tolerate splits
 *
 * kpb: stop_machine() is an atomic context and nothing else; no other CPU does
 * anything at boot.
 */
void linear_map_maybe_split_to_ptes(void)
{
	if (!linear_map_requires_bbml2() || system_supports_bbml2_noabort())
		return;
	kpb_this->boot.cause = KPB_BOOT_LINEAR_MAP_SPLIT;
	kpb_this->preempt_count++;
	linear_map_split_to_ptes();
	kpb_this->preempt_count--;
	kpb_this->boot.cause = KPB_BOOT_OTHER_SPLIT;
}

/**
 * arch_kpkeys_protect_static_pgtables() - the pkey for the kernel image's own
 *
 * kpb: they are the first pages of RAM, and all of the image that there is.
 */
void arch_kpkeys_protect_static_pgtables(void)
{
	u32 nr_pages = kpb_this->config.nr_static_pgtables;

	if (!nr_pages)
		return;
	/* nothing to fall back to if this fails: they work all the same */
	set_memory_pkey(kpb_this->linear_start, (int)nr_pages,
			KPKEYS_PKEY_PGTABLES);
}
