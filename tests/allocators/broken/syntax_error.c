// SPDX-License-Identifier: GPL-2.0-only
/*
 * Written from the description of v7, independently of csrc/mm, and broken on purpose: a
 * semicolon is missing. Loading it must say where.
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
	struct page *page = alloc_pages_noprof(gfp, 0)

	if (!page)
		return NULL;

	if (set_memory_pkey((unsigned long)page_address(page), 1, KPKEYS_PKEY_PGTABLES)) {
		__free_page(page);
		return NULL;
	}

	return page;
}

void kpkeys_pgtable_free(struct page *page)
{
	set_memory_pkey((unsigned long)page_address(page), 1, KPKEYS_PKEY_DEFAULT);
	__free_page(page);
}

void __init kpkeys_hardened_pgtables_init(void)
{
	if (!arch_supports_kpkeys())
		return;

	static_branch_enable(&kpkeys_hardened_pgtables_key);
	arch_kpkeys_protect_static_pgtables();
}
