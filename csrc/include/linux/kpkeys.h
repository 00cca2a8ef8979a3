/* SPDX-License-Identifier: GPL-2.0-only */
/* Kernel protection keys; namesake of linux/kpkeys.h, asm/kpkeys.h. */
#ifndef _LINUX_KPKEYS_H
#define _LINUX_KPKEYS_H

#include <lab/machine.h>
#include <linux/gfp.h>
#include <linux/jump_label.h>

/* DUPLICATED */
#define KPKEYS_PKEY_DEFAULT 0
#define KPKEYS_PKEY_PGTABLES 1
#define KPKEYS_LVL_DEFAULT 0
#define KPKEYS_LVL_PGTABLES 1
/* DUPLICATED: what v7 calls them */
#define KPKEYS_CTX_DEFAULT 0
#define KPKEYS_CTX_PGTABLES 1

/* CUSTOM: a level switch is one write of the pkey register, and counted */
static inline u64 kpkeys_set_level(int level)
{
	u64 old = kpb_this->kpkeys_level;

	kpb_this->kpkeys_level = (u64)level;
	kpb_this->counters.pkey_reg_writes++;
	return old;
}

static inline void kpkeys_restore_pkey_reg(u64 pkey_reg)
{
	kpb_this->kpkeys_level = pkey_reg;
	kpb_this->counters.pkey_reg_writes++;
}

/* CUSTOM: every simulated box has the feature */
static inline bool arch_supports_kpkeys(void)
{
	return true;
}

static inline bool arch_kpkeys_enabled(void)
{
	return true;
}

/* arch/arm64/mmu.c */
KPB_LOCAL void arch_kpkeys_protect_static_pgtables(void);

static inline bool arch_has_pte_only_direct_map(void)
{
	return kpb_this->config.linear_map == KPB_MAP_PTE;
}

/* The interface of mm/kpkeys_hardened_pgtables.c, DUPLICATED */
#ifdef KPB_DOOR
DECLARE_STATIC_KEY_FALSE(kpkeys_hardened_pgtables_key);
#endif
KPB_LOCAL struct page *kpkeys_pgtable_alloc(gfp_t gfp);
KPB_LOCAL void kpkeys_pgtable_free(struct page *page);
KPB_LOCAL int kpkeys_prepare_direct_map_split(void);
KPB_LOCAL bool kpkeys_ready_for_direct_map_split(void);
KPB_LOCAL void kpkeys_hardened_pgtables_init(void);
KPB_LOCAL void kpkeys_hardened_pgtables_init_late(void);
KPB_LOCAL phys_addr_t kpkeys_physmem_pgtable_alloc(void);

#endif
