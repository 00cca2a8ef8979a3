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
			pageattr_pte_range(pmdp, addr, next, data);
		} else {
			return -EINVAL;
		}
	} while (pmdp++, addr = next, addr != end);
	return 0;
}

static inline int pageattr_pud_range(pgd_t *pgdp, unsigned long addr,
				     unsigned long end,
				     const struct page_change_data *data)
{
	pud_t *pudp = pud_offset(pgdp, addr);
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
		ret = pageattr_pud_range(pgdp, addr, next, data);
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
	int ret;

	/* kpb: what a split is counted under */
	kpb_this->cause = kpb_pkey_cause(pkey);
	kpb_map_counters()->set_pkey_calls++;
	kpb_map_counters()->set_pkey_pages += (u64)numpages;
	kpb_this->op_events |= KPB_EV_PAGES;

	ret = __change_memory_common(addr, (unsigned long)numpages * PAGE_SIZE,
				     PTE_PKEY(pkey), PTE_PO_IDX_MASK);
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
	return __change_memory_common(addr, (unsigned long)numpages * PAGE_SIZE,
				      PTE_RDONLY, PTE_DBM);
}
