// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables that carry their own protection key.
 *
 * Written from the description of v5, independently of csrc/mm: single pages only. It defines
 * nothing for the tables of the linear map, for splits or for late in boot.
 */

#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/jump_label.h>
#include <linux/kernel.h>
#include <linux/kpkeys.h>
#include <linux/mm.h>
#include <linux/set_memory.h>

__ro_after_init DEFINE_STATIC_KEY_FALSE(kpkeys_hardened_pgtables_key);

struct page *kpkeys_pgtable_alloc(gfp_t gfp)
{
	struct page *page = alloc_pages_noprof(gfp, 0);
	unsigned long addr;

	if (!page)
		goto out;

	addr = (unsigned long)page_address(page);
	if (set_memory_pkey(addr, 1, KPKEYS_PKEY_PGTABLES) < 0) {
		/* A table without its key would be a hole in the wall */
		__free_page(page);
		page = NULL;
	}
out:
	return page;
}

void kpkeys_pgtable_free(struct page *page)
{
	set_memory_pkey((unsigned long)page_address(page), 1, KPKEYS_PKEY_DEFAULT);
	__free_page(page);
}

void __init kpkeys_hardened_pgtables_init(void)
{
	if (!arch_kpkeys_enabled())
		return;

	static_branch_enable(&kpkeys_hardened_pgtables_key);
	arch_kpkeys_protect_static_pgtables();
}
