// SPDX-License-Identifier: GPL-2.0-only
/*
 * Written from the description of v7, independently of csrc/mm, and broken on purpose: it
 * compiles and works for 1000 allocations; the next one follows a pointer that is still NULL.
 */

#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/jump_label.h>
#include <linux/kernel.h>
#include <linux/kpkeys.h>
#include <linux/mm.h>
#include <linux/set_memory.h>
#include <linux/spinlock.h>

#define NR_GOOD_ALLOCS	1000

__ro_after_init DEFINE_STATIC_KEY_FALSE(kpkeys_hardened_pgtables_key);

static DEFINE_SPINLOCK(stats_lock);
static unsigned long nr_allocs;
/* Meant to be the page that was handed out last, but nobody sets it */
static struct page *last_page;

static void account_alloc(void)
{
	struct page *page;

	guard(spinlock)(&stats_lock);

	if (++nr_allocs <= NR_GOOD_ALLOCS)
		return;

	/* READ_ONCE() so that the compiler cannot know, and has to emit the store */
	page = READ_ONCE(last_page);
	set_page_private(page, nr_allocs);
}

struct page *kpkeys_pgtable_alloc(gfp_t gfp)
{
	struct page *page;

	account_alloc();

	page = alloc_pages_noprof(gfp, 0);
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
