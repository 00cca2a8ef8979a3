// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables that carry their own protection key.
 *
 * Written from the description of v7 and v8, independently of csrc/mm: the linear map is made of
 * pages throughout, so there is no cache, nothing to split and nothing to put off until the CPUs
 * are known. It defines no split functions and no late init.
 */

#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/jump_label.h>
#include <linux/kernel.h>
#include <linux/kpkeys.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/set_memory.h>

#include <kunit/visibility.h>

__ro_after_init DEFINE_STATIC_KEY_FALSE(kpkeys_hardened_pgtables_key);
EXPORT_SYMBOL_IF_KUNIT(kpkeys_hardened_pgtables_key);

static int page_set_pkey(struct page *page, int pkey)
{
	return set_memory_pkey((unsigned long)page_address(page), 1, pkey);
}

struct page *kpkeys_pgtable_alloc(gfp_t gfp)
{
	struct page *page;

	page = alloc_pages_noprof(gfp, 0);
	if (unlikely(!page))
		return NULL;

	if (unlikely(page_set_pkey(page, KPKEYS_PKEY_PGTABLES))) {
		__free_pages(page, 0);
		return NULL;
	}

	return page;
}
EXPORT_SYMBOL_IF_KUNIT(kpkeys_pgtable_alloc);

void kpkeys_pgtable_free(struct page *page)
{
	page_set_pkey(page, KPKEYS_PKEY_DEFAULT);
	__free_pages(page, 0);
}
EXPORT_SYMBOL_IF_KUNIT(kpkeys_pgtable_free);

/*
 * PPA: the tables of the linear map are needed long before init, when no key can be set. Hand
 * them out from large chunks, from the top downward, so that it takes few calls to protect them.
 */
#if PAGE_SHIFT == 16
/* PMD_ORDER would be 512 MB */
#define PPA_CHUNK_ORDER		9
#else
#define PPA_CHUNK_ORDER		PMD_ORDER
#endif
#define PPA_CHUNK_SIZE		((phys_addr_t)PAGE_SIZE << PPA_CHUNK_ORDER)

struct ppa_range {
	phys_addr_t base;
	phys_addr_t size;
};

/* Chunks that are used up; neighbours are merged */
static struct ppa_range ppa_full[INIT_MEMBLOCK_MEMORY_REGIONS] __initdata;
static unsigned int ppa_nr_full __initdata;
/* The chunk in use, if it has a size: where it starts and how much of it is free */
static struct ppa_range ppa_chunk __initdata;
static phys_addr_t ppa_chunk_free __initdata;

static void __init ppa_retire_chunk(void)
{
	struct ppa_range *last;

	if (!ppa_chunk.size)
		return;

	if (ppa_nr_full) {
		last = &ppa_full[ppa_nr_full - 1];
		if (ppa_chunk.base + ppa_chunk.size == last->base) {
			last->base = ppa_chunk.base;
			last->size += ppa_chunk.size;
			return;
		}
		if (last->base + last->size == ppa_chunk.base) {
			last->size += ppa_chunk.size;
			return;
		}
	}

	/* memblock has no more regions than this, and a chunk lies in one of them */
	if (WARN_ON_ONCE(ppa_nr_full >= ARRAY_SIZE(ppa_full)))
		return;

	ppa_full[ppa_nr_full++] = ppa_chunk;
}

phys_addr_t __init kpkeys_physmem_pgtable_alloc(void)
{
	phys_addr_t base;

	if (ppa_chunk_free)
		goto take;

	base = memblock_phys_alloc_range(PPA_CHUNK_SIZE, PPA_CHUNK_SIZE, 0,
					 MEMBLOCK_ALLOC_NOLEAKTRACE);
	if (!base) {
		/* Nobody keeps track of these: the kernel boots, but they stay unprotected */
		return memblock_phys_alloc_range(PAGE_SIZE, PAGE_SIZE, 0,
						 MEMBLOCK_ALLOC_NOLEAKTRACE);
	}

	ppa_retire_chunk();
	ppa_chunk.base = base;
	ppa_chunk.size = PPA_CHUNK_SIZE;
	ppa_chunk_free = PPA_CHUNK_SIZE;
take:
	ppa_chunk_free -= PAGE_SIZE;
	return ppa_chunk.base + ppa_chunk_free;
}

static void __init ppa_protect(phys_addr_t base, phys_addr_t size)
{
	int ret;

	pr_debug("kpkeys: protecting %pa bytes of page tables at %pa\n", &size, &base);

	ret = set_memory_pkey((unsigned long)__va(base), size >> PAGE_SHIFT,
			      KPKEYS_PKEY_PGTABLES);
	if (ret)
		pr_warn("kpkeys: no pkey for page tables at %pa: %d\n", &base, ret);
}

static void __init ppa_finalize(void)
{
	struct ppa_range *range;

	if (ppa_chunk.size)
		ppa_protect(ppa_chunk.base + ppa_chunk_free, ppa_chunk.size - ppa_chunk_free);

	for (range = ppa_full; range < ppa_full + ppa_nr_full; range++)
		ppa_protect(range->base, range->size);

	if (ppa_chunk_free)
		memblock_free_late(ppa_chunk.base, ppa_chunk_free);

	ppa_nr_full = 0;
	ppa_chunk.size = 0;
	ppa_chunk_free = 0;
}

void __init kpkeys_hardened_pgtables_init(void)
{
	if (!arch_supports_kpkeys())
		return;

	static_branch_enable(&kpkeys_hardened_pgtables_key);

	/* Every table needs a key of its own, none needs a split: do it right away */
	ppa_finalize();
	arch_kpkeys_protect_static_pgtables();
}
