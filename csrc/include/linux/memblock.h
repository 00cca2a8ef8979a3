/* SPDX-License-Identifier: GPL-2.0-only */
/* Namesake of linux/memblock.h. */
#ifndef _LINUX_MEMBLOCK_H
#define _LINUX_MEMBLOCK_H

#include <linux/mm.h>

/* DUPLICATED: what an end can say besides an address */
#define MEMBLOCK_ALLOC_ANYWHERE (~(phys_addr_t)0)
#define MEMBLOCK_ALLOC_ACCESSIBLE 0
#define MEMBLOCK_ALLOC_NOLEAKTRACE 1

KPB_LOCAL phys_addr_t memblock_phys_alloc_range(phys_addr_t size,
						phys_addr_t align,
						phys_addr_t start,
						phys_addr_t end);
KPB_LOCAL void memblock_free_late(phys_addr_t base, phys_addr_t size);
KPB_LOCAL void memblock_free_all(void);

#endif
