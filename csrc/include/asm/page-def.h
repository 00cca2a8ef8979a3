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
#define VA_BITS 48
#define CONT_PTE_SHIFT (4 + PAGE_SHIFT)
#define CONT_PMD_SHIFT (4 + PMD_SHIFT)
#define MAX_PAGE_ORDER 10
#define SECTION_SIZE_BITS 27
#elif PAGE_SHIFT == 14
#define VA_BITS 47
#define CONT_PTE_SHIFT (7 + PAGE_SHIFT)
#define CONT_PMD_SHIFT (5 + PMD_SHIFT)
#define MAX_PAGE_ORDER 11
#define SECTION_SIZE_BITS 27
#elif PAGE_SHIFT == 16
#define VA_BITS 48
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

#if PAGE_SHIFT == 12
#define CONFIG_PGTABLE_LEVELS 4
#define PUD_SHIFT (PMD_SHIFT + PAGE_SHIFT - 3)
#define PTRS_PER_PUD PTRS_PER_PTE
#define PGDIR_SHIFT (PUD_SHIFT + PAGE_SHIFT - 3)
#else
/* the PUD level is folded into the PGD: three levels of tables */
#define CONFIG_PGTABLE_LEVELS 3
#define PGDIR_SHIFT (PMD_SHIFT + PAGE_SHIFT - 3)
#define PUD_SHIFT PGDIR_SHIFT
#define PTRS_PER_PUD 1
#endif
#define PUD_SIZE (1UL << PUD_SHIFT)
#define PUD_MASK (~(PUD_SIZE - 1))
#define PGDIR_SIZE (1UL << PGDIR_SHIFT)
#define PGDIR_MASK (~(PGDIR_SIZE - 1))
#define PTRS_PER_PGD (1 << (VA_BITS - PGDIR_SHIFT))

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
