/* SPDX-License-Identifier: GPL-2.0-only */
/* Namesake of linux/set_memory.h, asm/set_memory.h. */
#ifndef _LINUX_SET_MEMORY_H
#define _LINUX_SET_MEMORY_H

#include <linux/kernel.h>

/* DUPLICATED */
KPB_LOCAL int set_memory_pkey(unsigned long addr, int numpages, int pkey);
KPB_LOCAL int set_memory_ro(unsigned long addr, int numpages);

#endif
