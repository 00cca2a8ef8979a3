// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables that carry their own protection key.
 *
 * Written from the description of v6, independently of csrc/mm: a complete file as a kernel tree
 * would have it, with the block allocator (PBA) for a linear map made of blocks, single pages
 * (noblock) for a PTE-mapped one, and the allocator of the linear map's own tables (PPA).
 *
 * With one patch on top: a refill looks again, under alloc_mutex, whether it is still needed, so
 * that of the tasks that miss at the same time only the first one refills.
 */

#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/init.h>
#include <linux/jump_label.h>
#include <linux/kernel.h>
#include <linux/kpkeys.h>
#include <linux/list.h>
#include <linux/memblock.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/set_memory.h>
#include <linux/shrinker.h>
#include <linux/spinlock.h>

#include <kunit/visibility.h>

__ro_after_init DEFINE_STATIC_KEY_FALSE(kpkeys_hardened_pgtables_key);
EXPORT_SYMBOL_IF_KUNIT(kpkeys_hardened_pgtables_key);

/* The linear map has blocks: serve page tables from the cache */
static __ro_after_init DEFINE_STATIC_KEY_FALSE(pba_enabled_key);
/* All CPUs are known to tolerate splits, so that a key may be set anywhere */
static __ro_after_init DEFINE_STATIC_KEY_FALSE(pba_can_set_pkey);

/* What the cache is refilled with, and what a caller may ask for on top of that */
#define PBA_GFP_ALLOC		GFP_KERNEL
#define PBA_GFP_OPT_MASK	(__GFP_ZERO | __GFP_ACCOUNT | __GFP_PGTABLE_SPLIT)

/* Two tables for the split that a refill causes, two for a split by anybody else */
#define PBA_NR_RESERVED_PAGES	4

#define BLOCK_ORDER		PMD_ORDER
#define BLOCK_NR_PAGES		(1UL << BLOCK_ORDER)

/* The shrinker leaves this many pages, and leaves blocks alone that have fewer free pages */
#define PBA_UNSHRINKABLE_PAGES		16
#define PBA_SHRINK_BLOCK_MIN_PAGES	(BLOCK_NR_PAGES / 8)

#if PAGE_SHIFT == 12
#define PBA_ORDER_MAX		BLOCK_ORDER
#define PBA_ORDER_CONTPTE	4
#elif PAGE_SHIFT == 14
#define PBA_ORDER_MAX		BLOCK_ORDER
#define PBA_ORDER_CONTPTE	7
#else
/* A block is 512 MB here, far too much for page tables */
#define PBA_ORDER_MAX		9
#define PBA_ORDER_CONTPTE	5
#endif
/* More than the two pages that the split for the refill itself may use up */
#define PBA_ORDER_MIN		2

static const unsigned int refill_orders[] = { PBA_ORDER_MAX, PBA_ORDER_CONTPTE, PBA_ORDER_MIN };

static struct {
	/* Held over a whole refill; its owner may split with less than a full reserve */
	struct mutex alloc_mutex;
	/* Protects everything below, and the marks of pages in the cache */
	spinlock_t lock;
	struct list_head cached_list;
	unsigned long nr_cached;
} pba = {
	.alloc_mutex = __MUTEX_INITIALIZER(pba.alloc_mutex),
	.lock = __SPIN_LOCK_UNLOCKED(pba.lock),
	.cached_list = LIST_HEAD_INIT(pba.cached_list),
};

/* What was fetched before a key could be set; only looked at until late init */
static struct {
	struct page *head;
	unsigned int order;
} pba_early_region __initdata;

static int set_pages_pkey(struct page *page, unsigned int nr_pages, int pkey)
{
	return set_memory_pkey((unsigned long)page_address(page), nr_pages, pkey);
}

/*
 * noblock: nothing is ever split, so a page can get its key when it is needed.
 */

static struct page *noblock_pgtable_alloc(gfp_t gfp)
{
	struct page *page = alloc_pages_noprof(gfp, 0);

	if (!page)
		return NULL;

	if (set_pages_pkey(page, 1, KPKEYS_PKEY_PGTABLES)) {
		__free_page(page);
		return NULL;
	}

	return page;
}

static void noblock_pgtable_free(struct page *page)
{
	set_pages_pkey(page, 1, KPKEYS_PKEY_DEFAULT);
	__free_page(page);
}

/*
 * Marks. page->private belongs to whoever uses the table (it overlaps the PTL), so they are kept
 * in page->mapping: bit 0 says that the page is part of a block, and on the first page of a block
 * the bits above it count the pages of the block that are in the cache. The buddy allocator wants
 * to see NULL here, which is just what a page without a mark has.
 */
#define PBA_MARK_IN_BLOCK	1UL
#define PBA_MARK_NR_SHIFT	1

static bool page_in_block(const struct page *page)
{
	return (unsigned long)page->mapping & PBA_MARK_IN_BLOCK;
}

static struct page *page_block(const struct page *page)
{
	return pfn_to_page(ALIGN_DOWN(page_to_pfn(page), BLOCK_NR_PAGES));
}

static unsigned long block_nr_free(const struct page *block)
{
	return (unsigned long)block->mapping >> PBA_MARK_NR_SHIFT;
}

static void block_set_nr_free(struct page *block, unsigned long nr)
{
	block->mapping = (void *)(nr << PBA_MARK_NR_SHIFT | PBA_MARK_IN_BLOCK);
}

static void block_mark(struct page *block, unsigned long nr_free)
{
	unsigned long i;

	for (i = 1; i < BLOCK_NR_PAGES; i++)
		block[i].mapping = (void *)PBA_MARK_IN_BLOCK;
	block_set_nr_free(block, nr_free);
}

static void block_unmark(struct page *block)
{
	unsigned long i;

	for (i = 0; i < BLOCK_NR_PAGES; i++)
		block[i].mapping = NULL;
}

/* The cache. It is a stack: what was freed last is the most likely to be in a CPU cache */

static struct page *cache_pop(gfp_t gfp)
{
	struct page *page, *block;

	guard(spinlock_bh)(&pba.lock);

	if (gfp & __GFP_PGTABLE_SPLIT) {
		if (WARN_ON_ONCE(list_empty(&pba.cached_list)))
			return NULL;
	} else if (pba.nr_cached <= PBA_NR_RESERVED_PAGES) {
		return NULL;
	}

	page = list_first_entry(&pba.cached_list, struct page, lru);
	list_del(&page->lru);
	WRITE_ONCE(pba.nr_cached, pba.nr_cached - 1);

	if (page_in_block(page)) {
		block = page_block(page);
		VM_WARN_ON(!block_nr_free(block));
		block_set_nr_free(block, block_nr_free(block) - 1);
	}

	return page;
}

static void cache_push(struct page *page)
{
	struct page *block;

	guard(spinlock_bh)(&pba.lock);

	list_add(&page->lru, &pba.cached_list);
	WRITE_ONCE(pba.nr_cached, pba.nr_cached + 1);

	if (page_in_block(page)) {
		block = page_block(page);
		block_set_nr_free(block, block_nr_free(block) + 1);
	}
}

/*
 * Refill. __ref: the early region is gone after boot, but so is the reason to register one.
 */

static void __ref early_region_register(struct page *head, unsigned int order)
{
	/*
	 * One is all that we expect to need. The pages of a second one are as good as any, but
	 * nobody will ever set their key.
	 */
	if (WARN_ON_ONCE(pba_early_region.head))
		return;

	pba_early_region.head = head;
	pba_early_region.order = order;
}

static struct page *region_fetch(unsigned int *order)
{
	struct page *region;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(refill_orders); i++) {
		region = alloc_pages(PBA_GFP_ALLOC, refill_orders[i]);
		if (region) {
			*order = refill_orders[i];
			return region;
		}
	}

	return NULL;
}

/*
 * Fetch a region from the buddy allocator and put its pages into the cache, all of them or, if
 * the caller wants one at once (@take), all but the first.
 */
static int pba_refill(struct page **take)
{
	unsigned long i, first = take ? 1 : 0, nr_pages;
	struct page *region;
	unsigned int order;
	phys_addr_t phys;

	/* Reclaim may run here: not under the mutex, which the shrinker's own splits may want */
	region = region_fetch(&order);
	if (!region)
		return -ENOMEM;

	nr_pages = 1UL << order;
	phys = page_to_phys(region);
	pr_debug("refill: order %u at %pa\n", order, &phys);

	guard(mutex)(&pba.alloc_mutex);

	/* Somebody else may have refilled while we fetched the region or waited for the mutex */
	if (take)
		*take = cache_pop(PBA_GFP_ALLOC);
	if (take ? *take != NULL : READ_ONCE(pba.nr_cached) > PBA_NR_RESERVED_PAGES) {
		__free_pages(region, order);
		return 0;
	}

	if (!static_branch_likely(&pba_can_set_pkey)) {
		early_region_register(region, order);
	} else if (set_pages_pkey(region, nr_pages, KPKEYS_PKEY_PGTABLES)) {
		__free_pages(region, order);
		return -ENOMEM;
	}

	/* From here on each page lives on its own */
	split_page(region, order);

	if (order == BLOCK_ORDER)
		block_mark(region, nr_pages - first);

	scoped_guard(spinlock_bh, &pba.lock) {
		for (i = first; i < nr_pages; i++)
			list_add(&region[i].lru, &pba.cached_list);
		WRITE_ONCE(pba.nr_cached, pba.nr_cached + nr_pages - first);
	}

	if (take)
		*take = region;

	return 0;
}

/* PBA: allocate and free */

static int pba_prepare_page(struct page *page, gfp_t gfp)
{
	u64 pkey_reg;

	if ((gfp & __GFP_ACCOUNT) && memcg_kmem_charge_page(page, gfp, 0))
		return -ENOMEM;

	/* The last user may have left its lock here */
	set_page_private(page, 0);

	if (gfp & __GFP_ZERO) {
		/* The page has the key already, an ordinary store would fault */
		pkey_reg = kpkeys_set_level(KPKEYS_LVL_PGTABLES);
		clear_highpage(page);
		kpkeys_restore_pkey_reg(pkey_reg);
	}

	return 0;
}

static struct page *pba_pgtable_alloc(gfp_t gfp)
{
	struct page *page;

	VM_WARN_ONCE((gfp & ~PBA_GFP_OPT_MASK) != PBA_GFP_ALLOC,
		     "page table with unexpected flags %pGg\n", &gfp);

	page = cache_pop(gfp);
	if (!page)
		pba_refill(&page);
	if (WARN_ON_ONCE(!page))
		return NULL;

	if (pba_prepare_page(page, gfp)) {
		kpkeys_pgtable_free(page);
		return NULL;
	}

	return page;
}

static void pba_pgtable_free(struct page *page)
{
	memcg_kmem_uncharge_page(page, 0);
	cache_push(page);
}

/* PBA: splits of the linear map */

static bool pba_ready(void)
{
	if (READ_ONCE(pba.nr_cached) >= PBA_NR_RESERVED_PAGES)
		return true;

	/* This split is for our own refill, which is what the reserve is for: use what is left */
	return (struct task_struct *)mutex_get_owner(&pba.alloc_mutex) == current;
}

static int pba_prepare(void)
{
	return pba_ready() ? 0 : pba_refill(NULL);
}

/* PBA: shrinker */

static unsigned long pba_nr_shrinkable(void)
{
	unsigned long nr = READ_ONCE(pba.nr_cached);

	return nr > PBA_UNSHRINKABLE_PAGES ? nr - PBA_UNSHRINKABLE_PAGES : 0;
}

static unsigned long pba_shrink_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	return pba_nr_shrinkable() ?: SHRINK_EMPTY;
}

/*
 * The pages to free: at most @nr_pages of @block, or pages that are in no block if that is NULL.
 */
struct shrink_target {
	struct page *block;
	unsigned long nr_pages;
	bool whole;
};

static bool pba_pick_target(struct shrink_target *target, unsigned long nr_to_scan)
{
	unsigned long nr_free, nr_best = 0, nr_nonblock = 0;
	struct page *page, *best = NULL;

	list_for_each_entry(page, &pba.cached_list, lru) {
		if (!page_in_block(page)) {
			nr_nonblock++;
			continue;
		}

		nr_free = block_nr_free(page_block(page));
		if (nr_free > nr_best) {
			nr_best = nr_free;
			best = page_block(page);
		}
		if (nr_best == BLOCK_NR_PAGES)
			break;
	}

	target->block = NULL;
	target->whole = false;

	if (nr_best == BLOCK_NR_PAGES) {
		/* Freeing it costs no split: all of it or, if that is too much, nothing */
		if (pba_nr_shrinkable() < BLOCK_NR_PAGES)
			return false;
		target->block = best;
		target->whole = true;
		target->nr_pages = BLOCK_NR_PAGES;
	} else if (nr_nonblock < nr_best && nr_nonblock < nr_to_scan &&
		   nr_best >= PBA_SHRINK_BLOCK_MIN_PAGES) {
		/* Worth the split of one more block */
		target->block = best;
		target->nr_pages = min(nr_to_scan, nr_best);
	} else {
		target->nr_pages = min(nr_to_scan, nr_nonblock);
	}

	return true;
}

static void pba_isolate(const struct shrink_target *target, struct list_head *isolated)
{
	unsigned long nr = 0, nr_max = min(target->nr_pages, pba_nr_shrinkable());
	struct page *page, *next;

	list_for_each_entry_safe(page, next, &pba.cached_list, lru) {
		if (nr >= nr_max)
			break;
		if ((page_in_block(page) ? page_block(page) : NULL) != target->block)
			continue;
		list_move(&page->lru, isolated);
		nr++;
	}

	WRITE_ONCE(pba.nr_cached, pba.nr_cached - nr);

	/* What remains of it, here or in use, is no block any more */
	if (target->block)
		block_unmark(target->block);
}

static unsigned long pba_release_block(struct page *block, struct list_head *isolated)
{
	unsigned long nr_freed = 0;
	struct page *page, *next;
	bool failed;

	failed = set_pages_pkey(block, BLOCK_NR_PAGES, KPKEYS_PKEY_DEFAULT);

	list_for_each_entry_safe(page, next, isolated, lru) {
		list_del(&page->lru);
		if (failed) {
			cache_push(page);
		} else {
			__free_page(page);
			nr_freed++;
		}
	}

	return nr_freed;
}

static unsigned long pba_release_pages(struct list_head *isolated)
{
	unsigned long nr_freed = 0;
	struct page *page, *next;

	list_for_each_entry_safe(page, next, isolated, lru) {
		list_del(&page->lru);
		/* The first one of a block splits it, which may fail */
		if (set_pages_pkey(page, 1, KPKEYS_PKEY_DEFAULT)) {
			cache_push(page);
			break;
		}
		__free_page(page);
		nr_freed++;
	}

	return nr_freed;
}

static unsigned long pba_shrink_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct shrink_target target;
	unsigned long nr_freed;
	LIST_HEAD(isolated);

	scoped_guard(spinlock_bh, &pba.lock) {
		if (!pba_pick_target(&target, sc->nr_to_scan))
			return SHRINK_STOP;
		pba_isolate(&target, &isolated);
	}

	/* Setting keys may split, and so take pages from the cache: not under the lock */
	if (target.whole)
		nr_freed = pba_release_block(target.block, &isolated);
	else
		nr_freed = pba_release_pages(&isolated);

	return nr_freed ?: SHRINK_STOP;
}

static int __init pba_shrinker_init(void)
{
	struct shrinker *shrinker;

	if (!static_branch_likely(&pba_enabled_key))
		return 0;

	shrinker = shrinker_alloc(0, "kpkeys-pgtable-cache");
	if (!shrinker) {
		pr_warn("kpkeys: no shrinker for the page table cache\n");
		return -ENOMEM;
	}

	shrinker->count_objects = pba_shrink_count;
	shrinker->scan_objects = pba_shrink_scan;
	/* An idle page table page is cheap to get again: half of them, whatever the priority */
	shrinker->seeks = 0;
	shrinker->batch = BLOCK_NR_PAGES;
	shrinker_register(shrinker);

	return 0;
}
late_initcall(pba_shrinker_init);

/* PBA: boot */

static void __init pba_init(void)
{
	BUILD_BUG_ON(PBA_ORDER_MAX > MAX_PAGE_ORDER);
	BUILD_BUG_ON(PBA_ORDER_MAX <= PBA_ORDER_CONTPTE || PBA_ORDER_CONTPTE <= PBA_ORDER_MIN);
	BUILD_BUG_ON(PBA_ORDER_MIN != 2);

	if (arch_has_pte_only_direct_map())
		return;

	static_branch_enable(&pba_enabled_key);

	/* The reserve has to be there before the first split */
	if (pba_refill(NULL))
		pr_warn("kpkeys: no memory for the page table reserve\n");
}

static void __init pba_init_late(void)
{
	static_branch_enable(&pba_can_set_pkey);

	/* Nothing to fall back to if this fails: the tables work all the same */
	if (pba_early_region.head)
		set_pages_pkey(pba_early_region.head, 1U << pba_early_region.order,
			       KPKEYS_PKEY_PGTABLES);
}

/*
 * PPA: the tables of the linear map itself are needed before there is a struct page. They come
 * from memblock in chunks of the size of a refill, so that giving them their key later splits as
 * little as possible. Pages are taken from the top of a chunk: what is left stays aligned.
 */
#define PPA_CHUNK_SIZE	((phys_addr_t)PAGE_SIZE << PBA_ORDER_MAX)

static struct {
	struct {
		phys_addr_t start;
		phys_addr_t end;
	} ranges[INIT_MEMBLOCK_MEMORY_REGIONS];
	unsigned int nr_ranges;
	/* The chunk in use and how much of it, from its start, is still free; 0 and 0 for none */
	phys_addr_t chunk;
	phys_addr_t chunk_free;
} ppa __initdata;

static void __init ppa_record(phys_addr_t start, phys_addr_t end)
{
	unsigned int last = ppa.nr_ranges - 1;

	/* memblock goes downward, as a rule, so that chunks meet */
	if (ppa.nr_ranges && ppa.ranges[last].start == end) {
		ppa.ranges[last].start = start;
		return;
	}
	if (ppa.nr_ranges && ppa.ranges[last].end == start) {
		ppa.ranges[last].end = end;
		return;
	}

	/* Without a record the tables in there just stay unprotected */
	if (WARN_ON_ONCE(ppa.nr_ranges == ARRAY_SIZE(ppa.ranges)))
		return;

	ppa.ranges[ppa.nr_ranges].start = start;
	ppa.ranges[ppa.nr_ranges].end = end;
	ppa.nr_ranges++;
}

phys_addr_t __init kpkeys_physmem_pgtable_alloc(void)
{
	phys_addr_t chunk;

	if (!ppa.chunk_free) {
		chunk = memblock_phys_alloc_range(PPA_CHUNK_SIZE, PPA_CHUNK_SIZE, 0,
						  MEMBLOCK_ALLOC_NOLEAKTRACE);
		/* Better an unprotected table than none */
		if (!chunk)
			return memblock_phys_alloc_range(PAGE_SIZE, PAGE_SIZE, 0,
							 MEMBLOCK_ALLOC_NOLEAKTRACE);

		VM_WARN_ON(!IS_ALIGNED(chunk, PPA_CHUNK_SIZE));
		if (ppa.chunk)
			ppa_record(ppa.chunk, ppa.chunk + PPA_CHUNK_SIZE);
		ppa.chunk = chunk;
		ppa.chunk_free = PPA_CHUNK_SIZE;
	}

	ppa.chunk_free -= PAGE_SIZE;

	return ppa.chunk + ppa.chunk_free;
}

static void __init ppa_protect(phys_addr_t start, phys_addr_t end)
{
	if (set_memory_pkey((unsigned long)__va(start), (end - start) >> PAGE_SHIFT,
			    KPKEYS_PKEY_PGTABLES))
		pr_warn("kpkeys: page tables from %pa to %pa stay unprotected\n", &start, &end);
}

static void __init ppa_finalize(void)
{
	unsigned int i;

	if (ppa.chunk)
		ppa_protect(ppa.chunk + ppa.chunk_free, ppa.chunk + PPA_CHUNK_SIZE);

	for (i = 0; i < ppa.nr_ranges; i++)
		ppa_protect(ppa.ranges[i].start, ppa.ranges[i].end);

	if (ppa.chunk_free)
		memblock_free_late(ppa.chunk, ppa.chunk_free);

	ppa.nr_ranges = 0;
	ppa.chunk = 0;
	ppa.chunk_free = 0;
}

/* Interface */

struct page *kpkeys_pgtable_alloc(gfp_t gfp)
{
	if (static_branch_likely(&pba_enabled_key))
		return pba_pgtable_alloc(gfp);

	return noblock_pgtable_alloc(gfp);
}
EXPORT_SYMBOL_IF_KUNIT(kpkeys_pgtable_alloc);

void kpkeys_pgtable_free(struct page *page)
{
	if (static_branch_likely(&pba_enabled_key))
		pba_pgtable_free(page);
	else
		noblock_pgtable_free(page);
}
EXPORT_SYMBOL_IF_KUNIT(kpkeys_pgtable_free);

/* Before the linear map's lock is taken: allocating under it would not do */
int kpkeys_prepare_direct_map_split(void)
{
	if (!static_branch_likely(&pba_enabled_key))
		return 0;

	return pba_prepare();
}

/* Under that lock: somebody may have used the reserve since */
bool kpkeys_ready_for_direct_map_split(void)
{
	if (!static_branch_likely(&pba_enabled_key))
		return true;

	return pba_ready();
}

void __init kpkeys_hardened_pgtables_init(void)
{
	if (!arch_kpkeys_enabled())
		return;

	pba_init();
	static_branch_enable(&kpkeys_hardened_pgtables_key);
}

void __init kpkeys_hardened_pgtables_init_late(void)
{
	if (!arch_kpkeys_enabled())
		return;

	if (static_branch_likely(&pba_enabled_key))
		pba_init_late();

	ppa_finalize();
	arch_kpkeys_protect_static_pgtables();
}
