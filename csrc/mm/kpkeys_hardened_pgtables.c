// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mirrors mm/kpkeys_hardened_pgtables.c of the series "pkeys-based page table
 * hardening", v6 (27 February 2026), patches 14 to 17 of 30.
 */

/**
 * DOC: theory of operation
 *
 * Every page table page (PTP) carries a pkey of its own. Where the linear map
 * consists of PTEs, setting it is a matter of one descriptor, and PTPs come
 * from the buddy allocator one by one (noblock).
 *
 * Where the linear map has blocks, setting the pkey of one page splits them,
 * and that takes PTPs again. The pkeys block allocator (PBA) therefore keeps a
 * list of pages that carry the pkey already. It is refilled with a whole block
 * where the buddy has one, so that nothing (or just the larger leaf around it)
 * must be split. The last PBA_NR_RESERVED_PAGES of the list are kept for the
 * splits: two for the split that a refill itself causes and two for a split
 * that somebody else does. A refill that yields no more than the two pages its
 * own split may consume would never end, hence a last refill order of 2.
 *
 * pgtable_split_lock is taken with the reserve full: the caller asks for that
 * before it takes the lock (prepare) and looks again under it (ready). The
 * owner of alloc_mutex may always go on: it is inside a refill, whose pages
 * are not in the list yet.
 *
 * Until late initialisation the linear map must not be split. The region of
 * the first refill is remembered and gets its pkey then.
 *
 * Tables of the linear map itself are made before there is a buddy allocator,
 * from memblock (PPA), and get their pkey at late initialisation too.
 *
 * kpb: all mutable file-static state of the kernel's file is in one struct, of
 * which every machine has its own: on the heap, or, with KPB_DOOR, as the
 * statics of a shared object that is loaded once for each machine.
 */

#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/init.h>
#include <linux/jump_label.h>
#include <linux/kpkeys.h>
#include <linux/list.h>
#include <linux/memblock.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/set_memory.h>
#include <linux/shrinker.h>
#include <linux/spinlock.h>

/* What a refill asks the buddy for, whatever the order. */
#define PBA_GFP_ALLOC GFP_KERNEL
/* What a caller may ask for beyond GFP_KERNEL. */
#define PBA_GFP_OPT_MASK (__GFP_ZERO | __GFP_ACCOUNT | __GFP_PGTABLE_SPLIT)
#define PBA_NR_RESERVED_PAGES 4
#define PBA_UNSHRINKABLE_PAGES 16

#define BLOCK_ORDER PMD_ORDER
#define BLOCK_NR_PAGES (1UL << BLOCK_ORDER)
#define PBA_SHRINK_BLOCK_MIN_PAGES (BLOCK_NR_PAGES / 8)

/* kpb: a variant (allocators/variant_begin.h) has these from v6.c */
#ifndef KPB_VARIANT
/*
 * A whole block (64K: less, a block is 512 MB), the contpte size, and the
 * smallest order that is more than the split of its own refill takes.
 */
static const u8 default_refill_orders[] __maybe_unused = {
#if PAGE_SHIFT == 12
	9,
	4,
	2,
#elif PAGE_SHIFT == 14
	11,
	7,
	2,
#else
	9,
	5,
	2,
#endif
};

/* Laid over page->mapping: page->private overlaps the page table lock. */
struct pba_page_data {
	bool in_block;
	/* on the first page of a block only: how many of its pages are cached */
	u32 block_nr_free;
};
_Static_assert(sizeof(struct pba_page_data) <= sizeof(void *),
	       "must fit into page->mapping");

struct pba_early_region {
	struct page *head;
	unsigned int order;
};

struct pkeys_block_allocator {
	struct list_head cached_list;
	unsigned long nr_cached;
	spinlock_t lock;
	struct mutex alloc_mutex;
	struct pba_early_region early_region;
};

struct ppa_range {
	phys_addr_t start;
	phys_addr_t end;
};

struct pkeys_physmem_allocator {
	struct ppa_range chunk;
	phys_addr_t next; /* pages of the chunk at and above it are used */
	struct ppa_range ranges[INIT_MEMBLOCK_MEMORY_REGIONS];
	unsigned int nr_ranges;
};

/* kpb: the file-static variables of the kernel's file */
struct kpkeys_hardened_pgtables {
	struct pkeys_block_allocator pba;
	struct pkeys_physmem_allocator ppa;
#ifndef KPB_DOOR
	struct static_key_false hardened_pgtables_key;
#endif
	struct static_key_false pba_enabled_key;
	struct static_key_false pba_can_set_pkey;
};

#ifdef KPB_DOOR
DEFINE_STATIC_KEY_FALSE_RO(kpkeys_hardened_pgtables_key);

static struct kpkeys_hardened_pgtables kpb_statics = {
	.pba = {
		.cached_list = LIST_HEAD_INIT(kpb_statics.pba.cached_list),
		.lock = __SPIN_LOCK_UNLOCKED(pba.lock),
		.alloc_mutex = __MUTEX_INITIALIZER(pba.alloc_mutex),
	},
};

static inline struct kpkeys_hardened_pgtables *kpb_state(void)
{
	return &kpb_statics;
}

static inline struct static_key_false *kpb_hardened_pgtables_key(void)
{
	return &kpkeys_hardened_pgtables_key;
}

static inline void kpb_init_statics(void)
{
}
#else
static inline struct kpkeys_hardened_pgtables *kpb_state(void)
{
	return kpb_this->hardened_pgtables;
}

static inline struct static_key_false *kpb_hardened_pgtables_key(void)
{
	return &kpb_state()->hardened_pgtables_key;
}

/* kpb: what the kernel initialises statically */
static inline void kpb_init_statics(void)
{
	struct pkeys_block_allocator *pba = &kpb_state()->pba;

	INIT_LIST_HEAD(&pba->cached_list);
	pba->lock = (spinlock_t)__SPIN_LOCK_UNLOCKED(pba.lock);
	pba->alloc_mutex = (struct mutex)__MUTEX_INITIALIZER(pba.alloc_mutex);
}
#endif

static inline struct pkeys_block_allocator *get_pba(void)
{
	return &kpb_state()->pba;
}

/* kpb: the kernel's table is constant; here it is what the user asked for */
static inline const u8 *get_refill_orders(void)
{
	return kpb_this->config.refill_orders;
}

static inline unsigned int nr_refill_orders(void)
{
	return kpb_this->config.nr_refill_orders;
}

static inline bool pba_enabled(void)
{
	return static_branch_likely(&kpb_state()->pba_enabled_key);
}

static inline bool pba_can_set_pkey(void)
{
	return static_branch_likely(&kpb_state()->pba_can_set_pkey);
}

/* noblock: one page at a time */

static struct page *noblock_pgtable_alloc(gfp_t gfp)
{
	struct page *page;
	int ret;

	page = alloc_page(gfp);
	if (!page)
		return NULL;

	ret = set_memory_pkey((unsigned long)page_address(page), 1,
			      KPKEYS_PKEY_PGTABLES);
	if (ret) {
		__free_page(page);
		return NULL;
	}
	return page;
}

static void noblock_pgtable_free(struct page *page)
{
	set_memory_pkey((unsigned long)page_address(page), 1,
			KPKEYS_PKEY_DEFAULT);
	__free_page(page);
}

/* PBA: pages, blocks and the list */

static inline struct pba_page_data *pba_page_data(struct page *page)
{
	return (struct pba_page_data *)&page->mapping;
}

static inline struct page *block_head_page(struct page *page)
{
	return pfn_to_page(ALIGN_DOWN(page_to_pfn(page), BLOCK_NR_PAGES));
}

static void mark_block(struct page *head, u32 nr_free)
{
	unsigned long i;

	for (i = 0; i < BLOCK_NR_PAGES; i++)
		pba_page_data(head + i)->in_block = true;
	pba_page_data(head)->block_nr_free = nr_free;
}

static void unmark_block(struct page *head)
{
	unsigned long i;

	for (i = 0; i < BLOCK_NR_PAGES; i++)
		pba_page_data(head + i)->in_block = false;
	pba_page_data(head)->block_nr_free = 0;
}

static inline void cached_list_add(struct pkeys_block_allocator *pba,
				   struct page *page)
{
	list_add(&page->lru, &pba->cached_list);
	pba->nr_cached++;
}

static inline void cached_list_del(struct pkeys_block_allocator *pba,
				   struct page *page)
{
	list_del(&page->lru);
	pba->nr_cached--;
}

#endif /* kpb: KPB_VARIANT */

#ifndef KPB_OWN_DEFERRAL /* kpb: a variant may remember regions in its way */
static void pba_register_early_region(struct page *head, unsigned int order)
{
	struct pba_early_region *early = &get_pba()->early_region;

	/* only one: a second one works, but is never protected */
	if (WARN_ON(early->head))
		return;
	early->head = head;
	early->order = order;
}
#endif

#ifndef KPB_OWN_REFILL /* kpb: or choose its orders */
static struct page *refill_alloc_region(unsigned int *order)
{
	unsigned int i;

	for (i = 0; i < nr_refill_orders(); i++) {
		struct page *page;

		*order = get_refill_orders()[i];
		page = alloc_pages(PBA_GFP_ALLOC, *order);
		if (page)
			return page;
	}
	return NULL;
}
#endif

/**
 * pba_refill() - fetch a region from the buddy and give it the pkey
 * @take_page: keep the first page for the caller instead of caching it
 *
 * Nobody looks again, once alloc_mutex is taken, whether a refill is still
 * needed.
 *
 * Return: the first page of the region, or NULL.
 * Context: may sleep; takes alloc_mutex.
 */
static noinline struct page *pba_refill(bool take_page)
{
	struct pkeys_block_allocator *pba = get_pba();
	struct page *region, *page;
	unsigned int order;
	unsigned long nr_pages, i;

	region = refill_alloc_region(&order);
	if (!region)
		return NULL;
	nr_pages = 1UL << order;

	mutex_lock(&pba->alloc_mutex);

	if (pba_can_set_pkey()) {
		int ret;

		ret = set_memory_pkey((unsigned long)page_address(region),
				      (int)nr_pages, KPKEYS_PKEY_PGTABLES);
		if (ret) {
			__free_pages(region, order);
			mutex_unlock(&pba->alloc_mutex);
			return NULL;
		}
	} else {
		pba_register_early_region(region, order);
	}

	split_page(region, order);

	if (order == BLOCK_ORDER)
		mark_block(region, (u32)(take_page ? nr_pages - 1 : nr_pages));

	spin_lock_bh(&pba->lock);
	for (i = take_page ? 1 : 0; i < nr_pages; i++) {
		page = region + i;
		cached_list_add(pba, page);
	}
	spin_unlock_bh(&pba->lock);

	mutex_unlock(&pba->alloc_mutex);
	return region;
}

static inline struct page *pba_take_cached_page(gfp_t gfp)
{
	struct pkeys_block_allocator *pba = get_pba();
	struct page *page = NULL;

	spin_lock_bh(&pba->lock);

	if (gfp & __GFP_PGTABLE_SPLIT) {
		if (WARN_ON(list_empty(&pba->cached_list)))
			goto out_unlock;
	} else if (pba->nr_cached <= PBA_NR_RESERVED_PAGES) {
		goto out_unlock;
	}

	page = list_first_entry(&pba->cached_list, struct page, lru);
	cached_list_del(pba, page);
	if (pba_page_data(page)->in_block)
		pba_page_data(block_head_page(page))->block_nr_free--;

out_unlock:
	spin_unlock_bh(&pba->lock);
	return page;
}

static inline int pba_prepare_page(struct page *page, gfp_t gfp)
{
	if (gfp & __GFP_ACCOUNT) {
		int ret = memcg_kmem_charge_page(page, gfp, 0);

		if (ret)
			return ret;
	}

	set_page_private(page, 0);

	if (gfp & __GFP_ZERO) {
		u64 pkey_reg = kpkeys_set_level(KPKEYS_LVL_PGTABLES);

		clear_highpage(page);
		kpkeys_restore_pkey_reg(pkey_reg);
	}
	return 0;
}

static inline struct page *pba_pgtable_alloc(gfp_t gfp)
{
	struct page *page;

	WARN_ON_ONCE((gfp & GFP_KERNEL) != GFP_KERNEL ||
		     (gfp & ~(GFP_KERNEL | PBA_GFP_OPT_MASK)));

	page = pba_take_cached_page(gfp);
	if (unlikely(!page)) {
		page = pba_refill(true);
		if (WARN_ON(!page))
			return NULL;
	}

	if (unlikely(pba_prepare_page(page, gfp))) {
		kpkeys_pgtable_free(page);
		return NULL;
	}
	return page;
}

static inline void pba_pgtable_free(struct page *page)
{
	struct pkeys_block_allocator *pba = get_pba();

	memcg_kmem_uncharge_page(page, 0);

	spin_lock_bh(&pba->lock);
	cached_list_add(pba, page);
	if (pba_page_data(page)->in_block)
		pba_page_data(block_head_page(page))->block_nr_free++;
	spin_unlock_bh(&pba->lock);
}

/* PBA: splits of the linear map by others */

static int pba_prepare_direct_map_split(void)
{
	if (kpkeys_ready_for_direct_map_split())
		return 0;
	return pba_refill(false) ? 0 : -ENOMEM;
}

static bool pba_ready_for_direct_map_split(void)
{
	struct pkeys_block_allocator *pba = get_pba();

	/* inside a refill the reserve is there to be used */
	return READ_ONCE(pba->nr_cached) >= PBA_NR_RESERVED_PAGES ||
	       mutex_get_owner(&pba->alloc_mutex) == current;
}

/* PBA: giving memory back */

static unsigned long pba_nr_shrinkable(struct pkeys_block_allocator *pba)
{
	unsigned long nr_cached = READ_ONCE(pba->nr_cached);

	return nr_cached > PBA_UNSHRINKABLE_PAGES ?
		       nr_cached - PBA_UNSHRINKABLE_PAGES :
		       0;
}

static unsigned long pba_shrink_count(struct shrinker *shrinker,
				      struct shrink_control *sc)
{
	unsigned long nr_shrinkable = pba_nr_shrinkable(get_pba());

	(void)shrinker;
	(void)sc;
	return nr_shrinkable ?: SHRINK_EMPTY;
}

/* The block with the most cached pages, and the pages that are in none. */
static struct page *pba_find_target_block(struct pkeys_block_allocator *pba,
					  unsigned long *nr_nonblock)
{
	struct page *page, *target = NULL;
	u32 target_nr_free = 0;

	*nr_nonblock = 0;
	list_for_each_entry(page, &pba->cached_list, lru) {
		struct page *head;
		u32 nr_free;

		if (!pba_page_data(page)->in_block) {
			(*nr_nonblock)++;
			continue;
		}
		head = block_head_page(page);
		nr_free = pba_page_data(head)->block_nr_free;
		if (nr_free > target_nr_free) {
			target = head;
			target_nr_free = nr_free;
		}
		if (target_nr_free == BLOCK_NR_PAGES)
			break;
	}
	return target;
}

/* One pkey change for the whole block: it is one leaf and stays one. */
static unsigned long pba_release_block(struct page *head,
				       struct list_head *pages)
{
	struct page *page, *next;
	unsigned long nr_freed = 0;
	int ret;

	ret = set_memory_pkey((unsigned long)page_address(head),
			      (int)BLOCK_NR_PAGES, KPKEYS_PKEY_DEFAULT);
	if (ret) {
		list_for_each_entry_safe(page, next, pages, lru)
			pba_pgtable_free(page);
		return 0;
	}
	list_for_each_entry_safe(page, next, pages, lru) {
		__free_page(page);
		nr_freed++;
	}
	return nr_freed;
}

static unsigned long pba_release_pages(struct list_head *pages)
{
	struct page *page, *next;
	unsigned long nr_freed = 0;

	list_for_each_entry_safe(page, next, pages, lru) {
		int ret;

		ret = set_memory_pkey((unsigned long)page_address(page), 1,
				      KPKEYS_PKEY_DEFAULT);
		if (ret) {
			/* the rest of the list is lost */
			pba_pgtable_free(page);
			break;
		}
		__free_page(page);
		nr_freed++;
	}
	return nr_freed;
}

static unsigned long pba_shrink_scan(struct shrinker *shrinker,
				     struct shrink_control *sc)
{
	struct pkeys_block_allocator *pba = get_pba();
	unsigned long nr_nonblock, nr_target, nr_shrinkable, nr_freed;
	unsigned long nr_moved = 0;
	struct page *page, *next, *target;
	u32 target_nr_free;
	bool whole_block;
	LIST_HEAD(pages);

	(void)shrinker;
	spin_lock_bh(&pba->lock);

	nr_shrinkable = pba_nr_shrinkable(pba);
	target = pba_find_target_block(pba, &nr_nonblock);
	target_nr_free = target ? pba_page_data(target)->block_nr_free : 0;
	whole_block = target_nr_free == BLOCK_NR_PAGES;

	if (whole_block) {
		if (nr_shrinkable < BLOCK_NR_PAGES) {
			spin_unlock_bh(&pba->lock);
			return SHRINK_STOP;
		}
		nr_target = BLOCK_NR_PAGES;
	} else if (nr_nonblock < target_nr_free &&
		   nr_nonblock < sc->nr_to_scan &&
		   target_nr_free >= PBA_SHRINK_BLOCK_MIN_PAGES) {
		nr_target =
			min_t(unsigned long, sc->nr_to_scan, target_nr_free);
	} else {
		target = NULL;
		nr_target = min(sc->nr_to_scan, nr_nonblock);
	}

	list_for_each_entry_safe(page, next, &pba->cached_list, lru) {
		bool in_block = pba_page_data(page)->in_block;

		if (nr_moved >= nr_target || nr_moved >= nr_shrinkable)
			break;
		if (target ? !in_block || block_head_page(page) != target :
			     in_block)
			continue;
		list_move(&page->lru, &pages);
		pba->nr_cached--;
		nr_moved++;
	}

	/* what is left of a block, in use or cached, is just pages now */
	if (target)
		unmark_block(target);

	spin_unlock_bh(&pba->lock);

	nr_freed = whole_block ? pba_release_block(target, &pages) :
				 pba_release_pages(&pages);
	return nr_freed ?: SHRINK_STOP;
}

static int pba_shrinker_init(void)
{
	struct shrinker *shrinker;

	if (!pba_enabled())
		return 0;

	shrinker = shrinker_alloc(0, "kpkeys-pgtables-block");
	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = pba_shrink_count;
	shrinker->scan_objects = pba_shrink_scan;
	shrinker->seeks = 0;
	shrinker->batch = BLOCK_NR_PAGES;
	shrinker_register(shrinker);
	return 0;
}
late_initcall(pba_shrinker_init);

/* PBA: boot */

static void pba_init(void)
{
	kpb_init_statics();
	if (arch_has_pte_only_direct_map())
		return;

	static_branch_enable(&kpb_state()->pba_enabled_key);
	/* so that the reserve exists; its pkey is deferred */
	pba_refill(false);
}

#ifndef KPB_OWN_DEFERRAL /* kpb: see pba_register_early_region() */
static void pba_init_late(void)
{
	struct pba_early_region *early = &get_pba()->early_region;

	static_branch_enable(&kpb_state()->pba_can_set_pkey);
	if (early->head)
		set_memory_pkey((unsigned long)page_address(early->head),
				1 << early->order, KPKEYS_PKEY_PGTABLES);
}
#endif

/* PPA: page tables from memblock */

static void ppa_record_range(struct pkeys_physmem_allocator *ppa,
			     phys_addr_t start, phys_addr_t end)
{
	struct ppa_range *last;

	if (ppa->nr_ranges) {
		last = &ppa->ranges[ppa->nr_ranges - 1];
		if (end == last->start) {
			last->start = start;
			return;
		}
		if (start == last->end) {
			last->end = end;
			return;
		}
	}
	if (WARN_ON(ppa->nr_ranges == ARRAY_SIZE(ppa->ranges)))
		return;
	ppa->ranges[ppa->nr_ranges].start = start;
	ppa->ranges[ppa->nr_ranges].end = end;
	ppa->nr_ranges++;
}

/**
 * kpkeys_physmem_pgtable_alloc() - a PTP before the buddy allocator works
 *
 * Return: its physical address, or 0 when memblock has nothing left.
 */
phys_addr_t kpkeys_physmem_pgtable_alloc(void)
{
	struct pkeys_physmem_allocator *ppa = &kpb_state()->ppa;
	phys_addr_t size = (phys_addr_t)PAGE_SIZE << get_refill_orders()[0];

	if (ppa->next == ppa->chunk.start) {
		phys_addr_t chunk;

		if (ppa->chunk.end)
			ppa_record_range(ppa, ppa->chunk.start, ppa->chunk.end);
		chunk = memblock_phys_alloc_range(size, size, 0, 0);
		ppa->chunk.start = chunk;
		ppa->chunk.end = chunk ? chunk + size : 0;
		ppa->next = ppa->chunk.end;
		/* no chunk: a page that nobody will ever protect */
		if (!chunk)
			return memblock_phys_alloc_range(PAGE_SIZE, PAGE_SIZE,
							 0, 0);
	}
	ppa->next -= PAGE_SIZE;
	return ppa->next;
}

static void ppa_protect(phys_addr_t start, phys_addr_t end)
{
	if (start == end)
		return;
	set_memory_pkey((unsigned long)__va(start),
			(int)((end - start) >> PAGE_SHIFT),
			KPKEYS_PKEY_PGTABLES);
}

static void ppa_finalize(void)
{
	struct pkeys_physmem_allocator *ppa = &kpb_state()->ppa;
	unsigned int i;

	ppa_protect(ppa->next, ppa->chunk.end);
	for (i = 0; i < ppa->nr_ranges; i++)
		ppa_protect(ppa->ranges[i].start, ppa->ranges[i].end);
	memblock_free_late(ppa->chunk.start, ppa->next - ppa->chunk.start);
}

/* The interface */

/**
 * kpkeys_pgtable_alloc() - a PTP that carries the page table pkey
 * @gfp: GFP_KERNEL and bits of PBA_GFP_OPT_MASK
 *
 * Return: the page, or NULL. Context: may sleep.
 */
struct page *kpkeys_pgtable_alloc(gfp_t gfp)
{
	if (pba_enabled())
		return pba_pgtable_alloc(gfp);
	return noblock_pgtable_alloc(gfp);
}

/**
 * kpkeys_pgtable_free() - give a PTP back
 * @page: from kpkeys_pgtable_alloc()
 */
void kpkeys_pgtable_free(struct page *page)
{
	if (pba_enabled())
		pba_pgtable_free(page);
	else
		noblock_pgtable_free(page);
}

/**
 * kpkeys_prepare_direct_map_split() - see that the reserve is full
 *
 * Return: 0 or -ENOMEM. Context: before pgtable_split_lock is taken.
 */
int kpkeys_prepare_direct_map_split(void)
{
	if (pba_enabled())
		return pba_prepare_direct_map_split();
	return 0;
}

/**
 * kpkeys_ready_for_direct_map_split() - may the linear map be split now?
 *
 * Return: whether the reserve suffices. Context: under pgtable_split_lock.
 */
bool kpkeys_ready_for_direct_map_split(void)
{
	if (pba_enabled())
		return pba_ready_for_direct_map_split();
	return true;
}

/**
 * kpkeys_hardened_pgtables_init() - once the buddy allocator works
 */
void kpkeys_hardened_pgtables_init(void)
{
	if (!arch_kpkeys_enabled())
		return;
	pba_init();
	static_branch_enable(kpb_hardened_pgtables_key());
}

/**
 * kpkeys_hardened_pgtables_init_late() - once the linear map may be split
 */
void kpkeys_hardened_pgtables_init_late(void)
{
	if (!static_branch_unlikely(kpb_hardened_pgtables_key()))
		return;
	if (pba_enabled())
		pba_init_late();
	ppa_finalize();
	arch_kpkeys_protect_static_pgtables();
}
