/* SPDX-License-Identifier: GPL-2.0-only */
/* The vmalloc area; namesake of linux/vmalloc.h, with asm/vmalloc.h. */
#ifndef _LINUX_VMALLOC_H
#define _LINUX_VMALLOC_H

#include <asm/pgtable.h>

/* DUPLICATED */
#define VM_IOREMAP 0x00000001UL
#define VM_ALLOC 0x00000002UL
#define VM_NO_GUARD 0x00000040UL
#define IOREMAP_MAX_ORDER PMD_SHIFT

/*
 * CUSTOM: the upper half of what swapper_pg_dir maps, as on arm64, where the
 * lower one is the linear map's. These are numbers: nothing of the host is
 * there. The end is nearer than a kernel's; nobody gets so far.
 */
#define VA_BITS (kpb_this->config.boot.va_bits)
#define VMALLOC_START (kpb_this->linear_start + (1UL << (VA_BITS - 1)))
#define VMALLOC_SIZE (1UL << (VA_BITS - 2))
#define VMALLOC_END (VMALLOC_START + VMALLOC_SIZE)

/* mm/vmalloc.c, DUPLICATED */
KPB_LOCAL void vmalloc_init(void);
KPB_LOCAL void *__vmalloc_node_range(unsigned long size, unsigned long align,
				     unsigned long start, unsigned long end,
				     gfp_t gfp_mask);
KPB_LOCAL void *ioremap_prot(phys_addr_t phys_addr, unsigned long size);
KPB_LOCAL unsigned long pcpu_get_vm_areas(unsigned long size,
					  unsigned long align);
KPB_LOCAL int vmap_pages_range(unsigned long addr, unsigned long end,
			       struct page **pages);
/* ours: pages behind a range of addresses, all of them or none */
KPB_LOCAL int kpb_vmap_new_pages(unsigned long addr, unsigned long nr_pages,
				 gfp_t gfp);
/* ours: what the machine's exit takes down */
KPB_LOCAL void kpb_vmalloc_exit(struct kpb_machine *m);

#endif
