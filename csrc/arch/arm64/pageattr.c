// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mirrors arch/arm64/mm/pageattr.c (6.18, with the changes of "pkeys-based
 * page table hardening" v6): changing what a range of the linear map allows.
 */

#include <asm/pgtable.h>
#include <asm/tlbflush.h>
#include <linux/kpkeys.h>
#include <linux/set_memory.h>

struct page_change_data {
	u64 set_mask;
	u64 clear_mask;
};

/* kpb: also keeps count of the frames that carry the page table pkey */
static inline void set_pageattr_masks(u64 *descp, unsigned int order,
				      const struct page_change_data *data)
{
	u64 old = READ_ONCE(*descp);
	u64 new = (old & ~data->clear_mask) | data->set_mask;

	WRITE_ONCE(*descp, new);
	kpb_this->nr_pkey_pages +=
		(unsigned long)((kpb_desc_pkey(new) == KPKEYS_PKEY_PGTABLES) -
				(kpb_desc_pkey(old) == KPKEYS_PKEY_PGTABLES))
		<< order;
	kpb_map_counters()->descriptor_writes++;
}

static inline int pageattr_pte_range(pmd_t *pmdp, unsigned long addr,
				     unsigned long end,
				     const struct page_change_data *data)
{
	pte_t *ptep = pte_offset_kernel(pmdp, addr);

	do {
		if (unlikely(!pte_present(ptep_get(ptep))))
			return -EINVAL;
		set_pageattr_masks(&ptep->pte, 0, data);
	} while (ptep++, addr += PAGE_SIZE, addr != end);
	return 0;
}

static inline int pageattr_pmd_range(pud_t *pudp, unsigned long addr,
				     unsigned long end,
				     const struct page_change_data *data)
{
	pmd_t *pmdp = pmd_offset(pudp, addr);
	unsigned long next;

	do {
		pmd_t pmd = pmdp_get(pmdp, addr);

		next = pmd_addr_end(addr, end);
		if (pmd_leaf(pmd)) {
			if (WARN_ON_ONCE(next - addr != PMD_SIZE))
				return -EINVAL;
			set_pageattr_masks(&pmdp->pmd, PMD_ORDER, data);
		} else if (pmd_present(pmd)) {
			int ret = pageattr_pte_range(pmdp, addr, next, data);

			if (ret)
				return ret;
		} else {
			return -EINVAL;
		}
	} while (pmdp++, addr = next, addr != end);
	return 0;
}

static inline int pageattr_pud_range(p4d_t *p4dp, unsigned long addr,
				     unsigned long end,
				     const struct page_change_data *data)
{
	pud_t *pudp = pud_offset(p4dp, addr);
	unsigned long next;

	do {
		pud_t pud = pudp_get(pudp);
		int ret;

		next = pud_addr_end(addr, end);
		if (pud_leaf(pud)) {
			if (WARN_ON_ONCE(next - addr != PUD_SIZE))
				return -EINVAL;
			set_pageattr_masks(&pudp->pud, PUD_SHIFT - PAGE_SHIFT,
					   data);
			continue;
		}
		if (!pud_present(pud))
			return -EINVAL;
		ret = pageattr_pmd_range(pudp, addr, next, data);
		if (ret)
			return ret;
	} while (pudp++, addr = next, addr != end);
	return 0;
}

static inline int pageattr_p4d_range(pgd_t *pgdp, unsigned long addr,
				     unsigned long end,
				     const struct page_change_data *data)
{
	p4d_t *p4dp = p4d_offset(pgdp, addr);
	unsigned long next;

	do {
		int ret;

		next = p4d_addr_end(addr, end);
		if (!p4d_present(p4dp_get(p4dp)))
			return -EINVAL;
		ret = pageattr_pud_range(p4dp, addr, next, data);
		if (ret)
			return ret;
	} while (p4dp++, addr = next, addr != end);
	return 0;
}

/* Walk [addr, end): every leaf in it lies in it whole. */
static inline int
walk_kernel_page_table_range(unsigned long addr, unsigned long end,
			     const struct page_change_data *data)
{
	pgd_t *pgdp = pgd_offset_k(addr);
	unsigned long next;

	do {
		int ret;

		next = pgd_addr_end(addr, end);
		if (!pgd_present(pgdp_get(pgdp)))
			return -EINVAL;
		ret = pageattr_p4d_range(pgdp, addr, next, data);
		if (ret)
			return ret;
	} while (pgdp++, addr = next, addr != end);
	return 0;
}

static inline int update_range_prot(unsigned long start, unsigned long size,
				    u64 set_mask, u64 clear_mask)
{
	const struct page_change_data data = {
		.set_mask = set_mask,
		.clear_mask = clear_mask,
	};
	int ret;

	ret = split_kernel_leaf_mapping(start, start + size);
	if (WARN_ON_ONCE(ret))
		return ret;
	return walk_kernel_page_table_range(start, start + size, &data);
}

static inline int __change_memory_common(unsigned long start,
					 unsigned long size, u64 set_mask,
					 u64 clear_mask)
{
	int ret = update_range_prot(start, size, set_mask, clear_mask);

	if (!ret)
		flush_tlb_kernel_range(start, start + size);
	return ret;
}

/* Where the leaf entry that maps @addr ends; a page where there is none. */
static unsigned long kpb_leaf_end(unsigned long addr)
{
	unsigned long none = ~0UL;
	pud_t *pudp = kpb_pud_of(addr);

	if (pudp && pud_leaf(pudp_get(pudp)))
		return pud_addr_end(addr, none);
	if (pudp && pud_present(pudp_get(pudp)) &&
	    pmd_leaf(*pmd_offset(pudp, addr)))
		return pmd_addr_end(addr, none);
	return (addr & PAGE_MASK) + PAGE_SIZE;
}

/*
 * kpb: an injected error that comes half way: both ends are split, and those
 * leaf entries are changed that begin in the first half; nothing is flushed.
 */
static int kpb_change_half(unsigned long start, unsigned long size,
			   const struct page_change_data *data)
{
	int ret = split_kernel_leaf_mapping(start, start + size);

	if (WARN_ON_ONCE(ret))
		return ret;
	walk_kernel_page_table_range(start, kpb_leaf_end(start + size / 2 - 1),
				     data);
	return -ENOMEM;
}

/* kpb: the call that was asked to fail */
static __cold int kpb_fail_set_pkey(unsigned long start, unsigned long size,
				    int pkey)
{
	const struct page_change_data data = {
		.set_mask = PTE_PKEY(pkey),
		.clear_mask = PTE_PO_IDX_MASK,
	};

	if (kpb_this->faults[KPB_POINT_SET_PKEY].fault.half)
		return kpb_change_half(start, size, &data);
	return -ENOMEM;
}

/* kpb: only changes to the wanted pkey count */
static inline bool kpb_should_fail_set_pkey(int pkey)
{
	s32 wanted = kpb_this->faults[KPB_POINT_SET_PKEY].fault.pkey;

	return unlikely(kpb_this->faults_armed & BIT(KPB_POINT_SET_PKEY)) &&
	       (wanted < 0 || wanted == pkey) &&
	       kpb_fault_due(KPB_POINT_SET_PKEY);
}

static inline unsigned long kpb_addr_to_pfn(unsigned long addr)
{
	return __pa((void *)addr) >> PAGE_SHIFT;
}

/**
 * set_memory_pkey() - give a range of the linear map a protection key
 * @addr: linear address of the first page
 * @numpages: how many
 * @pkey: 0 to 7
 *
 * Return: 0 or -errno. Context: may sleep.
 */
int set_memory_pkey(unsigned long addr, int numpages, int pkey)
{
	enum kpb_cause cause = kpb_this->cause;
	unsigned long size = (unsigned long)numpages * PAGE_SIZE;
	int ret;

	KPB_FRAME();
	kpb_point(KPB_POINT_SET_PKEY, NULL);
	/* kpb: what a split is counted under */
	kpb_this->cause = kpb_pkey_cause(pkey);
	kpb_map_counters()->set_pkey_calls++;
	kpb_map_counters()->set_pkey_pages += (u64)numpages;
	kpb_this->op_events |= KPB_EV_PAGES;
	kpb_event(KPB_EVENT_SET_PKEY, kpb_addr_to_pfn(addr), (u32)numpages,
		  (u32)pkey);

	if (unlikely(kpb_should_fail_set_pkey(pkey)))
		ret = kpb_fail_set_pkey(addr, size, pkey);
	else
		ret = __change_memory_common(addr, size, PTE_PKEY(pkey),
					     PTE_PO_IDX_MASK);
	if (unlikely(ret))
		kpb_event(KPB_EVENT_SET_FAILED, kpb_addr_to_pfn(addr),
			  (u32)numpages, (u32)-ret);
	else if (pkey == KPKEYS_PKEY_PGTABLES)
		kpb_note_landed(kpb_addr_to_pfn(addr), (unsigned long)numpages);
	kpb_this->cause = cause;
	return ret;
}

/**
 * set_memory_ro() - make a range of the linear map read-only
 * @addr: linear address of the first page
 * @numpages: how many
 *
 * kpb: acts on the linear map itself, where the kernel takes a vmalloc range
 * and changes the linear alias of its pages.
 *
 * Return: 0 or -errno. Context: may sleep.
 */
int set_memory_ro(unsigned long addr, int numpages)
{
	int ret;

	KPB_FRAME();
	kpb_event(KPB_EVENT_SET_MEMORY, kpb_addr_to_pfn(addr), (u32)numpages,
		  0);
	ret = __change_memory_common(addr, (unsigned long)numpages * PAGE_SIZE,
				     PTE_RDONLY, PTE_DBM);
	if (unlikely(ret))
		kpb_event(KPB_EVENT_SET_FAILED, kpb_addr_to_pfn(addr),
			  (u32)numpages, (u32)-ret);
	return ret;
}
