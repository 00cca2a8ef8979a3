/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors and the walk from one table to the next; namesake of
 * asm/pgtable.h with parts of asm/pgtable-hwdef.h and linux/pgtable.h.
 */
#ifndef __ASM_PGTABLE_H
#define __ASM_PGTABLE_H

#include <linux/mm.h>

/* DUPLICATED */
typedef struct {
	u64 pgd;
} pgd_t;
typedef struct {
	u64 p4d;
} p4d_t;
typedef struct {
	u64 pud;
} pud_t;
typedef struct {
	u64 pmd;
} pmd_t;
typedef struct {
	u64 pte;
} pte_t;

/* DUPLICATED, where the kernel has it in asm/pgalloc.h: as enum kpb_level */
enum pgtable_type {
	TABLE_PTE,
	TABLE_PMD,
	TABLE_PUD,
	TABLE_P4D,
};

/* DUPLICATED: bits of an arm64 descriptor; the levels share them */
#define PTE_VALID BIT_ULL(0)
#define PTE_TYPE_MASK 3ULL
#define PTE_TYPE_BLOCK 1ULL /* at PMD and PUD level */
#define PTE_TYPE_TABLE 3ULL /* at PMD, PUD and PGD level */
#define PTE_TYPE_PAGE 3ULL  /* at PTE level */
#define PTE_RDONLY BIT_ULL(7)
#define PTE_SHARED (3ULL << 8)
#define PTE_AF BIT_ULL(10)
#define PTE_DBM BIT_ULL(51)
#define PTE_CONT BIT_ULL(52)
#define PTE_PXN BIT_ULL(53)
#define PTE_UXN BIT_ULL(54)
#define PTE_PO_IDX_SHIFT 60
#define PTE_PO_IDX_MASK GENMASK_ULL(62, 60)
#define PTE_PKEY(pkey) ((u64)(pkey) << PTE_PO_IDX_SHIFT)
#define PTE_ADDR_MASK GENMASK_ULL(47, PAGE_SHIFT)
#define PTE_ATTR_MASK (~(PTE_ADDR_MASK | PTE_TYPE_MASK))
#define PAGE_KERNEL_ATTRS (PTE_SHARED | PTE_AF | PTE_DBM | PTE_PXN | PTE_UXN)

/*
 * CUSTOM: the PMD entry of a PTE table whose page is taken but not written
 * yet: not valid, a software bit set, the table's address in place.
 */
#define KPB_PMD_DEFERRED BIT_ULL(55)

static inline bool kpb_desc_present(u64 desc)
{
	return desc & PTE_VALID;
}

static inline phys_addr_t kpb_desc_phys(u64 desc)
{
	return desc & PTE_ADDR_MASK;
}

static inline int kpb_desc_pkey(u64 desc)
{
	return (int)((desc & PTE_PO_IDX_MASK) >> PTE_PO_IDX_SHIFT);
}

/* DUPLICATED */
#define pgd_val(x) ((x).pgd)
#define p4d_val(x) ((x).p4d)
#define pud_val(x) ((x).pud)
#define pmd_val(x) ((x).pmd)
#define pte_val(x) ((x).pte)

/*
 * DUPLICATED, but for the third: is the level there? A level above them is
 * folded: its entry is always present, and leads to the root again.
 */
static inline bool pgtable_l5_enabled(void)
{
	return KPB_MAX_PGTABLE_LEVELS > 4 && kpb_this->pgtable_levels > 4;
}

static inline bool pgtable_l4_enabled(void)
{
	return KPB_MAX_PGTABLE_LEVELS > 3 && kpb_this->pgtable_levels > 3;
}

static inline bool kpb_pgtable_l3_enabled(void)
{
	return kpb_this->pgtable_levels > 2;
}

#define pgd_present(x) (!pgtable_l5_enabled() || kpb_desc_present(pgd_val(x)))
#define p4d_present(x) (!pgtable_l4_enabled() || kpb_desc_present(p4d_val(x)))
#define pud_present(x) \
	(!kpb_pgtable_l3_enabled() || kpb_desc_present(pud_val(x)))
#define pmd_present(x) kpb_desc_present(pmd_val(x))
#define pte_present(x) kpb_desc_present(pte_val(x))

#define pmd_leaf(x) ((pmd_val(x) & PTE_TYPE_MASK) == PTE_TYPE_BLOCK)
#define pmd_cont(x) (!!(pmd_val(x) & PTE_CONT))
#define pte_cont(x) (!!(pte_val(x) & PTE_CONT))

/* DUPLICATED */
#define pud_sect_supported() (PAGE_SHIFT == 12)
#if PAGE_SHIFT == 12
#define pud_leaf(x) ((pud_val(x) & PTE_TYPE_MASK) == PTE_TYPE_BLOCK)
#else
#define pud_leaf(x) ((void)(x), false)
#endif

static inline pgd_t pgdp_get(pgd_t *pgdp)
{
	return READ_ONCE(*pgdp);
}

static inline p4d_t p4dp_get(p4d_t *p4dp)
{
	return READ_ONCE(*p4dp);
}

static inline pud_t pudp_get(pud_t *pudp)
{
	return READ_ONCE(*pudp);
}

static inline pte_t ptep_get(pte_t *ptep)
{
	return READ_ONCE(*ptep);
}

/*
 * CUSTOM: where in the linear map. Tables are indexed from its start, as if
 * the host address of simulated RAM were PAGE_OFFSET.
 */
static inline unsigned long kpb_linear_index(unsigned long addr)
{
	return addr - kpb_this->linear_start;
}

static inline pgd_t *pgd_offset_k(unsigned long addr)
{
	return (pgd_t *)kpb_this->swapper_pg_dir +
	       (kpb_linear_index(addr) >> PGDIR_SHIFT);
}

static inline p4d_t *p4d_offset(pgd_t *pgdp, unsigned long addr)
{
	unsigned long index = (kpb_linear_index(addr) >> P4D_SHIFT) &
			      (PTRS_PER_P4D - 1);

	if (KPB_MAX_PGTABLE_LEVELS < 5)
		return (p4d_t *)pgdp;
	if (!pgtable_l5_enabled())
		return (p4d_t *)kpb_this->swapper_pg_dir + index;
	return (p4d_t *)__va(kpb_desc_phys(pgd_val(pgdp_get(pgdp)))) + index;
}

static inline pud_t *pud_offset(p4d_t *p4dp, unsigned long addr)
{
	unsigned long index = (kpb_linear_index(addr) >> PUD_SHIFT) &
			      (PTRS_PER_PUD - 1);

	if (KPB_MAX_PGTABLE_LEVELS < 4)
		return (pud_t *)p4dp;
	if (!pgtable_l4_enabled())
		return (pud_t *)kpb_this->swapper_pg_dir + index;
	return (pud_t *)__va(kpb_desc_phys(p4d_val(p4dp_get(p4dp)))) + index;
}

static inline pmd_t *pmd_offset(pud_t *pudp, unsigned long addr)
{
	unsigned long index = (kpb_linear_index(addr) >> PMD_SHIFT) &
			      (PTRS_PER_PMD - 1);

	if (unlikely(!kpb_pgtable_l3_enabled()))
		return (pmd_t *)kpb_this->swapper_pg_dir + index;
	return (pmd_t *)__va(kpb_desc_phys(pud_val(pudp_get(pudp)))) + index;
}

/* CUSTOM: the PUD entry for an address; NULL where a table above is missing */
static inline pud_t *kpb_pud_of(unsigned long addr)
{
	pgd_t *pgdp = pgd_offset_k(addr);
	p4d_t *p4dp;

	if (!pgd_present(pgdp_get(pgdp)))
		return NULL;
	p4dp = p4d_offset(pgdp, addr);
	return p4d_present(p4dp_get(p4dp)) ? pud_offset(p4dp, addr) : NULL;
}

static inline pte_t *pte_offset_kernel(pmd_t *pmdp, unsigned long addr)
{
	return (pte_t *)__va(kpb_desc_phys(pmd_val(*pmdp))) +
	       ((kpb_linear_index(addr) >> PAGE_SHIFT) & (PTRS_PER_PTE - 1));
}

/* CUSTOM: write the PTEs of a table that was deferred, see mmu.c */
KPB_LOCAL void kpb_populate_deferred(pmd_t *pmdp, unsigned long addr);

/* CUSTOM: with the address, so that a deferred table can be written now */
static inline pmd_t pmdp_get(pmd_t *pmdp, unsigned long addr)
{
	pmd_t pmd = READ_ONCE(*pmdp);

	if (unlikely(pmd_val(pmd) & KPB_PMD_DEFERRED)) {
		kpb_populate_deferred(pmdp, addr);
		pmd = READ_ONCE(*pmdp);
	}
	return pmd;
}

/*
 * CUSTOM: the end of what one entry maps, or of the range. Entries are counted
 * from the start of the map, whose host address is aligned to the largest leaf
 * but not to what a PGD entry maps.
 */
#define kpb_addr_end(addr, end, size, mask)                           \
	({                                                            \
		unsigned long __boundary =                            \
			kpb_this->linear_start +                      \
			((kpb_linear_index(addr) + (size)) & (mask)); \
		__boundary < (end) ? __boundary : (end);              \
	})
#define pgd_addr_end(addr, end) kpb_addr_end(addr, end, PGDIR_SIZE, PGDIR_MASK)
#define p4d_addr_end(addr, end) kpb_addr_end(addr, end, P4D_SIZE, P4D_MASK)
#define pud_addr_end(addr, end) kpb_addr_end(addr, end, PUD_SIZE, PUD_MASK)
#define pmd_addr_end(addr, end) kpb_addr_end(addr, end, PMD_SIZE, PMD_MASK)
#define pmd_cont_addr_end(addr, end) \
	kpb_addr_end(addr, end, CONT_PMD_SIZE, CONT_PMD_MASK)
#define pte_cont_addr_end(addr, end) \
	kpb_addr_end(addr, end, CONT_PTE_SIZE, CONT_PTE_MASK)

/* arch/arm64/mm/mmu.c */
KPB_LOCAL int split_kernel_leaf_mapping(unsigned long start, unsigned long end);
KPB_LOCAL void map_mem(void);

#endif
