/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Geometry of one page size, all compile-time constants as in the kernel;
 * namesake of asm/page-def.h, with parts of asm/pgtable-hwdef.h and
 * linux/pgtable.h. PAGE_SHIFT comes from build_4k.c, build_16k.c, build_64k.c.
 */
#ifndef __ASM_PAGE_DEF_H
#define __ASM_PAGE_DEF_H

#ifndef PAGE_SHIFT
#error "PAGE_SHIFT must be 12, 14 or 16"
#endif

/* DUPLICATED */
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))

#if PAGE_SHIFT == 12
#define KPB_DEFAULT_VA_BITS 48
#define CONT_PTE_SHIFT (4 + PAGE_SHIFT)
#define CONT_PMD_SHIFT (4 + PMD_SHIFT)
#define MAX_PAGE_ORDER 10
#define SECTION_SIZE_BITS 27
#elif PAGE_SHIFT == 14
#define KPB_DEFAULT_VA_BITS 47
#define CONT_PTE_SHIFT (7 + PAGE_SHIFT)
#define CONT_PMD_SHIFT (5 + PMD_SHIFT)
#define MAX_PAGE_ORDER 11
#define SECTION_SIZE_BITS 27
#elif PAGE_SHIFT == 16
#define KPB_DEFAULT_VA_BITS 48
#define CONT_PTE_SHIFT (5 + PAGE_SHIFT)
#define CONT_PMD_SHIFT (5 + PMD_SHIFT)
#define MAX_PAGE_ORDER 13
#define SECTION_SIZE_BITS 29
#else
#error "PAGE_SHIFT must be 12, 14 or 16"
#endif

#define PTRS_PER_PTE (1 << (PAGE_SHIFT - 3))
#define PTRS_PER_PMD PTRS_PER_PTE
#define PMD_SHIFT (PAGE_SHIFT + PAGE_SHIFT - 3)
#define PMD_SIZE (1UL << PMD_SHIFT)
#define PMD_MASK (~(PMD_SIZE - 1))
#define PMD_ORDER (PMD_SHIFT - PAGE_SHIFT)

/*
 * CUSTOM: as many levels as the widest addresses take, 52 bits. The kernel has
 * as many as VA_BITS asks for; here that is an option of the machine, and the
 * uppermost levels are folded at run time (asm/pgtable.h), the way the kernel
 * folds them where a CPU lacks LVA or LPA2. The others are folded for good.
 */
#if PAGE_SHIFT == 12
#define KPB_MAX_PGTABLE_LEVELS 5
#define PUD_SHIFT (PMD_SHIFT + PAGE_SHIFT - 3)
#define PTRS_PER_PUD PTRS_PER_PTE
#define P4D_SHIFT (PUD_SHIFT + PAGE_SHIFT - 3)
#define PTRS_PER_P4D PTRS_PER_PTE
#define PGDIR_SHIFT (P4D_SHIFT + PAGE_SHIFT - 3)
#elif PAGE_SHIFT == 14
#define KPB_MAX_PGTABLE_LEVELS 4
#define PUD_SHIFT (PMD_SHIFT + PAGE_SHIFT - 3)
#define PTRS_PER_PUD PTRS_PER_PTE
#define PGDIR_SHIFT (PUD_SHIFT + PAGE_SHIFT - 3)
#define P4D_SHIFT PGDIR_SHIFT
#define PTRS_PER_P4D 1
#else
#define KPB_MAX_PGTABLE_LEVELS 3
#define PGDIR_SHIFT (PMD_SHIFT + PAGE_SHIFT - 3)
#define P4D_SHIFT PGDIR_SHIFT
#define PTRS_PER_P4D 1
#define PUD_SHIFT PGDIR_SHIFT
#define PTRS_PER_PUD 1
#endif
#define KPB_MAX_VA_BITS 52

/* CUSTOM: how many levels it takes to translate @va_bits, DUPLICATED in what it says */
#define ARM64_HW_PGTABLE_LEVELS(va_bits) (((va_bits) - 4) / (PAGE_SHIFT - 3))

#define PUD_SIZE (1UL << PUD_SHIFT)
#define PUD_MASK (~(PUD_SIZE - 1))
#define P4D_SIZE (1UL << P4D_SHIFT)
#define P4D_MASK (~(P4D_SIZE - 1))
#define PGDIR_SIZE (1UL << PGDIR_SHIFT)
#define PGDIR_MASK (~(PGDIR_SIZE - 1))
/* CUSTOM: entries of the root, which may be a table of any level */
#define KPB_PTRS_PER_ROOT PTRS_PER_PTE

#define CONT_PTE_SIZE (1UL << CONT_PTE_SHIFT)
#define CONT_PTE_MASK (~(CONT_PTE_SIZE - 1))
#define CONT_PTES (1 << (CONT_PTE_SHIFT - PAGE_SHIFT))
#define CONT_PMD_SIZE (1UL << CONT_PMD_SHIFT)
#define CONT_PMD_MASK (~(CONT_PMD_SIZE - 1))
#define CONT_PMDS (1 << (CONT_PMD_SHIFT - PMD_SHIFT))

#define NR_PAGE_ORDERS (MAX_PAGE_ORDER + 1)
#define MAX_ORDER_NR_PAGES (1UL << MAX_PAGE_ORDER)
#define PAGES_PER_SECTION (1UL << (SECTION_SIZE_BITS - PAGE_SHIFT))

/* DUPLICATED: huge pages are PMD sized, where the buddy reaches them */
#define pageblock_order \
	(PMD_ORDER < MAX_PAGE_ORDER ? PMD_ORDER : MAX_PAGE_ORDER)
#define pageblock_nr_pages (1UL << pageblock_order)

#endif
